"""The libopus that comes with PyAV, called directly for what PyAV leaves out; it must not know RTP.

PyAV decodes whole packets only: the copy that a packet carries of the frame before it (in-band FEC,
RFC 6716 section 2.1.7) is asked for with an argument that PyAV does not pass on. The library is the
one that PyAV has loaded already, so nothing is loaded twice.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["MOST", "StreamDecoder", "loaded", "version"]

MOST: Final = 5760  # samples in the longest packet: 120 ms at 48,000 Hz (RFC 6716 section 2.1.4)

_SAMPLE_RATE: Final = 48_000
_STEP: Final = 120  # samples, 2.5 ms, of which libopus makes up whole numbers
_SILENCE: Final = b"\xf8"  # CELT, 20 ms, mono, without a byte (RFC 6716 section 3.1)
_PLACES: Final = (  # beside PyAV's package, where auditwheel, delocate and delvewheel put libraries
    ("../av.libs", "libopus[-.]*so*"),
    (".dylibs", "libopus.*dylib"),
    ("../av.libs", "*opus*.dll"),
)

S16 = npt.NDArray[np.int16]


def _candidates() -> Iterator[Path]:
    """Yield the files that may be PyAV's libopus."""
    found = importlib.util.find_spec("av")
    for package in (found.submodule_search_locations or []) if found else []:
        for folder, pattern in _PLACES:
            yield from sorted((Path(package) / folder).resolve().glob(pattern))


@functools.cache
def loaded() -> Any | None:
    """Return the checked library, or None where none was found that decodes; it never raises."""
    for path in _candidates():
        with contextlib.suppress(OSError, AttributeError, MemoryError):  # it is another one
            checked = _declared(ctypes.CDLL(str(path)))
            if _decodes(checked):
                return checked
    return None


def _declared(lib: ctypes.CDLL) -> ctypes.CDLL:
    lib.opus_get_version_string.restype = ctypes.c_char_p
    lib.opus_decoder_create.restype = ctypes.c_void_p
    lib.opus_decoder_create.argtypes = (
        *(ctypes.c_int32, ctypes.c_int),
        ctypes.POINTER(ctypes.c_int),
    )
    lib.opus_decoder_destroy.restype = None
    lib.opus_decoder_destroy.argtypes = (ctypes.c_void_p,)
    lib.opus_decode.restype = ctypes.c_int
    lib.opus_decode.argtypes = (
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32),
        *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int),
    )
    return lib


def _decodes(lib: ctypes.CDLL) -> bool:
    """Try it once: what cannot decode 20 ms of silence is not what it was taken for."""
    if not lib.opus_get_version_string().startswith(b"libopus"):
        return False
    samples = StreamDecoder(lib).decode(_SILENCE)
    return samples is not None and len(samples) == _SAMPLE_RATE // 50


def version() -> str | None:
    """Return the library's name and version, as in ``libopus 1.6.1``; None without a library."""
    lib = loaded()
    return None if lib is None else str(lib.opus_get_version_string().decode())


class StreamDecoder:
    """One stream's decoder: s16 mono at 48,000 Hz, the mean of both channels of a stereo packet.

    Parameters
    ----------
    lib
        What `loaded` returned.

    Raises
    ------
    MemoryError
        libopus could not make a decoder.
    """

    def __init__(self, lib: Any):
        error = ctypes.c_int()
        state = lib.opus_decoder_create(_SAMPLE_RATE, 1, ctypes.byref(error))
        if not state:
            raise MemoryError(f"libopus could not make a decoder (error {error.value}).")
        self._destroy = lib.opus_decoder_destroy
        self._state = ctypes.c_void_p(state)
        self._decode = lib.opus_decode
        self._out = np.zeros(MOST, np.int16)
        self._to = ctypes.c_void_p(self._out.ctypes.data)

    def __del__(self) -> None:
        state = self.__dict__.pop("_state", None)
        if state is not None:
            self._destroy(state)

    def decode(self, payload: bytes) -> S16 | None:
        """Return the samples of one packet, shape (n,); None if it is damaged."""
        if not payload:  # to libopus it would mean a loss
            return None
        count = self._decode(self._state, payload, len(payload), self._to, MOST, 0)
        return self._out[:count].copy() if count > 0 else None

    def conceal(self, samples: int) -> S16:
        """Return that many samples, at most `MOST`, in place of lost ones.

        Raises
        ------
        ValueError
            It would be more than `MOST`.
        """
        if samples > MOST:  # libopus would write beyond the buffer
            raise ValueError(f"At most {MOST} samples can be made up at once, not {samples}.")
        whole = -(-samples // _STEP) * _STEP
        return self._made(self._decode(self._state, None, 0, self._to, whole, 0), samples)

    def fec(self, payload: bytes, samples: int) -> S16:
        """Return the samples before a packet from the copy that it carries.

        libopus makes them up as `conceal` does where the packet carries none.
        """
        made = self._decode(self._state, payload, len(payload), self._to, samples, 1)
        return self._made(made, samples)

    def _made(self, count: int, samples: int) -> S16:
        return self._out[:samples].copy() if count >= samples else np.zeros(samples, np.int16)
