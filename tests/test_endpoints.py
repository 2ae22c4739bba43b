"""Endpoints of other servers: what they ask over HTTP, where keys go, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from scripted_server import SDP, Reply, answered, minted, refused, serving

import rtnb
from rtnb.callsetup import check_tools, find_endpoint, signal
from rtnb.errors import AuthenticationError, ConfigurationError, DialectError, MissingKeyError
from rtnb.shapes import azure_address, versioned
from rtnb.tools import Tool

KEY = "azure-key-Zq7Xw2Vb9Nm4Kj6"
OPENAI_KEY = "sk-openai-Zq7Xw2Vb9Nm4Kj6"
EPHEMERAL = "ek_endpoints_Hg8Fd5Sa2Pl0"
OFFER = "v=0\r\no=- 7 7 IN IP4 0.0.0.0\r\ns=offer\r\n"
AZURE = "https://my-resource.openai.azure.com/openai/v1"
IN_JSON = Reply(201, json.dumps({"sdp": SDP, "session_id": "sess_1"}))
IN_TEXT = Reply(200, SDP, "text/plain")


@pytest.fixture(autouse=True)
def no_azure_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)


def call(endpoint: rtnb.Endpoint, **session: Any) -> tuple[Any, dict[str, float]]:
    """Do what connect does over HTTP; return the answer and what it took the time of."""
    times: dict[str, float] = {}
    answer = signal(endpoint, lambda: OFFER, None, {"type": "realtime", **session}, times)
    return answer, times


# --- Azure ----------------------------------------------------------------------------------------


def test_azure_mints_with_its_own_header() -> None:
    """POST realtime/client_secrets, the key in api-key, the deployment as the session's model."""
    with serving(minted(EPHEMERAL), answered()) as server:
        call(rtnb.Endpoint.azure(server.url, KEY, deployment="my-voice"))
    mint = server.requests[0]
    assert mint.path == "/v1/realtime/client_secrets"
    assert (mint.headers["api-key"], mint.headers["Authorization"]) == (KEY, None)
    assert mint.json == {"session": {"type": "realtime", "model": "my-voice"}}


@pytest.mark.parametrize(("filtered", "query"), [(False, ""), (True, "?webrtcfilter=on")])
def test_azure_takes_the_offer_with_what_was_minted(filtered: bool, query: str) -> None:
    """POST realtime/calls, raw, with the ephemeral key alone."""
    with serving(minted(EPHEMERAL), answered()) as server:
        endpoint = rtnb.Endpoint.azure(server.url, KEY, deployment="d", filtered=filtered)
        answer, times = call(endpoint)
    posted = server.requests[1]
    assert posted.path == f"/v1/realtime/calls{query}"
    assert posted.headers["Authorization"] == f"Bearer {EPHEMERAL}"
    assert posted.headers["api-key"] is None
    assert posted.headers["Content-Type"] == "application/sdp"
    assert posted.body.decode() == OFFER
    assert answer.call_id == "rtc_42"
    assert sorted(times) == ["mint", "sdp"]


def test_an_entra_token_is_a_bearer() -> None:
    """A token of Microsoft Entra ID goes where OpenAI's key does, when minting and hanging up."""
    with serving(minted(EPHEMERAL)) as server:
        endpoint = rtnb.Endpoint.azure(server.url, deployment="d", entra_token="eyJ0.token.12345")
        endpoint.mint()
        endpoint.hang_up("rtc_1")
    for request in server.requests:
        assert request.headers["Authorization"] == "Bearer eyJ0.token.12345"
        assert request.headers["api-key"] is None


def test_azure_hangs_up_with_its_own_header() -> None:
    """POST realtime/calls/{id}/hangup with api-key."""
    with serving(Reply(200)) as server:
        assert rtnb.Endpoint.azure(server.url, KEY, deployment="d", filtered=True).hang_up("rtc_1")
    assert server.requests[0].path == "/v1/realtime/calls/rtc_1/hangup"
    assert server.requests[0].headers["api-key"] == KEY


