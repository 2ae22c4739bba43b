"""The peer in the shape of other servers: routes, keys, statuses, and what passes on the channel."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import replace

import aiohttp
import pytest
from peer_client import KEY, Caller, exchange, post
from peer_serving import an_offer, error_of, served, serving

from rtnb.dialects import GA
from rtnb.peer.betawire import OLD
from rtnb.peer.faults import Faults
from rtnb.peer.modes import MODES, CallWire, framed, mode_of
from rtnb.peer.server import Setup, make_signaling

SDP = {"Content-Type": "application/sdp"}
AZURE_FILTER = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.added",
    "conversation.item.created",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
]


def joined(frames):
    """Decode speaches' frames, as its own clients do: join the slices, then decode."""
    read = [json.loads(frame) for frame in frames]
    data = "".join(f["data"] for f in sorted(read, key=lambda f: f.get("fragment_index", 0)))
    return base64.b64decode(data, validate=True).decode()


class FramedCaller(Caller):
    """A caller of speaches: `frames` holds what came, `events` what it carried."""

    def __init__(self):
        super().__init__()
        self.frames = []
        self._partial = []

    def _arrived(self, message):
        self.frames.append(json.loads(message))
        self._partial.append(message)
        if len(self._partial) == self.frames[-1].get("total_fragments", 1):
            super()._arrived(joined(self._partial))
            self._partial = []


@contextlib.asynccontextmanager
async def connected(caller, url, body, path, *, kind="application/sdp", key=KEY):
    """Connect a caller; `body` makes the request's body of the offer; gives (status, text)."""
    try:
        offer = body(await caller.offer())
        headers = {"Content-Type": kind}
        status, headers, text = await post(f"{url}/{path}", key=key, data=offer, headers=headers)
        answer = json.loads(text)["sdp"] if text.startswith("{") else text
        await caller.accept(answer)
        yield status, headers, text
    finally:
        await caller.pc.close()


def ask(caller, words="What is the capital of France?"):
    content = [{"type": "input_text", "text": words}]
    item = {"type": "message", "role": "user", "content": content}
    caller.send("conversation.item.create", item=item)
    caller.send("response.create")


