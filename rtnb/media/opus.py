"""Opus in and out of 20 ms packets through PyAV's libopus; it must not know RTP or tracks.

A clip is encoded as a stream of its own, mono, with in-band FEC (RFC 6716 section 2.1.7), and kept,
so that any number of calls send the same packets.
"""

from __future__ import annotations

import functools
from fractions import Fraction
from typing import Final

import av
import numpy as np
import numpy.typing as npt

__all__ = [
    "FRAME",
    "LOOK_AHEAD",
    "SAMPLE_RATE",
    "TIME_BASE",
    "Decoder",
    "encode",
    "samples_in",
    "silent_packet",
]

SAMPLE_RATE: Final = 48_000  # Hz, the RTP clock of Opus (RFC 7587 section 4.1)
FRAME: Final = 960  # samples in 20 ms
TIME_BASE: Final = Fraction(1, SAMPLE_RATE)
LOOK_AHEAD: Final = 312  # samples by which libopus's `audio` mode delays (6.5 ms)

_BIT_RATE: Final = 32_000  # bit/s; mono speech is transparent to recognisers here
_OPTIONS: Final = {"application": "audio", "fec": "1", "packet_loss": "10", "frame_duration": "20"}
_KEPT_CLIPS: Final = 64

S16 = npt.NDArray[np.int16]


@functools.lru_cache(maxsize=_KEPT_CLIPS)
def encode(samples: bytes) -> tuple[bytes, ...]:
    """Encode a whole clip, flushed: its last sample is in the last packet.

    Parameters
    ----------
    samples
        s16 mono 48,000 Hz in native byte order.

    Returns
    -------
    tuple of bytes
        One packet per 20 ms; one more than the clip is long where the look-ahead asks for it.
    """
    pcm = np.frombuffer(samples, np.int16)
    frames = -(-(len(pcm) + LOOK_AHEAD) // FRAME)
    padded = np.zeros(frames * FRAME, np.int16)
    padded[: len(pcm)] = pcm
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate = _BIT_RATE
    codec.format = "s16"
    codec.layout = "mono"
    codec.sample_rate = SAMPLE_RATE
    codec.time_base = TIME_BASE
    codec.options = dict(_OPTIONS)
    packets: list[bytes] = []
    for start in range(0, len(padded), FRAME):
        block = padded[start : start + FRAME].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        frame.time_base = TIME_BASE
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return tuple(packets[:frames])


@functools.cache
def silent_packet() -> bytes:
    """Return one packet of silence, from the middle of an encoded silence."""
    return encode(bytes(2 * FRAME * 10))[5]


def samples_in(payload: bytes) -> int:
    """Return how many samples at 48,000 Hz a packet decodes to, from its first bytes.

    RFC 6716 section 3.1: the TOC byte names the frame size and how many frames there are. A packet
    that is too short to say counts as one frame of 20 ms.
    """
    if not payload:
        return FRAME
    configuration, code = payload[0] >> 3, payload[0] & 3
    if configuration < 12:  # SILK: 10, 20, 40, 60 ms
        size = (480, 960, 1920, 2880)[configuration % 4]
    elif configuration < 16:  # hybrid: 10, 20 ms
        size = (480, 960)[configuration % 2]
    else:  # CELT: 2.5, 5, 10, 20 ms
        size = (120, 240, 480, 960)[configuration % 4]
    if code < 3:
        return size * (1, 2, 2)[code]
    return size * (payload[1] & 63) if len(payload) > 1 else FRAME


class Decoder:
    """Decodes one stream of Opus packets to mono; keeps the codec's state from packet to packet."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format = "s16"
        self._codec.layout = "mono"
        self._codec.sample_rate = SAMPLE_RATE

    def decode(self, payload: bytes) -> S16 | None:
        """Return the samples of one packet, s16 shape (n,) at 48,000 Hz; None if it is damaged."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except av.FFmpegError:
            return None
        if not frames:
            return None
        return np.concatenate([np.asarray(f.to_ndarray()[0], np.int16) for f in frames])