def test_the_call_id_of_a_filtered_call_has_no_query() -> None:
    """A Location may repeat what was asked."""
    place = {"Location": "/openai/v1/realtime/calls/rtc_7?webrtcfilter=on"}
    with serving(minted(), Reply(201, SDP, "application/sdp", place)) as server:
        answer, _ = call(rtnb.Endpoint.azure(server.url, KEY, deployment="d"))
    assert answer.call_id == "rtc_7"


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("my-resource", AZURE),
        ("my-resource.openai.azure.com", AZURE),
        ("https://my-resource.openai.azure.com", AZURE),
        ("https://my-resource.openai.azure.com/", AZURE),
        ("https://my-resource.openai.azure.com/openai", AZURE),
        ("https://my-resource.openai.azure.com/openai/v1/", f"{AZURE}/"),
        ("https://gateway.example/ai/v1", "https://gateway.example/ai/v1"),
    ],
)
def test_an_azure_resource_has_several_spellings(resource: str, url: str) -> None:
    """Its name, its host, and its URL with or without the usual path."""
    assert azure_address(resource) == url


@pytest.mark.parametrize("wrong", ["", "a b", "evil.com/x", "-x", 5, None, f"{KEY}@host.com"])
def test_what_is_no_azure_resource_is_told(wrong: Any) -> None:
    """The sentence shows an example, and nothing of what was given."""
    with pytest.raises(ConfigurationError, match="neither the name of an Azure resource") as told:
        rtnb.Endpoint.azure(wrong, KEY)
    assert KEY not in str(told.value)


def test_azure_has_to_be_told_its_deployment() -> None:
    """Before anything is sent; connect's model= is one way."""
    with serving(minted(), answered()) as server:
        endpoint = rtnb.Endpoint.azure(server.url, KEY)
        with pytest.raises(ConfigurationError, match="which deployment to use; give model="):
            endpoint.mint()
        assert server.requests == []
        call(endpoint, model="my-voice")
    assert server.requests[0].json == {"session": {"type": "realtime", "model": "my-voice"}}


def test_two_kinds_of_key_at_once_are_told() -> None:
    """Either a key or a token."""
    with pytest.raises(ConfigurationError, match="either api_key= or entra_token="):
        rtnb.Endpoint.azure("r", KEY, entra_token="eyJ0.token")


def test_a_deployment_that_is_not_there_is_told() -> None:
    """Azure's own code for an unknown model."""
    with (
        serving(refused(404, "DeploymentNotFound")) as server,
        pytest.raises(rtnb.ModelError, match="no deployment of that name; check deployment="),
    ):
        rtnb.Endpoint.azure(server.url, KEY, deployment="d").mint()


# --- whose key goes where -------------------------------------------------------------------------


def test_azure_takes_its_own_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """AZURE_OPENAI_API_KEY, never OPENAI_API_KEY."""
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    assert rtnb.Endpoint.azure("r").key is None
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    assert rtnb.Endpoint.azure("r").key.reveal() == KEY
    assert rtnb.Endpoint.azure("r", "given-0123").key.reveal() == "given-0123"


def test_the_key_of_the_environment_is_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever listens on loopback does not get Azure's key by itself."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    assert rtnb.Endpoint.azure("http://127.0.0.1:9/openai/v1").key is None
    assert rtnb.Endpoint.openai().key is None


