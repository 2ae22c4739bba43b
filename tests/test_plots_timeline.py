"""The timeline of a call: rows, spans, words and brackets, in their places and within the axes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from plotted import (
    boxes,
    call,
    drawing,
    event,
    extent,
    labels,
    marks,
    points,
    said,
    spoken,
    with_tool,
)

import rtnb
from rtnb import EventLog, errors, plots
from rtnb.measure import Latency
from rtnb.runaudio import RunAudio

EVENT_LANES = [
    "events sent",
    "input buffer",
    "conversation",
    "response.*",
    "output buffer",
    "other",
]


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes of a fresh figure; showing anything fails the test."""
    with drawing() as axes:
        yield axes


def lasting(begin: str, end: str, start: float, stop: float, **data: Any) -> list[rtnb.Event]:
    return [event(begin, start, **data), event(end, stop, **data)]


# --- rows ------------------------------------------------------------------------------------------


def test_a_call_has_both_sides_and_the_lanes(tmp_path: Path, ax: Axes) -> None:
    """Two waveforms, lanes of spans and lanes of events share one axis of time."""
    assert plots.timeline(call(tmp_path), ax=ax) is ax
    spans = ["speech (local)", "response", "audible (local)"]
    assert labels(ax) == ["prompt (sent)", "reply (heard)", *spans, *EVENT_LANES]
    assert ax.get_xlim() == (0.0, 2.0)


def test_the_lanes_can_be_left_out(tmp_path: Path, ax: Axes) -> None:
    """`events=False` and `spans=False` draw the waveforms alone."""
    plots.timeline(call(tmp_path), ax=ax, events=False, spans=False)
    assert labels(ax) == ["prompt (sent)", "reply (heard)"]
    assert list(ax.lines) == []


def test_the_louder_side_fills_its_row(tmp_path: Path, ax: Axes) -> None:
    """Both sides have one scale, and their peaks are written beside them."""
    plots.timeline(call(tmp_path), ax=ax, events=False, spans=False)
    heights = [np.ptp(c.get_paths()[0].vertices[:, 1]) for c in ax.collections]
    assert heights[1] == pytest.approx(heights[0] / 2, rel=0.01)
    assert [t.get_text().split("\n")[1] for t in ax.get_yticklabels()] == [
        "peak −12 dBFS",
        "peak −18 dBFS",
    ]


def test_a_long_call_has_no_more_points(tmp_path: Path, ax: Axes) -> None:
    """A minute of two sides stays within the bound."""
    plots.timeline(call(tmp_path, duration=60.0), ax=ax, events=False)
    assert points(ax) <= 2 * (2 * 2_400 + 8) + 20


def test_a_call_without_audio_is_drawn_and_says_so(tmp_path: Path, ax: Axes) -> None:
    """A call that died at once has an empty plot."""
    one = call(tmp_path)
    (tmp_path / "audio.wav").unlink()
    plots.timeline(one, ax=ax)
    ax.figure.canvas.draw()
    assert ax.get_yticklabels()[-1].get_text().endswith("no audio")


def test_lost_spans_are_hatched_on_what_was_heard(tmp_path: Path, ax: Axes) -> None:
    """Only the reply's row is hatched, where packets were lost."""
    one = call(tmp_path)
    with (tmp_path / "packets.csv").open("a") as file:
        file.write("lost,7,960,1.0,4800,48000\n")
    plots.timeline(one, ax=ax, spans=False)
    assert np.array(marks(ax, "lost")) == pytest.approx(np.array([(1.0, 1.1)]))


