"""Where speech begins and ends, and when a reply is audible."""

from __future__ import annotations

import numpy as np
import pytest

import rtnb
from rtnb import Clip
from rtnb.measure import audible_span, speech_span, window_levels

# read off the levels of 10 ms windows by eye, in seconds
BY_HAND = {
    "capital_of_france": (0.08, 1.92),
    "color_of_the_sky": (0.08, 2.30),
    "greeting": (0.08, 1.33),
    "leap_year": (0.08, 3.63),
    "largest_planet": (0.08, 2.69),
    "quiet_can_you_hear_me": (0.08, 1.74),
    "noisy_legs_of_a_spider": (0.12, 1.62),
}


def between_silences(clip: Clip, *, before: float = 0.5, after: float = 0.5) -> Clip:
    rate = clip.sample_rate
    return Clip.silence(before, sample_rate=rate) + clip + Clip.silence(after, sample_rate=rate)


def square(count: int, *, level: float, sample_rate: int = 48_000) -> Clip:
    """Return samples that all have the same magnitude."""
    return Clip(10 ** (level / 20) * np.resize([1.0, -1.0], count), sample_rate)


@pytest.mark.parametrize("name", BY_HAND)
def test_speech_of_a_sample(name: str) -> None:
    """Onset and offset are within 60 ms of what is seen by eye, quiet or noisy."""
    assert speech_span(rtnb.sample(name)) == pytest.approx(BY_HAND[name], abs=0.06)


@pytest.mark.parametrize("name", BY_HAND)
def test_speech_is_found_at_the_rate_of_the_call(name: str) -> None:
    """At 48,000 Hz and between silences the same speech is found, 0.5 s later."""
    clip = rtnb.sample(name)
    start, end = speech_span(clip) or (0.0, 0.0)
    found = speech_span(between_silences(clip.resample(48_000)))
    assert found == pytest.approx((start + 0.5, end + 0.5), abs=0.01)


def test_a_pause_inside_speech_does_not_end_it() -> None:
    """Two sentences are one span, to the end of the second."""
    start, end = speech_span(rtnb.sample("largest_planet")) or (0.0, 0.0)
    assert end - start > 2.5


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_speech_far_into_a_clip_is_where_it_is(rate: int) -> None:
    """The position does not drift, though 5 ms are no whole number of samples."""
    clip = between_silences(Clip.tone(440, 1.0, sample_rate=rate), before=60.0)
    assert speech_span(clip) == pytest.approx((60.0, 61.0), abs=0.025)


@pytest.mark.parametrize("clip", [Clip.silence(1.0), Clip.silence(0.0), Clip.tone(440, 0.01)])
def test_there_is_no_speech(clip: Clip) -> None:
    """Silence, nothing, and less than a window hold no speech."""
    assert speech_span(clip) is None


def test_what_is_fainter_than_65_dbfs_is_no_speech() -> None:
    """The noise of a sound card is not speech."""
    assert speech_span(Clip.tone(440, 1.0, level=-63.0)) is None
    assert speech_span(Clip.tone(440, 1.0, level=-60.0)) is not None


def test_a_steady_tone_is_speech_from_end_to_end() -> None:
    """A sound without a floor of its own is not mistaken for noise."""
    assert speech_span(Clip.tone(440, 1.0)) == pytest.approx((0.0, 1.0), abs=0.001)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("onset", [1_000, 12_345, 70_001])
def test_a_reply_is_audible_from_its_first_sample(onset: int, rate: int) -> None:
    """The onset is exact to the sample."""
    clip = Clip(np.zeros(onset), rate) + square(rate // 2, level=-20, sample_rate=rate)
    span = audible_span(between_silences(clip, before=0.0))
    assert span is not None
    assert span[0] * rate == pytest.approx(onset, abs=1e-6)


def test_a_reply_is_audible_to_its_last_sample() -> None:
    """The end is that of the last sample over the threshold, not of its window."""
    span = audible_span(between_silences(square(48_000, level=-20)))
    assert span == pytest.approx((0.5, 1.5))


def test_a_soft_onset_is_where_it_reaches_the_threshold() -> None:
    """What swells by 1 dB in 1 ms is not taken for a codec's noise before a sudden sound."""
    level = np.minimum(-60 + 1000 * np.arange(48_000) / 48_000, -20)
    swelling = Clip(10 ** (level / 20) * np.resize([1.0, -1.0], 48_000), 48_000)
    span = audible_span(between_silences(swelling))
    assert span == pytest.approx((0.51, 1.5), abs=0.001)


def test_noise_before_a_sudden_sound_is_passed_over() -> None:
    """Opus lets some out up to 8 ms before it; it is 20 dB fainter."""
    noise = square(round(0.008 * 48_000), level=-42)
    span = audible_span(between_silences(noise + square(9_600, level=-20)))
    assert span == pytest.approx((0.508, 0.708))


def test_what_fades_after_a_sudden_end_is_passed_over() -> None:
    """For up to 40 ms, where it is 20 dB fainter."""
    fading = square(round(0.02 * 48_000), level=-42)
    span = audible_span(between_silences(square(9_600, level=-20) + fading))
    assert span == pytest.approx((0.5, 0.7))


def test_a_click_is_not_a_reply() -> None:
    """A few loud samples do not lift a window of 20 ms over the threshold."""
    click = Clip(np.r_[np.zeros(24_000), 0.05, np.zeros(24_000)], 48_000)
    assert audible_span(click) is None


@pytest.mark.parametrize(("level", "heard"), [(-49.9, True), (-50.1, False)])
def test_audible_is_over_minus_50_dbfs(level: float, heard: bool) -> None:
    """The threshold is the one that is stated."""
    assert (audible_span(square(4_800, level=level)) is not None) == heard


def test_the_threshold_can_be_given() -> None:
    """Another level finds fainter sound."""
    assert audible_span(square(4_800, level=-60), level=-70) == (0.0, 0.1)


@pytest.mark.parametrize("clip", [Clip.silence(1.0), Clip.silence(0.0)])
def test_silence_is_not_audible(clip: Clip) -> None:
    """Nothing to hear is None."""
    assert audible_span(clip) is None


def test_levels_of_windows() -> None:
    """One value every 5 ms, of the 20 ms from there; digital silence is -120."""
    levels = window_levels(square(960, level=-20) + Clip.silence(0.04))
    assert len(levels) == 9
    assert levels[0] == pytest.approx(-20.0)
    assert levels[-1] == pytest.approx(-120.0)
    assert (np.diff(levels) <= 1e-9).all()


def test_a_clip_shorter_than_a_window_has_no_levels() -> None:
    """Less than 20 ms gives an empty array."""
    assert window_levels(Clip.silence(0.019)).shape == (0,)
