"""The session object: its defaults, its limits, and changes to it; it must not know calls.

What is refused here is what the API reference states a limit for; other values pass unchecked. Kept
and shown, but without effect on this peer: instructions, speed, noise_reduction, truncation, tracing,
prompt, include, and the voice's name.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from rtnb.dialects import Json, merged

__all__ = [
    "BETA_TEMPERATURE",
    "Problem",
    "changed",
    "default_session",
    "known_model",
    "response_settings",
]

_DEFAULT_MODEL: Final = "gpt-realtime-2.1"
BETA_TEMPERATURE: Final = 0.8  # a session that has one is of the old dialect
_MODELS: Final = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime")
_PCM: Final = {"type": "audio/pcm", "rate": 24000}
_SERVER_VAD: Final[Json] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Final[Json] = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_TURN_DETECTION: Final = {"server_vad": _SERVER_VAD, "semantic_vad": _SEMANTIC_VAD}
_FORMATS: Final = ("audio/pcm", "audio/pcmu", "audio/pcma")
_READ_ONLY: Final = ("id", "object", "expires_at")  # what the server says may be sent back
_RESPONSE_ONLY: Final = ("conversation", "input", "metadata")


class Problem(Exception):
    """Why something a client asked for is refused, as the API words it.

    Parameters
    ----------
    message
        One sentence.
    param
        Path of what is refused, or None.
    code
        The service's error code.
    """

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value"):
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def known_model(model: object) -> bool:
    """Whether this peer takes a call for that model."""
    return isinstance(model, str) and model.startswith(_MODELS)


def default_session(session_id: str) -> Json:
    """Return the session as it is before anybody changed it."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": _DEFAULT_MODEL,
        "output_modalities": ["audio"],
        "instructions": "This peer does not follow instructions; it answers by rote.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": 0,
        "audio": {
            "input": {
                "format": dict(_PCM),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(_SERVER_VAD),
            },
            "output": {"format": dict(_PCM), "voice": "marin", "speed": 1.0},
        },
        "include": None,
    }


def changed(session: Json, change: object, *, spoken: bool = False, started: bool = True) -> Json:
    """Return the session with a change laid over it.

    Parameters
    ----------
    session
        As it is now.
    change
        The ``session`` of a session.update, a mint or a call.
    spoken
        Audio has been sent, so that the voice is fixed.
    started
        The session runs, so that the model is fixed.

    Raises
    ------
    Problem
        Something in the change is not permitted; then nothing is changed.
    """
    if not isinstance(change, dict):
        raise Problem("Invalid type for 'session': expected an object.", "session", "invalid_type")
    if "type" not in change:
        code = "missing_required_parameter"
        raise Problem("Missing required parameter: 'session.type'.", "session.type", code)
    change = {k: v for k, v in change.items() if k not in _READ_ONLY}
    change = _with_kind_of_turn_detection(session, change)
    _check(change, _fields(session), "session")
    _check_fixed(session, change, spoken=spoken, started=started)
    change = _with_whole_turn_detection(session, change)
    out = merged(session, change)
    _replace_whole(out, change)
    return out


def response_settings(session: Json, change: object) -> Json:
    """Return the session as one response sees it, with what response.create asks for instead.

    Raises
    ------
    Problem
        Something in it is not permitted.
    """
    change = {} if change is None else change
    if not isinstance(change, dict):
        raise Problem("Invalid type for 'response'.", "response", "invalid_type")
    _check(change, {**_fields(session), **_RESPONSE}, "response")
    inner = {k: v for k, v in change.items() if k not in _RESPONSE_ONLY}
    out = merged(session, inner)
    _replace_whole(out, inner)
    return out | {k: change.get(k) for k in _RESPONSE_ONLY}


def _check_fixed(session: Json, change: Json, *, spoken: bool, started: bool) -> None:
    if change["type"] != session["type"]:
        message = f"Passing a {change['type']!s} session to a realtime session is not allowed."
        raise Problem(message, "session.type")
    if started and change.get("model", session["model"]) != session["model"]:
        raise Problem("The model of a running session cannot be changed.", "session.model")
    output = (change.get("audio") or {}).get("output") or {}
    if spoken and output.get("voice", _voice(session)) != _voice(session):
        raise Problem(
            "Cannot update a conversation's voice if assistant audio is present.",
            "session.audio.output.voice",
            "cannot_update_voice",
        )


