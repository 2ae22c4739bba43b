"""What a token server refuses, and what it never shows: over HTTP, as pages and strangers would ask."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from scripted_server import Reply, minted, refused, serving

import rtnb
from rtnb.serve import _close
from rtnb.tokens import fetch_token

KEY = "sk-standard-Zq7Xw2Vb9Nm4Kj6"
TOKEN = "an-access-token-of-tests"
ACCESS = {"Authorization": f"Bearer {TOKEN}"}
FRIEND = "https://voice.example"


@pytest.fixture(scope="module")
def locked_peer() -> Iterator[rtnb.Peer]:
    """A peer that takes one key only."""
    with rtnb.Peer(key=KEY) as one:
        yield one


@pytest.fixture(scope="module")
def server(locked_peer: rtnb.Peer) -> Iterator[rtnb.TokenServer]:
    """A server for this machine, and for the pages of one other origin."""
    with rtnb.TokenServer(locked_peer, allow_origins=[FRIEND]) as one:
        yield one


@pytest.fixture(scope="module")
def public(locked_peer: rtnb.Peer) -> Iterator[rtnb.TokenServer]:
    """A server that strangers reach, as behind a proxy."""
    with rtnb.TokenServer(
        locked_peer, public=True, access_token=TOKEN, allow_origins=[FRIEND]
    ) as one:
        yield one


def ask(url: str, method: str = "GET", **request: object) -> requests.Response:
    """Ask, follow no redirect, and read the whole answer."""
    with closing(
        requests.request(method, url, timeout=10, allow_redirects=False, **request)
    ) as got:  # type: ignore[arg-type]
        assert got.content is not None
        return got


def code_of(answer: requests.Response) -> tuple[int, str | None]:
    """Return status and code of an error body."""
    return answer.status_code, answer.json()["error"]["code"]


# --- foreign pages -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["session", "config"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_foreign_page_gets_and_triggers_nothing(
    path: str, headers: dict[str, str], server: rtnb.TokenServer
) -> None:
    """Neither by fetch nor as an image or a link; no CORS header lets it read the refusal."""
    got = ask(server.url + path, headers=headers)
    assert code_of(got) == (403, "origin_not_allowed")
    assert not [name for name in got.headers if name.lower().startswith("access-control")]


def test_a_foreign_page_has_no_key_minted() -> None:
    """The server above is not even asked."""
    with serving(minted()) as upstream:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=upstream.url)
        with rtnb.TokenServer(endpoint) as one:
            ask(one.token_url, headers={"Origin": "https://evil.example"})
            ask(one.token_url, headers={"Sec-Fetch-Site": "cross-site"})
            ask(one.token_url, headers={"Host": "evil.example"})
            ask(one.token_url, headers={"X-Forwarded-For": "203.0.113.9"})
            ask(one.token_url, "HEAD")
            ask(one.token_url, "POST")
            assert upstream.requests == []
            assert ask(one.token_url).status_code == 200
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("path", ["", "page.js", "session", "config", "v1/realtime/calls", "none"])
def test_a_rebound_name_gets_nothing(path: str, server: rtnb.TokenServer) -> None:
    """A page of `evil.example` whose name now leads here is of one origin with what it asks for."""
    port = server.url.rpartition(":")[2].rstrip("/")
    headers = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}
    assert code_of(ask(server.url + path, headers=headers)) == (403, "host_not_allowed")


@pytest.mark.parametrize("origin", [FRIEND, None])
def test_an_allowed_page_may_ask(origin: str | None, server: rtnb.TokenServer) -> None:
    """A friend, and the page itself; the answer names that origin and never all."""
    origin = origin or server.url.rstrip("/")
    asking = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    before = ask(
        server.token_url,
        "OPTIONS",
        headers={**asking, "Access-Control-Request-Private-Network": "true"},
    )
    assert before.status_code == 204 and before.headers["Vary"] == "Origin"
    assert before.headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Authorization" in before.headers["Access-Control-Allow-Headers"]
    got = ask(server.token_url, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert got.json()["value"].startswith("ek_")
    for answer in (before, got):
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_foreign_page_may_not_ask_first(server: rtnb.TokenServer) -> None:
    """Its preflight is refused without a word on what would be allowed."""
    got = ask(
        server.token_url,
        "OPTIONS",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    )
    assert got.status_code == 403 and "Access-Control-Allow-Origin" not in got.headers


def test_an_allowed_page_reads_refusals_too(server: rtnb.TokenServer) -> None:
    """So that it can say what was wrong."""
    got = ask(server.token_url, params={"voice": "a b"}, headers={"Origin": FRIEND})
    assert got.status_code == 400 and got.headers["Access-Control-Allow-Origin"] == FRIEND


def test_an_allowed_page_calls_the_peer_too(server: rtnb.TokenServer) -> None:
    """Which alone would refuse that origin: it is not told of it."""
    bearer = {"Origin": FRIEND, "Authorization": f"Bearer {KEY}"}
    got = ask(f"{server.base_url}/realtime/client_secrets", "POST", headers=bearer, json={})
    assert got.status_code == 200 and got.headers["Access-Control-Allow-Origin"] == FRIEND


# --- strangers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["session", "config", "v1/realtime/client_secrets", "none"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}],
    ids=["none", "wrong", "basic"],
)
def test_a_public_server_wants_its_token(
    path: str, headers: dict[str, str], public: rtnb.TokenServer
) -> None:
    """For all but the page's own files, and nothing of it is repeated."""
    got = ask(public.url + path, headers=headers)
    assert code_of(got) == (401, "access_token_needed")
    assert got.headers["WWW-Authenticate"] == "Bearer" and TOKEN not in got.text


