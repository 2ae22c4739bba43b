"""The shapes of servers that the peer can take, as plain values; it must not know HTTP or calls.

Azure's filter is the list of events of Microsoft's how-to on WebRTC; LocalAI's and speaches' shapes
are what their sources do.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtnb.dialects import BETA, GA, Dialect
from rtnb.peer.betawire import OLD, sent_in_beta

__all__ = ["MODES", "CallWire", "Mode", "framed", "mode_of"]

MODES: Final = ("openai", "azure", "localai", "speaches")

_AZURE_FILTER: Final = frozenset(
    {
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.added",
        "conversation.item.created",
        "response.output_text.delta",
        "response.output_text.done",
        "response.output_audio_transcript.delta",
        "response.output_audio_transcript.done",
    }
)
# the server events of speaches' types; the deltas of the sound, which it drops, are not among them
_SPEACHES_SENDS: Final = frozenset(
    BETA.normalised(kind)
    for kind in (
        "error",
        "session.created",
        "session.updated",
        "conversation.created",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "conversation.item.created",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
        "conversation.item.deleted",
        "response.created",
        "response.done",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.text.delta",
        "response.text.done",
        "response.audio_transcript.delta",
        "response.audio_transcript.done",
        "response.audio.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "rate_limits.updated",
    )
)
_SPEACHES_REFUSES: Final = frozenset(
    {
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "output_audio_buffer.clear",
        "response.cancel",
    }
)

_WHOLE: Final = 900  # bytes of an event that goes in one frame
_SLICE: Final = 800  # characters of base64 in each frame of a longer one


def _every(_type: str) -> bool:
    return True


def _whole(text: str) -> list[str]:
    return [text]


def _no_output_buffer(kind: str) -> bool:
    return not kind.startswith("output_audio_buffer.")


@dataclass(frozen=True)
class CallWire:
    """What one call's events look like on its data channel.

    Attributes
    ----------
    dialect : Dialect
        Their names.
    passes : callable
        From an event's GA type to whether it is sent at all.
    frames : callable
        From an event's JSON to the texts that carry it.
    label : str or None
        The one label of a channel that is listened to; None for any.
    refused : frozenset of str
        Types of client events that the server does not know.
    """

    dialect: Dialect = GA
    passes: Callable[[str], bool] = _every
    frames: Callable[[str], list[str]] = _whole
    label: str | None = None
    refused: frozenset[str] = frozenset()


def framed(text: str) -> list[str]:
    """Return the frames that carry an event on speaches' channel.

    An event of up to 900 bytes is one ``full_message``; a longer one is base64, cut into
    ``partial_message`` frames of 800 characters.

    Parameters
    ----------
    text
        The event's JSON; its ``event_id`` becomes the frames' ``id``.
    """
    raw = text.encode()
    name = str(json.loads(text).get("event_id", ""))
    data = base64.b64encode(raw).decode()
    if len(raw) <= _WHOLE:
        return [json.dumps({"id": name, "type": "full_message", "data": data})]
    slices = [data[i : i + _SLICE] for i in range(0, len(data), _SLICE)]
    total = len(slices)
    return [
        json.dumps(
            {
                "id": name,
                "type": "partial_message",
                "data": one,
                "fragment_index": i,
                "total_fragments": total,
            }
        )
        for i, one in enumerate(slices)
    ]


@dataclass(frozen=True)
class Mode:
    """One server's shape, as far as it is no route.

    Attributes
    ----------
    name : str
        One of `MODES`.
    root : str
        Path of the realtime routes.
    any_model : bool
        Every name of a model is taken: it is a deployment's, or a file's.
    needs_key : bool
        A request without any key is refused, even where no particular one is required.
    status : int
        Of an answer to an offer.
    """

    name: str
    root: str = "/v1/realtime"
    any_model: bool = True
    needs_key: bool = True
    status: int = 201

    def wire(self, dialect: Dialect = GA, *, filtered: bool = False) -> CallWire:
        """Return what a call's events look like.

        Parameters
        ----------
        dialect
            Of the route that was taken; where a server speaks but one, that one counts.
        filtered
            Azure's ``webrtcfilter=on``.
        """
        if self.name == "localai":
            refused = frozenset({"output_audio_buffer.clear"})
            return CallWire(GA, _no_output_buffer, label="oai-events", refused=refused)
        if self.name == "speaches":
            sends = _SPEACHES_SENDS.__contains__
            return CallWire(OLD, sends, framed, refused=_SPEACHES_REFUSES)
        if self.name == "azure" and filtered:
            return CallWire(dialect, _AZURE_FILTER.__contains__)
        return CallWire(dialect, sent_in_beta if dialect is OLD else _every)


def mode_of(name: str) -> Mode:
    """Return the shape of that name.

    Raises
    ------
    ValueError
        There is none.
    """
    modes = {
        "openai": Mode("openai", any_model=False),
        "azure": Mode("azure", "/openai/v1/realtime"),
        "localai": Mode("localai", needs_key=False),
        "speaches": Mode("speaches", needs_key=False, status=200),
    }
    if name not in modes:
        raise ValueError(f"There is no mode {name!r}; choose one of {', '.join(MODES)}.")
    return modes[name]
