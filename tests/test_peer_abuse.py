"""Abuse of the peer's HTTP side: always a status or a closed connection, and it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import logging
import random
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from peer_client import KEY, calling, exchange, post
from peer_serving import an_offer, error_of, served

import rtnb
from rtnb.peer import guard, signaling
from rtnb.peer.bodies import form_parts
from rtnb.peer.offers import what_is_wrong
from rtnb.peer.server import Setup, make_signaling

SOON = 0.3  # seconds of patience
LATE = 2.0  # seconds more, on a machine that has other things to do
BEARER = f"Authorization: Bearer {KEY}\r\n"
MINT = f"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\n{BEARER}"


@contextlib.asynccontextmanager
async def listening(patience=SOON, connections=guard.CONNECTIONS):
    """Serve the routes as a peer's process does, with little patience; gives the port."""
    app = make_signaling(Setup()).app(patience=patience)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        async with guard.listening(runner, "127.0.0.1", 0, connections=connections) as port:
            yield port
    finally:
        await runner.cleanup()


async def said(port, *pieces, pause=0.0, within=10.0):
    """Send bytes to a port, and return all that comes back until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came = bytearray()

    async def read():
        with contextlib.suppress(ConnectionError):  # a reset, where more was sent than was read
            while chunk := await reader.read(65_536):
                came.extend(chunk)

    ended = asyncio.ensure_future(read())
    try:
        async with asyncio.timeout(within):
            for piece in pieces:
                if ended.done():
                    break
                with contextlib.suppress(ConnectionError):
                    writer.write(piece)
                    await writer.drain()
                await asyncio.wait([ended], timeout=pause)
            await ended
    finally:
        ended.cancel()
        writer.close()
    return bytes(came)


async def lives(port):
    """Check that the peer still mints."""
    assert (await post(f"http://127.0.0.1:{port}/v1/realtime/client_secrets"))[0] == 200


# --- slow and many ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"POST /v1/realtime/calls HTT"],
        [f"X-{i}: y\r\n".encode() if i else MINT.encode() for i in range(500)],
        [bytes([byte]) for byte in MINT.encode() * 8],
    ],
    ids=["nothing", "a beginning", "headers one by one", "bytes one by one"],
)
def test_headers_that_do_not_come_end_the_connection(pieces):
    """After the patience, however much drips in."""

    async def main():
        async with listening() as port:
            started = asyncio.get_running_loop().time()
            answer = await said(port, *pieces, pause=0.02)
            assert 0.2 < asyncio.get_running_loop().time() - started < SOON + LATE
            assert b" 200 " not in answer
            await lives(port)

    asyncio.run(main())


@pytest.mark.parametrize("path", ["client_secrets", "calls", "sessions"])
def test_a_body_that_does_not_come_is_answered_and_ends_the_connection(path):
    """408 in the form of the API, and then the connection closes though bytes still drip."""

    async def main():
        async with listening() as port:
            head = f"POST /v1/realtime/{path} HTTP/1.1\r\nHost: x\r\n{BEARER}"
            head += "Content-Type: application/sdp\r\nContent-Length: 1000\r\n\r\n"
            started = asyncio.get_running_loop().time()
            answer = await said(port, head.encode(), *[b"v"] * 500, pause=0.02)
            assert asyncio.get_running_loop().time() - started < 2 * SOON + LATE
            status, _, body = answer.decode().partition("\r\n\r\n")
            assert status.startswith("HTTP/1.1 408 ")
            assert error_of(body)["code"] == "request_timeout"
            await lives(port)

    asyncio.run(main())


@pytest.mark.parametrize("path", ["calls", "client_secrets"])
def test_a_client_that_breaks_off_leaves_no_trace(path, caplog):
    """In mid-body, many times: nothing is kept and nothing is an error of the peer."""
    head = f"POST /v1/realtime/{path} HTTP/1.1\r\nHost: x\r\n{BEARER}"
    head += "Content-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0"

    async def main():
        async with listening() as port:
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head.encode())
                await writer.drain()
                await asyncio.sleep(0.005)  # let it read so far
                writer.transport.abort()
            await lives(port)

    asyncio.run(main())
    assert not [r for r in caplog.records if r.exc_info]


def test_a_kept_connection_ends_when_the_next_request_drips():
    """Also after a request that was answered."""

    async def main():
        async with listening() as port:
            whole = f"{MINT}Content-Length: 0\r\n\r\n".encode()
            answer = await said(port, whole, *[b"P", b"O", b"S"] * 100, pause=0.02)
            assert answer.count(b"HTTP/1.1 ") == 1 and b" 200 " in answer

    asyncio.run(main())


def test_connections_are_bounded():
    """The one too many gets 503 in the form of the API; when others go, there is room again."""

    async def main():
        async with listening(patience=10.0, connections=8) as port:
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            await asyncio.sleep(0)
            answer = (await said(port, f"{MINT}Content-Length: 0\r\n\r\n".encode())).decode()
            head, _, body = answer.partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 503 ") and "Too many" in error_of(body)["message"]
            for reader, writer in opened:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
                await reader.read()
            async with asyncio.timeout(5):
                while (await said(port, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 503"):
                    pass
            await lives(port)

    asyncio.run(main())


def test_calls_that_are_never_connected_are_bounded(monkeypatch):
    """The oldest is dropped for a new one; a connected call is not touched."""
    monkeypatch.setattr(signaling, "_HALF_OPEN", 5)

    async def main():
        async with served() as (url, serving), calling(url) as caller:
            offer, names = await an_offer(), []
            for _ in range(12):
                _, headers, _ = await exchange(url, offer)
                names.append(headers["Location"].rpartition("/")[2])
            assert len(serving.calls) == 6
            assert (await post(f"{url}/realtime/calls/{names[0]}/hangup"))[0] == 404
            assert (await post(f"{url}/realtime/calls/{names[-1]}/hangup"))[0] == 200
            caller.send("session.update", session={"type": "realtime"})
            await caller.until("session.updated")

    asyncio.run(main())


def test_sixty_four_half_open_calls_are_kept():
    """The bound that holds without being asked."""
    assert signaling._HALF_OPEN == 64


# --- large -----------------------------------------------------------------------------------------


def a_form(sdp):
    return b'--b\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n' + sdp + b"\r\n--b--\r\n"


async def drops(body):
    """Yield a body in pieces, so that it is sent without its length."""
    for i in range(0, len(body), 65_536):
        yield body[i : i + 65_536]


async def flood(url):
    """Send 20 MB in each way there is; return the statuses."""
    large = b"v" * 20_000_000
    calls, sdp = f"{url}/realtime/calls", {"Content-Type": "application/sdp"}
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    requests = [
        (calls, sdp, io.BytesIO(large)),
        (calls, sdp, drops(large)),
        (calls, form, io.BytesIO(a_form(large))),
        (f"{url}/realtime/client_secrets", {"Content-Type": "application/json"}, drops(large)),
        (f"{url}/realtime?model=gpt-realtime", sdp, io.BytesIO(large)),
        (calls, sdp | {"Content-Encoding": "gzip"}, gzip.compress(large)),
    ]
    statuses = []
    for where, headers, body in requests:
        status, _, text = await post(where, data=body, headers=dict(headers))
        assert error_of(text)
        statuses.append(status)
    return statuses


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_bodies_are_refused_and_leave_no_memory_behind():
    """413 for 20 MB in six ways, again and again: the process stays as large as after the first."""

    def resident(pid):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024  # MB

    def settled(pid):
        sizes = [resident(pid)]
        while len(sizes) < 4 or max(sizes[-4:]) - min(sizes[-4:]) > 0.5:
            assert len(sizes) < 100, sizes
            time.sleep(0.15)  # it may still prepare its clips
            sizes.append(resident(pid))
        return sizes[-1]

    with rtnb.Peer() as peer:
        assert asyncio.run(flood(peer.url)) == [413] * 6
        first = settled(peer.pid)
        for _ in range(4):
            assert asyncio.run(flood(peer.url)) == [413] * 6
        grown = settled(peer.pid) - first
        print(f"RSS after 120 MB: {first:.1f} MB; {grown:+.1f} MB after 480 MB more")
        assert grown < 20  # not one body of those 24
        assert asyncio.run(exchange(peer.url, asyncio.run(an_offer())))[0] == 201
        assert "Traceback" not in str(peer.log())


# --- garbage ---------------------------------------------------------------------------------------

GARBAGE = [
    b"\x00" * 100,
    b"\r\n\r\n\r\n",
    b"hello\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/realtime/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/realtime?call_id=x HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"\xff" * 5_000,
]


@pytest.mark.parametrize("raw", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_for_http_is_a_status_or_the_end(raw, caplog):
    """Never a trace of the peer's code, neither to the client nor in the log."""
    caplog.set_level(logging.INFO)

    async def main():
        async with listening() as port:
            answer = await said(port, raw)
            assert not answer or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4"))
            assert b"Traceback" not in answer and b".py" not in answer
            await lives(port)

    asyncio.run(main())
    assert not [r for r in caplog.records if r.exc_info]