@pytest.mark.parametrize("make", ["localai", "speaches", "custom"])
def test_other_servers_get_no_key_of_the_environment(
    make: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of the two is for them."""
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    made = getattr(rtnb.Endpoint, make)("https://voice.example/v1")
    assert made.key is None
    assert find_endpoint(made, api_key=None, base_url=None, needs_key=True).key is None


def test_a_host_of_azures_named_by_its_url_is_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """connect("https://….openai.azure.com") sends it no key of OpenAI's."""
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    with pytest.raises(MissingKeyError, match="set AZURE_OPENAI_API_KEY in the environment"):
        find_endpoint(AZURE, api_key=None, base_url=None, needs_key=True)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    found = find_endpoint(None, api_key=None, base_url=AZURE, needs_key=True)
    assert (found.shape.name, found.key.reveal(), found.base_url) == ("azure", KEY, AZURE)


@pytest.mark.parametrize("make", ["localai", "speaches", "custom"])
def test_a_key_given_does_not_go_over_plain_http(make: str) -> None:
    """On a local network neither; without a key the same address is fine."""
    constructor = getattr(rtnb.Endpoint, make)
    constructor("http://192.168.1.20:8080/v1")
    with pytest.raises(ConfigurationError, match="A key is not sent over plain http:// to"):
        constructor("http://192.168.1.20:8080/v1", api_key=KEY)


@pytest.mark.parametrize("make", ["azure", "localai", "speaches", "custom"])
def test_no_repr_shows_a_key(make: str) -> None:
    """Text and HTML say which shape it is, and that there is a key."""
    endpoint = getattr(rtnb.Endpoint, make)("https://voice.example/v1", api_key=KEY)
    assert KEY not in repr(endpoint) + endpoint._repr_html_() + repr(vars(endpoint))
    assert repr(endpoint).startswith(f"<Endpoint https://voice.example/v1 ({make}, ")
    assert repr(endpoint).endswith(", with a key)>")
    assert f"<td>{make}</td>" in endpoint._repr_html_()


def test_netrc_puts_no_other_key_in_its_place(tmp_path: Any, monkeypatch: Any) -> None:
    """What the user keeps for curl is not sent along, nor instead of the key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setattr(rtnb.Endpoint, "is_loopback", False)
    with serving(IN_JSON, IN_TEXT) as server:
        monkeypatch.setattr(rtnb.Endpoint, "_check_secrecy", lambda _self: None)
        rtnb.Endpoint.localai(server.url, model="m").exchange(OFFER)
        rtnb.Endpoint.localai(server.url, model="m", api_key=KEY).exchange(OFFER)
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == [None, f"Bearer {KEY}"]


# --- LocalAI --------------------------------------------------------------------------------------


def test_localai_takes_and_gives_json() -> None:
    """POST realtime/calls with {"sdp", "model"} and no key; no minting, no id to hang up by."""
    with serving(IN_JSON) as server:
        answer, times = call(rtnb.Endpoint.localai(server.url, model="talker"))
    (request,) = server.requests
    assert request.path == "/v1/realtime/calls"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] is None
    assert request.json == {"sdp": OFFER, "model": "talker"}
    assert (str(answer), answer.call_id, sorted(times)) == (SDP, None, ["sdp"])


def test_localai_gets_a_key_where_one_is_given() -> None:
    """As a bearer token; the model of the call comes before the endpoint's."""
    with serving(IN_JSON) as server:
        call(rtnb.Endpoint.localai(server.url, model="talker", api_key=KEY), model="other")
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert server.requests[0].json["model"] == "other"


# --- speaches -------------------------------------------------------------------------------------


def test_speaches_takes_the_offer_as_it_is() -> None:
    """POST realtime?model=…, application/sdp, no key; the answer is text/plain, status 200."""
    with serving(IN_TEXT) as server:
        answer, times = call(rtnb.Endpoint.speaches(server.url, model="vendor/talk er"))
    (request,) = server.requests
    assert request.path == "/v1/realtime?model=vendor/talk%20er"
    assert request.headers["Content-Type"] == "application/sdp"
    assert request.headers["Authorization"] is None
    assert request.body.decode() == OFFER
    assert (str(answer), answer.call_id, sorted(times)) == (SDP, None, ["sdp"])


@pytest.mark.parametrize("make", [rtnb.Endpoint.localai, rtnb.Endpoint.speaches])
def test_a_server_without_default_has_to_be_told_the_model(
    make: Callable[..., rtnb.Endpoint],
) -> None:
    """Before anything is sent."""
    with serving(IN_JSON) as server, pytest.raises(ConfigurationError, match="which model to use"):
        call(make(server.url))
    assert server.requests == []


@pytest.mark.parametrize("make", [rtnb.Endpoint.localai, rtnb.Endpoint.speaches])
def test_what_mints_no_keys_says_so(make: Callable[..., rtnb.Endpoint]) -> None:
    """Minting is refused before anything is sent."""
    with serving(minted()) as server, pytest.raises(ConfigurationError, match="mint no keys"):
        make(server.url, model="m").mint()
    assert server.requests == []


@pytest.mark.parametrize("make", [rtnb.Endpoint.localai, rtnb.Endpoint.speaches])
def test_a_server_that_wants_a_key_after_all_is_told(make: Callable[..., rtnb.Endpoint]) -> None:
    """401 without a key: give one; with one: check it."""
    with serving(refused(401)) as server:
        with pytest.raises(AuthenticationError, match="wants an API key; give api_key="):
            call(make(server.url, model="m"))
        with pytest.raises(AuthenticationError, match=r"refused the API key; check api_key=\. "):
            call(make(server.url, model="m", api_key=KEY))


def test_an_address_that_another_kind_does_not_know_is_told() -> None:
    """404 of a server that is of another kind."""
    with (
        serving(Reply(404)) as server,
        pytest.raises(DialectError, match=r"or try another constructor of rtnb\.Endpoint\.$"),
    ):
        call(rtnb.Endpoint.localai(server.url, model="m"))


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/api/v1", "http://127.0.0.1:8080/api/v1"),
        ("http://127.0.0.1:8080?key=x", "http://127.0.0.1:8080?key=x"),
        ("http://[bad", "http://[bad"),
        (5, 5),
    ],
)
def test_a_bare_address_gets_the_usual_path(url: Any, whole: Any) -> None:
    """What is no base URL stays what it is, and is refused where all are."""
    assert versioned(url) == whole


