"""Runs written by hand: who is audible when, what was sent and received, which packets came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import rtnb
from rtnb.runfiles import RunWriter

__all__ = ["RATE", "Written", "asked", "spoken"]

RATE = 48_000
Json = dict[str, Any]
Span = tuple[float, float]


class Written:
    """A call that is made up, turn by turn.

    Parameters
    ----------
    folder
        Where its run is to be.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._sent: list[Span] = []
        self._heard: list[Span] = []
        self._events: list[tuple[float, str, Json]] = []
        self._records: list[Json] = []
        self._packets: list[tuple[Any, ...]] = []
        self._turns = 0

    def turn(self, start: float, *, text: str | None = None, kind: str = "audio") -> int:
        """Begin a turn, and return its number."""
        self._turns += 1
        kind = kind if text is None else "text"
        about = {"turn": self._turns, "kind": kind, "name": None, "text": text}
        self._records.append({"record": "turn", "time": start, **about})
        return self._turns

    def say(self, turn: int, start: float, end: float, *, audible: bool = True) -> None:
        """Play a prompt."""
        play = f"play-{turn}"
        self._records += [
            {"record": "play", "time": start, "turn": turn, "play": play},
            {"record": "play_started", "time": start, "play": play},
            {"record": "play_ended", "time": end, "play": play},
        ]
        self._sent += [(start, end)] * audible

    def ended(self, turn: int, time: float, status: str, error: str | None = None) -> None:
        """End a turn."""
        about = {"turn": turn, "status": status, "error": error}
        self._records.append({"record": "ended", "time": time, **about})

    def event(self, time: float, type: str, *, direction: str = "received", **fields: Any) -> None:
        """Let an event come, or leave."""
        self._events.append((time, direction, {"type": type, **fields}))

    def heard(self, start: float, end: float) -> None:
        """Let something be audible."""
        self._heard.append((start, end))

    def packet(self, *row: Any) -> None:
        """Add a row of packets.csv: kind, sequence, timestamp, time, size, position, concealed."""
        self._packets.append(row)

    def run(self, duration: float) -> rtnb.Run:
        """Write it all, and open it."""
        self._folder.mkdir()
        (self._folder / "run.json").write_text("{}")
        writer = RunWriter(self._folder, sample_rate=RATE)
        for time, direction, event in sorted(self._events, key=lambda one: one[0]):
            writer.event(time, direction, json.dumps(event))
        for record in self._records:
            writer.record(json.dumps(record))
        writer.packets(self._packets)
        writer.audio(np.stack([_tones(s, duration) for s in (self._sent, self._heard)], axis=1))
        writer.close()
        return rtnb.open_run(self._folder)


def _tones(spans: Sequence[Span], duration: float) -> np.ndarray:
    """Return silence with a tone in each span, of which each sample is audible."""
    out = np.zeros(round(duration * RATE), np.int16)
    for start, end in spans:
        first, last = (round(min(time, duration) * RATE) for time in (start, end))
        out[first:last] = np.resize([4000, -4000], last - first)
    return out


def spoken(
    call: Written,
    *,
    start: float = 1.0,
    end: float = 2.0,
    reply: Span | None = (3.0, 4.0),
    n: int = 1,
) -> int:
    """Add a spoken turn, whose reply comes as it does on the service; return its number."""
    turn = call.turn(start)
    call.say(turn, start, end)
    call.event(start + 0.2, "input_audio_buffer.speech_started", item_id=f"u{n}")
    call.event(end + 0.2, "input_audio_buffer.speech_stopped", item_id=f"u{n}")
    call.event(end + 0.21, "input_audio_buffer.committed", item_id=f"u{n}")
    call.event(end + 0.25, "response.created", response={"id": f"r{n}"})
    if reply is not None:
        answered(call, *reply, n=n)
        call.ended(turn, reply[1] + 0.4, "completed")
    return turn


def asked(call: Written, *, at: float = 1.0, reply: Span | None = (2.0, 3.0)) -> int:
    """Add a text turn; return its number."""
    turn = call.turn(at - 0.05, text="Hello?")
    call.event(at, "response.create", direction="sent", event_id="e1")
    call.event(at + 0.1, "response.created", response={"id": "r1"})
    if reply is not None:
        answered(call, *reply)
        call.ended(turn, reply[1] + 0.4, "completed")
    return turn


def answered(call: Written, start: float, end: float, *, n: int = 1) -> None:
    """Let the reply of a response be audible."""
    call.heard(start, end)
    call.event(start - 0.02, "output_audio_buffer.started", response_id=f"r{n}")
    said = {"item_id": f"a{n}", "content_index": 0, "transcript": "Paris."}
    call.event(start, "response.output_audio_transcript.done", response_id=f"r{n}", **said)
    call.event(start + 0.05, "response.done", response={"id": f"r{n}", "status": "completed"})
    call.event(end + 0.02, "output_audio_buffer.stopped", response_id=f"r{n}")