def some_json(draw, depth):
    """Return any JSON, with a preference for the names of the API."""
    names = ["session", "type", "audio", "model", "tools", "expires_after", "seconds", "anchor"]
    kind = draw.randrange(9 if depth else 7)
    if kind < 7:
        return draw.choice(
            [None, True, 0, -1, 1e30, "", "realtime", "\ud800", "\x00", 10**30, "x" * 3_000]
        )
    if kind == 7:
        return [some_json(draw, depth - 1) for _ in range(draw.randrange(4))]
    return {draw.choice(names): some_json(draw, depth - 1) for _ in range(draw.randrange(5))}


def some_body(draw, offer):
    """Return any body, often almost a right one."""
    cut = draw.randrange(len(offer))
    return draw.choice(
        [
            lambda: draw.randbytes(draw.randrange(3_000)),
            lambda: json.dumps({"session": some_json(draw, 4)}).encode(),
            lambda: json.dumps(some_json(draw, 5)).encode(),
            lambda: b"[" * draw.randrange(100_000),
            lambda: b"",
            lambda: offer[:cut],
            lambda: offer[:cut] + draw.randbytes(20) + offer[cut:],
            lambda: offer.replace(b"a=", b"b=", draw.randrange(9)),
            lambda: a_form(offer[:cut]),
            lambda: a_form(offer)[:cut],
            lambda: b"--b\r\n" * 5_000,
        ]
    )()


