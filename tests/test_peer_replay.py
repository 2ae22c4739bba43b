"""Replay of saved runs: a real call answered with a recording, and that recording without time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peer_client import prompt_pcm
from replayed_calls import QUESTION, RATE, Replayed
from sdk_types import wrong_in

import rtnb
from rtnb.errors import ConfigurationError
from rtnb.peer.recordedrun import RecordedRun

Json = dict[str, Any]
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


def weather(city: str) -> Json:
    """Say how the weather is."""
    return {"city": city, "temperature": 14}


IN_TEXT = {"type": "realtime", "output_modalities": ["text"]}


def called(endpoint: rtnb.Peer, folder: Path) -> rtnb.Run:
    """Make the call: one spoken turn, and one in text with a tool."""
    with rtnb.connect(endpoint, transcription=True, tools=[weather], record_to=folder) as session:
        session.send(rtnb.sample("capital_of_france")).wait()
        session.send_event({"type": "session.update", "session": IN_TEXT})
        session.send(QUESTION).wait()
    return rtnb.open_run(folder)


@pytest.fixture(scope="module")
def run(peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory) -> rtnb.Run:
    """A recorded call: the run that is replayed."""
    return called(peer, tmp_path_factory.mktemp("replay") / "run")


@pytest.fixture(scope="module")
def recorded(run: rtnb.Run) -> RecordedRun:
    """The same run, as a peer reads it."""
    return RecordedRun.read(run.folder)


APART = ("output_audio_buffer.", "conversation.item.input_audio_transcription.")


def received(run: rtnb.Run) -> tuple[list[str], list[str]]:
    """Return the types of the server's events in order, and sorted those that come on their own time.

    Sound and transcription run beside the response: when they come is no matter of order.
    """
    types = [e.type for e in run.events if e.direction == "received"]
    apart = [t for t in types if t.startswith(APART)]
    return [t for t in types if t not in apart], sorted(apart)


def likeness(one: rtnb.Clip, other: rtnb.Clip) -> float:
    """Return how alike two clips are: the median correlation of pieces of 0.4 s, wherever they lie.

    What a busy machine delays shifts the rest, which is still the same sound.
    """
    length = one.sample_rate * 2 // 5
    size = len(one) + length
    whole, sums = np.fft.rfft(one.samples, size), np.cumsum(np.pad(one.samples**2, (1, 0)))
    powers = np.maximum(sums[length:] - sums[:-length], 1e-9)
    found = []
    for start in range(0, len(other) - length + 1, length):
        piece = other.samples[start : start + length]
        products = np.fft.irfft(whole * np.conj(np.fft.rfft(piece, size)), size)[: len(powers)]
        found.append((products / np.sqrt(powers * (piece**2).sum() + 1e-12)).max())
    return float(np.median(found))


def first_audio(turn: rtnb.Turn) -> float:
    """Return after how many seconds a turn's reply was heard."""
    assert turn.latency.first_audio is not None
    return turn.latency.first_audio


def distances(run: rtnb.Run) -> dict[str, float]:
    """Return when each event of the spoken turn came, from the end of the speech; by its id."""
    events = [e for e in run.events if e.direction == "received"]
    types = [e.type for e in events]
    begin = types.index("input_audio_buffer.speech_stopped")
    end = types.index("response.done")
    return {e.data["event_id"]: e.time - events[begin].time for e in events[begin + 1 : end + 1]}


# --- a real call ---------------------------------------------------------------------------------


def test_a_call_to_a_replay_is_the_recorded_call_again(run: rtnb.Run, tmp_path: Path) -> None:
    """Events, transcripts, tools, sound, and when all of that comes."""
    with rtnb.Peer(replay=run.folder) as peer:
        again = called(peer, tmp_path / "again")
    assert received(again) == received(run)
    for old, new in zip(run.turns, again.turns, strict=True):
        assert (new.status, new.transcript) == ("completed", old.transcript)
        assert [(c.call_id, c.arguments) for c in new.tool_calls] == [
            (c.call_id, c.arguments) for c in old.tool_calls
        ]
    old, new = run.turns[0], again.turns[0]
    assert likeness(old.reply, new.reply) > 0.9
    assert new.reply.duration == pytest.approx(old.reply.duration, abs=0.3)
    assert first_audio(new) == pytest.approx(first_audio(old), abs=0.5)
    before, now = distances(run), distances(again)
    late = [abs(now[name] - before[name]) for name in before.keys() & now.keys()]
    assert len(late) > 15
    assert np.median(late) < 0.06  # a busy machine may hold up some of them


def test_a_run_that_cannot_be_replayed_is_refused_at_once(tmp_path: Path) -> None:
    """The peer does not start; the sentence names the folder and what is missing."""
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"cannot be replayed: it has no events\.jsonl"):
        rtnb.Peer(replay=tmp_path)


# --- the record, turn by turn ----------------------------------------------------------------------


