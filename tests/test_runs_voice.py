"""Runs with turns by voice, written by hand: read again they are the same, and measured alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import rtnb
from rtnb.audio import to_pcm
from rtnb.runfiles import RunWriter

RATE = 48_000
GAP = 0.5  # seconds from the end of a question to its reply
QUESTION = np.frombuffer(to_pcm(rtnb.sample("capital_of_france")), np.int16)
LENGTH = len(QUESTION) / RATE
REPLY = np.frombuffer(to_pcm(rtnb.Clip.tone(440, 1.0)), np.int16)

Timed = tuple[float, dict[str, Any]]


def answered(begin: float, item: str) -> list[Timed]:
    """Return the events of a question that begins at a time."""
    end, response = begin + LENGTH, f"r-{item}"
    return [
        (begin + 0.3, {"type": "input_audio_buffer.speech_started", "item_id": item}),
        (end + 0.3, {"type": "input_audio_buffer.speech_stopped", "item_id": item}),
        (end + 0.31, {"type": "input_audio_buffer.committed", "item_id": item}),
        (end + 0.32, {"type": "response.created", "response": {"id": response}}),
        (
            end + 0.5,
            {
                "type": "response.output_audio_transcript.done",
                "item_id": f"a-{item}",
                "transcript": "Paris.",
            },
        ),
        (end + 0.51, {"type": "output_audio_buffer.started"}),
        (end + 0.6, {"type": "response.done", "response": {"id": response}}),
        (end + 1.6, {"type": "output_audio_buffer.stopped"}),
    ]


def ended(number: int, begin: float) -> dict[str, Any]:
    """Return the record of a turn's end."""
    at = begin + LENGTH + 2.0
    return {"record": "ended", "time": at, "turn": number, "status": "completed", "error": None}


def begun(number: int, at: float, kind: str, **known: Any) -> dict[str, Any]:
    """Return the record of a turn's beginning."""
    about = {"name": None, "text": None} | known
    return {"record": "turn", "time": at, "turn": number, "kind": kind, **about}


def written(
    folder: Path, records: list[dict[str, Any]], begins: tuple[float, ...], noise: float = 0.0
) -> Path:
    """Write a call in which the question is asked at each of some times."""
    (folder / "run.json").write_text("{}")
    sound = np.zeros((12 * RATE, 2), np.float64)
    writer = RunWriter(folder, sample_rate=RATE)
    for number, begin in enumerate(begins, 1):
        for at, event in answered(begin, f"u{number}"):
            given = {"response_id": f"r-u{number}", **event}
            writer.event(round(at, 6), "received", json.dumps(given))
        place(sound[:, 0], QUESTION, begin)
        place(sound[:, 1], REPLY, begin + LENGTH + GAP)
    for record in records:
        writer.record(json.dumps(record))
    sound[:, 0] += np.random.default_rng(6).normal(0.0, noise * 32768, len(sound))
    writer.audio(sound.clip(-32768, 32767).astype(np.int16))
    writer.close()
    return folder


def place(channel: npt.NDArray[Any], clip: npt.NDArray[Any], begin: float) -> None:
    """Put a clip into a channel."""
    at = round(begin * RATE)
    channel[at : at + len(clip)] = clip


def test_a_spoken_turn_of_a_run_is_the_same(tmp_path: Path) -> None:
    """Its span begins where it was noted, and ends with speech_stopped."""
    voice = begun(1, 2.3, "microphone", name="microphone", voice=1.3)
    run = rtnb.open_run(written(tmp_path, [voice, ended(1, 2.0)], (2.0,)))
    (turn,) = run.turns
    assert (turn.kind, turn.name, turn.status) == ("microphone", "microphone", "completed")
    assert turn.started == 1.3
    assert turn._state.plays == {"microphone": (1.3, round(2.0 + LENGTH + 0.3, 6))}
    assert turn.transcript == "Paris."
    assert isinstance(turn.prompt, rtnb.Clip)
    assert turn.prompt.duration == pytest.approx(LENGTH + 1.0, abs=1e-3)
    assert (tmp_path / "turns" / "001-prompt.wav").exists()
    assert turn.latency.speech_start is not None
    assert 2.0 <= turn.latency.speech_start < 2.2
    assert turn.latency.committed == pytest.approx(2.0 + LENGTH + 0.31)


@pytest.mark.parametrize("noise", [0.0, 0.0003])
def test_a_spoken_turn_is_measured_like_a_prompt(tmp_path: Path, noise: float) -> None:
    """The same clip, played and spoken, with the same reply: first audio is the same."""
    records = [
        begun(1, 0.9, "audio"),
        {"record": "play", "time": 0.9, "turn": 1, "play": "play-1"},
        {"record": "play_started", "time": 1.0, "play": "play-1"},
        {"record": "play_ended", "time": 1.0 + LENGTH, "play": "play-1"},
        ended(1, 1.0),
        begun(2, 6.3, "microphone", name="microphone", voice=5.3),
        ended(2, 6.0),
    ]
    played, spoken = rtnb.open_run(written(tmp_path, records, (1.0, 6.0), noise)).turns
    for mark in ("first_audio", "speech_end", "speech_start", "speech_stopped", "first_audible"):
        one, other = getattr(played.latency, mark), getattr(spoken.latency, mark)
        since = 0.0 if mark == "first_audio" else 5.0
        assert other - since == pytest.approx(one, abs=0.03), mark


def test_push_to_talk_by_voice_is_read_again(tmp_path: Path) -> None:
    """From its beginning to the commit that left."""
    records = [begun(1, 1.0, "push_to_talk", voice=1.0), ended(1, 2.0)]
    folder = written(tmp_path, records, (2.0,))
    commit = {"type": "input_audio_buffer.commit", "event_id": "rtnb_9"}
    line = {"time": 4.25, "direction": "sent", "event": commit}
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    (turn,) = rtnb.open_run(folder).turns
    assert turn._state.plays == {"microphone": (1.0, 4.25)}


def test_push_to_talk_in_which_nothing_was_said_has_no_voice(tmp_path: Path) -> None:
    """It was noted at its end."""
    silent = {"record": "voice", "time": 2.0, "turn": 1, "start": None}
    records = [begun(1, 1.0, "push_to_talk", voice=1.0), silent]
    (turn,) = rtnb.open_run(written(tmp_path, records, ())).turns
    assert turn._state.plays == {}


def test_a_voice_that_a_sudden_death_cut_off_has_an_end(tmp_path: Path) -> None:
    """That of the recording."""
    voice = begun(1, 2.3, "microphone", name="microphone", voice=1.3)
    (turn,) = rtnb.open_run(written(tmp_path, [voice], ())).turns
    assert turn._state.plays == {"microphone": (1.3, 12.0)}
    assert turn.status == "failed"


@pytest.mark.parametrize("odd", ["soon", None, [1], {"at": 1}])
def test_a_voice_that_is_not_understood_passes_by(tmp_path: Path, odd: Any) -> None:
    """A record of a shape that is not."""
    records = [begun(1, 1.0, "microphone", voice=odd), ended(1, 2.0)]
    (turn,) = rtnb.open_run(written(tmp_path, records, ())).turns
    assert (turn.status, turn._state.plays) == ("completed", {})
