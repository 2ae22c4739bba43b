"""When a turn's speech ended and its reply was audible, from state and audio; it knows no `Turn`.

All times are seconds on the call's clock.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np

from rtnb.audio import CALL_SAMPLE_RATE
from rtnb.dialects import object_at, text_at
from rtnb.events import Event, EventLog
from rtnb.measure import (
    HOP,
    WINDOW,
    Latency,
    audible_span,
    first_over,
    speech_span,
    window_levels,
)
from rtnb.packets import Packets
from rtnb.runaudio import RunAudio
from rtnb.traffic import traffic_of
from rtnb.turnover import TAIL
from rtnb.turnstate import ResponseState, TurnState
from rtnb.verdicts import DEFAULT, Thresholds, verdict
from rtnb.voiceactivity import voice_activity

__all__ = ["PAD", "measured", "reply_span", "settled"]

PAD: Final = 0.05  # seconds kept around the audible part of a reply
_EARLY: Final = 0.3  # seconds by which the sound may precede its event, which takes another way
_SOON: Final = 1.0  # seconds within which a reply usually becomes audible
_AT_ONCE: Final = 30.0  # seconds of a reply that are in memory while its sound is looked for
_FAINT: Final = -70.0  # dBFS; less is no sound of a reply, however it begins
_FRAME: Final = 0.02  # seconds; what is lost so close to an onset may have held it
_LONGEST_PACKET: Final = 0.12  # seconds, by Opus
_LONGEST_LOSS: Final = 120.0  # seconds; a longer one begins too early to be looked for
_OVERLAP: Final = 2 * WINDOW  # seconds of a block that is silent which are in the next one too
_BEFORE: Final = 0.6  # seconds before a user's onset that tell whether a reply is in a pause
_REFUSED: Final = 0.05  # seconds between an error event and the end of the turn that it is about

Span = tuple[float, float]


def reply_span(turn: TurnState, audio: RunAudio) -> Span | None:
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


def measured(
    turn: TurnState, audio: RunAudio, events: EventLog, thresholds: Thresholds = DEFAULT
) -> Latency:
    """Return how long the reply took, and whether it counts.

    What takes reading more than the prompt and the beginning of the reply is left out of a turn
    that is in progress: it is asked for again and again.
    """
    over = turn.status != "in_progress"
    speech = _speech(turn, audio)
    start, end = (None, turn.requested) if turn.text is not None else speech or (None, None)
    within = _sounding(turn)
    first = None if within is None else _audible_from(audio, *within, thresholds.level)
    if within is not None and first is not None:  # as it is in the reply, which is cut there
        begin = max(within[0], first - PAD)
        first = _audible_from(audio, begin, within[1], thresholds.level, soon=4 * PAD)
    # a reply that is spoken over answers something earlier
    took = None if end is None or first is None or first < end else round(first - end, 6)
    latency = _with_events(Latency(took, end, first, start), turn, events)
    if over:
        if within is not None and first is not None:
            until = _audible_until(audio, first, within[1], thresholds.level)
            latency = dataclasses.replace(latency, reply_end=until)
        latency = _with_packets(latency, turn, audio)
        latency = _with_yield(latency, audio, thresholds)
    damage = _unrecorded(turn, within, audio) or _damage(latency, audio, thresholds) if over else ""
    refused = _refusal(turn, events) if over and not turn.responses else None
    word, why = verdict(turn, latency, thresholds, refused=refused, damage=damage)
    return dataclasses.replace(latency, verdict=word, reason=why)


def settled(
    turn: TurnState, latency: Latency, audio: RunAudio, thresholds: Thresholds = DEFAULT
) -> bool:
    """Return whether the latency of a turn that is over stays as it is, however long the call goes on.

    A turn may be over before all of it is on disk, and before it can be told whether the reply that
    it interrupted falls silent.
    """
    if turn.ended is None or audio.duration < turn.ended:
        return False
    if latency.speech_start is None or latency.first_audible is not None:
        return True
    window = thresholds.yield_window + thresholds.pause
    return latency.yielded is not None or audio.duration >= latency.speech_start + window


# --- where the reply is to be looked for ----------------------------------------------------------


def _sounding(turn: TurnState) -> tuple[float, float | None] | None:
    """Return between which times the reply is to be looked for; None where there is none."""
    sounding = [r for r in turn.responses if r.audio_expected]
    if not sounding:
        return None
    start = max(min(map(_sound_from, sounding)), turn.started, 0.0)
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


def _audible_from(
    audio: RunAudio, start: float, end: float | None, level: float, *, soon: float = _SOON
) -> float | None:
    """Return when what was heard becomes audible; little is read of what follows."""
    last = audio.duration if end is None else min(end, audio.duration)
    while start < last:
        audible = audible_span(audio.clip("heard", start, min(start + soon, last)), level=level)
        if audible is not None:
            return round(start + audible[0], 6)
        start, soon = start + soon - _OVERLAP, _AT_ONCE
    return None


def _audible_until(audio: RunAudio, start: float, end: float | None, level: float) -> float | None:
    """Return when what was heard falls silent for good; little is read of what precedes."""
    last = audio.duration if end is None else min(end, audio.duration)
    length = _SOON
    while start < last:
        since = max(start, last - length)
        audible = audible_span(audio.clip("heard", since, last), level=level)
        if audible is not None:
            return round(since + audible[1], 6)
        if since == start:
            break
        last, length = since + _OVERLAP, _AT_ONCE
    return None


def _speech(turn: TurnState, audio: RunAudio) -> Span | None:
    """Return where the user's audible speech lies in what was sent."""
    start, end = turn.play_started, turn.play_ended
    if turn.text is not None or start is None or not math.isfinite(start):
        return None
    speech = speech_span(audio.clip("sent", start, end))
    return None if speech is None else (round(start + speech[0], 6), round(start + speech[1], 6))