def _voice(session: Json) -> object:
    return session["audio"]["output"]["voice"]


def _with_kind_of_turn_detection(session: Json, change: Json) -> Json:
    """Name the current kind where a change of the turn detection does not say which it is."""
    found: Any = change
    for key in ("audio", "input", "turn_detection"):
        found = found.get(key) if isinstance(found, dict) else None
    current = session["audio"]["input"]["turn_detection"]
    if not isinstance(found, dict) or "type" in found or current is None:
        return change
    out = deepcopy(change)
    out["audio"]["input"]["turn_detection"]["type"] = current["type"]
    return out


def _with_whole_turn_detection(session: Json, change: Json) -> Json:
    """Fill a turn detection of a new kind with the defaults of that kind."""
    wanted = ((change.get("audio") or {}).get("input") or {}).get("turn_detection")
    if wanted is None:
        return change
    current = session["audio"]["input"]["turn_detection"] or {}
    kind = wanted.get("type", current.get("type", "server_vad"))
    base = current if current.get("type") == kind else _TURN_DETECTION[kind]
    out = deepcopy(change)
    out["audio"]["input"]["turn_detection"] = base | wanted | {"type": kind}
    return out


def _replace_whole(out: Json, change: Json) -> None:
    """Undo merging where a new value is another thing and not a change of the old one."""
    for key in ("tool_choice", "truncation", "tracing", "prompt"):
        if key in change:
            out[key] = deepcopy(change[key])
    for side, key in (("input", "turn_detection"), ("input", "transcription"), ("output", "voice")):
        asked = (change.get("audio") or {}).get(side) or {}
        if key in asked:
            out["audio"][side][key] = deepcopy(asked[key])


# --- what is permitted ---------------------------------------------------------------------------


def _fields(session: Json) -> dict[str, Check | None]:
    return {**_SESSION, **(_BETA if "temperature" in session else {})}


Check = Callable[[Any, str], None]


def _check(value: Any, fields: dict[str, Check | None], where: str) -> None:
    """Check an object: every key must be known, every value pass its check."""
    if not isinstance(value, dict):
        raise Problem(f"Invalid type for '{where}': expected an object.", where, "invalid_type")
    for key, inner in value.items():
        path = f"{where}.{key}"
        if key not in fields:
            raise Problem(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
        check = fields[key]
        if check is not None:
            check(inner, path)


def _object(fields: dict[str, Check | None], *, optional: bool = True) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None or not optional:
            _check(value, fields, path)

    return check


def _one_of(*permitted: object) -> Check:
    def check(value: Any, path: str) -> None:
        if value not in permitted:
            listed = ", ".join(repr(p) for p in permitted)
            raise Problem(f"Invalid value: {value!r}. Supported values are: {listed}.", path)

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any, path: str) -> None:
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not low <= value <= high:
            message = f"Invalid '{path}': expected a number from {low:g} to {high:g}."
            raise Problem(message, path)

    return check


def _tokens(value: Any, path: str) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value != "inf" and not (whole and 1 <= value <= _MOST_TOKENS):
        message = f"Invalid '{path}': expected a whole number from 1 to {_MOST_TOKENS} or 'inf'."
        raise Problem(message, path)


def _is_a(kind: type) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, kind):
            message = f"Invalid type for '{path}': expected {kind.__name__}."
            raise Problem(message, path, "invalid_type")

    return check


def _tools(value: Any, path: str) -> None:
    _is_a(list)(value, path)
    for index, tool in enumerate(value):
        at = f"{path}[{index}]"
        _is_a(dict)(tool, at)
        _one_of("function", "mcp")(tool.get("type"), f"{at}.type")
        _has(tool, "name" if tool["type"] == "function" else "server_label", at)
        if tool["type"] == "function" and tool.get("parameters") is not None:
            _parameters(tool["parameters"], f"{at}.parameters")


def _has(value: Json, key: str, path: str) -> None:
    if not isinstance(value.get(key), str) or not value[key]:
        code = "missing_required_parameter"
        raise Problem(f"Missing required parameter: '{path}.{key}'.", f"{path}.{key}", code)


