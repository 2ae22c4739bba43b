"""How many packets leave back to back after the process that sends was stopped for 250 ms.

Several calls in rtnb's media process, and as many of bare aiortc with `AudioStreamTrack`: the process
is stopped and let go on, and the most packets that a call sends within 19.5 ms are counted, where its
schedule has one. The figure of a stall is that of the worst call.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import time

import numpy as np
import numpy.typing as npt

from benchmarks._calls import Ours, Theirs, spoken_file
from benchmarks._processes import Child

CALLS = 3
STALL = 0.25
AFTER = 1.0
TOGETHER = 0.0195
RUNS = 5
TARGET = 5


def burst(times: npt.NDArray[np.float64]) -> int:
    """Return the most packets that left within `TOGETHER` seconds."""
    ends = np.searchsorted(times, times + TOGETHER, side="right")
    return int((ends - np.arange(len(times))).max(initial=0))


def stopped(near: Ours | Theirs) -> int:
    """Stop a process for a while, and return the largest burst of any call afterwards."""
    os.kill(near.pid, signal.SIGSTOP)
    time.sleep(STALL)
    resumed = time.monotonic()
    os.kill(near.pid, signal.SIGCONT)
    time.sleep(2 * AFTER)
    return max(burst(one) for one in near.departures(resumed, resumed + AFTER))


def bursts(near: Ours | Theirs) -> list[int]:
    """Return the largest burst after each of some stalls."""
    try:
        for _ in range(CALLS):
            near.call()
        time.sleep(AFTER)
        return [stopped(near) for _ in range(RUNS)]
    finally:
        near.close()


def main() -> None:
    """Print one JSON line."""
    with spoken_file() as path:
        with Child("_far", path) as far:
            ours = bursts(Ours(far, path))
        with Child("_far", path) as far:
            theirs = bursts(Theirs(far, "", watched=True))
    result = {
        "benchmark": "stall_burst",
        "rtnb_packets": max(ours),
        "baseline_packets": statistics.median(theirs),
        "ratio": round(max(ours) / statistics.median(theirs), 4),
        "target": TARGET,
        "met": max(ours) <= TARGET,
        "spread_packets": [max(x) - min(x) for x in (ours, theirs)],
        "runs": RUNS,
        "note": f"the target is of packets; worst of {CALLS} calls and of all stalls, baseline median",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