# --- marks that events and packets tell ------------------------------------------------------------


def _with_events(latency: Latency, turn: TurnState, events: EventLog) -> Latency:
    """Add when the service heard the end of speech, committed it and began to answer."""
    since = turn.requested if turn.text is not None else turn.play_started
    if since is None:
        return latency
    created = [r.created for r in turn.responses if not r.untold]
    answer = _answering(turn, latency.first_audible)
    until = answer.created if answer is not None else turn.ended
    heard = list(events.between(since, float("inf") if until is None else until + 1e-9))
    commit = _last(heard, "input_audio_buffer.committed")
    stopped = _last(heard, "input_audio_buffer.speech_stopped", commit)
    asked = since if commit is None else commit.time
    return dataclasses.replace(
        latency,
        speech_stopped=None if stopped is None else stopped.time,
        committed=None if commit is None else commit.time,
        response_created=min((time for time in created if time >= asked), default=None),
    )


def _answering(turn: TurnState, first: float | None) -> ResponseState | None:
    """Return the response that was audible first, or the last one there was."""
    sounding = [r for r in turn.responses if r.audio_expected]
    if first is not None:
        begun = [r for r in sounding if _sound_from(r) <= first]
        sounding = begun or sounding[:1]
    candidates = sounding or turn.responses
    return candidates[-1] if candidates else None


def _last(heard: list[Event], kind: str, about: Event | None = None) -> Event | None:
    """Return the last event of a type, about the same item as another one if that is given."""
    found = [event for event in heard if event.type == kind and event.direction == "received"]
    if about is not None:
        item = about.data.get("item_id")
        found = [event for event in found if event.data.get("item_id") == item] or found
    return found[-1] if found else None


def _refusal(turn: TurnState, events: EventLog) -> str | None:
    """Return why the service refused to answer, where an error of its ended the turn."""
    ended = turn.ended
    if ended is None or turn.error is None:
        return None
    for event in events.between(ended - _REFUSED, ended + _REFUSED):
        if event.type == "error" and event.direction == "received":
            error = object_at(event.data, "error")
            said = text_at(error, "message") or text_at(error, "code") or "no reason given"
            return f"The service refused: {said.rstrip('.')}."
    return None


def _with_packets(latency: Latency, turn: TurnState, audio: RunAudio) -> Latency:
    """Add when the first packet of the reply's sound came, and how well the network did."""
    # what came after the reply is none of its conditions, and may not be on disk yet
    until = turn.ended if latency.reply_end is None else latency.reply_end
    quality = audio.quality(turn.started, until)
    first = latency.first_audible
    packet = None if first is None else _first_packet(audio, first)
    return dataclasses.replace(latency, first_packet=packet, quality=quality)


