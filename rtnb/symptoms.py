"""What was seen of one turn, as plain values: its events, sound and packets; it draws no conclusion.

All times are seconds on the call's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rtnb._html import counted
from rtnb.audio import Clip, dbfs
from rtnb.dialects import BETA, Json, merged, object_at, text_at
from rtnb.events import Event, EventLog
from rtnb.eventtext import plain
from rtnb.quality import CallQuality
from rtnb.runaudio import RunAudio
from rtnb.turnstate import ResponseState, ToolCall

__all__ = ["Spoken", "Symptoms", "session_at", "symptoms_of"]

_SILENT: Final = -120.0  # dBFS of digital silence
_BELOW_LOUDEST: Final = 30.0  # dB below the loudest 20 ms that still are speech, as in `measure`
_FAINTEST: Final = -65.0  # dBFS; nothing below is speech, as in `measure`
_WINDOW: Final = 0.02  # seconds of one level
_LOOKED_AT: Final = 60.0  # seconds of a prompt in which clipped samples are counted
_FLAT: Final = frozenset({"modalities", "turn_detection", "voice", "input_audio_format"})


@dataclass(frozen=True, slots=True)
class Spoken:
    """The sound of a prompt, as it was sent.

    Attributes
    ----------
    duration : float
        Seconds.
    peak, loudest : float
        dBFS: of the largest sample, and of the RMS of the loudest 20 ms; -120 for digital silence.
    speech : float
        Seconds of it that are above -65 dBFS and within 30 dB of the loudest 20 ms.
    speech_end : float or None
        When the last of that had left.
    clipped : float
        Samples at full scale as a fraction of the first minute, 0 to 1.
    """

    duration: float = 0.0
    peak: float = _SILENT
    loudest: float = _SILENT
    speech: float = 0.0
    speech_end: float | None = None
    clipped: float = 0.0

    def __str__(self) -> str:
        if self.peak <= _SILENT:
            return f"{self.duration:.2f} s of digital silence"
        return (
            f"{self.duration:.2f} s, peak {self.peak:.0f} dBFS, loudest 20 ms {self.loudest:.0f} dBFS, "
            f"{self.speech:.2f} s of sound, {self.clipped:.1%} clipped"
        )


@dataclass(frozen=True)
class Symptoms:
    """What was seen of one turn.

    Attributes
    ----------
    number, kind, status, error, started, ended, requested : object
    play_started, play_ended, holding, voice_open : object
        As in its `TurnState`.
    now : float
        How far the call has come.
    answered : float
        Seconds of reply that were heard.
    transcript : str
        The reply in words.
    responses, tool_calls : sequence
        As in its `TurnState`.
    events : EventLog
        From its beginning to its end.
    session : dict
        The session that was in force when its prompt ended, in GA form.
    detection : dict or None
        Its turn detection; None where that was off.
    told : bool
        The server tells of the session at all: some pass few events on, so that the want of one says
        nothing.
    ending : str or None
        Why the call, or its recording, was over before the turn was.
    prompt : Spoken or None
        The prompt's sound; None for text, and where a reply was heard: nobody asks for it then.
    quality : CallQuality
        Of the packets from its beginning to its end.
    lost : float
        Seconds of what should have been heard meanwhile that are known to be lost.
    sounding : float
        Seconds in which the reply was to be heard; 0.0 where that is not known.
    missing : float
        How many of those seconds are known to be lost.
    arrived : int
        Packets that came in them.
    """

    number: int = 1
    kind: str = "audio"
    status: str = "no_reply"
    error: str | None = None
    started: float = 0.0
    ended: float | None = None
    requested: float | None = None
    play_started: float | None = None
    play_ended: float | None = None
    holding: bool = False
    voice_open: bool = False
    now: float = 0.0
    answered: float = 0.0
    transcript: str = ""
    responses: Sequence[ResponseState] = ()
    tool_calls: Sequence[ToolCall] = ()
    events: EventLog = field(default_factory=EventLog)
    session: Json = field(default_factory=dict)
    detection: Json | None = field(default_factory=lambda: {"type": "server_vad"})
    told: bool = True
    ending: str | None = None
    prompt: Spoken | None = None
    quality: CallQuality = field(default_factory=CallQuality)
    lost: float = 0.0
    sounding: float = 0.0
    missing: float = 0.0
    arrived: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.status != "in_progress"

    @property
    def until(self) -> float:
        """When it ended, or now."""
        return self.now if self.ended is None else self.ended

    @property
    def last(self) -> ResponseState | None:
        """Its last response."""
        return self.responses[-1] if self.responses else None

    @property
    def errors(self) -> list[Json]:
        """The ``error`` objects of the service, in order."""
        return [object_at(e.data, "error") for e in self.received("error")]

    @property
    def silence(self) -> float | None:
        """Seconds of silence that end an utterance; None where the server does not say."""
        value = (self.detection or {}).get("silence_duration_ms")
        if isinstance(value, int | float):
            return value / 1000
        return 0.5 if (self.detection or {}).get("type") == "server_vad" else None  # the default

    def received(self, kind: str) -> list[Event]:
        """Return the server's events of a type."""
        return [e for e in self.events if e.type == kind and e.direction == "received"]

    def sent(self, kind: str) -> list[Event]:
        """Return our events of a type."""
        return [e for e in self.events if e.type == kind and e.direction == "sent"]

    def details(self, response: ResponseState) -> Json:
        """Return ``status_details`` of a response; an empty one where the service gave none."""
        for event in self.received("response.done"):
            if text_at(event.data, "response", "id") == response.id:
                return object_at(event.data, "response", "status_details")
        return {}

    @property
    def came(self) -> str:
        """How many events of the server's came, and the last of them."""
        came = [event for event in self.events if event.direction == "received"]
        last = f", the last one {plain(came[-1].type, 80) or 'without a type'}" if came else ""
        return f"{counted(len(came), 'event')} received{last}"

    @property
    def packets(self) -> str:
        """How many packets left and came."""
        lost = f", {self.lost:.2f} s lost" if self.lost else ""
        q = self.quality
        return f"{q.packets_sent} packets sent, {q.packets_received} received{lost}"

    @property
    def evidence(self) -> tuple[str, ...]:
        """What was seen, a sentence's worth each."""
        return (
            f"status {self.status}",
            *([] if self.prompt is None else [f"prompt: {self.prompt}"]),
            self.came,
            f"turn detection: {_named(self.detection)}",
            self.packets,
            f"reply: {self.answered:.2f} s heard, {len(self.transcript)} characters",
        )


