"""`Microphone` in JupyterLab: a Chromium whose fake microphone plays a prompt, again and again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_rig import FLAGS, Lab, chromium, new_page, running_browser
from peer_client import prompt_clip
from playwright.sync_api import Browser, Locator, Page, expect

import rtnb

WITHIN = 30_000  # milliseconds
PROMPT = "capital_of_france"
MADE = """
import rtnb, threading

class Sink:
    open, paused = True, 0

    def __init__(self):
        self.pcm, self.numbers, self.log = bytearray(), [], []

    def feed(self, samples, *, number, sample_rate=48_000, captured):
        self.pcm += samples
        self.numbers.append(number)

    def pause(self):
        self.paused += 1

    def clip(self):
        import numpy as np
        return rtnb.Clip(np.frombuffer(bytes(self.pcm), np.int16), 48_000)

    def wait(self, seconds):
        until = len(self.pcm) + seconds * 96_000
        for _ in range(400):
            if len(self.pcm) >= until:
                return
            threading.Event().wait(0.05)
        raise TimeoutError(len(self.pcm))

sink = Sink()
mic = rtnb.Microphone(echo_cancellation=False, noise_suppression=False, auto_gain=False)
mic
"""
TOLD = "exec(open('told.py').read())"
# what the page has of microphones: all streams and contexts that were ever made
SPY = """
(() => {
    window.opened = { streams: [], contexts: [] };
    const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
        if (window.fails) throw new DOMException(window.fails[1], window.fails[0]);
        const stream = await ask(wanted);
        opened.streams.push(stream);
        return stream;
    };
    window.AudioContext = class extends AudioContext {
        constructor(...options) { super(...options); opened.contexts.push(this); }
    };
})()
"""
HELD = """
[opened.streams.flatMap(s => s.getTracks()).filter(t => t.readyState === "live").length,
 opened.contexts.filter(c => c.state !== "closed").length]
"""


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears: a prompt between silences."""
    said = rtnb.Clip.silence(0.3) + prompt_clip(PROMPT).resample(48_000) + rtnb.Clip.silence(0.7)
    return said.write(tmp_path_factory.mktemp("microphone") / "microphone.wav")


@pytest.fixture(scope="module")
def talking(spoken: Path) -> Iterator[Browser]:
    """A Chromium that has that microphone."""
    with running_browser((f"--use-file-for-fake-audio-capture={spoken}",)) as one:
        yield one


class Notebook:
    """A notebook with a microphone in its first cell, and a second cell that runs what it is told."""

    def __init__(self, lab: Lab, page: Page):
        self.lab, self.page, self.told = lab, page, 0
        page.add_init_script(SPY)
        lab.open(lab.notebook(MADE, TOLD), page)
        self.make()

    def make(self) -> None:
        self.lab.run_cell(self.page, 0)
        expect(self.mic).to_be_visible(timeout=WITHIN)

    @property
    def mic(self) -> Locator:
        return self.lab.output(self.page, 0).locator(".rtnb-mic")

    def button(self, name: str) -> Locator:
        return self.mic.get_by_role("button", name=name, exact=True)

    def see(self, state: str) -> None:
        expect(self.mic).to_have_attribute("data-state", state, timeout=WITHIN)

    def start(self) -> None:
        """Press Start until the microphone is live."""
        self.button("Start").click()
        expect(self.mic).to_have_attribute(
            "data-state", re.compile("alone|live|waiting"), timeout=WITHIN
        )

    def tell(self, code: str) -> None:
        (self.lab.folder / "told.py").write_text(code, encoding="utf-8")
        self.lab.start_cell(self.page, 1)

    def run(self, code: str) -> str:
        """Run code in the second cell, and return what it printed."""
        self.told += 1
        end = f"[end of {self.told}]"
        self.tell(f"{code}\nprint({end!r})")
        self.lab.wait_idle(self.page)
        output = self.lab.output(self.page, 1)
        expect(output).to_contain_text(end, timeout=WITHIN)  # it is shown a moment later
        return output.inner_text().strip().removesuffix(end).strip()

    def ask(self, expression: str) -> Any:
        return json.loads(self.run(f"import json; print(json.dumps({expression}))"))

    def clip(self, expression: str) -> rtnb.Clip:
        """Return a clip of the kernel."""
        self.run(f"({expression}).write('heard.wav')")
        return rtnb.Clip.read(self.lab.folder / "heard.wav")


@pytest.fixture(scope="module")
def book(lab: Lab, talking: Browser) -> Iterator[Notebook]:
    """A page for most tests of this module."""
    lab.set("jupyterlab-manager/plugin", scope="@jupyter-widgets", saveState=True)
    with new_page(talking, lab) as page:
        yield Notebook(lab, page)


