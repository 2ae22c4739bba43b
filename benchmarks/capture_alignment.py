"""Alignment error of a recording after isolated lost packets, by correlation between the losses.

The baseline is aiortc's `MediaRecorder`: about 4,800 samples a loss.
"""

from __future__ import annotations

import asyncio

from benchmarks._loss import (
    calls,
    isolated,
    media_recorder,
    ours,
    packets_of,
    reference_of,
    report,
    worst_shift,
)

SECONDS = 12.0
LOSSES = (1, 3, 6)  # of each call


def main() -> None:
    """Print one JSON line."""
    packets, reference = packets_of(SECONDS), reference_of(SECONDS)
    drops = [isolated(count, len(packets)) for count in LOSSES]
    rtnb, baseline = [ours() for _ in LOSSES], [media_recorder() for _ in LOSSES]
    asyncio.run(
        calls(packets, [*zip(drops, rtnb, strict=True), *zip(drops, baseline, strict=True)])
    )
    errors = [
        [worst_shift(reference, one.samples, lost) for lost, one in zip(drops, group, strict=True)]
        for group in (rtnb, baseline)
    ]
    exact = all(len(one.samples) == len(reference) for one in rtnb)
    per_loss = [round(e / n) for e, n in zip(errors[1], LOSSES, strict=True)]
    report(
        "capture_alignment",
        "samples",
        *errors,
        target=0,
        met=not any(errors[0]) and exact,
        losses=list(LOSSES),
        baseline_samples_each=errors[1],
        baseline_samples_per_loss=per_loss,
        length_exact=exact,
        note=f"medians of calls with {LOSSES[0]}, {LOSSES[1]} and {LOSSES[2]} losses; "
        f"MediaRecorder's errors are {', '.join(f'{e:,}' for e in errors[1])} samples",
    )


if __name__ == "__main__":
    main()
