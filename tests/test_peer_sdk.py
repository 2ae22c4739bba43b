"""OpenAI's own Python client, unmodified, against the peer: every call it has for WebRTC."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from peer_client import KEY, Caller
from peer_serving import an_offer, served
from pydantic import BaseModel

from rtnb.peer.faults import Faults

SESSION = {
    "type": "realtime",
    "model": "gpt-realtime-2.1-mini",
    "instructions": "Be brief.",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
        },
        "output": {"voice": "marin", "speed": 1.1},
    },
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
}


def using(act, **setup):
    """Run `act(client, offer)` in a thread, the routes being served in this process."""

    async def main():
        async with served(**setup) as (url, _):
            offer = await an_offer()

            def use():
                with openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client:
                    act(client, offer)

            await asyncio.to_thread(use)

    asyncio.run(main())


def strict(found):
    """Check a model that came against its own type, which the client does not do by itself."""
    assert isinstance(found, BaseModel)
    type(found).model_validate(json.loads(found.to_json()), strict=False)


def test_client_secrets_create():
    """Key, expiry and the whole effective session, of the types that the client declares."""

    def act(client, _):
        lifetime = {"anchor": "created_at", "seconds": 120}
        found = client.realtime.client_secrets.create(expires_after=lifetime, session=SESSION)
        strict(found)
        strict(found.session)
        assert found.value.startswith("ek_") and found.expires_at > 0
        assert found.session.type == "realtime" and found.session.id.startswith("sess_")
        assert found.session.audio.output.voice == "marin"
        assert found.session.audio.input.turn_detection.silence_duration_ms == 300
        assert found.session.tools[0].name == "f"
        strict(client.realtime.client_secrets.create())

    using(act)


def test_calls_create_raw_with_a_minted_key():
    """As a page does it: the offer alone, with the ephemeral key."""

    def act(client, offer):
        minted = client.realtime.client_secrets.create(session=SESSION)
        with client.with_options(api_key=minted.value) as short_lived:
            call = short_lived.realtime.calls.create(sdp=offer)
        assert call.response.status_code == 201 and call.text.startswith("v=0")
        assert call.response.headers["content-type"].startswith("application/sdp")
        assert call.response.headers["location"].startswith("/v1/realtime/calls/rtc_")

    using(act)


def test_calls_create_with_a_session_and_hangup():
    """Both in one form, with the standard key; then the call is ended by its id, once."""

    def act(client, offer):
        call = client.realtime.calls.create(sdp=offer, session=SESSION)
        assert call.response.status_code == 201
        call_id = call.response.headers["location"].rsplit("/", 1)[1]
        assert client.realtime.calls.hangup(call_id) is None
        with pytest.raises(openai.NotFoundError) as caught:
            client.realtime.calls.hangup(call_id)
        assert caught.value.code == "call_not_found"

    using(act)


def test_the_session_of_a_form_is_the_call_s():
    """What `calls.create(session=...)` asks for is what `session.created` shows."""

    async def main():
        async with served() as (url, _):
            caller = Caller()
            try:
                async with openai.AsyncOpenAI(api_key=KEY, base_url=url) as client:
                    offer = await caller.offer()
                    call = await client.realtime.calls.create(sdp=offer, session=SESSION)
                await caller.accept(call.text)
                session = (await caller.until("session.created"))["session"]
                assert session["model"] == SESSION["model"]
                assert session["instructions"] == SESSION["instructions"]
                assert session["audio"]["output"]["voice"] == "marin"
            finally:
                await caller.pc.close()

    asyncio.run(main())


def test_a_transcription_session_can_be_minted():
    """`type="transcription"`: the answer's session is one."""

    def act(client, _):
        session = {
            "type": "transcription",
            "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
        }
        found = client.realtime.client_secrets.create(session=session)
        strict(found)
        assert found.session.type == "transcription"

    using(act)


