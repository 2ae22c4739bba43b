"""Events as lanes: one artist a lane, bounded, no error hidden."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from matplotlib.axes import Axes
from plotted import drawing, event, labels, marks, said

from rtnb import EventLog, errors, plots


@pytest.fixture
def ax() -> Iterator[Axes]:
    """Axes of a fresh figure; showing anything fails the test."""
    with drawing() as axes:
        yield axes


def log_of(*kinds: str) -> EventLog:
    return EventLog(event(kind, 0.5 * n) for n, kind in enumerate(kinds))


def test_each_event_is_in_the_lane_of_what_it_is_about(ax: Axes) -> None:
    """The lanes are what we sent and, of what came, what the types begin with."""
    log = log_of("input_audio_buffer.committed", "response.done", "session.created")
    log.append(event("response.create", 4.0, direction="sent"))
    assert plots.events(log, ax=ax) is ax
    assert labels(ax) == ["events sent", "input buffer", "response.*", "other"]
    assert marks(ax, "response.*") == [(0.5, 0.5)]
    assert marks(ax, "events sent") == [(4.0, 4.0)]


def test_the_axis_is_the_call_s_clock(ax: Axes) -> None:
    """Seconds on the x axis, from the first event to the last."""
    plots.events(log_of("a", "b", "c"), ax=ax)
    assert ax.get_xlim() == pytest.approx((0.0, 1.0), abs=0.02)
    assert ax.get_xlabel() == "time on the call's clock (s)"


def test_ten_thousand_events_are_a_few_artists(ax: Axes) -> None:
    """Marks are thinned to the columns of a page, in one artist a lane."""
    plots.events(EventLog(event("response.x", n / 100) for n in range(10_000)), ax=ax)
    assert len(ax.lines) == 1
    assert 600 < len(marks(ax, "response.*")) <= 2_401


def test_no_error_is_thinned_away(ax: Axes) -> None:
    """An error among 10,000 other events has its own mark in its own lane."""
    log = EventLog(event("response.x", n / 100) for n in range(10_000))
    log.append(event("error", 50.004))
    plots.events(log, ax=ax)
    assert marks(ax, "errors") == [(50.004, 50.004)]
    assert labels(ax)[-1] == "errors (1)"


@pytest.mark.parametrize(
    "failed",
    [
        event("error", 1.0),
        event("conversation.item.input_audio_transcription.failed", 1.0),
        event("response.done", 1.0, response={"status": "failed"}),
    ],
    ids=lambda one: one.type,
)
def test_every_kind_of_failure_is_an_error(failed: object, ax: Axes) -> None:
    """What failed is marked, whatever the event is called."""
    plots.events(EventLog([failed]), ax=ax)  # type: ignore[list-item]
    assert marks(ax, "errors") == [(1.0, 1.0)]


def test_a_response_that_was_completed_is_no_error(ax: Axes) -> None:
    """Success is not marked as failure."""
    plots.events(EventLog([event("response.done", 1.0, response={"status": "completed"})]), ax=ax)
    assert labels(ax) == ["response.*"]


def test_an_empty_log_says_so(ax: Axes) -> None:
    """No events are an empty plot with a note."""
    plots.events(EventLog(), ax=ax)
    assert said(ax) == ["no events"]


def test_an_event_without_a_time_is_no_trouble(ax: Axes) -> None:
    """A damaged record with NaN for a time is not drawn."""
    plots.events(EventLog([event("a", float("nan")), event("a", 1.0)]), ax=ax)
    assert marks(ax, "other") == [(1.0, 1.0)]


def test_what_is_no_log_is_refused(ax: Axes) -> None:
    """The sentence names what was given."""
    with pytest.raises(errors.ConfigurationError, match="of an EventLog, not list"):
        plots.events([], ax=ax)  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [1e300, -1e300, 1e9, float("inf"), 5e-324], ids=str)
@pytest.mark.parametrize("others", [(), (1.0, 2.0)], ids=["alone", "among others"])
def test_an_event_at_an_odd_time_is_no_trouble(
    odd: float, others: tuple[float, ...], ax: Axes
) -> None:
    """Whatever a record says, the axis is of a call, and nothing warns (which would fail)."""
    plots.events(EventLog(event("a", time) for time in (odd, *others)), ax=ax)
    ax.figure.canvas.draw()
    start, end = ax.get_xlim()
    assert -1 < start < end < 3


def test_events_that_are_not_drawn_are_counted(ax: Axes) -> None:
    """A damaged time is said to be one."""
    plots.events(EventLog([event("a", 1e300), event("a", 1.0)]), ax=ax)
    assert said(ax) == ["not drawn: 1 whose time is damaged"]
