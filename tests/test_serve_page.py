"""The page of `TokenServer` in Chromium: a whole conversation, every refusal, and what is left."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from browser_rig import FLAGS, chromium, running_browser
from page_rig import VoicePage, opened, speaking
from peer_client import KEY
from playwright.sync_api import Browser, Error, Route, expect

import rtnb
from rtnb.peer import Faults

LOUD = 0.02
LATE = 2.5  # seconds
GONE = 3.0  # seconds within which a peer knows that a page has left
REFUSE = """
(name) => {
    const refuse = async () => { throw new DOMException("", name); };
    navigator.mediaDevices.getUserMedia = name === null ? undefined : refuse;
}
"""
RECEIVE = """
([data, times]) => {
    for (let n = 0; n < times; n += 1) {
        opened.channels.at(-1).dispatchEvent(new MessageEvent("message", { data }));
    }
}
"""
LIFE = 10  # seconds: the shortest life of an ephemeral key


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium whose microphone asks for the capital of France, again and again."""
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    with running_browser(speaking(path, "capital_of_france")) as one:
        yield one


@pytest.fixture(scope="module")
def keyed() -> Iterator[rtnb.Peer]:
    """A peer that takes one key only; in its first call, transcriptions come late."""
    with rtnb.Peer(key=KEY, faults=[Faults(transcribed_after=LATE)]) as one:
        yield one


@pytest.fixture(scope="module")
def expiring(keyed: rtnb.Peer) -> tuple[str, float]:
    """An ephemeral key that is expired soon, and when it is on the monotonic clock."""
    asked = {"expires_after": {"anchor": "created_at", "seconds": LIFE}}
    request = urllib.request.Request(f"{keyed.url}/realtime/client_secrets", method="POST")
    request.add_header("Authorization", f"Bearer {KEY}")
    request.add_header("Content-Type", "application/json")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, json.dumps(asked).encode(), timeout=10) as answer:
        return json.load(answer)["value"], time.monotonic() + LIFE


@pytest.fixture(scope="module")
def server(keyed: rtnb.Peer, expiring: tuple[str, float]) -> Iterator[rtnb.TokenServer]:
    """The page and the token endpoint of that peer."""
    with rtnb.TokenServer(keyed) as one:
        yield one


@pytest.fixture(scope="module")
def talk(browser: Browser, server: rtnb.TokenServer) -> Iterator[VoicePage]:
    """A page that has launched a call a moment ago, with the key of its token endpoint."""
    with opened(browser, server.url) as one:
        one.launch()
        yield one


@pytest.fixture(scope="module")
def lost(browser: Browser) -> Iterator[tuple[VoicePage, rtnb.TokenServer]]:
    """A page whose peer was killed within a call: a browser takes its time to notice."""
    with (
        rtnb.Peer() as peer,
        rtnb.TokenServer(peer) as server,
        opened(browser, server.url) as one,
    ):
        one.launch()
        one.event("session.updated")
        os.kill(peer.pid, signal.SIGKILL)
        yield one, server


@pytest.fixture(scope="module")
def refused(browser: Browser, server: rtnb.TokenServer, lost: object) -> Iterator[VoicePage]:
    """A page whose calls are refused, again and again, without being loaded anew."""
    with opened(browser, server.url) as one:
        yield one


def until_no_call(peer: rtnb.Peer) -> None:
    """Wait until a peer has no open call."""
    over = time.monotonic() + GONE
    while peer.live_calls and time.monotonic() < over:
        time.sleep(0.05)
    assert peer.live_calls == 0


# --- a conversation ------------------------------------------------------------------------------


def test_the_microphone_is_seen_and_the_reply_is_heard(talk: VoicePage) -> None:
    """The level follows the voice, and the sound of the answer comes from the page."""
    talk.expect("live")
    talk.speaks()
    talk.said("user", "speaking…")
    talk.event("output_audio_buffer.started")
    assert talk.loudest(0.5) > LOUD
    level = talk.page.get_by_role("meter", name="Microphone")
    expect(level).to_have_attribute("aria-valuetext", "silent")


def test_the_words_of_both_are_in_order(talk: VoicePage) -> None:
    """The user's come before the answer, though they were known only after it."""
    talk.said("assistant", "The capital of France is Paris.")
    expect(talk.rows).to_contain_text(["transcribing…", "The capital of France is Paris."])
    talk.said("user", "What is the capital of France?")
    expect(talk.rows).to_contain_text(["What is the capital", "The capital of France is Paris."])


