"""The conversation, sans-I/O: lists of events in, turns and effects out (PROTOCOL 4.4)."""

from __future__ import annotations

import itertools

import pytest
from talking import (
    LOUD,
    Talk,
    answer,
    audio_part,
    created,
    done,
    function_call,
    heard_speech,
    refused,
    said,
    sound,
    types,
)

from rtnb.dialects import BETA

# --- A and D: one answer --------------------------------------------------------------------------


def test_a_spoken_turn_is_over_when_its_sound_is_on_disk_not_at_response_done():
    """Sequence A: response.done is early; stopped plus 300 ms of written audio ends the turn."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *answer())
    talk.hears(5.0, LOUD)
    assert turn.status == "in_progress"
    talk.receives(sound("stopped"))
    stopped = talk.now
    talk.hears(0.2)
    assert turn.status == "in_progress"
    talk.hears(0.2)
    assert turn.status == "completed"
    assert talk.over() == [1]
    assert turn.responses[0].audio_ended == stopped
    assert turn.responses[0].transcript == "Paris."
    assert turn.responses[0].usage == {"total_tokens": 10}


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("text", "response.output_text"),
        ("text", "response.output_audio_transcript"),
    ],
)
def test_a_text_prompt_is_an_item_and_one_response_create(kind, event):
    """Sequence D: two events with ids of their own, the words in the first."""
    talk = Talk()
    turn = talk.asks("Hi")
    item, create = talk.flushes()
    assert item["type"] == "conversation.item.create"
    assert item["item"]["content"] == [{"type": "input_text", "text": "Hi"}]
    assert create["type"] == "response.create"
    assert item["event_id"] != create["event_id"]
    assert turn.requested == talk.now
    talk.receives(created(), *said("Hello.", kind=event))
    assert turn.responses[0].transcript == "Hello."


def test_a_text_answer_is_over_without_any_sound():
    """Sequence D in text mode: response.done ends it as soon as the recording has come so far."""
    talk = Talk()
    turn = talk.asks()
    talk.flushes()
    part = ("response.content_part.added", {"response_id": "resp_1", "part": {"type": "text"}})
    talk.receives(created(), part, *said("Hello.", kind="response.output_text"), done())
    talk.hears(0.1)
    assert (turn.status, turn.responses[0].audio_expected) == ("completed", False)


def test_a_beta_answer_reads_like_a_ga_answer():
    """Sequence A in beta names."""
    talk = Talk(BETA)
    turn = talk.speaks()
    beta = {"output_audio_transcript": "audio_transcript", "output_audio.": "audio."}
    events = [*heard_speech(), *answer("Rome."), sound("stopped")]
    for (kind, fields), (new, old) in itertools.product(events, [next(iter(beta.items()))]):
        talk.receives((kind.replace(new, old).replace("item.added", "item.created"), fields))
    talk.hears(0.5)
    assert (turn.status, turn.responses[0].transcript) == ("completed", "Rome.")


def test_a_beta_session_is_understood_in_ga_form():
    """session.created of a beta server fills the session in GA form."""
    talk = Talk(BETA)
    talk.receives(("session.created", {"session": {"voice": "verse", "model": "m"}}))
    assert talk.core.session["audio"] == {"output": {"voice": "verse"}}


@pytest.mark.parametrize("suffix", ["delta", "completed"])
def test_the_users_transcript_may_come_after_the_answer(suffix):
    """Transcription is asynchronous; it still lands in its turn, by item id."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech("item_7"), *answer(), sound("stopped"))
    talk.hears(0.5)
    assert turn.status == "completed"
    about = {"item_id": "item_7", "delta": "Where?", "transcript": "Where?"}
    talk.receives((f"conversation.item.input_audio_transcription.{suffix}", about))
    assert turn.transcripts == {"item_7": "Where?"}


