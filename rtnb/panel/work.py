"""Threads of a panel: what a click starts, and what keeps the widgets up to date; it knows neither.

A widget's callback runs on a thread that the kernel needs, so it only hands over.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

from rtnb._masking import mask
from rtnb.errors import RtnbError

__all__ = ["Refreshed", "Refresher", "Worker"]

logger = logging.getLogger(__name__)


class Worker:
    """Runs one thing after another in threads of its own, and tells what went wrong.

    Parameters
    ----------
    failed
        Takes the error of what was run.
    """

    def __init__(self, failed: Callable[[Exception], None]):
        self._failed = failed
        self._lock = threading.Lock()
        self.doing: str | None = None

    def start(self, what: str, work: Callable[[], None], *, alone: bool = True) -> bool:
        """Run `work` in a thread; return False where something else is being done.

        Parameters
        ----------
        what
            What it is, for the status line.
        work
            What to do.
        alone
            False lets it run beside others, and unnamed, as interrupting must.
        """
        with self._lock:
            if alone and self.doing is not None:
                return False
            if alone:
                self.doing = what
        name = f"rtnb-panel-{what.split()[0].lower()}"
        thread = threading.Thread(target=self._run, args=(work, alone), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is to be had, or the interpreter ends
            self._end(alone)
            return False
        return True

    def _run(self, work: Callable[[], None], alone: bool) -> None:
        try:
            work()
        except RtnbError as error:
            self._failed(error)
        except Exception as error:  # a thread has nobody else to tell
            logger.debug("a panel's work failed", exc_info=True)
            self._failed(RuntimeError(f"{type(error).__name__}: {mask(str(error))}"))
        finally:
            self._end(alone)

    def _end(self, alone: bool) -> None:
        if alone:
            with self._lock:
                self.doing = None


class Refreshed(Protocol):
    """What a `Refresher` keeps up to date."""

    def refresh(self) -> float | None:
        """Bring everything up to date; return seconds until the next time, None for on demand."""


class Refresher:
    """Calls `refresh` when asked to, and again when it said so; ends with its owner.

    Parameters
    ----------
    owner
        It is not kept alive.
    """

    def __init__(self, owner: Refreshed):
        self._owner = weakref.ref(owner, lambda _: self.stop())
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="rtnb-panel-refresh", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Let it refresh at once."""
        self._wake.set()

    def stop(self) -> None:
        """Let it refresh no more."""
        self._stopped = True
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait until it has ended, unless it is the one that asks."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        wait: float | None = 0.0
        while not self._stopped:
            self._wake.wait(wait)
            self._wake.clear()
            if self._stopped or (owner := self._owner()) is None:
                return
            try:
                wait = owner.refresh()
            except Exception:  # a widget that is gone must not end the others' updates
                logger.debug("a panel could not be refreshed", exc_info=True)
                wait = 1.0
            del owner
