"""Which turn asked for a response: one request at a time, the others wait; it sends nothing itself."""

from __future__ import annotations

from collections import deque

from rtnb.dialects import Json
from rtnb.turnstate import TurnState

__all__ = ["RequestBook"]


class RequestBook:
    """The ``response.create`` events of a conversation: those on the wire, and those that wait.

    A request belongs to a turn, or to none where the user made it by hand between turns.
    """

    def __init__(self) -> None:
        self._asked: deque[tuple[str, TurnState | None]] = deque()
        self._waiting: deque[tuple[TurnState, Json]] = deque()

    @property
    def open(self) -> bool:
        """Whether a request is on the wire and not answered."""
        return bool(self._asked)

    @property
    def first(self) -> TurnState | None:
        """The turn of the oldest request on the wire."""
        return self._asked[0][1] if self._asked else None

    def ask(self, event_id: str, turn: TurnState | None) -> None:
        """Take note of a request that is on its way to the server."""
        self._asked.append((event_id, turn))

    def wait(self, turn: TurnState, response: Json, *, first: bool = False) -> None:
        """Let a request wait until none is open; `first` puts it before the others."""
        if first:
            self._waiting.appendleft((turn, response))
        else:
            self._waiting.append((turn, response))

    def next_waiting(self) -> tuple[TurnState, Json] | None:
        """Return the next request that waits, and let it go; None while one is open."""
        return self._waiting.popleft() if self._waiting and not self._asked else None

    def answered(self) -> TurnState | None:
        """Take the oldest request as answered, and return its turn."""
        _, turn = self._asked.popleft()
        if turn is not None:
            turn.pending -= 1
        return turn

    def refused(self, event_id: str) -> tuple[bool, TurnState | None]:
        """Take a request as refused; return whether it was one, and its turn."""
        for request in self._asked:
            if request[0] == event_id:
                self._asked.remove(request)
                return True, request[1]
        return False, None

    def withdraw(self, turn: TurnState) -> int:
        """Forget the requests of a turn that never reached the wire; return how many."""
        mine = [r for r in self._asked if r[1] is turn and turn.requested is None]
        for request in mine:
            self._asked.remove(request)
            turn.pending -= 1
        return len(mine)

    def drop_waiting(self, turn: TurnState) -> None:
        """Forget the requests of a turn that wait."""
        self._waiting = deque(w for w in self._waiting if w[0] is not turn)

    def drop(self, turn: TurnState) -> None:
        """Forget all requests of a turn: it is over, and must not keep others from asking."""
        self._asked = deque(r for r in self._asked if r[1] is not turn)
        self.drop_waiting(turn)
