"""What a panel does with a session, step by step and in threads of its own; it knows no widget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from rtnb._notebook import acting_for
from rtnb.audio import Clip
from rtnb.connecting import Waiting, connect, watched_by
from rtnb.errors import CallClosedError, CallError
from rtnb.panel.state import Facts, spoken_phase
from rtnb.panel.voice import hearing, open_mike
from rtnb.panel.work import Worker
from rtnb.progress import of_turn, sentence_of
from rtnb.session import Session
from rtnb.turns import Turn
from rtnb.turnstate import VOICE

__all__ = ["Calls"]

_PATIENCE: Final = 10.0  # seconds after the prompt for which push to talk can be held
_BREATH: Final = 120.0  # seconds for which it can be held to speak
_COMMITTED: Final = 1.0  # seconds within which what was spoken is committed


class Calls:
    """The one call of a panel: made, spoken into, interrupted, hung up.

    Every method returns at once.

    Parameters
    ----------
    session
        A session made elsewhere, or None.
    cell
        The cell that the panel belongs to, as `rtnb._notebook.cell_run` gave it.
    failed
        Takes the error of what could not be done.
    taken
        Takes each session that becomes the one, and None when there is none any more.
    """

    def __init__(
        self,
        session: Session | None,
        cell: tuple[str, str] | None,
        failed: Callable[[Exception], None],
        taken: Callable[[Session | None], None] = lambda session: None,
    ):
        self.session = session
        self.own = False  # the session was made here, and is hung up with the panel
        self.note: str | None = None
        self._cell = cell
        self._on_taken = taken
        self._worker = Worker(failed)
        self._waiting: Waiting | None = None
        self._closing = False  # what is being connected is to be given up
        self._gone = False  # for good
        self._held: threading.Event | None = None
        self._holding = threading.Lock()
        self._spoken: Turn | None = None  # the turn that was held to speak
        self._taking = threading.Lock()  # of which session is the one
        self._unconnected = False  # the last attempt to connect failed
        self._errors = _Errors()

    # --- doing ------------------------------------------------------------------------------------

    def connect(self, options: Callable[[], dict[str, Any]]) -> None:
        """Place a call; `options` gives the arguments of `rtnb.connect`, and may take its time."""
        if self._worker.doing is None:
            self._closing = False  # not in the thread: a hang-up may come before that begins
            self._unconnected = False
            self._worker.start("Connecting", lambda: self._connect(options))

    def _connect(self, options: Callable[[], dict[str, Any]]) -> None:
        try:
            with acting_for(self._cell), watched_by(self._begun):
                session = connect(**options(), progress=False)
            with self._taking:
                wanted = not self._given_up
                if wanted:
                    self.session, self.own = session, True
                    self._on_taken(session)
            if not wanted:
                session.close("hung up")
        except Exception:
            if not self._given_up:  # what fails after that is no news
                self._unconnected = True
                raise
        finally:
            self._waiting = None

    @property
    def _given_up(self) -> bool:
        return self._closing or self._gone

    def _begun(self, waiting: Waiting) -> None:
        self._waiting = waiting
        if self._given_up:
            raise CallClosedError("Hung up before the call was placed.")

    def send(self, prompt: Clip | str) -> bool:
        """Say something; return False where something else is being done."""
        work = self._in_call(lambda session: session.send(prompt))
        return self._worker.start("Sending", work)

    def press(self, clip: Clip | None) -> None:
        """Hold push to talk until `release`, and play a clip into it; None lets the user speak."""
        released = threading.Event()

        def in_call(session: Session) -> None:
            if clip is None:
                self._speak(session, released)
            else:
                _talk(session, clip, released)

        talk = self._in_call(in_call)

        def work() -> None:
            try:
                talk()
            finally:
                with self._holding:
                    self._held = None

        with self._holding:  # the thread may be over at once
            if self._worker.start("Talking", work):
                self._held = released

    def _speak(self, session: Session, released: threading.Event) -> None:
        """Hold a turn open for the voice, and no longer than there is one to be heard."""
        microphone = session.microphone
        with open_mike(microphone) as opened:
            with session.push_to_talk() as turn:
                self._spoken = turn
                if released.is_set():
                    raise CallError("Nothing was said: hold the button while you speak.")
                opened()
                while not released.wait(0.1) and turn.status == "in_progress":
                    off = hearing(microphone) == "none"
                    if off or session.elapsed - turn.started > _BREATH:
                        break
            with session.changed:  # the last words are still under way
                session.changed.wait_for(lambda: _committed(turn), _COMMITTED)

    def release(self) -> None:
        """Let go of push to talk."""
        if (held := self._held) is not None:
            held.set()

    def interrupt(self) -> None:
        """Cut the reply."""

        def work(session: Session) -> None:
            turn = self.turn
            session.interrupt()
            if turn is self.turn:
                self.note = "Interrupted. Send something else."

        self._worker.start("Interrupting", self._in_call(work), alone=False)

    def hang_up(self) -> None:
        """End the call, also one that is being connected."""

        def work() -> None:
            waiting = self._waiting
            session = self.session if waiting is None else waiting.session
            if session is not None:
                session.close("hung up")

        self._closing = True
        self.release()
        self._worker.start("Hanging up", work, alone=False)

    def save(self, folder: str) -> None:
        """Copy the run to a folder."""

        def work() -> None:
            session = self.session
            if session is not None:
                session.save(folder)
                self.note = f"Saved to {folder}; open it with rtnb.open_run({folder!r})."

        self._worker.start("Saving", work)

    def close(self, reason: str) -> None:
        """Hang up what was made here, and make no more; returns when that is done."""
        self._gone = True
        self.release()
        if (waiting := self._waiting) is not None and waiting.session is not None:
            waiting.session.close(reason)
        if self.own and self.session is not None:
            self.session.close(reason)

    def take(self, session: Session | None) -> None:
        """Go on with another session; one that was made here is hung up."""
        with self._taking:
            self._closing = True  # a call that is being placed would replace this one
            before, was_own = self.session, self.own
            self.session, self.own, self.note = session, False, None
            self._on_taken(session)
        self.release()
        if (waiting := self._waiting) is not None and waiting.session is not None:
            self._worker.start("Hanging up", waiting.session.close, alone=False)
        if was_own and before is not None and before is not session:
            self._worker.start("Hanging up", before.close, alone=False)

    def _in_call(self, work: Callable[[Session], object]) -> Callable[[], None]:
        """Return what does something in the call; that this is over meanwhile is said anyway."""

        def run() -> None:
            session = self.session
            if session is None:
                raise CallError("There is no call; click Connect first.")
            try:
                work(session)
            except CallClosedError:
                if session.state == "open":
                    raise

        return run

    def forget(self) -> None:
        """Forget what was told, since something else is begun."""
        self.note = None
        self._errors.forget()

    # --- how things stand -------------------------------------------------------------------------

    def facts(
        self, *, clip: bool, text: bool, failure: str | None, kept: tuple[str, ...] = ()
    ) -> Facts:
        """Return how things stand; the arguments are what the panel itself knows of that."""
        session, waiting, doing = self.session, self._waiting, self._worker.doing
        if waiting is not None or doing == "Connecting":
            if self._given_up:
                return Facts("closing")
            phase = "starting" if waiting is None else sentence_of(waiting.how_far())
            return Facts("connecting", progress=phase)
        if session is None:
            return Facts(
                doing=doing, clip=clip, text=text, failure=failure, stuck=self._unconnected
            )
        with session.changed:
            known = self._facts_of(session, doing)
        return replace(known, clip=clip, text=text, failure=failure, kept=kept)

    def _facts_of(self, session: Session, doing: str | None) -> Facts:
        call: Any = session.state
        holding, turn = self._held is not None, self.turn
        running = turn is not None and turn.status == "in_progress"
        spoken = turn is not None and (turn is self._spoken or (not holding and _by_voice(turn)))
        return Facts(
            call,
            None if holding or doing == "Sending" else doing,
            _progress(session, turn) if running and turn is not None else "",
            running=running,
            holding=holding,
            ended=session.ended,
            stuck=session.failure is not None or self._unconnected,
            outcome=None if turn is None else _outcome(turn),
            trouble=session.trouble or self._errors.newest(session),
            note=self.note,
            hearing=hearing(session.microphone),
            detection=session._conversation.detection is not None,
            spoken=spoken_phase(turn._state) if running and spoken and turn is not None else None,
        )

    @property
    def turn(self) -> Turn | None:
        """The newest turn."""
        session = self.session
        return session.turns[-1] if session is not None and session.turns else None


class _Errors:
    """The service's newest ``error`` event since something was begun."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._read = 0
        self._said: str | None = None

    def newest(self, session: Session) -> str | None:
        """Return what the service said, if it did; each event is looked at once."""
        if session is not self._session:
            self._session, self._read, self._said = session, 0, None
        for event in session.events[self._read :]:
            self._read += 1
            if event.type == "error":
                error = event.data.get("error")
                said = error.get("message") if isinstance(error, dict) else None
                self._said = f"The service says: {said or 'an error, and no reason'}"
        return self._said

    def forget(self) -> None:
        """Wait for the next one."""
        self._said = None


