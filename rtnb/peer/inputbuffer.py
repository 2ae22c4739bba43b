"""The input audio buffer and the turn detection on it; it must not know events or responses.

Positions are samples at 48,000 Hz from the first one heard. With turn detection off the buffer
keeps all that came since the last commit; with it on, only what a turn may still need. In both modes
it keeps the last ten minutes at most.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.peer.vad import Onset, SpeechDetector

__all__ = ["InputBuffer", "SpeechStarted", "SpeechStopped"]

S16 = npt.NDArray[np.int16]

_PER_MS: Final = 48
_KEPT_WHILE_SILENT: Final = 1_000 * _PER_MS  # before an onset, beyond the prefix
_KEPT_AT_MOST: Final = 10 * 60 * 1_000 * _PER_MS

# semantic_vad is approximated: a longer silence for a more patient listener (seconds)
_EAGERNESS: Final = {"low": 1.2, "medium": 0.7, "auto": 0.7, "high": 0.4}
_SEMANTIC_PREFIX_MS: Final = 300


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A turn begins here; the position includes the prefix padding."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """A turn ends here; the position includes the silence that was waited for."""

    end_ms: int


class InputBuffer:
    """Samples in, decisions out; `take` gives the audio of a turn.

    Parameters
    ----------
    turn_detection
        The session's setting; None for push-to-talk.
    """

    def __init__(self, turn_detection: dict[str, Any] | None):
        self._chunks: deque[tuple[int, S16]] = deque()
        self._end = 0
        self._from = 0  # the buffer's first sample
        self._held: int | None = None  # what came since is kept beside
        self._detector: SpeechDetector | None = None
        self._prefix = 0
        self.configure(turn_detection)

    @property
    def duration_ms(self) -> int:
        """Milliseconds that a commit would take now."""
        return (self._end - self._from) // _PER_MS

    def configure(self, turn_detection: dict[str, Any] | None) -> None:
        """Change the turn detection; speech under way is judged anew."""
        self._detector = None
        if turn_detection is None:
            return
        semantic = turn_detection["type"] == "semantic_vad"
        silence = _EAGERNESS[turn_detection.get("eagerness", "auto")]
        if not semantic:
            silence = turn_detection["silence_duration_ms"] / 1000
        prefix_ms = _SEMANTIC_PREFIX_MS if semantic else turn_detection["prefix_padding_ms"]
        self._prefix = int(prefix_ms * _PER_MS)
        threshold = 0.5 if semantic else turn_detection["threshold"]
        self._detector = SpeechDetector(threshold=threshold, silence=silence, start=self._end)

    def push(self, samples: S16) -> list[SpeechStarted | SpeechStopped]:
        """Take the next samples and return what was decided with them."""
        self._chunks.append((self._end, samples))
        self._end += len(samples)
        self._forget_before(self._end - _KEPT_AT_MOST)
        if self._detector is None:
            return []
        found: list[SpeechStarted | SpeechStopped] = []
        for decision in self._detector.push(samples):
            if isinstance(decision, Onset):
                self._forget_before(decision.sample - self._prefix)
                found.append(SpeechStarted(self._from // _PER_MS))
            else:
                silence = int(self._detector.silence * 1000 * _PER_MS)
                found.append(SpeechStopped((decision.sample + silence) // _PER_MS))
        if not self._detector.speaking and not found:
            self._forget_before(self._end - self._prefix - _KEPT_WHILE_SILENT)
        return found

    def take(self) -> S16:
        """Return what the buffer holds, and empty it."""
        samples = self._since(self._from)
        self.clear()
        return samples

    def clear(self) -> None:
        """Empty the buffer."""
        self._from = self._end
        self._let_go()

    def hold(self) -> None:
        """Keep all that comes from now on, for `take_held`."""
        self._held = self._end

    def release(self) -> None:
        """Hold nothing any more."""
        self._held = None
        self._let_go()

    def take_held(self) -> tuple[int, int, S16]:
        """Return where what was held begins and ends, in milliseconds, and itself; empty the buffer."""
        start = self._end if self._held is None else self._held
        samples = self._since(start)
        self._held = None
        self.clear()
        return start // _PER_MS, self._end // _PER_MS, samples

    def _since(self, position: int) -> S16:
        parts = [c[max(position - at, 0) :] for at, c in self._chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def _forget_before(self, position: int) -> None:
        self._from = max(self._from, position)
        self._let_go()

    def _let_go(self) -> None:
        kept = self._from if self._held is None else min(self._from, self._held)
        while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= kept:
            self._chunks.popleft()
