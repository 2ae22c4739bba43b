"""What the peer transcribes, when, and in sessions that do nothing else."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import numpy as np
import pytest
from openai.types.realtime.realtime_transcription_session_create_response import (
    RealtimeTranscriptionSessionCreateResponse,
)
from peer_client import calling, prompt_clip, prompt_pcm
from simulated_call import SimulatedCall

from rtnb.peer import fingerprint
from rtnb.peer.heard import Heard
from rtnb.peer.settings import Problem, changed, default_session
from rtnb.peer.transcription import transcription_events

KIND = "conversation.item.input_audio_transcription"
LOGPROBS = ["item.input_audio_transcription.logprobs"]
SPOKEN = prompt_pcm("greeting", before=0.3, after=0.9)


def transcribed(model, *, include=None, samples=SPOKEN, **options):
    """Return a call in which something was said, and its events of transcription."""
    call = SimulatedCall(recognise=fingerprint.recognise, **options)
    call.settings(include=include, audio={"input": {"transcription": {"model": model}}})
    call.hear(samples)
    call.drain()
    assert call.problems() == []
    return call, [e for e in call.events() if e["type"].startswith(KIND)]


def test_words_come_in_several_deltas_and_then_whole():
    """The deltas join to the transcript; all of them are about the user's item."""
    call, events = transcribed("gpt-4o-transcribe")
    deltas = [e["delta"] for e in events if e["type"] == f"{KIND}.delta"]
    assert len(deltas) > 3 and "".join(deltas) == events[-1]["transcript"]
    item_id = call.last("input_audio_buffer.committed")["item_id"]
    assert {(e["item_id"], e["content_index"]) for e in events} == {(item_id, 0)}
    assert "logprobs" not in events[0]


def test_a_transcription_comes_as_late_as_it_is_asked_to():
    """Also after the response is done and heard."""
    call, _ = transcribed("gpt-live-transcribe", transcribed_after=8.0)
    types = call.types()
    assert types.index("output_audio_buffer.stopped") < types.index(f"{KIND}.delta")


def test_the_item_has_its_transcript_afterwards():
    """As it is retrieved."""
    call, events = transcribed("gpt-transcribe")
    call.send("conversation.item.retrieve", item_id=events[0]["item_id"])
    (part,) = call.last("conversation.item.retrieved")["item"]["content"]
    assert part["transcript"] == events[-1]["transcript"] and part["audio"]


def test_a_transcription_fails_where_that_is_asked_for():
    """The words would be known, and do not come."""
    call, (event,) = transcribed("gpt-transcribe", transcription_fails=True)
    assert event["type"] == f"{KIND}.failed" and event["error"]["code"] == "server_error"
    assert "response.done" in call.types()


def test_silence_has_no_words():
    """A commit of silence is transcribed as nothing, without a failure."""
    call = SimulatedCall()
    call.input(turn_detection=None, transcription={"model": "gpt-transcribe"})
    call.hear(np.zeros(48_000, np.int16))
    call.send("input_audio_buffer.commit")
    call.drain()
    completed = call.last(f"{KIND}.completed")
    assert (completed["transcript"], completed["languages"]) == ("", [])


def test_a_deleted_item_is_not_transcribed():
    """Its transcription would be about nothing."""
    call = SimulatedCall(recognise=fingerprint.recognise, transcribed_after=3.0)
    call.input(transcription={"model": "gpt-transcribe"})
    call.hear(SPOKEN)
    call.send(
        "conversation.item.delete", item_id=call.last("input_audio_buffer.committed")["item_id"]
    )
    call.drain()
    assert not [t for t in call.types() if t.startswith(KIND)]


def test_log_probabilities_come_where_they_are_included():
    """For every piece of text, with the bytes of the piece."""
    _, events = transcribed("gpt-4o-transcribe", include=LOGPROBS)
    pieces = [one for e in events[:-1] for one in e["logprobs"]]
    assert events[-1]["logprobs"] == pieces
    assert all(bytes(p["bytes"]).decode() == p["token"] and p["logprob"] <= 0 for p in pieces)
    assert "logprobs" not in transcribed("whisper-1", include=LOGPROBS)[1][-1]


@pytest.mark.parametrize(
    ("model", "kind"),
    [("whisper-1", "duration"), ("gpt-realtime-whisper", "duration"), ("gpt-transcribe", "tokens")],
)
def test_what_is_used_is_counted_as_the_model_is_billed(model, kind):
    """By duration or by tokens."""
    heard = Heard(SPOKEN, "greeting")
    (_, completed) = transcription_events("item_1", heard, {"model": model})[-1]
    usage = completed["usage"]
    assert usage["type"] == kind
    if kind == "duration":
        assert math.isclose(usage["seconds"], len(SPOKEN) / 48_000, abs_tol=0.001)
    else:
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("model", ["gpt-transcribe", "gpt-live-transcribe", "whisper-1"])
def test_only_one_model_tells_the_language(model):
    """The reference has `languages` for gpt-transcribe."""
    (_, completed) = transcription_events("i", Heard(SPOKEN, "greeting"), {"model": model})[-1]
    expected = [{"code": "en"}] if model == "gpt-transcribe" else None
    assert completed.get("languages") == expected


