"""`Recorder`: what arrives on a track or a receiver, into a WAV; it must not know rtnb's calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.errors import AudioError, ConfigurationError
from rtnb.media import aiortc_hooks
from rtnb.media.capture import Receiving, Timeline
from rtnb.media.opus import SAMPLE_RATE
from rtnb.runfiles import WavWriter

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

_BATCH: Final = SAMPLE_RATE // 5  # samples written at a time
_WAIT: Final = SAMPLE_RATE // 2  # samples kept back for packets that are still to come

S16 = npt.NDArray[np.int16]


class Recorder:
    """Writes received audio to a WAV: 16 bit, 48,000 Hz, one channel an input.

    Used like aiortc's ``MediaRecorder``. Given an ``RTCRtpReceiver`` it captures packets below
    aiortc's jitter buffer: every sample that arrived, placed by its RTP timestamp, the tail
    included (add it before the first packet; its track then delivers nothing). Given a track it
    places the frames that the track delivers by their PTS; what aiortc's jitter buffer keeps back
    or throws away cannot be in it, and the repr says so.

    Parameters
    ----------
    path
        A ``.wav`` file; an existing one is replaced.

    Attributes
    ----------
    gaps : tuple of (float, float)
        Lost stretches, in seconds of the file.
    exact : bool
        Whether all inputs are captured below the jitter buffer.

    Raises
    ------
    rtnb.AudioError
        The path does not end in ``.wav``.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if self.path.suffix.lower() != ".wav":
            raise AudioError(f"{str(self.path)!r}: rtnb.Recorder writes WAV; name a .wav file.")
        self._inputs: list[_ReceiverInput | _TrackInput] = []
        self._timeline = Timeline()
        self._writer: WavWriter | None = None
        self._base: int | None = None
        self._origin = time.monotonic()
        self._started = self._stopped = False

    def addTrack(self, track: MediaStreamTrack | RTCRtpReceiver) -> None:
        """Add an input: a receiver (exact), or an audio track."""
        if self._started:
            raise ConfigurationError("Add all inputs to the Recorder before start().")
        if len(self._inputs) == 2:
            raise ConfigurationError("A Recorder takes at most two inputs; use a second Recorder.")
        channel = len(self._inputs)
        if isinstance(track, RTCRtpReceiver):
            tapped = _ReceiverInput(self, channel)
            if aiortc_hooks.tap_receiver(track, tapped.packet):
                self._inputs.append(tapped)
                return
            logger.warning("%s", aiortc_hooks.FALLBACKS["receive"])
            track = track.track
        self._inputs.append(_TrackInput(self, channel, track))

    async def start(self) -> None:
        """Begin to record; a second call changes nothing."""
        if self._started:
            return
        self._started = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._timeline = Timeline(max(len(self._inputs), 1))
        self._writer = WavWriter(
            self.path, channels=max(len(self._inputs), 1), sample_rate=SAMPLE_RATE
        )
        for one in self._inputs:
            one.start()

    async def stop(self) -> None:
        """Write what is left and close the file; returns when it is complete."""
        if not self._started or self._stopped:
            return
        self._stopped = True
        for one in self._inputs:
            await one.stop()
        self._write(self._timeline.end)
        if self._writer is not None:
            self._writer.close()

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Lost stretches, in seconds of the file."""
        base = self._base or 0
        return tuple(
            ((a - base) / SAMPLE_RATE, (b - base) / SAMPLE_RATE)
            for one in self._inputs
            for a, b in one.gaps
        )

    @property
    def exact(self) -> bool:
        """Whether every input is captured below aiortc's jitter buffer."""
        return all(isinstance(one, _ReceiverInput) for one in self._inputs)

    def __repr__(self) -> str:
        how = (
            "every packet, by RTP timestamp"
            if self.exact
            else "frames by PTS; what the track did not deliver (start, losses, tail) is not in it"
        )
        return f"<Recorder {self.path.name}: {how}>"

    def _place(self, channel: int, position: int, samples: S16) -> None:
        if self._base is None:
            self._base = position
        self._timeline.place(channel, position - self._base, samples)
        settled = self._timeline.end - _WAIT
        if settled - self._timeline.written >= _BATCH:
            self._write(settled)

    def _write(self, until: int) -> None:
        block = self._timeline.take(until)
        if self._writer is not None and len(block):
            self._writer.write(block)


class _ReceiverInput:
    """Packets of one receiver on their way into a `Recorder`."""

    def __init__(self, recorder: Recorder, channel: int):
        self._recorder = recorder
        self._channel = channel
        self._receiving = Receiving(recorder._origin)
        self._on = False

    @property
    def gaps(self) -> list[tuple[int, int]]:
        return self._receiving.gaps

    def packet(self, packet: aiortc_hooks.RtpArrival) -> None:
        if self._on:
            self._take(self._receiving.push(packet))

    def start(self) -> None:
        self._on = True

    async def stop(self) -> None:
        self._on = False
        self._take(self._receiving.flush())

    def _take(self, placed: list[Any]) -> None:
        for one in placed:
            if one.samples is not None:
                self._recorder._place(self._channel, one.position, one.samples)


class _TrackInput:
    """Frames of one track on their way into a `Recorder`."""

    def __init__(self, recorder: Recorder, channel: int, track: MediaStreamTrack):
        self._recorder = recorder
        self._channel = channel
        self._track = track
        self._task: asyncio.Task[None] | None = None
        self._first: int | None = None
        self._end = 0
        self.gaps: list[tuple[int, int]] = []

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._pump())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _pump(self) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        while True:
            try:
                frame = await self._track.recv()
            except MediaStreamError:
                return
            if not isinstance(frame, av.AudioFrame):
                raise ConfigurationError("A Recorder takes frames; give it a track that decodes.")
            position = self._position(frame)
            for out in resampler.resample(frame):
                samples = np.asarray(out.to_ndarray()[0], np.int16)
                self._recorder._place(self._channel, position, samples)
                position += len(samples)
            self._end = position

    def _position(self, frame: av.AudioFrame) -> int:
        """Return where a frame goes: its PTS, on from the arrival of the first one."""
        pts = round(float((frame.pts or 0) * (frame.time_base or 0)) * SAMPLE_RATE)
        if self._first is None:
            arrival = round((time.monotonic() - self._recorder._origin) * SAMPLE_RATE)
            self._first = self._end = arrival - pts
            self._end = arrival
        position = self._first + pts
        if position > self._end:
            self.gaps.append((self._end, position))
        return position
