"""What a page says of the sound that it plays, checked and counted; it must not know widgets."""

from __future__ import annotations

import asyncio
import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

__all__ = ["Cut", "Gone", "Here", "Playout", "Presence", "Report", "understood"]

_LONGEST_ID: Final = 64  # characters
_MOST_PLAYED: Final = 200  # stretches in one report
_MOST_COUNTED: Final = 10_000  # blocks in one report
_FARTHEST: Final = 1e13  # ms between two clocks, and since 1970
_SAME: Final = 0.002  # seconds by which two readings of one clock may differ
_DELAYS: Final = (-0.05, 600.0)  # seconds; what is beyond is no delay but a clock that was set
_KEPT: Final = 6_000  # delays of which the median is taken: two minutes of speech
_MOST_PAGES: Final = 16
_TRAILS: Final = 0.25  # seconds for which a reply may go on after it was cut
_QUIET: Final = 32768 * 10 ** (-50 / 20)  # -50 dBFS


# --- what the page says ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Here:
    """A page is there."""

    page: str
    sent: float
    "When it said so, in ms since 1970 by its clock."
    binary: bool | None
    "Whether binary buffers reach it; None as long as it has not seen any."


@dataclass(frozen=True, slots=True)
class Gone:
    """A page shows the widget no longer."""

    page: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a page has played since its last report."""

    page: str
    played: tuple[tuple[float, float], ...]
    "Of each stretch: seconds from its packet until it was in the page, and until it was played."
    underruns: int
    dropped: int
    skipped: int
    wanted: float
    "Seconds that the page buffers before it plays."
    offset: float | None
    "Seconds by which the kernel's clock is ahead of the page's; None if that is not known."
    trip: float
    "Seconds from the page to the kernel and back, when that was found out."


def understood(content: object) -> Here | Gone | Report | None:
    """Return what a page has said, or None if it is nothing that a page says."""
    if not isinstance(content, dict):
        return None
    page = content.get("page")
    if not isinstance(page, str) or not 0 < len(page) <= _LONGEST_ID:
        return None
    match content.get("kind"):
        case "here":
            sent, binary = _number(content.get("sent")), content.get("binary")
            known = binary is None or isinstance(binary, bool)
            return Here(page, sent, binary) if sent is not None and known else None
        case "gone":
            return Gone(page)
        case "report":
            return _report(page, content)
    return None


def _report(page: str, content: dict[str, Any]) -> Report | None:
    counts = [_count(content.get(name)) for name in ("underruns", "dropped", "skipped")]
    wanted, trip = _number(content.get("wanted")), _number(content.get("trip"))
    played = content.get("played")
    if wanted is None or not isinstance(played, list) or len(played) > _MOST_PLAYED:
        return None
    pairs = [
        (_number(pair[0]), _number(pair[1]))
        for pair in played
        if isinstance(pair, list) and len(pair) == 2
    ]
    known = tuple((a / 1e3, b / 1e3) for a, b in pairs if a is not None and b is not None)
    if None in counts or len(known) != len(played):
        return None
    underruns, dropped, skipped = (count or 0 for count in counts)
    offset = _number(content.get("offset")) if trip is not None and trip >= 0 else None
    return Report(
        page, known, underruns, dropped, skipped, wanted / 1e3,
        None if offset is None else offset / 1e3, (trip or 0.0) / 1e3,
    )  # fmt: skip


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and abs(value) <= _FARTHEST else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MOST_COUNTED else None


# --- who is there ---------------------------------------------------------------------------------


class Presence:
    """Which pages are there, as far as can be told; may be used from several threads.

    What a page says holds for `lease` seconds. A kernel that is busy with a cell may not hear what
    pages say, so a lease that is out ends only when the kernel has had `grace` seconds to listen.

    Parameters
    ----------
    lease
        Seconds; a hidden page may speak but once a minute.
    grace
        Seconds.
    """

    def __init__(self, lease: float = 90.0, grace: float = 2.0):
        self._lock = threading.Lock()
        self._lease, self._grace = lease, grace
        self._until: dict[str, float] = {}
        self._expected = -math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listened = math.inf  # since when the kernel has listened
        self._asked = False

    def expect(self, seconds: float = 10.0) -> None:
        """Take it that a page will be there soon, since the widget was shown."""
        with self._lock:
            self._expected = time.monotonic() + seconds

    def heard(self, page: str) -> None:
        """Renew a page's lease; called on the loop on which the kernel hears pages."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        with self._lock:
            if loop is not self._loop:
                self._loop, self._asked = loop, False
            self._listened = math.inf
            self._expected = -math.inf
            self._until[page] = time.monotonic() + self._lease
            if len(self._until) > _MOST_PAGES:
                del self._until[min(self._until, key=lambda one: self._until[one])]

    def gone(self, page: str) -> None:
        """Forget a page."""
        with self._lock:
            self._until.pop(page, None)

    def clear(self) -> None:
        """Forget all pages."""
        with self._lock:
            self._until.clear()
            self._expected = -math.inf

    @property
    def pages(self) -> int:
        """How many pages are there."""
        with self._lock:
            return len(self._until)

    def anyone(self) -> bool:
        """Tell whether a page is there."""
        now = time.monotonic()
        with self._lock:
            if any(until > now for until in self._until.values()):
                return True
            if self._until and (now - self._listened > self._grace or not self._listen()):
                self._until.clear()
            return bool(self._until) or now < self._expected

    def _listen(self) -> bool:
        """Ask the kernel's loop to say when it runs; return False if it never will."""
        if self._loop is None or self._loop.is_closed():  # and the page with it
            return False
        if not self._asked:
            try:
                self._loop.call_soon_threadsafe(self._listening)
            except RuntimeError:  # closed just now
                return False
            self._asked = True
        return True

    def _listening(self) -> None:
        with self._lock:
            self._asked, self._listened = False, min(self._listened, time.monotonic())


