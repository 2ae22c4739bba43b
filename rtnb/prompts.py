"""What may be said: a clip, a path or a text, told apart and checked before anything is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from rtnb import _bundled
from rtnb.audio import Clip
from rtnb.errors import AudioError, ConfigurationError

__all__ = ["as_prompt", "sample", "sample_text", "samples"]

_AUDIO_SUFFIXES: Final = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".webm", ".mp4"}
)


class NamedClip(Clip):
    """A clip that knows the name of its file."""

    __slots__ = ("name",)

    name: str


def samples() -> list[Path]:
    """Return the bundled prompts: short spoken English WAVs, 24,000 Hz mono."""
    return sorted(_bundled.folder().glob("*.wav"))


def sample(name: str) -> Clip:
    """Return one bundled prompt by its name, e.g. ``"capital_of_france"``.

    Raises
    ------
    AudioError
        There is no such sample.
    """
    path = _bundled.folder() / f"{name.removesuffix('.wav')}.wav"
    if not path.is_file() or path.parent != _bundled.folder():
        names = ", ".join(p.stem for p in samples())
        raise AudioError(f"There is no bundled sample {name!r}; there are: {names}.")
    return _named(path)


def sample_text(name: str) -> str | None:
    """Return the words of a bundled prompt; None for any other name."""
    table = json.loads((_bundled.folder() / "samples.json").read_text(encoding="utf-8"))
    return next((str(row["text"]) for row in table if row["name"] == name), None)


def as_prompt(prompt: object) -> tuple[str | None, Clip | str]:
    """Return (name, clip or text) of what the user wants to say.

    Raises
    ------
    AudioError, ConfigurationError
        It cannot be said; the sentence says what to do.
    """
    if isinstance(prompt, str):
        return None, _text(prompt)
    if isinstance(prompt, os.PathLike):
        path = Path(prompt)
        return path.stem, _checked(_named(path))
    if isinstance(prompt, Clip):
        return getattr(prompt, "name", None), _checked(prompt)
    raise ConfigurationError(
        f"A prompt is a Clip, a pathlib.Path or a str, not {type(prompt).__name__}; "
        "rtnb.Clip(samples, sample_rate) makes a clip of an array."
    )


def named(clip: Clip, name: str) -> NamedClip:
    """Return a clip that knows this name."""
    known = NamedClip(clip.samples, clip.sample_rate, gaps=clip.gaps, role=clip.role)
    known.name = name
    return known


def _named(path: Path) -> Clip:
    return named(Clip.read(path), path.stem)


def _text(text: str) -> str:
    if not text.strip():
        raise ConfigurationError("An empty text cannot be sent; write something, or give a clip.")
    stem = text.strip()
    if "\n" not in stem and len(stem) < 1000 and Path(stem).suffix.lower() in _AUDIO_SUFFIXES:
        raise ConfigurationError(
            f"{stem!r} is a str and would be sent as text, but names an audio file; "
            "give pathlib.Path(...) or rtnb.Clip.read(...) to play it."
        )
    return text


def _checked(clip: Clip) -> Clip:
    if not len(clip):
        raise AudioError("A clip without samples cannot be played; give at least 0.1 s of audio.")
    return clip
