"""The items of a replayed call: recorded ones and the client's own, side by side; it knows no time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from rtnb.dialects import Json, text_at
from rtnb.peer.checks import Problem
from rtnb.peer.itemevents import created, retrieved, truncation
from rtnb.peer.items import Item, Items
from rtnb.peer.outputs import Outbox

__all__ = ["ReplayedItems"]

_PER_MS: Final = 48
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"


class ReplayedItems:
    """The conversation's items, and the client events that are about them.

    Parameters
    ----------
    out
        Where events go.
    recorded
        Type and id of the items that the client made in the record, in order.

    Attributes
    ----------
    made : set of str
        The types of the items that the client made; who takes them up removes them.
    """

    def __init__(self, out: Outbox, recorded: Iterable[tuple[str, str]]):
        self._out = out
        self._items = Items()
        self._recorded = deque(recorded)
        self.made: set[str] = set()

    # --- the record's -----------------------------------------------------------------------------

    def placed(self, event: Json) -> Json:
        """Take an item from a recorded event, and return where it stands in this call."""
        kind, item_id = event["type"], text_at(event, "item", "id") or text_at(event, "item_id")
        known = self._find(item_id)
        if kind == "conversation.item.added" and item_id and known is None:
            return {"previous_item_id": self._items.add(Item(dict(event["item"])))}
        if kind == "conversation.item.done" and known is not None:
            known.json = dict(event["item"])
            return {"previous_item_id": self._items.before(known)}
        if kind == _TRANSCRIBED and known is not None:
            transcript = text_at(event, "transcript")
            known.json["content"] = [{"type": "input_audio", "transcript": transcript}]
        if kind == "input_audio_buffer.committed":
            return {"previous_item_id": self._items.last_id()}
        return {}

    def said(self, item_id: str | None, pcm: bytes) -> None:
        """Take note of the sound of an item."""
        item = self._find(item_id)
        if item is not None:
            item.spoken_ms, item.sound = len(pcm) // 2 // _PER_MS, pcm

    def cut(self, item_id: str | None, played_ms: int) -> None:
        """Truncate an item of which that much was played, if there is such an item."""
        item = self._find(item_id)
        if item is not None:
            self._truncate(item, played_ms)

    def add_audio(self, item_id: str) -> None:
        """Commit audio of the user's that is in no record."""
        committed = {"item_id": item_id, "previous_item_id": self._items.last_id()}
        self._out.event("input_audio_buffer.committed", **committed)
        content = [{"type": "input_audio", "transcript": None}]
        head = {"id": item_id, "object": "realtime.item", "type": "message"}
        self._add(Item({**head, "status": "completed", "role": "user", "content": content}))

    def _find(self, item_id: str | None) -> Item | None:
        known = item_id is not None and self._items.has(item_id)
        return self._items.find(item_id) if known else None

    # --- the client's -----------------------------------------------------------------------------

    def create(self, event: Json, form: Json) -> None:
        """Take a ``conversation.item.create``; an item without an id gets its recorded one.

        Parameters
        ----------
        event
            The client's.
        form
            The session's format of input audio.

        Raises
        ------
        Problem
            It cannot be an item, or not there.
        """
        item, after = created(event, self._items, lambda samples: None, form)
        kind, recorded = self._recorded.popleft() if self._recorded else ("", "")
        fits = kind == item.json["type"] and not self._items.has(recorded)
        if fits and not event["item"].get("id"):
            item.json["id"] = recorded
        self.made.add(str(item.json["type"]))
        self._add(item, after)

    def retrieve(self, event: Json, audio: Json) -> None:
        """Take a ``conversation.item.retrieve``; `audio` is the session's, with its formats."""
        item = retrieved(event, self._items, audio)
        self._out.event("conversation.item.retrieved", item=item)

    def delete(self, event: Json) -> None:
        """Take a ``conversation.item.delete``."""
        item = self._items.find(event.get("item_id"))
        self._items.remove(item)
        self._out.event("conversation.item.deleted", item_id=item.id)

    def truncate(self, event: Json) -> None:
        """Take a ``conversation.item.truncate``."""
        item, end_ms = truncation(event, self._items)
        if end_ms > item.spoken_ms:
            message = f"Audio content of {item.spoken_ms}ms is already shorter than {end_ms}ms."
            raise Problem(message, "audio_end_ms")
        self._truncate(item, end_ms)

    def _add(self, item: Item, after: str | None = None) -> None:
        previous = self._items.add(item, after)
        for step in ("added", "done"):
            name = f"conversation.item.{step}"
            self._out.event(name, item=dict(item.json), previous_item_id=previous)

    def _truncate(self, item: Item, end_ms: int) -> None:
        item.truncate(end_ms)
        self._out.event(
            "conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=end_ms
        )
