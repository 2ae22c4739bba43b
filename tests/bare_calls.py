"""Real WebRTC without rtnb's calls: two bare aiortc ends, and answerers behind a signalling server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from rtnb.media.aiortc_hooks import loopback_only


def bare_connection() -> RTCPeerConnection:
    """Return a peer connection without any STUN server."""
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


@contextlib.asynccontextmanager
async def one_way_call(
    track: MediaStreamTrack, on_track: Callable[[RTCPeerConnection, MediaStreamTrack], None]
) -> AsyncIterator[RTCPeerConnection]:
    """Send a track from one bare aiortc connection to another, which is yielded connected."""
    caller, callee = bare_connection(), bare_connection()
    caller.addTrack(track)
    callee.on("track", lambda remote: on_track(callee, remote))
    with loopback_only():
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)
    try:
        yield callee
    finally:
        await caller.close()
        await callee.close()


async def end_of(track: MediaStreamTrack) -> None:
    """Wait until a track has ended."""
    ended = asyncio.Event()
    track.on("ended", ended.set)
    if track.readyState == "live":
        await ended.wait()


class LoopThread:
    """An event loop in a thread, for the far side of a call."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def close(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextlib.contextmanager
def signalling(
    answer: Callable[[str], Awaitable[str]],
    close: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Iterator[str]:
    """Serve minting and SDP exchange on loopback, answering offers with `answer`; yield its URL."""
    far = LoopThread()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.endswith("client_secrets"):
                self._reply(200, "application/json", json.dumps({"value": "ek_for_tests_only"}))
            elif self.path.endswith("hangup"):
                self._reply(404, "application/json", "{}")
            else:
                self._reply(201, "application/sdp", far.run(answer(body.decode())))

        def _reply(self, status: int, kind: str, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if close is not None:
            far.run(close())
        far.close()


async def answer_offer(pc: RTCPeerConnection, offer: str) -> str:
    """Let a bare aiortc connection answer an offer, on loopback candidates."""
    with loopback_only():
        await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
    return str(pc.localDescription.sdp)


def lag(reference: np.ndarray, captured: np.ndarray, at: int, *, reach: int = 2000) -> int:
    """Return by how many samples `captured` lags `reference` around sample `at`."""
    count = 9600
    piece = reference[at : at + count].astype(float)
    first = max(at - reach, 0)
    window = captured[first : at + count + reach].astype(float)
    products = np.correlate(window, piece, "valid")
    energy = np.cumsum(np.concatenate([[0.0], window**2]))
    norms = np.sqrt(energy[count:] - energy[:-count] + 1e-9)
    return int(np.argmax(products / norms)) + first - at