def test_a_public_server_shows_its_page() -> None:
    """The page holds nothing; the token comes in the address's fragment, which is never sent."""
    with rtnb.TokenServer(rtnb.Endpoint.openai(KEY), public=True) as one:
        for name in ("", "page.js", "page.css"):
            got = ask(one.url + name)
            assert got.status_code == 200
            assert one.access_token and one.access_token not in got.text


def test_the_token_opens_a_public_server(public: rtnb.TokenServer) -> None:
    """Settings, keys, and the peer behind it, with the name of the proxy in front."""
    assert ask(f"{public.url}config", headers=ACCESS).json()["base_url"] == "/v1"
    proxied = {"Host": "voice.example", "X-Forwarded-For": "203.0.113.9", **ACCESS}
    assert ask(public.token_url, headers=proxied).json()["base_url"] == f"{FRIEND}/v1"
    key, base_url = fetch_token(public.token_url, ACCESS)
    assert key.reveal().startswith("ek_") and base_url == public.base_url
    with pytest.raises(rtnb.AuthenticationError, match="token_headers="):
        fetch_token(public.token_url)


def test_a_public_peer_takes_the_token_or_what_was_minted(public: rtnb.TokenServer) -> None:
    """The access token stands for the peer's key, which stays here; a made-up key is none."""
    mint, calls = (f"{public.base_url}/realtime/{name}" for name in ("client_secrets", "calls"))
    minted = ask(mint, "POST", headers=ACCESS, json={})
    assert minted.status_code == 200
    made_up = {"Authorization": "Bearer ek_made_up_0123456789"}
    assert ask(calls, "POST", headers=made_up, data="x").status_code == 401
    bearer = {"Authorization": f"Bearer {minted.json()['value']}"}
    assert ask(calls, "POST", headers=bearer, data="x").status_code == 415  # past the key
    assert ask(mint, "POST", headers=bearer, json={}).status_code == 401
    foreign = {"Origin": "http://localhost:3000", **ACCESS}
    assert ask(mint, "POST", headers=foreign, json={}).status_code == 403


def test_a_public_peer_that_mints_no_keys_takes_the_token_alone() -> None:
    """Such a peer looks at no key: what looks like a minted one must not pass by the token."""
    made_up = {"Authorization": "Bearer ek_made_up_0123456789"}
    with rtnb.Peer(mode="localai") as peer:
        with rtnb.TokenServer(peer, public=True, access_token=TOKEN) as one:
            url = f"{one.base_url}/realtime/calls"
            assert code_of(ask(url, "POST", headers=made_up)) == (401, "access_token_needed")
            assert ask(url, "POST", headers=ACCESS).status_code == 400  # past the token


