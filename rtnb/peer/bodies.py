"""Reads a request's body: text, JSON, an offer, a form; it must not know what they are for."""

from __future__ import annotations

import asyncio
import re
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value
from typing import Final

from aiohttp import web

from rtnb.dialects import Json
from rtnb.peer.httperrors import ApiError
from rtnb.peer.wire import parsed

__all__ = ["LARGEST_BODY", "PATIENCE", "form_parts", "json_of", "offer_and_session", "offer_of"]

LARGEST_BODY: Final = 1024 * 1024  # bytes
PATIENCE: Final = web.AppKey("patience", float)  # seconds that a body may take

_MOST_PARTS: Final = 16
_LONGEST_HEAD: Final = 8_192  # bytes of headers of one part
_BOUNDARY: Final = re.compile(r"[\x20-\x7e]{0,69}[\x21-\x7e]")  # RFC 2046 section 5.1.1
_PLAIN: Final = {"", "7bit", "8bit", "binary"}


async def _bytes_of(request: web.Request) -> bytes:
    within = request.app[PATIENCE]
    try:
        async with asyncio.timeout(within):
            return await request.read()
    except TimeoutError:
        message = f"The body did not arrive within {within:g} s."
        raise ApiError(408, message, "request_timeout") from None
    except ConnectionError:
        raise ApiError(400, "The connection broke off.", "connection_lost") from None
    except web.RequestPayloadError:
        raise ApiError(400, "The body cannot be decoded.", "invalid_body") from None


async def _text_of(request: web.Request) -> str:
    return (await _bytes_of(request)).decode("utf-8", "replace")


def _need_type(request: web.Request, *wanted: str) -> None:
    if request.content_type not in wanted:
        given = request.headers.get("Content-Type", "none")[:100]
        message = f"Unsupported content type: {given!r}. This takes {' or '.join(wanted)} only."
        raise ApiError(415, message, "unsupported_content_type")


async def json_of(request: web.Request) -> Json:
    """Return the JSON object of a body; an empty one where there is no body.

    Raises
    ------
    ApiError
        It is of another type, no JSON object, or does not come in time.
    """
    text = await _text_of(request)
    if not text.strip():
        return {}
    _need_type(request, "application/json")
    return _object(text, "body")


async def offer_of(request: web.Request, *, of_any_type: bool = False) -> str:
    """Return a body that is nothing but an offer.

    Raises
    ------
    ApiError
        It is of another type than ``application/sdp``, or does not come in time.
    """
    if not of_any_type:
        _need_type(request, "application/sdp")
    return await _text_of(request)


async def offer_and_session(request: web.Request) -> tuple[str, Json | None]:
    """Return the offer and, if it is given, the session: of a form, or of a plain body.

    The parts of a form may be typed, named as files, or plain fields.

    Raises
    ------
    ApiError
        It is of another type, cannot be read, lacks the offer, or holds something else.
    """
    _need_type(request, "application/sdp", "multipart/form-data")
    if request.content_type == "application/sdp":
        return await _text_of(request), None
    header = Message()
    header["Content-Type"] = request.headers.get("Content-Type", "")
    boundary = header.get_boundary() or ""
    try:
        parts = form_parts(await _bytes_of(request), boundary)
    except ValueError as error:
        raise ApiError(400, f"The form cannot be read: {error}.", "invalid_form") from None
    fields: dict[str, str] = {}
    for name, value in parts:
        if name not in ("sdp", "session"):
            message = f"Unknown parameter: {name[:100]!r}."
            raise ApiError(400, message, "unknown_parameter", name[:100])
        if name in fields:
            raise ApiError(400, f"{name!r} is there twice.", "duplicate_parameter", name)
        fields[name] = value.decode("utf-8", "replace")
    if "sdp" not in fields:
        message = "Missing required parameter: 'sdp'."
        raise ApiError(400, message, "missing_required_parameter", "sdp")
    session = fields.get("session", "")
    return fields["sdp"], _object(session, "session") if session.strip() else None


def _object(text: str, param: str) -> Json:
    found = parsed(text)
    if found is None:
        raise ApiError(400, f"The {param} is not a JSON object.", "invalid_json", param)
    return found


def form_parts(body: bytes, boundary: str) -> list[tuple[str, bytes]]:
    """Return the parts of a form as (name, value), in their order (RFC 7578).

    Raises
    ------
    ValueError
        It is no whole form, a part has no name or is encoded, or there are too many.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("its boundary is missing or not permitted")
    line = rb"\r\n--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?=\r\n|\Z)"
    pieces = re.split(line, b"\r\n" + body, maxsplit=_MOST_PARTS + 1)
    ends, parts = pieces[1::2], pieces[2::2]
    if b"--" not in ends:
        raise ValueError(f"it does not end, or has more than {_MOST_PARTS} parts")
    return [_part(one) for one in parts[: ends.index(b"--")]]


def _part(piece: bytes) -> tuple[str, bytes]:
    head, found, value = piece.partition(b"\r\n\r\n")
    if not found or len(head) > _LONGEST_HEAD:
        raise ValueError("a part has no end of its headers")
    headers = BytesHeaderParser().parsebytes(head.removeprefix(b"\r\n") + b"\r\n\r\n")
    name = headers.get_param("name", header="content-disposition")
    encoding = str(headers.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding not in _PLAIN or "Content-Encoding" in headers:
        raise ValueError("a part is encoded, which forms need not be")
    if not name:
        raise ValueError("a part has no name")
    return collapse_rfc2231_value(name), value
