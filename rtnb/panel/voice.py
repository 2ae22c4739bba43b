"""The microphone and the speaker of a panel, and which call has them; it must not know turns."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import ipywidgets as widgets

from rtnb import _html
from rtnb.errors import CallClosedError
from rtnb.livesound import SoundOutput, VoiceInput, check_attachable
from rtnb.microphone import Microphone
from rtnb.panel.state import Hearing
from rtnb.panel.views import framed
from rtnb.session import Session
from rtnb.speaker import Speaker

__all__ = ["Voice", "hearing", "open_mike"]

_OVER: Final = ("closing", "closed")


class Voice:
    """A microphone and a speaker, which go with the panel from call to call.

    Attributes
    ----------
    microphone, speaker : object or None
        None where it was left out.
    widget : ipywidgets.Widget
        Both of them in a row, as far as they are widgets.

    Parameters
    ----------
    microphone, speaker
        A ready one, which outlives the panel; None makes one, False leaves it out.

    Raises
    ------
    ConfigurationError
        One of them cannot be attached to a call.
    """

    def __init__(self, microphone: Any = None, speaker: Any = None):
        for what, one in (("microphone", microphone), ("speaker", speaker)):
            check_attachable(None if one is False else one, what)  # both before one is made
        self._made: list[Any] = []
        self.microphone: VoiceInput | None = self._one(microphone, Microphone)
        self.speaker: SoundOutput | None = self._one(speaker, Speaker)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._closed = False
        self._aside = widgets.HTML()
        pairs = (("microphone", self.microphone), ("speaker", self.speaker))
        self._rows = [_row(what, one) for what, one in pairs if isinstance(one, widgets.Widget)]
        self.widget = widgets.VBox([*self._rows, self._aside])
        self.say(None)

    def _one(self, given: Any, make: Any) -> Any:
        if given is None:
            given = make()
            self._made.append(given)
        return None if given is False else given

    def attach(self, session: Session | None) -> None:
        """Go with this call from now on, and let go of the one before; None only lets go.

        What the call has of its own it keeps.

        Raises
        ------
        ConfigurationError
            One of them cannot be attached, as it was closed; the other one is.
        """
        with self._lock:
            if self._closed:
                session = None
            before, self._session = self._session, session
            if before is not None and before is not session:
                self._let_go(before)
            if session is not None and session.state not in _OVER:
                with contextlib.suppress(CallClosedError), contextlib.ExitStack() as both:
                    both.callback(self._give, session, "microphone", self.microphone)
                    both.callback(self._give, session, "speaker", self.speaker)

    @staticmethod
    def _give(session: Session, what: str, one: VoiceInput | SoundOutput | None) -> None:
        if one is not None and getattr(session, what) is None:
            setattr(session, what, one)

    def _let_go(self, session: Session) -> None:
        if self.microphone is not None and session.microphone is self.microphone:
            session.microphone = None
        if self.speaker is not None and session.speaker is self.speaker:
            session.speaker = None

    def kept(self, session: Session | None) -> tuple[str, ...]:
        """Return which of the two a call has of its own, in place of those here."""
        if session is None:
            return ()
        pairs = (
            ("microphone", self.microphone, session.microphone),
            ("speaker", self.speaker, session.speaker),
        )
        return tuple(
            name
            for name, here, there in pairs
            if here is not None and there is not None and there is not here
        )

    def say(self, sentence: str | None) -> None:
        """Show what is to be known of the two; None for nothing."""
        self._aside.layout.display = "none" if sentence is None else ""
        line = f'<p class="rtnb-muted">{_html.text(sentence or "")}</p>'
        self._aside.value = framed(line) if sentence else ""

    def close(self, reason: str) -> None:
        """Let go of the call, and close what was made here; what was given is not shown any more.

        May be called again, with `registry.RERUN` to free what was made.
        """
        self._closed = True
        self.attach(None)
        for row in self._rows:
            # what was given may be shown elsewhere too, and is not to be disposed of with the panel
            if not set(row.children[-1].children) & set(self._made):
                row.children[-1].children, row.layout.display = (), "none"
        with contextlib.ExitStack() as both:  # also where one of them fails
            for one in self._made:
                both.callback(one.close, reason)


def _row(name: str, one: widgets.Widget) -> widgets.HBox:
    """Return a line of the panel, with a name where the other lines have theirs."""
    place = widgets.Layout(width="90px", margin="2px 8px 2px 2px", justify_content="flex-end")
    box = widgets.VBox([one], layout=widgets.Layout(flex="1 1 0", min_width="0"))
    line = widgets.Layout(align_items="baseline")
    return widgets.HBox([widgets.Label(name, layout=place), box], layout=line)


def hearing(microphone: Any) -> Hearing:
    """Return what a microphone does: nothing, or it is on and muted, waits to be held, or live."""
    if microphone is None or not getattr(microphone, "live", False):
        return "none"
    if getattr(microphone, "muted", False):
        return "muted"
    return "held" if getattr(microphone, "push_to_talk", False) else "live"


@contextlib.contextmanager
def open_mike(microphone: Any) -> Iterator[Callable[[], None]]:
    """Let a microphone that is on be heard in the block, though it was muted or waits to be held.

    What is said waits, where it can, until what is yielded is called, as the turn is open then.
    """
    shut = [name for name in ("muted", "push_to_talk") if getattr(microphone, name, False)]
    kept = getattr(microphone, "kept", None)
    with contextlib.nullcontext(lambda: None) if kept is None else kept() as opened:
        for name in shut:
            setattr(microphone, name, False)
        try:
            yield opened
        finally:
            for name in shut:
                setattr(microphone, name, True)
