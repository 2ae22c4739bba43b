"""Reading a recording in blocks: what it amounts to is exact, and memory does not grow with it."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from plotted import call

from rtnb import plots, runaudio
from rtnb.runaudio import RunAudio
from rtnb.runfiles import AUDIO, WAV_HEADER, RunWriter


def recorded(folder: Path, seconds: float = 1.3) -> RunAudio:
    """Write noise of different levels on both sides."""
    chance = np.random.default_rng(1)
    both = chance.integers(-9_000, 9_000, (round(seconds * 48_000), 2), dtype=np.int16)
    both[:, 1] //= 3
    writer = RunWriter(folder, sample_rate=48_000)
    writer.audio(both)
    writer.close()
    return RunAudio(folder)


@pytest.mark.parametrize("columns", [1, 7, 2_400])
@pytest.mark.parametrize("side", ["sent", "heard"])
def test_an_envelope_is_that_of_the_samples(
    side: runaudio.Side, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block by block gives what the whole stretch gives, wherever the blocks end."""
    monkeypatch.setattr(runaudio, "_READ", 5_000)
    audio = recorded(tmp_path)
    samples = audio.clip(side, 0.1, 1.2).samples
    edges = np.linspace(0, len(samples), columns + 1).astype(int)[:-1]
    low, high = audio.envelope(side, 0.1, 1.2, columns=columns)
    assert np.array_equal(low, np.minimum.reduceat(samples, edges))
    assert np.array_equal(high, np.maximum.reduceat(samples, edges))


def test_levels_are_those_of_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each 20 ms has its RMS, wherever the blocks end."""
    monkeypatch.setattr(runaudio, "_READ", 5_000)
    audio = recorded(tmp_path)
    rows = audio.clip("heard", 0.1, 1.2).samples.reshape(-1, 960).astype(np.float64)
    expected = 10 * np.log10((rows**2).mean(axis=1))
    assert audio.levels("heard", 0.1, 1.2) == pytest.approx(expected, abs=1e-4)


def test_what_is_not_on_disk_is_left_out(tmp_path: Path) -> None:
    """A stretch beyond the end, or of no recording, is empty."""
    audio = recorded(tmp_path)
    assert len(audio.envelope("sent", 5.0, 9.0)[0]) == 0
    assert len(audio.levels("sent", 1.29, 9.0)) == 0
    assert len(RunAudio(tmp_path / "none").envelope("sent")[0]) == 0


def test_gaps_are_on_the_clock_of_the_call(tmp_path: Path) -> None:
    """Lost stretches are those within the time asked for, in seconds of the call."""
    audio = recorded(tmp_path)
    with (tmp_path / "packets.csv").open("a") as file:
        file.write("lost,7,960,1.0,4800,48000\nlost,8,960,1.0,960,0\n")
    assert audio.gaps(0.5, 1.05) == [pytest.approx((1.0, 1.05))]


def test_an_hour_is_plotted_in_little_memory(tmp_path: Path) -> None:
    """The timeline of 60 minutes allocates less than 30 MB, and the file is never read whole."""
    one = call(tmp_path, duration=1.0)
    os.truncate(tmp_path / AUDIO, WAV_HEADER + 3600 * 48_000 * 4)  # a sparse file: silence
    tracemalloc.start()
    axes = plots.timeline(one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert axes.get_xlim() == (0.0, 3600.0)
    assert peak < 30e6


def test_both_envelopes_are_those_of_each_side(tmp_path: Path) -> None:
    """Read in one go, they are what each is by itself."""
    audio = recorded(tmp_path)
    both = audio.envelopes(["sent", "heard"], 0.2, 1.1, columns=50)
    for side in ("sent", "heard"):
        alone = audio.envelope(side, 0.2, 1.1, columns=50)  # type: ignore[arg-type]
        assert all(np.array_equal(one, two) for one, two in zip(both[side], alone, strict=True))  # type: ignore[index]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf"), 1e308, -1e308])
def test_a_stretch_with_an_odd_time_is_within_the_recording(odd: float, tmp_path: Path) -> None:
    """A damaged time reads nothing or all, and raises nothing."""
    audio = recorded(tmp_path)
    for span in ((odd, 1.0), (0.0, odd)):
        assert audio.clip("heard", *span).duration <= audio.duration
