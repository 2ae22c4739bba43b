"""Which sessions live, and which cell made them; it must not know what a session does."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from typing import Final, Protocol

from rtnb._notebook import cell_run

__all__ = ["RERUN", "enroll", "leave", "live"]

RERUN: Final = "its cell was run again"


class _Closable(Protocol):
    def close(self, reason: str = ...) -> None: ...


_owner: Final = os.getpid()
_lock: Final = threading.Lock()
_live: Final[dict[int, tuple[_Closable, tuple[str, str] | None]]] = {}
_others: Final[set[int]] = set()  # ids of what lives and is no session


def enroll(session: _Closable, *, listed: bool = True) -> None:
    """Remember a session, and close those that an earlier run of the same cell made.

    Parameters
    ----------
    session
        A session, or what is to be closed like one.
    listed
        Whether `live` names it.
    """
    cell = cell_run()
    with _lock:
        atexit.unregister(_close_all)
        atexit.register(_close_all)  # last registered, first called: before the engine's end
        stale = [
            one
            for one, made in _live.values()
            if cell is not None and made is not None and made[0] == cell[0] and made[1] != cell[1]
        ]
        _live[id(session)] = (session, cell)
        if not listed:
            _others.add(id(session))
    _close(stale, RERUN)


def leave(session: _Closable) -> None:
    """Forget a session that is closed."""
    with _lock:
        _live.pop(id(session), None)
        _others.discard(id(session))


def live() -> list[_Closable]:
    """Return the sessions that are not closed, oldest first."""
    with _lock:
        return [session for key, (session, _) in _live.items() if key not in _others]


def _close_all() -> None:
    if os.getpid() != _owner:
        return  # a forked child must not end its parent's calls
    with _lock:
        everything = [session for session, _ in _live.values()]
    _close(everything, "the program ended")


def _close(sessions: list[_Closable], reason: str) -> None:
    with contextlib.ExitStack() as all_of_them:  # also where one of them fails
        for session in reversed(sessions):
            all_of_them.callback(session.close, reason)