def test_a_spoken_turn_gets_the_recorded_events(run: rtnb.Run, recorded: RecordedRun) -> None:
    """With the recorded ids and contents; the times of the speech are this call's."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    kept = [e.data for e in run.events if e.direction == "received"]
    started = next(e for e in kept if e["type"] == "input_audio_buffer.speech_started")
    done = next(e for e in kept if e["type"] == "response.done")
    live = call.last("input_audio_buffer.speech_started")
    assert (live["item_id"], live["event_id"]) == (started["item_id"], started["event_id"])
    assert live["audio_start_ms"] == pytest.approx(500 - 300, abs=120)
    assert call.last("response.done") == done
    assert call.last("conversation.item.input_audio_transcription.completed") in kept
    assert call.problems() == []


def test_events_and_sound_follow_at_their_recorded_distance(
    run: rtnb.Run, recorded: RecordedRun
) -> None:
    """From the end of the user's speech, to the millisecond; the first packet within one of it."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    live = {
        event.get("event_id"): time
        for (_, event), time in zip(call.log, call.times, strict=True)
        if event["type"] != "conversation.item.truncated"
    }
    kept = {e.data["event_id"]: e for e in run.events if e.direction == "received"}
    stopped = next(i for i, e in kept.items() if e.type == "input_audio_buffer.speech_stopped")
    both = [i for i in live if i in kept and kept[i].time >= kept[stopped].time]
    assert len(both) > 15
    for event_id in both:
        distance = kept[event_id].time - kept[stopped].time
        assert live[event_id] - live[stopped] == pytest.approx(distance, abs=0.001)
    sound = next(e.time for e in kept.values() if e.type == "output_audio_buffer.started")
    begun = call.times[call.log.index(("server", call.last("output_audio_buffer.started")))]
    assert begun - live[stopped] == pytest.approx(sound - kept[stopped].time, abs=0.02)


def test_a_tool_turn_goes_on_with_the_tools_output(run: rtnb.Run, recorded: RecordedRun) -> None:
    """The recorded call, the client's output, and the recorded answer to it."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    call.ask()
    call.drain()
    assert call.last("response.function_call_arguments.done")["name"] == "weather"
    assert call.answer_tool() is None
    call.drain()
    assert call.last("response.done")["response"]["status"] == "completed"
    assert call.last("response.output_text.done")["text"] == run.turns[1].transcript
    assert call.problems() == []


def test_the_clients_items_have_their_recorded_ids_unless_they_bring_their_own(
    run: rtnb.Run, recorded: RecordedRun
) -> None:
    """What the server names is named as it was; what the client names keeps its name."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    call.text(QUESTION)
    named = [e.data["item"]["id"] for e in run.events.select("conversation.item.added")]
    assert call.last("conversation.item.added")["item"]["id"] in named
    call.text("More.", id="mine")
    assert call.last("conversation.item.done")["item"]["id"] == "mine"
    call.send("response.create")
    call.drain()
    added = call.last("conversation.item.added")
    assert (added["item"]["type"], added["previous_item_id"]) == ("function_call", "mine")


def test_every_call_begins_the_record_anew(recorded: RecordedRun) -> None:
    """Two calls at once, one ahead of the other."""
    first, second = Replayed(recorded), Replayed(recorded)
    for call in (first, second):
        call.say()
        call.drain()
    assert [e["type"] for e in first.events()] == [e["type"] for e in second.events()]
    assert first.last("response.done") == second.last("response.done")


def test_the_session_is_the_recorded_one(run: rtnb.Run, recorded: RecordedRun) -> None:
    """With this call's expiry; a change is laid over it."""
    call = Replayed(recorded)
    created = next(e.data["session"] for e in run.events.select("session.created"))
    assert call.last("session.created")["session"] == created | {"expires_at": 1234}
    call.settings(instructions="Be brief.")
    updated = call.last("session.updated")["session"]
    assert (updated["instructions"], updated["id"]) == ("Be brief.", created["id"])
    assert call.settings(audio={"output": {"speed": 9}})["param"] == "session.audio.output.speed"


# --- what does not fit -----------------------------------------------------------------------------


def test_text_where_speech_was_recorded_fails_and_says_so(recorded: RecordedRun) -> None:
    """Nothing is made up, and the record still waits for what fits."""
    call = Replayed(recorded)
    call.ask()
    assert call.failure()["code"] == "replay_mismatch"
    assert "goes on with speech, but this call with a response.create" in call.failure()["message"]
    call.say()
    call.drain()
    assert call.last("response.done")["response"]["status"] == "completed"
    assert call.problems() == []


def test_speech_where_text_was_recorded_fails_and_says_so(recorded: RecordedRun) -> None:
    """The speech itself is heard and committed."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    call.say("leap_year")
    call.drain()
    assert call.failure()["code"] == "replay_mismatch"
    assert call.types().count("input_audio_buffer.committed") == 2
    assert call.problems() == []


def test_a_record_that_is_used_up_says_so(recorded: RecordedRun) -> None:
    """The call after the last turn fails, in speech and in text."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    call.ask()
    call.drain()
    call.answer_tool()
    call.drain()
    call.ask("And tomorrow?")
    assert call.failure()["code"] == "replay_exhausted"
    call.say("leap_year")
    call.drain()
    assert call.failure()["code"] == "replay_exhausted"
    assert call.problems() == []