def test_a_failed_transcription_is_kept_apart_from_the_turn():
    """The turn completes; why there is no transcript is known."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech("item_7"), *answer(), sound("stopped"))
    error = {"item_id": "item_7", "error": {"message": "no model"}}
    talk.receives(("conversation.item.input_audio_transcription.failed", error))
    talk.hears(0.5)
    assert (turn.status, turn.transcription_error, turn.transcripts) == (
        "completed",
        "no model",
        {},
    )


# --- C: push-to-talk ------------------------------------------------------------------------------


def test_push_to_talk_commits_and_asks_once():
    """Sequence C: commit and response.create in this order; the answer is the turn's."""
    talk = Talk()
    turn, effects = talk.core.begin_turn(0.0, "push_to_talk")
    assert (effects, turn.holding) == ([], True)
    events = talk.core.commit_events(turn)
    assert types(events) == ["input_audio_buffer.commit", "response.create"]
    assert turn.holding is False
    for event in events:
        talk.leaves(event)
    talk.receives(("input_audio_buffer.committed", {"item_id": "item_1"}), *answer())
    talk.receives(sound("stopped"))
    talk.hears(0.5)
    assert (turn.status, turn.awaiting, turn.pending) == ("completed", 0, 0)


def test_a_held_turn_is_not_over_however_long_it_is_held():
    """Nothing ends a turn that push-to-talk still holds."""
    talk = Talk()
    turn, _ = talk.core.begin_turn(0.0, "push_to_talk")
    talk.hears(30.0)
    assert turn.status == "in_progress"


def test_an_empty_commit_fails_its_turn_with_the_services_words():
    """The error names the commit by event_id."""
    talk = Talk()
    turn, _ = talk.core.begin_turn(0.0, "push_to_talk")
    commit, create = talk.core.commit_events(turn)
    talk.leaves(commit)
    talk.leaves(create)
    talk.receives(refused(commit, "input_audio_buffer_commit_empty", "The buffer is too small."))
    assert (turn.status, turn.error) == ("failed", "The buffer is too small.")


def test_a_cut_playing_withdraws_the_commit_that_would_have_followed():
    """Its events never leave, so the next turn must not wait for their answer."""
    talk = Talk()
    held, _ = talk.core.begin_turn(0.0, "push_to_talk")
    talk.core.play_queued(held, "play-1")
    talk.core.play_started("play-1", 0.1)
    talk.core.commit_events(held)
    talk.effects += talk.core.play_ended("play-1", 0.5, cancelled=True)
    assert held.pending == 0
    talk.asks()
    assert types(talk.flushes()) == ["conversation.item.create", "response.create"]


# --- E: tools -------------------------------------------------------------------------------------


def tool_turn(*items):
    """Return a talk whose turn has just been answered with these items."""
    talk = Talk()
    turn = talk.asks("What is the weather?")
    talk.flushes()
    talk.receives(created(), done(output=list(items)))
    return talk, turn


def test_a_tool_call_runs_and_its_result_is_answered():
    """Sequence E: one output item, then one response.create; the second response ends the turn."""
    talk, turn = tool_turn(function_call())
    (run,) = talk.tool_calls()
    assert (run.call.name, run.call.arguments) == ("weather", '{"city": "Oslo"}')
    talk.effects += talk.core.tool_finished(turn, run.call, talk.now, output="12")
    output, create = talk.flushes()
    assert output["item"] == {"type": "function_call_output", "call_id": "call_1", "output": "12"}
    assert create["type"] == "response.create"
    assert turn.status == "in_progress"
    talk.receives(*answer("Twelve.", "resp_2"), sound("stopped", "resp_2"))
    talk.hears(0.5)
    assert turn.status == "completed"
    assert [r.id for r in turn.responses] == ["resp_1", "resp_2"]


def test_two_tool_calls_give_two_outputs_and_exactly_one_response_create():
    """The model is asked again only when the last of the parallel calls has its result."""
    talk, turn = tool_turn(function_call("call_1"), function_call("call_2"))
    first, second = talk.tool_calls()
    talk.effects += talk.core.tool_finished(turn, second.call, talk.now, output="b")
    assert types(talk.flushes()) == ["conversation.item.create"]
    talk.effects += talk.core.tool_finished(turn, first.call, talk.now, output="a")
    assert types(talk.flushes()) == ["conversation.item.create", "response.create"]


