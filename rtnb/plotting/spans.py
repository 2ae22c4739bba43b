"""What lasted from when to when in a call, read from its events and turns; it draws nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rtnb.errors import ConfigurationError
from rtnb.events import Event, EventLog
from rtnb.measure import AUDIBLE_LEVEL
from rtnb.plotting.canvas import in_a_call
from rtnb.runaudio import RunAudio, Side

__all__ = [
    "Remark",
    "Span",
    "View",
    "audible",
    "responses",
    "sayings",
    "speech",
    "tools",
    "view_of",
]

# what begins a span, and what ends it
_SPEECH: Final = ("input_audio_buffer.speech_started", ("input_audio_buffer.speech_stopped",))
_RESPONSE: Final = ("response.created", ("response.done",))
_AUDIBLE: Final = (
    "output_audio_buffer.started",
    ("output_audio_buffer.stopped", "output_audio_buffer.cleared"),
)
_LIMITS: Final = {kind for begin, ends in (_SPEECH, _RESPONSE, _AUDIBLE) for kind in (begin, *ends)}
_PAUSE: Final = 0.3  # seconds of silence within one span of sound
_STEP: Final = 0.020  # seconds of one level


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in seconds on the call's clock; one that has not ended ends at infinity."""

    start: float
    end: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """A text and the second at which it began to be said."""

    time: float
    text: str


@dataclass(frozen=True)
class View:
    """What a timeline is drawn from.

    Attributes
    ----------
    audio : RunAudio
        The recording.
    limits : sequence of Event
        Those of the whole call that begin or end a span, so that one that began before `start`
        is known.
    events : EventLog
        The events to be drawn.
    turns : sequence of Turn
        Those within `start` and `end`.
    start, end : float
        Seconds on the call's clock.
    """

    audio: RunAudio
    limits: Sequence[Event]
    events: EventLog
    turns: Sequence[Any]
    start: float
    end: float


def view_of(recorded: Any) -> View:
    """Return what is to be drawn of a turn, a session or a run.

    Raises
    ------
    ConfigurationError
        It is none of these.
    """
    state = getattr(recorded, "_state", None)
    source = recorded._source if state is not None else recorded
    audio, log = getattr(source, "audio", None), getattr(source, "events", None)
    if not isinstance(audio, RunAudio) or not isinstance(log, EventLog):
        raise ConfigurationError(
            f"A timeline is drawn of a Turn, a Session or a Run, not of {type(recorded).__name__}."
        )
    limits = [event for event in log if event.type in _LIMITS]
    if state is None:
        turns = tuple(getattr(recorded, "turns", ()))
        return View(audio, limits, log, turns, 0.0, max(audio.duration, 0.1))
    start = state.started if in_a_call(state.started) else 0.0
    end = audio.duration if state.ended is None or not in_a_call(state.ended) else state.ended
    return View(audio, limits, recorded.events, (recorded,), start, max(end, start + 0.1))


# --- spans ---------------------------------------------------------------------------------------


def speech(view: View) -> tuple[str, list[Span]]:
    """Return a name and the spans of speech that the service heard.

    Where it reported none, those are taken that can be heard in what was sent, and the name says
    so: with push-to-talk the service listens for no speech.
    """
    spans = _paired(view.limits, *_SPEECH, lambda data: data.get("item_id"))
    seen = _in_view(view, spans)
    return ("speech", seen) if seen else ("speech (local)", _sounding(view, "sent"))


def audible(view: View) -> tuple[str, list[Span]]:
    """Return a name and the spans in which the service sent its reply; else as `speech` does."""
    spans = _paired(view.limits, *_AUDIBLE, lambda data: data.get("response_id"))
    seen = _in_view(view, spans)
    return ("audible", seen) if seen else ("audible (local)", _sounding(view, "heard"))


def responses(view: View) -> list[Span]:
    """Return the spans from response.created to response.done, labelled unless completed."""

    def identity(data: dict[str, Any]) -> Any:
        response = data.get("response")
        return response.get("id") if isinstance(response, dict) else None

    return _paired(view.limits, *_RESPONSE, identity)


def tools(view: View) -> list[Span]:
    """Return the spans in which tools ran, labelled with their names."""
    return [
        Span(call.started, math.inf if call.ended is None else call.ended, call.name)
        for turn in view.turns
        for call in turn.tool_calls
    ]


def _in_view(view: View, spans: Iterable[Span]) -> list[Span]:
    return [span for span in spans if span.start < view.end and span.end > view.start]


def _paired(
    limits: Iterable[Event],
    begin: str,
    ends: Sequence[str],
    identity: Callable[[dict[str, Any]], Any],
) -> list[Span]:
    """Pair events that begin and end something; an end without a beginning is left out."""
    begun: dict[str, float] = {}
    spans = []
    for event in limits:
        if event.type == begin:
            begun[str(identity(event.data))] = event.time
        elif event.type in ends:
            start = begun.pop(str(identity(event.data)), None)
            if start is not None:
                spans.append(Span(start, event.time, _outcome(event)))
    return spans + [Span(start, math.inf) for start in begun.values()]


def _outcome(event: Event) -> str:
    if event.type == "output_audio_buffer.cleared":
        return "cut"
    response = event.data.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    return "" if status in (None, "completed") else str(status)


def _sounding(view: View, side: Side) -> list[Span]:
    """Return where one side can be heard, short pauses included."""
    loud = np.flatnonzero(view.audio.levels(side, view.start, view.end) > AUDIBLE_LEVEL)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > _PAUSE / _STEP)
    firsts, lasts = loud[[0, *(breaks + 1)]], loud[[*breaks, -1]]
    return [
        Span(view.start + float(a) * _STEP, view.start + float(b + 1) * _STEP)
        for a, b in zip(firsts, lasts, strict=True)
    ]


# --- words ---------------------------------------------------------------------------------------


def sayings(view: View) -> tuple[list[Remark], list[Remark]]:
    """Return what was said on each side, with when; prompts are numbered where there are several."""
    prompts, replies = [], []
    for turn in view.turns:
        state = turn._state
        said = turn.prompt_transcript or (f"({turn.name})" if turn.name else "")
        began = state.started if state.play_started is None else state.play_started
        if said:
            number = f"{turn.number}. " if len(view.turns) > 1 else ""
            prompts.append(Remark(began, number + said))
        for response in turn.responses:
            if response.transcript:
                heard = response.audio_started
                began = response.created if heard is None else heard
                replies.append(Remark(began, response.transcript))
    return sorted(prompts, key=lambda r: r.time), sorted(replies, key=lambda r: r.time)
