"""The responses of a conversation by id, and what is known of each; it must not know turns' rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rtnb.dialects import Json
from rtnb.events import Event
from rtnb.turnstate import ResponseState, TurnState

__all__ = ["ResponseBook"]

_SOUND: Final = ("audio", "output_audio")


class ResponseBook:
    """Responses as their events tell of them.

    Parameters
    ----------
    owner
        Called once for each new response: returns the turn that it belongs to, if any.

    Attributes
    ----------
    active : set of str
        Ids of the responses that were created and are not done.
    """

    def __init__(self, owner: Callable[[], TurnState | None]):
        self.active: set[str] = set()
        self._owner = owner
        self._known: dict[str, tuple[TurnState | None, ResponseState]] = {}
        self._whole: set[tuple[str, int]] = set()  # parts whose text is complete

    @property
    def handlers(self) -> dict[str, Callable[[Json, Event], None]]:
        """Which event each method takes."""
        return {
            "response.content_part.added": self.content_part,
            "response.output_audio_transcript.delta": self.transcript,
            "response.output_audio_transcript.done": self.transcript,
            "response.output_text.delta": self.transcript,
            "response.output_text.done": self.transcript,
            "output_audio_buffer.started": self.audio_started,
            "output_audio_buffer.stopped": self.audio_ended,
            "output_audio_buffer.cleared": self.audio_ended,
            "conversation.item.truncated": self.truncated,
        }

    @property
    def sounding(self) -> bool:
        """Whether the sound of a response has begun and not ended."""
        return any(
            response.audio_started is not None and response.audio_ended is None
            for _, response in self._known.values()
        )

    def created(self, data: Json, event: Event) -> TurnState | None:
        """Take ``response.created``, and return the turn that it belongs to."""
        described = data.get("response") or {}
        response = self._add(str(described.get("id")), event)
        self.active.add(response.id)
        return self._known[response.id][0]

    def content_part(self, data: Json, event: Event) -> None:
        """Take ``response.content_part.added``."""
        response = self._of(data, event)
        if (data.get("part") or {}).get("type") in _SOUND:
            response.audio_expected = True

    def transcript(self, data: Json, event: Event) -> None:
        """Take a delta or the end of a transcript or a text."""
        response = self._of(data, event)
        key = (str(data.get("item_id")), int(data.get("content_index") or 0))
        if "audio" in event.type:
            response.audio_expected = True
        if event.type.endswith(".done"):
            self._whole.add(key)
            response.parts[key] = str(data.get("transcript", data.get("text")) or "")
        elif key not in self._whole:  # else it has come late
            response.parts[key] = response.parts.get(key, "") + str(data.get("delta") or "")

    def audio_started(self, data: Json, event: Event) -> None:
        """Take ``output_audio_buffer.started``."""
        response = self._of(data, event)
        response.audio_expected = True
        response.audio_started = event.time

    def audio_ended(self, data: Json, event: Event) -> None:
        """Take ``output_audio_buffer.stopped`` or ``.cleared``."""
        response = self._of(data, event)
        response.audio_ended = event.time
        response.cut = event.type.endswith(".cleared")

    def truncated(self, data: Json, event: Event) -> None:
        """Take ``conversation.item.truncated``, which may come unasked after barge-in."""
        item = str(data.get("item_id"))
        for _, response in self._known.values():
            if any(part_item == item for part_item, _ in response.parts):
                response.truncated = float(data.get("audio_end_ms") or 0) / 1000

    def done(self, data: Json, event: Event) -> TurnState | None:
        """Take ``response.done``, and return the turn that it belongs to."""
        described = data.get("response") or {}
        response = self._of({"response_id": described.get("id")}, event)
        self.active.discard(response.id)
        response.status = str(described.get("status") or "completed")
        response.done = event.time
        response.usage = described.get("usage")
        details = described.get("status_details") or {}
        failure = details.get("error") or {}
        response.error = failure.get("message") or failure.get("code") or details.get("reason")
        return self._known[response.id][0]

    def give_up(self, turn: TurnState) -> None:
        """Wait no longer for the end of a turn's responses: they must not keep others from asking."""
        self.active -= {response.id for response in turn.responses}

    def _add(self, key: str, event: Event) -> ResponseState:
        response = ResponseState(key, event.time)
        turn = self._owner()
        self._known[key] = (turn, response)
        if turn is not None:
            turn.responses.append(response)
            turn.touched = event.time
        return response

    def _of(self, data: Json, event: Event) -> ResponseState:
        """Return a response by id; a filtering server may never have announced it."""
        key = str(data.get("response_id"))
        if key not in self._known:
            return self._add(key, event)
        turn, response = self._known[key]
        if turn is not None:
            turn.touched = event.time
        return response
