"""The ordered log of both directions of the data channel; it must not know what an event means."""

from __future__ import annotations

import json
import threading
import time as _time
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from rtnb import _html, eventview
from rtnb._masking import mask
from rtnb.errors import TurnTimeoutError
from rtnb.eventrows import Row, Rows, lines
from rtnb.eventtext import kind_of, plain, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Direction", "Event", "EventLog"]

Direction = Literal["sent", "received"]

_SAID: Final = 60  # characters of its summary in the repr of an event
_DEEPEST: Final = 100  # levels of a frame that is read; code that copies or writes it recurses
_PLAIN: Final = 160  # rows of the text in a cell, which is cut at 20,000 characters
_FOLDED: Final = 50_000  # of a very long log only the latest events are folded into rows


class Event:
    """One JSON message on the data channel, kept as it was.

    Parameters
    ----------
    text
        The raw text frame. Secrets in it are masked before it is kept.
    time
        Seconds on the call's clock.
    direction
        ``"sent"`` (by us) or ``"received"``.
    type
        The event's type in GA names; None takes it from the text. Servers that speak another
        dialect are normalised on arrival, and `data` keeps what they really sent.
    """

    __slots__ = ("_data", "_text", "direction", "time", "type")

    def __init__(
        self,
        text: str,
        *,
        time: float,
        direction: Direction,
        type: str | None = None,
    ):
        self._text = mask(text)
        self._data: dict[str, Any] | None = None
        self.time = time
        self.direction: Direction = direction
        self.type: str = str(self.data.get("type", "")) if type is None else type

    @property
    def text(self) -> str:
        """The raw JSON text, secrets masked."""
        return self._text

    @property
    def data(self) -> dict[str, Any]:
        """The parsed event; an unreadable frame is ``{"type": "", "unreadable": text}``.

        A frame is unreadable if it is no JSON object, or is nested deeper than 100 levels.
        """
        if self._data is None:
            try:
                parsed = json.loads(self._text)
            except (ValueError, RecursionError):  # no JSON, or nested deeper than Python reads
                parsed = None
            usable = isinstance(parsed, dict) and not _too_deep(parsed, self._text)
            self._data = parsed if usable else {"type": "", "unreadable": self._text}
        return self._data

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"time", "direction", "event"}``, as events.jsonl holds it."""
        return {"time": round(self.time, 6), "direction": self.direction, "event": self.data}

    def __repr__(self) -> str:
        kind = plain(self.type, 80) or (kind_of(self) or "without a type")
        said = plain(summary(self), _SAID)
        return f"<Event {self.time:.3f} s {self.direction} {kind}{': ' if said else ''}{said}>"

    def _repr_html_(self) -> str:
        return eventview.event_html(Row(0, self), plain_text=repr(self))


def _too_deep(value: Any, text: str) -> bool:
    if text.count("{") + text.count("[") <= _DEEPEST:
        return False
    level = [value]
    for _ in range(_DEEPEST):
        inner = [v.values() if isinstance(v, dict) else v for v in level]
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
    return bool(level)


class EventLog:
    """An ordered, append-only log of events, safe to read while a call goes on.

    Parameters
    ----------
    events
        The events to begin with.
    """

    def __init__(self, events: Iterable[Event] = ()):
        self._events: list[Event] = list(events)
        self._changed = threading.Condition()

    def append(self, event: Event) -> None:
        """Add one event at the end and wake those who wait for it."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def select(self, pattern: str = "*", *, direction: Direction | None = None) -> EventLog:
        """Return the events whose type matches a glob such as ``response.*``.

        Parameters
        ----------
        pattern
            A shell-style pattern on the event's type.
        direction
            ``"sent"``, ``"received"``, or None for both.
        """
        return EventLog(
            event
            for event in list(self._events)
            if fnmatchcase(event.type, pattern)
            and (direction is None or event.direction == direction)
        )

    def between(self, start: float, end: float) -> EventLog:
        """Return the events with ``start <= time < end``, in seconds on the call's clock."""
        return EventLog(e for e in list(self._events) if start <= e.time < end)

    def wait_for(
        self,
        pattern: str | Callable[[Event], bool],
        *,
        timeout: float | None = 30.0,
        after: int = 0,
    ) -> Event:
        """Return the first event that matches, waiting for it if need be.

        Parameters
        ----------
        pattern
            A glob on the type, or a function from an event to bool.
        timeout
            Seconds; None waits for ever.
        after
            Skip this many events from the beginning of the log.

        Raises
        ------
        TurnTimeoutError
            Nothing matched in time.
        """
        matches = (
            pattern if callable(pattern) else lambda event: fnmatchcase(event.type, str(pattern))
        )
        deadline = None if timeout is None else _time.monotonic() + timeout
        position = after
        with self._changed:
            while True:
                for event in self._events[position:]:
                    if matches(event):
                        return event
                position = max(position, len(self._events))
                left = None if deadline is None else deadline - _time.monotonic()
                if left is not None and left <= 0:
                    last = self._events[-1].type if self._events else "none"
                    raise TurnTimeoutError(
                        f"No event matched {pattern!r} within {timeout:g} s; "
                        f"the last event seen was {last}."
                    )
                # short waits, so that an interrupt is felt on every platform
                self._changed.wait(0.5 if left is None else min(left, 0.5))

    @property
    def first(self) -> Event:
        """The first event.

        Raises
        ------
        LookupError
            The log is empty.
        """
        return self[0]

    @property
    def last(self) -> Event:
        """The last event.

        Raises
        ------
        LookupError
            The log is empty.
        """
        return self[-1]

    @property
    def types(self) -> list[str]:
        """The types, in order."""
        return [event.type for event in list(self._events)]

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the events as marks in lanes over the call's clock; see `rtnb.plots.events`."""
        from rtnb import plots

        return plots.events(self, ax=ax, **kwargs)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._events))

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> EventLog: ...
    def __getitem__(self, index: int | slice) -> Event | EventLog:
        if isinstance(index, slice):
            return EventLog(self._events[index])
        if not self._events:
            raise LookupError("This event log is empty; nothing has matched, or nothing came yet.")
        return self._events[index]

    def _rows(self) -> list[Row]:
        return Rows(self._events[-_FOLDED:]).rows

    def _text(self, rows: list[Row], most: int) -> str:
        shown = lines(rows[-most:])
        total = len(self._events)
        head = f"<EventLog {_html.counted(total, 'event')}>"
        if left_out := total - sum(row.count for row in rows[-most:]):
            last = _html.counted(len(shown), "row")
            head += f" (the last {last}; {left_out:,} earlier events are left out)"
        return "\n".join([head, *shown])

    def __repr__(self) -> str:
        return self._text(self._rows(), eventview.SHOWN)

    def _repr_html_(self) -> str:
        total = len(self._events)
        rows = self._rows()
        return eventview.log_html(rows, total=total, plain_text=self._text(rows, _PLAIN))
