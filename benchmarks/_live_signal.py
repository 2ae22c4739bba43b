"""Bursts that can be told apart wherever they are heard: a ruler for delays; it knows no call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

import rtnb

__all__ = ["PERIOD", "RATE", "Burst", "bursts", "delays", "ruler"]

RATE: Final = 48_000
PERIOD: Final = 0.25  # seconds from one burst to the next
LENGTH: Final = 0.08
CODES: Final = np.geomspace(400, 3200, 20)  # Hz; the same again after 5 s
LEVEL: Final = 0.25
FLOOR: Final = 10 ** (-58 / 20)  # noise between the bursts: silence to a listener, but no zeros
_LOUD: Final = 0.02
_WINDOW: Final = 960  # samples in which a tone is looked for
_HOP: Final = 240
_LEAST: Final = 3  # windows that one tone fills, as a gap may cut it
_AT_ONCE: Final = 2000
_AGAIN: Final = 1.0  # seconds within which the same tone is the same burst
_SKEW: Final = 0.1  # seconds by which a tap in the page may lag; the same tone is 5 s away

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Burst:
    """One burst as it was found.

    Attributes
    ----------
    time
        Of its onset, in seconds.
    code
        Which of the tones it is.
    """

    time: float
    code: int


def ruler(duration: float) -> rtnb.Clip:
    """Return a burst every `PERIOD`, over `duration` seconds."""
    samples = np.random.default_rng(6).normal(0.0, FLOOR, round(duration * RATE))
    time = np.arange(round(LENGTH * RATE)) / RATE
    shape = np.minimum(1, np.minimum(time, LENGTH - time) / 0.002)
    for number in range(int(duration / PERIOD)):
        at = round((number + 0.5) * PERIOD * RATE)
        tone = LEVEL * shape * np.sin(2 * np.pi * CODES[number % len(CODES)] * time)
        samples[at : at + len(tone)] += tone
    return rtnb.Clip(samples.astype(np.float32), RATE)


def bursts(samples: Floats, when: Callable[[float], float] = float) -> list[Burst]:
    """Find the bursts in mono samples of 48,000 Hz, by onset and tone.

    Parameters
    ----------
    samples
        Shape (n,).
    when
        Makes a time of a position in seconds; they are the same by default.
    """
    codes = _codes(samples)
    begins = np.flatnonzero(np.diff(codes, prepend=-1) != 0)
    ends = np.append(begins[1:], len(codes))
    found = []
    last = np.full(len(CODES), -np.inf)
    for begin, end in zip(begins, ends, strict=True):
        code, at = int(codes[begin]), begin * _HOP / RATE
        if code < 0 or end - begin < _LEAST:
            continue
        if at - last[code] > _AGAIN:  # else a gap has cut it in two
            found.append(Burst(when(_onset(samples, begin * _HOP) / RATE), code))
        last[code] = at
    return found


def _codes(samples: Floats) -> npt.NDArray[np.int64]:
    """Return which tone is heard in each 5 ms, -1 for none; silence between tones may be missing."""
    count = max(0, (len(samples) - _WINDOW) // _HOP + 1)
    codes = np.full(count, -1)
    for first in range(0, count, _AT_ONCE):
        numbers = np.arange(first, min(first + _AT_ONCE, count))
        parts = samples[numbers[:, None] * _HOP + np.arange(_WINDOW)]
        loud = np.abs(parts).max(axis=1) > _LOUD
        if not loud.any():
            continue
        power = np.abs(np.fft.rfft(parts[loud] * np.hanning(_WINDOW), 1 << 13)) ** 2
        peaks = power.argmax(axis=1) * RATE / (1 << 13)
        nearest = np.abs(np.log(np.maximum(peaks, 1.0)[:, None] / CODES)).argmin(axis=1)
        sure = np.abs(peaks / CODES[nearest] - 1) < 0.045
        codes[numbers[loud]] = np.where(sure, nearest, -1)
    return codes


def _onset(samples: Floats, at: int) -> int:
    """Return the first loud sample around the beginning of a tone; its own where others go before."""
    before = max(0, at - _WINDOW)
    loud = np.flatnonzero(np.abs(samples[before : at + 2 * _WINDOW]) > _LOUD)
    first = before + int(loud[0]) if len(loud) else at
    return first if first > before + _HOP else at + _WINDOW // 2


def delays(sources: Sequence[Burst], sinks: Sequence[Burst]) -> list[tuple[float, float]]:
    """Return (when it set out, for how long it was under way) of each burst that arrived, in seconds.

    A burst can be told from the others of the 4.5 s before it.

    Parameters
    ----------
    sources, sinks
        In order of time, on one clock.
    """
    found: dict[float, float] = {}  # one that a gap has cut in two arrived with its first part
    for sink in sinks:
        same = [s.time for s in sources if s.code == sink.code and s.time <= sink.time + _SKEW]
        if same and sink.time - same[-1] < (len(CODES) - 2) * PERIOD:
            found.setdefault(same[-1], sink.time - same[-1])
    return list(found.items())
