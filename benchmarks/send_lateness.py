"""How late packets leave while the user's process works 250 ms of each second, for 20 s.

Ours is a session in this process, whose media process sends; the work is done here. The baseline is
bare aiortc with its own `AudioStreamTrack` on the loop that does the same work in turn, as in a
notebook. Both run at once, half a second apart, and both are seen at the socket. Three kinds of work
are tried; the figures are those of the worst.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import numpy as np

import rtnb
from benchmarks._calls import lateness, spoken_file
from benchmarks._processes import Child
from benchmarks._work import PERIOD, SECONDS, WORK
from rtnb.packets import read_packets

TARGET = 0.02
SETTLED = 2.0
ON_DISK = 1.0


def ours(peer: rtnb.Peer, kind: str, began: float) -> float:
    """Return the 99th percentile of the lateness of a session's packets, in seconds."""
    prompt = rtnb.Clip.tone(440, SECONDS * PERIOD, level=-30.0)
    with rtnb.connect(peer, turn_detection=None) as session:
        session.send(prompt)
        for second in range(SECONDS):
            time.sleep(max(0.0, began + second * PERIOD - time.monotonic()))
            WORK[kind]()
        ended = time.monotonic()
        time.sleep(ON_DISK)
        sent = read_packets(session.folder).of("sent")
        times = sent.time + session._started
        late = lateness(times, sent.position)[(times >= began) & (times < ended)]
    return float(np.percentile(late, 99))


def pair(peer: rtnb.Peer, kind: str, path: str) -> tuple[float, float]:
    """Return the 99th percentiles of ours and of the baseline, in seconds."""
    with Child("_far", path) as far, Child("_kernel", kind) as kernel:
        offer = kernel.ask({"open": True})
        kernel.ask({"answer": far.ask({"offer": offer})})
        began = time.monotonic() + SETTLED
        late: list[Any] = []
        question = {"work": began + PERIOD / 2}  # it works while ours does not
        waiting = threading.Thread(target=lambda: late.extend(kernel.ask(question)))
        waiting.start()
        result = ours(peer, kind, began)
        waiting.join()
    return result, float(np.percentile(late, 99))


def main() -> None:
    """Print one JSON line."""
    for work in WORK.values():
        work()  # the first time imports what is not imported yet
    with spoken_file() as path, rtnb.Peer() as peer:
        pairs = {kind: pair(peer, kind, path) for kind in WORK}
    ratios = {kind: ours_s / theirs_s for kind, (ours_s, theirs_s) in pairs.items()}
    worst = max(ratios, key=lambda kind: ratios[kind])
    result = {
        "benchmark": "send_lateness",
        "rtnb_ms": round(pairs[worst][0] * 1000, 2),
        "baseline_ms": round(pairs[worst][1] * 1000, 2),
        "ratio": round(ratios[worst], 4),
        "target": TARGET,
        "met": ratios[worst] <= TARGET,
        "spread_ms": [
            round((max(x) - min(x)) * 1000, 2) for x in zip(*pairs.values(), strict=True)
        ],
        "runs": len(pairs),
        "detail_ms": {k: [round(x * 1000, 2) for x in both] for k, both in pairs.items()},
        "note": f"p99 of the worst of {', '.join(pairs)}; the spread is between them",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