# --- custom ---------------------------------------------------------------------------------------


def test_a_custom_endpoint_is_like_openai_unless_told() -> None:
    """It mints and posts to the usual paths."""
    with serving(minted(EPHEMERAL), answered()) as server:
        call(rtnb.Endpoint.custom(server.url, KEY), voice="v")
    assert [r.path for r in server.requests] == [
        "/v1/realtime/client_secrets",
        "/v1/realtime/calls",
    ]
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_custom_endpoint_has_paths_header_and_query_of_its_own() -> None:
    """All of it at once; what is minted goes into Authorization all the same."""
    with serving(minted(EPHEMERAL), answered()) as server:
        endpoint = rtnb.Endpoint.custom(
            server.url,
            KEY,
            mint_path="/tokens",
            calls_path="rtc/offer",
            key_header="X-Api-Key",
            query={"model": "{model}", "voice": "{voice}", "intent": "talk"},
            model="m 1",
        )
        call(endpoint)
        endpoint.hang_up("rtc_42")
    mint, posted, hung_up = server.requests
    assert (mint.path, mint.headers["X-Api-Key"]) == ("/v1/tokens", KEY)
    assert posted.path == "/v1/rtc/offer?model=m%201&intent=talk"
    assert posted.headers["Authorization"] == f"Bearer {EPHEMERAL}"
    assert (hung_up.path, hung_up.headers["X-Api-Key"]) == ("/v1/rtc/offer/rtc_42/hangup", KEY)


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("raw", "application/sdp"),
        ("json", "application/json"),
        ("multipart", "multipart/form-data"),
    ],
)
def test_a_custom_endpoint_without_minting_posts_at_once(form: Any, kind: str) -> None:
    """In each form, with the key it has."""
    with serving(answered(status=200)) as server:
        call(rtnb.Endpoint.custom(server.url, KEY, mint_path=None, form=form, model="m"))
    (request,) = server.requests
    assert request.headers.get_content_type() == kind
    assert request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("mint_path", [None, "realtime/sessions"])
