"""Tells JSON that is nested too deep for code that recurses; it must not know what the JSON says."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["DEEPEST", "too_deep"]

DEEPEST: Final = 100  # levels that are read; code that copies or writes JSON recurses


def too_deep(value: Any, text: str) -> bool:
    """Return whether what was parsed from a text has more than `DEEPEST` levels."""
    if text.count("{") + text.count("[") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST):
        inner = [v.values() if isinstance(v, dict) else v for v in level]
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
    return bool(level)
