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
from rtnb.peer import repertoire

__all__ = ["Match", "prepare", "recognise", "scores"]

_SURE: Final = 0.80  # the least correlation that counts as the same recording
_MARGIN: Final = 0.15  # by how much it must lead the next prompt
_ELSEWHERE: Final = 0.10  # the most energy outside the prompt, as a part of all energy
_LONGEST: Final = 12.0  # seconds; longer audio is not looked at
_SILENT: Final = 10 ** (-40 / 20)  # of the loudest 10 ms; what is around the rest is left out
_AROUND: Final = 10  # frames of it that are kept
_BEYOND: Final = 150  # frames of noise: what is left may be longer than the longest prompt by them
_FAINT: Final = 10 ** (-40 / 10)  # of the prompt's loudest frame
_RISE: Final = 10 ** (10 / 10)  # over the usual level outside the prompt: more than a steady noise
_FEW: Final = 8  # frames that do not make a word

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
    more : bool
        Whether something outside the prompt could be speech, however quiet.
    """

    name: str
    score: float
    elsewhere: float
    more: bool


def recognise(samples: S16) -> str | None:
    """Return the name of the bundled prompt that this audio is, or None.

    Parameters
    ----------
    samples
        s16 mono 48,000 Hz, shape (n,).
    """
    if not _WINDOW <= len(samples) <= _LONGEST * _RATE:
        return None
    found = _trimmed(samples)
    longest = max(len(reference) for reference in _references().values())
    if len(found) > (longest + _BEYOND) * _HOP:
        return None  # no prompt alone; and the caller has no time for it
    best, second = scores(found)[:2]
    sure = best.score >= _SURE and best.score - second.score >= _MARGIN
    return best.name if sure and best.elsewhere <= _ELSEWHERE and not best.more else None


def _trimmed(samples: S16) -> S16:
    blocks = samples[: len(samples) // _HOP * _HOP].reshape(-1, _HOP).astype(np.float32)
    level = np.sqrt(np.einsum("ij,ij->i", blocks, blocks))
    loud = np.flatnonzero(level > level.max(initial=0.0) * _SILENT)
    if not len(loud):
        return samples
    return samples[max(int(loud[0]) - _AROUND, 0) * _HOP : (int(loud[-1]) + 1 + _AROUND) * _HOP]


def prepare() -> None:
    """Read the prompts now, so that the first recognition does not have to."""
    _references()


def scores(samples: S16) -> list[Match]:
    """Return how well each prompt fits, the best first."""
    energy = _energies(samples)
    if not len(energy):
        return [Match(name, 0.0, 1.0, False) for name in _references()]
    features = np.pad(_features(energy), ((_PAD, _PAD), (0, 0)))
    total = np.pad(energy.sum(axis=1), _PAD)
    size = 1 << (len(features) + max(len(f) for f in _references().values())).bit_length()
    spectrum = np.fft.rfft(features, size, axis=0)
    conjugates = _conjugates(size)
    sums = [np.cumsum(np.pad(x, ((1, 0), (0, 0))), axis=0) for x in (features, features**2)]
    found = [
        _fit(
            name,
            reference,
            np.fft.irfft((spectrum * conjugates[name]).sum(axis=1), size),
            sums,
            total,
        )
        for name, reference in _references().items()
    ]
    return sorted(found, key=lambda match: -match.score)


def _fit(
    name: str,
    reference: Floats,
    product: Floats,
    sums: list[Floats],
    total: Floats,
) -> Match:
    length = len(reference)
    lags = len(total) - length + 1
    if lags < 1:
        return Match(name, 0.0, 1.0, False)
    dot = product[:lags]
    first, square = (s[length:][:lags] - s[:lags] for s in sums)
    norm = np.sqrt(np.maximum((square - first**2 / length).sum(axis=1), 1e-9))
    correlation = dot / (norm * np.sqrt((reference**2).sum()))
    lag = int(np.argmax(correlation))
    begin, end = max(lag - _SLACK, 0), lag + length + _SLACK
    inside = total[begin:end]
    outside = np.concatenate([total[_PAD:begin], total[end : len(total) - _PAD]])
    elsewhere = 1 - inside.sum() / max(total.sum(), 1e-12)
    return Match(name, float(correlation[lag]), float(elsewhere), _speech_like(outside, inside))


def _speech_like(outside: Floats, inside: Floats) -> bool:
    """Whether enough frames are neither faint beside the prompt nor part of a steady noise."""
    if len(outside) < _FEW:
        return False
    bound = max(float(inside.max()) * _FAINT, float(np.percentile(outside, 20)) * _RISE)
    return int((outside > bound).sum()) >= _FEW


@functools.cache
def _references() -> dict[str, Floats]:
    """Return each prompt's features, every band's mean over time taken out."""
    found = {}
    for prompt in repertoire.prompts():
        clip = Clip.read(prompt.path)
        samples = to_s16(resample(clip.samples, clip.sample_rate, _RATE))
        features = _features(_energies(samples))
        found[prompt.name] = features - features.mean(axis=0)
    return found


@functools.lru_cache(maxsize=4)
def _conjugates(size: int) -> dict[str, npt.NDArray[np.complex128]]:
    """Return the conjugate spectrum of each prompt's features."""
    return {n: np.conj(np.fft.rfft(r, size, axis=0)) for n, r in _references().items()}


def _energies(samples: S16) -> Floats:
    """Return the energy of each band in each frame, shape (frames, bands)."""
    scaled = np.pad(samples.astype(np.float32) / np.float32(32768.0), (0, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(scaled, _WINDOW)[::_HOP]
    spectra = np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32), axis=1)
    spectra = spectra[:, : int(_edges()[-1]) + 1]
    power = spectra.real**2 + spectra.imag**2
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
