"""A panel in this process, without a front end, calling real servers."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from ipywidgets.embed import dependency_state
from ipywidgets.widgets import widget
from scripted_server import Reply, minted, refused, serving
from test_scripted import connected, pass_time

import rtnb
from rtnb.panel import calls
from rtnb.panel.controls import HoldButton, KeyField
from rtnb.registry import RERUN

KEY = "sk-test-only-0123456789abcdef"
ANSWER = "The capital of France is Paris."
READY = "Connected. Choose a prompt"
NOWHERE = "http://127.0.0.1:9/v1"


def until(fact: Callable[[], Any], within: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.01)


def threads() -> list[str]:
    """Return the names of all panels' threads."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("rtnb-panel")]


def alive() -> list[str]:
    """Return the ids of all widgets that ipywidgets knows."""
    if hasattr(widget, "_instances"):
        return list(widget._instances)
    return list(ipywidgets.Widget.widgets)  # ipywidgets 7


class Console:
    """A panel, as who sits before it sees and uses it."""

    def __init__(self, panel: rtnb.Panel):
        self.panel = panel

    def parts(self, kind: type[Any]) -> Iterator[Any]:
        """Yield all widgets of a kind within the panel."""
        waiting: list[Any] = [self.panel]
        while waiting:
            widget = waiting.pop(0)
            if isinstance(widget, kind):
                yield widget
            waiting += getattr(widget, "children", ())

    def button(self, name: str) -> Any:
        buttons = self.parts(ipywidgets.Button)
        return next(b for b in buttons if b.description.startswith(name))

    def field(self, name: str) -> Any:
        fields = self.parts(ipywidgets.DOMWidget)
        return next(f for f in fields if getattr(f, "description", None) == name)

    @property
    def talk(self) -> HoldButton:
        return next(self.parts(HoldButton))

    def shown(self) -> str:
        """Return all HTML but the styles."""
        values = [html.value for html in self.parts(ipywidgets.HTML)]
        return "\n".join(value for value in values if not value.startswith("<style>"))

    @property
    def status(self) -> str:
        html = self.shown().partition('role="status"')[2].partition(">")[2].partition("</div>")[0]
        return " ".join(re.sub("<[^>]+>", " ", html).split())

    def see(self, text: str) -> None:
        """Wait until the status says something."""
        until(lambda: text in self.status)

    def click(self, name: str) -> None:
        """Click a button once it is enabled."""
        until(lambda: not self.button(name).disabled)
        self.button(name).click()

    def force(self, name: str) -> None:
        """Click a button as it is: a click may come when it has just been disabled."""
        self.button(name).click()

    def hold(self, kind: str) -> None:
        """Press or release push to talk."""
        self.talk._handle_custom_msg({"kind": kind}, [])

    def enter(self) -> None:
        """Press Enter in the text field."""
        self.field("or text")._handle_custom_msg({"event": "submit"}, [])

    def connect(self) -> rtnb.Session:
        """Connect, and return the session."""
        self.click("Connect")
        self.see(READY)
        session = self.panel.session
        assert session is not None
        return session

    def enabled(self) -> set[str]:
        own = {"Connect", "Hang up", "Send prompt", "Send text", "Interrupt", "Save run"}
        on = {b.description for b in self.parts(ipywidgets.Button) if not b.disabled}
        return own & on | (set() if self.talk.disabled else {"talk"})


@pytest.fixture
def console(peer: rtnb.Peer) -> Iterator[Console]:
    """A panel that offers the tests' peer; nothing of it is left at the end."""
    panel = rtnb.Panel(endpoint=peer)
    yield Console(panel)
    panel.close()
    until(lambda: not threads())
    assert rtnb.sessions() == []


@pytest.fixture
def written(peer: rtnb.Peer) -> Iterator[Console]:
    """A panel with a session that is answered in writing, which is quick."""
    with rtnb.connect(peer, modalities=["text"]) as session:
        console = Console(rtnb.Panel(session))
        console.see(READY)
        yield console
        console.panel.close()
    until(lambda: not threads())


