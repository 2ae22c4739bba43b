"""How steadily packets come: jitter and drift from timestamps and arrivals; it must not know why."""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["Transit"]

_SAMPLE_RATE: Final = 48_000
_GAIN: Final = 1 / 16  # RFC 3550 section 6.4.1
_JUMP: Final = 1.0  # seconds; more than this is a pause or a jump, not the network
_WINDOW: Final = 1.0  # seconds, of which the least-delayed packet counts
_WINDOWS: Final = 256  # kept at most; then two become one
_SHORTEST: Final = 10.0  # seconds of packets without which there is no telling a drift


class Transit:
    """The times that packets took, as far as both clocks tell, in bounded memory.

    Attributes
    ----------
    jitter : float or None
        Interarrival jitter as RFC 3550 section 6.4.1 has it, in seconds; None before the second
        packet. A pause or a jump of more than a second counts as no change.
    """

    def __init__(self) -> None:
        self.jitter: float | None = None
        self._last: float | None = None
        self._length = _WINDOW
        self._window_ends = float("-inf")
        self._least: list[tuple[float, float]] = []  # (arrival, lateness) of each window
        self._base = 0.0  # how late the segments before have become
        self._pauses = 0.0  # seconds between segments, which tell nothing
        self._resumed = False

    def arrived(self, timestamp: int, time: float) -> None:
        """Take note of a packet with this timestamp (48,000 Hz, not wrapped) at this time."""
        transit = time - timestamp / _SAMPLE_RATE
        if self._last is not None:
            change = abs(transit - self._last)
            jitter = self.jitter or 0.0
            self.jitter = jitter + ((change if change <= _JUMP else 0.0) - jitter) * _GAIN
        self._last = transit

    def placed(self, time: float, late: float) -> None:
        """Take note of a packet that came at a time, so many seconds later than its place."""
        if self._resumed:
            self._resumed = False
            self._pauses = time - self._window_ends
        late, time = late + self._base, time - self._pauses
        if time >= self._window_ends:
            self._open(time, late)
        elif late < self._least[-1][1]:
            self._least[-1] = (time, late)

    def resume(self) -> None:
        """Go on after a pause of unknown length: places are counted afresh."""
        if self._least:
            self._base = self._least[-1][1]
            self._resumed = True

    def _open(self, time: float, late: float) -> None:
        if len(self._least) == _WINDOWS:
            pairs = zip(self._least[::2], self._least[1::2], strict=True)
            self._least = [min(pair, key=lambda one: one[1]) for pair in pairs]
            self._length *= 2
        self._least.append((time, late))
        self._window_ends = time + self._length

    @property
    def drift(self) -> float | None:
        """Seconds by which the far clock gained (+) or lost (-) against ours so far.

        From the line through the least-delayed packets; None before there are ten seconds of them.
        """
        if not self._least or self._least[-1][0] - self._least[0][0] < _SHORTEST:
            return None
        times, lates = np.array(self._least).T
        slope = np.polyfit(times - times[0], lates, 1)[0]
        return float(-slope * (times[-1] - times[0]))
