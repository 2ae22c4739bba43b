"""`Panel`: the console in a cell; widgets only, what they do is in `rtnb.panel.calls`."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Final

import ipywidgets as widgets

from rtnb import _html
from rtnb._notebook import cell_run
from rtnb.errors import CallClosedError, ConfigurationError
from rtnb.events import EventLog
from rtnb.inspector import EventInspector
from rtnb.panel import views
from rtnb.panel.calls import Calls
from rtnb.panel.controls import HoldButton
from rtnb.panel.form import Form, Wanted
from rtnb.panel.picker import Picker
from rtnb.panel.record import Record
from rtnb.panel.state import Facts, Tone, allowed, said
from rtnb.panel.work import Refresher, Worker
from rtnb.peer.handle import Peer
from rtnb.registry import enroll, leave
from rtnb.session import Session
from rtnb.turnview import turn_body

__all__ = ["Panel"]

_LIVE: Final = 0.2  # seconds between two refreshes while a call is there
_END: Final = 2.0  # seconds that the last of them may take
_TURNS: Final = 20  # turns in the list
_LINES: Final = 30  # turns in the transcript
_PAST: Final = 8.0  # seconds of waveform shown while no turn runs
_TABS: Final = ("Transcript", "Turns", "Events", "Handshake")


class Panel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A console for one call: connect, choose a prompt, send, talk, interrupt, see and hear.

    Clicks are carried out in threads, so no cell is kept waiting, and a call goes on between cells.
    Running the cell again closes the panel that it made before, and hangs up the call made there.

    Parameters
    ----------
    session
        A session made in a cell, to go on with; it is not hung up with the panel.
    endpoint
        An `rtnb.Peer`, an `rtnb.Endpoint` or a base URL to offer first; None offers a peer.

    Raises
    ------
    ConfigurationError
        `session` is no session.
    """

    _closed = True  # until it is there; a widget that could not be made is closed all the same

    def __init__(self, session: Session | None = None, *, endpoint: Any = None):
        _check(session)
        self._calls = Calls(session, cell_run(), self._on_failure)
        self._failure: str | None = None
        self._peer: Peer | None = None
        self._shown: object = None  # the session whose events and handshake are shown
        self._finished = 0  # turns of it that are in the list
        self._refreshing = threading.Lock()
        self._lock = threading.Lock()  # of closing, and of the peer, which must not outlive it
        self._refresher: Refresher | None = None
        self._record = Record()
        self._form = Form(endpoint)
        reading = Worker(self._on_failure)
        self._picker = Picker(
            self._fail, self._on_picked, lambda work: reading.start("Reading", work, alone=False)
        )
        self._make_controls()
        super().__init__(children=self._laid_out())
        self.layout.max_width = "980px"
        self._closed = False
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
        self._failure = None
        self._calls.take(session)
        self._wake()

    def close(self, reason: str = "the panel was closed") -> None:
        """Hang up the call that was made here, and end everything of the panel. Idempotent."""
        if self._closed:
            return
        with self._lock:
            self._closed = True
        leave(self)
        try:
            self._calls.close(reason)
        finally:
            if self._refresher is not None:
                self._refresher.stop()
                self._refresher.join(_END)
            with contextlib.suppress(Exception):  # the kernel may be going down
                self.refresh()
            self._inspector._stop()  # what it shows stays, as all of the panel does
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
        self._connect = _button("Connect", "call", "primary", self._on_connect)
        self._hang_up = _button(
            "Hang up", "end the call", "", self._do("hang_up", self._calls.hang_up)
        )
        self._send = _button("Send", "play the prompt, or send the text", "", self._on_send)
        self._talk = HoldButton(
            self._on_press,
            self._calls.release,
            label="Push to talk (hold)",
            hint="hold: turn detection off, the prompt plays; let go: it is answered",
        )
        interrupt = self._do("interrupt", self._calls.interrupt)
        self._interrupt = _button("Interrupt", "cut the reply", "", interrupt)
        self._save = _button("Save run", "copy the recording to this folder", "", self._on_save)
        self._use_peer = _button("Use the peer", "no key needed", "", self._on_use_peer)
        self._folder = widgets.Text(value="runs/panel", layout=widgets.Layout(width="160px"))
        self._text = widgets.Text(
            description="or text", placeholder="write, then Send or Enter",
            style={"description_width": "90px"}, layout=widgets.Layout(width="auto", margin="2px"),
        )  # fmt: skip
        self._text.observe(lambda _: self._wake(), "value")
        self._text.on_msg(self._on_text_message)
        self._status, self._levels = widgets.HTML(), widgets.HTML(views.levels({}, {}))
        self._transcript = widgets.HTML(views.transcript([]))
        self._handshake = widgets.HTML(views.handshake({}, []))
        self._turns = widgets.VBox([])
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
            self._levels,
            tabs,
        ]  # fmt: skip

    def _do(self, what: str, action: Any) -> Any:
        def on_click(_: object) -> None:
            if self._may(what):
                self._failure = None
                action()
            self._wake()

        return on_click

    # --- clicks, each handed over at once ---------------------------------------------------------

    def _on_connect(self, _: object) -> None:
        if not self._may("connect"):
            return
        self._failure = None
        try:
            wanted = self._form.wanted()
        except Exception as error:
            self._on_failure(error)
            return
        self._calls.note = None
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
        if self._may("connect"):
            self._form.choose_peer()
            self._on_connect(None)

    def _on_send(self, _: object) -> None:
        if not self._may("send"):
            return
        self._failure, self._calls.note = None, None
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
        clip = self._picker.clip
        if self._may("talk") and clip is not None:
            self._failure, self._calls.note = None, None
            self._calls.press(clip)
        self._wake()

    def _on_save(self, _: object) -> None:
        folder = self._folder.value.strip()
        if not folder:
            self._fail("Type a folder to save the run to, such as runs/first.")
        elif self._may("save"):
            self._failure = None
            self._calls.save(folder)
        self._wake()

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
        )

    def refresh(self) -> float | None:
        """Bring everything up to date; return the seconds until that is due again."""
        with self._refreshing:
            facts = self._facts()
            self._refresh_controls(facts)
            session = self._calls.session
            try:
                if session is not None:
                    self._refresh_session(session)
                    if session.state == "closed":
                        self._record.keep(session)
            finally:  # whatever cannot be shown, the status can
                self._status.value = views.status_line(*self._told(facts))
            return _LIVE if facts.call in ("connecting", "open", "closing") or facts.doing else None

    def _told(self, facts: Facts) -> tuple[str, Tone]:
        if self._closed:
            return "This panel is closed. Run its cell again for another one.", ""
        return said(facts)

    def _refresh_controls(self, facts: Facts) -> None:
        may = allowed(facts)
        self._form.enable(may["form"] and not self._closed)
        for name in ("connect", "hang_up", "send", "interrupt", "save"):
            getattr(self, f"_{name}").disabled = self._closed or not may[name]
        self._talk.disabled = self._closed or not may["talk"]
        self._send.description = "Send text" if facts.text else "Send prompt"
        stuck = facts.failure is not None and may["connect"]
        self._use_peer.layout.display = "" if stuck else "none"

    def _refresh_session(self, session: Session) -> None:
        if session is not self._shown:
            self._show_session(session)
        turn = self._calls.turn
        start = session.elapsed - _PAST
        if turn is not None and turn.status == "in_progress":
            start = turn._state.started
        now = session.levels if session.state == "open" else {}
        self._levels.value = views.levels(now, session.recent_levels(start))
        turns = session.turns[-_LINES:]
        self._transcript.value = views.transcript(
            (t.number, t.name, t.prompt_transcript, t.transcript, t.status) for t in turns
        )
        parts = [sdp.body() for sdp in (session.offer, session.answer) if sdp is not None]
        self._handshake.value = views.handshake(session.phases, parts)
        self._list_turns(session)

    def _show_session(self, session: Session) -> None:
        self._shown, self._finished = session, max(len(session.turns) - _TURNS, 0)
        gone, self._turns.children = self._turns.children, ()
        for box in gone:
            box.close()
        before, self._inspector = self._inspector, EventInspector(session)
        self._events.children = (self._inspector,)
        before.close()

    def _list_turns(self, session: Session) -> None:
        """Add what is over to the list, the newest on top; it never changes again."""
        while self._finished < len(session.turns):
            turn = session.turns[self._finished]
            if turn.status == "in_progress":
                return
            body = turn_body(turn._view(compact=True))
            box = widgets.HTML(views.framed(body))
            old = self._turns.children
            self._turns.children = (box, *old[: _TURNS - 1])
            for gone in old[_TURNS - 1 :]:
                gone.close()
            self._finished += 1


def _button(name: str, tooltip: str, style: str, on_click: Any) -> widgets.Button:
    button = widgets.Button(description=name, tooltip=tooltip, button_style=style)
    button.layout = widgets.Layout(width="auto", min_width="84px")
    button.on_click(on_click)
    return button


def _check(session: Any) -> None:
    if session is not None and not isinstance(session, Session):
        raise ConfigurationError(
            f"A panel goes on with an rtnb.Session, not with {type(session).__name__}; "
            "for a peer or an endpoint give endpoint=."
        )