def test_a_preflight_has_no_token(public: rtnb.TokenServer) -> None:
    """Browsers send none; what follows needs it."""
    asking = {"Origin": FRIEND, "Access-Control-Request-Method": "GET"}
    for url in (public.token_url, f"{public.base_url}/realtime/calls"):
        assert ask(url, "OPTIONS", headers=asking).status_code == 204
    assert ask(public.token_url, headers={"Origin": FRIEND}).status_code == 401


def test_plain_http_over_the_network_is_said(locked_peer: rtnb.Peer) -> None:
    """One sentence; behind a proxy on this machine there is nothing to say."""
    with rtnb.TokenServer(locked_peer, host="0.0.0.0", public=True) as one:
        assert one.warning is not None and "TLS" in one.warning
        assert one.url.startswith("http://127.0.0.1:")
        assert one.access_token is not None and one.access_token not in one.url
    with rtnb.TokenServer(locked_peer, public=True) as one:
        assert one.warning is None


# --- what is never shown -------------------------------------------------------------------------


@dataclass
class Seen:
    """What a server has shown."""

    answers: list[str]
    logged: str
    printed: str
    objects: list[str]


@pytest.fixture(scope="module")
def seen(locked_peer: rtnb.Peer) -> Seen:
    """Everything that a public server shows in its life, its faults included."""
    log, out = io.StringIO(), io.StringIO()
    handler, root = logging.StreamHandler(log), logging.getLogger()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    answers: list[str] = []

    def note(got: requests.Response) -> None:
        answers.append(f"{got.status_code} {dict(got.headers)} {got.text}")

    try:
        with redirect_stdout(out), redirect_stderr(out):
            with rtnb.TokenServer(locked_peer, public=True, access_token=TOKEN) as one:
                for path in ("", "page.js", "page.css", "config", "session", "none", "v1/none"):
                    for headers in ({}, ACCESS, {"Origin": "https://evil.example"}):
                        note(ask(one.url + path, headers=headers))
                objects = [repr(one), one._repr_html_(), repr(vars(one)), repr(one._guard)]
            for reply in (
                refused(401, message=f"Wrong: {KEY}"),
                Reply(200, f'{{"value": "{KEY}"}}'),
            ):
                with serving(reply) as upstream:
                    endpoint = rtnb.Endpoint.openai(KEY, base_url=upstream.url)
                    with rtnb.TokenServer(endpoint) as one:
                        note(ask(f"{one.token_url}?voice=ash"))
            objects += [_refusal(one.token_url)]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return Seen(answers, log.getvalue(), out.getvalue(), objects)


def _refusal(url: str) -> str:
    """Return the traceback of a server that is gone."""
    try:
        fetch_token(url, ACCESS)
    except rtnb.RtnbError as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError


def test_no_answer_holds_the_standard_key(seen: Seen) -> None:
    """Neither page, settings, keys nor refusals; nor the access token."""
    assert len(seen.answers) == 23
    for answer in seen.answers:
        assert KEY not in answer and TOKEN not in answer


def test_an_upstream_that_gives_the_standard_key_gives_nothing(seen: Seen) -> None:
    """What would have held it is 502 instead."""
    assert seen.answers[-1].startswith("502 ") and "no_ephemeral_key" in seen.answers[-1]


def test_no_log_holds_a_key_or_a_token(seen: Seen) -> None:
    """With every logger at DEBUG; nor are queries logged."""
    assert "GET /none is refused: 401 access_token_needed" in seen.logged
    for text in (seen.logged, seen.printed):
        assert KEY not in text and TOKEN not in text and "ek_" not in text
    assert seen.printed == ""
    own = [line for line in seen.logged.splitlines() if "is refused" in line]
    assert own and not [line for line in own if "voice=" in line]
    assert "aiohttp.access" not in seen.logged  # it would have the query


def test_no_object_shows_a_key_or_a_token(seen: Seen) -> None:
    """Neither reprs, HTML, attributes nor tracebacks."""
    for text in seen.objects:
        assert KEY not in text and TOKEN not in text


