"""How the voices' names differ: pitch, timbre and speed of a recording; it must not know words."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from rtnb.audio import CALL_SAMPLE_RATE

if TYPE_CHECKING:
    import av

__all__ = ["PITCHES", "pitch_of", "shaped"]

Samples = npt.NDArray[np.float32]

PITCHES: Final = {
    "cedar": 0.72,
    "echo": 0.77,
    "ash": 0.82,
    "ballad": 0.88,
    "verse": 0.94,
    "marin": 1.0,
    "alloy": 1.07,
    "sage": 1.15,
    "coral": 1.23,
    "shimmer": 1.32,
}
"""Pitch of each voice relative to the recordings, whose voice is marin's."""

_MOST: Final = 2.0  # what one atempo filter may do without leaving samples out
_AFTER: Final = CALL_SAMPLE_RATE // 5


def pitch_of(voice: str) -> float:
    """Return the pitch of a voice relative to the recordings; every other name has one of these."""
    if voice in PITCHES:
        return PITCHES[voice]
    place = int.from_bytes(hashlib.sha256(voice.encode("utf-8", "replace")).digest()[:4], "big")
    return tuple(PITCHES.values())[place % len(PITCHES)]


def shaped(samples: Samples, pitch: float, speed: float) -> Samples:
    """Change pitch, with the timbre, and speed of a recording, independently of each other.

    Parameters
    ----------
    samples
        Mono 48,000 Hz, shape (n,).
    pitch
        Ratio of the new frequencies to the old ones, 0.5 to 2.
    speed
        Ratio of the old duration to the new one, 0.25 to 4.

    Returns
    -------
    numpy.ndarray
        Mono 48,000 Hz, ``n / speed`` samples to the nearest one.
    """
    if (pitch == 1.0 and speed == 1.0) or not len(samples):
        return samples
    import av.filter

    # played at another rate it has the pitch and another duration, which atempo makes good
    rate = round(CALL_SAMPLE_RATE * pitch)
    padded = np.pad(samples, (0, _AFTER))[np.newaxis]  # atempo leaves out up to 0.1 s at the end
    frame = av.AudioFrame.from_ndarray(padded, format="fltp", layout="mono")
    frame.sample_rate = rate
    graph = av.filter.Graph()
    filters = [
        graph.add_abuffer(sample_rate=rate, format="fltp", layout="mono", time_base=None),
        graph.add("aresample", str(CALL_SAMPLE_RATE)),
        *(graph.add("atempo", f"{tempo:.6f}") for tempo in _tempos(speed / pitch)),
        graph.add("aformat", "sample_fmts=fltp:channel_layouts=mono"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*filters).configure()
    graph.push(frame)
    graph.push(None)
    return _fitted(_pulled(graph), round(len(samples) / speed))


def _tempos(tempo: float) -> list[float]:
    """Return factors that one filter each can do."""
    count = math.ceil(abs(math.log(tempo, _MOST)))
    return [tempo ** (1 / count)] * count


def _pulled(graph: av.filter.Graph) -> Samples:
    """Return all that comes out of a graph whose input has ended."""
    import av

    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray()[0])
        except (av.EOFError, av.BlockingIOError):
            return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _fitted(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(length - len(samples), 0))).astype(np.float32)
