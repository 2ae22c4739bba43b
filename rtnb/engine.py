"""Starts and reaches the media process, or the same host in a thread; it must not know a turn.

An engine takes messages with `send`, and hands those of a call to the handler that `register`ed for
it, on a thread of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Final, Protocol

from rtnb import messages as m
from rtnb._process import last_line, start_module, stderr_file
from rtnb.errors import MediaProcessError

__all__ = [
    "CALLS_EACH",
    "Engine",
    "EnginePool",
    "Handler",
    "ProcessEngine",
    "ScriptedEngine",
    "ThreadEngine",
    "shared_engine",
]

Handler = Callable[[m.Message], None]

logger = logging.getLogger(__name__)

# A call takes 2 to 3 % of a core in the media process: what shares one takes less than half of it,
# which leaves room for a clip that is encoded and a recording that is cut while packets are due.
CALLS_EACH: Final = 16
_STARTUP: Final = 20.0  # seconds until the media process must be ready
_GOODBYE: Final = 7.0  # seconds it may take to finish its runs


class Engine(Protocol):
    """Whatever carries messages between sessions and calls."""

    def register(self, call: str, handler: Handler) -> None:
        """Hand the messages of a call to `handler`, until its `Closed`."""

    def send(self, message: m.Message) -> None:
        """Send one message to the call it names."""


class _Registry:
    """Which handler gets which message."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register(self, call: str, handler: Handler) -> None:
        self._handlers[call] = handler

    def deliver(self, message: m.Message) -> None:
        handler = self._handlers.get(message.call)
        if isinstance(message, m.Closed):
            self._handlers.pop(message.call, None)
        if handler is None:
            return
        try:
            handler(message)
        except Exception:  # one session's trouble must not silence the others
            logger.exception("a message could not be handled")

    def close_all(self, kind: str, reason: str) -> None:
        for call in list(self._handlers):
            self.deliver(m.Closed(call, kind, reason, -1.0))


