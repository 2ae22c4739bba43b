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
        ({"audio": None}, "session.audio", "invalid_type"),
        ({"audio": {"input": None}}, "session.audio.input", "invalid_type"),
        ({"output_modalities": "audio"}, "session.output_modalities", "invalid_value"),
        ({"parallel_tool_calls": 1}, "session.parallel_tool_calls", "invalid_type"),
        ({"reasoning": {"effort": "max"}}, "session.reasoning.effort", "invalid_value"),
        ({"include": ["everything"]}, "session.include[0]", "invalid_value"),
        ({"include": "logprobs"}, "session.include", "invalid_type"),
        ({"tracing": "on"}, "session.tracing", "invalid_value"),
        ({"tracing": {"group": "a"}}, "session.tracing.group", "unknown_parameter"),
        ({"truncation": "never"}, "session.truncation", "invalid_value"),
        (
            {"truncation": {"type": "retention_ratio"}},
            "session.truncation.retention_ratio",
            "missing_required_parameter",
        ),
        (
            {"truncation": {"type": "retention_ratio", "retention_ratio": 1.1}},
            "session.truncation.retention_ratio",
            "invalid_value",
        ),
        ({"prompt": {}}, "session.prompt.id", "missing_required_parameter"),
        ({"tools": {}}, "session.tools", "invalid_type"),
        ({"tools": ["f"]}, "session.tools[0]", "invalid_type"),
        ({"tools": [{"type": "web"}]}, "session.tools[0].type", "invalid_value"),
        (
            {"tools": [{"type": "function", "name": "get weather"}]},
            "session.tools[0].name",
            "invalid_value",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            "session.tools[0].name",
            "missing_required_parameter",
        ),
        (
            {"tools": [{"type": "function", "name": "f", "strict": True}]},
            "session.tools[0].strict",
            "unknown_parameter",
        ),
        (
            {"tools": [{"type": "mcp", "server_label": "a"}]},
            "session.tools[0].server_url",
            "missing_required_parameter",
        ),
        (
            {"tool_choice": {"type": "function", "name": "f"}},
            "session.tool_choice",
            "invalid_value",
        ),
        (
            {"audio": {"output": {"format": {"type": "audio/mp3"}}}},
            "session.audio.output.format.type",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 48000}}}},
            "session.audio.input.format.rate",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 24000}}}},
            "session.audio.input.format.rate",
            "unknown_parameter",
        ),
        (
            {"audio": {"input": {"noise_reduction": {"type": "studio"}}}},
            "session.audio.input.noise_reduction.type",
            "invalid_value",
        ),
        (
            {"audio": {"input": {"noise_reduction": {"strength": 0.5}}}},
            "session.audio.input.noise_reduction.type",
            "missing_required_parameter",
        ),
        (
            {"audio": {"output": {"voice": {"id": 5}}}},
            "session.audio.output.voice",
            "invalid_value",
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
        {"type": "server_vad", "idle_timeout_ms": 4999},
        {"type": "server_vad", "idle_timeout_ms": 30_001},
        {"type": "server_vad", "prefix_padding_ms": 1.5},
        {"type": "server_vad", "silence_duration_ms": True},
        {"type": "semantic_vad", "idle_timeout_ms": 5000},
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


# --- one field after the other -------------------------------------------------------------------


def transcription(**setting):
    return change(audio={"input": {"transcription": setting}})["audio"]["input"]["transcription"]


@pytest.mark.parametrize(
    "setting",
    [
        {"model": "gpt-4o-transcribe", "language": "en", "prompt": "Names of birds."},
        {"model": "gpt-4o-mini-transcribe-2025-12-15"},
        {"model": "gpt-transcribe", "keywords": ["rtnb"], "languages": ["en", "de"]},
        {"model": "gpt-live-transcribe", "keywords": []},
        {"model": "gpt-realtime-whisper", "delay": "xhigh"},
    ],
)
def test_each_transcription_model_takes_its_own_settings(setting):
    """They are shown as they were given."""
    assert transcription(**setting) == setting


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ({}, "model"),
        ({"model": "gpt-9-transcribe"}, "model"),
        ({"model": "gpt-4o-transcribe", "delay": "low"}, "delay"),
        ({"model": "gpt-realtime-whisper", "delay": "none"}, "delay"),
        ({"model": "gpt-realtime-whisper", "prompt": "x"}, "prompt"),
        ({"model": "whisper-1", "keywords": ["x"]}, "keywords"),
        ({"model": "gpt-4o-transcribe", "languages": ["en"]}, "languages"),
        ({"model": "gpt-transcribe", "languages": "en"}, "languages"),
        ({"model": "gpt-transcribe", "keywords": [1]}, "keywords[0]"),
        ({"model": "whisper-1", "temperature": 0}, "temperature"),
    ],
)
def test_a_transcription_model_takes_no_other_settings(setting, key):
    """Delay is for gpt-realtime-whisper, which takes no prompt; keywords and languages for two."""
    with pytest.raises(Problem) as caught:
        transcription(**setting)
    assert caught.value.param == f"session.audio.input.transcription.{key}"


