"""Processor time of a full-duplex session: an rtnb call against aiortc with MediaPlayer.

Both hold the same number of calls to the same bare aiortc far end, which speaks all the time. The
baseline plays the same file through `MediaPlayer` and drains its receiver, keeping nothing; ours
plays it as a prompt and records both sides to disk. What counts is all the processor time of the
process that holds the calls, threads included.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

from benchmarks._calls import Ours, Theirs, spoken_file
from benchmarks._processes import Child, cpu_seconds

SESSIONS = 6
SECONDS = 8.0
SETTLED = 2.5
RUNS = 3
TARGET = 0.55


def share(make: Callable[[Child], Ours | Theirs], path: str) -> float:
    """Return the share of a core that one session takes, as a fraction."""
    with Child("_far", path) as far:
        near = make(far)
        try:
            for _ in range(SESSIONS):
                near.call()
            time.sleep(SETTLED)
            began, used = time.monotonic(), cpu_seconds(near.pid)
            time.sleep(SECONDS)
            used = cpu_seconds(near.pid) - used
            return used / (time.monotonic() - began) / SESSIONS
        finally:
            near.close()


def main() -> None:
    """Print one JSON line."""
    with spoken_file() as path:
        ours, theirs = [], []
        for _ in range(RUNS):  # in turns, so that a noisy machine is noisy for both
            ours.append(100 * share(lambda far: Ours(far, path), path))
            theirs.append(100 * share(lambda far: Theirs(far, path), path))
    ratio = statistics.median(ours) / statistics.median(theirs)
    result = {
        "benchmark": "session_cpu",
        "rtnb_percent": round(statistics.median(ours), 2),
        "baseline_percent": round(statistics.median(theirs), 2),
        "ratio": round(ratio, 4),
        "target": TARGET,
        "met": ratio <= TARGET,
        "spread_percent": [round(max(x) - min(x), 2) for x in (ours, theirs)],
        "runs": RUNS,
        "note": f"percent of one core, {SESSIONS} sessions in one process",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
