"""How long a call may last, and what counts as idle; it must not know how a call is ended."""

from __future__ import annotations

__all__ = ["Limits"]


class Limits:
    """The limits of one call.

    Parameters
    ----------
    duration
        Seconds from ``connect()`` that it may last; None for ever.
    idle
        Seconds that may pass without a turn; None for any number.
    """

    def __init__(self, duration: float | None, idle: float | None):
        self._duration = duration
        self._idle = idle
        self._active = 0.0  # when a turn was last in progress

    def passed(self, now: float, *, busy: bool) -> str | None:
        """Return why the call is to be closed now, or None.

        Parameters
        ----------
        now
            Seconds on the call's clock.
        busy
            Whether a turn is in progress.
        """
        self._active = now if busy else self._active
        if self._duration is not None and now > self._duration:
            return f"max_duration of {self._duration:g} s reached"
        if self._idle is not None and now - self._active > self._idle:
            return f"idle for {self._idle:g} s (idle_close)"
        return None
