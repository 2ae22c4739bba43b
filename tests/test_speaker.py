"""`Speaker` without a browser: what is sent to a page, when, and what is taken from one."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from colab_env import colab_python
from speaker_parts import TONE
from widget_rig import Model, Rig, running_rig

import rtnb
from rtnb import messages as m
from rtnb import speaker as speaker_module
from rtnb.errors import ConfigurationError
from rtnb.livesound import Listener
from rtnb.playout import Gone, Here, Playout, Presence, Report, understood

HERE = {"kind": "here", "page": "one", "sent": 1.7e12, "binary": None}
REPORT = {
    "kind": "report", "page": "one", "played": [[5.0, 65.0], [7.5, 66.0]], "underruns": 1,
    "dropped": 2, "skipped": 3, "wanted": 60, "offset": 0.5, "trip": 8,
}  # fmt: skip


# --- without a kernel -----------------------------------------------------------------------------


class Source:
    """A call that is heard from."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def now(self) -> float:
        return 10.0

    def hand(self, message: m.AudioHeard | None) -> None:
        for one in list(self.listeners):
            one(message)


def stretch(position: int = 0) -> m.AudioHeard:
    return m.AudioHeard("call", position, bytes(1920), 9.0)


@pytest.fixture
def one() -> Iterator[rtnb.Speaker]:
    """A speaker that no page shows."""
    made = rtnb.Speaker()
    yield made
    made.close()


def say(speaker: rtnb.Speaker, content: object) -> None:
    """Let a page say something to a speaker."""
    speaker._handle_custom_msg(content, [])


def attached(speaker: rtnb.Speaker) -> Source:
    source = Source()
    speaker.attach(source)
    return source


def test_nothing_is_sent_without_a_page(one: rtnb.Speaker) -> None:
    """A notebook that nobody looks at costs nothing."""
    source = attached(one)
    source.hand(stretch())
    source.hand(None)
    stats = one.stats()
    assert [stats[name] for name in ("stretches", "bytes", "unsent", "flushes")] == [0, 0, 1, 0]


def test_it_is_sent_to_a_page_that_is_there(one: rtnb.Speaker) -> None:
    """Until the page says that it has gone."""
    source = attached(one)
    say(one, HERE)
    source.hand(stretch())
    source.hand(None)
    say(one, {"kind": "gone", "page": "one"})
    source.hand(stretch())
    stats = one.stats()
    wanted = {"stretches": 1, "bytes": 1920, "unsent": 1, "flushes": 1, "pages": 0}
    assert {name: stats[name] for name in wanted} == wanted


def test_what_is_left_of_an_interrupted_reply_is_cut(one: rtnb.Speaker) -> None:
    """What came before the interruption, and what follows on it until a silence, a gap, or 0.25 s."""
    source = attached(one)
    say(one, HERE)
    loud = np.full(960, 3_000, np.int16).tobytes()

    def sent(*heard: tuple[int, bytes, float]) -> list[int]:
        """Return which of these stretches are sent after an interruption at 10 s."""
        source.hand(None)
        before = [one.stats()["cut"]]
        for position, samples, arrived in heard:
            source.hand(m.AudioHeard("call", position, samples, arrived))
            before.append(one.stats()["cut"])
        return [number for number, same in enumerate(np.diff(before) == 0) if same]

    late, soon = (0, loud, 9.9), (960, loud, 10.02)
    assert sent(late, soon, (1920, loud, 10.04)) == []
    assert sent(late, soon, (1920, bytes(1920), 10.04), (2880, loud, 10.06)) == [2, 3]
    assert sent(late, soon, (2880, loud, 10.06), (3840, loud, 10.08)) == [2, 3]
    assert sent(late, (960, loud, 10.3)) == [1]


def test_a_speaker_that_is_just_shown_expects_its_page(one: rtnb.Speaker) -> None:
    """A kernel that is busy with the next cell may not hear the page's first word."""
    source = attached(one)
    one._repr_mimebundle_()
    source.hand(stretch())
    assert one.stats()["stretches"] == 1


