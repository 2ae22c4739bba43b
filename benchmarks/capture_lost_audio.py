"""Audio that one isolated lost packet costs, and how well ours is concealed, in frames of 20 ms.

The baseline is by how many frames the last stretch of aiortc's `MediaRecorder` is too early, a loss:
its jitter buffer throws away what waits. (The tail that it lacks is not counted; it grows from 4
frames to 14 with the first loss.) Ours lacks the packet itself, marked as a gap, in which the
encoder's FEC of the next packet sounds where there is any.
"""

from __future__ import annotations

import asyncio

from benchmarks._loss import (
    FRAME,
    Placing,
    calls,
    isolated,
    lost_in,
    media_recorder,
    ours,
    packets_of,
    reference_of,
    report,
    snr,
    worst_shift,
)
from rtnb.media.concealing import carries_fec, method

SECONDS = 15.0
LOSSES = 10
RUNS = 3


def main() -> None:
    """Print one JSON line."""
    packets, reference = packets_of(SECONDS), reference_of(SECONDS)
    drops = isolated(LOSSES, len(packets))
    rtnb, baseline = ([make() for _ in range(RUNS)] for make in (ours, media_recorder))
    live = Placing()  # as in a call, which says how each loss was concealed
    asyncio.run(calls(packets, [(drops, one) for one in (*rtnb, *baseline, live)]))
    lost = [worst_shift(reference, one.samples, drops) / FRAME / LOSSES for one in baseline]
    gaps = [lost_in(one.gaps) for one in rtnb]
    with_fec = sum(carries_fec(packets[number + 1]) for number in drops)
    report(
        "capture_lost_audio",
        "frames",
        [len(found) / LOSSES for found in gaps],
        lost,
        target=1,
        met=all(found == drops for found in gaps) and live.concealed.get("fec", 0) == with_fec,
        losses=LOSSES,
        with_fec=with_fec,
        concealed=live.concealed,
        concealing=method(),
        median_snr_db=snr(reference, rtnb[0].samples, drops),
        note=f"of {LOSSES} losses the next packet of {with_fec} has FEC, and from it "
        f"{live.concealed.get('fec', 0)} are concealed",
    )


if __name__ == "__main__":
    main()
