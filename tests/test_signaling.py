"""`Endpoint` against a real HTTP server: what it asks, and what each refusal becomes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted_server import SDP, Reply, Server, answered, minted, refused, serving

import rtnb
from rtnb.callsetup import find_endpoint, signal
from rtnb.errors import (
    AnswerError,
    AuthenticationError,
    ConfigurationError,
    DialectError,
    ExpiredKeyError,
    ModelError,
    OfferRefusedError,
    QuotaError,
    SignalingError,
    UnreachableError,
)
from rtnb.signaling import EphemeralKey, SdpAnswer, is_loopback

KEY = "sk-scripted-Zq7Xw2Vb9Nm4Kj6"
EPHEMERAL = "ek_scripted_Hg8Fd5Sa2Pl0"
OFFER = "v=0\r\no=- 7 7 IN IP4 0.0.0.0\r\ns=offer\r\n"


# --- verbs ----------------------------------------------------------------------------------------


def mint(url: str) -> EphemeralKey:
    """Mint with the standard key."""
    return rtnb.Endpoint.openai(KEY, base_url=url).mint()


def exchange(url: str, expires_at: float | None = None) -> SdpAnswer:
    """Exchange with an ephemeral key."""
    key = EphemeralKey(EPHEMERAL, expires_at=expires_at)
    return rtnb.Endpoint.openai(KEY, base_url=url).exchange(OFFER, key)


def post_together(url: str) -> SdpAnswer:
    """Exchange in the multipart form with the standard key."""
    return rtnb.Endpoint.openai(KEY, base_url=url, multipart=True).exchange(OFFER)


def refusal(act: Callable[[str], object], *replies: Reply) -> SignalingError:
    """Act against a server that answers so; return the error, which must hold no key."""
    with serving(*replies) as server, pytest.raises(SignalingError) as caught:
        act(server.url)
    assert_keyless(caught.value)
    return caught.value


def assert_keyless(error: BaseException) -> None:
    """Search everything an error can show for the keys."""
    told = "".join(traceback.format_exception(error))
    for text in (str(error), repr(error), told, repr(vars(error))):
        assert KEY not in text
        assert "ek_" not in text


def bearer(server: Server) -> str:
    """Return the key that the last request carried."""
    return server.requests[-1].headers["Authorization"].removeprefix("Bearer ")


# --- minting --------------------------------------------------------------------------------------


def test_minting_posts_the_session() -> None:
    """POST realtime/client_secrets with the standard key and a typed session."""
    with serving(minted(EPHEMERAL, 4e9)) as server:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=server.url)
        key = endpoint.mint(model="gpt-realtime-2.1-mini", voice="marin", expires_after=120)
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/realtime/client_secrets")
    assert bearer(server) == KEY
    assert request.json == {
        "session": {
            "type": "realtime",
            "model": "gpt-realtime-2.1-mini",
            "audio": {"output": {"voice": "marin"}},
        },
        "expires_after": {"anchor": "created_at", "seconds": 120},
    }
    assert (key.reveal(), key.expires_at) == (EPHEMERAL, 4e9)


def test_minting_without_wishes_asks_for_the_default_model() -> None:
    """Without arguments the session holds its type and the default model, and no expiry."""
    with serving(minted()) as server:
        mint(server.url)
    assert server.requests[0].json == {"session": {"type": "realtime", "model": "gpt-realtime-2.1"}}


def test_minting_in_beta_posts_a_flat_session() -> None:
    """POST realtime/sessions with flat keys; the key is under client_secret."""
    body = {"model": "m", "client_secret": {"value": EPHEMERAL, "expires_at": 60}}
    with serving(Reply(200, json.dumps(body))) as server:
        key = rtnb.Endpoint.beta(server.url, KEY).mint(model="m", voice="verse")
    assert server.requests[0].path == "/v1/realtime/sessions"
    assert server.requests[0].json == {"model": "m", "voice": "verse"}
    assert (key.reveal(), key.expires_at) == (EPHEMERAL, 60)


def test_minting_in_beta_asks_for_a_lifetime() -> None:
    """Beta has it in client_secret."""
    with serving(minted(EPHEMERAL)) as server:
        rtnb.Endpoint.beta(server.url, KEY).mint(expires_after=120)
    lifetime = {"anchor": "created_at", "seconds": 120}
    assert server.requests[0].json["client_secret"] == {"expires_after": lifetime}


def test_a_key_of_unknown_expiry_is_taken() -> None:
    """A server that says no expires_at gives a key whose end is not known."""
    with serving(Reply(200, json.dumps({"value": EPHEMERAL}))) as server:
        key = mint(server.url)
    assert key.expires_in is None
    assert repr(key) == "<EphemeralKey>"


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", "<html>", '{"client_secret": null}'])
def test_a_strange_answer_to_minting_is_told(body: str) -> None:
    """A 200 without a key may be another dialect's."""
    error = refusal(mint, Reply(200, body))
    assert type(error) is DialectError
    assert "answered the minting of a key with something else" in str(error)


