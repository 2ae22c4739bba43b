"""A real token server: page, settings and keys over HTTP, and the peer behind the same port."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import aiohttp
import pytest
import requests
from scripted_server import Reply, Server, minted, refused, serving

import rtnb
from rtnb.tokenroutes import _in_a_thread
from rtnb.tokens import fetch_token

KEY = "sk-standard-Zq7Xw2Vb9Nm4Kj6"
BETA = {"client_secret": {"value": "ek_local_0123456789", "expires_at": 4_000_000_000}, "id": "s"}


@pytest.fixture(scope="module")
def server(brief_peer: rtnb.Peer) -> Iterator[rtnb.TokenServer]:
    """A token server for the peer that answers briefly."""
    with rtnb.TokenServer(brief_peer, voice="ash") as one:
        yield one


def ask(url: str, method: str = "GET", **request: object) -> requests.Response:
    """Ask, follow no redirect, and read the whole answer."""
    with closing(
        requests.request(method, url, timeout=10, allow_redirects=False, **request)
    ) as got:  # type: ignore[arg-type]
        assert got.content is not None
        return got


def error_of(answer: requests.Response) -> tuple[int, str, str | None]:
    """Return status, type and code of an error body."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return answer.status_code, error["type"], error["code"]


def upstream_of(server: Server) -> rtnb.Endpoint:
    """Return the endpoint of a scripted server, with a standard key."""
    return rtnb.Endpoint.openai(KEY, base_url=server.url)


# --- keys ----------------------------------------------------------------------------------------


def test_a_key_is_minted(server: rtnb.TokenServer) -> None:
    """In the GA shape, with what beta clients read, the session and where to call."""
    got = ask(server.token_url, params={"voice": "cedar", "model": "gpt-realtime-2"})
    body = got.json()
    assert got.status_code == 200 and got.headers["Cache-Control"] == "no-store"
    assert body["value"].startswith("ek_") and isinstance(body["expires_at"], int)
    assert body["client_secret"] == {key: body[key] for key in ("value", "expires_at")}
    assert body["session"] == {
        "type": "realtime",
        "model": "gpt-realtime-2",
        "audio": {"output": {"voice": "cedar"}},
    }
    assert body["base_url"] == server.base_url == f"{server.url}v1"


def test_what_a_request_leaves_out_is_the_servers(server: rtnb.TokenServer) -> None:
    """Its own voice, and the endpoint's model."""
    session = ask(server.token_url).json()["session"]
    assert session["audio"]["output"]["voice"] == "ash"
    assert session["model"] == rtnb.signaling.DEFAULT_MODEL


def test_a_name_of_this_machine_stays_the_same(server: rtnb.TokenServer) -> None:
    """A page at localhost is told to call localhost: that is its own origin."""
    port = server.url.rpartition(":")[2].rstrip("/")
    got = ask(server.token_url, headers={"Host": f"localhost:{port}"})
    assert got.json()["base_url"] == f"http://localhost:{port}/v1"


def test_a_whole_call_by_the_token_endpoint(server: rtnb.TokenServer) -> None:
    """`rtnb.connect(token_url=…)` needs nothing else: no key, no address."""
    with rtnb.connect(token_url=server.token_url) as session:
        turn = session.ask("Hello, how are you today?")
    assert turn.transcript == "Hello! I am doing fine today."
    assert session.endpoint.base_url == server.base_url


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_other_servers_keys_take_the_same_shape(dialect: str) -> None:
    """A flat session with its client_secret becomes the one answer, too."""
    reply = minted(expires_at=4_000_000_000) if dialect == "ga" else Reply(200, json.dumps(BETA))
    with serving(reply) as upstream:
        make = {"ga": rtnb.Endpoint.custom, "beta": rtnb.Endpoint.beta}[dialect]
        with rtnb.TokenServer(make(upstream.url, KEY), model="m", voice="ash") as one:
            body = ask(one.token_url).json()
            key, base_url = fetch_token(one.token_url)
    assert (body["value"], body["expires_at"]) == ("ek_local_0123456789", 4_000_000_000)
    assert body["session"] == {
        "type": "realtime",
        "model": "m",
        "audio": {"output": {"voice": "ash"}},
    }
    assert (key.reveal(), base_url) == (body["value"], upstream.url)
    asked = upstream.requests[0]
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert ("session" in asked.json) == (dialect == "ga")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"voice": "a b"}, "voice"),
        ({"voice": "<script>"}, "voice"),
        ({"model": "x" * 65}, "model"),
        ({"model": "../m"}, "model"),
        ({"model": "m\r\nX: y"}, "model"),
    ],
)
def test_what_is_no_name_is_refused(
    query: dict[str, str], param: str, server: rtnb.TokenServer
) -> None:
    """And not repeated."""
    got = ask(server.token_url, params=query)
    assert error_of(got) == (400, "invalid_request_error", "invalid_value")
    assert got.json()["error"]["param"] == param and query[param] not in got.text


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (refused(401, "invalid_api_key"), 401, "invalid_api_key"),
        (refused(429, "insufficient_quota"), 429, "insufficient_quota"),
        (refused(400, "invalid_model"), 400, "invalid_model"),
        (refused(500), 500, None),
        (Reply(302, headers={"Location": "https://evil.example/"}), 502, None),
        (Reply(200, "{}"), 502, None),
        (Reply(200, "<html>", "text/html"), 502, None),
    ],
)
def test_trouble_upstream_is_told_in_the_apis_words(
    reply: Reply, status: int, code: str | None
) -> None:
    """With its status, or 502 where its answer is none; the server goes on."""
    with serving(reply) as upstream, rtnb.TokenServer(upstream_of(upstream)) as one:
        got = ask(one.token_url)
        assert (error_of(got)[0], error_of(got)[2]) == (status, code)
        assert ask(one.url).status_code == 200


