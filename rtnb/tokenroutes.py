"""What a token server answers: its page, its settings, keys; it must not know threads or sockets."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from aiohttp import web

from rtnb._masking import mask
from rtnb.dialects import Json
from rtnb.errors import ConfigurationError, RtnbError, SignalingError
from rtnb.forwarding import LARGEST_BODY, Forwarder
from rtnb.signaling import DEFAULT_MODEL, EphemeralKey
from rtnb.tokenguard import Guard, Limiter, Refusal, Refused
from rtnb.tokenpage import HEADERS, Target, page_files, page_headers, settings

__all__ = ["Routes", "checked_name"]

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_LONGEST: Final = 600  # characters of a message
_MINTED_WITHIN: Final = 20.0  # seconds
_AT_ONCE: Final = 8  # keys that are being minted
_SHORTEST_WITHIN: Final = 8  # characters of a standard key that is looked for within another
_PRIVATE_NETWORK: Final = "Access-Control-Request-Private-Network"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class Routes:
    """The routes of one token server.

    Parameters
    ----------
    target
        What keys are minted for.
    guard
        Who may ask.
    limiter
        How often keys may be asked for.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        target: Target,
        guard: Guard,
        limiter: Limiter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._target = target
        self._guard = guard
        self._limiter = limiter or Limiter()
        self._clock = clock
        self._minting = asyncio.Semaphore(_AT_ONCE)
        self._forwarder = Forwarder(target.origin) if target.kind == "peer" else None
        self._page_headers = page_headers(target)
        self._files = page_files()

    def app(self, limits: Mapping[str, Any]) -> web.Application:
        """Return the application to serve.

        Parameters
        ----------
        limits
            Its ``handler_args``.
        """
        app = web.Application(
            middlewares=[self._answered], client_max_size=LARGEST_BODY, handler_args=dict(limits)
        )
        app.router.add_get("/session", self._session, allow_head=False)
        app.router.add_get("/config", self._config, allow_head=False)
        for path in self._files:
            app.router.add_get(path, self._file)
        if self._forwarder is not None:
            app.router.add_route("*", f"{self._target.path}/{{rest:.*}}", self._forward)
            app.on_startup.append(self._start)
            app.on_shutdown.append(self._stop)
        return app

    async def _start(self, _app: web.Application) -> None:
        assert self._forwarder is not None
        await self._forwarder.start()

    async def _stop(self, _app: web.Application) -> None:
        assert self._forwarder is not None
        await self._forwarder.close()

    # --- every request ----------------------------------------------------------------------------

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check a request, answer it, and turn what is raised into error bodies."""
        host = request.headers.get("Host", "")
        own = False
        try:
            _raise(self._guard.wrong_host(request.headers.get("Host")))
            own = self._guard.is_own(request.headers.get("Origin"), host)
            self._check(request, host, own)
            if request.method == "OPTIONS" and own:
                answer: web.StreamResponse = web.Response(status=204)
            else:
                answer = await handler(request)
        except Refused as error:
            answer = _refused(request, error.refusal)
        except web.HTTPException as error:
            message = f"{error.reason} ({request.method} {request.rel_url.raw_path})"
            answer = _refused(request, Refusal(error.status, None, message))
            answer.headers.update({k: v for k, v in error.headers.items() if k == "Allow"})
        except Exception:
            _log.error("a request failed: %s", mask(traceback.format_exc()))
            answer = _refused(request, Refusal(500, None, "This server failed; its log says why."))
        if not answer.prepared:
            for name, value in HEADERS.items():
                answer.headers.setdefault(name, value)
            if own:
                answer.headers.update(_permissions(request))
        return answer

    def _check(self, request: web.Request, host: str, own: bool) -> None:
        guard, headers = self._guard, request.headers
        if request.path in self._files and request.method in ("GET", "HEAD"):
            if "Origin" in headers:
                _raise(guard.wrong_page(headers, host))
            return  # a link to the page may be anywhere, and it holds nothing
        _raise(guard.wrong_proxy(headers))
        forwarded = self._forwarder is not None and request.path.startswith(self._target.path + "/")
        if not forwarded or guard.public:
            _raise(guard.wrong_page(headers, host))  # a peer says itself which pages it answers
        if guard.public and not forwarded and not (request.method == "OPTIONS" and own):
            _raise(guard.wrong_token(headers.get("Authorization")))

    # --- the page ---------------------------------------------------------------------------------

    async def _file(self, request: web.Request) -> web.Response:
        kind, body = self._files[request.path]
        answer = web.Response(body=body, content_type=kind, charset="utf-8" if body else None)
        answer.headers.update(self._page_headers)
        return answer

    async def _config(self, _request: web.Request) -> web.Response:
        return web.json_response(settings(self._target))

    # --- keys -------------------------------------------------------------------------------------

    async def _session(self, request: web.Request) -> web.Response:
        target = self._target
        model = _asked(request, "model") or target.model or target.endpoint.default_model
        voice = _asked(request, "voice") or target.voice
        wait = self._limiter.take(request.remote, self._clock())
        if wait > 0:
            message = f"Keys were asked for too often; try again in {math.ceil(wait)} s."
            raise Refused(Refusal(429, "rate_limit_exceeded", message, retry_after=wait))
        key = await self._minted(model, voice)
        value = key.reveal()
        expires_at = None if key.expires_at is None else int(key.expires_at)
        base = target.endpoint.base_url
        if target.kind == "peer":
            base = self._guard.origin_of(request.headers["Host"]) + target.path
        answer = {
            "value": value,
            "expires_at": expires_at,
            "session": _session_object(model, voice),
            "client_secret": {"value": value, "expires_at": expires_at},
            "base_url": base,
        }
        return web.json_response(answer)

    async def _minted(self, model: str | None, voice: str | None) -> EphemeralKey:
        endpoint = self._target.endpoint
        if endpoint.shape.mint_path is None:
            message = "The server behind this one mints no keys."
            raise Refused(Refusal(501, "not_implemented", message))
        try:
            async with self._minting:
                key = await _in_a_thread(
                    lambda: endpoint.mint(model=model, voice=voice, timeout=_MINTED_WITHIN)
                )
        except SignalingError as error:
            upstream = error.status if error.status is not None and error.status >= 400 else 502
            code = error.code or ("unreachable" if error.status is None else None)
            raise Refused(Refusal(upstream, code, str(error))) from None
        except ConfigurationError as error:
            raise Refused(Refusal(400, "invalid_request", str(error))) from None
        except RtnbError as error:
            raise Refused(Refusal(502, None, str(error))) from None
        if self._is_standard(key.reveal()):
            message = "The server above gave a standard key instead of an ephemeral one."
            raise Refused(Refusal(502, "no_ephemeral_key", message))
        return key

    def _is_standard(self, value: str) -> bool:
        own = self._target.endpoint.key
        standard = "" if own is None else own.reveal()
        # within another text only where it is long enough to be no chance: some are called "local"
        held = len(standard) >= _SHORTEST_WITHIN and standard in value
        return value.lstrip().startswith("sk-") or value == standard or held

    # --- the peer ---------------------------------------------------------------------------------

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._forwarder is not None
        changed: dict[str, str | None] = {}
        if self._guard.is_own(request.headers.get("Origin"), request.headers["Host"]):
            changed["Origin"] = None  # it would not know the name that this server goes by
        if self._guard.public:
            changed |= self._credentials(request)
        return await self._forwarder.forward(request, changed)

    def _credentials(self, request: web.Request) -> dict[str, str | None]:
        """Return the key to send in place of the access token; a minted key stays as it is."""
        given = request.headers.get("Authorization") or f"Bearer {request.headers.get('api-key')}"
        refusal = self._guard.wrong_token(given)
        if refusal is None:
            key = self._target.endpoint.key
            own = None if key is None else f"Bearer {key.reveal()}"
            return {"Authorization": own, "api-key": None}
        minting = self._target.endpoint.shape.mint_path is not None  # others may take any key
        if minting and given.lower().startswith("bearer ek_"):  # the peer knows which it has minted
            return {"Authorization": given, "api-key": None}
        raise Refused(refusal)


# --- parts of answers -----------------------------------------------------------------------------


def checked_name(argument: str, value: Any) -> str | None:
    """Return a voice's or a model's name; None stays None.

    Raises
    ------
    ConfigurationError
        It cannot be one.
    """
    if value is not None and (not isinstance(value, str) or not _NAME.fullmatch(value)):
        raise ConfigurationError(
            f"{argument}= is a name of up to 64 letters, digits and . _ : -, such as "
            f"{'marin' if argument == 'voice' else DEFAULT_MODEL!r}."
        )
    return value


def _asked(request: web.Request, name: str) -> str | None:
    try:
        return checked_name(name, request.query.get(name) or None)
    except ConfigurationError:
        message = f"Invalid '{name}': a name has up to 64 letters, digits and . _ : -."
        raise Refused(Refusal(400, "invalid_value", message, name)) from None


def _session_object(model: str | None, voice: str | None) -> Json:
    session: Json = {"type": "realtime"}
    if model:
        session["model"] = model
    if voice:
        session["audio"] = {"output": {"voice": voice}}
    return session


def _raise(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise Refused(refusal)


def _refused(request: web.Request, refusal: Refusal) -> web.Response:
    path = mask(request.rel_url.raw_path)[:200]  # as it came, without query: no line ends, no names
    _log.info("%s %s is refused: %d %s", request.method, path, refusal.status, refusal.code or "")
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    if refusal.status == 429 and refusal.code:
        kind = refusal.code
    error = {
        "message": mask(refusal.message)[:_LONGEST],
        "type": kind,
        "param": refusal.param,
        "code": refusal.code,
    }
    answer = web.json_response({"error": error}, status=refusal.status)
    if refusal.retry_after is not None:
        answer.headers["Retry-After"] = str(math.ceil(refusal.retry_after))
    if refusal.status == 401 and refusal.code == "access_token_needed":
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _permissions(request: web.Request) -> dict[str, str]:
    """Return the headers that let the page which asked read the answer."""
    out = {
        "Access-Control-Allow-Origin": request.headers["Origin"],
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Expose-Headers": "Location, Retry-After",
        "Vary": "Origin",
    }
    if request.headers.get(_PRIVATE_NETWORK) == "true":
        out["Access-Control-Allow-Private-Network"] = "true"
    return out


async def _in_a_thread(run: Callable[[], T]) -> T:
    """Run what blocks; nobody waits for it when the server ends, or the interpreter."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def work() -> None:
        value, failed = None, None
        try:
            value = run()
        except Exception as error:
            failed = error
        try:
            loop.call_soon_threadsafe(settle, value, failed)
        except RuntimeError:  # the loop has ended meanwhile
            return

    threading.Thread(target=work, name="rtnb-mint", daemon=True).start()
    return await future
