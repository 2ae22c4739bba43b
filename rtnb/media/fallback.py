"""Hearing through a track's own ``recv``, where packets cannot be tapped; it knows no call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import av
import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.errors import ConfigurationError
from rtnb.media.opus import SAMPLE_RATE

__all__ = ["placed_by_pts", "pump_frames"]

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
    """Pass on what a track delivers until it ends, placed by PTS from the first arrival.

    Parameters
    ----------
    track
        A remote audio track.
    on_samples
        Takes (samples, time): s16 mono at 48,000 Hz, and where they begin in monotonic seconds.
    """
    offset: float | None = None
    async for position, samples in placed_by_pts(track):
        at = position / SAMPLE_RATE
        if offset is None:
            offset = time.monotonic() - at
        on_samples(samples, offset + at)