# --- an interruption ------------------------------------------------------------------------------


class Cut:
    """Which stretches are the rest of a reply that was interrupted.

    Those are that came before the interruption, and those that follow on them without a gap or a
    silence, as a server plays on until it has heard of it.
    """

    def __init__(self) -> None:
        self._at: float | None = None
        self._next = 0  # position of what follows on the last stretch

    def begin(self, now: float) -> None:
        """Note an interruption, in seconds on the call's clock."""
        self._at = now

    def takes(self, position: int, samples: bytes, arrived: float) -> bool:
        """Tell whether this stretch is cut; each is to be shown, in order.

        Parameters
        ----------
        position
            Of its first sample.
        samples
            s16 mono.
        arrived
            Seconds on the call's clock.
        """
        follows, self._next = position == self._next, position + len(samples) // 2
        if self._at is None or arrived <= self._at:
            return self._at is not None
        if follows and arrived < self._at + _TRAILS and _loud(samples):
            return True
        self._at = None
        return False


def _loud(samples: bytes) -> bool:
    values = np.frombuffer(samples, np.int16).astype(np.float32)
    return bool(len(values)) and float(np.sqrt(np.mean(values**2))) >= _QUIET


# --- what was played ------------------------------------------------------------------------------


class Playout:
    """Counters of what was sent to pages, and of what they made of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        names = "stretches bytes unsent cut failed flushes underruns dropped skipped"
        self._counts = dict.fromkeys(names.split(), 0)
        self._in_page: deque[float] = deque(maxlen=_KEPT)
        self._played: deque[float] = deque(maxlen=_KEPT)
        self._worst: float | None = None
        self._wanted: float | None = None
        self._clock: tuple[str, float] | None = None

    def count(self, **counts: int) -> None:
        """Add to counters."""
        with self._lock:
            self._add(counts.items())

    def _add(self, counts: Iterable[tuple[str, int]]) -> None:
        for name, more in counts:
            self._counts[name] += more

    def take(self, report: Report) -> None:
        """Add what a page has played."""
        with self._lock:
            names = ("underruns", "dropped", "skipped")
            self._add((name, getattr(report, name)) for name in names)
            self._wanted = report.wanted
            ahead = self._ahead(report)
            for in_page, played in report.played:
                if _DELAYS[0] <= played + ahead <= _DELAYS[1]:
                    self._in_page.append(in_page + ahead)
                    self._played.append(played + ahead)
                    self._worst = max(self._worst or 0.0, played + ahead)

    def _ahead(self, report: Report) -> float:
        """Return what the kernel's clock is taken to be ahead of the page's: 0 for one clock."""
        if report.offset is None:
            return 0.0
        same = abs(report.offset) <= report.trip / 2 + _SAME
        self._clock = ("same" if same else "estimated", report.trip / 2)
        return 0.0 if same else report.offset

    def stats(self) -> dict[str, Any]:
        """Return the counters; see `rtnb.Speaker.stats`."""
        with self._lock:
            clock, error = self._clock or (None, None)
            return {
                **self._counts,
                "delay": _median(self._played),
                "delay_worst": self._worst,
                "delay_to_page": _median(self._in_page),
                "wanted": self._wanted,
                "clock": clock,
                "clock_error": error,
            }


def _median(values: deque[float]) -> float | None:
    return statistics.median(values) if values else None
