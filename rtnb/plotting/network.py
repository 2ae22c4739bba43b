"""Losses, delays and late departures of a call's packets over time; it must not place any packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.packets import Packets
from rtnb.plotting.canvas import COLORS, COLUMNS, axes_for, ink, joined, note, size_of, tint
from rtnb.plotting.spans import view_of
from rtnb.quality import LATE, CallQuality, quality_of
from rtnb.traffic import traffic_of, without_drift

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Network", "draw_network", "network", "network_of"]

_SIZE: Final = (10.0, 2.4)  # inches
_COLUMNS: Final = COLUMNS // 3  # about the pixels of a page
_REACH: Final = 0.020  # seconds, a packet: below, the scale grows no finer
_PAUSE: Final = 0.2  # seconds without a packet over which no line is drawn
_EDGE: Final = 0.8  # points, so that a lost packet is seen in an hour

Floats = npt.NDArray[np.float64]
Spans = list[tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Network:
    """What is drawn of a stretch, bounded however long it is.

    Attributes
    ----------
    quality : CallQuality
        Its figures.
    delays : numpy.ndarray
        float64, shape (n, 3): time, least and largest delay of the arrivals in each column, seconds.
    lags : numpy.ndarray
        float64, shape (n, 2): time and lateness of the latest late departure of each column, seconds.
    lost, concealed : list of (float, float)
        Stretches that stayed silent, and those that were filled, in seconds.
    """

    quality: CallQuality
    delays: Floats
    lags: Floats
    lost: Spans
    concealed: Spans

    @property
    def reach(self) -> float:
        """The largest delay or lateness that is drawn, in seconds; at least that of a packet."""
        latest = (self.delays[:, 2].max(initial=0.0), self.lags[:, 1].max(initial=0.0))
        return max(_REACH, *map(float, latest))

    @property
    def lost_share(self) -> str:
        """How much was lost, in few words."""
        if not self.quality.packets_received + self.quality.packets_lost:
            return "nothing came"
        return self.quality.lost_share

    @property
    def words(self) -> str:
        """What the axes cannot say, in one line."""
        quality, said = self.quality, []
        if len(self.delays):
            said.append(f"delay up to {1000 * self.delays[:, 2].max():.0f} ms")
        if quality.jitter is not None:
            said.append(f"jitter {1000 * quality.jitter:.1f} ms")
        if quality.packets_sent:
            said.append(f"{quality.late_packets:,} of {quality.packets_sent:,} left late")
        if quality.late_packets:
            said[-1] += f", up to {1000 * quality.worst_lag:.0f} ms"
        return ", ".join(said)


def network_of(packets: Packets, start: float, end: float) -> Network:
    """Return what is to be drawn between two times on the call's clock."""
    lags, delays, losses, *_ = traffic_of(packets)
    delays = without_drift(delays)
    seen = (delays.time >= start) & (delays.time < end)
    late = (lags.place >= start) & (lags.place < end) & (lags.lag > LATE)
    within = (losses.place < end) & (losses.end >= start)
    spans = np.stack([losses.place[within], losses.end[within]], axis=1)
    filled = losses.concealed[within] != ""
    least, most = _columns(delays.time[seen], delays.delay[seen], (start, end))
    _, worst = _columns(lags.place[late], lags.lag[late], (start, end))
    return Network(
        quality_of(packets, start, end),
        np.column_stack([most[:, 0], least[:, 1], most[:, 1]]),
        worst,
        _merged(spans[~filled], end - start),
        _merged(spans[filled], end - start),
    )


