"""Errors as the API words them, and which pages may call; it must not know routes."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from rtnb.peer.keys import KeyRefused
from rtnb.peer.settings import Problem

__all__ = ["ApiError", "middleware"]

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
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what handlers raise into error bodies, and let pages of this machine call."""
    origin = request.headers.get("Origin", "")
    local = _LOCAL_PAGE.fullmatch(origin) is not None
    if request.method == "OPTIONS" and local:
        response: web.StreamResponse = web.Response(status=204)
    else:
        response = await _answer(request, handler)
    if local:
        response.headers.update(_permissions(request, origin))
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return _body(error.status, error.message, error.code, error.param)
    except Problem as error:
        return _body(400, error.message, error.code, error.param)
    except KeyRefused as error:
        return _body(error.status, error.message, error.code)
    except web.HTTPException as error:
        message = f"{error.reason} ({request.method} {request.path})"
        return _body(error.status, message)
    except Exception:
        _log.exception("a request failed: %s %s", request.method, request.path)
        return _body(500, "The peer failed; its log says why.", kind="server_error")


def _body(
    status: int,
    message: str,
    code: str | None = None,
    param: str | None = None,
    kind: str | None = None,
) -> web.Response:
    if kind is None:
        # OpenAI's 429 bodies carry the code as their type
        kind = code if status == 429 and code else "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return web.json_response({"error": error}, status=status)


def _permissions(request: web.Request, origin: str) -> dict[str, str]:
    asked = request.headers.get("Access-Control-Request-Headers", "Authorization, Content-Type")
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Expose-Headers": "Location",
        "Vary": "Origin",
    }