def _parameters(value: Any, path: str) -> None:
    """Check as much of a JSON schema as this peer goes by."""
    _is_a(dict)(value, path)
    properties, required = value.get("properties", {}), value.get("required", [])
    _is_a(dict)(properties, f"{path}.properties")
    for name, schema in properties.items():
        if not isinstance(schema, dict | bool):
            at = f"{path}.properties.{name}"
            raise Problem(f"Invalid type for '{at}': expected a schema.", at, "invalid_type")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        at = f"{path}.required"
        raise Problem(f"Invalid type for '{at}': expected strings.", at, "invalid_type")


def _tool_choice(value: Any, path: str) -> None:
    if isinstance(value, dict):
        _one_of("function", "mcp")(value.get("type"), f"{path}.type")
        _has(value, "name" if value["type"] == "function" else "server_label", path)
    else:
        _one_of("auto", "none", "required")(value, path)


def _voice_name(value: Any, path: str) -> None:
    named = value.get("id") if isinstance(value, dict) else value
    if not isinstance(named, str) or not named:
        raise Problem(f"Invalid value: {value!r}. Give a voice's name or id.", path)


def _turn_detection(value: Any, path: str) -> None:
    if value is None:
        return
    _is_a(dict)(value, path)
    semantic = value.get("type") == "semantic_vad"
    _check(value, _SEMANTIC_FIELDS if semantic else _SERVER_FIELDS, path)


_MOST_TOKENS: Final = 4096
_SWITCHES: Final[dict[str, Check | None]] = {
    "create_response": _is_a(bool),
    "interrupt_response": _is_a(bool),
}
_SERVER_FIELDS: Final[dict[str, Check | None]] = {
    "type": _one_of("server_vad", "semantic_vad"),
    "threshold": _number(0, 1),
    "prefix_padding_ms": _number(0, 10_000),
    "silence_duration_ms": _number(0, 10_000),
    "idle_timeout_ms": _one_of(None),  # not built: refused rather than ignored
    **_SWITCHES,
}
_SEMANTIC_FIELDS: Final[dict[str, Check | None]] = {
    "type": None,
    "eagerness": _one_of("low", "medium", "high", "auto"),
    **_SWITCHES,
}
_FORMAT: Final = _object({"type": _one_of(*_FORMATS), "rate": _one_of(24000)}, optional=False)
_TRANSCRIPTION_KEYS: Final = ("model", "language", "prompt", "delay", "keywords", "languages")
_OUTPUT: Final[dict[str, Check | None]] = {
    "format": _FORMAT,
    "voice": _voice_name,
    "speed": _number(0.25, 1.5),
}
_INPUT: Final[dict[str, Check | None]] = {
    "format": _FORMAT,
    "transcription": _object({**dict.fromkeys(_TRANSCRIPTION_KEYS), "model": _is_a(str)}),
    "noise_reduction": _object({"type": _one_of("near_field", "far_field"), "strength": None}),
    "turn_detection": _turn_detection,
}
_SESSION: Final[dict[str, Check | None]] = {
    "type": None,
    "model": _is_a(str),
    "instructions": _is_a(str),
    "output_modalities": _one_of(["audio"], ["text"]),
    "audio": _object(
        {"input": _object(_INPUT, optional=False), "output": _object(_OUTPUT, optional=False)},
        optional=False,
    ),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _is_a(bool),
    "reasoning": None,
    "max_output_tokens": _tokens,
    "truncation": None,
    "tracing": None,
    "prompt": None,
    "include": None,
}


def _metadata(value: Any, path: str) -> None:
    if value is None:
        return
    _is_a(dict)(value, path)
    if len(value) > 16 or not all(isinstance(v, str) for v in value.values()):
        raise Problem(f"Invalid '{path}': expected at most 16 pairs of strings.", path)


_BETA: Final[dict[str, Check | None]] = {"temperature": _number(0.6, 1.2)}
_RESPONSE: Final[dict[str, Check | None]] = {
    "conversation": _one_of("auto", "none", None),
    "input": None,
    "metadata": _metadata,
}
