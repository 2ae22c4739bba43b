"""What the first audio of turns waited for, as bars to scale; it must not measure anything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.errors import ConfigurationError
from rtnb.measure import Latency
from rtnb.plotting.canvas import COLORS, axes_for, in_a_call, ink, note, room_beside, size_of
from rtnb.plotting.lettering import PLAIN, fitted, font_families, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["STAGES", "latency"]

# what is waited for, by the mark that ends it; the first and the last as in a timeline
STAGES: Final = {
    "speech_stopped": COLORS["prompt"],
    "committed": "#56b4e9",
    "response_created": "#8c8c8c",
    "first_packet": "#e69f00",
    "first_audible": COLORS["reply"],
}
_WIDTH: Final = 10.0  # inches
_BARS: Final = 60  # turns that have a bar of their own
_ROWS: Final = 600  # rows that more turns are drawn in
_LETTERS: Final = 8.0  # points
_LEAST: Final = 5.0  # points of the smallest letters
_WIDEST: Final = 70.0  # points of a turn's name
_LINE: Final = 11.0  # points of a line of the stages' names
_BESIDE: Final = 2.3  # letters of space between these names, with their squares
_MANY: Final = 10  # latencies of which a ninetieth percentile is drawn
_UNSCORED: Final = ("missed", "censored", "excluded")


def latency(measured: Any, *, ax: Axes | None = None) -> Axes:
    """Draw what the first audio of each turn waited for, as bars one below the other.

    A bar begins at the end of speech and ends with the first audible sample of the reply; its
    colours are the stages between, named at the top. A stage that is not known is part of the next
    one, and one whose mark came early has no length. A turn that was not answered says so in its
    row. Lines are the median of those that were answered and, of ten or more, the 90th percentile.

    More than 60 turns are drawn without their names, the fastest at the top and what was not
    answered at the bottom, in at most 600 rows, so that thousands take no more than hundreds.

    Parameters
    ----------
    measured
        A `Session`, a `Run`, a `Batch` or other list of turns, `Latencies`, a `Turn`, or latencies.
    ax
        Where to draw; None takes pyplot's current axes.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds after the end of speech on the x axis, turns on the y axis.

    Raises
    ------
    ConfigurationError
        `measured` is none of these, or `ax` no Axes.
    """
    several = _several(measured)
    rows = [_row(*row) for row in zip(_names(measured, several), several, strict=True)]
    few = len(rows) <= _BARS
    height = 1.0 + 0.22 * max(len(rows), 3) if few else 4.5
    axes = axes_for(ax, size=(_WIDTH, height))
    first = [row.seconds for row in rows if row.seconds is not None and not row.verdict]
    longest = max([*(float(row.ends[-1]) for row in rows), 0.0])
    axes.set_xlim(0.0, longest * 1.12 or 1.0)
    top = _draw_bars(axes, rows) if few else _draw_sorted(axes, rows)
    label, lines = "seconds after the end of speech", _draw_lines(axes, first, top)
    fits = width_of(f"{label} {lines}", 10.0) < size_of(axes)[0]
    axes.set_xlabel(f"{label}{' ' if fits else chr(10)}{lines}".strip())
    axes.grid(axis="x", alpha=0.3)
    return axes


# --- what is drawn -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A turn: its name, the end of each of `STAGES`, and what is said where it has no reply."""

    name: str
    ends: npt.NDArray[np.float64]  # seconds after the end of speech, never falling
    seconds: float | None
    verdict: str
    reason: str


def _several(measured: Any) -> list[Any]:
    """Return turns or latencies."""
    if isinstance(measured, Latency) or isinstance(getattr(measured, "latency", None), Latency):
        return [measured]
    inside = getattr(measured, "turns", measured)
    if isinstance(inside, Iterable) and not isinstance(inside, str | bytes):
        several = list(inside)
        if all(isinstance(_latency_of(one), Latency) for one in several):
            return several
    raise ConfigurationError(
        "A latency waterfall is drawn of a Session, a Run, turns or latencies, "
        f"not of {type(measured).__name__}."
    )


def _names(measured: Any, several: Sequence[Any]) -> list[str]:
    """Return what each turn is called: its number, or its place, and its prompt's name."""
    names = getattr(measured, "names", None) or [getattr(one, "name", None) for one in several]
    numbers = getattr(measured, "numbers", None) or [getattr(t, "number", 0) for t in several]
    if len(set(numbers)) < len(numbers) or not all(numbers):  # each of a call of its own
        numbers = range(1, len(several) + 1)
    return [
        f"{number} {name or ''}".strip() if name != f"turn {number}" else str(number)
        for number, name in zip(numbers, names, strict=True)
    ]


