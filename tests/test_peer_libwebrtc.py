"""Chrome's WebRTC engine as the caller: the peer is not only understood by its own kind."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
from libwebrtc import all_candidates, connection, listen, speak, webrtc
from peer_client import WITHIN, exchange, prompt_pcm


async def connected(pc, url):
    """Offer with all candidates gathered, and take the answer."""
    await pc.set_local_description(await pc.create_offer())
    async with asyncio.timeout(WITHIN):
        await all_candidates(pc)
    status, _, answer = await exchange(url, pc.local_description.sdp)
    assert status == 201, answer
    await pc.set_remote_description(webrtc.RTCSessionDescriptionInit(type="answer", sdp=answer))


def test_libwebrtc_calls_and_is_answered(peer):
    """session.created arrives first, the spoken prompt is recognised, the answer is heard."""

    async def call():
        pc = connection()
        voice = webrtc.MediaStreamTrackGenerator("audio")
        pc.add_track(voice)
        events, heard, tasks, stopped = [], [], [], asyncio.Event()

        def arrived(message):
            events.append(json.loads(message.data))
            if events[-1]["type"] == "output_audio_buffer.stopped":
                stopped.set()

        pc.create_data_channel("oai-events").on("message", arrived)
        pc.on("track", lambda e: tasks.append(asyncio.ensure_future(listen(e.track, heard))))
        await connected(pc, peer.url)
        prompt = prompt_pcm("greeting", before=0.5)
        tasks.append(asyncio.ensure_future(speak(voice, prompt, for_ever=True)))
        async with asyncio.timeout(WITHIN):
            await stopped.wait()
        pc.close()
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        voice.stop()
        return events, np.concatenate(heard)

    events, heard = asyncio.run(call())
    assert events[0]["type"] == "session.created"
    done = "response.output_audio_transcript.done"
    assert [e["transcript"] for e in events if e["type"] == done] == [
        "Hello! I am doing fine today."
    ]
    loud = np.flatnonzero(np.abs(heard.astype(int)) > 1_000)
    assert 1.5 < (loud[-1] - loud[0]) / 48_000 < 2.5
