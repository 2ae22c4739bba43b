"""A call's RTP packets on their way in: written down, damaged on request, heard; no events."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.media import aiortc_hooks, opus
from rtnb.peer.faults import Faults
from rtnb.peer.hearing import Hearing
from rtnb.peer.impairment import Impairment
from rtnb.peer.journal import CallJournal

__all__ = ["Incoming"]

S16 = npt.NDArray[np.int16]


class Incoming:
    """The packets of one caller's voice.

    Parameters
    ----------
    journal
        Where they are written down.
    faults
        What happens to them.
    hear
        Called with the samples that they bring: s16 mono 48,000 Hz, in order, without holes.
    """

    def __init__(self, journal: CallJournal, faults: Faults, hear: Callable[[S16], object]):
        self._journal = journal
        self._hear = hear
        self._hearing = Hearing()
        self._over = False
        self._late: deque[asyncio.TimerHandle] = deque()
        self._impairment: Impairment[aiortc_hooks.RtpArrival] | None = None
        if not faults.received.good:
            self._impairment = Impairment(faults.received, f"{faults.seed} received")

    def tap(self, pc: RTCPeerConnection, track: MediaStreamTrack) -> bool:
        """Take a track's packets before aiortc does; False when that cannot be done."""
        receiver = aiortc_hooks.receiver_of(pc, track)
        return receiver is not None and aiortc_hooks.tap_receiver(receiver, self._arrived)

    def stop(self) -> None:
        """Hear nothing more, not even what is late."""
        self._over = True
        for timer in self._late:
            timer.cancel()
        self._late.clear()

    def _arrived(self, packet: aiortc_hooks.RtpArrival) -> None:
        dropped = False
        if self._impairment is None:
            self._push(packet)
        else:
            dropped = self._damaged(packet, self._impairment)
        row = (packet.time, packet.sequence, packet.timestamp, dropped)
        self._journal.arrivals.append(row)

    def _damaged(
        self,
        packet: aiortc_hooks.RtpArrival,
        impairment: Impairment[aiortc_hooks.RtpArrival],
    ) -> bool:
        """Do to a packet what is to be done, and return whether it was dropped."""
        delivery = impairment.push(packet)
        for one in delivery.now:
            self._push(one)
        for delay, one in delivery.later:
            loop = asyncio.get_running_loop()
            self._late.append(loop.call_later(delay, self._push_late, one))
        return delivery.dropped

    def _push_late(self, packet: aiortc_hooks.RtpArrival) -> None:
        self._late.popleft()  # all of them are equally late, so they come in order
        self._push(packet)

    def _push(self, packet: aiortc_hooks.RtpArrival) -> None:
        if self._over:
            return
        for samples in self._hearing.push(packet):
            self._hear(samples)

    async def drain(self, track: MediaStreamTrack) -> None:
        """Hear through aiortc's own decoder: other codecs than Opus, or another aiortc."""
        from av import AudioFrame, AudioResampler

        resampler = AudioResampler(format="s16", layout="mono", rate=opus.SAMPLE_RATE)
        with contextlib.suppress(MediaStreamError):
            while True:
                received = await track.recv()
                assert isinstance(received, AudioFrame)
                for frame in resampler.resample(received):
                    self._hear(np.asarray(frame.to_ndarray()[0], np.int16))
