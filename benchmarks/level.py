"""The level at which a mono prompt arrives: rtnb's packets against aiortc's encoding of mono frames.

Both go to the same bare aiortc far end, which decodes them as its own receiver does. The figure is the
RMS of a steady tone over that of the original.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

import rtnb
from rtnb.audio import to_pcm
from rtnb.media import aiortc_hooks
from rtnb.media.fallback import placed_by_pts
from rtnb.media.tracks import PacedTrack, PromptTrack

RUNS = 3
TARGET = 1.0
WITHIN = 0.02
SECONDS = 2.5
LEVEL = -12.0

S16 = npt.NDArray[np.int16]


class MonoFrames(PacedTrack):
    """A clip as mono frames, for aiortc to encode."""

    def __init__(self, pcm: bytes):
        super().__init__()
        self._left_over = np.frombuffer(pcm, np.int16)

    def _next(self, now: float) -> tuple[S16, bytes | None] | None:
        block, self._left_over = self._left_over[:960], self._left_over[960:]
        return (block, None) if len(block) == 960 else None

    def _packed(self, pcm: S16, packet: bytes | None, pts: int) -> av.AudioFrame | av.Packet[Any]:
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, pts
        return frame


async def heard(track: MediaStreamTrack) -> S16:
    """Return what a bare aiortc far end hears of a track."""
    near = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    far = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    samples: list[S16] = []
    near.addTrack(track)
    listening: list[asyncio.Task[None]] = []

    async def listen(remote: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            async for _, block in placed_by_pts(remote):
                samples.append(block)

    far.on("track", lambda remote: listening.append(asyncio.ensure_future(listen(remote))))
    with aiortc_hooks.loopback_only():
        await near.setLocalDescription(await near.createOffer())
        await far.setRemoteDescription(near.localDescription)
        await far.setLocalDescription(await far.createAnswer())
    await near.setRemoteDescription(far.localDescription)
    await asyncio.sleep(SECONDS)
    await asyncio.gather(near.close(), far.close(), *listening)
    return np.concatenate(samples)


def steady(samples: S16) -> float:
    """Return the median RMS of the windows that are not silent."""
    windows = samples[: len(samples) // 960 * 960].reshape(-1, 960).astype(np.float64)
    rms = np.sqrt(np.mean(windows**2, axis=1))
    return float(np.median(rms[rms > rms.max() / 2]))


async def measured() -> tuple[list[float], list[float]]:
    """Return the levels of all runs, ours and the baseline's."""
    pcm = to_pcm(rtnb.Clip.tone(440, SECONDS, level=LEVEL))
    said = steady(np.frombuffer(pcm, np.int16))
    ours, theirs = [], []
    for _ in range(RUNS):
        track = PromptTrack(encoded=True)
        track.play(pcm)
        ours.append(steady(await heard(track)) / said)
        theirs.append(steady(await heard(MonoFrames(pcm))) / said)
    return ours, theirs


def main() -> None:
    """Print one JSON line."""
    ours, theirs = asyncio.run(measured())
    level = statistics.median(ours)
    result = {
        "benchmark": "level",
        "rtnb_of_1": round(level, 4),
        "baseline_of_1": round(statistics.median(theirs), 4),
        "ratio": round(level / statistics.median(theirs), 4),
        "target": TARGET,
        "met": abs(level - TARGET) <= WITHIN,
        "spread_of_1": [round(max(x) - min(x), 5) for x in (ours, theirs)],
        "runs": RUNS,
        "note": f"the target is of rtnb's level, within {WITHIN}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
