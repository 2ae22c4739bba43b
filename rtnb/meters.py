"""How loud a call is and was, both ways, from the levels of its 20 ms windows; it knows no session."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from rtnb.measure import AUDIBLE_LEVEL

__all__ = ["STEP", "Meter"]

STEP: Final = 0.02  # seconds of one window
_RECENT: Final = 5  # windows that make the present level
_KEPT: Final = 1500  # windows, 30 s


class Meter:
    """One side's level, and how long it was audible.

    Attributes
    ----------
    audible : float
        Seconds of audible windows so far.
    end : float
        Seconds on the call's clock up to which it knows.
    """

    def __init__(self) -> None:
        self.audible = 0.0
        self.end = 0.0
        self._recent: deque[float] = deque(maxlen=_KEPT)

    def take(self, levels: Sequence[float], end: float) -> None:
        """Take the levels in dBFS of the windows up to `end`, in seconds."""
        self.audible += STEP * sum(level > AUDIBLE_LEVEL for level in levels)
        self._recent.extend(levels)
        self.end = end

    @property
    def level(self) -> float:
        """The loudest of the last 100 ms in dBFS; ``-inf`` for silence."""
        recent = list(self._recent)[-_RECENT:]
        return max(recent, default=float("-inf"))

    def since(self, start: float) -> list[float]:
        """Return the levels in dBFS from `start` on, one every 20 ms; of the last 30 s only."""
        count = max(round((self.end - start) / STEP), 0)
        return list(self._recent)[-count:] if count else []