def _talk(session: Session, clip: Clip, released: threading.Event) -> None:
    with session.push_to_talk() as turn:
        if released.is_set():
            raise CallError("Nothing was said: hold the button while the prompt plays.")
        turn.play(clip)
        while not released.wait(0.25) and turn.status == "in_progress":
            ended = _played(turn)
            if ended is not None and session.elapsed - ended > _PATIENCE:
                break  # a page that is gone lets nothing go
        if turn.status == "in_progress":  # the call may have ended while it was held
            turn.stop()


def _played(turn: Turn) -> float | None:
    """Return when the clip of a turn that is held had been played, whatever was said meanwhile."""
    return next((end for play, (_, end) in turn._state.plays.items() if play != VOICE), None)


def _committed(turn: Turn) -> bool:
    return turn.status != "in_progress" or turn._state.requested is not None


def _by_voice(turn: Turn) -> bool:
    return turn._state.kind == VOICE or VOICE in turn._state.plays


def _outcome(turn: Turn) -> str | None:
    """Return what went wrong with a turn that is over."""
    match turn.status:
        case "failed" | "incomplete":
            return f"Turn {turn.number}: {turn.status}. {turn.error or ''}".rstrip()
        case "no_reply":
            return f"Turn {turn.number}: no reply came."
    return None


def _progress(session: Session, turn: Turn) -> str:
    return sentence_of(of_turn(turn._state, session.elapsed, session.levels))
