"""RTP packets in any order in, in order out, with the losses named; it must not know their sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from rtnb.media.opus import samples_in

__all__ = ["HOLD", "PATIENCE", "Lost", "Refused", "Reorder", "Unwrapped", "unwrap"]

HOLD: Final = 5  # packets that wait for a missing one before it is given up (100 ms)
PATIENCE: Final = 0.2  # seconds it waits at most, when no later packets come at all

_REMEMBERED: Final = 1000  # packets back to which a loss is known, to tell late from twice
_LONGEST: Final = 5760  # samples in the longest packet: 120 ms (RFC 6716 section 2.1.4)


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
    opus: bool = True
    "Whether there is sound in it; another codec's packet takes a number, but no time."


@dataclass(frozen=True, slots=True)
class Lost:
    """Packets that never came: `count` of them from `sequence`, over samples `start` to `end`."""

    sequence: int
    count: int
    start: int
    end: int


Refused = Literal["late", "duplicate"]


class Reorder:
    """Packets in, packets in order and losses out.

    A missing packet is waited for until `HOLD` later ones have come.

    Parameters
    ----------
    head
        How many packets of the beginning wait before it is settled which is the first: without it a
        first packet that was overtaken is late.

    Attributes
    ----------
    received, lost, late, duplicates, reordered : int
        Packets.
    bursts : list of int
        How many packets each loss took, in order.
    refused : {'late', 'duplicate'} or None
        Why the last packet pushed is of no use; None when it is.
    """

    def __init__(self, *, head: int = 0) -> None:
        self.received = 0
        self.lost = 0
        self.late = 0
        self.duplicates = 0
        self.reordered = 0
        self.bursts: list[int] = []
        self.refused: Refused | None = None
        self._head = head
        self._given_up: set[int] = set()
        self._waiting: dict[int, Unwrapped] = {}
        self.restart()

    def restart(self) -> None:
        """Begin another stream, whose numbers have nothing to do with those so far."""
        self._next: int | None = None
        self._end = 0  # RTP timestamp just after the last packet released
        self._size = 0  # samples in it
        self._highest: int | None = None
        self._forgotten = 0  # before this number nothing is known
        self._given_up.clear()
        self._waiting.clear()

    def push(self, packet: Unwrapped) -> list[Unwrapped | Lost]:
        """Take one packet and return what is now in order."""
        self.received += 1
        sequence = packet.sequence
        if sequence == self._next and not self._waiting:  # as nearly always
            self.refused = None
            self._highest = sequence
            self._passed(packet)
            return [packet]
        if self._refuses(sequence):
            return []
        if self._highest is not None and sequence < self._highest:
            self.reordered += 1
        else:
            self._highest = sequence
        self._waiting[sequence] = packet
        if self._next is None and len(self._waiting) <= self._head:
            return []
        return self._release(HOLD)

    def flush(self) -> list[Unwrapped | Lost]:
        """Give up waiting, and return all that is left."""
        return self._release(0)

    def expire(self, before: float) -> list[Unwrapped | Lost]:
        """Give up waiting where a packet that arrived before this time is held back."""
        out: list[Unwrapped | Lost] = []
        while any(packet.time < before for packet in self._waiting.values()):
            out += self._release(len(self._waiting) - 1)
        return out

    def _refuses(self, sequence: int) -> bool:
        """Whether a packet came too late or twice; it is counted."""
        old = self._next is not None and sequence < self._next
        if old and (sequence in self._given_up or sequence < self._forgotten):
            self._given_up.discard(sequence)
            self.refused = "late"
            self.late += 1
        elif old or sequence in self._waiting:
            self.refused = "duplicate"
            self.duplicates += 1
        else:
            self.refused = None
        return self.refused is not None

    def _release(self, hold: int) -> list[Unwrapped | Lost]:
        """Return what is in order, giving up what is missing while more than `hold` wait for it."""
        out: list[Unwrapped | Lost] = []
        while self._waiting:
            if self._next is None:
                self._next = self._forgotten = min(self._waiting)
            packet = self._waiting.pop(self._next, None)
            if packet is not None:
                out.append(packet)
                self._passed(packet)
            elif len(self._waiting) > hold:
                first = min(self._waiting)
                out.append(self._give_up(self._next, self._waiting[first]))
                self._next = first
            else:
                break
        return out

    def _passed(self, packet: Unwrapped) -> None:
        self._next = packet.sequence + 1
        if packet.opus:
            self._size = samples_in(packet.payload)
            self._end = packet.timestamp + self._size

    def _give_up(self, sequence: int, following: Unwrapped) -> Lost:
        count = following.sequence - sequence
        self.lost += count
        self.bursts.append(count)
        self._given_up.update(range(sequence, following.sequence))
        if len(self._given_up) > 2 * _REMEMBERED:
            self._forgotten = max(following.sequence - _REMEMBERED, self._forgotten)
            self._given_up = {one for one in self._given_up if one >= self._forgotten}
        return Lost(sequence, count, self._end, self._end + self._missing(count, following))

    def _missing(self, count: int, following: Unwrapped) -> int:
        """Return how many samples a loss took, by the timestamps as far as they can be believed.

        More than the packets could hold is a pause that lies within the loss, or a jump.
        """
        away = following.timestamp - self._end
        if 0 <= away <= count * _LONGEST:
            return away
        return count * self._size if away > 0 else 0
