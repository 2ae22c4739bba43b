"""Drawing the spectrogram of six minutes of 48 kHz audio, against ``Axes.specgram``."""

from __future__ import annotations

import numpy as np

from benchmarks._drawing import SECONDS, compare, plt, speechlike
from rtnb import plots

ROUNDS = 5
TARGET = 0.02


def main() -> None:
    """Print one JSON line."""
    clip = speechlike(SECONDS)

    def naive(axes: plt.Axes) -> None:
        axes.specgram(clip.samples, Fs=clip.sample_rate)

    def ours(axes: plt.Axes) -> None:
        plots.spectrogram(clip, ax=axes)

    with np.errstate(divide="ignore"):  # specgram takes the logarithm of digital silence
        compare("plot_spectrogram", ours, naive, TARGET, rounds=ROUNDS)


if __name__ == "__main__":
    main()
