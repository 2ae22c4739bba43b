"""`Speaker`: a widget that plays in the page what a call hears; it must not know turns.

Each stretch goes to the page as soon as it is decoded, from the thread that brings it, also while a
cell runs. A page says every 10 s that it is there; without one nothing is sent.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from rtnb import _html
from rtnb import messages as m
from rtnb.errors import ConfigurationError
from rtnb.livesound import SoundSource
from rtnb.pagecontext import PageContext
from rtnb.playout import Cut, Gone, Here, Playout, Presence, Report, understood
from rtnb.registry import RERUN, enroll, leave

__all__ = ["Speaker"]

logger = logging.getLogger(__name__)

_STATIC: Final = Path(__file__).parent / "_static"
_QUIET: Final = 10.0  # seconds of mute after which nothing is sent
_PROBE: Final = b"rtnb"  # a buffer, to see whether buffers arrive


class Speaker(anywidget.AnyWidget):
    """What a call hears, played in the page that shows this widget.

    Attach it with ``session.speaker = speaker`` or ``rtnb.connect(..., speaker=speaker)``. It plays
    one call at a time: attaching it to another leaves the first. Sound begins when 40 ms of it are
    there; when the way is less even than that, more is buffered for a while. An interruption
    silences it at once. Each page that shows it plays; several views in one page are one voice.
    Where the browser wants a click before it lets a page sound, a button asks for it.

    Running the cell again closes the speaker that it made before.

    Parameters
    ----------
    volume
        0 to 1, of the amplitude. Can be set later, here or in the page.
    muted
        Whether it is silent. Can be set later, here or in the page; nothing is sent to the page
        any longer when it has been so for 10 s.

    Raises
    ------
    ConfigurationError
        A parameter, or a volume set later, is out of range.
    """

    _esm = (_STATIC / "speaker.js").read_text(encoding="utf-8")
    _css = _html.style_text() + (_STATIC / "speaker.css").read_text(encoding="utf-8")
    volume = traitlets.Float(1.0).tag(sync=True)
    muted = traitlets.Bool(False).tag(sync=True)
    _attached = traitlets.Bool(False).tag(sync=True)
    _over = traitlets.Bool(False).tag(sync=True)
    _page_id = traitlets.Unicode().tag(sync=True)
    "By which the views in one page know each other."

    _closed = True  # until it is there; what could not be made is closed all the same

    def __init__(self, *, volume: float = 1.0, muted: bool = False):
        if not isinstance(muted, bool):
            raise ConfigurationError(f"muted is {muted!r}; it must be True or False.")
        self._lock = threading.RLock()
        self._taking = threading.Lock()  # keeps stretches and interruptions in order
        self._source: SoundSource | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._cut = Cut()
        self._numbers = itertools.count()
        self._silent_since = time.monotonic() if muted else math.inf
        self._binary = True
        self._playout, self._presence, self._page = Playout(), Presence(), PageContext()
        super().__init__(volume=_loudness(volume), muted=muted, _page_id=uuid.uuid4().hex)
        self.observe(self._on_muted, "muted")
        self.on_msg(self._on_message)
        self._closed = False
        enroll(self, listed=False)

    # --- the call ---------------------------------------------------------------------------------

    def attach(self, source: SoundSource) -> None:
        """Play what this call hears from now on, and no other.

        Raises
        ------
        ConfigurationError
            This speaker is closed.
        """
        with self._lock:
            if self._closed:
                raise ConfigurationError("This speaker is closed; make another rtnb.Speaker().")
            if source is self._source:
                return
            self._leave()
            self._source, self._cut = source, Cut()
            self._unsubscribe = source.subscribe(functools.partial(self._take, source))
        self._publish(lambda: self.set_trait("_attached", True))

    def detach(self, source: SoundSource) -> None:
        """Play this call no longer; does nothing if it is not the one that is played.

        What is in the page already is played to its end.
        """
        with self._lock:
            if source is not self._source:
                return
            self._leave()
        self._publish(lambda: self.set_trait("_attached", False))

    def _leave(self) -> None:
        unsubscribe, self._unsubscribe = self._unsubscribe, lambda: None
        self._source = None
        unsubscribe()

    def _take(self, source: SoundSource, heard: m.AudioHeard | None) -> None:
        """Send what was heard to the page, on the thread that brings it; never raises or waits."""
        with self._taking:
            if source is self._source:
                self._pass_on(source, heard)

    def _pass_on(self, source: SoundSource, heard: m.AudioHeard | None) -> None:
        if not self._wanted():
            self._playout.count(unsent=heard is not None)
            return
        if heard is None:
            self._playout.count(flushes=1)
            self._cut.begin(_now(source))
            self._publish(lambda: self.send({"kind": "flush"}))
        elif self._cut.takes(heard.position, heard.samples, heard.arrived):
            self._playout.count(cut=1)
        elif self._publish(functools.partial(self._send_stretch, source, heard)):
            self._playout.count(stretches=1, bytes=len(heard.samples))

    def _wanted(self) -> bool:
        """Tell whether there is a page that plays, or may do so soon."""
        return time.monotonic() - self._silent_since < _QUIET and self._presence.anyone()

    def _send_stretch(self, source: SoundSource, heard: m.AudioHeard) -> None:
        content: dict[str, Any] = {
            "kind": "audio",
            "number": next(self._numbers),
            "position": heard.position,
            "arrived": 1000 * _unix(source, heard.arrived),
        }
        if self._binary:
            self.send(content, buffers=[heard.samples])
        else:
            self.send(content | {"data": b64encode(heard.samples).decode("ascii")})

    def _publish(self, change: Callable[[], None]) -> bool:
        """Publish where the page is served; return whether that could be done."""
        try:
            self._page.run(change)
        except Exception:  # the kernel may be going down, and a call must not suffer from it
            self._playout.count(failed=1)
            logger.debug("a speaker could not reach its page", exc_info=True)
            return False
        return True

    # --- the page ---------------------------------------------------------------------------------

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Take volume and mute from the page, if they are such, and nothing else."""
        state: dict[str, Any] = {}
        volume: Any = sync_data.get("volume")
        if _is_loudness(volume):
            state["volume"] = float(volume)
        if isinstance(muted := sync_data.get("muted"), bool):
            state["muted"] = muted
        super().set_state(state)

    def _on_muted(self, change: Any) -> None:
        self._silent_since = time.monotonic() if change["new"] else math.inf

    def _on_message(self, _: object, content: Any, buffers: object) -> None:
        """Take a message of the page; one that is not understood is left alone."""
        said = understood(content)
        if said is None or self._closed:
            return
        if isinstance(said, Gone):
            self._presence.gone(said.page)
            return
        self._page.heard()
        self._presence.heard(said.page)
        if isinstance(said, Report):
            self._playout.take(said)
            return
        self._welcome(said)

    def _welcome(self, said: Here) -> None:
        """Answer a page: with the time, and with a buffer to see whether it arrives."""
        if said.binary is not None:
            self._binary = said.binary
        now = 1000 * time.time()
        content = {"kind": "welcome", "page": said.page, "echo": said.sent, "now": now}
        self._publish(lambda: self.send(content, buffers=[_PROBE]))

    @traitlets.validate("volume")
    def _check_volume(self, proposal: Any) -> float:
        return _loudness(proposal["value"])

    # --- life and looks ---------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return what was sent, and what the pages made of it.

        Returns
        -------
        dict
            ``stretches`` and ``bytes`` sent; ``unsent`` stretches, as no page was there or it was
            muted; ``flushes``, the interruptions, and ``cut`` stretches of what they interrupted;
            ``failed`` attempts to publish; ``pages`` there; ``underruns``; ``dropped`` and
            ``skipped`` blocks of 20 ms, as more than a second was buffered, and silences that were
            left out to catch up. In seconds: ``delay`` and ``delay_worst`` from a packet's arrival
            until its sound leaves the machine, as far as the browser knows how long its output
            takes, ``delay_to_page`` until it is in the page (medians of the last 6,000 stretches),
            ``wanted``, what the page buffers before it plays. ``clock`` is ``"same"`` where the
            clocks of page and kernel agree, and ``"estimated"`` where their distance was measured,
            to within ``clock_error`` seconds.
            What is not known yet is None.
        """
        return {**self._playout.stats(), "pages": self._presence.pages}

    def close(self, reason: str = "the speaker was closed") -> None:
        """Leave the call and fall silent, for good. Idempotent.

        What it shows stays, until its cell is run again.
        """
        if not self._closed:
            self._closed = True
            with self._lock:
                self._leave()
            self._presence.clear()
            self._publish(lambda: self.set_trait("_over", True))
        if reason == RERUN:
            self._publish(super().close)
        leave(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self._presence.expect()
        return super()._repr_mimebundle_(**kwargs)

    def __repr__(self) -> str:
        if self._closed:
            return "<Speaker closed>"
        state = "not attached" if self._source is None else "attached to a call"
        sound = "muted" if self.muted else f"volume {self.volume:.0%}"
        pages, underruns = self._presence.pages, self._playout.stats()["underruns"]
        return f"<Speaker {state}, {sound}, pages: {pages}, underruns: {underruns}>"


def _is_loudness(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and 0.0 <= value <= 1.0


def _loudness(value: Any) -> float:
    if not _is_loudness(value):
        raise ConfigurationError(f"volume is {value!r}; it must be 0 to 1.")
    return float(value)


def _now(source: SoundSource) -> float:
    """Return the time on a call's clock; what has none is not late."""
    now: Callable[[], float] | None = getattr(source, "now", None)
    return -math.inf if now is None else now()


def _unix(source: SoundSource, at: float) -> float:
    """Return a time on a call's clock in seconds since 1970."""
    return time.time() - max(_now(source) - at, 0.0)
