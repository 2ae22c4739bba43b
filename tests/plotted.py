"""Calls to be plotted, made without a network, and what can be read off the axes afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from rtnb import Clip, Event, EventLog
from rtnb.runaudio import RunAudio
from rtnb.runfiles import RunWriter
from rtnb.turns import Turn
from rtnb.turnstate import ResponseState, ToolCall, TurnState

mpl.use("Agg")

from matplotlib import pyplot as plt

__all__ = ["call", "drawing", "event", "extent", "labels", "marks", "points", "said", "spoken"]


@contextmanager
def drawing(size: tuple[float, float] = (10.0, 4.5)) -> Iterator[Axes]:
    """Give axes of a fresh figure; showing anything fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "show", lambda *_: pytest.fail("a plot must not show itself"))
        _, axes = plt.subplots(figsize=size)
        yield axes
        plt.close("all")


def event(kind: str, time: float, direction: Any = "received", **data: Any) -> Event:
    """Return an event of a type at a time."""
    return Event(json.dumps({"type": kind, **data}), time=time, direction=direction)


def write_audio(folder: Path, duration: float) -> RunAudio:
    """Write a tone sent, and half as loud a one heard, as a run's audio."""
    folder.mkdir(exist_ok=True)
    writer = RunWriter(folder, sample_rate=48_000)
    tone = np.rint(Clip.tone(440, duration).samples * 32768).astype(np.int16)
    writer.audio(np.stack([tone, tone // 2], axis=1))
    writer.close()
    return RunAudio(folder)


def call(folder: Path, *, duration: float = 2.0, events: Sequence[Event] = ()) -> SimpleNamespace:
    """Return a recorded call without turns."""
    return SimpleNamespace(audio=write_audio(folder, duration), events=EventLog(events))


def spoken(folder: Path, *texts: tuple[str, str], step: float = 2.0) -> Any:
    """Return a recorded call of a turn of `step` seconds for each prompt and reply."""
    source: Any = SimpleNamespace(
        audio=write_audio(folder, step * len(texts)),
        events=EventLog(),
        changed=threading.Condition(),
        failure=None,
    )
    source.turns = []
    for index, (prompt, reply) in enumerate(texts):
        start = index * step
        state = TurnState(index + 1, "audio", start, ended=start + step)
        state.status, state.transcripts = "completed", {"item": prompt}
        state.plays = {"play": (start, start + 0.4 * step)}
        response = ResponseState(f"response {index}", start + 0.5 * step, "completed")
        response.parts = {("item", 0): reply}
        response.audio_started, response.audio_ended = start + 0.5 * step, start + 0.9 * step
        response.audio_expected = True
        state.responses = [response]
        source.turns.append(Turn(state, source))
    return source


def with_tool(turn: Turn, name: str, start: float, end: float | None) -> Turn:
    """Add a tool call to a turn."""
    turn._state.tool_calls.append(ToolCall("call", name, "{}", start, ended=end))
    return turn


def points(axes: Axes) -> int:
    """Return how many points are drawn on it."""
    outlines = sum(len(p.vertices) for c in axes.collections for p in c.get_paths())
    return outlines + sum(len(line.get_xdata()) for line in axes.lines)


def extent(axes: Axes) -> tuple[float, float, float, float]:
    """Return first x, last x, lowest y, highest y of the areas drawn."""
    at = np.concatenate([p.vertices for c in axes.collections for p in c.get_paths()])
    (left, low), (right, high) = at.min(axis=0), at.max(axis=0)
    return float(left), float(right), float(low), float(high)


def marks(axes: Axes, name: str) -> list[tuple[float, float]]:
    """Return (start, end) of the spans, or (time, time) of the marks, that go by a name."""
    for line in axes.lines:
        if line.get_label() == f"_{name}":
            return [(float(x), float(x)) for x in line.get_xdata()]
    for drawn in axes.collections:
        if drawn.get_label() == f"_{name}":
            xs = [path.vertices[:, 0] for path in drawn.get_paths()]
            return [(float(x.min()), float(x.max())) for x in xs]
    return []


def said(axes: Axes) -> list[str]:
    """Return the texts on the axes, once they are drawn."""
    axes.figure.canvas.draw()
    return [text.get_text() for text in axes.texts]


def labels(axes: Axes) -> list[str]:
    """Return the first lines of the names of the rows, from the top."""
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    return [label.get_text().split("\n")[0] for _, label in sorted(ticks, key=lambda t: -t[0])]


def boxes(axes: Axes) -> list[tuple[Text, Any]]:
    """Return each text on the axes with the pixels that it covers."""
    axes.figure.canvas.draw()
    return [(text, text.get_window_extent()) for text in axes.texts]
