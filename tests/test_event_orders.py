"""The checker of event orders: good calls pass, and each rule has a call that breaks it."""

from __future__ import annotations

from copy import deepcopy
from itertools import count

import pytest
from event_orders import CLIENT, SERVER, broken_orders

USAGE = {
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {
        **{"text_tokens": 12, "audio_tokens": 8, "image_tokens": 0, "cached_tokens": 4},
        "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 4, "audio_tokens": 6},
}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
SESSION = {"id": "sess_1", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}


class Log(list):
    """A call that is written down event by event."""

    def __init__(self):
        super().__init__()
        self._ids = count(1)

    def server(self, type, **fields):
        event = {"type": type, "event_id": f"event_{next(self._ids)}", **fields}
        self.append((SERVER, deepcopy(event)))

    def client(self, type, **fields):
        self.append((CLIENT, {"type": type, **fields}))


def message(item_id, role, status="completed", **part):
    """Return a message item."""
    content = [part] if part else []
    head = {"id": item_id, "type": "message", "status": status}
    return {**head, "role": role, "content": content}


def response(name, status="in_progress", details=None, output=(), usage=None, conversation="conv"):
    """Return a response object."""
    head = {"id": name, "status": status, "status_details": details, "output": list(output)}
    return {**head, "usage": usage, "conversation_id": conversation, "metadata": None}


def write_speech(log, item_id, previous=None, *, start=0):
    """Write one user's turn down."""
    log.server("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=start)
    log.server("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=start + 900)
    log.server("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
    item = message(item_id, "user", type="input_audio", transcript=None)
    for step in ("added", "done"):
        log.server(f"conversation.item.{step}", item=item, previous_item_id=previous)


def write_transcription(log, item_id):
    """Write a transcription down."""
    where = {"item_id": item_id, "content_index": 0}
    for piece in ("How are", " you?"):
        log.server(f"{TRANSCRIPTION}.delta", delta=piece, **where)
    usage = {"type": "tokens", "total_tokens": 9, "input_tokens": 6, "output_tokens": 3}
    log.server(f"{TRANSCRIPTION}.completed", transcript="How are you?", usage=usage, **where)


def write_answer(log, name="resp_1", item_id="item_2", previous="item_1"):
    """Write a spoken response down, up to response.done."""
    ids = {"response_id": name, "output_index": 0}
    part = {**ids, "item_id": item_id, "content_index": 0}
    empty = message(item_id, "assistant", "in_progress")
    log.server("response.created", response=response(name))
    log.server("response.output_item.added", item=empty, **ids)
    log.server("conversation.item.added", item=empty, previous_item_id=previous)
    log.server("response.content_part.added", part={"type": "audio", "transcript": ""}, **part)
    for piece in ("Fine, ", "thanks."):
        log.server("response.output_audio_transcript.delta", delta=piece, **part)
    log.server("output_audio_buffer.started", response_id=name)
    log.server("response.output_audio.done", **part)
    words = {"transcript": "Fine, thanks."}
    log.server("response.output_audio_transcript.done", **words, **part)
    log.server("response.content_part.done", part={"type": "audio", **words}, **part)
    item = message(item_id, "assistant", type="output_audio", **words)
    log.server("conversation.item.done", item=item, previous_item_id=previous)
    log.server("response.output_item.done", item=item, **ids)
    log.server("response.done", response=response(name, "completed", None, [item], USAGE))
    log.server("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 9, "remaining": 8}])


def write_call(log, name="resp_2", item_id="item_3", previous="item_2"):
    """Write a response down that calls a function."""
    ids = {"response_id": name, "output_index": 0}
    call = {"id": item_id, "type": "function_call", "call_id": "call_1", "name": "get_weather"}
    begun = {**call, "status": "in_progress", "arguments": ""}
    done = {**call, "status": "completed", "arguments": '{"a": 1}'}
    log.server("response.created", response=response(name))
    log.server("response.output_item.added", item=begun, **ids)
    log.server("conversation.item.added", item=begun, previous_item_id=previous)
    where = {**ids, "item_id": item_id, "call_id": "call_1"}
    for piece in ('{"a": ', "1}"):
        log.server("response.function_call_arguments.delta", delta=piece, **where)
    whole = {"name": "get_weather", "arguments": '{"a": 1}'}
    log.server("response.function_call_arguments.done", **whole, **where)
    log.server("conversation.item.done", item=done, previous_item_id=previous)
    log.server("response.output_item.done", item=done, **ids)
    log.server("response.done", response=response(name, "completed", None, [done], USAGE))


@pytest.fixture
def log():
    """A good call with a spoken turn, an interruption, a function call, and what a client asked."""
    log = Log()
    log.server("session.created", session=SESSION)
    log.client("session.update", event_id="mine_1", session={})
    log.server("session.updated", session=SESSION)
    write_speech(log, "item_1")
    write_answer(log)
    write_transcription(log, "item_1")
    log.server("output_audio_buffer.stopped", response_id="resp_1")
    write_call(log)
    output = {"id": "out_1", "type": "function_call_output", "call_id": "call_1", "output": "{}"}
    log.client("conversation.item.create", item=output)
    for step in ("added", "done"):
        item = {**output, "status": "completed"}
        log.server(f"conversation.item.{step}", item=item, previous_item_id="item_3")
    write_answer(log, "resp_3", "item_4", "out_1")
    log.server("input_audio_buffer.speech_started", item_id="item_5", audio_start_ms=5000)
    log.server("output_audio_buffer.cleared", response_id="resp_3")
    log.server("conversation.item.truncated", item_id="item_4", content_index=0, audio_end_ms=300)
    log.server("input_audio_buffer.speech_stopped", item_id="item_5", audio_end_ms=6000)
    log.server("input_audio_buffer.committed", item_id="item_5", previous_item_id="item_4")
    said = message("item_5", "user", type="input_audio", transcript=None)
    for step in ("added", "done"):
        log.server(f"conversation.item.{step}", item=said, previous_item_id="item_4")
    where = {"item_id": "item_5", "content_index": 0}
    log.server(f"{TRANSCRIPTION}.failed", error={"message": "It is noise."}, **where)
    log.client("conversation.item.retrieve", item_id="item_4")
    log.server("conversation.item.retrieved", item=message("item_4", "assistant"))
    log.client("conversation.item.delete", item_id="item_4")
    log.server("conversation.item.deleted", item_id="item_4")
    log.client("input_audio_buffer.commit", event_id="mine_2")
    error = {"type": "invalid_request_error", "code": None, "message": "It is empty."}
    log.server("error", error={**error, "param": None, "event_id": "mine_2"})
    return log


def event(log, type, number=0):
    """Return the events of a type, by their number."""
    return [e for _, e in log if e["type"] == type][number]


def place(log, type, number=0):
    """Return where the event of a type stands."""
    return [i for i, (_, e) in enumerate(log) if e["type"] == type][number]


def without(type, number=0):
    """Return a change that leaves an event out."""
    return lambda log: log.pop(place(log, type, number))


def twice(type, number=0):
    """Return a change that repeats an event at once, with an event_id of its own."""

    def change(log):
        at = place(log, type, number)
        log.insert(at + 1, (SERVER, {**deepcopy(log[at][1]), "event_id": "event_again"}))

    return change


def moved(type, before, number=0, other=0):
    """Return a change that puts an event before another one."""

    def change(log):
        entry = log.pop(place(log, type, number))
        log.insert(place(log, before, other), entry)

    return change


def moved_after(type, after, number=0, other=0):
    """Return a change that puts an event after another one."""

    def change(log):
        entry = log.pop(place(log, type, number))
        log.insert(place(log, after, other) + 1, entry)

    return change


def put(type, path, value, number=0):
    """Return a change of one field of an event."""

    def change(log):
        *way, last = path.split(".")
        at = event(log, type, number)
        for key in way:
            at = at[int(key) if key.isdigit() else key]
        at[last] = value

    return change


def after_all(type, **fields):
    """Return a change that adds an event at the end."""
    return lambda log: log.server(type, **fields)


def deleted_again(log):
    """Delete an item that was deleted."""
    log.client("conversation.item.delete", item_id="item_4")
    log.server("conversation.item.deleted", item_id="item_4")


def truncated_again(log):
    """Give back some of what was truncated."""
    truncated = event(log, "conversation.item.truncated") | {"audio_end_ms": 400}
    at = place(log, "conversation.item.truncated")
    log.insert(at + 1, (SERVER, {**truncated, "event_id": "event_again"}))


def not_truncated(log):
    """Leave an item as it was, though its sound was cleared."""
    for type in ("conversation.item.truncated", "conversation.item.delete"):
        without(type)(log)
    without("conversation.item.deleted")(log)


def created_for_nothing(log):
    """Create an item that is not added."""
    log.client("conversation.item.create", event_id="mine_9", item=message("item_9", "user"))


CREATED = "response.created"
DONE = "response.done"
ITEM_ADDED = "response.output_item.added"
ITEM_DONE = "response.output_item.done"
PART_ADDED = "response.content_part.added"
PART_DONE = "response.content_part.done"
DELTA = "response.output_audio_transcript.delta"
TEXT_DONE = "response.output_audio_transcript.done"
CALL_DELTA = "response.function_call_arguments.delta"
CALL_DONE = "response.function_call_arguments.done"
SPEECH = "input_audio_buffer.speech_started"
STOPPED = "input_audio_buffer.speech_stopped"
COMMITTED = "input_audio_buffer.committed"
CANCELLED = {"type": "cancelled", "reason": "turn_detected"}

BROKEN = [
    (moved("session.updated", "session.created"), "the first event is session.updated"),
    (twice("session.created"), "session.created came twice"),
    (put(DONE, "event_id", "event_1"), "an event_id that came before"),
    (put(DONE, "event_id", None), "has no event_id"),
    (after_all("response.cancelled", response_id="resp_1"), "is no server event"),
    (twice("session.updated"), "session.updated without a session.update"),
    (put("session.updated", "session.id", "sess_2"), "names another session"),
    (after_all("conversation.created", conversation={}), "conversation.created came after an item"),
    (put("error", "error", {"message": "No."}), "an error has no code, event_id, param, type"),
    (put("error", "error.message", ""), "an error has no message"),
    (put("error", "error.event_id", "yours"), "names yours, which the client never sent"),
    (put("rate_limits.updated", "rate_limits.0.name", "words"), "a rate limit is named words"),
    (put("rate_limits.updated", "rate_limits.0.remaining", 10), "more remaining than its limit"),
    # items
    (twice("conversation.item.added"), "item_1 was added twice"),
    (put("conversation.item.added", "previous_item_id", "item_9"), "item_9, which is not there"),
    (put("conversation.item.added", "item.role", "assistant"), "was committed and is no user's"),
    (without("conversation.item.create"), "out_1 was added and nobody made it"),
    (without("conversation.item.added"), "item_1 is done and not in the conversation"),
    (without("conversation.item.done"), "item_1 was added and never done"),
    (twice("conversation.item.done"), "item_1 was done twice"),
    (put("conversation.item.done", "previous_item_id", None, 1), "and not after item_1"),
    (put("conversation.item.done", "item.status", "in_progress"), "is done and in_progress"),
    (without("conversation.item.retrieve"), "item_4 was retrieved and nobody asked"),
    (moved_after("conversation.item.retrieved", "conversation.item.deleted"), "is not there"),
    (without("conversation.item.delete"), "item_4 was deleted and nobody asked"),
    (deleted_again, "item_4 was deleted and is not there"),
    (put("conversation.item.truncated", "item_id", "item_1"), "has no sound of an assistant"),
    (put("conversation.item.truncated", "audio_end_ms", -1), "before its beginning"),
    (moved_after("conversation.item.truncated", "conversation.item.deleted"), "is not there"),
    (not_truncated, "the sound of resp_3 was cleared, and no item truncated"),
    (truncated_again, "item_4 was truncated to more than was left of it"),
    (without("output_audio_buffer.cleared"), "resp_3 was cut, and its sound was not cleared"),
    (without("session.updated"), "session.update mine_1 was never answered"),
    (without("error"), "input_audio_buffer.commit mine_2 was never answered"),
    (created_for_nothing, "conversation.item.create mine_9 was never answered"),
    # the input audio buffer
    (twice(SPEECH), "speech started while other speech went on"),
    (put(SPEECH, "item_id", "item_1", 1), "which is not new"),
    (put(SPEECH, "audio_start_ms", -1), "speech started before the audio"),
    (put(SPEECH, "audio_start_ms", 800, 1), "speech started before the end of the last"),
    (put(STOPPED, "item_id", "item_9"), "speech stopped with item_9 and had not started"),
    (put(STOPPED, "audio_end_ms", 0), "speech stopped before it started"),
    (without(STOPPED), "the commit of item_1 without a input_audio_buffer.commit"),
    (put(COMMITTED, "item_id", "item_9"), "item_9 was committed, and the speech was item_1"),
    (put(COMMITTED, "previous_item_id", None, 1), "was committed after None, and not item_4"),
    (twice(COMMITTED), "item_1 was committed twice"),
    (moved_after(COMMITTED, "conversation.item.added"), "was committed after it was added"),
    (after_all("input_audio_buffer.cleared"), "without a input_audio_buffer.clear"),
    (
        after_all(
            "input_audio_buffer.timeout_triggered", item_id="i", audio_start_ms=7, audio_end_ms=6
        ),
        "a timeout ends before it starts",
    ),
    # transcription
    (put(f"{TRANSCRIPTION}.delta", "item_id", "item_2"), "which holds no audio of a user"),
    (put(f"{TRANSCRIPTION}.completed", "transcript", "What?"), "join to 'How are you?'"),
    (put(f"{TRANSCRIPTION}.completed", "usage.total_tokens", 1), "the total does not add up"),
    (without(f"{TRANSCRIPTION}.failed"), "the transcription of item_5 never came to an end"),
    (twice(f"{TRANSCRIPTION}.failed"), "went on after its end"),
    (
        after_all(
            f"{TRANSCRIPTION}.segment", item_id="item_5", content_index=0, start=2.0, end=1.0
        ),
        "a segment ends before it starts",
    ),
    # responses
    (twice(CREATED), "resp_1 was created twice"),
    (put(CREATED, "response.status", "completed"), "was created and not in_progress"),
    (put(CREATED, "response.output", [1]), "was created with output"),
    (put(CREATED, "response.usage", USAGE), "was created with usage"),
    (put(CREATED, "response.status_details", CANCELLED), "was created with details"),
    (moved(CREATED, DONE, 1), "resp_2 was created while resp_1 was active"),
    (without(CREATED), "response.output_item.added of a response that was not created"),
    (moved_after(DELTA, DONE), "response.output_audio_transcript.delta after response.done"),
    (twice(DONE), "response.done after response.done"),
    (without(DONE), "resp_1 was never done"),
    (put(ITEM_ADDED, "output_index", 1), "output_index 1 is not the next one"),
    (put(ITEM_ADDED, "item.status", "completed"), "was added, not in_progress"),
    (put(ITEM_ADDED, "item.id", "item_2", 1), "item_2 is output twice"),
    (moved(PART_ADDED, ITEM_ADDED), "response.content_part.added before its output item was added"),
    (put(DELTA, "item_id", "item_9"), "names item_9, and the output item is item_2"),
    (moved_after(TEXT_DONE, ITEM_DONE), "after its output item was done"),
    (moved(DELTA, PART_ADDED), "before its content part was added"),
    (put(PART_ADDED, "content_index", 1), "content_index 1 is not the next one"),
    (put(DELTA, "type", "response.output_text.delta"), "of a part of type audio"),
    (moved_after(DELTA, TEXT_DONE, 1), "after its done"),
    (moved_after(DELTA, PART_DONE, 1), "after its content part was done"),
    (put(TEXT_DONE, "transcript", "No."), "says 'No.', its deltas 'Fine, thanks.'"),
    (twice(TEXT_DONE), "response.output_audio_transcript.done came twice"),
    (twice("response.output_audio.done"), "response.output_audio.done came twice"),
    (twice(PART_DONE), "response.content_part.done came twice"),
    (without("response.output_audio.done"), "response.content_part.done before audio"),
    (without(TEXT_DONE), "response.content_part.done before transcript"),
    (put(PART_DONE, "part.transcript", "No."), "a content part ends with 'No.'"),
    (put(PART_DONE, "part.type", "text"), "ended as another"),
    (put(DELTA, "type", "response.output_audio.delta"), "response.output_audio.delta was sent"),
    (without(PART_DONE), "an output item was done before its content parts"),
    (put(ITEM_DONE, "item.content", []), "a message ended with other words"),
    (put(ITEM_DONE, "item.status", "in_progress"), "an output item is done and in_progress"),
    (put(ITEM_DONE, "item.type", "function_call"), "an output item changed its type"),
    (moved_after(CALL_DELTA, CALL_DONE, 1), "after its done"),
    (put(CALL_DELTA, "call_id", "call_9"), "names another call_id"),
    (put(CALL_DONE, "arguments", "{}"), "arguments '{}', their deltas"),
    (put(CALL_DONE, "name", "set_weather"), "under another name, set_weather"),
    (twice(CALL_DONE), "response.function_call_arguments.done came twice"),
    (without(CALL_DONE), "a function call was done before its arguments"),
    (put(ITEM_DONE, "item.arguments", "{}", 1), "other values than its events had"),
    (put(CALL_DELTA, "output_index", 1), "before its output item was added"),
    (without(ITEM_DONE), "resp_1 was done before item_2"),
    (put(DONE, "response.output", []), "resp_1 lists the items []"),
    (put(DONE, "response.output.0.status", "incomplete"), "otherwise than its output_item.done"),
    (put(DONE, "response.metadata", {"a": "b"}), "resp_1 changed its metadata"),
    (put(DONE, "response.usage", None), "resp_1 has no usage"),
    (put(DONE, "response.usage.total_tokens", 31), "the total does not add up"),
    (put(DONE, "response.usage.input_token_details.text_tokens", 13), "the input details"),
    (put(DONE, "response.usage.output_token_details.text_tokens", 5), "the output details"),
    (put(DONE, "response.usage.input_token_details.cached_tokens", 5), "what is cached does not"),
    (put(DONE, "response.status", "cancelled"), "resp_1 is cancelled, its details say otherwise"),
    (put(DONE, "response.status", "stopped"), "resp_1 is done and stopped"),
    (put(DONE, "response.status_details", CANCELLED), "resp_1 is completed, with details"),
    # the output audio buffer
    (twice("output_audio_buffer.started"), "the sound of resp_1 started again"),
    (moved("output_audio_buffer.started", PART_ADDED), "started before its content part was added"),
    (without("output_audio_buffer.started"), "was stopped when it was not playing"),
    (without("output_audio_buffer.stopped"), "neither stopped nor was cleared"),
    (twice("output_audio_buffer.cleared"), "was cleared when it was not playing"),
    (
        moved("output_audio_buffer.stopped", DONE),
        "the sound of resp_1 stopped before response.done",
    ),
]


def test_a_good_call_breaks_no_rule(log):
    """Two spoken turns, an interruption, a function call, items read and deleted, an error."""
    assert broken_orders(log) == []


@pytest.mark.parametrize(
    ("change", "sentence"), BROKEN, ids=[f"{i}: {s}" for i, (_, s) in enumerate(BROKEN)]
)
def test_each_rule_finds_the_call_that_breaks_it(log, change, sentence):
    """What a rule finds is told in a sentence that names it."""
    changed = deepcopy(log)
    change(changed)
    assert any(sentence in found for found in broken_orders(changed)), broken_orders(changed)


@pytest.mark.parametrize(
    "change",
    [
        moved("rate_limits.updated", CREATED),
        moved("rate_limits.updated", PART_ADDED),
        twice("rate_limits.updated"),
        moved("conversation.item.added", ITEM_ADDED, 1),
        moved_after("conversation.item.done", DONE, 1),
        moved(f"{TRANSCRIPTION}.delta", CREATED),
        moved_after(f"{TRANSCRIPTION}.failed", "error"),
        moved_after("output_audio_buffer.started", DONE),
        moved("conversation.item.truncated", "output_audio_buffer.cleared"),
    ],
)
def test_orders_that_are_not_contractual_are_good(log, change):
    """Rate limits, an assistant's item, transcription and sound have no one place."""
    change(log)
    assert broken_orders(log) == []


@pytest.mark.parametrize(
    ("reason", "asked", "sentence"),
    [
        ("client_cancelled", None, "did not ask for it"),
        ("client_cancelled", "response.cancel", None),
        ("client_cancelled", "output_audio_buffer.clear", None),
        ("turn_detected", None, "and nobody spoke"),
        ("bored", None, "because of bored"),
    ],
)
def test_a_cancelled_response_has_a_cause(reason, asked, sentence):
    """A client asked for it, or somebody spoke."""
    log = Log()
    log.server("session.created", session={"id": "sess_1"})
    log.server("response.created", response=response("resp_1"))
    if asked:
        log.client(asked)
    details = {"type": "cancelled", "reason": reason}
    log.server(DONE, response=response("resp_1", "cancelled", details, [], USAGE))
    found = broken_orders(log)
    assert found == [] if sentence is None else [s for s in found if sentence in s]


def test_a_failed_response_says_why():
    """status_details holds an error."""
    log = Log()
    log.server("session.created", session={"id": "sess_1"})
    log.server("response.created", response=response("resp_1"))
    log.server(DONE, response=response("resp_1", "failed", {"type": "failed"}, [], USAGE))
    assert broken_orders(log) == ["resp_1 failed without an error"]


@pytest.mark.parametrize(("conversation", "added"), [("conv", False), (None, True)])
def test_output_is_in_the_conversation_only_if_its_response_is(conversation, added):
    """An out-of-band response adds nothing, any other adds each of its items."""
    log = Log()
    log.server("session.created", session={"id": "sess_1"})
    call = {"id": "i", "type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    done, ids = {**call, "status": "completed"}, {"response_id": "r", "output_index": 0}
    begun = {**call, "status": "in_progress"}
    log.server(CREATED, response=response("r", conversation=conversation))
    log.server(ITEM_ADDED, item=begun, **ids)
    if added:
        log.server("conversation.item.added", item=begun, previous_item_id=None)
    log.server(CALL_DONE, item_id="i", call_id="c", name="f", arguments="", **ids)
    log.server(ITEM_DONE, item=done, **ids)
    log.server(DONE, response=response("r", "completed", None, [done], USAGE, conversation))
    found = broken_orders(log, over=False)
    assert found == [f"i is {'not ' if conversation else ''}in the conversation"]


def test_what_is_under_way_is_good_until_the_call_is_over(log):
    """A call may be looked at before its end."""
    del log[place(log, "output_audio_buffer.stopped") :]
    assert broken_orders(log, over=False) == []
    assert broken_orders(log) == ["the sound of resp_1 neither stopped nor was cleared"]


def test_beta_has_no_event_for_items_that_are_done(log):
    """There an item has one event, when it is created."""
    beta = [(d, e) for d, e in log if e["type"] != "conversation.item.done"]
    assert broken_orders(beta, items_done=False) == []


def test_a_commit_that_was_asked_for_needs_no_speech():
    """Push-to-talk; and an id may come again once its item was deleted."""
    log = Log()
    log.server("session.created", session={"id": "sess_1"})
    log.client("input_audio_buffer.clear")
    log.server("input_audio_buffer.cleared")
    log.client("input_audio_buffer.commit")
    log.server(COMMITTED, item_id="item_1", previous_item_id=None)
    said = message("item_1", "user", type="input_audio")
    for step in ("added", "done"):
        log.server(f"conversation.item.{step}", item=said, previous_item_id=None)
    log.client("conversation.item.delete", item_id="item_1")
    log.server("conversation.item.deleted", item_id="item_1")
    log.client("conversation.item.create", item=message("item_1", "user"))
    for step in ("added", "done"):
        item = message("item_1", "user")
        log.server(f"conversation.item.{step}", item=item, previous_item_id=None)
    assert broken_orders(log) == []
