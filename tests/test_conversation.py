"""Lists of events in, state and effects out: turns as they go well, in any legal order."""

from __future__ import annotations

from typing import Any

import pytest
from talks import (
    BETA_NAMES,
    Json,
    buffer,
    created,
    done,
    error,
    feed,
    hear,
    leave,
    overs,
    part,
    requested,
    said,
    speak,
    spoken_answer,
    spoken_input,
    transcription,
    types,
    write,
)

from rtnb.conversation import Conversation, Send
from rtnb.dialects import BETA
from rtnb.turnstate import TurnState


@pytest.fixture
def talk() -> Conversation:
    """A conversation with a GA server."""
    return Conversation()


# --- A: a spoken turn -----------------------------------------------------------------------------


def test_a_spoken_turn_is_over_when_its_sound_has_been_heard(talk: Conversation) -> None:
    """Sequence A: response.done does not end the turn; stopped and its tail on disk do."""
    turn = speak(talk)
    assert overs(feed(talk, [*spoken_input(), *spoken_answer()], 2.0)) == []
    feed(talk, [buffer("stopped")], 5.0)
    assert overs(talk.heard(5.29, [])) == []
    assert overs(talk.heard(5.3, [])) == [(1, "completed")]
    assert turn.responses[0].transcript == "Paris."
    assert turn.responses[0].usage == {"total_tokens": 7}


def test_a_spoken_turn_keeps_the_times_of_its_sound(talk: Conversation) -> None:
    """The response knows when it was created, done, audible and over."""
    turn = speak(talk)
    feed(talk, spoken_input(), 2.0)
    feed(talk, [*spoken_answer(), buffer("stopped")], 3.0)
    response = turn.responses[0]
    assert (response.created, response.audio_started) == (3.0, 3.05)
    assert (response.done, response.audio_ended) == (3.12, 3.14)


def test_a_spoken_turn_in_beta_names_is_the_same() -> None:
    """Sequence A in the beta dialect's names gives the same transcript and outcome."""
    talk = Conversation(BETA)
    turn = speak(talk)
    renamed = [
        {**event, "type": BETA_NAMES.get(event["type"], event["type"])}
        for event in [*spoken_input(), *spoken_answer(), buffer("stopped")]
    ]
    assert "response.audio_transcript.delta" in types(renamed)
    feed(talk, renamed, 2.0, BETA)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert turn.responses[0].transcript == "Paris."


def test_beta_events_are_strangers_to_ga(talk: Conversation) -> None:
    """Without the dialect's renaming the transcript is not seen: the renaming does the work."""
    turn = speak(talk)
    beta = {**said("output_audio_transcript.done", "Paris.")}
    beta["type"] = "response.audio_transcript.done"
    feed(talk, [*spoken_input(), created(), beta], 2.0)
    assert turn.responses[0].transcript == ""


def test_a_session_in_beta_form_is_kept_in_ga_form() -> None:
    """session.created of a beta server is read as a GA session."""
    talk = Conversation(BETA)
    feed(talk, [{"type": "session.created", "session": {"voice": "verse"}}], 0.0, BETA)
    assert talk.session == {"type": "realtime", "audio": {"output": {"voice": "verse"}}}


# --- order ----------------------------------------------------------------------------------------


def shuffled(move: str, before: str) -> list[Json]:
    """Return sequence A with the first event of one type moved before the first of another."""
    events = [*spoken_input(), *spoken_answer(), buffer("stopped")]
    moved = events.pop(types(events).index(move))
    events.insert(types(events).index(before), moved)
    return events


@pytest.mark.parametrize(
    ("move", "before"),
    [
        ("rate_limits.updated", "input_audio_buffer.speech_started"),
        ("rate_limits.updated", "response.created"),
        ("output_audio_buffer.stopped", "response.done"),
        ("output_audio_buffer.started", "response.content_part.added"),
        ("response.output_audio_transcript.done", "response.output_audio_transcript.delta"),
        ("response.content_part.added", "response.done"),
        ("conversation.item.done", "input_audio_buffer.committed"),
        ("response.done", "response.output_audio_transcript.done"),
    ],
)
def test_other_orders_give_the_same_turn(talk: Conversation, move: str, before: str) -> None:
    """Where the order is not contractual, transcript and outcome do not depend on it."""
    turn = speak(talk)
    feed(talk, shuffled(move, before), 2.0)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert [r.transcript for r in turn.responses] == ["Paris."]


def test_a_transcription_after_the_answer_still_arrives(talk: Conversation) -> None:
    """The user's words come after response.done, even after the turn is over."""
    turn = speak(talk)
    feed(talk, [*spoken_input(), *spoken_answer(), buffer("stopped")], 2.0)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    feed(talk, [transcription("completed", transcript="The capital of France?")], 9.5)
    assert turn.transcripts == {"u1": "The capital of France?"}
    assert turn.status == "completed"


