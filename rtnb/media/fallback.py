"""Hearing through a track's own ``recv``, where packets cannot be tapped; it knows no call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.errors import ConfigurationError
from rtnb.media.opus import LOOK_AHEAD, SAMPLE_RATE
from rtnb.media.timeline import StreamClock

__all__ = ["placed_by_pts", "pump_frames"]

_PREFETCH: Final = 4  # frames that aiortc's jitter buffer holds back, the whole call through
_JUMP: Final = 1.0  # seconds between the places of frames and their arrivals that are no delay

S16 = npt.NDArray[np.int16]


async def placed_by_pts(track: MediaStreamTrack) -> AsyncIterator[tuple[int, S16]]:
    """Yield what a track delivers until it ends, as (position, samples).

    Parameters
    ----------
    track
        An audio track that decodes.

    Yields
    ------
    (int, numpy.ndarray)
        The PTS in samples of 48,000 Hz, and s16 mono samples at that rate.

    Raises
    ------
    ConfigurationError
        The track delivers packets.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if not isinstance(frame, av.AudioFrame):
            raise ConfigurationError("Audio frames are needed here; give a track that decodes.")
        position = round(float((frame.pts or 0) * (frame.time_base or 0)) * SAMPLE_RATE)
        for out in resampler.resample(frame):
            samples = np.asarray(out.to_ndarray()[0], np.int16)
            yield position, samples
            position += len(samples)


async def pump_frames(track: MediaStreamTrack, on_samples: Callable[[S16, float], None]) -> None:
    """Pass on what a track delivers until it ends, placed by PTS.

    They lie where the least-delayed of the first 500 ms would have been without aiortc's jitter
    buffer, which keeps four frames back, and the codec's look-ahead; until that is known they wait.
    Frames that come more than a second from their place begin anew at their arrival.

    Parameters
    ----------
    track
        A remote audio track.
    on_samples
        Takes (samples, time): s16 mono at 48,000 Hz, and where they begin in monotonic seconds.
    """
    clock = StreamClock()
    waiting: list[tuple[int, S16]] = []

    def pass_on() -> None:
        for at, piece in waiting:
            assert clock.offset is not None
            on_samples(piece, clock.offset + at / SAMPLE_RATE)
        waiting.clear()

    async for position, samples in placed_by_pts(track):
        came = time.monotonic() - (_PREFETCH * len(samples) + LOOK_AHEAD) / SAMPLE_RATE
        if clock.offset is not None and abs(clock.late(position, came)) > _JUMP:
            clock = StreamClock()
            clock.observe(position, came)
            clock.freeze()
        clock.observe(position, came)
        waiting.append((position, samples))
        if clock.offset is not None:
            pass_on()
    clock.freeze()
    pass_on()
