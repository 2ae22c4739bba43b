"""How well packets left and arrived, as figures from arrays; it must not know a call or a file."""

from __future__ import annotations

from dataclasses import dataclass

from rtnb.packets import Packets

__all__ = ["CallQuality", "quality_of"]


@dataclass(frozen=True, slots=True)
class CallQuality:
    """The pacing of what we sent and the network quality of what we heard, over a stretch of a call.

    Attributes
    ----------
    packets_sent, late_packets : int
        RTP packets that left, and those of them more than 10 ms behind schedule.
    worst_lag : float
        The largest lateness of a departure, in seconds.
    packets_received, packets_lost, packets_late, packets_duplicate, packets_reordered : int
        Of the audio we heard. Late is what came after its loss was settled.
    loss : float
        Lost packets as a fraction of those expected, 0 to 1.
    bursts : tuple of int
        How many packets each loss took, in order.
    jitter : float or None
        Interarrival jitter at the end, in seconds (RFC 3550 section 6.4.1); None without packets.
    drift : float or None
        By how many seconds the far clock gained (+) or lost (-) against ours over the stretch; None
        where it is too short to tell.
    """

    packets_sent: int = 0
    late_packets: int = 0
    worst_lag: float = 0.0
    packets_received: int = 0
    packets_lost: int = 0
    packets_late: int = 0
    packets_duplicate: int = 0
    packets_reordered: int = 0
    loss: float = 0.0
    bursts: tuple[int, ...] = ()
    jitter: float | None = None
    drift: float | None = None

    @property
    def longest_burst(self) -> int:
        """The most packets lost in a row."""
        return max(self.bursts, default=0)


def quality_of(packets: Packets, start: float = 0.0, end: float = float("inf")) -> CallQuality:
    """Return the figures of the packets that belong between two times on the call's clock."""
    return CallQuality()
