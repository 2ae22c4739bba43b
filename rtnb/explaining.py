"""Why there was no reply: from a turn's events, sound and packets to one cause; it sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What came of a turn, and why, in one word and in words.

    Attributes
    ----------
    cause : str
        One of `CAUSES`.
    text : str
        What was seen and what to do about it, in a sentence or two.
    """

    cause: str
    text: str

    def __str__(self) -> str:
        return self.text


def explain(subject: Any) -> Explanation:
    """Return why a turn, or a call that failed, had no reply."""
    return Explanation("unknown", "")