def test_every_event_is_in_the_list_and_opens_to_its_json(talk: VoicePage) -> None:
    """What was sent and received has its row; a filter chooses; a row shows the whole event."""
    talk.event("session.created")
    talk.page.get_by_label("Filter the events").fill("session.update")
    shown = talk.page.locator("#events li:visible")
    expect(shown.locator("code")).to_have_text(["session.updated", "session.update"])
    expect(shown.get_by_role("img", name="received")).to_have_count(1)
    expect(shown.get_by_role("img", name="sent")).to_have_count(1)
    shown.last.locator("summary").click()
    event = json.loads(shown.last.locator("pre").inner_text())
    assert event["session"]["audio"]["input"]["transcription"]["model"]
    talk.page.get_by_label("Filter the events").fill("")


def test_what_is_typed_interrupts_a_reply(talk: VoicePage) -> None:
    """A text is a turn of its own; one that comes within a reply ends it, and is answered."""
    talk.type("Tell me a long story.")
    talk.said("assistant", "Once upon a time, a small bird")
    talk.type("Hello, how are you today?")
    interrupted = talk.page.locator(".said.assistant", has_text="Once upon a time")
    expect(interrupted).to_contain_text(re.compile(r"interrupted after \d\.\d s"))
    talk.said("user", "Hello, how are you today?")
    expect(talk.page.locator(".said.assistant").nth(2)).to_be_visible()
    expect(talk.page.locator(".said.note")).to_have_count(0)


def test_mute_silences_the_microphone(talk: VoicePage) -> None:
    """The track gives silence while the button is pressed."""
    talk.page.get_by_role("button", name="Mute").click()
    expect(talk.page.get_by_role("button", name="Muted")).to_have_attribute("aria-pressed", "true")
    assert talk.page.evaluate("opened.tracks.map((one) => one.enabled)") == [False]
    talk.page.get_by_role("button", name="Muted").click()
    assert talk.page.evaluate("opened.tracks.map((one) => one.enabled)") == [True]


def test_what_a_server_says_is_text_without_secrets_and_bounded(talk: VoicePage) -> None:
    """Markup is shown as it is, keys are masked, and the newest 500 events are kept."""
    hostile = {"type": "<b>bold</b>", "event_id": "one", "text": f"<img src=x> {KEY} ek_0123456789"}
    for data, times in ((json.dumps(hostile), 600), ("no JSON", 1)):
        talk.page.evaluate(RECEIVE, [data, times])
    expect(talk.events).to_have_count(500)
    expect(talk.page.locator("#count")).to_have_text(re.compile(r"^500 of \d+$"))
    expect(talk.page.locator("#events b, #events img")).to_have_count(0)
    talk.event("(no event)")
    one = talk.events.filter(has_text="bold").first
    expect(one).to_contain_text("<b>bold</b><img src=x> ••• •••")
    one.locator("summary").click()
    expect(one.locator("pre")).to_contain_text("<img src=x> ••• •••")


def test_end_releases_everything(talk: VoicePage, keyed: rtnb.Peer) -> None:
    """No live track, no connection, no context, nothing stored, and no call at the peer."""
    assert talk.held()["tracks"] == ["live"]
    assert keyed.live_calls == 1
    talk.end()
    talk.expect("ended", re.compile(r"^Ended\. The call took \d:\d\d\.$"))
    talk.must_hold_nothing()
    until_no_call(keyed)
    expect(talk.page.locator(".said.user").first).to_be_visible()


def test_a_standard_key_calls_again_and_hangs_up(talk: VoicePage, keyed: rtnb.Peer) -> None:
    """Nothing in the page shows it; it mints, and ends the call as the page is left."""
    talk.key.fill(KEY)
    talk.key.press("Enter")
    talk.expect("live")
    assert KEY not in talk.page.content() and talk.key.input_value() == ""
    talk.event("session.updated")
    assert keyed.live_calls == 1
    with talk.page.expect_response("**/hangup") as hung_up:
        talk.page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert hung_up.value.status in (200, 404)  # 404: the closed connection was faster
    talk.must_hold_nothing()
    until_no_call(keyed)


def test_a_page_that_is_left_leaves_no_call(talk: VoicePage, keyed: rtnb.Peer) -> None:
    """Another address in the same tab ends it."""
    talk.launch()
    talk.expect("live")
    assert keyed.live_calls == 1
    talk.page.goto("about:blank")
    until_no_call(keyed)


