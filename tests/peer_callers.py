"""Many callers in one process: ``python peer_callers.py URL COUNT SECONDS`` prints what became of them.

They are bare aiortc with packets that were encoded before, and hear without decoding. One after the
other connects; then all of them are in a call for so many seconds, in which each speaks one bundled
sample, staggered over the first half.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

from peer_client import Caller, exchange, mint, prompt_pcm

from rtnb.media import aiortc_hooks, opus
from rtnb.peer import repertoire


class Measured(Caller):
    """A caller that keeps when its packets left and when the peer's came, and their timestamps."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[tuple[float, int]] = []
        self.came: list[tuple[float, int]] = []
        aiortc_hooks.watch_sender(self.sender, self._left)

    def _left(self, packet: aiortc_hooks.RtpDeparture) -> None:
        self.left.append((packet.time, packet.timestamp))

    def _packet(self, packet: aiortc_hooks.RtpArrival) -> None:
        self.came.append((packet.time, packet.timestamp))


async def converse(caller: Measured, said: bytes, after: float, until: float) -> None:
    """Speak a sample after a while, and stay until a time of the loop."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(after)
    caller.track.play(said)
    await asyncio.sleep(until - loop.time())


async def main(url: str, count: int, seconds: float) -> None:
    """Place the calls and print the result."""
    prompts = [one.name for one in repertoire.prompts()]
    names = [name for name in prompts if not repertoire.saying_for(name).tool_name]
    said = {name: prompt_pcm(name).tobytes() for name in names}
    for pcm in said.values():
        opus.encode(pcm)
    key = await mint(url, {"type": "realtime"})
    callers: list[Measured] = []
    for _ in range(count):
        caller = Measured()
        callers.append(caller)
        _, _, answer = await exchange(url, await caller.offer(), key=key)
        await caller.accept(answer)
        await caller.until("session.created")
    began = time.monotonic()
    until = asyncio.get_running_loop().time() + seconds
    cpu = time.process_time()
    await asyncio.gather(
        *(
            converse(caller, said[names[i % len(names)]], i * seconds / 2 / count, until)
            for i, caller in enumerate(callers)
        )
    )
    cpu = time.process_time() - cpu
    print(
        json.dumps(
            {
                "began": began,
                "ended": time.monotonic(),
                "cpu": cpu / seconds,
                "calls": [outcome(c, names[i % len(names)]) for i, c in enumerate(callers)],
            }
        )
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            await asyncio.gather(*(caller.pc.close() for caller in callers))


def outcome(caller: Measured, name: str) -> dict[str, Any]:
    """Return what one caller has seen."""
    done = "response.output_audio_transcript.done"
    return {
        "sample": name,
        "answers": [event["transcript"] for event in caller.events if event["type"] == done],
        "types": caller.types(),
        "left": caller.left,
        "came": caller.came,
    }


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
