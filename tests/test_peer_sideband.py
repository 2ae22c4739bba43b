"""The WebSocket beside a call's data channel: the same events, both ways, for whoever has the key."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import openai
import pytest
from peer_client import KEY, Caller, calling, exchange, mint, post
from peer_serving import an_offer, error_of, served

BEARER = {"Authorization": f"Bearer {KEY}"}


@contextlib.asynccontextmanager
async def attached(url, call_id, headers=BEARER):
    """Attach a WebSocket to a call."""
    where = f"{url}/realtime?call_id={call_id}"
    async with aiohttp.ClientSession() as http, http.ws_connect(where, headers=headers) as socket:
        yield socket


async def until(socket, kind):
    """Return the next event of this type from a WebSocket, and the types before it."""
    before = []
    async with asyncio.timeout(5):
        while True:
            event = await socket.receive_json()
            if event["type"] == kind:
                return event, before
            before.append(event["type"])


def name_of(caller):
    return caller.location.rpartition("/")[2]


def test_a_sideband_has_the_events_of_the_channel():
    """What either side asks for is answered on both, in the same words and the same order."""

    async def main():
        async with served() as (url, _), calling(url) as caller:
            async with attached(url, name_of(caller)) as socket:
                session = {"type": "realtime", "output_modalities": ["text"]}
                await socket.send_json({"type": "session.update", "session": session})
                beside, _ = await until(socket, "session.updated")
                assert beside == await caller.until("session.updated")
                assert beside["session"]["output_modalities"] == ["text"]
                first = len(caller.events)
                caller.send("response.create")
                done, before = await until(socket, "response.done")
                assert done == await caller.until("response.done")
                assert before == caller.types()[first : first + len(before)] and before

    asyncio.run(main())


def test_a_call_takes_several_sidebands():
    """Each has all events, also the error that another one caused."""

    async def main():
        async with served() as (url, _), calling(url) as caller:
            async with attached(url, name_of(caller)) as one, attached(url, name_of(caller)) as two:
                await one.send_str('{"type": "no.such", "event_id": "mine"}')
                for socket in (one, two):
                    error, _ = await until(socket, "error")
                    assert error["error"]["event_id"] == "mine"
                assert (await caller.until("error")) == error

    asyncio.run(main())


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", "\x00", b"\xff\xfe", '{"type": 5}', "[" * 5_000, "x" * 100_000]
)
def test_garbage_on_a_sideband_is_an_error_event(garbage):
    """And the call, and the sideband, go on."""

    async def main():
        async with served() as (url, _), calling(url) as caller:
            async with attached(url, name_of(caller)) as socket:
                send = socket.send_bytes if isinstance(garbage, bytes) else socket.send_str
                await send(garbage)
                assert (await until(socket, "error"))[0]["error"]["message"]
                session = {"type": "realtime"}
                await socket.send_json({"type": "session.update", "session": session})
                await until(socket, "session.updated")

    asyncio.run(main())


def test_too_large_a_message_ends_a_sideband_only():
    """Close code 1009; the call goes on."""

    async def main():
        async with served() as (url, _), calling(url) as caller:
            async with attached(url, name_of(caller)) as socket:
                await socket.send_str("x" * 3_000_000)
                async with asyncio.timeout(5):
                    while (await socket.receive()).type != aiohttp.WSMsgType.CLOSE:
                        pass
                assert socket.close_code == 1009
            caller.send("session.update", session={"type": "realtime"})
            await caller.until("session.updated")

    asyncio.run(main())


def test_a_sideband_ends_with_its_call():
    """Closed with 1000; then the call is not known any more."""

    async def main():
        async with served() as (url, signaling), calling(url) as caller:
            async with attached(url, name_of(caller)) as socket:
                assert (await post(f"{url}/realtime/calls/{name_of(caller)}/hangup"))[0] == 200
                async with asyncio.timeout(5):
                    while (await socket.receive()).type != aiohttp.WSMsgType.CLOSE:
                        pass
                assert socket.close_code == 1000
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with attached(url, name_of(caller)):
                    pass
            assert caught.value.status == 404 and not signaling.calls

    asyncio.run(main())


def test_a_call_goes_on_when_its_sideband_ends():
    """Nothing of it is left in the call."""

    async def main():
        async with served() as (url, _), calling(url) as caller:
            for _ in range(20):  # more than are taken at a time
                async with attached(url, name_of(caller)) as socket:
                    await socket.send_json({"type": "response.cancel"})
                    await until(socket, "error")
            caller.send("session.update", session={"type": "realtime"})
            await caller.until("session.updated")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("headers", "call_id", "status"),
    [
        (BEARER, "rtc_unknown", 404),
        (BEARER, "", 404),
        ({}, None, 401),
        ({"Authorization": "Bearer sk-wrong-0123456789"}, None, 401),
        (BEARER | {"Origin": "https://example.com"}, None, 403),
    ],
)
def test_a_handshake_is_refused(headers, call_id, status):
    """404 for an unknown call, 401 for a bad key, 403 for a page of another machine."""

    async def main():
        async with served(key=KEY) as (url, _):
            _, found, _ = await exchange(url, await an_offer())
            name = found["Location"].rpartition("/")[2] if call_id is None else call_id
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with attached(url, name, headers):
                    pass
            assert caught.value.status == status

    asyncio.run(main())


def test_an_ephemeral_key_and_a_plain_request_are_refused():
    """401 and 400; without a call there is no WebSocket at all."""

    async def main():
        async with served() as (url, _), aiohttp.ClientSession() as http:
            key = await mint(url, {"type": "realtime"})
            _, found, _ = await exchange(url, await an_offer())
            where = f"{url}/realtime?call_id={found['Location'].rpartition('/')[2]}"
            for address, bearer, status in (
                (where, key, 401),
                (where, KEY, 400),
                (f"{url}/realtime?model=gpt-realtime", KEY, 400),
            ):
                headers = {"Authorization": f"Bearer {bearer}"}
                async with http.get(address, headers=headers) as answer:
                    assert answer.status == status and error_of(await answer.text())

    asyncio.run(main())


def test_azure_has_a_sideband_too():
    """Under its own path, with its own header."""

    async def main():
        async with served(mode="azure") as (url, _):
            caller = Caller()
            try:
                key = await mint(url, {"type": "realtime"})
                _, found, answer = await exchange(url, await caller.offer(), key=key)
                await caller.accept(answer)
                await caller.until("session.created")
                name = found["Location"].rpartition("/")[2]
                async with attached(url, name, {"api-key": "azure-key-0123456789"}) as socket:
                    await socket.send_json({"type": "session.update", "session": {}})
                    error, _ = await until(socket, "error")
                    assert error["error"]["param"] == "session.type"
            finally:
                await caller.pc.close()

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager")
def test_the_official_client_joins_a_call():
    """`client.realtime.connect(call_id=...)`, events both ways; it needs `websockets`."""
    pytest.importorskip("websockets")

    def use(url, call_id):
        with (
            openai.OpenAI(api_key=KEY, base_url=url, max_retries=0) as client,
            client.realtime.connect(call_id=call_id) as connection,
        ):
            connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            updated = connection.recv()
            assert updated.type == "session.updated"
            return json.loads(updated.to_json())

    async def main():
        async with served() as (url, _), calling(url) as caller:
            beside = await asyncio.to_thread(use, url, name_of(caller))
            assert beside["event_id"] == (await caller.until("session.updated"))["event_id"]

    asyncio.run(main())
