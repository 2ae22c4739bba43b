"""Who spoke when, from samples alone, and how two speakers took turns; it must not know a call."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.audio import CALL_SAMPLE_RATE, Clip
from rtnb.measure import AUDIBLE_LEVEL, HOP, WINDOW, ending_of, onset_of, window_levels

__all__ = ["activity_of", "begun_during", "overlap", "turn_gaps", "voice_activity"]

Span = tuple[float, float]

MIN_SPEECH: Final = 0.05  # seconds; anything shorter is a click
MIN_SILENCE: Final = 0.2  # seconds; anything shorter is a pause within what is said
_BLOCK: Final = 60.0  # seconds of audio that are in memory at once
_NEAR: Final = 5.0  # seconds to each side that the noise floor is taken from
_ABOVE: Final = 6.0  # dB above the noise floor that speech has
_STEADY: Final = 4.0  # dB between the 2nd and 10th percentile of levels that a noise has at most
_SILENT: Final = -100.0  # dBFS; what is below is digital silence

Floats = npt.NDArray[np.float64]


def voice_activity(
    clip: Clip,
    *,
    level: float = AUDIBLE_LEVEL,
    min_speech: float = MIN_SPEECH,
    min_silence: float = MIN_SILENCE,
) -> list[Span]:
    """Return when somebody speaks in a clip, by an energy gate over an adaptive noise floor.

    A 20 ms window, one every 5 ms, is active when its RMS exceeds `level`, and, where there is
    steady noise, exceeds it by 6 dB. The noise is the 10th percentile of the levels within 5 s,
    digital silence left out; it counts as steady where the 2nd percentile is less than 4 dB below
    it and something within these 5 s is 12 dB above it. The gate knows energy only: a steady tone
    or music is speech to it.

    Parameters
    ----------
    clip
        The audio.
    level
        Threshold in dBFS.
    min_speech
        Seconds; what is shorter is left out.
    min_silence
        Seconds; a shorter silence is part of what is said around it.

    Returns
    -------
    list of (float, float)
        Start and end of each stretch in seconds, in order: its first and last sample over the
        threshold, within 5 ms of the truth on clean audio.
    """

    def read(start: float, end: float) -> Clip:
        return clip[start:end]

    levels = window_levels(clip)
    step = round(HOP * clip.sample_rate) / clip.sample_rate
    return _spans(read, levels, step, level, min_speech, min_silence)


def activity_of(
    read: Callable[[float, float], Clip],
    start: float,
    end: float,
    *,
    level: float = AUDIBLE_LEVEL,
    min_speech: float = MIN_SPEECH,
    min_silence: float = MIN_SILENCE,
) -> list[Span]:
    """Return the voice activity between two times of a recording, which is read in blocks.

    Parameters
    ----------
    read
        Returns the clip between two times, at 48,000 Hz; shorter where the recording ends.
    start, end
        Seconds on the recording's clock; so are the times returned.
    level, min_speech, min_silence
        As for `voice_activity`.
    """
    parts = []
    start = round(start * CALL_SAMPLE_RATE) / CALL_SAMPLE_RATE  # every block has as many samples
    at = start
    while at < end:
        # the last windows of a block reach into the next one
        parts.append(window_levels(read(at, min(at + _BLOCK + WINDOW - HOP, end))))
        at += _BLOCK
    levels = np.concatenate(parts) if parts else np.zeros(0)

    def later(first: float, last: float) -> Clip:
        return read(start + first, start + last)

    spans = _spans(later, levels, HOP, level, min_speech, min_silence)
    return [(start + first, start + last) for first, last in spans]


def _spans(
    read: Callable[[float, float], Clip],
    levels: Floats,
    step: float,
    level: float,
    min_speech: float,
    min_silence: float,
) -> list[Span]:
    """Return the active stretches of levels, one a `step` of seconds, with exact ends."""
    threshold = np.maximum(_noise(levels, step), level)
    active = np.flatnonzero(levels > threshold)
    if not len(active):
        return []
    # sound ends within the first hop of its last window, and begins in the last of its first one
    silence = np.diff(active) * step + WINDOW - HOP
    breaks = np.flatnonzero((silence >= min_silence) & (np.diff(active) > 1))
    firsts = active[np.r_[0, breaks + 1]]
    lasts = active[np.r_[breaks, len(active) - 1]]
    out = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        start, until = first * step, last * step + WINDOW
        window = read(start, start + 2 * WINDOW)
        rate = window.sample_rate
        begin = start + onset_of(window.samples, float(threshold[first]), rate) / rate
        before = max(until - 2 * WINDOW, 0.0)
        window = read(before, until)
        end = before + ending_of(window.samples, float(threshold[last])) / rate
        if end - begin >= min_speech:
            out.append((begin, end))
    return out


def _noise(levels: Floats, step: float) -> Floats:
    """Return what speech must exceed at each window; -inf where there is no steady noise."""
    out = np.full(len(levels), -np.inf)
    second, near = round(1 / step), round(_NEAR / step)
    for at in range(0, len(levels), second):
        around = levels[max(at - near, 0) : at + second + near]
        sounding = around[around > _SILENT]
        if not len(sounding):
            continue
        least, low = np.percentile(sounding, (2, 10))
        if low - least < _STEADY and sounding.max() > low + 2 * _ABOVE:
            out[at : at + second] = low + _ABOVE
    return out


def overlap(one: Sequence[Span], other: Sequence[Span]) -> float:
    """Return for how many seconds both speak at once."""
    during = _Spans(other)
    return float(
        sum(min(b, d) - max(a, c) for a, b in one for c, d in during.between(a, b) if a < b)
    )


def begun_during(one: Sequence[Span], other: Sequence[Span]) -> int:
    """Return how often one begins to speak while the other one is speaking."""
    during = _Spans(other)
    return sum(any(c < start for c, _ in during.between(start, start)) for start, _ in one)


def turn_gaps(user: Sequence[Span], agent: Sequence[Span]) -> list[float]:
    """Return the seconds from each end of the user's speech to the answer, where there is one.

    It counts where the agent is silent at that end, and begins before the user speaks again.
    """
    during = _Spans(agent)
    again = [*(start for start, _ in user[1:]), *[np.inf] * bool(user)]
    gaps = []
    for (_, end), until in zip(user, again, strict=True):
        answer = during.after(end)
        if answer is not None and end <= answer[0] < until:
            gaps.append(answer[0] - end)
    return gaps


class _Spans:
    """Spans in order, none of which overlap, to be looked up by time."""

    def __init__(self, spans: Sequence[Span]):
        self._spans = spans
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

    def between(self, start: float, end: float) -> Sequence[Span]:
        """Return the spans that reach into a stretch."""
        first = bisect.bisect_right(self._ends, start)
        return self._spans[first : bisect.bisect_right(self._starts, end)]

    def after(self, time: float) -> Span | None:
        """Return the first span that ends after a time."""
        first = bisect.bisect_right(self._ends, time)
        return self._spans[first] if first < len(self._spans) else None
