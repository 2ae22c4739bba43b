"""Lists of events in, state and effects out: errors, tools, interruptions, ends, edges."""

from __future__ import annotations

import json

import pytest
from talks import (
    Json,
    buffer,
    calls,
    created,
    done,
    error,
    feed,
    leave,
    overs,
    requested,
    said,
    speak,
    spoken_answer,
    spoken_input,
    types,
    write,
)

from rtnb.conversation import Conversation, RunTool, Send
from rtnb.events import Event
from rtnb.turnover import TAIL
from rtnb.turnstate import ToolCall


@pytest.fixture
def talk() -> Conversation:
    """A conversation with a GA server."""
    return Conversation()


# --- errors ---------------------------------------------------------------------------------------


def test_an_error_is_matched_by_its_event_id(talk: Conversation) -> None:
    """The turn whose event was refused fails with the service's words; the other goes on."""
    first, events = write(talk)
    second = speak(talk, 1.0, 2.0)
    assert overs(feed(talk, [error(requested(events)[0])], 3.0)) == [(1, "failed")]
    assert (first.error, second.status) == ("No.", "in_progress")
    assert talk.errors == []


def test_an_error_of_nobody_is_kept(talk: Conversation) -> None:
    """An error without a cause of ours fails no turn and is listed."""
    turn, _ = write(talk)
    feed(talk, [error(None), error("theirs")], 1.0)
    assert turn.status == "in_progress"
    assert [e.data["error"]["event_id"] for e in talk.errors] == [None, "theirs"]


@pytest.mark.parametrize(
    ("empty", "told"),
    [
        ({"message": "", "code": ""}, "the service gave no reason"),
        ({"message": "", "code": "x"}, "x"),
    ],
)
def test_an_error_without_words_is_told(
    talk: Conversation, empty: dict[str, str], told: str
) -> None:
    """An empty error still gives the turn a reason."""
    turn, events = write(talk)
    feed(talk, [error(requested(events)[0], **empty)], 1.0)
    assert turn.error == told


def test_a_refused_request_frees_the_way_for_the_next(talk: Conversation) -> None:
    """A request that waited behind a refused one is sent then."""
    _, events = write(talk)
    write(talk, at=0.1)
    effects = feed(talk, [error(requested(events)[0])], 0.3)
    assert types(leave(talk, effects, 0.3)) == ["response.create"]


def test_an_active_response_makes_it_ask_again(talk: Conversation) -> None:
    """conversation_already_has_active_response: asked again once after response.done."""
    turn, events = write(talk)
    busy = error(requested(events)[0], "conversation_already_has_active_response")
    speaking = [created("r0"), done("r0")]
    talk._responses.active.add("r0")  # it was created before we came
    assert feed(talk, [busy], 0.2) == []
    assert turn.status == "in_progress"
    again = leave(talk, feed(talk, speaking[1:], 1.0), 1.0)
    assert types(again) == ["response.create"]
    assert again[0]["event_id"] != events[1]["event_id"]


def test_a_refusal_after_a_response_of_turn_detection_is_asked_again(talk: Conversation) -> None:
    """A response that turn detection made first is its turn's own, and the text turn asks again."""
    spoken = speak(talk)
    feed(talk, spoken_input(), 2.0)
    written, events = write(talk, at=2.1)
    busy = error(requested(events)[0], "conversation_already_has_active_response")
    feed(talk, [created("r1"), busy], 2.2)
    assert [r.id for r in spoken.responses] == ["r1"]
    assert written.status == "in_progress"
    assert types(leave(talk, feed(talk, [done("r1")], 3.0), 3.0)) == ["response.create"]
    feed(talk, [created("r2")], 3.1)
    assert [r.id for r in written.responses] == ["r2"]


def test_an_update_is_acknowledged_in_order(talk: Conversation) -> None:
    """session.updated acknowledges the oldest update; a refused one is skipped."""
    first, _ = talk.update_session({"instructions": "a"})
    second, _ = talk.update_session({"instructions": "b"})
    feed(talk, [error(first), {"type": "session.updated", "session": {}}], 0.0)
    assert (set(talk.refused), talk.acknowledged) == ({first}, {second})