def test_transcription_deltas_add_up(talk: Conversation) -> None:
    """Deltas are joined until the whole text comes."""
    turn = speak(talk)
    feed(talk, spoken_input(), 2.0)
    feed(talk, [transcription("delta", delta="The "), transcription("delta", delta="cap")], 2.1)
    assert turn.transcripts == {"u1": "The cap"}
    feed(talk, [transcription("completed", transcript="The capital?")], 2.2)
    assert turn.transcripts == {"u1": "The capital?"}


def test_a_late_transcription_delta_adds_nothing(talk: Conversation) -> None:
    """A delta after the whole text does not repeat it."""
    turn = speak(talk)
    whole = transcription("completed", transcript="The capital?")
    feed(talk, [*spoken_input(), whole, transcription("delta", delta="The ")], 2.0)
    assert turn.transcripts == {"u1": "The capital?"}


def test_a_failed_transcription_is_kept_with_its_reason(talk: Conversation) -> None:
    """The turn says why there are no words, and is not failed by that."""
    turn = speak(talk)
    reason = {"code": "audio_unintelligible", "message": "Not understood."}
    feed(talk, [*spoken_input(), transcription("failed", error=reason)], 2.0)
    assert turn.transcription_error == "Not understood."
    assert turn.status == "in_progress"


@pytest.mark.parametrize("unknown", ["session.surprise", "response.mcp_call.completed", ""])
def test_unknown_events_change_nothing(talk: Conversation, unknown: str) -> None:
    """An event of an unknown type leaves the turn as it was and asks for nothing."""
    turn = speak(talk)
    feed(talk, [*spoken_input(), created()], 2.0)
    before = repr((turn, [str(r) for r in turn.responses]))
    assert feed(talk, [{"type": unknown, "response_id": "r9", "item_id": "u1"}], 3.0) == []
    assert repr((turn, [str(r) for r in turn.responses])) == before


def test_unknown_fields_are_ignored(talk: Conversation) -> None:
    """Every event of sequence A may carry fields that nobody knows."""
    turn = speak(talk)
    events = [*spoken_input(), *spoken_answer(), buffer("stopped")]
    feed(talk, [{**event, "obfuscation": "x", "languages": ["en"]} for event in events], 2.0)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert turn.responses[0].transcript == "Paris."


@pytest.mark.parametrize(
    "bare",
    ["session.updated", "error", "response.created", "response.done", "response.output_text.done"],
)
def test_an_event_without_its_fields_is_survived(talk: Conversation, bare: str) -> None:
    """An event that holds nothing but its type does no harm."""
    speak(talk)
    feed(talk, [{"type": bare}, *spoken_input(), *spoken_answer(), buffer("stopped")], 2.0)
    assert talk.turns[0].responses[-1].transcript == "Paris."


ODD: list[Any] = [None, 7, 1e400, "x", [1], [{}], {"type": [], "message": {}, "event_id": 1}]
ODD_FIELDS = {
    "session.updated": ["session"],
    "error": ["error"],
    "response.created": ["response"],
    "response.done": ["response"],
    "response.content_part.added": ["part", "content_index"],
    "response.output_audio_transcript.delta": ["delta", "content_index", "item_id"],
    "response.output_audio_transcript.done": ["transcript", "content_index"],
    "conversation.item.truncated": ["audio_end_ms"],
    "conversation.item.input_audio_transcription.completed": ["transcript"],
    "conversation.item.input_audio_transcription.failed": ["error"],
}


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("kind", ODD_FIELDS)
def test_a_field_of_another_type_is_survived(talk: Conversation, kind: str, odd: Any) -> None:
    """Whatever stands in a field, nothing raises, and the answer comes all the same."""
    turn = speak(talk)
    place = {"response_id": "r9", "item_id": "u1", "content_index": 0}
    feed(talk, spoken_input(), 2.0)
    feed(talk, [{"type": kind, **place, field: odd} for field in ODD_FIELDS[kind]], 2.2)
    feed(talk, [*spoken_answer(), buffer("stopped")], 2.5)
    assert talk.malformed == []
    assert "Paris." in [r.transcript for r in turn.responses]


@pytest.mark.parametrize("field", ["usage", "status_details", "output", "status"])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_response_with_odd_fields_is_done(talk: Conversation, field: str, odd: Any) -> None:
    """What has another shape is not kept; what was asked for next goes out."""
    turn, _ = write(talk)
    later, waiting = write(talk, at=0.1)
    assert requested(waiting) == []
    out = feed(talk, [created(), done(**{field: odd})], 1.0)
    (response,) = turn.responses
    assert isinstance(response.usage, dict | None) and isinstance(response.error, str | None)
    assert isinstance(response.status, str)
    assert (response.done, later.pending) == (1.01, 1)
    assert len(requested(leave(talk, out, 1.1))) == 1


