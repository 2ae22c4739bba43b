"""From the arguments of ``connect`` to a session object in GA form, checked; it sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from rtnb.dialects import Json
from rtnb.errors import ConfigurationError
from rtnb.tools import Tool

__all__ = ["UNSET", "Unset", "as_tools", "session_object"]

_TRANSCRIPTION_MODEL: Final = "gpt-transcribe"
_DETECTION: Final = ("server_vad", "semantic_vad")


class Unset:
    """The type of `UNSET`: the service's own default, which is not the same as None."""

    def __repr__(self) -> str:
        return "the service's default"


UNSET: Final = Unset()


def as_tools(tools: Iterable[Callable[..., Any] | Json]) -> list[Tool | Json]:
    """Return functions as `Tool`s; schemas given as dicts stay what they are."""
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
        chosen = [modalities] if isinstance(modalities, str) else list(modalities)
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
    return {"model": value if isinstance(value, str) else _TRANSCRIPTION_MODEL}
