"""What a server sends and what a user does, as lists for a conversation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rtnb.conversation import Conversation, Effect, Send, TurnOver
from rtnb.dialects import BETA, GA, Dialect
from rtnb.events import Event
from rtnb.turnstate import TurnState

Json = dict[str, Any]

BETA_NAMES = {ga: beta for beta, ga in BETA.received.items()}


# --- what a server sends ------------------------------------------------------------------------


def spoken_input(item: str = "u1") -> list[Json]:
    """Return the events of one committed utterance."""
    user = {"id": item, "type": "message", "role": "user"}
    return [
        {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 0},
        {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 2000},
        {"type": "input_audio_buffer.committed", "item_id": item},
        {"type": "conversation.item.added", "item": user},
        {"type": "conversation.item.done", "item": user},
    ]


def created(response: str = "r1") -> Json:
    """Return response.created."""
    return {"type": "response.created", "response": {"id": response, "status": "in_progress"}}


def done(response: str = "r1", status: str = "completed", **known: Any) -> Json:
    """Return response.done."""
    return {"type": "response.done", "response": {"id": response, "status": status, **known}}


def part(kind: str, response: str = "r1", item: str = "a1") -> Json:
    """Return response.content_part.added."""
    return {
        "type": "response.content_part.added",
        "response_id": response,
        "item_id": item,
        "content_index": 0,
        "part": {"type": kind},
    }


def said(name: str, text: str, response: str = "r1", item: str = "a1") -> Json:
    """Return a delta or the end of a transcript or text; `name` is what follows ``response.``."""
    field = "delta" if name.endswith("delta") else name.split("_")[-1].partition(".")[0]
    place = {"response_id": response, "item_id": item, "content_index": 0}
    return {"type": f"response.{name}", **place, field: text}


def buffer(what: str, response: str = "r1") -> Json:
    """Return an output_audio_buffer event."""
    return {"type": f"output_audio_buffer.{what}", "response_id": response}


def spoken_answer(response: str = "r1", item: str = "a1", text: str = "Paris.") -> list[Json]:
    """Return a whole spoken answer, without the end of its sound."""
    half = len(text) // 2
    return [
        created(response),
        {"type": "response.output_item.added", "response_id": response, "item": {"id": item}},
        {"type": "conversation.item.added", "item": {"id": item, "role": "assistant"}},
        part("audio", response, item),
        said("output_audio_transcript.delta", text[:half], response, item),
        buffer("started", response),
        said("output_audio_transcript.delta", text[half:], response, item),
        {"type": "response.output_audio.done", "response_id": response, "item_id": item},
        said("output_audio_transcript.done", text, response, item),
        {"type": "response.content_part.done", "response_id": response, "item_id": item},
        {"type": "conversation.item.done", "item": {"id": item, "role": "assistant"}},
        {"type": "response.output_item.done", "response_id": response, "item": {"id": item}},
        done(response, usage={"total_tokens": 7}),
        {"type": "rate_limits.updated", "rate_limits": []},
    ]


def calls(*ids: str) -> list[Json]:
    """Return the output items of a response that calls ``weather`` once for each id."""
    return [
        {"type": "function_call", "call_id": i, "name": "weather", "arguments": '{"city": "Rome"}'}
        for i in ids
    ]


def error(event_id: str | None = None, code: str = "invalid_value", message: str = "No.") -> Json:
    """Return an error event."""
    about = {"type": "invalid_request_error", "code": code, "message": message}
    return {"type": "error", "error": {**about, "event_id": event_id}}


def transcription(what: str, item: str = "u1", **fields: Any) -> Json:
    """Return an input_audio_transcription event."""
    return {
        "type": f"conversation.item.input_audio_transcription.{what}",
        "item_id": item,
        **fields,
    }


# --- verbs ----------------------------------------------------------------------------------------


def feed(
    talk: Conversation, events: Iterable[Json], at: float, dialect: Dialect = GA
) -> list[Effect]:
    """Let events arrive, one every 10 ms from `at` on; return what is to be done."""
    effects: list[Effect] = []
    for place, data in enumerate(events):
        event = Event(json.dumps(data), time=at + place / 100, direction="received")
        event.type = dialect.normalised(event.type)
        effects += talk.received(event)
    return effects


def speak(talk: Conversation, begin: float = 0.0, end: float = 2.0) -> TurnState:
    """Begin an audio turn whose prompt has been played."""
    turn, effects = talk.begin_turn(begin, "audio")
    play = f"play-{turn.number}"
    talk.play_queued(turn, play)
    talk.play_started(play, begin)
    talk.play_ended(play, end)
    assert effects == []
    return turn


def write(talk: Conversation, text: str = "Hi", at: float = 0.0) -> tuple[TurnState, list[Json]]:
    """Begin a text turn, and let what it sends leave."""
    turn, effects = talk.begin_turn(at, "text", text=text)
    return turn, leave(talk, effects, at)


def leave(talk: Conversation, effects: Iterable[Effect], at: float) -> list[Json]:
    """Let the events of effects leave; return them."""
    out = [effect.event for effect in effects if isinstance(effect, Send)]
    for event in out:
        talk.sent(Event(json.dumps(event), time=at, direction="sent"))
    return out


def hear(talk: Conversation, begin: float, end: float, level: float = -20.0) -> list[Effect]:
    """Hear sound of one level."""
    return talk.heard(end, [level] * round((end - begin) / 0.02))


def types(events: Iterable[Json]) -> list[str]:
    """Return the types of events."""
    return [event["type"] for event in events]


def overs(effects: Iterable[Effect]) -> list[tuple[int, str]]:
    """Return which turns are over, and how."""
    return [(e.turn.number, e.turn.status) for e in effects if isinstance(e, TurnOver)]


def requested(events: Iterable[Json]) -> list[str]:
    """Return the ids of the response.create events among `events`."""
    return [event["event_id"] for event in events if event["type"] == "response.create"]
