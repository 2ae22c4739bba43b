"""Where in a piece of audio something is to be heard; it must not know what."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["audible", "audible_seconds"]

S16 = npt.NDArray[np.int16]

_RATE: Final = 48_000
_BLOCK: Final = 480  # 10 ms
_QUIET: Final = 32768 * 10 ** (-55 / 20)
_MARGIN_BLOCKS: Final = 5


def audible(samples: S16) -> S16:
    """Return the samples without the silence around them; all of them if nothing is audible."""
    loud = _loud(samples)
    if not len(loud):
        return samples
    first = max(int(loud[0]) - _MARGIN_BLOCKS, 0)
    return samples[first * _BLOCK : (int(loud[-1]) + 1 + _MARGIN_BLOCKS) * _BLOCK]


def audible_seconds(samples: S16) -> float:
    """Return the time from the first to the last that is audible, to 10 ms; 0 for silence."""
    loud = _loud(samples)
    return float(loud[-1] + 1 - loud[0]) * _BLOCK / _RATE if len(loud) else 0.0


def _loud(samples: S16) -> npt.NDArray[np.intp]:
    blocks = samples[: len(samples) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float32)
    return np.flatnonzero(np.einsum("ij,ij->i", blocks, blocks) > _BLOCK * _QUIET**2)