def test_a_custom_beta_endpoint_sends_a_flat_session(mint_path: str | None) -> None:
    """In the form, as everywhere in that dialect, whether or not it could mint."""
    with serving(answered()) as server:
        endpoint = rtnb.Endpoint.custom(
            server.url, dialect="beta", mint_path=mint_path, form="multipart", model="m"
        )
        call(endpoint, output_modalities=["text"])
    session = json.loads(server.requests[0].parts["session"].get_payload())
    assert session == {"model": "m", "modalities": ["text"]}
    assert server.requests[0].headers["Authorization"] is None


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"dialect": "gamma"}, "dialect= is one of 'ga', 'beta', not 'gamma'"),
        ({"form": "xml"}, "form= is one of 'raw', 'multipart', 'json', not 'xml'"),
        ({"framing": "morse"}, "framing= is one of None, 'speaches', not 'morse'"),
        ({"calls_path": "https://evil.example/x"}, "calls_path= is a path below the base URL"),
        ({"calls_path": "../x"}, "calls_path= is a path below the base URL"),
        ({"calls_path": ""}, "calls_path= is a path below the base URL"),
        ({"calls_path": "x?key=1"}, "calls_path= is a path below the base URL"),
        ({"mint_path": 5}, "mint_path= is a path below the base URL"),
        ({"key_header": "x: y"}, "key_header= is the name of an HTTP header"),
        ({"label": 5}, "label= is a str"),
        ({"label": "x" * 65_536}, "label= is a str"),
        ({"query": "model=x"}, "query= maps names to values"),
        ({"query": {"model": 5}}, "query= maps names to values"),
        ({"model": " "}, "model= takes a non-empty str"),
    ],
)
def test_what_a_custom_endpoint_cannot_be_is_told(wrong: dict[str, Any], sentence: str) -> None:
    """Before it is made."""
    with pytest.raises(ConfigurationError) as told:
        rtnb.Endpoint.custom("https://voice.example/v1", **wrong)
    assert str(told.value).startswith(sentence)


# --- the peer's -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name", "key"),
    [
        ("openai", "openai", "local-peer"),
        ("azure", "azure", "local-peer"),
        ("localai", "localai", None),
        ("speaches", "speaches", None),
    ],
)
def test_a_peer_has_the_endpoint_of_its_mode(mode: str, name: str, key: str | None) -> None:
    """With a key of no importance where the server needs one; its own where it has one."""
    url = "http://127.0.0.1:9/v1"
    endpoint = rtnb.Endpoint.for_peer(url, None, mode)
    found = None if endpoint.key is None else endpoint.key.reveal()
    assert (endpoint.shape.name, found, endpoint.base_url) == (name, key, url)
    assert endpoint.default_model is not None
    assert rtnb.Endpoint.for_peer(url, KEY, mode).key.reveal() == KEY


def test_a_mode_that_no_peer_has_is_told() -> None:
    """The modes are listed."""
    with pytest.raises(ConfigurationError, match="no mode 'x'; the modes are openai, azure"):
        rtnb.Endpoint.for_peer("http://127.0.0.1:9/v1", mode="x")


def test_functions_are_refused_where_their_calls_cannot_come() -> None:
    """A filtered endpoint passes no call of a tool on; a schema may be for a sideband."""

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    filtered = rtnb.Endpoint.azure("r", KEY, filtered=True)
    check_tools(filtered, [{"type": "function", "name": "add"}])
    check_tools(rtnb.Endpoint.azure("r", KEY), [Tool(add)])
    with pytest.raises(ConfigurationError, match="passes no call of a tool on"):
        check_tools(filtered, [Tool(add)])
    with pytest.raises(ConfigurationError, match="passes no call of a tool on"):
        rtnb.connect(filtered, tools=[add])
