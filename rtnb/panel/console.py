"""`Panel`: the console in a cell; widgets only, what they do is in `rtnb.panel.calls`."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Any, Final

import ipywidgets as widgets

from rtnb import _html
from rtnb._notebook import cell_run
from rtnb.errors import CallClosedError, ConfigurationError
from rtnb.events import EventLog
from rtnb.inspector import EventInspector
from rtnb.livesound import SoundOutput, VoiceInput
from rtnb.pagecontext import PageContext
from rtnb.panel import views
from rtnb.panel.calls import Calls
from rtnb.panel.controls import HoldButton
from rtnb.panel.form import Form, Wanted
from rtnb.panel.parts import button, dispose, tree
from rtnb.panel.picker import Picker
from rtnb.panel.record import Record
from rtnb.panel.state import Facts, Tone, allowed, aside, news, said, talking
from rtnb.panel.turnboxes import TurnBoxes
from rtnb.panel.voice import Voice
from rtnb.panel.work import Refresher, Worker
from rtnb.peer.handle import Peer
from rtnb.registry import RERUN, enroll, leave
from rtnb.session import Session

__all__ = ["Panel"]

_REST: Final = 2.0  # seconds between two refreshes while there is none
_LIVE: Final = 0.2  # seconds between two refreshes while a call is there
_END: Final = 2.0  # seconds that the last of them may take
_LINES: Final = 30  # turns in the transcript
_PAST: Final = 8.0  # seconds of waveform shown while no turn runs
_TABS: Final = ("Transcript", "Turns", "Events", "Handshake")


class Panel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A console for one call: connect, speak or choose a prompt, interrupt, see and hear.

    Clicks are carried out in threads, so no cell is kept waiting, and a call goes on between cells.
    Running the cell again closes the panel that it made before, and hangs up the call made there.

    Parameters
    ----------
    session
        A session made in a cell, to go on with; it is not hung up with the panel.
    endpoint
        An `rtnb.Peer`, an `rtnb.Endpoint` or a base URL to offer first; None offers a peer.
    microphone
        An `rtnb.Microphone` to speak with, which outlives the panel; None makes one, False has none.
    speaker
        The same: an `rtnb.Speaker` to hear the replies with.

    Raises
    ------
    ConfigurationError
        `session` is no session, `microphone` no microphone, or `speaker` no speaker.
    """

    _closed = True  # until it is there; a widget that could not be made is closed all the same

    def __init__(
        self,
        session: Session | None = None,
        *,
        endpoint: Any = None,
        microphone: Any = None,
        speaker: Any = None,
    ):
        _check(session)
        self._voice = Voice(microphone, speaker)
        self._calls = Calls(session, cell_run(), self._on_failure, self._attach)
        self._failure: str | None = None
        self._peer: Peer | None = None
        self._shown: object = None  # the session whose events and handshake are shown
        self._refreshing = threading.Lock()
        self._page = PageContext()
        self._moved = False  # the controls are served where the page is
        self._lock = threading.Lock()  # of closing, and of the peer, which must not outlive it
        self._refresher: Refresher | None = None
        self._record = Record()
        self._form = Form(endpoint, self._fail)
        reading = Worker(self._on_failure)
        self._picker = Picker(
            self._fail, self._on_picked, lambda work: reading.start("Reading", work, alone=False)
        )
        self._make_controls()
        super().__init__(children=self._laid_out())
        self.layout.max_width = "980px"
        self._closed = False
        self._attach(session)
        enroll(self, listed=False)
        self._refresher = Refresher(self)

    # --- what can be asked of it ------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The session of its call, to be used in a cell; None before the first one.

        Set it to hand over another one.
        """
        return self._calls.session

    @session.setter
    def session(self, session: Session | None) -> None:
        _check(session)
        if self._closed:
            raise ConfigurationError("This panel is closed; run its cell again for another one.")
        self._failure = None
        self._calls.take(session)
        self._wake()

    @property
    def microphone(self) -> VoiceInput | None:
        """What its calls are spoken into, unless they have a microphone of their own."""
        return self._voice.microphone

    @property
    def speaker(self) -> SoundOutput | None:
        """What plays its calls, unless they have a speaker of their own."""
        return self._voice.speaker

    def close(self, reason: str = "the panel was closed") -> None:
        """Hang up the call that was made here, and end everything of the panel. Idempotent.

        What it shows stays, until its cell is run again.
        """
        if not self._closed:
            self._end(reason)
        if reason == RERUN:
            leave(self)
            self._voice.close(reason)
            dispose(self)

    def _end(self, reason: str) -> None:
        with self._lock:
            self._closed = True
        try:
            self._calls.close(reason)
        finally:
            self._voice.close(reason)
            if self._refresher is not None:
                self._refresher.stop()
                self._refresher.join(_END)
            with contextlib.suppress(Exception):  # the kernel may be going down
                self.refresh()
            self._inspector.freeze()
            if self._peer is not None:
                self._peer.close()

    def _ipython_display_(self, **_: Any) -> None:
        self._record.display(self.model_id, repr(self))

    def __repr__(self) -> str:
        if self._closed:
            return "<Panel closed>"
        session = self._calls.session
        return f"<Panel {'not connected' if session is None else repr(session).strip('<>')}>"

    # --- controls ---------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self._connect = button("Connect", "call", "primary", self._on_connect)
        self._hang_up = button(
            "Hang up", "end the call", "", self._do("hang_up", self._calls.hang_up)
        )
        self._send = button("Send", "play the prompt, or send the text", "", self._on_send)
        label, hint = talking(Facts())
        self._talk = HoldButton(
            self._on_press, self._calls.release, self._on_here, label=label, hint=hint
        )
        interrupt = self._do("interrupt", self._calls.interrupt)
        self._interrupt = button("Interrupt", "cut the reply", "", interrupt)
        self._save = button("Save run", "copy the recording to this folder", "", self._on_save)
        self._use_peer = button("Use the peer", "no key needed", "", self._on_use_peer)
        self._folder = widgets.Text(
            value="runs/panel",
            description="folder",
            style={"description_width": "50px"},
            layout=widgets.Layout(width="210px"),
        )
        self._text = widgets.Text(
            description="or text", placeholder="write, then Send or Enter",
            style={"description_width": "90px"}, layout=widgets.Layout(width="auto", margin="2px"),
        )  # fmt: skip
        self._text.observe(lambda _: self._wake(), "value")
        self._text.on_msg(self._on_text_message)
        self._status, self._levels = widgets.HTML(), widgets.HTML(views.levels({}, {}))
        self._transcript = widgets.HTML(views.transcript([]))
        self._handshake = widgets.HTML(views.handshake({}, []))
        self._turns = TurnBoxes()
        self._inspector = EventInspector(EventLog())
        self._events = widgets.VBox([self._inspector])

    def _laid_out(self) -> list[widgets.Widget]:
        tabs = widgets.Tab([self._transcript, self._turns, self._events, self._handshake])
        for index, name in enumerate(_TABS):
            tabs.set_title(index, name)
        line = widgets.Layout(flex_flow="row wrap", align_items="center")
        return [
            widgets.HTML(_html.styles()),
            self._form.widget,
            widgets.HBox([self._connect, self._hang_up, self._use_peer, self._folder, self._save],
                         layout=line),
            self._status,
            self._picker.widget,
            self._text,
            widgets.HBox([self._send, self._talk, self._interrupt], layout=line),
            self._voice.widget,
            self._levels,
            tabs,
        ]  # fmt: skip

    def _do(self, what: str, action: Any) -> Any:
        def on_click(_: object) -> None:
            if self._may(what):
                self._forget()
                action()
            self._wake()

        return on_click

    # --- clicks, each handed over at once ---------------------------------------------------------

    def _on_connect(self, _: object) -> None:
        if not self._may("connect"):
            return
        self._forget()
        try:
            wanted = self._form.wanted()
        except Exception as error:
            self._on_failure(error)
            return
        self._calls.connect(lambda: self._options(wanted))
        self._wake()

    def _options(self, wanted: Wanted) -> dict[str, Any]:
        """Return the arguments of `connect`, with a peer where one is wanted."""
        if not wanted.peer:
            return wanted.options
        if self._peer is None or self._peer.closed:
            self._keep(Peer())
        return {**wanted.options, "endpoint": self._peer}

    def _keep(self, peer: Peer) -> None:
        with self._lock:
            if not self._closed:
                self._peer = peer
                return
        peer.close()
        raise CallClosedError("The panel was closed before the call was placed.")

    def _on_use_peer(self, _: object) -> None:
        if self._may("peer"):
            self._form.choose_peer()
            self._on_connect(None)

    def _on_send(self, _: object) -> None:
        if not self._may("send"):
            return
        self._forget()
        text = self._text.value.strip()
        prompt = text or self._picker.clip
        if prompt is not None and self._calls.send(prompt) and text:
            self._text.value = ""
        self._wake()

    def _on_text_message(self, _: object, content: Any, buffers: object) -> None:
        if (
            isinstance(content, dict)
            and content.get("event") == "submit"
            and self._text.value.strip()
        ):
            self._on_send(None)

    def _on_press(self) -> None:
        facts = self._facts()
        if self._may("talk"):
            self._forget()
            self._calls.press(self._picker.clip if facts.hearing == "none" else None)
        self._wake()

    def _on_save(self, _: object) -> None:
        folder = self._folder.value.strip()
        if not folder:
            self._fail("Type a folder to save the run to, such as runs/first.")
        elif self._may("save"):
            self._forget()
            self._calls.save(folder)
        self._wake()

    def _on_here(self) -> None:
        """Let what is clicked be served on the page's own thread, which no cell keeps busy."""
        self._page.heard()
        if not self._moved:
            self._moved = True
            self._publish_again()

    def _publish_again(self) -> None:
        """Publish a trait of every control, so that it is served where this is done."""
        for control in tree(self):
            if isinstance(control, widgets.DOMWidget) and control.has_trait("disabled"):
                self._page.run(functools.partial(control.send_state, "disabled"))

    def _attach(self, session: Session | None) -> None:
        try:
            self._page.run(lambda: self._voice.attach(session))
        except ConfigurationError as error:  # the call goes on without
            self._fail(str(error))

    def _forget(self) -> None:
        self._failure = None
        self._calls.forget()

    def _may(self, what: str) -> bool:
        return not self._closed and allowed(self._facts())[what]

    def _on_picked(self) -> None:
        self._failure = None  # what was wrong with another prompt, or before it
        self._wake()

    def _on_failure(self, error: Exception) -> None:
        self._fail(self._form.advice(error))

    def _fail(self, sentence: str) -> None:
        self._failure = sentence
        self._wake()

    def _wake(self) -> None:
        if self._refresher is not None:
            self._refresher.wake()

    # --- keeping it up to date --------------------------------------------------------------------

    def _facts(self) -> Facts:
        return self._calls.facts(
            clip=self._picker.clip is not None,
            text=bool(self._text.value.strip()),
            failure=self._failure,
            kept=self._voice.kept(self._calls.session),
        )

    def refresh(self) -> float | None:
        """Bring everything up to date; return the seconds until that is due again."""
        if self._page.rest():
            self._moved = False
            self._publish_again()
        with self._refreshing:
            return self._page.run(self._refresh)

    def _refresh(self) -> float | None:
        facts = self._facts()
        self._refresh_controls(facts)
        session = self._calls.session
        try:
            if session is not None:
                self._refresh_session(session)
        finally:  # whatever cannot be shown, the status can
            self._status.value = views.status(*self._told(facts))
        over = facts.call in ("none", "closed") and facts.doing is None
        return _REST if over else _LIVE

    def _told(self, facts: Facts) -> tuple[tuple[str, Tone], tuple[str, Tone] | None]:
        if self._closed:
            return ("This panel is closed. Run its cell again for another one.", ""), None
        return said(facts), news(facts)

    def _refresh_controls(self, facts: Facts) -> None:
        may = allowed(facts)
        self._form.enable(may["form"] and not self._closed)
        for name in ("connect", "hang_up", "send", "interrupt", "save", "talk"):
            getattr(self, f"_{name}").disabled = self._closed or not may[name]
        self._send.description = "Send text" if facts.text else "Send prompt"
        if not facts.holding:
            self._talk.label, self._talk.hint = talking(facts)
        self._voice.say(aside(facts))
        self._use_peer.layout.display = "" if may["peer"] and not self._closed else "none"

    def _refresh_session(self, session: Session) -> None:
        if session is not self._shown:
            self._show_session(session)
        turn = self._calls.turn
        running = turn is not None and turn.status == "in_progress"
        start = turn.started if running and turn is not None else session.elapsed - _PAST
        now = session.levels if session.state == "open" else {}
        took = session.elapsed - start if running else None
        self._levels.value = views.levels(now, session.recent_levels(start), took)
        turns = session.turns[-_LINES:]
        self._transcript.value = views.transcript(
            (t.number, t.name, t.prompt_transcript, t.transcript, t.status) for t in turns
        )
        parts = [sdp.body() for sdp in (session.offer, session.answer) if sdp is not None]
        self._handshake.value = views.handshake(session.phases, parts)
        self._turns.add(session)
        if session.state == "closed":
            self._record.keep(session)

    def _show_session(self, session: Session) -> None:
        self._shown = session
        self._turns.begin(session)
        before, self._inspector = self._inspector, EventInspector(session)
        self._events.children = (self._inspector,)
        before.close()


def _check(session: Any) -> None:
    if session is not None and not isinstance(session, Session):
        raise ConfigurationError(
            f"A panel goes on with an rtnb.Session, not with {type(session).__name__}; "
            "for a peer or an endpoint give endpoint=."
        )
