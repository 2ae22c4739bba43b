"""What is heard, for those who listen live: stretches in order, silence left out; it knows no file.

The recording lays what is decoded on the call's clock and keeps it open for what comes late. Who
listens has no use for that: here everything goes on as soon as it is decoded, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from rtnb.media.opus import FRAME, SAMPLE_RATE

__all__ = ["Heard", "Listening"]

_QUIET: Final = (32768 * 10 ** (-70 / 20)) ** 2  # mean square at -70 dBFS
_KEPT: Final = round(0.2 * SAMPLE_RATE)  # samples of a silence that go on

S16 = npt.NDArray[np.int16]
Heard = Callable[[int, S16, float], None]
"Takes (position, samples, arrived), see `Listening.take`."


class Listening:
    """Hands on what is decoded, in order of its place.

    A stretch that lies before the end of the last one is cut or left out: it has been gone past.
    One that comes late but in order, as after a stall of the network, goes on; its position tells.
    Of a silence (all windows of 20 ms below -70 dBFS) the first 0.2 s go on.

    What comes in the first half second of a stream has no place yet, so it goes on at the end of
    that, at once: half a second late. A server that sends from the beginning, as aiortc and
    `rtnb.Peer` do, is still silent then. With one that sends nothing before it speaks, the first
    words come late, and who plays them catches up in the pauses between them. A provisional place
    would have to move when the stream's is known, and that would cut into what is heard.

    Parameters
    ----------
    hand_on
        Takes (position, samples, arrived) as `take` does.
    """

    def __init__(self, hand_on: Heard):
        self._hand_on = hand_on
        self._until = 0  # the position just after the last stretch
        self._silent = 0  # samples of silence so far

    def take(self, position: int, samples: S16, arrived: float) -> None:
        """Take a stretch as it is laid on the timeline.

        Parameters
        ----------
        position
            Of its first sample, at 48,000 Hz on the call's clock.
        samples
            s16, shape (n,).
        arrived
            When its packet came, on the call's clock; of what stands in for a lost one, when that
            was made.
        """
        before = max(self._until - position, 0)
        position, samples = position + before, samples[before:]
        if not len(samples):
            return
        self._until = position + len(samples)
        silent = _is_silent(samples)
        self._silent = self._silent + len(samples) if silent else 0
        if self._silent <= _KEPT:
            self._hand_on(position, samples, arrived)


def _is_silent(samples: S16) -> bool:
    squares = samples.astype(np.float64) ** 2
    edges = np.arange(0, len(samples), FRAME)
    lengths = np.diff(edges, append=len(samples))
    return bool((np.add.reduceat(squares, edges) < _QUIET * lengths).all())
