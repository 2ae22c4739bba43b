"""The axes that a plot goes on, its colours, marks and notes; it must not know what is plotted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rtnb.errors import ConfigurationError
from rtnb.plotting.lettering import PLAIN, legible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "COLUMNS",
    "axes_for",
    "checked_floor",
    "few_ticks",
    "in_a_call",
    "ink",
    "joined",
    "mark_gaps",
    "note",
    "room_beside",
    "room_for",
    "size_of",
    "thinned",
    "tint",
]

# Okabe and Ito's colours, which colour-blind readers can tell apart
COLORS: Final = {"prompt": "#0072b2", "reply": "#d55e00", "tool": "#009e73", "error": "#cc79a7"}
COLUMNS: Final = 2400  # columns of a drawing; more than a page or a screen has

_LONGEST: Final = 1e7  # seconds of a call; a time beyond is damage, and would leave nothing to see
_FEW: Final = 100  # lost spans that are drawn as they are

Spans = Iterable[tuple[float, float]]


def axes_for(ax: Axes | None, *, size: tuple[float, float], right: float = 0.15) -> Axes:
    """Return the axes to draw on: those given, or pyplot's current ones.

    Parameters
    ----------
    ax
        None takes ``plt.gca()``; a figure that pyplot makes for it gets a size of its own.
    size
        Width and height of such a figure, in inches.
    right
        Its right margin, in inches.

    Raises
    ------
    ConfigurationError
        `ax` is something else.
    """
    from matplotlib.axes import Axes

    if ax is None:
        return _current(size, right)
    if not isinstance(ax, Axes):
        raise ConfigurationError(
            f"A plot is drawn on matplotlib Axes, not on {_kind(ax)}; give ax=plt.gca(), or no ax."
        )
    return ax


def checked_floor(floor: float) -> float:
    """Return a lowest level, or raise ConfigurationError where nothing would be above it."""
    if not -math.inf < floor < 0:
        raise ConfigurationError(f"The floor of a plot is a level below 0 dBFS, not {floor:g}.")
    return floor


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1] in "AEIOUaeiou" else f"a {name}"


def _current(size: tuple[float, float], right: float) -> Axes:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    figure: Any = plt.gcf()
    usual = tuple(mpl.rcParams["figure.figsize"])
    if not figure.axes and tuple(figure.get_size_inches()) == usual:
        figure.set_size_inches(*size)
        _give_paper(figure)
        across, down = (1 / inches for inches in size)
        figure.subplots_adjust(1.0 * across, 0.55 * down, 1 - right * across, 1 - 0.15 * down)
    return plt.gca()


def _give_paper(figure: Figure) -> None:
    """Make a see-through figure white: dark text on a dark notebook cannot be read."""
    from matplotlib.colors import to_rgba

    if to_rgba(figure.get_facecolor())[3] < 1:
        figure.set_facecolor("white")


def ink(axes: Axes, strength: float = 0.8) -> tuple[float, float, float]:
    """Return a grey that can be read on these axes, from 0 (like the paper) to 1 (black or white)."""
    from matplotlib.colors import to_rgba

    red, green, blue, alpha = to_rgba(axes.get_facecolor())
    paper = 0.299 * red + 0.587 * green + 0.114 * blue if alpha else 1.0
    grey = 1 - strength if paper > 0.5 else strength
    return (grey, grey, grey)


def tint(axes: Axes, color: str) -> tuple[float, float, float]:
    """Return a colour mixed half with the paper: unlike a see-through one, it never adds up."""
    from matplotlib.colors import to_rgb, to_rgba

    *paper, alpha = to_rgba(axes.get_facecolor())
    mixed = [(c + (p if alpha else 1.0)) / 2 for c, p in zip(to_rgb(color), paper, strict=True)]
    return (mixed[0], mixed[1], mixed[2])


def few_ticks(axes: Axes) -> None:
    """Let the y axis choose at most five ticks, unless its ticks were chosen by someone."""
    from matplotlib.ticker import AutoLocator

    locator = axes.yaxis.get_major_locator()
    if isinstance(locator, AutoLocator):
        locator.set_params(nbins=4)


def size_of(axes: Axes) -> tuple[float, float]:
    """Return the width and the height of axes in points, of which text has its size."""
    box = axes.get_window_extent()
    points = 72 / axes.figure.dpi
    return max(float(box.width) * points, 1.0), max(float(box.height) * points, 1.0)


def room_beside(axes: Axes) -> float:
    """Return the points there are for labels left of axes; infinity where the layout makes room."""
    figure: Any = axes.figure
    grid = axes.get_subplotspec()
    if figure.get_layout_engine() is not None or (grid is not None and not grid.is_first_col()):
        return math.inf
    left = float(axes.get_window_extent().x0 - figure.bbox.x0)
    return max(left * 72 / float(figure.dpi) - 8, 1.0)


def room_for(axes: Axes, lines: Sequence[str]) -> float:
    """Return the share of the height of axes that a note takes, at most half."""
    return min((len(lines) * 10 + 8) / size_of(axes)[1], 0.5) if lines else 0.0


def note(axes: Axes, lines: Sequence[str], *, x: float, y: float | None = None) -> None:
    """Write a small note beginning at `x`, at the top of the axes or at a `y` of the data."""
    if not lines:
        return
    axes.annotate(
        "\n".join(legible(line) for line in lines),
        (x, 1.0 if y is None else y),
        (4, -4),
        xycoords=axes.get_xaxis_transform() if y is None else "data",
        textcoords="offset points",
        annotation_clip=False,
        va="top",
        fontsize=8,
        color=ink(axes),
        clip_on=True,
        zorder=5,
        bbox={"facecolor": axes.get_facecolor(), "alpha": 0.75, "edgecolor": "none", "pad": 1.5},
        **PLAIN,
    )


def mark_gaps(
    axes: Axes, gaps: Spans, *, offset: float = 0.0, rows: tuple[float, float] | None = None
) -> None:
    """Hatch lost spans, as one artist however many there are.

    Parameters
    ----------
    axes
        Where.
    gaps
        (start, end) in seconds.
    offset
        Seconds added to them.
    rows
        Lowest and highest y; None hatches the whole height of the axes.
    """
    spans = sorted(gaps)
    if not spans:
        return
    if len(spans) > _FEW:
        spans = joined(spans, (spans[-1][1] - spans[0][0]) / COLUMNS / 2)
    low, high = (0.0, 1.0) if rows is None else rows
    axes.broken_barh(
        [(offset + start, end - start) for start, end in spans],
        (low, high - low),
        transform=axes.get_xaxis_transform() if rows is None else axes.transData,
        facecolor=(*_rgb(COLORS["error"]), 0.3),
        edgecolor=COLORS["error"],
        hatch="////",
        linewidth=0.5,  # so that a lost packet is seen in an hour
        zorder=3,
        label="_lost",
    )


def _rgb(color: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def joined(spans: Sequence[tuple[float, float]], near: float) -> list[tuple[float, float]]:
    """Join sorted spans that are no farther apart than `near` seconds."""
    out = list(spans[:1])
    for start, end in spans[1:]:
        if start - out[-1][1] <= near:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def in_a_call(time: float) -> bool:
    """Return whether a time can be of a call: a number, and within some months of its beginning."""
    return abs(time) <= _LONGEST  # False of NaN


def thinned(times: Sequence[float], start: float, end: float) -> list[float]:
    """Return the first of the times in each column between two; those outside are left out."""
    at = np.asarray(times, np.float64)
    at = at[(at >= start) & (at <= end)]  # leaves NaN out too
    if len(at) <= COLUMNS // 4:
        return list(at.tolist())
    columns = np.floor((at - start) / max(end - start, 1e-9) * COLUMNS).astype(np.int64)
    return list(at[np.unique(columns, return_index=True)[1]].tolist())
