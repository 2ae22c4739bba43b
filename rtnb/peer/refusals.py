"""How a conversation refuses what it is sent, in the API's words; it must not know what that is for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeVar

from rtnb.dialects import Json
from rtnb.peer.checks import Problem, text
from rtnb.peer.outputs import Command, Outbox

__all__ = ["LONGEST_EVENT_ID", "Refusing", "handler_for"]

LONGEST_EVENT_ID: Final = 512  # characters

Handler = TypeVar("Handler")


def handler_for(handlers: Mapping[str, Handler], event: Json, unknown: Collection[str]) -> Handler:
    """Return what handles a client event.

    Parameters
    ----------
    handlers
        By type.
    event
        In GA names.
    unknown
        Types that are refused nevertheless.

    Raises
    ------
    Problem
        There is no such event, or its id is none.
    """
    if event.get("event_id") is not None:
        text(LONGEST_EVENT_ID)(event["event_id"], "event_id")
    kind = str(event.get("type"))
    if kind not in handlers or kind in unknown:
        quoted = repr(event.get("type"))[:100]
        raise Problem(f"Invalid value: {quoted}. This is no client event.", "type")
    return handlers[kind]


class Refusing:
    """The part of a conversation that sends ``error`` events."""

    _out: Outbox

    def unreadable(self, event_id: object = None) -> list[Command]:
        """Take note of a frame that is not a JSON object with a type; it may have an id."""
        problem = Problem("The message is not a JSON object with a type.", None, "invalid_event")
        self._refuse(problem, event_id)
        return self._out.take()

    def failed(self, event_id: object) -> list[Command]:
        """Say that something could not be handled: a mistake of the peer."""
        problem = Problem("The peer failed; its log says why.", None, "server_error")
        self._refuse(problem, event_id, "server_error")
        return self._out.take()

    def too_large(self, type: str, event_id: object) -> list[Command]:
        """Say that an event cannot be sent: the client takes no message of its size."""
        message = f"The event {type} is larger than the largest message that the client takes."
        self._refuse(Problem(message, None, "event_too_large"), event_id)
        return self._out.take()

    def _refuse(
        self, problem: Problem, event_id: object, kind: str = "invalid_request_error"
    ) -> None:
        known = isinstance(event_id, str) and len(event_id) <= LONGEST_EVENT_ID
        error = {
            "type": kind,
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
            "event_id": event_id if known else None,
        }
        self._out.event("error", error=error)