class Held:
    """An answer of a server that is kept back until it is let go."""

    def __init__(self, reply: Reply):
        self.asked, self.go = threading.Event(), threading.Event()
        self.reply = reply

    def __getattr__(self, name: str) -> Any:
        self.asked.set()
        assert self.go.wait(30)
        return getattr(self.reply, name)


# --- connecting -----------------------------------------------------------------------------------


def test_a_new_panel_is_not_connected(console: Console) -> None:
    """It says what to do, and offers nothing that means nothing."""
    console.see("Not connected. Choose where to call, then Connect.")
    assert console.enabled() == {"Connect"}
    assert console.panel.session is None
    assert repr(console.panel) == "<Panel not connected>"


def test_connect_makes_a_session_that_a_cell_may_use(console: Console) -> None:
    """`panel.session` is an open session with what was filled in."""
    console.field("voice").value = "ash"
    session = console.connect()
    assert (session.state, session.voice) == ("open", "ash")
    assert rtnb.sessions() == [session]
    session.update({"instructions": "Be brief."})
    until(lambda: "mint" in console.shown())
    assert repr(console.panel).startswith("<Panel Session open")


def test_two_clicks_on_connect_place_one_call(console: Console) -> None:
    """The second one comes before the button is seen disabled."""
    console.click("Connect")
    console.force("Connect")
    console.see(READY)
    assert len(rtnb.sessions()) == 1


def test_the_form_rests_while_there_is_a_call(console: Console) -> None:
    """It cannot be filled in until the call is over."""
    console.connect()
    assert console.field("voice").disabled and console.field("call").disabled
    console.click("Hang up")
    console.see("The call is over")
    until(lambda: not console.field("voice").disabled)


def test_a_second_call_begins_afresh(console: Console) -> None:
    """With no turns, on the same panel; the first session is closed and still to be read."""
    first = console.connect()
    console.field("or text").value = "What is the capital of France?"
    console.enter()
    until(lambda: ANSWER in console.shown())
    console.click("Hang up")
    console.see("The call is over")
    second = console.connect()
    assert second is not first
    until(lambda: "Nothing was said yet." in console.shown())
    assert (first.state, len(first.turns)) == ("closed", 1)


# --- hanging up -----------------------------------------------------------------------------------


def test_hanging_up_twice_is_harmless(console: Console) -> None:
    """The second click finds nothing to do."""
    session = console.connect()
    console.force("Hang up")
    console.force("Hang up")
    console.see("The call is over")
    console.force("Hang up")
    assert session.state == "closed"
    assert console.enabled() == {"Connect", "Save run"}


def test_hanging_up_at_once_leaves_no_call(console: Console) -> None:
    """Also where the thread that connects has not begun yet."""
    for _ in range(3):
        console.click("Connect")
        console.force("Hang up")
        console.see("Not connected")
    until(lambda: threads() == ["rtnb-panel-refresh"])
    assert (console.panel.session, rtnb.sessions()) == (None, [])


def slow_call(server: Any, held: Held) -> Console:
    """Return a panel whose call waits for a server."""
    console = Console(rtnb.Panel(endpoint=rtnb.Endpoint.openai(KEY, base_url=server.url)))
    console.click("Connect")
    assert held.asked.wait(30)
    console.see("Connecting: ")
    return console


@pytest.mark.parametrize("reply", [minted(), refused(401, "invalid_api_key")])
def test_hanging_up_while_a_server_is_slow(reply: Reply) -> None:
    """The call is given up, and what the server says afterwards is no news."""
    held = Held(reply)
    with serving(held) as server:  # type: ignore[arg-type]
        console = slow_call(server, held)
        assert console.enabled() == {"Hang up"}
        console.click("Hang up")
        console.see("Hanging up")
        held.go.set()
        console.see("Not connected")
        assert rtnb.sessions() == []
        console.panel.close()
    until(lambda: not threads())


