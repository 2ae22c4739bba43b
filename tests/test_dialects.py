"""Names on the wire: beta and GA, there and back."""

from __future__ import annotations

from typing import Any

import pytest

from rtnb.dialects import BETA, DIALECTS, GA, merged

GA_SESSION: dict[str, Any] = {
    "type": "realtime",
    "model": "gpt-x",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "max_output_tokens": 100,
    "tools": [{"type": "function", "name": "f"}],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": None,
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "verse", "speed": 1.1},
    },
}
BETA_SESSION: dict[str, Any] = {
    "model": "gpt-x",
    "instructions": "Be brief.",
    "modalities": ["audio", "text"],
    "max_response_output_tokens": 100,
    "tools": [{"type": "function", "name": "f"}],
    "input_audio_format": "pcm16",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": None,
    "turn_detection": {"type": "server_vad"},
    "output_audio_format": "g711_ulaw",
    "voice": "verse",
    "speed": 1.1,
}


def test_a_session_in_beta_form() -> None:
    """Every row of the table; `type` goes."""
    assert BETA.session_to_wire(GA_SESSION) == BETA_SESSION


def test_a_beta_session_in_ga_form() -> None:
    """And back, whole."""
    assert BETA.session_from_wire(BETA_SESSION) == GA_SESSION


def test_turn_detection_off_survives_the_way_there_and_back() -> None:
    """null is not the same as absent."""
    session = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    assert BETA.session_to_wire(session) == {"turn_detection": None}
    assert BETA.session_from_wire({"turn_detection": None}) == session


@pytest.mark.parametrize(("ga", "beta"), [(["audio"], ["audio", "text"]), (["text"], ["text"])])
def test_modalities(ga: list[str], beta: list[str]) -> None:
    """Audio implies text in beta; in GA it is one or the other."""
    assert BETA.session_to_wire({"output_modalities": ga}) == {"modalities": beta}
    assert BETA.session_from_wire({"modalities": beta})["output_modalities"] == ga


def test_what_beta_alone_has_is_left_out_of_a_ga_session() -> None:
    """temperature, and the key that comes with a minted session."""
    session = BETA.session_from_wire({"temperature": 0.8, "client_secret": {"value": "v"}})
    assert session == {"type": "realtime"}


@pytest.mark.parametrize(
    ("beta", "ga"),
    [
        ("response.text.delta", "response.output_text.delta"),
        ("response.text.done", "response.output_text.done"),
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("conversation.item.created", "conversation.item.added"),
        ("output_audio_buffer.started", "output_audio_buffer.started"),
        ("of.somebody.else", "of.somebody.else"),
    ],
)
def test_a_type_that_arrives_is_given_its_ga_name(beta: str, ga: str) -> None:
    """GA names stay in both dialects."""
    assert BETA.normalised(beta) == ga
    assert BETA.normalised(ga) == ga
    assert GA.normalised(beta) == beta


def test_a_session_update_in_beta_form() -> None:
    """The session within is converted, its id stays."""
    event = {"type": "session.update", "event_id": "e", "session": GA_SESSION}
    wire = {"type": "session.update", "event_id": "e", "session": BETA_SESSION}
    assert BETA.event_to_wire(event) == wire
    assert BETA.event_from_wire(wire) == event


def test_a_response_create_in_beta_form() -> None:
    """What a response sets is flat; what it is called stays."""
    event = {
        "type": "response.create",
        "response": {
            "instructions": "Sing.",
            "output_modalities": ["text"],
            "audio": {"output": {"voice": "ash"}},
        },
    }
    assert BETA.event_to_wire(event)["response"] == {
        "instructions": "Sing.",
        "modalities": ["text"],
        "voice": "ash",
    }


@pytest.mark.parametrize(
    ("ga", "beta"),
    [("output_text", "text"), ("output_audio", "audio"), ("input_text", "input_text")],
)
def test_the_content_of_assistant_items(ga: str, beta: str) -> None:
    """Assistant content has another name in beta; a user's has the same."""
    item = {"type": "message", "role": "assistant", "content": [{"type": ga, "text": "Hi"}]}
    event = {"type": "conversation.item.create", "item": item}
    wire = BETA.event_to_wire(event)
    assert wire["item"]["content"][0]["type"] == beta
    assert BETA.event_from_wire(wire) == event


def test_the_output_of_response_done_in_ga_form() -> None:
    """Items within a response are converted, status and usage stay."""
    item = {"type": "message", "role": "assistant", "content": [{"type": "audio"}]}
    wire = {"type": "response.done", "response": {"id": "r", "status": "failed", "output": [item]}}
    response = BETA.event_from_wire(wire)["response"]
    assert response["output"][0]["content"] == [{"type": "output_audio"}]
    assert (response["id"], response["status"]) == ("r", "failed")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_converting_does_not_change_what_was_given(dialect: Any) -> None:
    """The functions are pure, down to nested objects."""
    before = merged({}, GA_SESSION)
    dialect.session_to_wire(GA_SESSION)["tools"].append("x")
    dialect.event_to_wire({"type": "session.update", "session": GA_SESSION})
    assert before == GA_SESSION


def test_ga_is_spoken_as_it_is() -> None:
    """Nothing is renamed."""
    event = {"type": "session.update", "session": GA_SESSION}
    assert GA.event_to_wire(event) == event
    assert GA.session_from_wire(GA_SESSION) == GA_SESSION


def test_merging_lays_objects_over_each_other() -> None:
    """As session.update does: key by key, null and lists replace."""
    base = {"audio": {"input": {"a": 1, "turn_detection": {"type": "x"}}}, "tools": [1]}
    change = {"audio": {"input": {"turn_detection": None}, "output": {"b": 2}}, "tools": []}
    out = merged(base, change)
    assert out == {
        "audio": {"input": {"a": 1, "turn_detection": None}, "output": {"b": 2}},
        "tools": [],
    }
    assert base["tools"] == [1]


@pytest.mark.parametrize(("beta", "ga"), sorted(BETA.received.items()))
def test_a_type_that_leaves_is_given_its_beta_name(beta: str, ga: str) -> None:
    """And is read back as what it was."""
    event = {"type": ga, "event_id": "e"}
    assert BETA.event_to_wire(event) == {"type": beta, "event_id": "e"}
    assert BETA.event_from_wire(BETA.event_to_wire(event)) == event


def test_a_session_without_settings_stays_empty() -> None:
    """Nothing is invented: no audio, no modalities."""
    assert BETA.session_to_wire({"type": "realtime"}) == {}
    assert BETA.session_from_wire({}) == {"type": "realtime"}
