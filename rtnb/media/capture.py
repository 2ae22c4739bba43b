"""From RTP packets to samples on one clock, without I/O; it must not know who sent them or why.

`Reorder` puts packets in order and names the lost ones, `StreamClock` places RTP timestamps on the
call's clock, `Timeline` lays both sides side by side, and `Receiving` is the three together for one
direction. Arrival is measured, never used to place audio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.opus import SAMPLE_RATE, Decoder, samples_in

__all__ = [
    "HOLD",
    "PATIENCE",
    "Lost",
    "Receiving",
    "Reorder",
    "StreamClock",
    "Timeline",
    "Unwrapped",
    "unwrap",
]

HOLD: Final = 5  # packets that wait for a missing one before it is given up (100 ms)
PATIENCE: Final = 0.2  # seconds it waits at most, when no later packets come at all
SEGMENT: Final = 1.0  # seconds between a packet's place and its arrival that begin a new segment
SETTLING: Final = 0.5  # seconds over which the least-delayed packet is looked for

_LONGEST_GAP: Final = 10 * SAMPLE_RATE  # samples

S16 = npt.NDArray[np.int16]


def unwrap(value: int, near: int, bits: int) -> int:
    """Return the number congruent to `value` modulo ``2**bits`` that is closest to `near`."""
    span = 1 << bits
    return near + (value - near + span // 2) % span - span // 2


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """A packet with its sequence number and timestamp counted on without wrapping."""

    sequence: int
    timestamp: int
    payload: bytes
    time: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Packets that never came: `count` of them from `sequence`, over samples `start` to `end`."""

    sequence: int
    count: int
    start: int
    end: int


class Reorder:
    """Packets in, packets in order and losses out.

    A missing packet is waited for until `HOLD` later ones have come.

    Attributes
    ----------
    received, lost, late, duplicates, reordered : int
        Packets.
    """

    def __init__(self) -> None:
        self.received = 0
        self.lost = 0
        self.late = 0
        self.duplicates = 0
        self.reordered = 0
        self._next: int | None = None
        self._end = 0  # RTP timestamp just after the last packet released
        self._first = 0
        self._highest = 0
        self._given_up: set[int] = set()
        self._waiting: dict[int, Unwrapped] = {}

    def push(self, packet: Unwrapped) -> list[Unwrapped | Lost]:
        """Take one packet and return what is now in order."""
        self.received += 1
        if self._next is None:
            self._next = self._first = self._highest = packet.sequence
        if packet.sequence < self._next:
            self._count_old(packet.sequence)
            return []
        if packet.sequence in self._waiting:
            self.duplicates += 1
            return []
        self.reordered += packet.sequence < self._highest
        self._highest = max(self._highest, packet.sequence)
        self._waiting[packet.sequence] = packet
        return self._release(HOLD)

    def flush(self) -> list[Unwrapped | Lost]:
        """Give up waiting, and return all that is left."""
        return self._release(0)

    def expire(self, before: float) -> list[Unwrapped | Lost]:
        """Give up waiting where a packet that arrived before this time is held back."""
        held = min((packet.time for packet in self._waiting.values()), default=before)
        return self._release(0) if held < before else []

    def _count_old(self, sequence: int) -> None:
        if sequence in self._given_up or sequence < self._first:
            self._given_up.discard(sequence)
            self.late += 1
        else:
            self.duplicates += 1

    def _release(self, hold: int) -> list[Unwrapped | Lost]:
        out: list[Unwrapped | Lost] = []
        while self._waiting:
            assert self._next is not None
            packet = self._waiting.pop(self._next, None)
            if packet is None:
                if len(self._waiting) <= hold and hold:
                    break
                first = min(self._waiting)
                out.append(self._give_up(self._next, self._waiting[first]))
                self._next = first
                continue
            out.append(packet)
            self._end = packet.timestamp + samples_in(packet.payload)
            self._next = packet.sequence + 1
        return out

    def _give_up(self, sequence: int, following: Unwrapped) -> Lost:
        count = following.sequence - sequence
        self.lost += count
        self._given_up.update(range(sequence, following.sequence))
        return Lost(sequence, count, self._end, following.timestamp)


