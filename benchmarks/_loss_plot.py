"""``python -m benchmarks._loss_plot``: draw loss against audio kept into docs/images/loss_kept.png.

The same calls as in the benchmarks of capture, several for each rate of loss. A frame of 20 ms is
kept if it is where it belongs and correlates with what was sent by 0.9 or more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks._loss import (
    FRAME,
    at_random,
    by_pts,
    calls,
    kept,
    media_recorder,
    ours,
    packets_of,
    reference_of,
)
from rtnb.peer import Network

IMAGE = Path(__file__).parents[1] / "docs" / "images" / "loss_kept.png"
SECONDS = 20.0
RATES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.10, 0.15, 0.20)
SEEDS = (1, 2, 3)  # of one call each
ANYWHERE = "MediaRecorder, frames anywhere"
LINES = {  # in the order in which they lie on the page
    "rtnb, lost frames concealed": {"color": "#0072b2", "marker": "o"},
    "rtnb, lost frames silent": {"color": "#56b4e9", "marker": "o", "linestyle": "--"},
    "frames placed by PTS": {"color": "#e69f00", "marker": "s"},
    ANYWHERE: {"color": "#d55e00", "marker": "v", "linestyle": ":"},
    "MediaRecorder": {"color": "#d55e00", "marker": "v"},
}

Figures = dict[str, list[list[float]]]


def measured() -> Figures:
    """Return the percentages that are kept: by line, by rate, of each call."""
    packets, reference = packets_of(SECONDS), reference_of(SECONDS)
    count = len(packets)
    figures: Figures = {name: [[] for _ in RATES] for name in LINES}
    for seed in SEEDS:
        drops = [at_random(Network(loss=rate), count, seed=seed) for rate in RATES]
        groups = [[make() for _ in RATES] for make in (ours, by_pts, media_recorder)]
        asyncio.run(calls(packets, [p for g in groups for p in zip(drops, g, strict=True)]))
        for place, lost in enumerate(drops):
            mine, placed, theirs = (group[place].samples for group in groups)
            found = {
                "rtnb, lost frames concealed": kept(reference, mine).sum(),
                "rtnb, lost frames silent": kept(reference, mine, but=lost).sum(),
                "frames placed by PTS": kept(reference, placed).sum(),
                "MediaRecorder": kept(reference, theirs).sum(),
                ANYWHERE: len(theirs) / FRAME,
            }
            for name, number in found.items():
                figures[name][place].append(round(100 * float(number) / count, 3))
    return figures


def draw(figures: Figures, path: Path) -> None:
    """Draw the medians as lines and the calls as a range around them."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    rates = [100 * rate for rate in RATES]
    for name, style in LINES.items():
        of_each = figures[name]
        middle = [statistics.median(values) for values in of_each]
        chosen: dict[str, Any] = {"linewidth": 2, "markersize": 5, **style}
        axes.plot(rates, middle, label=name, **chosen)
        low, high = ([f(values) for values in of_each] for f in (min, max))
        axes.fill_between(rates, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axes.set(xlabel="packets lost at random (%)", ylabel="audio kept where it belongs (%)")
    axes.set(xlim=(-0.3, rates[-1] + 0.3), ylim=(0, 103), xticks=[0, 1, 2, 3, 5, 7, 10, 15, 20])
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(0.09, 0.52), frameon=False)
    axes.set_title(f"The same calls of {SECONDS:g} s of speech, heard in several ways", loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure and draw; with ``--read FILE`` draw what ``--json FILE`` has kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--read", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, default=IMAGE)
    asked = parser.parse_args()
    figures = json.loads(asked.read.read_text(encoding="utf-8")) if asked.read else measured()
    if asked.json:
        asked.json.write_text(json.dumps(figures), encoding="utf-8")
    draw(figures, asked.out)


if __name__ == "__main__":
    main()