# --- the frames of speaches ------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 850, 900, 901, 5_000, 100_000])
def test_frames_carry_an_event_whole(length):
    """Up to 900 bytes one frame; longer ones in slices of base64 that are joined, then decoded."""
    text = json.dumps({"event_id": "event_1", "type": "x", "more": ""})
    text = text[:-2] + "m" * max(0, length - len(text)) + text[-2:]
    frames = framed(text)
    assert joined(frames) == text
    first = json.loads(frames[0])
    if len(text) <= 900:
        assert len(frames) == 1 and list(first) == ["id", "type", "data"]
        assert (first["id"], first["type"]) == ("event_1", "full_message")
    else:
        total = -(-len(base64.b64encode(text.encode())) // 800)
        assert len(frames) == total > 1
        for i, frame in enumerate(frames):
            found = json.loads(frame)
            assert len(frame) <= 1_024 and len(found.pop("data")) <= 800
            assert found == {
                "id": "event_1",
                "type": "partial_message",
                "fragment_index": i,
                "total_fragments": total,
            }


def test_frames_count_bytes_and_carry_any_text():
    """Letters of several bytes are not cut in two."""
    text = json.dumps(
        {"event_id": "e", "delta": "\u00e9\u3042\U0001f600" * 120}, ensure_ascii=False
    )
    assert len(text) < 900 < len(text.encode())
    frames = framed(text)
    assert len(frames) > 1 and joined(frames) == text


# --- wires -----------------------------------------------------------------------------------------


def test_the_filter_of_azure_passes_eleven_types():
    """Those of its how-to; not even session.created or error."""
    wire = mode_of("azure").wire(filtered=True)
    assert len(AZURE_FILTER) == 11 and all(map(wire.passes, AZURE_FILTER))
    for kind in ("session.created", "error", "response.done", "output_audio_buffer.cleared"):
        assert not wire.passes(kind)
    assert mode_of("azure").wire().passes("session.created")


def test_each_mode_has_its_wire():
    """Dialect, label, frames, and what is neither sent nor understood."""
    old = mode_of("openai").wire(OLD)
    assert old.dialect is OLD and not old.passes("conversation.item.done")
    assert mode_of("openai").wire(filtered=True) == CallWire(GA)
    local = mode_of("localai").wire()
    assert (local.dialect, local.label) == (GA, "oai-events") and local.passes("localai.own")
    assert not local.passes("output_audio_buffer.started")
    speaches = mode_of("speaches").wire()
    assert (speaches.dialect, speaches.label) == (OLD, None) and speaches.frames is framed
    assert {"response.cancel", "conversation.item.truncate"} <= speaches.refused
    assert speaches.passes("conversation.item.added") and speaches.passes(
        "response.output_text.done"
    )
    for kind in ("response.output_audio.delta", "output_audio_buffer.started", "no.such"):
        assert not speaches.passes(kind)


def test_another_mode_is_refused():
    """The sentence lists those there are."""
    with pytest.raises(ValueError, match=r"no mode 'x'; choose one of openai, azure"):
        mode_of("x")
    with pytest.raises(ValueError, match="no mode"):
        make_signaling(replace(Setup(), mode="x"))
    assert [mode_of(name).name for name in MODES] == list(MODES)


@pytest.mark.parametrize(
    ("mode", "path", "status"),
    [
        ("openai", "openai/v1/realtime/client_secrets", 404),
        ("openai", "openai/v1/realtime/calls", 404),
        ("azure", "v1/realtime/client_secrets", 404),
        ("azure", "v1/realtime/calls", 404),
        ("azure", "openai/v1/realtime/sessions", 404),
        ("azure", "openai/v1/realtime", 405),
        ("azure", "openai/realtimeapi/sessions", 404),
        ("localai", "v1/realtime/client_secrets", 404),
        ("localai", "v1/realtime/sessions", 501),
        ("localai", "v1/realtime/transcription_session", 501),
        ("localai", "v1/realtime?model=x", 404),
        ("localai", "v1/realtime/calls/rtc_1/hangup", 404),
        ("speaches", "v1/realtime/calls", 404),
        ("speaches", "v1/realtime/client_secrets", 404),
        ("speaches", "v1/realtime/sessions", 404),
    ],
)
def test_the_route_of_another_server_is_not_there(mode, path, status):
    """404 in the form of the API; where LocalAI has a route for nothing, 501."""

    async def test(url):
        root = url.removesuffix("/v1").removesuffix("/openai")
        got, _, text = await post(f"{root}/{path}", headers=dict(SDP), data="v=0")
        assert got == status and error_of(text)

    serving(test, mode=mode)


# --- azure -----------------------------------------------------------------------------------------


def test_azure_takes_its_own_key_header_and_any_deployment():
    """`api-key` or Bearer at the mint; the offer goes with the minted key; Location and hang-up."""

    async def test(url):
        body = {"session": {"type": "realtime", "model": "my-deployment"}}
        where = f"{url}/realtime/client_secrets"
        assert (await post(where, key=None, json=body))[0] == 401
        for given in ({"api-key": "azure-key-0123456789"}, {"Authorization": "Bearer entra"}):
            status, _, text = await post(where, key=None, headers=dict(given), json=body)
            assert status == 200 and json.loads(text)["session"]["model"] == "my-deployment"
        status, headers, text = await exchange(
            url, await an_offer(), key=json.loads(text)["value"], path="realtime/calls"
        )
        assert status == 201 and text.startswith("v=0")
        assert headers["Content-Type"].startswith("application/sdp")
        assert headers["Location"].startswith("/openai/v1/realtime/calls/rtc_")
        name = headers["Location"].rpartition("/")[2]
        hang_up = f"{url}/realtime/calls/{name}/hangup"
        key = {"api-key": "azure-key-0123456789"}
        assert (await post(hang_up, key=None, headers=dict(key)))[0] == 200
        assert (await post(hang_up, key=None, headers=dict(key)))[0] == 404

    serving(test, mode="azure")


def test_azure_compares_the_key_of_its_header():
    """A wrong one is 401, and is not repeated."""

    async def test(url):
        where = f"{url}/realtime/client_secrets"
        for key, expected in (("azure-key-0123456789", 200), ("azure-key-9876543210", 401)):
            status, _, text = await post(where, key=None, headers={"api-key": key})
            assert status == expected and key not in text

    serving(test, mode="azure", key="azure-key-0123456789")


def test_azure_filters_events_on_request():
    """A whole text turn with the filter: only its types come, and the answer with them."""

    async def main():
        async with served(mode="azure") as (url, _):
            caller = Caller()
            path = "realtime/calls?webrtcfilter=on"
            async with connected(caller, url, str, path) as (status, _, _):
                assert status == 201
                opened = asyncio.Event()
                caller.channel.on("open", opened.set)
                if caller.channel.readyState != "open":
                    await opened.wait()
                caller.send("session.update", session={"type": "realtime"})
                ask(caller)
                await caller.until("response.output_audio_transcript.done")
                assert set(caller.types()) <= set(AZURE_FILTER)
                assert "conversation.item.added" in caller.types()

    asyncio.run(main())


# --- localai ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, None])
def test_localai_exchanges_json(key):
    """`sdp` and `model` in, `sdp` and `session_id` out, with or without a key; GA events."""

    async def main():
        async with served(mode="localai") as (url, _):
            caller = Caller()

            def body(offer):
                return json.dumps({"sdp": offer, "model": "gpt-any"})

            call = connected(caller, url, body, "realtime/calls", kind="application/json", key=key)
            async with call as (status, headers, text):
                found = json.loads(text)
                assert status == 201 and set(found) == {"sdp", "session_id"}
                assert "Location" not in headers
                created = await caller.until("session.created")
                assert created["session"]["id"] == found["session_id"]
                assert created["session"]["model"] == "gpt-any"
                ask(caller)
                await caller.until("response.done")
                caller.send("output_audio_buffer.clear", event_id="mine")
                error = await caller.until("error")
                assert error["error"]["event_id"] == "mine"
                assert not [t for t in caller.types() if t.startswith("output_audio_buffer.")]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "m"}, 400, "sdp"),
        ({"sdp": "v=0"}, 400, "model"),
        ({"sdp": 5, "model": "m"}, 400, "sdp"),
        ({"sdp": "hello", "model": "m"}, 400, None),
        ("v=0", 415, None),
    ],
)
def test_what_localai_refuses(body, status, param):
    """It wants JSON with both."""

    async def test(url):
        sent = {"json": body} if isinstance(body, dict) else {"data": body, "headers": dict(SDP)}
        got, _, text = await post(f"{url}/realtime/calls", key=None, **sent)
        assert got == status and error_of(text)["param"] == param

    serving(test, mode="localai")