def test_nobody_upstream_is_a_bad_gateway() -> None:
    """With a sentence that says so."""
    with serving(minted()) as upstream:
        endpoint = upstream_of(upstream)
    with rtnb.TokenServer(endpoint) as one:
        assert error_of(ask(one.token_url)) == (502, "server_error", "unreachable")


def test_a_closed_peer_is_a_bad_gateway() -> None:
    """For keys and for calls; the page is still there."""
    with rtnb.Peer() as peer, rtnb.TokenServer(peer) as one:
        peer.close()
        assert error_of(ask(one.token_url)) == (502, "server_error", "unreachable")
        got = ask(f"{one.base_url}/realtime/client_secrets", "POST", json={})
        assert error_of(got) == (502, "server_error", "peer_gone")
        assert ask(one.url).status_code == 200


def test_keys_cannot_be_had_without_end(brief_peer: rtnb.Peer) -> None:
    """Ten at once; then it is said when to ask again, and page and settings are as before."""
    with rtnb.TokenServer(brief_peer) as one:
        answers = [ask(one.token_url) for _ in range(12)]
        assert [got.status_code for got in answers[:10]] == [200] * 10
        assert error_of(answers[-1]) == (429, "rate_limit_exceeded", "rate_limit_exceeded")
        assert answers[-1].headers["Retry-After"] in ("1", "2")
        assert ask(f"{one.url}config").status_code == 200
        with pytest.raises(rtnb.QuotaError, match="too often"):
            fetch_token(one.token_url)


def test_a_slow_upstream_keeps_nobody_waiting() -> None:
    """Closing does not wait for a key that is being minted, and the page is served meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with rtnb.TokenServer(rtnb.Endpoint.openai(KEY, base_url=url)) as one:
            asking = pool.submit(ask, one.token_url)
            with silent.accept()[0]:  # the request for a key has come, and is not answered
                assert ask(one.url).status_code == 200
                one.close()
                assert one.closed and isinstance(asking.exception(5), requests.ConnectionError)


def test_a_key_that_nobody_waits_for_any_more_is_let_go() -> None:
    """The page was left while it was minted; the loop goes on without a complaint."""

    async def main() -> list[str]:
        complaints: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, about: complaints.append(str(about))
        )
        begun, minted_now = threading.Event(), threading.Event()
        threads: list[threading.Thread] = []

        def mint() -> None:
            threads.append(threading.current_thread())
            begun.set()
            minted_now.wait(10)

        asking = asyncio.create_task(_in_a_thread(mint))
        await asyncio.to_thread(begun.wait, 10)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        minted_now.set()
        await asyncio.to_thread(threads[0].join, 10)
        await asyncio.sleep(0)
        return complaints

    assert asyncio.run(main()) == []


# --- page and settings ---------------------------------------------------------------------------


def test_the_settings_of_a_peer(server: rtnb.TokenServer) -> None:
    """The base URL is on the page's own origin."""
    config = ask(f"{server.url}config").json()
    assert config["target"] == "peer" and config["base_url"] == "/v1" and config["mints"] is True
    assert config["voice"] == "ash" and "marin" in config["voices"]
    assert config["model"] == rtnb.signaling.DEFAULT_MODEL == config["models"][0]
    assert (config["dialect"], config["unusable"]) == ("ga", None)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (rtnb.Endpoint.openai(KEY), ("openai", "https://api.openai.com/v1", True, "ga", True)),
        (
            rtnb.Endpoint.beta("https://a.example/v1", KEY),
            ("other", "https://a.example/v1", True, "beta", False),
        ),
        (
            rtnb.Endpoint.localai("http://127.0.0.1:9", model="m"),
            ("other", "http://127.0.0.1:9/v1", False, "ga", False),
        ),
    ],
    ids=["openai", "beta", "localai"],
)
def test_the_settings_of_other_servers(
    endpoint: rtnb.Endpoint, expected: tuple[object, ...]
) -> None:
    """Where to call, whether keys are minted, and whether the page can be used."""
    with rtnb.TokenServer(endpoint) as one:
        config = ask(f"{one.url}config").json()
        names = ("target", "base_url", "mints", "dialect")
        assert (*(config[name] for name in names), config["unusable"] is None) == expected
        assert KEY not in json.dumps(config)
        if not config["mints"]:
            assert error_of(ask(one.token_url)) == (501, "server_error", "not_implemented")
        policy = ask(one.url).headers["Content-Security-Policy"]
        origin = "/".join(str(config["base_url"]).split("/")[:3])
        assert f"connect-src 'self' {origin};" in policy


