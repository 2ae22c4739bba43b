"""Chrome's WebRTC engine as the caller: the peer is not only understood by its own kind."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
from event_orders import SERVER, broken_orders
from libwebrtc import all_candidates, connection, listen, speak, webrtc
from peer_client import WITHIN, exchange, prompt_pcm
from sdk_types import wrong_in

LOUD = 1_000
ANSWER = "Hello! I am doing fine today."


class Guest:
    """A caller: `events` holds what came with its time, `heard` the blocks of sound."""

    def __init__(self):
        self.pc = connection()
        self.voice = webrtc.MediaStreamTrackGenerator("audio")
        self.pc.add_track(self.voice)
        self.events, self.heard, self.times = [], [], []
        self._tasks, self._news = [], asyncio.Event()
        self.channel = self.pc.create_data_channel("oai-events")
        self.channel.on("message", self._arrived)
        self.pc.on("track", lambda e: self._spawn(listen(e.track, self.heard)))

    def _arrived(self, message):
        self.events.append(json.loads(message.data))
        self.times.append(asyncio.get_running_loop().time())
        self._news.set()

    def _spawn(self, coroutine):
        self._tasks.append(asyncio.ensure_future(coroutine))

    async def connect(self, url):
        """Offer with all candidates gathered, and take the answer."""
        await self.pc.set_local_description(await self.pc.create_offer())
        async with asyncio.timeout(WITHIN):
            await all_candidates(self.pc)
        status, _, answer = await exchange(url, self.pc.local_description.sdp)
        assert status == 201, answer
        given = webrtc.RTCSessionDescriptionInit(type="answer", sdp=answer)
        await self.pc.set_remote_description(given)

    def say(self, *pieces):
        """Speak one piece after the other, and be silent afterwards."""
        self._spawn(speak(self.voice, np.concatenate(pieces), for_ever=True))

    async def until(self, type):
        """Return the first event of a type."""
        async with asyncio.timeout(WITHIN):
            while not any(e["type"] == type for e in self.events):
                self._news.clear()
                await self._news.wait()
        return next(e for e in self.events if e["type"] == type)

    def time_of(self, event):
        """Return when an event came."""
        return self.times[self.events.index(event)]

    async def close(self):
        """Hang up."""
        self.pc.close()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.voice.stop()


def calling(url, test):
    """Run a test with a connected guest, and judge all events that it got."""

    async def main():
        guest = Guest()
        try:
            await guest.connect(url)
            await test(guest)
        finally:
            await guest.close()
        assert [wrong for event in guest.events for wrong in wrong_in(event)] == []
        assert broken_orders([(SERVER, e) for e in guest.events], over=False) == []

    asyncio.run(main())


def test_libwebrtc_calls_and_is_answered(peer):
    """session.created arrives first, the spoken prompt is recognised, the answer is heard."""

    async def test(guest):
        guest.say(prompt_pcm("greeting", before=0.5))
        await guest.until("output_audio_buffer.stopped")
        assert guest.events[0]["type"] == "session.created"
        said = await guest.until("response.output_audio_transcript.done")
        assert said["transcript"] == ANSWER
        loud = np.flatnonzero(np.abs(np.concatenate(guest.heard).astype(int)) > LOUD)
        assert 1.5 < (loud[-1] - loud[0]) / 48_000 < 2.5

    calling(peer.url, test)


def test_libwebrtc_interrupts(peer):
    """It speaks into a long answer: that is cut where it ended, then silence, then the next one."""

    async def test(guest):
        pause = np.zeros(96_000, np.int16)
        guest.say(prompt_pcm("tell_me_a_story", before=0.3), pause, prompt_pcm("greeting"))
        cleared = await guest.until("output_audio_buffer.cleared")
        blocks = len(guest.heard)
        truncated = await guest.until("conversation.item.truncated")
        started = await guest.until("output_audio_buffer.started")
        played = guest.time_of(cleared) - guest.time_of(started)
        assert abs(truncated["audio_end_ms"] / 1000 - played) < 0.25
        await guest.until("input_audio_buffer.speech_stopped")
        async with asyncio.timeout(WITHIN):
            while ANSWER not in [e.get("transcript") for e in guest.events]:
                await asyncio.sleep(0.01)
        after = np.concatenate(guest.heard[blocks + 30 : blocks + 60])  # 0.3 to 0.6 s later
        assert np.abs(after.astype(int)).max() < LOUD

    calling(peer.url, test)