def _columns(times: Floats, values: Floats, span: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return (time, least) and (time, largest) of each column that has values."""
    if len(times) > _COLUMNS:
        column = (times - span[0]) / max(span[1] - span[0], 1e-9) * _COLUMNS
        order = np.argsort(column, kind="stable") if (np.diff(column) < 0).any() else slice(None)
        times, values, column = times[order], values[order], column[order].astype(np.int64)
        begins = np.flatnonzero(np.diff(column, prepend=-1))
        at = times[begins]
        least, most = (f.reduceat(values, begins) for f in (np.minimum, np.maximum))
    else:
        at, least, most = times, values, values
    return np.column_stack([at, least]), np.column_stack([at, most])


def _merged(spans: Floats, length: float) -> Spans:
    """Return spans, those closer than a column joined."""
    return joined(sorted(map(tuple, spans.tolist())), length / _COLUMNS)


def draw_network(
    axes: Axes, drawn: Network, *, rows: tuple[float, float], y: float, scale: float
) -> None:
    """Draw delays of arrivals above `y`, late departures below, and losses across both.

    Parameters
    ----------
    axes
        Where.
    drawn
        What.
    rows
        Lowest and highest y of the losses.
    y, scale
        The y of no delay, and how much of y a second is.
    """
    low, high = rows
    _bars(axes, drawn.concealed, (low, high - low), filled=True)
    _bars(axes, drawn.lost, (low, high - low), filled=False)
    axes.plot(axes.get_xlim(), [y, y], color=ink(axes, 0.4), linewidth=0.6, label="_no delay")
    at, heights = _line(drawn.delays)
    axes.plot(
        at, y + scale * heights, color=COLORS["reply"], linewidth=0.7, zorder=4, label="_delay"
    )
    if len(drawn.lags):
        times, lags = drawn.lags.T
        axes.vlines(
            *(times, y - scale * lags, y),
            colors=COLORS["prompt"],
            linewidth=1.2,
            zorder=4,
            label="_left late",
        )


def _line(delays: Floats) -> tuple[Floats, Floats]:
    """Return one line through least and largest of each column, broken where nothing came."""
    if not len(delays):
        return np.zeros(0), np.zeros(0)
    times, values = np.repeat(delays[:, 0], 2), delays[:, 1:].ravel()
    usual = 2 * float(np.median(np.diff(delays[:, 0]))) if len(delays) > 1 else 0.0
    pauses = 2 * np.flatnonzero(np.diff(delays[:, 0]) > max(_PAUSE, usual)) + 2
    return np.insert(times, pauses, np.nan), np.insert(values, pauses, np.nan)


def _bars(
    axes: Axes, spans: Sequence[tuple[float, float]], rows: tuple[float, float], *, filled: bool
) -> None:
    if not spans:
        return
    color = COLORS["error"]
    axes.broken_barh(
        [(start, end - start) for start, end in spans],
        rows,
        facecolor=tint(axes, color) if filled else color,
        edgecolor=tint(axes, color) if filled else color,
        linewidth=_EDGE,
        zorder=3,
        label="_concealed packets" if filled else "_lost packets",
    )


def network(recorded: Any, *, ax: Axes | None = None) -> Axes:
    """Draw how packets came and left over time: delays, losses, and late departures.

    Above 0, the delay of what arrived against the least-delayed packet, with the far clock's drift
    taken out: the least and the largest of each column. Below, by how much packets of ours left
    late, where it is more than 10 ms. Losses are bars across, pale where they were concealed.

    Parameters
    ----------
    recorded
        A `Turn`, a `Session` or a `Run`.
    ax
        Where to draw; None takes pyplot's current axes.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds of the call's clock on the x axis, milliseconds on the y axis.

    Raises
    ------
    ConfigurationError
        `recorded` is none of these, or `ax` no Axes.
    """
    from matplotlib.ticker import FuncFormatter

    view = view_of(recorded)
    axes = axes_for(ax, size=_SIZE)
    axes.set_xlim(view.start, view.end)
    drawn = network_of(view.audio.packets(), view.start, view.end)
    reach = 1000 * drawn.reach
    top = 1.15 * reach
    low = -top if len(drawn.lags) else -0.1 * top
    draw_network(axes, drawn, rows=(low, top), y=0.0, scale=1000.0)
    room = min(24 / size_of(axes)[1], 0.4)  # for the note, above what is drawn
    axes.set_ylim(low, top + room / (1 - room) * (top - low))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    axes.set_ylabel("left late | delay (ms)" if len(drawn.lags) else "delay (ms)")
    axes.set_xlabel("time on the call's clock (s)")
    axes.grid(axis="x", alpha=0.3)
    said = f"{drawn.lost_share}, {drawn.words}" if drawn.words else "no packets"
    note(axes, [said], x=view.start)
    return axes
