"""Does jobs that place calls, several at once, and ends them all together; it knows no batch.

Each job runs in a thread. An interrupt, or an error that a job lets through, hangs up every call that
a job has begun, so that nothing goes on unseen.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from rtnb.connecting import Waiting, watched_by
from rtnb.errors import CallClosedError
from rtnb.session import Session

__all__ = ["together"]

_LOOK_EVERY: Final = 0.2  # seconds; where a wait cannot be interrupted, one is felt within this
_GOODBYE: Final = 9.0  # seconds that all calls may take to hang up
_REASON: Final = "the batch was ended"


def together(do: Callable[[int], None], jobs: int, *, at_once: int) -> None:
    """Do jobs 0 to ``jobs - 1``, and return when all are done.

    Parameters
    ----------
    do
        Does the job of a number, on a thread.
    jobs
        How many there are; they begin in order.
    at_once
        How many may go on at once.

    Raises
    ------
    BaseException
        What a job raised, or an interrupt; all calls are hung up then.
    """
    crew = _Crew(do, jobs)
    threads = [
        # a daemon, and with the context of who waits: which cell runs, where progress is shown
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(crew.work,),
            name="rtnb-batch",
            daemon=True,
        )
        for _ in range(min(at_once, jobs))
    ]
    try:
        for thread in threads:
            thread.start()
        while crew.error is None and any(thread.is_alive() for thread in threads):
            crew.changed.wait(_LOOK_EVERY)
            crew.changed.clear()
        if crew.error is not None:
            raise crew.error
    except BaseException:
        crew.stop()
        deadline = time.monotonic() + _GOODBYE
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(deadline - time.monotonic(), 0.0))
        raise


class _Crew:
    """What the threads share.

    Attributes
    ----------
    error : BaseException or None
        What the first job that failed raised.
    changed : threading.Event
        Set when a thread is about to end.
    """

    def __init__(self, do: Callable[[int], None], jobs: int):
        self.error: BaseException | None = None
        self.changed = threading.Event()
        self._do = do
        self._left: Iterator[int] = iter(range(jobs))
        self._sessions: list[Session] = []
        self._over = False
        self._lock = threading.Lock()

    def work(self) -> None:
        """Do one job after the other until none is left."""
        try:
            with watched_by(self._begun):
                while (number := self._next()) is not None:
                    self._do(number)
        except BaseException as error:  # who waits raises it
            if not self._over:
                self.error = self.error or error
        finally:
            self.changed.set()

    def stop(self) -> None:
        """Begin no more jobs, and hang up all calls, each in a thread: one may hang."""
        with self._lock:
            self._over = True
            sessions, self._sessions = self._sessions, []
        for session in sessions:
            threading.Thread(
                target=session.close, args=(_REASON,), name="rtnb-hang-up", daemon=True
            ).start()

    def _next(self) -> int | None:
        with self._lock:
            return None if self._over else next(self._left, None)

    def _begun(self, waiting: Waiting) -> None:
        session = waiting.session
        with self._lock:
            if self._over:
                raise CallClosedError(f"The call was not placed: {_REASON}.")
            if session is not None:
                going_on = [one for one in self._sessions if one.state != "closed"]
                self._sessions = [*going_on, session]
