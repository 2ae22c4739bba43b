"""The HTTP side: minting keys, exchanging SDP, hanging up; it must not know events or audio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from typing import Final

from aiohttp import web

from rtnb.dialects import GA, Json
from rtnb.peer.betawire import OLD
from rtnb.peer.bodies import LARGEST_BODY, PATIENCE, json_of, offer_and_session, offer_of
from rtnb.peer.call import Call, InvalidOffer
from rtnb.peer.faults import Faults
from rtnb.peer.guard import limits
from rtnb.peer.httperrors import ApiError, middleware, wanted_error
from rtnb.peer.keys import Grant, Keys
from rtnb.peer.minting import asked, asked_in_beta
from rtnb.peer.modes import CallWire, mode_of
from rtnb.peer.offers import what_is_wrong
from rtnb.peer.outputs import new_id
from rtnb.peer.settings import BETA_TEMPERATURE, changed, default_session, known_model
from rtnb.peer.sideband import Sideband

__all__ = ["NewCall", "Signaling"]

_CLOSE_WITHIN: Final = 3.0  # seconds for all calls together
_HALF_OPEN: Final = 64  # calls that are answered and not connected
_PATIENCE: Final = 10.0  # seconds for a request's headers, and for its body
_NOT_AN_OFFER: Final = "Invalid SDP offer. Please try again with a WHIP-compliant offer."

NewCall = Callable[[str, Json, CallWire, Callable[[Call], None], Faults], Call]


class Signaling:
    """The routes of one peer and the calls they started.

    Parameters
    ----------
    keys
        Which keys are accepted.
    new_call
        Makes a `Call` from its id, its session, what its events look like, what to call when it is
        over, and how it is to go wrong.
    mode
        Whose routes these are: one of `rtnb.peer.modes.MODES`.
    faults
        From a call's number, from 0, to how it goes wrong; None for good behaviour. Calls are
        counted when an offer comes. Minting goes by the next call's, and a mint that fails on
        request counts as a call.

    Raises
    ------
    ValueError
        There is no such mode.
    """

    def __init__(
        self,
        keys: Keys,
        new_call: NewCall,
        *,
        mode: str = "openai",
        faults: Callable[[int], Faults] | None = None,
    ):
        self._keys = keys
        self._new_call = new_call
        self._mode = mode_of(mode)
        self._faults = faults or (lambda _number: Faults())
        self._attempts = 0
        self._sideband = Sideband()
        self._closing: set[asyncio.Task[None]] = set()
        self.calls: dict[str, Call] = {}

    def app(self, *, patience: float = _PATIENCE) -> web.Application:
        """Return the application to serve.

        Parameters
        ----------
        patience
            Seconds in which a request's headers must be there, and then its body.
        """
        app = web.Application(
            middlewares=[middleware],
            client_max_size=LARGEST_BODY,
            handler_args=limits(patience),
        )
        app[PATIENCE] = patience
        getattr(self, f"_add_{self._mode.name}")(app.router, self._mode.root)
        app.on_shutdown.append(self._close)
        return app

    def _add_openai(self, router: web.UrlDispatcher, root: str) -> None:
        self._add_ga(router, root)
        router.add_post(f"{root}/sessions", self._mint_beta)
        router.add_post(root, self._call_beta)

    def _add_azure(self, router: web.UrlDispatcher, root: str) -> None:
        self._add_ga(router, root)

    def _add_ga(self, router: web.UrlDispatcher, root: str) -> None:
        router.add_post(f"{root}/client_secrets", self._mint)
        router.add_post(f"{root}/calls", self._call)
        router.add_post(f"{root}/calls/{{call_id}}/hangup", self._hang_up)
        router.add_post(f"{root}/calls/{{call_id}}/{{verb:accept|reject|refer}}", self._not_sip)
        router.add_route("*", f"{root}/calls/{{call_id}}", self._no_second_offer)
        router.add_get(root, self._attach)

    def _add_localai(self, router: web.UrlDispatcher, root: str) -> None:
        router.add_post(f"{root}/calls", self._call_localai)
        router.add_post(f"{root}/sessions", _not_implemented)
        router.add_post(f"{root}/transcription_session", _not_implemented)

    def _add_speaches(self, router: web.UrlDispatcher, root: str) -> None:
        router.add_post(root, self._call_speaches)

    async def _close(self, _app: web.Application) -> None:
        closing = {asyncio.create_task(c.close("the peer ends")) for c in self.calls.values()}
        closing |= self._closing
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_WITHIN)

    # --- keys -------------------------------------------------------------------------------------

    def _grant(self, request: web.Request) -> Grant:
        given = request.headers.get("Authorization")
        if self._mode.name == "azure" and "api-key" in request.headers:
            given = f"Bearer {request.headers['api-key']}"
        return self._keys.check(given, needed=self._mode.needs_key)

    def _standard(self, request: web.Request) -> None:
        if not self._grant(request).standard:
            raise ApiError(401, "An ephemeral key cannot be used for this.", code="invalid_api_key")

    # --- minting ----------------------------------------------------------------------------------

    async def _mint(self, request: web.Request) -> web.Response:
        self._standard(request)
        session, lifetime = asked(await json_of(request))
        await self._mint_fault()
        value, expires_at = self._keys.mint(session, lifetime)
        return web.json_response({"value": value, "expires_at": expires_at, "session": session})

    async def _mint_beta(self, request: web.Request) -> web.Response:
        self._standard(request)
        session, lifetime = asked_in_beta(await json_of(request))
        await self._mint_fault()
        value, expires_at = self._keys.mint(session, lifetime)
        shown = {"value": value, "expires_at": expires_at}
        return web.json_response({**OLD.session_to_wire(session), "client_secret": shown})

    # --- calls ------------------------------------------------------------------------------------

    async def _call(self, request: web.Request) -> web.Response:
        session = self._session(self._grant(request))
        session.pop("temperature", None)  # of a key that was minted on the old route
        offer, change = await offer_and_session(request)
        if change is not None:
            session = changed(session, change, started=False)
        filtered = request.query.get("webrtcfilter") == "on"
        call, answer = await self._answered(offer, session, self._mode.wire(filtered=filtered))
        response = self._sdp(answer)
        response.headers["Location"] = f"{self._mode.root}/calls/{call.id}"
        return response

    async def _call_beta(self, request: web.Request) -> web.Response:
        session = self._session(self._grant(request))
        given = {key: request.query[key] for key in ("model", "voice") if key in request.query}
        session = changed(session, OLD.session_from_wire(given), started=False)
        session.setdefault("temperature", BETA_TEMPERATURE)
        offer = await offer_of(request)
        _, answer = await self._answered(offer, session, self._mode.wire(OLD))
        return self._sdp(answer)

    async def _call_localai(self, request: web.Request) -> web.Response:
        session = self._session(self._grant(request))
        body = await json_of(request)
        for name in ("sdp", "model"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise ApiError(400, f"{name} is required", "missing_required_parameter", name)
        change = {"type": "realtime", "model": body["model"]}
        session = changed(session, change, started=False)
        _, answer = await self._answered(body["sdp"], session, self._mode.wire(GA))
        shown = {"sdp": answer, "session_id": session["id"]}
        return web.json_response(shown, status=self._mode.status)

    async def _call_speaches(self, request: web.Request) -> web.Response:
        session = self._session(self._grant(request))
        if not request.query.get("model"):
            message = "Field required: the query's 'model'."
            raise ApiError(422, message, "missing_required_parameter", "model")
        change = {"type": "realtime", "model": request.query["model"]}
        session = changed(session, change, started=False)
        session.setdefault("temperature", BETA_TEMPERATURE)
        offer = await offer_of(request, of_any_type=True)
        _, answer = await self._answered(offer, session, self._mode.wire())
        return web.Response(status=self._mode.status, text=answer, content_type="text/plain")

    def _sdp(self, answer: str) -> web.Response:
        status = self._mode.status
        return web.Response(status=status, body=answer.encode(), content_type="application/sdp")

    def _session(self, grant: Grant) -> Json:
        """Return a session for a new call: a key may start several."""
        session_id = new_id("sess")
        return deepcopy(grant.session or default_session(session_id)) | {"id": session_id}

    async def _answered(self, offer: str, session: Json, wire: CallWire) -> tuple[Call, str]:
        faults = await self._call_faults()
        if session["type"] == "realtime" and not self._mode.any_model:
            _check_model(session["model"])
        wrong = _NOT_AN_OFFER if faults.refuse_offer else what_is_wrong(offer)
        if wrong is not None:
            raise ApiError(400, wrong, code="invalid_offer")
        call = self._new_call(new_id("rtc"), session, wire, self._ended, faults)
        self._make_room()
        self.calls[call.id] = call
        try:
            return call, await call.answer(offer)
        except InvalidOffer:
            await call.close("its offer was refused")
            raise ApiError(400, _NOT_AN_OFFER, code="invalid_offer") from None
        except BaseException:
            await call.close("answering its offer failed")
            raise

    def _make_room(self) -> None:
        """Drop the oldest calls that nobody has connected to, where there are too many."""
        half_open = [call for call in self.calls.values() if not call.connected]
        for call in half_open[: max(0, len(half_open) - _HALF_OPEN + 1)]:
            del self.calls[call.id]
            closing = asyncio.create_task(call.close("too many calls were never connected"))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _ended(self, call: Call) -> None:
        self.calls.pop(call.id, None)
        self._sideband.ended(call.id)

    # --- going wrong on request -------------------------------------------------------------------

    async def _mint_fault(self) -> None:
        faults = self._faults(self._attempts)
        await asyncio.sleep(faults.mint_after)
        if faults.mint_status is not None:
            self._attempts += 1
            raise wanted_error(faults.mint_status)

    async def _call_faults(self) -> Faults:
        faults = self._faults(self._attempts)
        self._attempts += 1
        await asyncio.sleep(faults.answer_after)
        if faults.call_status is not None:
            raise wanted_error(faults.call_status)
        return faults

    # --- running calls ----------------------------------------------------------------------------

    def _running(self, request: web.Request) -> Call:
        self._standard(request)
        call = self.calls.get(request.match_info.get("call_id", request.query.get("call_id", "")))
        if call is None:
            raise ApiError(404, "There is no such call, or it has ended.", code="call_not_found")
        return call

    async def _hang_up(self, request: web.Request) -> web.Response:
        await self._running(request).close()
        return web.Response(status=200)

    async def _no_second_offer(self, request: web.Request) -> web.Response:
        self._running(request)
        message = (
            "A call takes one offer, and is not renegotiated: hang it up with POST "
            f"{self._mode.root}/calls/{{call_id}}/hangup and place another."
        )
        raise ApiError(405, message, "no_renegotiation", headers={"Allow": "OPTIONS"})

    async def _not_sip(self, request: web.Request) -> web.Response:
        self._running(request)
        message = f"'{request.match_info['verb']}' is for calls over SIP; this one is over WebRTC."
        raise ApiError(400, message, "not_a_sip_call")

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        if "call_id" not in request.query:
            self._standard(request)
            message = "This peer speaks WebRTC: a WebSocket joins a call, by its ?call_id=."
            raise ApiError(400, message, "missing_required_parameter", "call_id")
        return await self._sideband.attach(request, self._running(request))


def _check_model(model: object) -> None:
    if not known_model(model):
        message = f"Model {model!r} is not supported in realtime mode."
        raise ApiError(400, message, code="invalid_model", param="model")


async def _not_implemented(_request: web.Request) -> web.Response:
    raise ApiError(501, "This server mints no keys; post the offer.", "not_implemented")
