"""Cuts the replies of a run out of its recording, as they were heard; it must not know turns.

All times are seconds on the recorded call's clock. What was heard lies in a recording where it
arrived, so a position in it is a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rtnb.audio import to_pcm
from rtnb.measure import audible_span
from rtnb.runaudio import RunAudio

__all__ = ["SoundCut", "Sounding", "sound_cuts"]

_EARLY: Final = 0.3  # seconds by which a sound may precede its event, which takes another way
_LATE: Final = 0.3  # seconds by which it may outlast it
_PAD: Final = 0.02  # seconds kept before and after what is audible
_QUIET: Final = b"\0\0" * 48_000  # what follows a sound that was cut


@dataclass
class Sounding:
    """What the events say of one response's sound.

    Attributes
    ----------
    response_id : str
        Whose it is.
    created : float
        When the response was created.
    started, ended : float or None
        When its sound began and ended by ``output_audio_buffer.*``; None where no event says so.
    cut : bool
        It ended because somebody cut it.
    """

    response_id: str
    created: float
    started: float | None = None
    ended: float | None = None
    cut: bool = False


@dataclass(frozen=True)
class SoundCut:
    """One response's sound.

    Attributes
    ----------
    response_id : str
        Whose it is.
    start : float
        When its first sample was heard.
    pcm : bytes
        s16 mono 48,000 Hz. One second of silence follows a sound that was cut, so that it can be
        cut again at about the same place.
    """

    response_id: str
    start: float
    pcm: bytes = field(repr=False)


def sound_cuts(soundings: Iterable[Sounding], audio: RunAudio) -> Iterator[SoundCut]:
    """Yield the sounds of a recording, in order; a response of which nothing was heard has none.

    Parameters
    ----------
    soundings
        The responses that spoke.
    audio
        The recording.
    """
    ordered = sorted(soundings, key=_begins)
    before = 0.0  # where the sound before ends
    for index, one in enumerate(ordered):
        after = _begins(ordered[index + 1]) if index + 1 < len(ordered) else audio.duration
        span = _span(one, audio, before, max(after, before))
        if span is None:
            continue
        before = span[1]
        pcm = to_pcm(audio.clip("heard", *span))
        if pcm:
            yield SoundCut(one.response_id, span[0], pcm + (_QUIET if one.cut else b""))


def _begins(one: Sounding) -> float:
    return one.created if one.started is None else one.started


def _span(
    one: Sounding, audio: RunAudio, before: float, after: float
) -> tuple[float, float] | None:
    """Return from where to where a sound lies, between the one before and the one after."""
    start = max(_begins(one) - (0.0 if one.started is None else _EARLY), before)
    end = after if one.ended is None else max(min(one.ended + _LATE, after), one.ended)
    found = audible_span(audio.clip("heard", start, end))
    if found is None:  # silence, said as it was, where the events say that there was a sound
        return (one.started, one.ended) if one.started is not None and one.ended else None
    first, last = start + found[0] - _PAD, start + found[1] + _PAD
    first = first if one.started is None else min(first, one.started)
    if one.ended is not None:
        last = one.ended if one.cut else max(last, one.ended)
    return max(first, before), max(last, first)
