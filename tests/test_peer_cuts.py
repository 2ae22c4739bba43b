"""A reply that is cut short at every moment: before, while and after it is generated and heard."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from peer_client import prompt_pcm
from sdk_types import wrong_in
from simulated_call import SimulatedCall, sound

from rtnb.peer.reply import Failure, Rendered

CLEAR = "output_audio_buffer.clear"
CANCEL = "response.cancel"
ARGUMENTS = '{"a": "' + "b " * 90 + '"}'
REPLIES = {
    "short": Rendered("Well, hello.", sound(1.0)),
    "long": Rendered(" ".join(["word"] * 60), sound(20.0)),
    "without words": Rendered("", sound(8.0)),
    "and a call": Rendered("Wait.", sound(0.3), (("get_time", ARGUMENTS),)),
    "late": Rendered("Yes.", sound(6.0), delay=0.5),
    "failing": Rendered("I was", sound(0.5), failure=Failure()),
}
# seconds from response.create: before the first packet, with it, while generating, playing, after
MOMENTS = (0.0, 0.01, 0.02, 0.03, 0.1, 0.31, 0.6, 0.9, 2.0, 4.5, 5.2, 7.0, 25.0)
WAYS = {
    "cancel": (CANCEL,),
    "clear": (CLEAR,),
    "cancel and clear": (CANCEL, CLEAR),
    "clear and cancel": (CLEAR, CANCEL),
    "twice": (CANCEL, CLEAR, CANCEL, CLEAR),
    "speech": (),
}


@cache
def speech():
    return prompt_pcm("greeting")[:48_000]


def replying(name, thinking, moment):
    """Return a call in which a reply was asked for that long ago."""
    call = SimulatedCall(lambda turn: REPLIES[name], thinking=thinking)
    call.text()
    call.send("response.create")
    call.wait(moment)
    return call


def cut(call, way):
    """Cut what is said, and return the types of what came of it."""
    before = len(call.types())
    for kind in WAYS[way]:
        call.send(kind)
    if way == "speech":
        call.hear(speech())
    return call.types()[before:]


def playing(call):
    """Return whether something is to be heard, by the events."""
    types = [t for t in call.types() if t.startswith("output_audio_buffer.")]
    return types[-1:] == ["output_audio_buffer.started"]


def ended_well(call):
    """Return what is wrong once everything has come to its end."""
    call.input(turn_detection={"type": "server_vad", "create_response": False})
    call.hear(np.zeros(960 * 60, np.int16))
    call.drain()
    wrong = [one for event in call.events() for one in wrong_in(event)]
    return wrong + call.problems() + ([] if call.idle() else ["something is still under way"])


@pytest.mark.parametrize("way", WAYS)
def test_a_reply_may_be_cut_at_every_moment(way):
    """Orders hold, the item is cut where it was heard, and a second cut does no harm."""
    moments = MOMENTS[::2] if way == "speech" else MOMENTS  # hearing takes its time
    for name, thinking, moment in product(REPLIES, (0.0, 0.7), moments):
        call = replying(name, thinking, moment)
        cut(call, way)
        call.wait(0.1)
        cut(call, way)
        assert ended_well(call) == [], (name, thinking, moment)


@pytest.mark.parametrize("way", ["clear", "cancel and clear", "clear and cancel", "speech"])
def test_what_was_cut_is_over_at_once(way):
    """Where something was heard it is cleared and truncated; nothing is generated any more."""
    for name, moment in product(("long", "short"), (0.1, 0.6, 3.0, 6.0)):
        call = replying(name, 0.0, moment)
        heard = playing(call)
        types = cut(call, way)
        assert not playing(call)
        if heard:
            assert {"output_audio_buffer.cleared", "conversation.item.truncated"} <= set(types)
        assert len(call.events("response.done")) == 1
        if name == "long" and moment < 5.0:
            status = call.last("response.done")["response"]["status_details"]
            reason = "turn_detected" if way == "speech" else "client_cancelled"
            assert status == {"type": "cancelled", "reason": reason}


def test_a_cancelled_reply_is_heard_as_far_as_it_was_made():
    """Without clear its sound ends by itself, and nothing is truncated."""
    call = replying("long", 0.0, 2.0)
    assert "response.done" in cut(call, "cancel") and playing(call)
    call.drain()
    assert call.types()[-1] == "output_audio_buffer.stopped" and 105 < call.now < 110
    assert call.events("conversation.item.truncated") == []


@pytest.mark.parametrize("way", ["clear", "speech"])
def test_what_was_deleted_is_cleared_and_not_truncated(way):
    """The sound goes on until then: the item is gone, and not what is being said."""
    for moment in MOMENTS[4:-1]:
        call = replying("long", 0.0, moment)
        item_id = call.last("response.output_item.added")["item"]["id"]
        call.send("conversation.item.delete", item_id=item_id)
        assert playing(call)
        assert "conversation.item.truncated" not in cut(call, way)
        assert ended_well(call) == []


@pytest.mark.parametrize("way", ["clear", "speech"])
def test_what_a_client_truncated_is_not_given_back_by_a_cut(way):
    """The item keeps the shorter of both lengths."""
    for moment, end_ms in product((0.6, 3.0, 7.0), (0, 100, 500)):
        call = replying("long", 0.0, moment)
        item_id = call.last("response.output_item.added")["item"]["id"]
        where = {"item_id": item_id, "content_index": 0}
        assert call.send("conversation.item.truncate", **where, audio_end_ms=end_ms) is None
        cut(call, way)
        ends = [e["audio_end_ms"] for e in call.events("conversation.item.truncated")]
        assert ends == [end_ms, end_ms]
        assert ended_well(call) == []


def test_speech_cuts_what_waits_in_the_queue_and_not_what_is_outside_the_conversation():
    """A sound out of band goes on; the one behind it is dropped before its first packet."""
    call = SimulatedCall(lambda turn: REPLIES["long"])
    call.send("response.create", response={"conversation": "none"})
    call.wait(0.1)
    call.text()
    call.send("response.create")
    call.wait(0.5)
    types = cut(call, "speech")
    assert "output_audio_buffer.cleared" not in types and playing(call)
    assert call.last("conversation.item.truncated")["audio_end_ms"] == 0
    assert ended_well(call) == []


def test_speech_does_not_cancel_what_is_thought_outside_the_conversation():
    """Only what would be said in it is not wanted any more."""
    call = SimulatedCall(lambda turn: REPLIES["short"], thinking=2.0)
    call.send("response.create", response={"conversation": "none"})
    call.wait(0.2)
    cut(call, "speech")
    assert call.events("response.done") == [] and ended_well(call) == []
    assert call.last("response.done")["response"]["status"] == "completed"


@pytest.mark.parametrize("way", ["cancel", "speech"])
def test_a_voice_that_still_thinks_is_told_that_it_is_not_wanted(way):
    """Nothing is under way any more once its response was cancelled."""
    call = replying("short", 30.0, 0.2)
    assert "response.done" in cut(call, way) and call.idle()


def test_a_turn_that_waits_for_an_answer_is_not_answered_once_that_is_interrupted():
    """The speech that interrupts makes a turn of its own."""
    call = replying("long", 0.0, 0.5)
    call.input(turn_detection={"type": "server_vad", "interrupt_response": False})
    call.hear(speech())
    call.hear(np.zeros(48_000, np.int16))
    call.input(turn_detection={"interrupt_response": True, "create_response": False})
    call.hear(speech())
    assert ended_well(call) == [] and len(call.events("response.created")) == 1
