"""The peer's HTTP side: keys, errors as the API words them, forms of the offer, pages."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest
from peer_client import KEY, calling, exchange, mint, post
from peer_serving import Clock, an_offer, error_of, serving

from rtnb.dialects import BETA
from rtnb.peer.conversation import Conversation
from rtnb.peer.faults import Faults
from rtnb.peer.keys import KeyRefused, Keys
from rtnb.peer.settings import default_session

MULTIPART_KEY = "sk-peer-0123456789abcdef"


def test_minting_answers_with_the_effective_session():
    """The key, when it expires (600 s unless asked), and every setting."""

    async def test(url):
        body = {"session": {"type": "realtime", "audio": {"output": {"voice": "ash"}}}}
        status, _, text = await post(f"{url}/realtime/client_secrets", json=body)
        minted = json.loads(text)
        assert status == 200 and minted["value"].startswith("ek_")
        assert minted["expires_at"] == Clock().now + 600
        session = minted["session"]
        assert session["audio"]["output"]["voice"] == "ash" and session["id"].startswith("sess_")

    serving(test)


def test_minting_takes_no_body_at_all():
    """All fields are optional."""

    async def test(url):
        assert (await post(f"{url}/realtime/client_secrets"))[0] == 200

    serving(test)


def test_an_ephemeral_key_starts_several_calls_until_it_expires():
    """Its time counts when a call starts; expired and unknown keys have their own messages."""
    clock = Clock()

    async def test(url):
        lifetime = {"expires_after": {"anchor": "created_at", "seconds": 10}}
        _, _, text = await post(f"{url}/realtime/client_secrets", json=lifetime)
        key, offer = json.loads(text)["value"], await an_offer()
        for elapsed, expected in ((0, 201), (9, 201), (2, 401)):
            clock.now += elapsed
            status, _, text = await exchange(url, offer, key=key)
            assert status == expected
        assert error_of(text)["code"] == "expired_client_secret"
        _, _, text = await exchange(url, offer, key="ek_unknown")
        assert error_of(text)["code"] == "invalid_api_key"

    serving(test, clock=clock)


def test_large_sessions_of_ephemeral_keys_do_not_pile_up():
    """The oldest keys are forgotten when what they stand for is too much; the others go on."""
    keys = Keys(None, lambda: 0.0)
    session = default_session("sess_1") | {"instructions": "x" * 1_000_000}
    minted = [keys.mint(session, 600)[0] for _ in range(40)]
    assert keys.check(f"Bearer {minted[-1]}").session == session
    with pytest.raises(KeyRefused):
        keys.check(f"Bearer {minted[0]}")
    known = 0
    for key in minted:
        with contextlib.suppress(KeyRefused):
            known += keys.check(f"Bearer {key}").session is not None
    assert 10 < known <= 16


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ("{", "invalid_json", "body"),
        ("[]", "invalid_json", "body"),
        ('{"session": ' + "[" * 3000 + "]" * 3000 + "}", "invalid_json", "body"),
        ('{"expires_after": {"seconds": NaN}}', "invalid_json", "body"),
        ('{"expires_after": {"seconds": 9}}', "invalid_value", "expires_after.seconds"),
        ('{"expires_after": {"seconds": 7201}}', "invalid_value", "expires_after.seconds"),
        ('{"expires_after": {"seconds": "60"}}', "invalid_value", "expires_after.seconds"),
        ('{"expires_after": {"anchor": "now"}}', "invalid_value", "expires_after.anchor"),
        ('{"model": "gpt-realtime"}', "unknown_parameter", "model"),
        ('{"session": {}}', "missing_required_parameter", "session.type"),
        ('{"session": "x"}', "invalid_type", "session"),
        ('{"session": {"type": "realtime", "voice": "x"}}', "unknown_parameter", "session.voice"),
    ],
)
def test_what_minting_refuses(body, code, param):
    """400 with the parameter that is wrong."""

    async def test(url):
        kind = {"Content-Type": "application/json"}
        status, _, text = await post(f"{url}/realtime/client_secrets", data=body, headers=kind)
        error = error_of(text)
        assert (status, error["code"], error["param"]) == (400, code, param)

    serving(test)


@pytest.mark.parametrize(
    "key", [None, "", "wrong", "sk-wrong-0123456789abcdefghijkl", "ek_0123456"]
)
@pytest.mark.parametrize(
    "path", ["client_secrets", "calls", "calls/rtc_1/hangup", "sessions", "?model=gpt-realtime"]
)
def test_a_wrong_key_is_refused_and_not_repeated(path, key):
    """401 everywhere, and the answer does not contain the key."""

    async def test(url):
        where = f"{url}/realtime{path}" if path.startswith("?") else f"{url}/realtime/{path}"
        status, _, text = await post(where, key=key, data="v=0")
        error = error_of(text)
        assert (status, error["code"]) == (401, "invalid_api_key")
        assert not key or key not in text

    serving(test, key=MULTIPART_KEY)


def test_the_right_key_and_keys_minted_with_it_are_accepted():
    """With a key set, no other standard key is."""

    async def test(url):
        key = await mint(url, {"type": "realtime"}, key=MULTIPART_KEY)
        assert (await exchange(url, await an_offer(), key=key))[0] == 201
        assert (await exchange(url, await an_offer(), key=KEY))[0] == 401

    serving(test, key=MULTIPART_KEY)


def test_an_ephemeral_key_cannot_mint_or_hang_up():
    """Those need a standard key."""

    async def test(url):
        key = await mint(url, {"type": "realtime"})
        for path in ("client_secrets", "calls/rtc_1/hangup", "sessions"):
            assert (await post(f"{url}/realtime/{path}", key=key))[0] == 401

    serving(test)


@pytest.mark.parametrize(
    ("ending", "code"),
    [("no-credit", "insufficient_quota"), ("rate-limited", "rate_limit_exceeded")],
)
def test_keys_can_be_out_of_luck(ending, code):
    """A key that says so in its ending gets 429, so that clients can be tested."""

    async def test(url):
        key = f"sk-0123456789-{ending}"
        status, _, text = await post(f"{url}/realtime/client_secrets", key=key)
        assert (status, error_of(text)["code"]) == (429, code)

    serving(test)


@pytest.mark.parametrize("broken", ["", "hello", "v=0", "no audio", "{}"])
def test_what_is_no_offer_is_refused_in_the_words_of_the_service(broken):
    """400 invalid_offer, whatever is wrong with the SDP."""

    async def test(url):
        offer = broken
        if broken == "no audio":
            offer = (await an_offer()).replace("m=audio", "m=video")
        status, _, text = await exchange(url, offer)
        error = error_of(text)
        assert (status, error["code"]) == (400, "invalid_offer")
        assert error["message"] == (
            "Invalid SDP offer. Please try again with a WHIP-compliant offer."
        )

    serving(test)


def test_an_unknown_model_is_minted_and_then_refused():
    """Minting does not look at the model; the call does."""

    async def test(url):
        key = await mint(url, {"type": "realtime", "model": "gpt-unknown"})
        status, _, text = await exchange(url, await an_offer(), key=key)
        error = error_of(text)
        assert (status, error["code"]) == (400, "invalid_model")
        assert "not supported in realtime mode" in error["message"]

    serving(test)


@pytest.mark.parametrize("typed", [True, False])
def test_form_parts_may_be_typed_or_plain(typed):
    """Documentation samples send plain fields; the SDK sends typed ones."""

    async def test(url):
        form = aiohttp.FormData(default_to_multipart=True)
        kinds = ("application/sdp", "application/json") if typed else (None, None)
        form.add_field("sdp", await an_offer(), content_type=kinds[0])
        form.add_field("session", '{"type": "realtime"}', content_type=kinds[1])
        assert (await post(f"{url}/realtime/calls", data=form))[0] == 201
        empty = aiohttp.FormData(default_to_multipart=True)
        empty.add_field("session", '{"type": "realtime"}')
        status, _, text = await post(f"{url}/realtime/calls", data=empty)
        assert (status, error_of(text)["param"]) == (400, "sdp")

    serving(test)


def test_the_old_mint_answers_in_the_old_form():
    """A flat session with client_secret, which lives a minute."""

    async def test(url):
        body = {"model": "gpt-4o-realtime-preview", "voice": "verse", "modalities": ["text"]}
        status, _, text = await post(f"{url}/realtime/sessions", json=body)
        session = json.loads(text)
        assert status == 200 and session["voice"] == "verse" and session["modalities"] == ["text"]
        assert session["client_secret"]["expires_at"] == Clock().now + 60

    serving(test)


@pytest.mark.parametrize(("seconds", "status"), [(10, 200), (7200, 200), (9, 400), ("60", 400)])
def test_the_old_mint_has_a_lifetime_too(seconds, status):
    """client_secret.expires_after, within the same limits."""

    async def test(url):
        body = {"client_secret": {"expires_after": {"anchor": "created_at", "seconds": seconds}}}
        got, _, text = await post(f"{url}/realtime/sessions", json=body)
        assert got == status
        if status == 200:
            assert json.loads(text)["client_secret"]["expires_at"] == Clock().now + seconds
        else:
            assert error_of(text)["param"] == "client_secret.expires_after.seconds"

    serving(test)


@pytest.mark.parametrize(
    "body",
    [
        {"modalities": 5},
        {"modalities": None},
        {"modalities": []},
        {"input_audio_format": ["x"]},
        {"input_audio_format": "mp3"},
        {"output_audio_format": None},
        {"turn_detection": "x"},
        {"temperature": 0.5},
        {"temperature": 1.3},
        {"client_secret": "x"},
    ],
)
def test_what_the_old_mint_refuses(body):
    """Wrong types and unknown formats are the client's mistake, and none is dropped."""

    async def test(url):
        status, _, text = await post(f"{url}/realtime/sessions", json=body)
        assert status == 400 and error_of(text)["type"] == "invalid_request_error"

    serving(test)


