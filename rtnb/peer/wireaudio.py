"""Audio as events carry it, base64 of PCM or G.711, to samples and back; it must not know items."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb._audiofile import to_s16
from rtnb.audio import resample
from rtnb.dialects import Json
from rtnb.peer.checks import Problem, missing

__all__ = ["LARGEST_AUDIO", "decoded", "encoded"]

S16 = npt.NDArray[np.int16]

LARGEST_AUDIO: Final = 15 * 1024 * 1024
"The longest base64 of one event, in characters."

_RATE: Final = 48_000
_PCM_RATE: Final = 24_000
_G711_RATE: Final = 8_000
_BIAS: Final = 132  # of µ-law, on 16 bits


def decoded(value: object, form: Json, path: str) -> S16:
    """Return the samples that a client sent.

    Parameters
    ----------
    value
        Base64.
    form
        The session's ``audio.input.format``.
    path
        Where it stands.

    Returns
    -------
    numpy.ndarray
        s16 mono 48,000 Hz, shape (n,).

    Raises
    ------
    Problem
        There is none, it is too long, or no audio of that format.
    """
    if value is None:
        raise missing(path)
    if isinstance(value, str) and len(value) > LARGEST_AUDIO:
        message = f"Invalid '{path}': expected at most {LARGEST_AUDIO} characters."
        raise Problem(message, path, "string_above_max_length")
    name = str(form["type"])
    width = 2 if name == "audio/pcm" else 1
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or len(raw) % width:
        kind = "16-bit PCM at 24 kHz" if width == 2 else f"{name} at 8 kHz"
        message = f"Invalid '{path}'. Expected base64-encoded audio bytes: mono {kind}."
        raise Problem(message, path)
    if name == "audio/pcm":
        wire, rate = np.frombuffer(raw, "<i2"), _PCM_RATE
    else:
        wire, rate = _TABLES[name][np.frombuffer(raw, np.uint8)], _G711_RATE
    return to_s16(resample(wire.astype(np.float32) / 32768.0, rate, _RATE))


def encoded(samples: S16, form: Json) -> str:
    """Return samples as events show them.

    Parameters
    ----------
    samples
        s16 mono 48,000 Hz.
    form
        The session's format of that side.
    """
    name = str(form["type"])
    rate = _PCM_RATE if name == "audio/pcm" else _G711_RATE
    wire = to_s16(resample(samples.astype(np.float32) / 32768.0, _RATE, rate))
    raw = wire.astype("<i2") if name == "audio/pcm" else _nearest(_TABLES[name], wire)
    return base64.b64encode(raw.tobytes()).decode("ascii")


# --- G.711 ---------------------------------------------------------------------------------------


def _mu_law() -> S16:
    """Return what each byte of PCMU means (ITU-T G.711, table 2)."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, code & 15
    size = (((mantissa.astype(np.int32) << 3) + _BIAS) << exponent) - _BIAS
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _a_law() -> S16:
    """Return what each byte of PCMA means (ITU-T G.711, table 1)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    size = np.where(
        exponent == 0,
        (mantissa << 4) + 8,
        ((mantissa << 4) + 0x108) << np.maximum(exponent.astype(np.int32) - 1, 0),
    )
    return np.where(code & 0x80, size, -size).astype(np.int16)


_TABLES: Final = {"audio/pcmu": _mu_law(), "audio/pcma": _a_law()}


def _nearest(table: S16, samples: S16) -> npt.NDArray[np.uint8]:
    """Return for each sample the byte that means the nearest value."""
    order = np.argsort(table, kind="stable")
    values = table[order].astype(np.int32)
    between = (values[1:] + values[:-1]) / 2
    return order[np.searchsorted(between, samples)].astype(np.uint8)
