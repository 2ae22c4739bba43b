"""A bare aiortc caller for the tests of the peer: it dials, plays, listens, and keeps all events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from rtnb._audiofile import to_s16
from rtnb.audio import Clip
from rtnb.media import aiortc_hooks
from rtnb.media.opus import Decoder, encode
from rtnb.media.tracks import Playing, PromptTrack
from rtnb.peer import repertoire

KEY = "sk-test-0123456789abcdef"
WITHIN = 15.0

Json = dict[str, Any]


def prompt_clip(name: str) -> Clip:
    """Return a bundled prompt."""
    return Clip.read(next(p.path for p in repertoire.prompts() if p.name == name))


def prompt_pcm(name: str, *, before: float = 0.0, after: float = 0.0) -> np.ndarray:
    """Return a bundled prompt between silences, s16 at 48,000 Hz."""
    clip = Clip.silence(before) + prompt_clip(name).resample(48_000) + Clip.silence(after)
    return to_s16(clip.samples)


def through_opus(samples: np.ndarray) -> np.ndarray:
    """Return samples as they sound after a call."""
    decoder = Decoder()
    return np.concatenate([decoder.decode(p) for p in encode(samples.tobytes())])


class Caller:
    """One call: `events` holds what came, `heard` the packets of audio as (time, samples)."""

    def __init__(self, *, encoded: bool = True, video: bool = False) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.track = PromptTrack(encoded=encoded)
        self.sender = self.pc.addTrack(self.track)
        if video:
            self.pc.addTransceiver("video", direction="sendrecv")
        self.channel = self.pc.createDataChannel("oai-events")
        self.channel.on("message", self._arrived)
        self.events: list[Json] = []
        self.times: list[float] = []
        self.heard: list[tuple[float, np.ndarray]] = []
        self.location: str | None = None
        self._news = asyncio.Event()
        self._read = 0
        self._decoder = Decoder()
        aiortc_hooks.tap_receiver(self.pc.getReceivers()[0], self._packet)

    def _arrived(self, message: str) -> None:
        self.events.append(json.loads(message))
        self.times.append(asyncio.get_running_loop().time())
        self._news.set()

    def _packet(self, packet: aiortc_hooks.RtpArrival) -> None:
        samples = self._decoder.decode(packet.payload)
        if samples is not None:
            self.heard.append((packet.time, samples))

    async def offer(self) -> str:
        """Return the offer, with 127.0.0.1 as its only address."""
        with aiortc_hooks.loopback_only():
            await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Take the answer."""
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def send(self, type: str, **fields: Any) -> None:
        """Send a client event."""
        self.channel.send(json.dumps({"type": type, **fields}))

    def play(self, clip: Clip) -> Playing:
        """Speak a clip."""
        return self.track.play(clip)

    async def until(self, type: str) -> Json:
        """Return the next event of this type, in the order in which events came."""
        async with asyncio.timeout(WITHIN):
            while True:
                while self._read < len(self.events):
                    self._read += 1
                    if self.events[self._read - 1]["type"] == type:
                        return self.events[self._read - 1]
                self._news.clear()
                await self._news.wait()

    def time_of(self, event: Json) -> float:
        """Return when an event came, in seconds of the loop."""
        return self.times[self.events.index(event)]

    def types(self) -> list[str]:
        """Return the types of all events so far."""
        return [event["type"] for event in self.events]

    def audio(self) -> np.ndarray:
        """Return all that was heard so far."""
        return np.concatenate([samples for _, samples in self.heard])

    def loud_times(self, above: int = 300) -> list[float]:
        """Return when each packet came in which something is to be heard."""
        return [time for time, samples in self.heard if np.abs(samples.astype(int)).max() > above]


async def post(url: str, *, key: str | None = KEY, **request: Any) -> tuple[int, Json, str]:
    """Return (status, headers, text) of a POST."""
    headers = request.pop("headers", {})
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, headers=headers, **request) as response,
    ):
        return response.status, dict(response.headers), await response.text()


async def exchange(url: str, offer: str, *, key: str = KEY, path: str = "realtime/calls"):
    return await post(
        f"{url}/{path}", key=key, data=offer, headers={"Content-Type": "application/sdp"}
    )


async def mint(url: str, session: Json, *, key: str = KEY) -> str:
    status, _, text = await post(
        f"{url}/realtime/client_secrets", key=key, json={"session": session}
    )
    assert status == 200, text
    return json.loads(text)["value"]


@contextlib.asynccontextmanager
async def calling(
    url: str,
    *,
    session: Json | None = None,
    path: str = "realtime/calls",
    codec: str = "audio/opus",
    video: bool = False,
    rewrite: tuple[str, str] = ("", ""),
) -> AsyncIterator[Caller]:
    """Place a call as the API describes it: mint a key, post the offer, take the answer.

    `rewrite` changes a text in the offer's candidates on its way.
    """
    key = await mint(url, {"type": "realtime", **(session or {})})
    caller = Caller(encoded=codec == "audio/opus", video=video)
    try:
        known = RTCRtpSender.getCapabilities("audio").codecs
        chosen = [c for c in known if c.mimeType.lower() == codec.lower()]
        caller.pc.getTransceivers()[0].setCodecPreferences(chosen)
        offer = _rewritten(await caller.offer(), *rewrite)
        status, headers, text = await exchange(url, offer, key=key, path=path)
        assert status == 201, text
        caller.location = headers.get("Location")
        await caller.accept(text)
        await caller.until("session.created")
        yield caller
    finally:
        async with asyncio.timeout(5):
            await caller.pc.close()


def _rewritten(offer: str, old: str, new: str) -> str:
    lines = offer.splitlines(keepends=True)
    return "".join(x.replace(old, new) if old and "candidate:" in x else x for x in lines)