def test_random_bodies_always_get_a_status(caplog):
    """On every route, of every content type: below 500, in the form of the API; then it goes on."""
    draw = random.Random(4)
    paths = ["client_secrets", "calls", "sessions", "calls/rtc_1", "calls/rtc_1/hangup", "?model=x"]
    kinds = ["application/json", "application/sdp", "multipart/form-data; boundary=b", "text/plain"]
    kinds += [
        "multipart/form-data",
        'multipart/form-data; boundary="\xe9"',
        "nonsense",
        "a/b; charset=x",
    ]
    seen = {}

    async def main():
        async with served() as (url, serving), aiohttp.ClientSession() as http:
            offer = (await an_offer()).encode()
            for _ in range(400):
                path, kind = draw.choice(paths), draw.choice(kinds)
                where = f"{url}/realtime{'' if path[0] == '?' else '/'}{path}"
                headers = {"Content-Type": kind, "Authorization": f"Bearer {KEY}"}
                body = some_body(draw, offer)
                async with http.post(where, data=body, headers=headers) as answer:
                    text = await answer.text()
                    seen[answer.status] = seen.get(answer.status, 0) + 1
                    assert answer.status < 500, (path, kind, body[:200], text)
                    assert answer.status < 400 or error_of(text)
            for call in list(serving.calls.values()):
                await call.close()
            assert (await exchange(url, offer.decode()))[0] == 201

    asyncio.run(main())
    assert {400, 404, 415} <= set(seen)
    assert not [r for r in caplog.records if r.exc_info]


# --- forms and offers ------------------------------------------------------------------------------


def part(head, value=b"v"):
    return b"--b\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


