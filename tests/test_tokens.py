"""Keys fetched from token endpoints of any kind, over real HTTP: what is taken, refused, shown."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
from scripted_server import Reply, Server, minted, refused, serving

import rtnb
from rtnb.tokens import _base_url_of, fetch_token

KEY = "ek_local_0123456789"
HEADER = "Bearer a-token-of-the-user-0123"


def answer(**body: Any) -> Reply:
    """Return an answer with this JSON."""
    return Reply(200, json.dumps(body))


def address(server: Server, path: str = "/session") -> str:
    """Return the address of a token endpoint at that server."""
    return server.url.removesuffix("/v1") + path


def fetched(*replies: Reply, headers: dict[str, str] | None = None) -> tuple[Any, Any, Server]:
    """Return what is fetched from a server with these answers, and the server."""
    with serving(*replies) as server:
        key, base_url = fetch_token(address(server), headers, timeout=10)
    return key, base_url, server


@pytest.mark.parametrize(
    "body",
    [
        {"value": KEY, "expires_at": 4_000_000_000},
        {"client_secret": {"value": KEY, "expires_at": 4_000_000_000}, "id": "sess_1"},
        {"client_secret": KEY, "expires_at": 4_000_000_000},
        {"token": KEY, "expires_at": 4_000_000_000_000},  # in milliseconds
        {"ephemeral_key": KEY, "expires_at": 4_000_000_000},
        {"token": {"value": KEY}, "expires_at": 4_000_000_000},
    ],
    ids=str,
)
def test_keys_go_by_many_names(body: dict[str, Any]) -> None:
    """The GA and the beta route's answers, and what servers in between make of them."""
    key, base_url, server = fetched(answer(**body))
    assert (key.reveal(), key.expires_at, base_url) == (KEY, 4_000_000_000, None)
    assert [(one.method, one.path) for one in server.requests] == [("GET", "/session")]


@pytest.mark.parametrize("when", [None, "tomorrow", True, -1, float("inf")])
def test_an_end_that_is_no_time_is_not_known(when: object) -> None:
    """The key can be used all the same."""
    assert fetched(answer(value=KEY, expires_at=when))[0].expires_at is None


def test_headers_are_sent() -> None:
    """Those of the user, to that server only."""
    _, _, server = fetched(minted(), headers={"Authorization": HEADER, "X-Team": "a"})
    sent = server.requests[0].headers
    assert (sent["Authorization"], sent["X-Team"]) == (HEADER, "a")
    assert "Cookie" not in sent


def test_an_endpoint_that_wants_a_post_gets_one() -> None:
    """After 405, once, with the same headers."""
    *_, server = fetched(Reply(405), minted(), headers={"Authorization": HEADER})
    assert [one.method for one in server.requests] == ["GET", "POST"]
    assert server.requests[1].headers["Authorization"] == HEADER


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("/v1", "http://127.0.0.1:8177/v1"),
        ("http://127.0.0.1:8177/v1/", "http://127.0.0.1:8177/v1"),
        ("http://localhost:9/v1", "http://localhost:9/v1"),  # as much this machine
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://api.openai.com.evil.example/v1", None),
        ("https://evil.example/v1", None),
        ("//evil.example/v1", None),
        ("http://api.openai.com/v1", None),
        ("https://u:p@api.openai.com/v1", None),
        ("/v1?x=1", None),
        ("http://[::1", None),
        ("ftp://127.0.0.1:8177/v1", None),
        (3, None),
    ],
)
def test_an_endpoint_speaks_for_its_own_server(named: Any, meant: str | None) -> None:
    """Sound goes nowhere else because an answer says so; OpenAI's own address is no stranger."""
    assert _base_url_of({"base_url": named}, "http://127.0.0.1:8177/session") == meant


@pytest.mark.parametrize("named", ["http://127.0.0.1:9/v1", "https://other.example/v1"])
def test_an_endpoint_elsewhere_does_not_speak_for_this_machine(named: str) -> None:
    """What it names is neither its own nor OpenAI's."""
    assert _base_url_of({"base_url": named}, "https://voice.example/session") is None
    assert _base_url_of({"base_url": "/v1"}, "https://voice.example/session") is not None