def test_a_failed_response_fails_the_turn(talk: Conversation) -> None:
    """A model without access: response.done failed, with the service's reason."""
    turn = speak(talk)
    why = {"type": "failed", "error": {"code": "model_not_found", "message": "No such model."}}
    feed(talk, [*spoken_input(), created(), done(status="failed", status_details=why)], 2.0)
    assert overs(talk.heard(9.0, [])) == [(1, "failed")]
    assert turn.error == "No such model."


def test_an_incomplete_response_makes_the_turn_incomplete(talk: Conversation) -> None:
    """max_output_tokens: the turn is incomplete, and the response says why."""
    turn = speak(talk)
    why = {"type": "incomplete", "reason": "max_output_tokens"}
    answer = [*spoken_answer()[:-2], done(status="incomplete", status_details=why)]
    feed(talk, [*spoken_input(), *answer, buffer("stopped")], 2.0)
    assert overs(talk.heard(9.0, [])) == [(1, "incomplete")]
    assert turn.responses[0].error == "max_output_tokens"


# --- E: tools -------------------------------------------------------------------------------------


def call_tools(talk: Conversation, *ids: str) -> list[RunTool]:
    """Let the first response of a spoken turn call tools; return what is to be run."""
    effects = feed(talk, [*spoken_input(), created(), done(output=calls(*ids))], 2.0)
    return [effect for effect in effects if isinstance(effect, RunTool)]


def finish(talk: Conversation, call: ToolCall, output: str, at: float) -> list[Json]:
    """Report a tool's result, and let what it sends leave."""
    return leave(talk, talk.tool_finished(talk.turns[0], call, at, output=output), at)


def test_a_tool_call_is_run_after_response_done(talk: Conversation) -> None:
    """Sequence E: the call is known by name, id and arguments, and the turn stays open."""
    turn = speak(talk)
    runs = call_tools(talk, "c1")
    call = runs[0].call
    assert (call.call_id, call.name, call.arguments) == ("c1", "weather", '{"city": "Rome"}')
    assert runs[0].turn is turn
    assert overs(talk.heard(30.0, [])) == []


def test_two_tool_calls_are_answered_before_one_request(talk: Conversation) -> None:
    """Two calls: one function_call_output each, then exactly one response.create."""
    speak(talk)
    runs = call_tools(talk, "c1", "c2")
    first = finish(talk, runs[1].call, "late", 2.5)
    second = finish(talk, runs[0].call, "18 °C", 2.6)
    assert types(first) == ["conversation.item.create"]
    assert types(second) == ["conversation.item.create", "response.create"]
    assert first[0]["item"] == {"type": "function_call_output", "call_id": "c2", "output": "late"}
    assert second[0]["item"]["call_id"] == "c1"


def test_the_answer_after_a_tool_ends_the_turn(talk: Conversation) -> None:
    """Both responses belong to the turn; their tool call keeps its result."""
    turn = speak(talk)
    (run,) = call_tools(talk, "c1")
    finish(talk, run.call, "18 °C", 2.5)
    feed(talk, [*spoken_answer("r2", "a2", "18 °C."), buffer("stopped", "r2")], 2.6)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert [r.id for r in turn.responses] == ["r1", "r2"]
    assert (run.call.output, run.call.ended) == ("18 °C", 2.5)


def test_a_response_that_was_repeated_runs_its_tool_once(talk: Conversation) -> None:
    """response.done twice does not run a tool twice."""
    speak(talk)
    assert len(call_tools(talk, "c1")) == 1
    assert feed(talk, [done(output=calls("c1"))], 3.0) == []


def test_a_tool_left_to_the_user_is_not_waited_for(talk: Conversation) -> None:
    """A call that the user answers by hand does not hold the turn open."""
    speak(talk)
    (run,) = call_tools(talk, "c1")
    talk.leave_tool(run.call, 2.5)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]


# --- F, G: barge-in and interruption --------------------------------------------------------------