def test_one_response_at_a_time(recorded: RecordedRun) -> None:
    """A response.create while the recorded one is in progress gets the API's error."""
    call = Replayed(recorded)
    call.say()
    call.drain()
    call.ask()
    error = call.send("response.create")
    assert error is not None
    assert error["code"] == "conversation_already_has_active_response"
    call.drain()
    assert call.problems() == []


def test_what_is_no_client_event_is_refused(recorded: RecordedRun) -> None:
    """As are items that are not there, and too short a commit."""
    call = Replayed(recorded)
    for event in ("nonsense", "input_audio_buffer.append", "response.cancel"):
        assert call.send(event) is not None
    for event in ("retrieve", "delete", "truncate"):
        assert call.send(f"conversation.item.{event}", item_id="none") is not None
    error = call.send("input_audio_buffer.commit")
    assert error is not None and error["code"] == "input_audio_buffer_commit_empty"
    assert call.problems() == []


def test_a_call_to_a_replay_expires(recorded: RecordedRun) -> None:
    """After the lifetime of its own session."""
    call = Replayed(recorded, lifetime=5.0)
    call.wait(6.0)
    assert call.last("error")["error"]["code"] == "session_expired"
    assert call.ended is not None


def test_speech_into_the_sound_of_a_finished_reply_truncates_it(recorded: RecordedRun) -> None:
    """The response stays completed; the sound and the transcript are cut."""
    call = Replayed(recorded)
    call.say()
    call.wait(0.2)
    call.say("leap_year")
    call.drain()
    types = call.types()
    assert types.index("response.done") < types.index("output_audio_buffer.cleared")
    assert call.events("response.done")[0]["response"]["status"] == "completed"
    assert call.last("conversation.item.truncated")["audio_end_ms"] > 0
    assert call.problems() == []


def test_transcription_is_sent_where_it_is_wanted(recorded: RecordedRun) -> None:
    """Turned off, the recorded one is left out; of audio that is in no record, it fails."""
    call = Replayed(recorded)
    call.input(transcription=None)
    call.say()
    call.drain()
    assert not [t for t in call.types() if "transcription" in t]
    call.input(transcription={"model": "gpt-transcribe"})
    call.say("leap_year")
    failed = call.last("conversation.item.input_audio_transcription.failed")
    assert failed["error"]["code"] == "replay_mismatch"


def test_replies_and_transcriptions_can_come_late(recorded: RecordedRun) -> None:
    """Each by as much as it is asked to; what belongs to the user's item does not."""
    calls = [Replayed(recorded), Replayed(recorded, reply_after=1.0, transcribed_after=3.0)]
    times = []
    for call in calls:
        call.say()
        call.drain()
        begun = call.times[call.log.index(("server", call.last("input_audio_buffer.committed")))]
        named = ("response.created", "response.done", "output_audio_buffer.started")
        seen = [call.last(name) for name in (*named, TRANSCRIBED)]
        times.append([call.times[call.log.index(("server", event))] - begun for event in seen])
        assert call.problems() == []
    assert np.subtract(*times[::-1]) == pytest.approx([1.0, 1.0, 1.0, 3.0], abs=0.05)


def test_transcriptions_can_fail_on_request(recorded: RecordedRun) -> None:
    """After the item that they are of; nothing of the recorded one is sent."""
    call = Replayed(recorded, transcription_fails=True)
    call.say()
    call.drain()
    about = [event for event in call.events() if "input_audio_transcription" in event["type"]]
    assert [event["type"].rpartition(".")[2] for event in about] == ["failed"]
    types = call.types()
    assert types.index(about[0]["type"]) > types.index("conversation.item.done")
    assert call.problems() == []


def test_every_event_is_one_of_the_sdks(recorded: RecordedRun) -> None:
    """Also those that answer what does not fit, and those of an interruption."""
    call = Replayed(recorded)
    call.ask()
    call.say()
    call.wait(0.2)
    call.say("leap_year")
    call.drain()
    call.ask()
    call.send("nonsense")
    call.drain()
    assert [wrong for event in call.events() for wrong in wrong_in(event)] == []


@pytest.mark.parametrize("seed", range(5))
def test_random_clients_never_break_an_order(seed: int, recorded: RecordedRun) -> None:
    """Whatever a client does, in whatever order and pace: legal events, and an end."""
    choose = random.Random(seed)
    call = Replayed(recorded)
    speech = prompt_pcm("leap_year", before=0.1, after=0.7)
    for _ in range(30):
        match choose.choice("hear hear text create create cancel clear commit wait wait".split()):
            case "hear":
                start = choose.randrange(0, len(speech) - RATE, 960)
                call.hear(speech[start:][: RATE * choose.randint(1, 3)])
            case "text":
                call.text()
            case "create":
                call.send("response.create")
            case "cancel":
                call.send("response.cancel")
            case "clear":
                call.send("output_audio_buffer.clear")
            case "commit":
                call.send("input_audio_buffer.commit")
            case "wait":
                call.wait(choose.uniform(0.0, 2.0))
    call.hear(np.zeros(RATE, np.int16))
    call.drain()
    assert call.problems() == []
