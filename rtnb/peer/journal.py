"""What the peer did, packet by packet and event by event; it must not know why."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rtnb.dialects import Json

__all__ = ["SILENCE", "CallJournal", "Journal", "Rows"]

_log = logging.getLogger(__name__)

SILENCE: Final = -1
"""The position of a packet that carries no response's sound."""

_KEPT: Final = 400_000  # packets of each direction of a call, or events: more than two hours
_KEPT_IN_ALL: Final = 4_000_000  # of all calls together
_EACH: Final = 2_000  # what a call counts for besides its records: so 2,000 calls are kept at most
_LONGEST_NAME: Final = 80  # characters of a type or an id, as clients may send any


class Rows:
    """Records of one kind, packed: millions of them are to fit in memory.

    It reads like a list of tuples. A text is kept once, however many records name it.

    Parameters
    ----------
    layout
        As in `struct`, with ``s`` for a text or None.
    limit
        Records that are kept; those beyond are only counted.

    Attributes
    ----------
    beyond : int
        Records that came when it was full.
    """

    def __init__(self, layout: str, limit: int = _KEPT):
        self.beyond = 0
        self._struct = struct.Struct("=" + layout.replace("s", "i"))
        self._texts = [index for index, kind in enumerate(layout) if kind == "s"]
        self._limit = limit
        self._data = bytearray()
        self._names: list[str | None] = []
        self._numbers: dict[str | None, int] = {}

    def append(self, row: tuple[Any, ...]) -> None:
        """Add a record at the end."""
        if len(self) >= self._limit:
            self.beyond += 1
            return
        values = list(row)
        for index in self._texts:
            values[index] = self._number(values[index])
        self._data += self._struct.pack(*values)

    def _number(self, name: str | None) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def __len__(self) -> int:
        return len(self._data) // self._struct.size

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self[:])

    def __getitem__(self, part: slice) -> list[tuple[Any, ...]]:
        """Return records in order; the step of a slice is 1."""
        start, stop, _ = part.indices(len(self))
        size = self._struct.size
        packed = self._data[start * size : max(stop, start) * size]
        rows = self._struct.iter_unpack(packed)
        return [self._whole(row) for row in rows] if self._texts else list(rows)

    def _whole(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for index in self._texts:
            values[index] = self._names[values[index]]
        return tuple(values)


@dataclass
class CallJournal:
    """One call's record. All times are seconds of the machine's monotonic clock.

    Attributes
    ----------
    call_id : str
        ``rtc_…``
    departures : Rows
        (time, sequence, timestamp, response_id or None, position, dropped): `position` is the
        sample at 48,000 Hz of the response's sound with which the packet begins, -1 for silence.
    arrivals : Rows
        (time, sequence, timestamp, dropped)
    events : Rows
        (time, ``"sent"`` or ``"received"``, type, id of the response or item, or "")
    """

    call_id: str
    departures: Rows = field(default_factory=lambda: Rows("dqqsq?"))
    arrivals: Rows = field(default_factory=lambda: Rows("dqq?"))
    events: Rows = field(default_factory=lambda: Rows("dsss"))

    def event(self, direction: str, event: Json) -> None:
        """Take note of an event that was ``"sent"`` or ``"received"`` just now."""
        kind = str(event.get("type"))[:_LONGEST_NAME]
        self.events.append((time.monotonic(), direction, kind, _about(event)[:_LONGEST_NAME]))

    @property
    def beyond(self) -> int:
        """Records that were counted and not kept."""
        return self.departures.beyond + self.arrivals.beyond + self.events.beyond

    def __len__(self) -> int:
        return len(self.departures) + len(self.arrivals) + len(self.events)


def _about(event: Json) -> str:
    """Return the id of the response or item that an event is about."""
    for name in ("response_id", "item_id"):
        if isinstance(event.get(name), str):
            return str(event[name])
    for name in ("response", "item"):
        inner = event.get(name)
        if isinstance(inner, dict) and isinstance(inner.get("id"), str):
            return str(inner["id"])
    return ""


class Journal:
    """The records of all calls of one peer.

    Parameters
    ----------
    limit
        Records that are kept of all calls together; when there are more, the oldest calls' are
        forgotten.

    Attributes
    ----------
    forgotten : int
        Calls whose records were forgotten.
    """

    def __init__(self, limit: int = _KEPT_IN_ALL) -> None:
        self.forgotten = 0
        self._limit = limit
        self._calls: dict[str, CallJournal] = {}

    def of(self, call_id: str) -> CallJournal:
        """Return the record of a call, a new one where there is none."""
        if call_id not in self._calls:
            self._make_room()
            self._calls[call_id] = CallJournal(call_id)
        return self._calls[call_id]

    def _make_room(self) -> None:
        kept = sum(len(call) + _EACH for call in self._calls.values())
        for call_id in list(self._calls):
            if kept <= self._limit:
                break
            kept -= len(self._calls.pop(call_id)) + _EACH
            self.forgotten += 1
            _log.info("what was recorded of call %s is forgotten: it is the oldest", call_id)

    def exported(self) -> list[dict[str, Any]]:
        """Return all records as plain values."""
        return [vars(call) for call in self._calls.values()]
