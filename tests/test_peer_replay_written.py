"""Replay of runs written by hand: interruptions, other dialects, and what is broken or missing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from event_orders import CLIENT
from peer_client import prompt_pcm
from replayed_calls import (
    ASKED,
    DETECTION,
    RATE,
    SESSION,
    SPOKEN,
    TONE,
    Replayed,
    Step,
    buffer,
    reply,
    written,
)

from rtnb.errors import ConfigurationError
from rtnb.peer.conversation import Conversation
from rtnb.peer.recordedrun import RecordedRun
from rtnb.peer.replaying import ReplayedConversation
from rtnb.peer.settings import changed, default_session


@pytest.fixture
def long_reply(tmp_path: Path) -> RecordedRun:
    """A run with one reply of 3 s, asked for by response.create alone."""
    return RecordedRun.read(written(tmp_path, SPOKEN, TONE))


def test_speech_into_a_reply_in_progress_cuts_it_short(long_reply: RecordedRun) -> None:
    """Cleared, cancelled with what had been said, truncated where it was; then a mismatch is told."""
    call = Replayed(long_reply)
    call.settings(audio={"input": {"turn_detection": {**DETECTION, "threshold": 0.5}}})
    call.hear(np.zeros(RATE, np.int16))
    call.take(call.conversation.receive({"type": "response.create", "event_id": "live"}))
    call.log.append((CLIENT, {"type": "response.create", "event_id": "live"}))
    call.times.append(call.now)
    call.wait(0.4)
    call.conversation._speech_started(100)
    call.take(call.conversation.tick())
    done = call.last("response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["output"][0]["status"] == "incomplete"
    assert done["output"][0]["content"][0]["transcript"] == "one two"
    assert call.last("response.output_audio_transcript.done")["transcript"] == "one two"
    truncated = call.last("conversation.item.truncated")
    assert truncated["audio_end_ms"] == pytest.approx(100, abs=40)
    assert "output_audio_buffer.cleared" in call.types()
    call.wait(5.0)
    assert "output_audio_buffer.stopped" not in call.types()


def test_a_client_can_cancel_a_replayed_response(long_reply: RecordedRun) -> None:
    """What was generated is still heard, and no more."""
    call = Replayed(long_reply)
    call.send("response.create")
    call.wait(0.4)
    assert call.send("response.cancel") is None
    reason = call.last("response.done")["response"]["status_details"]["reason"]
    assert reason == "client_cancelled"
    start = call.now
    call.drain()
    stopped = call.times[call.log.index(("server", call.last("output_audio_buffer.stopped")))]
    assert 0.5 < stopped - start < 2.5
    assert call.problems() == []


def test_a_response_can_be_cancelled_before_its_first_recorded_event(
    long_reply: RecordedRun,
) -> None:
    """It is then created and cancelled at once."""
    call = Replayed(long_reply)
    call.send("response.create")
    assert call.types() == ["session.created"]
    assert call.send("response.cancel") is None
    assert call.types()[1:] == ["response.created", "response.done"]
    assert call.last("response.done")["response"]["output"] == []
    call.drain()
    assert call.problems() == []


def test_clearing_the_output_stops_the_sound(long_reply: RecordedRun) -> None:
    """After the response is done: cleared and truncated."""
    call = Replayed(long_reply)
    call.send("response.create")
    call.wait(2.0)
    call.send("output_audio_buffer.clear")
    assert call.types()[-2:] == ["output_audio_buffer.cleared", "conversation.item.truncated"]
    assert call.problems() == []


def test_a_reply_without_buffer_events_is_found_by_its_sound(tmp_path: Path) -> None:
    """As in runs of servers that send none."""
    run = RecordedRun.read(written(tmp_path, [*ASKED, *reply(1.2)], TONE))
    ((spoken,),) = run.spoken.values()
    assert spoken.after == pytest.approx(0.35, abs=0.03)
    assert len(spoken.pcm) / 2 / RATE == pytest.approx(2.9, abs=0.06)


def test_a_recorded_interruption_waits_for_a_live_one(tmp_path: Path) -> None:
    """Sound that was cut is followed by a second of silence, in which it can be cut again."""
    steps = [*ASKED, *reply(1.2, done=0.3), buffer(1.3, "started"), buffer(1.6, "cleared")]
    response = next(e["response"] for _, _, e in steps if e["type"] == "response.done")
    details = {"type": "cancelled", "reason": "turn_detected"}
    response.update(status="cancelled", status_details=details)
    run = RecordedRun.read(written(tmp_path, steps, ((1.3, 1.62),)))
    call = Replayed(run)
    call.send("response.create")
    call.wait(0.8)
    assert "response.done" not in call.types()
    call.wait(1.0)
    assert call.last("response.done")["response"]["status_details"] == details


def test_push_to_talk_is_replayed_by_commit(tmp_path: Path) -> None:
    """The commit takes up the recorded one; response.create alone takes up the answer."""
    user = {"id": "u1", "object": "realtime.item", "type": "message", "role": "user"}
    user |= {"status": "completed", "content": [{"type": "input_audio", "transcript": None}]}
    off = {
        **SESSION,
        "session": {**SESSION["session"], "audio": {"input": {"turn_detection": None}}},
    }
    steps: list[Step] = [
        (0.1, "received", off),
        (0.5, "sent", {"type": "input_audio_buffer.commit", "event_id": "k"}),
        (
            0.6,
            "received",
            {"type": "input_audio_buffer.committed", "item_id": "u1", "previous_item_id": None},
        ),
        (
            0.6,
            "received",
            {"type": "conversation.item.added", "item": user, "previous_item_id": None},
        ),
        (
            0.6,
            "received",
            {"type": "conversation.item.done", "item": user, "previous_item_id": None},
        ),
        *SPOKEN[1:],
    ]
    call = Replayed(RecordedRun.read(written(tmp_path, steps, TONE)))
    call.hear(prompt_pcm("leap_year"))
    assert "input_audio_buffer.speech_started" not in call.types()
    call.send("input_audio_buffer.commit")
    call.wait(0.2)
    assert call.last("input_audio_buffer.committed")["item_id"] == "u1"
    call.send("response.create")
    call.drain()
    assert call.last("response.done")["response"]["status"] == "completed"
    assert call.problems() == []


def test_a_response_waits_for_the_one_in_progress(long_reply: RecordedRun) -> None:
    """Speech that interrupts nothing is answered when the recorded response is done."""
    call = Replayed(long_reply)
    call.input(turn_detection={"type": "server_vad", "interrupt_response": False})
    speech = prompt_pcm("leap_year", after=0.8)
    call.hear(speech[:-RATE])
    call.send("response.create")
    call.hear(speech[-RATE:])
    call.drain()
    assert call.types().count("response.done") == 2
    assert call.failure()["code"] == "replay_exhausted"
    assert call.problems() == []


def test_a_response_outside_the_conversation_fits_only_such_a_one(long_reply: RecordedRun) -> None:
    """The recorded one belongs to the conversation; what was made before is left for it."""
    call = Replayed(long_reply)
    call.send("response.create", response={"conversation": "none"})
    assert "outside the conversation" in call.failure()["message"]
    assert call.last("response.done")["response"]["conversation_id"] is None
    call.send("response.create")
    call.drain()
    assert call.last("response.done")["response"]["id"] == "r1"
    assert call.problems() == []


def test_a_refused_request_is_no_turn_of_the_record(tmp_path: Path) -> None:
    """What was refused then is judged anew now."""
    error = {"type": "invalid_request_error", "code": "x", "message": "No.", "event_id": "c0"}
    refused: list[Step] = [
        (0.5, "sent", {"type": "response.create", "event_id": "c0"}),
        (0.6, "received", {"type": "error", "error": error}),
    ]
    run = RecordedRun.read(written(tmp_path, [SPOKEN[0], *refused, *SPOKEN[1:]], TONE))
    assert [part.cue for part in run.parts] == ["response"]
    call = Replayed(run)
    assert call.send("response.create") is None
    call.drain()
    assert "error" not in call.types()


def test_a_beta_run_is_replayed_in_ga_names(tmp_path: Path) -> None:
    """With the conversation.item.done that beta does not send, and without what only beta has."""
    beta = []
    for time, direction, event in SPOKEN:
        wire = {
            **event,
            "type": event["type"].replace("output_audio_transcript", "audio_transcript"),
        }
        wire["type"] = wire["type"].replace("output_audio.done", "audio.done")
        wire["type"] = wire["type"].replace("conversation.item.added", "conversation.item.created")
        if wire["type"] == "session.created":
            wire["session"] = {
                "id": "old",
                "turn_detection": DETECTION,
                "temperature": 0.8,
                "modalities": ["text"],
            }
        if wire["type"] != "conversation.item.done":
            beta.append((time, direction, wire))
    call = Replayed(RecordedRun.read(written(tmp_path, beta, TONE, "beta")))
    call.send("response.create")
    call.drain()
    session = call.last("session.created")["session"]
    assert (session["output_modalities"], "temperature" in session) == (["text"], False)
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
    expected = [e["type"] for _, _, e in SPOKEN if "buffer" not in e["type"] and _ != "sent"]
    assert [t for t in call.types() if "buffer" not in t] == expected
    assert call.problems() == []


def broken(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Return what makes a run and then spoils it."""

    def make(folder: Path) -> Path:
        change(written(folder, SPOKEN, TONE))
        return folder

    return make


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: folder / "nowhere", "There is no run in"),
        (broken(lambda folder: (folder / "events.jsonl").unlink()), "it has no events.jsonl"),
        (broken(lambda folder: (folder / "events.jsonl").write_text("{]\n")), "no session.created"),
        (broken(lambda folder: (folder / "run.json").write_text("{")), "cannot be read"),
        (broken(lambda folder: (folder / "audio.wav").unlink()), "audio.wav, which holds"),
        (lambda folder: written(folder, SPOKEN[:2]), "holds no reply"),
    ],
)
def test_a_broken_run_is_told_in_one_sentence(
    make: Callable[[Path], Path], why: str, tmp_path: Path
) -> None:
    """It names the folder and what is missing."""
    folder = make(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        RecordedRun.read(folder)
    assert why in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_run_that_was_cut_by_a_sudden_death_is_replayed_as_far_as_it_goes(tmp_path: Path) -> None:
    """A response without its end, and a last line that is half written."""
    folder = written(tmp_path, SPOKEN[:10], TONE)
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"time": 4.0, "dire')
    call = Replayed(RecordedRun.read(folder))
    call.send("response.create")
    call.drain()
    assert call.types()[-1] == "output_audio_buffer.stopped"
    assert call.send("response.cancel") is None
    assert call.last("response.done")["response"]["status"] == "cancelled"


def test_it_has_every_method_of_a_conversation() -> None:
    """A call does not know which of the two it runs."""
    public = {name for name in dir(Conversation) if not name.startswith("_")}
    assert public <= set(dir(ReplayedConversation))


def test_a_transcription_session_gets_no_recorded_reply(long_reply: RecordedRun) -> None:
    """Its speech is committed; the session and the record stay what they are."""
    session = changed(default_session("sess_live"), {"type": "transcription"}, started=False)
    call = Replayed(long_reply, session=session | {"expires_at": 1234})
    assert call.last("session.created")["session"]["type"] == "transcription"
    call.say()
    call.drain()
    assert call.types()[-1] == "conversation.item.done"
    assert not [kind for kind in call.types() if kind.startswith("response.")]
    error = call.send("response.create")
    assert error is not None and "creates no responses" in error["message"]


def test_client_events_are_checked_as_in_any_call(long_reply: RecordedRun) -> None:
    """What a truncation lacks or has of a wrong type, a session that is not there, an id."""
    call = Replayed(long_reply)
    call.send("response.create")
    call.drain()
    truncate = {"type": "conversation.item.truncate", "item_id": "r1_item", "content_index": 0}
    for event, param in (
        (truncate, "audio_end_ms"),
        (truncate | {"audio_end_ms": True}, "audio_end_ms"),
        (truncate | {"audio_end_ms": 60_000}, "audio_end_ms"),
        ({"type": "session.update"}, "session"),
        ({"type": "response.cancel", "response_id": 3}, "response_id"),
        ({"type": "input_audio_buffer.append"}, "audio"),
        ({"type": "input_audio_buffer.clear", "event_id": "x" * 600}, "event_id"),
    ):
        call.take(call.conversation.receive({"event_id": "mine", **event}))
        assert call.last("error")["error"]["param"] == param


def test_a_replayed_item_is_retrieved_with_its_sound(long_reply: RecordedRun) -> None:
    """As long as it is, and after a truncation as long as was left of it, without its words."""
    call = Replayed(long_reply)
    call.send("response.create")
    call.drain()
    lengths = []
    for end_ms in (1000, 0):
        call.send("conversation.item.retrieve", item_id="r1_item")
        part = call.last("conversation.item.retrieved")["item"]["content"][0]
        lengths.append(len(base64.b64decode(part["audio"])) / 2 / 24_000)
        where = {"item_id": "r1_item", "content_index": 0, "audio_end_ms": end_ms}
        assert call.send("conversation.item.truncate", **where) is None
    assert lengths == pytest.approx([3.0, 1.0], abs=0.1)
    assert "transcript" not in part
    assert call.problems() == []


def test_a_second_channel_is_greeted_under_an_id_of_its_own(long_reply: RecordedRun) -> None:
    """No two events of a call have the same id."""
    call = Replayed(long_reply)
    call.take(call.conversation.opened())
    first, second = call.events("session.created")
    assert first["session"] == second["session"] and first["event_id"] != second["event_id"]


def test_audio_may_come_in_events(long_reply: RecordedRun) -> None:
    """As on any call: it fills the input audio buffer."""
    call = Replayed(long_reply)
    silence = base64.b64encode(bytes(2 * 24_000)).decode()
    assert call.send("input_audio_buffer.append", audio=silence) is None
    assert call.send("input_audio_buffer.commit") is None
    assert "input_audio_buffer.committed" in call.types()
