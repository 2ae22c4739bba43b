"""Drawing: on the Axes that were given, bounded, and never shown by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

import rtnb
from rtnb import Clip, Event, EventLog, plots
from rtnb.measure import Latency
from rtnb.runaudio import RunAudio
from rtnb.runfiles import RunWriter

mpl.use("Agg")

from matplotlib import pyplot as plt


@pytest.fixture
def ax(monkeypatch: pytest.MonkeyPatch) -> Iterator[Axes]:
    """Axes of a fresh figure; showing anything fails the test."""
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("a plot must not show itself"))
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def points(axes: Axes) -> int:
    """Return how many points are drawn on it."""
    outlines = sum(len(p.vertices) for c in axes.collections for p in c.get_paths())
    return outlines + sum(len(line.get_xdata()) for line in axes.lines)


def extent(axes: Axes) -> tuple[float, float, float, float]:
    """Return first x, last x, lowest y, highest y of the waveform drawn."""
    at = np.concatenate([p.vertices for c in axes.collections for p in c.get_paths()])
    (left, low), (right, high) = at.min(axis=0), at.max(axis=0)
    return float(left), float(right), float(low), float(high)


def call(folder: Path, *, duration: float = 2.0) -> SimpleNamespace:
    """Return a recorded call that has events of every lane."""
    writer = RunWriter(folder, sample_rate=48_000)
    tone = np.rint(Clip.tone(440, duration).samples * 32768).astype(np.int16)
    writer.audio(np.stack([tone, tone // 2], axis=1))
    writer.close()
    kinds = ["session.created", "input_audio_buffer.speech_started", "response.done"]
    kinds += ["output_audio_buffer.started", "error"]
    events = [
        Event(json.dumps({"type": kind}), time=0.1 * n, direction="received")
        for n, kind in enumerate(kinds)
    ]
    events.append(Event('{"type": "response.create"}', time=0.9, direction="sent"))
    return SimpleNamespace(audio=RunAudio(folder), events=EventLog(events))


# --- a clip --------------------------------------------------------------------------------------


def test_a_clip_is_drawn_on_the_axes_given(ax: Axes) -> None:
    """The Axes that were given are returned, with the waveform in seconds."""
    assert Clip.tone(440, 1.5, level=0.0).plot(ax=ax) is ax
    assert extent(ax) == pytest.approx((0.0, 1.5, -1.0, 1.0), abs=0.001)
    assert ax.get_xlabel() == "time (s)"


def test_a_clip_is_drawn_on_the_current_axes(ax: Axes) -> None:
    """Without Axes it goes where pyplot is."""
    assert Clip.tone(440, 0.5).plot() is ax


def test_a_clip_is_drawn_where_it_is_told(ax: Axes) -> None:
    """`offset`, `center` and `scale` place it."""
    plots.waveform(Clip.tone(440, 1.0, level=0.0), ax=ax, offset=3.0, center=2.0, scale=0.5)
    assert extent(ax) == pytest.approx((3.0, 4.0, 1.5, 2.5), abs=0.001)


def test_a_long_clip_has_no_more_points(ax: Axes) -> None:
    """Ten minutes are drawn with as many points as ten seconds."""
    chance = np.random.default_rng(1)
    plots.waveform(Clip(chance.uniform(-0.5, 0.5, 600 * 48_000), 48_000), ax=ax)
    assert points(ax) <= 2 * 2_400 + 8
    assert extent(ax)[1] == 600.0


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_shortest_clips_are_drawn(count: int, ax: Axes) -> None:
    """A clip of no or few samples can be drawn."""
    assert plots.waveform(Clip(np.full(count, 0.5), 48_000), ax=ax) is ax
    ax.figure.canvas.draw()
    assert points(ax) >= 1


def test_silence_is_a_flat_line(ax: Axes) -> None:
    """Digital silence is drawn at the centre."""
    plots.waveform(Clip.silence(1.0), ax=ax, center=3.0)
    assert extent(ax) == pytest.approx((0.0, 1.0, 3.0, 3.0))


def test_gaps_are_marked(ax: Axes) -> None:
    """Each gap is a span of its own, where it is."""
    plots.waveform(Clip(np.zeros(1000), 1000, gaps=[(0.1, 0.2), (0.5, 0.6)]), ax=ax, offset=1.0)
    assert [patch.get_extents().width > 0 for patch in ax.patches] == [True, True]
    assert ax.patches[0].get_hatch() == "//"


def test_a_label_is_for_the_legend(ax: Axes) -> None:
    """`label` and `color` are matplotlib's."""
    plots.waveform(Clip.tone(440, 0.1), ax=ax, label="prompt", color="#d55e00")
    assert ax.get_legend_handles_labels()[1] == ["prompt"]


def test_nothing_is_opened_when_axes_are_given(ax: Axes) -> None:
    """pyplot's state is left alone."""
    before = plt.get_fignums()
    Clip.tone(440, 0.1).plot(ax=ax)
    assert plt.get_fignums() == before


# --- a call --------------------------------------------------------------------------------------


def test_a_call_has_both_sides_and_the_lanes(tmp_path: Path, ax: Axes) -> None:
    """Two waveforms and a lane a kind of event share one axis of time."""
    assert plots.timeline(call(tmp_path), ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *("sent", "heard"),
        *("sent", "input buffer", "output buffer", "response", "other"),
    ]
    assert ax.get_xlim() == (0.0, 2.0)
    assert len(ax.collections) == 2


def test_an_event_is_in_its_lane(tmp_path: Path, ax: Axes) -> None:
    """Every event is a mark in one lane; an error is marked once more."""
    plots.timeline(call(tmp_path), ax=ax)
    counts = [len(line.get_xdata()) for line in ax.lines]
    assert counts == [1, 1, 1, 1, 2, 1]


def test_the_lanes_can_be_left_out(tmp_path: Path, ax: Axes) -> None:
    """`events=False` draws the waveforms alone."""
    plots.timeline(call(tmp_path), ax=ax, events=False)
    assert list(ax.lines) == []
    assert len(ax.get_yticks()) == 2


def test_a_long_call_has_no_more_points(tmp_path: Path, ax: Axes) -> None:
    """A minute of two sides stays within the bound."""
    plots.timeline(call(tmp_path, duration=60.0), ax=ax, events=False)
    assert points(ax) <= 2 * (2 * 2_400 + 8)


def test_a_call_without_audio_is_drawn(tmp_path: Path, ax: Axes) -> None:
    """A call that died at once has an empty plot."""
    empty = SimpleNamespace(audio=RunAudio(tmp_path), events=EventLog())
    assert plots.timeline(empty, ax=ax) is ax
    ax.figure.canvas.draw()


def test_a_latency_is_bracketed(tmp_path: Path, ax: Axes) -> None:
    """First audio is written between the end of speech and the reply."""
    one = call(tmp_path)
    one.latency = Latency(0.62, 0.5, 1.12)
    plots.timeline(one, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["", "0.62 s"]
    assert ax.texts[1].get_position()[0] == pytest.approx(0.81)


def test_no_latency_is_no_bracket(tmp_path: Path, ax: Axes) -> None:
    """A turn without an audible reply has none."""
    one = call(tmp_path)
    one.latency = Latency()
    plots.timeline(one, ax=ax)
    assert list(ax.texts) == []


def test_a_run_draws_itself(tmp_path: Path, ax: Axes) -> None:
    """`run.plot()` is the timeline of the whole call."""
    call(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert rtnb.open_run(tmp_path).plot(ax=ax) is ax
    assert extent(ax)[:2] == pytest.approx((0.0, 2.0))
