"""From a caller's RTP packets to samples without holes, without I/O; it must not know the call."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import Lost, Reorder, Unwrapped, unwrap
from rtnb.media.opus import SAMPLE_RATE, Decoder

__all__ = ["Hearing"]

S16 = npt.NDArray[np.int16]
_LONGEST_GAP: Final = 60 * SAMPLE_RATE  # a longer jump of the timestamp is a new beginning


class Hearing:
    """Opus packets in, samples out: in order, and silence where packets or time are missing."""

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, ssrc: int | None) -> None:
        self._ssrc = ssrc
        self._reorder = Reorder()
        self._decoder = Decoder()
        self._sequence = 0
        self._timestamp = 0
        self._expected: int | None = None  # timestamp of the next sample

    def push(self, packet: RtpArrival) -> list[S16]:
        """Take one packet and return the samples that can be heard with it, s16 mono 48,000 Hz."""
        if packet.ssrc != self._ssrc:
            self._begin(packet.ssrc)
            self._sequence, self._timestamp = packet.sequence, packet.timestamp
        self._sequence = unwrap(packet.sequence, self._sequence, 16)
        self._timestamp = unwrap(packet.timestamp, self._timestamp, 32)
        whole = Unwrapped(self._sequence, self._timestamp, packet.payload, packet.time)
        out: list[S16] = []
        for one in self._reorder.push(whole):
            if not isinstance(one, Lost):  # the next timestamp tells how much is missing
                out += self._place(one)
        return out

    def _place(self, packet: Unwrapped) -> list[S16]:
        samples = self._decoder.decode(packet.payload)
        if samples is None:
            return []
        gap = 0 if self._expected is None else packet.timestamp - self._expected
        self._expected = packet.timestamp + len(samples)
        if 0 < gap <= _LONGEST_GAP:
            return [np.zeros(gap, np.int16), samples]
        return [samples]
