"""`VoicePage`: the page of a microphone as the kernel hears it; it must not know calls or takes.

What the page says comes on a comm of its own, on which only answers go out, each where the message
is handled. So ipykernel 7 serves it on the page's own thread, which no running cell keeps busy;
earlier kernels serve it between cells.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

import ipywidgets as widgets

from rtnb.pagecontext import PageContext
from rtnb.voiceupload import Arrivals, Chunk, Said, understood

__all__ = ["LEASE", "VoicePage"]

logger = logging.getLogger(__name__)

LEASE: Final = 15.0  # seconds after which a page that says nothing is taken to be gone
_LOOK: Final = 2.0  # seconds between two looks whether it is
_TOGETHER: Final = 10  # chunks that are acknowledged together


class _Upload(widgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """The page's way to the kernel: a comm on which only answers go out."""


class VoicePage:
    """Takes what the page sends, acknowledges it, and hands it on; nothing it says raises.

    Of several pages that show the same microphone the one that was started last is heard.

    Parameters
    ----------
    on_chunk
        Takes a chunk, how many before it are missing, and when it was captured in monotonic
        seconds; called on the thread on which the kernel serves the page.
    on_word
        Takes all else that matters.
    greeting
        Returns what a page is told when it says hello.

    Attributes
    ----------
    arrivals : Arrivals
        What has come.
    """

    def __init__(
        self,
        on_chunk: Callable[[Chunk, int, float | None], None],
        on_word: Callable[[Said], None],
        greeting: Callable[[], dict[str, Any]],
    ):
        self.arrivals = Arrivals()
        self.lock = threading.Lock()  # of the arrivals
        self._on_chunk, self._on_word, self._greeting = on_chunk, on_word, greeting
        self._page: str | None = None  # the one that is heard
        self._started = False
        self._since = 0
        self._heard = float("-inf")
        self._closed = False
        self._context = PageContext(LEASE)
        self._wake = threading.Event()
        self._watcher: threading.Thread | None = None
        self._way = _Upload()
        self._way.on_msg(self.hear)

    @property
    def model_id(self) -> str:
        """Names the way in the page."""
        return str(self._way.model_id)

    @property
    def live(self) -> bool:
        """Whether a page has the microphone, as far as the kernel has heard."""
        return self._started and self.silent < LEASE

    @property
    def silent(self) -> float:
        """Seconds since the page has said anything."""
        return time.monotonic() - self._heard

    def hear(self, way: widgets.Widget, content: object, buffers: object) -> None:
        """Take a message of the page; one that is not understood is left alone."""
        said = understood(content, buffers)
        if said is None or self._closed:
            return
        self._context.heard()
        self._heard = time.monotonic()
        self._watch()
        try:
            self._take_chunk(way, said) if isinstance(said, Chunk) else self._take_word(way, said)
        except Exception:  # the page must be served whatever a call does
            logger.debug("what a microphone said was not carried out", exc_info=True)

    def _take_word(self, way: widgets.Widget, said: Said) -> None:
        answer: dict[str, Any] = {"kind": "ack"}
        if said.kind == "hello":
            answer = {"kind": "hello", "buffers": said.probe, **self._greeting()}
        elif said.kind == "start":
            self._page, self._started = said.page, True
        elif said.page == self._page:
            self._follow(said)
        if said.kind == "gone":
            if self._page in (None, said.page):
                self._heard = float("-inf")
                self._wake.set()  # what goes out then is the last word: "gone" is not answered
            return
        with self.lock:
            number = self.arrivals.upto(said.page)
        way.send({**answer, "page": said.page, "number": number, "at": time.time()})

    def _follow(self, said: Said) -> None:
        if said.kind in ("stop", "gone"):
            self._started = False
        self._on_word(said)

    def _take_chunk(self, way: widgets.Widget, chunk: Chunk) -> None:
        if self._page is None:  # the kernel has not heard the beginning
            self._page, self._started = chunk.page, True
        if chunk.page != self._page:
            way.send({"kind": "elsewhere", "page": chunk.page})
            return
        for one in chunk.apart() if chunk.count > 1 else [chunk]:
            with self.lock:
                found = self.arrivals.take(one, time.time(), time.monotonic())
            if found is not None:
                self._on_chunk(one, *found)
        self._since += chunk.count
        if self._since >= _TOGETHER:
            self._since = 0
            answer = {"kind": "ack", "page": chunk.page, "number": chunk.number + chunk.count - 1}
            way.send({**answer, "at": time.time()})

    def close(self) -> None:
        """Hear nothing more, and end the way."""
        self._closed, self._started = True, False
        self._wake.set()
        with contextlib.suppress(Exception):  # the kernel may be going down
            self._way.close()

    # --- the page's thread, which is given back when the page is gone -------------------------------

    def _watch(self) -> None:
        if self._watcher is None or not self._watcher.is_alive():
            self._wake.clear()
            self._watcher = threading.Thread(
                target=_watch,
                args=[weakref.ref(self), self._wake],
                name="rtnb-microphone",
                daemon=True,
            )
            self._watcher.start()

    def _over(self) -> bool:
        """Give the page's thread back if the page is gone, and return whether it is."""
        gone = self._closed or self._heard == float("-inf")
        if not self._context.rest(over=gone):
            return gone
        if not self._closed:
            # what comes next is served on the main thread
            self._context.run(lambda: self._way.send({"kind": "rest"}))
        return True


def _watch(me: weakref.ref[VoicePage], wake: threading.Event) -> None:
    """Look after a microphone's page until that is gone."""
    while True:
        wake.wait(_LOOK)
        wake.clear()
        page = me()
        try:
            if page is None or page._over():
                return
        except Exception:  # the kernel is going down
            logger.debug("a microphone's page could not be given back", exc_info=True)
            return
        del page
