"""A spoken conversation of three turns in JupyterLab, and the run that is left of it."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from browser_rig import Lab
from spoken_page import PROMPTS, conversation, draw

import rtnb

REPLIES = (
    "The capital of France is Paris.",
    "Hello! I am doing fine today.",
    "Seven times eight is fifty-six.",
)


@pytest.fixture(scope="module")
def run(lab: Lab, peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rtnb.Run]:
    """The run of a conversation in which three prompts were said into the page's microphone."""
    with conversation(lab, peer.url, tmp_path_factory.mktemp("spoken")) as (page, widgets, folder):
        lab.screenshot(page, "conversation-after", widgets)
        yield rtnb.open_run(folder)


def test_each_utterance_is_a_turn_with_its_answer(run: rtnb.Run) -> None:
    """Three turns by voice were heard, word for word, and answered."""
    assert run.complete
    assert [turn.kind for turn in run.turns] == ["microphone"] * 3
    assert [turn.status for turn in run.turns] == ["completed"] * 3
    assert [turn.prompt_transcript for turn in run.turns] == [
        rtnb.prompts.sample_text(name) for name in PROMPTS
    ]
    assert [turn.transcript for turn in run.turns] == list(REPLIES)


def test_both_voices_are_in_the_run(run: rtnb.Run) -> None:
    """Each turn has speech in what was sent, as long as its prompt, and then in what was heard."""
    for turn, name in zip(run.turns, PROMPTS, strict=True):
        sample = rtnb.sample(name)
        latency = turn.latency
        assert latency.speech_start is not None and latency.speech_end is not None
        said = run.sent[latency.speech_start : latency.speech_end]
        assert said.duration == pytest.approx(sample.duration, abs=0.3)
        assert said.level > -40
        assert turn.reply.level > -40
        assert latency.first_audio is not None and 0 < latency.first_audio < 3


def test_the_voice_is_whole(run: rtnb.Run) -> None:
    """What was sent of each prompt is that prompt and no other, by the course of its level.

    The browser's gain control and noise suppression have been at work on it.
    """
    for turn, name in zip(run.turns, PROMPTS, strict=True):
        start = turn.latency.speech_start
        assert start is not None
        likely = {other: likeness(run.sent, start, rtnb.sample(other)) for other in PROMPTS}
        assert max(likely, key=lambda other: likely[other]) == name
        assert likely[name] > 0.7


def likeness(sent: rtnb.Clip, at: float, sample: rtnb.Clip) -> float:
    """Return the best correlation of the levels of a sample with those around a time, lag by lag."""
    wanted = levels(sample.resample(sent.sample_rate))
    there = levels(sent[max(0.0, at - 0.5) : at + sample.duration + 0.5])
    lags = range(len(there) - len(wanted))
    return max(float(np.corrcoef(wanted, there[lag : lag + len(wanted)])[0, 1]) for lag in lags)


def levels(clip: rtnb.Clip) -> np.ndarray:
    """Return the level of each 10 ms, in dB, at -60 dBFS and above."""
    frames = clip.samples[: len(clip.samples) // 480 * 480].reshape(-1, 480)
    return np.maximum(20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-9), -60)


def test_the_timeline_shows_both_voices(run: rtnb.Run) -> None:
    """The run's plot has three turns with what was said and answered; its picture is kept."""
    axes = draw(run)
    words = " ".join(text.get_text().replace("\n", " ") for text in axes.texts)
    plt.close(axes.figure)
    for said, answer in zip(PROMPTS, REPLIES, strict=True):
        assert str(rtnb.prompts.sample_text(said)) in words
        assert answer in words
