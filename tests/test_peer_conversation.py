"""The peer's conversation as lists: events in, events and commands out, no sockets and no waiting."""

from __future__ import annotations

import base64

import pytest
from peer_client import prompt_pcm

from rtnb.peer.conversation import LIFETIME, Conversation
from rtnb.peer.outputs import HangUp, Hush, Say, StopAfter, Think
from rtnb.peer.reply import Rendered, ToolResult
from rtnb.peer.settings import default_session

SPEECH_MS = 2000
SECOND = bytes(2 * 48_000)
RESPONSE_START = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
]
RESPONSE_END = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]


class Stage:
    """A conversation with a clock that is moved by hand and a voice that says what it is told."""

    def __init__(self, reply=None, **options):
        self.now = 100.0
        self.reply = reply or Rendered("Well, hello.", SECOND)
        self.questions = []
        self.conversation = Conversation(
            default_session("sess_1"),
            recognise=lambda samples: None,
            clock=lambda: self.now,
            **options,
        )
        self.events = []
        self.commands = []

    def take(self, commands):
        """Sort commands into events and others, and return the types of the events.

        What the voice is asked it answers at once.
        """
        types = []
        for command in commands:
            if isinstance(command, dict):
                self.events.append(command)
                types.append(command["type"])
            elif isinstance(command, Think):
                self.questions.append(command.turn)
                types += self.take(self.conversation.answered(command.response_id, self.reply))
            else:
                self.commands.append(command)
        return types

    def send(self, type, **fields):
        """Send a client event."""
        return self.take(self.conversation.receive({"type": type, "event_id": "mine", **fields}))

    def wait(self, seconds):
        """Let time pass as a call would: tick whenever something is due."""
        until, types = self.now + seconds, []
        while self.conversation.due() <= until:
            self.now = max(self.conversation.due(), self.now)
            types += self.take(self.conversation.tick())
        self.now = until
        return types

    def text(self, text="Hello?"):
        """Say something in text."""
        content = [{"type": "input_text", "text": text}]
        return self.send(
            "conversation.item.create",
            item={"type": "message", "role": "user", "content": content},
        )

    def turn_detection(self, setting):
        """Change the turn detection."""
        audio = {"input": {"turn_detection": setting}}
        return self.send("session.update", session={"type": "realtime", "audio": audio})

    def hear(self, samples):
        """Hear samples, 20 ms at a time."""
        types = []
        for start in range(0, len(samples), 960):
            types += self.take(self.conversation.hear(samples[start : start + 960]))
        return types

    def error(self):
        """Return the error that came last."""
        assert self.events[-1]["type"] == "error"
        return self.events[-1]["error"]

    def last(self, type):
        """Return the last event of a type."""
        return next(e for e in reversed(self.events) if e["type"] == type)


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture
def spoken():
    """One bundled prompt and a second of silence, s16 at 48,000 Hz."""
    return prompt_pcm("greeting", after=1.0)


def test_the_first_message_is_session_created_with_the_whole_session(stage):
    """A client learns every setting before it says anything."""
    assert stage.take(stage.conversation.opened()) == ["session.created"]
    session = stage.events[0]["session"]
    assert session["id"] == "sess_1" and session["audio"]["input"]["turn_detection"]["threshold"]


def test_a_spoken_turn_has_the_order_of_the_reference(stage, spoken):
    """Sequence A: speech, commit, item, response, sound."""
    types = stage.hear(spoken)
    assert types[:5] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert types[5:] == RESPONSE_START
    assert stage.commands == [Say(stage.last("response.created")["response"]["id"], SECOND)]


def test_a_response_is_generated_before_its_sound_ends(stage, spoken):
    """response.done comes early; output_audio_buffer.stopped when the last packet has left."""
    stage.hear(spoken)
    response_id = stage.commands[0].response_id
    assert stage.take(stage.conversation.sound_started(response_id)) == [
        "output_audio_buffer.started"
    ]
    assert stage.wait(0.5) == ["response.output_audio_transcript.delta", *RESPONSE_END]
    assert stage.take(stage.conversation.sound_ended(response_id)) == [
        "output_audio_buffer.stopped"
    ]


