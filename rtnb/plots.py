"""Drawing clips, turns and runs on matplotlib axes; it must not measure or change anything.

Every function takes ``ax=None`` and keyword-only options, returns the Axes it drew on, never calls
``show()``, and draws a bounded number of points however long the audio is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from rtnb.audio import Clip, envelope
from rtnb.events import Event, EventLog
from rtnb.runaudio import RunAudio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLORS", "timeline", "waveform"]

# Okabe and Ito's colours, which colour-blind readers can tell apart
COLORS: Final = {"prompt": "#0072b2", "reply": "#d55e00", "tool": "#009e73", "error": "#cc79a7"}
_COLUMNS: Final = 2400
_LANES: Final = {
    "sent": "sent",
    "input_audio_buffer.*": "input buffer",
    "output_audio_buffer.*": "output buffer",
    "response.*": "response",
    "other": "other",
}


class _Recorded(Protocol):
    @property
    def events(self) -> EventLog: ...


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    return ax


def waveform(
    clip: Clip,
    *,
    ax: Axes | None = None,
    offset: float = 0.0,
    color: str = COLORS["prompt"],
    label: str | None = None,
    center: float = 0.0,
    scale: float = 1.0,
) -> Axes:
    """Draw a clip as the envelope of its minima and maxima.

    Parameters
    ----------
    clip
        The audio.
    ax
        Where to draw; None takes pyplot's current axes.
    offset
        Seconds at which the clip begins on the x axis.
    color, label
        As matplotlib takes them.
    center, scale
        The y value of silence, and of full scale above it.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds on the x axis; gaps are marked with hatched spans.
    """
    axes = _axes(ax)
    axes.set_xlabel("time (s)")
    if not len(clip):
        axes.plot([offset], [center], color=color, label=label)
        return axes
    low, high = envelope(clip.samples, _COLUMNS)
    times = offset + np.linspace(0, clip.duration, len(low))
    axes.fill_between(
        times, center + scale * low, center + scale * high, color=color, label=label, linewidth=0.4
    )
    for start, end in clip.gaps:
        axes.axvspan(offset + start, offset + end, hatch="//", alpha=0.3, color=COLORS["error"])
    return axes


def timeline(recorded: Any, *, ax: Axes | None = None, events: bool = True) -> Axes:
    """Draw what was sent and heard above the lanes of events, on one time axis.

    Parameters
    ----------
    recorded
        A `Turn`, a `Session` or a `Run`.
    ax
        Where to draw; None takes pyplot's current axes.
    events
        Draw the lanes of events below the waveforms.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds of the call's clock on the x axis; the first-audio latency of a turn is bracketed.
    """
    axes = _axes(ax)
    source, start, end = _span(recorded)
    rows = 4.0
    for side, center, color in (
        ("sent", rows, COLORS["prompt"]),
        ("heard", rows - 2, COLORS["reply"]),
    ):
        clip = source.clip(side, start, end)  # type: ignore[arg-type]
        waveform(clip, ax=axes, offset=start, color=color, center=center, scale=0.95)
    ticks = {rows: "sent", rows - 2: "heard"}
    if events:
        ticks |= _event_lanes(axes, recorded.events)
    _bracket(axes, recorded, rows)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_xlim(start, max(end, start + 0.1))
    axes.set_xlabel("time on the call's clock (s)")
    axes.grid(axis="x", alpha=0.3)
    return axes


def _span(recorded: Any) -> tuple[RunAudio, float, float]:
    """Return the audio of a turn, session or run, and its first and last second."""
    state = getattr(recorded, "_state", None)
    audio: RunAudio = recorded._source.audio if state is not None else recorded.audio
    if state is None:
        return audio, 0.0, audio.duration
    return audio, state.started, state.ended if state.ended is not None else audio.duration


def _event_lanes(axes: Axes, log: EventLog) -> dict[float, str]:
    """Draw one mark an event, one call a lane; return the ticks."""
    lanes = list(_LANES.values())
    times: dict[str, list[float]] = {lane: [] for lane in lanes}
    for event in log:
        times[_lane(event)].append(event.time)
    ticks = {}
    for index, lane in enumerate(lanes):
        y = 0.4 - 0.6 * index
        color = COLORS["prompt"] if lane == "sent" else "0.35"
        axes.plot(times[lane], [y] * len(times[lane]), "|", color=color, markersize=9)
        ticks[y] = lane
    errors = [e.time for e in log if e.type == "error"]
    axes.plot(errors, [0.4 - 0.6 * len(lanes)] * len(errors), "x", color=COLORS["error"])
    return ticks


def _lane(event: Event) -> str:
    if event.direction == "sent":
        return "sent"
    prefix = event.type.split(".")[0] + ".*"
    return _LANES.get(prefix, "other")


def _bracket(axes: Axes, recorded: Any, y: float) -> None:
    latency = getattr(recorded, "latency", None)
    if latency is None or latency.first_audio is None:
        return
    axes.annotate(
        "",
        (latency.first_audible, y - 1),
        (latency.speech_end, y - 1),
        arrowprops={"arrowstyle": "<->", "color": "0.2"},
    )
    middle = (latency.first_audible + latency.speech_end) / 2
    axes.text(middle, y - 0.95, f"{latency.first_audio:.2f} s", ha="center", va="bottom")