def test_closing_while_a_server_is_slow() -> None:
    """Closing does not wait for it, and no call is left when it answers."""
    held = Held(minted())
    with serving(held) as server:  # type: ignore[arg-type]
        console = slow_call(server, held)
        began = time.monotonic()
        console.panel.close()
        assert time.monotonic() - began < 9
        assert rtnb.sessions() == []
        held.go.set()
        until(lambda: not threads())
        assert len(server.requests) == 1, "the offer was not sent"


def test_a_session_handed_over_while_connecting_is_kept(peer: rtnb.Peer) -> None:
    """The call that is being placed is given up, not the one that was handed over."""
    held = Held(minted())
    with serving(held) as server, rtnb.connect(peer) as session:  # type: ignore[arg-type]
        console = slow_call(server, held)
        console.panel.session = session
        held.go.set()
        console.see(READY)
        assert console.panel.session is session
        assert rtnb.sessions() == [session]
        console.panel.close()
        assert session.state == "open"
    until(lambda: not threads())


# --- sessions from cells --------------------------------------------------------------------------


def test_a_session_is_handed_over_and_outlives_the_panel(peer: rtnb.Peer) -> None:
    """It is shown at once, and not hung up with the panel."""
    with rtnb.connect(peer) as session:
        panel = rtnb.Panel(session)
        Console(panel).see(READY)
        assert panel.session is session
        panel.close()
        assert session.state == "open"
    until(lambda: not threads())


def test_another_session_takes_the_place_of_the_panels_own(
    console: Console, peer: rtnb.Peer
) -> None:
    """Which is hung up; the one that was handed over is left alone, and can be taken away."""
    own = console.connect()
    with rtnb.connect(peer) as session:
        console.panel.session = session
        until(lambda: own.state == "closed")
        assert console.panel.session is session
        console.panel.session = None
        console.see("Not connected")
        assert session.state == "open"


def test_the_same_session_may_be_set_again(console: Console) -> None:
    """It stays open, and is the cell's from now on."""
    session = console.connect()
    console.panel.session = session
    console.panel.close()
    assert session.state == "open"
    session.close()


@pytest.mark.parametrize("stranger", ["http://127.0.0.1/v1", 3, object()])
def test_what_is_no_session_is_refused(stranger: Any, console: Console) -> None:
    """By the panel and by its property; nothing is left of the panel that could not be made."""
    with pytest.raises(rtnb.ConfigurationError, match=r"for a peer or an endpoint give endpoint="):
        rtnb.Panel(stranger)
    gc.collect()
    with pytest.raises(rtnb.ConfigurationError):
        console.panel.session = stranger
    assert console.panel.session is None


def test_a_session_that_is_over_can_be_looked_at(peer: rtnb.Peer) -> None:
    """Its turns are shown; Connect begins another one."""
    with rtnb.connect(peer, modalities=["text"]) as session:
        session.ask("What is the capital of France?")
    console = Console(rtnb.Panel(session))
    console.see("The call is over: closed by the user. Connect begins another one.")
    until(lambda: ANSWER in console.shown())
    assert console.enabled() == {"Connect", "Save run"}
    console.panel.close()


# --- the end of a panel ---------------------------------------------------------------------------


def test_closing_ends_everything_of_the_panel() -> None:
    """Its call, its peer, its inspector and its threads; again, it does nothing."""
    console = Console(rtnb.Panel())
    session = console.connect()
    panel = console.panel
    panel.close()
    assert session.state == "closed"
    assert panel._peer is not None and panel._peer.closed
    assert "over" in repr(panel._inspector)
    until(lambda: not threads())
    panel.close()
    assert repr(panel) == "<Panel closed>"


def test_a_closed_panel_says_so_and_does_nothing(console: Console) -> None:
    """Late clicks find it closed."""
    console.panel.close()
    assert "This panel is closed. Run its cell again" in console.status
    assert console.enabled() == set()
    for name in ("Connect", "Use the peer", "Hang up", "Send", "Interrupt", "Save run"):
        console.force(name)
    console.hold("press")
    console.hold("release")
    until(lambda: not threads())
    assert rtnb.sessions() == []