def _first_packet(audio: RunAudio, first: float) -> float | None:
    """Return the arrival of the packet with which the sound that is audible from `first` on began."""
    before = max(first - _SOON, 0.0)
    clip = audio.clip("heard", before, first + WINDOW)
    faint = np.flatnonzero(window_levels(clip) <= _FAINT)
    if len(faint):  # sound begins in the hop after the last window without
        quiet = int(faint[-1]) * HOP + WINDOW
        after = clip[quiet : quiet + HOP]
        before += quiet + first_over(after.samples, _FAINT) / CALL_SAMPLE_RATE
    before = min(before, first)
    near = audio.packets().between(before - _LONGEST_PACKET, first + _SOON).of("received", "late")
    if not len(near):
        return None
    place = near.place
    holding = np.flatnonzero(place <= before)
    chosen = int(holding[np.argmax(place[holding])]) if len(holding) else int(np.argmin(place))
    time = float(near.time[chosen])
    return time if time == time else None


# --- can it be relied on? ---------------------------------------------------------------------------


def _unrecorded(turn: TurnState, within: tuple[float, float | None] | None, audio: RunAudio) -> str:
    """Return what of prompt or reply the recording does not reach; "" if it reaches both."""
    if turn.play_started is not None and turn.play_started >= audio.duration:
        return "The recording ends before the prompt begins."
    if within is not None and within[0] + _EARLY >= audio.duration:
        return "The recording ends before the reply begins."
    return ""


def _damage(latency: Latency, audio: RunAudio, thresholds: Thresholds) -> str:
    """Return why the sound of prompt or reply cannot be relied on; "" if it can."""
    packets = audio.packets()
    if latency.speech_start is not None and latency.speech_end is not None:
        lags = traffic_of(packets).lags.within(latency.speech_start, latency.speech_end).lag
        lag = float(lags.max(initial=0.0))
        if lag > thresholds.lag:
            return (
                f"A packet of the prompt left {lag:.2f} s late; {thresholds.lag:g} s are allowed."
            )
    first = latency.first_audible
    if first is not None and _lost_at(packets, first):
        return "A packet in which the reply may have begun was lost."
    return ""


def _lost_at(packets: Packets, onset: float) -> bool:
    """Return whether an onset lies in a loss, or just after one, that was not decoded from FEC."""
    lost = packets.between(onset - _LONGEST_LOSS, onset + HOP).of("lost")
    start = lost.place
    end = start + lost.size / CALL_SAMPLE_RATE
    hit = (end > onset - _FRAME) & (lost.concealed != "fec")
    return bool(hit.any())


def _with_yield(latency: Latency, audio: RunAudio, thresholds: Thresholds) -> Latency:
    """Add whether, and how soon, a reply that the user's speech began in fell silent."""
    onset, own = latency.speech_start, latency.first_audible
    if onset is None:
        return latency
    before = min(_BEFORE, onset)
    until = onset + thresholds.yield_window + thresholds.pause
    if own is not None and own > onset:
        until = min(until, own)  # the sound of the answer is none of the reply before it
    if not _audible(audio, onset - before, onset + WINDOW, thresholds.level):
        return latency  # as nearly always, and soon told
    clip = audio.clip("heard", onset - before, until)
    spans = voice_activity(
        clip, level=thresholds.level, min_speech=0.0, min_silence=thresholds.pause
    )
    end = next((end for start, end in spans if start < before < end), None)
    if end is None:
        return latency
    took = round(end - before, 6)
    if took > thresholds.yield_window:
        return dataclasses.replace(latency, yielded=False)
    known = before + took + thresholds.pause <= clip.duration + HOP or until == own
    if not known:  # the recording ends with it
        return latency
    return dataclasses.replace(latency, yielded=True, yield_latency=took)


def _audible(audio: RunAudio, start: float, end: float, level: float) -> bool:
    """Return whether anything that was heard between two times is audible."""
    return bool((window_levels(audio.clip("heard", start, end)) > level).any())
