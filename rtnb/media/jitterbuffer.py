"""An adaptive jitter buffer, without a clock of its own; it must not know codecs, tracks or calls.

Stretches of voice come when the network and a busy kernel let them, and 20 ms are due every 20 ms:
this is what lies between.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media.opus import FRAME, SAMPLE_RATE

__all__ = ["KEPT", "LEAST", "MOST", "NOTHING", "PTIME", "START", "Block", "JitterBuffer"]

KEPT: Final = 2.0  # seconds of voice that are kept at most
LEAST: Final = 0.010  # seconds, the smallest target
MOST: Final = 0.200  # seconds, the largest target
START: Final = 0.020  # seconds, the target before anything is known
PTIME: Final = FRAME / SAMPLE_RATE  # seconds in one block

_MOST_BLOCKS: Final = round(KEPT / PTIME)
_QUIET: Final = FRAME * (32768 * 10 ** (-50 / 20)) ** 2  # energy of a block at -50 dBFS
_NOISE: Final = FRAME * (32768 * 10 ** (-35 / 20)) ** 2  # a room's noise may be as loud as this
_ABOVE: Final = 4.0  # times the energy of the quietest block that is still noise (6 dB)
_STALL: Final = 0.5  # seconds; what comes later than this tells nothing about the usual lateness
_WINDOW: Final = 2.0  # seconds over which lateness is looked at before the target shrinks
_LATEST: Final = (
    0.02  # of the blocks of a window; what so few of them are late by is not waited for
)
_ROOM_BLOCKS: Final = round(5.0 / PTIME)  # over which the quietest is looked for
_LOOKED: Final = round(1.0 / PTIME)  # blocks that leave until their delay is looked at
_MARGIN: Final = 0.005  # seconds
_WORN: Final = 0.002  # seconds of the margin that may be used up before silence is made longer
_FILLED: Final = 5 * FRAME  # samples of loss that silence stands in for; more is a pause
_BEHIND: Final = 100  # numbers by which a stretch may be behind and still be one that came twice

S16 = npt.NDArray[np.int16]
NOTHING: Final[S16] = np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True)
class Block:
    """20 ms of voice.

    Attributes
    ----------
    samples : numpy.ndarray
        s16, shape (960,), 48,000 Hz.
    captured : float or None
        When its last sample was captured, if that is known.
    arrived : float
        When it came.
    silent : bool
        Whether it is below -50 dBFS, or no more than a room's noise.
    """

    samples: S16
    captured: float | None
    arrived: float
    silent: bool


class _Room:
    """Tells silence from voice: below -50 dBFS, or near the quietest of the 5 to 10 s before."""

    def __init__(self) -> None:
        self._count = 0
        self._quietest = self._before = math.inf

    def is_silent(self, samples: S16) -> bool:
        """Take note of the next block, and return whether nobody speaks in it."""
        exact = samples.astype(np.float64)
        energy = float(exact @ exact)
        self._quietest = min(self._quietest, energy)
        self._count += 1
        if self._count == _ROOM_BLOCKS:
            self._before, self._quietest, self._count = self._quietest, math.inf, 0
        if self._before == math.inf:  # not known yet: whoever speaks at once is no noise
            return energy < _QUIET
        noise = _ABOVE * min(self._before, self._quietest)
        return energy < max(_QUIET, min(noise, _NOISE))


class _Lateness:
    """How far stretches come from regular, over windows of 2 s.

    Stalls are left out, and so are the latest two in a hundred: to wait for these all the time would
    cost more than the gap that each of them makes.
    """

    def __init__(self) -> None:
        self._index = 0
        self._begun: float | None = None
        self._transits: list[float] = []
        self._least = 0.0
        self._stalled = False

    def restart(self) -> None:
        """Begin anew: what comes now has no relation to what came before."""
        self._begun = None

    def observe(self, arrived: float) -> float | None:
        """Take note of the next block; at the end of a window, return its lateness in seconds."""
        self._index += 1
        transit = arrived - self._index * PTIME
        if self._begun is None:
            self._begin(transit, arrived)
        self._least = min(self._least, transit)
        if transit - self._least > _STALL:
            self._stalled = True
        elif transit - self._least < PTIME:
            self._stalled = False
        if not self._stalled:
            self._transits.append(transit)
        assert self._begun is not None
        # a stall ends within its window, unless the way has become longer for good
        if arrived - self._begun < _WINDOW * (4 if self._stalled else 1):
            return None
        usual = sorted(self._transits)[-max(1, round(len(self._transits) * _LATEST)) :]
        late = usual[0] - self._least if usual else None
        self._begin(transit, arrived)
        return late

    def _begin(self, transit: float, arrived: float) -> None:
        self._begun, self._least = arrived, transit
        self._transits = []
        self._stalled = False


class JitterBuffer:
    """Stretches of voice in as they come, blocks of 20 ms out when they are due.

    It holds `target` seconds back, so that what comes so much later than usual is still in time.
    The target grows at once when something came too late, and shrinks slowly, to 10 ms where all is
    regular. Blocks leave on a schedule of their own, so the delay is the target and up to 20 ms
    more, wherever the schedule lies between two arrivals. When more than that has gathered, silent
    blocks are skipped until the delay is down again; speech is never cut, unless more than 2 s are
    waiting. When there has been less for a second, as where two clocks drift apart, the next
    silence is made longer.

    Attributes
    ----------
    target : float
        Seconds, 0.02 at first, then from 0.01 to 0.2; after a stretch of more than a block, at
        least what the stretch has beyond it.
    lost : int
        Stretches whose number is missing, and blocks beyond the 2 s that are kept.
    refused : int
        Stretches that cannot be used, or of a number that was there before.
    skipped : int
        Silent blocks that were left out.
    underruns : int
        Times that voice went on too late to go on without a gap.
    added, gone : int
        Blocks that came in, and those that are not in here any more.
    """

    def __init__(self) -> None:
        self.target = START
        self.lost = self.refused = self.skipped = self.underruns = 0
        self.added = self.gone = 0
        self._blocks: deque[Block] = deque()
        self._rest = NOTHING
        self._expected: int | None = None  # the next number
        self._newest = 0.0  # when the last stretch came
        self._flowing = False
        self._ended = True
        self._starved: float | None = None  # since when there is nothing to go on with
        self._lateness = _Lateness()
        self._room = _Room()
        self._popped = 0  # of the last second
        self._fullest = 0.0  # seconds that were held back at most in that time
        self._thin = False

    @property
    def buffered(self) -> float:
        """Seconds that are in here."""
        return len(self._blocks) * PTIME + len(self._rest) / SAMPLE_RATE

    @property
    def mark(self) -> int:
        """What `gone` reaches when all whole blocks that are in here now have left.

        What is less than a block is not waited for: what would fill it up may never come.
        """
        return self.added

    # --- in ---------------------------------------------------------------------------------------

    def push(
        self, number: int, samples: S16, arrived: float, captured: float | None = None
    ) -> None:
        """Take a stretch of voice.

        Parameters
        ----------
        number
            Counts the stretches. One that is missing is lost. One that goes back to 0, or by more
            than 100, begins anew; one that goes back by less was there before and is refused.
        samples
            s16, shape (n,), at 48,000 Hz.
        arrived
            Seconds of the clock that `pop` goes by.
        captured
            When the last of its samples was captured, in seconds of any clock.
        """
        missing = self._take_number(number)
        if missing is None:
            self.refused += 1
            return
        self.lost += missing
        self._ended = False
        self._see_late(arrived, min((len(samples) - FRAME) / SAMPLE_RATE, MOST))
        if missing:
            self._lateness.restart()
        if 0 < missing * len(samples) <= _FILLED:  # the delay stays as it is
            samples = np.concatenate((np.zeros(missing * len(samples), np.int16), samples))
        self._frame(samples, arrived, captured)

    def refuse(self, number: int) -> None:
        """Take note of a stretch that cannot be used: its number is not missing."""
        self.lost += self._take_number(number) or 0
        self.refused += 1

    def _take_number(self, number: int) -> int | None:
        """Return how many are missing before this number, None if it was there before."""
        expected = number if self._expected is None else self._expected
        if number < expected:
            if number and number >= expected - _BEHIND:
                return None
            expected = number
        self._expected = number + 1
        return number - expected

    def _see_late(self, arrived: float, beyond: float) -> None:
        """Let the target grow by how late a stretch came, and to what it has beyond one block."""
        self._newest = arrived
        grown = self.target
        if self._starved is not None:
            self.underruns += 1
            late = arrived - self._starved
            if late <= _STALL:
                grown += late + _MARGIN
            self._starved = None
        self.target = max(min(grown, MOST), beyond)

    def _frame(self, samples: S16, arrived: float, captured: float | None) -> None:
        joined = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        whole = len(joined) // FRAME * FRAME
        for end in range(FRAME, whole + 1, FRAME):
            after = (len(joined) - end) / SAMPLE_RATE
            at = None if captured is None else captured - after
            self._add(joined[end - FRAME : end], arrived, at)
            late = self._lateness.observe(arrived)
            if late is not None:
                self._adapt(late + _MARGIN)
        self._rest = joined[whole:].copy()

    def _adapt(self, wanted: float) -> None:
        if wanted < self.target:  # two thirds of the way, every 2 s
            wanted = (2 * wanted + self.target) / 3
        self.target = min(max(wanted, LEAST), MOST)

    def _add(self, samples: S16, arrived: float, captured: float | None) -> None:
        self._blocks.append(Block(samples, captured, arrived, self._room.is_silent(samples)))
        self.added += 1
        if len(self._blocks) > _MOST_BLOCKS:
            self._drop()

    def _drop(self) -> None:
        """Make room: the oldest silent block goes, or the oldest one if all are speech."""
        self.gone += 1
        for index, block in enumerate(self._blocks):
            if block.silent:
                del self._blocks[index]
                self.skipped += 1
                return
        self._blocks.popleft()
        self.lost += 1

    def end(self, samples: S16 = NOTHING) -> None:
        """Take the last samples before a pause: that nothing follows them is no loss."""
        rest = np.concatenate((self._rest, samples))
        rest = np.concatenate((rest, np.zeros(-len(rest) % FRAME, np.int16)))
        for start in range(0, len(rest), FRAME):
            self._add(rest[start : start + FRAME], self._newest, None)
        self._rest = NOTHING
        self._expected = self._starved = None
        self._ended = True
        self._lateness.restart()

    # --- out --------------------------------------------------------------------------------------

    def pop(self, now: float) -> Block | None:
        """Return the block that leaves now, or None for silence; to be called every 20 ms."""
        if not self._flowing:
            if not self._ready(now):
                return None
            self._flowing = True
            self._popped, self._fullest, self._thin = 0, 0.0, False
        while self._blocks and self._blocks[0].silent and self._too_many(now):
            self._blocks.popleft()
            self.skipped += 1
            self.gone += 1
        if self._blocks:
            self._see_fill(now)
            if self._thin and self._blocks[0].silent:
                self._thin = False
                return None
            self.gone += 1
            return self._blocks.popleft()
        self._flowing = False
        if not self._ended:
            self._starved = now
        return None

    def _see_fill(self, now: float) -> None:
        self._popped += 1
        self._fullest = max(self._fullest, self._held(now))
        if self._popped == _LOOKED:
            self._thin = self._fullest < self.target - _WORN
            self._popped, self._fullest = 0, 0.0

    def _ready(self, now: float) -> bool:
        """Whether there is enough to begin with, or what there is has waited long enough."""
        if not self._blocks:
            return False
        waited = max(self._held(now), now - self._blocks[0].arrived)
        return self._ended or waited >= self.target - 1e-6

    def _held(self, now: float) -> float:
        """Seconds that would still be held back if one block left now.

        Where stretches come regularly this is how long the block has waited, wherever between two
        of them it is asked.
        """
        return (len(self._blocks) - 1) * PTIME + min(now - self._newest, PTIME)

    def _too_many(self, now: float) -> bool:
        # what is left after a skip must still be the target
        return self._held(now) > self.target + PTIME + _MARGIN
