"""The responses of a conversation by id, and what is known of each; it must not know turns' rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rtnb.dialects import Json, object_at, text_at
from rtnb.events import Event
from rtnb.turnstate import ResponseState, TurnState

__all__ = ["ResponseBook"]

_SOUND: Final = ("audio", "output_audio")
_LONGEST: Final = 1e9  # milliseconds; more than any reply has


class ResponseBook:
    """Responses as their events tell of them.

    Parameters
    ----------
    owner
        Called once for each new response: returns the turn that it belongs to, if any.
    filtered
        The service tells neither the beginning nor the end of a response.

    Attributes
    ----------
    active : set of str
        Ids of the responses that were created and are not done.
    """

    def __init__(self, owner: Callable[[], TurnState | None], *, filtered: bool = False):
        self.active: set[str] = set()
        self._owner = owner
        self._filtered = filtered
        self._open: set[str] = set()  # ids of those whose end is not known, announced or not
        self._known: dict[str, tuple[TurnState | None, ResponseState]] = {}
        self._given_up: set[str] = set()  # ids of those whose sound is not followed any more
        self._whole: set[tuple[str, int]] = set()  # parts whose text is complete
        self._last: ResponseState | None = None  # the one whose sound began last
        self._silent_from: float | None = None  # when a sound last ended

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
            for key, (_, response) in self._known.items()
            if key not in self._given_up
        )

    @property
    def unfinished(self) -> bool:
        """Whether the service may still be making one, as far as is known."""
        return bool(self._open)

    def stop(self, time: float) -> None:
        """Take note that we ask for the end of what is being made or heard."""
        for turn, response in self._known.values():
            going_on = response.id in self._open or turn is None or turn.status == "in_progress"
            if going_on and response.audio_ended is None and response.stopped is None:
                response.stopped = time

    def created(self, data: Json, event: Event) -> TurnState | None:
        """Take ``response.created``, and return the turn that it belongs to."""
        response = self._add(str(object_at(data, "response").get("id")), event)
        self.active.add(response.id)
        return self._known[response.id][0]

    def content_part(self, data: Json, event: Event) -> None:
        """Take ``response.content_part.added``."""
        response = self._of(data, event)
        if text_at(data, "part", "type") in _SOUND:
            response.audio_expected = True

    def transcript(self, data: Json, event: Event) -> None:
        """Take a delta or the end of a transcript or a text."""
        response = self._of(data, event)
        place = data.get("content_index")
        key = (str(data.get("item_id")), place if isinstance(place, int) else 0)
        if "audio" in event.type:
            response.audio_expected = True
        if event.type.endswith(".done"):
            response.said = event.time
            self._whole.add(key)
            response.parts[key] = text_at(data, "transcript") or text_at(data, "text")
        elif key not in self._whole:  # else it has come late
            response.parts[key] = response.parts.get(key, "") + text_at(data, "delta")

    def audio_started(self, data: Json, event: Event) -> None:
        """Take ``output_audio_buffer.started``."""
        response = self._of(data, event)
        response.audio_expected = True
        response.audio_started = event.time
        if response is self._last:
            return
        if self._last is not None:
            self._last.followed = event.time
        if response.audio_ended is None:
            response.follows = self._silent_from
        self._last = response

    def audio_ended(self, data: Json, event: Event) -> None:
        """Take ``output_audio_buffer.stopped`` or ``.cleared``."""
        response = self._of(data, event)
        response.audio_ended = event.time
        response.cut = event.type.endswith(".cleared")
        self._open.discard(response.id)
        self._silent_from = event.time
        last = self._last
        if last is not None and response.followed == last.audio_started is not None:
            last.follows = last.audio_started  # told late: it had ended when the next one began

    def truncated(self, data: Json, event: Event) -> None:
        """Take ``conversation.item.truncated``, which may come unasked after barge-in."""
        item, heard = str(data.get("item_id")), data.get("audio_end_ms")
        if not isinstance(heard, int | float) or not 0 <= heard < _LONGEST:
            return
        for _, response in self._known.values():
            if any(part_item == item for part_item, _ in response.parts):
                response.truncated = heard / 1000

    def done(self, data: Json, event: Event) -> TurnState | None:
        """Take ``response.done``, and return the turn that it belongs to."""
        described = object_at(data, "response")
        response = self._of({"response_id": described.get("id")}, event)
        self.active.discard(response.id)
        self._open.discard(response.id)
        response.status = text_at(described, "status") or "completed"
        response.done = event.time
        response.usage = object_at(described, "usage") or None
        details = object_at(described, "status_details")
        given = [text_at(details, "error", key) for key in ("message", "code")]
        response.error = next(filter(None, [*given, text_at(details, "reason")]), None)
        return self._known[response.id][0]

    def give_up(self, turn: TurnState) -> None:
        """Wait no longer for the end of a turn's responses: they must not keep others from asking."""
        ids = {response.id for response in turn.responses}
        self.active -= ids
        self._open -= ids
        self._given_up |= ids

    def _add(self, key: str, event: Event) -> ResponseState:
        response = ResponseState(key, event.time, follows=self._silent_from, untold=self._filtered)
        turn = self._owner()
        self._known[key] = (turn, response)
        self._open.add(key)
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
