"""Conversations with servers that say little: no ends of responses, none of the sound, no cancel."""

from __future__ import annotations

import pytest
from talks import (
    buffer,
    created,
    done,
    feed,
    hear,
    leave,
    overs,
    said,
    speak,
    spoken_answer,
    transcription,
    types,
    write,
)

from rtnb.conversation import Conversation
from rtnb.turnover import DEAF, NO_REPLY, QUIET

SAID = "output_audio_transcript.done"


@pytest.fixture
def filtered() -> Conversation:
    """A conversation with a server that tells neither beginning nor end of a response."""
    return Conversation(filtered=True)


def without(events: list[dict], *prefixes: str) -> list[dict]:
    return [event for event in events if not event["type"].startswith(prefixes)]


def test_a_written_answer_ends_soon_after_its_text(filtered: Conversation) -> None:
    """A second after the text is complete nothing more is waited for."""
    turn, _ = write(filtered)
    feed(filtered, [said("output_text.delta", "Pa"), said("output_text.done", "Paris.")], 1.0)
    assert overs(filtered.heard(1.0 + QUIET, [])) == []
    assert overs(filtered.heard(1.02 + QUIET, [])) == [(1, "completed")]
    assert turn.responses[0].transcript == "Paris."


def test_a_long_reply_is_not_given_up_while_it_sounds(filtered: Conversation) -> None:
    """Its words came long before; the sound goes on for half a minute, and ends it."""
    speak(filtered)
    feed(filtered, [buffer("started"), said(SAID, "A long story.")], 3.0)
    for second in range(3, 30):
        assert overs(hear(filtered, second, second + 1)) == []
    feed(filtered, [buffer("stopped")], 30.0)
    assert overs(filtered.heard(30.01 + QUIET, [-90.0])) == [(1, "completed")]


def test_a_reply_whose_end_is_never_told_is_given_up(filtered: Conversation) -> None:
    """Ten seconds after its last sound."""
    speak(filtered)
    feed(filtered, [buffer("started"), said(SAID, "Well.")], 3.0)
    hear(filtered, 3.0, 5.0)
    assert overs(filtered.heard(4.9 + NO_REPLY, [])) == []
    assert overs(filtered.heard(5.1 + NO_REPLY, [])) == [(1, "completed")]


def test_an_answer_that_was_not_announced_is_cancelled(filtered: Conversation) -> None:
    """Without response.created too, interrupt() sends both events; the quiet ends the turn."""
    speak(filtered)
    feed(filtered, [buffer("started"), said("output_audio_transcript.delta", "Once ")], 3.0)
    hear(filtered, 3.0, 4.0)
    assert filtered.speaking
    events = leave(filtered, filtered.interrupt(), 4.0)
    assert types(events) == ["response.cancel", "output_audio_buffer.clear"]
    assert overs(filtered.heard(4.0 + QUIET, [])) == []
    assert overs(filtered.heard(4.1 + QUIET, [])) == [(1, "cancelled")]
    assert not filtered.speaking


def test_a_server_that_does_not_stop_is_not_waited_for(filtered: Conversation) -> None:
    """Two seconds of sound after the interruption end the turn; what follows is not its."""
    speak(filtered)
    feed(filtered, [buffer("started"), said("output_audio_transcript.delta", "Once ")], 3.0)
    hear(filtered, 3.0, 4.0)
    leave(filtered, filtered.interrupt(), 4.0)
    assert overs(hear(filtered, 4.0, 3.9 + DEAF)) == []
    assert overs(hear(filtered, 3.9 + DEAF, 4.2 + DEAF)) == [(1, "cancelled")]


def test_what_has_ended_is_not_cancelled(filtered: Conversation) -> None:
    """The sound's end is the response's."""
    speak(filtered)
    feed(filtered, [buffer("started"), said(SAID, "Paris."), buffer("stopped")], 3.0)
    assert not filtered.speaking
    assert types(leave(filtered, filtered.interrupt(), 3.2)) == ["output_audio_buffer.clear"]
    assert overs(filtered.heard(3.1 + QUIET, [])) == [(1, "completed")]