def test_the_base_url_comes_with_the_key() -> None:
    """A path is meant on the endpoint's own server."""
    _, base_url, server = fetched(answer(value=KEY, base_url="/v1"))
    assert base_url == server.url


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [{"value": "sk-proj-Zq7Xw2Vb9Nm4Kj6Hg8Fd"}, {"client_secret": {"value": " sk-Zq7Xw2Vb9"}}],
)
def test_a_standard_key_is_refused(body: dict[str, Any]) -> None:
    """The sentence says that the endpoint gives it away, and does not."""
    with pytest.raises(rtnb.SignalingError, match="gives its standard key away") as caught:
        fetched(answer(**body))
    assert "Zq7Xw2Vb9" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        answer(),
        answer(value=""),
        answer(value=3),
        answer(value="two words"),
        answer(client_secret={"value": None}),
        Reply(200, "[]"),
        Reply(200, "null"),
        Reply(200, "<html>ek_local_0123456789</html>", "text/html"),
        Reply(200, json.dumps({"value": KEY, "more": "x" * 70_000})),
        Reply(200, "[" * 50_000),
        Reply(204),
    ],
    ids=lambda reply: reply.body[:30],
)
def test_an_answer_without_a_key_is_told(reply: Reply) -> None:
    """No JSON, none that holds a key, or more than an answer can be."""
    with pytest.raises(rtnb.errors.DialectError, match="no ephemeral key; check token_url="):
        fetched(reply)


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (refused(401), "AuthenticationError", "give what it wants as token_headers="),
        (refused(403, "origin_not_allowed"), "AuthenticationError", "token_headers="),
        (refused(429, "rate_limit_exceeded"), "QuotaError", "too often"),
        (refused(429, "insufficient_quota"), "QuotaError", "No credit"),
        (refused(400, "invalid_model"), "ModelError", "does not offer that model"),
        (refused(404), "SignalingError", "rtnb serve ends with /session"),
        (refused(502, "unreachable"), "SignalingError", "trouble of its own"),
        (Reply(500, "<html>"), "SignalingError", "trouble of its own"),
        (Reply(302), "SignalingError", "gave no key"),
    ],
)
def test_refusals_are_errors_of_their_kind(reply: Reply, kind: str, said: str) -> None:
    """With the status, the code and the server's words."""
    with pytest.raises(rtnb.SignalingError) as caught:
        fetched(reply)
    assert type(caught.value).__name__ == kind
    assert caught.value.status == reply.status
    assert said in str(caught.value)
    assert ("It says so." in str(caught.value)) == ("It says so." in reply.body)


def test_nobody_there_is_unreachable() -> None:
    """At once."""
    with serving(minted()) as server:
        pass
    with pytest.raises(rtnb.errors.UnreachableError, match="No server answered"):
        fetch_token(address(server))


def test_a_redirect_on_one_server_is_followed() -> None:
    """Such as to the address with a slash."""
    *_, server = fetched(
        Reply(307, headers={"Location": "/session/"}), minted(), headers={"Authorization": HEADER}
    )
    assert [one.path for one in server.requests] == ["/session", "/session/"]
    assert server.requests[1].headers["Authorization"] == HEADER


def test_a_redirect_elsewhere_is_not_followed() -> None:
    """Another port is another server, and the headers are not for it."""
    with serving(minted()) as other:
        moved = Reply(302, headers={"Location": address(other)})
        with pytest.raises(rtnb.SignalingError, match="redirects elsewhere"):
            fetched(moved, headers={"Authorization": HEADER})
    assert other.requests == []


def test_a_circle_of_redirects_ends() -> None:
    """After a few."""
    with pytest.raises(rtnb.SignalingError, match="redirects elsewhere"):
        fetched(Reply(302, headers={"Location": "/session"}))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://voice.example/session", "not fetched over plain http://"),
        ("http://127.0.0.1.evil.example/session", "not fetched over plain http://"),
        ("https://user:secret-7@voice.example/", "token_headers="),
        ("ftp://voice.example", "no address"),
        ("/session", "no address"),
        ("http://127.0.0.1:x/session", "no address"),
        ("http://127.0.0.1/ses sion", "no address"),
        ("", "no address"),
        (None, "no address"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(url: Any, said: str) -> None:
    """Before anything is sent; a password in it is not shown."""
    with pytest.raises(rtnb.ConfigurationError, match=said) as caught:
        fetch_token(url)
    assert "secret-7" not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer secret-7\r\nX: y"},
        {"Authorization": 7},
        {"A b": "secret-7"},
        {3: "secret-7"},
        ["Authorization: secret-7"],
        {"Authorization": "sécret-7"},
    ],
    ids=str,
)
def test_headers_that_cannot_be_sent_are_told(headers: Any) -> None:
    """Without their values."""
    with pytest.raises(rtnb.ConfigurationError, match="token_headers") as caught:
        fetch_token("http://127.0.0.1:9/session", headers)
    assert "cret-7" not in str(caught.value)


def test_no_error_shows_a_header_or_a_query() -> None:
    """Neither what was sent nor what the server says of it."""
    echo = refused(401, message=f"Wrong token {HEADER} for ?pass=secret-7, key {KEY}.")
    path = "/session?pass=secret-8"  # not in a line that a traceback shows
    with serving(echo) as server, pytest.raises(rtnb.SignalingError) as caught:
        fetch_token(address(server, path), {"Authorization": HEADER})
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert HEADER[7:] not in shown and "secret-8" not in shown and KEY not in shown
