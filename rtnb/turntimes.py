"""When a turn's speech ended and its reply was audible, from state and audio; it knows no `Turn`.

All times are seconds on the call's clock.
"""

from __future__ import annotations

from typing import Final

from rtnb.measure import Latency, audible_span, speech_span
from rtnb.runaudio import RunAudio
from rtnb.turnover import TAIL
from rtnb.turnstate import ResponseState, TurnState

__all__ = ["PAD", "measured", "reply_span"]

PAD: Final = 0.05  # seconds kept around the audible part of a reply
_EARLY: Final = 0.3  # seconds by which the sound may precede its event, which takes another way
_SOON: Final = 1.0  # seconds within which a reply usually becomes audible


def reply_span(turn: TurnState, audio: RunAudio) -> tuple[float, float] | None:
    """Return where the reply is to be cut; None where there is no sound."""
    within = _sounding(turn)
    if within is None:
        return None
    start, end = within
    clip = audio.clip("heard", start, end)
    audible = audible_span(clip)
    if audible is None:
        return None
    return max(start, start + audible[0] - PAD), start + min(audible[1] + PAD, clip.duration)


def measured(turn: TurnState, audio: RunAudio) -> Latency:
    """Return how long the reply took."""
    end = _speech_end(turn, audio)
    within = _sounding(turn)
    first = None if within is None else _audible_from(audio, *within)
    if within is not None and first is not None:  # as it is in the reply, which is cut there
        first = _audible_from(audio, max(within[0], first - PAD), within[1])
    if end is None or first is None or first < end:  # spoken over: it answers something earlier
        return Latency(None, end, first)
    return Latency(round(first - end, 6), end, first)


def _sounding(turn: TurnState) -> tuple[float, float | None] | None:
    """Return between which times the reply is to be looked for; None where there is none."""
    sounding = [r for r in turn.responses if r.audio_expected]
    if not sounding:
        return None
    start = max(min(map(_sound_from, sounding)), turn.started)
    ends = [end for end in map(_sound_until, sounding) if end is not None]
    return start, max(ends) if len(ends) == len(sounding) else turn.ended


def _sound_from(response: ResponseState) -> float:
    """Return when the sound of a response begins at the earliest, after that of the one before."""
    began = response.created if response.audio_started is None else response.audio_started
    return max(began - _EARLY, response.follows or 0.0)


def _sound_until(response: ResponseState) -> float | None:
    """Return when the sound of a response ends at the latest, before that of the next one."""
    ended, followed = response.audio_ended, response.followed
    if ended is None or followed is None:
        return followed if ended is None else ended + TAIL
    return min(ended + TAIL, max(ended, followed))


def _audible_from(audio: RunAudio, start: float, end: float | None) -> float | None:
    """Return when what was heard becomes audible; little is read of what follows."""
    soon = start + _SOON if end is None else min(start + _SOON, end)
    for until in (soon, end):
        audible = audible_span(audio.clip("heard", start, until))
        if audible is not None:
            return start + audible[0]
    return None


def _speech_end(turn: TurnState, audio: RunAudio) -> float | None:
    if turn.text is not None:
        return turn.requested
    start, end = turn.play_started, turn.play_ended
    if start is None:
        return None
    speech = speech_span(audio.clip("sent", start, end))
    return None if speech is None else start + speech[1]