def symptoms_of(turn: Any) -> Symptoms:
    """Gather what was seen of a `Turn`, of a live session or of a saved run."""
    state, source = turn._state, turn._source
    answered = float(turn.reply.duration)
    at = state.ended if state.play_ended is None else state.play_ended
    session = session_at(source.events, float("inf") if at is None else at)
    spoken = None
    if state.text is None and not answered:
        spoken = _spoken(source.audio, state.play_started, at)
    sounding = _sounding(state.responses)
    return Symptoms(
        number=state.number,
        kind=state.kind,
        status=state.status,
        error=state.error,
        started=state.started,
        ended=state.ended,
        requested=state.requested,
        play_started=state.play_started,
        play_ended=state.play_ended,
        holding=state.holding,
        voice_open=state.voice_open,
        now=max(source.audio.duration, state.touched),
        answered=answered,
        transcript=turn.transcript,
        responses=turn.responses,
        tool_calls=turn.tool_calls,
        events=turn.events,
        session=session,
        detection=_detection(session),
        told=any(event.type == "session.created" for event in source.events),
        ending=_ending(turn),
        prompt=spoken,
        quality=turn.quality,
        lost=_lost(source.audio, state.started, state.ended),
        sounding=sounding[1] - sounding[0],
        missing=_lost(source.audio, *sounding),
        arrived=source.audio.quality(*sounding).packets_received,
    )