def test_a_long_mute_saves_the_way(one: rtnb.Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short one does not: sound is back at once."""
    source = attached(one)
    say(one, HERE)
    one.muted = True
    source.hand(stretch())
    monkeypatch.setattr(speaker_module, "_QUIET", 0.0)
    source.hand(stretch())
    one.muted = False
    source.hand(stretch())
    assert (one.stats()["stretches"], one.stats()["unsent"]) == (2, 1)


def test_a_page_that_cannot_be_reached_harms_no_call(
    one: rtnb.Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's thread sees no error, and it is counted."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the kernel is going down")

    source = attached(one)
    say(one, HERE)
    monkeypatch.setattr(one, "send", fail)
    source.hand(stretch())
    source.hand(None)
    assert (one.stats()["failed"], one.stats()["stretches"]) == (2, 0)


def test_one_call_at_a_time(one: rtnb.Speaker) -> None:
    """Attached to another it leaves the first, which cannot detach it any more."""
    first, second = attached(one), attached(one)
    one.detach(first)
    assert (len(first.listeners), len(second.listeners)) == (0, 1)
    one.detach(second)
    assert (second.listeners, repr(one)) == (
        [],
        "<Speaker not attached, volume 100%, pages: 0, underruns: 0>",
    )


def test_attached_twice_it_plays_once(one: rtnb.Speaker) -> None:
    """The same call is subscribed to once."""
    source = attached(one)
    one.attach(source)
    assert len(source.listeners) == 1


def test_a_closed_speaker_is_closed_for_good(one: rtnb.Speaker) -> None:
    """It leaves its call, and cannot be attached again."""
    source = attached(one)
    say(one, HERE)
    one.close()
    one.close()
    say(one, HERE)
    assert (source.listeners, one.stats()["pages"], repr(one)) == ([], 0, "<Speaker closed>")
    with pytest.raises(ConfigurationError, match=r"closed; make another"):
        one.attach(source)


@pytest.mark.parametrize("volume", [-0.1, 1.01, float("nan"), "loud", True, None])
def test_a_volume_is_0_to_1(one: rtnb.Speaker, volume: Any) -> None:
    """Anything else is refused in words."""
    with pytest.raises(ConfigurationError, match="must be 0 to 1"):
        rtnb.Speaker(volume=volume)
    with pytest.raises((ConfigurationError, speaker_module.traitlets.TraitError)):
        one.volume = 7.0 if volume is True else volume
    assert one.volume == 1.0


@pytest.mark.parametrize(
    "state",
    [
        {"volume": 7}, {"volume": "0"}, {"volume": None}, {"volume": True}, {"muted": 1},
        {"_attached": True}, {"_over": True}, {"_page_id": "x"}, {"layout": None}, {"other": 1},
    ],
)  # fmt: skip
def test_a_page_sets_volume_and_mute_only(one: rtnb.Speaker, state: dict[str, Any]) -> None:
    """What is neither, or out of range, changes nothing."""
    before = one.get_state()
    one.set_state(state)
    assert one.get_state() == before


@pytest.mark.parametrize(
    "content",
    [
        None, "here", [], {}, {"kind": "here"}, HERE | {"page": 1}, HERE | {"page": ""},
        HERE | {"page": "x" * 65}, HERE | {"sent": "now"}, HERE | {"sent": float("nan")},
        HERE | {"sent": True}, HERE | {"binary": 1}, HERE | {"kind": ["here"]},
        HERE | {"kind": "else"}, {"kind": "gone", "page": None},
        REPORT | {"played": None}, REPORT | {"played": [1]}, REPORT | {"played": [[1, 2, 3]]},
        REPORT | {"played": [["1", 2]]}, REPORT | {"played": [[1, float("inf")]]},
        REPORT | {"played": [[1, 2]] * 201}, REPORT | {"underruns": -1},
        REPORT | {"dropped": 1.5}, REPORT | {"skipped": 10**9}, REPORT | {"wanted": None},
    ],
)  # fmt: skip
def test_what_no_page_says_is_left_alone(one: rtnb.Speaker, content: Any) -> None:
    """Nothing is raised, counted or answered."""
    before = one.stats()
    say(one, content)
    assert understood(content) is None
    assert one.stats() == before


def test_what_a_page_says_is_understood() -> None:
    """In seconds, but for the time that is sent back."""
    assert understood(HERE) == Here("one", 1.7e12, None)
    assert understood({"kind": "gone", "page": "one"}) == Gone("one")
    played = ((0.005, 0.065), (0.0075, 0.066))
    assert understood(REPORT) == Report("one", played, 1, 2, 3, 0.06, 0.0005, 0.008)
    assert understood(REPORT | {"offset": None, "trip": None}) == Report(
        "one", played, 1, 2, 3, 0.06, None, 0.0
    )


@pytest.mark.parametrize(
    ("offset", "clock", "delay"),
    [(3.0, "same", 0.065), (None, None, 0.065), (40, "estimated", 0.105)],
)
def test_a_delay_is_on_one_clock(offset: float | None, clock: str | None, delay: float) -> None:
    """Clocks that seem apart by less than the way between them are taken for one."""
    report = understood(REPORT | {"offset": offset, "played": [[5, 65]]})
    assert isinstance(report, Report)
    playout = Playout()
    playout.take(report)
    stats = playout.stats()
    assert stats["clock"] == clock
    assert [stats["delay"], stats["delay_worst"]] == pytest.approx([delay, delay])
    assert stats["delay_to_page"] == pytest.approx(delay - 0.06)


def test_a_delay_by_a_clock_that_was_set_is_none() -> None:
    """Hours are no delay of sound."""
    report = understood(REPORT | {"played": [[0, 4e6], [0, -4e6]]})
    assert isinstance(report, Report)
    playout = Playout()
    playout.take(report)
    assert (playout.stats()["delay"], playout.stats()["underruns"]) == (None, 1)


# --- who is there ---------------------------------------------------------------------------------


def test_a_busy_kernel_takes_its_page_to_be_there() -> None:
    """It could not hear it; when it has listened in vain, the page is gone."""

    async def look() -> list[bool]:
        presence = Presence(lease=0.05, grace=0.05)
        presence.heard("one")
        time.sleep(0.1)  # a cell that blocks the kernel's loop
        seen = [presence.anyone()]
        time.sleep(0.1)
        seen.append(presence.anyone())
        await asyncio.sleep(0.01)  # the kernel listens
        seen.append(presence.anyone())
        await asyncio.sleep(0.1)
        return [*seen, presence.anyone()]

    assert asyncio.run(look()) == [True, True, True, False]


def test_a_page_whose_loop_is_closed_is_gone() -> None:
    """So is the thread that served it; and without a loop the lease alone counts."""
    presence = Presence(lease=0.0)

    async def hear() -> None:
        presence.heard("one")

    asyncio.run(hear())
    assert not presence.anyone()
    presence.heard("two")
    assert not presence.anyone()


def test_pages_are_not_counted_without_end() -> None:
    """Whatever a page calls itself, the oldest is forgotten."""
    presence = Presence()
    for number in range(100):
        presence.heard(str(number))
    assert presence.pages == 16


# --- in a kernel ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["own", "colab"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A kernel of this interpreter that serves pages in a subshell, and one of Colab's versions."""
    own = request.param == "own"
    python = sys.executable if own else colab_python()
    with running_rig(tmp_path_factory.mktemp(request.param), python, subshell=own) as kernel:
        kernel.run(TONE)
        yield kernel


@pytest.fixture
def shown(rig: Rig) -> Model:
    """A speaker that is attached to the tone, and whose page has said hello."""
    model = rig.show("speaker = rtnb.Speaker()\nspeaker.attach(tone)\nspeaker", cell="speaker")
    rig.until_handled(rig.message(model, HERE))
    rig.until(lambda: model.received, what="a welcome")
    return model


def stretches(model: Model) -> list[tuple[dict[str, Any], list[Any]]]:
    return [(content, buffers) for content, buffers in model.received if content["kind"] == "audio"]


def test_a_page_is_welcomed_with_a_buffer(shown: Model) -> None:
    """It learns whether buffers arrive, and the kernel's time."""
    ((content, buffers),) = shown.received
    assert [content[name] for name in ("kind", "page", "echo")] == ["welcome", "one", HERE["sent"]]
    assert [bytes(buffer) for buffer in buffers] == [b"rtnb"]
    assert abs(content["now"] / 1000 - time.time()) < 30
    assert shown.has(_attached=True, _over=False, volume=1.0, muted=False)


@pytest.mark.parametrize("busy", ["time.sleep(5)", "while time.monotonic() < began + 5: pass"])
def test_sound_goes_on_while_a_cell_runs(rig: Rig, shown: Model, busy: str) -> None:
    """Whole, in order, and before the cell is over."""
    ran = rig.send(f"began = time.monotonic()\ntone.play(0.5)\n{busy}")
    rig.until(lambda: len(stretches(shown)) == 25, what="half a second of sound")
    assert not ran.over
    rig.manager.interrupt_kernel()
    rig.until(lambda: ran.over)
    contents = [content for content, _ in stretches(shown)]
    numbers = [content["number"] for content in contents]
    positions = [content["position"] for content in contents]
    assert numbers == list(range(25))
    assert np.diff(positions).tolist() == [960] * 24
    sound = np.frombuffer(b"".join(bytes(b[0]) for _, b in stretches(shown)), np.int16)
    wanted = 8_000 * np.sin(2 * np.pi * 400 / 48_000 * (positions[0] + np.arange(24_000)))
    assert np.abs(sound - wanted).max() <= 1


def test_where_buffers_do_not_arrive_sound_goes_as_text(rig: Rig, shown: Model) -> None:
    """The page has said so; base64 holds the same samples."""
    import base64

    rig.until_handled(rig.message(shown, HERE | {"binary": False}))
    rig.run("tone.hand(tone.stretch())")
    (found,) = rig.until(lambda: stretches(shown))
    assert found[1] == []
    assert len(base64.b64decode(found[0]["data"])) == 1920


def test_an_interruption_goes_to_the_page(rig: Rig, shown: Model) -> None:
    """In its order among the stretches."""
    rig.run("tone.hand(tone.stretch(0)); tone.hand(None); tone.hand(tone.stretch(9600))")
    rig.until(lambda: len(shown.received) == 4)
    kinds = [content["kind"] for content, _ in shown.received]
    assert kinds == ["welcome", "audio", "flush", "audio"]


def test_volume_and_mute_are_set_from_both_sides(rig: Rig, shown: Model) -> None:
    """The page's slider and the kernel's attribute are one."""
    rig.until_handled(rig.set(shown, volume=0.25, muted=True))
    assert rig.run("print(speaker.volume, speaker.muted)").text.split() == ["0.25", "True"]
    rig.run("speaker.volume, speaker.muted = 0.5, False")
    rig.until(lambda: shown.has(volume=0.5, muted=False))


def test_what_a_page_has_played_is_counted(rig: Rig, shown: Model) -> None:
    """Beside what was sent."""
    rig.until_handled(rig.message(shown, REPORT))
    stats = json.loads(rig.run("import json; print(json.dumps(speaker.stats()))").text)
    assert stats["delay"] == pytest.approx(0.0655)
    wanted = {"underruns": 1, "dropped": 2, "skipped": 3, "pages": 1, "clock": "same"}
    assert {name: stats[name] for name in wanted} == wanted


def test_run_again_a_cell_closes_its_speaker(rig: Rig, shown: Model) -> None:
    """The one before leaves its call and the page."""
    rig.run("before, n = speaker, len(tone.listeners)")
    again = rig.show("speaker = rtnb.Speaker()\nspeaker.attach(tone)\nspeaker", cell="speaker")
    rig.until(lambda: shown.closed)
    assert not again.closed
    assert rig.run("print(before, len(tone.listeners) - n)").text.strip() == "<Speaker closed> 0"
