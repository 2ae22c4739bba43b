"""`Speaker` in JupyterLab: what a call hears is recorded in a Chromium, where it leaves the widget."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from browser_rig import Lab, new_page
from playwright.sync_api import Browser, Locator, Page, expect
from speaker_parts import TONE

import rtnb

WITHIN = 20_000  # milliseconds
RATE = 48_000
SCRIPT = Path(rtnb.__file__).parent / "_static" / "speaker.js"
CALL = """
import rtnb, time
session = rtnb.connect({url!r}, progress=False)
session.speaker = speaker = rtnb.Speaker()
"""
TOLD = "exec(open('told.py').read())"
# records all that leaves the widget: [unix time of its first sample, samples] of each quantum
TAP = """
async (root) => {
    const { context, output } = root.rtnbAudio;
    window.tap?.node.disconnect();
    const code = `registerProcessor("tap-${Date.now()}", class extends AudioWorkletProcessor {
        process([[input]]) {
            if (input) this.port.postMessage([currentTime, input.slice()]);
            return true;
        }
    })`;
    const name = code.match(/tap-[0-9]+/)[0];
    const blob = new Blob([code], { type: "text/javascript" });
    await context.audioWorklet.addModule(URL.createObjectURL(blob));
    const node = new AudioWorkletNode(context, name, { numberOfOutputs: 0 });
    output.connect(node);
    const tap = { node, times: [], samples: [] };
    node.port.onmessage = ({ data: [at, samples] }) => {
        const stamp = context.getOutputTimestamp();
        const out = stamp.performanceTime / 1000 + at - stamp.contextTime;
        tap.times.push((Date.now() - performance.now()) / 1000 + out);
        tap.samples.push(samples);
    };
    window.tap = tap;
}
"""
TAPPED = """
() => {
    const flat = new Float32Array(tap.samples.length * 128);
    tap.samples.forEach((samples, i) => flat.set(samples, 128 * i));
    const bytes = new Uint8Array(flat.buffer), letters = [];
    for (let i = 0; i < bytes.length; i += 32768) {
        letters.push(String.fromCharCode(...bytes.subarray(i, i + 32768)));
    }
    return [tap.times, btoa(letters.join(""))];
}
"""


INTERRUPTED = """
(session.interrupt(), [
    time.time() - session.elapsed + e.time
    for e in session.events if e.type == "output_audio_buffer.cleared"
][-1])[-1]"""

# what a browser does that wants a click; what drives it here counts as one in Chromium itself
NO_AUTOPLAY = """
() => {
    addEventListener("pointerdown", () => { window.clicked = true; }, true);
    window.AudioContext = class extends AudioContext {
        constructor(options) { super(options); super.suspend(); }
        resume() { return window.clicked ? super.resume() : new Promise(() => null); }
    };
}
"""


class Notebook:
    """A call, its speaker, and a cell that runs what it is told."""

    told = 2

    def __init__(self, lab: Lab, page: Page, url: str):
        self.lab, self.page = lab, page
        lab.open(lab.notebook(CALL.format(url=url), "speaker", TOLD, name="speaker"), page)
        for number in range(self.told):
            lab.run_cell(page, number)
        lab.must_not_fail(page)
        self.see("idle|waiting|blocked|muted|away")

    @property
    def output(self) -> Locator:
        return self.lab.output(self.page, self.told - 1)

    @property
    def speaker(self) -> Locator:
        return self.output.locator(".rtnb-speaker").first

    def see(self, state: str) -> None:
        expect(self.speaker).to_have_attribute("data-state", re.compile(state), timeout=WITHIN)

    def start(self, code: str) -> None:
        (self.lab.folder / "told.py").write_text(code, encoding="utf-8")
        self.lab.start_cell(self.page, self.told)

    def run(self, code: str) -> str:
        """Run code in the last cell, and return what it printed."""
        self.start(code)
        self.lab.wait_idle(self.page)
        self.lab.must_not_fail(self.page)
        return self.lab.output(self.page, self.told).inner_text().strip()

    def ask(self, expression: str) -> Any:
        return json.loads(self.run(f"import json; print(json.dumps({expression}))"))

    def tap(self) -> None:
        """Record from now on."""
        self.speaker.evaluate(TAP)

    def tapped(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """Return the unix time of each quantum of 128 samples, and all samples."""
        times, text = self.page.evaluate(TAPPED)
        return np.array(times), np.frombuffer(base64.b64decode(text), np.float32)


@pytest.fixture(scope="module")
def call(lab: Lab, browser: Browser, peer: rtnb.Peer) -> Iterator[Notebook]:
    """A notebook with a call to the peer."""
    with new_page(browser, lab) as page:
        yield Notebook(lab, page, peer.url)


def loud(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Tell of each quantum whether it is above -50 dBFS."""
    quanta = samples.reshape(-1, 128)
    return np.asarray(np.sqrt((quanta**2).mean(axis=1)) > 10 ** (-50 / 20))


