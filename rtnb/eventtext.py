"""What an event says, as plain text of bounded length; it must not know rows, HTML or widgets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from rtnb._plain import visible

if TYPE_CHECKING:
    from rtnb.events import Event

__all__ = [
    "KNOWN_TYPES",
    "SOUND_TYPES",
    "Kind",
    "audio_size",
    "compact",
    "joined",
    "kind_of",
    "plain",
    "pretty",
    "summary",
]

Kind = Literal["", "error", "unknown", "unreadable"]

_ITEM: Final = "conversation.item."
_HEARD: Final = "conversation.item.input_audio_transcription."

# Every type of the Realtime API reference (client and server events), and what beta names otherwise.
KNOWN_TYPES: Final = frozenset(
    [
        *("error", "rate_limits.updated", "conversation.created"),
        *(f"session.{verb}" for verb in ("update", "created", "updated")),
        *("transcription_session.update", "transcription_session.updated"),
        *(f"{_ITEM}{verb}" for verb in ("create", "retrieve", "delete", "truncate", "created")),
        *(f"{_ITEM}{verb}" for verb in ("added", "done", "retrieved", "deleted", "truncated")),
        *(f"{_HEARD}{verb}" for verb in ("delta", "completed", "segment", "failed")),
        *(f"input_audio_buffer.{verb}" for verb in ("append", "commit", "clear", "committed")),
        *(f"input_audio_buffer.{verb}" for verb in ("cleared", "speech_started")),
        *(f"input_audio_buffer.{verb}" for verb in ("speech_stopped", "timeout_triggered")),
        "input_audio_buffer.dtmf_event_received",
        *(f"output_audio_buffer.{verb}" for verb in ("clear", "started", "stopped", "cleared")),
        *(f"response.{verb}" for verb in ("create", "cancel", "created", "done")),
        *(f"response.{what}.added" for what in ("output_item", "content_part")),
        *(f"response.{what}.done" for what in ("output_item", "content_part")),
        *(
            f"response.{what}.{verb}"
            for what in (
                *("output_text", "output_audio", "output_audio_transcript"),
                *("text", "audio", "audio_transcript"),
                *("function_call_arguments", "mcp_call_arguments"),
            )
            for verb in ("delta", "done")
        ),
        *(f"response.mcp_call.{verb}" for verb in ("in_progress", "completed", "failed")),
        *(f"mcp_list_tools.{verb}" for verb in ("in_progress", "completed", "failed")),
    ]
)

# what carries audio as base64
SOUND_TYPES: Final = frozenset(
    {"input_audio_buffer.append", "response.output_audio.delta", "response.audio.delta"}
)

_SUMMARY: Final = 200  # characters of a summary
_JSON: Final = 20_000  # characters of one event's JSON
_STRING: Final = 5_000  # characters of one string in it
_DEPTH: Final = 24


def plain(value: object, limit: int = _SUMMARY) -> str:
    """Return `value` as one line of at most `limit` characters, without control characters."""
    text = value if isinstance(value, str) else _scalar(value)
    cut = len(text) > limit
    text = visible(" ".join(text[:limit].split()))
    return text[: limit - 1] + "…" if cut else text


def _scalar(value: object) -> str:
    """Return a short text of a JSON value; what is inside a container is not looked at."""
    if isinstance(value, dict):
        return f"{{{len(value)} keys}}" if value else "{}"
    if isinstance(value, list):
        return f"[{len(value)} items]" if value else "[]"
    return value if isinstance(value, str) else json.dumps(value)


# --- one line that says what is in an event ------------------------------------------------------


def _at(data: Any, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def joined(parts: Iterable[object], between: str = ", ") -> str:
    """Return those of the parts that are not empty, as one line."""
    return between.join(plain(part) for part in parts if part not in (None, ""))


def _error(error: Any) -> str:
    if not isinstance(error, dict):
        return plain(error)
    return joined([error.get("code") or error.get("type"), error.get("message")], ": ")


def _session(session: Any) -> str:
    if not isinstance(session, dict):
        return plain(session)
    heard = _at(session, "audio", "input")
    flat = heard if isinstance(heard, dict) else session
    detection = None
    if "turn_detection" in flat:
        detection = _at(flat, "turn_detection", "type") or "no turn detection"
    voice = _at(session, "audio", "output", "voice") or session.get("voice")
    tools = session.get("tools")
    said = joined(
        [
            session.get("model"),
            voice and f"voice {plain(voice)}",
            detection,
            f"tools: {len(tools)}" if isinstance(tools, list) and tools else None,
            session.get("instructions"),
        ]
    )
    return said or joined(_settings(session)[:4])


def _settings(value: dict[str, Any], depth: int = 0) -> list[str]:
    """Return the names of what a session object sets, as ``audio.input.transcription``."""
    out = []
    for key, inner in list(value.items())[:8]:
        if isinstance(inner, dict) and inner and depth < 2:
            out += [f"{plain(key, 40)}.{name}" for name in _settings(inner, depth + 1)]
        elif key != "type":
            out.append(plain(key, 40))
    return out


def _content(part: Any) -> object:
    for key in ("transcript", "text"):
        if isinstance(_at(part, key), str):
            return part[key]
    return _at(part, "type")


def _item(item: Any) -> str:
    if not isinstance(item, dict):
        return plain(item)
    if item.get("type") in ("function_call", "mcp_call"):
        return _call(item)
    if item.get("type") == "function_call_output":
        return joined([item.get("call_id"), item.get("output")], " → ")
    content = item.get("content")
    said = joined(map(_content, content[:8]), " ") if isinstance(content, list) else ""
    return joined([item.get("role") or item.get("type"), said or item.get("status")], ": ")


def _call(data: Any) -> str:
    return f"{plain(data.get('name') or '', 60)}({plain(data.get('arguments') or '', 120)})"


def _response(response: Any) -> str:
    if not isinstance(response, dict):
        return plain(response)
    details = response.get("status_details")
    usage = response.get("usage")
    tokens = None
    if isinstance(usage, dict) and usage.get("total_tokens"):
        tokens = (
            f"{plain(usage['total_tokens'])} tokens ({plain(usage.get('input_tokens'))} in, "
            f"{plain(usage.get('output_tokens'))} out)"
        )
    wrong = _at(details, "error")
    return joined(
        [
            response.get("status"),
            _at(details, "reason"),
            wrong and _error(wrong),
            tokens,
            response.get("instructions"),
            None if response.get("status") else _modalities(response),
        ]
    )


def _modalities(response: Any) -> str:
    modalities = response.get("output_modalities")
    return joined(modalities[:4]) if isinstance(modalities, list) else plain(modalities or "")


def _limits(limits: Any) -> str:
    if not isinstance(limits, list):
        return plain(limits)
    return joined(
        f"{plain(_at(one, 'remaining'))} of {plain(_at(one, 'limit'))} {plain(_at(one, 'name'))} left"
        for one in limits[:4]
    )


def audio_size(characters: int) -> str:
    """Return how much audio so many characters of base64 hold, in words."""
    return f"{characters * 3 // 4:,} bytes of audio"


def _sound(text: Any) -> str:
    return audio_size(len(text)) if isinstance(text, str) else plain(text)


# The first field that is there says what an event is about, of whatever type it is.
_TELLING: Final[Sequence[tuple[str, Callable[[Any], str]]]] = (
    ("error", _error),
    ("session", _session),
    ("item", _item),
    ("response", _response),
    ("part", lambda part: plain(_content(part) or _at(part, "type") or "")),
    ("rate_limits", _limits),
    ("transcript", plain),
    ("text", plain),
    ("delta", plain),
    ("audio", _sound),
    ("unreadable", plain),
)
_NOT_TELLING: Final = frozenset(
    {"type", "event_id", "previous_item_id", "content_index", "output_index"}
)


def summary(event: Event) -> str:
    """Return one line, of at most 200 characters, on what an event says.

    Whatever the shape of the event, there is a line, and a long text is not read to its end.
    """
    data = event.data
    if event.type in SOUND_TYPES and "delta" in data:
        return _sound(data["delta"])
    if "arguments" in data:
        return plain(_call(data))
    for key, tell in _TELLING:
        if data.get(key) not in (None, ""):
            return plain(tell(data[key]))
    span = [f"{plain(data[k])} ms" for k in ("audio_start_ms", "audio_end_ms") if k in data]
    if span:
        return joined([" to ".join(span), data.get("item_id")])
    left = [(k, v) for k, v in list(data.items())[:12] if k not in _NOT_TELLING]
    return plain(
        joined(plain(v) if k.endswith("_id") else f"{plain(k)}: {plain(v)}" for k, v in left)
    )


def kind_of(event: Event) -> Kind:
    """Return whether an event is an error, of an unknown type, no JSON object, or none of these."""
    kind = event.type
    if kind not in KNOWN_TYPES:
        return "unreadable" if not kind and "unreadable" in event.data else "unknown"
    if kind == "error" or kind.endswith(".failed"):
        return "error"
    failed = kind == "response.done" and _at(event.data, "response", "status") == "failed"
    return "error" if failed else ""


# --- the whole of an event, bounded --------------------------------------------------------------


class _Trim:
    """Cuts a JSON value so that what is written of it stays short, however deep or long it is."""

    def __init__(self, limit: int):
        self._left = limit

    def __call__(self, value: Any, depth: int = 0) -> Any:
        self._left -= depth + 2
        if isinstance(value, str):
            return self._string(value)
        if not isinstance(value, dict | list):
            return value
        if depth >= _DEPTH and value:
            return f"… ({_scalar(value)}, deeper than {_DEPTH} levels)"
        return self._dict(value, depth) if isinstance(value, dict) else self._list(value, depth)

    def _string(self, value: str) -> str:
        room = max(min(_STRING, self._left), 40)
        self._left -= min(len(value), room) + 2
        if len(value) <= room:
            return value
        return f"{value[:room]}… ({len(value) - room:,} more characters)"

    def _dict(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for done, (key, inner) in enumerate(value.items()):
            if self._left <= 0:
                out["…"] = f"{len(value) - done:,} more keys"
                break
            out[self._string(key)] = self(inner, depth + 1)
        return out

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        out: list[Any] = []
        for inner in value:
            if self._left <= 0:
                out.append(f"… ({len(value) - len(out):,} more items)")
                break
            out.append(self(inner, depth + 1))
        return out


def _dumped(data: Any, limit: int, indent: int | None) -> str:
    text = json.dumps(_Trim(limit)(data), indent=indent, ensure_ascii=False)
    text = text[:limit] + " …" if len(text) > limit else text
    return visible(text)


def pretty(data: Any) -> str:
    """Return JSON data as indented text of about 20,000 characters at most.

    A string is cut at 5,000 characters and what is deeper than 24 levels is left out; both say so.
    """
    return _dumped(data, _JSON, 1)


def compact(data: Any, limit: int = 400) -> str:
    """Return JSON data as one line of about `limit` characters at most."""
    return _dumped(data, limit, None)