def test_a_second_turn_cuts_the_first(talk: Conversation) -> None:
    """Sequence F: a turn spoken into the reply makes the first cancelled and is answered itself."""
    first = speak(talk, 0.0, 2.0)
    feed(talk, [*spoken_input(), *spoken_answer()], 2.0)
    second = speak(talk, 4.0, 6.0)
    cut = {"type": "conversation.item.truncated", "item_id": "a1", "audio_end_ms": 1500}
    feed(talk, [spoken_input("u2")[0], buffer("cleared"), cut], 4.2)
    assert overs(talk.heard(4.6, [])) == [(1, "cancelled")]
    feed(talk, [*spoken_input("u2")[1:], *spoken_answer("r2", "a2", "Rome.")], 6.0)
    feed(talk, [buffer("stopped", "r2")], 8.0)
    assert overs(talk.heard(8.3, [])) == [(2, "completed")]
    assert (first.responses[0].status, first.responses[0].truncated) == ("completed", 1.5)
    assert second.responses[0].transcript == "Rome."


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_barge_in_ends_in_any_order(talk: Conversation, order: tuple[int, ...]) -> None:
    """cleared, response.done(cancelled) and truncated may come in any order."""
    turn = speak(talk)
    feed(talk, [*spoken_input(), *spoken_answer()[:6]], 2.0)
    ends = [
        buffer("cleared"),
        done(status="cancelled", status_details={"type": "cancelled", "reason": "turn_detected"}),
        {"type": "conversation.item.truncated", "item_id": "a1", "audio_end_ms": 900},
    ]
    feed(talk, [ends[place] for place in order], 3.0)
    assert overs(talk.heard(3.5, [])) == [(1, "cancelled")]
    assert turn.responses[0].truncated == 0.9


def test_two_commits_in_one_turn_wait_for_the_second_answer(talk: Conversation) -> None:
    """A pause in the prompt makes two commits: the first reply is cut, the second counts."""
    turn = speak(talk, 0.0, 4.0)
    feed(talk, [*spoken_input("u1"), created("r1")], 1.5)
    stop = done("r1", "cancelled", status_details={"reason": "turn_detected"})
    feed(talk, [spoken_input("u2")[0], stop], 2.5)
    assert overs(talk.heard(3.9, [])) == []
    feed(talk, spoken_input("u2")[1:], 4.0)
    assert overs(talk.heard(6.0, [])) == []
    feed(talk, [*spoken_answer("r2"), buffer("stopped", "r2")], 6.0)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert [r.status for r in turn.responses] == ["cancelled", "completed"]


def test_interrupting_cancels_then_clears(talk: Conversation) -> None:
    """Sequence G: response.cancel where one is active, then output_audio_buffer.clear."""
    speak(talk)
    feed(talk, [*spoken_input(), *spoken_answer()[:6]], 2.0)
    assert talk.speaking
    sent = leave(talk, talk.interrupt(), 3.0)
    assert types(sent) == ["response.cancel", "output_audio_buffer.clear"]
    why = {"type": "cancelled", "reason": "client_cancelled"}
    feed(talk, [done(status="cancelled", status_details=why), buffer("cleared")], 3.1)
    assert overs(talk.heard(3.5, [])) == [(1, "cancelled")]
    assert not talk.speaking


def test_interrupting_after_response_done_only_clears(talk: Conversation) -> None:
    """When all has been made and sound still plays, there is nothing to cancel."""
    speak(talk)
    feed(talk, [*spoken_input(), *spoken_answer()], 2.0)
    assert talk.speaking
    assert types(leave(talk, talk.interrupt(), 3.0)) == ["output_audio_buffer.clear"]
    feed(talk, [buffer("cleared")], 3.1)
    assert overs(talk.heard(3.5, [])) == [(1, "cancelled")]


def test_a_refused_interruption_harms_no_turn(talk: Conversation) -> None:
    """response_cancel_not_active is nobody's failure."""
    turn = speak(talk)
    feed(talk, [*spoken_input(), created()], 2.0)
    cancel = leave(talk, talk.interrupt(), 2.1)[0]
    feed(talk, [error(cancel["event_id"], "response_cancel_not_active")], 2.2)
    assert turn.status == "in_progress"


