"""One recorded response on its way, and how it ends when it is cut short; it must not know time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Final

from rtnb.dialects import Json, object_at, text_at
from rtnb.peer.outputs import new_id
from rtnb.peer.recordedparts import Cue
from rtnb.peer.usage import Tokens, usage

__all__ = ["ReplayedResponse", "failed_response", "misfit", "untranscribed"]

# the key in which an event that closes something repeats all of it
_WHOLE: Final = {
    "response.output_text.done": "text",
    "response.output_audio_transcript.done": "transcript",
    "response.function_call_arguments.done": "arguments",
}
_OF_A_PART: Final = frozenset(
    {
        "response.output_text.done",
        "response.output_audio_transcript.done",
        "response.output_audio.done",
        "response.content_part.done",
    }
)
_BEGUN_BY: Final[dict[Cue, str]] = {
    "speech": "with speech",
    "commit": "with a commit of the input audio buffer",
    "text": "with a response.create after a message",
    "tool": "with a response.create after a tool's output",
    "response": "with a response.create alone",
    "outside": "with a response.create outside the conversation",
    "opening": "by itself",
}


class ReplayedResponse:
    """What was sent of a recorded response so far.

    Parameters
    ----------
    created
        Its ``response.created``.
    """

    def __init__(self, created: Json):
        self._created: Json = created["response"]
        self._texts: dict[tuple[str, int], str] = {}
        self._open: set[str] = set()  # items that were added
        self._open_parts: set[tuple[str, int]] = set()

    @property
    def id(self) -> str:
        """Its id."""
        return str(self._created["id"])

    @property
    def inside(self) -> bool:
        """Whether it belongs to the conversation."""
        return self._created.get("conversation_id", "") is not None

    def share(self, rest: Iterable[Json]) -> float:
        """Return how much of its words was sent, 0 to 1, given the events that were not."""
        sent = sum(map(len, self._texts.values()))
        unsent = sum(len(text_at(event, "delta")) for event in rest)
        return sent / (sent + unsent) if unsent else 1.0

    def sent(self, event: Json) -> None:
        """Take note of one of its events."""
        kind, place = event["type"], _place(event)
        if kind == "response.output_item.added":
            self._open.add(text_at(event, "item", "id"))
        elif kind == "response.content_part.added":
            self._open_parts.add(place)
        elif kind.endswith(".delta") and isinstance(event.get("delta"), str):
            self._texts[place] = self._texts.get(place, "") + event["delta"]

    def cut(self, rest: Iterable[Json], reason: str) -> Iterator[Json]:
        """Yield what closes it, made of the recorded events that were not sent yet.

        Parameters
        ----------
        rest
            Those events, in order.
        reason
            As in ``status_details``: ``"turn_detected"`` or ``"client_cancelled"``.
        """
        done: Json = {"type": "response.done", "response": self._created}
        for event in rest:
            if event["type"] == "response.done":
                done = event
            elif self._closes(event):
                yield self._shortened(event)
        response = {**done["response"], "status": "cancelled"}
        response["status_details"] = {"type": "cancelled", "reason": reason}
        output = [i for i in response.get("output") or [] if i.get("id") in self._open]
        response["output"] = [self._item(item) for item in output]
        yield {"event_id": new_id("event"), **done, "response": response}

    def _closes(self, event: Json) -> bool:
        """Whether an event closes something that was opened."""
        kind, (item_id, _) = event["type"], _place(event)
        if kind in _OF_A_PART:
            return _place(event) in self._open_parts
        return str(kind).endswith(".done") and item_id in self._open

    def _shortened(self, event: Json) -> Json:
        out = dict(event)
        key = _WHOLE.get(event["type"])
        if key is not None:
            out[key] = self._texts.get(_place(event), "")
        if isinstance(event.get("item"), dict):
            out["item"] = self._item(event["item"])
        if isinstance(event.get("part"), dict):
            out["part"] = self._shown(event["part"], *_place(event))
        return out

    def _item(self, item: Json) -> Json:
        """Return an item as far as it was sent."""
        out = deepcopy(item)
        out["status"] = "incomplete"
        item_id = text_at(item, "id")
        if "arguments" in out:
            out["arguments"] = self._texts.get((item_id, 0), "")
        if isinstance(out.get("content"), list):
            parts = [part for part in out["content"] if isinstance(part, dict)]
            out["content"] = [self._shown(part, item_id, i) for i, part in enumerate(parts)]
        return out

    def _shown(self, part: Json, item_id: str, index: int) -> Json:
        text = self._texts.get((item_id, index), "")
        return {k: text if k in ("text", "transcript") else v for k, v in part.items()}


def _place(event: Json) -> tuple[str, int]:
    """Return the item and the content part that an event is about."""
    item_id = text_at(event, "item_id") or text_at(object_at(event, "item"), "id")
    index: Any = event.get("content_index", 0)
    return item_id, index if isinstance(index, int) else 0


def failed_response(settings: Json, error: Json) -> tuple[Json, Json]:
    """Return ``response.created`` and ``response.done`` of a response that fails at once.

    Parameters
    ----------
    settings
        The session as the response sees it, with `metadata` and `conversation`.
    error
        As in ``status_details``.
    """
    response = {
        "object": "realtime.response",
        "id": new_id("resp"),
        "status": "in_progress",
        "status_details": None,
        "output": [],
        "conversation_id": None if settings["conversation"] == "none" else new_id("conv"),
        "output_modalities": settings["output_modalities"],
        "max_output_tokens": settings["max_output_tokens"],
        "usage": None,
        "metadata": settings["metadata"],
    }
    nothing = usage(Tokens(), Tokens(), Tokens())
    failed = {"status": "failed", "status_details": {"type": "failed", "error": error}}
    return (
        {"type": "response.created", "response": response},
        {"type": "response.done", "response": response | failed | {"usage": nothing}},
    )


def untranscribed(item_id: str, *, on_request: bool) -> Json:
    """Return the event that an item has no transcription: on request, or as the record has none."""
    message = "The replayed run holds no transcription of this audio."
    error = {"type": "transcription_error", "code": "replay_mismatch", "message": message}
    if on_request:
        message = "This local peer was asked to have transcriptions fail."
        error |= {"code": "server_error", "message": message}
    return {
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": item_id,
        "content_index": 0,
        "error": error | {"param": None},
    }


def misfit(recorded: Cue | None, live: Cue) -> Json:
    """Return the error of a response for which the record has nothing.

    Parameters
    ----------
    recorded
        What begins the next part of the record; None at its end.
    live
        What the client did instead.
    """
    if recorded is None:
        code, message = "replay_exhausted", "The replayed run holds no more replies."
    else:
        code = "replay_mismatch"
        message = (
            f"The replayed run goes on {_BEGUN_BY[recorded]}, but this call {_BEGUN_BY[live]}."
        )
    return {"type": "invalid_request_error", "code": code, "message": message}
