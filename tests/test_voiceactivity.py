"""Who speaks when, from samples alone, and how two sides take turns."""

from __future__ import annotations

import numpy as np
import pytest

import rtnb
from rtnb import Clip
from rtnb.voiceactivity import activity_of, begun_during, overlap, turn_gaps, voice_activity

RATE = 48_000


def burst(seconds: float, *, level: float = -20.0, rate: int = RATE) -> Clip:
    """Return samples that all have the same magnitude."""
    return Clip(10 ** (level / 20) * np.resize([1.0, -1.0], round(seconds * rate)), rate)


def quiet(seconds: float, rate: int = RATE) -> Clip:
    return Clip.silence(seconds, sample_rate=rate)


def noise(seconds: float, level: float) -> Clip:
    samples = np.random.default_rng(3).normal(0, 10 ** (level / 20), round(seconds * RATE))
    return Clip(np.clip(samples, -1, 1), RATE)


def mixed(one: Clip, other: Clip) -> Clip:
    return Clip(one.samples + other.samples, RATE)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_stretches_are_found_to_the_sample(rate: int) -> None:
    """On clean audio, wherever they lie between the windows."""
    parts = [quiet(0.5, rate), burst(0.3, rate=rate), quiet(0.4, rate), burst(0.511, rate=rate)]
    clip = sum([*parts[1:], quiet(0.5, rate)], parts[0])
    found = np.array(voice_activity(clip))
    assert found == pytest.approx(np.array([(0.5, 0.8), (1.2, 1.711)]), abs=0.002)


@pytest.mark.parametrize(("pause", "stretches"), [(0.19, 1), (0.21, 2)])
def test_a_short_silence_is_a_pause(pause: float, stretches: int) -> None:
    """Below 0.2 s, by default."""
    clip = burst(0.3) + quiet(pause) + burst(0.3)
    assert len(voice_activity(clip)) == stretches
    assert len(voice_activity(clip, min_silence=0.3)) == 1


def test_what_is_too_short_is_left_out() -> None:
    """A click is no speech, unless it is asked for."""
    clip = quiet(0.5) + burst(0.03) + quiet(0.5)
    assert voice_activity(clip) == []
    assert voice_activity(clip, min_speech=0.02) == [pytest.approx((0.5, 0.53), abs=0.002)]


@pytest.mark.parametrize("level", [-60.0, -45.0, -35.0])
def test_speech_is_found_in_steady_noise(level: float) -> None:
    """The threshold follows the noise floor; onset and end are within 20 ms there."""
    clip = quiet(2.0) + burst(1.0) + quiet(2.0) + burst(0.5) + quiet(2.0)
    found = voice_activity(mixed(clip, noise(7.5, level)))
    assert np.array(found) == pytest.approx(np.array([(2.0, 3.0), (5.0, 5.5)]), abs=0.02)


def test_noise_that_sets_in_later_is_followed() -> None:
    """A louder noise in the second half is not taken for speech there."""
    said = quiet(10) + burst(1.0) + quiet(18) + burst(1.0) + quiet(10)
    floor = noise(20, -70) + noise(20, -40)
    found = voice_activity(mixed(said, floor))
    assert pytest.approx((10.0, 11.0), abs=0.02) in found
    assert pytest.approx((29.0, 30.0), abs=0.02) in found


@pytest.mark.parametrize("clip", [quiet(2.0), quiet(0.0), quiet(0.01)])
def test_there_is_no_activity(clip: Clip) -> None:
    """Silence, nothing, and less than a window."""
    assert voice_activity(clip) == []


@pytest.mark.parametrize("name", ["greeting", "largest_planet", "quiet_can_you_hear_me"])
def test_a_sample_is_active_where_it_speaks(name: str) -> None:
    """From the beginning to the end of its speech."""
    clip = rtnb.sample(name).resample(RATE)
    found = voice_activity(clip, level=-60)
    start, end = rtnb.measure.speech_span(clip) or (0.0, 0.0)
    assert (found[0][0], found[-1][1]) == pytest.approx((start, end), abs=0.06)


def test_blocks_give_what_the_whole_gives() -> None:
    """A recording that is read in blocks of a minute has the same stretches, across their bounds."""
    clip = quiet(59.7) + burst(0.6) + quiet(59.69) + burst(0.41) + quiet(1.0)
    for start in (0.0, 0.123456789):
        found = activity_of(lambda a, b: clip[a:b], start, clip.duration)
        assert np.array(found) == pytest.approx(np.array(voice_activity(clip)), abs=1e-4)


def test_an_hour_is_never_read_at_once() -> None:
    """At most a minute and a window are asked for."""
    asked = []

    def read(start: float, end: float) -> Clip:
        asked.append(end - start)
        return quiet(end - start)

    assert activity_of(read, 10.0, 3610.0) == []
    assert max(asked) < 61
    assert len(asked) == 60


# --- turn taking ----------------------------------------------------------------------------------


def test_overlap_is_what_both_say_at_once() -> None:
    """Across several stretches, in either order."""
    user, agent = [(0.0, 2.0), (3.0, 4.0)], [(1.5, 3.25), (3.5, 5.0)]
    assert overlap(user, agent) == overlap(agent, user) == pytest.approx(1.25)
    assert overlap(user, []) == overlap([], agent) == 0.0


def test_overlap_is_what_a_grid_counts() -> None:
    """On random stretches, against counting milliseconds."""
    generator = np.random.default_rng(7)
    sides = []
    for _ in range(2):
        edges = np.sort(generator.choice(5000, 40, replace=False)).tolist()
        pairs = zip(edges[::2], edges[1::2], strict=True)
        sides.append([(a / 1000, b / 1000) for a, b in pairs])
    grid = (np.arange(5000) + 0.5) / 1000
    active = [sum(((grid > a) & (grid < b)) for a, b in side) for side in sides]
    assert overlap(*sides) == pytest.approx(float((active[0] * active[1]).sum()) / 1000)


def test_an_interruption_begins_within_the_others_speech() -> None:
    """Not at its beginning, nor at its end."""
    user = [(1.0, 2.0), (4.0, 5.0)]
    assert begun_during([(1.5, 3.0)], user) == 1
    assert begun_during([(0.5, 1.2), (2.0, 3.0), (5.5, 6.0)], user) == 0
    assert begun_during([(1.2, 1.3), (1.8, 3.0), (4.5, 6.0)], user) == 3


def test_a_turn_gap_is_from_the_end_of_speech_to_the_reply() -> None:
    """One for each end at which the other side is silent, and answers before one speaks again."""
    user = [(0.0, 1.0), (3.0, 4.0), (6.0, 7.0), (8.0, 9.0)]
    agent = [(1.5, 2.5), (3.5, 4.5), (9.25, 10.0)]
    assert turn_gaps(user, agent) == pytest.approx([0.5, 0.25])


def test_nobody_leaves_no_gap() -> None:
    """Where one side, or both, said nothing."""
    assert turn_gaps([], [(1.0, 2.0)]) == turn_gaps([(1.0, 2.0)], []) == turn_gaps([], []) == []
