"""The far end of many calls, in a process of its own: bare aiortc that speaks, and notes what comes.

Each line of standard input is a question, answered by a line: an offer by an answer, ``arrivals`` by
(time, timestamp) of every packet of each call, in the order of the offers.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from benchmarks._processes import answer_lines
from rtnb.media import aiortc_hooks
from rtnb.media.tracks import FileTrack


class Far:
    """The far ends of all calls; each says a file again and again, as packets."""

    def __init__(self, path: str):
        self._path = path
        self._ends: list[RTCPeerConnection] = []
        self._arrivals: list[list[tuple[float, int]]] = []

    async def answer(self, question: dict[str, Any]) -> Any:
        """Answer one question."""
        if "offer" in question:
            return await self._take(question["offer"])
        return self._arrivals

    async def _take(self, offer: str) -> str:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        arrived: list[tuple[float, int]] = []
        self._ends.append(pc)
        self._arrivals.append(arrived)
        pc.addTrack(FileTrack(self._path, loop=True, encoded=True))
        pc.on("track", functools.partial(self._listen, pc, arrived))
        with aiortc_hooks.loopback_only():
            await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await pc.setLocalDescription(await pc.createAnswer())
        return pc.localDescription.sdp

    def _listen(
        self, pc: RTCPeerConnection, arrived: list[tuple[float, int]], track: MediaStreamTrack
    ) -> None:
        receiver = aiortc_hooks.receiver_of(pc, track)
        assert receiver is not None

        def note(packet: aiortc_hooks.RtpArrival) -> None:
            arrived.append((packet.time, packet.timestamp))

        aiortc_hooks.tap_receiver(receiver, note)

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(pc.close() for pc in self._ends))


async def serve(path: str) -> None:
    """Answer until nothing more is asked."""
    far = Far(path)
    await answer_lines(far.answer)
    await far.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
