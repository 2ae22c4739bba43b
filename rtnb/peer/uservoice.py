"""Runs a voice in the user's process, several turns at once; it must not know the pipe or calls."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Final

from rtnb._masking import mask
from rtnb.peer.reply import Answer, Failure, UserTurn, Voice

__all__ = ["UserVoice", "failure_of"]

_log = logging.getLogger(__name__)

_MOST: Final = 32  # turns that plain functions think about at once; further ones wait
_END_WITHIN: Final = 1.0  # seconds for what is still thinking; its threads are daemons
_LONGEST: Final = 300  # characters of an error's text


def failure_of(error: BaseException) -> Failure:
    """Return what a response says of an exception in its voice: one masked line."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Failure(mask(f"The voice failed with {line}")[:_LONGEST])


class UserVoice:
    """Asks a voice in threads of its own; async voices share one event loop.

    Parameters
    ----------
    voice
        The function, async or not. It is called in a thread.
    answer
        Takes the number of the thought and the answer, from any thread.
    """

    def __init__(self, voice: Voice, answer: Callable[[int, Answer], None]):
        self._voice = voice
        self._answer = answer
        self._asked: queue.SimpleQueue[tuple[int, UserTurn] | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # a handle may be forgotten, and closed, anywhere
        self._wanted: set[int] = set()
        self._tasks: dict[int, Future[Answer]] = {}
        self._threads: list[threading.Thread] = []
        self._under_way = 0  # asked, and not yet returned or handed to the loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._closed = False

    def think(self, thought: int, turn: UserTurn) -> None:
        """Begin to answer a turn; returns at once."""
        with self._lock:
            if self._closed:
                return
            self._wanted.add(thought)
            self._under_way += 1
            if len(self._threads) < min(self._under_way, _MOST):
                self._threads.append(_started(self._work, "rtnb-voice"))
        self._asked.put((thought, turn))

    def forget(self, thought: int) -> None:
        """Cancel what is async; what is not runs on, and its answer is not used."""
        with self._lock:
            self._wanted.discard(thought)
            task = self._tasks.pop(thought, None)
        if task is not None:
            task.cancel()

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            try:
                if asked[0] in self._wanted:
                    self._ask(*asked)
            finally:
                with self._lock:
                    self._under_way -= 1

    def _ask(self, thought: int, turn: UserTurn) -> None:
        try:
            answer: Any = self._voice(turn)
        except BaseException as error:  # SystemExit too: it would end this thread without a word
            self._failed(thought, error)
            return
        if inspect.isawaitable(answer):
            self._hand_over(thought, answer)
        else:
            self._answered(thought, answer)

    def _hand_over(self, thought: int, answer: Any) -> None:
        with self._lock:
            if self._closed or thought not in self._wanted:
                if inspect.iscoroutine(answer):
                    answer.close()
                return
            task = asyncio.run_coroutine_threadsafe(_awaited(answer), self._running_loop())
            self._tasks[thought] = task
        task.add_done_callback(lambda done: self._ended(thought, done))

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop_thread = _started(functools.partial(_run, self._loop), "rtnb-voice-loop")
        return self._loop

    def _ended(self, thought: int, done: Future[Answer]) -> None:
        with self._lock:
            self._tasks.pop(thought, None)
        try:
            self._answered(thought, done.result())
        except CancelledError as error:  # forgotten, or the voice cancelled itself
            self._failed(thought, error)
        except Exception as error:
            self._failed(thought, error)

    def _failed(self, thought: int, error: BaseException) -> None:
        if thought in self._wanted:
            # where the user can see it: the response carries one line only
            _log.error("%s", mask("".join(traceback.format_exception(error))).rstrip())
        self._answered(thought, failure_of(error))

    def _answered(self, thought: int, answer: Answer) -> None:
        with self._lock:
            wanted = thought in self._wanted
            self._wanted.discard(thought)
        if wanted:
            self._answer(thought, answer)

    def close(self) -> None:
        """Answer nothing any more, cancel what is async, and end the threads; bounded in time."""
        with self._lock:
            self._closed = True
            self._wanted.clear()
            self._tasks.clear()
            threads = [t for t in (*self._threads, self._loop_thread) if t is not None]
        for _ in self._threads:
            self._asked.put(None)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        until = time.monotonic() + _END_WITHIN
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(until - time.monotonic(), 0))


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, then cancel what is left on it."""
    executor = ThreadPoolExecutor(thread_name_prefix="rtnb-voice-executor")
    loop.set_default_executor(executor)
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_END_WITHIN)


async def _awaited(answer: Any) -> Answer:
    try:
        return await answer  # type: ignore[no-any-return]
    except (KeyboardInterrupt, SystemExit) as error:  # either would end the loop of all
        raise RuntimeError(repr(error)) from error


def _started(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread
