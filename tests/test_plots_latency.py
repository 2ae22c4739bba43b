"""The latency waterfall: a bar a turn, to scale, bounded, and honest about what was not answered."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from plotted import boxes, drawing, labels, marks, plt, points, said, spoken

from rtnb import errors, plots
from rtnb.latencies import Latencies
from rtnb.measure import Latency
from rtnb.plotting.waterfall import STAGES

STEPS = {"speech_stopped": 0.3, "committed": 0.01, "response_created": 0.04, "first_packet": 0.2}


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes of a fresh figure; showing anything fails the test."""
    with drawing() as axes:
        yield axes


def timed(first: float = 0.6, *, begin: float = 7.0, **marks: float) -> Latency:
    """Return a latency whose stages are `STEPS`, and what is left of so many seconds."""
    times = dict(zip(STEPS, begin + np.cumsum(list(STEPS.values())), strict=True)) | marks
    return Latency(first, begin, begin + first, verdict="answered", reply_end=begin + 9, **times)


def missed(reason: str = "No reply was audible within 5 s.", verdict: str = "missed") -> Latency:
    """Return a latency of a turn that was not answered, though the service heard it."""
    return Latency(None, 7.0, None, speech_stopped=7.3, verdict=verdict, reason=reason)


def turn(latency: Latency, name: str | None = None, number: int = 1) -> Any:
    """Return what a waterfall asks of a turn."""
    return SimpleNamespace(latency=latency, name=name, number=number)


# --- bars ------------------------------------------------------------------------------------------


def test_each_stage_is_to_scale(ax: Axes) -> None:
    """It begins where the one before it ends, and they add up to the first audio."""
    assert plots.latency([timed(0.6)], ax=ax) is ax
    ends = [*np.cumsum(list(STEPS.values())), 0.6]
    starts = [0.0, *ends[:-1]]
    found = [marks(ax, name.replace("_", " "))[0] for name in STAGES]
    assert found == [pytest.approx(span) for span in zip(starts, ends, strict=True)]


def test_a_stage_that_is_not_known_is_part_of_the_next(ax: Axes) -> None:
    """A text prompt has no speech that stops: the bar has no hole."""
    bare = Latency(0.5, 2.0, 2.5, response_created=2.1, verdict="answered")
    plots.latency([bare], ax=ax)
    assert marks(ax, "speech stopped") == marks(ax, "committed") == marks(ax, "first packet") == []
    assert marks(ax, "response created") == [pytest.approx((0.0, 0.1))]
    assert marks(ax, "first audible") == [pytest.approx((0.1, 0.5))]


def test_a_mark_that_came_early_takes_no_length(ax: Axes) -> None:
    """Nothing is drawn backwards, nor beyond the first audible sample."""
    plots.latency([timed(0.6, committed=7.1, first_packet=7.9)], ax=ax)
    assert marks(ax, "committed") == []
    assert marks(ax, "response created") == [pytest.approx((0.3, 0.35))]
    spans = [span for name in STAGES for span in marks(ax, name.replace("_", " "))]
    assert max(end for _, end in spans) == pytest.approx(0.6)
    assert all(end > start for start, end in spans)


def test_the_seconds_stand_behind_each_bar(ax: Axes) -> None:
    """And the prompts' names beside them, the first turn at the top."""
    plots.latency([turn(timed(0.6), "alpha", 1), turn(timed(0.9), "beta", 2)], ax=ax)
    assert {"0.60 s", "0.90 s"} <= set(said(ax))
    assert labels(ax) == ["1 alpha", "2 beta"]


def test_what_was_not_answered_says_why(ax: Axes) -> None:
    """With as much of the bar as is known."""
    plots.latency([timed(), missed(), missed("No speech.", "excluded")], ax=ax)
    words = said(ax)
    assert "× missed: No reply was audible within 5 s" in words
    assert "× excluded: No speech" in words
    assert len(marks(ax, "speech stopped")) == 3
    assert len(marks(ax, "first audible")) == 1


def test_the_median_is_of_what_was_answered(ax: Axes) -> None:
    """A reply after its time is drawn, but is none of the median; of few there is no p90."""
    late = Latency(6.0, 7.0, 13.0, verdict="missed", reason="It came late.")
    plots.latency([timed(0.5), timed(0.7), late], ax=ax)
    assert marks(ax, "median")[0][0] == pytest.approx(0.6)
    assert marks(ax, "p90") == []
    assert ax.get_xlabel() == "seconds after the end of speech (median 0.60 s dashed)"


def test_ten_answers_have_a_ninetieth_percentile(ax: Axes) -> None:
    """It is in the label of the axis, too."""
    plots.latency([timed(0.6 + i / 100) for i in range(10)], ax=ax)
    assert marks(ax, "p90")[0][0] == pytest.approx(
        np.percentile([0.6 + i / 100 for i in range(10)], 90)
    )
    assert "p90 0.68 s" in ax.get_xlabel()


