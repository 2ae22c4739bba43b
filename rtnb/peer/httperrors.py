"""Errors as the API words them, and which pages may call; it must not know routes."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from rtnb.peer.keys import KeyRefused
from rtnb.peer.settings import Problem

__all__ = ["ApiError", "middleware", "wanted_error"]

_log = logging.getLogger(__name__)

_LOCAL_PAGE: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An error answer.

    Parameters
    ----------
    status
        HTTP status.
    message, code, param
        As in the body's ``error`` object.
    headers
        Of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})


_ON_REQUEST: Final = {
    401: ("invalid_api_key", "Incorrect API key provided: ***."),
    403: ("unsupported_country_region_territory", "Country, region, or territory not supported."),
    404: ("model_not_found", "The model does not exist or you do not have access to it."),
    429: ("rate_limit_exceeded", "Rate limit reached for requests. Try again later."),
    500: (None, "The server had an error while processing your request. Sorry about that!"),
    503: (None, "The server is overloaded or not ready yet. Try again later."),
}


def wanted_error(status: int) -> ApiError:
    """Return the answer of a server that goes wrong on request, with this HTTP status."""
    other = (None, f"The peer was asked to answer with status {status}.")
    code, message = _ON_REQUEST.get(status, other)
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    return ApiError(status, message, code, headers=headers)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what handlers raise into error bodies, and let pages of this machine call."""
    origin = request.headers.get("Origin")
    local = origin is not None and _LOCAL_PAGE.fullmatch(origin) is not None
    if origin is not None and not local:
        # a browser sends simple requests without asking first, and opens a WebSocket for anybody
        message = "Only pages of this machine (localhost, 127.0.0.1) may call this peer."
        _note(request, 403, "origin_not_allowed")
        return _body(403, message, "origin_not_allowed")
    if request.method == "OPTIONS" and local:
        response: web.StreamResponse = web.Response(status=204)
    else:
        response = await _answer(request, handler)
    if origin is not None:
        response.headers.update(_permissions(request, origin))
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        _note(request, error.status, error.code)
        answer = _body(error.status, error.message, error.code, error.param)
        answer.headers.update(error.headers)
        return answer
    except Problem as error:
        _note(request, 400, error.code)
        return _body(400, error.message, error.code, error.param)
    except KeyRefused as error:
        _note(request, error.status, error.code)
        return _body(error.status, error.message, error.code)
    except web.HTTPException as error:
        _note(request, error.status, None)
        message = f"{error.reason} ({request.method} {request.path})"
        answer = _body(error.status, message)
        answer.headers.update({k: v for k, v in error.headers.items() if k == "Allow"})
        return answer
    except Exception:
        _log.exception("a request failed: %s %s", request.method, request.rel_url.raw_path[:200])
        return _body(500, "The peer failed; its log says why.")


def _note(request: web.Request, status: int, code: str | None) -> None:
    path = request.rel_url.raw_path[:200]  # as it came: no line ends
    # callers end the connection first and hang up then: nothing is wrong with that
    over = code == "call_not_found" and path.endswith("/hangup")
    level = logging.DEBUG if over else logging.INFO
    _log.log(level, "%s %s is refused: %d %s", request.method, path, status, code or "")


def _body(
    status: int,
    message: str,
    code: str | None = None,
    param: str | None = None,
) -> web.Response:
    kind: str | None = "server_error" if status >= 500 else "invalid_request_error"
    if status == 429 and code:
        kind = code  # as OpenAI's 429 bodies do
    error = {"message": message, "type": kind, "param": param, "code": code}
    return web.json_response({"error": error}, status=status)


def _permissions(request: web.Request, origin: str) -> dict[str, str]:
    asked = request.headers.get("Access-Control-Request-Headers", "Authorization, Content-Type")
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Expose-Headers": "Location",
        "Vary": "Origin",
    }
