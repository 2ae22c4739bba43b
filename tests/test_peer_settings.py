"""The session object of the peer: what may be changed, and how a refusal reads."""

from __future__ import annotations

import pytest
from openai.types.realtime import RealtimeSessionCreateRequest

from rtnb.peer.settings import Problem, changed, default_session, known_model, response_settings

SESSION = default_session("sess_1")


def change(**fields):
    return changed(SESSION, {"type": "realtime", **fields})


def test_the_default_session_is_one_by_the_official_types():
    """Every value passes the SDK's own model, strictly."""
    given = {k: v for k, v in SESSION.items() if k not in ("id", "object", "expires_at")}
    assert RealtimeSessionCreateRequest.model_validate(given, strict=True).model_extra == {}


def test_only_what_is_given_changes():
    """Objects are merged key by key, and the session before is not touched."""
    after = change(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}})
    turn = after["audio"]["input"]["turn_detection"]
    assert (turn["threshold"], turn["silence_duration_ms"]) == (0.9, 500)
    assert after["audio"]["output"] == SESSION["audio"]["output"]
    assert SESSION["audio"]["input"]["turn_detection"]["threshold"] == 0.5


def test_another_kind_of_turn_detection_brings_its_own_defaults():
    """Keys of the old kind do not stay behind."""
    after = change(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    turn = after["audio"]["input"]["turn_detection"]
    assert turn["eagerness"] == "auto" and "threshold" not in turn


def test_null_and_empty_values_clear():
    """Null turns detection off, [] and "" clear tools and instructions."""
    after = change(audio={"input": {"turn_detection": None}}, instructions="", tools=[])
    assert after["audio"]["input"]["turn_detection"] is None and after["instructions"] == ""


def test_a_voice_by_id_and_a_named_tool_choice_replace_what_was_there():
    """They are values, not changes to the old value."""
    after = change(
        audio={"output": {"voice": {"id": "voice_1"}}},
        tools=[{"type": "function", "name": "f"}],
        tool_choice={"type": "function", "name": "f"},
    )
    assert after["audio"]["output"]["voice"] == {"id": "voice_1"}
    assert changed(after, {"type": "realtime", "tool_choice": "auto"})["tool_choice"] == "auto"


def test_the_echo_of_the_server_may_be_sent_back():
    """What session.created showed is accepted as a change."""
    assert changed(SESSION, SESSION) == SESSION


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"voice": "marin"}, "session.voice", "unknown_parameter"),
        ({"modalities": ["audio"]}, "session.modalities", "unknown_parameter"),
        ({"output_modalities": ["audio", "text"]}, "session.output_modalities", "invalid_value"),
        ({"model": "gpt-realtime"}, "session.model", "invalid_value"),
        ({"instructions": None}, "session.instructions", "invalid_type"),
        ({"max_output_tokens": 0}, "session.max_output_tokens", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "session.tools[0].name", "missing_required_parameter"),
        ({"tool_choice": "always"}, "session.tool_choice", "invalid_value"),
        ({"audio": {"output": {"speed": 2}}}, "session.audio.output.speed", "invalid_value"),
        ({"audio": {"output": {"voice": ""}}}, "session.audio.output.voice", "invalid_value"),
        ({"audio": "loud"}, "session.audio", "invalid_type"),
        ({"type": "transcription"}, "session.type", "invalid_value"),
        ({"max_output_tokens": 1.5}, "session.max_output_tokens", "invalid_value"),
        ({"max_output_tokens": 4097}, "session.max_output_tokens", "invalid_value"),
        ({"max_output_tokens": True}, "session.max_output_tokens", "invalid_value"),
        ({"temperature": 0.8}, "session.temperature", "unknown_parameter"),
        (
            {"tools": [{"type": "mcp"}]},
            "session.tools[0].server_label",
            "missing_required_parameter",
        ),
        (
            {"tool_choice": {"type": "function"}},
            "session.tool_choice.name",
            "missing_required_parameter",
        ),
        (
            {"audio": {"input": {"transcription": {"model": 5}}}},
            "session.audio.input.transcription.model",
            "invalid_type",
        ),
    ],
)
def test_what_is_refused(fields, param, code):
    """Each refusal names the parameter as the service does."""
    with pytest.raises(Problem) as caught:
        change(**fields)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize(
    "turn",
    [
        {"type": "client_vad"},
        {"type": "server_vad", "threshold": 1.5},
        {"type": "server_vad", "silence_duration_ms": "long"},
        {"type": "server_vad", "eagerness": "high"},
        {"type": "semantic_vad", "eagerness": "very"},
        {"type": "server_vad", "idle_timeout_ms": 100},
        {"type": "server_vad", "create_response": None},
    ],
)
def test_turn_detection_is_checked(turn):
    """Values outside the reference's limits, and keys of the other kind."""
    with pytest.raises(Problem, match=r"turn_detection|Invalid value"):
        change(audio={"input": {"turn_detection": turn}})


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ("x", ""),
        ({"properties": []}, ".properties"),
        ({"properties": {"city": "string"}}, ".properties.city"),
        ({"required": "city"}, ".required"),
        ({"required": [1]}, ".required"),
    ],
)
def test_a_tool_has_parameters_that_are_a_schema(parameters, path):
    """As far as this peer goes by it."""
    with pytest.raises(Problem) as caught:
        change(tools=[{"type": "function", "name": "f", "parameters": parameters}])
    assert caught.value.param == f"session.tools[0].parameters{path}"


def test_a_change_of_turn_detection_without_its_type_keeps_the_type():
    """Semantic settings are taken where the session is semantic, and {} changes nothing."""
    semantic = change(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    for wanted in ({}, {"eagerness": "low"}):
        update = {"type": "realtime", "audio": {"input": {"turn_detection": wanted}}}
        turn = changed(semantic, update)["audio"]["input"]["turn_detection"]
        assert (turn["type"], turn["eagerness"]) == (
            "semantic_vad",
            wanted.get("eagerness", "auto"),
        )


def test_an_empty_turn_detection_turns_it_on_with_defaults():
    """{} is not null."""
    off = change(audio={"input": {"turn_detection": None}})
    update = {"type": "realtime", "audio": {"input": {"turn_detection": {}}}}
    turn = changed(off, update)["audio"]["input"]["turn_detection"]
    assert turn["type"] == "server_vad" and turn["silence_duration_ms"] == 500


def test_an_old_session_has_a_temperature_within_limits():
    """Also for one response."""
    old = {**SESSION, "temperature": 0.8}
    assert changed(old, {"type": "realtime", "temperature": 1.2})["temperature"] == 1.2
    assert response_settings(old, {"temperature": 0.6})["temperature"] == 0.6
    with pytest.raises(Problem):
        changed(old, {"type": "realtime", "temperature": 1.3})


def test_a_session_update_needs_its_type():
    """GA refuses a session object without one."""
    with pytest.raises(Problem) as caught:
        changed(SESSION, {"instructions": "x"})
    assert caught.value.code == "missing_required_parameter"


def test_a_response_may_ask_for_other_settings():
    """They hold for that response only."""
    settings = response_settings(SESSION, {"output_modalities": ["text"], "metadata": {"a": "b"}})
    assert settings["output_modalities"] == ["text"] and settings["metadata"] == {"a": "b"}
    assert SESSION["output_modalities"] == ["audio"]


@pytest.mark.parametrize("model", ["gpt-realtime-2.1-mini", "gpt-4o-realtime-preview"])
def test_realtime_models_are_known(model):
    """By the beginning of their names, so that new versions are too."""
    assert known_model(model) and not known_model(f"x-{model}") and not known_model(None)
