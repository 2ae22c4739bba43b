"""The responses of the peer: what a client may ask of one, how it ends, and what it counts."""

from __future__ import annotations

import pytest
from openai.types.realtime import RealtimeResponse
from peer_client import prompt_pcm
from simulated_call import SimulatedCall, sound

from rtnb.peer.reply import Failure, Rendered

TOOLS = [{"type": "function", "name": name} for name in ("one", "two")]
CALLS = (("one", '{"a": 1}'), ("two", "{}"))
LONG = Rendered(" ".join(["word"] * 40), sound(20.0))
NAMED = {"type": "function", "name": "two"}


def respond(call, seconds=None, **response):
    """Create a response, wait, and return the error or what the last response.done says."""
    error = call.send("response.create", response=response)
    if error is not None:
        return error
    if seconds is None:
        call.drain()
    else:
        call.wait(seconds)
    return call.last("response.done")["response"] if "response.done" in call.types() else None


def says(rendered):
    return SimulatedCall(lambda turn: rendered)


# --- what may be asked ---------------------------------------------------------------------------


def test_a_response_shows_what_was_asked_of_it():
    """As the official types have it, in response.created and response.done."""
    call = SimulatedCall()
    call.text()
    asked = {
        "instructions": "Whisper.",
        "metadata": {"topic": "a"},
        "max_output_tokens": 300,
        "audio": {"output": {"voice": {"id": "voice_1"}, "format": {"type": "audio/pcmu"}}},
        "reasoning": {"effort": "low"},
        "parallel_tool_calls": False,
        "prompt": {"id": "pmpt_1"},
    }
    done = respond(call, **asked)
    for shown in (call.last("response.created")["response"], done):
        assert RealtimeResponse.model_validate(shown, strict=True).model_extra == {}
        assert (shown["metadata"], shown["max_output_tokens"]) == ({"topic": "a"}, 300)
        assert shown["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "voice_1"}
    assert call.turns[0].instructions == "Whisper." and call.turns[0].voice == "voice_1"
    assert call.problems() == []


@pytest.mark.parametrize(
    ("response", "param", "code"),
    [
        ([], "response", "invalid_type"),
        ({"modalities": ["text"]}, "response.modalities", "unknown_parameter"),
        ({"voice": "ash"}, "response.voice", "unknown_parameter"),
        ({"audio": {"output": {"speed": 1.0}}}, "response.audio.output.speed", "unknown_parameter"),
        ({"audio": {"input": {}}}, "response.audio.input", "unknown_parameter"),
        ({"conversation": "new"}, "response.conversation", "invalid_value"),
        ({"input": {}}, "response.input", "invalid_type"),
        ({"input": [5]}, "response.input[0]", "invalid_type"),
        ({"input": [{"type": "item_reference"}]}, "response.input[0].id", None),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "response.input[0].id", None),
        ({"input": [{"type": "message", "role": "x"}]}, "response.input[0].role", None),
        ({"metadata": {str(i): "" for i in range(17)}}, "response.metadata", None),
        ({"metadata": {"k" * 65: ""}}, "response.metadata", "string_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, "response.metadata.k", "string_above_max_length"),
        ({"metadata": {"k": 1}}, "response.metadata.k", "invalid_type"),
        ({"tools": [{"type": "function"}]}, "response.tools[0].name", None),
        ({"tool_choice": NAMED}, "response.tool_choice", "invalid_value"),
        ({"temperature": 0.8}, "response.temperature", "unknown_parameter"),
        ({"instructions": None}, "response.instructions", "invalid_type"),
    ],
)
def test_what_a_response_cannot_be_is_refused(response, param, code):
    """The error names the parameter, and no response is created."""
    call = SimulatedCall()
    error = call.send("response.create", response=response)
    assert error["param"] == param and code in (None, error["code"])
    assert "response.created" not in call.types()


def test_the_voice_of_a_response_is_fixed_like_the_sessions():
    """Once audio was made, another one is refused."""
    call = SimulatedCall()
    call.text()
    respond(call)
    error = respond(call, audio={"output": {"voice": "ash"}})
    assert error["code"] == "cannot_update_voice"
    assert error["param"] == "response.audio.output.voice"


def test_a_response_goes_by_the_input_it_is_given():
    """Items, references to them, or nothing at all, instead of the conversation."""
    call = SimulatedCall()
    call.text("First", id="mine")
    call.text("Second")
    told = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "New"}]}
    respond(call, input=[{"type": "item_reference", "id": "mine"}, told])
    respond(call, input=[])
    assert [(t.number, t.text) for t in call.turns] == [(2, "New"), (0, "")]
    assert call.turns[0].history == (("user", "First"),)


# --- outside the conversation --------------------------------------------------------------------


