"""A conversation driven by hand: lists of events in, effects and states out, with no I/O."""

from __future__ import annotations

import json

from rtnb.conversation import Conversation, RunTool, Send, TurnOver
from rtnb.dialects import GA
from rtnb.events import Event

LOUD = -20.0
QUIET = -120.0


class Talk:
    """A `Conversation` with a clock; every step moves the clock on by a tenth of a second."""

    def __init__(self, dialect=GA):
        self.core = Conversation(dialect)
        self.dialect = dialect
        self.now = 0.0
        self.effects = []

    def receives(self, *events):
        """Take events from the server: a type with fields, as (type, {...}) or just a type."""
        for event in events:
            kind, fields = (event, {}) if isinstance(event, str) else event
            self.now = round(self.now + 0.1, 3)
            text = json.dumps({"type": kind, **fields})
            arrived = Event(text, time=self.now, direction="received")
            arrived.type = self.dialect.normalised(arrived.type)
            self.effects += self.core.received(arrived)

    def flushes(self):
        """Let everything that we wanted to send leave, and return it."""
        out = [effect.event for effect in self.effects if isinstance(effect, Send)]
        self.effects = [e for e in self.effects if not isinstance(e, Send)]
        for event in out:
            self.leaves(event)
        return out

    def leaves(self, event):
        """Note that one event of ours went out."""
        self.now = round(self.now + 0.01, 3)
        self.core.sent(Event(json.dumps(event), time=self.now, direction="sent"))

    def asks(self, text="Hello?"):
        """Begin a text turn, send what it needs, and return it."""
        turn, effects = self.core.begin_turn(self.now, "text", text=text)
        self.effects += effects
        return turn

    def speaks(self, seconds=1.0, *, ends=True):
        """Play a clip for a new turn, and return the turn."""
        turn, _ = self.core.begin_turn(self.now, "audio", name="clip")
        play = f"play-{turn.number}"
        self.core.play_queued(turn, play)
        self.core.play_started(play, self.now)
        self.now = round(self.now + seconds, 3)
        if ends:
            self.core.play_ended(play, self.now)
        return turn

    def hears(self, seconds, level=QUIET):
        """Let audio of one level be written to disk for so many seconds."""
        for _ in range(round(seconds / 0.1)):
            self.now = round(self.now + 0.1, 3)
            self.effects += self.core.heard(self.now, [level] * 5)

    def tool_calls(self):
        """Return the tool calls that were asked for, and forget them."""
        found = [e for e in self.effects if isinstance(e, RunTool)]
        self.effects = [e for e in self.effects if not isinstance(e, RunTool)]
        return found

    def over(self):
        """Return the numbers of the turns that were reported over."""
        return [e.turn.number for e in self.effects if isinstance(e, TurnOver)]


def types(events):
    """Return the types of client events."""
    return [event["type"] for event in events]


def heard_speech(item="item_1"):
    """Return the events of turn detection hearing one utterance."""
    about = {"item_id": item}
    return [
        ("input_audio_buffer.speech_started", about | {"audio_start_ms": 0}),
        ("input_audio_buffer.speech_stopped", about | {"audio_end_ms": 900}),
        ("input_audio_buffer.committed", about),
        ("conversation.item.added", {"item": {"id": item, "role": "user"}}),
        ("conversation.item.done", {"item": {"id": item, "role": "user"}}),
    ]


def created(response="resp_1"):
    return ("response.created", {"response": {"id": response, "status": "in_progress"}})


def done(response="resp_1", status="completed", **fields):
    return ("response.done", {"response": {"id": response, "status": status, **fields}})


def sound(what, response="resp_1"):
    return (f"output_audio_buffer.{what}", {"response_id": response})


def audio_part(response="resp_1", item="item_a"):
    about = {"response_id": response, "item_id": item, "content_index": 0}
    return ("response.content_part.added", about | {"part": {"type": "audio"}})


def said(text, response="resp_1", item="item_a", *, kind="response.output_audio_transcript"):
    """Return the delta and the end of one transcript or text."""
    about = {"response_id": response, "item_id": item, "content_index": 0}
    whole = "text" if kind.endswith("text") else "transcript"
    return [
        (f"{kind}.delta", about | {"delta": text[:3]}),
        (f"{kind}.delta", about | {"delta": text[3:]}),
        (f"{kind}.done", about | {whole: text}),
    ]


def answer(text="Paris.", response="resp_1", item="item_a"):
    """Return a spoken answer up to its response.done (PROTOCOL 4.4 A)."""
    about = {"response_id": response, "item_id": item, "content_index": 0}
    return [
        created(response),
        ("response.output_item.added", {"response_id": response, "item": {"id": item}}),
        ("conversation.item.added", {"item": {"id": item, "role": "assistant"}}),
        audio_part(response, item),
        sound("started", response),
        *said(text, response, item),
        ("response.output_audio.done", about),
        ("response.content_part.done", about),
        ("conversation.item.done", {"item": {"id": item}}),
        ("response.output_item.done", {"response_id": response, "item": {"id": item}}),
        done(response, usage={"total_tokens": 10}),
        ("rate_limits.updated", {"rate_limits": []}),
    ]


def function_call(call="call_1", name="weather", arguments='{"city": "Oslo"}'):
    return {"type": "function_call", "call_id": call, "name": name, "arguments": arguments}


def refused(event, code="invalid_value", message="No."):
    """Return the error event that answers one of ours."""
    about = {"type": "invalid_request_error", "code": code, "message": message}
    return ("error", {"error": about | {"event_id": event["event_id"]}})