# --- H: idle timeout ------------------------------------------------------------------------------


def test_an_idle_timeout_leaves_a_finished_turn(talk: Conversation) -> None:
    """Sequence H: the server speaks of itself; a turn that is over stays as it ended."""
    turn = speak(talk)
    feed(talk, [*spoken_input(), *spoken_answer(), buffer("stopped")], 2.0)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    idle = {"type": "input_audio_buffer.timeout_triggered", "item_id": "u2"}
    again = [idle, *spoken_input("u2")[2:], *spoken_answer("r2", "a2", "Are you there?")]
    assert feed(talk, [*again, buffer("stopped", "r2")], 20.0) == []
    assert overs(talk.heard(30.0, [])) == []
    assert (turn.status, turn.ended, len(talk.turns)) == ("completed", 9.0, 1)


def test_a_server_that_speaks_first_is_survived(talk: Conversation) -> None:
    """A response before any turn belongs to none."""
    assert feed(talk, [*spoken_input(), *spoken_answer(), buffer("stopped")], 1.0) == []
    assert (talk.turns, talk.speaking) == ([], False)


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answered", "status"), [(False, "failed"), (True, "incomplete")])
def test_a_closed_call_ends_its_turns(talk: Conversation, answered: bool, status: str) -> None:
    """An answered turn is incomplete, an unanswered one failed, both with the reason."""
    turn = speak(talk)
    feed(talk, [*spoken_input(), *([created()] if answered else [])], 2.0)
    assert overs(talk.closed(3.0, "The call is over.")) == [(1, status)]
    assert (turn.error, turn.ended) == ("The call is over.", 3.0)
    assert overs(talk.closed(4.0, "again")) == []


def test_a_turn_is_over_once(talk: Conversation) -> None:
    """No event after the end reports the turn a second time."""
    speak(talk)
    feed(talk, [*spoken_input(), *spoken_answer(), buffer("stopped")], 2.0)
    assert overs(talk.heard(2.2 + TAIL, [])) == [(1, "completed")]
    assert overs(feed(talk, [done(), buffer("cleared")], 3.0)) == []
    assert overs(talk.closed(4.0, "over")) == []


# --- what may also happen -------------------------------------------------------------------------


def test_a_request_of_the_users_own_belongs_to_the_last_turn(talk: Conversation) -> None:
    """A response.create sent by hand is waited for like ours."""
    turn = speak(talk)
    leave(talk, [Send({"type": "response.create", "event_id": "mine"})], 2.0)
    assert (turn.pending, turn.requested) == (1, 2.0)
    feed(talk, [created()], 2.1)
    assert (turn.pending, [r.id for r in turn.responses]) == (0, ["r1"])


def test_a_filtered_text_answer_ends_when_nothing_more_comes(talk: Conversation) -> None:
    """There is neither a response.done nor any sound to tell the end."""
    turn, _ = write(talk)
    feed(talk, [said("output_text.done", "Paris.")], 1.0)
    assert overs(talk.heard(11.0, [])) == []
    assert overs(talk.heard(11.1, [])) == [(1, "completed")]
    assert turn.responses[0].transcript == "Paris."


def test_a_long_prompt_is_not_given_up_while_it_plays(talk: Conversation) -> None:
    """The ten seconds begin at its end."""
    turn, _ = talk.begin_turn(0.0, "audio")
    talk.play_queued(turn, "p")
    talk.play_started("p", 0.0)
    assert overs(talk.heard(25.0, [])) == []
    talk.play_ended("p", 30.0)
    assert overs(talk.heard(40.0, [])) == []
    assert overs(talk.heard(40.1, [])) == [(1, "no_reply")]


def test_a_slow_tool_is_waited_for(talk: Conversation) -> None:
    """A tool may take longer than a turn without any reply may."""
    speak(talk)
    (run,) = call_tools(talk, "c1")
    assert overs(talk.heard(60.0, [])) == []
    assert types(finish(talk, run.call, "done", 60.0))[-1] == "response.create"


