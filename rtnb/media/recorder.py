"""`Recorder`: what arrives on a track or a receiver, into a WAV; it must not know rtnb's calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamTrack

from rtnb.errors import AudioError, ConfigurationError
from rtnb.media import aiortc_hooks
from rtnb.media.capture import Placed, Receiving, Timeline
from rtnb.media.fallback import placed_by_pts
from rtnb.media.opus import LOOK_AHEAD, SAMPLE_RATE
from rtnb.runfiles import WavWriter

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

_BATCH: Final = SAMPLE_RATE // 5  # samples written at a time
_WAIT: Final = SAMPLE_RATE // 2  # samples kept back for packets that are still to come
_LONG_AGO: Final = -(1 << 62)  # a position before everything
_BEFORE: Final = (
    60.0  # seconds; where samples lie may be before their packet, and before the Recorder
)

S16 = npt.NDArray[np.int16]


class Recorder:
    """Writes received audio to a WAV: 16 bit, 48,000 Hz, one channel an input.

    Used like aiortc's ``MediaRecorder``. Given an ``RTCRtpReceiver`` it captures packets below
    aiortc's jitter buffer: every sample that arrived, placed by its RTP timestamp, the tail
    included (add it before the first packet; its track then delivers nothing, unless it is to be
    kept). Lost packets shift nothing: they are concealed by Opus's own means (the copy in the
    packet after them where it carries one, else up to 100 ms that are made up), and stay in
    `gaps`. Opus's look-ahead of 6.5 ms is left out, so that the first sample that was put into the
    stream is the first one of the file. Given a track it places the frames that the track delivers
    by their PTS; what aiortc's jitter buffer keeps back or throws away cannot be in it, and the
    repr says so.

    Parameters
    ----------
    path
        A ``.wav`` file; an existing one is replaced.

    Attributes
    ----------
    gaps : tuple of (float, float)
        Lost stretches, in seconds of the file, concealed or not.
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
        self._first: int | None = None  # the earliest position there is audio for
        self._begun = False  # from then on the first sample of the file is fixed
        self._origin = time.monotonic() - _BEFORE
        self._started = self._stopped = False

    def addTrack(
        self, track: MediaStreamTrack | RTCRtpReceiver, *, keep_track: bool = False
    ) -> None:
        """Add an input: a receiver (exact), or an audio track.

        Parameters
        ----------
        track
            What is recorded.
        keep_track
            Of a receiver: whether its track goes on delivering frames, which somebody else has to
            take. aiortc then decodes everything a second time.

        Raises
        ------
        rtnb.ConfigurationError
            There are two already, or it records already.
        """
        if self._started:
            raise ConfigurationError("Add all inputs to the Recorder before start().")
        if len(self._inputs) == 2:
            raise ConfigurationError("A Recorder takes at most two inputs; use a second Recorder.")
        channel = len(self._inputs)
        if isinstance(track, RTCRtpReceiver):
            tapped = _ReceiverInput(self, channel)
            if aiortc_hooks.tap_receiver(track, tapped.packet, keep_track=keep_track):
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
        self._timeline.written = _LONG_AGO
        self._writer = WavWriter(
            self.path, channels=max(len(self._inputs), 1), sample_rate=SAMPLE_RATE
        )
        for one in self._inputs:
            one.start()

    async def stop(self) -> None:
        """Write what is left and close the file; returns when it is complete.

        Raises
        ------
        Exception
            What the first input that failed raised; the file holds what came before, and all of
            the other input.
        """
        if not self._started or self._stopped:
            return
        self._stopped = True
        try:
            for one in self._inputs:
                await one.stop()
            self._write(self._timeline.end)
        finally:
            if self._writer is not None:
                self._writer.close()
        for one in self._inputs:
            if one.error is not None:
                raise one.error

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Lost stretches, in seconds of the file."""
        base = self._first or 0
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
        if not self._begun:
            self._first = position if self._first is None else min(self._first, position)
        late = self._timeline.place(channel, position, samples)
        base = self._first or 0
        if self._writer is not None and position + len(late) > max(position, base):
            cut = max(base - position, 0)  # nothing can go before the beginning of the file
            self._writer.patch(position + cut - base, channel, late[cut:])

    def _advance(self, now: float) -> None:
        """Write what no input can add to any more, at `now` in monotonic seconds."""
        for one in self._inputs:
            one.settle(now)
        settled = min([self._timeline.end - _WAIT, *(one.settled_before for one in self._inputs)])
        written = self._timeline.written if self._begun else self._first
        if written is not None and settled - written >= _BATCH:
            self._write(int(settled))

    def _write(self, until: int) -> None:
        if self._first is None:
            return  # nothing has come
        if not self._begun:
            self._begun = True
            self._timeline.begin(self._first)
        block = self._timeline.take(until)
        if self._writer is not None and len(block):
            self._writer.write(block)


class _ReceiverInput:
    """Packets of one receiver on their way into a `Recorder`."""

    def __init__(self, recorder: Recorder, channel: int):
        self._recorder = recorder
        self._channel = channel
        self._receiving = Receiving(recorder._origin)
        self._skip = LOOK_AHEAD  # samples at the beginning that are the codec's own (RFC 7845 4.2)
        self._on = False
        self.error: Exception | None = None

    @property
    def gaps(self) -> list[tuple[int, int]]:
        return self._receiving.gaps

    def packet(self, packet: aiortc_hooks.RtpArrival) -> None:
        if not self._on:
            return
        try:
            self._take(self._receiving.push(packet))
            self._recorder._advance(packet.time)
        except Exception as error:  # aiortc, which calls this, could only drop it
            self._on = False
            self.error = error
            _log(self._recorder, error)

    def settle(self, now: float) -> None:
        if self._on:
            self._take(self._receiving.settle(now))

    @property
    def settled_before(self) -> float:
        """The position before which nothing more comes."""
        if not self._on:
            return float("inf")
        return (self._receiving.settled_before - self._recorder._origin) * SAMPLE_RATE

    def start(self) -> None:
        self._on = True

    async def stop(self) -> None:
        self._on = False
        try:
            self._take(self._receiving.flush())
        except Exception as error:
            self.error = self.error or error

    def _take(self, placed: list[Placed]) -> None:
        for one in placed:
            if one.samples is None:
                continue
            cut = min(self._skip, len(one.samples))
            self._skip -= cut
            if cut < len(one.samples):
                self._recorder._place(self._channel, one.position + cut, one.samples[cut:])


class _TrackInput:
    """Frames of one track on their way into a `Recorder`."""

    settled_before: Final = float("inf")  # frames are placed as they come

    def __init__(self, recorder: Recorder, channel: int, track: MediaStreamTrack):
        self._recorder = recorder
        self._channel = channel
        self._track = track
        self._task: asyncio.Task[None] | None = None
        self._offset: int | None = None
        self._end = 0
        self.gaps: list[tuple[int, int]] = []
        self.error: Exception | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._pump())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def settle(self, now: float) -> None:
        """Hold nothing back: there is nothing to do."""

    async def _pump(self) -> None:
        try:
            async for pts, samples in placed_by_pts(self._track):
                self._recorder._place(self._channel, self._position(pts), samples)
                self._end += len(samples)
                self._recorder._advance(time.monotonic())
        except Exception as error:  # told now, and raised by stop()
            self.error = error
            _log(self._recorder, error)

    def _position(self, pts: int) -> int:
        """Return where samples go: their PTS, on from the arrival of the first one."""
        if self._offset is None:
            arrival = round((time.monotonic() - self._recorder._origin) * SAMPLE_RATE)
            self._offset, self._end = arrival - pts, arrival
        position = self._offset + pts
        if position > self._end:
            self.gaps.append((self._end, position))
        self._end = position
        return position


def _log(recorder: Recorder, error: Exception) -> None:
    logger.error("%s: an input of the Recorder stopped: %s", recorder.path.name, error)
