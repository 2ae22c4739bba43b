"""A panel's microphone and speaker: who has them, what is spoken, what is told; without a page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from ipywidgets.embed import dependency_state
from panel_parts import Ear, Mouth, until
from test_panel import Console, threads

import rtnb
from rtnb.panel import calls
from rtnb.panel.voice import Voice, open_mike
from rtnb.registry import RERUN

LISTENING = "Connected and listening. Speak, or send a prompt."
ANSWER = "The capital of France is Paris."
HELD = "You are speaking. Let go to have it answered."


class Talking(Console):
    """A panel with a microphone and a speaker that need no page."""

    def __init__(self, session: rtnb.Session | None = None, *, endpoint: Any = None, **mouth: bool):
        self.mouth, self.ear = Mouth(**mouth), Ear()
        super().__init__(
            rtnb.Panel(session, endpoint=endpoint, microphone=self.mouth, speaker=self.ear)
        )

    @property
    def label(self) -> str:
        return self.talk.label


@pytest.fixture
def console(peer: rtnb.Peer) -> Iterator[Talking]:
    """A panel that offers the tests' peer, and what is attached to its calls."""
    one = Talking(endpoint=peer)
    yield one
    one.panel.close()
    until(lambda: not threads())
    assert (one.mouth.call, one.ear.call) == (None, None)


@pytest.fixture
def written(peer: rtnb.Peer) -> Iterator[rtnb.Session]:
    """A session made in a cell, answered in writing, which is quick."""
    with rtnb.connect(peer, modalities=["text"]) as session:
        yield session


# --- who has them ---------------------------------------------------------------------------------


def test_a_call_that_the_panel_places_gets_them(console: Talking) -> None:
    """When it is open, and until it is over; the next one too."""
    session = rtnb_session(console)
    assert (session.microphone, session.speaker) == (console.mouth, console.ear)
    assert console.mouth.call is console.ear.call is not None
    first = console.mouth.call
    console.click("Hang up")
    until(lambda: console.mouth.call is console.ear.call is None)
    assert rtnb_session(console).microphone is console.mouth
    assert console.mouth.call is not first


def rtnb_session(console: Talking) -> rtnb.Session:
    """Connect, and return the session."""
    console.click("Connect")
    console.see("Connected")
    assert console.panel.session is not None
    return console.panel.session


def test_a_session_handed_over_gets_them_and_goes_on_without(written: rtnb.Session) -> None:
    """At once; when the panel closes they let go of it, and what was given is not closed."""
    console = Talking(written)
    assert (written.microphone, written.speaker) == (console.mouth, console.ear)
    assert (console.panel.microphone, console.panel.speaker) == (console.mouth, console.ear)
    console.panel.close()
    assert (written.state, written.microphone, written.speaker) == ("open", None, None)
    assert console.mouth.reasons == console.ear.reasons == []


def test_another_session_takes_them_over(console: Talking, written: rtnb.Session) -> None:
    """The one before is let go of at once, and None lets go of all."""
    own = rtnb_session(console)
    console.panel.session = written
    assert (own.microphone, written.microphone) == (None, console.mouth)
    console.panel.session = written
    assert written.speaker is console.ear
    console.panel.session = None
    assert (written.microphone, written.speaker, console.mouth.call) == (None, None, None)


def test_a_session_keeps_what_it_has_and_the_panel_says_so(written: rtnb.Session) -> None:
    """Its own microphone stays when the panel closes; the speaker, which it lacked, does not."""
    own = Mouth()
    written.microphone = own
    console = Talking(written)
    assert (written.microphone, written.speaker) == (own, console.ear)
    said = "The call has a microphone of its own and keeps it; this panel's is not used."
    until(lambda: said.replace("'", "&#x27;") in console.shown())
    assert console.label == "Push to talk (hold): voice", "with its own one"
    console.panel.close()
    assert (written.microphone, written.speaker) == (own, None)


