"""`Microphone` without a browser: what its page says and is told, in this process and in kernels."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colab_env import colab_python
from widget_rig import Gone, Model, Rig, running_rig

import rtnb
from rtnb.registry import RERUN
from rtnb.voicepage import LEASE
from rtnb.voiceupload import Arrivals, Chunk, understood

PCM = np.arange(960, dtype=np.int16).tobytes()  # 20 ms
WITHIN = 20.0


class Sink:
    """A call that takes what it is fed."""

    open = True

    def __init__(self) -> None:
        self.fed: list[tuple[bytes, int, int, float | None]] = []
        self.paused = 0

    def feed(
        self, samples: bytes, *, number: int, sample_rate: int = 48_000, captured: float | None
    ) -> None:
        self.fed.append((samples, number, sample_rate, captured))

    def pause(self) -> None:
        self.paused += 1

    @property
    def numbers(self) -> list[int]:
        return [number for _, number, _, _ in self.fed]


class Held(Sink):
    """A call whose turns can be held open; they are once `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.figures = lambda: {"received": len(self.fed)}
        self.microphone: Any = None
        self.gate = threading.Event()
        self.log: list[str] = []
        self.error: Exception | None = None

    def feed(self, samples: bytes, **what: Any) -> None:
        super().feed(samples, **what)
        self.log.append("fed")

    @contextlib.contextmanager
    def push_to_talk(self) -> Iterator[None]:
        self.gate.wait(WITHIN)
        if self.error is not None:
            raise self.error
        self.log.append("held")
        yield
        self.log.append("let go")

    def take_microphone(self, microphone: Any) -> None:
        self.microphone = microphone


class Page:
    """A page that shows a microphone, and says what it is told to; it is a widget's comm too."""

    def __init__(self, mic: rtnb.Microphone, name: str = "page"):
        self.mic, self.name, self.number = mic, name, 0
        self.heard: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)

    def say(self, kind: str, *buffers: Any, **fields: Any) -> dict[str, Any]:
        """Say something, and return the answer; none is an empty one."""
        before = len(self.heard)
        self.mic._page.hear(self, {"kind": kind, "page": self.name, **fields}, list(buffers))
        return self.heard[before] if len(self.heard) > before else {}

    def speak(self, chunks: int = 1, *, pcm: bytes = PCM, **fields: Any) -> None:
        """Send chunks for the call that were captured just now."""
        for _ in range(chunks):
            said = {"number": self.number, "rate": 48_000, "captured": time.time(), "feed": True}
            self.number += 1
            self.say("chunk", pcm, **{**said, **fields})


@pytest.fixture
def mic() -> Iterator[rtnb.Microphone]:
    """A microphone, closed in the end."""
    one = rtnb.Microphone()
    yield one
    one.close(RERUN)


@pytest.fixture
def page(mic: rtnb.Microphone) -> Page:
    """Its page, started."""
    one = Page(mic)
    one.say("hello", b"rtnb")
    one.say("start")
    return one


def until(fact: Callable[[], Any]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + WITHIN
    while not fact():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.005)


# --- feeding a call ------------------------------------------------------------------------------


def test_a_call_is_fed_what_the_page_hears(mic: rtnb.Microphone, page: Page) -> None:
    """Samples, numbers and rate as they came, and when they were captured in monotonic seconds."""
    sink = Sink()
    mic.attach(sink)
    assert mic.attached
    page.speak(3, captured=time.time() - 0.25)
    assert [piece[:3] for piece in sink.fed] == [(PCM, n, 48_000) for n in range(3)]
    assert all(abs(time.monotonic() - 0.25 - (piece[3] or 0)) < 0.1 for piece in sink.fed)
    stats = mic.stats()
    assert (stats["chunks"], stats["lost"], stats["bytes"]) == (3, 0, 5760)
    assert stats["clock"] == "same" and 0.25 <= stats["delay"]["median"] < 0.35
    assert repr(mic) == "<Microphone live, feeding a call: 3 chunks>"


def test_what_is_missing_is_counted(mic: rtnb.Microphone, page: Page) -> None:
    """The call's numbers skip as the page's do; what comes twice is left out."""
    sink = Sink()
    mic.attach(sink)
    page.speak()
    page.number = 5
    page.speak()
    page.speak(number=5)
    assert sink.numbers == [0, 5]
    assert mic.stats()["lost"] == 4


def test_a_chunk_for_a_take_alone_is_no_loss_to_the_call(mic: rtnb.Microphone, page: Page) -> None:
    """The call's numbers go on where they were."""
    sink = Sink()
    mic.attach(sink)
    page.speak(2)
    page.speak(7, feed=False, take="one")
    page.speak(1)
    assert sink.numbers == [0, 1, 2]


def test_ten_chunks_are_acknowledged_at_once(mic: rtnb.Microphone, page: Page) -> None:
    """Each answer names the page, the last chunk, and the kernel's time."""
    page.heard.clear()
    page.speak(25)
    assert [(a["kind"], a["page"], a["number"]) for a in page.heard] == [
        ("ack", "page", 9),
        ("ack", "page", 19),
    ]
    assert abs(page.heard[0]["at"] - time.time()) < 5
    assert page.say("pause")["number"] == 24


def test_chunks_that_come_together_are_fed_one_by_one(mic: rtnb.Microphone, page: Page) -> None:
    """As a page sends them that is behind: each with its number and its own time."""
    sink = Sink()
    mic.attach(sink)
    page.heard.clear()
    now = time.time() - 1
    page.speak(pcm=PCM * 2, count=2, captured=now)
    page.number = 2
    page.speak(pcm=PCM * 8, count=8, captured=now + 0.16)
    assert [piece[:2] for piece in sink.fed] == [(PCM, number) for number in range(10)]
    times = [piece[3] or 0 for piece in sink.fed]
    assert np.diff(times) == pytest.approx(0.02, abs=0.01)
    assert [answer["number"] for answer in page.heard] == [9]
    assert mic.stats()["lost"] == 0


def test_muted_nothing_is_fed(mic: rtnb.Microphone, page: Page) -> None:
    """Muted in the page or in Python, and the call is told that silence is no loss."""
    sink = Sink()
    mic.attach(sink)
    page.say("muted", value=True)
    page.speak()
    assert mic.muted and sink.fed == [] and sink.paused == 1
    changes: list[Any] = []
    mic.observe(changes.append, "controls")
    mic.muted = False
    assert len(changes) == 1, "it is news to the page, though the state had it so"
    page.speak()
    assert len(sink.fed) == 1
    mic.muted = True
    page.speak()
    assert len(sink.fed) == 1 and mic.controls["muted"]


def test_one_call_at_a_time(mic: rtnb.Microphone, page: Page) -> None:
    """Another call takes over; leaving the first does not leave it."""
    first, second = Sink(), Sink()
    mic.attach(first)
    mic.attach(second)
    mic.detach(first)
    page.speak()
    assert (len(first.fed), len(second.fed), first.paused) == (0, 1, 1)
    mic.detach(second)
    page.speak()
    assert len(second.fed) == 1 and not mic.attached


def test_a_call_that_is_over_is_fed_no_more(mic: rtnb.Microphone, page: Page) -> None:
    """Even before it detaches."""
    sink = Sink()
    mic.attach(sink)
    sink.open = False
    page.speak()
    assert sink.fed == []


def test_stopped_the_call_is_told(mic: rtnb.Microphone, page: Page) -> None:
    """Stop and leaving the page are a pause, and the microphone is off."""
    sink = Sink()
    mic.attach(sink)
    assert mic.live
    page.say("stop")
    assert sink.paused == 1 and not mic.live
    page.say("start")
    page.say("gone")
    assert sink.paused == 2 and repr(mic) == "<Microphone off, feeding a call: 0 chunks>"


def test_the_page_that_was_started_last_is_heard(mic: rtnb.Microphone, page: Page) -> None:
    """The other one is told, and what it says is left alone."""
    sink = Sink()
    mic.attach(sink)
    other = Page(mic, "other")
    other.say("start")
    page.speak()
    assert page.heard[-1] == {"kind": "elsewhere", "page": "page"}
    page.say("muted", value=True)
    other.speak()
    assert len(sink.fed) == 1 and not mic.muted


# --- clocks --------------------------------------------------------------------------------------


def chunk(number: int, captured: float, **fields: Any) -> Chunk:
    content = {"kind": "chunk", "page": "p", "number": number, "rate": 48_000, "captured": captured}
    found = understood({**content, **fields}, [PCM])
    assert isinstance(found, Chunk)
    return found


def test_a_clock_that_differs_counts_from_the_smallest_delay() -> None:
    """The page's clock is an hour behind, and the page knows it: only differences are left."""
    seen = Arrivals()
    at = [
        seen.take(chunk(n, 1000.0 + n * 0.02, ahead=3600.0, within=0.02), unix, unix)
        for n, unix in enumerate([4600.1, 4600.07, 4600.24])
    ]
    assert seen.relative
    assert [one and one[1] for one in at] == pytest.approx([4600.1, 4600.07, 4600.09])
    assert seen.worst == pytest.approx(0.15)


def test_a_delay_is_no_clock_that_differs() -> None:
    """Chunks that waited five seconds for a cell to end are five seconds late."""
    seen = Arrivals()
    seen.take(chunk(0, 1000.0, ahead=0.01, within=0.02), 1005.0, 50.0)
    assert not seen.relative and seen.worst == 5.0


def test_a_clock_in_the_future_differs() -> None:
    """Nothing comes before it was captured."""
    seen = Arrivals()
    assert seen.take(chunk(0, 1000.0), 990.0, 50.0) == (0, 50.0)
    assert seen.relative


# --- what cannot be trusted ----------------------------------------------------------------------

GOOD: dict[str, Any] = {"kind": "chunk", "page": "p", "number": 0, "rate": 48_000, "captured": 1.0}


@pytest.mark.parametrize(
    ("changed", "pcm"),
    [
        ({"page": None}, PCM),
        ({"page": "x" * 41}, PCM),
        ({"number": -1}, PCM),
        ({"number": True}, PCM),
        ({"number": 2**53}, PCM),
        ({"number": "0"}, PCM),
        ({"rate": 7999}, PCM),
        ({"rate": 192_001}, PCM),
        ({"rate": 48_000.0}, PCM),
        ({"kind": ["chunk"]}, PCM),
        ({"count": 0}, PCM),
        ({"count": 51}, PCM * 51),
        ({"count": 7}, PCM),
        ({}, b""),
        ({}, b"odd"),
        ({}, bytes(96_002)),
        ({}, "text"),
        ({}, None),
    ],
)
def test_what_is_no_chunk_is_left_alone(changed: dict[str, Any], pcm: Any) -> None:
    """Wrong types, sizes and rates."""
    assert understood({**GOOD, **changed}, [pcm]) is None


@pytest.mark.parametrize("content", [None, [], "chunk", {}, {"kind": "chunk"}, {"kind": {}}, 7])
def test_what_is_no_message_is_left_alone(mic: rtnb.Microphone, content: Any) -> None:
    """Nothing raises, and nothing is answered."""
    page = Page(mic)
    for buffers in (None, 5, [], [None]):
        mic._page.hear(page, content, buffers)
    assert page.heard == []


@pytest.mark.parametrize("pcm", ["", "*", "AAA", "é" * 8, 7, "A" * 200_000])
def test_text_that_is_no_base64_is_left_alone(pcm: Any) -> None:
    """Nor more than a second of it."""
    assert understood({**GOOD, "pcm": pcm}, []) is None


@pytest.mark.parametrize("captured", [None, "1", float("nan"), float("inf"), 1e300, True, 10**400])
def test_a_time_that_is_none_is_unknown(captured: Any) -> None:
    """The chunk is taken all the same."""
    found = understood({**GOOD, "captured": captured}, [PCM])
    assert isinstance(found, Chunk) and found.captured is None


def test_chunks_may_come_as_text(mic: rtnb.Microphone) -> None:
    """Where the probe in the greeting has not arrived the page sends base64."""
    page, sink = Page(mic), Sink()
    assert page.say("hello", b"rtnb")["buffers"] is True
    assert page.say("hello")["buffers"] is False
    mic.attach(sink)
    page.say("start")
    page.say("chunk", number=0, rate=48_000, feed=True, pcm=base64.b64encode(PCM).decode())
    assert sink.fed == [(PCM, 0, 48_000, None)]
    assert mic.stats()["base64"]


def test_a_call_that_fails_harms_nobody(mic: rtnb.Microphone, page: Page) -> None:
    """The page is served on."""

    class Broken(Sink):
        def feed(self, samples: bytes, **what: Any) -> None:
            raise RuntimeError("broken")

    mic.attach(Broken())
    page.speak(30)
    assert mic.stats()["chunks"] == 30


# --- push to talk --------------------------------------------------------------------------------


def test_nothing_is_lost_while_a_turn_is_not_open_yet(mic: rtnb.Microphone, page: Page) -> None:
    """What is said from the press on waits, and is fed before the turn is let go."""
    sink = Held()
    mic.attach(sink)
    page.say("press")
    page.speak(3)
    page.say("release")
    assert sink.log == []
    sink.gate.set()
    until(lambda: "let go" in sink.log)
    assert sink.log == ["held", "fed", "fed", "fed", "let go"]
    assert sink.numbers == [0, 1, 2] and sink.paused == 1


def test_two_presses_do_not_mix(mic: rtnb.Microphone, page: Page) -> None:
    """The second turn is held once the first is let go."""
    sink = Held()
    mic.attach(sink)
    for count in (1, 2):
        page.say("press")
        page.speak(count)
        page.say("release")
    sink.gate.set()
    until(lambda: sink.log.count("let go") == 2)
    assert sink.log == ["held", "fed", "let go", "held", "fed", "fed", "let go"]


def test_a_press_ends_one_whose_release_was_not_heard(mic: rtnb.Microphone, page: Page) -> None:
    """As when a page has crashed, and another one is there."""
    sink = Held()
    sink.gate.set()
    mic.attach(sink)
    page.say("press")
    until(lambda: sink.log == ["held"])
    page.say("press")
    until(lambda: sink.log == ["held", "let go", "held"])
    page.say("release")


def test_a_call_that_is_left_is_told(mic: rtnb.Microphone) -> None:
    """It has no microphone then; while it is fed, its figures are among the microphone's."""
    sink = Held()
    sink.microphone = mic
    mic.attach(sink)
    assert mic.stats()["call"] == {"received": 0}
    mic.attach(Sink())
    assert sink.microphone is None and "call" not in mic.stats()


def test_what_goes_wrong_with_a_hold_is_said(mic: rtnb.Microphone, page: Page) -> None:
    """In the widget, without any key in it; the next press forgets it."""
    sink = Held()
    sink.error = rtnb.CallClosedError("The call is over, key sk-test-only-0123456789abcdef.")
    sink.gate.set()
    mic.attach(sink)
    page.say("press")
    until(lambda: mic.trouble)
    assert mic.trouble.startswith("Push-to-talk failed: The call is over")
    assert "0123456789" not in mic.trouble
    page.say("release")
    sink.error = None
    page.say("press")
    assert mic.trouble == ""
    page.say("release")


def test_detaching_lets_go(mic: rtnb.Microphone, page: Page) -> None:
    """A turn is not held open by a call that the microphone has left."""
    sink = Held()
    sink.gate.set()
    mic.attach(sink)
    page.say("press")
    until(lambda: sink.log == ["held"])
    mic.detach(sink)
    until(lambda: sink.log == ["held", "let go"])


def test_a_call_without_turns_is_just_fed(mic: rtnb.Microphone, page: Page) -> None:
    """The button then only decides what is sent."""
    sink = Sink()
    mic.attach(sink)
    page.say("press")
    page.speak()
    page.say("release")
    assert len(sink.fed) == 1 and sink.paused == 1


# --- takes ---------------------------------------------------------------------------------------


def test_a_take_is_a_clip(mic: rtnb.Microphone, page: Page) -> None:
    """Of 48 kHz, whatever the page's rate was; a call hears nothing of it."""
    sink = Sink()
    mic.attach(sink)
    page.say("taking", take="one")
    half = np.full(480, 8192, np.int16).tobytes()
    page.speak(50, pcm=half, rate=24_000, take="one", feed=False)
    page.say("took", take="one")
    clip = mic.record()
    assert (clip.duration, clip.sample_rate) == (1.0, 48_000)
    assert np.abs(clip.samples[4800:-4800] - 0.25).max() < 0.01
    assert sink.fed == [] and mic.record().duration == 1.0


def test_a_running_take_is_ended(mic: rtnb.Microphone, page: Page) -> None:
    """The page is told to, and what has come is returned."""
    page.speak(5, take="one")
    assert mic.record().duration == pytest.approx(0.1)
    assert mic.order == {"end": "one"}


def test_what_a_take_has_lost_is_a_gap(mic: rtnb.Microphone, page: Page) -> None:
    """Silence in the clip, and marked."""
    page.speak(2, take="one")
    page.number = 4
    page.speak(1, take="one")
    page.say("took", take="one")
    clip = mic.record()
    assert clip.duration == pytest.approx(0.1)
    assert clip.gaps == (pytest.approx((0.04, 0.08)),)
    assert not clip.samples[1920:3840].any()


def test_a_take_ends_after_ten_minutes(mic: rtnb.Microphone, page: Page) -> None:
    """What comes after that is left out; only the last take is kept."""
    page.speak(601, pcm=bytes(16_000), rate=8000, take="one", feed=False)
    take = mic._takes.last
    assert take is not None and (take.duration, take.over) == (600, True)
    page.speak(1, take="two")
    assert mic.record().duration == pytest.approx(0.02)


def test_without_a_take_the_button_is_named(mic: rtnb.Microphone) -> None:
    """And the other way to get one."""
    with pytest.raises(rtnb.ConfigurationError, match=r"Record button.*mic\.record\(5\)"):
        mic.record()


def test_an_empty_take_is_no_clip(mic: rtnb.Microphone, page: Page) -> None:
    """Such as one whose microphone was muted all the time."""
    page.say("taking", take="one")
    page.say("took", take="one")
    with pytest.raises(rtnb.ConfigurationError, match="Nothing of this take"):
        mic.record()


@pytest.mark.parametrize("duration", [0, -1, 601, float("nan"), True, "5"])
def test_a_duration_that_is_none_is_refused(mic: rtnb.Microphone, duration: Any) -> None:
    """It must be seconds, up to ten minutes."""
    with pytest.raises(rtnb.ConfigurationError, match="duration is"):
        mic.record(duration)


def test_recording_needs_a_microphone_that_is_on(mic: rtnb.Microphone) -> None:
    """Off, and muted: each sentence says what to do, and comes at once."""
    with pytest.raises(
        rtnb.ConfigurationError, match=r"No microphone is heard: .* press its Start"
    ):
        mic.record(1)
    Page(mic).say("start")
    mic.muted = True
    with pytest.raises(rtnb.ConfigurationError, match="muted: unmute it"):
        mic.record(1)
    assert mic.order == {}


def test_a_take_that_is_ended_in_the_page_is_told(mic: rtnb.Microphone, page: Page) -> None:
    """What there is can be had."""

    def end(change: Any) -> None:
        if take := change["new"].get("take"):
            page.speak(2, take=take)
            page.say("took", take=take)

    mic.observe(end, "order")
    with pytest.raises(rtnb.ConfigurationError, match=r"after 0\.0 of 1 s"):
        mic.record(1)
    assert mic.record().duration == pytest.approx(0.04)


# --- life ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["echo_cancellation", "auto_gain", "muted", "push_to_talk"])
def test_an_option_is_true_or_false(name: str) -> None:
    """Anything else is refused by name."""
    with pytest.raises(rtnb.ConfigurationError, match=f"{name} is 'yes'"):
        rtnb.Microphone(**{name: "yes"})


def test_closed_it_feeds_nobody(mic: rtnb.Microphone, page: Page) -> None:
    """The page is told, the call is left; a second time does nothing; nothing more is taken."""
    sink = Sink()
    mic.attach(sink)
    mic.close()
    mic.close()
    page.speak()
    assert mic.over and not mic.live and not mic.attached
    assert sink.fed == [] and sink.paused == 1
    assert repr(mic) == "<Microphone closed>"
    with pytest.raises(rtnb.ConfigurationError, match="closed; make another one"):
        mic.attach(Sink())
    with pytest.raises(rtnb.ConfigurationError, match="closed; make another one"):
        mic.record(1)


@pytest.mark.parametrize("started", [True, False])
def test_its_thread_ends_with_its_page(mic: rtnb.Microphone, started: bool) -> None:
    """A page that says it goes is gone at once, whether it had the microphone or not."""
    page = Page(mic)
    page.say("hello")
    if started:
        page.say("start")
    watcher = mic._page._watcher
    assert watcher is not None
    page.say("gone")
    watcher.join(WITHIN)
    assert not watcher.is_alive() and not mic.live


def test_a_page_that_says_nothing_is_gone(
    mic: rtnb.Microphone, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have crashed; whatever it says brings it back."""
    assert mic.live
    monkeypatch.setattr(mic._page, "_heard", time.monotonic() - LEASE)
    assert not mic.live
    page.say("here")
    assert mic.live


def test_a_page_changes_no_trait(mic: rtnb.Microphone) -> None:
    """Or one that claims the microphone is closed would keep it from leaving its call."""
    before = mic.get_state()
    mic.set_state({"over": True, "attached": True, "trouble": "<b>", "order": {"take": "x"}})
    assert mic.get_state() == before


def test_nothing_of_the_page_is_in_the_state(mic: rtnb.Microphone, page: Page) -> None:
    """Neither names nor sound, whatever the page says."""
    before = json.dumps(mic.get_state(), default=str)
    page.say("taking", take="secret", label="secret")
    page.speak(5, take="secret", label="secret")
    assert json.dumps(mic.get_state(), default=str) == before


def test_a_microphone_that_was_left_is_forgotten() -> None:
    """Closed by the run of its cell, nothing holds it."""
    mic = rtnb.Microphone()
    Page(mic).say("hello")
    gone = weakref.ref(mic)
    mic.close(RERUN)
    del mic
    until(lambda: gc.collect() >= 0 and gone() is None)


# --- in kernels ----------------------------------------------------------------------------------

MADE = """
import rtnb, threading

class Sink:
    open, paused = True, 0

    def __init__(self):
        self.fed, self.enough = [], threading.Event()

    def feed(self, samples, *, number, sample_rate=48_000, captured):
        self.fed.append((len(samples), number, sample_rate))
        if len(self.fed) >= 20:
            self.enough.set()

    def pause(self):
        self.paused += 1

mic, sink = rtnb.Microphone(), Sink()
mic
"""
WAITS = "mic.attach(sink); print(sink.enough.wait(1.5))"


@pytest.fixture(scope="module", params=["subshell", "colab"])
def kernel(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Rig, bool]]:
    """Kernels, and whether each hears a page that has greeted it while a cell runs."""
    kind = request.param
    python = colab_python() if kind == "colab" else sys.executable
    folder = tmp_path_factory.mktemp(f"microphone-{kind}")
    with running_rig(folder, python, subshell=kind == "subshell") as rig:
        yield rig, kind == "subshell"


class Front:
    """The page of a microphone in a kernel."""

    def __init__(self, rig: Rig):
        self.rig = rig
        self.model = rig.show(MADE)
        self.way = rig.models[self.model["upload"].removeprefix("IPY_MODEL_")]
        self.number = 0

    def say(self, kind: str, *buffers: bytes, **fields: Any) -> str:
        return self.rig.message(self.way, {"kind": kind, "page": "p", **fields}, buffers)

    def greet(self) -> None:
        """Greet, be answered, and start."""
        self.rig.until_handled(self.say("hello", b"rtnb"))
        answer, _ = self.way.received[0]
        assert (answer["kind"], answer["buffers"]) == ("hello", True)
        self.rig.until_handled(self.say("start"))

    def speak(self, count: int, **fields: Any) -> str:
        for _ in range(count):
            said = {"number": self.number, "rate": 48_000, "captured": time.time(), "feed": True}
            self.number += 1
            sent = self.say("chunk", PCM, **{**said, **fields})
        return sent


@pytest.fixture
def front(kernel: tuple[Rig, bool]) -> Front:
    """A microphone, shown anew in the same cell, started."""
    one = Front(kernel[0])
    one.greet()
    return one


def test_a_kernel_hears_the_page(kernel: tuple[Rig, bool], front: Front) -> None:
    """Chunks in binary and as text reach the call in order, and are acknowledged."""
    rig = kernel[0]
    rig.run("mic.attach(sink)")
    assert front.model["attached"]
    front.speak(9)
    last = front.say("chunk", number=9, rate=48_000, feed=True, pcm=base64.b64encode(PCM).decode())
    rig.until_handled(last)
    assert front.way.received[-1][0]["number"] == 9
    ran = rig.run("print(sink.fed == [(1920, n, 48_000) for n in range(10)], mic.stats()['lost'])")
    assert ran.text == "True 0\n"


def test_a_running_cell_keeps_only_an_old_kernel_from_hearing(
    kernel: tuple[Rig, bool], front: Front
) -> None:
    """On a page's own thread voice flows on; elsewhere it comes when the cell is over, complete."""
    rig, heard = kernel
    ran = rig.send(WAITS)
    rig.until(lambda: front.model["attached"])
    last = front.speak(20)
    rig.until(lambda: ran.over)
    assert ran.text == f"{heard}\n"
    rig.until_handled(last)
    assert rig.run("print(len(sink.fed), mic.stats()['lost'])").text == "20 0\n"


def test_a_take_of_some_seconds(kernel: tuple[Rig, bool], front: Front) -> None:
    """It comes within the cell, or else in the next one, as the error says."""
    rig, heard = kernel
    ran = rig.send("clip = mic.record(0.2)")
    take = rig.until(lambda: front.model["order"].get("take"))
    front.say("taking", take=take)
    front.speak(10, take=take, feed=False)
    last = front.say("took", take=take)
    rig.until(lambda: ran.over)
    rig.until_handled(last)
    if heard:
        assert ran.error is None
        assert rig.run("print(clip.duration)").text == "0.2\n"
    else:
        assert ran.error == "ConfigurationError"
        assert "get the take with mic.record() in the next one" in "".join(ran.traceback)
    assert rig.run("print(round(mic.record().duration, 6))").text == "0.2\n"


def test_running_the_cell_again_closes_the_old_one(kernel: tuple[Rig, bool], front: Front) -> None:
    """Its page is told before the model goes, and the new one hears."""
    rig = kernel[0]
    old: Model = front.model
    new = Front(rig)
    assert old["over"] and old.closed and front.way.closed
    new.greet()
    assert not new.model["over"]


def test_a_page_that_went_away_leaves_nothing(tmp_path: Path) -> None:
    """When it says that it goes, what comes next is served on the main thread again."""
    with running_rig(tmp_path, subshell=True) as rig:
        front = Front(rig)
        front.greet()
        front.say("gone")
        rig.until(lambda: front.way.received[-1][0]["kind"] == "rest")
        ran = rig.send("import time; time.sleep(1); print('over')")
        asked = front.say("hello", b"rtnb")
        with pytest.raises(Gone):
            rig.until_handled(asked, within=0.5)
        rig.until(lambda: ran.over)
        rig.until_handled(asked)