def _latency_of(one: Any) -> Any:
    return one if isinstance(one, Latency) else getattr(one, "latency", None)


def _row(name: str, one: Any) -> _Row:
    found: Latency = _latency_of(one)
    marks = _after_speech(found)
    ends = np.maximum.accumulate([0.0, *marks])[1:]
    verdict = found.verdict if found.verdict in _UNSCORED else ""
    return _Row(name, ends, found.first_audio, verdict, found.reason)


def _after_speech(found: Latency) -> list[float]:
    """Return when each stage ends, in seconds after the end of speech; 0 where that is not known."""
    begin = found.speech_end
    limit = found.first_audible
    times: list[float] = []
    for name in STAGES:
        time = getattr(found, name)
        known = begin is not None and time is not None and in_a_call(time)
        after = time - begin if known else 0.0
        if limit is not None and begin is not None:  # nothing after it was waited for
            after = min(after, limit - begin)
        times.append(after)
    return times


# --- bars ----------------------------------------------------------------------------------------


def _draw_bars(axes: Axes, rows: Sequence[_Row]) -> float:
    """Draw a bar for each turn, with its name and its seconds; return the top of the first."""
    count = max(len(rows), 1)
    band = _key_room(axes, count)
    axes.set_ylim(-count + 0.5, 0.5 + band)
    places = -np.arange(len(rows), dtype=np.float64)
    _stages(axes, rows, [(y - 0.36, y + 0.36) for y in places])
    _draw_key(axes)
    points = size_of(axes)[1] / (count + band)
    size = min(max(points * 0.8, _LEAST), _LETTERS)
    _name_rows(axes, rows, places, size, points)
    for y, row in zip(places, rows, strict=True):
        text, color = _said(axes, row)
        if text and points >= _LEAST:  # else there is no room for words in a row
            _write(axes, float(row.ends[-1]), float(y), text, size, color)
    if not rows:
        note(axes, ["no turns"], x=0.0, y=0.5)
    return 0.5


def _said(axes: Axes, row: _Row) -> tuple[str, Any]:
    """Return what stands behind a bar: its seconds, or why the turn was not answered."""
    if row.verdict:
        reason = f": {row.reason.rstrip('.')}" if row.reason else ""
        color = ink(axes, 0.9) if row.verdict == "missed" else ink(axes, 0.6)
        return f"× {row.verdict}{reason}", color
    return ("" if row.seconds is None else f"{row.seconds:.2f} s"), ink(axes, 0.9)