def test_a_failing_tool_leaves_its_error_in_the_turn(talk: Conversation) -> None:
    """The output goes to the model, the error is kept with the call."""
    turn = speak(talk)
    (run,) = call_tools(talk, "c1")
    talk.tool_finished(turn, run.call, 3.0, output='{"error": "no"}', error="no")
    assert (turn.tool_calls[0].output, turn.tool_calls[0].error) == ('{"error": "no"}', "no")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '"response.done"'])
def test_an_unreadable_frame_is_harmless(talk: Conversation, text: str) -> None:
    """Text that is not JSON, and JSON that is not an object."""
    turn = speak(talk)
    assert talk.received(Event(text, time=2.1, direction="received")) == []
    assert turn.status == "in_progress"


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"response.done"',
        '{"type":"response.done","response":{"id":"r1","status":"completed"}',
        '{"type":"response.done","response":{"id":"r1","status":"completed"},}',
        '{"type":"response.done","response":{"id":"r1"},"x":' + "[" * 200 + "]" * 200 + "}",
        '{"type":"response.done","response":{"id":"r1"},"type":"rate_limits.updated"}',
    ],
)
def test_a_broken_end_of_a_response_does_not_end_it(talk: Conversation, text: str) -> None:
    """Cut short, broken, too deep, or of another type in the end: its beginning drives nothing."""
    turn = speak(talk)
    feed(talk, [created("r1")], 2.0)
    assert talk.received(Event(text, time=2.1, direction="received")) == []
    assert [r.status for r in turn.responses] == ["in_progress"]
    assert talk.malformed == []
    feed(talk, [done("r1")], 2.2)
    assert [r.status for r in turn.responses] == ["completed"]


@pytest.mark.parametrize(
    "text", ['{"type":"response.done","type":"error","error":{"message":"No."}}']
)
def test_of_a_frame_with_several_types_the_last_one_counts(talk: Conversation, text: str) -> None:
    """As the data says."""
    speak(talk)
    talk.received(Event(text, time=2.1, direction="received"))
    assert [e.type for e in talk.errors] == ["error"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.created", "response": None},
        {"type": "response.done", "response": {"id": "r1", "output": None, "status": None}},
        {"type": "error", "error": None},
        {"type": "response.output_text.delta", "delta": None, "content_index": None},
        {"type": "response.content_part.added", "part": None},
        {"type": "conversation.item.truncated", "audio_end_ms": None},
    ],
    ids=lambda event: event["type"],
)
def test_null_fields_are_survived(talk: Conversation, event: Json) -> None:
    """Every field may be null, and the turn is answered all the same."""
    turn = speak(talk)
    feed(talk, [event, *spoken_input(), *spoken_answer(), buffer("stopped")], 2.0)
    assert "Paris." in [r.transcript for r in turn.responses]


# --- edges ----------------------------------------------------------------------------------------


def test_a_response_that_was_begun_and_never_went_on_is_incomplete() -> None:
    """Ten seconds of nothing end the turn as incomplete, and the next one may ask."""
    talk = Conversation()
    turn, _ = talk.begin_turn(0.0, "text", text="Hi")
    talk.received(_event("response.created", 1.0, response={"id": "r1"}))
    talk.heard(12.0, ())
    _, effects = talk.begin_turn(12.0, "text", text="Hello?")
    assert turn.status == "incomplete"
    assert [e.event["type"] for e in effects if isinstance(e, Send)][-1] == "response.create"


@pytest.mark.parametrize(
    ("status", "item"), [("cancelled", "completed"), ("completed", "incomplete")]
)
def test_a_tool_of_a_response_that_was_cut_does_not_run(status: str, item: str) -> None:
    """Half a call, or a call of a cancelled response, is no call."""
    talk = Conversation()
    talk.begin_turn(0.0, "text", text="Hi")
    talk.received(_event("response.created", 1.0, response={"id": "r1"}))
    call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}", "status": item}
    done = {"id": "r1", "status": status, "output": [call]}
    effects = talk.received(_event("response.done", 2.0, response=done))
    assert not [e for e in effects if isinstance(e, RunTool)]


