"""Bare aiortc callers in a process of their own: what rtnb's media process is compared with.

Each plays a file again and again, and drains what it hears, as aiortc's examples do: ``open`` is
answered by an offer, an answer by null, ``departures`` by (time, timestamp) of every packet of each
call, if the command line asked for them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack

from benchmarks._processes import answer_lines
from rtnb.media import aiortc_hooks


async def drain(track: MediaStreamTrack) -> None:
    """Receive until the track ends."""
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        pass


class Near:
    """The near ends of all calls.

    Parameters
    ----------
    path
        What they say; an empty one is silence, by aiortc's own track.
    watched
        Take note of departures.
    """

    def __init__(self, path: str, watched: bool):
        self._path = path
        self._watched = watched
        self._ends: list[tuple[RTCPeerConnection, RTCRtpSender]] = []
        self._kept: list[Any] = []
        self.departures: list[list[tuple[float, int]]] = []

    async def answer(self, question: dict[str, Any]) -> Any:
        """Answer one question."""
        if "open" in question:
            return await self.open()
        if "answer" in question:
            return await self.accept(question["answer"])
        return self.departures

    async def open(self) -> str:
        """Make a call and return its offer."""
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.on("track", lambda track: self._kept.append(asyncio.ensure_future(drain(track))))
        self._ends.append((pc, pc.addTrack(self._track())))
        pc.createDataChannel("oai-events")
        with aiortc_hooks.loopback_only():
            await pc.setLocalDescription(await pc.createOffer())
        return pc.localDescription.sdp

    def _track(self) -> MediaStreamTrack:
        if not self._path:
            return AudioStreamTrack()
        player = MediaPlayer(self._path, loop=True)
        self._kept.append(player)
        return player.audio

    async def accept(self, answer: str) -> None:
        """Take the answer to the last offer."""
        pc, sender = self._ends[-1]
        await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        departed: list[tuple[float, int]] = []
        self.departures.append(departed)

        def note(packet: aiortc_hooks.RtpDeparture) -> None:
            departed.append((packet.time, packet.timestamp))

        if self._watched:
            aiortc_hooks.watch_sender(sender, note)

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(*(pc.close() for pc, _ in self._ends))


async def serve(path: str, watched: bool) -> None:
    """Answer until nothing more is asked."""
    near = Near(path, watched)
    await answer_lines(near.answer)
    await near.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], "watched" in sys.argv[2:]))