# --- exchanging -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201])
def test_an_offer_is_posted_as_it_is(status: int) -> None:
    """The raw form: SDP in, SDP out, any 2xx, the call's id from Location."""
    with serving(answered(status=status)) as server:
        answer = exchange(server.url)
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/v1/realtime/calls")
    assert request.headers["Content-Type"] == "application/sdp"
    assert request.body == OFFER.encode()
    assert bearer(server) == EPHEMERAL
    assert (str(answer), answer.call_id) == (SDP, "rtc_42")


def test_a_key_may_be_given_as_text() -> None:
    """exchange() takes an ephemeral key as str, for use by hand."""
    with serving(answered()) as server:
        rtnb.Endpoint.openai(base_url=server.url).exchange(OFFER, EPHEMERAL)
    assert bearer(server) == EPHEMERAL


@pytest.mark.parametrize(
    ("location", "call_id"),
    [
        ("/v1/realtime/calls/rtc_42", "rtc_42"),
        ("https://api.example/v1/realtime/calls/rtc_43/", "rtc_43"),
        ("", None),
    ],
)
def test_the_call_id_is_the_last_part_of_location(location: str, call_id: str | None) -> None:
    """Relative, absolute or missing: the id is the last path segment, or None."""
    with serving(Reply(201, SDP, "application/sdp", {"Location": location})) as server:
        assert exchange(server.url).call_id == call_id


def test_offer_and_session_are_posted_together() -> None:
    """The multipart form: two parts with their content types, no file names, the standard key."""
    with serving(answered()) as server:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=server.url, multipart=True)
        endpoint.exchange(OFFER, voice="ash", session={"instructions": "Be brief."})
    parts = server.requests[0].parts
    assert server.requests[0].path == "/v1/realtime/calls"
    assert bearer(server) == KEY
    assert sorted(parts) == ["sdp", "session"]
    assert parts["sdp"].get_content_type() == "application/sdp"
    assert parts["session"].get_content_type() == "application/json"
    assert [part.get_filename() for part in parts.values()] == [None, None]
    assert json.loads(parts["session"].get_payload()) == {
        "type": "realtime",
        "model": "gpt-realtime-2.1",
        "instructions": "Be brief.",
        "audio": {"output": {"voice": "ash"}},
    }


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        ({"model": "m 1", "voice": "verse"}, "model=m%201&voice=verse"),
        ({"model": "a&b/c"}, "model=a%26b/c"),
        ({}, "model=gpt-4o-realtime-preview"),
    ],
)
def test_a_beta_offer_carries_model_and_voice(wanted: dict[str, Any], query: str) -> None:
    """POST realtime?model=…&voice=…, quoted."""
    with serving(answered(status=200)) as server:
        rtnb.Endpoint.beta(server.url, KEY).exchange(OFFER, EPHEMERAL, **wanted)
    assert server.requests[0].path == f"/v1/realtime?{query}"
    assert server.requests[0].headers["Content-Type"] == "application/sdp"


def test_the_safety_identifier_is_sent() -> None:
    """The OpenAI-Safety-Identifier header goes with minting."""
    with serving(minted()) as server:
        rtnb.Endpoint.openai(KEY, base_url=server.url, safety_identifier="u-1").mint()
        mint(server.url)
    sent = [request.headers["OpenAI-Safety-Identifier"] for request in server.requests]
    assert sent == ["u-1", None]


def test_an_answer_in_json_is_taken() -> None:
    """LocalAI answers with {"sdp": …}."""
    with serving(Reply(201, json.dumps({"sdp": SDP, "session_id": "s"}))) as server:
        assert str(exchange(server.url)) == SDP