def test_a_response_outside_the_conversation_leaves_no_trace_in_it():
    """It has no conversation_id, its items are not added, and it runs beside the active one."""
    call = says(LONG)
    call.text()
    call.send("response.create")
    inside = call.last("response.created")["response"]["id"]
    call.wait(0.5)
    done = respond(call, 1.0, conversation="none", output_modalities=["text"])
    assert done["conversation_id"] is None and done["status"] == "completed"
    item_id = done["output"][0]["id"]
    assert call.send("conversation.item.retrieve", item_id=item_id)["param"] == "item_id"
    assert item_id not in [e["item"]["id"] for e in call.events("conversation.item.added")]
    call.drain()
    assert call.last("response.done")["response"]["id"] == inside and call.problems() == []


def test_speech_does_not_interrupt_what_is_outside_the_conversation():
    """Only responses of the default conversation are cancelled, and only their sounds stop."""
    call = says(LONG)
    call.text()
    respond(call, 1.0, conversation="none")
    call.hear(prompt_pcm("greeting")[:48_000])
    assert "output_audio_buffer.cleared" not in call.types()
    call.send("output_audio_buffer.clear")
    assert call.types().count("output_audio_buffer.cleared") == 1


def test_a_cancellation_without_an_id_is_for_the_conversation():
    """A response outside of it has to be named."""
    call = says(LONG)
    call.text()
    respond(call, 0.5, conversation="none")
    name = call.last("response.created")["response"]["id"]
    assert call.send("response.cancel")["code"] == "response_cancel_not_active"
    assert (
        call.send("response.cancel", response_id="resp_x")["code"] == "response_cancel_not_active"
    )
    assert call.send("response.cancel", response_id=5)["code"] == "invalid_type"
    assert call.send("response.cancel", response_id=name) is None
    assert call.last("response.done")["response"]["status"] == "cancelled"


# --- tools ---------------------------------------------------------------------------------------


def called(response):
    return [item["name"] for item in response["output"] if item["type"] == "function_call"]


def test_calls_in_parallel_are_items_one_after_the_other():
    """After what is said, with consecutive indices and ids of their own."""
    call = says(Rendered("Let me see.", sound(0.5), CALLS))
    call.text()
    done = respond(call, tools=TOOLS)
    added = call.events("response.output_item.added")
    assert [e["output_index"] for e in added] == [0, 1, 2]
    assert called(done) == ["one", "two"]
    assert len({item.get("call_id") for item in done["output"]}) == 3
    assert call.problems() == []


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"tool_choice": "auto"}, ["one", "two"]),
        ({"tool_choice": "required"}, ["one", "two"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": NAMED}, ["two"]),
        ({"parallel_tool_calls": False}, ["one"]),
    ],
)
def test_a_voice_calls_what_the_settings_permit(asked, names):
    """Whatever it says: a model could not do otherwise."""
    call = says(Rendered(calls=CALLS))
    call.text()
    done = respond(call, tools=TOOLS, **asked)
    assert called(done) == names and done["status"] == "completed"


# --- how it ends ---------------------------------------------------------------------------------


def test_nothing_to_say_is_completed_with_nothing():
    """An empty output, and usage all the same."""
    call = says(Rendered())
    call.text()
    done = respond(call)
    assert (done["status"], done["output"], done["status_details"]) == ("completed", [], None)
    assert done["usage"]["output_tokens"] == 0 < done["usage"]["input_tokens"]
    assert call.types()[-1] == "rate_limits.updated"


def test_a_failure_is_told_in_the_response():
    """With its error; the session goes on."""
    call = says(Rendered(failure=Failure("Too busy.", "rate_limit_exceeded", "too_many")))
    call.text()
    done = respond(call)
    error = {"type": "too_many", "code": "rate_limit_exceeded", "message": "Too busy."}
    assert done["status_details"] == {"type": "failed", "error": error}
    assert respond(call)["status"] == "failed" and "error" not in call.types()


