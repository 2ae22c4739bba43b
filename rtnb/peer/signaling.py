"""The HTTP side: minting keys, exchanging SDP, hanging up; it must not know events or audio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from aiohttp import web

from rtnb.dialects import BETA, GA, Dialect, Json
from rtnb.peer.call import Call, InvalidOffer
from rtnb.peer.httperrors import ApiError, middleware
from rtnb.peer.keys import Grant, Keys
from rtnb.peer.outputs import new_id
from rtnb.peer.settings import BETA_TEMPERATURE, changed, default_session, known_model
from rtnb.peer.wire import parsed

__all__ = ["Signaling"]

_LARGEST_BODY: Final = 1024 * 1024
_SHORTEST, _LONGEST, _USUAL = 10, 7200, 600  # seconds that an ephemeral key may live
_BETA_LIFETIME: Final = 60
_CLOSE_WITHIN: Final = 3.0  # seconds for all calls together
_NOT_AN_OFFER: Final = "Invalid SDP offer. Please try again with a WHIP-compliant offer."

NewCall = Callable[[str, Json, Dialect, Callable[[Call], None]], Call]


class Signaling:
    """The routes of one peer and the calls they started.

    Parameters
    ----------
    keys
        Which keys are accepted.
    new_call
        Makes a `Call` from its id, its session, its dialect, and what to call when it is over.
    """

    def __init__(self, keys: Keys, new_call: NewCall):
        self._keys = keys
        self._new_call = new_call
        self.calls: dict[str, Call] = {}

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[middleware], client_max_size=_LARGEST_BODY)
        app.router.add_post("/v1/realtime/client_secrets", self._mint)
        app.router.add_post("/v1/realtime/calls", self._call)
        app.router.add_post("/v1/realtime/calls/{call_id}/hangup", self._hang_up)
        app.router.add_post("/v1/realtime/sessions", self._mint_beta)
        app.router.add_post("/v1/realtime", self._call_beta)
        app.on_shutdown.append(self._close)
        return app

    async def _close(self, _app: web.Application) -> None:
        closing = [asyncio.create_task(c.close("the peer ends")) for c in self.calls.values()]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_WITHIN)

    def _grant(self, request: web.Request) -> Grant:
        return self._keys.check(request.headers.get("Authorization"))

    # --- minting ----------------------------------------------------------------------------------

    async def _mint(self, request: web.Request) -> web.Response:
        self._standard(request)
        body = await _json_body(request)
        lifetime = _lifetime(body.get("expires_after"))
        session = default_session(new_id("sess"))
        if body.get("session") is not None:
            session = changed(session, body["session"], started=False)
        value, expires_at = self._keys.mint(session, lifetime)
        return web.json_response({"value": value, "expires_at": expires_at, "session": session})

    async def _mint_beta(self, request: web.Request) -> web.Response:
        self._standard(request)
        body = await _json_body(request)
        session = _beta_session(body)
        secret = body.get("client_secret")
        if not isinstance(secret, dict | None):
            raise ApiError(
                400, "Invalid type for 'client_secret'.", "invalid_type", "client_secret"
            )
        path = "client_secret.expires_after"
        lifetime = _lifetime((secret or {}).get("expires_after"), _BETA_LIFETIME, path)
        value, expires_at = self._keys.mint(session, lifetime)
        shown = {"value": value, "expires_at": expires_at}
        return web.json_response({**BETA.session_to_wire(session), "client_secret": shown})

    def _standard(self, request: web.Request) -> None:
        if not self._grant(request).standard:
            raise ApiError(401, "An ephemeral key cannot be used for this.", code="invalid_api_key")

    # --- calls ------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.Response:
        session = self._session(self._grant(request))
        session.pop("temperature", None)  # of a key that was minted on the old route
        if request.content_type == "multipart/form-data":
            offer, change = await _multipart(request)
            if change is not None:
                session = changed(session, change, started=False)
        else:
            offer = await _text(request)
        return await self._answered(offer, session, GA)

    async def _call_beta(self, request: web.Request) -> web.Response:
        session = self._session(self._grant(request))
        asked = {key: request.query[key] for key in ("model", "voice") if key in request.query}
        change = BETA.session_from_wire(asked)
        session = changed(session, change, started=False)
        session.setdefault("temperature", BETA_TEMPERATURE)
        return await self._answered(await _text(request), session, BETA)

    def _session(self, grant: Grant) -> Json:
        """Return a session for a new call: a key may start several."""
        session_id = new_id("sess")
        return deepcopy(grant.session or default_session(session_id)) | {"id": session_id}

    async def _answered(self, offer: str, session: Json, dialect: Dialect) -> web.Response:
        if not known_model(session["model"]):
            message = f"Model {session['model']!r} is not supported in realtime mode."
            raise ApiError(400, message, code="invalid_model", param="model")
        call = self._new_call(new_id("rtc"), session, dialect, self._ended)
        self.calls[call.id] = call
        try:
            answer = await call.answer(offer)
        except InvalidOffer:
            await call.close("its offer was refused")
            raise ApiError(400, _NOT_AN_OFFER, code="invalid_offer") from None
        except BaseException:
            await call.close("answering its offer failed")
            raise
        response = web.Response(status=201, body=answer.encode(), content_type="application/sdp")
        if dialect is GA:
            response.headers["Location"] = f"/v1/realtime/calls/{call.id}"
        return response

    def _ended(self, call: Call) -> None:
        self.calls.pop(call.id, None)

    async def _hang_up(self, request: web.Request) -> web.Response:
        self._standard(request)
        call = self.calls.get(request.match_info["call_id"])
        if call is None:
            raise ApiError(404, "There is no such call, or it has ended.", code="call_not_found")
        await call.close()
        return web.Response(status=200)


def _lifetime(given: object, usual: float = _USUAL, path: str = "expires_after") -> float:
    if given is None:
        return usual
    if not isinstance(given, dict) or given.get("anchor", "created_at") != "created_at":
        param = f"{path}.anchor"
        raise ApiError(400, f"Invalid '{param}': expected 'created_at'.", "invalid_value", param)
    seconds = given.get("seconds", usual)
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not whole or not _SHORTEST <= seconds <= _LONGEST:
        param = f"{path}.seconds"
        message = f"Invalid '{param}': expected a whole number from {_SHORTEST} to {_LONGEST}."
        raise ApiError(400, message, "invalid_value", param)
    return float(seconds)


def _beta_session(body: Json) -> Json:
    if "type" in body or "audio" in body:
        raise ApiError(400, "This is the old route; it takes a flat session.", "unknown_parameter")
    change = BETA.session_from_wire(body)
    if "temperature" in body:
        change["temperature"] = body["temperature"]
    session = default_session(new_id("sess")) | {"temperature": BETA_TEMPERATURE}
    return changed(session, change, started=False)


async def _text(request: web.Request) -> str:
    try:
        return (await request.read()).decode("utf-8", "replace")
    except web.RequestPayloadError:
        raise ApiError(400, "The body cannot be decoded.", "invalid_body") from None


async def _json_body(request: web.Request) -> dict[str, Any]:
    text = await _text(request)
    return _json(text, "body") if text.strip() else {}


def _json(text: str, param: str) -> dict[str, Any]:
    found = parsed(text)
    if found is None:
        raise ApiError(400, f"The {param} is not a JSON object.", "invalid_json", param)
    return found


async def _multipart(request: web.Request) -> tuple[str, Json | None]:
    """Return the offer and the session; parts may be typed, named as files, or plain fields."""
    fields: dict[str, str] = {}
    try:
        for name, value in (await request.post()).items():
            raw = value.file.read() if isinstance(value, web.FileField) else value
            fields[name] = raw if isinstance(raw, str) else bytes(raw).decode("utf-8", "replace")
    except web.HTTPException:
        raise
    except (
        Exception
    ) as error:  # aiohttp raises many kinds: boundary, encoding, charset, compression
        message = f"The form cannot be read ({type(error).__name__})."
        raise ApiError(400, message, "invalid_form") from None
    if "sdp" not in fields:
        message = "Missing required parameter: 'sdp'."
        raise ApiError(400, message, "missing_required_parameter", "sdp")
    session = fields.get("session", "")
    return fields["sdp"], _json(session, "session") if session.strip() else None
