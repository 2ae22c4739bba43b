"""The page of a `TokenServer` in Chromium: opens it, watches what it holds, shoots it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser_rig import OUTSIDE, running_browser
from peer_client import prompt_clip
from playwright.sync_api import Browser, Page, expect

import rtnb

__all__ = ["SOON", "VoicePage", "opened", "shoot", "speaking"]

SOON = 20_000  # milliseconds for what a click brings about
WIDE: Any = {"width": 1100, "height": 850}
HIGH = re.compile(r"^-(\d|1\d|2\d) dB")
NARROW: Any = {"width": 360, "height": 780}

# remembers what the page opens, so that a test sees whether it was closed
WATCH = """
window.opened = { tracks: [], connections: [], contexts: [], channels: [] };
const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (ask) navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await ask(wanted);
    opened.tracks.push(...stream.getTracks());
    return stream;
};
const create = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function (...given) {
    opened.channels.push(create.apply(this, given));
    return opened.channels.at(-1);
};
for (const [name, list] of [["RTCPeerConnection", "connections"], ["AudioContext", "contexts"]]) {
    window[name] = class extends window[name] {
        constructor(...given) {
            super(...given);
            opened[list].push(this);
        }
    };
}
"""
HELD = """
() => ({
    tracks: opened.tracks.map((one) => one.readyState),
    connections: opened.connections.map((one) => one.connectionState),
    channels: opened.channels.map((one) => one.readyState),
    contexts: opened.contexts.map((one) => one.state),
    sound: document.querySelector("audio").srcObject === null ? "none" : "attached",
    stored: [...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie],
    fields: [...document.querySelectorAll("#key, #text")].map((one) => one.value),
})
"""
# looks at the sound of an element for a while, and tells how loud it was at the loudest
LOUDEST = """
async (milliseconds) => {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context);
    const { srcObject } = document.querySelector("audio");
    context.createMediaStreamSource(srcObject).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let loudest = 0;
    const over = performance.now() + milliseconds;
    while (performance.now() < over) {
        await new Promise((next) => setTimeout(next, 20));
        analyser.getFloatTimeDomainData(samples);
        loudest = Math.max(loudest, ...samples.map(Math.abs));
    }
    await context.close();
    return loudest;
}
"""


class VoicePage:
    """The page, as a user sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.button = page.locator("#launch")
        self.status = page.get_by_role("status")
        self.key = page.get_by_label("API key")
        self.rows = page.locator("#transcript .said")
        self.events = page.locator("#events li")

    def launch(self, *, key: str = "") -> None:
        """Type a key, if there is one, and launch."""
        if key:
            self.key.fill(key)
        expect(self.button).to_have_text("Launch")
        self.button.click()

    def end(self) -> None:
        """End the call."""
        expect(self.button).to_have_text("End")
        self.button.click()

    def expect(self, state: str, words: str | re.Pattern[str] = "", *, within: int = SOON) -> None:
        """Wait until the status line is of a state, and says certain words."""
        expect(self.status).to_have_attribute("data-state", state, timeout=within)
        expect(self.status).to_contain_text(words)

    def speaks(self) -> None:
        """Wait until the microphone's level is high."""
        level = self.page.get_by_role("meter", name="Microphone")
        expect(level).to_have_attribute("aria-valuetext", HIGH, timeout=SOON)

    def said(self, who: str, words: str | re.Pattern[str], *, within: int = SOON) -> None:
        """Wait until words of ``"user"`` or ``"assistant"`` are in the transcript."""
        expect(self.page.locator(f".said.{who}", has_text=words)).to_be_visible(timeout=within)

    def event(self, type: str, *, within: int = SOON) -> None:
        """Wait for an event in the list."""
        found = self.page.locator("#events code").get_by_text(type, exact=True).first
        expect(found).to_be_attached(timeout=within)

    def type(self, text: str) -> None:
        """Send a text."""
        self.page.get_by_label("Text to send").fill(text)
        self.page.get_by_role("button", name="Send").click()

    def held(self) -> dict[str, Any]:
        """Return what the page holds: tracks, connections, and what is stored and typed."""
        found: dict[str, Any] = self.page.evaluate(HELD)
        return found

    def loudest(self, seconds: float) -> float:
        """Return the loudest sample of the reply's sound from now on."""
        return float(self.page.evaluate(LOUDEST, seconds * 1000))

    def must_hold_nothing(self) -> None:
        """Fail when anything that a call opens is open, or any secret is left."""
        held = self.held()
        assert set(held["tracks"]) <= {"ended"}
        assert set(held["connections"]) <= {"closed"}
        assert set(held["channels"]) <= {"closed", "closing"}
        assert set(held["contexts"]) <= {"closed"}
        assert held["sound"] == "none"
        assert not any(held["stored"]) and not any(held["fields"])
        assert not self.page.context.cookies()