def test_a_panel_closed_while_its_peer_starts_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer that comes too late is ended, and nothing is connected."""
    starting, go = threading.Event(), threading.Event()
    made: list[rtnb.Peer] = []

    def slow_peer() -> rtnb.Peer:
        starting.set()
        assert go.wait(30)
        made.append(rtnb.Peer())
        return made[0]

    monkeypatch.setattr("rtnb.panel.console.Peer", slow_peer)
    console = Console(rtnb.Panel())
    console.click("Connect")
    assert starting.wait(10)
    console.panel.close()
    go.set()
    until(lambda: not threads())
    assert made[0].closed
    assert rtnb.sessions() == []


def test_two_threads_may_close_a_panel(console: Console) -> None:
    """Its call is hung up once, and neither fails."""
    session = console.connect()
    both = [threading.Thread(target=console.panel.close) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert session.state == "closed"


def test_a_panel_is_no_session(console: Console) -> None:
    """`rtnb.sessions()` does not list it."""
    assert rtnb.sessions() == []


def test_a_program_that_ends_closes_its_panel() -> None:
    """With a call and a peer of its own; nothing is printed."""
    script = (
        "import time, rtnb\n"
        "panel = rtnb.Panel()\n"
        "panel._connect.click()\n"
        "while panel.session is None: time.sleep(0.01)\n"
        "print(panel.session.state)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "open\n", "")


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_failure_is_said_and_the_peer_offered(console: Console) -> None:
    """Why, and what to do; one click calls the peer instead."""
    console.field("call").value = "other"
    console.field("base URL").value = NOWHERE
    assert console.button("Use the peer").layout.display == "none"
    console.click("Connect")
    console.see("127.0.0.1:9")
    until(lambda: console.button("Use the peer").layout.display == "")
    console.click("Use the peer")
    console.see(READY)
    assert console.button("Use the peer").layout.display == "none"


def test_using_the_peer_means_nothing_during_a_call(console: Console) -> None:
    """A late click changes neither the call nor the form."""
    session = console.connect()
    console.force("Use the peer")
    assert (console.field("call").value, console.panel.session) == ("given", session)


def test_a_missing_key_says_what_to_do(console: Console) -> None:
    """OpenAI without a key is not called."""
    console.field("call").value = "openai"
    console.click("Connect")
    console.see("There is no API key. Type one")
    assert console.panel.session is None


def test_a_refused_key_is_said_without_it(console: Console) -> None:
    """The server's words are there, also where it repeats the key; the key is nowhere."""
    with serving(refused(401, "invalid_api_key", f"Wrong: {KEY}")) as server:
        console.field("call").value = "other"
        console.field("base URL").value = server.url
        next(console.parts(KeyField))._handle_custom_msg({"kind": "key", "value": KEY}, [])
        console.click("Connect")
        console.see("key")
        until(lambda: not console.button("Connect").disabled)
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(dependency_state([console.panel]))
    assert KEY not in repr(vars(console.panel._calls))


def test_another_failure_takes_the_place_of_the_first(console: Console) -> None:
    """And choosing a prompt, connecting or handing over a session makes it old."""
    console.field("or a file").value = "missing.wav"
    console.click("Add")
    console.see("There is no audio file")
    console.field("prompt").value = "greeting"
    console.see("Not connected")
    console.click("Add")
    console.see("There is no audio file")
    console.connect()
    console.field("or a file").value = ""
    console.click("Add")
    console.see("Type the path of an audio file first")
    console.panel.session = console.panel.session
    console.see(READY)
    console.panel.session.close()


def test_a_call_that_ends_by_itself_is_told() -> None:
    """The server went: the status says so and what to do, and Connect means something again."""
    with rtnb.Peer() as peer:
        console = Console(rtnb.Panel(endpoint=peer))
        console.connect()
    console.see("is gone")
    assert "Connect begins another one." in console.status
    until(lambda: console.enabled() == {"Connect", "Save run"})
    console.panel.close()


