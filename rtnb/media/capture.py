"""From RTP packets to samples on one clock, without I/O; it must not know who sent them or why.

`Receiving` is one direction: it decides which packets belong to the stream, puts them in order,
decodes them, fills what is lost, and says where the samples lie. Arrival is measured, never used to
place audio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.concealing import Concealer
from rtnb.media.opus import LOOK_AHEAD, SAMPLE_RATE
from rtnb.media.reorder import HOLD, PATIENCE, Lost, Refused, Reorder, Unwrapped, unwrap
from rtnb.media.timeline import SETTLING, StreamClock, Timeline
from rtnb.media.transit import Transit

__all__ = [
    "HOLD",
    "PATIENCE",
    "Lost",
    "Placed",
    "Receiving",
    "Reorder",
    "StreamClock",
    "Timeline",
    "Unwrapped",
    "unwrap",
]

SEGMENT: Final = 1.0  # seconds between packets' places and their arrivals that make a new segment
STALL: Final = 30.0  # seconds by which a packet may be late and still belong where it says
TAKEOVER: Final = 3  # packets in a row that make another stream the one that is heard
AHEAD: Final = 3000  # packets by which a sequence number may jump on (RFC 3550 appendix A.1)
BEHIND: Final = 100  # packets by which one may come out of order (ibid.)

S16 = npt.NDArray[np.int16]


@dataclass(slots=True)
class Placed:
    """What `Receiving` has ready: audio at a position, or a loss, with the row for packets.csv.

    Attributes
    ----------
    position : int
        The sample of the call's clock at which it begins.
    samples : numpy.ndarray or None
        s16, shape (n,), at 48,000 Hz; of a loss what stands in for it, which may be shorter. None
        where there is nothing to lay.
    row : tuple
        Its row in packets.csv. The kind is ``received``, ``lost``, ``late``, ``duplicate``,
        ``damaged``, or ``foreign``: of another stream, or not Opus.
    """

    position: int
    samples: S16 | None
    row: tuple[object, ...]

    @property
    def arrived(self) -> float | None:
        """When its packet came, on the call's clock; None of a loss."""
        at = self.row[3]
        return at if isinstance(at, float) else None