def test_a_failing_tool_leaves_its_error_in_the_turn():
    """The output goes to the model, the error is kept with the call."""
    talk, turn = tool_turn(function_call())
    (run,) = talk.tool_calls()
    talk.core.tool_finished(turn, run.call, talk.now, output="{}", error="KeyError: 'x'")
    assert turn.tool_calls[0].error == "KeyError: 'x'"


def test_a_turn_waits_for_a_slow_tool():
    """A tool may take longer than the ten seconds after which silence is no reply."""
    talk, turn = tool_turn(function_call())
    talk.hears(25.0)
    assert turn.status == "in_progress"


def test_a_repeated_call_id_runs_once():
    """The same function_call seen again in a later response is not run again."""
    talk, turn = tool_turn(function_call("call_1"))
    (run,) = talk.tool_calls()
    talk.core.tool_finished(turn, run.call, talk.now, output="a")
    talk.receives(created("resp_2"), done("resp_2", output=[function_call("call_1")]))
    assert talk.tool_calls() == []


# --- F: barge-in ----------------------------------------------------------------------------------


def barged_in(*order):
    """Return both turns after a second one spoke into the first one's reply."""
    talk = Talk()
    first = talk.speaks()
    talk.receives(*heard_speech("item_1"), *answer()[:-2])
    second = talk.speaks()
    start, *rest = heard_speech("item_2")
    talk.receives(start, *order, *rest, *answer("Rome.", "resp_2", "item_b"))
    talk.receives(sound("stopped", "resp_2"))
    talk.hears(0.6)
    return talk, first, second


