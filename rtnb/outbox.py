"""The way of a call's messages to the media process; it must not know turns, tools or answers."""

from __future__ import annotations

import json

from rtnb import messages as m
from rtnb.dialects import Dialect, Json
from rtnb.engine import Engine
from rtnb.errors import CallError, ConfigurationError

__all__ = ["Outbox"]


class Outbox:
    """Sends the messages and events of one call.

    Parameters
    ----------
    engine
        What carries them.
    call
        The call's id.
    dialect
        The server's names.

    Attributes
    ----------
    largest : int
        Bytes of the largest event that the server takes.
    """

    def __init__(self, engine: Engine, call: str, dialect: Dialect):
        self.largest = 65_536
        self._engine = engine
        self._call = call
        self._dialect = dialect

    def send(self, message: m.Message) -> bool:
        """Send to the media process; if it has died, `Closed` is on its way and says so."""
        try:
            self._engine.send(message)
        except CallError:
            return False
        return True

    def send_event(self, event: Json, *, is_wire: bool = False) -> None:
        """Send an event in GA form, or as it is."""
        wire = event if is_wire else self._dialect.event_to_wire(event)
        self.send(m.SendEvent(self._call, self.encoded(wire)))

    def encoded_event(self, event: Json) -> str:
        """Return an event in GA form as the text that the server gets."""
        return self.encoded(self._dialect.event_to_wire(event))

    def encoded(self, event: Json, *, around: int = 0) -> str:
        """Return JSON as text.

        Parameters
        ----------
        event
            What to encode.
        around
            Bytes that will be added to it.

        Raises
        ------
        ConfigurationError
            It is larger than the server takes.
        """
        # half a surrogate pair cannot be sent; it becomes a question mark
        text = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
        size = len(text.encode()) + around
        if size > self.largest:
            raise ConfigurationError(
                f"An event of {size} bytes is too large for this server, which takes "
                f"{self.largest}; send less at a time."
            )
        return text
