"""Lasting delay after one lost packet: how much later audio is there from a second after it on.

From the departure of a packet to the time its samples are there: from `recv` of aiortc's track for
the baseline, in a call's capture for rtnb, decoded and placed. The figure is the median after the
loss less the median before it. A call of rtnb's writes what is placed a third of a second later,
with a loss or without: that wait is in neither median.
"""

from __future__ import annotations

import asyncio
import statistics

from benchmarks._loss import Frames, Placing, calls, packets_of, report

SECONDS = 7.0
LOST = 150  # which packet
AFTER = 50  # packets after the loss that are not looked at
SETTLED = 60  # packets at the beginning that are not
TARGET = 20.0  # ms
RUNS = 3


def delays(listener: Frames | Placing) -> tuple[float, float]:
    """Return the median delay before the loss and well after it, in milliseconds."""
    took = [(number, time - listener.departures[number]) for number, time in listener.came]
    before = [delay for number, delay in took if SETTLED <= number < LOST]
    after = [delay for number, delay in took if number > LOST + AFTER]
    return 1000 * statistics.median(before), 1000 * statistics.median(after)


def main() -> None:
    """Print one JSON line."""
    rtnb = [Placing() for _ in range(RUNS)]
    baseline = [Frames() for _ in range(RUNS)]
    asyncio.run(calls(packets_of(SECONDS), [((LOST,), one) for one in (*rtnb, *baseline)]))
    ours, theirs = ([delays(one) for one in group] for group in (rtnb, baseline))
    lasting = [[after - before for before, after in group] for group in (ours, theirs)]
    report(
        "capture_delay",
        "ms",
        *lasting,
        target=TARGET,
        met=max(lasting[0]) < TARGET,
        rtnb_before_ms=round(statistics.median(before for before, _ in ours), 2),
        baseline_before_ms=round(statistics.median(before for before, _ in theirs), 2),
        note="target: under 20 ms; from departure to decoded and placed, which took "
        f"{statistics.median(b for b, _ in ours):.2g} ms before the loss and "
        f"{statistics.median(b for b, _ in theirs):.3g} ms in aiortc's track; a call of rtnb's writes "
        "it 300 ms later, with a loss or without",
    )


if __name__ == "__main__":
    main()