def _lost(audio: RunAudio, start: float, end: float | None) -> float:
    return sum((until - since for since, until in audio.gaps(start, end)), 0.0)


def _sounding(responses: Sequence[ResponseState]) -> tuple[float, float]:
    """Return from when to when the service sent the sound of a reply; (0, 0) if it does not say."""
    told = [r for r in responses if r.audio_started is not None and r.audio_ended is not None]
    starts = [r.audio_started or 0.0 for r in told]
    ends = [r.audio_ended or 0.0 for r in told]
    return (min(starts), max(ends)) if told else (0.0, 0.0)


def session_at(events: EventLog, time: float) -> Json:
    """Return the session that was in force, or asked for, at a time, in GA form."""
    session: Json = {}
    asked: dict[str, Json] = {}  # what we sent and the server has not spoken of yet
    for event in events:
        if event.time > time:
            break
        if event.type == "session.update" and event.direction == "sent":
            change = _in_ga(object_at(event.data, "session"))
            asked[text_at(event.data, "event_id")] = change
        elif event.type in ("session.created", "session.updated"):
            session = _in_ga(object_at(event.data, "session"))
            if event.type == "session.updated" and asked:
                del asked[next(iter(asked))]
        elif event.type == "error":
            asked.pop(text_at(event.data, "error", "event_id"), None)
    for change in asked.values():
        session = merged(session, change)
    return session


def _in_ga(session: Json) -> Json:
    """Return a session object in GA form; that of a beta server is flat."""
    flat = "audio" not in session and bool(_FLAT & set(session))
    return BETA.session_from_wire(session) if flat else session


def _detection(session: Json) -> Json | None:
    default = {"type": "server_vad"}  # the service's
    found = object_at(session, "audio", "input").get("turn_detection", default)
    return found if found is None or isinstance(found, dict) else default


def _named(detection: Json | None) -> str:
    if detection is None:
        return "off"
    said = ((k, v) for k, v in detection.items() if k in _SAID_OF_DETECTION and v is not None)
    rest = [f"{k} {plain(v, 40)}" for k, v in said]
    return ", ".join([text_at(detection, "type") or "on", *rest])


_SAID_OF_DETECTION: Final = ("silence_duration_ms", "threshold", "eagerness", "create_response")


def _ending(turn: Any) -> str | None:
    """Return a turn's error where it is the call's, and no word of the service's on an event."""
    state, source = turn._state, turn._source
    if state.error is None or state.error == "the service gave no reason":
        return None
    said = {response.error for response in state.responses}
    for event in turn.events:
        if event.type == "error":
            error = object_at(event.data, "error")
            said |= {text_at(error, "message"), text_at(error, "code")}
    if state.error in said and state.error != source.failure:
        return None
    return str(state.error)


def _spoken(audio: RunAudio, start: float | None, end: float | None) -> Spoken:
    """Return how a stretch of what we sent sounds; it is read in blocks."""
    if start is None:
        return Spoken()
    levels = audio.levels("sent", start, end)
    low, high = audio.envelope("sent", start, end)
    duration = max(min(audio.duration, audio.duration if end is None else end) - start, 0.0)
    clip = audio.clip("sent", start, min(start + _LOOKED_AT, start + duration))
    peak = float(max(high.max(initial=0.0), -low.min(initial=0.0)))
    loudest = float(levels.max(initial=_SILENT))
    sounding = np.flatnonzero(levels >= max(loudest - _BELOW_LOUDEST, _FAINTEST))
    return Spoken(
        duration,
        max(dbfs(peak), _SILENT),
        loudest,
        len(sounding) * _WINDOW,
        start + (int(sounding[-1]) + 1) * _WINDOW if len(sounding) else None,
        _clipped(clip),
    )


def _clipped(clip: Clip) -> float:
    return clip.clipped / len(clip) if len(clip) else 0.0