def _write(axes: Axes, x: float, y: float, text: str, size: float, color: Any) -> None:
    low, high = axes.get_xlim()
    room = size_of(axes)[0] * (high - x) / (high - low) - 6
    shown = fitted(text, room, size)
    axes.annotate(
        shown,
        (x, y),
        (4, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=size,
        fontfamily=font_families(),
        color=color,
        clip_on=True,
        annotation_clip=True,
        zorder=5,
        bbox={"facecolor": axes.get_facecolor(), "alpha": 0.75, "edgecolor": "none", "pad": 0.5},
        **PLAIN,
    )


def _name_rows(
    axes: Axes, rows: Sequence[_Row], places: npt.NDArray[np.float64], size: float, points: float
) -> None:
    """Write the names of turns beside their bars, as many as there is room for."""
    each = max(math.ceil(size / max(points, 0.1)), 1)
    room = min(room_beside(axes), _WIDEST)
    names = [fitted(row.name, room, size, least=1) for row in rows[::each]]
    kind: dict[str, Any] = {"fontfamily": font_families(), **PLAIN}
    axes.set_yticks(list(places[::each]), names, fontsize=size, **kind)
    axes.tick_params(axis="y", length=0)


# --- many turns ----------------------------------------------------------------------------------


def _draw_sorted(axes: Axes, rows: Sequence[_Row]) -> float:
    """Draw turns from the fastest to the slowest, then those without an answer; return the top."""
    timed = sorted((r for r in rows if r.seconds is not None), key=lambda r: r.seconds or 0.0)
    others = len(rows) - len(timed)
    count = len(rows)
    band = _key_room(axes, count)
    axes.set_ylim(-count, band)
    step = max(math.ceil(len(timed) / _ROWS), 1)
    shown = timed[step // 2 :: step]
    edges = [*(-float(i * step) for i in range(len(shown))), -float(len(timed))]
    _stages(axes, shown, list(zip(edges[1:], edges[:-1], strict=True)))
    _draw_key(axes)
    if others:
        verdicts = Counter(row.verdict or "without a reply" for row in rows if row.seconds is None)
        said = ", ".join(f"{count} {name}" for name, count in verdicts.most_common())
        height = size_of(axes)[1] / (count + band) * others
        at = -len(timed) - others / 2 if height > _LETTERS else -len(timed)
        where: dict[str, Any] = {"va": "center_baseline" if height > _LETTERS else "bottom"}
        _, right = axes.get_xlim()
        axes.text(
            right * 0.99, at, f"× {said}", ha="right", fontsize=_LETTERS, color=ink(axes), **where
        )
        axes.axhline(-len(timed), color=ink(axes, 0.4), linewidth=0.8, linestyle=":")
    ticks = [tick for tick in np.linspace(0, count, 5).round() if tick]
    axes.set_yticks([-float(t) for t in ticks], [f"{int(t):,}" for t in ticks], fontsize=_LETTERS)
    axes.set_ylabel("turns, the fastest first", fontsize=_LETTERS)
    return 0.0


# --- both ----------------------------------------------------------------------------------------


def _stages(axes: Axes, rows: Sequence[_Row], heights: Sequence[tuple[float, float]]) -> None:
    """Draw each stage of all rows as one artist."""
    from matplotlib.collections import PolyCollection

    for index, (name, color) in enumerate(STAGES.items()):
        boxes = []
        for row, (low, high) in zip(rows, heights, strict=True):
            left = float(row.ends[index - 1]) if index else 0.0
            right = float(row.ends[index])
            if right > left:
                boxes.append([(left, low), (left, high), (right, high), (right, low)])
        if boxes:
            axes.add_collection(
                PolyCollection(
                    boxes, facecolor=color, linewidth=0, zorder=2, label=f"_{_shown(name)}"
                ),
                autolim=False,
            )


def _shown(name: str) -> str:
    return name.replace("_", " ")


def _key(axes: Axes) -> list[list[str]]:
    """Return the names of the stages, in as many lines as they take beside each other."""
    width = size_of(axes)[0]
    lines: list[list[str]] = [[]]
    taken = 0.0
    for name in map(_shown, STAGES):
        taken += width_of(name, _LETTERS) + _BESIDE * _LETTERS
        if taken > width and lines[-1]:
            lines.append([])
            taken = width_of(name, _LETTERS) + _BESIDE * _LETTERS
        lines[-1].append(name)
    return lines


def _key_room(axes: Axes, count: int) -> float:
    """Return the height of the band above so many rows in which the stages are named."""
    share = min((_LINE * len(_key(axes)) + 4) / size_of(axes)[1], 0.6)
    return count * share / (1 - share)


def _draw_key(axes: Axes) -> None:
    """Name the stages in their colours at the top."""
    colors = dict(zip(map(_shown, STAGES), STAGES.values(), strict=True))
    for row, names in enumerate(_key(axes)):
        at = 0.3 * _LETTERS
        for name in names:
            down = -_LINE * (row + 0.5) - 2
            _letter(axes, "■", at, down, colors[name])
            _letter(axes, name, at + 1.1 * _LETTERS, down, ink(axes, 0.9))
            at += width_of(name, _LETTERS) + _BESIDE * _LETTERS


def _letter(axes: Axes, text: str, right: float, down: float, color: Any) -> None:
    """Write a text so many points from the upper left corner."""
    axes.annotate(
        text,
        (0.0, 1.0),
        (right, down),
        xycoords="axes fraction",
        textcoords="offset points",
        va="center_baseline",
        fontsize=_LETTERS,
        color=color,
        annotation_clip=False,
        zorder=5,
    )


def _draw_lines(axes: Axes, first: Sequence[float], top: float) -> str:
    """Draw the median and the 90th percentile from the bottom to a y; return what is said of them."""
    if len(first) < 2:
        return ""
    levels = [("median", "dashed", float(np.median(first)))]
    if len(first) >= _MANY:
        levels.append(("p90", "dotted", float(np.percentile(first, 90))))
    low, _ = axes.get_ylim()
    for name, style, x in levels:
        axes.plot([x, x], [low, top], ls=style, color=ink(axes), linewidth=1.0, label=f"_{name}")
    return f"({', '.join(f'{name} {x:.2f} s {style}' for name, style, x in levels)})"
