"""What the benchmarks of capture share: one call with chosen packets lost, heard in several ways.

Each listener has a WebRTC connection of its own on loopback, over which the same packets leave at
the same times, except those that are to be lost. The sender never skips: packet `i` is due
``i * 20 ms`` after the first one, with timestamp ``i * 960``, however late the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.contrib.media import MediaRecorder
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

import rtnb
from rtnb.audio import to_pcm
from rtnb.media import aiortc_hooks
from rtnb.media.aiortc_hooks import RtpArrival, RtpDeparture
from rtnb.media.capture import Receiving
from rtnb.media.opus import FRAME, LOOK_AHEAD, SAMPLE_RATE, TIME_BASE, Decoder, encode
from rtnb.peer import Network
from rtnb.peer.impairment import Impairment

IN_FLIGHT = 0.6  # seconds after the last packet, in which frames that are held back can come
FIRST = 40  # packets at the beginning that always arrive: the clock of a stream settles
LAST = 15  # packets at the end that do: a loss is seen by what comes after it
ALIKE = 0.9  # correlation from which a frame counts as the one that was sent
QUIET = 0.01  # loudness, of full scale, below which windows are left out of the speech

S16 = npt.NDArray[np.int16]
Drops = Collection[int]


# --- what is said ---------------------------------------------------------------------------------


@functools.cache
def speech(seconds: float) -> bytes:
    """Return speech without pauses, s16 at 48,000 Hz: each stretch of it is like no other.

    It is the bundled prompts and then the peer's replies one after another, without their windows
    of 20 ms that are quiet.

    Raises
    ------
    ValueError
        There is not so much speech.
    """
    replies = sorted((Path(rtnb.peer.__file__).parent / "replies").glob("*.wav"))
    clips = [rtnb.Clip.read(path).resample(SAMPLE_RATE) for path in (*rtnb.samples(), *replies)]
    pcm = np.concatenate([np.frombuffer(to_pcm(clip), np.int16) for clip in clips])
    windows = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)
    loud = np.sqrt(np.mean((windows / 32768) ** 2, axis=1)) > QUIET
    kept = windows[loud].ravel()
    count = round(seconds * SAMPLE_RATE)
    if len(kept) < count:
        raise ValueError(f"there are {len(kept) / SAMPLE_RATE:.1f} s of speech, not {seconds:g} s")
    return kept[:count].tobytes()


@functools.cache
def packets_of(seconds: float) -> tuple[bytes, ...]:
    """Return the packets of the speech, with FEC in them."""
    return encode(speech(seconds))


@functools.cache
def reference_of(seconds: float) -> S16:
    """Return what a decoder makes of all packets."""
    decoder = Decoder()
    decoded = [decoder.decode(packet) for packet in packets_of(seconds)]
    return np.concatenate([samples for samples in decoded if samples is not None])


def isolated(count: int, packets: int) -> tuple[int, ...]:
    """Return which packets are lost: `count` of them, evenly spread, each on its own."""
    places = np.linspace(FIRST, packets - LAST - 1, count + 2)[1:-1]
    return tuple(int(place) for place in places)


def at_random(network: Network, packets: int, *, seed: int) -> tuple[int, ...]:
    """Return which packets a network loses; the first and the last ones always arrive."""
    impairment: Impairment[int] = Impairment(network, f"{seed} benchmark")
    lost = [number for number in range(packets) if impairment.push(number).dropped]
    return tuple(number for number in lost if FIRST <= number < packets - LAST)


# --- a call ---------------------------------------------------------------------------------------


class _Speaking(MediaStreamTrack):
    """Packets on a schedule that is never left."""

    kind = "audio"

    def __init__(self, packets: Sequence[bytes]) -> None:
        super().__init__()
        self._packets = packets
        self._next = 0
        self._start: float | None = None

    async def recv(self) -> av.Packet[Any]:
        """Return the next packet when it is due."""
        if self._next == len(self._packets):
            self.stop()
            raise MediaStreamError
        now = asyncio.get_running_loop().time()
        self._start = now if self._start is None else self._start
        await asyncio.sleep(max(self._start + self._next * FRAME / SAMPLE_RATE - now, 0))
        packet = av.Packet(self._packets[self._next])
        packet.pts, packet.time_base = self._next * FRAME, TIME_BASE
        self._next += 1
        return packet


class Listener:
    """One end that hears; a subclass says how."""

    departures: dict[int, float]

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """Prepare to hear a receiver, of which no packet has come."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End; everything is heard."""