def test_nothing_in_the_page_is_a_script_or_a_style_of_its_own() -> None:
    """So that the policy of the server may forbid all that is inline, or from elsewhere."""
    folder = Path(rtnb.__file__).parent / "_static" / "page"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://", page) == []
    script = (folder / "page.js").read_text(encoding="utf-8")
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|\beval\b|import\(|Storage", script) == []


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_denied_microphone(browser: Browser, server: rtnb.TokenServer) -> None:
    """The sentence says what to do, no key was asked for, and allowing it is enough."""
    asking = [flag for flag in FLAGS if not flag.startswith("--use-fake-ui")]
    strict = browser.browser_type.launch(executable_path=chromium(), args=asking)
    with strict, opened(strict, server.url) as one:
        asked: list[str] = []
        one.page.on("request", lambda request: asked.append(request.url))
        one.launch()
        one.expect("failed", "The microphone was denied: allow it for this page")
        one.must_hold_nothing()
        assert asked == []
        one.page.context.grant_permissions(["microphone"])
        one.launch()
        one.expect("live")
        one.end()
        one.expect("ended")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotFoundError", "No microphone was found: connect one"),
        ("NotReadableError", "The microphone cannot be opened: close the program that uses it"),
        (None, "The browser gives no microphone to this page, as it is not secure"),
    ],
)
def test_no_microphone(refused: VoicePage, name: str | None, sentence: str) -> None:
    """What a browser says of a device that this machine cannot lack, and of an insecure page."""
    refused.page.evaluate(REFUSE, name)
    refused.launch()
    refused.expect("failed", sentence)
    refused.must_hold_nothing()
    refused.page.evaluate("delete navigator.mediaDevices.getUserMedia")


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("sk-a-wrong-key-0123456789", "The API key was not accepted (401): Incorrect API key"),
        (f"{KEY}-no-credit", "The account behind the key has no credit (429): You exceeded"),
        (f"{KEY}-rate-limited", "Too many requests (429): Rate limit reached"),
        ("ek_0123456789abcdef", "The ephemeral key was not accepted (401): Incorrect API key"),
        ("sk-with-a-dash–in-it", "The API key has characters that no key has"),
    ],
)
def test_keys_that_are_refused(refused: VoicePage, key: str, sentence: str) -> None:
    """Each has a sentence of its own, which does not have the key."""
    refused.launch(key=key)
    refused.expect("failed", sentence)
    assert key not in refused.page.content()
    refused.must_hold_nothing()


def test_servers_that_refuse(browser: Browser) -> None:
    """Each status has its sentence; then a call is launched, and ended by the server."""
    faults = [Faults(call_status=429), Faults(call_status=503), Faults(refuse_offer=True)]
    sentences = [
        "Launch again in 1 s.",
        "The server is in trouble (503)",
        "The call was refused (400): Invalid SDP offer.",
    ]
    with (
        rtnb.Peer(faults=faults) as peer,
        rtnb.TokenServer(peer) as server,
        opened(browser, server.url) as one,
    ):
        for sentence in sentences:
            one.launch()
            one.expect("failed", sentence)
            one.must_hold_nothing()
        one.launch()
        one.expect("live")
        peer.close()
        one.expect("failed", "The server ended the call: launch again.")
        one.must_hold_nothing()


def answer(status: int, body: str) -> Callable[[Route], None]:
    """Return a route's handler that answers with this."""

    def handle(route: Route) -> None:
        route.fulfill(status=status, body=body, headers={"Retry-After": "7"})

    return handle


@pytest.mark.parametrize(
    ("path", "status", "body", "sentence"),
    [
        ("**/realtime/calls", 201, "<html>", "answered the call with something that is no SDP"),
        ("**/realtime/calls", 201, "v=0\r\nno", "answered the call with something that is no SDP"),
        ("**/realtime/calls", 404, "", "does not take calls at this address (404)"),
        ("**/session?*", 200, "{}", "The token endpoint's answer has no key"),
        ("**/session?*", 200, "<html>", "The token endpoint's answer has no key"),
        (
            "**/session?*",
            429,
            '{"error": {"message": "No more."}}',
            "(429): No more. Launch again in 7 s.",
        ),
        ("**/session?*", 500, '{"error": "sk-0123456789 broke"}', "(500): ••• broke. Launch again"),
        ("**/session?*", 401, "{}", "This server wants its access token (401)"),
    ],
)
def test_answers_that_are_none(
    refused: VoicePage, path: str, status: int, body: str, sentence: str
) -> None:
    """The status is looked at before the body, and a body that cannot be used has its sentence."""
    refused.page.route(path, answer(status, body))
    refused.launch()
    refused.expect("failed", sentence)
    refused.must_hold_nothing()
    refused.page.unroute(path)


