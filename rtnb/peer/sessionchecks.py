"""What each field of a session or response object may be; it must not know what they change.

Only what the API reference states a limit for is refused; other values pass.
"""

from __future__ import annotations

import re
from typing import Any, Final

from rtnb.dialects import Json
from rtnb.peer.checks import (
    Check,
    Fields,
    Problem,
    check_object,
    is_a,
    listed,
    missing,
    must_have,
    number,
    one_of,
    optional,
    text,
    whole_number,
    with_fields,
    wrong_type,
)

__all__ = [
    "BETA",
    "LOGPROBS",
    "REALTIME",
    "RESPONSE",
    "TRANSCRIPTION",
    "WHISPER",
    "check_transcription",
]

LOGPROBS: Final = "item.input_audio_transcription.logprobs"

_MOST_TOKENS: Final = 4096
_MOST_MS: Final = 10_000  # of a padding or silence
_MOST_METADATA: Final = 16
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LANGUAGE: Final = text(35)  # characters of the longest language tag of BCP 47
_TRANSCRIBERS: Final = (
    *("gpt-transcribe", "gpt-live-transcribe", "gpt-realtime-whisper", "whisper-1"),
    *("gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"),
)
_GUIDED: Final = ("gpt-transcribe", "gpt-live-transcribe")  # these take keywords and languages
WHISPER: Final = "gpt-realtime-whisper"


# --- audio ---------------------------------------------------------------------------------------


def _format(value: Any, path: str) -> None:
    is_a(dict)(value, path)
    one_of("audio/pcm", "audio/pcmu", "audio/pcma")(value.get("type"), f"{path}.type")
    rate: dict[str, Check] = {"rate": one_of(24000)} if value["type"] == "audio/pcm" else {}
    check_object(value, {"type": None, **rate}, path)


def _voice(value: Any, path: str) -> None:
    named = value.get("id") if isinstance(value, dict) else value
    if not isinstance(named, str) or not named or (isinstance(value, dict) and len(value) > 1):
        raise Problem(f"Invalid '{path}': give a voice's name, or an object with its id.", path)


def _turn_detection(value: Any, path: str) -> None:
    is_a(dict)(value, path)
    semantic = value.get("type") == "semantic_vad"
    check_object(value, _SEMANTIC if semantic else _SERVER, path)


def check_transcription(value: Json, path: str, *, any_model: bool = False) -> None:
    """Check a whole transcription setting: its model, and what that model takes.

    Parameters
    ----------
    value
        The setting, each key of which was checked.
    path
        Where it stands.
    any_model
        Models of other servers are taken as well.

    Raises
    ------
    Problem
        It has no model, or one that does not take what it sets.
    """
    model = value.get("model")
    if model is None:
        raise missing(f"{path}.model")
    known = any(model == one or model.startswith(f"{one}-20") for one in _TRANSCRIBERS)
    if not known:
        if any_model:
            return
        one_of(*_TRANSCRIBERS)(model, f"{path}.model")
    for key, takes in (
        ("delay", model.startswith(WHISPER)),
        ("prompt", not model.startswith(WHISPER)),
        ("keywords", model.startswith(_GUIDED)),
        ("languages", model.startswith(_GUIDED)),
    ):
        if value.get(key) is not None and not takes:
            message = f"Invalid '{path}.{key}': {model} does not take it."
            raise Problem(message, f"{path}.{key}")


_SWITCHES: Final[Fields] = {"create_response": is_a(bool), "interrupt_response": is_a(bool)}
_SERVER: Final[Fields] = {
    "type": one_of("server_vad", "semantic_vad"),
    "threshold": number(0, 1),
    "prefix_padding_ms": whole_number(0, _MOST_MS),
    "silence_duration_ms": whole_number(0, _MOST_MS),
    "idle_timeout_ms": optional(whole_number(5_000, 30_000)),
    **_SWITCHES,
}
_SEMANTIC: Final[Fields] = {
    "type": None,
    "eagerness": one_of("low", "medium", "high", "auto"),
    **_SWITCHES,
}
_TRANSCRIPTION_SETTING: Final[Fields] = {
    "model": is_a(str),
    "language": optional(_LANGUAGE),
    "prompt": optional(is_a(str)),
    "delay": optional(one_of("minimal", "low", "medium", "high", "xhigh")),
    "keywords": optional(listed(is_a(str))),
    "languages": optional(listed(_LANGUAGE)),
}
_NOISE_REDUCTION: Final[Fields] = {
    "type": one_of("near_field", "far_field"),
    "strength": number(0, 100),
}
_INPUT: Final[Fields] = {
    "format": _format,
    "transcription": optional(with_fields(_TRANSCRIPTION_SETTING)),
    "noise_reduction": optional(with_fields(_NOISE_REDUCTION)),
    "turn_detection": optional(_turn_detection),
}
_OUTPUT: Final[Fields] = {"format": _format, "voice": _voice}


# --- tools ---------------------------------------------------------------------------------------


def _tool(value: Any, path: str) -> None:
    is_a(dict)(value, path)
    one_of("function", "mcp")(value.get("type"), f"{path}.type")
    if value["type"] == "mcp":
        must_have(value, "server_label", path)
        check_object(value, _MCP, path)
        if not any(value.get(key) for key in _MCP_SERVERS):
            raise missing(f"{path}.server_url")
        return
    must_have(value, "name", path)
    check_object(value, _FUNCTION, path)
    if not _NAME.fullmatch(value["name"]):
        at = f"{path}.name"
        raise Problem(f"Invalid '{at}': expected 1 to 64 of a-z, A-Z, 0-9, _ and -.", at)


