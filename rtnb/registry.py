"""Which sessions live, and which cell made them; it must not know what a session does."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Final, Protocol

from rtnb._notebook import cell_run

__all__ = ["enroll", "leave", "live"]


class _Closable(Protocol):
    def close(self, reason: str = ...) -> None: ...


_owner: Final = os.getpid()
_lock: Final = threading.Lock()
_live: Final[dict[int, tuple[_Closable, tuple[str, str] | None]]] = {}


def enroll(session: _Closable) -> None:
    """Remember a session, and close those that an earlier run of the same cell made."""
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
    for one in stale:
        one.close("its cell was run again")


def leave(session: _Closable) -> None:
    """Forget a session that is closed."""
    with _lock:
        _live.pop(id(session), None)


def live() -> list[_Closable]:
    """Return the sessions that are not closed, oldest first."""
    with _lock:
        return [session for session, _ in _live.values()]


def _close_all() -> None:
    if os.getpid() != _owner:
        return  # a forked child must not end its parent's calls
    for session in live():
        session.close("the program ended")
