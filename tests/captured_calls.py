"""Calls to a peer of which both ends are kept: each packet the caller got, and the peer's journal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiohttp.test_utils import TestServer
from event_orders import CLIENT, SERVER
from peer_client import KEY, Caller, exchange, mint

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.peer.faults import Faults
from rtnb.peer.journal import CallJournal, Journal
from rtnb.peer.server import Setup, make_signaling
from rtnb.peer.signaling import Signaling

Json = dict[str, Any]
SENDS = "max-message-size:262144"  # as in aiortc's offers


class Captured(Caller):
    """A caller that keeps each packet beside its samples, and the events of both directions."""

    def __init__(self) -> None:
        self.packets: list[RtpArrival] = []
        self.log: list[tuple[str, Json]] = []
        super().__init__()

    def _arrived(self, message: str) -> None:
        super()._arrived(message)
        self.log.append((SERVER, self.events[-1]))

    def send(self, type: str, **fields: Any) -> None:
        """Send a client event."""
        super().send(type, **fields)
        self.log.append((CLIENT, {"type": type, **fields}))

    def _packet(self, packet: RtpArrival) -> None:
        self.packets.append(packet)
        super()._packet(packet)

    def say(self, text: str, **response: Any) -> None:
        """Send a text message and ask for a response."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        self.send("conversation.item.create", item=item)
        self.send("response.create", response=response)

    def sequences(self) -> list[int]:
        """Return the packets' sequence numbers in the order in which they came."""
        return [packet.sequence for packet in self.packets]

    def stream(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what was heard, and when the packet of each sample came."""
        times = np.concatenate([np.full(len(s), t) for t, s in self.heard])
        return self.audio(), times


@dataclass
class Lab:
    """A peer in this process."""

    url: str
    signaling: Signaling
    journal: Journal

    def record(self, caller: Caller) -> CallJournal:
        """Return what the peer wrote down of a call."""
        assert caller.location is not None
        return self.journal.of(caller.location.rsplit("/", 1)[1])


@contextlib.asynccontextmanager
async def lab(*faults: Faults, **setup: Any) -> AsyncIterator[Lab]:
    """Serve a peer in this process, whose calls go wrong in turn."""
    journal = Journal()
    signaling = make_signaling(Setup(faults=faults, **setup), journal=journal)
    async with TestServer(signaling.app(), host="127.0.0.1") as server:
        yield Lab(f"http://127.0.0.1:{server.port}/v1", signaling, journal)


@contextlib.asynccontextmanager
async def captured(
    url: str, *, session: Json | None = None, largest: int = 262_144
) -> AsyncIterator[Captured]:
    """Place a call; `largest` is the message size that the offer announces."""
    key = KEY if session is None else await mint(url, {"type": "realtime", **session})
    caller = Captured()
    try:
        offer = (await caller.offer()).replace(SENDS, f"max-message-size:{largest}")
        status, headers, answer = await exchange(url, offer, key=key)
        assert status == 201, answer
        caller.location = headers["Location"]
        await caller.accept(answer)
        yield caller
    finally:
        async with asyncio.timeout(5):
            await caller.pc.close()
