"""From constructor to open channel and first packet of audio, against bare aiortc's first frame.

Ours is an aiortc caller to a peer in its own process: offer, HTTP, answer, ICE, DTLS, channel, and
the first RTP packet. The caller sees it before aiortc's jitter buffer, and both ends go on as soon as
ICE is done: `rtnb.media.aiortc_hooks`. The baseline is bare aiortc to bare aiortc in one process
without any HTTP, until its track gives the first frame.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

import rtnb
from rtnb.media import aiortc_hooks
from rtnb.media.tracks import SilentTrack

RUNS = 9
TARGET = 0.5
WITHIN = 20.0


def connection() -> RTCPeerConnection:
    """Return a connection without any STUN server."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def ours(peer: rtnb.Peer) -> float:
    """Return the seconds until a call to the peer has its channel and its first packet."""
    opened, heard = asyncio.Event(), asyncio.Event()
    began = time.perf_counter()
    pc = connection()
    pc.addTrack(SilentTrack(encoded=True))
    aiortc_hooks.tap_receiver(pc.getReceivers()[0], lambda _: heard.set())
    pc.createDataChannel("oai-events").on("open", opened.set)
    aiortc_hooks.connect_at_once(pc)
    with aiortc_hooks.loopback_only():
        await pc.setLocalDescription(await pc.createOffer())
    headers = {"Authorization": "Bearer sk-any", "Content-Type": "application/sdp"}
    offer = pc.localDescription.sdp
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{peer.url}/realtime/calls", data=offer, headers=headers) as response,
    ):
        response.raise_for_status()
        answer = await response.text()
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await opened.wait()
    await heard.wait()
    took = time.perf_counter() - began
    await pc.close()
    return took


async def plain() -> float:
    """Return the seconds until bare aiortc, called by bare aiortc, has its first frame."""
    framed = asyncio.Event()
    waiting: list[asyncio.Task[None]] = []

    async def first_frame(track: MediaStreamTrack) -> None:
        await track.recv()
        framed.set()

    began = time.perf_counter()
    caller, callee = connection(), connection()
    caller.addTrack(AudioStreamTrack())
    caller.createDataChannel("oai-events")
    caller.on("track", lambda track: waiting.append(asyncio.ensure_future(first_frame(track))))
    callee.addTrack(AudioStreamTrack())
    with aiortc_hooks.loopback_only():
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)
    await framed.wait()
    took = time.perf_counter() - began
    await asyncio.gather(caller.close(), callee.close(), *waiting)
    return took


async def measured() -> tuple[list[float], list[float]]:
    """Return the seconds of all runs, ours and the baseline's."""
    with rtnb.Peer() as peer:
        ours_s, plain_s = [], []
        for run in range(RUNS + 1):  # in turns, so that a noisy machine is noisy for both
            async with asyncio.timeout(WITHIN):
                pair = await ours(peer), await plain()
            if run:  # the first one loads what is not loaded yet
                ours_s.append(pair[0])
                plain_s.append(pair[1])
    return ours_s, plain_s


def main() -> None:
    """Print one JSON line."""
    ours_s, plain_s = asyncio.run(measured())
    ratio = statistics.median(ours_s) / statistics.median(plain_s)
    result = {
        "benchmark": "connect",
        "rtnb_s": round(statistics.median(ours_s), 4),
        "baseline_s": round(statistics.median(plain_s), 4),
        "ratio": round(ratio, 4),
        "target": TARGET,
        "met": ratio <= TARGET,
        "spread_s": [round(max(x) - min(x), 4) for x in (ours_s, plain_s)],
        "runs": RUNS,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
