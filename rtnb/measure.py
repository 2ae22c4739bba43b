"""Numbers from arrays: where speech begins and ends, when a reply is audible; it knows no session."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.audio import Clip
from rtnb.quality import CallQuality

__all__ = [
    "AUDIBLE_LEVEL",
    "HOP",
    "MARKS",
    "WINDOW",
    "Latency",
    "audible_span",
    "ending_of",
    "first_over",
    "onset_of",
    "speech_span",
    "window_levels",
]

AUDIBLE_LEVEL: Final = -50.0  # dBFS RMS of a 20 ms window from which a reply counts as audible
WINDOW: Final = 0.020  # seconds
HOP: Final = 0.005  # seconds
MARKS: Final = (
    *("speech_end", "speech_stopped", "committed", "response_created"),
    *("first_packet", "first_audible", "reply_end"),
)
_BELOW_LOUDEST: Final = 30.0  # dB below the loudest window that still are speech
_ABOVE_NOISE: Final = 6.0  # dB above the noise floor that speech must have
_SMEARED: Final = 20.0  # dB below a sudden sound that its codec's echo before and after it has
_PRE_ECHO: Final = 0.010  # seconds before a sudden sound that Opus's noise takes: 8.4 ms were seen
_FAINTEST: Final = -65.0  # dBFS; nothing below is speech


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a reply took, from the audio itself.

    Times are seconds on the call's clock; docs/measuring.md defines each of them.

    Attributes
    ----------
    first_audio : float or None
        Seconds from the end of audible user speech (of the sent samples; for a text prompt, from
        when ``response.create`` left) to the first audible sample of the reply. None where there
        was no audible reply, or it sounded before the speech had ended.
    speech_end : float or None
        When the user's audible speech ended; for a text prompt, when ``response.create`` left.
    first_audible : float or None
        When the reply became audible.
    speech_start : float or None
        When the user's audible speech began.
    speech_stopped, committed, response_created : float or None
        When these events came: input_audio_buffer.speech_stopped and .committed, response.created.
    first_packet : float or None
        When the first packet of the reply's sound arrived, however faint that began.
    reply_end : float or None
        When the reply fell silent.
    verdict : str
        ``answered`` within the deadline, ``missed``, ``censored`` (the call ended before the deadline
        did), ``excluded`` (it cannot be scored), or ``pending`` while it is not known.
    reason : str
        Why it was not answered, or cannot be scored; "" where it was.
    yielded : bool or None
        Where the user's speech began during an audible reply: whether that reply fell silent within
        2 s. None where it did not begin so, or the call ended too soon to tell.
    yield_latency : float or None
        Where it did: seconds from the beginning of the user's speech until it fell silent.
    quality : CallQuality or None
        The pacing and the network that it was measured under: from the turn's beginning to the end
        of its reply, or of the turn. None while that is in progress.
    """

    first_audio: float | None = None
    speech_end: float | None = None
    first_audible: float | None = None
    speech_start: float | None = None
    speech_stopped: float | None = None
    committed: float | None = None
    response_created: float | None = None
    first_packet: float | None = None
    reply_end: float | None = None
    verdict: str = "pending"
    reason: str = ""
    yielded: bool | None = None
    yield_latency: float | None = None
    quality: CallQuality | None = None

    @property
    def marks(self) -> dict[str, float]:
        """The marks of the waterfall that are known, by their names in `MARKS`, in that order."""
        known = ((name, getattr(self, name)) for name in MARKS)
        return {name: time for name, time in known if time is not None}

    @property
    def stages(self) -> dict[str, float]:
        """Seconds to each mark that is known from the known one before it, by its name, in order.

        The first mark has none. A number below 0 is a mark that came before the one it is listed
        after. They add up to the time from the first mark to the last.
        """
        pairs = itertools.pairwise(self.marks.items())
        return {name: round(time - before, 6) for (_, before), (name, time) in pairs}


def window_levels(clip: Clip) -> npt.NDArray[np.float64]:
    """Return the RMS in dBFS of 20 ms windows, one every 5 ms; digital silence is -120.

    Returns
    -------
    numpy.ndarray
        float64, shape (n,); n is 0 for a clip shorter than a window.
    """
    window, hop = _steps(clip)
    if len(clip) < window:
        return np.zeros(0)
    count = (len(clip) - window) // hop + 1
    whole, rest = divmod(window, hop)  # windows overlap: each hop is summed up once
    hops = _energies(clip.samples, hop, hop, count + whole - 1)
    power = np.lib.stride_tricks.sliding_window_view(hops, whole).sum(axis=1)
    if rest:
        power += _energies(clip.samples[whole * hop :], rest, hop, count)
    levels: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(power / window, 1e-12))
    return levels