def test_a_response_asked_for_by_hand_after_an_interrupt_is_wanted() -> None:
    """Only what answers the interrupted turn is cut, not what the user asks for later."""
    talk = Conversation()
    talk.begin_turn(0.0, "text", text="Hi")
    talk.received(_event("response.created", 1.0, response={"id": "r1"}))
    talk.interrupt()
    cancelled = {"id": "r1", "status": "cancelled"}
    talk.received(_event("response.done", 1.1, response=cancelled))
    talk.heard(2.0, ())
    talk.sent(_event("response.create", 3.0, direction="sent", event_id="mine"))
    effects = talk.received(_event("response.created", 3.1, response={"id": "r2"}))
    assert talk.turns[0].status == "cancelled"
    assert effects == []


def test_an_interrupted_tool_asks_for_no_answer() -> None:
    """The turn ends at once; the tool's output is still sent, but no response is asked for."""
    talk = Conversation()
    turn, _ = talk.begin_turn(0.0, "text", text="Hi")
    talk.received(_event("response.created", 1.0, response={"id": "r1"}))
    call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
    done = {"id": "r1", "status": "completed", "output": [call]}
    talk.received(_event("response.done", 2.0, response=done))
    talk.drop_unanswered(2.5)
    effects = talk.tool_finished(turn, turn.tool_calls[0], 3.0, output="late")
    assert turn.status == "cancelled"
    assert [e.event["type"] for e in effects if isinstance(e, Send)] == ["conversation.item.create"]


def test_turn_detection_comes_back_after_a_cut_push_to_talk() -> None:
    """When the clip that the commit waited for is cut, the restoring update is sent at once."""
    talk = Conversation()
    turn, _ = talk.begin_turn(0.0, "push_to_talk")
    turn.restore = {"type": "server_vad"}
    talk.play_queued(turn, "p")
    talk.commit_events(turn)
    (update,) = talk.play_ended("p", 1.0, cancelled=True)
    assert update.event["session"]["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert talk.detection == {"type": "server_vad"}
    assert turn.pending == 0


def _event(kind: str, time: float, *, direction: str = "received", **fields: object) -> Event:
    return Event(json.dumps({"type": kind, **fields}), time=time, direction=direction)


def test_turn_detection_comes_back_once_the_commit_has_gone_out(talk: Conversation) -> None:
    """Push-to-talk turned it off; only the commit of that turn turns it on, and only once."""
    turn, _ = talk.begin_turn(0.0, "push_to_talk")
    turn.restore = {"type": "semantic_vad"}
    commit, _ = talk.commit_events(turn)
    gone = Event(json.dumps(commit), time=1.0, direction="sent")
    (effect,) = talk.sent(gone)
    assert isinstance(effect, Send)
    detection = effect.event["session"]["audio"]["input"]["turn_detection"]
    assert (effect.event["type"], detection) == ("session.update", {"type": "semantic_vad"})
    assert talk.sent(gone) == []


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["response.done", "session.updated", "error"])
def test_a_frame_that_only_begins_like_an_event_changes_nothing(
    kind: str, talk: Conversation
) -> None:
    """Its type is seen before it is parsed; that the rest is no JSON turns out when it is."""
    turn, _ = write(talk)
    effects = talk.received(Event(f'{{"type":"{kind}",}}', time=1.0, direction="received"))
    assert (effects, turn.status) == ([], "in_progress")
    assert (talk.malformed, talk.errors, talk.acknowledged) == ([], [], set())


def test_an_event_of_no_use_is_not_parsed(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call's many deltas cost nothing where nothing is read from them."""

    def refuse(event: Event) -> Json:
        raise AssertionError(event.type)

    monkeypatch.setattr(Event, "data", property(refuse))
    for kind in ("rate_limits.updated", "response.function_call_arguments.delta"):
        talk.received(Event(f'{{"type":"{kind}"}}', time=1.0, direction="received"))
    talk.sent(Event('{"type":"session.update"}', time=1.0, direction="sent"))
