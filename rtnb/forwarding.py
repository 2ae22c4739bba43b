"""Passes HTTP requests on to a peer on this machine; it must not know what is in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from rtnb.tokenguard import Refusal, Refused

__all__ = ["LARGEST_BODY", "Forwarder"]

LARGEST_BODY: Final = 1024 * 1024  # bytes of a request, as the peer takes them

_LARGEST_EVENT: Final = 1024 * 1024  # bytes of a message to the peer, as it takes them
_LARGEST_ANSWER: Final = 16 * 1024 * 1024  # bytes of a message from it
_HEARTBEAT: Final = 30.0  # seconds
_PATIENCE: Final = 10.0  # seconds for a request's body, as the peer has
_CONNECTED_WITHIN: Final = 5.0  # seconds

# close codes that say what happened, and are never sent (RFC 6455 section 7.4.1)
_UNSENT: Final = {1005: 1000, 1006: 1011, 1015: 1011}

# of one connection each (RFC 9110 section 7.6.1), or written anew
_NOT_PASSED_ON: Final = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade host content-length content-encoding accept-encoding expect".split()
)
_OF_A_SOCKET: Final = "sec-websocket-"


class Forwarder:
    """Passes requests on, with their path as it is, and WebSockets too.

    Parameters
    ----------
    origin
        Of the peer, such as ``http://127.0.0.1:49152``.
    """

    def __init__(self, origin: str):
        self._origin = origin
        self._client: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Get ready, on the event loop that will serve."""
        self._client = aiohttp.ClientSession(
            # a connection for each request: a kept one might be closing when a POST is sent on it
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECTED_WITHIN),
        )

    async def close(self) -> None:
        """End what is open."""
        if self._client is not None:
            await self._client.close()

    async def forward(
        self, request: web.Request, changed: Mapping[str, str | None]
    ) -> web.StreamResponse:
        """Return the peer's answer to a request.

        Parameters
        ----------
        request
            What came.
        changed
            Headers to send instead of those that came; None sends none of that name.

        Raises
        ------
        Refused
            The request could not be read, or there is no peer any more.
        """
        headers = _passed_on(request.headers, changed)
        url = URL(f"{self._origin}{request.rel_url.raw_path_qs}", encoded=True)
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._join(request, url, headers)
            return await self._ask(request, url, headers)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            raise Refused(
                Refusal(
                    502, "peer_gone", "The peer behind this server does not answer; is it closed?"
                )
            ) from None

    async def _ask(
        self, request: web.Request, url: URL, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        assert self._client is not None
        body = await _body_of(request)
        async with self._client.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            # a peer's answers are small: what it has begun to say, it can finish
            said = await answer.read()
            passed_on = _passed_on(answer.headers, {})
            return web.Response(
                status=answer.status, reason=answer.reason, headers=passed_on, body=said
            )

    async def _join(
        self, request: web.Request, url: URL, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        assert self._client is not None
        try:
            peer = await self._client.ws_connect(
                url, headers=headers, heartbeat=_HEARTBEAT, max_msg_size=_LARGEST_ANSWER
            )
        except aiohttp.WSServerHandshakeError:
            return await self._ask(request, url, headers)  # for the words of the refusal
        async with peer:
            caller = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_LARGEST_EVENT)
            await caller.prepare(request)
            ways = [
                asyncio.create_task(_copy(caller, peer)),
                asyncio.create_task(_copy(peer, caller)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                code = peer.close_code or caller.close_code or 1000
                await caller.close(code=_UNSENT.get(code, code))
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        return caller


async def _body_of(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await request.read()
    except TimeoutError:
        message = f"The body did not arrive within {_PATIENCE:g} s."
        raise Refused(Refusal(408, "request_timeout", message)) from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refused(Refusal(400, "invalid_body", "The body cannot be read.")) from None


def _passed_on(given: Mapping[str, str], changed: Mapping[str, str | None]) -> CIMultiDict[str]:
    """Return the headers that go on: not those of this one connection."""
    listed = {name.strip().lower() for name in given.get("Connection", "").split(",")}
    left_out = _NOT_PASSED_ON | listed | {name.lower() for name in changed}
    out = CIMultiDict(
        (name, value)
        for name, value in given.items()
        if name.lower() not in left_out and not name.lower().startswith(_OF_A_SOCKET)
    )
    out.extend({name: value for name, value in changed.items() if value is not None})
    return out


async def _copy(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    """Pass messages on until one side ends."""
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        async for message in source:
            if message.type is WSMsgType.TEXT:
                await sink.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await sink.send_bytes(message.data)
