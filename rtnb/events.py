"""The ordered log of both directions of the data channel; it must not know what an event means."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
import threading
import time as _time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from rtnb import _html, eventview
from rtnb._masking import mask
from rtnb._nested import too_deep
from rtnb.errors import TurnTimeoutError
from rtnb.eventrows import Row, Rows, lines
from rtnb.eventtext import KNOWN_TYPES, kind_of, plain, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Direction", "Event", "EventLog"]

Direction = Literal["sent", "received"]

_SAID: Final = 60  # characters of its summary in the repr of an event
_PLAIN: Final = 160  # rows of the text in a cell, which is cut at 20,000 characters
_FOLDED: Final = 50_000  # of a very long log only the latest events are folded into rows
_LARGE: Final = 65_536  # characters: such a frame is parsed once; nearly all of it is long strings

# How most servers begin a frame, up to the end of its type, and that type.
_HEADS: Final = {f'{{"type":"{kind}"': kind for kind in KNOWN_TYPES}
_HEAD: Final = len('{"type":"')
# The others: flat members before the type, none of which needs unescaping. All that is matched lies
# outside of strings and of inner objects, so it is the type of the object itself.
_TYPE: Final = re.compile(
    r"""\{\s*(?:(?!"type")"[^"\\\x00-\x1f]*"\s*:\s*"""
    r"""(?:"[^"\\\x00-\x1f]*"|-?[0-9.]+|true|false|null)\s*,\s*)*"""
    r""""type"\s*:\s*"([a-z_.]*)"\s*[,}]"""
)