def test_no_run_and_no_widget_of_such_a_call_holds_a_key(
    public: rtnb.TokenServer, tmp_path: Path
) -> None:
    """Neither standard key, ephemeral key, access token nor the ICE passwords."""
    microphone, speaker = rtnb.Microphone(), rtnb.Speaker()
    with rtnb.connect(
        token_url=public.token_url,
        token_headers=ACCESS,
        record_to=tmp_path / "run",
        microphone=microphone,
        speaker=speaker,
    ) as session:
        session.ask("What is the capital of France?")
        passwords = re.findall(r"a=ice-pwd:(\S+)", str(session._offered))
        shown = [repr(session), session._repr_html_(), str(vars(session))]
        shown += [str(widget.get_state()) for widget in (microphone, speaker)]
    files = [path for path in (tmp_path / "run").rglob("*.*") if path.suffix != ".wav"]
    shown += [path.read_text(encoding="utf-8") for path in files]
    assert passwords and len(files) >= 4
    for text in shown:
        assert KEY not in text and TOKEN not in text and "ek_" not in text
    for text in shown[3:]:
        assert not [one for one in passwords if one in text]


def test_a_key_in_the_path_is_masked(
    server: rtnb.TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Where somebody has pasted it into the wrong place."""
    with caplog.at_level(logging.INFO, "rtnb"):
        got = ask(f"{server.url}{KEY}")
    assert got.json()["error"]["message"] == "Not Found (GET /•••)"
    assert "GET /••• is refused: 404" in caplog.text and KEY not in caplog.text


def test_a_refusal_from_above_is_masked() -> None:
    """A message that repeats the key, whatever it looks like, is passed on without it."""
    own = "a-key-of-another-kind-4567"
    with serving(refused(400, message=f"Wrong: {own} or ek_0123456789")) as upstream:
        with rtnb.TokenServer(rtnb.Endpoint.custom(upstream.url, own)) as one:
            got = ask(one.token_url)
    assert got.status_code == 400 and "Wrong: ••• or •••" in got.json()["error"]["message"]


def test_a_short_key_is_no_chance_find() -> None:
    """Servers on this machine are given keys such as `local`, which a minted one may well hold."""
    with serving(minted()) as upstream:
        with rtnb.TokenServer(rtnb.Endpoint.custom(upstream.url, "local")) as one:
            assert ask(one.token_url).json()["value"] == "ek_local_0123456789"


@pytest.mark.parametrize(("field", "before"), [("value", ""), ("value", "ek_"), ("more", "")])
def test_whatever_holds_the_standard_key_is_not_sent(field: str, before: str) -> None:
    """A proxy's key that is no `sk-` is compared, not guessed."""
    own = "a-key-of-another-kind-0123"
    body = {"value": "ek_local_0123456789", "expires_at": 4_000_000_000} | {field: before + own}
    with serving(Reply(200, json.dumps(body))) as upstream:
        endpoint = rtnb.Endpoint.custom(upstream.url, own)
        with rtnb.TokenServer(endpoint) as one:
            got = ask(one.token_url)
    assert own not in got.text
    assert got.status_code == (502 if field == "value" else 200)


def test_another_standard_key_is_not_sent_either() -> None:
    """A gateway that answers with the key of its own account."""
    with serving(minted("sk-of-the-gateway-0123456789")) as upstream:
        with rtnb.TokenServer(rtnb.Endpoint.openai(KEY, base_url=upstream.url)) as one:
            got = ask(one.token_url)
    assert code_of(got) == (502, "no_ephemeral_key") and "sk-of" not in got.text


def test_a_forked_child_closes_nothing(locked_peer: rtnb.Peer) -> None:
    """Its copy of the server ends without a word to the parent's, or to its peer."""
    with rtnb.TokenServer(locked_peer) as one:
        _close(one._thread, locked_peer, os.getpid() + 1)
        assert not one.closed and not locked_peer.closed


def test_nothing_is_left_of_a_closed_server(locked_peer: rtnb.Peer) -> None:
    """No thread, no socket; and a server that nobody holds any more ends too."""
    one = rtnb.TokenServer(locked_peer)
    thread = one._thread._thread
    url = one.url
    del one
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(requests.ConnectionError):
        ask(url)
