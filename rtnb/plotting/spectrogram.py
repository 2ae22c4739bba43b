"""The spectrogram of a clip, in bounded work and memory; it must not know a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.audio import Clip
from rtnb.errors import ConfigurationError
from rtnb.plotting.canvas import axes_for, checked_floor, mark_gaps, note
from rtnb.plotting.sound import checked_clip, outline, peculiarities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["spectrogram"]

_COLUMNS: Final = 800
_WINDOW: Final = 0.020  # seconds; 50 Hz apart, and short enough for syllables
_WINDOWS: Final = 3  # of one column at most
_AT_ONCE: Final = 64  # columns computed together
_SIZE: Final = (8.0, 3.2)  # inches

Floats = npt.NDArray[np.float32]


def spectrogram(
    clip: Clip,
    *,
    ax: Axes | None = None,
    offset: float = 0.0,
    max_frequency: float | None = None,
    floor: float = -90.0,
    cmap: str = "magma",
    colorbar: bool | None = None,
) -> Axes:
    """Draw how the level of a clip is spread over frequencies, as one image.

    There are at most 800 columns, each the mean of at most three Hann windows of 20 ms. In a clip
    of more than 48 s these do not cover all of a column: the windows are spread evenly over it,
    and a click between them is not seen (in a waveform it is).

    Parameters
    ----------
    clip
        The audio. One that is empty, silent, a single sample or at full scale is said to be so.
    ax
        Where to draw; None takes pyplot's current axes.
    offset
        Seconds at which the clip begins on the x axis.
    max_frequency
        The highest frequency shown, in Hz; None shows all, up to half the sample rate.
    floor
        The level of the darkest colour, in dBFS. A full-scale sine has 0.
    cmap
        A colormap of matplotlib.
    colorbar
        Draw the scale beside the axes; None does so where `ax` is None.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds on the x axis, Hz on the y axis; gaps are hatched.

    Raises
    ------
    ConfigurationError
        `clip` is no Clip, `ax` no Axes, or an option is out of range.
    """
    top = _highest(checked_clip(clip), max_frequency)
    checked_floor(floor)
    axes = axes_for(ax, size=_SIZE, right=0.6)
    window = max(round(_WINDOW * clip.sample_rate), 2)
    levels = _levels(clip.samples, window, int(top / clip.sample_rate * window) + 1)
    half = clip.sample_rate / window / 2  # a bin is drawn around its frequency
    end = offset + max(clip.duration, _WINDOW)
    image = axes.imshow(
        np.maximum(levels, floor),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(offset, end, -half, levels.shape[0] * 2 * half - half),
        cmap=cmap,
        vmin=floor,
        vmax=0.0,
    )
    axes.set_ylim(0, top)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("frequency (Hz)")
    mark_gaps(axes, clip.gaps, offset=offset)
    note(axes, peculiarities(clip, outline(clip.samples)), x=offset)
    if colorbar or (colorbar is None and ax is None):
        figure: Any = axes.figure
        figure.colorbar(image, ax=axes, label="dBFS", pad=0.015, fraction=0.05)
    return axes


def _highest(clip: Clip, max_frequency: float | None) -> float:
    half = clip.sample_rate / 2
    if max_frequency is None:
        return half
    if not 0 < max_frequency < float("inf"):
        raise ConfigurationError(f"A highest frequency is above 0 Hz, not {max_frequency!r}.")
    return min(float(max_frequency), half)


def _levels(samples: Floats, window: int, bins: int) -> Floats:
    """Return dBFS of the lowest `bins` frequencies (rows) in each column."""
    if not len(samples):
        return np.full((bins, 1), -200.0, np.float32)
    if len(samples) < window:
        before = (window - len(samples)) // 2  # in the middle, where the window weighs most
        samples = np.pad(samples, (before, window - len(samples) - before))
    last = len(samples) - window  # where the last window may begin
    columns = min(_COLUMNS, last // (window // 4) + 1)
    each = min(_WINDOWS, max(-(-last // (columns * window)), 1))
    starts = np.linspace(0, last, columns * each).astype(np.int64).reshape(columns, each)
    windows = np.lib.stride_tricks.sliding_window_view(samples, window)
    taper = np.hanning(window + 1)[:-1].astype(np.float32)
    taper *= 2 / taper.sum()  # a full-scale sine has an amplitude of 1
    out = np.empty((bins, columns), np.float32)
    for one in range(0, columns, _AT_ONCE):
        spectra = np.fft.rfft(windows[starts[one : one + _AT_ONCE]] * taper)[..., :bins]
        power = (spectra.real**2 + spectra.imag**2).mean(axis=1)
        out[:, one : one + _AT_ONCE] = 10 * np.log10(np.maximum(power, 1e-20)).T
    return out
