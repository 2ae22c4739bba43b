"""What a bad network does to packets, without I/O or time; it must not know what a packet is."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rtnb.peer.faults import Network

__all__ = ["Delivery", "Impairment"]

T = TypeVar("T")


@dataclass
class Delivery(Generic[T]):
    """What becomes of a packet, and of those that waited for it.

    Attributes
    ----------
    now : list
        Packets to deliver at once, in this order.
    later : list of (float, packet)
        Packets to deliver after so many seconds.
    dropped : bool
        The packet itself is never delivered.
    """

    now: list[T] = field(default_factory=list)
    later: list[tuple[float, T]] = field(default_factory=list)
    dropped: bool = False


class Impairment(Generic[T]):
    """Packets of one direction in, what is to be delivered out.

    Each kind of damage draws from a sequence of its own, so that one rate changes nothing about the
    others.

    Parameters
    ----------
    network
        How bad it is.
    seed
        Names the sequences: the same one does the same to packets of the same number.
    """

    def __init__(self, network: Network, seed: str):
        self._network = network
        self._drop = frozenset(network.drop)
        self._random = {
            name: random.Random(f"{seed} {name}")
            for name in ("loss", "late", "reordered", "duplicated")
        }
        self._number = 0
        self._burst = 0  # packets that are still to be lost in this one
        self._waiting: list[T] = []  # change places with the next one

    def push(self, packet: T) -> Delivery[T]:
        """Take the next packet."""
        number, self._number = self._number, self._number + 1
        dropped = self._lost() | (number in self._drop)
        late, swapped, twice = (self._happens(name) for name in ("late", "reordered", "duplicated"))
        delivery: Delivery[T] = Delivery(dropped=dropped)
        copies = [packet] * (1 + twice)
        waiting, self._waiting = self._waiting, []
        if not dropped and late:
            delivery.later = [(self._network.late_by, one) for one in copies]
        elif not dropped and swapped and not waiting:
            self._waiting = copies
        elif not dropped:
            delivery.now = copies
        delivery.now += waiting
        return delivery

    def _happens(self, name: str) -> bool:
        rate: float = getattr(self._network, name)
        return self._random[name].random() < rate

    def _lost(self) -> bool:
        """Whether this one is lost: bursts begin so often that the rate comes out as asked."""
        loss, burst = self._network.loss, self._network.burst
        begins = loss / (loss + burst * (1 - loss)) if loss else 0.0
        drawn = self._random["loss"].random() < begins
        if drawn and not self._burst:
            self._burst = burst
        lost = self._burst > 0
        self._burst -= lost
        return lost