@pytest.mark.parametrize(("status", "ended"), [(200, True), (404, False)])
def test_hanging_up_names_the_call(status: int, ended: bool) -> None:
    """POST realtime/calls/{id}/hangup with the standard key; the result says whether it was."""
    with serving(Reply(status)) as server:
        assert rtnb.Endpoint.openai(KEY, base_url=server.url).hang_up("rtc_42") is ended
    assert server.requests[0].path == "/v1/realtime/calls/rtc_42/hangup"
    assert bearer(server) == KEY


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "reply", "kind", "also", "sentence"),
    [
        (
            mint,
            refused(401, "invalid_api_key"),
            AuthenticationError,
            PermissionError,
            "The server refused the API key; check api_key= or OPENAI_API_KEY. "
            "The service says: It says so.",
        ),
        (
            mint,
            refused(403),
            AuthenticationError,
            PermissionError,
            "The server refused the API key; check api_key= or OPENAI_API_KEY. "
            "The service says: It says so.",
        ),
        (
            exchange,
            refused(401),
            AuthenticationError,
            PermissionError,
            "The server refused the ephemeral key: it is wrong, or it has expired; mint a new one. "
            "The service says: It says so.",
        ),
        (
            exchange,
            refused(400, "invalid_offer"),
            OfferRefusedError,
            ValueError,
            "The server did not accept the SDP offer; it needs an audio section and ICE, "
            "as rtnb.connect makes them. The service says: It says so.",
        ),
        (
            exchange,
            refused(400, "invalid_model"),
            ModelError,
            LookupError,
            "The server does not offer that model to this key; check model=, "
            "e.g. model='gpt-realtime-2.1'. The service says: It says so.",
        ),
        (
            mint,
            refused(404, "model_not_found"),
            ModelError,
            LookupError,
            "The server does not offer that model to this key; check model=, "
            "e.g. model='gpt-realtime-2.1'. The service says: It says so.",
        ),
        (
            exchange,
            refused(429, "insufficient_quota"),
            QuotaError,
            ConnectionError,
            "No credit is left on this key's account; add credit, then try again. "
            "The service says: It says so.",
        ),
        (
            exchange,
            refused(429, "rate_limit_exceeded"),
            QuotaError,
            ConnectionError,
            "Too many requests with this key; wait a little, then try again. "
            "The service says: It says so.",
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_each_refusal_is_its_own_error(
    act: Callable[[str], object],
    reply: Reply,
    kind: type[SignalingError],
    also: type[Exception],
    sentence: str,
) -> None:
    """The class, the builtin that it also is, and the sentence."""
    error = refusal(act, reply)
    assert type(error) is kind
    assert isinstance(error, also)
    assert str(error) == sentence
    assert error.status == reply.status
    assert error.code == json.loads(reply.body)["error"]["code"]


def test_a_beta_shape_after_its_end_names_the_other_constructor() -> None:
    """beta_api_shape_disabled: use Endpoint.openai."""

    def mint_beta(url: str) -> object:
        return rtnb.Endpoint.beta(url, KEY).mint()

    error = refusal(mint_beta, refused(400, "beta_api_shape_disabled"))
    assert type(error) is DialectError
    assert "no longer speaks the beta dialect; use rtnb.Endpoint.openai" in str(error)


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize(("dialect", "other"), [("openai", "beta, .azure"), ("beta", "openai")])
def test_an_unknown_address_names_the_other_dialect(status: int, dialect: str, other: str) -> None:
    """The path is not there: check base_url, or try the other dialect."""

    def act(url: str) -> object:
        made = {"openai": rtnb.Endpoint.openai(KEY, base_url=url)}
        return made.get(dialect, rtnb.Endpoint.beta(url, KEY)).mint()

    error = refusal(act, Reply(status, "<html>nothing here</html>", "text/html"))
    assert type(error) is DialectError
    assert f"does not know this address (HTTP {status}); check base_url" in str(error)
    assert f" rtnb.Endpoint.{other}" in str(error) and str(error).endswith(".")


def test_an_expired_key_says_for_how_long() -> None:
    """Where expires_at is known and past, the sentence counts the seconds."""
    error = refusal(lambda url: exchange(url, expires_at=time.time() - 90), refused(401))
    assert type(error) is ExpiredKeyError
    assert isinstance(error, PermissionError)
    assert str(error).startswith(
        ("The ephemeral key expired 90 s ago; mint a new one.", "The ephemeral key expired 91 s")
    )


@pytest.mark.parametrize("expires_at", [None, 4e9], ids=["unknown", "in the future"])
def test_a_refused_key_that_may_be_valid_claims_no_expiry(expires_at: float | None) -> None:
    """Where we do not know that it expired, no seconds are invented."""
    error = refusal(lambda url: exchange(url, expires_at=expires_at), refused(401))
    assert type(error) is AuthenticationError
    assert " s ago" not in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        refused(400, "", ""),
        Reply(400, ""),
        Reply(400, "<html>no</html>", "text/html"),
        Reply(400, '{"error": null}'),
        Reply(400, "[]"),
    ],
    ids=["empty strings", "no body", "not JSON", "null", "a list"],
)
def test_a_refusal_without_a_message_is_still_told(reply: Reply) -> None:
    """No message is assumed: the sentence stands without the service's words."""
    error = refusal(exchange, reply)
    assert type(error) is SignalingError
    assert str(error).startswith("Could not exchange the offer at http://127.0.0.1:")
    assert str(error).endswith("/v1 (HTTP 400); check the arguments and base_url.")
    assert error.code is None


