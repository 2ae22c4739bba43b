"""Holds the calls of one process and hands messages to them; it must not know what is in a call."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import IO, Final

from rtnb import messages as m
from rtnb.media import aiortc_hooks, opus
from rtnb.media.call import Call

__all__ = ["Host", "serve_pipe"]

logger = logging.getLogger(__name__)

_SWITCH: Final = 0.001  # seconds for which a thread, such as a writer's, may keep the loop waiting
_GOODBYE: Final = 5.0  # seconds to finish all runs after the user's process is gone


class Host:
    """All calls of one media process (or of one thread, in tests).

    Parameters
    ----------
    emit
        Takes messages for the user's process; may be called from any thread.
    """

    def __init__(self, emit: Callable[[m.Message], None]):
        self._emit = emit
        self._calls: dict[str, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def dispatch(self, message: m.Message) -> None:
        """Act on one message, on the loop's thread."""
        task = asyncio.ensure_future(self._act(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _act(self, message: m.Message) -> None:
        if isinstance(message, m.Open):
            await self._start(message)
            return
        if isinstance(message, m.Prepare):  # for whichever call plays it
            await asyncio.get_running_loop().run_in_executor(None, opus.prepare, message.samples)
            return
        call = self._calls.get(message.call)
        if call is None:
            if isinstance(message, m.Close):  # it is over, or never began
                self._emit(m.Closed(message.call, "closed", message.reason, -1.0))
            return
        match message:
            case m.Answer():
                await call.answer(message)
            case m.SendEvent():
                call.send_event(message)
            case m.Play():
                call.play(message)
            case m.Cancel():
                call.cancel(message)
            case m.Feed():
                call.feed(message)
            case m.FeedEnd():
                call.feed_end()
            case m.Subscribe():
                call.subscribe(message)
            case m.Note():
                call.note(message)
            case m.StatsWanted():
                await call.stats(message)
            case m.Close():
                await call.close("closed", message.reason)

    async def _start(self, opened: m.Open) -> None:
        reason = "The call could not start"
        try:
            call = Call(opened, self._from_call)
        except Exception as error:
            logger.exception("a call could not be made")
            self._emit(m.Closed(opened.call, "failed", f"{reason}: {error}", 0.0))
            return
        self._calls[opened.call] = call
        try:
            await call.start()
        except Exception as error:
            logger.exception("a call could not start")
            await call.close("failed", f"{reason}: {error}")

    def _from_call(self, message: m.Message) -> None:
        if isinstance(message, m.Closed):
            self._calls.pop(message.call, None)
        self._emit(message)

    async def close(self, reason: str) -> None:
        """Hang up every call and finish every run; bounded in time."""
        closing = [call.close("closed", reason) for call in list(self._calls.values())]
        if closing:
            await asyncio.wait([asyncio.ensure_future(c) for c in closing], timeout=_GOODBYE)


async def serve_pipe(source: IO[bytes], sink: IO[bytes]) -> None:
    """Serve messages from `source` until it ends, answering on `sink`; both are blocking streams."""
    loop = asyncio.get_running_loop()
    outgoing: queue.SimpleQueue[m.Message | None] = queue.SimpleQueue()
    host = Host(outgoing.put)
    ended = asyncio.Event()

    # threads of their own: a user's process that does not read must not stall the media
    def read() -> None:
        while True:
            message = m.read_message(source)
            if message is None:
                loop.call_soon_threadsafe(ended.set)
                return
            loop.call_soon_threadsafe(host.dispatch, message)

    def write() -> None:
        try:
            while (message := outgoing.get()) is not None:
                sink.write(m.encode_message(message))
                if outgoing.empty():  # many calls tell of their sound at the same time
                    sink.flush()
            sink.flush()
        except (BrokenPipeError, OSError):
            return  # nobody reads any more; the runs are finished all the same

    threading.Thread(target=read, name="rtnb-read", daemon=True).start()
    writer = threading.Thread(target=write, name="rtnb-write", daemon=True)
    writer.start()
    outgoing.put(m.Ready("", os.getpid(), tuple(aiortc_hooks.missing())))
    await ended.wait()
    await host.close("the user's process ended")
    outgoing.put(None)
    writer.join(timeout=1.0)


def main() -> None:
    """Run the media process on stdin and stdout."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else may write into the pipe
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    gc.freeze()  # what was imported stays: looking through it takes as long as a packet
    sys.setswitchinterval(_SWITCH)
    asyncio.run(serve_pipe(source, sink))