@dataclass(frozen=True, slots=True)
class _Useless:
    """A packet of the stream that came too late or twice."""

    packet: Unwrapped
    kind: Refused

    @property
    def sequence(self) -> int:
        return self.packet.sequence


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
        Lost stretches, in samples of the call's clock, whether or not something stands in for them.
    concealed : dict of str to int
        Lost packets that something stands in for, by method: ``fec`` or ``plc``.
    damaged : int
        Packets that could not be decoded.
    foreign : int
        Packets that are not the stream's: of another source, of another codec, or with a sequence
        number far from the others. Three in a row from one other source are a stream that begins.
    streams : int
        Streams heard one after another; more than one when the far side began anew.
    segments : int
        Times that the stream went on elsewhere: it had paused without counting the time, or its
        timestamps jumped. What follows is placed by the least-delayed arrival of its first 500 ms.
    """

    started: float
    reorder: Reorder = field(default_factory=lambda: Reorder(head=HOLD))
    clock: StreamClock = field(default_factory=StreamClock)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    concealed: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    foreign: int = 0
    streams: int = 0
    segments: int = 0
    _transit: Transit = field(default_factory=Transit)
    _decoder: Concealer = field(default_factory=Concealer)
    _unplaced: list[Unwrapped | Lost | _Useless] = field(default_factory=list)
    _doubtful: list[RtpArrival] = field(default_factory=list)
    _coming: StreamClock | None = None  # of what may be a new segment
    _turn: int = 0  # the sequence number with which it begins
    _ssrc: int | None = None
    _sequence: int = 0  # the highest so far
    _timestamp: int = 0
    _heard_until: int = 0  # the timestamp of the last packet that was decoded

    @property
    def jitter(self) -> float | None:
        """Interarrival jitter in seconds (RFC 3550 section 6.4.1); None before two packets."""
        return self._transit.jitter

    @property
    def drift(self) -> float | None:
        """Seconds by which the far clock gained (+) or lost (-) against ours; see `Transit`."""
        return self._transit.drift

    def push(self, packet: RtpArrival) -> list[Placed]:
        """Take one packet; return what can now be placed."""
        if packet.ssrc == self._ssrc:
            sequence = unwrap(packet.sequence, self._sequence, 16)
            if -BEHIND <= sequence - self._sequence <= AHEAD:
                before = self._dismiss() if self._doubtful else []
                return before + self._take(packet, sequence)
        if not packet.opus:
            return [self._stranger(packet)]
        if self._ssrc is None:
            return self._begin([packet])
        return self._doubt(packet)

    def settle(self, now: float) -> list[Placed]:
        """Return what need not wait any longer at `now`, in monotonic seconds.

        A server may stop sending between replies: the last packets must not wait for the next.
        """
        self.clock.settle(now)
        self._unplaced += self.reorder.expire(now - PATIENCE)
        if self._coming is not None:
            self._coming.settle(now)
        return self._place()

    def flush(self) -> list[Placed]:
        """Return all that is left, at the end of the stream."""
        self.clock.freeze()
        self._unplaced += self.reorder.flush()
        if self._coming is not None:
            self._coming.freeze()
        return self._place() + self._dismiss()

    @property
    def settled_before(self) -> float:
        """Monotonic seconds before which nothing more will be placed, as far as is known."""
        clock = self._coming or self.clock
        if clock.offset is None and clock.first is not None:
            return clock.first - SETTLING
        return float("inf")

    # --- which packets are the stream's -----------------------------------------------------------

    def _doubt(self, packet: RtpArrival) -> list[Placed]:
        """Hold a packet that does not go with the others, until there are enough that do so."""
        out: list[Placed] = []
        if self._doubtful and not _go_together(self._doubtful[-1], packet):
            out = self._dismiss()
        self._doubtful.append(packet)
        if len(self._doubtful) == TAKEOVER:
            begun, self._doubtful = self._doubtful, []
            out += self.flush() + self._begin(begun)
        return out

    def _dismiss(self) -> list[Placed]:
        dismissed, self._doubtful = self._doubtful, []
        return [self._stranger(packet) for packet in dismissed]

    def _begin(self, packets: list[RtpArrival]) -> list[Placed]:
        """Hear another stream, of which these are the first packets."""
        first = packets[0]
        self.streams += 1
        self.reorder.restart()
        if self.streams > 1:
            self.clock, self._decoder = StreamClock(), Concealer()
            self._transit.resume()
        self._ssrc, self._sequence = first.ssrc, first.sequence
        self._timestamp = unwrap(first.timestamp, self._timestamp, 32)
        out: list[Placed] = []
        for packet in packets:
            out += self._take(packet, unwrap(packet.sequence, self._sequence, 16))
        return out

    def _take(self, packet: RtpArrival, sequence: int) -> list[Placed]:
        """Take a packet of the stream."""
        self._sequence = max(self._sequence, sequence)
        timestamp = unwrap(packet.timestamp, self._timestamp, 32)
        taken = Unwrapped(sequence, timestamp, packet.payload, packet.time, packet.opus)
        self._unplaced += self.reorder.push(taken)
        refused = self.reorder.refused
        if refused is not None:
            self._unplaced.append(_Useless(taken, refused))
        if packet.opus and refused != "duplicate":  # other codecs' timestamps count something else
            self._transit.arrived(timestamp, packet.time)
        if packet.opus and refused is None:
            self._timestamp = timestamp
            self._observe(taken)
        return self._place() if self._unplaced else []

    # --- the clock --------------------------------------------------------------------------------

    def _observe(self, packet: Unwrapped) -> None:
        """Let the clock see a packet, and see whether the stream has gone on elsewhere."""
        self.clock.observe(packet.timestamp, packet.time)
        if self.clock.offset is None:
            return
        if abs(self.clock.late(packet.timestamp, packet.time)) <= SEGMENT:
            if self._coming is not None and packet.sequence >= self._turn:
                self._coming = None  # the network had stalled: they belong where they say
            return
        if self._coming is None:
            self._coming, self._turn = StreamClock(), packet.sequence
        self._turn = min(self._turn, packet.sequence)
        self._coming.observe(packet.timestamp, packet.time)

    def _turn_over(self) -> list[Placed]:
        """Place what is left of a segment, and go on in the next one."""
        coming, self._coming = self._coming, None
        assert coming is not None
        assert coming.first is not None
        items = [*self._unplaced, *self.reorder.expire(coming.first + 1e-3)]
        cut = next((n for n, one in enumerate(items) if one.sequence >= self._turn), len(items))
        self._unplaced = items[cut:]
        out = self._place_all(items, cut)
        self.clock = coming
        self._transit.resume()
        self.segments += 1
        return out

    # --- where they lie ---------------------------------------------------------------------------

    def _place(self) -> list[Placed]:
        if self.clock.offset is None:
            return []
        if self._coming is not None and self._coming.offset is not None:
            return self._turn_over() + self._place()
        items, cut = self._unplaced, len(self._unplaced)
        if self._coming is not None:
            cut = next((n for n, one in enumerate(items) if one.sequence >= self._turn), cut)
        self._unplaced = items[cut:]
        return self._place_all(items, cut)

    def _place_all(self, items: list[Unwrapped | Lost | _Useless], cut: int) -> list[Placed]:
        """Return the first `cut` of these items, placed."""
        out: list[Placed] = []
        for index, item in enumerate(items[:cut]):
            if isinstance(item, Unwrapped):
                out.append(self._heard(item))
            elif isinstance(item, Lost):
                following = items[index + 1]  # a loss is known by what comes after it
                assert isinstance(following, Unwrapped)
                out.append(self._missed(item, following))
            else:
                out.append(self._refused(item.packet, item.kind))
        return out

    def _position(self, timestamp: int) -> int:
        # rounded once per stream: neighbours must meet to the sample
        return self.clock.position(self.started) + timestamp - LOOK_AHEAD

    def _heard(self, packet: Unwrapped) -> Placed:
        if not packet.opus:
            return self._stranger(packet)
        samples = self._decoder.decode(packet.payload)
        position = self._position(packet.timestamp)
        late = self.clock.late(packet.timestamp, packet.time)
        backward = late > SEGMENT and packet.timestamp < self._heard_until
        if -SEGMENT <= late <= STALL and not backward:
            self._transit.placed(packet.time, late)
            self._heard_until = packet.timestamp
        else:  # one that jumped alone
            position += round(late * SAMPLE_RATE)
            self.segments += 1
        if samples is None:
            self.damaged += 1
        elif position < 0:  # the look-ahead of a call's very first packet lies before its start
            samples = samples[-position:]
        kind = "damaged" if samples is None else "received"
        position = max(position, 0)
        return Placed(position, samples, self._row(packet, kind, position))

    def _missed(self, loss: Lost, following: Unwrapped) -> Placed:
        start, end = self._position(loss.start), self._position(loss.end)
        # its copy is of what was just before it: after a pause that may be elsewhere
        adjacent = following.opus and following.timestamp == loss.end
        made = self._decoder.conceal(
            end - start, loss.count, following.payload if adjacent else b""
        )
        for name, count in made.methods.items():
            self.concealed[name] = self.concealed.get(name, 0) + count
        cut = max(-start, 0)
        start, end = max(start, 0), max(end, 0)
        self.gaps.append((start, end))
        methods = "+".join(made.methods)
        row = ("lost", loss.sequence % 65536, None, None, end - start, start, methods)
        return Placed(start, made.samples[cut:] if methods else None, row)

    def _refused(self, packet: Unwrapped, kind: str) -> Placed:
        position = max(self._position(packet.timestamp), 0)
        return Placed(position, None, self._row(packet, kind, position))

    def _row(self, packet: RtpArrival | Unwrapped, kind: str, position: int) -> tuple[object, ...]:
        numbers = (packet.sequence % 65536, packet.timestamp % (1 << 32))
        time = round(packet.time - self.started, 6)
        return (kind, *numbers, time, len(packet.payload), position, None)

    def _stranger(self, packet: RtpArrival | Unwrapped) -> Placed:
        """Count a packet that is not of the stream's sound; it is noted at its arrival."""
        self.foreign += 1
        position = max(round((packet.time - self.started) * SAMPLE_RATE), 0)
        return Placed(position, None, self._row(packet, "foreign", position))


def _go_together(one: RtpArrival, other: RtpArrival) -> bool:
    """Whether two packets may be of one stream that just begins."""
    apart = unwrap(other.sequence, one.sequence, 16) - one.sequence
    return one.ssrc == other.ssrc and abs(apart) <= BEHIND