def likeness(part: npt.NDArray[np.float32], whole: npt.NDArray[np.float32]) -> float:
    """Return the greatest correlation of a part with what is as long in the whole."""
    size = 1 << (len(whole) + len(part)).bit_length()
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    products = np.fft.irfft(spectrum, size)[: len(whole) - len(part)]
    sums = np.concatenate([[0.0], np.cumsum(whole.astype(float) ** 2)])
    power = sums[len(part) : -1] - sums[: -len(part) - 1]
    return float((products / np.sqrt(np.maximum(power, 1e-3) * (part**2).sum())).max())


# --- a call ---------------------------------------------------------------------------------------


def test_a_reply_is_heard_in_the_page(call: Notebook) -> None:
    """What leaves the widget is the turn's reply, window by window."""
    call.tap()
    call.run("turn = session.ask('What is the capital of France?')\ntime.sleep(0.5)")
    call.run("turn.reply.write('reply.wav')")
    reply = rtnb.Clip.read(call.lab.folder / "reply.wav").resample(RATE).samples
    _, heard = call.tapped()
    assert loud(heard).mean() > 0.1
    step = RATE // 10
    parts = [reply[i : i + step] for i in range(0, len(reply) - step, step)]
    found = [likeness(part, heard) for part in parts if np.sqrt((part**2).mean()) > 0.01]
    assert len(found) >= 10
    assert np.median(found) > 0.9
    stats = call.ask("speaker.stats()")
    assert stats["clock"] == "same"
    assert 0 < stats["delay_to_page"] < stats["delay"] < 1


@pytest.fixture
def story(call: Notebook) -> Notebook:
    """A call in which a long reply sounds, in the page too, and is recorded."""
    tell_story(call)
    return call


def tell_story(call: Notebook) -> None:
    call.run("turn = session.send('Tell me a story.')\nturn.wait_for_audio(0.1)")
    call.see("playing")
    call.tap()