def test_a_message_in_another_form_is_shown() -> None:
    """{"error": "text"}, as some servers answer."""
    error = refusal(mint, Reply(500, '{"error": "out of order"}'))
    assert "(HTTP 500); the server has trouble of its own: try again later." in str(error)
    assert str(error).endswith(" The service says: out of order")


def test_a_long_message_is_cut() -> None:
    """No more than 300 characters of what the service says are shown."""
    error = refusal(mint, refused(500, "x", "y" * 5000))
    assert str(error).endswith(" " + "y" * 300 + "…")


def test_a_key_that_the_server_echoes_is_masked() -> None:
    """OpenAI repeats the wrong key in its message; we do not."""
    error = refusal(mint, refused(401, "invalid_api_key", f"Incorrect API key provided: {KEY}."))
    assert "Incorrect API key provided: •••" in str(error)


def test_an_ephemeral_key_that_the_server_echoes_is_masked() -> None:
    """An ek_ key in a message is masked too."""
    error = refusal(exchange, refused(401, None, f"Unknown key {EPHEMERAL}"))
    assert str(error).endswith("The service says: Unknown key •••")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>Welcome</html>", "text/html"),
        ("", "application/sdp"),
        ('{"session_id": "s"}', "application/json"),
        ('{"sdp": null}', "application/json"),
        ("{not json", "application/json"),
    ],
)
def test_an_answer_that_is_no_sdp_is_told(body: str, content_type: str) -> None:
    """A 2xx whose body is not an SDP is an AnswerError and names the content type."""
    error = refusal(exchange, Reply(201, body, content_type))
    assert type(error) is AnswerError
    assert isinstance(error, ValueError)
    assert f"something that is not an SDP ({content_type}); check base_url." in str(error)


def test_an_error_body_is_never_taken_for_an_answer() -> None:
    """The status is checked before the body is used, even if it looks like an SDP."""
    error = refusal(post_together, Reply(400, SDP, "application/sdp"))
    assert type(error) is SignalingError


@pytest.mark.parametrize("act", [mint, exchange, post_together])
def test_a_redirect_is_not_followed(act: Callable[[str], object]) -> None:
    """The key is not carried along to where a server points."""
    with serving(minted()) as elsewhere:
        away = {"Location": elsewhere.url + "/realtime/client_secrets"}
        error = refusal(act, Reply(307, "", headers=away))
    assert "(HTTP 307); it redirects elsewhere: give that address as base_url." in str(error)
    assert elsewhere.requests == []


