"""Text to sound: recordings, a synthesiser or a tone; it must not know who says it, or when.

A text is never silent. What is spoken is the first of these that there is:

1. the recording of exactly these words, case and punctuation aside: a clip of the peer's own or a
   bundled sample, lowered to the peer's voice;
2. the words from a synthesiser: hibari-tts, where it is installed (``pip install rtnb[voice]``);
3. the recordings of its sentences, where there is one for every sentence;
4. a tone: two soft notes that take turns, one for every word (600 at most).

So a transcript is always exactly what is spoken, except under a tone, which only stands for it.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rtnb._audiofile import to_s16
from rtnb.audio import CALL_SAMPLE_RATE, Clip, resample
from rtnb.errors import ConfigurationError
from rtnb.peer import repertoire
from rtnb.peer.timbre import pitch_of, shaped

__all__ = ["LONGEST_TEXT", "PAUSE", "Speech", "Synthesiser"]

Samples = npt.NDArray[np.float32]
Synthesiser: TypeAlias = Callable[[str], Clip]

LONGEST_TEXT: Final = 5_000  # characters; at the slowest they take twenty minutes
PAUSE: Final = 0.2  # seconds between sentences

_log = logging.getLogger(__name__)

_LOWERED: Final = 0.82  # the peer's clips are the voice of the samples, lowered by this much
_PEAK: Final = 10 ** (-3 / 20)  # of the peer's clips
_INAUDIBLE: Final = 0.005  # a synthesiser that does not know a script gives nothing, or a breath
_SEED: Final = 20_250
_KEPT: Final = 32 << 20  # bytes of sound kept for the next time

_NOTES: Final = (392.0, 523.25)  # Hz
_NOTE: Final = 0.3  # seconds for a word
_WORD: Final = 12  # characters of a word, where a script has no spaces
_MOST_NOTES: Final = 600
_NOTE_LEVEL: Final = 10 ** (-20 / 20)
_FADE: Final = 0.05  # seconds


class Speech:
    """Speaks texts; safe to use from several threads.

    Parameters
    ----------
    synthesiser
        ``"auto"`` takes what is installed, when it is first needed. None uses recordings and tones
        only. A function from a text to a `Clip` is one of your own; what it raises, and a text that
        it gives no sound for, is left to recordings and tones.

    Raises
    ------
    ConfigurationError
        `synthesiser` is none of these.
    """

    def __init__(self, synthesiser: Synthesiser | Literal["auto"] | None = "auto"):
        if synthesiser is not None and synthesiser != "auto" and not callable(synthesiser):
            raise ConfigurationError(
                f'A synthesiser is "auto", None or a function, not {synthesiser!r}.'
            )
        self._synthesiser = synthesiser
        self._kept: OrderedDict[tuple[str, float, float], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def speak(self, text: str, voice: str = "marin", speed: float = 1.0) -> bytes:
        """Return a text as sound.

        Parameters
        ----------
        text
            At most `LONGEST_TEXT` characters; of white space alone there is no sound.
        voice
            Name or id. Ten names have a pitch and timbre of their own, and marin's is that of the
            recordings; every other name always has one of these.
        speed
            0.25 to 1.5: the duration is that at speed 1, divided by this. The pitch is kept.

        Returns
        -------
        bytes
            s16 mono 48,000 Hz.

        Raises
        ------
        ValueError
            The text is too long.
        """
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"A text of {len(text)} characters is too long to be spoken.")
        if not text.strip():
            return b""
        pitch = pitch_of(voice)
        said = _recordings().get(_words(text))
        if said is not None and pitch == speed == 1.0:
            return said()  # kept by the repertoire, and the same object for the encoder's cache
        key = (text, pitch, speed)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        pcm = to_s16(self._made(text, pitch, speed)).tobytes()
        return self._keep(key, pcm)

    def prepare(self) -> None:
        """Load the installed synthesiser now, in half a second, so that no text has to wait for it."""
        if self._synthesiser == "auto":
            self._made("ready", 1.0, 1.0)

    def _made(self, text: str, pitch: float, speed: float) -> Samples:
        said = _recordings().get(_words(text))
        if said is not None:
            return shaped(_floats(said()), pitch, speed)
        synthesised = self._synthesised(text)
        if synthesised is not None:
            own = _LOWERED if self._synthesiser == "auto" else 1.0
            return shaped(synthesised, own * pitch, speed)
        joined = _sentences(text)
        return shaped(joined, pitch, speed) if joined is not None else _tone(text, pitch, speed)

    def _synthesised(self, text: str) -> Samples | None:
        synthesiser = _installed() if self._synthesiser == "auto" else self._synthesiser
        if synthesiser is None:
            return None
        try:
            clip = synthesiser(text)
            samples = resample(clip.samples, clip.sample_rate, CALL_SAMPLE_RATE)
        except Exception:  # a synthesiser may fail in any way; the text still has its tone
            _log.exception("a text of %d characters was not synthesised", len(text))
            return None
        peak = float(np.abs(samples).max(initial=0.0))
        wordless = not any(letter.isalnum() for letter in text)
        return None if wordless or peak < _INAUDIBLE else samples * np.float32(_PEAK / peak)

    def _keep(self, key: tuple[str, float, float], pcm: bytes) -> bytes:
        with self._lock:
            self._kept[key] = pcm
            while sum(map(len, self._kept.values())) > _KEPT:
                self._kept.popitem(last=False)
        return pcm


# --- recordings -----------------------------------------------------------------------------------


@functools.cache
def _recordings() -> dict[str, Callable[[], bytes]]:
    """Return what there is a recording of: words to sound; the peer's own come first."""
    samples = {
        _words(p.text): functools.cache(functools.partial(_lowered, p.name))
        for p in repertoire.prompts()
    }
    own = {_words(said.text): functools.partial(_own, said.name) for said in repertoire.sayings()}
    return {**samples, **own}


