"""The panel's whole flow over the comm protocol, on this kernel and on Colab's versions."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from colab_env import colab_python
from widget_rig import Model, Rig, running_rig

import rtnb
from rtnb.audio import to_pcm

KEY = "sk-test-only-0123456789abcdef"
ANSWER = "The capital of France is Paris."
KERNELS = ("own", "colab")
CHUNK = 1920  # bytes of 20 ms


@pytest.fixture(scope="module", params=KERNELS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A kernel with rtnb imported: this interpreter's, and one with Colab's versions."""
    python = sys.executable if request.param == "own" else colab_python()
    with running_rig(tmp_path_factory.mktemp("panel"), python) as one:
        one.run("import rtnb")
        yield one


class Panel:
    """A panel in a kernel, seen from the front end."""

    def __init__(self, rig: Rig, code: str, *, cell: str = "panel"):
        self.rig = rig
        self.root = rig.show(code, cell=cell)

    def button(self, name: str) -> Model:
        return self.rig.find(self.root, _model_name="ButtonModel", description=name)

    def talk(self) -> Model:
        return next(
            m for m in self.rig.within(self.root) if "Push to talk" in m.state.get("label", "")
        )

    def key(self) -> Model:
        return next(m for m in self.rig.within(self.root) if "held" in m.state)

    def field(self, description: str) -> Model:
        return self.rig.find(self.root, description=description)

    def shown(self) -> str:
        """Return all HTML of the panel but the styles."""
        models = self.rig.within(self.root)
        values = [m["value"] for m in models if m.state.get("_model_name") == "HTMLModel"]
        return "\n".join(v for v in values if not v.startswith("<style>"))

    def status(self) -> str:
        (line,) = re.findall(r'role="status"[^>]*>(.*?)</div>', self.shown())
        return str(line)

    def see(self, text: str, *, within: float = 30.0) -> None:
        """Wait until a text is shown."""
        self.rig.until(lambda: text in self.shown(), within, f"{text!r} in the panel")

    def click(self, name: str) -> None:
        """Click a button when it is enabled."""
        wanted = {"_model_name": "ButtonModel", "description": name, "disabled": False}
        found = self.rig.until(lambda: self.rig.all(self.root, **wanted), 30.0, f"{name!r} enabled")
        self.rig.click(found[0])

    def choose(self, description: str, beginning: str) -> None:
        """Choose an option of a drop-down."""
        model = self.field(description)
        labels = [str(label) for label in model["_options_labels"]]
        (index,) = [i for i, label in enumerate(labels) if label.startswith(beginning)]
        self.rig.set(model, index=index)

    def type_key(self, key: str) -> None:
        """Leave the key field with a key in it."""
        self.rig.message(self.key(), {"kind": "key", "value": key})

    def enabled(self) -> set[str]:
        buttons = self.rig.all(self.root, _model_name="ButtonModel", disabled=False)
        names = {b["description"] for b in buttons} - {"Add", "Use the peer"}
        return names | (set() if self.talk()["disabled"] else {"talk"})


@pytest.fixture
def panel(rig: Rig, peer: rtnb.Peer) -> Iterator[Panel]:
    """A panel that offers the tests' peer, closed afterwards."""
    yield Panel(rig, f"panel = rtnb.Panel(endpoint={peer.url!r})\npanel")
    rig.run("panel.close()", cell="end")
    assert rig.run("print(rtnb.sessions())", cell="end").text.strip() == "[]"
    assert rig.stray == []


def test_the_whole_flow(panel: Panel, tmp_path: Path) -> None:
    """Connect, send a prompt, read both sides, see events and handshake, write, save, hang up."""
    panel.see("Not connected")
    assert panel.enabled() == {"Connect"}
    panel.click("Connect")
    panel.see("Connected. Choose a prompt")
    assert panel.enabled() == {"Hang up", "Send prompt", "Save run", "talk"}
    assert re.search(r"ice-pwd:•••", panel.shown())
    assert "mint" in panel.shown() and "dtls" in panel.shown()
    panel.click("Send prompt")
    panel.see(ANSWER)
    panel.see("first audio")
    assert panel.shown().count("<audio") >= 3  # the preview, and both sides of the turn
    panel.rig.set(panel.field("or text"), value="What is the capital of France?")
    panel.click("Send text")
    panel.rig.until(lambda: panel.shown().count("first audio") == 2)
    panel.rig.set(panel.rig.find(panel.root, value="runs/panel"), value="saved")
    panel.click("Save run")
    panel.see("Saved to saved")
    panel.click("Hang up")
    panel.see("The call is over")
    assert panel.enabled() == {"Connect", "Save run"}
    panel.rig.run("run = rtnb.open_run('saved'); assert len(run.turns) == 2")


def test_a_story_is_interrupted(panel: Panel) -> None:
    """Interrupt means something while the reply sounds, and cuts it."""
    panel.click("Connect")
    panel.choose("prompt", "tell_me_a_story")
    panel.click("Send prompt")
    panel.see("reply sounding")
    panel.click("Interrupt")
    panel.see("Interrupted.")
    panel.see("cancelled")


def test_push_to_talk_is_held_and_let_go(panel: Panel) -> None:
    """While it is held the prompt plays; let go in mid-word, what was said is committed."""
    panel.click("Connect")
    panel.see("Connected. Choose a prompt")
    panel.rig.message(panel.talk(), {"kind": "press"})
    panel.see("Talking. Let go")
    assert "Send prompt" not in panel.enabled()
    silent = r'aria-label="level sent"[^>]* aria-valuetext="silent"'
    panel.rig.until(lambda: not re.search(silent, panel.shown()), 30.0, "the prompt's sound")
    panel.rig.message(panel.talk(), {"kind": "release"})
    panel.rig.run("turn = panel.session.turns[-1].wait(30)", cell="wait")
    sent = float(panel.rig.run("print(turn.prompt_as_sent.duration)").text)
    assert 0.05 < sent < 1.9, "the prompt has 2.0 s"


