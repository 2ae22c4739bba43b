"""The sideband: a WebSocket beside a call's data channel; it must not know what an event means."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import WSMsgType, web

__all__ = ["Sideband"]

_log = logging.getLogger(__name__)

_LARGEST: Final = 1024 * 1024  # bytes of an event
_WAITING: Final = 2_000  # events that a slow reader may leave lying
_HEARTBEAT: Final = 30.0  # seconds
_MOST: Final = 16  # of one call


class _Call(Protocol):
    """What a sideband needs of a call."""

    id: str

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have each event sent from now on; returns how to stop."""

    def take(self, message: str | bytes) -> None:
        """Take a client's event."""


class Sideband:
    """The WebSockets of all calls."""

    def __init__(self) -> None:
        self._outgoing: dict[str, set[asyncio.Queue[str | None]]] = {}

    async def attach(self, request: web.Request, call: _Call) -> web.WebSocketResponse:
        """Serve one WebSocket until either side ends it, or the call does.

        Raises
        ------
        web.HTTPException
            It is no request for a WebSocket, or the call has too many.
        """
        queues = self._outgoing.setdefault(call.id, set())
        if len(queues) >= _MOST:
            raise web.HTTPTooManyRequests(reason=f"A call takes {_MOST} sidebands")
        queue: asyncio.Queue[str | None] = asyncio.Queue(_WAITING)
        queues.add(queue)
        stop = call.listen(lambda text: _put(queue, text))
        try:
            socket = web.WebSocketResponse(max_msg_size=_LARGEST, heartbeat=_HEARTBEAT)
            await socket.prepare(request)
            sending = asyncio.create_task(_send(socket, queue))
            try:
                await _receive(socket, call)
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sending
        finally:
            stop()
            queues.discard(queue)
            if not queues:
                self._outgoing.pop(call.id, None)
        return socket

    def ended(self, call_id: str) -> None:
        """Close what is attached to a call that is over, after what was still to be sent."""
        for queue in self._outgoing.get(call_id, set()):
            _put(queue, None)


def _put(queue: asyncio.Queue[str | None], text: str | None) -> None:
    if queue.full():  # nobody reads it: let it end
        while not queue.empty():
            queue.get_nowait()
        text = None
    queue.put_nowait(text)


async def _send(socket: web.WebSocketResponse, queue: asyncio.Queue[str | None]) -> None:
    try:
        while (text := await queue.get()) is not None:
            await socket.send_str(text)
        await socket.close(message=b"the call has ended")
    except ConnectionError:
        _log.info("a sideband broke off")


async def _receive(socket: web.WebSocketResponse, call: _Call) -> None:
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            call.take(message.data)
