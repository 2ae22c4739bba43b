"""Calls to replays without a network, and runs written by hand; it knows the peer, not the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from peer_client import prompt_pcm
from simulated_call import SimulatedCall

import rtnb
from rtnb.peer.recordedrun import RecordedRun
from rtnb.peer.replaying import ReplayedConversation
from rtnb.peer.settings import default_session
from rtnb.peer.usage import Tokens, usage
from rtnb.runfiles import RunWriter

RATE = 48_000
QUESTION = "What is the weather like in Paris right now?"
Json = dict[str, Any]


class Replayed(SimulatedCall):
    """A simulated call to the replay of a run."""

    def __init__(self, run: RecordedRun, *, session: Json | None = None, **options: Any) -> None:
        super().__init__()
        self.log.clear()
        session = session or default_session("sess_live") | {"expires_at": 1234}
        self.conversation = ReplayedConversation(run, session, clock=lambda: self.now, **options)
        self.times: list[float] = []
        self.take(self.conversation.opened())

    def take(self, commands: list[Any]) -> None:
        """Note when each event was sent."""
        super().take(commands)
        if hasattr(self, "times"):
            self.times += [self.now] * (len(self.log) - len(self.times))

    def say(self, name: str = "capital_of_france") -> None:
        """Speak a bundled prompt, and wait until the speech has ended."""
        self.hear(prompt_pcm(name, before=0.5, after=0.8))

    def ask(self, text: str = QUESTION) -> Json | None:
        """Write a message and ask for its answer."""
        self.text(text)
        return self.send("response.create")

    def answer_tool(self) -> Json | None:
        """Give a tool's output, and ask for what follows."""
        call_id = self.last("response.function_call_arguments.done")["call_id"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
        self.send("conversation.item.create", item=output)
        return self.send("response.create")

    def failure(self) -> Json:
        """Return why the last response failed."""
        response = self.last("response.done")["response"]
        assert response["status"] == "failed"
        error: Json = response["status_details"]["error"]
        return error


DETECTION = {"type": "server_vad", "create_response": True, "interrupt_response": True}
SESSION = {
    "type": "session.created",
    "session": {
        "type": "realtime",
        "id": "sess_old",
        "audio": {"input": {"turn_detection": DETECTION}},
    },
}
USAGE = usage(Tokens(text=9), Tokens(), Tokens(text=4, audio=60))
Step = tuple[float, str, Json]


def reply(
    at: float, *, name: str = "r1", words: str = "one two three four", done: float = 0.5
) -> list[Step]:
    """Return the events of a spoken reply, 0.1 s for every word."""
    of = {"response_id": name, "output_index": 0, "item_id": f"{name}_item", "content_index": 0}
    head = {"id": f"{name}_item", "object": "realtime.item", "type": "message", "role": "assistant"}
    item = {**head, "status": "in_progress", "content": []}
    part = {"type": "audio", "transcript": ""}
    whole = {
        **item,
        "status": "completed",
        "content": [{"type": "output_audio", "transcript": words}],
    }
    response = {
        "object": "realtime.response",
        "id": name,
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": "conv_old",
        "usage": None,
    }
    shown = {"response_id": name, "output_index": 0}
    events: list[tuple[float, Json]] = [
        (0.0, {"type": "response.created", "response": response}),
        (0.0, {"type": "response.output_item.added", **shown, "item": item}),
        (0.0, {"type": "conversation.item.added", "item": item, "previous_item_id": None}),
        (0.0, {"type": "response.content_part.added", **of, "part": part}),
    ]
    for index, word in enumerate(words.split()):
        delta = word if not index else f" {word}"
        event = {"type": "response.output_audio_transcript.delta", **of, "delta": delta}
        events.append((0.05 + 0.1 * index, event))
    output = {**response, "status": "completed", "output": [whole], "usage": USAGE}
    events += [
        (done, {"type": "response.output_audio.done", **of}),
        (done, {"type": "response.output_audio_transcript.done", **of, "transcript": words}),
        (done, {"type": "response.content_part.done", **of, "part": {**part, "transcript": words}}),
        (done, {"type": "conversation.item.done", "item": whole, "previous_item_id": None}),
        (done, {"type": "response.output_item.done", **shown, "item": whole}),
        (done, {"type": "response.done", "response": output}),
    ]
    return [(at + after, "received", event) for after, event in events]


def buffer(at: float, kind: str, name: str = "r1") -> Step:
    """Return when a sound began or ended."""
    return at, "received", {"type": f"output_audio_buffer.{kind}", "response_id": name}


def written(
    folder: Path,
    steps: list[Step],
    tones: tuple[tuple[float, float], ...] = (),
    dialect: str = "ga",
) -> Path:
    """Write a call of 12 s in which tones were heard from some time to another."""
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"dialect": dialect}))
    writer = RunWriter(folder, sample_rate=RATE)
    for number, (time, direction, event) in enumerate(steps):
        writer.event(time, direction, json.dumps({"event_id": f"event_{number}", **event}))
    block = np.zeros((12 * RATE, 2), np.int16)
    for start, end in tones:
        tone = rtnb.Clip.tone(440, end - start).samples * 32767
        block[int(start * RATE) : int(start * RATE) + len(tone), 1] = tone.astype(np.int16)
    writer.audio(block)
    writer.close()
    return folder


CREATE: Step = (1.0, "sent", {"type": "response.create", "event_id": "c1"})
ASKED: list[Step] = [(0.1, "received", SESSION), CREATE]
SPOKEN = [*ASKED, *reply(1.2), buffer(1.3, "started"), buffer(4.3, "stopped")]
TONE = ((1.35, 4.25),)