def test_a_session_that_is_over_gets_none(written: rtnb.Session) -> None:
    """There is nothing to be heard."""
    written.close()
    console = Talking(written)
    assert console.mouth.call is None
    console.panel.close()


def test_a_closed_microphone_is_told_and_the_call_goes_on(peer: rtnb.Peer) -> None:
    """Its cell was run again: the panel says what to do, and the speaker is attached all the same."""
    ear, mouth = Ear(), rtnb.Microphone()
    mouth.close()
    console = Console(rtnb.Panel(endpoint=peer, microphone=mouth, speaker=ear))
    session = console.connect()
    console.see("This microphone is closed; make another one with rtnb.Microphone().")
    assert (session.state, session.microphone, session.speaker) == ("open", None, ear)
    console.panel.close()


def test_false_leaves_them_out(peer: rtnb.Peer) -> None:
    """The panel works without; neither is made."""
    console = Console(rtnb.Panel(endpoint=peer, microphone=False, speaker=False))
    session = console.connect()
    assert (console.panel.microphone, console.panel.speaker) == (None, None)
    assert (session.microphone, session.speaker) == (None, None)
    assert console.talk.label == "Push to talk (hold): prompt"
    console.panel.close()


@pytest.mark.parametrize("stranger", [True, 3, "default", Mouth, object()])
def test_what_cannot_be_attached_is_refused(stranger: Any) -> None:
    """With what can be given; nothing is left of the panel that could not be made."""
    with pytest.raises(rtnb.ConfigurationError, match=r"microphone= takes an rtnb\.Microphone"):
        rtnb.Panel(microphone=stranger)
    with pytest.raises(rtnb.ConfigurationError, match=r"speaker= takes an rtnb\.Speaker"):
        rtnb.Panel(microphone=False, speaker=stranger)


def test_what_was_given_outlives_the_panel() -> None:
    """Run again, the cell disposes of the panel's own parts alone."""
    console = Talking()
    console.panel.close(RERUN)
    assert console.mouth.reasons == console.ear.reasons == []
    assert console.mouth.comm is not None and console.ear.comm is not None


