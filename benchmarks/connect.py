"""From the call of `rtnb.connect` to open channel and first packet, against bare aiortc's first frame.

Ours is the public function with everything it does: a key minted, the offer posted, the files of the
run, the configuration acknowledged; over when it has returned and the first packet of audio has come,
the media process being up before. The cold figure is that of the first call of a process, whose media
process starts with it. `bare_s` is an aiortc caller of the same peer: what of ours is aiortc's and the
network's, once both ends go on as soon as ICE is done (`rtnb.media.aiortc_hooks`). The baseline is
bare aiortc to bare aiortc in one process without any HTTP, until its track gives the first frame.
"""

from __future__ import annotations

import asyncio
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

import rtnb
from rtnb.media import aiortc_hooks
from rtnb.media.tracks import SilentTrack

RUNS = 9
COLD_RUNS = 3
TARGET = 0.5
WITHIN = 20.0


def connection() -> RTCPeerConnection:
    """Return a connection without any STUN server."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


def ours(peer: rtnb.Peer) -> float:
    """Return the seconds until `connect` has returned and the first packet has come."""
    began = time.perf_counter()
    with rtnb.connect(peer, progress=False) as session:
        took = time.perf_counter() - began
        while not (heard := first_packet(session.folder)):
            time.sleep(0.005)
    return max(took, heard)


def first_packet(folder: Path) -> float:
    """Return when the first packet came, in seconds from the call of `connect`; 0 if none has yet."""
    with (folder / "packets.csv").open(encoding="utf-8", newline="") as rows:
        times = (float(row["time"]) for row in csv.DictReader(rows) if row["kind"] == "received")
        return next(times, 0.0)


def cold() -> float:
    """Return the seconds of the first call of a fresh process, with all that it loads."""
    code = "from benchmarks.connect import print_cold; print_cold()"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return float(out.stdout)


def print_cold() -> None:
    """Place the first call of this process, and print how long it took."""
    with rtnb.Peer() as peer:
        print(ours(peer))


async def bare(peer: rtnb.Peer) -> float:
    """Return the seconds until an aiortc caller of the peer has its channel and its first packet."""
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


def measured() -> dict[str, list[float]]:
    """Return the seconds of all runs by what was measured."""
    took: dict[str, list[float]] = {"rtnb": [], "bare": [], "baseline": []}
    with rtnb.Peer() as peer:
        for run in range(RUNS + 1):  # in turns, so that a noisy machine is noisy for all
            one = {
                "rtnb": ours(peer),
                "bare": asyncio.run(asyncio.wait_for(bare(peer), WITHIN)),
                "baseline": asyncio.run(asyncio.wait_for(plain(), WITHIN)),
            }
            if run:  # the first one loads what is not loaded yet
                for what, seconds in one.items():
                    took[what].append(seconds)
    took["cold"] = [cold() for _ in range(COLD_RUNS)]
    return took


def main() -> None:
    """Print one JSON line."""
    took = measured()
    median = {what: statistics.median(seconds) for what, seconds in took.items()}
    ratio = median["rtnb"] / median["baseline"]
    result = {
        "benchmark": "connect",
        "rtnb_s": round(median["rtnb"], 4),
        "baseline_s": round(median["baseline"], 4),
        "ratio": round(ratio, 4),
        "target": TARGET,
        "met": ratio <= TARGET,
        "spread_s": [round(max(took[x]) - min(took[x]), 4) for x in ("rtnb", "baseline")],
        "runs": RUNS,
        "cold_s": round(median["cold"], 4),
        "bare_s": round(median["bare"], 4),
        "note": f"cold, with the media process still to start: {median['cold']:.2f} s",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