@pytest.mark.parametrize("thinking", [0.0, 5.0])
def test_a_cancelled_response_counts_what_was_made(thinking):
    """Nothing while the voice still thinks; else the part of the sound and of the words."""
    call = SimulatedCall(lambda turn: LONG, thinking=thinking)
    call.text()
    respond(call, 2.5)
    call.send("response.cancel")
    done = call.last("response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    made = done["usage"]["output_token_details"]
    if thinking:
        assert made == {"text_tokens": 0, "audio_tokens": 0} and done["output"] == []
    else:
        assert 180 <= made["audio_tokens"] <= 220 and 20 <= made["text_tokens"] <= 30
    call.drain()
    assert call.problems() == []


def test_a_limit_of_tokens_leaves_a_response_incomplete():
    """It holds no more than that, and its sound ends there by itself."""
    call = says(LONG)
    call.text()
    done = respond(call, max_output_tokens=50)
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["usage"]["output_tokens"] <= 50 and done["output"][0]["status"] == "incomplete"
    assert call.types()[-1] == "output_audio_buffer.stopped" and call.now < 110


def test_rate_limits_come_after_each_response():
    """As many as there were responses, each right after its end."""
    call = SimulatedCall()
    call.text()
    for _ in range(2):
        respond(call)
    types = call.types()
    ends = [i for i, t in enumerate(types) if t == "response.done"]
    assert [types[i + 1] for i in ends] == ["rate_limits.updated"] * 2


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_sound_stops_after_its_response_is_done(interrupted):
    """Also where a long function call comes after a short sentence, and where that is cancelled."""
    call = says(Rendered("Wait.", sound(0.2), (("one", '{"a": "' + "b " * 200 + '"}'),)))
    call.text()
    respond(call, 0.7)
    assert "output_audio_buffer.stopped" not in call.types()
    if interrupted:
        call.hear(prompt_pcm("greeting")[:48_000])
    call.drain()
    types = call.types()
    assert types.index("output_audio_buffer.stopped") > types.index("response.done")
    assert call.last("response.done")["response"]["status"] == (
        "cancelled" if interrupted else "completed"
    )
    assert call.problems() == []


def test_a_sound_without_words_has_its_limit_too():
    """Where nothing can be transcribed, as much is generated as the tokens let through."""
    call = says(Rendered("", sound(20.0)))
    call.text()
    done = respond(call, max_output_tokens=100)
    assert (done["status"], done["usage"]["output_tokens"]) == ("incomplete", 100)
    stopped = call.types().index("output_audio_buffer.stopped")
    assert stopped > 0 and call.now < 100 + 6 and call.problems() == []
    kind = "response.output_audio_transcript.delta"
    assert call.events(kind) == []


# --- interruptions -------------------------------------------------------------------------------


def test_clearing_while_a_response_is_generated_ends_it_too():
    """As the reference says of output_audio_buffer.clear: generation stops, the item is cut."""
    call = says(LONG)
    call.text()
    respond(call, 2.0)
    call.send("output_audio_buffer.clear")
    done = call.last("response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert 1900 <= call.last("conversation.item.truncated")["audio_end_ms"] <= 2000
    assert call.problems() == []


def test_clearing_when_nothing_sounds_changes_nothing():
    """Neither an event nor an error."""
    call = SimulatedCall()
    before = len(call.types())
    assert call.send("output_audio_buffer.clear") is None
    assert len(call.types()) == before


def test_a_cancelled_response_that_is_cleared_is_cut_where_it_was_heard():
    """Sequence G."""
    call = says(LONG)
    call.text()
    respond(call, 2.0)
    begun = len(call.types())
    call.send("response.cancel")
    call.send("output_audio_buffer.clear")
    wanted = ("response.done", "output_audio_buffer.cleared", "conversation.item.truncated")
    assert [t for t in call.types()[begun:] if t in wanted] == list(wanted)


# --- the session ---------------------------------------------------------------------------------


def test_the_speed_changes_between_turns_only():
    """While a response is in progress it is refused; the same speed is no change."""
    call = says(LONG)
    call.text()
    call.send("response.create")
    assert call.settings(audio={"output": {"speed": 1.0}}) is None
    error = call.settings(audio={"output": {"speed": 1.2}})
    assert error["param"] == "session.audio.output.speed"
    call.drain()
    assert call.settings(audio={"output": {"speed": 1.2}}) is None


def test_an_old_session_is_told_its_conversation():
    """conversation.created comes right after session.created, with the id responses have."""
    call = SimulatedCall()
    assert call.types() == ["session.created"]
    call.conversation.session["temperature"] = 0.8
    call.take(call.conversation.opened())
    assert call.types()[1:] == ["session.created", "conversation.created"]
    call.text()
    done = respond(call)
    assert call.last("conversation.created")["conversation"]["id"] == done["conversation_id"]


@pytest.mark.parametrize(
    ("event_id", "code"),
    [("x" * 512, None), ("x" * 513, "string_above_max_length"), (5, "invalid_type"), (None, None)],
)
def test_an_event_id_is_a_short_string(event_id, code):
    """An event of another one is refused, and its id is not repeated."""
    call = SimulatedCall()
    event = {"type": "input_audio_buffer.clear", "event_id": event_id}
    call.take(call.conversation.receive(event))
    if code is None:
        assert call.types()[-1] == "input_audio_buffer.cleared"
    else:
        error = call.last("error")["error"]
        assert (error["code"], error["param"], error["event_id"]) == (code, "event_id", None)
