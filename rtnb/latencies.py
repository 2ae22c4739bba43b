"""`Latencies`: the latency of many turns with its summary; it must not know how it was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Latencies", "latencies_of"]


@dataclass(frozen=True, eq=False)
class Latencies:
    """The latencies of turns, and what they add up to."""

    turns: tuple[Any, ...] = ()


def latencies_of(turns: Iterable[Any], *, deadline: float = 5.0) -> Latencies:
    """Return the latencies of turns."""
    return Latencies(tuple(turns))
