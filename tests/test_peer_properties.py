"""What no sequence of events may do to a conversation: break an order, raise, hang, or end the call."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import cache
from itertools import cycle

import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peer_client import WITHIN, calling, prompt_pcm
from peer_scenarios import TOOLS
from sdk_types import wrong_in
from simulated_call import SimulatedCall, sound

from rtnb.peer.reply import Failure, Rendered
from rtnb.peer.server import Setup, make_signaling

SAME_EACH_TIME = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# --- legal sequences -----------------------------------------------------------------------------

REPLIES = (
    Rendered("Well, hello.", sound(1.0)),
    Rendered(" ".join(["word"] * 60), sound(20.0)),
    Rendered("Wait.", sound(0.3), (("get_weather", '{"city": "Oslo"}'), ("get_time", "{}"))),
    Rendered(calls=(("get_time", ""),)),
    Rendered("I was", sound(0.5), failure=Failure()),
    Rendered(failure=Failure()),
    Rendered(),
    Rendered("No sound."),
    Rendered("", sound(0.02)),
    Rendered("  \n", sound(0.5), delay=1.5),
    Rendered("Yes.", sound(6.0), (("get_time", "{}"),), Failure(), 0.2),
    Rendered("Wait.", sound(0.3), (("get_time", "{" + " " * 9 + "x " * 90 + "}"),)),
    Rendered("", sound(20.0)),
)
DETECTION = (
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "interrupt_response": False, "silence_duration_ms": 200},
    {"type": "server_vad", "create_response": False},
    {"type": "server_vad", "idle_timeout_ms": 5000},
    {"type": "semantic_vad", "eagerness": "high"},
)
SETTINGS = (
    {"instructions": ""},
    {"output_modalities": ["text"]},
    {"output_modalities": ["audio"]},
    {"tools": TOOLS},
    {"max_output_tokens": 15},
    {"max_output_tokens": "inf"},
    {"parallel_tool_calls": False, "audio": {"output": {"speed": 1.5}}},
    {"audio": {"input": {"transcription": {"model": "whisper-1"}}}},
    {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe-diarize"}}}},
    *({"audio": {"input": {"turn_detection": one}}} for one in DETECTION),
)
RESPONSES = (
    {},
    {"output_modalities": ["text"]},
    {"output_modalities": ["text"], "max_output_tokens": 1},
    {"conversation": "none"},
    {"conversation": "none", "input": [], "output_modalities": ["text"]},
    {"max_output_tokens": 5, "metadata": {"a": "b"}},
    {"tool_choice": "required", "tools": TOOLS},
)

place = st.integers(0, 7)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("interrupt"),
            st.tuples(
                st.sampled_from(["speech", "cancel", "clear", "truncate"]),
                st.sampled_from([0.0, 0.03, 0.6, 4.5, 7.0]),
            ),
        ),
        st.tuples(st.just("speak"), st.sampled_from([0.2, 0.8, 1.6])),
        st.tuples(st.just("pause"), st.sampled_from([0.1, 0.4, 1.0, 2.0])),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.05, 0.5, 3.0, 30.0])),
        st.tuples(st.just("text"), place),
        st.tuples(st.just("append"), st.sampled_from([0.05, 0.5, 3.0])),
        st.tuples(st.just("output"), place),
        st.tuples(st.just("respond"), st.sampled_from(RESPONSES)),
        st.tuples(st.just("settings"), st.sampled_from(SETTINGS)),
        st.tuples(
            st.just("send"),
            st.sampled_from(
                [
                    *("response.cancel", "output_audio_buffer.clear"),
                    *("input_audio_buffer.clear", "input_audio_buffer.commit"),
                ]
            ),
        ),
        st.tuples(st.just("retrieve"), place),
        st.tuples(st.just("delete"), place),
        st.tuples(st.just("truncate"), st.tuples(place, st.sampled_from([0, 10, 500, 60_000]))),
    ),
    min_size=2,
    max_size=12,
)


@cache
def speech():
    """Return a bundled prompt."""
    return prompt_pcm("greeting")


def nth_item(call, number):
    """Return the id of one of the items so far, or one of none."""
    ids = [e["item"]["id"] for e in call.events("conversation.item.added")]
    return ids[-1 - number % len(ids)] if ids else "item_0"


def interrupt(call, how, after=0.6):
    """Have something said, and cut it short; a step, as it would seldom come about by chance."""
    call.send("response.create")
    call.wait(after)
    if how == "speech":
        call.hear(speech()[:48_000])
    elif how == "truncate":
        where = {"item_id": nth_item(call, 0), "content_index": 0}
        call.send("conversation.item.truncate", audio_end_ms=100, **where)
    else:
        call.send("response.cancel" if how == "cancel" else "output_audio_buffer.clear")


def take_step(call, what, value):
    """Do one thing to a call."""
    if what == "interrupt":
        interrupt(call, *value)
    elif what == "speak":
        call.hear(speech()[: int(value * 48_000)])
    elif what == "pause":
        call.hear(np.zeros(int(value * 48_000), np.int16))
    elif what == "wait":
        call.wait(value)
    elif what == "text":
        after = {0: {}, 1: {"previous_item_id": "root"}}
        where = after.get(value, {"previous_item_id": nth_item(call, value)})
        content = [{"type": "input_text", "text": "Hello?"}]
        item = {"type": "message", "role": "user", "content": content}
        call.send("conversation.item.create", item=item, **where)
    elif what == "append":
        audio = np.full(int(value * 24_000), 900, "<i2").tobytes()
        call.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode("ascii"))
    elif what == "output":
        calls = call.events("response.function_call_arguments.done")
        call_id = calls[-1]["call_id"] if calls else "call_0"
        item = {"type": "function_call_output", "call_id": call_id, "output": "{}"}
        call.send("conversation.item.create", item=item)
    elif what == "respond":
        call.send("response.create", response=value)
    elif what == "settings":
        call.settings(**value)
    elif what == "send":
        call.send(value)
    elif what == "truncate":
        where = {"item_id": nth_item(call, value[0]), "content_index": 0}
        call.send("conversation.item.truncate", audio_end_ms=value[1], **where)
    else:
        call.send(f"conversation.item.{what}", item_id=nth_item(call, value))


@settings(SAME_EACH_TIME, max_examples=350)
@given(
    steps,
    st.lists(st.integers(0, len(REPLIES) - 1), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.7, 4.0]),
    st.booleans(),
)
def test_no_legal_sequence_makes_it_break_an_order_or_hang(plan, replies, thinking, known):
    """Whatever is said, written, asked or cancelled when: orders hold, and all comes to an end."""
    numbers = cycle(replies)

    recognised = "greeting" if known else None
    call = SimulatedCall(
        lambda turn: REPLIES[next(numbers)],
        thinking=thinking,
        recognise=lambda samples: recognised,
    )
    for what, value in plan:
        take_step(call, what, value)
        assert call.problems(over=False) == []
    # a user who is still speaking would be answered only after a pause, and a silent one for ever
    call.input(turn_detection={"type": "server_vad", "idle_timeout_ms": None})
    call.hear(np.zeros(2 * 48_000, np.int16))
    call.drain()
    assert call.problems() == []
    assert call.idle()
    assert [wrong for event in call.events() for wrong in wrong_in(event)] == []


# --- garbage -------------------------------------------------------------------------------------

KINDS = {
    "null": st.none(),
    "bool": st.booleans(),
    "number": st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    "text": st.one_of(st.text(max_size=30), st.just("x" * 100_000)),
    "list": st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=3),
    "object": st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=5), max_size=3),
}
DEEP: object = 0
for _ in range(90):
    DEEP = [DEEP]

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
VAD = {"type": "server_vad"}
GOOD = {
    "session.update": {
        "session": {
            "type": "realtime",
            "instructions": "",
            "output_modalities": ["audio"],
            "tools": [{"type": "function", "name": "f"}],
            "tool_choice": "auto",
            "max_output_tokens": 100,
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
            "audio": {
                "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": VAD},
                "output": {"voice": "marin", "speed": 1.0},
            },
        }
    },
    "conversation.item.create": {"item": MESSAGE},
    "conversation.item.retrieve": {"item_id": "said"},
    "conversation.item.delete": {"item_id": "said"},
    "conversation.item.truncate": {"item_id": "said", "content_index": 0, "audio_end_ms": 0},
    "input_audio_buffer.append": {"audio": "AAAA"},
    "response.create": {
        "response": {
            "conversation": "none",
            "metadata": {"a": "b"},
            "input": [MESSAGE],
            "output_modalities": ["text"],
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": 10,
            "instructions": "",
        }
    },
    "response.cancel": {"response_id": "resp_0"},
}
# path in an event -> kinds of values that may be legal there
MAY_BE = {
    "session.update": {
        "session": ("object",),
        "session.type": (),
        "session.instructions": ("text",),
        "session.output_modalities": (),
        "session.output_modalities.0": (),
        "session.tools": ("list",),
        "session.tools.0": (),
        "session.tools.0.type": (),
        "session.tools.0.name": ("text",),
        "session.tool_choice": (),
        "session.max_output_tokens": ("number",),
        "session.truncation": (),
        "session.tracing": ("null", "object"),
        "session.prompt": ("null",),
        "session.include": ("null", "list"),
        "session.audio": ("object",),
        "session.audio.input": ("object",),
        "session.audio.input.format": (),
        "session.audio.input.turn_detection": ("null", "object"),
        "session.audio.input.turn_detection.type": (),
        "session.audio.output": ("object",),
        "session.audio.output.voice": ("text", "object"),
        "session.audio.output.speed": ("number",),
    },
    "conversation.item.create": {
        "item": (),
        "item.type": (),
        "item.role": (),
        "item.content": (),
        "item.content.0": (),
        "item.content.0.type": (),
        "item.content.0.text": ("text",),
        "previous_item_id": ("null",),
    },
    "conversation.item.retrieve": {"item_id": ()},
    "conversation.item.delete": {"item_id": ()},
    "conversation.item.truncate": {"item_id": (), "audio_end_ms": ()},
    "response.create": {
        "response": ("object", "null"),
        "response.conversation": ("null",),
        "response.metadata": ("object", "null"),
        "response.input": ("list", "null"),
        "response.input.0": (),
        "response.output_modalities": (),
        "response.tools": ("list",),
        "response.tool_choice": (),
        "response.max_output_tokens": ("number",),
        "response.instructions": ("text",),
    },
    "response.cancel": {"response_id": ("null",)},
}
FIELDS = [(kind, path) for kind, paths in MAY_BE.items() for path in paths]


@st.composite
def wrong_events(draw):
    """A client event with one field of a wrong type."""
    kind, path = draw(st.sampled_from(FIELDS))
    good = MAY_BE[kind][path]
    value = draw(st.one_of(*(v for k, v in KINDS.items() if k not in good)))
    return kind, path, value


def with_field(kind, path, value):
    """Return a client event with one field changed."""
    event = json.loads(json.dumps({"type": kind, "event_id": "wrong", **GOOD.get(kind, {})}))
    *way, last = path.split(".")
    at = event
    for key in way:
        at = at[int(key) if key.isdigit() else key]
    at[int(last) if last.isdigit() else last] = value
    return event


def still_answers(call):
    """Say whether a written turn is answered as if nothing had been."""
    call.drain()
    call.text()
    call.send("response.create", response={"output_modalities": ["text"]})
    call.drain()
    done = call.last("response.done")["response"]
    return done["status"] == "completed" and call.problems() == [] and call.idle()


@SAME_EACH_TIME
@given(st.lists(wrong_events(), min_size=1, max_size=5))
def test_a_field_of_a_wrong_type_is_an_error_and_changes_nothing(wrong):
    """The error names the event; the session is as before, and the next turn is answered."""
    call = SimulatedCall()
    before = json.dumps(call.conversation.session)
    for kind, path, value in wrong:
        caused = call.frame(json.dumps(with_field(kind, path, value)))
        assert caused == ["error"], (kind, path, value, caused)
        assert call.last("error")["error"]["event_id"] == "wrong"
    assert json.dumps(call.conversation.session) == before
    assert still_answers(call)


any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
frames = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200),
    any_json.map(json.dumps),
    st.builds(lambda value: json.dumps({"type": value}), any_json),
    st.builds(lambda depth: "[" * depth, st.integers(1, 200_000)),
    st.builds(lambda depth: '{"type": ' * depth, st.integers(1, 50_000)),
    st.builds(lambda size: '{"type": "' + "x" * size + '"}', st.integers(0, 300_000)),
)


@SAME_EACH_TIME
@given(st.lists(frames, min_size=1, max_size=8))
def test_a_frame_that_is_no_event_is_an_error_and_the_call_goes_on(garbage):
    """Bytes, no JSON, other JSON, deep, huge, unknown types: one error each."""
    call = SimulatedCall()
    for frame in garbage:
        assert call.frame(frame) == ["error"]
    assert still_answers(call)


@SAME_EACH_TIME
@given(st.lists(st.tuples(st.sampled_from(FIELDS), any_json | st.just(DEEP)), max_size=6))
def test_an_event_with_anything_in_it_never_breaks_the_call(changes):
    """It is answered or refused, whatever it holds; orders hold, and the next turn is answered."""
    call = SimulatedCall()
    for (kind, path), value in changes:
        try:
            frame = json.dumps(with_field(kind, path, value), allow_nan=False)
        except ValueError:
            frame = "NaN"
        assert call.frame(frame)
        call.wait(0.1)
    call.settings(tools=[], output_modalities=["text"], max_output_tokens="inf")
    assert still_answers(call)


# --- a real call ---------------------------------------------------------------------------------

OVER_THE_CHANNEL = (
    b"\x00\xff\xfe",
    "",
    "null",
    "[]",
    "{",
    '"session.update"',
    '{"type": null}',
    '{"type": "response.stop"}',
    '{"type": "session.update", "session": NaN}',
    "[" * 50_000,
    '{"a": ' * 20_000,
    '{"type": "' + "x" * 60_000 + '"}',
    '{"type": "conversation.item.create", "item": {"type": "message", "content": 7}}',
    '{"type": "response.create", "response": "now"}',
    '{"type": "conversation.item.truncate", "item_id": {}, "audio_end_ms": "never"}',
    '{"type": "session.update", "session": {"type": "realtime", "tools": [[]]}}',
    '{"type": "\\ud800"}',
)


def test_garbage_on_the_channel_of_a_real_call_is_refused_and_nothing_is_left_of_the_call():
    """One error for each frame, then a turn as usual; after the hang-up the peer has no call."""

    async def main():
        signaling = make_signaling(Setup())
        async with TestServer(signaling.app(), host="127.0.0.1") as server:
            url = f"http://127.0.0.1:{server.port}/v1"
            async with calling(url) as caller:
                for frame in OVER_THE_CHANNEL:
                    caller.channel.send(frame)
                for _ in OVER_THE_CHANNEL:
                    await caller.until("error")
                caller.send("conversation.item.create", item=MESSAGE)
                caller.send("response.create", response={"output_modalities": ["text"]})
                done = await caller.until("response.done")
                assert caller.types().count("error") == len(OVER_THE_CHANNEL)
            async with asyncio.timeout(WITHIN):
                while signaling.calls:
                    await asyncio.sleep(0.01)
            return done["response"]

    assert asyncio.run(main())["status"] == "completed"


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_an_error_does_not_repeat_what_was_too_large(size):
    """A type of a million letters is not sent back."""
    call = SimulatedCall()
    call.frame(json.dumps({"type": "x" * size}))
    assert len(call.last("error")["error"]["message"]) < 1_000
