"""The clock that RTP timestamps are laid on, and samples side by side; it must not know packets.

`StreamClock` places the timestamps of one stream on the call's clock, and `Timeline` holds what lies
on it until it is settled.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media.opus import SAMPLE_RATE

__all__ = ["SETTLING", "StreamClock", "Timeline"]

SETTLING: Final = 0.5  # seconds over which the least-delayed packet is looked for

_OPEN: Final = SAMPLE_RATE  # samples that lie ready; calls write what is older than 300 ms

S16 = npt.NDArray[np.int16]


class StreamClock:
    """Places the timestamps of one stream on a monotonic clock, and then never moves.

    The offset is taken from the least-delayed packet of the first 500 ms, and frozen.

    Attributes
    ----------
    first : float or None
        Time of the first packet seen.
    offset : float or None
        Seconds to add to ``timestamp / 48000``; None until it is frozen.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.offset: float | None = None
        self._best = float("inf")

    def observe(self, timestamp: int, time: float) -> None:
        """Take note of a packet with this timestamp at this time."""
        if self.offset is not None:
            return
        if self.first is None:
            self.first = time
        if time - self.first > SETTLING:
            self.offset = self._best
            return
        self._best = min(self._best, time - timestamp / SAMPLE_RATE)

    def settle(self, now: float) -> None:
        """Freeze when its time is over, though no further packet came to tell."""
        if self.first is not None and now - self.first > SETTLING:
            self.freeze()

    def freeze(self) -> None:
        """Settle now with what has been seen."""
        if self.offset is None and self.first is not None:
            self.offset = self._best

    def late(self, timestamp: int, time: float) -> float:
        """Return by how many seconds a time is after a timestamp's; the clock must be frozen."""
        assert self.offset is not None
        return time - self.offset - timestamp / SAMPLE_RATE

    def position(self, started: float) -> int:
        """Return the sample of timestamp 0, counted from `started`; the clock must be frozen."""
        assert self.offset is not None
        return round((self.offset - started) * SAMPLE_RATE)


class Timeline:
    """Channels of samples on one axis, written once a stretch is settled.

    Attributes
    ----------
    written : int
        The position up to which blocks have been handed out.
    late_samples : int
        Samples that came for a stretch already handed out.
    """

    def __init__(self, channels: int = 2) -> None:
        self.written = 0
        self.late_samples = 0
        self._open = np.zeros((_OPEN, channels), np.int16)  # what lies from `written` on
        self._laid = -(1 << 62)  # the position just after the last sample laid
        # what reaches further than that
        self._beyond: list[list[tuple[int, S16]]] = [[] for _ in range(channels)]

    def place(self, channel: int, position: int, samples: S16) -> S16:
        """Lay samples at a position, and return those that lie before `written`: they are late."""
        start = position - self.written
        cut = min(-start, len(samples)) if start < 0 else 0
        self.late_samples += cut
        if cut < len(samples):
            self._laid = max(self._laid, position + len(samples))
            self._lay(channel, position + cut, samples[cut:])
        return samples[:cut]

    def take(self, until: int) -> S16:
        """Return the samples from `written` to `until`, shape (n, channels); silence where none."""
        blocks = [self._open[:0].copy()]
        while self.written < until:
            blocks.append(self._advance(min(until - self.written, _OPEN)))
        return blocks[1] if len(blocks) == 2 else np.concatenate(blocks)

    def begin(self, position: int) -> None:
        """Set where the first block begins: not after anything that was laid so far."""
        self.written = position
        self._lay_what_was_beyond()

    def _advance(self, count: int) -> S16:
        block = self._open[:count].copy()
        used = min(max(self._laid - self.written, count), _OPEN)
        self._open[: used - count] = self._open[count:used]
        self._open[used - count : used] = 0
        self.written += count
        self._lay_what_was_beyond()
        return block

    def _lay_what_was_beyond(self) -> None:
        for channel, beyond in enumerate(self._beyond):
            if beyond:
                self._beyond[channel] = []
                for position, samples in beyond:
                    self._lay(channel, position, samples)

    def _lay(self, channel: int, position: int, samples: S16) -> None:
        """Lay samples that do not begin before `written`, as far as the open stretch reaches."""
        start = position - self.written
        fits = min(max(_OPEN - start, 0), len(samples))
        if fits:
            self._open[start : start + fits, channel] = samples[:fits]
        if fits < len(samples):
            self._beyond[channel].append((position + fits, samples[fits:]))

    @property
    def end(self) -> int:
        """The position just after the last sample laid."""
        return max(self.written, self._laid)