def test_ids_are_the_same_throughout_a_turn(stage, spoken):
    """Speech, commit and item share an item id; everything of a response shares its id."""
    stage.hear(spoken)
    stage.wait(1)
    user = stage.last("input_audio_buffer.speech_started")["item_id"]
    assert stage.last("input_audio_buffer.committed")["item_id"] == user
    made = [e for e in stage.events if e["type"].startswith("response.")]
    assert len({e.get("response_id") or e["response"]["id"] for e in made}) == 1
    output = stage.last("response.done")["response"]["output"]
    assert output[0]["id"] == stage.last("response.content_part.done")["item_id"]
    assert len({e["event_id"] for e in stage.events}) == len(stage.events)


def test_the_deltas_join_to_the_transcript(stage, spoken):
    """Nothing is lost between the deltas and the whole."""
    stage.hear(spoken)
    stage.wait(1)
    kind = "response.output_audio_transcript"
    deltas = [e["delta"] for e in stage.events if e["type"] == f"{kind}.delta"]
    assert "".join(deltas) == stage.last(f"{kind}.done")["transcript"] == "Well, hello."


def test_usage_adds_up_and_counts_audio_by_time(stage, spoken):
    """User audio is a token for 100 ms, the assistant's a token for 50 ms."""
    stage.hear(spoken)
    stage.wait(1)
    usage = stage.last("response.done")["response"]["usage"]
    given, made = usage["input_token_details"], usage["output_token_details"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens"] == given["text_tokens"] + given["audio_tokens"]
    assert usage["output_tokens"] == made["text_tokens"] + made["audio_tokens"]
    assert made["audio_tokens"] == 20 and 15 <= given["audio_tokens"] <= 22


def test_cached_tokens_are_part_of_the_input(stage):
    """From the second response on, blocks of 64 tokens are cached."""
    for _ in range(2):
        stage.text("word " * 100)
        stage.send("response.create")
        stage.wait(1)
    details = stage.last("response.done")["response"]["usage"]["input_token_details"]
    cached = details["cached_tokens_details"]
    assert 0 < details["cached_tokens"] == sum(cached.values()) <= details["text_tokens"]
    assert cached["text_tokens"] % 64 == 0


def test_reply_after_counts_from_the_end_of_speech(spoken):
    """The response is announced at once and begins to speak after the given time."""
    stage = Stage(reply_after=0.7)
    assert stage.hear(spoken)[-1] == "response.created"
    assert stage.wait(0.69) == []
    assert stage.wait(0.02)[0] == "response.output_item.added"


def test_push_to_talk_waits_for_commit_and_create(stage, spoken):
    """Sequence C: with turn detection off, audio alone makes nothing happen."""
    assert stage.turn_detection(None) == ["session.updated"]
    assert stage.send("input_audio_buffer.clear") == ["input_audio_buffer.cleared"]
    assert stage.hear(spoken) == []
    assert stage.send("input_audio_buffer.commit") == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert stage.send("response.create") == RESPONSE_START
    assert len(stage.questions[0].audio.samples) == len(spoken)


def test_a_commit_of_less_than_100_ms_is_refused(stage, spoken):
    """The error names the client's event and says how much there was."""
    stage.turn_detection(None)
    stage.send("input_audio_buffer.clear")
    stage.hear(spoken[: 90 * 48])
    stage.send("input_audio_buffer.commit")
    error = stage.error()
    assert error["code"] == "input_audio_buffer_commit_empty" and error["event_id"] == "mine"
    assert "90ms" in error["message"]


def test_text_in_text_out_makes_no_sound(stage):
    """Sequence D with text output."""
    assert stage.text() == ["conversation.item.added", "conversation.item.done"]
    types = stage.send("response.create", response={"output_modalities": ["text"]})
    types += stage.wait(1)
    assert [t for t in types if "audio" in t] == [] and stage.commands == []
    assert "response.output_text.delta" in types and types[-2] == "response.done"
    content = stage.last("response.done")["response"]["output"][0]["content"]
    assert content == [{"type": "output_text", "text": "Well, hello."}]


def test_a_function_call_has_the_order_of_the_reference():
    """Sequence E: the arguments come in deltas, and response.done holds the call."""
    stage = Stage(Rendered(calls=(("weather", '{"city": "Paris"}'),)))
    stage.text()
    types = stage.send("response.create") + stage.wait(1)
    kind = "response.function_call_arguments"
    assert [t for t in types if t != f"{kind}.delta"] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        f"{kind}.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    call = stage.last("response.done")["response"]["output"][0]
    assert (call["type"], call["name"]) == ("function_call", "weather")
    assert call["arguments"] == '{"city": "Paris"}' and call["call_id"].startswith("call_")


def test_a_tool_output_is_seen_by_the_next_response(stage):
    """The voice learns that a tool has answered since the user's message."""
    stage.text()
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18"}
    for item in (call, output):
        stage.send("conversation.item.create", item=item)
    stage.send("response.create")
    (result,) = stage.questions[0].results
    assert (result.call_id, result.output) == ("call_1", "18")
    assert stage.questions[0].text == "Hello?"


def test_a_tool_output_without_its_call_is_refused(stage):
    """As the service does: nobody called that, or the call was deleted."""
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18"}
    assert stage.send("conversation.item.create", item=output) == ["error"]
    error = stage.error()
    assert (error["code"], error["param"]) == ("invalid_tool_call_id", None)
    assert error["message"] == "Tool call ID 'call_1' not found in conversation."


LONG = Rendered("one two three four five six seven eight nine ten", SECOND * 20)


def speaking(reply, seconds):
    """Return a stage on which a reply has been heard for so long."""
    stage = Stage(reply)
    stage.text()
    stage.send("response.create")
    stage.take(stage.conversation.sound_started(stage.commands[0].response_id))
    stage.wait(seconds)
    stage.events.clear()
    return stage


def test_speech_cuts_a_response_that_is_still_generated(spoken):
    """Sequence F: cleared, the cancelled response, and how much was played."""
    stage = speaking(LONG, 2.0)
    types = stage.hear(spoken[:24_000])
    assert types == ["input_audio_buffer.speech_started"]
    hush = stage.commands[-1]
    assert isinstance(hush, Hush) and hush.reason == "turn_detected"
    types = stage.take(stage.conversation.sound_cut(hush.response_ids[0], 1980, hush.reason))
    assert types[0] == "output_audio_buffer.cleared"
    assert types[-1] == "conversation.item.truncated" and "response.done" in types
    response = stage.last("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    assert stage.last("conversation.item.truncated")["audio_end_ms"] == 1980


def test_speech_cuts_the_sound_of_a_finished_response(spoken):
    """Only cleared and truncated appear: the response was completed before."""
    stage = speaking(LONG, 6.0)
    stage.hear(spoken[:24_000])
    hush = stage.commands[-1]
    types = stage.take(stage.conversation.sound_cut(hush.response_ids[0], 6000, hush.reason))
    assert types == ["output_audio_buffer.cleared", "conversation.item.truncated"]


def test_a_truncated_item_loses_its_transcript(spoken):
    """Nobody knows where in the words the sound was cut."""
    stage = speaking(LONG, 6.0)
    stage.hear(spoken[:24_000])
    stage.take(stage.conversation.sound_cut(stage.commands[-1].response_ids[0], 6000, "x"))
    item_id = stage.last("conversation.item.truncated")["item_id"]
    stage.send("conversation.item.retrieve", item_id=item_id)
    (part,) = stage.last("conversation.item.retrieved")["item"]["content"]
    assert set(part) == {"type", "audio"}
    assert len(base64.b64decode(part["audio"])) == 6 * 2 * 24_000


def test_events_that_were_sent_keep_their_transcript(spoken):
    """What is cut later is not taken out of them, though they may not have left yet."""
    stage = speaking(LONG, 2.0)
    stage.hear(spoken[:24_000])
    stage.take(stage.conversation.sound_cut(stage.commands[-1].response_ids[0], 2000, "x"))
    done = stage.last("response.done")["response"]["output"][0]
    for item in (stage.last("response.output_item.done")["item"], done):
        assert item["content"][0]["transcript"].startswith("one two")


def test_speech_does_not_cut_where_interruption_is_off(spoken):
    """interrupt_response false: the sound goes on, and the next response waits for its turn."""
    stage = Stage(LONG)
    stage.turn_detection({"type": "server_vad", "interrupt_response": False})
    stage.text()
    stage.send("response.create")
    types = stage.hear(spoken)
    assert types.count("response.created") == 0
    assert [c for c in stage.commands if isinstance(c, Hush)] == []
    assert stage.wait(6).count("response.created") == 1


def test_no_response_is_created_where_that_is_off(stage, spoken):
    """create_response false: the turn is committed and nothing else."""
    stage.turn_detection({"type": "server_vad", "create_response": False})
    assert stage.hear(spoken)[-1] == "conversation.item.done"


def test_a_client_cancels_generation_and_clears_the_sound():
    """Sequence G: cancel ends the response, clear ends the sound."""
    stage = speaking(LONG, 2.0)
    types = stage.send("response.cancel")
    assert types[-2:] == ["response.done", "rate_limits.updated"]
    details = stage.last("response.done")["response"]["status_details"]
    assert details == {"type": "cancelled", "reason": "client_cancelled"}
    stage.send("output_audio_buffer.clear")
    hush = stage.commands[-1]
    types = stage.take(stage.conversation.sound_cut(hush.response_ids[0], 2000, hush.reason))
    assert types == ["output_audio_buffer.cleared", "conversation.item.truncated"]


def test_a_cancelled_response_is_heard_as_far_as_it_was_generated():
    """Without output_audio_buffer.clear, what is in the buffer is played out."""
    stage = speaking(LONG, 2.0)  # of a generation that takes 5 s
    stage.send("response.cancel")
    stop = next(c for c in stage.commands if isinstance(c, StopAfter))
    assert 6 < stop.samples / 48_000 < 12


def test_a_response_ends_where_its_tokens_do(stage):
    """max_output_tokens: incomplete with the reason, in words and in sound."""
    stage.text()
    stage.send("response.create", response={"max_output_tokens": 12})
    stage.wait(1)
    response = stage.last("response.done")["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"]["reason"] == "max_output_tokens"
    assert response["usage"]["output_tokens"] <= 12
    assert response["output"][0]["content"][0]["transcript"] == "Well, "
    assert isinstance(stage.commands[-1], StopAfter)


def test_cancelling_nothing_is_an_error(stage):
    """The error has its own code, so that a client can ignore it."""
    stage.send("response.cancel")
    assert stage.error()["code"] == "response_cancel_not_active"


def test_clearing_nothing_is_harmless(stage):
    """A client may send output_audio_buffer.clear at any time."""
    assert stage.send("output_audio_buffer.clear") == [] and stage.commands == []


def test_a_second_response_is_refused_while_one_is_active():
    """One response at a time in the conversation."""
    stage = speaking(LONG, 1.0)
    stage.send("response.create")
    assert stage.error()["code"] == "conversation_already_has_active_response"


def test_a_response_outside_the_conversation_may_run_beside():
    """Conversation "none": allowed at any time, and its item is not added."""
    stage = speaking(LONG, 1.0)
    options = {"conversation": "none", "output_modalities": ["text"], "metadata": {"tag": "a"}}
    types = stage.send("response.create", response=options)
    types += stage.wait(0.2)
    assert "error" not in types and "conversation.item.added" not in types
    response = stage.last("response.done")["response"]
    assert response["conversation_id"] is None and response["metadata"] == {"tag": "a"}


def test_a_response_can_go_by_items_of_its_own(stage):
    """response.input replaces the conversation."""
    stage.text("in the conversation")
    content = [{"type": "input_text", "text": "on its own"}]
    own = [{"type": "message", "role": "user", "content": content}]
    stage.send("response.create", response={"conversation": "none", "input": own})
    assert stage.questions[0].text == "on its own"


def test_an_empty_conversation_is_put_to_the_voice(stage):
    """Where the user has said nothing the voice is told so."""
    stage.send("response.create")
    assert [turn.number for turn in stage.questions] == [0]


def test_unknown_audio_is_not_transcribed(stage, spoken):
    """The transcription fails with a reason; no words are made up."""
    audio = {"input": {"transcription": {"model": "gpt-transcribe"}}}
    stage.send("session.update", session={"type": "realtime", "audio": audio})
    stage.hear(spoken)
    stage.wait(1)
    failed = stage.last("conversation.item.input_audio_transcription.failed")
    assert "no speech recognition" in failed["error"]["message"]
    assert failed["item_id"] == stage.last("input_audio_buffer.committed")["item_id"]


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "session.create"}, "invalid_value", "type"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "invalid_value", "item_id"),
        ({"type": "conversation.item.delete", "item_id": "x"}, "invalid_value", "item_id"),
        ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
        ({"type": "conversation.item.create", "item": {"type": []}}, "invalid_value", "item.type"),
        (
            {"type": "conversation.item.create", "item": {"type": "message", "role": {}}},
            "invalid_value",
            "item.role",
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "message", "id": 7}},
            "invalid_type",
            "item.id",
        ),
        ({"type": "input_audio_buffer.append", "audio": ""}, "invalid_value", "audio"),
        ({"type": "response.create", "response": {"voice": "x"}}, "unknown_parameter", None),
        ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
    ],
)
def test_what_cannot_be_done_is_an_error_event(stage, event, code, param):
    """The session goes on; the error names the event and the parameter."""
    stage.send(**event)
    error = stage.error()
    assert (error["code"], error["event_id"]) == (code, "mine")
    assert param is None or error["param"] == param
    assert stage.text() == ["conversation.item.added", "conversation.item.done"]


