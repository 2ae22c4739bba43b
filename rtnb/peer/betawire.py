"""The old dialect as a server spoke it: without what came after it; it must not know calls.

`rtnb.dialects.BETA` renames. A client of that time knows only its keys, so the rest is left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rtnb.dialects import BETA, Dialect, Json

__all__ = ["OLD", "sent_in_beta"]

# by the object that holds them
_LATER: Final[Mapping[str, tuple[str, ...]]] = {
    "session": ("truncation", "prompt", "parallel_tool_calls", "reasoning"),
    "turn_detection": ("idle_timeout_ms",),
    "input_audio_noise_reduction": ("strength",),
    "input_audio_transcription": ("delay", "keywords", "languages"),
    "input_token_details": ("image_tokens", "cached_tokens_details"),
}
_NEW: Final = (
    "conversation.item.done",
    "conversation.item.input_audio_transcription.segment",
    "input_audio_buffer.timeout_triggered",
)
_LATER_IN_EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "response.function_call_arguments.done": ("name",),
    "conversation.item.input_audio_transcription.completed": ("languages",),
}


def _without_later(value: Any, name: str = "") -> Any:
    if not isinstance(value, dict):
        return value
    later = _LATER.get(name, ())
    return {k: _without_later(v, k) for k, v in value.items() if k not in later}


def _session_to_wire(session: Json) -> Json:
    whole: Json = _without_later({"session": BETA.session_to_wire(session)})
    old: Json = whole["session"]
    return old


def _event_to_wire(event: Json) -> Json:
    out: Json = _without_later(BETA.event_to_wire(event))
    for name in _LATER_IN_EVENTS.get(out["type"], ()):
        out.pop(name, None)
    response = out.get("response")
    if isinstance(response, dict) and "max_response_output_tokens" in response:
        # of a session it has the longer name
        response["max_output_tokens"] = response.pop("max_response_output_tokens")
    return out


OLD: Final[Dialect] = replace(BETA, session_to_wire=_session_to_wire, event_to_wire=_event_to_wire)


def sent_in_beta(kind: str) -> bool:
    """Whether there was an event of that GA type: an item had one, when it was created."""
    return kind not in _NEW