def test_a_transcription_setting_is_changed_key_by_key_for_the_same_model():
    """Another model begins anew."""
    before = change(audio={"input": {"transcription": {"model": "whisper-1", "prompt": "x"}}})
    update = {"type": "realtime", "audio": {"input": {"transcription": {"language": "en"}}}}
    after = changed(before, update)["audio"]["input"]["transcription"]
    assert after == {"model": "whisper-1", "prompt": "x", "language": "en"}
    update["audio"]["input"]["transcription"] = {"model": "gpt-realtime-whisper"}
    after = changed(before, update)["audio"]["input"]["transcription"]
    assert after == {"model": "gpt-realtime-whisper"}


def test_a_server_of_other_models_takes_their_transcription_models():
    """The session's model says that it is none of the service's."""
    clone = changed(SESSION, {"type": "realtime", "model": "tiny"}, started=False)
    setting = {"transcription": {"model": "Systran/faster-whisper-small"}}
    after = changed(clone, {"type": "realtime", "audio": {"input": setting}})
    assert after["audio"]["input"]["transcription"] == setting["transcription"]


def test_noise_reduction_has_a_strength_that_stays():
    """1 when it is first turned on; a change of one key leaves the other; null turns it off."""
    session, seen = SESSION, []
    for setting in ({"type": "near_field"}, {"strength": 0.4}, {"type": "far_field"}, None):
        update = {"type": "realtime", "audio": {"input": {"noise_reduction": setting}}}
        session = changed(session, update)
        seen.append(session["audio"]["input"]["noise_reduction"])
    assert seen == [
        {"type": "near_field", "strength": 1.0},
        {"type": "near_field", "strength": 0.4},
        {"type": "far_field", "strength": 0.4},
        None,
    ]


def test_another_format_brings_its_own_keys():
    """G.711 has no rate; PCM gets its only one."""
    other = change(audio={"output": {"format": {"type": "audio/pcma"}}})
    assert other["audio"]["output"]["format"] == {"type": "audio/pcma"}
    update = {"type": "realtime", "audio": {"output": {"format": {"type": "audio/pcm"}}}}
    assert changed(other, update)["audio"]["output"]["format"]["rate"] == 24000


def test_tracing_is_fixed_once_it_is_on():
    """The same again is no change; anything else is refused, null too."""
    on = change(tracing={"workflow_name": "a"})
    assert changed(on, {"type": "realtime", "tracing": {"workflow_name": "a"}}) == on
    for other in (None, "auto", {"workflow_name": "b"}):
        with pytest.raises(Problem) as caught:
            changed(on, {"type": "realtime", "tracing": other})
        assert caught.value.param == "session.tracing"
    assert changed(on, {"type": "realtime", "tracing": None}, started=False)["tracing"] is None


def test_a_tool_that_must_be_called_is_there():
    """Also when the tools change later, or for one response."""
    tools = [{"type": "function", "name": "f"}]
    named = {"type": "function", "name": "f"}
    session = change(tools=tools, tool_choice=named)
    for update in ({"tools": []}, {"tool_choice": {**named, "name": "g"}}):
        with pytest.raises(Problem) as caught:
            changed(session, {"type": "realtime", **update})
        assert caught.value.param == "session.tool_choice"
    assert changed(session, {"type": "realtime", "instructions": "x"})["tool_choice"] == named
    with pytest.raises(Problem) as caught:
        response_settings(session, {"tools": [{"type": "function", "name": "g"}]})
    assert caught.value.param == "response.tool_choice"


@pytest.mark.parametrize(
    "fields",
    [
        {"truncation": {"type": "retention_ratio", "retention_ratio": 0.8}},
        {
            "truncation": {
                **{"type": "retention_ratio", "retention_ratio": 0},
                "token_limits": {"post_instructions": 5000},
            }
        },
        {"truncation": "disabled"},
        {"reasoning": {"effort": "minimal"}, "parallel_tool_calls": True},
        {"include": ["item.input_audio_transcription.logprobs"]},
        {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"name": "x"}}},
        {"tracing": {"workflow_name": "a", "group_id": "b", "metadata": {"c": 1}}},
        {"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://example.com"}]},
        {
            "tools": [{"type": "mcp", "server_label": "a", "connector_id": "connector_gmail"}],
            "tool_choice": {"type": "mcp", "server_label": "a"},
        },
        {"max_output_tokens": 4096},
        {"audio": {"output": {"speed": 0.25}}},
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 30_000}}}},
    ],
)
def test_what_the_reference_permits_is_taken(fields):
    """It is shown, and by the official types."""
    after = change(**fields)
    given = {k: v for k, v in after.items() if k not in ("id", "object", "expires_at")}
    assert RealtimeSessionCreateRequest.model_validate(given, strict=True).model_extra == {}
    for key, value in fields.items():
        assert key == "audio" or after[key] == value


def test_models_that_nobody_can_talk_to_are_not_known():
    """They transcribe or translate in sessions of their own."""
    assert not known_model("gpt-realtime-whisper") and not known_model("gpt-realtime-translate")