def test_an_old_session_has_a_temperature():
    """It is shown, and the new route knows nothing of it."""

    async def test(url):
        for given, shown in (({}, 0.8), ({"temperature": 1.1}, 1.1)):
            _, _, text = await post(f"{url}/realtime/sessions", json=given)
            assert json.loads(text)["temperature"] == shown
        _, _, text = await post(f"{url}/realtime/client_secrets")
        assert "temperature" not in json.loads(text)["session"]

    serving(test)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"modalities": 5}},
        {"type": "session.update", "session": {"input_audio_format": ["x"], "audio": 1}},
        {"type": "session.update", "session": {"temperature": 7}},
        {"type": "response.create", "response": {"temperature": 7}},
        {"type": "response.create", "response": {"modalities": None}},
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "assistant", "content": ["x"]},
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "message", "role": "assistant", "content": 5},
        },
    ],
)
def test_a_beta_event_of_wrong_types_is_refused(event):
    """The names are changed as far as there are any; the peer refuses the rest."""
    conversation = Conversation(
        default_session("s") | {"temperature": 0.8},
        recognise=lambda samples: None,
        clock=lambda: 0.0,
    )
    (error,) = conversation.receive(BETA.event_from_wire(event))
    assert error["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Transfer-Encoding": "rot13"},
        {"Content-Type": "text/plain; charset=klingon"},
        {"Content-Transfer-Encoding": "base64"},
    ],
)
def test_a_form_that_cannot_be_decoded_is_refused(headers):
    """400, whatever of it is not known."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["--b", 'Content-Disposition: form-data; name="sdp"', *lines])
    body = f"{head}\r\n\r\nv=0!\r\n--b--\r\n".encode()

    async def test(url):
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        status, _, text = await post(f"{url}/realtime/calls", data=body, headers=kind)
        assert status == 400 and error_of(text)["code"] in ("invalid_form", "invalid_offer")

    serving(test)


def test_a_body_that_is_not_compressed_as_it_says_is_refused():
    """400, not a failure of the peer."""

    async def test(url):
        headers = {"Content-Encoding": "gzip"}
        async with aiohttp.ClientSession(auto_decompress=False) as http:
            where = f"{url}/realtime/client_secrets"
            headers |= {"Authorization": f"Bearer {KEY}"}
            async with http.post(where, data=b"no gzip", headers=headers) as answer:
                assert answer.status == 400 and error_of(await answer.text())

    serving(test)


def test_a_key_of_any_bytes_is_refused():
    """A header need not be ASCII."""

    async def test(url):
        status, _, text = await post(f"{url}/realtime/client_secrets", key="sk-\u00fc" * 9)
        assert status == 401 and "\u00fc" not in json.loads(text)["error"]["message"]

    serving(test, key=MULTIPART_KEY)


@pytest.mark.parametrize(
    ("key", "status"), [(MULTIPART_KEY + "-no-credit", 429), ("sk-other-no-credit", 401)]
)
def test_only_the_required_key_can_be_out_of_luck(key, status):
    """Another one is wrong, whatever its ending."""

    async def test(url):
        assert (await post(f"{url}/realtime/client_secrets", key=key))[0] == status

    serving(test, key=MULTIPART_KEY)


def test_unknown_routes_and_methods_have_the_same_error_body():
    """404 and 405 in the form of the API."""

    async def test(url):
        status, _, text = await post(f"{url}/realtime/nothing")
        assert status == 404 and error_of(text)["type"] == "invalid_request_error"
        async with aiohttp.ClientSession() as http, http.get(f"{url}/realtime/calls") as answer:
            assert answer.status == 405 and error_of(await answer.text())

    serving(test)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8888", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:3000", True),
        ("https://example.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com:8888", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_pages_of_this_machine_may_call(origin, allowed):
    """CORS headers, also on errors and for the preflight; a simple request of others is refused."""

    async def test(url):
        where = f"{url}/realtime/calls"
        async with aiohttp.ClientSession(headers={"Origin": origin}) as http:
            async with http.options(where) as answer:
                assert (answer.status == 204) == allowed
            async with http.post(where) as answer:
                assert answer.status == (401 if allowed else 403) and error_of(await answer.text())
                shown = answer.headers.get("Access-Control-Allow-Origin")
                assert shown == (origin if allowed else None)
            async with http.get(f"{url}/realtime?call_id=rtc_1") as answer:
                assert answer.status == (401 if allowed else 403)

    serving(test)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("calls", "application/json"),
        ("calls", "text/plain"),
        ("calls", "application/x-www-form-urlencoded"),
        ("?model=gpt-realtime", "multipart/form-data; boundary=b"),
        ("client_secrets", "application/sdp"),
        ("client_secrets", "application/x-www-form-urlencoded"),
        ("sessions", "text/plain"),
    ],
)
def test_a_wrong_content_type_is_refused(path, kind):
    """415 that names what was sent and what is taken."""

    async def test(url):
        where = f"{url}/realtime{'' if path[0] == '?' else '/'}{path}"
        status, _, text = await post(where, data=b"v=0", headers={"Content-Type": kind})
        error = error_of(text)
        assert (status, error["code"]) == (415, "unsupported_content_type")
        assert kind in error["message"] and "only" in error["message"]

    serving(test)


def test_an_offer_without_opus_is_refused_unless_g711_is_there():
    """The answer says which codecs are taken."""

    async def test(url):
        offer = await an_offer()
        status, _, text = await exchange(url, offer.replace("opus/48000", "SILK/24000"))
        assert status == 201  # PCMU and PCMA are left
        lines = [x for x in offer.splitlines() if "PCM" not in x and "G722" not in x]
        without = "\r\n".join(lines).replace("opus/48000", "SILK/24000") + "\r\n"
        head = next(x for x in lines if x.startswith("m=audio"))
        types = " ".join(t for t in head.split(" ")[3:] if t not in ("0", "8", "9"))
        without = without.replace(head, " ".join([*head.split(" ")[:3], types]))
        status, _, text = await exchange(url, without)
        error = error_of(text)
        assert (status, error["code"]) == (400, "invalid_offer") and "Opus" in error["message"]

    serving(test)


def test_a_running_call_outlives_its_key():
    """The key's end is looked at when a call starts, and never again."""
    clock = Clock()

    async def test(url):
        async with calling(url) as caller:
            clock.now += 7_201
            caller.send("session.update", session={"type": "realtime"})
            await caller.until("session.updated")
            name = caller.location.rpartition("/")[2]
            assert (await post(f"{url}/realtime/calls/{name}/hangup"))[0] == 200

    serving(test, clock=clock)


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (429, 429, "rate_limit_exceeded", "rate_limit_exceeded"),
        (401, 401, "invalid_request_error", "invalid_api_key"),
        (500, 500, "server_error", None),
        (503, 503, "server_error", None),
        (418, 418, "invalid_request_error", None),
    ],
)
def test_mints_and_offers_fail_on_request(fault, status, kind, code):
    """The first call fails at its mint, the second at its offer, and the third not at all."""
    faults = (Faults(mint_status=fault), Faults(call_status=fault), Faults())

    async def test(url):
        answers = [await post(f"{url}/realtime/client_secrets")]
        assert (await post(f"{url}/realtime/sessions"))[0] == 200
        answers.append(await exchange(url, await an_offer()))
        for got, headers, text in answers:
            error = error_of(text)
            assert (got, error["type"], error["code"]) == (status, kind, code) and error["message"]
            assert ("Retry-After" in headers) == (status in (429, 503))
        assert (await exchange(url, await an_offer()))[0] == 201

    serving(test, faults=faults)


