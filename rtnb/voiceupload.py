"""What a page sends from its microphone, checked and counted; it must not know widgets or calls.

A page is never trusted: what is not understood is left alone, and nothing here raises over it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import statistics
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import numpy as np

from rtnb.audio import CALL_SAMPLE_RATE

__all__ = ["Arrivals", "Chunk", "Said", "understood"]

_LOWEST: Final = 8_000  # Hz
_HIGHEST: Final = 192_000
_TOGETHER: Final = 50  # chunks in one message
_NAME: Final = 40  # characters of what names a page or a take
_LARGEST: Final = 2**53  # the largest number that a page counts to
_JUMP: Final = 30_000  # chunks; a number further on begins a count anew
_DIFFER: Final = 0.1  # seconds by which two clocks may seem to differ and be the same
_RECENT: Final = 3_000  # chunks whose delays are kept: one minute
_KINDS: Final = frozenset(
    "hello here gone start stop pause press release muted mode taking took".split()
)


@dataclass(frozen=True)
class Chunk:
    """A stretch of voice.

    Attributes
    ----------
    page
        Names the page that it came from.
    number
        Counts the page's chunks of 20 ms; of several that came together, that of the first.
    count
        How many came together.
    samples
        s16 mono in native byte order.
    sample_rate
        Hz.
    captured
        When its last sample was captured, in Unix seconds of the page's clock.
    for_call
        Whether a call is to hear it.
    take
        Names the take that it is part of.
    as_text
        Whether it came as base64.
    ahead
        Seconds by which the kernel's clock is ahead of the page's, as the page has measured it.
    within
        How far off that can be; None where it has not been measured.
    """

    page: str
    number: int
    count: int
    samples: bytes
    sample_rate: int
    captured: float | None
    for_call: bool
    take: str | None
    as_text: bool
    ahead: float
    within: float | None

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / 2 / self.sample_rate

    def apart(self) -> list[Chunk]:
        """Return those that came together one by one."""
        size, step = len(self.samples) // self.count, self.duration / self.count
        return [
            dataclasses.replace(
                self,
                number=self.number + place,
                count=1,
                samples=self.samples[place * size : (place + 1) * size],
                captured=None
                if self.captured is None
                else self.captured - (self.count - 1 - place) * step,
            )
            for place in range(self.count)
        ]


@dataclass(frozen=True)
class Said:
    """Anything else that a page says: what, and a value or a take's name."""

    page: str
    kind: str
    value: bool
    take: str | None
    sample_rate: int
    probe: bool


def understood(content: object, buffers: object) -> Chunk | Said | None:
    """Return what a message of a page means; None where it cannot be one.

    Parameters
    ----------
    content
        The message.
    buffers
        What came with it in binary.
    """
    if not isinstance(content, dict) or not (page := _name(content.get("page"))):
        return None
    parts = buffers if isinstance(buffers, Sequence) else ()
    kind = content.get("kind")
    if kind == "chunk":
        return _chunk(page, content, parts)
    if not isinstance(kind, str) or kind not in _KINDS:
        return None
    rate = content.get("rate")
    return Said(
        page,
        kind,
        content.get("value") is True,
        _name(content.get("take")),
        rate if _is_rate(rate) else CALL_SAMPLE_RATE,
        bool(parts) and _binary(parts[0]) == b"rtnb",
    )


def _chunk(page: str, content: dict[str, Any], parts: Sequence[Any]) -> Chunk | None:
    number, rate = content.get("number"), content.get("rate")
    if not _is_count(number) or not _is_rate(rate):
        return None
    pcm = _binary(parts[0]) if parts else _decoded(content.get("pcm"), rate)
    if not pcm or len(pcm) % 2 or len(pcm) > 2 * rate:
        return None
    count = content.get("count", 1)
    if not _is_count(count) or not 1 <= count <= _TOGETHER or len(pcm) % (2 * count):
        return None
    if sys.byteorder == "big":
        pcm = np.frombuffer(pcm, "<i2").astype(np.int16).tobytes()
    return Chunk(
        page,
        number,
        count,
        pcm,
        rate,
        _seconds(content.get("captured")),
        content.get("feed") is True,
        _name(content.get("take")),
        not parts,
        _seconds(content.get("ahead")) or 0.0,
        _seconds(content.get("within")),
    )


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _NAME else None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _is_rate(value: object) -> TypeGuard[int]:
    return _is_count(value) and _LOWEST <= value <= _HIGHEST


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 and math.isfinite(value) else None


def _binary(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def _decoded(value: object, rate: int) -> bytes:
    if not isinstance(value, str) or len(value) > 3 * rate:  # 2 bytes take less than 3 characters
        return b""
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return b""


class Arrivals:
    """Counts the chunks of a page, and says when each was captured on the kernel's clock.

    Attributes
    ----------
    chunks, lost, bytes : int
        What came, and the numbers that did not.
    as_text : bool
        Whether the last one came as base64.
    relative : bool
        Whether the clocks differ, so that delays are counted from the smallest one seen.
    """

    def __init__(self) -> None:
        self.chunks = self.lost = self.bytes = 0
        self.as_text = self.relative = False
        self.worst: float | None = None
        self.last: float | None = None
        self._delays: deque[float] = deque(maxlen=_RECENT)
        self._page = ""
        self._next = 0
        self._least = [math.inf, math.inf]  # of the minute before, and of this one
        self._clocked = 0

    def take(self, chunk: Chunk, unix: float, monotonic: float) -> tuple[int, float | None] | None:
        """Count a chunk.

        Parameters
        ----------
        chunk
            What has come.
        unix, monotonic
            When, on both clocks.

        Returns
        -------
        (int, float or None) or None
            How many before it are missing, and when it was captured in monotonic seconds. None
            where it comes a second time.
        """
        missing = self._missing(chunk)
        if missing is None:
            return None
        self.chunks += 1
        self.lost += missing
        self.bytes += len(chunk.samples)
        self.as_text = chunk.as_text
        if chunk.captured is None:
            return missing, None
        delay = self._delay(chunk, unix - chunk.captured)
        self._delays.append(delay)
        self.last, self.worst = delay, max(delay, self.worst or 0.0)
        return missing, monotonic - delay

    def upto(self, page: str) -> int:
        """Return the number of a page's last chunk that came; -1 for none."""
        return self._next - 1 if page == self._page else -1

    def _missing(self, chunk: Chunk) -> int | None:
        if chunk.page != self._page:
            self._page, self._next = chunk.page, chunk.number
        missing = chunk.number - self._next
        if missing < 0:
            return None
        self._next = chunk.number + 1
        return missing if missing < _JUMP else 0

    def _delay(self, chunk: Chunk, late: float) -> float:
        self._clocked += 1
        if self._clocked % _RECENT == 0:  # clocks drift
            self._least = [self._least[1], math.inf]
        self._least[1] = min(self._least[1], late)
        if chunk.within is not None:
            self.relative = abs(chunk.ahead) > chunk.within + _DIFFER
        elif late < -_DIFFER:
            self.relative = True
        return late - min(self._least) if self.relative else max(late, 0.0)

    @property
    def median(self) -> float | None:
        """Median delay of the last minute's chunks, in seconds."""
        return statistics.median(list(self._delays)) if self._delays else None