def test_an_unreadable_frame_is_an_error_event(stage):
    """A frame that is no JSON object does not end the call."""
    assert stage.take(stage.conversation.unreadable()) == ["error"]
    assert stage.error()["code"] == "invalid_event"


def test_a_mistake_of_the_peer_is_a_server_error(stage):
    """It is not the client's."""
    assert stage.take(stage.conversation.failed("mine")) == ["error"]
    assert (stage.error()["type"], stage.error()["event_id"]) == ("server_error", "mine")


def test_a_session_stays_as_it_was_when_a_change_fails(stage, monkeypatch):
    """Also where the peer itself is to blame."""
    before = stage.conversation.session
    monkeypatch.setattr(stage.conversation, "_listening", None)
    with pytest.raises(AttributeError):
        stage.turn_detection(None)
    assert stage.conversation.session is before


def test_a_voice_knows_which_tool_has_answered(stage):
    """By the call it belongs to."""
    stage.text()
    call = {"type": "function_call", "call_id": "c", "name": "get_time", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "noon"}
    for item in (call, result):
        stage.send("conversation.item.create", item=item)
    stage.send("response.create")
    assert stage.questions[-1].results == (ToolResult("get_time", "c", "noon"),)


def test_assistant_audio_cannot_be_added(stage):
    """The content types of each role are those of the reference."""
    content = [{"type": "output_audio", "transcript": "x"}]
    item = {"type": "message", "role": "assistant", "content": content}
    stage.send("conversation.item.create", item=item)
    assert stage.error()["param"] == "item.content[0].type"


