"""Opus in and out of 20 ms packets through PyAV's libopus; it must not know RTP or tracks.

A clip is encoded as a stream of its own, mono, with in-band FEC (RFC 6716 section 2.1.7), and kept,
so that any number of calls send the same packets.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

__all__ = [
    "FRAME",
    "LOOK_AHEAD",
    "SAMPLE_RATE",
    "TIME_BASE",
    "Decoder",
    "Encoding",
    "encode",
    "encoding_of",
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


class Encoding:
    """One clip's packets, each made when somebody needs it and then kept.

    Encoding a clip takes about a hundredth of its duration, for which neither its first packet nor
    a loop that sends can wait.

    Parameters
    ----------
    samples
        s16 mono 48,000 Hz in native byte order.
    """

    def __init__(self, samples: bytes):
        self._packets: list[bytes] = []
        self._more = _encoding(samples)
        self._lock = threading.Lock()
        self._all: tuple[bytes, ...] | None = None

    def packet(self, index: int) -> bytes | None:
        """Return the packet of that number, from 0, or None after the last one."""
        with self._lock:  # for one packet at a time: a loop may wait for a thread that makes all
            while len(self._packets) <= index:
                made = next(self._more, None)
                if made is None:
                    return None
                self._packets.append(made)
            return self._packets[index]

    def whole(self) -> tuple[bytes, ...]:
        """Return all packets."""
        if self._all is None:
            while self.packet(len(self._packets)) is not None:
                pass
            self._all = tuple(self._packets)
        return self._all


@functools.lru_cache(maxsize=_KEPT_CLIPS)
def encoding_of(samples: bytes) -> Encoding:
    """Return a clip's packets, which are kept for whoever asks for the same clip again."""
    return Encoding(samples)


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
    return encoding_of(samples).whole()


def _encoding(samples: bytes) -> Iterator[bytes]:
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
    made = 0
    for start in range(0, len(padded), FRAME):
        block = padded[start : start + FRAME].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = start
        frame.time_base = TIME_BASE
        for packet in codec.encode(frame):
            made += 1
            if made <= frames:
                yield bytes(packet)


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
        if len(frames) == 1:  # as always with 20 ms
            return _samples(frames[0])
        return np.concatenate([_samples(f) for f in frames]) if frames else None


def _samples(frame: av.AudioFrame) -> S16:
    """Return a mono frame's samples; `to_ndarray` takes five times as long."""
    plane: Any = frame.planes[0]  # a buffer, which its type does not tell
    return np.frombuffer(plane, np.int16, frame.samples).copy()