def test_what_was_made_is_closed_with_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told why, and freed when the cell runs again; nothing is attached any more."""
    monkeypatch.setattr("rtnb.panel.voice.Microphone", Mouth)
    monkeypatch.setattr("rtnb.panel.voice.Speaker", Ear)
    panel = rtnb.Panel()
    mouth: Any = panel.microphone
    ear: Any = panel.speaker
    panel.close()
    panel.close(RERUN)
    assert mouth.reasons == ear.reasons == ["the panel was closed", RERUN]
    assert mouth.comm is None, "it was shown in the panel, and is gone with it"


def test_one_that_cannot_be_closed_does_not_keep_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is told all the same."""
    monkeypatch.setattr("rtnb.panel.voice.Microphone", Mouth)
    monkeypatch.setattr("rtnb.panel.voice.Speaker", Ear)
    voice = Voice()
    mouth: Any = voice.microphone
    monkeypatch.setattr(voice.speaker, "close", lambda reason: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        voice.close("over")
    assert mouth.reasons == ["over"]


def test_nothing_is_attached_after_the_end(written: rtnb.Session) -> None:
    """A call that comes late gets neither."""
    voice = Voice(Mouth(), Ear())
    voice.close("over")
    voice.attach(written)
    assert (written.microphone, written.speaker) == (None, None)


# --- talking --------------------------------------------------------------------------------------


def test_a_spoken_turn_is_like_any_other(console: Talking) -> None:
    """It is told while it goes on, in the transcript and the list afterwards, and seen as sent."""
    session = rtnb_session(console)
    console.see(LISTENING)
    console.mouth.say(rtnb.sample("capital_of_france"), quiet_after=2.0)
    console.see("You are speaking.")
    until(lambda: 'aria-label="level sent"' in console.shown() and session.levels["sent"] > -60)
    console.see("The reply is being heard. Interrupt it by speaking, or with the button.")
    until(lambda: ANSWER in console.shown() and "What is the capital" in console.shown())
    console.click("Interrupt")
    console.see("Interrupted. Send something else.")
    until(lambda: len(console.panel._turns.children) == 1)
    assert [turn._state.kind for turn in session.turns] == ["microphone"]
    assert session.turns[0].status == "cancelled"
    console.see(LISTENING)


def test_holding_the_button_speaks(peer: rtnb.Peer) -> None:
    """Nothing is played; what was muted is heard while it is held, and muted again afterwards."""
    console = Talking(endpoint=peer, muted=True)
    session = rtnb_session(console)
    console.see("Connected; the microphone is muted. Hold the button to speak, or send a prompt.")
    assert console.label == "Push to talk (hold): voice"
    console.hold("press")
    console.see(HELD)
    until(lambda: console.mouth.open and not console.mouth.muted)
    console.mouth.say(rtnb.sample("capital_of_france")).join()
    console.hold("release")
    until(lambda: console.mouth.muted)
    turn = session.turns[0].wait(30)
    assert (turn._state.kind, turn.transcript) == ("push_to_talk", ANSWER)
    assert turn.prompt_transcript == "What is the capital of France?"
    until(lambda: "muted" in console.status)
    console.panel.close()


def test_what_is_said_before_a_turn_is_open_waits_for_it() -> None:
    """It is fed then, in order; what follows is fed at once, and what comes afterwards is muted."""
    fed: list[int] = []

    class Call:
        open = True

        def feed(self, samples: bytes, *, number: int, **rest: Any) -> None:
            fed.append(number)

        def pause(self) -> None:
            pass

    class Way:
        def send(self, message: Any) -> None:
            pass

    def say(number: int) -> None:
        chunk = {"kind": "chunk", "page": "one", "number": number, "rate": 48_000, "feed": True}
        microphone._page.hear(Way(), chunk | {"captured": time.time()}, [bytes(1920)])

    microphone: Any = rtnb.Microphone(muted=True)
    microphone.attach(Call())
    with open_mike(microphone) as opened:
        say(0)
        say(1)
        assert fed == []
        opened()
        assert fed == [0, 1]
        say(2)
    say(3)
    assert (fed, microphone.muted) == ([0, 1, 2], True)
    microphone.close(RERUN)


def test_a_click_on_the_button_says_how_to_use_it(console: Talking) -> None:
    """Let go before it began, nothing is asked."""
    session = rtnb_session(console)
    console.hold("press")
    console.hold("release")
    console.see("Nothing was said: hold the button while you speak.")
    assert [turn.status for turn in session.turns] == ["cancelled"]


def test_a_microphone_that_goes_lets_go(console: Talking) -> None:
    """Its page is gone: the turn is not held open, and the button is for the prompt again."""
    session = rtnb_session(console)
    console.hold("press")
    console.see(HELD)
    console.mouth.live = False
    until(lambda: session.turns[0].status != "in_progress")
    until(lambda: console.label == "Push to talk (hold): prompt")


def test_nobody_speaks_for_ever(console: Talking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is gone without a word lets nothing go."""
    monkeypatch.setattr(calls, "_BREATH", 0.3)
    session = rtnb_session(console)
    console.hold("press")
    console.see(HELD)
    until(lambda: session.turns[0].status != "in_progress")
    until(lambda: HELD not in console.status)


# --- what is kept ---------------------------------------------------------------------------------


def test_the_state_holds_nothing_that_was_said(console: Talking) -> None:
    """Whatever a notebook is saved with: no sample of the voice, and no folder of this machine."""
    session = rtnb_session(console)
    console.mouth.say(rtnb.sample("greeting")).join()
    console.click("Hang up")
    until(lambda: session.state == "closed")
    saved = dependency_state([console.panel])
    assert {console.mouth.model_id, console.ear.model_id} <= set(saved)
    assert str(session.folder) not in str(saved)
    assert not [value for value in saved.values() if value.get("buffers")]