@pytest.mark.parametrize("act", [mint, exchange, post_together])
def test_a_closed_port_is_unreachable(act: Callable[[str], object]) -> None:
    """Nobody listens: one sentence with the host."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, so nobody else gets it; not listening
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnreachableError) as caught:
            act(f"http://{host}/v1")
    assert str(caught.value) == f"No server answered at {host}; is the peer still running?"
    assert_keyless(caught.value)


def test_a_server_that_hangs_up_is_unreachable() -> None:
    """A connection that is closed without an answer is told the same way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def drop() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.close()

        dropping = threading.Thread(target=drop)
        dropping.start()
        with pytest.raises(UnreachableError, match="No server answered at "):
            mint(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        dropping.join()


def test_a_server_that_is_too_slow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer within the timeout is its own sentence."""
    monkeypatch.setattr("rtnb.signaling._HANG_UP_TIMEOUT", (0.5, 0.05))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = rtnb.Endpoint.openai(
            KEY, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        )
        with pytest.raises(UnreachableError, match="did not answer in time") as caught:
            endpoint.hang_up("rtc_42")
    assert_keyless(caught.value)


# --- where a key may go ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [rtnb.Endpoint.openai, rtnb.Endpoint.beta])
def test_a_key_does_not_go_over_plain_http(make: Callable[..., object]) -> None:
    """http:// to another machine with a key is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="A key is not sent over plain http:// to") as told:
        make(api_key=KEY, base_url="http://api.example.com/v1")
    assert_keyless(told.value)


@pytest.mark.parametrize("make", [rtnb.Endpoint.openai, rtnb.Endpoint.beta])
def test_an_ephemeral_key_does_not_go_over_plain_http(make: Callable[..., rtnb.Endpoint]) -> None:
    """Nor does a key that comes only with the exchange."""
    endpoint = make(base_url="http://api.example.com/v1")
    with pytest.raises(ConfigurationError, match="A key is not sent over plain http:// to") as told:
        endpoint.exchange("v=0", EPHEMERAL)
    assert_keyless(told.value)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:8/v1", True),
        ("http://127.9.9.9/v1", True),
        ("http://127.0.0.1.example.com/v1", False),
        ("http://127.example.com/v1", False),
        ("http://localhost.example.com/v1", False),
        ("http://10.0.0.1/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_loopback_is_this_machine_only(url: str, loopback: bool) -> None:
    """Names that only begin like this machine's are not it."""
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    "url",
    ["api.openai.com", "ftp://host/v1", "http:///v1", "", "http://[bad", "http://h:99999/v1", 5],
)
def test_what_is_no_base_url_is_told(url: Any) -> None:
    """A base URL has a scheme and a host."""
    with pytest.raises(ConfigurationError, match="is not a base URL"):
        rtnb.Endpoint.openai(KEY, base_url=url)


def test_what_is_no_base_url_shows_no_password() -> None:
    """An address that cannot be read may hold one."""
    with pytest.raises(ConfigurationError, match="What was given is not a base URL") as told:
        rtnb.Endpoint.openai(base_url="http://user:hidden@[bad/v1")
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize("url", [f"https://u:{KEY}@h/v1", f"https://h/v1?key={KEY}"])
def test_a_base_url_holds_no_secrets(url: str) -> None:
    """User, password and query are refused, and not repeated."""
    with pytest.raises(ConfigurationError, match="must hold no user, password or query") as told:
        rtnb.Endpoint.openai(base_url=url)
    assert_keyless(told.value)


def test_an_endpoint_without_a_key_cannot_mint() -> None:
    """Minting without a standard key is told before anything is sent."""
    with pytest.raises(ConfigurationError, match="has no key; give api_key= or ephemeral_key="):
        rtnb.Endpoint.openai().mint()


BAD_KEYS: dict[str, tuple[Any, str]] = {
    "empty": ("", " is empty; give a key, or leave it out."),
    "white": (" \n", " is empty; give a key, or leave it out."),
    "space": (f"{KEY} {KEY}", " holds a space or a character that no key has; copy the key again."),
    "newline": (f"{KEY}\n{KEY}", " holds a space or a character that no key has; copy the"),
    "ellipsis": (f"{KEY}…", " holds a space or a character that no key has; copy the key again."),
    "int": (7, " is a str, not int."),
    "bytes": (KEY.encode(), " is a str, not bytes."),
}


@pytest.mark.parametrize("name", BAD_KEYS)
@pytest.mark.parametrize("make", [rtnb.Endpoint.openai, rtnb.Endpoint.beta])
def test_what_is_no_api_key_is_told(make: Callable[..., object], name: str) -> None:
    """Before anything is sent, and without the key."""
    key, sentence = BAD_KEYS[name]
    with pytest.raises(ConfigurationError) as told:
        make(base_url="https://api.example.com/v1", api_key=key)
    assert str(told.value).startswith(f"api_key={sentence}")
    assert_keyless(told.value)


@pytest.mark.parametrize("name", BAD_KEYS)
def test_what_is_no_ephemeral_key_is_told(name: str) -> None:
    """Nothing is sent, and the standard key does not stand in for it."""
    key, sentence = BAD_KEYS[name]
    with serving(answered()) as server:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=server.url)
        with pytest.raises(ConfigurationError) as told:
            endpoint.exchange(OFFER, key)
    assert str(told.value).startswith(f"ephemeral_key={sentence}")
    assert server.requests == []
    assert_keyless(told.value)