class StreamClock:
    """Places the timestamps of one stream on a monotonic clock, and then never moves.

    The offset is taken from the least-delayed packet of the first 500 ms, and frozen.

    Attributes
    ----------
    first : float or None
        Time of the first packet seen.
    offset : float or None
        Seconds to add to ``timestamp / 48000``; None until it is frozen.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.offset: float | None = None
        self._best = float("inf")

    def observe(self, timestamp: int, time: float) -> None:
        """Take note of a packet with this timestamp at this time."""
        if self.offset is not None:
            return
        if self.first is None:
            self.first = time
        if time - self.first > SETTLING:
            self.offset = self._best
            return
        self._best = min(self._best, time - timestamp / SAMPLE_RATE)

    def settle(self, now: float) -> None:
        """Freeze when its time is over, though no further packet came to tell."""
        if self.first is not None and now - self.first > SETTLING:
            self.freeze()

    def freeze(self) -> None:
        """Settle now with what has been seen."""
        if self.offset is None and self.first is not None:
            self.offset = self._best

    def move(self, seconds: float) -> None:
        """Begin a new segment, whose timestamps lie elsewhere; the clock must be frozen."""
        assert self.offset is not None
        self.offset += seconds

    def position(self, started: float) -> int:
        """Return the sample of timestamp 0, counted from `started`; the clock must be frozen."""
        assert self.offset is not None
        return round((self.offset - started) * SAMPLE_RATE)


class Timeline:
    """Two channels of samples on one axis, written once a stretch is settled.

    Attributes
    ----------
    written : int
        The position up to which blocks have been handed out.
    late_samples : int
        Samples that came for a stretch already handed out.
    """

    def __init__(self, channels: int = 2) -> None:
        self.written = 0
        self.late_samples = 0
        self._pending: list[list[tuple[int, S16]]] = [[] for _ in range(channels)]

    def place(self, channel: int, position: int, samples: S16) -> S16:
        """Lay samples at a position, and return those that lie before `written`: they are late."""
        cut = min(max(self.written - position, 0), len(samples))
        self.late_samples += cut
        if cut < len(samples):
            self._pending[channel].append((position + cut, samples[cut:]))
        return samples[:cut]

    def take(self, until: int) -> S16:
        """Return the samples from `written` to `until`, shape (n, channels); silence where none."""
        count = max(until - self.written, 0)
        block = np.zeros((count, len(self._pending)), np.int16)
        for channel, pending in enumerate(self._pending):
            self._pending[channel] = [
                rest
                for position, samples in pending
                if (rest := self._copy(block[:, channel], position, samples)) is not None
            ]
        self.written += count
        return block

    def _copy(self, out: S16, position: int, samples: S16) -> tuple[int, S16] | None:
        start = position - self.written
        stop = min(start + len(samples), len(out))
        if start < len(out):
            out[start:stop] = samples[: stop - start]
            if stop - start == len(samples):
                return None
            return position + stop - start, samples[stop - start :]
        return position, samples

    @property
    def end(self) -> int:
        """The position just after the last sample laid."""
        ends = [p + len(s) for pending in self._pending for p, s in pending]
        return max([self.written, *ends])


@dataclass(slots=True)
class Placed:
    """What `Receiving` has ready: audio at a position, or a loss, with the row for packets.csv."""

    position: int
    samples: S16 | None
    row: tuple[object, ...]


@dataclass
class Receiving:
    """One received stream: RTP packets in, placed samples out.

    Parameters
    ----------
    started
        0 of the call's clock on the monotonic clock, in seconds.

    Attributes
    ----------
    gaps : list of (int, int)
        Lost stretches, in samples of the call's clock.
    damaged : int
        Packets that could not be decoded.
    segments : int
        Times that the stream went on elsewhere: it had paused without counting the time, or its
        timestamps jumped. What follows is placed from its arrival on.
    """

    started: float
    reorder: Reorder = field(default_factory=Reorder)
    clock: StreamClock = field(default_factory=StreamClock)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    damaged: int = 0
    segments: int = 0
    _decoder: Decoder = field(default_factory=Decoder)
    _unplaced: list[Unwrapped | Lost] = field(default_factory=list)
    _ssrc: int | None = None
    _sequence: int | None = None
    _timestamp: int = 0

    def push(self, packet: RtpArrival) -> list[Placed]:
        """Take one packet; return what can now be placed."""
        ready: list[Placed] = []
        if self._ssrc is not None and packet.ssrc != self._ssrc:
            ready = self.flush()
            self.reorder._next = None
            self.clock, self._sequence, self._decoder = StreamClock(), None, Decoder()
        self._ssrc = packet.ssrc
        unwrapped = self._unwrap(packet)
        self.clock.observe(unwrapped.timestamp, packet.time)
        self._unplaced += self.reorder.push(unwrapped)
        return ready + self._place()

    def settle(self, now: float) -> list[Placed]:
        """Return what need not wait any longer at `now`, in monotonic seconds.

        A server may stop sending between replies: the last packets must not wait for the next.
        """
        self.clock.settle(now)
        self._unplaced += self.reorder.expire(now - PATIENCE)
        return self._place()

    def flush(self) -> list[Placed]:
        """Return all that is left, at the end of the stream."""
        self.clock.freeze()
        self._unplaced += self.reorder.flush()
        return self._place()

    @property
    def settled_before(self) -> float:
        """Monotonic seconds before which nothing more will be placed, as far as is known."""
        if self.clock.offset is None and self.clock.first is not None:
            return self.clock.first - SETTLING
        return float("inf")

    def _unwrap(self, packet: RtpArrival) -> Unwrapped:
        if self._sequence is None:
            self._sequence, self._timestamp = packet.sequence, packet.timestamp
        self._sequence = unwrap(packet.sequence, self._sequence, 16)
        self._timestamp = unwrap(packet.timestamp, self._timestamp, 32)
        return Unwrapped(self._sequence, self._timestamp, packet.payload, packet.time)

    def _place(self) -> list[Placed]:
        if self.clock.offset is None:
            return []
        items, self._unplaced = self._unplaced, []
        return [self._placed(item) for item in items]

    def _position(self, timestamp: int) -> int:
        # rounded once per stream: neighbours must meet to the sample
        return self.clock.position(self.started) + timestamp

    def _placed(self, item: Unwrapped | Lost) -> Placed:
        if isinstance(item, Lost):
            start, end = self._position(item.start), self._position(item.end)
            if not 0 <= end - start <= _LONGEST_GAP:
                end = start  # the timestamps jumped: how much is missing cannot be known
            self.gaps.append((start, end))
            row = ("lost", item.sequence % 65536, None, None, end - start, start)
            return Placed(start, None, row)
        samples = self._decoder.decode(item.payload)
        self.damaged += samples is None
        position = self._position(item.timestamp)
        away = item.time - self.started - position / SAMPLE_RATE
        if abs(away) > SEGMENT:
            self.clock.move(away)
            self.segments += 1
            position = self._position(item.timestamp)
        time = round(item.time - self.started, 6)
        kind = "received" if samples is not None else "damaged"
        stamp = (item.sequence % 65536, item.timestamp % (1 << 32))
        return Placed(position, samples, (kind, *stamp, time, len(item.payload), position))
