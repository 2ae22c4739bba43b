"""What may be said: clips, paths and texts told apart, and checked before anything is sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rtnb
from rtnb.audio import to_pcm
from rtnb.prompts import as_prompt, named

NAMES = [path.stem for path in rtnb.samples()]


def test_there_are_at_least_eight_samples() -> None:
    """Short mono WAVs at 24 kHz, each audible, each with its words."""
    assert len(NAMES) >= 8
    for name in NAMES:
        clip = rtnb.sample(name)
        assert clip.sample_rate == 24_000
        assert 0.9 <= clip.duration <= 6.0
        assert clip.level > -50
        assert rtnb.sample_text(name)


def test_samples_are_paths_that_can_be_asked() -> None:
    """In order of their names."""
    paths = rtnb.samples()
    assert all(path.suffix == ".wav" and path.is_file() for path in paths)
    assert [path.name for path in paths] == sorted(path.name for path in paths)


def test_a_sample_knows_its_name() -> None:
    """By name, with or without the suffix."""
    assert as_prompt(rtnb.sample("capital_of_france"))[0] == "capital_of_france"
    assert rtnb.sample("capital_of_france.wav") == rtnb.sample("capital_of_france")
    assert rtnb.sample_text("capital_of_france") == "What is the capital of France?"


def test_a_clip_can_be_given_a_name() -> None:
    """Its sound, gaps and role stay; the clip that it is made of has none."""
    clip = rtnb.Clip(np.ones(480, np.float32) / 2, 48_000, gaps=[(0.0, 0.005)], role="prompt")
    known = named(clip, "my question")
    assert as_prompt(known) == ("my question", clip)
    assert (known, known.gaps, known.role) == (clip, clip.gaps, clip.role)
    assert as_prompt(clip)[0] is None


@pytest.mark.parametrize("name", ["capital", "", "../samples/greeting", "/etc/passwd", "README.md"])
def test_an_unknown_sample_names_those_there_are(name: str) -> None:
    """And no path leads out of the folder."""
    with pytest.raises(
        rtnb.AudioError, match=r"There is no bundled sample .* there are: .*greeting"
    ):
        rtnb.sample(name)
    assert rtnb.sample_text(name) is None


def test_a_path_is_audio_and_a_str_is_text(tmp_path: Path) -> None:
    """The same characters mean different things."""
    path = rtnb.Clip.tone(440, 0.2).write(tmp_path / "hello.wav")
    name, clip = as_prompt(path)
    assert (name, clip) == ("hello", rtnb.Clip.read(path))
    assert as_prompt("Hello!") == (None, "Hello!")


@pytest.mark.parametrize("text", ["my.wav", " prompts/one.MP3 ", "a.m4a", "C:\\x\\y.flac"])
def test_a_str_that_names_an_audio_file_is_refused(text: str) -> None:
    """It would be sent as text; the sentence says how to play it."""
    with pytest.raises(rtnb.ConfigurationError, match="names an audio file") as told:
        as_prompt(text)
    assert "give pathlib.Path(...) or rtnb.Clip.read(...) to play it." in str(told.value)


@pytest.mark.parametrize(
    "text", ["What is in my.wav?", "Read\nmy.wav", "What is 3.5", "See README.md"]
)
def test_a_sentence_about_a_file_is_text(text: str) -> None:
    """Only a str that is nothing but an audio file's name is suspicious."""
    assert as_prompt(text) == (None, text)


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_text_is_refused(text: str) -> None:
    """There is nothing to answer."""
    with pytest.raises(rtnb.ConfigurationError, match="An empty text cannot be sent"):
        as_prompt(text)


def test_a_clip_without_samples_is_refused() -> None:
    """There is nothing to hear."""
    with pytest.raises(rtnb.AudioError, match="A clip without samples cannot be played"):
        as_prompt(rtnb.Clip.silence(0))


def test_a_missing_file_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """By `as_prompt`, which every way of speaking goes through."""
    with pytest.raises(rtnb.AudioError, match="There is no audio file"):
        as_prompt(tmp_path / "none.wav")


@pytest.mark.parametrize("thing", [3, b"RIFF", None, np.zeros(9), ["a"]])
def test_anything_else_is_refused(thing: object) -> None:
    """And an array is shown the way to a clip."""
    with pytest.raises(rtnb.ConfigurationError, match=r"makes a clip of an array"):
        as_prompt(thing)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_a_prompt_becomes_pcm_of_the_calls_rate(rate: int) -> None:
    """s16 mono at 48 kHz, its duration kept to the sample."""
    pcm = to_pcm(rtnb.Clip.tone(440, 0.5, sample_rate=rate))
    assert len(pcm) == 0.5 * 48_000 * 2
    loudest = np.abs(np.frombuffer(pcm, np.int16)).max()
    assert loudest == pytest.approx(32768 * 10 ** (-12 / 20), rel=0.02)
