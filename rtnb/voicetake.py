"""Takes: what was said between two clicks, and waiting for it; it must not know widgets or calls."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np

from rtnb.audio import CALL_SAMPLE_RATE, Clip
from rtnb.voiceupload import Chunk

__all__ = ["LONGEST_TAKE", "Take", "Takes"]

LONGEST_TAKE: Final = 600.0  # seconds
_EXACT: Final = 1e-6  # seconds that sums may be off


class Take:
    """What was said between two clicks; what is beyond `LONGEST_TAKE` is left out.

    Parameters
    ----------
    name
        Names it.

    Attributes
    ----------
    duration : float
        Seconds that have come.
    over : bool
        Whether the page has said that it is over.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.duration = 0.0
        self.over = False
        self._parts: list[tuple[int, bytearray]] = []
        self._gaps: list[tuple[float, float]] = []

    def add(self, chunk: Chunk, missing: int) -> None:
        """Add a chunk, and silence for those before it that are missing."""
        gap = missing * chunk.duration if self._parts else 0.0
        if self.duration + gap + chunk.duration > LONGEST_TAKE:
            self.over = True
            return
        if not self._parts or self._parts[-1][0] != chunk.sample_rate:
            self._parts.append((chunk.sample_rate, bytearray()))
        samples = self._parts[-1][1]
        if gap:
            self._gaps.append((self.duration, self.duration + gap))
            samples.extend(bytes(missing * len(chunk.samples)))
        samples.extend(chunk.samples)
        self.duration += gap + chunk.duration

    def short(self, duration: float) -> bool:
        """Return whether less than so many seconds have come."""
        return self.duration < duration - _EXACT

    def clip(self, duration: float | None = None) -> Clip:
        """Return it at 48 kHz, what was lost marked as gaps; cut to `duration` seconds if given."""
        parts = [
            Clip(np.frombuffer(bytes(pcm), np.int16), rate).resample(CALL_SAMPLE_RATE).samples
            for rate, pcm in self._parts
        ]
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        end = self.duration if duration is None else duration
        gaps = [(start, min(stop, end)) for start, stop in self._gaps if start < end]
        return Clip(samples[: round(end * CALL_SAMPLE_RATE)], CALL_SAMPLE_RATE, gaps=gaps)


class Takes:
    """The take that was begun last, shared by who records and who waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._made = 0
        self.last: Take | None = None

    def begin(self) -> Take:
        """Begin a take that the kernel wants; the one before is forgotten."""
        with self._changed:
            self._made += 1
            self.last = Take(f"kernel-{self._made}")
            return self.last

    def add(self, chunk: Chunk, missing: int) -> None:
        """Add a chunk to the take that it is part of."""
        if chunk.take:
            with self._changed:
                self._named(chunk.take).add(chunk, missing)
                self._changed.notify_all()

    def mark(self, name: str, *, over: bool) -> None:
        """Note that the page has begun a take, or ended it."""
        with self._changed:
            self._named(name).over = over
            self._changed.notify_all()

    def _named(self, name: str) -> Take:
        if self.last is None or self.last.name != name:
            self.last = Take(name)
        return self.last

    def wait(self, take: Take, duration: float, patience: float) -> bool:
        """Wait until so many seconds of a take have come, or it is over.

        Parameters
        ----------
        take
            The take.
        duration
            Seconds.
        patience
            Seconds to wait for more of it.

        Returns
        -------
        bool
            False when nothing more came in time.
        """
        with self._changed:
            while not take.over and take.short(duration):
                before = take.duration
                if not self._changed.wait(patience) and take.duration == before:
                    return take.over
            return True

    def clip(self, take: Take, duration: float | None = None) -> Clip:
        """Return what has come of a take; see `Take.clip`."""
        with self._changed:
            return take.clip(duration)