def test_what_cannot_be_shown_does_not_stop_the_status(
    written: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that fails to be drawn leaves the rest as it should be."""

    def fail(_: object) -> str:
        raise RuntimeError("cannot be drawn")

    monkeypatch.setattr("rtnb.panel.turnboxes.turn_body", fail)
    written.panel.session.ask("Hello there")
    written.click("Hang up")
    written.see("The call is over")


# --- speaking -------------------------------------------------------------------------------------


def test_enter_sends_the_text(console: Console) -> None:
    """And empties the field."""
    session = console.connect()
    console.field("or text").value = " What is the capital of France? "
    until(lambda: "Send text" in console.enabled())
    console.enter()
    until(lambda: ANSWER in console.shown())
    assert console.field("or text").value == ""
    assert session.turns[0].prompt == "What is the capital of France?"


@pytest.mark.parametrize("text", ["", "   ", "Hello there"])
def test_enter_without_a_call_keeps_the_text(text: str, console: Console) -> None:
    """Nothing is sent, and nothing that was written is lost."""
    console.field("or text").value = text
    console.enter()
    console.force("Send")
    assert console.field("or text").value == text
    assert console.status.startswith("Not connected")


def test_a_text_that_comes_too_early_is_kept(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While something else is still being sent, it stays in its field."""
    go = threading.Event()
    session = console.connect()
    monkeypatch.setattr(session, "send", lambda prompt: go.wait(30))
    console.field("or text").value = "first"
    console.enter()
    console.field("or text").value = "second"
    console.enter()
    assert console.field("or text").value == "second"
    go.set()
    until(lambda: "rtnb-panel-sending" not in threads())


def test_a_text_that_is_refused_is_told(console: Console) -> None:
    """One that names an audio file would be sent as text."""
    console.connect()
    console.field("or text").value = "my.wav"
    console.enter()
    console.see("names an audio file")


def test_interrupting_means_nothing_without_a_turn(console: Console) -> None:
    """A late click is no failure."""
    console.force("Interrupt")
    console.hold("press")
    console.connect()
    console.force("Interrupt")
    console.hold("release")
    until(lambda: threads() == ["rtnb-panel-refresh"])
    assert console.status.startswith(READY)


def test_an_interrupted_turn_is_told_until_the_next(console: Console) -> None:
    """The note is gone when something else was said."""
    session = console.connect()
    console.field("or text").value = "Tell me a long story."
    console.enter()
    until(lambda: session.turns)
    session.turns[0].wait_for_audio(0.2)
    console.click("Interrupt")
    console.see("Interrupted. Send something else.")
    assert session.turns[0].status == "cancelled"
    console.field("or text").value = "What is the capital of France?"
    console.enter()
    until(lambda: len(session.turns) == 2)
    session.turns[1].wait(30)
    console.see(READY)


def test_push_to_talk_let_go_before_it_began(console: Console) -> None:
    """Nothing is asked, the status says how to use it, and the next prompt is answered."""
    session = console.connect()
    console.hold("press")
    console.hold("release")
    console.see("Nothing was said: hold the button while the prompt plays.")
    assert [turn.status for turn in session.turns] == ["cancelled"]
    console.field("or text").value = "What is the capital of France?"
    console.enter()
    until(lambda: ANSWER in console.shown())
    assert console.enabled() >= {"Hang up", "talk"}


def test_pressing_twice_holds_once(console: Console) -> None:
    """The second press changes nothing, and one release lets go."""
    session = console.connect()
    console.hold("press")
    console.hold("press")
    console.see("Talking. Let go")
    until(lambda: session.turns and session.turns[0]._state.plays)
    console.hold("release")
    until(lambda: session.turns[0].status != "in_progress")
    assert len(session.turns) == 1
    until(lambda: "Talking" not in console.status)


def test_a_call_that_ends_while_talking_lets_go(console: Console) -> None:
    """Nobody is left holding, and the status says how it is."""
    session = console.connect()
    console.hold("press")
    console.see("Talking. Let go")
    session.close()
    console.see("The call is over: closed by the user. Connect begins another one.")
    until(lambda: threads() == ["rtnb-panel-refresh"])
    until(lambda: "Connect" in console.enabled())


# --- what is kept and shown -----------------------------------------------------------------------


def test_a_run_is_saved_only_to_an_empty_folder(written: Console, tmp_path: Path) -> None:
    """Otherwise the status says so; the run is complete where it was saved."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    written.panel.session.ask("Hello there")
    folder = next(t for t in written.parts(ipywidgets.Text) if t.value == "runs/panel")
    folder.value = str(tmp_path / "full")
    written.click("Save run")
    written.see("is not empty; name another one.")
    folder.value = "  "
    written.click("Save run")
    written.see("Type a folder to save the run to")
    folder.value = str(tmp_path / "new")
    written.click("Save run")
    written.see("open it with rtnb.open_run")
    assert len(rtnb.open_run(tmp_path / "new").turns) == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_the_state_holds_no_key_and_no_path(console: Console) -> None:
    """Whatever a notebook is saved with after a call: no folder of this machine, no password."""
    session = console.connect()
    session.ask(rtnb.sample("capital_of_france"))
    until(lambda: "first audio" in console.shown())
    console.panel.close()
    saved = str(dependency_state([console.panel]))
    assert ANSWER in saved
    for place in (session.folder, Path.cwd(), Path.home(), Path(tempfile.gettempdir())):
        assert str(place) == "/" or str(place) not in saved
    assert "ice-pwd:•••" in saved
    assert "ice-pwd:" not in saved.replace("ice-pwd:•••", "")


def test_the_list_of_turns_is_bounded() -> None:
    """The 20 newest have players, whether they were there before or came later."""
    with connected() as (session, engine):
        for number in range(25):
            session.send(f"question {number}")
        pass_time(session, engine, 99.0)
        console = Console(rtnb.Panel(session))
        listed = console.panel._turns
        until(lambda: len(listed.children) == 20)
        assert "question 5<" in listed.children[0].value
        assert "question 24<" in listed.children[-1].value
        session.send("one more")
        pass_time(session, engine, 199.0)
        until(lambda: "one more" in listed.children[-1].value)
        until(lambda: "rtnb-head" not in listed.children[0].value)
        assert "question 5" in listed.children[0].value
        console.panel.close()


def test_hostile_words_are_text(written: Console) -> None:
    """Nothing that was said becomes an element of the page."""
    written.panel.session.ask("<script>alert(1)</script><img src=x onerror=alert(1)>")
    until(lambda: "&lt;script&gt;" in written.shown())
    assert "<script" not in written.shown()
    assert "<img" not in written.shown()


# --- what goes wrong meanwhile --------------------------------------------------------------------


def test_what_the_service_says_is_told(console: Console) -> None:
    """An `error` event is news, until something else is begun."""
    session = console.connect()
    session.send_event({"type": "no.such.event"})
    console.see("The service says:")
    console.click("Send prompt")
    until(lambda: "The service says:" not in console.status)
    session.interrupt()


def test_a_save_after_the_call_is_confirmed(console: Console, tmp_path: Path) -> None:
    """The call is over, and the news beside it is that the run is kept."""
    console.connect()
    console.click("Hang up")
    console.see("The call is over: hung up.")
    console.field("folder").value = str(tmp_path / "kept")
    console.click("Save run")
    console.see("Saved to")
    console.see("The call is over: hung up.")


def test_nobody_holds_for_ever(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is gone lets nothing go: some time after the prompt, the turn is answered."""
    monkeypatch.setattr(calls, "_PATIENCE", 0.3)
    session = console.connect()
    console.hold("press")
    console.see("Talking. Let go")
    until(lambda: "Talking" not in console.status)
    until(lambda: session.turns[0].status == "completed")


def test_the_cell_run_again_frees_the_widgets(peer: rtnb.Peer) -> None:
    """Closed for good, no part of it is left in the kernel."""
    before = set(alive())
    panel = rtnb.Panel(endpoint=peer)
    panel.close()
    assert set(alive()) > before, "its look stays"
    panel.close(RERUN)
    assert set(alive()) <= before