def test_servers_that_the_page_cannot_call(browser: Browser, server: rtnb.TokenServer) -> None:
    """It says so plainly, before and when a call is launched, and does not ask for a microphone."""
    given = {"target": "old", "base_url": "/v1", "mints": True, "models": [], "voices": []}
    given |= {"voice": None, "model": None}
    own = "It takes offers in a form of its own."
    cases = [
        ({"dialect": "beta"}, "the beta dialect of the Realtime API, and this page needs GA"),
        ({"dialect": "ga", "unusable": own}, f"{own} This page needs GA"),
        ({"dialect": "ga", "mints": False}, "This server mints no keys: type an API key"),
    ]
    with opened(browser, "about:blank", ready=False) as one:
        for more, sentence in cases:
            one.page.route("**/config", answer(200, json.dumps(given | more)))
            one.page.goto(server.url)
            if more.get("mints", True):
                one.expect("failed", sentence)
            one.launch()
            one.expect("failed", sentence)
            assert one.held()["tracks"] == []
        expect(one.key).to_be_focused()
        one.launch(key=KEY)
        one.expect("live")
        one.end()


def test_a_server_that_hangs(browser: Browser, server: rtnb.TokenServer) -> None:
    """After 15 s it is given up; End gives up at any time."""
    with opened(browser, "about:blank", ready=False) as one:
        waiting: list[Route] = []
        one.page.route("**/session?*", lambda route: waiting.append(route))
        one.page.clock.install()
        one.page.goto(server.url)
        one.launch()
        one.expect("key", "Getting an ephemeral key.")
        one.page.clock.fast_forward(15_000)
        one.expect("failed", "No key within 15 s: the server is slow or hangs")
        one.must_hold_nothing()
        one.launch()
        one.expect("key")
        one.end()
        one.expect("ended", "Ended.")
        one.must_hold_nothing()
        for route in waiting:
            with suppress(Error):  # the page has given it up
                route.abort()


def test_a_narrow_page_is_not_scrolled_sideways(refused: VoicePage) -> None:
    """All of it is as wide as a small telephone, and the button is in sight."""
    refused.page.set_viewport_size({"width": 360, "height": 640})
    assert refused.page.evaluate("document.documentElement.scrollWidth") == 360
    expect(refused.button).to_be_in_viewport()
    refused.page.set_viewport_size({"width": 1100, "height": 850})


def test_an_access_token_leaves_the_address_at_once(browser: Browser, keyed: rtnb.Peer) -> None:
    """It opens the settings and the token endpoint, and is neither stored nor shown."""
    secret = "access-0123456789abcdef"
    with rtnb.TokenServer(keyed, public=True, access_token=secret) as server:
        with opened(browser, server.url, ready=False) as one:
            one.expect("failed", "This server wants its access token (401): open the newest link")
            one.launch()
            one.expect("failed", "This server wants its access token")
        with opened(browser, f"{server.url}#access={secret}") as one:
            assert one.page.url == server.url
            one.launch(key=KEY)
            one.expect("failed", "This server calls with its own key only (401)")
            one.launch()
            one.expect("live")
            assert secret not in one.page.content()
            one.end()
            one.expect("ended")
            one.must_hold_nothing()


def test_an_expired_key(
    browser: Browser, server: rtnb.TokenServer, expiring: tuple[str, float]
) -> None:
    """It is told from a wrong one, and goes from the page as any other."""
    key, expired = expiring
    with opened(browser, server.url) as one:
        one.page.wait_for_timeout(max(0.0, expired - time.monotonic()) * 1000 + 100)
        one.launch(key=key)
        one.expect("failed", "The ephemeral key has expired (401): get a new one")
        assert key not in one.page.content()
        one.must_hold_nothing()


def test_a_server_that_is_gone(lost: tuple[VoicePage, rtnb.TokenServer]) -> None:
    """A killed peer ends the call within seconds; the next launch says what is not there."""
    one, server = lost
    one.expect("failed", re.compile(r"^The connection to .* was lost: check that the server"))
    one.must_hold_nothing()
    one.launch()
    one.expect("failed", "is the peer still running?")
    server.close()
    one.launch()
    one.expect("failed", "cannot be reached: check that the server runs")
    one.must_hold_nothing()
