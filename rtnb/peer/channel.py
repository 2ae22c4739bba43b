"""The data channel of a call: events as texts, out and in; it must not know what an event means."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from aiortc import RTCDataChannel

from rtnb.dialects import Json
from rtnb.peer.journal import CallJournal
from rtnb.peer.modes import CallWire
from rtnb.peer.wire import parsed, written

__all__ = ["Channel"]

_log = logging.getLogger(__name__)

_KEPT: Final = 1_000  # events before it is open
_KEPT_CHARACTERS: Final = 8_000_000
_UNREAD: Final = 64 * 1024 * 1024  # bytes that a caller may leave unread


class Channel:
    """Where one call's events go; of several channels, the last one that is open is used.

    Parameters
    ----------
    wire
        What they look like.
    journal
        Where they are written down.
    """

    def __init__(self, wire: CallWire, journal: CallJournal):
        self._wire = wire
        self._journal = journal
        self._channels: list[RTCDataChannel] = []
        self._held: list[tuple[Json, str]] = []
        self._held_characters = 0
        self._listeners: list[Callable[[str], None]] = []

    def used(self, channel: RTCDataChannel) -> bool:
        """Whether a channel of the caller's is one for events."""
        return self._wire.label in (None, channel.label)

    def add(self, channel: RTCDataChannel) -> None:
        """Send on this one from now on."""
        self._channels = [c for c in self._channels if c.readyState != "closed"] + [channel]

    @property
    def stuck(self) -> bool:
        """Whether the caller leaves too much unread."""
        return any(channel.bufferedAmount > _UNREAD for channel in self._channels)

    def release(self) -> None:
        """Send what had to wait for the first one."""
        held, self._held = self._held, []
        for wired, text in held:
            if not self._send(wired, text):
                _log.warning("%s, which had to wait, is too large for the caller", wired["type"])

    def close(self) -> None:
        """Close all of them; what is sent from now on goes nowhere."""
        for channel in self._channels:
            channel.close()

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have every event that is sent, as JSON; return what ends that."""
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    def send(self, event: Json) -> bool:
        """Send an event in GA names; False when it is too large for the caller."""
        if self._wire.dialect.name == "beta" and event["type"] == "conversation.item.done":
            return True  # beta knows one event for an item, when it is created
        wired = self._wire.dialect.event_to_wire(event)
        text = written(wired)
        for listener in list(self._listeners):
            listener(text)  # what a channel's filter hides from a page is for the server beside it
        if not self._wire.passes(event["type"]):
            return True
        if self._channels:
            return self._send(wired, text)
        self._held_characters += len(text)
        if len(self._held) < _KEPT and self._held_characters < _KEPT_CHARACTERS:
            self._held.append((wired, text))
        return True

    def _send(self, wired: Json, text: str) -> bool:
        channel = next((c for c in reversed(self._channels) if c.readyState == "open"), None)
        if channel is None:
            return True
        try:
            for frame in self._wire.frames(text):
                channel.send(frame)
        except ValueError:
            return False
        self._journal.event("sent", wired)
        return True

    def read(self, message: str | bytes) -> tuple[object, Json | None]:
        """Return a client's event: its id, and itself in GA names if it is one."""
        event = parsed(message)
        event_id = event.get("event_id") if event else None
        if event is None or not isinstance(event.get("type"), str):
            self._journal.event("received", {"type": "(unreadable)"})
            return event_id, None
        self._journal.event("received", event)
        return event_id, event