class Recorded(Listener):
    """A listener that writes a WAV, as aiortc's `MediaRecorder` and `rtnb.Recorder` do.

    `samples` and `gaps` count from the first sample that a decoder gives. Below the jitter buffer
    rtnb leaves out Opus's look-ahead, which is no sound of the speaker's: it is put back here.
    """

    def __init__(self, make: Callable[[str], Any], *, below: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "heard.wav"
        self.recorder = make(str(self._path))
        self._below = below
        self._skipped = LOOK_AHEAD if below else 0

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """Record the receiver, or its track."""
        self.recorder.addTrack(receiver if self._below else receiver.track)

    async def start(self) -> None:
        """Begin to record."""
        await self.recorder.start()

    async def stop(self) -> None:
        """Close the file, and read it."""
        await self.recorder.stop()
        samples, _ = soundfile.read(self._path, dtype="int16", always_2d=True)
        self.samples: S16 = np.concatenate([np.zeros(self._skipped, np.int16), samples[:, 0]])
        by = self._skipped / SAMPLE_RATE
        self.gaps = [(a + by, b + by) for a, b in getattr(self.recorder, "gaps", ())]
        self._folder.cleanup()


def media_recorder() -> Recorded:
    """Return aiortc's own recorder: frames written one after another as they come."""
    return Recorded(MediaRecorder)


def by_pts() -> Recorded:
    """Return `rtnb.Recorder` on the track: the frames of the jitter buffer, placed by their PTS."""
    return Recorded(rtnb.Recorder)


def ours() -> Recorded:
    """Return `rtnb.Recorder` on the receiver: packets below the jitter buffer."""
    return Recorded(rtnb.Recorder, below=True)


@dataclass
class Frames(Listener):
    """Takes frames from the track as they come, and notes when: (packet, monotonic seconds)."""

    came: list[tuple[int, float]] = field(default_factory=list)

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """Take the receiver's track."""
        self._track = receiver.track

    async def start(self) -> None:
        """Begin to take."""
        self._task = asyncio.ensure_future(self._take())

    async def stop(self) -> None:
        """Take no more."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _take(self) -> None:
        first: int | None = None
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await self._track.recv()
                first = frame.pts if first is None else first
                self.came.append(((frame.pts - first) // FRAME, time.monotonic()))


@dataclass
class Placing(Listener):
    """The capture of a call of rtnb's: notes when the samples of each packet are placed."""

    came: list[tuple[int, float]] = field(default_factory=list)

    def attach(self, receiver: RTCRtpReceiver) -> None:
        """Tap the receiver."""
        self._receiving = Receiving(time.monotonic())
        self._first: int | None = None
        assert aiortc_hooks.tap_receiver(receiver, self._packet)

    @property
    def concealed(self) -> dict[str, int]:
        """How many losses were concealed by which method."""
        return self._receiving.concealed

    def _packet(self, packet: RtpArrival) -> None:
        placed = self._receiving.push(packet)
        now = time.monotonic()
        for one in placed:
            if one.row[0] == "received":
                stamp = int(one.row[2])  # type: ignore[call-overload]
                self._first = stamp if self._first is None else self._first
                self.came.append(((stamp - self._first) % 2**32 // FRAME, now))


async def call(packets: Sequence[bytes], drops: Drops, listener: Listener) -> None:
    """Send packets over WebRTC to a listener, except those that are to be lost."""
    caller, callee = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    track = _Speaking(packets)
    sender = caller.addTrack(track)
    listener.departures = {}
    numbers = iter(range(len(packets)))

    async def carry(_: RtpDeparture, send: Callable[[], Any]) -> None:
        number = next(numbers)
        listener.departures[number] = time.monotonic()
        if number not in drops:
            await send()

    assert aiortc_hooks.intercept_sender(sender, carry)
    starting: list[asyncio.Future[None]] = []

    def heard(remote: MediaStreamTrack) -> None:
        receiver = aiortc_hooks.receiver_of(callee, remote)
        assert receiver is not None
        listener.attach(receiver)
        starting.append(asyncio.ensure_future(listener.start()))

    callee.on("track", heard)
    ended = asyncio.Event()
    track.on("ended", ended.set)
    try:
        with aiortc_hooks.loopback_only():
            await caller.setLocalDescription(await caller.createOffer())
            await callee.setRemoteDescription(caller.localDescription)
            await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        async with asyncio.timeout(len(packets) * FRAME / SAMPLE_RATE + 60):
            await ended.wait()
        await asyncio.sleep(IN_FLIGHT)
        await asyncio.gather(*starting)
        await listener.stop()
    finally:
        await caller.close()
        await callee.close()


async def calls(packets: Sequence[bytes], wanted: Sequence[tuple[Drops, Listener]]) -> None:
    """Place several calls at once."""
    async with asyncio.TaskGroup() as group:
        for drops, listener in wanted:
            group.create_task(call(packets, frozenset(drops), listener))


# --- what was heard -------------------------------------------------------------------------------


def shift(reference: S16, heard: S16, at: int, count: int, *, reach: int = 48_000) -> int:
    """Return how many samples later than in `reference` the stretch from `at` is in `heard`.

    It is where the two correlate best within `reach` samples.
    """
    piece = reference[at : at + count].astype(np.float64)
    first = max(at - reach, 0)
    window = heard[first : at + count + reach].astype(np.float64)
    if len(window) < count:
        return -reach
    size = 1 << (len(window) + count).bit_length()
    spectrum = np.fft.rfft(window, size) * np.conj(np.fft.rfft(piece, size))
    products = np.fft.irfft(spectrum, size)[: len(window) - count + 1]
    energy = np.concatenate([[0.0], np.cumsum(window**2)])
    norms = np.sqrt(np.maximum(energy[count:] - energy[:-count], 1.0))
    return int(np.argmax(products / norms)) + first - at


def stretches(drops: Drops, packets: int, *, least: int = 12) -> list[tuple[int, int]]:
    """Return (first packet, packets) of each run without a loss that is long enough to compare.

    A decoder needs some packets after a loss until it is again what it would have been.
    """
    edges = [-1, *sorted(drops), packets]
    runs = [(a + 1, b - a - 1) for a, b in itertools.pairwise(edges)]
    return [(first, count) for first, count in runs if count >= least]


def worst_shift(reference: S16, heard: S16, drops: Drops) -> int:
    """Return the largest alignment error of all stretches between losses, in samples."""
    packets = len(reference) // FRAME
    found = []
    for first, count in stretches(drops, packets):
        at, length = (first + 2) * FRAME, min(count - 4, 25) * FRAME
        found.append(abs(shift(reference, heard, at, length, reach=packets * FRAME)))
    return max(found)


def kept(reference: S16, heard: S16, *, but: Drops = ()) -> npt.NDArray[np.bool_]:
    """Return which frames are in `heard` where they belong, shape (packets,); never those in `but`."""
    sent, there = (_frames(one, len(reference) // FRAME) for one in (reference, heard))
    norms = np.sqrt((sent**2).sum(axis=1) * (there**2).sum(axis=1))
    alike: npt.NDArray[np.bool_] = (sent * there).sum(axis=1) >= ALIKE * np.maximum(norms, 1.0)
    alike[list(but)] = False
    return alike


def snr(reference: S16, heard: S16, frames: Collection[int]) -> float:
    """Return the median signal-to-noise ratio of some frames, in dB."""
    sent, there = (_frames(one, len(reference) // FRAME) for one in (reference, heard))
    chosen = list(frames)
    noise = ((sent - there)[chosen] ** 2).sum(axis=1)
    ratios = (sent[chosen] ** 2).sum(axis=1) / np.maximum(noise, 1.0)
    return round(float(np.median(10 * np.log10(np.maximum(ratios, 1e-3)))), 1)


def _frames(samples: S16, count: int) -> npt.NDArray[np.float64]:
    padded = np.zeros(count * FRAME)
    length = min(len(samples), len(padded))
    padded[:length] = samples[:length]
    return padded.reshape(count, FRAME)


def frames_missing(reference: S16, one: Recorded) -> int:
    """Return how many frames a recording is short of, wherever they would be, its gaps included."""
    return round((len(reference) - len(one.samples)) / FRAME) + len(lost_in(one.gaps))


def lost_in(gaps: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Return the packets that a recorder's gaps say are missing."""
    found: list[int] = []
    for start, end in gaps:
        first, last = (round(at * SAMPLE_RATE) for at in (start, end))
        if first % FRAME or last % FRAME:
            return (-1,)  # no packets' borders: it is no list of packets at all
        found += range(first // FRAME, last // FRAME)
    return tuple(found)


# --- the line -------------------------------------------------------------------------------------


def report(
    name: str,
    unit: str,
    rtnb_figures: Sequence[float],
    baseline_figures: Sequence[float],
    *,
    target: float,
    met: bool,
    **more: object,
) -> None:
    """Print the JSON line of a benchmark whose target is a figure, not a ratio."""
    result = {
        "benchmark": name,
        f"rtnb_{unit}": _tidy(statistics.median(rtnb_figures)),
        f"baseline_{unit}": _tidy(statistics.median(baseline_figures)),
        "target": target,
        "met": met,
        f"spread_{unit}": [_tidy(max(x) - min(x)) for x in (rtnb_figures, baseline_figures)],
        "runs": len(rtnb_figures),
        **more,
    }
    print(json.dumps(result))


def _tidy(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(value, 4)
