"""Departures, arrivals and losses of a call as arrays, from its packets; it must not judge them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from rtnb.packets import Floats, Ints, Packets

__all__ = [
    "Delays",
    "Lags",
    "Losses",
    "Traffic",
    "arrival_delays",
    "departure_lags",
    "drift_rate",
    "losses_of",
    "traffic_of",
    "without_drift",
]

SEGMENT: Final = 1.0  # seconds by which timestamps leave the arrivals where another stream begins

_RATE: Final = 48_000  # Hz of RTP timestamps and positions
_PACKET: Final = 960  # samples of a packet, where nothing says better
_SHORTEST: Final = 10.0  # seconds over which a drift can be told
_BINS: Final = 60  # least-delayed arrivals of a drift


class Lags(NamedTuple):
    """Departures: where each belongs, in seconds on the call's clock, and how late it was."""

    place: Floats
    lag: Floats
    skipped: Floats

    def within(self, start: float, end: float) -> Lags:
        """Return those that belong between two times on the call's clock."""
        inside = (self.place >= start) & (self.place < end)
        return Lags(self.place[inside], self.lag[inside], self.skipped[inside])


class Delays(NamedTuple):
    """Arrivals in their order: where each belongs, when it came, how delayed, and in which stream."""

    place: Floats
    time: Floats
    delay: Floats
    segment: Ints

    def within(self, start: float, end: float) -> Delays:
        """Return those that belong between two times on the call's clock."""
        inside = (self.place >= start) & (self.place < end)
        return Delays(
            self.place[inside], self.time[inside], self.delay[inside], self.segment[inside]
        )


class Losses(NamedTuple):
    """Losses in order: where each begins, in seconds, its length in packets, and how it was filled."""

    place: Floats
    end: Floats
    packets: Ints
    concealed: npt.NDArray[Any]

    def within(self, start: float, end: float) -> Losses:
        """Return those that belong between two times on the call's clock."""
        inside = (self.place >= start) & (self.place < end)
        return Losses(
            self.place[inside], self.end[inside], self.packets[inside], self.concealed[inside]
        )


class Traffic(NamedTuple):
    """All of it: of a call, once.

    Attributes
    ----------
    lags, delays, losses
        See there.
    places : dict of str to numpy.ndarray
        The places of the packets of each kind, in seconds.
    overtaken : numpy.ndarray
        The places of those that came in time, yet after one with a higher sequence number.
    """

    lags: Lags
    delays: Delays
    losses: Losses
    places: dict[str, Floats]
    overtaken: Floats


_KNOWN: WeakKeyDictionary[Packets, Traffic] = WeakKeyDictionary()


def traffic_of(packets: Packets) -> Traffic:
    """Return departures, arrivals and losses of the packets of a call; they are worked out once."""
    known = _KNOWN.get(packets)
    if known is None:
        place = packets.place
        known = _KNOWN[packets] = Traffic(
            departure_lags(packets),
            arrival_delays(packets),
            losses_of(packets),
            {str(kind): place[packets.are(kind)] for kind in set(packets.kind.tolist())},
            _overtaken(packets.of("received", "damaged")),
        )
    return known


def departure_lags(packets: Packets) -> Lags:
    """Return how many seconds each sent packet left after it was due.

    It was due when the one before ended, on the schedule of the least-delayed packet: this is the
    lateness of the sender's clock, not that of the network.
    """
    sent = packets.of("sent")
    sent = sent.where(~np.isnan(sent.time))
    place = sent.place
    due = place.copy()
    ended = place[:-1] + _PACKET / _RATE
    skipped = np.zeros(len(place))
    skipped[1:] = np.maximum(place[1:] - ended, 0.0)
    skipped[skipped < 0.5 * _PACKET / _RATE] = 0.0
    lag = sent.time - due
    if len(lag):
        usual = lag > np.median(lag) - SEGMENT  # a time before its time is damage
        lag -= lag[usual].min()
    return Lags(place, np.maximum(lag, 0.0) + skipped, skipped)


