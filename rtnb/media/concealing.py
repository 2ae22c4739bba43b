"""What stands in for audio that never came; it must not know RTP or where the samples go.

The packet after a loss may carry a copy of the last missing frame (in-band FEC, RFC 6716 section
2.1.7); the frames before it are the decoder's own concealment (PLC, section 4.4): the waveform goes
on, and fades. It ends in silence after 100 ms: what is made up beyond that is not speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media import libopus
from rtnb.media.opus import FRAME, SAMPLE_RATE, Decoder, frame_samples

__all__ = ["Concealed", "Concealer", "carries_fec", "method"]

LONGEST: Final = 5 * FRAME  # samples made up at most, 100 ms
CONNECTED: Final = SAMPLE_RATE  # samples; after a longer loss nothing leads over to the next packet

S16 = npt.NDArray[np.int16]


def method() -> str:
    """Say how losses are concealed here, as in ``libopus 1.6.1: FEC, then PLC``."""
    version = libopus.version()
    return f"{version}: FEC, then PLC" if version else "libopus through PyAV: PLC only"


@dataclass(frozen=True, slots=True)
class Concealed:
    """What stands in for a loss.

    Attributes
    ----------
    samples : numpy.ndarray
        s16, shape (n,), from the beginning of the loss; what they do not cover is silence.
    methods : dict of str to int
        How many packets each method stands in for: ``plc``, ``fec``, in the order of time.
    """

    samples: S16
    methods: dict[str, int]


class Concealer:
    """Decodes a stream and fills its losses.

    Parameters
    ----------
    decoder
        The stream's own; by default a new one.
    """

    def __init__(self, decoder: Decoder | None = None):
        self._decoder = decoder or Decoder()
        self._last_toc = 0xFF  # CELT, which has no copies

    def decode(self, payload: bytes) -> S16 | None:
        """Return the samples of one packet, s16 shape (n,) at 48,000 Hz; None if it is damaged."""
        samples = self._decoder.decode(payload)
        if samples is not None:
            self._last_toc = payload[0]
        return samples

    def conceal(self, missing: int, count: int, following: bytes) -> Concealed:
        """Return what stands in for `count` packets of `missing` samples before a packet."""
        if missing <= 0:
            return Concealed(np.zeros(0, np.int16), {})
        copied = self._copied(missing, following)
        made = min(missing - copied, LONGEST)
        methods = {"plc": min(max(count - bool(copied), 1), -(-made * count // missing))}
        out = np.zeros(missing if copied else made, np.int16)
        out[:made] = self._make_up(made, fade=made < missing - copied)
        if copied:
            methods["fec"] = 1
            out[-copied:] = self._decoder.fec(following, copied)
        return Concealed(out, {name: number for name, number in methods.items() if number})

    def _copied(self, missing: int, following: bytes) -> int:
        """Return how many samples before a packet libopus takes from the packet's copy of them."""
        if missing > CONNECTED or not self._decoder.copies or _is_celt(self._last_toc):
            return 0
        if not carries_fec(following):
            return 0
        size = frame_samples(following)
        return size if size <= missing else 0

    def _make_up(self, count: int, *, fade: bool) -> S16:
        parts = [self._decoder.conceal(min(FRAME, count - at)) for at in range(0, count, FRAME)]
        out = np.concatenate([np.zeros(0, np.int16), *parts])
        if fade:
            last = min(FRAME, count)
            out[-last:] = out[-last:] * np.linspace(1, 0, last)
        return out


def _is_celt(toc: int) -> bool:
    return toc >> 3 >= 16  # RFC 6716 section 3.1


def carries_fec(payload: bytes) -> bool:
    """Whether a packet carries a copy of the frame before it (LBRR).

    SILK and hybrid frames begin with a VAD flag for each 20 ms and then the LBRR flag, for the mid
    channel and then for the side channel (RFC 6716 section 4.2.3); CELT frames have none.
    """
    start = _first_frame(payload)
    if start is None or _is_celt(payload[0]):
        return False
    flags = max(frame_samples(payload) // FRAME, 1)
    found = payload[start] >> (7 - flags) & 1
    if payload[0] & 4:  # stereo
        found |= payload[start] >> (6 - 2 * flags) & 1
    return bool(found)


def _first_frame(payload: bytes) -> int | None:
    """Return where a packet's first frame begins; None if it is empty (RFC 6716 section 3.2)."""
    at, lengths = 1, 0
    try:
        code = payload[0] & 3
        if code == 2:
            lengths = 1
        elif code == 3:
            at = 2
            if payload[1] & 0x40:  # padding
                while payload[at] == 255:
                    at += 1
                at += 1
            lengths = (payload[1] & 63) - 1 if payload[1] & 0x80 else 0
        if lengths and not payload[at]:
            return None  # the first frame has no bytes
        for _ in range(lengths):
            at += 2 if payload[at] >= 252 else 1
        return at if at < len(payload) else None
    except IndexError:
        return None
