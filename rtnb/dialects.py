"""The names on the wire: one small table and pure functions per dialect; it must not know a call.

Inside rtnb everything is spoken in GA. A `Dialect` turns GA session objects and client events into
what a server wants, and the types of what arrives into GA names. (Realtime API reference; the table
of renamings between beta and GA is OpenAI's migration guide.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "BETA",
    "DIALECTS",
    "GA",
    "Dialect",
    "Json",
    "merged",
    "model_of",
    "object_at",
    "text_at",
    "voice_of",
]

Json = dict[str, Any]


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def object_at(data: Any, *path: str) -> Json:
    """Return the object at a path of JSON data; an empty one where there is none, or another type."""
    value = _at(data, path)
    return value if isinstance(value, dict) else {}


def text_at(data: Any, *path: str) -> str:
    """Return the string at a path of JSON data; an empty one where there is none, or another type."""
    value = _at(data, path)
    return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Dialect:
    """How one family of servers names things.

    Attributes
    ----------
    name : str
        ``"ga"`` or ``"beta"``.
    received : mapping
        Type on the wire to GA type, where they differ.
    session_to_wire, session_from_wire : callable
        A GA session object to the server's form, and back.
    event_to_wire, event_from_wire : callable
        A whole event in GA form to the server's form, and back; used on what is sent.
    """

    name: str
    received: Mapping[str, str]
    session_to_wire: Callable[[Json], Json]
    session_from_wire: Callable[[Json], Json]
    event_to_wire: Callable[[Json], Json]
    event_from_wire: Callable[[Json], Json]

    def normalised(self, wire_type: str) -> str:
        """Return the GA type of an event that arrived."""
        return self.received.get(wire_type, wire_type)


def merged(base: Json, change: Json) -> Json:
    """Return `base` with `change` laid over it, objects merged key by key, as session.update does."""
    out = deepcopy(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = deepcopy(value)
    return out


def model_of(*sessions: Json) -> str | None:
    """Return the model that the first of some session objects in GA form names."""
    return next((str(s["model"]) for s in sessions if s.get("model")), None)


def voice_of(*sessions: Json) -> str | None:
    """Return the voice that the first of some session objects in GA form names."""
    voices = [object_at(s, "audio", "output").get("voice") for s in sessions]
    return next((str(voice) for voice in voices if voice), None)


# --- beta ----------------------------------------------------------------------------------------

_BETA_TO_GA_TYPES: Final = {
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}
_GA_TO_BETA_TYPES: Final = {ga: beta for beta, ga in _BETA_TO_GA_TYPES.items()}

_FORMATS: Final[Mapping[str, Json]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_FORMAT_NAMES: Final = {ga["type"]: beta for beta, ga in _FORMATS.items()}

# GA path below "audio" -> the flat beta key
_AUDIO_KEYS: Final[Mapping[tuple[str, str], str]] = {
    ("input", "transcription"): "input_audio_transcription",
    ("input", "noise_reduction"): "input_audio_noise_reduction",
    ("input", "turn_detection"): "turn_detection",
    ("output", "voice"): "voice",
    ("output", "speed"): "speed",
}
_FORMAT_KEYS: Final = {"input": "input_audio_format", "output": "output_audio_format"}
_CONTENT_TO_BETA: Final = {"output_text": "text", "output_audio": "audio"}
_CONTENT_TO_GA: Final = {beta: ga for ga, beta in _CONTENT_TO_BETA.items()}


def _session_to_beta(session: Json) -> Json:
    out = {k: deepcopy(v) for k, v in session.items() if k not in ("type", "audio", "include")}
    audio = session.get("audio", {})
    for (side, key), flat in _AUDIO_KEYS.items():
        if key in audio.get(side, {}):
            out[flat] = deepcopy(audio[side][key])
    for side, flat in _FORMAT_KEYS.items():
        form = audio.get(side, {}).get("format")
        if form:
            out[flat] = _FORMAT_NAMES.get(form.get("type"), "pcm16")
    if "output_modalities" in out:
        modalities = out.pop("output_modalities")
        out["modalities"] = ["audio", "text"] if "audio" in modalities else ["text"]
    if "max_output_tokens" in out:
        out["max_response_output_tokens"] = out.pop("max_output_tokens")
    return out


def _put(session: Json, side: str, key: str, value: Any) -> None:
    """Set a key below "audio", unless something else stands there that a server will refuse."""
    audio = session.setdefault("audio", {})
    inner = audio.setdefault(side, {}) if isinstance(audio, dict) else None
    if isinstance(inner, dict):
        inner[key] = value


def _session_from_beta(session: Json) -> Json:
    """Name the settings as GA does; what is of a wrong type stays as it is, to be refused."""
    flat = {*_AUDIO_KEYS.values(), *_FORMAT_KEYS.values(), "modalities", "temperature"}
    flat |= {"max_response_output_tokens", "client_secret"}
    out: Json = {"type": "realtime"}
    out |= {k: deepcopy(v) for k, v in session.items() if k not in flat}
    for (side, key), name in _AUDIO_KEYS.items():
        if name in session:
            _put(out, side, key, deepcopy(session[name]))
    for side, name in _FORMAT_KEYS.items():
        if name in session:
            form = session[name]
            known = isinstance(form, str) and form in _FORMATS
            _put(out, side, "format", dict(_FORMATS[form]) if known else deepcopy(form))
    if "modalities" in session:
        modalities = deepcopy(session["modalities"])
        spoken = modalities in (["audio", "text"], ["text", "audio"])
        out["output_modalities"] = ["audio"] if spoken else modalities
    if "max_response_output_tokens" in session:
        out["max_output_tokens"] = session["max_response_output_tokens"]
    return out


def _item_renamed(item: Json, names: Mapping[str, str]) -> Json:
    out = deepcopy(item)
    content = out.get("content")
    if out.get("role") == "assistant" and isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("type"), str):
                part["type"] = names.get(part["type"], part["type"])
    return out


def _event_converted(
    event: Json,
    types: Mapping[str, str],
    session: Callable[[Json], Json],
    content: Mapping[str, str],
) -> Json:
    out = dict(event)
    out["type"] = types.get(event["type"], event["type"])
    if isinstance(out.get("session"), dict):
        out["session"] = session(out["session"])
    if isinstance(out.get("item"), dict):
        out["item"] = _item_renamed(out["item"], content)
    if isinstance(out.get("response"), dict):
        response = dict(out["response"])
        # what a response says of itself: status, output and usage are the same in both dialects
        settings = {k: response.pop(k) for k in _RESPONSE_SETTINGS if k in response}
        converted = session(settings)
        converted.pop("type", None)
        if isinstance(response.get("output"), list):
            response["output"] = [
                _item_renamed(item, content) if isinstance(item, dict) else item
                for item in response["output"]
            ]
        out["response"] = {**response, **converted}
    return out


_RESPONSE_SETTINGS: Final = (
    *("audio", "output_modalities", "max_output_tokens"),
    *("modalities", "voice", "output_audio_format", "max_response_output_tokens"),
)


def _event_to_beta(event: Json) -> Json:
    return _event_converted(event, _GA_TO_BETA_TYPES, _session_to_beta, _CONTENT_TO_BETA)


def _event_from_beta(event: Json) -> Json:
    out = _event_converted(event, _BETA_TO_GA_TYPES, _session_from_beta, _CONTENT_TO_GA)
    session = event.get("session")
    if isinstance(session, dict) and "temperature" in session:
        out["session"]["temperature"] = session["temperature"]  # for a server that speaks beta
    return out


# --- the table -----------------------------------------------------------------------------------

GA: Final = Dialect("ga", {}, deepcopy, deepcopy, dict, dict)
BETA: Final = Dialect(
    "beta",
    _BETA_TO_GA_TYPES,
    _session_to_beta,
    _session_from_beta,
    _event_to_beta,
    _event_from_beta,
)
DIALECTS: Final[Mapping[str, Dialect]] = {"ga": GA, "beta": BETA}
