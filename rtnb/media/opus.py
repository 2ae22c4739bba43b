"""Opus in and out of 20 ms packets through PyAV's libopus; it must not know RTP or tracks.

A clip is encoded as a stream of its own, mono, with in-band FEC (RFC 6716 section 2.1.7), and kept,
so that any number of calls send the same packets. A live voice is encoded the same way as it comes.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from rtnb.media import libopus

__all__ = [
    "FRAME",
    "LOOK_AHEAD",
    "SAMPLE_RATE",
    "TIME_BASE",
    "Decoder",
    "Encoding",
    "LiveEncoder",
    "encode",
    "encoding_of",
    "prepare",
    "samples_in",
    "silent_packet",
]

SAMPLE_RATE: Final = 48_000  # Hz, the RTP clock of Opus (RFC 7587 section 4.1)
FRAME: Final = 960  # samples in 20 ms
TIME_BASE: Final = Fraction(1, SAMPLE_RATE)
LOOK_AHEAD: Final = 312  # samples by which libopus's `audio` mode delays (6.5 ms)

_BIT_RATE: Final = 48_000  # bit/s; see `benchmarks/opus_settings.py`
_OPTIONS: Final = {"application": "audio", "fec": "1", "packet_loss": "10", "frame_duration": "20"}
_KEPT_CLIPS: Final = 64
_AT_ONCE: Final = 25  # packets that are made in one go: 5 ms of work

_FRAME_SAMPLES: Final = (  # by configuration (RFC 6716 section 3.1)
    *((480, 960, 1920, 2880) * 3),  # SILK: 10, 20, 40, 60 ms
    *((480, 960) * 2),  # hybrid: 10, 20 ms
    *((120, 240, 480, 960) * 4),  # CELT: 2.5, 5, 10, 20 ms
)

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
        if index < len(self._packets):  # without the lock: a loop must not wait for who makes all
            return self._packets[index]
        with self._lock:  # for one packet at a time
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


def prepare(samples: bytes) -> Encoding:
    """Encode the first half second of a clip now, and the rest on a thread; keep the packets.

    A call can then begin to play it, however long it is, and its loop need not encode.

    Parameters
    ----------
    samples
        s16 mono 48,000 Hz in native byte order.
    """
    encoding = encoding_of(samples)
    _go_on(encoding, 0)
    return encoding


@functools.cache
def _ahead() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="rtnb-opus")


def _go_on(encoding: Encoding, made: int) -> None:
    """Make the next packets of a clip, and queue up for the rest: long clips take turns."""
    for index in range(made, made + _AT_ONCE):
        if encoding.packet(index) is None:
            return
    with contextlib.suppress(RuntimeError):  # the interpreter is ending
        _ahead().submit(_go_on, encoding, made + _AT_ONCE)


def _encoding(samples: bytes) -> Iterator[bytes]:
    pcm = np.frombuffer(samples, np.int16)
    frames = -(-(len(pcm) + LOOK_AHEAD) // FRAME)
    padded = np.zeros(frames * FRAME, np.int16)
    padded[: len(pcm)] = pcm
    codec = _encoder()
    made = 0
    for start in range(0, len(padded), FRAME):
        for packet in codec.encode(_frame(padded[start : start + FRAME], start)):
            made += 1
            if made <= frames:
                yield bytes(packet)


def _encoder() -> av.AudioCodecContext:
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate = _BIT_RATE
    codec.format = "s16"
    codec.layout = "mono"
    codec.sample_rate = SAMPLE_RATE
    codec.time_base = TIME_BASE
    codec.options = dict(_OPTIONS)
    return codec


def _frame(block: S16, pts: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    frame.pts = pts
    frame.time_base = TIME_BASE
    return frame


class LiveEncoder:
    """Encodes what is not known before, 20 ms at a time, as a clip is encoded.

    The codec's state goes on from block to block, and its look-ahead holds the last 6.5 ms back:
    a block of silence after the last one brings them out.
    """

    def __init__(self) -> None:
        self._codec = _encoder()
        self._pts = 0

    def encode(self, block: S16) -> bytes:
        """Return the packet of the next 960 samples, s16; takes about 0.2 ms."""
        made = self._codec.encode(_frame(block, self._pts))
        self._pts += FRAME
        return bytes(made[0])


@functools.cache
def silent_packet() -> bytes:
    """Return one packet of silence, from the middle of an encoded silence."""
    return encode(bytes(2 * FRAME * 10))[5]


def samples_in(payload: bytes) -> int:
    """Return how many samples at 48,000 Hz a packet decodes to, from its first bytes.

    RFC 6716 section 3.1: the TOC byte names the frame size and how many frames there are. A packet
    that is too short to say, or is none because it says nothing or more than 120 ms, counts as one
    frame of 20 ms.
    """
    if not payload:
        return FRAME
    code = payload[0] & 3
    if code < 3:
        return _FRAME_SAMPLES[payload[0] >> 3] * (1, 2, 2)[code]
    said = frame_samples(payload) * (payload[1] & 63) if len(payload) > 1 else 0
    return said if 0 < said <= libopus.MOST else FRAME


def frame_samples(payload: bytes) -> int:
    """Return how many samples each frame of a packet has, which must not be empty."""
    return _FRAME_SAMPLES[payload[0] >> 3]


class Decoder:
    """Decodes one stream of Opus packets to mono; keeps the codec's state from packet to packet.

    Both channels of a stereo packet are mixed to their mean.

    Parameters
    ----------
    direct
        Whether to call libopus itself where it is found. PyAV decodes to the same samples, but
        leaves the copies out that packets carry of the frames before them.

    Attributes
    ----------
    copies : bool
        Whether `fec` can be asked.
    """

    def __init__(self, *, direct: bool = True) -> None:
        lib = libopus.loaded() if direct else None
        self._stream = _PyAvDecoder() if lib is None else libopus.StreamDecoder(lib)
        self.copies = lib is not None

    def decode(self, payload: bytes) -> S16 | None:
        """Return the samples of one packet, s16 shape (n,) at 48,000 Hz; None if it is damaged."""
        return self._stream.decode(payload)

    def conceal(self, samples: int) -> S16:
        """Return that many samples, at most 5760, in place of lost ones: PLC (RFC 6716 4.4)."""
        return self._stream.conceal(samples)

    def fec(self, payload: bytes, samples: int) -> S16:
        """Return the samples before a packet, from the copy of them that it carries."""
        assert isinstance(self._stream, libopus.StreamDecoder)
        return self._stream.fec(payload, samples)


class _PyAvDecoder:
    """Decodes where libopus itself was not found."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format = "s16"
        self._codec.layout = "mono"
        self._codec.sample_rate = SAMPLE_RATE
        self._last: bytes | None = None

    def decode(self, payload: bytes) -> S16 | None:
        if not payload:  # to PyAV it would mean the end
            return None
        try:
            frames = self._codec.decode(av.Packet(payload))
        except av.FFmpegError:
            return None
        self._last = payload
        if len(frames) == 1:  # as always with 20 ms
            return _samples(frames[0])
        return np.concatenate([_samples(f) for f in frames]) if frames else None

    def conceal(self, samples: int) -> S16:
        """Decode empty frames like the last one: libopus takes them for lost."""
        out = np.zeros(samples, np.int16)
        if not self._last:
            return out
        empty = bytes([self._last[0] & 0xFC])
        size = frame_samples(empty)
        for at in range(0, samples, size):
            made = _samples(self._codec.decode(av.Packet(empty))[0])
            out[at : at + size] = made[: samples - at]
        return out


def _samples(frame: av.AudioFrame) -> S16:
    """Return a mono frame's samples; `to_ndarray` takes five times as long."""
    plane: Any = frame.planes[0]  # a buffer, which its type does not tell
    return np.frombuffer(plane, np.int16, frame.samples).copy()
