"""From the arguments of ``connect`` to a session object in GA form, checked; it sends nothing."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from rtnb.dialects import Json
from rtnb.errors import ConfigurationError
from rtnb.tools import Tool

__all__ = [
    "UNSET",
    "Unset",
    "as_tools",
    "check_ice_servers",
    "check_limits",
    "check_seconds",
    "session_object",
]

_TRANSCRIPTION_MODEL: Final = "gpt-transcribe"
_DETECTION: Final = ("server_vad", "semantic_vad")
_ICE_KEYS: Final = ("urls", "username", "credential", "credentialType")
_ICE_SCHEMES: Final = ("stun:", "stuns:", "turn:", "turns:")


class Unset:
    """The type of `UNSET`: the service's own default, which is not the same as None."""

    def __repr__(self) -> str:
        return "the service's default"


UNSET: Final = Unset()


def as_tools(tools: Iterable[Callable[..., Any] | Json]) -> list[Tool | Json]:
    """Return functions as `Tool`s; schemas given as dicts stay what they are.

    Raises
    ------
    ConfigurationError
        It is not a list of functions and schemas.
    ToolError
        A function cannot be described.
    """
    if isinstance(tools, str | dict) or not isinstance(tools, Iterable):
        raise ConfigurationError(
            f"tools= takes a list of functions or schemas, not {type(tools).__name__}."
        )
    out: list[Tool | Json] = []
    for tool in tools:
        if isinstance(tool, dict):
            out.append(tool)
        elif callable(tool):
            out.append(Tool(tool))
        else:
            raise ConfigurationError(
                f"tools= takes functions or schemas, not {type(tool).__name__}."
            )
    return out


def session_object(
    *,
    model: str | None,
    voice: str | None,
    instructions: str | None,
    modalities: Iterable[str] | None,
    turn_detection: str | Json | Unset | None,
    transcription: bool | str | Json | None,
    tools: Iterable[Tool | Json],
) -> Json:
    """Return the session object (API: ``session``, ``type: realtime``) with only what was given.

    Raises
    ------
    ConfigurationError
        An argument cannot be used.
    """
    session: Json = {"type": "realtime"}
    _put_text(session, "model", model)
    _put_text(session, "instructions", instructions)
    if modalities is not None:
        several = isinstance(modalities, Iterable) and not isinstance(modalities, str)
        chosen = list(modalities) if several else [modalities]
        if chosen not in (["audio"], ["text"]):
            raise ConfigurationError("modalities= is ['audio'] or ['text'], never both.")
        session["output_modalities"] = chosen
    audio: Json = {}
    _put_text(audio.setdefault("output", {}), "voice", voice)
    heard: Json = audio.setdefault("input", {})
    if not isinstance(turn_detection, Unset):
        heard["turn_detection"] = _detection(turn_detection)
    if transcription is not None and transcription is not False:
        heard["transcription"] = _transcription(transcription)
    session["audio"] = {side: values for side, values in audio.items() if values}
    schemas = [t.schema if isinstance(t, Tool) else t for t in tools]
    if schemas:
        session["tools"] = schemas
    return {key: value for key, value in session.items() if value != {}}


def _put_text(target: Json, name: str, value: str | None) -> None:
    if value is None:
        return
    if not isinstance(value, str) or (name != "instructions" and not value.strip()):
        raise ConfigurationError(f"{name}= takes a non-empty str, not {value!r}.")
    target[name] = value


def _detection(value: str | Json | None) -> Json | None:
    if value is None or isinstance(value, dict):
        return value
    if value not in _DETECTION:
        raise ConfigurationError(
            f"turn_detection= is 'server_vad', 'semantic_vad', a dict, or None for push-to-talk; "
            f"not {value!r}."
        )
    return {"type": value}


def _transcription(value: bool | str | Json) -> Json:
    if isinstance(value, dict):
        return value
    if value is True:
        return {"model": _TRANSCRIPTION_MODEL}
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(
            f"transcription= is True, a model's name or a dict, not {value!r}."
        )
    return {"model": value}


def check_limits(timeout: Any, max_duration: Any, idle_close: Any) -> None:
    """Check the limits of a call, in seconds.

    Parameters
    ----------
    timeout
        Until the call must be open.
    max_duration, idle_close
        Until it is closed; None for never.

    Raises
    ------
    ConfigurationError
        One of them is not a positive number.
    """
    check_seconds("timeout", timeout)
    for name, value in (("max_duration", max_duration), ("idle_close", idle_close)):
        if value is not None:
            check_seconds(name, value, or_none=True)


def check_seconds(name: str, value: Any, *, or_none: bool = False) -> None:
    """Check that an argument is a positive number of seconds.

    Parameters
    ----------
    name
        The argument's.
    value
        What was given.
    or_none
        Whether the sentence says that None is possible too.

    Raises
    ------
    ConfigurationError
        It is not.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or math.isnan(value) or value <= 0:
        said = ", or None" if or_none else ""
        raise ConfigurationError(f"{name}= is a positive number of seconds{said}, not {value!r}.")


def check_ice_servers(servers: Any) -> None:
    """Check STUN and TURN servers; no sentence shows a user name, a credential or an address.

    Parameters
    ----------
    servers
        A list of dicts with ``urls`` and, where needed, ``username`` and ``credential``.

    Raises
    ------
    ConfigurationError
        It is something else; the sentence names the key that is wrong.
    """
    if not isinstance(servers, Sequence) or isinstance(servers, str | bytes):
        raise ConfigurationError(
            f"ice_servers= takes a list of dicts like {{'urls': 'stun:host:3478'}}, "
            f"not {type(servers).__name__}."
        )
    for server in servers:
        _check_ice_server(server)


def _check_ice_server(server: Any) -> None:
    if not isinstance(server, dict):
        raise ConfigurationError(
            f"Each of ice_servers= is a dict with 'urls', not {type(server).__name__}."
        )
    unknown = [repr(key) for key in server if key not in _ICE_KEYS]
    if unknown:
        raise ConfigurationError(
            f"ice_servers= does not know {', '.join(unknown)}; the keys are {', '.join(_ICE_KEYS)}."
        )
    urls = server.get("urls")
    several = urls if isinstance(urls, list | tuple) else [urls]
    if not several or not all(isinstance(u, str) and u.startswith(_ICE_SCHEMES) for u in several):
        raise ConfigurationError(
            "'urls' of each of ice_servers= is an address like 'turn:host:3478', or a list of them."
        )
    for key in _ICE_KEYS[1:]:
        if not isinstance(server.get(key, ""), str):
            raise ConfigurationError(f"{key!r} of each of ice_servers= is a str.")