def test_the_stages_are_named_in_their_colours(ax: Axes) -> None:
    """The first and the last one as prompt and reply are everywhere."""
    plots.latency([timed()], ax=ax)
    squares = [to_hex(text.get_color()) for text in ax.texts if text.get_text() == "■"]
    assert squares == list(STAGES.values())
    assert squares[0] == plots.COLORS["prompt"]
    assert squares[-1] == plots.COLORS["reply"]
    assert [name.replace("_", " ") for name in STAGES] == said(ax)[1:10:2]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_words_can_be_read_on_any_paper(style: str) -> None:
    """Dark on light, light on dark."""
    with plt.style.context(style), drawing() as ax:
        plots.latency([timed(), missed()], ax=ax)
        paper = np.mean(plt.matplotlib.colors.to_rgb(ax.get_facecolor()))
        words = [t for t in ax.texts if t.get_text() != "■"]
        for text in words:
            assert abs(np.mean(plt.matplotlib.colors.to_rgb(text.get_color())) - paper) > 0.5


def test_words_from_outside_are_no_markup(ax: Axes) -> None:
    """Neither mathematics nor control characters."""
    plots.latency(
        [turn(timed(), "cost $x$ and $\\frac$\x07"), turn(missed("$\\frac$ \u202e"))], ax=ax
    )
    words = " ".join([*said(ax), *(label.get_text() for label in ax.get_yticklabels())])
    assert "$" in words
    assert not {"\x07", "\u202e"} & set(words)


# --- what it is drawn of ----------------------------------------------------------------------------


def test_turns_calls_and_latencies_are_drawn_alike(tmp_path: Any) -> None:
    """A call, its turns, one turn, their latencies and a batch of first turns."""
    call = spoken(tmp_path / "run", ("What?", "That."), ("Why?", "So."))
    latencies = [one.latency for one in call.turns]
    several = Latencies(tuple(latencies), ("a", "turn 2"), (1, 2))
    for measured, rows in (
        (call, ["1", "2"]),
        (call.turns, ["1", "2"]),
        (call.turns[1:], ["2"]),
        (call.turns[1], ["2"]),
        (latencies, ["1", "2"]),
        (several, ["1 a", "2"]),
        ([call.turns[0], call.turns[0]], ["1", "2"]),
    ):
        with drawing() as ax:
            assert labels(plots.latency(measured, ax=ax)) == rows


def test_no_turns_are_said(ax: Axes) -> None:
    """An empty list is no error."""
    assert "no turns" in said(plots.latency([], ax=ax))


@pytest.mark.parametrize("wrong", ["turns", 3, None, [1, 2], object()])
def test_anything_else_is_refused(wrong: Any, ax: Axes) -> None:
    """The sentence says what can be drawn."""
    with pytest.raises(errors.ConfigurationError, match="is drawn of a Session, a Run, turns"):
        plots.latency(wrong, ax=ax)


def test_it_goes_on_the_current_axes() -> None:
    """In a figure of its own, which is as high as the turns take."""
    with drawing():
        plt.close("all")
        ax = plots.latency([timed()] * 40)
        assert ax is plt.gca()
        assert 8 < ax.figure.get_size_inches()[1] < 11


# --- many ------------------------------------------------------------------------------------------


def test_many_turns_are_sorted(ax: Axes) -> None:
    """The fastest at the top; what was not answered is counted at the bottom."""
    first = [0.6 + (i * 37 % 100) / 100 for i in range(100)]
    plots.latency([*map(timed, first), *[missed()] * 20], ax=ax)
    ends = [end for _, end in marks(ax, "first audible")]
    assert ends == pytest.approx(sorted(first))
    assert "× 20 missed" in said(ax)
    assert ax.get_ylim()[0] == -120


def test_thousands_take_no_more_than_hundreds() -> None:
    """And the extremes are still within the axes."""
    drawn = []
    for count in (1_000, 20_000):
        with drawing() as ax:
            plots.latency([timed(0.6 + i / count) for i in range(count)], ax=ax)
            drawn.append(points(ax))
            assert ax.get_xlim()[1] > 1.6
    assert max(drawn) < 20_000


@pytest.mark.parametrize("size", [(3.0, 2.0), (2.0, 6.0), (10.0, 1.2)])
def test_small_axes_keep_their_words(size: tuple[float, float]) -> None:
    """Nothing fails, and the names of the stages stay above the bars."""
    with drawing(size) as ax:
        plots.latency([timed(), missed(), timed()], ax=ax)
        key = [box for text, box in boxes(ax) if text.get_text() == "■"]
        top = ax.transData.transform((0.0, 0.5))[1]
        assert size[1] < 2 or all(box.y0 >= top - 2 for box in key)
