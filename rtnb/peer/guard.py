"""Bounds on what HTTP clients can take from a peer; it must not know routes or calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import http_exceptions, web

__all__ = ["CONNECTIONS", "limits", "listening"]

CONNECTIONS: Final = 256

_LINGERING: Final = 2.0  # seconds at most in which the rest of a refused body is read
_UNTIL_READ: Final = 0.2  # seconds from a refusal to the end of its connection


class _Quiet(logging.Filter):
    """Leaves the traceback out where it was the client's mistake."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, http_exceptions.HttpProcessingError | web.RequestPayloadError):
            record.exc_info = None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args = "no HTTP that can be read (%s)", (type(error).__name__,)
        return True


def limits(headers_within: float) -> dict[str, Any]:
    """Return what bounds each connection of a `web.Application` (its ``handler_args``).

    Parameters
    ----------
    headers_within
        Seconds in which a request's headers must be there, from the connection's beginning or the
        answer before; an idle connection ends then too.
    """
    logger = logging.getLogger(f"{__name__}.http")
    if not logger.filters:
        logger.addFilter(_Quiet())
    return {
        "keepalive_timeout": headers_within,
        "lingering_time": min(_LINGERING, headers_within),
        "logger": logger,
    }


@contextlib.asynccontextmanager
async def listening(
    runner: web.AppRunner, host: str, port: int, *, connections: int = CONNECTIONS
) -> AsyncIterator[int]:
    """Serve a runner that has been set up, and give the port; whoever is too many gets 503.

    Afterwards nobody can connect any more; those who are connected stay until the runner ends.

    Parameters
    ----------
    runner
        What is served.
    host, port
        Where to listen; port 0 takes a free one.
    connections
        How many there may be at a time.

    Raises
    ------
    OSError
        The address cannot be used.
    """
    server = runner.server
    assert server is not None, "the runner is not set up"

    def protocol() -> asyncio.Protocol:
        return server() if len(server.connections) < connections else _Refusal()

    listener = await asyncio.get_running_loop().create_server(protocol, host, port)
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()


class _Refusal(asyncio.Protocol):
    """Answers 503 to whatever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        message = "Too many connections; close some, or try again later."
        error = {"message": message, "type": "server_error", "param": None, "code": None}
        body = json.dumps({"error": error}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        # at once would reset the connection, and the client might not see the answer
        asyncio.get_running_loop().call_later(_UNTIL_READ, transport.close)