@pytest.fixture
def fresh(book: Notebook) -> Notebook:
    """A microphone that is off, made by running its cell again."""
    book.page.evaluate("window.fails = null")
    book.make()
    return book


def again(spoken: Path) -> rtnb.Clip:
    """Return what the fake microphone hears, twice: any stretch of it is in there."""
    return rtnb.Clip.read(spoken) + rtnb.Clip.read(spoken)


def likeness(heard: rtnb.Clip, said: rtnb.Clip) -> float:
    """Return how well a clip correlates with another one, as a whole, where it does so best."""
    whole, part = (clip.resample(8000).samples.astype(float) for clip in (heard, said))
    return float(_correlations(whole, part).max())


def not_found(heard: rtnb.Clip, said: rtnb.Clip) -> int:
    """Return how many of the louder quarter seconds of a clip are nowhere in another one."""
    whole, part = (clip.resample(8000).samples.astype(float) for clip in (heard, said))
    pieces = part[: len(part) // 2000 * 2000].reshape(-1, 2000)
    energies = (pieces**2).sum(axis=1)
    louder = pieces[energies > np.median(energies)]
    return sum(bool(_correlations(whole, piece).max() < 0.8) for piece in louder)


def _correlations(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return the correlation at each place that a part can have in a whole."""
    size = len(whole) + len(part)
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    products = np.fft.irfft(spectrum, size)[: len(whole) - len(part) + 1]
    sums = np.cumsum(np.concatenate([[0.0], whole**2]))
    around = (sums[len(part) :] - sums[: -len(part)]).clip(1e-3)
    found: np.ndarray = products / np.sqrt(around * (part @ part))
    return found


def test_a_call_hears_what_is_said(fresh: Notebook, peer: rtnb.Peer) -> None:
    """A real call's captured run holds the prompt; none of the chunks is lost."""
    fresh.run(f"session = rtnb.connect({peer.url!r}, api_key='sk-test', microphone=mic)")
    fresh.start()
    fresh.see("live")
    fresh.run("threading.Event().wait(3.2)")
    stats = fresh.ask("[mic.stats(), session.close()][0]")
    assert stats["lost"] == stats["call"]["lost"] == 0 and stats["chunks"] > 150
    assert (stats["clock"], stats["base64"]) == ("same", False)
    expect(fresh.mic).to_contain_text("not connected to a call")
    heard = fresh.clip("rtnb.open_run(session.folder).sent")
    # on a machine with too much to do the jitter buffer puts silence in, and leaves some out
    disturbed = stats["call"]["underruns"] + stats["call"]["skipped"]
    assert not_found(heard, prompt_clip(PROMPT)) <= disturbed
    assert disturbed or likeness(heard, prompt_clip(PROMPT)) > 0.9


def test_what_is_sent_is_what_was_heard(fresh: Notebook, spoken: Path) -> None:
    """Bit for bit but for the browser's resampling; muted, nothing is sent."""
    fresh.run("mic.attach(sink)")
    fresh.start()
    fresh.run("sink.wait(1.5)")
    assert fresh.ask("sink.numbers == list(range(len(sink.numbers)))")
    assert likeness(again(spoken), fresh.clip("sink.clip()[:1.5]")) > 0.95
    fresh.button("Mute").click()
    fresh.see("muted")
    fresh.page.wait_for_timeout(100)
    before = fresh.ask("len(sink.pcm)")
    fresh.page.wait_for_timeout(300)
    assert fresh.ask("[mic.muted, sink.paused, len(sink.pcm)]") == [True, 1, before]
    fresh.run("mic.muted = False; sink.wait(0.2)")
    fresh.see("live")


def test_the_record_button_makes_a_clip(lab: Lab, fresh: Notebook, spoken: Path) -> None:
    """Without any call; what is shown of devices is in no saved notebook."""
    fresh.start()
    fresh.button("Record").click()
    fresh.see("recording")
    expect(fresh.mic).to_contain_text(re.compile(r"recording (1\.[5-9]|[2-9])"), timeout=WITHIN)
    fresh.button("Stop recording").click()
    expect(fresh.mic).to_contain_text("recorded: mic.record() gives it")
    clip = fresh.clip("mic.record()")
    assert clip.duration >= 1.5 and likeness(again(spoken), clip[:1.5]) > 0.95
    assert fresh.ask("mic.record(0.5).duration") == 0.5
    expect(fresh.mic.get_by_label("Microphone to use")).to_contain_text("Fake")
    lab.save(fresh.page)
    saved = (lab.folder / "notebook.ipynb").read_text(encoding="utf-8")
    assert "echo_cancellation" in saved and "Fake" not in saved
    lab.screenshot(fresh.page, "microphone", fresh.mic)


def test_all_is_given_back(fresh: Notebook) -> None:
    """By the Stop button, by close(), and when the cell runs again or its output is cleared."""
    page = fresh.page
    ends = [
        lambda: fresh.button("Stop").click(),
        lambda: fresh.run("mic.close()"),
        fresh.make,
        lambda: fresh.lab.command(page, "notebook:clear-cell-output"),
    ]
    for end in ends:
        if fresh.mic.get_attribute("data-state") == "closed":
            fresh.make()
        fresh.start()
        assert page.evaluate(HELD) == [1, 1]
        page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
        end()
        page.wait_for_function(f"() => {HELD}.every((count) => count === 0)")


def test_push_to_talk_by_the_space_bar(fresh: Notebook, peer: rtnb.Peer) -> None:
    """A call hears nothing unless the button is held, and has a turn for that; chosen before Start."""
    page = fresh.page
    fresh.run(f"session = rtnb.connect({peer.url!r}, api_key='sk-test', microphone=mic)")
    fresh.mic.get_by_label("push to talk").check()
    fresh.start()
    fresh.see("waiting")
    assert fresh.ask("[mic.push_to_talk, mic.stats()['chunks'], len(session.turns)]") == [
        True,
        0,
        0,
    ]
    fresh.button("Hold to talk").focus()
    page.keyboard.down(" ")
    fresh.see("live")
    page.wait_for_timeout(1000)
    page.keyboard.up(" ")
    fresh.see("waiting")
    fresh.run("session.events.wait_for('response.created', timeout=20)")
    kind, said, chunks = fresh.ask(
        "[session.turns[0].kind, session.turns[0].prompt.duration, mic.stats()['chunks']]"
    )
    assert kind == "push_to_talk" and chunks >= 45
    assert said >= 0.85 and fresh.ask("mic.stats()['chunks']") == chunks
    assert fresh.ask("[len(session.turns), mic.trouble, session.close()]") == [1, "", None]


FAILURES = [
    ("NotFoundError", "none", "No microphone was found"),
    ("NotReadableError", "none", "another program may hold it"),
    ("NotAllowedError", "Permission dismissed", "was not answered"),
    ("NotAllowedError", "Permission denied", "Allow it for this page"),
    ("OddError", "<b>odd</b>", "OddError: <b>odd</b>"),
]


def test_what_is_wrong_is_said_in_words(fresh: Notebook) -> None:
    """Each failure of the browser has its sentence, and the next try may succeed."""
    for name, message, sentence in FAILURES:
        fresh.page.evaluate("(fails) => { window.fails = fails; }", [name, message])
        fresh.button("Start").click()
        expect(fresh.mic.get_by_role("alert")).to_contain_text(sentence)
        fresh.see("error")
    fresh.page.evaluate("""
        document.featurePolicy.allowsFeature = () => false;
        window.fails = ["NotAllowedError", "Permission denied"];
    """)
    fresh.button("Start").click()
    expect(fresh.mic.get_by_role("alert")).to_contain_text("This frame may not use the microphone")
    fresh.page.evaluate("window.google = { colab: {} }")
    fresh.button("Start").click()
    expect(fresh.mic.get_by_role("alert")).to_contain_text("In Colab: allow the microphone")
    fresh.page.evaluate("delete window.google; window.fails = null")
    fresh.start()


def test_a_refused_microphone_and_a_deaf_kernel(lab: Lab, talking: Browser, spoken: Path) -> None:
    """The browser's own refusal; and where messages wait for the running cell, the page says so."""
    asking = [flag for flag in FLAGS if not flag.startswith("--use-fake-ui")]
    flags = [*asking, f"--use-file-for-fake-audio-capture={spoken}"]
    lab.set("apputils-extension/kernels-settings", commsOverSubshells="disabled")
    strict = talking.browser_type.launch(executable_path=chromium(), args=flags)
    try:
        with strict, new_page(strict, lab) as page:
            book = Notebook(lab, page)
            book.button("Start").click()
            expect(book.mic.get_by_role("alert")).to_contain_text("The browser has refused")
            assert page.evaluate(HELD) == [0, 0]
            page.context.grant_permissions(["microphone"])
            book.run("mic.attach(sink)")
            book.start()
            book.tell("threading.Event().wait(2.5); print(len(sink.pcm) // 96_000, 'heard')")
            book.see("busy")
            expect(book.mic).to_contain_text("it will when the running cell ends")
            book.see("live")
            assert lab.output(page, 1).inner_text().strip() == "0 heard"
            assert book.ask("[mic.stats()['lost'], len(sink.pcm) > 2 * 96_000]") == [0, True]
    finally:
        lab.set("apputils-extension/kernels-settings")