def test_a_model_that_tells_speakers_apart_sends_segments():
    """They cover the audio without a gap, in order, and their texts are the transcript."""
    setting = {"model": "gpt-4o-transcribe-diarize"}
    planned = transcription_events("item_1", Heard(SPOKEN, "greeting"), setting)
    segments = [e for _, e in planned if e["type"] == f"{KIND}.segment"]
    assert " ".join(s["text"] for s in segments) == planned[-1][1]["transcript"]
    assert segments[0]["start"] == 0 and segments[-1]["end"] == round(len(SPOKEN) / 48_000, 3)
    assert all(a["end"] == b["start"] for a, b in pairwise(segments))


# --- sessions that only transcribe ---------------------------------------------------------------


def transcribing(**audio_input):
    """Return such a session, as a mint makes it."""
    audio = {"input": {"transcription": {"model": "gpt-4o-transcribe"}, **audio_input}}
    asked = {"type": "transcription", "audio": audio}
    return changed(default_session("sess_1"), asked, started=False)


def test_a_session_that_only_transcribes_is_one_by_the_official_types():
    """With its own defaults, and nothing of a session that answers."""
    session = transcribing()
    found = RealtimeTranscriptionSessionCreateResponse.model_validate(session, strict=True)
    assert found.model_extra == {} and found.object == "realtime.transcription_session"
    turn_detection = session["audio"]["input"]["turn_detection"]
    assert turn_detection["type"] == "server_vad" and "create_response" not in turn_detection


def call_that_transcribes():
    call = SimulatedCall(recognise=fingerprint.recognise)
    call.conversation.session = transcribing()
    return call


def test_speech_is_committed_and_transcribed_and_not_answered():
    """In a session that only transcribes."""
    call = call_that_transcribes()
    call.hear(SPOKEN)
    call.drain()
    assert call.last(f"{KIND}.completed")["transcript"]
    assert not [t for t in call.types() if t.startswith(("response.", "output_audio"))]


def test_a_session_that_only_transcribes_creates_no_response():
    """The error says why."""
    call = call_that_transcribes()
    call.text()
    assert "transcription session" in call.send("response.create")["message"]
    assert "no active" in call.send("response.cancel")["message"]


def test_a_session_that_only_transcribes_is_updated_as_such():
    """It takes the same type, no other, and no keys of a session that answers."""
    call = call_that_transcribes()
    change = {"audio": {"input": {"transcription": {"language": "en"}}}}
    assert call.send("session.update", session={"type": "transcription", **change}) is None
    setting = call.last("session.updated")["session"]["audio"]["input"]["transcription"]
    assert setting == {"model": "gpt-4o-transcribe", "language": "en"}
    assert call.settings()["param"] == "session.type"
    wrong = {"type": "transcription", "instructions": "x"}
    assert call.send("session.update", session=wrong)["code"] == "unknown_parameter"


def test_a_running_session_does_not_change_its_type():
    """Neither to the other nor back."""
    with pytest.raises(Problem, match="transcription session to a realtime session"):
        changed(default_session("s"), {"type": "transcription"})
    with pytest.raises(Problem, match="realtime session to a transcription session"):
        changed(transcribing(), {"type": "realtime"}, started=False)


def test_a_model_without_turn_detection_needs_it_off():
    """gpt-realtime-whisper, in a session that only transcribes."""
    setting = {"transcription": {"model": "gpt-realtime-whisper", "delay": "low"}}
    with pytest.raises(Problem) as caught:
        transcribing(**setting)
    assert caught.value.param == "session.audio.input.turn_detection"
    assert transcribing(**setting, turn_detection=None)["audio"]["input"]["turn_detection"] is None


def test_a_real_call_transcribes_and_does_nothing_else(peer):
    """Minted as such, placed, spoken to, and silent."""
    audio = {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}

    async def call() -> None:
        session = {"type": "transcription", "audio": audio, "include": LOGPROBS}
        async with calling(peer.url, session=session) as caller:
            shown = caller.events[0]["session"]
            assert shown["object"] == "realtime.transcription_session" and "model" not in shown
            caller.play(prompt_clip("greeting"))
            completed = await caller.until(f"{KIND}.completed")
            assert completed["transcript"] and completed["logprobs"]
            caller.send("response.create")
            assert "transcription session" in (await caller.until("error"))["error"]["message"]
            assert "response.created" not in caller.types()

    asyncio.run(call())
