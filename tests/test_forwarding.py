"""What goes through a `Forwarder`, and how it ends, in front of a server of our own on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from rtnb.forwarding import Forwarder
from rtnb.tokenguard import Refused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """Serve everything with a handler, and give the origin."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def forwarded(
    behind: Handler, changed: dict[str, str | None] | None = None
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Serve a forwarder in front of that handler, and give a client and the forwarder's origin."""
    async with served(behind) as origin:
        forwarder = Forwarder(origin)
        await forwarder.start()

        async def pass_on(request: web.Request) -> web.StreamResponse:
            try:
                return await forwarder.forward(request, changed or {})
            except Refused as error:
                return web.Response(status=error.refusal.status, text=error.refusal.code)

        try:
            async with served(pass_on) as front, aiohttp.ClientSession() as client:
                async with asyncio.timeout(10):
                    yield client, front
        finally:
            await forwarder.close()


def test_a_request_arrives_as_it_was_but_for_its_connection() -> None:
    """Path and query as they came; hop-by-hop headers and those that are named stay behind."""
    came: list[web.Request] = []

    async def behind(request: web.Request) -> web.StreamResponse:
        came.append(request)
        text = await request.text()
        return web.Response(text=f"got {text}", headers={"Location": "/v1/x", "Keep-Alive": "9"})

    async def main() -> None:
        headers = {"X-Own": "1", "X-Hop": "2", "Connection": "x-hop", "Origin": "https://a.example"}
        async with forwarded(behind, {"origin": None, "X-New": "3"}) as (client, front):
            url = f"{front}/v1/a%2Fb?c=%20d"
            async with client.post(url, data="hi", headers=headers) as got:
                assert (await got.text(), got.headers["Location"]) == ("got hi", "/v1/x")
                assert "Keep-Alive" not in got.headers

    asyncio.run(main())
    assert came[0].rel_url.raw_path_qs == "/v1/a%2Fb?c=%20d"
    names = came[0].headers
    assert (names["X-Own"], names["X-New"]) == ("1", "3")
    assert "X-Hop" not in names and "Origin" not in names


def test_a_server_that_hangs_up_is_a_bad_gateway() -> None:
    """Before its answer, or within."""

    async def behind(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        if request.path == "/within":
            await answer.prepare(request)
            await answer.write(b"half")
        request.transport.close()
        return answer

    async def main() -> None:
        async with forwarded(behind) as (client, front):
            for path in ("/before", "/within"):
                async with client.get(front + path) as got:
                    assert (got.status, await got.text()) == (502, "peer_gone")

    asyncio.run(main())


@pytest.mark.parametrize(("ends", "code"), [(1000, 1000), (4001, 4001), (None, 1011)])
def test_a_socket_that_the_server_ends_is_ended(ends: int | None, code: int) -> None:
    """With the same code; with 1011 where the connection was cut."""

    async def behind(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str() + "!")
        await socket.send_bytes(await socket.receive_bytes())
        if ends is None:
            assert request.transport is not None
            request.transport.abort()
        else:
            await socket.close(code=ends)
        return socket

    async def main() -> None:
        async with forwarded(behind) as (client, front):
            async with client.ws_connect(f"{front}/v1/realtime") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello!"
                await socket.send_bytes(b"\x00\xff")
                assert await socket.receive_bytes() == b"\x00\xff"
                await socket.receive()
                assert socket.close_code == code

    asyncio.run(main())


def test_a_caller_that_leaves_is_told_to_the_server() -> None:
    """Its socket to the server ends too, even if the caller said nothing."""

    async def main() -> None:
        left = asyncio.Event()

        async def behind(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str("here")
            async for _ in socket:
                continue
            left.set()
            return socket

        async with forwarded(behind) as (client, front):
            for polite in (True, False):
                left.clear()
                socket = await client.ws_connect(front)
                assert await socket.receive_str() == "here"
                if polite:
                    await socket.close()
                else:
                    socket._response.connection.transport.abort()  # type: ignore[union-attr]
                await left.wait()

    asyncio.run(main())
