"""Who may ask a token endpoint, and how often: decisions without a server, on a clock of ours."""

from __future__ import annotations

import pytest

import rtnb
from rtnb.tokenguard import Allowance, Bucket, Guard, Limiter, checked_host, is_local

HERE = "127.0.0.1:8177"
TOKEN = "an-access-token-of-tests"

# --- how often -----------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_and_then_its_pace() -> None:
    """Three at once, then one for each two seconds that pass."""
    bucket = Bucket(Allowance(3, 2.0), 100.0)
    waits = []
    for now in (100.0, 100.0, 100.0, 100.0, 101.5, 102.0):
        waits.append(bucket.wait(now))
        if not waits[-1]:
            bucket.take(now)
    assert waits == [0, 0, 0, 2.0, 0.5, 0]


def test_a_bucket_is_full_again_after_a_pause() -> None:
    """What was not taken in an hour is no more than the burst."""
    bucket = Bucket(Allowance(2, 2.0), 0.0)
    for _ in range(2):
        bucket.take(3_600.0)
    assert bucket.wait(3_600.0) == 2.0


def test_each_client_has_its_own_allowance() -> None:
    """One that asks too often keeps no other from asking."""
    limiter = Limiter(Allowance(2, 2.0), Allowance(100, 0.1))
    assert [limiter.take("10.0.0.1", 0.0) for _ in range(3)] == [0, 0, 2.0]
    assert limiter.take("10.0.0.2", 0.0) == 0


def test_all_clients_together_are_limited() -> None:
    """Many addresses get no more than the sum, and a refused request costs nobody anything."""
    limiter = Limiter(Allowance(2, 2.0), Allowance(3, 1.0))
    assert [limiter.take(f"10.0.0.{n}", 0.0) for n in range(5)] == [0, 0, 0, 1.0, 1.0]
    assert limiter.take("10.0.0.9", 1.0) == 0


def test_a_network_of_ipv6_counts_as_one() -> None:
    """Its owner has 2^64 addresses."""
    limiter = Limiter(Allowance(1, 2.0))
    assert [limiter.take(a, 0.0) for a in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")] == [
        0,
        2.0,
        0,
    ]


def test_the_clients_remembered_are_bounded() -> None:
    """A million addresses take no more memory than a thousand."""
    limiter = Limiter(all=Allowance(10**9, 1e-9), remembered=100)
    for number in range(1_000):
        assert limiter.take(str(number), 0.0) == 0
    assert len(limiter._clients) == 100


# --- under which name ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", [HERE, "localhost:8177", "LOCALHOST", "127.1.2.3:9", "[::1]:8177", "127.0.0.1"]
)
def test_names_of_this_machine_are_answered(host: str) -> None:
    """Any port: a tunnel may have another."""
    assert Guard().wrong_host(host) is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8177",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.5:8177",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1/",
        "127.0.0.1:x",
        "[::1",
        "0.0.0.0",
    ],
)
def test_other_names_are_refused(host: str | None) -> None:
    """A foreign name may be one that was rebound to this machine."""
    refusal = Guard().wrong_host(host)
    assert refusal is not None and (refusal.status, refusal.code) == (403, "host_not_allowed")


def test_a_public_server_goes_by_the_address_it_listens_on() -> None:
    """That one and loopback; on all addresses, by any address, but by no foreign name."""
    one = Guard("192.168.1.5", public=True)
    assert one.wrong_host("192.168.1.5:8177") is None and one.wrong_host(HERE) is None
    assert one.wrong_host("192.168.1.6:8177") is not None
    every = Guard("0.0.0.0", public=True)
    assert every.wrong_host("192.168.1.6:8177") is None
    assert every.wrong_host("evil.example:8177") is not None


def test_an_allowed_origin_is_a_name_too() -> None:
    """Behind a proxy the server is called by the proxy's name, with the proxy's scheme."""
    guard = Guard(allow_origins=["https://Voice.example:443/"])
    assert guard.origins == ("https://voice.example",)
    assert guard.wrong_host("voice.example") is None
    assert guard.origin_of("voice.example") == "https://voice.example"
    assert not guard.is_own("http://voice.example", "voice.example")


