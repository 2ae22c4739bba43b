"""`PeerLog`: what a peer did and said, to be read and reckoned with; it must not know the process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rtnb import _html
from rtnb._plain import visible

__all__ = ["PeerCall", "PeerEvent", "PeerLog"]

_SHOWN: Final = 200  # events of a call, or lines of the log, in a text
_CALLS: Final = 50  # calls in a text: the newest

# object for the id: the ids of a reply's packets are one and the same string
_DEPARTURE: Final = np.dtype(
    [
        ("time", np.float64),
        ("sequence", np.int64),
        ("timestamp", np.int64),
        ("response", object),
        ("position", np.int64),
        ("dropped", np.bool_),
    ]
)
_ARRIVAL: Final = np.dtype(
    [
        ("time", np.float64),
        ("sequence", np.int64),
        ("timestamp", np.int64),
        ("dropped", np.bool_),
    ]
)


class PeerEvent(NamedTuple):
    """One event on a data channel, as the peer saw it.

    Attributes
    ----------
    time : float
        Seconds on the clock of ``time.monotonic()``.
    direction : str
        ``"sent"`` by the peer, or ``"received"`` by it.
    type : str
        The event's type.
    id : str
        Of the response or item that it is about, or "".
    """

    time: float
    direction: str
    type: str
    id: str


@dataclass(frozen=True, eq=False)
class PeerCall:
    """One call, as the peer saw it.

    All times are seconds on the clock of ``time.monotonic()``, which the processes of one machine
    share.

    Attributes
    ----------
    call_id : str
        ``rtc_…``, as in the ``Location`` of its answer.
    departures : numpy.ndarray
        One record for each RTP packet that the peer made, shape (n,), read-only. Fields: `time`
        (when it left), `sequence` and `timestamp` (as in its header; 48,000 Hz), `response` (the id
        of the response whose sound it carries, or None), `position` (the sample at 48,000 Hz of
        that sound with which it begins; -1 for silence), `dropped` (a fault kept it back).
    arrivals : numpy.ndarray
        One record for each RTP packet that came, shape (n,), read-only. Fields: `time`,
        `sequence`, `timestamp`, `dropped` (a fault kept it from the peer's ears).
    events : tuple of PeerEvent
        What crossed the data channel, in the order of time.
    """

    call_id: str
    departures: npt.NDArray[Any] = field(repr=False)
    arrivals: npt.NDArray[Any] = field(repr=False)
    events: tuple[PeerEvent, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        call_id: str,
        departures: Iterable[tuple[Any, ...]] = (),
        arrivals: Iterable[tuple[Any, ...]] = (),
        events: Iterable[tuple[Any, ...]] = (),
    ) -> PeerCall:
        """Return a call from the rows of a `rtnb.peer.journal.CallJournal`."""
        return cls(
            call_id,
            _records(departures, _DEPARTURE),
            _records(arrivals, _ARRIVAL),
            tuple(PeerEvent(*row) for row in events),
        )

    def __str__(self) -> str:
        lines = [self._head()]
        times = [event.time for event in self.events]
        start = min([*times, *self.departures["time"][:1]], default=0.0)
        for event in self.events[:_SHOWN]:
            arrow = "◀" if event.direction == "sent" else "▶"  # from, and to, the peer
            about = f"  {event.id}" if event.id else ""
            lines.append(f"  {event.time - start:9.3f} s {arrow} {event.type}{about}")
        if len(self.events) > _SHOWN:
            lines.append(f"  … {_html.counted(len(self.events) - _SHOWN, 'more event')}")
        return visible("\n".join(lines))

    def _head(self) -> str:
        lost = int(self.departures["dropped"].sum() + self.arrivals["dropped"].sum())
        counts = [
            f"{_html.counted(len(self.departures), 'packet')} sent",
            f"{_html.counted(len(self.arrivals), 'packet')} received",
            _html.counted(len(self.events), "event"),
        ]
        return f"{self.call_id}: {', '.join(counts)}" + (f", {lost:,} dropped" if lost else "")


@dataclass(frozen=True, eq=False)
class PeerLog:
    """What a peer has done until now.

    Attributes
    ----------
    calls : tuple of PeerCall
        The oldest first, those that are over included.
    text : str
        What its process has logged, secrets masked.
    complete : bool
        Whether `calls` holds everything; False where the process ended before it could hand over
        the rest, or where it was more than it keeps.
    """

    calls: tuple[PeerCall, ...] = field(default=(), repr=False)
    text: str = field(default="", repr=False)
    complete: bool = True

    def __repr__(self) -> str:
        lines = _html.counted(len(self.text.splitlines()), "line")
        rest = "" if self.complete else ", not all"
        return f"<PeerLog {_html.counted(len(self.calls), 'call')}, {lines}{rest}>"

    def _before(self) -> list[str]:
        """Return what stands for the calls that are not shown."""
        cut = len(self.calls) - _CALLS
        return [f"… {_html.counted(cut, 'call')} before"] if cut > 0 else []

    def __str__(self) -> str:
        parts = self._before() + [str(call) for call in self.calls[-_CALLS:]]
        if not self.complete:
            parts.append("Not everything is here: the process ended early, or it was too much.")
        lines = self.text.splitlines()
        if lines:
            cut = [f"… {len(lines) - _SHOWN:,} lines before"] if len(lines) > _SHOWN else []
            parts.append(visible("\n".join(["log:", *cut, *lines[-_SHOWN:]])))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        badges = [_html.badge(_html.counted(len(self.calls), "call"))]
        if not self.complete:
            badges.append(_html.badge("not complete", "bad"))
        badges += [_html.badge(text) for text in self._before()]
        shown = self.calls[-_CALLS:]
        folded = [_folded(call._head(), str(call).partition("\n")[2]) for call in shown]
        folded += [_folded("log", "\n".join(self.text.splitlines()[-_SHOWN:]))] * bool(self.text)
        return _html.boxed(_html.head("Peer's log", *badges) + "".join(folded), str(self))


def _folded(head: str, body: str) -> str:
    return f"<details><summary>{_html.text(head)}</summary>{_html.code(body)}</details>"


def _records(rows: Iterable[tuple[Any, ...]], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    records = np.array(list(rows), dtype=kind)
    records.flags.writeable = False
    return records
