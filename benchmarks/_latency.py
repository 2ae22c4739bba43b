"""Calls to a peer of which the true times are known from its log; it must not know what is judged."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

import rtnb
from rtnb.media import aiortc_hooks
from rtnb.peer.peerlog import PeerCall

__all__ = ["RATE", "SOON", "Plain", "departed", "lag", "said_at", "spoken_prompt"]

RATE: Final = 48_000
SOON: Final = {"type": "server_vad", "silence_duration_ms": 200}
_WITHIN: Final = 20.0  # seconds
_AUDIBLE: Final = 10 ** (-50 / 20)  # RMS of a frame, as rtnb has it


def spoken_prompt() -> rtnb.Clip:
    """Return 0.7 s of speech that is cut off in a loud vowel: its end is beyond doubt."""
    clip = rtnb.sample("greeting").resample(RATE)[:0.7]
    loud = np.flatnonzero(np.abs(clip.samples) > 0.05)
    return rtnb.Clip(clip.samples[: int(loud[-1]) + 1], RATE)


def said_at(turn: rtnb.turns.Turn, call: PeerCall, sample: int) -> float:
    """Return when a sample of a prompt reached the peer, in monotonic seconds."""
    sent = turn._source.audio.packets().of("sent")
    first = int(np.argmin(np.abs(sent.time - turn._state.play_started)))
    sequence = (int(sent.sequence[first]) + sample // 960) % 65536
    came = call.arrivals[call.arrivals["sequence"] == sequence]
    return float(came["time"][0]) + sample % 960 / RATE


def departed(call: PeerCall, response: str, sample: int) -> float:
    """Return when a sample of a response's sound left the peer, in monotonic seconds."""
    rows = call.departures[call.departures["response"] == response]
    row = rows[np.flatnonzero(rows["position"] <= sample)[-1]]
    return float(row["time"] + (sample - row["position"]) / RATE)


def lag(call: PeerCall, response: str) -> float:
    """Return by how many seconds a response's first packet left later than the rest of it."""
    rows = call.departures[call.departures["response"] == response]
    late = rows["time"] - rows["position"] / RATE
    return float(late[0] - late.min())


class _Timed(MediaStreamTrack):
    """A player's track that takes note of when its sender took a sample."""

    kind = "audio"

    def __init__(self, track: MediaStreamTrack, sample: int):
        super().__init__()
        self._track = track
        self._left = sample
        self.taken: float | None = None

    def stop(self) -> None:
        """End the player too."""
        super().stop()
        self._track.stop()

    async def recv(self) -> Any:
        """Return the player's next frame."""
        frame = await self._track.recv()
        self._left -= frame.samples * RATE // frame.sample_rate
        if self._left < 0 and self.taken is None:
            self.taken = time.monotonic()
        return frame


class Plain:
    """One call of bare aiortc with a `MediaPlayer` that says a prompt and waits for the reply.

    Parameters
    ----------
    path
        A WAV that holds the prompt and silence after it.
    end
        The sample at 48,000 Hz with which the prompt ends.
    """

    def __init__(self, path: Path, end: int):
        self._track = _Timed(MediaPlayer(str(path)).audio, end)
        self._heard: float | None = None
        self._audible = asyncio.Event()

    async def latency(self, url: str) -> float:
        """Place the call, and return the seconds from the prompt's end to the first audible frame."""
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        waiting: list[asyncio.Task[None]] = []
        pc.on("track", lambda track: waiting.append(asyncio.ensure_future(self._listen(track))))
        pc.addTrack(self._track)
        pc.createDataChannel("oai-events")
        with aiortc_hooks.loopback_only():
            await pc.setLocalDescription(await pc.createOffer())
        answer = await _answer(url, pc.localDescription.sdp)
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await asyncio.wait_for(self._audible.wait(), _WITHIN)
        self._track.stop()
        await pc.close()
        await asyncio.gather(*waiting)
        assert self._heard is not None and self._track.taken is not None
        return self._heard - self._track.taken

    async def _listen(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                samples = (await track.recv()).to_ndarray().astype(np.float64) / 32768
                if self._heard is None and np.sqrt(np.mean(samples**2)) > _AUDIBLE:
                    self._heard = time.monotonic()
                    self._audible.set()
        except MediaStreamError:
            pass


async def _answer(url: str, offer: str) -> str:
    headers = {"Authorization": "Bearer sk-any", "Content-Type": "application/sdp"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/realtime/calls", data=offer, headers=headers) as response,
    ):
        response.raise_for_status()
        return await response.text()
