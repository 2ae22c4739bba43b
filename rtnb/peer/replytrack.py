"""The voice of a call: a track on which replies are played; it must not know responses or events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import av
import numpy as np

from rtnb.media.opus import FRAME, Encoding, encoding_of
from rtnb.media.tracks import S16, Playing, PromptTrack

__all__ = ["ReplyTrack", "Sound"]

_KEPT: Final = 60 * 2 * 48_000  # bytes of s16: what is longer is encoded anew each time


class Sound(Playing):
    """One reply's sound on its way through a `ReplyTrack`.

    Attributes
    ----------
    name : str
        Whose it is.
    position : int
        The sample with which the block that left last begins.
    limit : int or None
        Samples after which it ends, however long it is.
    """

    def __init__(self, name: str, pcm: bytes, *, encoded: bool, keep: bool):
        super().__init__(pcm, encoded=False)
        self.name = name
        self.position = -FRAME
        self.limit: int | None = None
        if encoded:
            self._blocks = _encoded(pcm, keep)

    def _next(self, now: float) -> tuple[S16, bytes | None] | None:
        if self.limit is not None and self.position + FRAME >= self.limit:
            self._end(now)
            return None
        block = super()._next(now)
        self.position += FRAME
        return block


class ReplyTrack(PromptTrack):
    """A `PromptTrack` that encodes packet by packet and tells what each one holds.

    Parameters
    ----------
    encoded
        Deliver Opus packets.
    gaps
        Deliver nothing while nothing is said; time goes on.
    on_packet
        Called with the sound, or None for silence, and the position in it, for each packet that is
        about to leave.
    """

    def __init__(
        self,
        *,
        encoded: bool = False,
        gaps: bool = False,
        on_packet: Callable[[Sound | None, int], None] | None = None,
    ):
        super().__init__(encoded=encoded)
        self._gaps = gaps
        self._on_packet = on_packet

    def say(self, name: str, pcm: bytes, *, keep: bool = False) -> Sound:
        """Queue a reply after what is already queued.

        Parameters
        ----------
        name
            Whose it is.
        pcm
            s16 mono 48,000 Hz.
        keep
            Its packets may be kept for other calls.
        """
        sound = Sound(name, pcm, encoded=self.encoded, keep=keep)
        self._playing.append(sound)
        return sound

    async def recv(self) -> av.AudioFrame | av.Packet[Any]:
        """Return the next 20 ms that are to be sent when they are due."""
        while True:
            packet = await super().recv()
            head = self._playing[0] if self._playing else None
            sound = head if isinstance(head, Sound) else None
            if sound is None and self._gaps:
                continue
            if self._on_packet is not None:
                self._on_packet(sound, sound.position if sound else -1)
            return packet


def _encoded(pcm: bytes, keep: bool) -> Iterator[tuple[S16, bytes | None]]:
    samples = np.frombuffer(pcm, np.int16)
    encoding = encoding_of(pcm) if keep and len(pcm) <= _KEPT else Encoding(pcm)
    index = 0
    while (packet := encoding.packet(index)) is not None:
        yield samples[index * FRAME : (index + 1) * FRAME], packet
        index += 1
