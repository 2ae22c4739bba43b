"""A real call that is spoken into: turns by voice, barge-in, push-to-talk, and its run reopened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from brief import SOON, STORY, brief_prompt
from voice_double import Ears, Voice

import rtnb
from rtnb.measure import speech_span

QUESTION = "capital_of_france"
ASKED = "What is the capital of France?"
MARKS = (
    "speech_start",
    "speech_end",
    "first_audible",
    "first_audio",
    "speech_stopped",
    "committed",
)


@dataclass
class Talk:
    """One conversation, and who took part."""

    session: rtnb.Session
    voice: Voice
    ears: Ears
    folder: Path
    question: rtnb.Turn
    story: rtnb.Turn
    over: rtnb.Turn
    "What was said over the story."
    held: rtnb.Turn


def spoken(session: rtnb.Session, voice: Voice, clip: rtnb.Clip) -> rtnb.Turn:
    """Say something, and return the turn that it has begun, when that is over."""
    number = len(session.turns)
    voice.say(clip, silence=0.5)
    with session.changed:
        begun = session.changed.wait_for(lambda: len(session.turns) > number, 10.0)
    assert begun, "the voice began no turn"
    return session.turns[number].wait(15.0)


def understood(session: rtnb.Session, voice: Voice) -> rtnb.Turn:
    """Ask a question by voice; again, where a machine that is busy has torn it apart."""
    for _ in range(3):
        turn = spoken(session, voice, rtnb.sample(QUESTION))
        if turn.prompt_transcript:
            break
    return turn


@pytest.fixture(scope="module")
def talk(brief_peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """A question by voice, a story that is spoken over, and push-to-talk."""
    voice, ears = Voice(), Ears()
    folder = tmp_path_factory.mktemp("voice") / "run"
    with rtnb.connect(
        brief_peer,
        microphone=voice,
        speaker=ears,
        turn_detection=SOON,
        transcription=True,
        record_to=folder,
    ) as session:
        question = understood(session, voice)
        story = session.send(STORY).wait_for_audio(0.5)
        over = spoken(session, voice, brief_prompt())
        with session.push_to_talk() as held:
            voice.say(brief_prompt(), silence=0.0).join()
        held.wait(15.0)
    yield Talk(session, voice, ears, folder, question, story, over, held)


def test_a_spoken_question_is_answered(talk: Talk) -> None:
    """A turn of its own kind, understood and answered."""
    turn = talk.question
    assert (turn.kind, turn.name, turn.status) == ("microphone", "microphone", "completed")
    assert (turn.prompt_transcript, turn.transcript) == (ASKED, "The capital of France is Paris.")
    assert turn.latency.first_audio is not None
    assert turn.explain().cause == "answered"


def test_a_spoken_turns_speech_is_found_in_what_was_sent(talk: Talk) -> None:
    """Onset and end are as far apart as in the clip itself."""
    found, inside = talk.question.latency, speech_span(rtnb.sample(QUESTION))
    assert inside is not None
    assert found.speech_start is not None
    assert found.speech_end is not None
    counters = talk.session.stats()["microphone"]
    torn = 0.06 * (counters["underruns"] + counters["lost"])  # by a machine that is busy
    length = found.speech_end - found.speech_start
    assert length == pytest.approx(inside[1] - inside[0], abs=0.03 + torn)


def test_the_prompt_of_a_spoken_turn_is_cut_from_the_recording(talk: Talk) -> None:
    """With a second of silence before its speech, and some after it."""
    prompt, clip = talk.question.prompt, rtnb.sample(QUESTION)
    assert isinstance(prompt, rtnb.Clip)
    assert clip.duration - 0.3 < prompt.duration < clip.duration + 4.0
    assert prompt.peak == pytest.approx(clip.peak, abs=3.0)


def test_speaking_over_a_reply_cuts_it(talk: Talk) -> None:
    """The story's turn is cancelled, and the voice is answered."""
    assert (talk.story.status, talk.over.status) == ("cancelled", "completed")
    assert (talk.over.kind, talk.over.transcript) == ("microphone", "All right.")
    assert 0.5 < talk.story.reply.duration < 8.0  # of 13 s


def test_listeners_are_told_to_drop_what_was_cut(talk: Talk) -> None:
    """Within 100 ms of the service's own tidings."""
    (event,) = talk.session.events.select("output_audio_buffer.cleared")
    (dropped,) = talk.ears.dropped
    assert dropped - (talk.session._started + event.time) < 0.1
    assert len(talk.ears.heard) > 10


def test_push_to_talk_takes_a_voice(talk: Talk) -> None:
    """All of it has left before the commit, and it is the turn's prompt."""
    turn = talk.held
    assert (turn.kind, turn.status, turn.transcript) == ("push_to_talk", "completed", "All right.")
    (commit,) = talk.session.events.select("input_audio_buffer.commit")
    assert turn.latency.speech_end is not None
    assert turn.latency.speech_end < commit.time == turn._state.plays["microphone"][1]
    assert isinstance(turn.prompt, rtnb.Clip)
    speech, inside = speech_span(turn.prompt), speech_span(brief_prompt())
    assert speech is not None
    assert inside is not None
    assert speech[1] - speech[0] > inside[1] - inside[0] - 0.05


def test_the_end_of_the_call_detaches_both(talk: Talk) -> None:
    """And the session says so."""
    assert (talk.voice.sink, talk.ears.source) == (None, None)
    assert (talk.session.microphone, talk.session.speaker) == (None, None)


def test_a_reopened_run_has_the_same_turns(talk: Talk) -> None:
    """Kinds, spans, outcomes, words and marks."""
    saved = rtnb.open_run(talk.folder).turns
    assert len(saved) == len(talk.session.turns)
    for one, other in zip(talk.session.turns, saved, strict=True):
        assert (one.kind, one.name, one.status) == (other.kind, other.name, other.status)
        assert (one.started, one.ended) == (other.started, other.ended)
        assert one._state.plays == other._state.plays
        assert one.prompt_transcript == other.prompt_transcript
        assert one.transcript == other.transcript
        for mark in MARKS:
            assert getattr(one.latency, mark) == getattr(other.latency, mark), mark
