"""Audio tracks that pace themselves, for bare aiortc and for rtnb's calls; they know no call.

All of them deliver exactly 20 ms at a time on an absolute schedule of the loop's monotonic clock.
After a stall the policy is **catch up, then skip**: at most four packets leave at once and the next
on schedule, so that no 20 ms see more than five. The rest of the stall is skipped in time (the PTS
jumps, no audio is dropped), and counters say so.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.audio import Clip, to_pcm
from rtnb.media import opus
from rtnb.media.livefeed import LiveFeed
from rtnb.media.opus import FRAME, SAMPLE_RATE, TIME_BASE

__all__ = [
    "CATCH_UP",
    "FileTrack",
    "PacedTrack",
    "Pacer",
    "Pacing",
    "Playing",
    "PromptTrack",
    "SilentTrack",
]

PTIME: Final = FRAME / SAMPLE_RATE  # seconds in one packet
CATCH_UP: Final = 5  # packets that may leave within the time of one, after a stall
LATE: Final = 0.010  # seconds behind schedule from which a packet counts as late

S16 = npt.NDArray[np.int16]
_SILENCE: Final = np.zeros(FRAME, np.int16)


@dataclass(slots=True)
class Pacing:
    """How well a track kept its schedule.

    Attributes
    ----------
    packets : int
        Frames or packets delivered.
    late_packets : int
        Those more than 10 ms behind schedule.
    worst_lag : float
        The largest lateness in seconds.
    skipped : float
        Seconds of schedule skipped after stalls.
    """

    packets: int = 0
    late_packets: int = 0
    worst_lag: float = 0.0
    skipped: float = 0.0

    def count(self, lag: float) -> None:
        """Count one packet that left `lag` seconds behind schedule."""
        self.packets += 1
        self.late_packets += lag > LATE
        self.worst_lag = max(self.worst_lag, lag)


class Pacer:
    """The schedule of a track without a clock of its own: times in, waits and PTS out.

    Parameters
    ----------
    start
        When the first packet is due, in seconds of any monotonic clock.

    Attributes
    ----------
    last_due : float
        When the packet that left last had been due, before anything was skipped.
    """

    def __init__(self, start: float):
        self.pacing = Pacing()
        self.last_due = start
        self._start = start
        self._frame = 0

    def due(self) -> float:
        """When the next packet is due."""
        return self._start + self._frame * PTIME

    def advance(self, now: float) -> int:
        """Count the next packet as leaving at `now`, and return its PTS in samples."""
        self.last_due = self.due()
        lag = now - self.last_due
        overdue = int(lag / PTIME) + 1
        skipped = max(0, overdue + 1 - CATCH_UP)  # one more becomes due within a packet's time
        self._frame += skipped
        self.pacing.skipped += skipped * PTIME
        pts = self._frame * FRAME
        self._frame += 1
        self.pacing.count(lag)
        return pts


class PacedTrack(MediaStreamTrack):
    """The schedule and the packing that all of rtnb's tracks share.

    Parameters
    ----------
    encoded
        Deliver ``av.Packet`` of Opus instead of ``av.AudioFrame``; for an Opus sender only.

    Attributes
    ----------
    pacing : Pacing
        Counters of the schedule.
    """

    kind = "audio"

    def __init__(self, *, encoded: bool = False):
        super().__init__()
        self.encoded = encoded
        self._pacer: Pacer | None = None

    @property
    def last_due(self) -> float:
        """When the packet that left last had been due, in the loop's seconds; 0 before the first."""
        return self._pacer.last_due if self._pacer else 0.0

    @property
    def pacing(self) -> Pacing:
        """Counters of the schedule; zeros before the first `recv`."""
        return self._pacer.pacing if self._pacer else Pacing()

    async def recv(self) -> av.AudioFrame | av.Packet[Any]:
        """Return the next 20 ms when they are due.

        Returns
        -------
        av.AudioFrame or av.Packet
            s16 stereo 48,000 Hz, 960 samples, equal channels; or one Opus packet.

        Raises
        ------
        aiortc.mediastreams.MediaStreamError
            The track has ended.
        """
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self._pacer is None:
            self._pacer = Pacer(loop.time())
        wait = self._pacer.due() - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        if self.readyState != "live":
            raise MediaStreamError
        block = self._next(loop.time())
        if block is None:
            self.stop()
            raise MediaStreamError
        pcm, packet = block
        pts = self._pacer.advance(loop.time())
        self._left(pts, pcm)
        return self._packed(pcm, packet, pts)

    def _next(self, now: float) -> tuple[S16, bytes | None] | None:
        """Return the next 960 samples and their packet, if already encoded; None ends the track."""
        raise NotImplementedError

    def _left(self, pts: int, pcm: S16) -> None:
        """Take note that this block is on its way."""

    def _packed(self, pcm: S16, packet: bytes | None, pts: int) -> av.AudioFrame | av.Packet[Any]:
        if self.encoded:
            out = av.Packet(packet if packet is not None else opus.silent_packet())
            out.pts = pts
            out.time_base = TIME_BASE
            return out
        both = np.repeat(pcm, 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate = SAMPLE_RATE
        frame.pts = pts
        frame.time_base = TIME_BASE
        return frame


class SilentTrack(PacedTrack):
    """Digital silence for as long as the call lasts."""

    def _next(self, now: float) -> tuple[S16, bytes | None]:
        return _SILENCE, None


def _blocks(pcm: bytes, encoding: opus.Encoding | None) -> Iterator[tuple[S16, bytes | None]]:
    """Yield a clip as 20 ms blocks, the last one padded, with their packets if it is encoded."""
    if not pcm:  # the look-ahead alone is nothing that could be heard
        return
    samples = np.frombuffer(pcm, np.int16)
    for index in itertools.count():
        block = samples[index * FRAME : (index + 1) * FRAME]
        packet = encoding.packet(index) if encoding is not None else None
        if packet is None and not len(block):
            return
        if len(block) < FRAME:
            block = np.concatenate((block, _SILENCE[len(block) :]))
        yield block, packet


class FileTrack(PacedTrack):
    """An audio file as a track: the whole file, its tail padded to 20 ms, then the end.

    Parameters
    ----------
    path
        Any file that `rtnb.Clip.read` opens.
    loop
        Begin again at the end, for ever.
    trailing_silence
        Seconds of silence after the file; ``math.inf`` keeps the track alive, so that a server's
        turn detection hears the end of speech.
    encoded
        Deliver Opus packets.

    Raises
    ------
    rtnb.AudioError
        The file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        loop: bool = False,
        trailing_silence: float = 0.0,
        encoded: bool = False,
    ):
        super().__init__(encoded=encoded)
        self._pcm = to_pcm(Clip.read(path))
        self._repeat = loop
        # in frames; rounded first, as 0.2 / 0.02 may be a little more than 10
        whole = math.isfinite(trailing_silence)
        self._silent_left = math.ceil(round(trailing_silence / PTIME, 6)) if whole else math.inf
        self._encoding = opus.prepare(self._pcm) if encoded else None
        self._queue = _blocks(self._pcm, self._encoding)

    def _next(self, now: float) -> tuple[S16, bytes | None] | None:
        block = next(self._queue, None)
        if block is None and self._repeat:
            self._queue = _blocks(self._pcm, self._encoding)
            block = next(self._queue)
        if block is None and self._silent_left > 0:
            self._silent_left -= 1
            block = _SILENCE, None
        return block


class Playing:
    """One clip on its way through a `PromptTrack`.

    Attributes
    ----------
    started, ended : asyncio.Future of float
        The loop's time when the first packet left, and when the last one had been sent in full.
    samples : int
        Samples at 48,000 Hz that have left.
    cancelled : bool
        It was cut by `PromptTrack.cancel`.
    """

    def __init__(self, pcm: bytes, *, encoded: bool, encoding: opus.Encoding | None = None):
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[float] = loop.create_future()
        self.samples = 0
        self.cancelled = False
        self._length = len(pcm) // 2
        if encoded and encoding is None:
            encoding = opus.prepare(pcm)
        self._blocks = _blocks(pcm, encoding)

    def _next(self, now: float) -> tuple[S16, bytes | None] | None:
        block = next(self._blocks, None)
        if block is None:
            self._end(now)
        else:
            if not self.started.done():
                self.started.set_result(now)
            self.samples = min(self.samples + FRAME, self._length)
        return block

    def _end(self, now: float) -> None:
        for future in (self.started, self.ended):
            if not future.done():
                future.set_result(now)


class PromptTrack(PacedTrack):
    """One track for a whole call: clips when told, else a live voice if there is one, else silence.

    Parameters
    ----------
    encoded
        Deliver Opus packets.
    live
        The live voice. While a clip plays it is passed over, never mixed.
    on_block
        Called with (pts, pcm) for every 20 ms that leaves: samples of the track's own clock, and
        s16 mono of shape (960,).
    """

    def __init__(
        self,
        *,
        encoded: bool = False,
        live: LiveFeed | None = None,
        on_block: Callable[[int, S16], None] | None = None,
    ):
        super().__init__(encoded=encoded)
        self._live = live
        self._on_block = on_block
        self._playing: deque[Playing] = deque()

    def play(self, clip: Clip | bytes, encoding: opus.Encoding | None = None) -> Playing:
        """Queue a clip after what is already queued; call it on the track's loop.

        Parameters
        ----------
        clip
            A `Clip`, or s16 mono 48,000 Hz bytes.
        encoding
            Its packets, where somebody has them already.

        Returns
        -------
        Playing
            Its progress.
        """
        pcm = clip if isinstance(clip, bytes) else to_pcm(clip)
        playing = Playing(pcm, encoded=self.encoded, encoding=encoding)
        self._playing.append(playing)
        return playing

    def cancel(self, playing: Playing | None = None) -> None:
        """Stop one playing, or all of them; silence follows at the next packet."""
        now = asyncio.get_running_loop().time()
        for one in [p for p in self._playing if playing is None or p is playing]:
            one.cancelled = True
            self._playing.remove(one)
            one._end(now)

    @property
    def idle(self) -> bool:
        """Whether nothing is queued."""
        return not self._playing

    def stop(self) -> None:
        """End the track and everything queued on it."""
        for one in self._playing:
            one.cancelled = True
            if not one.ended.get_loop().is_closed():
                one._end(one.ended.get_loop().time())
        self._playing.clear()
        super().stop()

    def _next(self, now: float) -> tuple[S16, bytes | None]:
        block = self._next_of_clips(now)
        if self._live is not None:
            voice = self._live.next(now, overridden=block is not None)
            block = block or voice
        return block or (_SILENCE, None)

    def _next_of_clips(self, now: float) -> tuple[S16, bytes | None] | None:
        while self._playing:
            block = self._playing[0]._next(now)
            if block is not None:
                return block
            self._playing.popleft()
        return None

    def _left(self, pts: int, pcm: S16) -> None:
        if self._on_block is not None:
            self._on_block(pts, pcm)
