"""Live voice on its way to the track: brought to 48,000 Hz, buffered, encoded; it knows no call."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from rtnb.media.jitterbuffer import KEPT, NOTHING, PTIME, JitterBuffer
from rtnb.media.opus import FRAME, SAMPLE_RATE, LiveEncoder

__all__ = ["LiveFeed"]

_TAIL: Final = 5  # blocks that are still encoded after the last voice, to flush the look-ahead
_RECENT: Final = 3000  # delays kept, of one minute of voice
_RATES: Final = (8_000, 192_000)  # Hz

S16 = npt.NDArray[np.int16]
_SILENCE: Final = np.zeros(FRAME, np.int16)


class LiveFeed:
    """The live voice of one call, from what was fed to the packets of a track."""

    def __init__(self) -> None:
        self._buffer = JitterBuffer()
        self._resampler: av.AudioResampler | None = None
        self._sample_rate = SAMPLE_RATE
        self._encoder: LiveEncoder | None = None
        self._idle = 0  # blocks since the last voice
        self._received = self._overridden = 0
        self._delays: deque[float] = deque(maxlen=_RECENT)
        self._worst: float | None = None
        self.leaving: float | None = None
        "When the last block that `next` returned was captured, on the call's clock, if known."

    # --- in ---------------------------------------------------------------------------------------

    def feed(
        self, number: int, samples: bytes, sample_rate: int, captured: float | None, arrived: float
    ) -> None:
        """Take a stretch of voice; what cannot be used is counted as refused.

        Parameters
        ----------
        number
            See `JitterBuffer.push`.
        samples
            s16 mono in native byte order; of more than 2 s the last ones.
        sample_rate
            Hz, 8,000 to 192,000.
        captured
            When its last sample was captured, on the call's clock.
        arrived
            Monotonic seconds.
        """
        self._received += 1
        if not samples or len(samples) % 2 or not _RATES[0] <= sample_rate <= _RATES[1]:
            self._buffer.refuse(number)
            return
        if captured is not None and not math.isfinite(captured):
            captured = None
        pcm = np.frombuffer(samples, np.int16)
        most = round(KEPT * sample_rate)
        if len(pcm) > most:
            self._buffer.lost += math.ceil((len(pcm) - most) / sample_rate / PTIME)
            pcm = pcm[-most:]
        self._buffer.push(number, self._resampled(pcm, sample_rate), arrived, captured)

    def end(self) -> None:
        """Let the voice pause: its last samples leave, and nothing is missed from now on."""
        self._buffer.end(self._flushed())

    def _resampled(self, pcm: S16, sample_rate: int) -> S16:
        """Return samples at 48,000 Hz; the resampler keeps the last few for what comes next."""
        before = NOTHING
        if sample_rate != self._sample_rate:
            before, self._sample_rate = self._flushed(), sample_rate
        if sample_rate == SAMPLE_RATE:
            return np.concatenate((before, pcm)) if len(before) else pcm
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = sample_rate
        return np.concatenate((before, *_samples(self._resampler.resample(frame))))

    def _flushed(self) -> S16:
        resampler, self._resampler = self._resampler, None
        if resampler is None:
            return NOTHING
        return np.concatenate((NOTHING, *_samples(resampler.resample(None))))

    # --- out --------------------------------------------------------------------------------------

    def next(self, now: float, *, overridden: bool) -> tuple[S16, bytes] | None:
        """Return the block that leaves now and its packet, None where there is nothing to say.

        Parameters
        ----------
        now
            Monotonic seconds; to be called every 20 ms.
        overridden
            Something else leaves in its place: a block of voice is then counted, and gone.
        """
        block = self._buffer.pop(now)
        self.leaving = None
        if overridden:
            self._overridden += block is not None
            self._encoder = None
            return None
        self._idle = 0 if block else self._idle + 1
        if self._idle > _TAIL or (block is None and self._encoder is None):
            self._encoder = None
            return None
        if self._encoder is None:  # what the last one holds back is of long ago
            self._encoder = LiveEncoder()
        self.leaving = block.captured if block else None
        samples = block.samples if block else _SILENCE
        return samples, self._encoder.encode(samples)

    def left(self, captured: float, at: float) -> None:
        """Take note that a block that was captured then has left now, on the call's clock."""
        delay = at - captured
        self._delays.append(delay)
        self._worst = delay if self._worst is None else max(self._worst, delay)

    @property
    def mark(self) -> int:
        """What to hand to `all_left`, so that it waits for what has been fed so far."""
        return self._buffer.mark

    async def all_left(self, mark: int, timeout: float) -> None:
        """Return when the voice up to a mark has left, or after so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while self._buffer.gone < mark and loop.time() < until:
            await asyncio.sleep(PTIME / 4)

    def figures(self) -> dict[str, Any] | None:
        """Return the counters, None if nothing was ever fed; times in seconds.

        Returns
        -------
        dict or None
            ``received`` stretches, of which ``refused`` were unusable; ``lost`` (numbers that are
            missing, and blocks of 20 ms beyond 2 s); blocks ``skipped`` as silence, and
            ``overridden`` by a prompt; ``underruns``; the buffer's ``target`` and what is
            ``buffered``; ``delay`` of the last block from capture to departure, ``delay_median``
            of the last minute of voice and ``delay_worst`` of all, None where capture is unknown.
        """
        if not self._received:
            return None
        buffer = self._buffer
        return {
            "received": self._received,
            "refused": buffer.refused,
            "lost": buffer.lost,
            "skipped": buffer.skipped,
            "underruns": buffer.underruns,
            "overridden": self._overridden,
            "target": buffer.target,
            "buffered": buffer.buffered,
            "delay": self._delays[-1] if self._delays else None,
            "delay_median": float(np.median(self._delays)) if self._delays else None,
            "delay_worst": self._worst,
        }


def _samples(frames: list[av.AudioFrame]) -> list[S16]:
    return [np.asarray(frame.to_ndarray()[0], np.int16) for frame in frames]
