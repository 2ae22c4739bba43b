"""The peer's routes, served in the process of a test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp.test_utils import TestServer
from peer_client import Caller

from rtnb.peer.server import Setup, make_signaling
from rtnb.peer.signaling import Signaling


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@contextlib.asynccontextmanager
async def served(
    clock: Callable[[], float] | None = None, **setup: Any
) -> AsyncIterator[tuple[str, Signaling]]:
    """Serve the routes on a free port of 127.0.0.1; gives the base URL and their `Signaling`."""
    signaling = make_signaling(Setup(**setup), clock=clock or Clock())
    root = "/openai/v1" if setup.get("mode") == "azure" else "/v1"
    async with TestServer(signaling.app(), host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}{root}", signaling


def serving(
    test: Callable[[str], Awaitable[None]],
    *,
    clock: Callable[[], float] | None = None,
    **setup: Any,
) -> None:
    """Run a test of the routes, which needs their base URL only."""

    async def main() -> None:
        async with served(clock, **setup) as (url, _):
            await test(url)

    asyncio.run(main())


async def an_offer() -> str:
    """Return an offer of aiortc, whose sender is gone."""
    caller = Caller()
    offer = await caller.offer()
    await caller.pc.close()
    return offer


def error_of(text: str) -> dict[str, Any]:
    """Return the error of a body, which must have all four keys and no trace of the peer's code."""
    error: dict[str, Any] = json.loads(text)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in text and ".py" not in text
    return error
