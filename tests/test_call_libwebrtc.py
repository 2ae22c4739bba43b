"""Chrome's WebRTC engine on the far side: rtnb's calls are not only understood by their own kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bare_calls import signalling
from libwebrtc import RATE, all_candidates, connection, listen, speak, webrtc

import rtnb

TONE = (0.25 * 32767 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)


class FarSide:
    """A server on libwebrtc: it greets, answers each response.create with a tone, and listens."""

    def __init__(self) -> None:
        self.heard: list[np.ndarray] = []
        self.received: list[dict[str, Any]] = []
        self._tasks: list[asyncio.Future[Any]] = []
        self._pc: Any = None

    async def answer(self, offer: str) -> str:
        """Answer an offer with all candidates gathered."""
        self._pc = pc = connection()
        self._voice = webrtc.MediaStreamTrackGenerator("audio")
        pc.add_track(self._voice)
        pc.on("track", lambda e: self._spawn(listen(e.track, self.heard)))
        pc.on("datachannel", self._on_channel)
        offered = webrtc.RTCSessionDescriptionInit(type="offer", sdp=offer)
        await pc.set_remote_description(offered)
        await pc.set_local_description(await pc.create_answer())
        await all_candidates(pc)
        return str(pc.local_description.sdp)

    async def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._pc is not None:
            self._pc.close()

    def _on_channel(self, event: Any) -> None:
        self._channel = event.channel
        self._channel.on("message", self._on_message)
        self._say("session.created", session={"type": "realtime", "model": "libwebrtc"})

    def _on_message(self, message: Any) -> None:
        event = json.loads(message.data)
        self.received.append(event)
        if event["type"] == "session.update":
            self._say("session.updated", session={"type": "realtime", "model": "libwebrtc"})
        elif event["type"] == "response.create":
            self._spawn(self._respond())

    def _say(self, kind: str, **fields: Any) -> None:
        self._channel.send(json.dumps({"type": kind, "event_id": "e", **fields}))

    async def _respond(self) -> None:
        self._say("response.created", response={"id": "resp_1", "status": "in_progress"})
        self._say("output_audio_buffer.started", response_id="resp_1")
        text = {"item_id": "item_1", "content_index": 0, "transcript": "Beep."}
        self._say("response.output_audio_transcript.done", response_id="resp_1", **text)
        self._say("response.done", response={"id": "resp_1", "status": "completed"})
        await speak(self._voice, TONE)
        self._say("output_audio_buffer.stopped", response_id="resp_1")

    def _spawn(self, work: Any) -> None:
        self._tasks.append(asyncio.ensure_future(work))


@pytest.fixture(scope="module")
def call() -> Iterator[tuple[FarSide, rtnb.Session, rtnb.Turn]]:
    """One call to libwebrtc: a text that is answered with a tone, after a prompt was played."""
    far = FarSide()
    with (
        signalling(far.answer, far.close) as url,
        rtnb.connect(url, turn_detection=None) as session,
    ):
        yield far, session, session.ask(rtnb.sample("capital_of_france"))


def test_events_go_both_ways(call: tuple[FarSide, rtnb.Session, rtnb.Turn]) -> None:
    """The far side got the configuration, the commit and the request; we got its events."""
    far, session, turn = call
    assert [e["type"] for e in far.received] == [
        "session.update",
        "input_audio_buffer.commit",
        "response.create",
    ]
    assert (session.model, turn.status, turn.transcript) == ("libwebrtc", "completed", "Beep.")


def test_its_sound_is_recorded_at_its_level(
    call: tuple[FarSide, rtnb.Session, rtnb.Turn],
) -> None:
    """A second of tone comes back as a second of 440 Hz at the level it was sent with."""
    reply = call[2].reply
    middle = reply.samples[24_000 - 9600 : 24_000 + 9600]
    peak = np.argmax(np.abs(np.fft.rfft(middle))) * RATE / len(middle)
    assert 0.9 < reply.duration < 1.3
    assert peak == pytest.approx(440, abs=5)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.25 / np.sqrt(2), rel=0.1)


def test_it_hears_the_prompt_at_its_level(
    call: tuple[FarSide, rtnb.Session, rtnb.Turn],
) -> None:
    """What libwebrtc heard has the prompt's energy: mono packets do not come out 3 dB lower."""
    heard = np.concatenate(call[0].heard).astype(float) / 32768
    prompt = rtnb.sample("capital_of_france").resample(RATE).samples
    assert np.sum(heard**2) / np.sum(prompt**2) == pytest.approx(1.0, rel=0.15)