def arrival_delays(packets: Packets) -> Delays:
    """Return how many seconds each packet arrived after the least-delayed one of its stream.

    The delay is the time of arrival minus the RTP timestamp. Where it jumps by more than a second,
    or another stream begins, so does another segment, which has a least-delayed packet of its own.
    """
    heard = packets.of("received", "damaged", "late")
    heard = heard.where((heard.timestamp >= 0) & ~np.isnan(heard.time))
    heard = heard.where(np.argsort(heard.time, kind="stable"))
    if not len(heard):
        empty = np.zeros(0)
        return Delays(empty, empty, empty, np.zeros(0, np.int64))
    steps = np.diff(heard.time) - _wrapped(np.diff(heard.timestamp), 32) / _RATE
    begins = np.concatenate(([True], np.abs(steps) > SEGMENT))
    segment = np.cumsum(begins) - 1
    delay = np.concatenate(([0.0], np.cumsum(np.where(begins[1:], 0.0, steps))))
    delay -= np.minimum.reduceat(delay, np.flatnonzero(begins))[segment]
    return Delays(heard.place, heard.time, delay, segment)


def without_drift(delays: Delays) -> Delays:
    """Return delays as they are once the far clock's drift is taken out of them."""
    slope = drift_rate(delays)
    if slope is None:
        return delays
    delay = delays.delay - slope * delays.time
    begins = np.flatnonzero(np.diff(delays.segment, prepend=-1))
    delay -= np.minimum.reduceat(delay, begins)[delays.segment]
    return delays._replace(delay=delay)


def losses_of(packets: Packets) -> Losses:
    """Return every loss with the number of its packets, which the next one's sequence tells."""
    heard = packets.of("received", "damaged", "lost")
    is_lost = heard.are("lost")
    at = np.flatnonzero(is_lost)
    lost = heard.where(at)
    count = np.maximum(np.rint(np.maximum(lost.size, 0) / _PACKET), 1).astype(np.int64)
    if len(heard):
        after = np.minimum(at + 1, len(heard) - 1)
        told = (heard.sequence[after] - lost.sequence) % 65536
        known = ~is_lost[after] & (told > 0) & (told < 32768) & (lost.sequence >= 0)
        count = np.where(known, told, count)
    end = (lost.position + np.maximum(lost.size, 0)) / _RATE
    return Losses(lost.place, end, count, lost.concealed)


def _overtaken(in_time: Packets) -> Floats:
    """Return the places of packets that came after one with a higher number of the same stream."""
    stamped = in_time.where(~np.isnan(in_time.time))
    # rows are in order of sequence: a packet that came before its predecessor has overtaken it
    order = np.argsort(stamped.time, kind="stable")
    return stamped.place[order[order < np.maximum.accumulate(order)]]


def _wrapped(difference: Ints, bits: int) -> Ints:
    """Return differences of counters that wrap as the nearest there can be."""
    half = 1 << (bits - 1)
    return (difference + half) % (2 * half) - half


def drift_rate(delays: Delays) -> float | None:
    """Return by how many seconds a second the delay of the longest segment grows.

    It is the median slope between the least delays of each second, or of each sixtieth of the
    stretch where that is longer; None below 10 seconds.
    """
    if not len(delays.time):
        return None
    inside = delays.segment == np.bincount(delays.segment).argmax()
    time, delay = delays.time[inside], delays.delay[inside]
    length = float(time[-1] - time[0])
    if length < _SHORTEST:
        return None
    width = max(1.0, length / _BINS)
    bins = ((time - time[0]) / width).astype(np.int64)
    begins = np.flatnonzero(np.diff(bins, prepend=-1))
    least = np.minimum.reduceat(delay, begins)
    one, other = np.triu_indices(len(least), 1)
    far = bins[begins][other] - bins[begins][one]
    return float(np.median((least[other] - least[one]) / (far * width)))