def test_the_next_request_does_not_wait_for_an_end_that_never_comes(
    filtered: Conversation,
) -> None:
    """A second text after a filtered answer is sent at once."""
    write(filtered)
    feed(filtered, [said("output_text.done", "One.")], 1.0)
    filtered.heard(1.1 + QUIET, [])
    turn, events = write(filtered, "And?", 5.0)
    assert types(events) == ["conversation.item.create", "response.create"]
    feed(filtered, [said("output_text.done", "Two.", "r2", "a2")], 6.0)
    assert overs(filtered.heard(6.1 + QUIET, [])) == [(2, "completed")]
    assert [r.transcript for r in turn.responses] == ["Two."]


def test_words_are_known_by_the_item_where_its_commit_is_filtered(filtered: Conversation) -> None:
    """conversation.item.added is all that names a push-to-talk item before its transcription."""
    turn = speak(filtered)
    heard = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_audio"}]}
    written = {**heard, "id": "u2", "content": [{"type": "input_text", "text": "Hi"}]}
    odd = [{"id": "u3", "content": "text"}, {"id": "u4", "content": [7]}, {}]
    added = [{"type": "conversation.item.added", "item": item} for item in (heard, written, *odd)]
    feed(filtered, added, 2.2)
    feed(filtered, [transcription("completed", "u1", transcript="What is it?")], 3.0)
    feed(filtered, [transcription("completed", "u2", transcript="Not heard.")], 3.1)
    assert list(turn.transcripts.values()) == ["What is it?"]
    assert filtered.malformed == []


# --- without output_audio_buffer events -----------------------------------------------------------


def test_a_reply_without_buffer_events_ends_with_its_sound() -> None:
    """The response is done early; the sound decides."""
    talk = Conversation()
    speak(talk)
    feed(talk, without(spoken_answer(), "output_audio_buffer"), 3.0)
    assert overs(hear(talk, 3.0, 5.0)) == []
    assert overs(talk.heard(5.1 + QUIET, [])) == [(1, "completed")]


def test_such_a_reply_is_cancelled_though_nobody_says_so() -> None:
    """The response was done, and its sound stops because we asked."""
    talk = Conversation()
    speak(talk)
    feed(talk, without(spoken_answer(), "output_audio_buffer"), 3.0)
    hear(talk, 3.0, 4.0)
    assert types(leave(talk, talk.interrupt(), 4.0)) == ["output_audio_buffer.clear"]
    assert overs(talk.heard(4.1 + QUIET, [])) == [(1, "cancelled")]


# --- without a way to cancel ----------------------------------------------------------------------


def test_where_nothing_can_be_cancelled_the_turn_is_over_at_once() -> None:
    """Nothing is sent; the turn is cancelled, and a later done does not change that."""
    talk = Conversation(cancels=False)
    turn = speak(talk)
    feed(talk, [created(), said("output_audio_transcript.delta", "Once ")], 3.0)
    effects = talk.interrupt()
    assert (leave(talk, effects, 3.5), overs(effects)) == ([], [(1, "cancelled")])
    feed(talk, [done()], 5.0)
    assert overs(talk.heard(9.0, [])) == []
    assert turn.status == "cancelled"


def test_the_next_request_waits_for_the_reply_that_could_not_be_cancelled() -> None:
    """One response at a time: the server still makes the one that nobody wants."""
    talk = Conversation(cancels=False)
    speak(talk)
    feed(talk, [created()], 3.0)
    talk.interrupt()
    _, events = write(talk, "And?", 4.0)
    assert types(events) == ["conversation.item.create"]
    assert types(leave(talk, feed(talk, [done()], 5.0), 5.0)) == ["response.create"]


def test_an_unwanted_response_is_left_alone_where_nothing_can_be_cancelled() -> None:
    """It came after the turn was given up; no event is sent that the server does not know."""
    talk = Conversation(cancels=False)
    speak(talk)
    feed(talk, [{"type": "input_audio_buffer.speech_stopped", "item_id": "u1"}], 2.1)
    assert overs(talk.drop_unanswered(2.2)) == [(1, "cancelled")]
    assert leave(talk, feed(talk, [created()], 2.5), 2.5) == []
