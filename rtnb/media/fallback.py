"""Hearing through a track's own ``recv``, where packets cannot be tapped; it knows no call."""

from __future__ import annotations

import time
from collections.abc import Callable

import av
import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.media.opus import SAMPLE_RATE

__all__ = ["pump_frames"]


async def pump_frames(
    track: MediaStreamTrack, on_samples: Callable[[npt.NDArray[np.int16], float], None]
) -> None:
    """Pass on what a track delivers until it ends, placed by PTS from the first arrival.

    Parameters
    ----------
    track
        A remote audio track.
    on_samples
        Takes (samples, time): s16 mono at 48,000 Hz, and where they begin in monotonic seconds.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    offset: float | None = None
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        assert isinstance(frame, av.AudioFrame)
        at = float((frame.pts or 0) * (frame.time_base or 0))
        if offset is None:
            offset = time.monotonic() - at
        for out in resampler.resample(frame):
            on_samples(np.asarray(out.to_ndarray()[0], np.int16), offset + at)
            at += out.samples / SAMPLE_RATE