def test_localai_can_require_a_key():
    """Then none, and a wrong one, are refused."""

    async def test(url):
        body = {"sdp": await an_offer(), "model": "m"}
        for key, expected in ((None, 401), ("sk-wrong-0123456789", 401), (KEY, 201)):
            assert (await post(f"{url}/realtime/calls", key=key, json=body))[0] == expected

    serving(test, mode="localai", key=KEY)


# --- speaches --------------------------------------------------------------------------------------


def test_speaches_wraps_beta_events_and_knows_no_cancelling():
    """A whole text turn: 200 and plain text, frames both whole and partial, beta names within."""

    async def main():
        async with served(mode="speaches") as (url, _):
            caller = FramedCaller()
            call = connected(
                caller, url, str, "realtime?model=any/model", key=None, kind="text/plain"
            )
            async with call as (status, headers, text):
                assert status == 200 and text.startswith("v=0")
                assert headers["Content-Type"].startswith("text/plain")
                created = await caller.until("session.created")
                assert created["session"]["model"] == "any/model"
                assert "modalities" in created["session"]
                caller.send("session.update", session={"instructions": "long " * 300})
                await caller.until("session.updated")
                ask(caller)
                await caller.until("response.audio_transcript.done")
                await caller.until("response.done")
                for kind in ("response.cancel", "conversation.item.truncate"):
                    caller.send(kind, event_id=kind)
                    assert (await caller.until("error"))["error"]["event_id"] == kind
                types = set(caller.types())
                assert {"conversation.item.created", "response.audio.done"} <= types
                assert not [
                    t for t in types if "output_audio" in t or t == "conversation.item.done"
                ]
                kinds = {frame["type"] for frame in caller.frames}
                assert kinds == {"full_message", "partial_message"}
                assert {f["id"] for f in caller.frames} == {e["event_id"] for e in caller.events}

    asyncio.run(main())


def test_speaches_wants_the_model_in_the_address():
    """422 without it, 400 for what is no offer, and no key at all."""

    async def test(url):
        offer = await an_offer()
        status, _, text = await post(f"{url}/realtime", key=None, data=offer)
        assert status == 422 and error_of(text)["param"] == "model"
        status, _, text = await post(f"{url}/realtime?model=m", key=None, data="hello")
        assert status == 400 and error_of(text)["code"] == "invalid_offer"

    serving(test, mode="speaches")


# --- what goes wrong on request ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_faults_hold_in_every_mode(mode):
    """The first offer fails as asked, the second one does not."""

    async def test(url):
        offer = await an_offer()
        for expected in ((503,), (200, 201)):
            if mode == "localai":
                where = f"{url}/realtime/calls"
                got = await post(where, json={"sdp": offer, "model": "m"})
            elif mode == "speaches":
                got = await exchange(url, offer, path="realtime?model=m")
            else:
                got = await exchange(url, offer)
            assert got[0] in expected

    serving(test, mode=mode, faults=(Faults(call_status=503), Faults()))


def test_a_page_may_call_in_every_mode():
    """The preflight names the headers that were asked for."""

    async def test(url):
        headers = {
            "Origin": "http://localhost:8888",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "api-key, content-type",
        }
        where = f"{url}/realtime/client_secrets"
        async with aiohttp.ClientSession() as http, http.options(where, headers=headers) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Headers"] == "api-key, content-type"
            assert answer.headers["Access-Control-Expose-Headers"] == "Location"
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]

    serving(test, mode="azure")
