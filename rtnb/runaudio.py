"""Reads audio and losses out of a run folder, also while it is written; it must not know turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from rtnb.audio import CALL_SAMPLE_RATE, Clip
from rtnb.clipview import Role
from rtnb.packets import PacketFile, Packets
from rtnb.quality import CallQuality, quality_of
from rtnb.runfiles import AUDIO, PACKETS, WAV_HEADER

__all__ = ["RunAudio", "Side"]

Side = Literal["sent", "heard"]

_ROLES: Final[dict[Side, Role]] = {"sent": "prompt", "heard": "reply"}
_BLOCK: Final = 4  # bytes of one stereo sample
_READ: Final = 1 << 16  # samples read at once: larger blocks leave the cache, and take longer
_WINDOW: Final = CALL_SAMPLE_RATE // 50  # samples of one level, 20 ms

Floats = npt.NDArray[np.float32]


class RunAudio:
    """The two channels of a run's audio.wav, by seconds on the call's clock.

    Parameters
    ----------
    folder
        The run folder.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._packets = PacketFile(folder / PACKETS)

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
        first, count = self._range(start, end)
        if not count:
            return Clip(np.zeros(0, np.float32), CALL_SAMPLE_RATE, role=_ROLES[side])
        channel = np.zeros(count, np.int16)
        for at, block in self._blocks(side, first, count):
            channel[at : at + len(block)] = block
        gaps = self._gaps(first, first + count) if side == "heard" else []
        return Clip(channel, CALL_SAMPLE_RATE, gaps=gaps, role=_ROLES[side])

    def envelope(
        self, side: Side, start: float = 0.0, end: float | None = None, *, columns: int = 2400
    ) -> tuple[Floats, Floats]:
        """Return the minimum and the maximum of each of at most `columns` equal parts of a stretch.

        The file is read in blocks: an hour takes no more memory than a second.

        Parameters
        ----------
        side
            ``"sent"`` or ``"heard"``.
        start, end
            Seconds on the call's clock; what is not on disk (yet) is left out.
        columns
            The most parts to make.

        Returns
        -------
        low, high : numpy.ndarray
            float32, shape (n,) with n <= `columns`, in [-1, 1]; n is 0 where nothing is on disk.
        """
        return self.envelopes([side], start, end, columns=columns)[side]

    def envelopes(
        self,
        sides: Sequence[Side],
        start: float = 0.0,
        end: float | None = None,
        *,
        columns: int = 2400,
    ) -> dict[Side, tuple[Floats, Floats]]:
        """Return the envelope of several sides, as `envelope` does; the file is read once."""
        first, count = self._range(start, end)
        edges = np.linspace(0, count, min(columns, count) + 1).astype(np.int64)[:-1]
        low = {side: np.full(len(edges), 32767, np.int16) for side in sides}
        high = {side: np.full(len(edges), -32768, np.int16) for side in sides}
        for at, both in self._both(first, count):
            one = np.searchsorted(edges, at, "right") - 1  # the column in which the block begins
            two = np.searchsorted(edges, at + len(both), "left")
            starts = np.maximum(edges[one:two] - at, 0)
            for side in sides:
                block = _channel(both, side)
                least, most = low[side][one:two], high[side][one:two]
                np.minimum(least, np.minimum.reduceat(block, starts), out=least)
                np.maximum(most, np.maximum.reduceat(block, starts), out=most)
        return {side: (_in_full_scale(low[side]), _in_full_scale(high[side])) for side in sides}

    def levels(self, side: Side, start: float = 0.0, end: float | None = None) -> Floats:
        """Return the RMS in dBFS of each 20 ms of a stretch; digital silence is -120.

        Parameters
        ----------
        side
            ``"sent"`` or ``"heard"``.
        start, end
            Seconds on the call's clock; what is not on disk (yet) is left out.

        Returns
        -------
        numpy.ndarray
            float32, shape (n,): whole windows only. The file is read in blocks.
        """
        first, count = self._range(start, end)
        power = []
        for _, block in self._blocks(side, first, count // _WINDOW * _WINDOW):
            rows = _in_full_scale(block).reshape(-1, _WINDOW)
            power.append(np.einsum("ij,ij->i", rows, rows) / _WINDOW)
        joined = np.concatenate(power) if power else np.zeros(0, np.float32)
        return np.asarray(10 * np.log10(np.maximum(joined, 1e-12)), np.float32)

    def gaps(self, start: float = 0.0, end: float | None = None) -> list[tuple[float, float]]:
        """Return the lost stretches of what was heard, as (start, end) on the call's clock."""
        first, count = self._range(start, end)
        offset = first / CALL_SAMPLE_RATE
        return [(a + offset, b + offset) for a, b in self._gaps(first, first + count)]

    def packets(self) -> Packets:
        """Return every packet that left and arrived, and those that are missing, so far."""
        return self._packets.packets()

    def quality(self, start: float = 0.0, end: float | None = None) -> CallQuality:
        """Return the pacing and the network quality of a stretch, in seconds on the call's clock."""
        return quality_of(self.packets(), start, float("inf") if end is None else end)

    def _range(self, start: float, end: float | None) -> tuple[int, int]:
        """Return the first sample of a stretch and how many of it are on disk."""
        duration = self.duration
        start, end = (_within(time, duration) for time in (start, duration if end is None else end))
        first = round(start * CALL_SAMPLE_RATE)
        return first, max(round(end * CALL_SAMPLE_RATE) - first, 0)

    def _blocks(
        self, side: Side, first: int, count: int
    ) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
        """Yield (position from the first sample, samples) of one side, a bounded block at a time."""
        for at, both in self._both(first, count):
            yield at, _channel(both, side)

    def _both(self, first: int, count: int) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
        """Yield (position from the first sample, samples of shape (n, 2)), block by block."""
        if not count:
            return
        size = _READ // _WINDOW * _WINDOW  # whole windows, for those who count in them
        with (self._folder / AUDIO).open("rb") as file:
            file.seek(WAV_HEADER + first * _BLOCK)
            for at in range(0, count, size):
                raw = np.frombuffer(file.read(min(size, count - at) * _BLOCK), "<i2")
                yield at, raw.reshape(-1, 2)

    def _gaps(self, first: int, last: int) -> list[tuple[float, float]]:
        """Return the lost stretches between two samples, in seconds from the first."""
        lost = self._packets.losses().clip(first, last)
        seen = lost[lost[:, 0] < lost[:, 1]]
        return [(a, b) for a, b in ((seen - first) / CALL_SAMPLE_RATE).tolist()]


def _within(time: float, duration: float) -> float:
    """Return a time as it is within a recording; one that is no number is its beginning."""
    return min(max(time, 0.0), duration) if time == time else 0.0


def _channel(both: npt.NDArray[np.int16], side: Side) -> npt.NDArray[np.int16]:
    """Return one side of a block, side by side in memory.

    Both samples of a time are one number, of which a half is kept: to take every other sample takes
    several times as long.
    """
    pairs = both.reshape(-1).view("<i4")
    return (pairs if side == "sent" else pairs >> 16).astype(np.int16)


def _in_full_scale(samples: npt.NDArray[np.int16]) -> Floats:
    """Return 16-bit samples as float32 in [-1, 1]."""
    return np.multiply(samples, 2**-15, dtype=np.float32)
