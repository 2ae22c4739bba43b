"""Jitter and drift of a stream, from timestamps and arrivals alone."""

from __future__ import annotations

import random

import pytest

from rtnb.media.transit import Transit

PTIME = 0.02


def observe(count: int, *, gain: float = 0.0, late: float = 0.0, seed: int = 1) -> Transit:
    """Observe packets of a clock that gains, each up to `late` seconds late."""
    chance = random.Random(seed)
    transit = Transit()
    for n in range(count):
        time = 50.0 + n * PTIME * (1 - gain) + chance.uniform(0, late)
        transit.arrived(n * 960, time)
        transit.placed(time, time - n * PTIME)
    return transit


def test_nothing_is_told_without_packets() -> None:
    """Jitter takes two packets, drift ten seconds of them."""
    assert (Transit().jitter, Transit().drift) == (None, None)
    assert (observe(1).jitter, observe(450).drift) == (None, None)


def test_steady_packets_have_neither() -> None:
    """Packets that take equally long have no jitter, and no drift."""
    found = observe(1_000)
    assert found.jitter == pytest.approx(0, abs=1e-9)
    assert found.drift == pytest.approx(0, abs=1e-9)


def test_jitter_is_that_of_the_rfc() -> None:
    """J += (|D| - J) / 16, in seconds (RFC 3550 section 6.4.1)."""
    transit, expected, last = Transit(), 0.0, None
    for n, late in enumerate([0.0, 0.003, 0.001, 0.02, 0.0, 0.004]):
        transit.arrived(n * 960, n * PTIME + late)
        if last is not None:
            expected += (abs(late - last) - expected) / 16
        last = late
    assert transit.jitter == pytest.approx(expected)


@pytest.mark.parametrize("gain", [50e-6, -50e-6, 0.0])
def test_drift_is_found_under_jitter(gain: float) -> None:
    """A clock that gains 50 in a million gains 6 ms in two minutes, whatever the packets' delays."""
    found = observe(6_000, gain=gain, late=0.02).drift
    assert found == pytest.approx(120 * gain, abs=5e-4)


def test_a_far_clock_that_is_fast_gains() -> None:
    """Its timestamps run ahead of ours: the sign is plus."""
    drift = observe(3_000, gain=1e-4).drift
    assert drift is not None
    assert drift > 0.005


def test_a_pause_is_no_jitter() -> None:
    """Time that the sender did not count, or a jump of its timestamps, is taken out."""
    transit = Transit()
    for n in range(1_500):
        transit.arrived(n * 960 + (n > 900) * 2**30, 5.0 + n * PTIME + (n > 400) * 7.5)
    assert transit.jitter == pytest.approx(0, abs=1e-6)


def test_an_hour_is_kept_in_little() -> None:
    """Windows are joined when there are too many; the drift of the whole is still found."""
    found = observe(180_000, gain=20e-6, late=0.01)
    assert len(found._least) <= 256
    assert found.drift == pytest.approx(3_600 * 20e-6, abs=1e-3)