class ProcessEngine:
    """The media process: ``python -m rtnb.media`` as a child in a session of its own.

    Raises
    ------
    MediaProcessError
        From `send` and `wait_ready`, when it could not start or has died.
    """

    def __init__(self) -> None:
        self._registry = _Registry()
        self._ready = threading.Event()
        self._outgoing: queue.SimpleQueue[m.Message | None] = queue.SimpleQueue()
        self._stderr: IO[bytes] = stderr_file()
        self._last_words = ""
        self._process: subprocess.Popen[bytes] = start_module("rtnb.media", stderr=self._stderr)
        self._owner = os.getpid()
        self.fallbacks: tuple[str, ...] = ()
        for work in (self._read, self._write):
            threading.Thread(target=work, name="rtnb-media", daemon=True).start()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The media process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs, and belongs to this process (not to one we were forked from)."""
        return self._process.poll() is None and self._owner == os.getpid()

    def wait_ready(self) -> None:
        """Wait until it is up."""
        if not self._ready.wait(_STARTUP) or not self.alive:
            raise MediaProcessError(self._cause("could not start"))

    def register(self, call: str, handler: Handler) -> None:
        """Hand the messages of a call to `handler`, until its `Closed`."""
        self._registry.register(call, handler)

    def send(self, message: m.Message) -> None:
        """Send one message; it is written by a thread, which an interrupt cannot cut short."""
        if not self.alive:
            raise MediaProcessError(self._cause("has died"))
        self._outgoing.put(message)

    def close(self) -> None:
        """End the media process: it finishes its runs and hangs up first. Bounded in time."""
        atexit.unregister(self.close)
        if self._owner != os.getpid() or self._process.stdin is None:
            return
        self._outgoing.put(None)
        try:
            self._process.wait(_GOODBYE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):  # `_read` tells of its death
            while (message := self._outgoing.get()) is not None:
                m.write_message(stdin, message)
        with contextlib.suppress(OSError):
            stdin.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while (message := m.read_message(stdout)) is not None:
                if isinstance(message, m.Ready):
                    self.fallbacks = message.fallbacks
                    self._ready.set()
                else:
                    self._registry.deliver(message)
        self._process.wait()
        self._last_words = last_line(self._stderr)
        self._ready.set()
        self._outgoing.put(None)  # or `_write` would wait for ever
        atexit.unregister(self.close)
        self._registry.close_all("process_died", self._cause("has died"))
        stdout.close()
        self._stderr.close()

    def _cause(self, what: str) -> str:
        code = self._process.poll()
        how = f" (signal {-code})" if code is not None and code < 0 else ""
        line = self._last_words or last_line(self._stderr)  # it may hang rather than be dead
        said = f" Its last words: {line}" if line else ""
        return f"The media process {what}{how}; connect again to go on.{said}"


class ThreadEngine:
    """The same host in a thread of this process: for tests, and where there are no processes.

    Media then shares the interpreter with your cells and stalls when they hold it.
    """

    def __init__(self) -> None:
        from rtnb.media.host import Host

        self._registry = _Registry()
        self._host = Host(self._registry.deliver)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rtnb-media", daemon=True)
        self._thread.start()

    def register(self, call: str, handler: Handler) -> None:
        """Hand the messages of a call to `handler`, until its `Closed`."""
        self._registry.register(call, handler)

    def send(self, message: m.Message) -> None:
        """Send one message."""
        self._loop.call_soon_threadsafe(self._dispatch, message)

    def close(self) -> None:
        """Hang up every call and end the thread."""
        if not self._loop.is_closed():
            closing = asyncio.run_coroutine_threadsafe(self._host.close("closed"), self._loop)
            closing.result(_GOODBYE)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _dispatch(self, message: m.Message) -> None:
        self._host.dispatch(message)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


class ScriptedEngine:
    """A scripted transport: answers each message as a function says, without any media.

    The seam for fast tests; below it everything is real, above it everything is too.

    Parameters
    ----------
    script
        From a message that was sent to the messages that come back.

    Attributes
    ----------
    sent : list of Message
        What was sent, in order.
    """

    def __init__(self, script: Callable[[m.Message], Iterable[m.Message]]):
        self.sent: list[m.Message] = []
        self._script = script
        self._registry = _Registry()

    def register(self, call: str, handler: Handler) -> None:
        """Hand the messages of a call to `handler`, until its `Closed`."""
        self._registry.register(call, handler)

    def send(self, message: m.Message) -> None:
        """Take one message, and deliver what the script answers."""
        self.sent.append(message)
        for answer in self._script(message):
            self._registry.deliver(answer)

    def deliver(self, message: m.Message) -> None:
        """Deliver a message of its own accord."""
        self._registry.deliver(message)


_shared: ProcessEngine | None = None
_shared_lock = threading.Lock()


def shared_engine() -> ProcessEngine:
    """Return this process's media process, starting it (again) if need be; it may not be up yet."""
    global _shared
    with _shared_lock:
        if _shared is None or not _shared.alive:
            _shared = ProcessEngine()
        return _shared


class EnginePool:
    """Media processes for several calls at once; each call gets the one with the fewest.

    The first is this process's shared one. There are as many as `CALLS_EACH` asks for, at most one a
    core, and one that has died is replaced for the next call.

    Parameters
    ----------
    calls
        How many calls go on at once.
    """

    def __init__(self, calls: int):
        self._engines: list[ProcessEngine | None] = [None] * min(-(-calls // CALLS_EACH), _cores())
        self._calls = [0] * len(self._engines)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def engine(self) -> Iterator[ProcessEngine]:
        """Give the engine for one call, which lasts as long as the block."""
        with self._lock:
            place = self._calls.index(min(self._calls))
            engine = self._alive(place)
            self._calls[place] += 1
        try:
            yield engine
        finally:
            with self._lock:
                self._calls[place] -= 1

    def close(self) -> None:
        """End all processes but the shared one."""
        with self._lock:
            extra = [engine for engine in self._engines if engine is not None]
            self._engines = [None] * len(self._engines)
        for engine in extra:
            engine.close()

    def _alive(self, place: int) -> ProcessEngine:
        if place == 0:
            return shared_engine()
        engine = self._engines[place]
        if engine is None or not engine.alive:
            engine = self._engines[place] = ProcessEngine()
        return engine


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def call_id() -> str:
    """Return a new id for a call."""
    return f"call-{time.monotonic_ns():x}"
