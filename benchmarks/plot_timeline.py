"""The timeline of a run of 24 turns, six minutes and 10,000 events, drawn for the first time.

It has all that a user sees: words, brackets, lost packets, spans and events. The baseline plots both
sides sample by sample, puts each event on with ``Axes.scatter``, and writes the replies.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import rtnb
from benchmarks._drawing import compare, plt, write_call

ROUNDS = 2  # each takes a minute
TARGET = 0.005
TURNS = 24


def naive(axes: plt.Axes, run: rtnb.Run) -> None:
    """Draw the same as one would at first."""
    for y, clip in ((4, run.audio.clip("sent")), (2, run.audio.clip("heard"))):
        axes.plot(np.arange(len(clip)) / clip.sample_rate, clip.samples + y)
    lanes: dict[str, int] = {}
    for event in run.events:
        axes.scatter(event.time, -lanes.setdefault(event.type, len(lanes)), marker="|")
    for turn in run.turns:
        response = turn.responses[0]
        axes.text(response.created, 3, response.transcript[:20], clip_on=True)


def main() -> None:
    """Print one JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        run = write_call(Path(folder), turns=TURNS)
        compare(
            "plot_timeline",
            lambda axes: run.plot(ax=axes),
            lambda axes: naive(axes, run),
            TARGET,
            rounds=ROUNDS,
        )


if __name__ == "__main__":
    main()