def test_the_page_runs_nothing_but_its_own(server: rtnb.TokenServer) -> None:
    """Its files come with a strict policy; nothing is kept, framed or guessed."""
    page = ask(server.url)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy and "*" not in policy
    expected = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    assert expected.items() <= dict(page.headers).items()
    assert page.headers["Permissions-Policy"].startswith("microphone=(self)")
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css")):
        got = ask(server.url + name)
        assert got.status_code == 200 and got.headers["Content-Type"].startswith(kind)
        assert got.headers["Content-Security-Policy"] == policy


@pytest.mark.parametrize("path", ["nothing", "../serve.py", "%2e%2e/serve.py", "page/", "v2/x"])
def test_nothing_else_is_served(path: str, server: rtnb.TokenServer) -> None:
    """What the page consists of is a list, not a folder."""
    assert error_of(ask(server.url + path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE"])
def test_keys_are_got_by_get_alone(method: str, server: rtnb.TokenServer) -> None:
    """A HEAD of a curious program mints none."""
    assert ask(server.token_url, method).status_code == 405


# --- the peer behind it --------------------------------------------------------------------------


def test_the_peer_is_on_the_same_port(server: rtnb.TokenServer) -> None:
    """Its answers, refusals and headers are those of the peer itself."""
    url = f"{server.base_url}/realtime"
    bearer = {"Authorization": "Bearer any-key-at-all"}
    assert error_of(ask(f"{url}/client_secrets", "POST"))[0] == 401
    minted = ask(f"{url}/client_secrets", "POST", headers=bearer, json={})
    assert minted.json()["value"].startswith("ek_")
    odd = ask(f"{url}/calls", "POST", headers=bearer, data=b"v=0")
    assert error_of(odd)[0] == 415 and "'none'" in odd.text  # no header is made up
    assert error_of(ask(f"{url}/calls/rtc_none/hangup", "POST", headers=bearer))[0] == 404
    assert ask(f"{url}/calls/rtc_none", "PUT", headers=bearer).status_code == 404


def test_a_body_may_come_in_parts(server: rtnb.TokenServer) -> None:
    """Without a length; and one that is too large is refused as the peer would."""
    url = f"{server.base_url}/realtime/client_secrets"
    head = {"Authorization": "Bearer any-key-at-all", "Content-Type": "application/json"}
    parts = iter([b'{"session": {"type": "realtime", ', b'"instructions": "Be brief."}}'])
    got = ask(url, "POST", headers=head, data=parts)
    assert got.json()["session"]["instructions"] == "Be brief."
    large = ask(url, "POST", headers=head, data=b" " * (1024 * 1024 + 1))
    assert error_of(large)[0] == 413


def test_a_body_that_cannot_be_read_is_the_callers_mistake(
    brief_peer: rtnb.Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused, and no traceback appears below a cell."""
    with rtnb.TokenServer(brief_peer) as one, requests.Session() as http:
        url = f"{one.base_url}/realtime/client_secrets"
        got = http.post(url, headers={"Content-Encoding": "gzip"}, data=b"{}", timeout=10)
    assert error_of(got) == (400, "invalid_request_error", "invalid_body")
    assert [one for one in caplog.records if one.exc_info or one.levelname == "ERROR"] == []


def test_a_page_of_this_machine_may_call_the_peer(server: rtnb.TokenServer) -> None:
    """As it may call a peer that stands alone; one from elsewhere may not."""
    url = f"{server.base_url}/realtime/calls"
    asking = {"Access-Control-Request-Method": "POST"}
    local = ask(url, "OPTIONS", headers={"Origin": "http://localhost:3000", **asking})
    assert local.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    foreign = ask(url, "OPTIONS", headers={"Origin": "https://evil.example", **asking})
    assert foreign.status_code == 403 and "Access-Control-Allow-Origin" not in foreign.headers


def test_a_sideband_goes_through(server: rtnb.TokenServer) -> None:
    """The call's location is on this port, and a WebSocket there has its events, both ways."""

    async def main(call: str) -> list[str]:
        head = {"Authorization": "Bearer any-key-at-all"}
        where = f"{server.base_url}/realtime?call_id={call}"
        async with aiohttp.ClientSession(headers=head) as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(f"{server.base_url}/realtime?call_id=rtc_none")
            assert caught.value.status == 404
            async with http.ws_connect(where) as beside, asyncio.timeout(10):
                await beside.send_json({"type": "session.update", "session": {"type": "realtime"}})
                types = [(await beside.receive_json())["type"]]
                over = await http.post(f"{server.base_url}/realtime/calls/{call}/hangup")
                assert over.status == 200
                while (message := await beside.receive()).type is aiohttp.WSMsgType.TEXT:
                    types.append(json.loads(message.data)["type"])
                assert beside.close_code == 1000
        return types

    endpoint = rtnb.Endpoint.for_peer(server.base_url)
    with rtnb.connect(endpoint) as session:
        assert session.call_id is not None
        assert "session.updated" in asyncio.run(main(session.call_id))


@pytest.mark.parametrize("mode", ["azure", "localai"])
def test_peers_of_other_shapes_are_served(mode: str) -> None:
    """At the base URL that the server names; keys only where such servers mint them."""
    with rtnb.Peer(mode=mode) as peer, rtnb.TokenServer(peer) as one:
        config = ask(f"{one.url}config").json()
        assert config["base_url"] == one.base_url.removeprefix(one.url.rstrip("/"))
        assert (config["unusable"] is None) == config["mints"] == (mode == "azure")
        assert ask(one.token_url).status_code == (200 if mode == "azure" else 501)
        got = ask(f"{one.base_url}/realtime/calls", "POST", headers={"api-key": "any"})
        assert got.status_code in (400, 404, 415, 422)


# --- its life ------------------------------------------------------------------------------------


def test_a_server_without_a_target_has_a_peer_of_its_own() -> None:
    """Which ends with it; closing twice does no harm."""
    with rtnb.TokenServer() as one:
        peer = one._finalizer.peek()[2][1]  # type: ignore[index]
        assert fetch_token(one.token_url)[1] == one.base_url and not peer.closed
    assert peer.closed and one.closed and "(closed)" in repr(one)
    one.close()
    with pytest.raises(requests.ConnectionError):
        ask(one.url)


def test_a_collected_server_may_be_closed_by_its_own_thread(
    brief_peer: rtnb.Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """The collector runs in any thread; one cannot wait for itself."""
    one = rtnb.TokenServer(brief_peer)
    assert one._thread._loop is not None
    one._thread._loop.call_soon_threadsafe(one.close)
    assert one.wait(5) and "join" not in caplog.text


def test_a_peer_that_was_given_stays(server: rtnb.TokenServer, brief_peer: rtnb.Peer) -> None:
    """It belongs to whoever made it."""
    with rtnb.TokenServer(brief_peer):
        pass
    assert not brief_peer.closed


def test_it_runs_beside_a_loop_of_the_users(brief_peer: rtnb.Peer) -> None:
    """As in a notebook: made, used and closed in a thread with a running event loop."""

    async def main() -> int:
        with rtnb.TokenServer(brief_peer) as one:
            async with aiohttp.ClientSession() as http, http.get(one.token_url) as got:
                return got.status

    assert asyncio.run(main()) == 200


def test_a_taken_port_is_told(server: rtnb.TokenServer, brief_peer: rtnb.Peer) -> None:
    """One sentence with the port; and a peer of its own does not stay behind."""
    port = int(server.url.rpartition(":")[2].rstrip("/"))
    with pytest.raises(rtnb.ConfigurationError, match=f"Port {port} of 127.0.0.1 cannot"):
        rtnb.TokenServer(brief_peer, port=port)


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1},
        {"port": "8177"},
        {"voice": "a b"},
        {"model": ""},
        {"target": 3},
        {"target": "ftp://a.example"},
        {"host": "0.0.0.0"},
        {"target": rtnb.Endpoint.openai()},
    ],
    ids=str,
)
def test_what_cannot_be_is_told(options: dict[str, object]) -> None:
    """Before anything is started."""
    with pytest.raises(rtnb.ConfigurationError):
        rtnb.TokenServer(**options)  # type: ignore[arg-type]


def test_openai_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the argument or the environment, found as `connect` does."""
    with pytest.raises(rtnb.MissingKeyError, match="OPENAI_API_KEY"):
        rtnb.TokenServer("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with rtnb.TokenServer("openai") as one:
        assert one.base_url == "https://api.openai.com/v1" and "for OpenAI" in repr(one)