# --- from which page -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({}, True),  # no browser
        ({"Origin": f"http://{HERE}"}, True),
        ({"Origin": "https://voice.example"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),  # typed in the address bar
        ({"Origin": "https://voice.example", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://localhost:8177"}, False),  # another name is another origin
        ({"Origin": "http://127.0.0.1:3000"}, False),
        ({"Origin": f"https://{HERE}"}, False),
        ({"Origin": "https://voice.example.evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "Cross-Site"}, False),
    ],
)
def test_pages_of_other_origins_are_refused(headers: dict[str, str], answered: bool) -> None:
    """A page of another port of this machine is as foreign as one from the network."""
    guard = Guard(allow_origins=["https://voice.example"])
    refusal = guard.wrong_page(headers, HERE)
    assert (refusal is None) == answered


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"])
def test_a_proxy_has_to_be_meant(name: str) -> None:
    """A server for this machine that stands behind a proxy by mistake mints for nobody."""
    refusal = Guard().wrong_proxy({name: "203.0.113.9"})
    assert refusal is not None and "--public" in refusal.message
    assert Guard(public=True).wrong_proxy({name: "203.0.113.9"}) is None


# --- with which token ----------------------------------------------------------------------------


def test_a_public_server_wants_its_token() -> None:
    """As a bearer token, whole and exact."""
    guard = Guard(public=True, access_token=TOKEN)
    assert guard.wrong_token(f"Bearer {TOKEN}") is None
    assert guard.wrong_token(f"bearer  {TOKEN} ") is None
    for wrong in (
        None,
        "",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        "Bearer ",
        "Bearer \udcff",
    ):
        refusal = guard.wrong_token(wrong)
        assert refusal is not None and refusal.status == 401 and TOKEN not in refusal.message


def test_a_token_is_made_where_none_is_given() -> None:
    """Long, and another one each time."""
    one, other = Guard(public=True), Guard(public=True)
    assert one.access_token and len(one.access_token) >= 32
    assert one.access_token != other.access_token
    assert one.access_token not in repr(one)


def test_this_machine_needs_no_token() -> None:
    """There is none, and none is asked for."""
    assert Guard().access_token is None
    assert Guard().wrong_token(None) is None


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_another_host_needs_public(host: str) -> None:
    """One sentence says what it would mean and what to do."""
    with pytest.raises(rtnb.ConfigurationError, match="public=True") as caught:
        Guard(host)
    assert str(caught.value).startswith(f"On {host} others than this machine could")
    assert Guard(host, public=True).host == host


@pytest.mark.parametrize(
    "options",
    [
        {"host": ""},
        {"host": 3},
        {"host": "a b", "public": True},
        {"access_token": TOKEN},
        {"public": True, "access_token": "short"},
        {"public": True, "access_token": ""},
        {"public": True, "access_token": "sixteen characters"},
        {"allow_origins": "https://voice.example"},
        {"allow_origins": ["*"]},
        {"allow_origins": ["null"]},
        {"allow_origins": ["voice.example"]},
        {"allow_origins": ["https://voice.example/path"]},
        {"allow_origins": ["https://*.example"]},
        {"allow_origins": ["https://u:p@voice.example"]},
        {"allow_origins": [None]},
        {"allow_origins": 3},
    ],
    ids=str,
)
def test_what_cannot_be_is_told(options: dict[str, object]) -> None:
    """A configuration error, which shows no token."""
    with pytest.raises(rtnb.ConfigurationError) as caught:
        Guard(**options)  # type: ignore[arg-type]
    assert "short" not in str(caught.value) and "sixteen" not in str(caught.value)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.2", "::1"])
def test_loopback_by_name_and_address(name: str) -> None:
    """These are this machine's alone."""
    assert is_local(name) and checked_host(name) == name