def speaking(path: Path, name: str, *, before: float = 1.0, after: float = 8.0) -> tuple[str, ...]:
    """Write what the fake microphone hears, again and again, and return the browser's flags."""
    asked = prompt_clip(name).resample(48_000)
    (rtnb.Clip.silence(before) + asked + rtnb.Clip.silence(after)).write(path)
    return (f"--use-file-for-fake-audio-capture={path}",)


@contextmanager
def opened(browser: Browser, url: str, *, ready: bool = True, **how: Any) -> Iterator[VoicePage]:
    """Open the page in a context of its own.

    Fails when a script of it failed, or was kept by the page's policy from what it wanted, or when
    it asked for anything from beyond this machine.
    """
    how = {"viewport": WIDE, "service_workers": "block"} | how
    context = browser.new_context(**how)
    wrong: list[str] = []
    context.route(OUTSIDE, lambda route: (wrong.append(route.request.url), route.abort()))
    context.add_init_script(WATCH)
    page = context.new_page()
    page.set_default_timeout(SOON)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    refused = "Content Security Policy"
    page.on("console", lambda said: wrong.append(said.text) if refused in said.text else None)
    try:
        page.goto(url)
        one = VoicePage(page)
        if ready:
            one.expect("idle", "Ready")
        yield one
    finally:
        context.close()
    assert not wrong, f"in the page: {wrong}"


def shoot(folder: str | os.PathLike[str]) -> list[Path]:
    """Talk to a peer in the page, and return pictures: before, during, after, dark, narrow."""
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    shots: list[Path] = []

    def picture(one: VoicePage, name: str) -> None:
        path = where / f"page-{name}.png"
        one.page.screenshot(path=path, caret="hide")
        shots.append(path)

    flags = speaking(where / "microphone.wav", "capital_of_france")
    try:
        with (
            rtnb.Peer() as peer,
            rtnb.TokenServer(peer) as server,
            running_browser(flags) as browser,
        ):
            with opened(browser, server.url) as one:
                picture(one, "before-light")
                one.launch()
                one.speaks()
                picture(one, "speaking-light")
                converse(one)
                picture(one, "during-light")
                one.page.emulate_media(color_scheme="dark")
                picture(one, "during-dark")
                one.end()
                one.expect("ended")
                one.page.emulate_media(color_scheme="light")
                one.page.get_by_label("Filter the events").fill("truncated")
                one.page.locator("#events summary:visible").first.click()
                picture(one, "after-light")
            with opened(browser, server.url, viewport=NARROW) as one:
                picture(one, "narrow-before-light")
                one.launch()
                one.said("assistant", "Paris")
                picture(one, "narrow-during-light")
                peer.close()
                one.expect("failed")
                picture(one, "narrow-failed-light")
    finally:
        (where / "microphone.wav").unlink()
    return shots


def converse(one: VoicePage) -> None:
    """Wait for an answer, ask by text, interrupt the answer, and return while the next sounds."""
    one.said("assistant", "Paris")
    one.event("output_audio_buffer.started")
    one.type("Tell me a long story.")
    one.said("assistant", "small bird lived on a hill")
    one.type("What is the weather in Paris right now?")
    expect(one.rows.filter(has_text="interrupted")).to_have_count(2)
    expect(one.page.locator(".said.assistant").nth(2)).to_be_visible()
    expect(one.page.get_by_role("meter", name="Reply")).to_have_attribute("aria-valuetext", HIGH)