def test_a_run_draws_itself(tmp_path: Path, ax: Axes) -> None:
    """`run.plot()` is the timeline of the whole call."""
    call(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert rtnb.open_run(tmp_path).plot(ax=ax) is ax
    assert extent(ax)[:2] == pytest.approx((0.0, 2.0))


def test_a_turn_draws_its_own_part(tmp_path: Path, ax: Axes) -> None:
    """The axis of a turn runs from its beginning to its end, on the call's clock."""
    source = spoken(tmp_path, ("one", "1"), ("two", "2"), ("three", "3"))
    source.turns[1].plot(ax=ax)
    assert ax.get_xlim() == (2.0, 4.0)
    assert {"two", "2"} <= set(said(ax))
    assert "one" not in said(ax)


def test_a_figure_of_its_own_is_large(tmp_path: Path) -> None:
    """Without axes the figure has a thousand pixels across."""
    with drawing():
        pass
    axes = plots.timeline(call(tmp_path))
    assert tuple(axes.figure.get_size_inches()) == (10.0, 4.5)
    with drawing():
        pass


def test_errors_outside_of_the_view_are_counted_apart(tmp_path: Path, ax: Axes) -> None:
    """The head counts the errors that are seen; where there are others, the lane says so."""
    late = [event("error", 1.0), event("error", 2.5), event("error", 1e300)]
    plots.timeline(call(tmp_path, events=late), ax=ax)
    assert marks(ax, "errors") == [(1.0, 1.0)]
    assert labels(ax)[-1] == "errors (1)"
    assert said(ax) == ["1 outside of this view"]


@pytest.mark.parametrize("odd", [1e300, -1e300, 1e12], ids=str)
def test_a_turn_at_an_odd_time_is_no_trouble(odd: float, tmp_path: Path, ax: Axes) -> None:
    """A damaged record of a turn neither raises nor warns (which would fail)."""
    source = spoken(tmp_path, ("a", "b"), ("c", "d"))
    source.turns[0]._state.started = odd
    for recorded in (source, source.turns[0]):
        plots.timeline(recorded, ax=ax)
        ax.figure.canvas.draw()
    assert ax.get_xlim()[1] <= 4.0


@pytest.mark.parametrize("wrong", [[], "run", None, EventLog()], ids=repr)
def test_what_is_no_call_is_refused(wrong: object, ax: Axes) -> None:
    """The sentence names what was given."""
    with pytest.raises(errors.ConfigurationError, match=f"not of {type(wrong).__name__}"):
        plots.timeline(wrong, ax=ax)


# --- spans -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lane", "begin", "end", "data"),
    [
        (
            "speech",
            *("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
            {"item_id": "x"},
        ),
        ("response", "response.created", "response.done", {"response": {"id": "x"}}),
        (
            "audible",
            *("output_audio_buffer.started", "output_audio_buffer.stopped"),
            {"response_id": "x"},
        ),
        (
            "audible",
            *("output_audio_buffer.started", "output_audio_buffer.cleared"),
            {"response_id": "x"},
        ),
    ],
)
def test_a_pair_of_events_is_a_span(
    lane: str, begin: str, end: str, data: dict[str, Any], tmp_path: Path, ax: Axes
) -> None:
    """What the events say began and ended is a bar between them."""
    plots.timeline(call(tmp_path, events=lasting(begin, end, 0.5, 1.25, **data)), ax=ax)
    assert marks(ax, lane) == [(0.5, 1.25)]


def test_what_has_not_ended_lasts(tmp_path: Path, ax: Axes) -> None:
    """A response without its end is drawn up to the end of the plot."""
    plots.timeline(
        call(tmp_path, events=[event("response.created", 0.5, response={"id": "x"})]), ax=ax
    )
    assert marks(ax, "response") == [(0.5, 2.0)]


def test_crowded_spans_are_one_even_bar(tmp_path: Path, ax: Axes) -> None:
    """Spans closer than a pixel are joined, opaque and without edges: nothing adds up to a pattern."""
    made = []
    for n in range(1_000):
        data = {"response": {"id": str(n)}}
        made += lasting("response.created", "response.done", n / 500, n / 500 + 0.001, **data)
    plots.timeline(call(tmp_path, events=made), ax=ax)
    assert marks(ax, "response") == [(0.0, pytest.approx(1.999))]
    bar = next(c for c in ax.collections if c.get_label() == "_response")
    assert (bar.get_facecolor() == bar.get_edgecolor()).all()
    assert bar.get_facecolor()[0][3] == 1.0


def test_an_end_without_a_beginning_is_no_span(tmp_path: Path, ax: Axes) -> None:
    """A buffer that is cleared after it had stopped is not audible twice."""
    pair = lasting("output_audio_buffer.started", "output_audio_buffer.stopped", 0.5, 1.0)
    late = event("output_audio_buffer.cleared", 1.5)
    plots.timeline(call(tmp_path, events=[*pair, late]), ax=ax)
    assert marks(ax, "audible") == [(0.5, 1.0)]


def test_a_cut_reply_is_called_cut(tmp_path: Path, ax: Axes) -> None:
    """How a span ended is written in it, unless it was completed."""
    heard = lasting("output_audio_buffer.started", "output_audio_buffer.cleared", 0.5, 1.0)
    made = [event("response.created", 0.4, response={"id": "x"})]
    made += [event("response.done", 0.9, response={"id": "x", "status": "cancelled"})]
    plots.timeline(call(tmp_path, events=[*heard, *made]), ax=ax)
    assert set(said(ax)) == {"cut", "cancelled"}


def test_where_the_service_reports_none_sound_is_taken(tmp_path: Path, ax: Axes) -> None:
    """Speech that was sent is marked, and called local."""
    plots.timeline(call(tmp_path, duration=1.0), ax=ax)
    assert np.array(marks(ax, "speech (local)")) == pytest.approx(np.array([(0.0, 1.0)]))


def test_a_tool_is_a_span_with_its_name(tmp_path: Path, ax: Axes) -> None:
    """A tool that ran has a bar in a lane of its own; one that runs still has no end."""
    source = spoken(tmp_path, ("weather?", "sunny"))
    with_tool(with_tool(source.turns[0], "weather", 0.5, 0.75), "$slow$", 1.5, None)
    plots.timeline(source, ax=ax)
    assert marks(ax, "tools") == [(0.5, 0.75), (1.5, 2.0)]
    assert {"weather", "$slow$"} <= set(said(ax))


# --- words -----------------------------------------------------------------------------------------


def test_what_was_said_is_at_its_time(tmp_path: Path, ax: Axes) -> None:
    """Words begin where their sound does; prompts of several turns are numbered."""
    plots.timeline(spoken(tmp_path, ("Hello?", "Hi."), ("And?", "So.")), ax=ax)
    at = {text.get_text(): text.xy[0] for text in ax.texts if hasattr(text, "xy")}
    assert at == {"1. Hello?": 0.0, "Hi.": 1.0, "2. And?": 2.0, "So.": 3.0}


def test_transcripts_can_be_left_out(tmp_path: Path, ax: Axes) -> None:
    """`transcripts=False` writes no words."""
    plots.timeline(spoken(tmp_path, ("Hello?", "Hi.")), ax=ax, transcripts=False, latency=False)
    assert said(ax) == []


@pytest.mark.parametrize("size", [(10, 4.5), (6.4, 4.8), (4, 3)], ids=str)
def test_words_never_overlap_and_never_leave_the_axes(
    size: tuple[float, float], tmp_path: Path
) -> None:
    """Long texts side by side are cut, whatever the size of the axes."""
    long = "The quick brown fox jumps over the lazy dog, again and again. " * 30
    with drawing(size) as ax:
        plots.timeline(spoken(tmp_path, *[(long, long)] * 5), ax=ax)
        found = boxes(ax)
        inside = ax.get_window_extent().padded(1.0)
        assert all(inside.contains(b.x0, b.y0) and inside.contains(b.x1, b.y1) for _, b in found)
        assert [a for (a, p), (_, q) in itertools.combinations(found, 2) if p.overlaps(q)] == []
        assert len(found) >= 2


@pytest.mark.parametrize(
    "text",
    [
        *("$x^2_{", "costs $5 and $6", r"\frac{1}{2} $\bad$", "你好，世界", "😀🎉 👩‍👩‍👧", "مرحبا"),
        *("\x1b[31mred\x1b[0m", "\u202eevil", "null\x00byte", "\ud800", "a\nb\tc", "x" * 100_000),
        "<script>alert(1)</script>",
    ],
    ids=ascii,
)
def test_any_text_can_be_drawn(text: str, tmp_path: Path, ax: Axes) -> None:
    """Markup is literal, controls are gone, missing letters are no warning (which would fail)."""
    plots.timeline(spoken(tmp_path, (text[:40], text)), ax=ax)
    shown = "".join(said(ax))
    assert shown
    assert not set(shown) & set("\x00\x1b\t\u202e\ud800")


def test_markup_is_drawn_literally(tmp_path: Path, ax: Axes) -> None:
    """Dollar signs begin no formula."""
    plots.timeline(spoken(tmp_path, ("costs $5 or $6", "$x_1$")), ax=ax)
    assert {"costs $5 or $6", "$x_1$"} <= set(said(ax))
    assert not any(text.get_parse_math() for text in ax.texts if "$" in text.get_text())


def test_a_letter_that_no_font_has_is_a_box(tmp_path: Path, ax: Axes) -> None:
    """What cannot be drawn is seen to be missing."""
    plots.timeline(spoken(tmp_path, ("a\U0001f9ffb", "ok")), ax=ax)
    assert "a\u25a1b" in said(ax)


# --- brackets --------------------------------------------------------------------------------------


def test_a_latency_is_bracketed(tmp_path: Path, ax: Axes) -> None:
    """First audio is written over a bracket from the end of speech to the reply."""
    one = call(tmp_path)
    one.latency = Latency(0.62, 0.5, 1.12)
    plots.timeline(one, ax=ax)
    at = [x for x, _ in marks(ax, "first audio")]
    assert (np.nanmin(at), np.nanmax(at)) == (0.5, 1.12)
    assert [(t.get_text(), t.get_position()[0]) for t in ax.texts] == [
        ("0.62 s", pytest.approx(0.81))
    ]


def test_every_turn_is_bracketed(tmp_path: Path, ax: Axes) -> None:
    """A call of few turns has a bracket for each, in one artist."""
    source = spoken(tmp_path, ("a", "b"), ("c", "d"))
    for turn in source.turns:
        turn._latency = Latency(0.5, turn._state.started + 0.5, turn._state.started + 1.0)
    plots.timeline(source, ax=ax)
    assert said(ax).count("0.50 s") == 2
    assert len([line for line in ax.lines if line.get_label() == "_first audio"]) == 1


def test_too_many_turns_are_not_bracketed(tmp_path: Path, ax: Axes) -> None:
    """Brackets that could not be told apart are not drawn, and not measured."""
    source = spoken(tmp_path, *[("a", "b")] * 25, step=0.1)
    plots.timeline(source, ax=ax)
    assert marks(ax, "first audio") == []


def test_no_latency_is_no_bracket(tmp_path: Path, ax: Axes) -> None:
    """A turn without an audible reply has none."""
    one = call(tmp_path)
    one.latency = Latency()
    plots.timeline(one, ax=ax)
    assert list(ax.texts) == []


@pytest.mark.parametrize(
    "latency", [Latency(None, 1.0, 0.5), Latency(-0.5, 1.0, 0.5), Latency(1e300, 1.0, 1e300)]
)
def test_a_reply_before_its_time_has_no_bracket(latency: Latency, tmp_path: Path, ax: Axes) -> None:
    """Sound from before the end of speech is not waited for: no bracket runs backwards."""
    one = call(tmp_path)
    one.latency = latency
    plots.timeline(one, ax=ax)
    assert marks(ax, "first audio") == []
    assert list(ax.texts) == []


def test_a_turn_without_detection_has_local_speech(tmp_path: Path, ax: Axes) -> None:
    """What the service heard of another turn does not hide what was sent in this one."""
    source = spoken(tmp_path, ("a", "b"), ("c", "d"))
    kinds = ("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped")
    source.events = EventLog(lasting(*kinds, 0.5, 1.0))
    source.turns[1].plot(ax=ax)
    assert labels(ax)[2] == "speech (local)"
    assert len(marks(ax, "speech (local)")) == 1


# --- network ---------------------------------------------------------------------------------------


def heard_packets(
    folder: Path, count: int, *, lost: dict[int, str] | None = None, late: Sequence[int] = ()
) -> None:
    """Add packets of both directions to a run; each lost one is silent or filled in some way."""
    lost = lost or {}
    with (folder / "packets.csv").open("a") as file:
        for n in range(count):
            at, place = n * 0.02, n * 960
            file.write(f"sent,{n},{place},{at + 0.03 * (n in late):.6f},,{place},\n")
            if n in lost:
                file.write(f"lost,{n},,,960,{place},{lost[n]}\n")
            else:
                delay = 0.005 + 0.05 * (n == 20)
                file.write(f"received,{n},{place},{at + delay:.6f},80,{place},\n")


def test_the_network_has_a_strip(tmp_path: Path, ax: Axes) -> None:
    """Loss stands in its name, delay and pacing above it, and losses are bars where they were."""
    one = call(tmp_path)
    heard_packets(tmp_path, 100, lost={30: "", 50: "fec", 51: "plc", 80: ""}, late=[10])
    plots.timeline(one, ax=ax)
    assert labels(ax)[-1] == "network"
    assert ax.get_yticklabels()[-1].get_text().endswith("4.0 % lost")
    assert said(ax) == ["delay up to 50 ms, jitter 0.1 ms, 1 of 100 left late, up to 30 ms"]
    assert np.array(marks(ax, "lost packets")) == pytest.approx(
        np.array([(0.6, 0.62), (1.6, 1.62)])
    )
    assert np.array(marks(ax, "concealed packets")) == pytest.approx(np.array([(1.0, 1.04)]))
    assert np.array(marks(ax, "left late")) == pytest.approx(np.array([(0.2, 0.2)]))


def test_without_packets_there_is_no_strip(tmp_path: Path, ax: Axes) -> None:
    """A run that has no rows of packets is drawn as before."""
    plots.timeline(call(tmp_path), ax=ax)
    assert "network" not in labels(ax)


def test_the_strip_can_be_left_out(tmp_path: Path, ax: Axes) -> None:
    """`network=False` draws none."""
    one = call(tmp_path)
    heard_packets(tmp_path, 100)
    plots.timeline(one, ax=ax, network=False)
    assert "network" not in labels(ax)
    assert marks(ax, "delay") == []


def test_the_strip_stays_in_its_row(tmp_path: Path, ax: Axes) -> None:
    """The largest delay fills its half, and nothing reaches into another row or out of the axes."""
    one = call(tmp_path)
    heard_packets(tmp_path, 100, lost={30: ""}, late=[10])
    plots.timeline(one, ax=ax)
    row = min(ax.get_yticks())
    (line,) = (line for line in ax.lines if line.get_label() == "_delay")
    assert row - 1e-9 <= np.nanmin(line.get_ydata()) < np.nanmax(line.get_ydata()) <= row + 0.4
    assert ax.get_ylim()[0] <= row - 0.4


def test_a_turn_s_strip_is_of_its_own_packets(tmp_path: Path, ax: Axes) -> None:
    """Losses of other turns are neither drawn nor counted."""
    source = spoken(tmp_path, ("one", "1"), ("two", "2"))
    heard_packets(tmp_path, 200, lost={30: "", 150: ""})
    source.turns[1].plot(ax=ax)
    assert np.array(marks(ax, "lost packets")) == pytest.approx(np.array([(3.0, 3.02)]))
    assert ax.get_yticklabels()[-1].get_text().endswith("1.0 % lost")


def test_a_long_call_s_strip_has_no_more_points(tmp_path: Path, ax: Axes) -> None:
    """Ten minutes of packets, a tenth of them lost, stay within the bound."""
    one = call(tmp_path)
    heard_packets(tmp_path, 30_000, lost=dict.fromkeys(range(5, 30_000, 10), ""))
    one.audio = RunAudio(tmp_path)
    with (tmp_path / "audio.wav").open("ab") as file:
        file.truncate(600 * 192_000)
    plots.network(one, ax=ax)
    assert points(ax) <= 2 * 800 + 5 * 800 + 10
    (line,) = (line for line in ax.lines if line.get_label() == "_delay")
    assert len(line.get_xdata()) >= 800
    assert 0.0 < np.nanmax(line.get_ydata()) == pytest.approx(50.0)


def test_a_figure_of_the_network(tmp_path: Path, ax: Axes) -> None:
    """Delays are in milliseconds above 0, late departures below, and figures in the note."""
    one = call(tmp_path)
    heard_packets(tmp_path, 100, lost={30: ""}, late=[10])
    assert plots.network(one, ax=ax) is ax
    assert said(ax) == [
        "1.0 % lost, delay up to 50 ms, jitter 0.0 ms, 1 of 100 left late, up to 30 ms"
    ]
    (line,) = (line for line in ax.lines if line.get_label() == "_delay")
    assert np.nanmax(line.get_ydata()) == pytest.approx(50.0)
    assert ax.get_ylim()[0] < -30 < 50 < ax.get_ylim()[1]


def test_a_quiet_network_is_drawn_flat(tmp_path: Path, ax: Axes) -> None:
    """The scale grows no finer than a packet, and the far clock's drift is no delay."""
    one = call(tmp_path, duration=20.0)
    with (tmp_path / "packets.csv").open("a") as file:
        file.writelines(
            f"received,{n},{n * 960},{n * 0.020004 + 0.001 * (n % 2):.6f},80,{n * 960},\n"
            for n in range(1_000)
        )
    plots.network(one, ax=ax)
    (line,) = (line for line in ax.lines if line.get_label() == "_delay")
    assert np.nanmax(line.get_ydata()) == pytest.approx(1.0, abs=0.1)
    assert ax.get_ylim()[1] > 20


def test_a_figure_of_no_network(tmp_path: Path, ax: Axes) -> None:
    """A call without packets says so."""
    plots.network(call(tmp_path), ax=ax)
    assert said(ax) == ["no packets"]


def test_a_pause_is_no_line(tmp_path: Path, ax: Axes) -> None:
    """Where nothing came for a while, nothing is drawn."""
    one = call(tmp_path)
    heard_packets(tmp_path, 100, lost=dict.fromkeys(range(40, 70), ""))
    plots.network(one, ax=ax)
    (line,) = (line for line in ax.lines if line.get_label() == "_delay")
    assert np.isnan(line.get_ydata()).sum() == 1