def test_the_old_client_mints():
    """`client.beta.realtime.sessions.create`, where the SDK still has it."""

    def act(client, _):
        if not hasattr(client.beta, "realtime"):
            pytest.skip("this SDK has no beta.realtime")
        found = client.beta.realtime.sessions.create(
            model="gpt-4o-realtime-preview",
            voice="verse",
            modalities=["audio", "text"],
            client_secret={"expires_after": {"anchor": "created_at", "seconds": 30}},
        )
        strict(found)
        assert found.client_secret.value.startswith("ek_") and found.voice == "verse"

    using(act)


def mint(client, _):
    client.realtime.client_secrets.create()


def call(client, offer):
    client.realtime.calls.create(sdp=offer)


def call_without_audio(client, offer):
    client.realtime.calls.create(sdp=offer.replace("m=audio", "m=video"))


def call_without_sense(client, _):
    client.realtime.calls.create(sdp="hello")


def call_an_unknown_model(client, offer):
    client.realtime.calls.create(sdp=offer, session={"type": "realtime", "model": "gpt-unknown"})


def mint_too_long(client, _):
    lifetime = {"anchor": "created_at", "seconds": 7201}
    client.realtime.client_secrets.create(expires_after=lifetime)


def mint_with_an_unknown_field(client, _):
    client.realtime.client_secrets.create(extra_body={"voice": "marin"})


@pytest.mark.parametrize(
    ("act", "setup", "kind", "status", "code"),
    [
        (mint, {"key": "sk-another-0123456789"}, "AuthenticationError", 401, "invalid_api_key"),
        (call, {"key": "sk-another-0123456789"}, "AuthenticationError", 401, "invalid_api_key"),
        (call_without_audio, {}, "BadRequestError", 400, "invalid_offer"),
        (call_without_sense, {}, "BadRequestError", 400, "invalid_offer"),
        (call_an_unknown_model, {}, "BadRequestError", 400, "invalid_model"),
        (mint_too_long, {}, "BadRequestError", 400, "invalid_value"),
        (mint_with_an_unknown_field, {}, "BadRequestError", 400, "unknown_parameter"),
        (mint, {"mint_status": 429}, "RateLimitError", 429, "rate_limit_exceeded"),
        (mint, {"mint_status": 500}, "InternalServerError", 500, None),
        (mint, {"mint_status": 403}, "PermissionDeniedError", 403, None),
        (call, {"call_status": 429}, "RateLimitError", 429, "rate_limit_exceeded"),
        (call, {"call_status": 503}, "InternalServerError", 503, None),
        (call, {"call_status": 404}, "NotFoundError", 404, "model_not_found"),
        (call, {"call_status": 409}, "ConflictError", 409, None),
        (call, {"refuse_offer": True}, "BadRequestError", 400, "invalid_offer"),
    ],
)
def test_its_errors(act, setup, kind, status, code):
    """Each status becomes the client's own exception, with code and message."""
    if "key" not in setup:
        setup = {"faults": (Faults(**setup),)}

    def refused(client, offer):
        with pytest.raises(openai.APIStatusError) as caught:
            act(client, offer)
        error = caught.value
        assert type(error).__name__ == kind and error.status_code == status
        assert code is None or error.code == code
        assert set(error.body) == {"message", "type", "param", "code"} and error.body["message"]
        assert KEY not in str(error)

    using(refused, **setup)


def test_its_own_retries_get_through():
    """A client that tries again after 429 and 503 places its call."""

    async def main():
        faults = (Faults(call_status=429), Faults(call_status=503), Faults())
        async with served(faults=faults) as (url, _):
            offer = await an_offer()
            async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=2) as client:
                started = asyncio.get_running_loop().time()
                call = await client.realtime.calls.create(sdp=offer)
                assert call.response.status_code == 201
                assert asyncio.get_running_loop().time() - started >= 1.9  # it was told to wait

    asyncio.run(main())
