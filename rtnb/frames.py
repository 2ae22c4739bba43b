"""From the text frames of a data channel to the events they carry, sans-I/O; it knows no event.

Most servers send one event a frame. Servers of speaches' kind wrap each: ``full_message`` holds an
event's JSON in base64, and ``partial_message`` a slice of that base64, for the receiver to join.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["FRAMINGS", "Unwrapper"]

FRAMINGS: Final = (None, "speaches")

_MOST_MESSAGES: Final = 64  # incomplete ones that are kept
_MOST_CHARACTERS: Final = 16_777_216  # of the frames of incomplete messages, all together
_MOST_FRAGMENTS: Final = 65_536  # of one message


@dataclass(slots=True)
class _Partial:
    """A message of which some fragments have come."""

    total: int
    frames: dict[int, str] = field(default_factory=dict)  # index to the frame, as it came
    slices: dict[int, str] = field(default_factory=dict)  # index to its base64

    @property
    def size(self) -> int:
        return sum(map(len, self.frames.values()))


class Unwrapper:
    """Puts together what came in frames.

    Nothing is lost: a frame that cannot be understood, and one whose message stays incomplete, is
    given out as it came. At most 64 incomplete messages and 16,777,216 characters are kept; beyond
    that the oldest message is given up.

    Parameters
    ----------
    framing
        None for one event a frame, or ``"speaches"``.
    """

    def __init__(self, framing: str | None = None):
        self._wraps = framing == "speaches"
        self._partial: dict[str, _Partial] = {}  # oldest first
        self._kept = 0  # characters in `_partial`

    def take(self, text: str) -> list[str]:
        """Take a frame, and return the texts that are complete with it, often none or one.

        Parameters
        ----------
        text
            The frame.

        Returns
        -------
        list of str
            Events as JSON text, and frames that are none.
        """
        if not self._wraps:
            return [text]
        frame = _parsed(text)
        match frame.get("type"):
            case "full_message":
                decoded = _decoded(frame.get("data"))
                return [text if decoded is None else decoded]
            case "partial_message":
                return self._fragment(text, frame)
            case _:
                return [text]  # a server that wraps only some of them

    def left(self) -> list[str]:
        """Return the frames of messages that never became complete, and forget them."""
        frames = [f for partial in self._partial.values() for f in partial.frames.values()]
        self._partial.clear()
        self._kept = 0
        return frames

    def _fragment(self, text: str, frame: dict[str, Any]) -> list[str]:
        key, data = frame.get("id"), frame.get("data")
        index, total = frame.get("fragment_index"), frame.get("total_fragments")
        if not isinstance(key, str) or not isinstance(data, str):
            return [text]
        if not isinstance(index, int) or not isinstance(total, int):
            return [text]
        if isinstance(index, bool) or not 0 <= index < total <= _MOST_FRAGMENTS:
            return [text]
        partial = self._partial.setdefault(key, _Partial(total))
        if partial.total != total or index in partial.frames:
            return [text]  # it contradicts what came before
        partial.frames[index], partial.slices[index] = text, data
        self._kept += len(text)
        if len(partial.frames) < total:
            return self._given_up()
        self._drop(key)
        decoded = _decoded("".join(partial.slices[place] for place in range(total)))
        return list(partial.frames.values()) if decoded is None else [decoded]

    def _given_up(self) -> list[str]:
        """Return the frames of the oldest messages, where too much is kept."""
        frames: list[str] = []
        while len(self._partial) > _MOST_MESSAGES or self._kept > _MOST_CHARACTERS:
            frames += self._drop(next(iter(self._partial))).frames.values()
        return frames

    def _drop(self, key: str) -> _Partial:
        partial = self._partial.pop(key)
        self._kept -= partial.size
        return partial


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _decoded(data: Any) -> str | None:
    try:
        return base64.b64decode(data, validate=True).decode("utf-8")
    except (ValueError, TypeError):  # no text, no base64, no UTF-8
        return None
