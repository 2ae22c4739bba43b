"""How well packets left and arrived, as figures from arrays; it must not know a call or a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtnb import _html
from rtnb.packets import Floats, Packets
from rtnb.traffic import Delays, Losses, drift_rate, traffic_of

__all__ = ["LATE", "CallQuality", "quality_of"]

LATE: Final = 0.010  # seconds behind schedule from which a departure counts as late

_MADE_UP: Final = 0.1  # seconds of a loss that the decoder makes up, see `media.concealing`
_SETTLED: Final = 600  # packets after which RFC 3550's jitter has forgotten what was before


@dataclass(frozen=True, slots=True)
class CallQuality:
    """The pacing of what we sent and the network quality of what we heard, over a stretch of a call.

    A packet belongs to the stretch in which it was placed in audio.wav.

    Attributes
    ----------
    packets_sent : int
        RTP packets that left.
    late_packets : int
        Those of them that left more than 10 ms after they were due, which is when the one before
        ended, measured against the least-delayed packet of the call.
    worst_lag : float
        The largest such lateness, in seconds; at least 0.
    skipped : float
        Seconds of schedule that were left out after stalls: what was due then was never sent.
    packets_received : int
        RTP packets that arrived, with those that were late, duplicate or damaged.
    packets_lost : int
        RTP packets that had not arrived when their time was over.
    packets_late : int
        Those that came after they had been given up; they count as lost too.
    packets_duplicate : int
        Those that had come before.
    packets_damaged : int
        Those that could not be decoded.
    packets_foreign : int
        Those that were not of the stream, and not heard; they are not in `packets_received`.
    packets_reordered : int
        Those that came in time, yet after one with a higher sequence number.
    loss : float
        `packets_lost` as a fraction of those expected, which are the lost and those that came in
        time; 0 to 1.
    bursts : tuple of int
        How many packets each loss took, in order.
    concealed : dict of str to int
        Of `packets_lost`, for how many something stands in: ``fec``, the last of a loss, by the copy
        of it in the packet after; ``plc``, those before, made up by the decoder, for 100 ms of each
        loss at most. What is in neither is silence.
    jitter : float or None
        Interarrival jitter at the end of the stretch, in seconds (RFC 3550 section 6.4.1, over the
        packets in order of arrival, duplicates left out); None with fewer than two packets.
    drift : float or None
        By how many seconds the far clock gained (+) or lost (-) against ours over the stretch: the
        median slope of the least-delayed arrivals of each second (or more). None below 10 seconds.
    """

    packets_sent: int = 0
    late_packets: int = 0
    worst_lag: float = 0.0
    skipped: float = 0.0
    packets_received: int = 0
    packets_lost: int = 0
    packets_late: int = 0
    packets_duplicate: int = 0
    packets_damaged: int = 0
    packets_foreign: int = 0
    packets_reordered: int = 0
    loss: float = 0.0
    bursts: tuple[int, ...] = ()
    concealed: dict[str, int] = field(default_factory=dict)
    jitter: float | None = None
    drift: float | None = None

    @property
    def longest_burst(self) -> int:
        """The most packets lost in a row."""
        return max(self.bursts, default=0)

    @property
    def lost_share(self) -> str:
        """The loss in per cent, as ``0.4 % lost``; a loss is never shown as none."""
        if 0 < self.loss < 0.0005:
            return "<0.1 % lost"
        return f"{100 * self.loss:.1f} % lost"

    @property
    def line(self) -> str:
        """The figures that matter most, in one line."""
        heard, sent = "nothing received", "nothing sent"
        if self.packets_received or self.packets_lost:
            heard = self.lost_share
            if self.jitter is not None:
                heard += f", jitter {1000 * self.jitter:.1f} ms"
        if self.packets_sent:
            late = _html.counted(self.late_packets, "late packet")
            sent = f"{late}, worst lag {1000 * self.worst_lag:.1f} ms"
        return f"{heard}, {sent}"

    def to_dict(self) -> dict[str, Any]:
        """Return all figures by name, for JSON or a row of a table."""
        return {**asdict(self), "bursts": list(self.bursts), "longest_burst": self.longest_burst}

    def __str__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{_html.text(name)}</th><td>{_html.text(value)}</td></tr>"
            for name, value in _shown(self)
        )
        body = f"{_html.head('Quality')}<div>{_html.text(self.line)}</div><table>{rows}</table>"
        return _html.boxed(body, self.line)


def _shown(quality: CallQuality) -> list[tuple[str, str]]:
    """Return the figures of a table, with their units."""
    network = {
        "received": quality.packets_received,
        "lost": quality.packets_lost,
        "late": quality.packets_late,
        "duplicate": quality.packets_duplicate,
        "damaged": quality.packets_damaged,
        "reordered": quality.packets_reordered,
        "foreign": quality.packets_foreign,
    }
    rows = [
        ("sent", f"{quality.packets_sent:,} packets, {quality.late_packets:,} late"),
        ("worst lag", f"{1000 * quality.worst_lag:.1f} ms, {quality.skipped:.2f} s skipped"),
        ("heard", ", ".join(f"{count:,} {name}" for name, count in network.items())),
        ("losses", f"{len(quality.bursts):,}, longest {quality.longest_burst:,} packets"),
    ]
    if quality.concealed:
        ways = ", ".join(f"{count:,} {way}" for way, count in quality.concealed.items())
        rows.append(("concealed", f"{ways} (packets)"))
    if quality.drift is not None:
        rows.append(("drift", f"{1000 * quality.drift:+.1f} ms"))
    return rows


def quality_of(packets: Packets, start: float = 0.0, end: float = float("inf")) -> CallQuality:
    """Return the figures of the packets that belong between two times on the call's clock.

    Parameters
    ----------
    packets
        Those of the whole call: what a packet is measured against may lie outside of the stretch.
    start, end
        Seconds on the call's clock; `end` is not part of it.
    """
    every = traffic_of(packets)

    def inside(place: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray((place >= start) & (place < end), np.bool_)

    def count(kind: str) -> int:
        return int(inside(every.places[kind]).sum()) if kind in every.places else 0

    late, duplicate, damaged = count("late"), count("duplicate"), count("damaged")
    in_time = count("received") + damaged
    losses = every.losses.within(start, end)
    lost = int(losses.packets.sum())
    lags = every.lags.within(start, end)
    delays = every.delays.within(start, end)
    return CallQuality(
        packets_sent=count("sent"),
        late_packets=int((lags.lag > LATE).sum()),
        worst_lag=round(float(lags.lag.max(initial=0.0)), 6),
        skipped=round(float(lags.skipped.sum()), 6),
        packets_received=in_time + late + duplicate,
        packets_lost=lost,
        packets_late=late,
        packets_duplicate=duplicate,
        packets_damaged=damaged,
        packets_foreign=count("foreign"),
        packets_reordered=int(inside(every.overtaken).sum()),
        loss=lost / (lost + in_time) if lost else 0.0,
        bursts=tuple(losses.packets.tolist()),
        concealed=_concealed(losses),
        jitter=_jitter(delays),
        drift=_drift(delays),
    )


def _concealed(losses: Losses) -> dict[str, int]:
    """Return for how many packets each method stands in."""
    found: Counter[str] = Counter()
    for ways in set(losses.concealed.tolist()):
        these = losses.concealed == ways
        count, length = losses.packets[these], losses.end[these] - losses.place[these]
        *made_up, last = ways.split("+")
        if last != "fec":
            made_up, copied = [*made_up, last], 0
        else:
            found["fec"] += len(count)
            copied = 1
        most = np.ceil(_MADE_UP / np.maximum(length / count, 1e-9) - 1e-6)
        rest = np.maximum(np.minimum(count - copied, most), 1)
        for way in filter(None, made_up):
            found[way] += int(rest.sum())
    return dict(sorted(found.items()))


def _jitter(delays: Delays) -> float | None:
    """Return J after the last packet, J += (|D| - J) / 16, written out as a weighted sum."""
    if len(delays.delay) < 2:
        return None
    steps = np.where(np.diff(delays.segment), 0.0, np.abs(np.diff(delays.delay)))[-_SETTLED:]
    weights = (15 / 16) ** np.arange(len(steps))[::-1] / 16
    return round(float(steps @ weights), 9)


def _drift(delays: Delays) -> float | None:
    """Return the far clock's gain over the stretch."""
    slope = drift_rate(delays)
    return None if slope is None else round(-slope * float(delays.time[-1] - delays.time[0]), 9)