def test_a_reply_goes_on_while_a_cell_is_busy(story: Notebook) -> None:
    """It sounds from the cell's beginning to its end, but for what pauses there are in speech."""
    story.run("began = time.monotonic()\ntime.sleep(1.5)\nwhile time.monotonic() < began + 3: pass")
    times, heard = story.tapped()
    sounding = np.flatnonzero(loud(heard[: 3 * RATE // 128 * 128])) * 128 / RATE
    assert times[-1] - times[0] > 2.9
    assert sounding[0] < 0.7
    assert np.diff(sounding).max() < 0.7
    assert sounding[-1] > 2.3
    story.run("session.interrupt()")


def test_an_interruption_is_silent_at_once(call: Notebook) -> None:
    """Within 100 ms of the server's word that its sound is cleared: the median of three."""
    took = []
    for _ in range(3):
        tell_story(call)
        cleared = call.ask(INTERRUPTED)
        call.page.wait_for_timeout(500)  # what came out of the page then is recorded too
        times, heard = call.tapped()
        took.append(times[np.flatnonzero(loud(heard))[-1]] - cleared)
    assert np.median(took) < 0.1, took


# --- the page -------------------------------------------------------------------------------------


def test_mute_by_hand_is_silence(story: Notebook) -> None:
    """The kernel knows of it, and can end it."""
    story.speaker.get_by_role("button", name="Mute", exact=True).click()
    story.see("muted")
    story.tap()
    story.run("while not speaker.muted: time.sleep(0.05)")
    _, heard = story.tapped()
    story.run("speaker.muted = False\nspeaker.volume = 0.5")
    expect(story.speaker.get_by_label("Volume")).to_have_value("50")
    story.run("speaker.volume = 1.0\nsession.interrupt()")
    assert not loud(heard[: len(heard) // 128 * 128])[RATE // 1280 :].any()


def test_two_views_are_one_voice_until_both_are_gone(call: Notebook) -> None:
    """Then the page's audio is closed; a speaker that is closed has none either."""
    made = "speaker2 = rtnb.Speaker()\ndisplay(speaker2)\ndisplay(speaker2)"
    views = call.lab.output(call.page, call.told).locator(".rtnb-speaker")
    call.run(made)
    expect(views).to_have_count(2)
    contexts = "roots => (window.contexts = roots.map(root => root.rtnbAudio.context))"
    views.evaluate_all(f"{contexts} && null")
    assert call.page.evaluate("contexts[0] === contexts[1]")
    call.run(made)
    call.page.wait_for_function("contexts[0].state === 'closed'")
    expect(views).to_have_count(2)
    views.evaluate_all(f"{contexts} && null")
    call.run("display(speaker2)\nspeaker2.close()")
    call.page.wait_for_function("contexts[0].state === 'closed'")


def test_where_sound_wants_a_click_a_button_asks_for_it(call: Notebook) -> None:
    """Nothing plays before; and the button is gone when it does."""
    call.page.evaluate(NO_AUTOPLAY)
    call.run(
        f"{TONE}\ntone.play(20)\nspeaker3 = rtnb.Speaker()\nspeaker3.attach(tone)\ndisplay(speaker3)"
    )
    output = call.lab.output(call.page, call.told)
    speaker = output.locator(".rtnb-speaker")
    expect(speaker).to_have_attribute("data-state", "blocked", timeout=WITHIN)
    call.lab.screenshot(call.page, "speaker-blocked", output)
    speaker.get_by_role("button", name="Click to listen").click()
    expect(speaker).to_have_attribute("data-state", "playing", timeout=WITHIN)
    call.lab.screenshot(call.page, "speaker-playing", output)
    expect(speaker.get_by_role("button", name="Click to listen")).to_be_hidden()


# --- the worklet, on a clock of its own -----------------------------------------------------------

PLAYOUT = """
async ([script, steps, frames]) => {
    const total = { underruns: 0, dropped: 0, skipped: 0, wanted: 0 };
    const tell = ({ underruns, dropped, skipped, wanted }) => {
        total.underruns += underruns;
        total.dropped += dropped;
        total.skipped += skipped;
        total.wanted = wanted;
    };
    let Made;
    globalThis.AudioWorkletProcessor = class { port = { postMessage: tell }; };
    globalThis.registerProcessor = (_, one) => { Made = one; };
    globalThis.currentFrame = 0;
    const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    (await import(url)).playoutProcessor();
    const one = new Made(), heard = new Float32Array(128 * Math.ceil(frames / 128));
    for (let number = 0; currentFrame < frames; currentFrame += 128) {
        for (; steps.length && steps[0][0] <= currentFrame; steps.shift()) {
            const [, position, length, value] = steps[0];
            const samples = position === null ? null : new Float32Array(length).fill(value);
            const data = { kind: samples ? "push" : "flush", number: number++, position, samples };
            one.port.onmessage({ data });
        }
        one.process([], [[heard.subarray(currentFrame, currentFrame + 128)]]);
    }
    one.tell();
    const bytes = new Uint8Array(heard.buffer), letters = [];
    for (let i = 0; i < bytes.length; i += 32768) {
        letters.push(String.fromCharCode(...bytes.subarray(i, i + 32768)));
    }
    return [total, btoa(letters.join(""))];
}
"""
MS = RATE // 1000
Step = tuple[int, int | None, int, float]


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    """An empty page."""
    page = browser.new_page()
    yield page
    page.close()


def played(page: Page, steps: list[Step], until: int) -> tuple[dict[str, int], Any]:
    """Play (when, position, length, level) until so many ms; return counters and samples."""
    frames = [[at * MS, None if p is None else p * MS, n * MS, v] for at, p, n, v in steps]
    total, text = page.evaluate(PLAYOUT, [SCRIPT.read_text("utf-8"), frames, until * MS])
    return total, np.frombuffer(base64.b64decode(text), np.float32)


def live(first: int, count: int, *, late: int = 0, level: float = 0.5) -> list[Step]:
    """Return stretches of 20 ms, each as soon as it is over, and `late` ms more."""
    return [(p + 20 + late, p, 20, level) for p in range(first, first + 20 * count, 20)]


def test_it_plays_when_40_ms_are_there(blank: Page) -> None:
    """Sound that comes evenly is played whole."""
    total, heard = played(blank, live(0, 50), 1200)
    first, last = np.flatnonzero(heard > 0.49)[[0, -1]]
    assert first / MS == pytest.approx(40, abs=3)
    assert last - first == 50 * 20 * MS - 1
    assert total == {"underruns": 0, "dropped": 0, "skipped": 0, "wanted": 40 * MS}


def test_what_comes_too_late_is_an_underrun(blank: Page) -> None:
    """20 ms more are buffered from then on, at most 400."""
    total, heard = played(blank, live(0, 10) + live(200, 10, late=50), 1000)
    assert (total["underruns"], total["wanted"]) == (1, 60 * MS)
    assert (heard > 0.49).sum() >= 395 * MS  # but for the fade in
    uneven = [step for n in range(25) for step in live(40 * n, 2, late=500 * n)]
    assert played(blank, uneven, 13_500)[0]["wanted"] == 400 * MS


def test_what_was_not_needed_is_given_up(blank: Page) -> None:
    """By halves, every 3 s without an underrun; what is needed now and then is kept."""
    uneven = [step for n in range(4) for step in live(40 * n, 2, late=100 * n)]
    calm = live(160, 400, late=300)
    ends = (700, 4_500, 7_500)
    wanted = [played(blank, [*uneven, *calm], end)[0]["wanted"] / MS for end in ends]
    assert wanted == [100, 70, 55]
    late = itertools.accumulate((at + 60 * (p % 1000 == 0) for at, p, _, _ in calm), max)
    wavy = [(at, *step[1:]) for at, step in zip(late, calm, strict=True)]
    total, _ = played(blank, [*uneven, *wavy], 7_500)
    assert total["underruns"] == 3
    assert total["wanted"] / MS == pytest.approx(85, abs=2)


def test_a_gap_in_the_positions_is_silence(blank: Page) -> None:
    """No underrun, however long it is; a short one is kept as it is."""
    total, heard = played(blank, live(0, 10) + live(220, 10) + live(1000, 10), 1500)
    silences = np.diff(np.flatnonzero(heard > 0.49))
    gaps = silences[silences > 1] / MS
    assert total["underruns"] == 0
    assert gaps == pytest.approx([20, 580], abs=4)
    assert (heard > 0.49).sum() == 600 * MS


def test_silence_is_skipped_where_too_much_is_buffered(blank: Page) -> None:
    """Speech never is: after a burst it catches up in the next pause."""
    burst: list[Step] = [(200, p, 20, 0.5) for p in range(0, 200, 20)]
    pause, speech = live(200, 15, level=0.001), live(500, 10)
    total, heard = played(blank, burst + pause + speech, 1200)
    sounding = np.flatnonzero(heard > 0.49)
    assert len(sounding) == 400 * MS
    assert total["skipped"] == pytest.approx(8, abs=1)
    assert sounding[-1] / MS == pytest.approx(700 + 40, abs=21)


def test_at_most_a_second_is_kept(blank: Page) -> None:
    """The oldest is dropped, and counted in blocks of 20 ms."""
    total, heard = played(blank, [(0, p, 20, 0.5) for p in range(0, 1500, 20)], 2000)
    assert total["dropped"] == 25
    assert (heard > 0.49).sum() == 1000 * MS


def test_a_flush_fades_within_5_ms(blank: Page) -> None:
    """What comes afterwards is played anew."""
    burst: list[Step] = [(0, p, 20, 0.5) for p in range(0, 400, 20)]
    again = [(at + 200, p, n, v) for at, p, n, v in live(600, 5)]
    total, heard = played(blank, [*burst, (100, None, 0, 0), *again], 1200)
    cut = heard[98 * MS : 112 * MS]
    assert (np.diff(cut) <= 0).all()
    assert np.flatnonzero(cut)[-1] / MS < 9
    assert (heard[300 * MS :] > 0.49).sum() == 100 * MS
    assert total["underruns"] == 0


def test_a_short_stretch_does_not_wait_for_more(blank: Page) -> None:
    """It is played when as much time has passed as is wanted."""
    _, heard = played(blank, [(0, 0, 20, 0.5)], 200)
    sounding = np.flatnonzero(heard > 0.49)
    assert len(sounding) == 20 * MS
    assert sounding[0] / MS == pytest.approx(40, abs=3)
