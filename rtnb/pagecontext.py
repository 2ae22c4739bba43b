"""The context in which a thread publishes to a page; it must not know what is published.

ipykernel 7 serves a widget's messages on the subshell whose message the widget last answered, and
on the main thread, which waits for the running cell, after it has published in any other context.
A thread that answers a page therefore publishes in the context of the page's last message. A page
that is gone takes its subshell along, so the context is a lease: each message renews it, and it is
given back when no message has come for a while. What is published then is so in the context of the
cell that made the widget, which is served on the main thread: a thread without any publishes in
that of the last message of all, which may be of a page that is gone. Earlier kernels have no
subshells; there the context changes nothing.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["LEASE", "PageContext"]

LEASE: Final = 30.0  # seconds for which the context of a message is used
_T = TypeVar("_T")


class PageContext:
    """The context of a page's last message, kept for as long as the page can be there.

    It may be used from several threads at once. It is to be made where the widget is.

    Parameters
    ----------
    lease
        Seconds for which the context of a message is used.
    """

    def __init__(self, lease: float = LEASE):
        self._lock = threading.Lock()
        self._seconds = lease
        self._cell = contextvars.copy_context()
        self._context: contextvars.Context | None = None
        self._heard = False
        self._until = 0.0

    def heard(self) -> None:
        """Keep the current context, which is that of a message of the page, and renew the lease."""
        context = contextvars.copy_context()
        with self._lock:
            self._context = context
            self._heard = True
            self._until = time.monotonic() + self._seconds

    def run(self, change: Callable[[], _T]) -> _T:
        """Call `change` in the context of the page's last message, while the lease holds.

        Parameters
        ----------
        change
            What publishes. When the lease is out it is called in the context in which this was made,
            and before there was any message plainly.

        Returns
        -------
        object
            What `change` returns; what it raises passes through.
        """
        with self._lock:
            leased = time.monotonic() < self._until
            context = self._context if leased and self._context is not None else self._cell
            heard = self._heard
        if not heard:  # nothing is to be given back, and what is shown goes to the cell that runs
            return change()
        return context.copy().run(change)  # a context itself can be entered once at a time

    def rest(self, *, over: bool = False) -> bool:
        """Give the context back when the lease is out.

        Whoever gets True publishes something once more with `run`: only then is what the page says
        next served on the main thread.

        Parameters
        ----------
        over
            Nothing more will be published: give the context back even though the lease holds.

        Returns
        -------
        bool
            Whether a context was given back.
        """
        with self._lock:
            if self._context is None or (not over and time.monotonic() < self._until):
                return False
            self._context = None
            return True