CUT = (
    sound("cleared"),
    done(status="cancelled", status_details={"type": "cancelled", "reason": "turn_detected"}),
    ("conversation.item.truncated", {"item_id": "item_a", "content_index": 0, "audio_end_ms": 700}),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_barge_in_cancels_the_first_turn_and_answers_the_second(order):
    """Sequence F: cleared, response.done and truncated may come in any order."""
    _, first, second = barged_in(*[CUT[i] for i in order])
    assert (first.status, second.status) == ("cancelled", "completed")
    assert [r.transcript for r in second.responses] == ["Rome."]
    assert first.responses[0].truncated == 0.7
    assert first.responses[0].cut is True


def test_barge_in_after_generation_leaves_the_responses_status_completed():
    """Only cleared and truncated come; what was heard was cut all the same."""
    talk = Talk()
    first = talk.speaks()
    talk.receives(*heard_speech("item_1"), *answer())
    talk.speaks()
    talk.receives(heard_speech("item_2")[0], sound("cleared"))
    talk.hears(0.5)
    assert (first.status, first.responses[0].status) == ("cancelled", "completed")


def test_two_commits_in_one_turn_are_answered_by_the_last_response():
    """A pause inside the prompt splits it; the answer to the first half is cut by the second."""
    talk = Talk()
    turn = talk.speaks(ends=False)
    talk.receives(*heard_speech("item_1"), *answer("What?")[:-2])
    talk.receives(heard_speech("item_2")[0], *CUT, *heard_speech("item_2")[1:])
    talk.core.play_ended("play-1", talk.now)
    assert turn.status == "in_progress"
    talk.receives(*answer("Paris.", "resp_2", "item_b"), sound("stopped", "resp_2"))
    talk.hears(0.5)
    assert (turn.status, len(turn.responses)) == ("completed", 2)
    assert turn.responses[-1].transcript == "Paris."


# --- G: interrupting ------------------------------------------------------------------------------


def test_interrupt_cancels_the_active_response_and_then_clears_the_sound():
    """Sequence G, while the response is being made."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *answer()[:-2])
    talk.effects += talk.core.interrupt()
    assert types(talk.flushes()) == ["response.cancel", "output_audio_buffer.clear"]
    talk.receives(*CUT)
    talk.hears(0.5)
    assert turn.status == "cancelled"


def test_interrupt_after_response_done_only_clears_the_sound():
    """response.cancel would be refused then."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *answer())
    assert talk.core.speaking
    talk.effects += talk.core.interrupt()
    assert types(talk.flushes()) == ["output_audio_buffer.clear"]
    talk.receives(sound("cleared"))
    talk.hears(0.5)
    assert (turn.status, talk.core.speaking) == ("cancelled", False)


def test_a_response_cancelled_before_it_sounded_needs_no_cleared():
    """Nothing was heard, so nothing has to end."""
    talk = Talk()
    turn = talk.asks()
    talk.flushes()
    talk.receives(created(), audio_part(), done(status="cancelled"))
    talk.hears(0.5)
    assert turn.status == "cancelled"


def test_an_error_about_our_cancel_does_not_touch_the_turn():
    """response_cancel_not_active is kept among the errors and fails nothing."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *answer()[:-2])
    talk.effects += talk.core.interrupt()
    cancel, _ = talk.flushes()
    talk.receives(refused(cancel, "response_cancel_not_active"))
    assert (turn.status, turn.error) == ("in_progress", None)
    assert [e.data["error"]["code"] for e in talk.core.errors] == ["response_cancel_not_active"]


# --- H: idle timeout ------------------------------------------------------------------------------


def test_an_idle_timeouts_response_changes_no_finished_turn():
    """Sequence H: the server speaks of its own accord, after the turn is over."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *answer(), sound("stopped"))
    talk.hears(0.5)
    ended = turn.ended
    talk.receives(
        ("input_audio_buffer.timeout_triggered", {"item_id": "item_9"}),
        ("input_audio_buffer.committed", {"item_id": "item_9"}),
        *answer("Still there?", "resp_9", "item_z"),
        sound("stopped", "resp_9"),
    )
    talk.hears(0.5)
    assert (turn.status, turn.ended, talk.over()) == ("completed", ended, [1])


# --- one response.create at a time, and errors ----------------------------------------------------


def test_a_second_response_is_asked_for_only_when_the_first_is_done():
    """Two text turns: the second create waits."""
    talk = Talk()
    first, second = talk.asks("One"), talk.asks("Two")
    assert types(talk.flushes()) == [
        "conversation.item.create",
        "response.create",
        "conversation.item.create",
    ]
    talk.receives(created("resp_1"))
    assert talk.flushes() == []
    talk.receives(done("resp_1"))
    assert types(talk.flushes()) == ["response.create"]
    talk.receives(created("resp_2"), done("resp_2"))
    talk.hears(0.5)
    assert [first.responses[0].id, second.responses[0].id] == ["resp_1", "resp_2"]
    assert (first.status, second.status) == ("completed", "completed")


def test_a_create_that_met_an_active_response_is_sent_again():
    """conversation_already_has_active_response is not the turn's failure."""
    talk = Talk()
    turn = talk.asks()
    _, create = talk.flushes()
    talk.receives(created("theirs"))  # turn detection was faster
    talk.receives(refused(create, "conversation_already_has_active_response"))
    assert (turn.status, talk.flushes()) == ("in_progress", [])
    talk.receives(done("theirs"))
    assert types(talk.flushes()) == ["response.create"]


def test_a_create_refused_after_the_other_response_was_done_is_sent_at_once():
    """Nothing active is left to wait for."""
    talk = Talk()
    turn = talk.asks()
    _, create = talk.flushes()
    talk.receives(refused(create, "conversation_already_has_active_response"))
    assert types(talk.flushes()) == ["response.create"]
    assert turn.status == "in_progress"


def test_an_error_is_matched_by_event_id_not_by_time():
    """The first turn's item is refused while the second one is the latest."""
    talk = Talk()
    first, second = talk.asks("One"), talk.asks("Two")
    item = talk.flushes()[0]
    talk.receives(refused(item, message="The text is too long."))
    assert (first.status, first.error) == ("failed", "The text is too long.")
    assert second.status == "in_progress"


def test_a_refused_create_lets_the_next_turn_ask():
    """The queue moves on although no response.done will come."""
    talk = Talk()
    first, second = talk.asks("One"), talk.asks("Two")
    create = talk.flushes()[1]
    talk.receives(refused(create))
    assert first.status == "failed"
    assert types(talk.flushes()) == ["response.create"]
    talk.receives(created(), done())
    talk.hears(0.5)
    assert (second.status, len(second.responses)) == ("completed", 1)


def test_an_error_without_an_event_id_fails_no_turn():
    """It is kept in `errors`."""
    talk = Talk()
    turn = talk.asks()
    talk.receives(("error", {"error": {"message": "odd", "event_id": None}}))
    assert (turn.status, len(talk.core.errors)) == ("in_progress", 1)


def test_an_error_without_any_text_still_gives_a_reason():
    """Some servers leave all fields empty."""
    talk = Talk()
    turn = talk.asks()
    item = talk.flushes()[0]
    talk.receives(refused(item, "", ""))
    assert turn.error == "the service gave no reason"


@pytest.mark.parametrize("refuse", [False, True])
def test_a_session_update_is_acknowledged_or_refused_by_its_id(refuse):
    """session.updated answers the oldest update, an error the one that it names."""
    talk = Talk()
    first, effect = talk.core.update_session({"type": "realtime"})
    second, _ = talk.core.update_session({"type": "realtime"})
    if refuse:
        talk.receives(refused(effect.event))
    talk.receives(("session.updated", {"session": {"model": "m"}}))
    assert talk.core.acknowledged == {second if refuse else first}
    assert set(talk.core.refused) == ({first} if refuse else set())
    assert talk.core.session == {"model": "m"}


def test_a_failed_response_fails_the_turn_with_its_reason():
    """status_details.error of response.done (a model without access)."""
    talk = Talk()
    turn = talk.asks()
    talk.flushes()
    details = {"type": "failed", "error": {"code": "model_not_found"}}
    talk.receives(created(), done(status="failed", status_details=details))
    talk.hears(0.5)
    assert (turn.status, turn.error) == ("failed", "model_not_found")


def test_a_response_cut_by_its_token_limit_is_incomplete():
    """incomplete stays the turn's word; the reason is the response's."""
    talk = Talk()
    turn = talk.asks()
    talk.flushes()
    details = {"type": "incomplete", "reason": "max_output_tokens"}
    talk.receives(created(), done(status="incomplete", status_details=details))
    talk.hears(0.5)
    assert (turn.status, turn.responses[0].error) == ("incomplete", "max_output_tokens")


def test_a_response_create_of_the_users_own_belongs_to_the_last_turn():
    """session.send_event is followed too."""
    talk = Talk()
    turn = talk.speaks()
    talk.leaves({"type": "response.create", "event_id": "mine"})
    assert turn.pending == 1
    talk.receives(*answer(), sound("stopped"))
    talk.hears(0.5)
    assert (turn.status, turn.pending) == ("completed", 0)


# --- silence, filters, order ----------------------------------------------------------------------


def test_unknown_events_and_fields_change_nothing():
    """They are ignored wherever they come."""
    talk = Talk()
    turn = talk.speaks()
    unknown = ("localai.speaker", {"response_id": "resp_1", "score": [1, None]})
    for event in [*heard_speech(), *answer(), sound("stopped")]:
        talk.receives(unknown, event, "", ("mcp_list_tools.failed", {"item_id": 3}))
    talk.hears(0.5)
    assert (turn.status, len(turn.responses), talk.core.errors) == ("completed", 1, [])


def test_no_reply_is_said_after_ten_seconds_of_nothing():
    """Counted from when something last happened to the turn."""
    talk = Talk()
    turn = talk.speaks()
    talk.hears(9.9)
    assert turn.status == "in_progress"
    talk.hears(0.3)
    assert (turn.status, turn.responses) == ("no_reply", [])


def test_a_prompt_longer_than_ten_seconds_is_not_given_up_while_it_plays():
    """The ten seconds begin at its end."""
    talk = Talk()
    turn = talk.speaks(1.0, ends=False)
    talk.hears(20.0)
    assert turn.status == "in_progress"
    talk.core.play_ended("play-1", talk.now)
    talk.hears(10.2)
    assert turn.status == "no_reply"


FILTERED = [
    ("input_audio_buffer.speech_started", {"item_id": "item_1"}),
    ("input_audio_buffer.speech_stopped", {"item_id": "item_1"}),
    ("conversation.item.added", {"item": {"id": "item_1"}}),
    *said("Paris."),
    sound("started"),
]


def test_a_filtering_server_is_understood_by_what_it_sends():
    """Azure's webrtcfilter: no session.created, no response.created, no response.done."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*FILTERED, sound("stopped"))
    talk.hears(1.5)
    assert (turn.status, turn.responses[0].transcript) == ("completed", "Paris.")


def test_a_filtered_text_answer_ends_when_nothing_more_comes():
    """There is neither a response.done nor any sound to tell the end."""
    talk = Talk()
    turn = talk.asks()
    talk.flushes()
    talk.receives(*said("Paris.", kind="response.output_text"))
    talk.hears(9.0)
    assert turn.status == "in_progress"
    talk.hears(4.0)
    assert (turn.status, turn.responses[0].transcript) == ("completed", "Paris.")


def test_without_output_buffer_events_the_sound_decides():
    """LocalAI sends none: one second of quiet after response.done ends the turn."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *[e for e in answer() if "buffer" not in e[0]])
    talk.hears(3.0, LOUD)
    talk.hears(0.8)
    assert turn.status == "in_progress"
    talk.hears(0.6)
    assert turn.status == "completed"


def test_a_started_sound_without_stopped_ends_after_a_longer_quiet():
    """A lost stopped must not hang the turn; pauses of speech must not end it."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), *answer())
    talk.hears(1.0, LOUD)
    talk.hears(4.5)
    assert turn.status == "in_progress"
    talk.hears(1.0)
    assert turn.status == "completed"


LOOSE = (
    sound("started"),
    sound("stopped"),
    done(),
    ("rate_limits.updated", {"rate_limits": []}),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_loose_events_does_not_matter(order):
    """rate_limits first, stopped before response.done: the turn completes, once, in any order."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(*heard_speech(), created(), audio_part(), *said("Paris."))
    talk.receives(*[LOOSE[i] for i in order])
    talk.hears(1.5)
    assert (turn.status, talk.over()) == ("completed", [1])
    assert turn.responses[0].transcript == "Paris."


def test_the_response_may_be_created_before_the_commit_is_told():
    """No answer is waited for twice."""
    talk = Talk()
    turn = talk.speaks()
    heard = heard_speech()
    talk.receives(*heard[:2], *answer(), heard[2], sound("stopped"))
    talk.hears(0.5)
    assert turn.status == "completed"


# --- the end --------------------------------------------------------------------------------------


def test_the_end_of_the_call_ends_every_open_turn():
    """Incomplete where an answer had begun, failed where none had; the reason is kept."""
    talk = Talk()
    finished = talk.asks("Zero")
    talk.flushes()
    talk.receives(created("resp_0"), done("resp_0"))
    talk.hears(0.5)
    first = talk.speaks()
    talk.receives(*heard_speech(), *answer())
    second = talk.speaks()
    talk.effects += talk.core.closed(talk.now, "The call is over.")
    assert (finished.status, first.status, second.status) == ("completed", "incomplete", "failed")
    assert (finished.error, first.error, second.error) == (None, *["The call is over."] * 2)
    assert talk.over() == [1, 2, 3]


def test_an_unreadable_frame_is_harmless():
    """Text that is not JSON, and JSON that is not an object."""
    from rtnb.events import Event

    talk = Talk()
    turn = talk.asks()
    for text in ("", "{", "[1, 2]", "null", '"response.done"'):
        assert talk.core.received(Event(text, time=1.0, direction="received")) == []
    assert turn.status == "in_progress"


@pytest.mark.parametrize(
    "event",
    [
        ("response.created", {}),
        ("response.created", {"response": None}),
        ("response.done", {"response": None}),
        ("response.done", {"response": {"id": "resp_1", "output": None, "status": None}}),
        ("error", {}),
        ("error", {"error": None}),
        ("session.created", {}),
        ("conversation.item.truncated", {}),
        ("response.output_text.delta", {"delta": None, "content_index": None}),
        ("response.content_part.added", {"part": None}),
        ("input_audio_buffer.committed", {}),
    ],
)
def test_missing_fields_are_survived(event):
    """Every field may be absent or null."""
    talk = Talk()
    turn = talk.speaks()
    talk.receives(event)
    assert turn.number == 1
