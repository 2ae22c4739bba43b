"""Lists of events in, state and effects out: PROTOCOL 4.4 and its permutations, without a wire."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from rtnb.conversation import Conversation, Effect, RunTool, Send, TurnOver
from rtnb.dialects import BETA, GA, Dialect
from rtnb.events import Event
from rtnb.turnover import TAIL
from rtnb.turnstate import ToolCall, TurnState

Json = dict[str, Any]

BETA_NAMES = {ga: beta for beta, ga in BETA.received.items()}


# --- what a server sends ------------------------------------------------------------------------


def spoken_input(item: str = "u1") -> list[Json]:
    """Return the events of one committed utterance."""
    user = {"id": item, "type": "message", "role": "user"}
    return [
        {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": 0},
        {"type": "input_audio_buffer.speech_stopped", "item_id": item, "audio_end_ms": 2000},
        {"type": "input_audio_buffer.committed", "item_id": item},
        {"type": "conversation.item.added", "item": user},
        {"type": "conversation.item.done", "item": user},
    ]


def created(response: str = "r1") -> Json:
    """Return response.created."""
    return {"type": "response.created", "response": {"id": response, "status": "in_progress"}}


def done(response: str = "r1", status: str = "completed", **known: Any) -> Json:
    """Return response.done."""
    return {"type": "response.done", "response": {"id": response, "status": status, **known}}


def part(kind: str, response: str = "r1", item: str = "a1") -> Json:
    """Return response.content_part.added."""
    return {
        "type": "response.content_part.added",
        "response_id": response,
        "item_id": item,
        "content_index": 0,
        "part": {"type": kind},
    }


def said(name: str, text: str, response: str = "r1", item: str = "a1") -> Json:
    """Return a delta or the end of a transcript or text; `name` is what follows ``response.``."""
    field = "delta" if name.endswith("delta") else name.split("_")[-1].partition(".")[0]
    place = {"response_id": response, "item_id": item, "content_index": 0}
    return {"type": f"response.{name}", **place, field: text}


def buffer(what: str, response: str = "r1") -> Json:
    """Return an output_audio_buffer event."""
    return {"type": f"output_audio_buffer.{what}", "response_id": response}


def spoken_answer(response: str = "r1", item: str = "a1", text: str = "Paris.") -> list[Json]:
    """Return a whole spoken answer, without the end of its sound."""
    half = len(text) // 2
    return [
        created(response),
        {"type": "response.output_item.added", "response_id": response, "item": {"id": item}},
        {"type": "conversation.item.added", "item": {"id": item, "role": "assistant"}},
        part("audio", response, item),
        said("output_audio_transcript.delta", text[:half], response, item),
        buffer("started", response),
        said("output_audio_transcript.delta", text[half:], response, item),
        {"type": "response.output_audio.done", "response_id": response, "item_id": item},
        said("output_audio_transcript.done", text, response, item),
        {"type": "response.content_part.done", "response_id": response, "item_id": item},
        {"type": "conversation.item.done", "item": {"id": item, "role": "assistant"}},
        {"type": "response.output_item.done", "response_id": response, "item": {"id": item}},
        done(response, usage={"total_tokens": 7}),
        {"type": "rate_limits.updated", "rate_limits": []},
    ]


def calls(*ids: str) -> list[Json]:
    """Return the output items of a response that calls ``weather`` once for each id."""
    return [
        {"type": "function_call", "call_id": i, "name": "weather", "arguments": '{"city": "Rome"}'}
        for i in ids
    ]


def error(event_id: str | None = None, code: str = "invalid_value", message: str = "No.") -> Json:
    """Return an error event."""
    about = {"type": "invalid_request_error", "code": code, "message": message}
    return {"type": "error", "error": {**about, "event_id": event_id}}


def transcription(what: str, item: str = "u1", **fields: Any) -> Json:
    """Return an input_audio_transcription event."""
    return {
        "type": f"conversation.item.input_audio_transcription.{what}",
        "item_id": item,
        **fields,
    }


# --- verbs ----------------------------------------------------------------------------------------


def feed(
    talk: Conversation, events: Iterable[Json], at: float, dialect: Dialect = GA
) -> list[Effect]:
    """Let events arrive, one every 10 ms from `at` on; return what is to be done."""
    effects: list[Effect] = []
    for place, data in enumerate(events):
        event = Event(json.dumps(data), time=at + place / 100, direction="received")
        event.type = dialect.normalised(event.type)
        effects += talk.received(event)
    return effects


def speak(talk: Conversation, begin: float = 0.0, end: float = 2.0) -> TurnState:
    """Begin an audio turn whose prompt has been played."""
    turn, effects = talk.begin_turn(begin, "audio")
    play = f"play-{turn.number}"
    talk.play_queued(turn, play)
    talk.play_started(play, begin)
    talk.play_ended(play, end)
    assert effects == []
    return turn


def write(talk: Conversation, text: str = "Hi", at: float = 0.0) -> tuple[TurnState, list[Json]]:
    """Begin a text turn, and let what it sends leave."""
    turn, effects = talk.begin_turn(at, "text", text=text)
    return turn, leave(talk, effects, at)


def leave(talk: Conversation, effects: Iterable[Effect], at: float) -> list[Json]:
    """Let the events of effects leave; return them."""
    out = [effect.event for effect in effects if isinstance(effect, Send)]
    for event in out:
        talk.sent(Event(json.dumps(event), time=at, direction="sent"))
    return out


def hear(talk: Conversation, begin: float, end: float, level: float = -20.0) -> list[Effect]:
    """Hear sound of one level."""
    return talk.heard(end, [level] * round((end - begin) / 0.02))


def types(events: Iterable[Json]) -> list[str]:
    """Return the types of events."""
    return [event["type"] for event in events]


def overs(effects: Iterable[Effect]) -> list[tuple[int, str]]:
    """Return which turns are over, and how."""
    return [(e.turn.number, e.turn.status) for e in effects if isinstance(e, TurnOver)]


def requested(events: Iterable[Json]) -> list[str]:
    """Return the ids of the response.create events among `events`."""
    return [event["event_id"] for event in events if event["type"] == "response.create"]


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
