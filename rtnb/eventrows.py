"""Events as the rows of a table, runs of deltas folded; it must not know how a row is shown.

The rule of folding: a delta joins the latest row of its own direction, type, response, item and
part, whatever other events came in between, so that a transcript stays one row while rate limits,
buffer events or the deltas of another item pass. A delta that names neither a response nor an item
is folded only while nothing but deltas and rate limits comes in between. A row holds at most 500
events; the next delta begins another. A row stands where its first event came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rtnb.eventtext import SOUND_TYPES, Kind, audio_size, joined, kind_of, plain, summary

if TYPE_CHECKING:
    from rtnb.events import Event

__all__ = ["Row", "Rows", "lines"]

_FOLDED_ALSO: Final = "input_audio_buffer.append"
_PART: Final = ("response_id", "item_id", "output_index", "content_index")
_PASSING: Final = "rate_limits.updated"

_MOST: Final = 500  # events in a row
_JOINED: Final = 4_000  # characters of joined text


class Row:
    """One event, or a run of deltas.

    Parameters
    ----------
    number
        Its place among the rows, from 0.
    event
        Its first event.
    data
        What that holds, where it was parsed already.

    Attributes
    ----------
    events : list of Event
        All of them.
    time, end : float
        Of its first and last event, in seconds on the call's clock.
    direction, type : str
        Those of its events.
    kind : str
        ``""``, ``"error"``, ``"unknown"`` (a type that neither GA nor beta names) or
        ``"unreadable"`` (no JSON object).
    """

    __slots__ = ("_length", "_summary", "_texts", "end", "events", "kind", "number", "time")

    def __init__(self, number: int, event: Event, data: Mapping[str, Any] | None = None):
        self.number = number
        self.events: list[Event] = []
        self.time = event.time
        self.kind: Kind = kind_of(event)
        self._texts: list[str] = []
        self._length = 0
        self.add(event, data)

    def add(self, event: Event, data: Mapping[str, Any] | None = None) -> None:
        """Take one more event of the run; `data` is what it holds, where that was parsed already."""
        self.events.append(event)
        self.end = event.time
        self._summary: str | None = None
        if not _folds(event.type):
            return
        data = event.data if data is None else data
        text = data.get("audio" if event.type == _FOLDED_ALSO else "delta")
        if isinstance(text, str):
            if self._length < _JOINED and event.type not in SOUND_TYPES:
                self._texts.append(text[: _JOINED - self._length])
            self._length += len(text)

    @property
    def direction(self) -> str:
        """``"sent"`` or ``"received"``."""
        return self.events[0].direction

    @property
    def type(self) -> str:
        """The type of its events."""
        return self.events[0].type

    @property
    def count(self) -> int:
        """How many events it holds."""
        return len(self.events)

    @property
    def text(self) -> str:
        """The deltas joined, at most 4,000 characters; empty where there are none."""
        return "".join(self._texts)

    @property
    def summary(self) -> str:
        """One line of at most 200 characters on what it says."""
        if self._summary is None:
            if self.count == 1:
                self._summary = summary(self.events[0])
            elif self.type in SOUND_TYPES:
                self._summary = audio_size(self._length)
            else:
                self._summary = plain(self.text)
        return self._summary

    @property
    def span(self) -> str:
        """How many events in which time, for a run; else empty."""
        return f"×{self.count} in {self.end - self.time:.2f} s" if self.count > 1 else ""

    def __repr__(self) -> str:
        return f"<Row {self.number}: {lines([self])[0].strip()}>"


def _as_key(name: Any) -> str | int | None:
    return name if name is None or isinstance(name, str | int) else plain(name)


def _folds(kind: str) -> bool:
    return kind.endswith(".delta") or kind == _FOLDED_ALSO


class Rows:
    """The rows of a growing log; one more event costs the same however many there are.

    Parameters
    ----------
    events
        Those to begin with.

    Attributes
    ----------
    rows : list of Row
        In the order of their first events.
    counts : Counter
        Events by type.
    total, errors : int
        How many events there are, and how many of them are errors.
    """

    def __init__(self, events: Iterable[Event] = ()):
        self.rows: list[Row] = []
        self.counts: Counter[str] = Counter()
        self.total = 0
        self.errors = 0
        self._open: dict[tuple[str | int | None, ...], Row] = {}
        self._nameless: set[tuple[str | int | None, ...]] = set()
        for event in events:
            self.append(event)

    def append(self, event: Event) -> Row:
        """Take one event, and return the row it is in, new or grown."""
        self.total += 1
        self.counts[event.type] += 1
        if _folds(event.type):
            return self._folded(event)
        if self._nameless and event.type != _PASSING:
            for key in self._nameless:
                self._open.pop(key, None)
            self._nameless.clear()
        return self._new(event)

    def _new(self, event: Event, data: Mapping[str, Any] | None = None) -> Row:
        row = Row(len(self.rows), event, data)
        self.errors += row.kind == "error"
        self.rows.append(row)
        return row

    def _folded(self, event: Event) -> Row:
        data = event.data  # parsed anew each time
        names = [data.get(key) for key in _PART]
        key = (event.direction, event.type, *map(_as_key, names))
        row = self._open.get(key)
        if row is not None and row.count < _MOST:
            row.add(event, data)
            return row
        row = self._open[key] = self._new(event, data)
        if names[0] is None and names[1] is None:
            self._nameless.add(key)
        return row


def lines(rows: Sequence[Row], width: int = 120) -> list[str]:
    """Return each row as a line of text: time, arrow, type and summary."""
    types = [plain(row.type, 60) or row.kind for row in rows]
    wide = min(max(map(len, types), default=0), 48)
    out = []
    for row, kind in zip(rows, types, strict=True):
        mark = f"[{row.kind}]" if row.kind and row.kind != kind else ""
        count = f"×{row.count}" if row.count > 1 else ""
        arrow = "→" if row.direction == "sent" else "←"
        said = joined([mark, count, row.summary], " ")
        line = f"{row.time:9.3f}  {arrow}  {kind.ljust(wide)}  {said}".rstrip()
        out.append(line if len(line) <= width else line[: width - 1] + "…")
    return out
