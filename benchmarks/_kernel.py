"""Bare aiortc on the loop of a busy kernel: a caller whose loop also runs the user's cells.

``python -m benchmarks._kernel KIND`` answers an offer's answer with the lateness of its packets, in
seconds, while 250 ms of each second are spent in work of that kind on the same loop.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import numpy as np

from benchmarks._calls import lateness
from benchmarks._near import Near
from benchmarks._processes import answer_lines
from benchmarks._work import PERIOD, SECONDS, WORK


async def work_for(kind: str, began: float) -> None:
    """Work as a cell does that is run again each second, from a monotonic time on."""
    do = WORK[kind]
    for second in range(SECONDS):
        await asyncio.sleep(max(0.0, began + second * PERIOD - time.monotonic()))
        do()


async def serve(kind: str) -> None:
    """Answer until nothing more is asked."""
    near = Near("", watched=True)

    async def answer(question: dict[str, Any]) -> Any:
        if "work" not in question:
            return await near.answer(question)
        await work_for(kind, question["work"])
        times, stamps = np.array(near.departures[0]).T
        return lateness(times, stamps)[times >= question["work"]].tolist()

    await answer_lines(answer)
    await near.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
