"""What the peer knows by heart: the bundled prompts and its own clips; it must not know a call."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rtnb import _bundled
from rtnb._audiofile import to_s16
from rtnb.audio import Clip, resample

__all__ = ["Prompt", "Saying", "prompt_in", "prompts", "saying", "saying_for", "sayings"]

_RATE: Final = 48_000
_REPLIES: Final = Path(__file__).with_name("replies")


@dataclass(frozen=True)
class Prompt:
    """One bundled prompt.

    Attributes
    ----------
    name, text : str
        As in samples.json.
    path : pathlib.Path
        Its WAV.
    """

    name: str
    text: str
    path: Path


@dataclass(frozen=True)
class Saying:
    """One clip that the peer can say.

    Attributes
    ----------
    name : str
        As in replies.json.
    text : str
        Exactly what is spoken in it.
    tool_name : str or None
        Part of the name of the tool that has to be called before it may be said.
    tool_arguments : mapping
        Arguments that the prompt names.
    """

    name: str
    text: str
    tool_name: str | None
    tool_arguments: Mapping[str, Any]

    @property
    def pcm(self) -> bytes:
        """The clip: s16 mono 48,000 Hz."""
        return _pcm(_REPLIES / f"{self.name}.wav")


@functools.cache
def _pcm(path: Path) -> bytes:
    clip = Clip.read(path)
    return to_s16(resample(clip.samples, clip.sample_rate, _RATE)).tobytes()


@functools.cache
def prompts() -> tuple[Prompt, ...]:
    """Return the bundled prompts."""
    where = _bundled.folder()
    listed = json.loads((where / "samples.json").read_text(encoding="utf-8"))
    return tuple(Prompt(p["name"], p["text"], where / f"{p['name']}.wav") for p in listed)


@functools.cache
def _sayings() -> dict[str, tuple[str | None, Saying]]:
    listed = json.loads((_REPLIES / "replies.json").read_text(encoding="utf-8"))
    found = {}
    for entry in listed:
        tool = entry["tool"] or {}
        said = Saying(
            entry["name"], entry["text"], tool.get("name_contains"), tool.get("arguments", {})
        )
        found[entry["name"]] = (entry["prompt"], said)
    return found


def sayings() -> tuple[Saying, ...]:
    """Return all the clips."""
    return tuple(said for _, said in _sayings().values())


def saying(name: str) -> Saying:
    """Return the clip of that name."""
    return _sayings()[name][1]


def saying_for(prompt: str) -> Saying | None:
    """Return the clip that answers the prompt of that name."""
    return next((said for name, said in _sayings().values() if name == prompt), None)


def prompt_in(text: str) -> Prompt | None:
    """Return the prompt whose words, in order, are in `text`; case and punctuation do not count."""
    words = _words(text)
    return next((p for p in prompts() if f" {_words(p.text)} " in f" {words} "), None)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'")))