@pytest.mark.parametrize("name", BAD_KEYS)
def test_connect_refuses_what_is_no_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An api_key= that is none is told; the environment's does not stand in for it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    key, sentence = BAD_KEYS[name]
    for endpoint in (None, "http://127.0.0.1:9/v1", rtnb.Endpoint.openai()):
        with pytest.raises(ConfigurationError) as told:
            find_endpoint(endpoint, api_key=key, base_url=None, needs_key=True)
        assert str(told.value).startswith(f"api_key={sentence}")


def test_white_space_around_a_key_is_taken_off() -> None:
    """As it comes along when a key is copied, or read from a file."""
    with serving(minted()) as server:
        rtnb.Endpoint.openai(f" {KEY}\n", base_url=server.url).mint()
    assert bearer(server) == KEY


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_key_in_the_environment_is_none(
    blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that is set to nothing is like one that is not set."""
    monkeypatch.setenv("OPENAI_API_KEY", blank)
    with pytest.raises(rtnb.MissingKeyError):
        find_endpoint(None, api_key=None, base_url=None, needs_key=True)


def test_a_wrong_key_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sentence says where the key came from, not what it is."""
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY} {KEY}")
    with pytest.raises(ConfigurationError, match=r"^OPENAI_API_KEY holds a space") as told:
        find_endpoint(None, api_key=None, base_url=None, needs_key=True)
    assert_keyless(told.value)


def test_a_header_that_cannot_be_sent_is_told() -> None:
    """It is the arguments' fault, not that of a server that does not answer."""
    with serving(minted()) as server:
        for wrong in ("a\nb", "é…"):
            endpoint = rtnb.Endpoint.openai(KEY, base_url=server.url, safety_identifier=wrong)
            with pytest.raises(ConfigurationError, match="cannot be made") as told:
                endpoint.mint()
            assert_keyless(told.value)
    assert server.requests == []


# --- deadlines ------------------------------------------------------------------------------------


@contextlib.contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """Serve an answer that begins so, and goes on one byte each 20 ms for ever; yield its URL."""
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(head)
            while not ended.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "body"]
)
@pytest.mark.parametrize("verb", ["mint", "exchange"])
def test_an_answer_that_never_ends_is_given_up(verb: str, head: bytes) -> None:
    """`timeout` is for the whole request, though each byte comes in time."""
    with dripping(head) as url:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=url)
        acts = {
            "mint": lambda: endpoint.mint(timeout=0.2),
            "exchange": lambda: endpoint.exchange(OFFER, EPHEMERAL, timeout=0.2),
        }
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="did not answer in time") as told:
            acts[verb]()
        assert time.monotonic() - began < 2.0
    assert_keyless(told.value)


def test_a_deadline_that_is_over_sends_nothing() -> None:
    """No time is left: nothing is asked of the server."""
    with serving(minted()) as server, pytest.raises(UnreachableError, match="in time"):
        rtnb.Endpoint.openai(KEY, base_url=server.url).mint(timeout=0.0)
    assert server.requests == []


def test_within_its_time_an_answer_is_an_answer() -> None:
    """With a timeout, a refusal and a key are what they are without one."""
    with serving(minted(EPHEMERAL), refused(401)) as server:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=server.url)
        assert endpoint.mint(timeout=5).reveal() == EPHEMERAL
        with pytest.raises(AuthenticationError):
            endpoint.mint(timeout=5)


def test_signalling_keeps_its_deadline() -> None:
    """Minting and exchanging share the time that `connect` has left."""
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        endpoint = rtnb.Endpoint.openai(KEY, base_url=url)
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="did not answer in time"):
            signal(endpoint, lambda: OFFER, None, {}, {}, deadline=began + 0.2)
        assert time.monotonic() - began < 2.0


def test_reprs_hold_no_key() -> None:
    """Endpoint, key and answer show what they are, not what they hold."""
    endpoint = rtnb.Endpoint.openai(KEY)
    key = EphemeralKey(EPHEMERAL, expires_at=time.time() - 3)
    answer = SdpAnswer(SDP)
    assert repr(endpoint) == "<Endpoint https://api.openai.com/v1 (ga, with a key)>"
    assert repr(key) == "<EphemeralKey expired 3 s>"
    assert repr(answer) == f"<SdpAnswer of a call, {len(SDP)} characters>"
