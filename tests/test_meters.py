"""How loud a call is and was, from the levels of its windows."""

from __future__ import annotations

import math

import pytest

from rtnb.measure import AUDIBLE_LEVEL
from rtnb.meters import STEP, Meter

SILENCE = float("-inf")


def fed(*levels: float, end: float | None = None) -> Meter:
    """Return a meter that took these windows at once."""
    meter = Meter()
    meter.take(levels, STEP * len(levels) if end is None else end)
    return meter


def test_nothing_was_heard_yet() -> None:
    """A new meter is silent, and knows nothing."""
    meter = Meter()
    assert (meter.level, meter.audible, meter.end) == (SILENCE, 0.0, 0.0)
    assert meter.since(0.0) == []


def test_the_level_is_the_loudest_of_the_last_100_ms() -> None:
    """Five windows; what was before does not count."""
    assert fed(-3.0, -40.0, -30.0, -20.0, -30.0, -40.0).level == -20.0
    assert fed(-3.0, *[SILENCE] * 5).level == SILENCE


def test_audible_windows_are_counted_in_seconds() -> None:
    """Those above the audible level, over all that was taken."""
    meter = fed(-20.0, AUDIBLE_LEVEL, SILENCE, -30.0)
    meter.take([-10.0], 0.1)
    assert meter.audible == pytest.approx(3 * STEP)
    assert meter.end == 0.1


@pytest.mark.parametrize(
    ("start", "levels"),
    [
        (0.06, [-4.0]),
        (0.04, [-3.0, -4.0]),
        (0.0, [-1.0, -2.0, -3.0, -4.0]),
        (-5.0, [-1.0, -2.0, -3.0, -4.0]),
        (0.08, []),
        (9.0, []),
    ],
)
def test_levels_since_a_time(start: float, levels: list[float]) -> None:
    """One every 20 ms up to the end; none of the future, and no more than there are."""
    assert fed(-1.0, -2.0, -3.0, -4.0).since(start) == levels


def test_an_hour_is_kept_in_bounds() -> None:
    """The last 30 s are remembered, the seconds heard are not forgotten."""
    meter = Meter()
    for second in range(3600):
        meter.take([-20.0] * 50, second + 1.0)
    assert len(meter.since(0.0)) == 1500
    assert meter.audible == pytest.approx(3600.0)


@pytest.mark.parametrize("odd", [math.nan, math.inf, SILENCE])
def test_odd_levels_do_no_harm(odd: float) -> None:
    """They are kept as they are; the level stays a float."""
    assert isinstance(fed(odd, odd).level, float)
    assert len(fed(odd, -3.0).since(0.0)) == 2