def _energies(
    samples: npt.NDArray[np.float32], width: int, hop: int, count: int
) -> npt.NDArray[np.float64]:
    """Return the sums of squares of this many stretches of a width, one beginning every hop."""
    if width == hop:
        rows = samples[: count * hop].reshape(count, hop)
    else:
        rows = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop][:count]
    sums: npt.NDArray[np.float32] = np.einsum("ij,ij->i", rows, rows)
    return sums.astype(np.float64)


def _steps(clip: Clip) -> tuple[int, int]:
    """Return the length of a window and of a hop in whole samples of a clip."""
    return round(WINDOW * clip.sample_rate), round(HOP * clip.sample_rate)


def _windows(clip: Clip, above: npt.NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the first sample of the first of the windows chosen, and the end of the last one."""
    chosen = np.flatnonzero(above)
    if not len(chosen):
        return None
    window, hop = _steps(clip)
    return int(chosen[0]) * hop, int(chosen[-1]) * hop + window


def first_over(samples: npt.NDArray[np.float32], level: float) -> int:
    """Return the index of the first sample whose magnitude reaches a level in dBFS, or 0."""
    return int(np.argmax(np.abs(samples) >= 10 ** (level / 20)))


def onset_of(samples: npt.NDArray[np.float32], level: float, sample_rate: int) -> int:
    """Return the index at which sound begins in what follows the start of the first audible window.

    It is the first sample that reaches the level in dBFS; where the loudest of the 10 ms from there
    on is more than 20 dB above it, the first that is not: before a sudden sound, Opus lets noise out.
    """
    first = first_over(samples, level)
    return first + _first_loud(samples[first : first + round(_PRE_ECHO * sample_rate)], level)


def ending_of(samples: npt.NDArray[np.float32], level: float) -> int:
    """Return the index after the last sample of sound in the 40 ms to the last audible window's end.

    It is the last sample that reaches the level in dBFS, and is not more than 20 dB fainter than
    the loudest of them: what is cut off fades in Opus.
    """
    return len(samples) - _first_loud(samples[::-1], level)


def _first_loud(samples: npt.NDArray[np.float32], level: float) -> int:
    """Return the first index of a level in dBFS, and of at most 20 dB below the loudest of them."""
    loudest = float(np.abs(samples).max(initial=0.0))
    smeared = 20 * np.log10(max(loudest, 1e-6)) - _SMEARED
    return first_over(samples, max(level, smeared))


def speech_span(clip: Clip) -> tuple[float, float] | None:
    """Return where audible speech begins and ends in a clip, in seconds; None if there is none.

    A window counts as speech when its RMS is within 30 dB of the loudest one, 6 dB above the
    clip's own noise floor (its quietest tenth, digital silence left out), and above -65 dBFS. Speech
    is from the first sample of that level in the first such window to the last one in the last.
    """
    levels = window_levels(clip)
    if not len(levels) or levels.max() < _FAINTEST:
        return None
    threshold = max(levels.max() - _BELOW_LOUDEST, _FAINTEST)
    sounding = levels[levels > -100.0]
    noise = float(np.percentile(sounding, 10)) + _ABOVE_NOISE
    if noise < levels.max() - _ABOVE_NOISE:  # steady sound has no floor of its own
        threshold = max(threshold, noise)
    found = _windows(clip, levels >= threshold)
    if found is None:
        return None
    window = _steps(clip)[0]
    first, end = found
    level = float(threshold)
    start = first + first_over(clip.samples[first : first + window], level)
    end -= first_over(clip.samples[end - window : end][::-1], level)
    return start / clip.sample_rate, end / clip.sample_rate


def audible_span(clip: Clip, *, level: float = AUDIBLE_LEVEL) -> tuple[float, float] | None:
    """Return where a clip is audible, in seconds; None if it never is.

    It begins in the first 20 ms window whose RMS exceeds the threshold, with the first sample that
    does, and ends in the last such window, with the last such sample. What Opus adds to a sound that
    begins or ends suddenly is passed over; see `onset_of` and `ending_of`.

    Parameters
    ----------
    clip
        The audio.
    level
        Threshold in dBFS.
    """
    found = _windows(clip, window_levels(clip) > level)
    if found is None:
        return None
    near = 2 * _steps(clip)[0]
    first, end = found
    start = first + onset_of(clip.samples[first : first + near], level, clip.sample_rate)
    before = max(end - near, 0)
    end = before + ending_of(clip.samples[before:end], level)
    return start / clip.sample_rate, end / clip.sample_rate
