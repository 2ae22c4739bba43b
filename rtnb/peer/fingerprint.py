"""Tells which bundled prompt a piece of audio is, if it is one; it must not know what to answer.

Spectra of 43 ms every 10 ms, in 24 mel-spaced bands. The differences of neighbouring bands in dB do
not change with level; the mean of each over time is taken out, so that the voice, which all prompts
share, does not count. What remains is correlated with every prompt at every lag (Pearson). The
thresholds stand between what the prompts reach through Opus and what other audio reaches; the tests
of this module measure both.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb._audiofile import to_s16
from rtnb.audio import Clip, resample
from rtnb.peer import library

__all__ = ["MARGIN", "SURE", "Match", "prepare", "recognise", "scores"]

SURE: Final = 0.80  # the least correlation that counts as the same recording
MARGIN: Final = 0.15  # by how much it must lead the next prompt
_ELSEWHERE: Final = 0.10  # the most energy outside the prompt, as a part of all energy
_LONGEST: Final = 12.0  # seconds; no prompt is nearly as long

_RATE: Final = 48_000
_WINDOW: Final = 2048
_HOP: Final = 480
_BANDS: Final = 24
_LOWEST, _HIGHEST = 150.0, 6_500.0  # Hz; what speech has and Opus keeps
_RANGE: Final = 45.0  # dB below the loudest band that still count
_PAD: Final = 30  # frames by which a prompt may begin before or end after the audio
_SLACK: Final = 5  # frames around the prompt that belong to it

Floats = npt.NDArray[np.float64]
S16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Match:
    """How well one prompt fits.

    Attributes
    ----------
    name : str
        The prompt's name.
    score : float
        Correlation, 1 for the same recording.
    elsewhere : float
        The part of the audio's energy that lies outside the prompt.
    """

    name: str
    score: float
    elsewhere: float


def recognise(samples: S16) -> str | None:
    """Return the name of the bundled prompt that this audio is, or None.

    Parameters
    ----------
    samples
        s16 mono 48,000 Hz, shape (n,).
    """
    if not _WINDOW <= len(samples) <= _LONGEST * _RATE:
        return None
    best, second = scores(samples)[:2]
    sure = best.score >= SURE and best.score - second.score >= MARGIN
    return best.name if sure and best.elsewhere <= _ELSEWHERE else None


def prepare() -> None:
    """Read the prompts now, so that the first recognition does not have to."""
    _references()


def scores(samples: S16) -> list[Match]:
    """Return how well each prompt fits, the best first."""
    energy = _energies(samples)
    features = np.pad(_features(energy), ((_PAD, _PAD), (0, 0)))
    total = np.pad(energy.sum(axis=1), _PAD)
    size = 1 << (len(features) + max(len(f) for f in _references().values())).bit_length()
    spectrum = np.fft.rfft(features, size, axis=0)
    sums = [np.cumsum(np.pad(x, ((1, 0), (0, 0))), axis=0) for x in (features, features**2)]
    found = [
        _fit(name, reference, features, spectrum, size, sums, total)
        for name, reference in _references().items()
    ]
    return sorted(found, key=lambda match: -match.score)


def _fit(
    name: str,
    reference: Floats,
    features: Floats,
    spectrum: npt.NDArray[np.complex128],
    size: int,
    sums: list[Floats],
    total: Floats,
) -> Match:
    length = len(reference)
    lags = len(features) - length + 1
    if lags < 1:
        return Match(name, 0.0, 1.0)
    product = spectrum * np.conj(np.fft.rfft(reference, size, axis=0))
    dot = np.fft.irfft(product.sum(axis=1), size)[:lags]
    first, square = (s[length:][:lags] - s[:lags] for s in sums)
    norm = np.sqrt(np.maximum((square - first**2 / length).sum(axis=1), 1e-9))
    correlation = dot / (norm * np.sqrt((reference**2).sum()))
    lag = int(np.argmax(correlation))
    inside = total[max(lag - _SLACK, 0) : lag + length + _SLACK].sum()
    return Match(name, float(correlation[lag]), float(1 - inside / max(total.sum(), 1e-12)))


@functools.cache
def _references() -> dict[str, Floats]:
    """Return each prompt's features, every band's mean over time taken out."""
    found = {}
    for prompt in library.prompts():
        clip = Clip.read(prompt.path)
        samples = to_s16(resample(clip.samples, clip.sample_rate, _RATE))
        features = _features(_energies(samples))
        found[prompt.name] = features - features.mean(axis=0)
    return found


def _energies(samples: S16) -> Floats:
    """Return the energy of each band in each frame, shape (frames, bands)."""
    scaled = np.pad(samples.astype(np.float64) / 32768.0, (0, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(scaled, _WINDOW)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2
    return np.asarray(np.add.reduceat(power, _edges(), axis=1)[:, :_BANDS], np.float64)


@functools.cache
def _edges() -> npt.NDArray[np.intp]:
    """Return the first bin of every band and of the one after the last (mel scale)."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOWEST, _HIGHEST))
    hertz = 700 * (10 ** (np.linspace(low, high, _BANDS + 1) / 2595) - 1)
    return np.asarray(np.rint(hertz * _WINDOW / _RATE), np.intp)


def _features(energy: Floats) -> Floats:
    loudest = max(float(energy.max(initial=0.0)), 1e-9)
    decibels = 10 * np.log10(np.maximum(energy, loudest * 10 ** (-_RANGE / 10)))
    return np.asarray(np.diff(decibels, axis=1), np.float64)