class Event:
    """One JSON message on the data channel, kept as it was.

    Parameters
    ----------
    text
        The raw text frame. Secrets in it are masked before anybody can read it.
    time
        Seconds on the call's clock.
    direction
        ``"sent"`` (by us) or ``"received"``.
    type
        The event's type in GA names; None takes it from the text. Servers that speak another
        dialect are normalised on arrival, and `data` keeps what they really sent.

    Notes
    -----
    The text is masked and parsed when somebody looks into the event: into most nobody ever does.
    So the type of a frame that only looks like an event becomes ``""`` once it is read; of a frame
    with several types it becomes the last, which is the one in `data`.
    """

    __slots__ = ("_kept", "_raw", "_sighted", "_text", "direction", "time", "type")

    _raw: str  # as it came, until it is masked
    _text: str  # masked, from then on
    _kept: dict[str, Any]  # of a large frame, parsed

    def __init__(
        self,
        text: str,
        *,
        time: float,
        direction: Direction,
        type: str | None = None,
    ):
        self._raw = text
        self.time = time
        self.direction: Direction = direction
        self._sighted: str | None = None  # the type, until the text is read
        if type is None:
            type = _HEADS.get(text[: text.find('"', _HEAD) + 1]) or _type_at_sight(text)
            self._sighted = type
            self.type: str = str(self.data.get("type", "")) if type is None else type
        else:
            self.type = type if type in KNOWN_TYPES else mask(type)

    @property
    def text(self) -> str:
        """The raw JSON text, secrets masked."""
        try:
            return self._text
        except AttributeError:
            self._raw = self._text = mask(self._raw)  # which leaves what is masked as it is
            return self._text

    @property
    def data(self) -> dict[str, Any]:
        """The parsed event, anew each time; an unreadable one is ``{"type": "", "unreadable": text}``.

        A frame is unreadable if it is no JSON object, or is nested deeper than 100 levels.
        """
        if hasattr(self, "_kept"):
            return copy.deepcopy(self._kept)
        text = self.text
        data = _parsed(text)
        data = {"type": "", "unreadable": text} if data is None else data
        if self._sighted is not None:
            kind = str(data.get("type", ""))
            # else it stays as it is: a dialect may have named it anew
            self.type = self.type if kind == self._sighted else kind
            self._sighted = None
        # others are not kept: hundreds of thousands of dicts slow each garbage collection down
        if len(text) > _LARGE:
            self._kept = copy.deepcopy(data)
        return data

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"time", "direction", "event"}``, as events.jsonl holds it."""
        return {"time": round(self.time, 6), "direction": self.direction, "event": self.data}

    def __reduce__(self) -> tuple[Any, ...]:  # what was not masked yet goes nowhere
        _ = self.data  # else a type at sight would stay for good
        return _rebuilt, self.__getstate__()

    def __getstate__(self) -> tuple[Any, ...]:  # of the text as it came others take none either
        return self.text, self.time, self.direction, self.type

    def __repr__(self) -> str:
        said = plain(summary(self), _SAID)
        return (
            f"<Event {self.time:.3f} s {self.direction} {_named(self)}{': ' if said else ''}{said}>"
        )

    def _repr_html_(self) -> str:
        return eventview.event_html(Row(0, self), plain_text=repr(self))


def _named(event: Event) -> str:
    return plain(event.type, 80) or kind_of(event) or "without a type"


def _type_at_sight(text: str) -> str | None:
    """Return the type of a frame without parsing it; None where that takes a parser.

    A name that is known holds no secret.
    """
    found = _TYPE.match(text)
    return found[1] if found is not None and found[1] in KNOWN_TYPES else None


def _rebuilt(text: str, time: float, direction: Direction, type: str) -> Event:
    return Event(text, time=time, direction=direction, type=type)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested deeper than Python reads
        return None
    return parsed if isinstance(parsed, dict) and not too_deep(parsed, text) else None


class _Order:
    """Where in a log to look for times, which come nearly, but not quite, in order.

    No event before an index is later than the greatest time up to there, and none from an index on
    is earlier than the least from there on: both rise, and can be searched by halving.
    """

    def __init__(self) -> None:
        self._greatest: list[float] = []
        self._least: list[float] = []
        self._lock = threading.Lock()

    def around(self, events: list[Event], start: float, end: float) -> tuple[int, int]:
        """Return between which indices all events with ``start <= time < end`` are."""
        with self._lock:
            self._learn([event.time for event in events[len(self._least) :]])
            return bisect_left(self._greatest, start), bisect_left(self._least, end)

    def _learn(self, times: list[float]) -> None:
        if not times:
            return
        # NaN, at no time, is neither greater nor less than what these begin with
        highest = self._greatest[-1] if self._greatest else -math.inf
        self._greatest += [*accumulate(times, max, initial=highest)][1:]
        least = [*accumulate(reversed(times), min, initial=math.inf)][:0:-1]
        at = len(self._least) - 1
        while at >= 0 and self._least[at] > least[0]:
            self._least[at] = least[0]
            at -= 1
        self._least += least


class EventLog:
    """An ordered, append-only log of events, safe to read while a call goes on.

    Parameters
    ----------
    events
        The events to begin with.
    """

    def __init__(self, events: Iterable[Event] = ()):
        self._events: list[Event] = list(events)
        self._order = _Order()
        self._changed = threading.Condition()
        self._waiting = 0  # who waits has been counted before looking at the events

    def append(self, event: Event) -> None:
        """Add one event at the end and wake those who wait for it."""
        self._events.append(event)
        if self._waiting:
            with self._changed:
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
        first, stop = self._order.around(self._events, start, end)
        return EventLog(e for e in self._events[first:stop] if start <= e.time < end)

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
        with self._changed, self._counted():
            while True:
                for event in self._events[position:]:
                    if matches(event):
                        return event
                position = max(position, len(self._events))
                left = None if deadline is None else deadline - _time.monotonic()
                if left is not None and left <= 0:
                    last = _named(self._events[-1]) if self._events else "none"
                    raise TurnTimeoutError(
                        f"No event matched {pattern!r} within {timeout:g} s; "
                        f"the last event seen was {last}."
                    )
                # short waits, so that an interrupt is felt on every platform
                self._changed.wait(0.5 if left is None else min(left, 0.5))

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Count one who waits; `_changed` is held."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

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