SDP = b'Content-Disposition: form-data; name="sdp"'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (part(SDP) + part(SDP) + b"--b--", "duplicate_parameter"),
        (part(SDP) + part(SDP.replace(b"sdp", b"more")) + b"--b--", "unknown_parameter"),
        (part(SDP), "invalid_form"),
        (b"--b--", "missing_required_parameter"),
        (part(b"X: y") + b"--b--", "invalid_form"),
        (part(SDP + b"\r\nContent-Transfer-Encoding: base64") + b"--b--", "invalid_form"),
        (part(SDP + b"\r\nContent-Encoding: gzip") + b"--b--", "invalid_form"),
        (part(SDP + b"\r\nX: " + b"y" * 9_000) + b"--b--", "invalid_form"),
        (part(SDP) * 17 + b"--b--", "invalid_form"),
        (b"", "invalid_form"),
        (part(SDP.replace(b"sdp", b"session"), b"[]") + part(SDP) + b"--b--", "invalid_json"),
        (part(SDP, b"hello") + b"--b--", "invalid_offer"),
    ],
)
def test_what_is_refused_of_a_form(body, code):
    """Parts that are there twice, unknown, encoded, nameless or too many; a form that does not end."""

    async def main():
        async with served() as (url, _):
            kind = {"Content-Type": "multipart/form-data; boundary=b"}
            status, _, text = await post(f"{url}/realtime/calls", data=body, headers=kind)
            assert (status, error_of(text)["code"]) == (400, code)

    asyncio.run(main())


def test_a_form_is_read_as_it_was_sent():
    """Order, empty values, line ends within, names in RFC 2231 form, and what almost ends a part."""
    value = b"v=0\r\n--bc\r\n\r\n-- b--\r\n"
    body = b"preamble\r\n" + part(SDP, value) + part(SDP.replace(b'"sdp"', b"x"), b"")
    body += (
        part(b"content-disposition: form-data; name*=utf-8''%C3%A9; filename=f") + b"--b--\r\nend"
    )
    assert form_parts(body, "b") == [("sdp", value), ("x", b""), ("\u00e9", b"v")]


@pytest.mark.parametrize("boundary", ["", "b" * 71, "b ", "\u00e9"])
def test_a_boundary_that_is_not_permitted_is_refused(boundary):
    """RFC 2046: up to 70 printable characters, the last one no space."""
    with pytest.raises(ValueError, match="boundary"):
        form_parts(b"--b--", boundary)


@pytest.mark.parametrize(
    ("audio", "fits"),
    [
        (["m=audio 9 X 111", "a=rtpmap:111 opus/48000/2"], True),
        (["m=audio 9 X 0"], True),
        (["m=audio 9 X 96 8", "a=rtpmap:96 VP8/90000"], True),
        (["m=audio 9 X 96", "a=rtpmap:96 VP8/90000"], False),
        (["m=audio 9 X 111"], False),
        (["m=audio 9 X 63", "a=rtpmap:111 opus/48000/2"], False),
        (["m=audio 9 X 0", "m=audio 9 X 103", "a=rtpmap:103 ISAC/16000"], False),
    ],
)
def test_an_offer_needs_a_codec_that_is_known(audio, fits):
    """Else the answer says which ones are."""
    wrong = what_is_wrong("\r\n".join(["v=0", *audio]))
    assert (wrong is None) == fits
    assert fits or "offer Opus (opus/48000/2)" in wrong


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET", "DELETE"])
def test_a_second_offer_on_a_call_is_refused(method):
    """405 that says what to do instead; the call goes on; 404 for a call that is not there."""

    async def main():
        async with served() as (url, _), calling(url) as caller, aiohttp.ClientSession() as http:
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/sdp"}
            offer = await an_offer()
            for name, status in ((caller.location.rpartition("/")[2], 405), ("rtc_1", 404)):
                where = f"{url}/realtime/calls/{name}"
                async with http.request(method, where, data=offer, headers=headers) as answer:
                    error = error_of(await answer.text())
                    assert answer.status == status
                    if status == 405:
                        assert "one offer" in error["message"] and "hangup" in error["message"]
                        assert answer.headers["Allow"] == "OPTIONS"
            caller.send("session.update", session={"type": "realtime"})
            await caller.until("session.updated")

    asyncio.run(main())
