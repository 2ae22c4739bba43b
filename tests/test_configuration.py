"""From the arguments of `connect` to a session object, checked before anything is called."""

from __future__ import annotations

from typing import Any

import pytest

import rtnb
from rtnb.configuration import (
    UNSET,
    as_tools,
    check_ice_servers,
    check_limits,
    session_object,
)


def session(**arguments: Any) -> dict[str, Any]:
    """Return the session object of some arguments, all others left to the service."""
    nothing: dict[str, Any] = {
        "model": None,
        "voice": None,
        "instructions": None,
        "modalities": None,
        "turn_detection": UNSET,
        "transcription": None,
        "tools": (),
    }
    return session_object(**(nothing | arguments))


def weather(city: str) -> str:
    """Current weather in a city."""
    return city


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {}),
        ({"model": "m", "instructions": ""}, {"model": "m", "instructions": ""}),
        ({"voice": "marin"}, {"audio": {"output": {"voice": "marin"}}}),
        ({"modalities": ["text"]}, {"output_modalities": ["text"]}),
        ({"modalities": "audio"}, {"output_modalities": ["audio"]}),
        (
            {"turn_detection": "semantic_vad"},
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
        ),
        ({"turn_detection": None}, {"audio": {"input": {"turn_detection": None}}}),
        ({"turn_detection": {"a": 1}}, {"audio": {"input": {"turn_detection": {"a": 1}}}}),
        ({"transcription": False}, {}),
        (
            {"transcription": True},
            {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}},
        ),
        ({"transcription": "w"}, {"audio": {"input": {"transcription": {"model": "w"}}}}),
        ({"transcription": {"a": 1}}, {"audio": {"input": {"transcription": {"a": 1}}}}),
    ],
)
def test_only_what_was_given_is_in_the_session(
    arguments: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The rest is the service's default; null is not the same as absent."""
    assert session(**arguments) == {"type": "realtime", **expected}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": " "}, "model= takes a non-empty str, not ' '."),
        ({"voice": 3}, "voice= takes a non-empty str, not 3."),
        ({"instructions": b"x"}, "instructions= takes a non-empty str, not b'x'."),
        ({"modalities": ["audio", "text"]}, "modalities= is ['audio'] or ['text'], never both."),
        (
            {"turn_detection": "vad"},
            "turn_detection= is 'server_vad', 'semantic_vad', a dict, or None for push-to-talk; "
            "not 'vad'.",
        ),
        ({"modalities": 5}, "modalities= is ['audio'] or ['text'], never both."),
        ({"transcription": 5}, "transcription= is True, a model's name or a dict, not 5."),
        ({"transcription": ""}, "transcription= is True, a model's name or a dict, not ''."),
    ],
)
def test_what_cannot_be_used_is_told(arguments: dict[str, Any], sentence: str) -> None:
    """One sentence that names the argument."""
    with pytest.raises(rtnb.ConfigurationError) as told:
        session(**arguments)
    assert str(told.value) == sentence


def test_functions_and_schemas_are_tools() -> None:
    """A function becomes a schema, a schema stays one."""
    schema = {"type": "function", "name": "mine"}
    tools = as_tools([weather, schema])
    described = session(tools=tools)["tools"]
    assert [tool["name"] for tool in described] == ["weather", "mine"]
    assert described[1] is schema


def test_what_is_no_tool_is_told() -> None:
    """A name is not a tool."""
    with pytest.raises(rtnb.ConfigurationError, match="takes functions or schemas, not str"):
        as_tools(["weather"])  # type: ignore[list-item]


@pytest.mark.parametrize("tools", [weather, None, {"type": "function"}, "weather", 3])
def test_tools_are_a_list(tools: Any) -> None:
    """A single function is not a list of them; it is told, not iterated over."""
    with pytest.raises(rtnb.ConfigurationError, match="tools= takes a list of functions or"):
        as_tools(tools)


@pytest.mark.parametrize("limits", [(30, 3600, 900), (0.5, None, None), (1, float("inf"), 1)])
def test_limits_are_positive_seconds(limits: tuple[Any, Any, Any]) -> None:
    """Whole or not; None where a call may last for ever."""
    check_limits(*limits)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ((0, None, None), "timeout= is a positive number of seconds, not 0."),
        ((None, None, None), "timeout= is a positive number of seconds, not None."),
        ((float("nan"), None, None), "timeout= is a positive number of seconds, not nan."),
        ((True, None, None), "timeout= is a positive number of seconds, not True."),
        ((1, "60", None), "max_duration= is a positive number of seconds, or None, not '60'."),
        ((1, None, -1.5), "idle_close= is a positive number of seconds, or None, not -1.5."),
    ],
)
def test_a_limit_that_is_none_is_told(limits: tuple[Any, Any, Any], sentence: str) -> None:
    """One sentence that names the argument and its value."""
    with pytest.raises(rtnb.ConfigurationError) as told:
        check_limits(*limits)
    assert str(told.value) == sentence


TURN = {"urls": ["turn:relay.example:3478"], "username": "u", "credential": "pass-9Xy"}


@pytest.mark.parametrize(
    "servers", [(), [{"urls": "stun:host:3478"}], [TURN, {**TURN, "credentialType": "password"}]]
)
def test_ice_servers_are_dicts(servers: Any) -> None:
    """As browsers and aiortc have them."""
    check_ice_servers(servers)


@pytest.mark.parametrize(
    ("servers", "named"),
    [
        (TURN, "takes a list of dicts"),
        ("stun:host:3478", "takes a list of dicts"),
        (["stun:host:3478"], "is a dict with 'urls', not str"),
        ([{**TURN, "url": "turn:pass-9Xy"}], "does not know 'url'; the keys are urls, username,"),
        ([{"credential": "pass-9Xy"}], "'urls' of each"),
        ([{**TURN, "urls": []}], "'urls' of each"),
        ([{**TURN, "urls": "https://pass-9Xy"}], "'urls' of each"),
        ([{**TURN, "credential": b"pass-9Xy"}], "'credential' of each of ice_servers= is a str."),
    ],
)
def test_a_wrong_ice_server_names_its_key(servers: Any, named: str) -> None:
    """The key that is wrong, and never what stands in it."""
    with pytest.raises(rtnb.ConfigurationError) as told:
        check_ice_servers(servers)
    assert named in str(told.value)
    assert "pass-9Xy" not in str(told.value)


def test_the_default_says_that_it_is_one() -> None:
    """As it stands in the signature of `connect`."""
    assert repr(UNSET) == "the service's default"


def test_both_sides_of_audio_stand_together() -> None:
    """Voice, turn detection and transcription share the audio object."""
    described = session(voice="ash", turn_detection=None, transcription=True)
    assert described["audio"] == {
        "output": {"voice": "ash"},
        "input": {"turn_detection": None, "transcription": {"model": "gpt-transcribe"}},
    }
