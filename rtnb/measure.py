"""Numbers from arrays: where speech begins and ends, when a reply is audible; it knows no session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.audio import Clip
from rtnb.quality import CallQuality

__all__ = ["AUDIBLE_LEVEL", "Latency", "audible_span", "speech_span", "window_levels"]

AUDIBLE_LEVEL: Final = -50.0  # dBFS RMS of a 20 ms window from which a reply counts as audible
_WINDOW: Final = 0.020  # seconds
_HOP: Final = 0.005  # seconds
_BELOW_LOUDEST: Final = 30.0  # dB below the loudest window that still are speech
_ABOVE_NOISE: Final = 6.0  # dB above the noise floor that speech must have
_FAINTEST: Final = -65.0  # dBFS; nothing below is speech


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a reply took, from the audio itself.

    Attributes
    ----------
    first_audio : float or None
        Seconds from the end of audible user speech (of the sent samples; for a text prompt, from
        when ``response.create`` left) to the first audible sample of the reply. None where there
        was no audible reply, or it sounded before the speech had ended.
    speech_end : float or None
        When the user's audible speech ended, in seconds on the call's clock.
    first_audible : float or None
        When the reply became audible, in seconds on the call's clock.
    speech_start : float or None
        When the user's audible speech began.
    speech_stopped, committed, response_created : float or None
        When these events came: input_audio_buffer.speech_stopped and .committed, response.created.
    first_packet : float or None
        When the first packet of the reply's sound arrived.
    reply_end : float or None
        When the reply fell silent.
    verdict : str
        ``answered`` within the deadline, ``missed``, ``censored`` (the call ended before the deadline
        did), ``excluded`` (it cannot be scored), or ``pending`` while it is not known.
    reason : str
        Why it was not answered, or cannot be scored; "" where it was.
    yield_latency : float or None
        Where the user's speech began during an audible reply: seconds from there until that reply
        fell silent; None where it did not, or within 2 s did not.
    quality : CallQuality or None
        The pacing and the network that it was measured under.
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
    yield_latency: float | None = None
    quality: CallQuality | None = None

    @property
    def stages(self) -> dict[str, float]:
        """Seconds from each mark that is known to the next one, in their order."""
        return {}


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
    rows = np.lib.stride_tricks.sliding_window_view(samples, width)[::hop][:count]
    sums: npt.NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return sums


def _steps(clip: Clip) -> tuple[int, int]:
    """Return the length of a window and of a hop in whole samples of a clip."""
    return round(_WINDOW * clip.sample_rate), round(_HOP * clip.sample_rate)


def _ends(clip: Clip, above: npt.NDArray[np.intp]) -> tuple[int, int]:
    """Return the first sample of the first of these windows, and the end of the last one."""
    window, hop = _steps(clip)
    return int(above[0]) * hop, int(above[-1]) * hop + window


def speech_span(clip: Clip) -> tuple[float, float] | None:
    """Return where audible speech begins and ends in a clip, in seconds; None if there is none.

    A window counts as speech when its RMS is within 30 dB of the loudest one, 6 dB above the
    clip's own noise floor (its quietest tenth, digital silence left out), and above -65 dBFS.
    """
    levels = window_levels(clip)
    if not len(levels) or levels.max() < _FAINTEST:
        return None
    threshold = max(levels.max() - _BELOW_LOUDEST, _FAINTEST)
    sounding = levels[levels > -100.0]
    noise = float(np.percentile(sounding, 10)) + _ABOVE_NOISE
    if noise < levels.max() - _ABOVE_NOISE:  # steady sound has no floor of its own
        threshold = max(threshold, noise)
    first, end = _ends(clip, np.flatnonzero(levels >= threshold))
    return first / clip.sample_rate, end / clip.sample_rate


def audible_span(clip: Clip, *, level: float = AUDIBLE_LEVEL) -> tuple[float, float] | None:
    """Return where a clip is audible, in seconds; None if it never is.

    It begins with the first sample that exceeds the threshold within the first 20 ms window whose
    RMS does, and ends with the last such window.

    Parameters
    ----------
    clip
        The audio.
    level
        Threshold in dBFS.
    """
    above = np.flatnonzero(window_levels(clip) > level)
    if not len(above):
        return None
    first, end = _ends(clip, above)
    window = np.abs(clip.samples[first : first + _steps(clip)[0]])
    onset = first + int(np.argmax(window > 10 ** (level / 20)))
    return onset / clip.sample_rate, end / clip.sample_rate