def _parameters(value: Any, path: str) -> None:
    """Check as much of a JSON schema as this peer goes by."""
    is_a(dict)(value, path)
    properties, required = value.get("properties", {}), value.get("required", [])
    is_a(dict)(properties, f"{path}.properties")
    for name, schema in properties.items():
        if not isinstance(schema, dict | bool):
            raise wrong_type(f"{path}.properties.{name}", "a schema")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise wrong_type(f"{path}.required", "an array of strings")


def _tool_choice(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        one_of("auto", "none", "required")(value, path)
        return
    one_of("function", "mcp")(value.get("type"), f"{path}.type")
    if value["type"] == "function":
        must_have(value, "name", path)
        check_object(value, {"type": None, "name": None}, path)
    else:
        must_have(value, "server_label", path)
        named = {"server_label": None, "name": optional(is_a(str))}
        check_object(value, {"type": None, **named}, path)


_MCP_SERVERS: Final = ("server_url", "connector_id", "tunnel_id")
_MCP: Final[Fields] = {
    **{"type": None, "server_label": None, "headers": None, "allowed_tools": None},
    **dict.fromkeys((*_MCP_SERVERS, "authorization", "server_description"), optional(is_a(str))),
    **{"require_approval": None, "defer_loading": None, "allowed_callers": None},
}
_FUNCTION: Final[Fields] = {
    "type": None,
    "name": None,
    "description": optional(is_a(str)),
    "parameters": optional(_parameters),
}


# --- the rest ------------------------------------------------------------------------------------


def _tokens(value: Any, path: str) -> None:
    if not (isinstance(value, str) and value == "inf"):
        try:
            whole_number(1, _MOST_TOKENS)(value, path)
        except Problem as problem:
            raise Problem(f"{problem.message[:-1]}, or 'inf'.", path) from None


def _truncation(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        one_of("auto", "disabled")(value, path)
        return
    check_object(value, _RETENTION, path)
    for key in ("type", "retention_ratio"):
        if key not in value:
            raise missing(f"{path}.{key}")


def _tracing(value: Any, path: str) -> None:
    if isinstance(value, dict):
        check_object(value, _TRACING, path)
    else:
        one_of("auto", None)(value, path)


def _prompt(value: Any, path: str) -> None:
    check_object(value, _PROMPT, path)
    must_have(value, "id", path)


def _variables(value: Any, path: str) -> None:
    is_a(dict)(value, path)
    for name, given in value.items():
        at = f"{path}.{name}"
        if isinstance(given, dict):
            one_of("input_text", "input_image", "input_file")(given.get("type"), f"{at}.type")
        else:
            is_a(str)(given, at)


def _metadata(value: Any, path: str) -> None:
    is_a(dict)(value, path)
    if len(value) > _MOST_METADATA:
        message = f"Invalid '{path}': expected at most {_MOST_METADATA} pairs."
        raise Problem(message, path, "object_above_max_properties")
    for key, inner in value.items():
        text(64)(key, path)
        text(512)(inner, f"{path}.{key}")


_RETENTION: Final[Fields] = {
    "type": one_of("retention_ratio"),
    "retention_ratio": number(0, 1),
    "token_limits": optional(with_fields({"post_instructions": whole_number(0, 1_000_000)})),
}
_TRACING: Final[Fields] = {
    "workflow_name": optional(is_a(str)),
    "group_id": optional(is_a(str)),
    "metadata": None,
}
_PROMPT: Final[Fields] = {
    "id": None,
    "version": optional(is_a(str)),
    "variables": optional(_variables),
}
_EFFORT: Final = one_of("minimal", "low", "medium", "high", "xhigh")
_ANSWERING: Final[Fields] = {
    "instructions": is_a(str),
    "output_modalities": one_of(["audio"], ["text"]),
    "tools": listed(_tool),
    "tool_choice": _tool_choice,
    "parallel_tool_calls": is_a(bool),
    "reasoning": optional(with_fields({"effort": _EFFORT})),
    "max_output_tokens": _tokens,
    "prompt": optional(_prompt),
}
_INCLUDE: Final = optional(listed(one_of(LOGPROBS)))

REALTIME: Final[Fields] = {
    **_ANSWERING,
    "type": None,
    "model": text(256),
    "audio": with_fields(
        {
            "input": with_fields(_INPUT),
            "output": with_fields({**_OUTPUT, "speed": number(0.25, 1.5)}),
        }
    ),
    "truncation": _truncation,
    "tracing": _tracing,
    "include": _INCLUDE,
}
"Of a session."
TRANSCRIPTION: Final[Fields] = {
    "type": None,
    "audio": with_fields({"input": with_fields(_INPUT)}),
    "include": _INCLUDE,
}
"Of a session that only transcribes."
RESPONSE: Final[Fields] = {
    **_ANSWERING,
    "audio": with_fields({"output": with_fields(_OUTPUT)}),
    "conversation": one_of("auto", "none", None),
    "input": optional(is_a(list)),
    "metadata": optional(_metadata),
}
"Of a response.create."
BETA: Final[Fields] = {"temperature": number(0.6, 1.2)}
"Of a session or a response of the old dialect besides."
