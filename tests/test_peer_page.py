"""A plain W3C page in Chromium calls the peer: key, offer, channel, sound both ways, interruption."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser_rig import OUTSIDE, running_browser
from event_orders import CLIENT, SERVER, broken_orders
from peer_client import KEY, prompt_clip
from playwright.sync_api import Page
from sdk_types import wrong_in

import rtnb

WITHIN = 20_000  # milliseconds
LOUD = 0.02


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a port of its own, so that the page is of another origin than the peer."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears, again and again: "Tell me a long story." and silence."""
    asked = prompt_clip("tell_me_a_story").resample(48_000)
    said = rtnb.Clip.silence(1.2) + asked + rtnb.Clip.silence(1.8)
    path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    said.write(path)
    return path


@pytest.fixture(scope="module")
def page(peer: rtnb.Peer, microphone: Path) -> Iterator[Page]:
    """The page, calling since a moment ago."""
    flag = f"--use-file-for-fake-audio-capture={microphone}"
    here = Path(__file__).parent
    with running_browser((flag,)) as browser, served(here) as url:
        context = browser.new_context(service_workers="block")
        outside: list[str] = []
        context.route(OUTSIDE, lambda route: (outside.append(route.request.url), route.abort()))
        one = context.new_page()
        one.set_default_timeout(WITHIN)
        one.goto(f"{url}/peer_page.html?{urlencode({'server': peer.url, 'key': KEY})}")
        try:
            yield one
        finally:
            context.close()
        assert not outside


def until(page: Page, type: str, number: int = 0) -> dict[str, Any]:
    """Wait for an event in the page, and return it."""
    found = "call.events.filter(e => e.type === type)[number]"
    arguments = [type, number]
    page.wait_for_function(f"([type, number]) => call.error || {found}", arg=arguments, polling=50)
    assert page.evaluate("call.error") is None
    event: dict[str, Any] = page.evaluate(f"([type, number]) => {found}", arguments)
    return event


def loud_between(page: Page, begin: float, end: float) -> float:
    """Return the share of the page's looks at the sound between two times that found it loud."""
    levels = [level for at, level in page.evaluate("call.levels") if begin <= at < end]
    return sum(level > LOUD for level in levels) / len(levels)


def test_the_page_is_connected_with_a_key_it_got(page: Page) -> None:
    """A page of another port may mint a key, post an offer, and read where its call is."""
    assert until(page, "session.created")["session"]["type"] == "realtime"
    assert page.evaluate("[call.key, call.state, call.channel.readyState]") == [
        *("ek_", "connected", "open")
    ]
    assert page.evaluate("call.location").startswith("/v1/realtime/calls/rtc_")


def test_the_page_is_heard_and_hears_the_answer(page: Page) -> None:
    """What the microphone said is transcribed; the answer's words arrive, and its sound."""
    kind = "conversation.item.input_audio_transcription.completed"
    assert until(page, kind)["transcript"] == "Tell me a long story."
    started = until(page, "output_audio_buffer.started")["at"]
    until(page, "response.output_audio_transcript.delta", 5)
    page.wait_for_function("at => performance.now() > at + 1000", arg=started, polling=50)
    audio = page.evaluate("audio()")
    assert audio["sent"] > 100 and audio["received"] > 100
    assert loud_between(page, started + 200, started + 1000) > 0.5


def test_speech_interrupts_the_answer(page: Page) -> None:
    """The microphone speaks again: the sound ends, and the answer is cut where it ended."""
    cleared = until(page, "output_audio_buffer.cleared")
    truncated = until(page, "conversation.item.truncated")
    heard = cleared["at"] - until(page, "output_audio_buffer.started")["at"]
    assert abs(truncated["audio_end_ms"] - heard) < 300
    at = cleared["at"] + 500  # what is in the browser's jitter buffer is still heard
    page.wait_for_function("at => performance.now() > at + 400", arg=at, polling=50)
    assert loud_between(page, at, at + 400) < 0.1


def test_the_page_interrupts_with_events(page: Page) -> None:
    """response.cancel and output_audio_buffer.clear end the next answer."""
    started = until(page, "output_audio_buffer.started", 1)
    page.evaluate("send({type: 'response.cancel', event_id: 'mine'})")
    page.evaluate("send({type: 'output_audio_buffer.clear'})")
    cleared = until(page, "output_audio_buffer.cleared", 1)
    assert cleared["response_id"] == started["response_id"]
    details = [e["response"]["status_details"] for e in done(page)]
    assert {"type": "cancelled", "reason": "client_cancelled"} in details


def done(page: Page) -> list[dict[str, Any]]:
    """Return all response.done so far."""
    events: list[dict[str, Any]] = page.evaluate("call.events")
    return [e for e in events if e["type"] == "response.done"]


def test_all_that_the_page_got_is_of_the_sdks_types_and_in_order(page: Page) -> None:
    """The same judges as for any other client."""
    events = [{k: v for k, v in e.items() if k != "at"} for e in page.evaluate("call.events")]
    assert [wrong for event in events for wrong in wrong_in(event)] == []
    asked = [{"type": "response.cancel", "event_id": "mine"}, {"type": "output_audio_buffer.clear"}]
    log = [events[:1], events[1:]]
    both = [(SERVER, e) for e in log[0]] + [(CLIENT, e) for e in asked]
    assert broken_orders(both + [(SERVER, e) for e in log[1]], over=False) == []
