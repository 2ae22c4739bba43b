"""Samples that a recording lacks of a call in which no packet is lost, its tail included.

The baseline is aiortc's `MediaRecorder`, which never gets the last four packets of the jitter buffer.
Opus's look-ahead at the beginning, 312 samples that are no sound of the speaker's, is not counted.
"""

from __future__ import annotations

import asyncio

import numpy as np

from benchmarks._loss import calls, media_recorder, ours, packets_of, reference_of, report
from rtnb.media.opus import LOOK_AHEAD

SECONDS = 6.0
RUNS = 3


def main() -> None:
    """Print one JSON line."""
    baseline = [media_recorder() for _ in range(RUNS)]
    rtnb = [ours() for _ in range(RUNS)]
    asyncio.run(calls(packets_of(SECONDS), [((), one) for one in (*baseline, *rtnb)]))
    reference = reference_of(SECONDS)
    missing = [[len(reference) - len(one.samples) for one in group] for group in (rtnb, baseline)]
    same = all(np.array_equal(o.samples[LOOK_AHEAD:], reference[LOOK_AHEAD:]) for o in rtnb)
    report(
        "capture_tail",
        "samples",
        *missing,
        target=0,
        met=not any(missing[0]) and same,
        identical=same,
        note=f"without Opus's look-ahead, the first {LOOK_AHEAD} samples of a decoder, which "
        "rtnb leaves out on purpose",
    )


if __name__ == "__main__":
    main()
