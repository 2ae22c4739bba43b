"""What a user's cell may do: 250 ms of it at a time; it knows nothing of calls."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Final

import numpy as np

__all__ = ["PERIOD", "SECONDS", "WORK"]

SECONDS: Final = 20  # times that it is done
PERIOD: Final = 1.0  # seconds from one time to the next
BUSY: Final = 0.25  # seconds


def python() -> None:
    """Pure Python."""
    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        sum(i * i for i in range(1000))


def parse() -> None:
    """``json.loads`` of documents that take some 30 ms each, in one call that keeps the GIL."""
    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        json.loads(_document())


@functools.cache
def _document() -> str:
    return json.dumps([{"name": f"item {i}", "values": list(range(20))} for i in range(10_000)])


def draw() -> None:
    """Matplotlib figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        figure, axes = plt.subplots(figsize=(4, 3))
        axes.plot(_noise())
        figure.canvas.draw()
        plt.close(figure)


@functools.cache
def _noise() -> list[float]:
    return list(np.random.default_rng(0).normal(size=5_000))


WORK: Final[dict[str, Callable[[], None]]] = {"python": python, "json": parse, "plots": draw}
