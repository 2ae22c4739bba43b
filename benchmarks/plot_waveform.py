"""Drawing six minutes of 48 kHz audio as a waveform, against plotting every sample."""

from __future__ import annotations

import numpy as np

from benchmarks._drawing import SECONDS, compare, plt, speechlike
from rtnb import plots

ROUNDS = 3
TARGET = 0.01


def main() -> None:
    """Print one JSON line."""
    clip = speechlike(SECONDS)

    def naive(axes: plt.Axes) -> None:
        axes.plot(np.arange(len(clip)) / clip.sample_rate, clip.samples)

    def ours(axes: plt.Axes) -> None:
        plots.waveform(clip, ax=axes)

    compare("plot_waveform", ours, naive, TARGET, rounds=ROUNDS)


if __name__ == "__main__":
    main()
