"""Chrome's WebRTC engine (the `wrtc` package) as the other side of a call: sound in and out."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import numpy as np

os.environ["WRTC_ALLOW_LOOPBACK"] = "1"  # read once, when it is imported

import webrtc

RATE = 48_000
BLOCK = 480  # libwebrtc's 10 ms


def connection() -> Any:
    """Return a peer connection without any STUN server."""
    return webrtc.RTCPeerConnection(webrtc.RTCConfiguration(ice_servers=[]))


async def all_candidates(pc: Any) -> None:
    """Wait until candidates have been gathered."""
    gathered = asyncio.Event()
    pc.on("icegatheringstatechange", lambda _: gathered.set())
    while pc.ice_gathering_state != "complete":
        gathered.clear()
        await gathered.wait()


async def speak(track: Any, samples: np.ndarray, *, for_ever: bool = False) -> None:
    """Write s16 samples to a track at their pace, and then silence for as long as it is wanted."""
    loop, writer, position = asyncio.get_running_loop(), track.writable.get_writer(), 0
    start = loop.time()
    while for_ever or position < len(samples):
        block = samples[position : position + BLOCK]
        await writer.write(_audio_data(np.pad(block, (0, BLOCK - len(block))), position))
        position += BLOCK
        await asyncio.sleep(max(start + position / RATE - loop.time(), 0))


async def listen(track: Any, heard: list[np.ndarray]) -> None:
    """Collect what a track delivers, s16 mono."""
    wanted = webrtc.MediaStreamTrackProcessorInit(track=track)
    reader = webrtc.MediaStreamTrackProcessor(wanted).readable.get_reader()
    while not (result := await reader.read()).done:
        with result.value as data:
            options = webrtc.AudioDataCopyToOptions(plane_index=0, format="s16")
            raw = bytearray(data.allocation_size(options))
            data.copy_to(raw, options)
            heard.append(np.frombuffer(raw, np.int16)[:: data.number_of_channels])


def _audio_data(samples: np.ndarray, position: int) -> Any:
    return webrtc.AudioData(
        webrtc.AudioDataInit(
            format="s16",
            sample_rate=RATE,
            number_of_frames=BLOCK,
            number_of_channels=1,
            timestamp=position * 1_000_000 // RATE,
            data=samples.tobytes(),
        )
    )