@pytest.mark.parametrize("odd", ODD[1:6], ids=repr)
def test_an_odd_turn_detection_is_not_taken_over(talk: Conversation, odd: Any) -> None:
    """The detection that was in force goes on to answer what is said."""
    detected = {"audio": {"input": {"turn_detection": odd}}}
    feed(talk, [{"type": "session.updated", "session": detected}], 0.0)
    assert talk.detection == {"type": "server_vad"}


# --- sounds one after the other -------------------------------------------------------------------


def test_a_response_knows_the_sounds_before_and_after(talk: Conversation) -> None:
    """When the one before had ended, and when the next one began, also of other turns."""
    first, _ = write(talk)
    second, _ = write(talk, at=0.1)
    feed(talk, [*spoken_answer("r1"), buffer("stopped")], 1.0)
    feed(talk, [*spoken_answer("r2", "a2"), buffer("stopped", "r2")], 2.0)
    one, two = first.responses[0], second.responses[0]
    assert (one.follows, one.followed) == (None, two.audio_started)
    assert (two.follows, two.followed) == (one.audio_ended, None)


def test_an_end_that_is_told_late_is_before_the_next_sound(talk: Conversation) -> None:
    """Where stopped comes after the next started, the next one's sound begins with its event."""
    first, _ = write(talk)
    second, _ = write(talk, at=0.1)
    feed(talk, spoken_answer("r1"), 1.0)
    feed(talk, [created("r2"), buffer("started", "r2"), buffer("stopped", "r1")], 2.0)
    assert second.responses[0].follows == second.responses[0].audio_started == 2.01
    assert first.responses[0].followed == 2.01


# --- servers that say less ------------------------------------------------------------------------


def test_filtered_events_are_enough(talk: Conversation) -> None:
    """Azure's filter passes neither created nor committed nor done, and the turn still ends."""
    turn = speak(talk)
    heard = [e for e in spoken_input() if e["type"].startswith("input_audio_buffer.speech")]
    events = [
        *heard,
        buffer("started"),
        said("output_audio_transcript.delta", "Par"),
        said("output_audio_transcript.done", "Paris."),
    ]
    feed(talk, [*events, transcription("completed", transcript="The capital?")], 2.0)
    feed(talk, [buffer("stopped")], 5.0)
    assert overs(talk.heard(6.0, [])) == []
    assert overs(talk.heard(6.1, [])) == [(1, "completed")]
    assert turn.responses[0].transcript == "Paris."
    assert turn.transcripts == {"u1": "The capital?"}


def without_buffer_events() -> list[Json]:
    """Return sequence A as LocalAI sends it."""
    events = [*spoken_input(), *spoken_answer()]
    return [e for e in events if not e["type"].startswith("output_audio_buffer")]


def test_the_sound_ends_a_turn_without_buffer_events(talk: Conversation) -> None:
    """Without output_audio_buffer events a turn is over a second after the last audible sound."""
    speak(talk)
    feed(talk, without_buffer_events(), 2.0)
    assert overs(hear(talk, 2.5, 6.0)) == []
    assert overs(hear(talk, 6.0, 7.0, level=-90.0)) == []
    assert overs(hear(talk, 7.0, 7.1, level=-90.0)) == [(1, "completed")]


def test_a_pause_in_the_sound_does_not_end_it(talk: Conversation) -> None:
    """Half a second of quiet within a reply is not its end."""
    speak(talk)
    feed(talk, without_buffer_events(), 2.0)
    hear(talk, 2.5, 3.0)
    assert overs(hear(talk, 3.0, 3.5, level=-90.0)) == []
    assert overs(hear(talk, 3.5, 4.4)) == []
    assert overs(hear(talk, 4.4, 5.3, level=-90.0)) == []


def test_nothing_for_ten_seconds_is_no_reply(talk: Conversation) -> None:
    """A turn that nothing answers is no_reply more than 10 s after its prompt's end."""
    speak(talk, 0.0, 2.0)
    assert overs(talk.heard(12.0, [])) == []
    assert overs(talk.heard(12.01, [])) == [(1, "no_reply")]


def test_an_unanswered_request_does_not_block_the_next(talk: Conversation) -> None:
    """After a request that was never answered, the next turn still asks for its response."""
    write(talk, at=0.0)
    assert overs(talk.heard(10.1, [])) == [(1, "no_reply")]
    _, events = write(talk, at=11.0)
    assert types(events) == ["conversation.item.create", "response.create"]


# --- C: push-to-talk ------------------------------------------------------------------------------


