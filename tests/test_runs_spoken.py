"""Runs of spoken turns: whose prompt it was, what tools gave, and what survives a kill -9."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtnb
from rtnb.runfiles import RunWriter

RATE = 48_000
Timed = tuple[float, dict[str, Any]]

EVENTS: list[Timed] = [
    (1.2, {"type": "input_audio_buffer.speech_started", "item_id": "u1"}),
    (2.3, {"type": "input_audio_buffer.speech_stopped", "item_id": "u1"}),
    (2.4, {"type": "input_audio_buffer.committed", "item_id": "u1"}),
    (2.5, {"type": "response.created", "response": {"id": "r1"}}),
    (2.9, {"type": "output_audio_buffer.started", "response_id": "r1"}),
    (
        3.0,
        {"type": "response.output_audio_transcript.done", "item_id": "a1", "transcript": "Paris."},
    ),
    (3.1, {"type": "response.done", "response": {"id": "r1", "status": "completed"}}),
    (4.1, {"type": "output_audio_buffer.stopped", "response_id": "r1"}),
]
TURN = {"record": "turn", "time": 0.9, "turn": 1, "kind": "audio", "name": "france", "text": None}
PLAY = {"record": "play", "time": 0.9, "turn": 1, "play": "play-1"}
REST = [
    {"record": "play_started", "time": 1.0, "play": "play-1"},
    {"record": "play_ended", "time": 2.0, "play": "play-1"},
    {"record": "ended", "time": 4.5, "turn": 1, "status": "completed", "error": None},
    {"record": "closed", "time": 5.0, "reason": "closed by the user"},
]


def written(
    folder: Path, records: list[dict[str, Any]], events: list[Timed] = EVENTS, dialect: str = "ga"
) -> Path:
    """Write a call of 5 s: we speak from 1 to 2 s, they from 3 to 4 s."""
    (folder / "run.json").write_text(json.dumps({"dialect": dialect}))
    writer = RunWriter(folder, sample_rate=RATE)
    for time, event in events:
        writer.event(time, "received", json.dumps({"response_id": "r1", **event}))
    for record in records:
        writer.record(json.dumps(record))
    block = np.zeros((5 * RATE, 2), np.int16)
    tone = (rtnb.Clip.tone(440, 1.0).samples * 32767).astype(np.int16)
    block[RATE : 2 * RATE, 0] = block[3 * RATE : 4 * RATE, 1] = tone
    writer.audio(block)
    writer.close()
    return folder


def test_a_spoken_turn_is_measured_from_the_recording(tmp_path: Path) -> None:
    """Prompt, reply and latency come from audio.wav: speech ends at 2 s, the reply begins at 3 s."""
    (turn,) = rtnb.open_run(written(tmp_path, [TURN, PLAY, *REST])).turns
    assert (turn.name, turn.status, turn.transcript) == ("france", "completed", "Paris.")
    assert isinstance(turn.prompt, rtnb.Clip)
    assert turn.prompt.duration == 1.0
    assert turn.reply.duration == pytest.approx(1.1, abs=0.02)
    assert turn.latency.first_audio == pytest.approx(1.0, abs=0.03)
    assert rtnb.Clip.read(tmp_path / "turns/001-prompt.wav").duration == 1.0


def test_a_play_belongs_to_the_turn_that_it_names(tmp_path: Path) -> None:
    """Also when a later turn had begun before the clip was queued."""
    later = {"record": "turn", "time": 0.95, "turn": 2, "kind": "text", "name": None, "text": "Hi"}
    records = [TURN, later, {**PLAY, "time": 0.97}, *REST]
    first, second = rtnb.open_run(written(tmp_path, records)).turns
    assert isinstance(first.prompt, rtnb.Clip)
    assert first.prompt.duration == 1.0
    assert second.prompt == "Hi"
    assert second._state.plays == {}


def test_a_tools_result_is_in_the_run(tmp_path: Path) -> None:
    """What it gave, and what went wrong."""
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    done = {"type": "response.done", "response": {"id": "r1", "output": [call]}}
    events = [(t, done if e["type"] == "response.done" else e) for t, e in EVENTS]
    gave = {"record": "tool", "time": 3.2, "call_id": "c1", "output": "{}", "error": "KeyError"}
    run = rtnb.open_run(written(tmp_path, [TURN, PLAY, *REST, gave], events))
    (made,) = run.turns[0].tool_calls
    assert (made.name, made.output, made.error, made.ended) == ("weather", "{}", "KeyError", 3.2)


def test_a_beta_run_is_read_in_ga_names(tmp_path: Path) -> None:
    """run.json names the dialect; events.jsonl keeps what was really sent."""
    events = [
        (t, {**e, "type": e["type"].replace("output_audio_transcript", "audio_transcript")})
        for t, e in EVENTS
    ]
    run = rtnb.open_run(written(tmp_path, [TURN, PLAY, *REST], events, "beta"))
    assert run.turns[0].transcript == "Paris."
    (event,) = run.events.select("response.output_audio_transcript.done")
    assert event.data["type"] == "response.audio_transcript.done"


def test_an_unknown_dialect_is_read_as_ga(tmp_path: Path) -> None:
    """A run of a newer version still opens."""
    run = rtnb.open_run(written(tmp_path, [TURN, PLAY, *REST], dialect="live"))
    assert run.turns[0].transcript == "Paris."


def test_records_that_are_not_understood_pass_by(tmp_path: Path) -> None:
    """Unknown ones, and known ones of which something is missing."""
    odd: list[dict[str, Any]] = [{"record": "mood", "time": 1.0}, {"time": 1.0}]
    odd += [{"record": kind, "time": 0.1} for kind in ("play", "play_started", "play_ended")]
    odd += [{"record": kind, "time": 4.6} for kind in ("ended", "tool")]
    odd += [{"record": "play", "time": 4.6, "turn": 9, "play": "play-9"}]
    run = rtnb.open_run(written(tmp_path, [*odd, TURN, PLAY, *REST]))
    assert [turn.status for turn in run.turns] == ["completed"]


@pytest.mark.parametrize(
    ("until", "status"), [(2.45, "failed"), (3.05, "incomplete"), (9.0, "completed")]
)
def test_a_turn_without_its_end_ends_as_it_was_heard(
    until: float, status: str, tmp_path: Path
) -> None:
    """Died before the answer, in mid-reply, and after it had been heard in full."""
    events = [one for one in EVENTS if one[0] < until]
    run = rtnb.open_run(written(tmp_path, [TURN, PLAY, *REST[:2]], events))
    assert (run.turns[0].status, run.complete) == (status, False)


WRITE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from rtnb.runfiles import RunWriter
writer = RunWriter(Path(sys.argv[1]), sample_rate=48000)
count = 0
while True:
    count += 1
    writer.event(count / 50, "received", '{"type": "x", "n": %d}' % count)
    writer.audio(np.full((960, 2), count % 30000, np.int16))
    if count == 100:
        print("now", flush=True)
"""


def test_what_was_written_before_a_kill_is_there(tmp_path: Path) -> None:
    """kill -9 of a real writer in full flight: every event and block before it is readable."""
    (tmp_path / "run.json").write_text("{}")
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"now\n"
        writer.send_signal(signal.SIGKILL)
    run = rtnb.open_run(tmp_path)
    assert [event.data["n"] for event in run.events] == list(range(1, len(run.events) + 1))
    assert len(run.events) >= 100
    blocks = run.heard.samples[: 100 * 960].reshape(100, 960) * 32768
    assert (blocks == np.arange(1, 101)[:, None]).all()
    with wave.open(str(tmp_path / "audio.wav")) as audio:
        assert audio.getnframes() >= 99 * 960
