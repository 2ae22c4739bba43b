"""`TokenServer`: the token endpoint and the page of ``rtnb serve``; it must not know aiortc."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final

from aiohttp import web

from rtnb import _html
from rtnb.callsetup import find_endpoint
from rtnb.endpoints import OPENAI_URL
from rtnb.errors import ConfigurationError, MissingKeyError
from rtnb.peer import guard
from rtnb.peer.handle import Peer
from rtnb.sessionview import properties
from rtnb.tokenguard import Guard, is_local
from rtnb.tokenpage import Target
from rtnb.tokenroutes import Routes, checked_name

__all__ = ["TokenServer"]

_PATIENCE: Final = 10.0  # seconds for a request's headers
_SHUTDOWN: Final = 0.5  # seconds for requests under way
_STARTED_WITHIN: Final = 10.0
_ENDED_WITHIN: Final = 5.0


class TokenServer:
    """A page to talk to a realtime model, and an endpoint that mints ephemeral keys for it.

    It serves ``GET /`` (the page), ``GET /session?voice=&model=`` (mints a key), ``GET /config``, and
    for a peer its base URL too, all on one port and from a thread of its own. The standard key stays
    here. It ends with this process, with `close`, or at the end of a ``with`` block.

    Parameters
    ----------
    target
        What to mint for: an `rtnb.Peer`, an `rtnb.Endpoint`, ``"openai"`` or a base URL. None starts
        a peer, which ends with the server.
    host
        Where to listen; this machine only, unless `public`.
    port
        0 takes a free one.
    model, voice
        Where a request names none; None leaves it to the service.
    api_key
        The standard key that mints. If None, as for `rtnb.connect`: the environment's
        ``OPENAI_API_KEY``, then Colab's secrets; none is sent to this machine itself.
    public
        Let other machines, or a proxy in front, ask too: then all but the page's own files needs the
        header ``Authorization: Bearer`` with the access token.
    access_token
        That token, of 16 characters or more; None makes one.
    allow_origins
        Of other pages that may ask, and of a proxy in front: ``["https://voice.example"]``.

    Raises
    ------
    ConfigurationError
        An argument cannot be used, or the address is taken.
    MissingKeyError
        There is no key to mint with.
    MediaProcessError
        The peer did not start.
    """

    def __init__(
        self,
        target: Any = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        model: str | None = None,
        voice: str | None = None,
        api_key: str | None = None,
        public: bool = False,
        access_token: str | None = None,
        allow_origins: Iterable[str] = (),
    ):
        self._guard = Guard(
            host, public=public, access_token=access_token, allow_origins=allow_origins
        )
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise ConfigurationError(f"A port is a whole number from 0 to 65535, not {port!r}.")
        checked_name("model", model)
        checked_name("voice", voice)
        own = target is None
        peer = Peer(key=api_key) if own else target
        try:
            self._target = _target(peer, api_key, model, voice)
            self._thread = _Thread(self._target, self._guard, port)
        except BaseException:
            if own:
                peer.close()
            raise
        self._finalizer = weakref.finalize(
            self, _close, self._thread, peer if own else None, os.getpid()
        )

    @property
    def url(self) -> str:
        """The page's address, such as ``http://127.0.0.1:8177/``; the access token is not in it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._guard.host, self._guard.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._thread.port}/"

    @property
    def token_url(self) -> str:
        """Where keys are minted: for ``rtnb.connect(token_url=…)`` and for pages."""
        return f"{self.url}session"

    @property
    def base_url(self) -> str:
        """Where calls go to: the peer behind this port, or the service itself."""
        if self._target.kind == "peer":
            return self.url.rstrip("/") + self._target.path
        return self._target.endpoint.base_url

    @property
    def access_token(self) -> str | None:
        """The access token, None where none is wanted. Keep it out of outputs."""
        return self._guard.access_token

    @property
    def warning(self) -> str | None:
        """What is unsafe about how it is served, in one sentence; None where nothing is."""
        if is_local(self._guard.host):
            return None
        return (
            "Plain HTTP goes over the network: the access token and keys can be read on the way, and "
            "browsers give no microphone to such a page; put a proxy with TLS in front."
        )

    @property
    def closed(self) -> bool:
        """Whether it serves no more."""
        return not self._thread.is_alive()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is closed, and return whether it is.

        Parameters
        ----------
        timeout
            Seconds.
        """
        return self._thread.wait(timeout)

    def close(self) -> None:
        """End the server, and the peer that it started. Harmless when repeated."""
        self._finalizer()

    def __enter__(self) -> TokenServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = {"peer": "a peer", "openai": "OpenAI"}.get(
            self._target.kind, self._target.endpoint.base_url
        )
        return f"<TokenServer {self.url} for {kind}{' (closed)' if self.closed else ''}>"

    def _repr_html_(self) -> str:
        state = _html.badge("closed" if self.closed else "running", "" if self.closed else "good")
        pairs = [
            ("page", self.url),
            ("token endpoint", self.token_url),
            ("base URL", self.base_url),
            ("who may ask", "with the access token" if self._guard.public else "this machine"),
            ("other origins", ", ".join(self._guard.origins) or None),
            ("note", self.warning),
        ]
        return _html.boxed(_html.head("TokenServer", state) + properties(pairs), repr(self))


def _target(target: Any, api_key: str | None, model: str | None, voice: str | None) -> Target:
    """Return what keys are minted for; a key that is missing is told now, not to a page."""
    named = None if target == "openai" else target
    endpoint = find_endpoint(named, api_key=api_key, base_url=None, needs_key=True)
    if endpoint.key is None and endpoint.shape.needs_key:
        raise MissingKeyError(
            f"The endpoint {endpoint.base_url} has no key to mint with; give api_key=."
        )
    kind = "peer" if isinstance(target, Peer) else "other"
    if endpoint.base_url == OPENAI_URL:
        kind = "openai"
    return Target(kind, endpoint, model, voice)


def _close(thread: _Thread, peer: Peer | None, owner: int) -> None:
    if os.getpid() != owner:  # a forked child has no such thread, and the peer is not its own
        return
    thread.close()
    if peer is not None:
        peer.close()


class _Thread:
    """An event loop of its own, in which the routes are served.

    Parameters
    ----------
    target
        What keys are minted for.
    who
        May ask, and where to listen.
    port
        0 takes a free one.

    Raises
    ------
    ConfigurationError
        The address cannot be listened on, or not in time.
    """

    def __init__(self, target: Target, who: Guard, port: int):
        self._target = target
        self._guard = who
        self._wanted = port
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self.port = port
        self._thread = threading.Thread(target=self._run, name="rtnb-serve", daemon=True)
        self._thread.start()
        try:
            if not self._started.wait(_STARTED_WITHIN):
                raise ConfigurationError(
                    f"The server on {who.host} did not start within {_STARTED_WITHIN:g} s; try again."
                )
        except BaseException:
            self.close()
            raise
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def is_alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def wait(self, timeout: float | None) -> bool:
        """Wait until it has ended, and return whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End it; returns when nothing is served any more."""
        if self._loop is not None and self._end is not None and self._thread.is_alive():
            try:
                self._loop.call_soon_threadsafe(self._end.set)
            except RuntimeError:  # it ends at this moment
                pass
        if threading.current_thread() is not self._thread:  # a collected server may be closed there
            self._thread.join(_ENDED_WITHIN)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = ConfigurationError(
                f"Port {self._wanted} of {self._guard.host} cannot be listened on "
                f"({error.strerror or type(error).__name__}); choose another port, or 0 for a free one."
            )
        except Exception as error:
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        routes = Routes(self._target, self._guard)
        runner = web.AppRunner(
            routes.app(guard.limits(_PATIENCE)),
            access_log=None,
            shutdown_timeout=_SHUTDOWN,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            async with guard.listening(runner, self._guard.host, self._wanted) as port:
                self.port = port
                self._started.set()
                await self._end.wait()
        finally:
            await runner.cleanup()