def push(talk: Conversation) -> tuple[TurnState, list[Json]]:
    """Hold a turn, play into it, and return it with the events that end it, sent at 2.2 s."""
    turn, _ = talk.begin_turn(0.0, "push_to_talk")
    talk.play_queued(turn, "p")
    talk.play_started("p", 0.1)
    events = talk.commit_events(turn)
    talk.play_ended("p", 2.0)
    return turn, leave(talk, [Send(event) for event in events], 2.2)


def test_push_to_talk_commits_then_asks(talk: Conversation) -> None:
    """Sequence C: one commit, then one response.create, each with an id of its own."""
    turn, events = push(talk)
    assert types(events) == ["input_audio_buffer.commit", "response.create"]
    assert events[0]["event_id"] != events[1]["event_id"]
    assert turn.requested == 2.2


def test_push_to_talk_is_answered_once(talk: Conversation) -> None:
    """Sequence C: the manual commit awaits no response of turn detection."""
    turn, _ = push(talk)
    feed(talk, [*spoken_input()[2:], *spoken_answer(), buffer("stopped")], 2.3)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert (turn.awaiting, turn.pending, len(turn.responses)) == (0, 0, 1)


def test_a_held_turn_does_not_end(talk: Conversation) -> None:
    """While push-to-talk is held, nothing is given up."""
    talk.begin_turn(0.0, "push_to_talk")
    assert overs(talk.heard(60.0, [])) == []


def test_a_cut_prompt_takes_its_request_back(talk: Conversation) -> None:
    """A prompt cancelled before its commit left is not waited for, and the next turn may ask."""
    turn, _ = talk.begin_turn(0.0, "push_to_talk")
    talk.play_queued(turn, "p")
    talk.commit_events(turn)
    talk.play_ended("p", 1.0, cancelled=True)
    assert turn.pending == 0
    _, events = write(talk, at=1.5)
    assert types(events) == ["conversation.item.create", "response.create"]


def test_a_cut_prompt_lets_a_waiting_request_go(talk: Conversation) -> None:
    """A text that was sent behind it asks for its response as soon as the prompt is cut."""
    turn, _ = talk.begin_turn(0.0, "push_to_talk")
    talk.play_queued(turn, "p")
    talk.commit_events(turn)
    assert types(write(talk, at=0.5)[1]) == ["conversation.item.create"]
    freed = leave(talk, talk.play_ended("p", 1.0, cancelled=True), 1.0)
    assert types(freed) == ["response.create"]


def test_an_empty_commit_is_not_counted(talk: Conversation) -> None:
    """After a refused commit, the next commit of turn detection awaits its response again."""
    turn, events = push(talk)
    feed(talk, [error(events[0]["event_id"], "input_audio_buffer_commit_empty")], 2.3)
    assert (turn.status, turn.error) == ("failed", "No.")
    second = speak(talk, 3.0, 5.0)
    feed(talk, spoken_input("u2"), 5.0)
    assert second.awaiting == 1


# --- D: text in -----------------------------------------------------------------------------------


def test_a_text_turn_sends_an_item_and_asks(talk: Conversation) -> None:
    """Sequence D: the text as a user message, then response.create."""
    turn, events = write(talk, "Hi")
    assert types(events) == ["conversation.item.create", "response.create"]
    content = [{"type": "input_text", "text": "Hi"}]
    assert events[0]["item"] == {"type": "message", "role": "user", "content": content}
    assert turn.text == "Hi"


def test_a_text_answer_ends_with_its_event(talk: Conversation) -> None:
    """Sequence D with text output: no sound is waited for."""
    turn, _ = write(talk)
    answer = [
        created(),
        part("text"),
        said("output_text.delta", "Hel"),
        said("output_text.delta", "lo"),
        said("output_text.done", "Hello"),
        done(),
    ]
    talk.heard(2.0, [])
    assert overs(feed(talk, answer, 1.0)) == [(1, "completed")]
    assert turn.responses[0].transcript == "Hello"


def test_a_text_turn_may_be_answered_aloud(talk: Conversation) -> None:
    """Sequence D with audio output waits for the sound like any spoken turn."""
    write(talk)
    feed(talk, spoken_answer(), 1.0)
    assert overs(talk.heard(5.0, [])) == []
    feed(talk, [buffer("stopped")], 5.0)
    assert overs(talk.heard(5.3, [])) == [(1, "completed")]


def test_one_response_is_asked_for_at_a_time(talk: Conversation) -> None:
    """A second text turn sends its item at once, and its request after the first response."""
    write(talk)
    second, events = write(talk, at=0.1)
    assert types(events) == ["conversation.item.create"]
    assert requested(leave(talk, feed(talk, [created()], 0.2), 0.2)) == []
    effects = feed(talk, [done()], 0.5)
    assert types(leave(talk, effects, 0.5)) == ["response.create"]
    feed(talk, [created("r2"), done("r2")], 0.6)
    assert [r.id for r in second.responses] == ["r2"]
