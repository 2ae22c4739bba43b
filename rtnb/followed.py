"""A log read on as it grows, without keeping alive whose it is; it must not know who reads."""

from __future__ import annotations

import math
import weakref
from typing import Final, Protocol

from rtnb.events import Event, EventLog
from rtnb.eventtext import plain
from rtnb.eventwindow import Span
from rtnb.runs import Run
from rtnb.turns import Turn
from rtnb.turnstate import TurnState

__all__ = ["Followed", "Source"]

_TURNS: Final = 200  # turns that can be chosen


class Source(Protocol):
    """What can be inspected, besides a log itself: a session, a run, a turn."""

    @property
    def events(self) -> EventLog:
        """Both directions of the data channel."""


class Followed:
    """The events of a source, read on without keeping the source alive."""

    def __init__(self, source: Source | EventLog):
        self.name = type(source).__name__
        self._owner = weakref.ref(source)
        self._turn = source._state if isinstance(source, Turn) else None
        whole = source._source.events if isinstance(source, Turn) else source
        log = whole if isinstance(whole, EventLog) else whole.events
        self._log = weakref.ref(log)
        self._events = log._events  # it grows; nothing can be added once the log is gone
        self._read = 0
        self._end: int | None = None  # how many are read at most
        self._turns: list[tuple[int, str, Span]] = []

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        owner = self._owner()
        if self._end is not None:
            return True
        if self._turn is not None and self._turn.status != "in_progress":
            return True
        if self._log() is None or isinstance(owner, Run):
            return True
        return getattr(owner, "state", None) == "closed"

    def freeze(self) -> None:
        """Let nothing more come; what is there already is read still."""
        self._end = len(self._events)

    def read(self, most: int) -> list[Event]:
        """Return the next events, at most so many of the log's."""
        events = self._events[self._read : min(self._read + most, self._there)]
        self._read += len(events)
        if self._turn is None:
            return events
        start, end = _span(self._turn)
        return [event for event in events if start <= event.time < end]

    @property
    def behind(self) -> bool:
        """Whether there are events that were not read."""
        return self._read < self._there

    @property
    def _there(self) -> int:
        return len(self._events) if self._end is None else self._end

    def turns(self) -> list[tuple[int, str, Span]]:
        """Return number, label and time of each turn; none for what has no turns."""
        owner = self._owner()
        turns = getattr(owner, "turns", None)
        if isinstance(turns, list):
            states = [turn._state for turn in turns[-_TURNS:]]
            self._turns = [(s.number, plain(s.name or s.text or "", 40), _span(s)) for s in states]
        return self._turns


def _span(state: TurnState) -> Span:
    return state.started, math.inf if state.ended is None else state.ended + 1e-9
