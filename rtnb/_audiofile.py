"""Reads and writes audio files as arrays; it translates what libraries raise, and knows no `Clip`."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from rtnb.errors import AudioError

__all__ = ["LONGEST", "for_player", "read", "to_s16", "write", "write_wav"]

LONGEST: Final = 3600.0  # seconds; longer files are surely not prompts


def read(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Return (samples, sample_rate) of a file: float32, shape (n,) or (n, channels); Hz.

    Raises
    ------
    AudioError
        The file is missing, a folder, empty, damaged, not audio, or too long.
    """
    try:
        there = path.exists()
    except (OSError, ValueError) as error:  # a name too long, a folder that is locked, a NUL
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"The file {str(path)[:80]!r} cannot be looked for: {reason}.") from None
    if not there:
        raise AudioError(f"There is no audio file {str(path)!r}; check the path.")
    if path.is_dir():
        raise AudioError(f"{str(path)!r} is a folder; name one audio file in it.")
    if path.stat().st_size == 0:
        raise AudioError(f"The audio file {str(path)!r} is empty; record or export it again.")
    samples, sample_rate = _read_any(path)
    if not len(samples):
        raise AudioError(f"The audio file {str(path)!r} holds no samples; record it again.")
    if not np.isfinite(samples).all():
        raise AudioError(
            f"The audio file {str(path)!r} holds NaN or infinity; export it again as 16-bit WAV."
        )
    return samples, sample_rate


def _read_any(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    import soundfile

    try:
        info = soundfile.info(str(path))
    except soundfile.SoundFileError:
        return _read_with_av(path)
    _check_length(path, info.frames / info.samplerate)
    try:
        samples, sample_rate = soundfile.read(str(path), dtype="float32")
    except soundfile.SoundFileError:
        # another decoder might play silence for what is lost; nobody would know
        raise AudioError(
            f"The audio file {str(path)!r} is damaged or cut off; copy or export it again."
        ) from None
    return samples, int(sample_rate)


def _read_with_av(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Read what libsndfile does not know: m4a, webm, video files."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"The file {str(path)!r} has no audio in it; give an audio file.")
            stream = container.streams.audio[0]
            rate = int(stream.rate or 0)
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
            parts: list[npt.NDArray[Any]] = []
            count = 0
            for frame in container.decode(stream):
                for out in resampler.resample(frame):
                    parts.append(out.to_ndarray()[0])
                    count += len(parts[-1])
                _check_length(path, count / rate)
            parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(
            f"The file {str(path)!r} is not audio that can be read here; "
            "convert it to WAV, FLAC, MP3 or Ogg."
        ) from None
    return np.concatenate(parts) if parts else np.zeros(0, np.float32), rate


def _check_length(path: Path, duration: float) -> None:
    if duration > LONGEST:
        raise AudioError(
            f"The audio file {str(path)!r} is longer than {LONGEST / 60:.0f} minutes; "
            "cut it into prompts first."
        )


def write(path: Path, samples: npt.NDArray[np.float32], sample_rate: int) -> Path:
    """Write samples to a file whose suffix names the format; return its path.

    Raises
    ------
    AudioError
        The suffix names no format, or one that does not take this rate in Hz.
    """
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".wav":
        with path.open("wb") as stream:
            write_wav(stream, samples, sample_rate)
        return path
    try:
        soundfile.write(str(path), samples, sample_rate)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        raise AudioError(f"A clip cannot be written as {str(path)!r}: {error}; use .wav.") from None
    return path


def write_wav(stream: BinaryIO, samples: npt.NDArray[np.float32], sample_rate: int) -> None:
    """Write a mono 16-bit WAV to an open binary stream."""
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(to_s16(samples).astype("<i2").tobytes())


def for_player(
    samples: npt.NDArray[np.float32], sample_rate: int, *, lossless: bool
) -> tuple[str, bytes]:
    """Return (MIME type, bytes) of a file that every browser plays: FLAC, or MP3 at a third of it."""
    import soundfile

    kind, subtype = ("FLAC", "PCM_16") if lossless else ("MP3", "MPEG_LAYER_III")
    buffer = io.BytesIO()
    soundfile.write(buffer, to_s16(samples), sample_rate, format=kind, subtype=subtype)
    return "audio/flac" if lossless else "audio/mpeg", buffer.getvalue()


def to_s16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return float samples in [-1, 1] as 16-bit integers, rounded; what exceeds is clipped."""
    scaled = np.rint(np.asarray(samples, dtype=np.float32) * 32768.0)
    clipped: npt.NDArray[np.int16] = np.clip(scaled, -32768, 32767).astype(np.int16)
    return clipped
