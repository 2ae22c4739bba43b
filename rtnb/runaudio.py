"""Reads audio and losses out of a run folder, also while it is written; it must not know turns."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np

from rtnb.audio import CALL_SAMPLE_RATE, Clip
from rtnb.runfiles import AUDIO, PACKETS, WAV_HEADER

__all__ = ["RunAudio", "Side"]

Side = Literal["sent", "heard"]

_BLOCK: Final = 4  # bytes of one stereo sample


class RunAudio:
    """The two channels of a run's audio.wav, by seconds on the call's clock.

    Parameters
    ----------
    folder
        The run folder.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    @property
    def duration(self) -> float:
        """Seconds that are on disk."""
        try:
            size = (self._folder / AUDIO).stat().st_size
        except OSError:
            return 0.0
        return max(size - WAV_HEADER, 0) // _BLOCK / CALL_SAMPLE_RATE

    def clip(self, side: Side, start: float = 0.0, end: float | None = None) -> Clip:
        """Return a stretch of one side; what is not on disk (yet) is left out."""
        end = self.duration if end is None else min(end, self.duration)
        first = max(round(start * CALL_SAMPLE_RATE), 0)
        count = max(round(end * CALL_SAMPLE_RATE) - first, 0)
        if not count:
            return Clip(np.zeros(0, np.float32), CALL_SAMPLE_RATE)
        raw = np.fromfile(
            self._folder / AUDIO, "<i2", count * 2, offset=WAV_HEADER + first * _BLOCK
        )
        channel = raw[: len(raw) // 2 * 2].reshape(-1, 2)[:, 0 if side == "sent" else 1]
        gaps = self._gaps(first, first + count) if side == "heard" else []
        return Clip(channel, CALL_SAMPLE_RATE, gaps=gaps)

    def _gaps(self, first: int, last: int) -> list[tuple[float, float]]:
        """Return the lost stretches between two samples, in seconds from the first."""
        out: list[tuple[float, float]] = []
        for start, end in self._lost():
            a, b = max(start, first), min(end, last)
            if a < b:
                out.append(((a - first) / CALL_SAMPLE_RATE, (b - first) / CALL_SAMPLE_RATE))
        return out

    def _lost(self) -> list[tuple[int, int]]:
        """Return the lost stretches of the call in samples, from packets.csv."""
        found: list[tuple[int, int]] = []
        try:
            with (self._folder / PACKETS).open(encoding="utf-8") as rows:
                for row in rows:
                    if row.startswith("lost,") and row.endswith("\n"):  # the last may be cut
                        # a lost row's size is the samples that are missing (see media.capture)
                        *_, size, position = row.rstrip("\n").split(",")
                        found.append((int(position), int(position) + int(size)))
        except (OSError, ValueError):
            return found
        return found
