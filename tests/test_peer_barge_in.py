"""Barge-in, by sound: the caller speaks into a long reply, and both ends are compared by packet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from captured_calls import Captured, captured
from peer_client import prompt_pcm, through_opus

import rtnb
from rtnb.media import opus
from rtnb.peer import repertoire
from rtnb.peer.peerlog import PeerCall

STORY = np.frombuffer(repertoire.saying("tell_me_a_story").pcm, np.int16).astype(float)
AUDIBLE = 30  # of 32,768: a decoded silence is far below, the quietest part of speech far above
PIECE = 24_000  # samples, by which the story is found in what was heard


def place(heard: np.ndarray, piece: np.ndarray) -> int:
    """Return where a piece lies in what was heard: the greatest correlation."""
    size = len(heard) + len(piece)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(piece, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))


@dataclass
class BargeIn:
    """What came of one."""

    events: list[dict[str, Any]]
    spoke: float  # the loop's time, which is the monotonic clock, at which the caller began
    heard: np.ndarray
    times: np.ndarray  # when the packet of each sample came
    peer: PeerCall

    def first(self, type: str) -> dict[str, Any]:
        """Return the first event of this type."""
        return next(event for event in self.events if event["type"] == type)

    def detected(self) -> float:
        """When the peer said that it heard speech."""
        kind = "input_audio_buffer.speech_started"
        return next(event.time for event in self.peer.events if event.type == kind)

    def story(self) -> tuple[int, int]:
        """Return the places in `heard` where the story begins, and where it was cut."""
        begin = place(self.heard, STORY[PIECE : 2 * PIECE]) - PIECE
        loud = np.abs(self.heard.astype(int)) > AUDIBLE
        answer = self.times > self.detected() + 0.5  # the reply to what was said then
        return begin, int(np.flatnonzero(loud & ~answer)[-1]) + 1


# seconds into the story, which has no pause then; a quarter of its 13.4 s is generated in between
TIMES = {"while generating": 1.5, "afterwards": 3.6}


@pytest.fixture(scope="module")
def both(peer: rtnb.Peer) -> dict[str, BargeIn]:
    """Two calls at once: the caller asks for a story in writing, and speaks so far into it."""

    async def call(after: float) -> tuple[Captured, float]:
        async with captured(peer.url) as caller:
            await caller.until("session.created")
            caller.say("Tell me a long story.")
            await caller.until("output_audio_buffer.started")
            await asyncio.sleep(after)
            spoken = caller.track.play(prompt_pcm("greeting").tobytes())
            spoke = await spoken.started
            await caller.until("conversation.item.truncated")
            await caller.until("input_audio_buffer.committed")
            return caller, spoke

    async def calls() -> list[tuple[Captured, float]]:
        return await asyncio.gather(*(call(after) for after in TIMES.values()))

    ended = zip(TIMES, asyncio.run(calls()), strict=True)
    records = {call.call_id: call for call in peer.log().calls}
    return {name: barge_in(caller, spoke, records) for name, (caller, spoke) in ended}


def barge_in(caller: Captured, spoke: float, records: dict[str, PeerCall]) -> BargeIn:
    """Return what came of a call."""
    assert caller.location is not None
    return BargeIn(
        caller.events, spoke, *caller.stream(), records[caller.location.rsplit("/", 1)[1]]
    )


@pytest.fixture(params=TIMES)
def barged_in(request: pytest.FixtureRequest, both: dict[str, BargeIn]) -> BargeIn:
    """One of them."""
    return both[request.param]


def test_the_wire_is_silent_within_60_ms_of_detection(barged_in: BargeIn) -> None:
    """By sound: loud until the peer detects speech, and nothing audible 60 ms later."""
    detected = barged_in.detected()
    level = np.abs(barged_in.heard.astype(int))
    before = level[(barged_in.times > detected - 0.3) & (barged_in.times < detected)]
    after = level[(barged_in.times > detected + 0.060) & (barged_in.times < detected + 0.5)]
    assert before.max() > 1_000
    assert len(after) > 10_000 and after.max() < AUDIBLE


def test_no_packet_of_the_reply_leaves_after_it(barged_in: BargeIn) -> None:
    """By the peer's own record: none with sound is given to the socket once speech is detected."""
    name = barged_in.first("output_audio_buffer.cleared")["response_id"]
    left = barged_in.peer.departures
    last = left["time"][left["response"] == name].max()
    assert last - barged_in.detected() < 0.001


def test_it_is_detected_soon(barged_in: BargeIn) -> None:
    """About 0.2 s after the prompt's first packet, which begins with some silence."""
    assert 0.05 < barged_in.detected() - barged_in.spoke < 0.6


def test_it_is_truncated_to_what_was_heard(barged_in: BargeIn) -> None:
    """The event's milliseconds are those that the caller's capture holds, within 40 ms."""
    begin, end = barged_in.story()
    told = barged_in.first("conversation.item.truncated")["audio_end_ms"]
    assert abs((end - begin) / 48 - told) < 40
    left = barged_in.peer.departures
    name = barged_in.first("output_audio_buffer.cleared")["response_id"]
    sent = left["position"][left["response"] == name].max() + opus.FRAME
    assert told == sent // 48


def test_what_was_heard_is_the_story(barged_in: BargeIn) -> None:
    """Up to the cut the capture is the clip, from its first sample."""
    said = through_opus(STORY.astype(np.int16)).astype(float)
    begin, end = barged_in.story()
    begin -= opus.LOOK_AHEAD - 4  # the look-ahead is exact to a sample or two
    count = (end - begin) // opus.FRAME * opus.FRAME - opus.FRAME
    heard = barged_in.heard[begin : begin + count].astype(float)
    nearest = max(alike(heard, said[shift : shift + count]) for shift in range(9))
    assert nearest > 0.98


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two sounds."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_the_events_come_in_order(barged_in: BargeIn) -> None:
    """Speech, cleared, the cancelled response if it was still generated, truncated; then the turn."""
    types = [event["type"] for event in barged_in.events]
    start = len(types) - 1 - types[::-1].index("input_audio_buffer.speech_started")
    rest = types[start : types.index("conversation.item.truncated") + 1]
    done = next(e["response"] for e in barged_in.events if e["type"] == "response.done")
    assert rest[:2] == ["input_audio_buffer.speech_started", "output_audio_buffer.cleared"]
    if "response.done" in rest:
        assert done["status_details"]["reason"] == "turn_detected"
        item = barged_in.first("response.output_item.done")["item"]
        assert item["status"] == "incomplete"
    else:
        assert done["status"] == "completed" and len(rest) == 3
    truncated = barged_in.first("conversation.item.truncated")["item_id"]
    assert truncated == barged_in.first("response.output_item.added")["item"]["id"]
    assert "output_audio_buffer.stopped" not in types


def test_one_reply_is_cut_while_it_is_generated_and_one_afterwards(
    both: dict[str, BargeIn],
) -> None:
    """The first is cancelled; the second was complete long before all of it was heard."""
    ends = {name: one.first("response.done")["response"]["status"] for name, one in both.items()}
    assert ends == {"while generating": "cancelled", "afterwards": "completed"}
