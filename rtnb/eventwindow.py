"""Which rows of a growing log are looked at: a filter and a page; it must not know who looks."""

from __future__ import annotations

import json
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal

from rtnb.eventrows import Row, Rows

if TYPE_CHECKING:
    from rtnb.events import Event

__all__ = ["Page", "Query", "Span", "Window", "understood"]

Span = tuple[float, float]

_STEP: Final = 1_000  # rows looked at in one go
_LONGEST: Final = 200  # characters of a filter


@dataclass(frozen=True, slots=True)
class Query:
    """What a row must be like.

    Attributes
    ----------
    pattern : str
        A glob on the type.
    search : str
        A text in type, summary, transcript or JSON, whatever its case.
    direction : str
        ``"sent"``, ``"received"``, or empty for both.
    errors : bool
        Errors only.
    turn : int or None
        The number of a turn.
    """

    pattern: str = "*"
    search: str = ""
    direction: Literal["", "sent", "received"] = ""
    errors: bool = False
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows to be shown.

    Attributes
    ----------
    rows : sequence of Row
        Newest first.
    newer, older : int
        Rows that match, above and below.
    """

    rows: Sequence[Row]
    newer: int
    older: int


class Window:
    """The rows that match a query, followed as they grow, and one page of them.

    Parameters
    ----------
    rows
        All rows.
    size
        Rows on a page.

    Attributes
    ----------
    query : Query
        What is asked for.
    span : (float, float) or None
        The time of the turn asked for, in seconds; an end that is not known yet is infinite.
    anchor : int or None
        The number of the newest row that may be shown; None follows the log.
    """

    def __init__(self, rows: Rows, size: int):
        self._rows = rows
        self._size = size
        self.anchor: int | None = None
        self.ask(Query())

    def ask(self, query: Query, span: Span | None = None) -> None:
        """Ask for other rows; `work` finds them."""
        self.query = query
        self.span = span
        self._needles = _needles(query.search)
        self._found: list[int] = []
        self._seen = 0

    def grown(self, row: Row, event: Event) -> None:
        """Take note that a row has one more event, which may make it match."""
        if row.number >= self._seen or self._has(row.number):
            return
        if self._fits(row) and self._says(row, [event]):
            insort(self._found, row.number)

    def work(self) -> bool:
        """Look at the next 1,000 rows; return whether that was all."""
        rows = self._rows.rows
        end = min(self._seen + _STEP, len(rows))
        found = [
            r.number for r in rows[self._seen : end] if self._fits(r) and self._says(r, r.events)
        ]
        self._found += found
        self._seen = end
        return end == len(rows)

    @property
    def matching(self) -> int:
        """How many rows match, of those looked at so far."""
        return len(self._found)

    def page(self) -> Page:
        """Return the rows that are to be shown now."""
        end = self._end()
        start = max(end - self._size, 0)
        rows = [self._rows.rows[n] for n in reversed(self._found[start:end])]
        return Page(rows, len(self._found) - end, start)

    def pause(self) -> None:
        """Show nothing newer than what is there."""
        if self.anchor is None:
            self.anchor = len(self._rows.rows) - 1

    def follow(self) -> None:
        """Show the newest rows, now and as they come."""
        self.anchor = None

    def turn_page(self, by: int) -> None:
        """Go to an older page (a negative number) or a newer one, and stay there."""
        end = self._end() + by * self._size
        self._stop_at(min(max(end, self._size), len(self._found)))

    def oldest(self) -> None:
        """Go to the page with the first row."""
        self._stop_at(min(self._size, len(self._found)))

    def _stop_at(self, end: int) -> None:
        if end < len(self._found):
            self.anchor = self._found[end] - 1
        else:
            self.anchor = len(self._rows.rows) - 1

    def _end(self) -> int:
        """Return how many of the rows found may be shown."""
        if self.anchor is None:
            return len(self._found)
        return bisect_right(self._found, self.anchor)

    def _has(self, number: int) -> bool:
        at = bisect_right(self._found, number)
        return at > 0 and self._found[at - 1] == number

    def _fits(self, row: Row) -> bool:
        query = self.query
        if query.errors and row.kind != "error":
            return False
        if query.direction and row.direction != query.direction:
            return False
        if query.pattern != "*" and not fnmatchcase(row.type, query.pattern):
            return False
        return self.span is None or (row.time < self.span[1] and row.end >= self.span[0])

    def _says(self, row: Row, events: Sequence[Event]) -> bool:
        if not self._needles:
            return True
        own = (row.type, row.summary, row.text)
        texts = (*own, *(event.text for event in events))
        return any(needle in text.casefold() for text in texts for needle in self._needles)


def _needles(search: str) -> tuple[str, ...]:
    """Return the ways a text may be written: as it is, and escaped as in JSON."""
    if not search:
        return ()
    return tuple({search.casefold(), json.dumps(search)[1:-1].casefold()})


# --- what the page may say -----------------------------------------------------------------------


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _short(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST


_FIELDS: Final[Mapping[str, Mapping[str, Callable[[Any], bool]]]] = {
    **{kind: {} for kind in ("hello", "here", "pause", "follow", "older", "newer", "oldest")},
    "open": {"row": _count, "event": lambda value: value is None or _count(value)},
    "query": {
        "pattern": _short,
        "search": _short,
        "direction": lambda value: value in ("", "sent", "received"),
        "errors": lambda value: isinstance(value, bool),
        "turn": lambda value: value is None or _count(value),
    },
}


def understood(content: dict[str, Any]) -> bool:
    """Return whether a message of the page has a kind we know and fields of the right type."""
    kind = content.get("kind")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    return fields is not None and all(check(content.get(name)) for name, check in fields.items())
