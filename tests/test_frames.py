"""Frames of servers that wrap their events: joined, decoded, bounded, and never lost."""

from __future__ import annotations

import base64
import json
import random

import pytest

from rtnb.frames import Unwrapper

EVENT = json.dumps(
    {"type": "response.done", "said": "Größe 東京 " + "x" * 3000}, ensure_ascii=False
)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def full(text: str, key: str = "event_1") -> str:
    return json.dumps({"type": "full_message", "id": key, "data": encoded(text)})


def fragment(data: str, index: object, total: object, key: object = "event_1") -> str:
    frame = {"type": "partial_message", "id": key, "data": data}
    return json.dumps({**frame, "fragment_index": index, "total_fragments": total})


def fragments(text: str, key: str = "event_1", size: int = 800) -> list[str]:
    data = encoded(text)
    slices = [data[i : i + size] for i in range(0, len(data), size)]
    return [fragment(one, i, len(slices), key) for i, one in enumerate(slices)]


def taken(*frames: str) -> list[str]:
    unwrapper = Unwrapper("speaches")
    return [text for frame in frames for text in unwrapper.take(frame)]


def test_a_channel_without_framing_gives_out_what_came() -> None:
    """One event a frame, even where it looks like a wrapped one."""
    assert Unwrapper().take(full(EVENT)) == [full(EVENT)]


def test_a_full_message_is_decoded() -> None:
    """The base64 of an event is the event."""
    assert taken(full(EVENT)) == [EVENT]


def test_fragments_are_joined_before_they_are_decoded() -> None:
    """Slices whose length is no multiple of four, which no decoder takes alone, in order."""
    assert taken(*fragments(EVENT, size=801)) == [EVENT]


@pytest.mark.parametrize("seed", range(5))
def test_fragments_of_several_messages_may_come_mixed(seed: int) -> None:
    """Whatever the order, each message is given out once, when its last fragment has come."""
    messages = {f"event_{n}": f"{n} {EVENT}" for n in range(4)}
    frames = [frame for key, text in messages.items() for frame in fragments(text, key)]
    random.Random(seed).shuffle(frames)
    assert sorted(taken(*frames)) == sorted(messages.values())


def test_an_event_that_is_not_wrapped_passes() -> None:
    """A server may wrap only some of its events."""
    assert taken(EVENT, "no JSON", "[1]", "") == [EVENT, "no JSON", "[1]", ""]


@pytest.mark.parametrize(
    "frame",
    [
        json.dumps({"type": "full_message", "id": "e"}),
        json.dumps({"type": "full_message", "id": "e", "data": 7}),
        json.dumps({"type": "full_message", "id": "e", "data": "not base64!"}),
        json.dumps({"type": "full_message", "id": "e", "data": "/w=="}),
        json.dumps({"type": "full_message", "id": "e", "data": "ü"}),
        fragment("AAAA", 0, 1, key=None),
        fragment("AAAA", 0, 0),
        fragment("AAAA", 2, 2),
        fragment("AAAA", -1, 2),
        fragment("AAAA", True, 2),
        fragment("AAAA", 0, 10**9),
        fragment("AAAA", 0.0, 2),
        fragment("!", 0, 1),
        json.dumps({"type": ["full_message"]}),
        "[" * 5000,
    ],
)
def test_a_malformed_frame_is_kept_as_it_came(frame: str) -> None:
    """It becomes an event of its own, and what follows is understood."""
    assert taken(frame, full(EVENT)) == [frame, EVENT]


def test_a_fragment_that_contradicts_the_others_is_kept_as_it_came() -> None:
    """A place taken twice, or another total: the message is completed by the right ones."""
    first, *rest = fragments(EVENT)
    wrong = fragment("AAAA", 1, len(rest) + 9)
    assert taken(first, first, wrong, *rest) == [first, wrong, EVENT]


def test_messages_that_stay_incomplete_are_given_up_from_the_oldest() -> None:
    """Of 65 begun messages the first is given out as it came; the others can be completed."""
    unwrapper = Unwrapper("speaches")
    begun = [fragment(encoded(str(n))[:2], 0, 2, f"e{n}") for n in range(65)]
    out = [text for frame in begun for text in unwrapper.take(frame)]
    assert out == [begun[0]]
    assert unwrapper.take(fragment(encoded("64")[2:], 1, 2, "e64")) == ["64"]
    assert unwrapper.left() == begun[1:64]
    assert unwrapper.left() == []


def test_what_is_kept_is_bounded() -> None:
    """A server that never ends its messages cannot fill the memory: beyond 16 MiB they go."""
    unwrapper = Unwrapper("speaches")
    slice_of_a_mebibyte = "A" * 1_048_576
    frames = [fragment(slice_of_a_mebibyte, i, 1000) for i in range(40)]
    out = [text for frame in frames for text in unwrapper.take(frame)]
    assert len("".join(unwrapper.left())) <= 16_777_216
    assert len(out) >= 24
