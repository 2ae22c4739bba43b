"""Chrome's WebRTC engine as the caller: the peer is not only understood by its own kind."""

from __future__ import annotations

import asyncio
import contextlib
import json

import numpy as np
import webrtc
from peer_client import WITHIN, exchange, prompt_pcm

BLOCK = 480  # libwebrtc's 10 ms at 48,000 Hz


def audio_data(samples, position):
    return webrtc.AudioData(
        webrtc.AudioDataInit(
            format="s16",
            sample_rate=48_000,
            number_of_frames=BLOCK,
            number_of_channels=1,
            timestamp=position * 1_000_000 // 48_000,
            data=samples.tobytes(),
        )
    )


async def speak(track, samples):
    """Write the samples at their pace, and then silence for as long as it is wanted."""
    loop, writer, position = asyncio.get_running_loop(), track.writable.get_writer(), 0
    start = loop.time()
    while True:
        block = samples[position : position + BLOCK]
        await writer.write(audio_data(np.pad(block, (0, BLOCK - len(block))), position))
        position += BLOCK
        await asyncio.sleep(max(start + position / 48_000 - loop.time(), 0))


async def listen(track, heard):
    """Collect what is heard, mono."""
    reader = webrtc.MediaStreamTrackProcessor(
        webrtc.MediaStreamTrackProcessorInit(track=track)
    ).readable.get_reader()
    while not (result := await reader.read()).done:
        with result.value as data:
            options = webrtc.AudioDataCopyToOptions(plane_index=0, format="s16")
            raw = bytearray(data.allocation_size(options))
            data.copy_to(raw, options)
            heard.append(np.frombuffer(raw, np.int16)[:: data.number_of_channels])


async def connected(pc, url):
    """Offer with all candidates gathered, and take the answer."""
    gathered = asyncio.Event()
    pc.on("icegatheringstatechange", lambda _: gathered.set())
    await pc.set_local_description(await pc.create_offer())
    async with asyncio.timeout(WITHIN):
        while pc.ice_gathering_state != "complete":
            gathered.clear()
            await gathered.wait()
    status, _, answer = await exchange(url, pc.local_description.sdp)
    assert status == 201, answer
    await pc.set_remote_description(webrtc.RTCSessionDescriptionInit(type="answer", sdp=answer))


def test_libwebrtc_calls_and_is_answered(peer):
    """session.created arrives first, the spoken prompt is recognised, the answer is heard."""

    async def call():
        webrtc.allow_loopback()
        pc = webrtc.RTCPeerConnection(webrtc.RTCConfiguration(ice_servers=[]))
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
        tasks.append(asyncio.ensure_future(speak(voice, prompt_pcm("greeting", before=0.5))))
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