def test_items_are_placed_where_the_client_says(stage):
    """previous_item_id "root" is the beginning, an id is after it, nothing is the end."""
    for item_id, after in (("b", None), ("a", "root"), ("c", "b"), ("between", "a")):
        content = [{"type": "input_text", "text": item_id}]
        item = {"id": item_id, "type": "message", "role": "user", "content": content}
        stage.send("conversation.item.create", item=item, previous_item_id=after)
    added = [e for e in stage.events if e["type"] == "conversation.item.added"]
    assert [e["previous_item_id"] for e in added] == [None, None, "b", "a"]


def test_a_deleted_item_is_gone(stage):
    """It can be retrieved before and not after."""
    stage.text()
    item_id = stage.last("conversation.item.done")["item"]["id"]
    wanted = {"item_id": item_id}
    assert stage.send("conversation.item.retrieve", **wanted) == ["conversation.item.retrieved"]
    assert stage.send("conversation.item.delete", **wanted) == ["conversation.item.deleted"]
    assert stage.send("conversation.item.retrieve", **wanted) == ["error"]


def test_an_item_is_not_truncated_beyond_its_end():
    """The error says how long the audio is."""
    stage = speaking(Rendered("Hello.", SECOND), 1.0)
    stage.text()
    stage.send("response.create")
    item_id = stage.last("response.output_item.added")["item"]["id"]
    fields = {"item_id": item_id, "content_index": 0}
    stage.send("conversation.item.truncate", **fields, audio_end_ms=1001)
    assert "1000ms" in stage.error()["message"]
    types = stage.send("conversation.item.truncate", **fields, audio_end_ms=400)
    assert types == ["conversation.item.truncated"]


def test_the_voice_is_fixed_once_audio_was_sent(stage):
    """Before the first audio it may change, afterwards not."""
    change = {"type": "realtime", "audio": {"output": {"voice": "ash"}}}
    assert stage.send("session.update", session=change) == ["session.updated"]
    stage.text()
    stage.send("response.create")
    assert stage.send("session.update", session=change) == ["session.updated"]
    change["audio"]["output"]["voice"] = "cedar"
    assert stage.send("session.update", session=change) == ["error"]
    assert stage.error()["code"] == "cannot_update_voice"


def test_a_session_ends_after_an_hour(stage):
    """The client is told why, and the call is hung up."""
    assert stage.wait(LIFETIME + 1) == ["error"]
    assert stage.error()["code"] == "session_expired"
    assert isinstance(stage.commands[-1], HangUp)
