"""Events as marks in lanes, one artist a lane; it must not know what an event brings about."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rtnb.errors import ConfigurationError
from rtnb.events import Event, EventLog
from rtnb.plotting.canvas import (
    COLORS,
    axes_for,
    in_a_call,
    ink,
    note,
    room_beside,
    size_of,
    thinned,
)
from rtnb.plotting.lettering import width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ERRORS", "LANES", "draw_marks", "events", "is_error", "lane_marks", "name_lanes"]

ERRORS: Final = "errors"
# what an event's type begins with, and its lane
_PREFIXES: Final = {
    "input_audio_buffer": "input buffer",
    "conversation": "conversation",
    "response": "response.*",
    "output_audio_buffer": "output buffer",
}
LANES: Final = ("events sent", *_PREFIXES.values(), "other")
_SIZE: Final = (10.0, 2.4)  # inches
_LETTERS: Final = (5.0, 8.0)  # points, smallest and largest, of a lane's name


def events(log: EventLog, *, ax: Axes | None = None) -> Axes:
    """Draw the events of a log as marks in lanes, by what they are about.

    At most 2,400 marks a lane are drawn: of the events in one column, the first; errors are
    thinned by themselves, so that none is hidden by other events. A time that is no number, or
    months away, is of a damaged record, and is only counted.

    Parameters
    ----------
    log
        The events of a session, a turn or a run, or a selection of them.
    ax
        Where to draw; None takes pyplot's current axes.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds of the call's clock on the x axis, a lane a tick on the y axis. Errors are crosses
        in a lane of their own.

    Raises
    ------
    ConfigurationError
        `log` is no EventLog, or `ax` no Axes.
    """
    if not isinstance(log, EventLog):
        raise ConfigurationError(
            f"Event lanes are drawn of an EventLog, not {type(log).__name__}; "
            "session.events, turn.events and run.events are such logs."
        )
    axes = axes_for(ax, size=_SIZE)
    marks = lane_marks(log)
    start, end = _extent(marks.values())
    shown = [lane for lane in (*LANES, ERRORS) if marks[lane]] or ["other"]
    rows = {lane: -float(row) for row, lane in enumerate(shown)}
    axes.set_ylim(-len(shown) + 0.4, 0.6)
    draw_marks(axes, marks, rows, (start, end))
    name_lanes(axes, {y: _named(lane, marks) for lane, y in rows.items()}, 1.0)
    margin = max(end - start, 0.1) * 0.01
    axes.set_xlim(start - margin, end + margin)
    axes.set_xlabel("time on the call's clock (s)")
    axes.grid(axis="x", alpha=0.3)
    undrawn = len(log) - sum(len(marks[lane]) for lane in LANES)
    said = [f"not drawn: {undrawn:,} whose time is damaged"] if undrawn else []
    note(axes, said if len(log) else ["no events"], x=start)
    return axes


def is_error(event: Event) -> bool:
    """Return whether an event says that something failed."""
    if event.type == "response.done":
        response = event.data.get("response")
        return isinstance(response, dict) and response.get("status") == "failed"
    return event.type == "error" or event.type.endswith(".failed")


def lane_marks(log: Iterable[Event]) -> dict[str, list[float]]:
    """Return the times of the events of each lane; those of errors once more, in `ERRORS`."""
    marks: dict[str, list[float]] = {lane: [] for lane in (*LANES, ERRORS)}
    for event in log:
        time, kind = event.time, event.type
        if not in_a_call(time):
            continue
        lane, may_fail = _kind(kind)
        marks[LANES[0] if event.direction == "sent" else lane].append(time)
        if may_fail and is_error(event):
            marks[ERRORS].append(time)
    return marks


@functools.lru_cache(maxsize=1_000)
def _kind(type: str) -> tuple[str, bool]:
    """Return the lane of what is received of a type, and whether it can say that something failed."""
    may_fail = type in ("error", "response.done") or type.endswith(".failed")
    return _PREFIXES.get(type.partition(".")[0], "other"), may_fail


def _extent(times: Iterable[Sequence[float]]) -> tuple[float, float]:
    every = [limit for one in times if one for limit in (min(one), max(one))]
    return (min(every), max(every)) if every else (0.0, 1.0)


def _named(lane: str, marks: Mapping[str, Sequence[float]]) -> str:
    return f"{lane} ({len(marks[lane]):,})" if lane == ERRORS else lane


def draw_marks(
    axes: Axes,
    marks: Mapping[str, Sequence[float]],
    rows: Mapping[str, float],
    span: tuple[float, float],
) -> None:
    """Draw the marks of each lane at its y, one artist a lane, within a span of seconds."""
    low, high = axes.get_ylim()
    height = size_of(axes)[1] / max(high - low, 1e-9)  # points of one unit
    lane = min((abs(a - b) for a in rows.values() for b in rows.values() if a != b), default=1.0)
    size = min(max(height * lane * 0.7, 3.0), 12.0)
    for name, y in rows.items():
        times = thinned(marks[name], *span)
        style: dict[str, Any] = {"marker": "|", "color": ink(axes, 0.65), "markersize": size}
        if name == LANES[0]:
            style["color"] = COLORS["prompt"]
        if name == ERRORS:
            style |= {"marker": "X", "color": COLORS["error"], "markersize": size * 0.8}
            style |= {"markeredgecolor": ink(axes), "markeredgewidth": 0.6}
        axes.plot(times, [y] * len(times), linestyle="none", label=f"_{name}", zorder=4, **style)


def name_lanes(axes: Axes, names: Mapping[float, str], lane: float) -> None:
    """Write the names of lanes beside them, as large as lanes of this height in y allow."""
    low, high = axes.get_ylim()
    points = size_of(axes)[1] / max(high - low, 1e-9) * lane
    lines = [line for name in names.values() for line in name.splitlines()]
    wide = max(width_of(line, _LETTERS[1]) / _LETTERS[1] for line in lines)
    size = min(max(min(points * 0.85, room_beside(axes) / wide), _LETTERS[0]), _LETTERS[1])
    axes.set_yticks(list(names), list(names.values()), fontsize=size)
    axes.tick_params(axis="y", length=0)
