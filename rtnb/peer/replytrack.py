"""The voice of a call: a track on which replies are played that were encoded elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rtnb.media.opus import FRAME
from rtnb.media.tracks import S16, Playing, PromptTrack

__all__ = ["ReplyTrack"]


class ReplyTrack(PromptTrack):
    """A `PromptTrack` that takes packets with their samples, so that the loop encodes nothing."""

    def play_encoded(self, pcm: bytes, packets: Sequence[bytes]) -> Playing:
        """Queue a clip with its Opus packets after what is already queued.

        Parameters
        ----------
        pcm
            s16 mono 48,000 Hz.
        packets
            One for every 20 ms, as `rtnb.media.opus.encode` makes them.
        """
        playing = _Encoded(pcm, packets)
        self._playing.append(playing)
        return playing


class _Encoded(Playing):
    def __init__(self, pcm: bytes, packets: Sequence[bytes]):
        super().__init__(pcm, encoded=False)
        self._blocks = _blocks(pcm, packets)


def _blocks(pcm: bytes, packets: Sequence[bytes]) -> Iterator[tuple[S16, bytes | None]]:
    samples = np.frombuffer(pcm, np.int16)
    padded = np.zeros(len(packets) * FRAME, np.int16)
    padded[: len(samples)] = samples
    for index, packet in enumerate(packets):
        yield padded[index * FRAME : (index + 1) * FRAME], packet
