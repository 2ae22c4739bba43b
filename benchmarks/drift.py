"""Whether a call's clock runs away: departures over 60 s against the schedule.

A session with the peer for a minute. Drift is the slope of a line through the departures less their
schedule, times the length of the call; the line is laid through the promptest packet of each second,
so that single late ones do not tilt it. The same is done with what the peer noted of these packets'
arrivals and of its own departures, and with our record of the latter.
"""

from __future__ import annotations

import json
import time

import numpy as np
import numpy.typing as npt

import rtnb
from benchmarks._calls import lateness
from rtnb.packets import read_packets

SECONDS = 60.0
TARGET = 3.0
ON_DISK = 1.0

Floats = npt.NDArray[np.float64]


def drift_ms(times: Floats, stamps: npt.NDArray[np.int64]) -> float:
    """Return by how many milliseconds packets ran away from their own timestamps."""
    late = lateness(times, stamps)
    seconds = (times - times[0]).astype(int)
    promptest = [late[seconds == second].min() for second in range(seconds[-1])]
    return float(np.polyfit(np.arange(len(promptest)), promptest, 1)[0]) * len(promptest) * 1000


def main() -> None:
    """Print one JSON line."""
    with rtnb.Peer() as peer:
        with rtnb.connect(peer) as session:
            time.sleep(SECONDS + ON_DISK)
            packets = read_packets(session.folder)
            skipped = session.stats()["skipped"]
        log = peer.log().calls[-1]
    sent, heard = packets.of("sent"), packets.of("received")
    figures = {
        "departures": drift_ms(sent.time, sent.position),
        "arrivals_at_the_peer": drift_ms(log.arrivals["time"], log.arrivals["timestamp"]),
        "departures_of_the_peer": drift_ms(log.departures["time"], log.departures["timestamp"]),
        "arrivals_here": drift_ms(heard.time, heard.position),
    }
    worst = max(abs(value) for value in figures.values())
    result = {
        "benchmark": "drift",
        "rtnb_ms": round(worst, 3),
        "baseline_ms": None,
        "ratio": None,
        "target": TARGET,
        "met": worst < TARGET and not skipped,
        "spread_ms": round(max(figures.values()) - min(figures.values()), 3),
        "runs": 1,
        "detail_ms": {name: round(value, 3) for name, value in figures.items()},
        "note": f"worst of four logs over {SECONDS:.0f} s; {skipped} s were skipped",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