def speak(panel: Panel, clip: rtnb.Clip) -> None:
    """Say a clip as the microphone's page does, 20 ms at a time and when it is due."""
    rig = panel.rig
    (microphone,) = (m for m in rig.within(panel.root) if "upload" in m.state)
    way = rig.models[microphone["upload"].removeprefix("IPY_MODEL_")]
    rig.message(way, {"kind": "start", "page": "rig"})
    panel.see("Connected and listening")
    begun, pcm = time.monotonic(), to_pcm(clip)
    said = {"kind": "chunk", "page": "rig", "rate": 48_000, "feed": True}
    for number in range(len(pcm) // CHUNK):
        threading.Event().wait(max(begun + 0.02 * number - time.monotonic(), 0.0))
        chunk = pcm[CHUNK * number : CHUNK * (number + 1)]
        rig.message(way, {**said, "number": number, "captured": time.time()}, [chunk])


@pytest.mark.parametrize("rig", ["colab"], indirect=True)
def test_a_voice_is_heard_and_answered(panel: Panel) -> None:
    """What is spoken into the panel's microphone is a turn, and the reply goes to its speaker."""
    (speaker,) = (m for m in panel.rig.within(panel.root) if "volume" in m.state)
    panel.rig.message(speaker, {"kind": "here", "page": "rig", "sent": 0.0, "binary": True})
    panel.click("Connect")
    panel.see("Connected. Choose a prompt")
    speak(panel, rtnb.sample("capital_of_france").resample(48_000) + rtnb.Clip.silence(1.0))
    panel.see("The reply is being heard.")
    assert panel.talk()["label"] == "Push to talk (hold): voice"
    panel.see(ANSWER)
    panel.rig.until(lambda: [c for c, _ in speaker.received if c["kind"] == "audio"])
    panel.see("first audio")
    kinds = "print([turn._state.kind for turn in panel.session.turns])"
    assert panel.rig.run(kinds).text.strip() == "['microphone']"
    panel.click("Hang up")
    panel.see("The call is over")


def test_a_missing_key_says_what_to_do_and_the_peer_is_offered(panel: Panel) -> None:
    """OpenAI without a key: one sentence, and a button that calls the peer instead."""
    panel.choose("call", "OpenAI")
    panel.click("Connect")
    panel.see("There is no API key. Type one")
    assert panel.button("Use the peer")["layout"]


def test_a_key_is_never_part_of_a_state(panel: Panel) -> None:
    """What was typed is in no trait, before and after Connect, and a refusal does not show it."""
    panel.choose("call", "another server")
    panel.rig.set(panel.field("base URL"), value="http://127.0.0.1:9/v1")
    panel.type_key(KEY)
    panel.rig.until(lambda: panel.key()["held"])
    panel.click("Connect")
    panel.see("127.0.0.1:9")
    assert panel.key()["held"] is False
    assert KEY not in str([model.state for model in panel.rig.models.values()])
    assert KEY not in str([model.received for model in panel.rig.models.values()])


def test_a_click_comes_back_at_once(panel: Panel) -> None:
    """The callback is over long before the call is, so the kernel is free for cells."""
    request = panel.rig.click(panel.button("Connect"))
    panel.rig.until_handled(request, 1.0)
    assert "Connected. Choose a prompt" not in panel.shown()
    panel.see("Connected. Choose a prompt")


def test_a_session_made_in_a_cell_is_handed_over_and_taken_out(rig: Rig, peer: rtnb.Peer) -> None:
    """`Panel(session)` shows it and does not hang it up; `panel.session` is it."""
    rig.run(f"session = rtnb.connect({peer.url!r})", cell="session")
    panel = Panel(rig, "panel = rtnb.Panel(session)\npanel")
    panel.see("Connected. Choose a prompt")
    assert rig.run("print(panel.session is session)").text.strip() == "True"
    rig.run("panel.close()", cell="end")
    assert rig.run("print(session.state); session.close()").text.strip() == "open"


def test_the_cell_run_again_leaves_no_call(rig: Rig, peer: rtnb.Peer) -> None:
    """The panel that it made before is closed, and its call hung up."""
    code = f"panel = rtnb.Panel(endpoint={peer.url!r})\npanel"
    first = Panel(rig, code, cell="again")
    first.click("Connect")
    first.see("Connected. Choose a prompt")
    rig.run("old = panel", cell="other")
    second = Panel(rig, code, cell="again")
    second.see("Not connected")
    assert rig.run("print(old.session.state, rtnb.sessions())").text.strip() == "closed []"
    rig.run("panel.close()", cell="end")


def test_two_panels_do_not_disturb_each_other(rig: Rig, peer: rtnb.Peer) -> None:
    """Each has its own call, prompt and status."""
    one = Panel(rig, f"one = rtnb.Panel(endpoint={peer.url!r})\none", cell="one")
    two = Panel(rig, f"two = rtnb.Panel(endpoint={peer.url!r})\ntwo", cell="two")
    one.click("Connect")
    one.see("Connected. Choose a prompt")
    assert "Not connected" in two.status()
    two.click("Connect")
    two.see("Connected. Choose a prompt")
    one.click("Hang up")
    one.see("The call is over")
    assert rig.run("print(one.session.state, two.session.state)").text.strip() == "closed open"
    rig.run("one.close(); two.close()", cell="end")
