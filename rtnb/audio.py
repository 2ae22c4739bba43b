"""`Clip`: mono samples together with their rate; it must not know about calls, tracks or turns."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rtnb import _audiofile, _html
from rtnb.clipview import ClipView, Role, clip_body, clip_notes, clip_text
from rtnb.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CALL_SAMPLE_RATE", "Clip", "dbfs", "envelope", "resample", "to_pcm"]

CALL_SAMPLE_RATE: Final = 48_000  # Hz; the RTP clock of Opus (RFC 7587 section 4.1)

Samples: TypeAlias = npt.NDArray[np.float32]

_PLAYER_LIMIT: Final = 300.0  # seconds embedded in a cell
_LOSSLESS_LIMIT: Final = 20.0  # seconds up to which the player loses nothing below 12 kHz
_PLAYER_RATE: Final = 24_000  # Hz; half the size, and all the band speech needs
_COLUMNS: Final = 480
_BLOCK: Final = 1 << 20  # samples looked at together, so that an hour needs no copies of itself
_FULL_SCALE: Final = 32_767 / 32_768  # the largest that a 16-bit recording can hold


def dbfs(value: float) -> float:
    """Return an amplitude in [0, 1] as dB relative to full scale; 0 gives ``-inf``."""
    return float(20 * np.log10(value)) if value > 0 else float("-inf")


def envelope(samples: Samples, columns: int) -> tuple[Samples, Samples]:
    """Return the minimum and the maximum of each of at most `columns` equal parts of `samples`.

    Parameters
    ----------
    samples
        Shape (n,), n >= 1.
    columns
        The most parts to make.
    """
    edges = np.unique(np.linspace(0, len(samples), min(columns, len(samples)) + 1).astype(int))[:-1]
    return np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)


def resample(samples: Samples, source: int, target: int) -> Samples:
    """Resample mono float32 samples, the resampler flushed, to exactly ``n * target / source``.

    Parameters
    ----------
    samples
        Shape (n,).
    source, target
        Sample rates in Hz.
    """
    if source == target or not len(samples):
        return samples
    import av

    resampler = av.AudioResampler(format="fltp", layout="mono", rate=target)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="fltp", layout="mono")
    frame.sample_rate = source
    parts = [f.to_ndarray()[0] for f in (*resampler.resample(frame), *resampler.resample(None))]
    wanted = round(len(samples) * target / source)
    out = np.concatenate(parts)[:wanted] if parts else np.zeros(0, np.float32)
    return np.pad(out, (0, wanted - len(out))).astype(np.float32)


class Clip:
    """Mono audio at rest: samples and their rate.

    Parameters
    ----------
    samples
        Shape (n,) or (n, channels), in [-1, 1]; channels are averaged. Integer arrays are scaled
        by their full scale.
    sample_rate
        Hz.
    gaps
        Lost spans as (start, end) in seconds; the samples there are silence.
    role
        ``"prompt"`` or ``"reply"``: whose colour it is shown in.

    Attributes
    ----------
    samples : numpy.ndarray
        float32, shape (n,), read-only.
    sample_rate : int
        Hz.
    gaps : tuple of (float, float)
        Lost spans in seconds.
    role : str
        ``"prompt"`` or ``"reply"``.

    Raises
    ------
    AudioError
        The samples hold NaN or infinity, or the shape or rate cannot be audio.
    """

    __slots__ = ("_players", "gaps", "role", "sample_rate", "samples")

    samples: Samples
    sample_rate: int
    gaps: tuple[tuple[float, float], ...]
    role: Role

    def __init__(
        self,
        samples: npt.ArrayLike,
        sample_rate: int,
        *,
        gaps: Iterable[tuple[float, float]] = (),
        role: Role = "prompt",
    ):
        array = _as_mono(np.asarray(samples))
        sample_rate = _checked_rate(sample_rate)
        if not np.isfinite(array).all():
            raise AudioError(
                "These samples hold NaN or infinity; clean them first, e.g. with numpy.nan_to_num."
            )
        array.flags.writeable = False
        self.samples = array
        self.sample_rate = sample_rate
        self.gaps = tuple((float(start), float(end)) for start, end in gaps)
        self.role = role
        self._players: dict[bool, tuple[str, bytes]] = {}

    # --- making and storing -----------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Clip:
        """Read a clip from any file that libsndfile or FFmpeg opens.

        Parameters
        ----------
        path
            The file: any rate, any depth, any number of channels (they are averaged).

        Raises
        ------
        AudioError
            The file is missing, empty, not audio, holds no sample or a NaN, or is longer than an
            hour. The sentence names the file and says what to do.
        """
        samples, sample_rate = _audiofile.read(Path(path))
        return cls(samples, sample_rate)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the clip; the suffix decides the format (16-bit WAV for ``.wav``).

        Returns
        -------
        pathlib.Path
            Where it was written.
        """
        return _audiofile.write(Path(path), self.samples, self.sample_rate)

    @classmethod
    def silence(cls, duration: float, *, sample_rate: int = CALL_SAMPLE_RATE) -> Clip:
        """Return `duration` seconds of digital silence."""
        return cls(np.zeros(_count(duration, sample_rate), np.float32), sample_rate)

    @classmethod
    def tone(
        cls,
        frequency: float,
        duration: float,
        *,
        level: float = -12.0,
        sample_rate: int = CALL_SAMPLE_RATE,
    ) -> Clip:
        """Return a sine.

        Parameters
        ----------
        frequency
            Hz, below half the sample rate.
        duration
            Seconds.
        level
            Peak in dBFS.
        sample_rate
            Hz.
        """
        if not 0 < frequency < sample_rate / 2:
            raise AudioError(f"A tone of {frequency:g} Hz does not fit in {sample_rate} Hz.")
        phase = 2 * np.pi * frequency * np.arange(_count(duration, sample_rate)) / sample_rate
        return cls((10 ** (level / 20) * np.sin(phase)).astype(np.float32), sample_rate)

    # --- figures ----------------------------------------------------------------------------------

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def level(self) -> float:
        """RMS over the whole clip in dBFS (a full-scale sine has -3.01); ``-inf`` for silence."""
        if not len(self.samples):
            return float("-inf")
        blocks = (self.samples[at : at + _BLOCK] for at in range(0, len(self), _BLOCK))
        power = sum(float(np.square(block, dtype=np.float64).sum()) for block in blocks)
        return dbfs(math.sqrt(power / len(self)))

    @property
    def peak(self) -> float:
        """The largest magnitude in dBFS; ``-inf`` for silence."""
        low, high = self.samples.min(initial=0.0), self.samples.max(initial=0.0)
        return dbfs(float(max(high, -low)))

    @property
    def clipped(self) -> int:
        """How many samples are at full scale three or more in a row, as overdriven ones are."""
        count = 0
        for start in range(0, len(self.samples), _BLOCK):
            before = max(start - 2, 0)  # two samples more at either end complete a row of three
            full = np.abs(self.samples[before : start + _BLOCK + 2]) >= _FULL_SCALE
            inner = full[:-2] & full[1:-1] & full[2:]
            run = np.zeros(len(full), bool)
            for shift in range(3 if inner.any() else 0):
                run[shift : shift + len(inner)] |= inner
            count += int(np.count_nonzero(run[start - before :][:_BLOCK]))
        return count

    # --- editing ----------------------------------------------------------------------------------

    def resample(self, sample_rate: int) -> Clip:
        """Return the clip at another rate, flushed: its duration is kept to the sample.

        Parameters
        ----------
        sample_rate
            Hz.

        Raises
        ------
        AudioError
            The rate cannot be audio.
        """
        rate = _checked_rate(sample_rate)
        out = resample(self.samples, self.sample_rate, rate)
        return Clip(np.clip(out, -1.0, 1.0), rate, gaps=self.gaps, role=self.role)

    def __getitem__(self, span: slice) -> Clip:
        """Cut by seconds: ``clip[0.5:1.2]``; negative values count from the end."""
        if not isinstance(span, slice) or span.step is not None:
            raise TypeError("A clip is cut by seconds, as in clip[0.5:1.2].")
        start, end = (self._position(x, d) for x, d in ((span.start, 0), (span.stop, len(self))))
        offset = start / self.sample_rate
        gaps = [
            (max(a - offset, 0.0), min(b, end / self.sample_rate) - offset)
            for a, b in self.gaps
            if b > offset and a < end / self.sample_rate
        ]
        samples = self.samples[start : max(start, end)]
        return Clip(samples, self.sample_rate, gaps=gaps, role=self.role)

    def _position(self, seconds: float | None, default: int) -> int:
        if seconds is None:
            return default
        position = round(seconds * self.sample_rate)
        return min(max(position + len(self) if position < 0 else position, 0), len(self))

    def __add__(self, other: Clip) -> Clip:
        if not isinstance(other, Clip):
            return NotImplemented
        if other.sample_rate != self.sample_rate:
            raise AudioError(
                f"Clips of {self.sample_rate} and {other.sample_rate} Hz cannot be joined; "
                f"use .resample({self.sample_rate}) on one first."
            )
        shifted = [(a + self.duration, b + self.duration) for a, b in other.gaps]
        joined = np.concatenate([self.samples, other.samples])
        return Clip(joined, self.sample_rate, gaps=(*self.gaps, *shifted), role=self.role)

    # --- showing ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.samples)

    def __bool__(self) -> bool:
        return True  # an empty clip is still a clip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Clip):
            return NotImplemented
        return self.sample_rate == other.sample_rate and np.array_equal(self.samples, other.samples)

    def __hash__(self) -> int:
        return hash((self.sample_rate, self.samples.tobytes()))

    def __repr__(self) -> str:
        peak = "silent" if np.isneginf(self.peak) else f"peak {self.peak:.1f} dBFS"
        lost = f", {_html.counted(len(self.gaps), 'gap')}" if self.gaps else ""
        return f"<Clip {self.duration:.2f} s, {self.sample_rate} Hz, {peak}{lost}>"

    def _repr_html_(self) -> str:
        view = self._view()
        return _html.boxed(clip_body(view), clip_text(view))

    def _view(self, *, compact: bool = False, columns: int = _COLUMNS) -> ClipView:
        """Return what is shown of it; a compact player is smaller, and loses a little."""
        caption = repr(self).strip("<>")
        if not len(self.samples):
            return ClipView(f"{caption}: no samples", role=self.role)
        if not np.isneginf(self.level):
            caption += f", level {self.level:.1f} dBFS"
        low, high = envelope(self.samples, columns)
        return ClipView(
            caption,
            low.tolist(),
            high.tolist(),
            self._encoded(not compact and self.duration <= _LOSSLESS_LIMIT),
            clip_notes(self.duration, _PLAYER_LIMIT, self.gaps, self.clipped),
            self.role,
        )

    def _encoded(self, lossless: bool) -> tuple[str, bytes]:
        """Return (MIME type, bytes) of its player, which are made once: it shows itself often."""
        kept = self._players
        if lossless not in kept:
            samples = self[:_PLAYER_LIMIT].resample(_PLAYER_RATE).samples
            kept[lossless] = _audiofile.for_player(samples, _PLAYER_RATE, lossless=lossless)
        return kept[lossless]

    def plot(
        self,
        kind: Literal["waveform", "spectrogram", "level"] = "waveform",
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Axes:
        """Draw the waveform, the spectrogram or the level.

        Parameters
        ----------
        kind
            Which of `rtnb.plots.waveform`, `rtnb.plots.spectrogram` and `rtnb.plots.level`.
        ax
            Where to draw; None takes pyplot's current axes.
        **kwargs
            Options of that function.
        """
        from rtnb import plots

        draw: Any = {
            "waveform": plots.waveform,
            "spectrogram": plots.spectrogram,
            "level": plots.level,
        }.get(kind)
        if draw is None:
            raise ConfigurationError(
                f"A clip is drawn as 'waveform', 'spectrogram' or 'level', not as {kind!r}."
            )
        axes: Axes = draw(self, ax=ax, **kwargs)
        return axes


def to_pcm(clip: Clip) -> bytes:
    """Return a clip as s16 mono 48,000 Hz bytes, resampled whole and flushed."""
    samples = resample(clip.samples, clip.sample_rate, CALL_SAMPLE_RATE)
    return _audiofile.to_s16(samples).tobytes()


def _checked_rate(sample_rate: Any) -> int:
    """Return a sample rate in Hz, if it can be one."""
    is_number = isinstance(sample_rate, numbers.Real)
    if not is_number:
        raise AudioError(f"A sample rate is a number in Hz, not {sample_rate!r}.")
    if not 1_000 <= sample_rate <= 768_000:
        raise AudioError(
            f"A clip of {sample_rate} Hz cannot be used; give the true rate, 8000 to 192000 Hz."
        )
    return int(sample_rate)


def _count(duration: float, sample_rate: int) -> int:
    if not 0 <= duration < 3600:
        raise AudioError(f"A clip of {duration:g} s cannot be made; give 0 to 3600 s.")
    return round(duration * sample_rate)


def _as_mono(array: npt.NDArray[Any]) -> Samples:
    """Return a float32 copy of shape (n,), integers scaled, channels averaged."""
    if array.ndim == 1:
        return _scaled(array).astype(np.float32, copy=array.dtype.kind == "f")
    if array.ndim != 2 or array.shape[1] > 64:
        raise AudioError(
            f"Samples of shape {array.shape} cannot be a clip; give (n,) or (n, channels)."
        )
    out = np.empty(len(array), np.float32)
    for at in range(0, len(array) or 1, _BLOCK):
        out[at : at + _BLOCK] = _scaled(array[at : at + _BLOCK], np.float64).mean(axis=1)
    return out


def _scaled(array: npt.NDArray[Any], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return integers as floats in [-1, 1], in `dtype` if it holds them exactly; floats as they are."""
    if array.dtype.kind == "f":
        return array
    if array.dtype.kind not in "iu":
        raise AudioError(
            f"Samples of type {array.dtype} cannot be a clip; give floats or integers."
        )
    step = 2.0 ** (1 - 8 * array.itemsize)
    exact = dtype if array.itemsize <= 2 else np.float64
    scaled: npt.NDArray[Any] = np.multiply(array, step, dtype=exact)
    return scaled - 1 if array.dtype.kind == "u" else scaled
