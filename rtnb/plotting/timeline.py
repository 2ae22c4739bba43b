"""The timeline of a call: both sides' sound and words above lanes of spans and events, on one clock.

It must not measure anything: spans come from events and turns, latencies from the turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rtnb.plotting import spans as of
from rtnb.plotting.canvas import (
    COLORS,
    COLUMNS,
    axes_for,
    ink,
    joined,
    mark_gaps,
    size_of,
    tint,
)
from rtnb.plotting.lanes import ERRORS, LANES, draw_marks, lane_marks, name_lanes
from rtnb.plotting.lettering import PLAIN, fitted, font_families, legible, width_of
from rtnb.plotting.network import Network, draw_network, network_of
from rtnb.plotting.sound import fill
from rtnb.runaudio import Side

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["timeline"]

_SIZE: Final = (10.0, 4.5)  # inches
# heights of rows, in units of y
_WORDS: Final = 0.95
_SOUND: Final = 1.7
_BRACKET: Final = 0.75
_LANE: Final = 0.5
_NETWORK: Final = (0.5, 0.8)  # its words, and the strip

_LETTERS: Final = 8.0  # points
_EDGE: Final = 0.8  # points
_CROWDED: Final = 4.0  # points of the axis for each span of a lane; with less, none has an edge
_TOUCHING: Final = _EDGE + 0.7  # points between such spans that are not seen, edges and a pixel
_BRACKETED: Final = 24  # turns whose latencies can be told apart
_LONGEST: Final = 180.0  # seconds of a turn that is measured for its bracket
_FAINTEST: Final = 0.02  # peak below which a waveform is not drawn larger


def timeline(
    recorded: Any,
    *,
    ax: Axes | None = None,
    events: bool = True,
    transcripts: bool = True,
    spans: bool = True,
    latency: bool = True,
    network: bool = True,
) -> Axes:
    """Draw what was sent and heard, and what happened meanwhile, on one time axis.

    From the top: the prompts' words and waveform, the first-audio latency as a bracket, the replies'
    words and waveform with lost spans hatched, the lanes of spans (speech that the service heard,
    responses, audible replies, tools), the lanes of events, and the strip of the network. Both
    waveforms have one scale, so that the louder side fills its row. An hour takes as many points as
    a second.

    Parameters
    ----------
    recorded
        A `Turn`, a `Session` or a `Run`.
    ax
        Where to draw; None takes pyplot's current axes.
    events
        Draw the lanes of events.
    transcripts
        Write the words of both sides at their time, cut to fit.
    spans
        Draw the lanes of spans.
    latency
        Bracket the first-audio latency of each turn of at most 3 minutes, where there are at most
        24 turns.
    network
        Draw the strip of the network, where there is a record of packets: how delayed packets
        arrived against the least-delayed one (above), how late our own left (below, from 10 ms on),
        and what was lost (bars across both, pale where it was concealed).

    Returns
    -------
    matplotlib.axes.Axes
        Seconds of the call's clock on the x axis.

    Raises
    ------
    ConfigurationError
        `recorded` is none of these, or `ax` no Axes.
    """
    view = of.view_of(recorded)
    axes = axes_for(ax, size=_SIZE)
    axes.set_xlim(view.start, view.end)
    sheet = _Sheet(axes, view)
    marks = lane_marks(view.events) if events else {}
    lanes = _span_lanes(view) if spans else []
    brackets = _brackets(recorded, view) if latency else []
    packets = view.audio.packets() if network else None
    strip = network_of(packets, view.start, view.end) if packets else None
    sheet.lay_out(
        words=transcripts and bool(view.turns),
        bracket=bool(brackets),
        lanes=[*(name for name, _, _ in lanes), *(_event_lanes(marks) if events else [])],
        network=strip is not None,
    )
    sheet.sounds()
    for name, color, one in lanes:
        sheet.spans(name, color, one)
    if events:
        rows = {lane: sheet.rows[lane] for lane in _event_lanes(marks)}
        draw_marks(axes, marks, rows, (view.start, view.end))
    if transcripts and view.turns:
        for side, remarks in zip(("sent", "heard"), of.sayings(view), strict=True):
            sheet.words(side, remarks)
    sheet.brackets(brackets)
    if strip is not None:
        sheet.network(strip)
    sheet.finish(errors=marks.get(ERRORS, ()))
    return axes


def _span_lanes(view: of.View) -> list[tuple[str, str, list[of.Span]]]:
    """Return name, colour and spans of each lane."""
    heard, said = of.speech(view), of.audible(view)
    lanes = [
        (heard[0], COLORS["prompt"], heard[1]),
        ("response", COLORS["reply"], of.responses(view)),
        (said[0], COLORS["reply"], said[1]),
    ]
    used = of.tools(view)
    return [*lanes, ("tools", COLORS["tool"], used)] if used else lanes


def _event_lanes(marks: dict[str, list[float]]) -> list[str]:
    return [*LANES, ERRORS] if marks[ERRORS] else [*LANES]


def _brackets(recorded: Any, view: of.View) -> list[Any]:
    """Return the latencies to be bracketed: those that are seen, and not of a reply before its time."""
    if not view.turns:
        own = getattr(recorded, "latency", None)
        found = [] if callable(own) else [own]  # that of a call is of its turns, and it has none
    elif len(view.turns) > _BRACKETED:
        found = []
    else:
        found = [turn.latency for turn in view.turns if _short(turn._state, view.end)]
    return [
        one
        for one in found
        if one is not None
        and one.first_audio is not None
        and view.start <= one.speech_end <= one.first_audible <= view.end
    ]


def _short(state: Any, end: float) -> bool:
    """Return whether a turn is short enough to be read whole, which measuring does."""
    return bool((end if state.ended is None else state.ended) - state.started <= _LONGEST)


class _Sheet:
    """The rows of one timeline, from the top down, and what is drawn in them."""

    def __init__(self, axes: Axes, view: of.View):
        self._axes = axes
        self._view = view
        self.rows: dict[str, float] = {}  # the middle of each row
        self._names: dict[float, str] = {}
        self._letters = _LETTERS
        self._unit = 1.0  # points of one unit of y
        self._second = size_of(axes)[0] / (view.end - view.start)  # points of one second

    def lay_out(self, *, words: bool, bracket: bool, lanes: Sequence[str], network: bool) -> None:
        """Give every row its place, and every text its size."""
        text = _WORDS if words else 0.15
        heights = [("words sent", text), ("sent", _SOUND), ("bracket", _BRACKET if bracket else 0)]
        heights += [("words heard", text), ("heard", _SOUND), ("", 0.15)]
        heights += [(name, _LANE) for name in lanes]
        if network:
            heights += [("words network", _NETWORK[0]), ("network", _NETWORK[1])]
        y = 0.0
        for name, height in heights:
            self.rows[name] = y - height / 2
            y -= height
        self._axes.set_ylim(y - 0.1, 0.1)
        self._unit = size_of(self._axes)[1] / (0.2 - y)
        self._letters = min(max(self._unit * _LANE * 0.8, 5.0), _LETTERS)
        self._names = {self.rows[name]: name for name in lanes}

    def sounds(self) -> None:
        """Draw both waveforms with one scale, and hatch what was lost."""
        view = self._view
        end = min(view.end, view.audio.duration)
        sides: dict[Side, str] = {"sent": "prompt", "heard": "reply"}
        outlines = view.audio.envelopes(list(sides), view.start, end, columns=COLUMNS)
        peaks = {
            side: float(max(-low.min(initial=0.0), high.max(initial=0.0)))
            for side, (low, high) in outlines.items()
        }
        scale = 0.48 * _SOUND / max(*peaks.values(), _FAINTEST)
        for side, name in sides.items():
            y, (low, high) = self.rows[side], outlines[side]
            times = view.start + np.linspace(0, max(end - view.start, 0.0), len(low))
            fill(self._axes, times, (y + scale * low, y + scale * high), color=COLORS[name])
            self._names[y] = f"{name} ({side})\n{_peak(peaks[side], len(low))}"
        rows = (self.rows["heard"] - _SOUND / 2, self.rows["heard"] + _SOUND / 2)
        mark_gaps(self._axes, view.audio.gaps(view.start, end), rows=rows)

    def spans(self, lane: str, color: str, spans: Sequence[of.Span]) -> None:
        """Draw spans as bars, and their labels as far as there is room up to the next one."""
        view, y = self._view, self.rows[lane]
        seen = [
            of.Span(max(s.start, view.start), min(s.end, view.end), s.label)
            for s in sorted(spans, key=lambda span: span.start)
            if s.start < view.end and s.end > view.start
        ]
        if not seen:
            return
        bars, face = [(s.start, s.end) for s in seen], tint(self._axes, color)
        crowded = len(bars) * _CROWDED > (view.end - view.start) * self._second
        if crowded:
            bars = joined(bars, _TOUCHING / self._second)
        self._axes.broken_barh(
            [(a, b - a) for a, b in bars],
            (y - 0.38 * _LANE, 0.76 * _LANE),
            facecolor=face,
            edgecolor=face if crowded else color,
            linewidth=_EDGE,  # so that a short one is seen in an hour
            label=f"_{lane}",
        )
        self._labels(y, [of.Remark(s.start, s.label) for s in seen if s.label])

    def _labels(self, y: float, remarks: Sequence[of.Remark]) -> None:
        for remark, limit in self._limited(remarks):
            room = (limit - remark.time) * self._second - 5
            self._write(
                remark.time, y, fitted(remark.text, room, self._letters), va="center_baseline"
            )

    def words(self, side: str, remarks: Sequence[of.Remark]) -> None:
        """Write what was said above its waveform, moved left where the right has no room."""
        y = self.rows[f"words {side}"]
        lines = max(min(int(_WORDS * self._unit / (self._letters * 1.25)), 2), 1)
        free = self._view.start  # up to here the row is taken
        for remark, limit in self._limited(remarks):
            left = remark.time
            if limit == self._view.end:  # the last one may begin earlier, to be read whole
                wanted = width_of(legible(remark.text[:300]), self._letters) / lines * 1.15 + 14
                farthest = left - (limit - self._view.start) / 3
                left = max(min(left, limit - wanted / self._second), free, farthest)
            room = (limit - left) * self._second - 12
            text = fitted(remark.text, room, self._letters, lines=lines, least=10)
            if text:
                self._write(left, y - _WORDS / 2 + 0.08, text, va="bottom")
                widest = max(width_of(line, self._letters) for line in text.split("\n"))
                free = left + (widest + 12) / self._second
            free = max(free, remark.time)

    def _limited(self, remarks: Sequence[of.Remark]) -> Iterator[tuple[of.Remark, float]]:
        """Yield remarks that are in view, each with the time up to which it may be written."""
        end = self._view.end
        seen = [remark for remark in remarks if self._view.start <= remark.time < end]
        limits = [*(remark.time for remark in seen[1:]), end]
        yield from zip(seen, limits, strict=False)

    def _write(self, x: float, y: float, text: str, **where: Any) -> None:
        if text:
            self._axes.annotate(
                text,
                (x, y),
                (2, 0),
                textcoords="offset points",
                fontsize=self._letters,
                fontfamily=font_families(),
                color=ink(self._axes, 0.9),
                annotation_clip=True,
                clip_on=True,
                linespacing=1.1,
                zorder=5,
                **PLAIN,
                **where,
            )

    def brackets(self, latencies: Sequence[Any]) -> None:
        """Bracket each wait for first audio, as one artist, with its seconds where they fit."""
        if not latencies:
            return
        y, x_values, y_values = self.rows["bracket"] - 0.2, [], []
        taken = -math.inf
        for one in sorted(latencies, key=lambda latency: latency.speech_end):
            a, b = one.speech_end, one.first_audible
            x_values += [a, a, math.nan, a, b, math.nan, b, b, math.nan]
            y_values += [y - 0.12, y + 0.12, math.nan, y, y, math.nan, y - 0.12, y + 0.12, math.nan]
            label = f"{one.first_audio:.2f} s"
            half = (width_of(label, self._letters) / 2 + 3) / self._second
            middle = min(max((a + b) / 2, self._view.start + half), self._view.end - half)
            if middle - half > taken:
                self._note(middle, y + 0.16, label, ha="center", va="bottom")
                taken = middle + half
        color = ink(self._axes)
        self._axes.plot(x_values, y_values, color=color, linewidth=1.0, label="_first audio")

    def network(self, drawn: Network) -> None:
        """Draw the strip of the network, and its figures above it."""
        y, half = self.rows["network"], 0.46 * _NETWORK[1]
        base = y if len(drawn.lags) else y - 0.85 * half  # nothing is drawn below it
        scale = (y + half - base) / drawn.reach
        draw_network(self._axes, drawn, rows=(y - half, y + half), y=base, scale=scale)
        room = (self._view.end - self._view.start) * self._second - 6
        words = fitted(drawn.words, room, self._letters)
        self._note(
            self._view.end - 3 / self._second,
            self.rows["words network"],
            words,
            ha="right",
            va="center_baseline",
        )
        self._names[y] = f"network\n{drawn.lost_share}"

    def _note(self, x: float, y: float, text: str, **where: Any) -> None:
        self._axes.text(
            x,
            y,
            text,
            fontsize=self._letters,
            color=ink(self._axes, 0.9),
            clip_on=True,
            zorder=5,
            **where,
        )

    def finish(self, *, errors: Sequence[float]) -> None:
        """Name the rows and the axis, and mark where turns begin."""
        start, end = self._view.start, self._view.end
        seen = sum(start <= time <= end for time in errors)
        names = {y: f"{n} ({seen:,})" if n == ERRORS else n for y, n in self._names.items()}
        name_lanes(self._axes, names, _LANE)
        if seen < len(errors):
            text = f"{len(errors) - seen:,} outside of this view"
            right = end - 3 / self._second
            self._note(right, self.rows[ERRORS], text, ha="right", va="center_baseline")
        starts = [t.started for t in self._view.turns if start <= t.started < end]
        if 1 < len(starts) <= _BRACKETED:
            low, high = self._axes.get_ylim()
            self._axes.vlines(
                starts, low, high, colors=[ink(self._axes, 0.4)], linestyles=":", linewidth=0.8
            )
        self._axes.set_xlabel("time on the call's clock (s)")
        self._axes.set_xlim(start, end)
        self._axes.grid(axis="x", alpha=0.3)


def _peak(peak: float, columns: int) -> str:
    if not columns:
        return "no audio"
    if not peak:
        return "silent"
    return f"peak {round(20 * math.log10(peak))} dBFS".replace("-", "\u2212")
