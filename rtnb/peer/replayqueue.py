"""What of a record is still to come, in order of time; it must not know what it means."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

from rtnb.dialects import Json
from rtnb.peer.recordedrun import Spoken

__all__ = ["Coming", "ReplayQueue"]


@dataclass(frozen=True)
class Coming:
    """One event or one sound that is to come.

    Attributes
    ----------
    time : float
        When, by the call's clock.
    what : dict or Spoken
        The recorded event, which is shared, or the sound.
    response_id : str or None
        Whose it is.
    """

    time: float
    what: Json | Spoken
    response_id: str | None = None


class ReplayQueue:
    """Events and sounds by time; those of the same time stay in order."""

    def __init__(self) -> None:
        self._coming: list[Coming] = []

    def __iter__(self) -> Iterator[Coming]:
        return iter(self._coming)

    def push(self, time: float, what: Json | Spoken, response_id: str | None) -> None:
        """Add one."""
        bisect.insort(self._coming, Coming(time, what, response_id), key=lambda one: one.time)

    def due(self) -> float:
        """When the first one is due; infinity when nothing is to come."""
        return self._coming[0].time if self._coming else float("inf")

    def pop(self, now: float) -> Coming | None:
        """Take out the first one, if it is due."""
        return self._coming.pop(0) if self._coming and self._coming[0].time <= now else None

    def remove(self, response_id: str) -> list[Json]:
        """Take out all that belongs to a response, and return its events."""
        taken = [one for one in self._coming if one.response_id == response_id]
        self._coming = [one for one in self._coming if one.response_id != response_id]
        return [one.what for one in taken if isinstance(one.what, dict)]

    def end(self, response_id: str) -> float | None:
        """When a response will be done; None where that is not to come."""
        for one in self._coming:
            if one.response_id == response_id and isinstance(one.what, dict):
                if one.what["type"] == "response.done":
                    return one.time
        return None

    def put_off(self, first: Coming, until: float) -> None:
        """Put back what was taken out, and have it and all of its response come that much later."""
        late = [one for one in self._coming if one.response_id == first.response_id]
        self._coming = [one for one in self._coming if one.response_id != first.response_id]
        for one in (first, *late):
            self.push(one.time + until - first.time, one.what, one.response_id)

    def created(self) -> Iterator[Json]:
        """Yield each ``response.created`` that is to come."""
        for one in self._coming:
            if isinstance(one.what, dict) and one.what["type"] == "response.created":
                yield one.what

    def unsaid(self) -> Iterator[str]:
        """Yield the id of each response whose sound is to come."""
        for one in self._coming:
            if isinstance(one.what, Spoken):
                yield one.what.response_id
