"""Push to talk: what is said before a turn is open waits for it; it must not know widgets."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Hold", "Kept", "Piece"]

logger = logging.getLogger(__name__)

_WAITING: Final = 500  # pieces that wait until the turn is held open: 10 s
_LOOK: Final = 1.0  # seconds between two looks whether the page is there
_BEFORE: Final = 15.0  # seconds for the press before this one

Piece = dict[str, Any]
"The arguments of `VoiceSink.feed`."


class Kept:
    """What is said while a turn is being opened.

    Parameters
    ----------
    feed
        Takes each piece once the turn is open.
    """

    def __init__(self, feed: Callable[[Piece], None]):
        self._to = feed
        self._lock = threading.Lock()
        self._waiting: deque[Piece] | None = deque(maxlen=_WAITING)
        self._over = False

    def feed(self, piece: Piece) -> None:
        """Feed a piece, or let it wait."""
        with self._lock:
            if self._over:
                return
            if self._waiting is None:
                self._to(piece)
            else:
                self._waiting.append(piece)

    def open(self) -> None:
        """Feed what waits, and all that comes from now on."""
        with self._lock:
            for piece in self._waiting or ():
                self._to(piece)
            self._waiting = None

    def shut(self) -> None:
        """Feed nothing more."""
        with self._lock:
            self._over, self._waiting = True, None


class Hold:
    """Holds a turn open from a press to its release; what is said before it is open waits.

    Parameters
    ----------
    hold
        Makes the context manager that holds a turn open.
    feed
        Takes each piece once the turn is open.
    pause
        Called when nothing more comes.
    failed
        Takes what went wrong.
    lost
        Tells whether the page is gone, so that no release can come.
    before
        The press before this one, which ends first.
    """

    def __init__(
        self,
        hold: Callable[[], contextlib.AbstractContextManager[Any]],
        feed: Callable[[Piece], None],
        pause: Callable[[], None],
        *,
        failed: Callable[[Exception], None],
        lost: Callable[[], bool],
        before: Hold | None = None,
    ):
        self._hold, self._pause = hold, pause
        self._failed, self._lost = failed, lost
        self._kept = Kept(feed)
        self._released = threading.Event()
        self._before = before
        self._thread = threading.Thread(target=self._run, name="rtnb-push-to-talk", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def feed(self, piece: Piece) -> None:
        """Feed a piece, or let it wait."""
        self._kept.feed(piece)

    def release(self) -> None:
        """Let go: what has come until now is still fed."""
        self._released.set()

    def join(self, timeout: float) -> None:
        """Wait until it has ended."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        if self._before is not None:
            self._before.join(_BEFORE)
            self._before = None
        try:
            with self._hold():
                self._kept.open()
                while not self._released.wait(_LOOK) and not self._lost():
                    pass
                self._kept.shut()
                self._pause()
        except Exception as error:  # a thread has nobody else to tell
            logger.debug("push-to-talk failed", exc_info=True)
            self._failed(error)
        finally:
            self._kept.shut()
