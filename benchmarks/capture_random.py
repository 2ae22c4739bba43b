"""Frames that a recording lacks although their packets came, at 1, 5 and 10 % loss and in bursts.

The baseline is aiortc's `MediaRecorder`; placing the same frames by their PTS is given beside it.
`kept_percent` is of those frames that are where they belong and correlate with what was sent by 0.9
or more, the concealed ones among them: just after a loss every decoder deviates a little.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks._loss import (
    Recorded,
    at_random,
    by_pts,
    calls,
    frames_missing,
    kept,
    lost_in,
    media_recorder,
    ours,
    packets_of,
    reference_of,
    report,
    worst_shift,
)
from rtnb.peer import Network

SECONDS = 20.0
SEED = 5
NETWORKS = {
    "1 %": Network(loss=0.01),
    "5 %": Network(loss=0.05),
    "10 %": Network(loss=0.10),
    "2 % in bursts of 5": Network(loss=0.02, burst=5),
}


def percent_kept(one: Recorded, count: int) -> float:
    """Return how many of a call's frames are in a recording, where they belong."""
    return round(100 * float(kept(reference_of(SECONDS), one.samples).sum()) / count, 2)


def main() -> None:
    """Print one JSON line."""
    packets, reference = packets_of(SECONDS), reference_of(SECONDS)
    drops = [at_random(n, len(packets), seed=SEED) for n in NETWORKS.values()]
    groups = [[make() for _ in drops] for make in (ours, media_recorder, by_pts)]
    asyncio.run(calls(packets, [p for g in groups for p in zip(drops, g, strict=True)]))
    rtnb = groups[0]

    def missing(group: Sequence[Recorded]) -> list[int]:
        return [
            frames_missing(reference, one) - len(lost)
            for lost, one in zip(drops, group, strict=True)
        ]

    same = [lost_in(one.gaps) == lost for lost, one in zip(drops, rtnb, strict=True)]
    errors = [worst_shift(reference, o.samples, d) for d, o in zip(drops, rtnb, strict=True)]
    exact = all(len(one.samples) == len(reference) for one in rtnb)
    figures = [missing(group) for group in groups]
    report(
        "capture_random",
        "frames",
        figures[0],
        figures[1],
        target=0,
        met=not any(figures[0]) and all(same) and not any(errors) and exact,
        networks=list(NETWORKS),
        packets=len(packets),
        lost=[len(lost) for lost in drops],
        rtnb_frames_each=figures[0],
        baseline_frames_each=figures[1],
        by_pts_frames_each=figures[2],
        gaps_are_the_drops=same,
        alignment_samples=errors,
        length_exact=exact,
        note=f"target: frames short of what came; medians of {', '.join(NETWORKS)}, where "
        f"MediaRecorder is short of {', '.join(map(str, figures[1]))} frames, and frames placed by "
        f"PTS of {', '.join(map(str, figures[2]))}",
        kept_percent=[[percent_kept(one, len(packets)) for one in group] for group in groups],
    )


if __name__ == "__main__":
    main()
