"""RTP streams as lists of packets, and what `Receiving` makes of them, without a network."""

from __future__ import annotations

from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from rtnb.media import opus
from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import Placed, Receiving
from rtnb.media.opus import FRAME, LOOK_AHEAD, SAMPLE_RATE

START: Final = 1000.0  # monotonic seconds at 0 of the call
PTIME: Final = 0.02
ZERO: Final = (
    START + LOOK_AHEAD / SAMPLE_RATE
)  # a stream that begins then has its first sample at 0

S16 = npt.NDArray[np.int16]


def speech(duration: float) -> S16:
    """Return noise-free sound that differs from moment to moment: a rising tone."""
    at = np.arange(round(duration * 48_000)) / 48_000
    return (12_000 * np.sin(2 * np.pi * (200 + 300 * at) * at)).astype(np.int16)


def voice(duration: float) -> S16:
    """Return sound that libopus takes for speech: harmonics of a gliding pitch, in syllables."""
    at = np.arange(round(duration * 48_000)) / 48_000
    phase = 2 * np.pi * (130 * at + 20 * np.sin(2 * np.pi * at) / 6)
    harmonics = sum(np.sin(n * phase) / n for n in range(1, 25))
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 3.5 * at)
    return (5_000 * syllables * harmonics).astype(np.int16)


def encode(pcm: S16, *, ptime: float = PTIME, **options: str) -> list[bytes]:
    """Encode samples, shape (n,) or (n, 2) for stereo, in packets of another duration."""
    stereo = pcm.ndim == 2
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.sample_rate = 32_000, "s16", SAMPLE_RATE
    codec.layout = layout = "stereo" if stereo else "mono"
    codec.options = {"frame_duration": f"{ptime * 1000:g}", "application": "audio", **options}
    out = []
    size = round(ptime * SAMPLE_RATE)
    for start in range(0, len(pcm) - size + 1, size):
        block = np.ascontiguousarray(pcm[start : start + size]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout=layout)
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        out += [bytes(packet) for packet in codec.encode(frame)]
    return out


def stream(
    payloads: list[bytes] | tuple[bytes, ...],
    *,
    sequence: int = 100,
    timestamp: int = 5_000,
    ssrc: int = 1,
    at: float = ZERO,
    is_opus: bool = True,
    drop: tuple[int, ...] = (),
) -> list[RtpArrival]:
    """Return packets as they would arrive: steadily, and without the dropped ones."""
    out, passed = [], 0
    for index, payload in enumerate(payloads):
        numbers = ((sequence + index) % 65_536, (timestamp + passed) % 2**32, ssrc)
        arrival = RtpArrival(*numbers, payload, at + passed / SAMPLE_RATE, is_opus)
        passed += opus.samples_in(payload)
        if index not in drop:
            out.append(arrival)
    return out


def arrivals(pcm: S16, **where: Any) -> list[RtpArrival]:
    """Encode samples as a prompt is, and return their packets; see `stream`."""
    return stream(opus.encode(pcm.tobytes()), **where)


def moved(packet: RtpArrival, **changes: Any) -> RtpArrival:
    """Return a packet with some fields changed; `later` adds seconds to its arrival."""
    names = ("sequence", "timestamp", "ssrc", "payload", "time", "opus")
    fields = {name: getattr(packet, name) for name in names}
    fields["time"] += changes.pop("later", 0.0)
    return RtpArrival(**(fields | changes))


def receive(*streams: list[RtpArrival]) -> tuple[Receiving, list[Placed]]:
    """Receive packets in the order given, to the end of the stream."""
    receiving = Receiving(START)
    placed = [one for packets in streams for p in packets for one in receiving.push(p)]
    return receiving, placed + receiving.flush()


def kinds(placed: list[Placed]) -> dict[str, int]:
    """Count the rows of each kind."""
    found = [str(one.row[0]) for one in placed]
    return {kind: found.count(kind) for kind in found}


def laid(placed: list[Placed], length: int) -> S16:
    """Return the samples where they were placed, and silence elsewhere."""
    out = np.zeros(length, np.int16)
    for one in placed:
        if one.samples is not None:
            count = max(min(len(one.samples), length - one.position), 0)
            out[one.position : one.position + count] = one.samples[:count]
    return out


def likeness(heard: S16, original: S16) -> float:
    """Return the correlation of what was heard, from a packet's place on, with what was sent in it."""
    shifted = heard[LOOK_AHEAD:][: len(original)]
    return float(np.corrcoef(shifted, original[: len(shifted)])[0, 1])


def level(samples: S16) -> float:
    """Return the RMS."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def frames(first: int, last: int | None = None) -> slice:
    """Return the samples of the 20 ms frames from `first` up to `last`, by default one."""
    return slice(first * FRAME, (first + 1 if last is None else last) * FRAME)