def test_a_wrong_key_is_no_call():
    """What is refused before faults are looked at does not use them up."""

    async def test(url):
        offer = await an_offer()
        assert (await exchange(url, offer, key="sk-wrong-0123456789"))[0] == 401
        assert (await post(f"{url}/realtime/calls", data="x"))[0] == 415
        status, _, text = await exchange(url, offer)
        assert status == 400 and error_of(text)["code"] == "invalid_offer"
        assert (await exchange(url, offer))[0] == 201

    serving(test, key=KEY, faults=(Faults(refuse_offer=True), Faults()))


def test_mints_and_answers_come_late_on_request():
    """As many seconds as were asked for."""

    async def test(url):
        clock = asyncio.get_running_loop().time
        offer = await an_offer()
        for act in (post(f"{url}/realtime/client_secrets"), exchange(url, offer)):
            started = clock()
            assert (await act)[0] in (200, 201)
            assert 0.2 <= clock() - started < 1.0

    serving(test, faults=(Faults(mint_after=0.2, answer_after=0.2),))


@pytest.mark.parametrize("verb", ["accept", "reject", "refer"])
def test_verbs_of_sip_are_refused(verb):
    """They say why; and 404 where there is no call."""

    async def test(url):
        _, headers, _ = await exchange(url, await an_offer())
        name = headers["Location"].rpartition("/")[2]
        status, _, text = await post(f"{url}/realtime/calls/{name}/{verb}", json={})
        assert status == 400 and "SIP" in error_of(text)["message"]
        assert (await post(f"{url}/realtime/calls/rtc_1/{verb}", json={}))[0] == 404

    serving(test)


def test_the_answer_to_a_wrong_method_names_the_right_ones():
    """405 with Allow."""

    async def test(url):
        async with aiohttp.ClientSession() as http, http.put(f"{url}/realtime/calls") as answer:
            assert answer.status == 405 and answer.headers["Allow"] == "POST"

    serving(test)


def test_what_is_refused_is_in_the_log(caplog):
    """One line with path, status and code, and no key."""
    caplog.set_level("INFO", "rtnb.peer")

    async def test(url):
        await exchange(url, "hello")
        await exchange(url, "hello", key="sk-wrong-0123456789")

    serving(test, key=KEY)
    lines = [r.getMessage() for r in caplog.records if "is refused" in r.getMessage()]
    assert lines == [
        "POST /v1/realtime/calls is refused: 400 invalid_offer",
        "POST /v1/realtime/calls is refused: 401 invalid_api_key",
    ]
    assert "0123456789" not in caplog.text
