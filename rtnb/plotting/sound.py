"""Waveform and level of a clip; it draws what is there, and must not measure a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.audio import Clip
from rtnb.errors import ConfigurationError
from rtnb.measure import AUDIBLE_LEVEL
from rtnb.plotting.canvas import (
    COLORS,
    COLUMNS,
    axes_for,
    checked_floor,
    few_ticks,
    ink,
    mark_gaps,
    note,
    room_for,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["checked_clip", "fill", "level", "outline", "peculiarities", "waveform"]

_FULL_SCALE: Final = 32767 / 32768  # from here on a 16-bit sample can be no larger
_WINDOW: Final = 0.020  # seconds
_WINDOWS_AT_ONCE: Final = 512
_AT_ONCE: Final = 1 << 16  # samples looked at together
_PERIOD: Final = 0.020  # seconds; the lowest voices have 50 Hz
_THIN: Final = 1 / 300  # of the whole height: about a pixel
_SIZE: Final = (8.0, 2.6)  # inches

Floats = npt.NDArray[np.float32]


def checked_clip(clip: Any) -> Clip:
    """Return a clip, or raise ConfigurationError naming what was given instead."""
    if not isinstance(clip, Clip):
        raise ConfigurationError(
            f"This plot takes a Clip, not {type(clip).__name__}; "
            "make one with rtnb.Clip(samples, sample_rate)."
        )
    return clip


def waveform(
    clip: Clip,
    *,
    ax: Axes | None = None,
    offset: float = 0.0,
    color: str | None = None,
    label: str | None = None,
    center: float = 0.0,
    scale: float = 1.0,
) -> Axes:
    """Draw a clip as the envelope of its minima and maxima, in at most 2,400 columns.

    Parameters
    ----------
    clip
        The audio. One that is empty, silent, a single sample or at full scale is said to be so.
    ax
        Where to draw; None takes pyplot's current axes.
    offset
        Seconds at which the clip begins on the x axis.
    color, label
        As matplotlib takes them; no color is that of the clip's role.
    center, scale
        The y value of silence, and of full scale above it.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds on the x axis; gaps are hatched.

    Raises
    ------
    ConfigurationError
        `clip` is no Clip, or `ax` no Axes.
    """
    checked_clip(clip)
    axes = axes_for(ax, size=_SIZE)
    color = COLORS[clip.role] if color is None else color
    plain = (center, scale) == (0.0, 1.0)
    axes.set_xlabel("time (s)")
    if ax is None and plain:
        axes.set_ylabel("amplitude (full scale 1)")
    if plain:
        few_ticks(axes)
    low, high = outline(clip.samples)
    said = peculiarities(clip, (low, high))
    if plain:  # as far below silence as above it, with room there for the note
        reach = float(max(-low.min(initial=0.0), high.max(initial=0.0)))
        room = min(2.2 * room_for(axes, said), 0.75)  # with margins, of the upper half
        reach = max(reach, 0.04 if said else 0.0) / (1 - room)
        axes.update_datalim([(offset, -reach), (offset, reach)])
    if len(low) < 2:  # too short to have an area
        tip = center + scale * float(low.sum())
        axes.plot([offset, offset], [center, tip], ".-", color=color, markevery=[1])
    times = offset + np.linspace(0, clip.duration, len(low))
    fill(axes, times, (center + scale * low, center + scale * high), color=color, label=label)
    rows = None if plain else (center - abs(scale), center + abs(scale))
    mark_gaps(axes, clip.gaps, offset=offset, rows=rows)
    note(axes, said, x=offset, y=None if rows is None else rows[1])
    return axes


def fill(
    axes: Axes,
    times: npt.NDArray[np.float64],
    limits: tuple[Floats, Floats],
    *,
    color: str,
    label: str | None = None,
) -> None:
    """Fill the area between two outlines, so that the thinnest part of it is seen.

    Columns shorter than a period of speech swing with it, and get an edge; the area of longer ones
    is solid without (an edge takes twice as long to draw), save for a line where it is thin.
    """
    low, high = limits
    short = len(times) < 2 or times[1] - times[0] < _PERIOD
    edge = color if short else "none"
    axes.fill_between(times, low, high, facecolor=color, edgecolor=edge, linewidth=0.4, label=label)
    if short:
        return
    heights = high - low
    thin = heights <= _THIN * float(high.max() - low.min())
    if thin.any():
        axes.plot(times, np.where(thin, low + heights / 2, np.nan), color=color, linewidth=0.6)


def outline(samples: Floats) -> tuple[Floats, Floats]:
    """Return minimum and maximum of each of at most 2,400 equal parts, read through once.

    Parameters
    ----------
    samples
        Shape (n,).
    """
    count = min(COLUMNS, len(samples))
    edges = np.linspace(0, len(samples), count + 1).astype(np.int64)
    low, high = np.empty(count, np.float32), np.empty(count, np.float32)
    step = max(_AT_ONCE * count // max(len(samples), 1), 1)
    for one in range(0, count, step):  # few at a time: the second look finds them in the cache
        end = min(one + step, count)
        part, starts = samples[edges[one] : edges[end]], edges[one:end] - edges[one]
        np.minimum.reduceat(part, starts, out=low[one:end])
        np.maximum.reduceat(part, starts, out=high[one:end])
    return low, high


def peculiarities(clip: Clip, limits: tuple[Floats, Floats]) -> list[str]:
    """Return as one line, or none, that a clip is empty, silent, short or clipped.

    Parameters
    ----------
    clip
        The audio.
    limits
        Its `outline`.
    """
    if not len(clip):
        return ["empty: no samples"]
    said = ["one sample"] if len(clip) == 1 else []
    low, high = limits
    if not low.any() and not high.any():
        said.append("silent: every sample is 0")
    clipped = _clipped(clip.samples, limits)
    if clipped:
        said.append(f"clipped: {clipped:,} samples at full scale")
    return ["; ".join(said)] if said else []


def _clipped(samples: Floats, limits: tuple[Floats, Floats]) -> int:
    """Return what `Clip.clipped` does, looking only at columns that reach full scale."""
    low, high = limits
    edges = np.linspace(0, len(samples), len(low) + 1).astype(np.int64)
    count = 0
    for column in np.flatnonzero((high >= _FULL_SCALE) | (low <= -_FULL_SCALE)):
        start, end = int(edges[column]), int(edges[column + 1])
        before = max(start - 2, 0)  # two samples more at either end complete a row of three
        full = np.abs(samples[before : end + 2]) >= _FULL_SCALE
        near = np.pad(full, 2)
        two = near[1:] & near[:-1]
        three = two[1:] & two[:-1]  # begins at each place, from two before the first
        rows = three[:-2] | three[1:-1] | three[2:]
        count += int(rows[start - before : end - before].sum())
    return count


def level(
    clip: Clip,
    *,
    ax: Axes | None = None,
    offset: float = 0.0,
    color: str | None = None,
    label: str | None = None,
    floor: float = -90.0,
    threshold: float | None = AUDIBLE_LEVEL,
) -> Axes:
    """Draw the level of a clip over time: the RMS of 20 ms windows, the loudest of each column.

    Parameters
    ----------
    clip
        The audio. One that is empty, silent, a single sample or at full scale is said to be so.
    ax
        Where to draw; None takes pyplot's current axes.
    offset
        Seconds at which the clip begins on the x axis.
    color, label
        As matplotlib takes them; no color is that of the clip's role.
    floor
        The lowest level shown, in dBFS; what is quieter is drawn there.
    threshold
        A level to mark with a line, in dBFS; the usual one is that from which a reply counts as
        audible. None marks none.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds on the x axis, dBFS on the y axis (a full-scale sine has -3.01); gaps are hatched.

    Raises
    ------
    ConfigurationError
        `clip` is no Clip, `ax` no Axes, or the floor is not below 0.
    """
    checked_clip(clip)
    checked_floor(floor)
    axes = axes_for(ax, size=_SIZE)
    color = COLORS[clip.role] if color is None else color
    times, levels = _levels(clip)
    shown = np.maximum(levels, floor)
    # above a note that a later layout leaves too little room for
    axes.plot(offset + times, shown, color=color, label=label, linewidth=1.0, zorder=6)
    if len(shown) < 2:
        axes.plot(offset + times, shown, ".", color=color)
    axes.update_datalim([(offset, floor), (offset + max(clip.duration, _WINDOW), floor)])
    axes.autoscale_view(scaley=False)
    said = peculiarities(clip, outline(clip.samples))
    if threshold is not None and _mark_threshold(axes, threshold):
        name = "audible from " if threshold == AUDIBLE_LEVEL else ""
        said.append(f"dashed: {name}{threshold:g} dBFS".replace("-", "\u2212"))
    top = axes.get_ylim()[1] if axes.get_autoscaley_on() is False else 0.0
    low, high = floor - 3, max(float(shown.max(initial=0.0)), 0.0) + 3
    axes.set_ylim(low, max(low + (high - low) / (1 - room_for(axes, said)), top))
    axes.set_xlabel("time (s)")
    axes.set_ylabel("level (dBFS)")
    mark_gaps(axes, clip.gaps, offset=offset)
    note(axes, said, x=offset)
    return axes


def _mark_threshold(axes: Axes, threshold: float) -> bool:
    """Draw the line of a threshold unless it is there, of another clip; return whether it was."""
    if any(line.get_label() == "_threshold" for line in axes.lines):
        return False
    axes.axhline(threshold, color=ink(axes, 0.6), linestyle="--", linewidth=0.8, label="_threshold")
    return True


def _levels(clip: Clip) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return seconds and dBFS of at most 2,400 columns."""
    if not len(clip):
        return np.zeros(0), np.zeros(0)
    window = max(round(_WINDOW * clip.sample_rate), 1)
    power = np.concatenate(list(_powers(clip.samples, window)))
    edges = np.linspace(0, len(power), min(COLUMNS, len(power)) + 1).astype(np.int64)[:-1]
    levels = 10 * np.log10(np.maximum(np.maximum.reduceat(power, edges), 1e-12))
    middles = (edges * window + np.minimum((edges + 1) * window, len(clip))) / 2
    return middles / clip.sample_rate, levels


def _powers(samples: Floats, window: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the mean squares of whole windows, and that of what is left at the end."""
    whole = len(samples) // window * window
    for at in range(0, whole, window * _WINDOWS_AT_ONCE):
        rows = samples[at : min(at + window * _WINDOWS_AT_ONCE, whole)].reshape(-1, window)
        yield np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / window
    if whole < len(samples):
        rest = samples[whole:].astype(np.float64)
        yield np.array([rest @ rest / len(rest)])