def _own(name: str) -> bytes:
    return repertoire.saying(name).pcm


def _lowered(name: str) -> bytes:
    """Return a bundled sample in the peer's voice."""
    clip = Clip.read(next(p.path for p in repertoire.prompts() if p.name == name))
    samples = resample(clip.samples, clip.sample_rate, CALL_SAMPLE_RATE)
    return to_s16(shaped(samples, _LOWERED, 1.0)).tobytes()


def _sentences(text: str) -> Samples | None:
    """Return the recordings of all sentences, the longest runs of them first; None if one lacks."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    parts: list[Samples] = []
    while sentences:
        runs = ((n, " ".join(sentences[:n])) for n in range(min(len(sentences), 4), 0, -1))
        found = next(((n, r) for n, run in runs if (r := _recordings().get(_words(run)))), None)
        if found is None:
            return None
        count, said = found
        parts += [np.zeros(round(PAUSE * CALL_SAMPLE_RATE), np.float32), _floats(said())]
        sentences = sentences[count:]
    return np.concatenate(parts[1:])


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.casefold().replace("\u2019", "'")))


def _floats(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(32768.0)


# --- a synthesiser --------------------------------------------------------------------------------

_loading = threading.Lock()


def _installed() -> Synthesiser | None:
    with _loading:
        return _hibari()


@functools.cache
def _hibari() -> Synthesiser | None:
    """Return hibari-tts with the voice that is inside its wheel, or None; nothing is downloaded."""
    try:
        from hibari import SAMPLE_RATE, Hibari

        model = Hibari()
    except ImportError:
        return None
    except Exception:  # its model, or what runs it, is damaged: there is no synthesiser then
        _log.exception("hibari-tts is installed but cannot be used")
        return None
    one = threading.Lock()

    def speak(text: str) -> Clip:
        with one:
            samples = np.asarray(model(text, seed=_SEED), np.float32)
        return Clip(samples - samples.mean() if len(samples) else samples, SAMPLE_RATE)

    return speak


# --- a tone ---------------------------------------------------------------------------------------


def _tone(text: str, pitch: float, speed: float) -> Samples:
    """Return two notes that take turns, one for every word, as soft at their ends as in level."""
    words = min(max(len(text.split()), -(-len(text) // _WORD)), _MOST_NOTES)
    length = round(_NOTE / speed * CALL_SAMPLE_RATE)
    at = np.arange(length) / CALL_SAMPLE_RATE
    fade = np.minimum(np.minimum(at, at[::-1]) / _FADE, 1.0)
    shape = _NOTE_LEVEL * np.sin(np.pi / 2 * fade) ** 2
    notes = [(shape * np.sin(2 * np.pi * note * pitch * at)).astype(np.float32) for note in _NOTES]
    return np.concatenate([notes[word % 2] for word in range(words)])
