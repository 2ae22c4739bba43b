"""When a call is to be closed by itself."""

from __future__ import annotations

import pytest

from rtnb.limits import Limits


@pytest.mark.parametrize(
    ("limits", "now", "reason"),
    [
        (Limits(10.0, None), 10.0, None),
        (Limits(10.0, None), 10.1, "max_duration of 10 s reached"),
        (Limits(None, 2.5), 2.5, None),
        (Limits(None, 2.5), 2.6, "idle for 2.5 s (idle_close)"),
        (Limits(10.0, 2.5), 10.1, "max_duration of 10 s reached"),
        (Limits(None, None), 1e9, None),
    ],
)
def test_a_call_has_its_limits(limits: Limits, now: float, reason: str | None) -> None:
    """What lasts longer, or goes on without a turn, is to be closed, with the reason."""
    assert limits.passed(now, busy=False) == reason


def test_a_turn_begins_the_idle_time_anew() -> None:
    """It is counted from when a turn was last in progress."""
    limits = Limits(None, 5.0)
    assert limits.passed(9.0, busy=True) is None
    assert limits.passed(14.0, busy=False) is None
    assert limits.passed(14.1, busy=False) == "idle for 5 s (idle_close)"
