"""The peer's end of the pipe, and a voice that lives at the other; it must not know calls."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from rtnb.peer import control
from rtnb.peer.journal import Journal
from rtnb.peer.reply import Answer, Failure, UserTurn

__all__ = ["ParentPipe", "RemoteVoice"]

_log = logging.getLogger(__name__)

_ROWS: Final = 1_000  # of a journal in one frame: making one holds no thread up for long
_LAST_WORDS: Final = 1.0  # seconds to send the rest of the journal at the end
_KINDS: Final = ("departures", "arrivals", "events")
_GONE: Final = Failure("The process in which this voice runs has gone.")


class ParentPipe:
    """Frames to and from the process that holds the `Peer`.

    Parameters
    ----------
    source, sink
        Blocking byte streams.
    """

    def __init__(self, source: IO[bytes], sink: IO[bytes]):
        self._source = source
        self._sink = sink
        self._outgoing: queue.SimpleQueue[control.Frame | Iterator[control.Frame] | None] = (
            queue.SimpleQueue()
        )
        self._sent: dict[tuple[str, str], int] = {}
        self._writer = threading.Thread(target=self._write, name="rtnb-write", daemon=True)

    @classmethod
    def of_process(cls) -> ParentPipe:
        """Take this process's stdin and stdout; what is printed from now on goes to stderr."""
        sys.stdout.flush()
        sink = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # libraries print by descriptor
        sys.stdout = sys.stderr
        # not sys.stdin, whose lock a daemon thread must not hold when the interpreter ends
        return cls(os.fdopen(os.dup(0), "rb"), sink)

    def first(self) -> control.Start | None:
        """Return the frame that says what to be; None when the parent has gone before."""
        frame = control.read_frame(self._source)
        return frame if isinstance(frame, control.Start) else None

    def start(self, take: Callable[[control.Frame], None], ended: Callable[[], None]) -> None:
        """Begin to read and write.

        Parameters
        ----------
        take
            Called on the running loop with each frame.
        ended
            Called there when there will be no more.
        """
        loop = asyncio.get_running_loop()

        def read() -> None:
            try:
                while (frame := control.read_frame(self._source)) is not None:
                    loop.call_soon_threadsafe(take, frame)
            except Exception:
                _log.exception("the pipe cannot be read")
            try:
                loop.call_soon_threadsafe(ended)
            except RuntimeError:  # the loop has ended already
                return

        # threads of their own: a user's process that does not read must not stall the calls
        threading.Thread(target=read, name="rtnb-read", daemon=True).start()
        self._writer.start()

    def send(self, frame: control.Frame) -> None:
        """Send a frame; returns at once."""
        self._outgoing.put(frame)

    def send_journal(
        self, journal: Journal, request: int, live: int, *, with_rows: bool = True
    ) -> None:
        """Send what a journal holds that was not sent before, and `Logged`; returns at once."""
        calls = journal.exported()
        lost = journal.forgotten > 0 or any(call[k].beyond for call in calls for k in _KINDS)
        if with_rows:
            self._outgoing.put(_records(self._new_parts(calls)))
        self.send(control.Logged(request, live, lost))

    def _new_parts(self, calls: list[dict[str, Any]]) -> list[tuple[str, str, Any, int, int]]:
        """Return (call, kind, rows, start, end) of what was not sent, and take it for sent."""
        before, self._sent = self._sent, {}  # what the journal has forgotten need not be known
        parts = []
        for call in calls:
            name = call["call_id"]
            for kind in _KINDS:
                end = self._sent[name, kind] = len(call[kind])
                parts.append((name, kind, call[kind], before.get((name, kind), 0), end))
        return parts

    def finish(self, journal: Journal) -> None:
        """Send the rest of the journal and close the pipe; bounded in time."""
        self.send_journal(journal, 0, 0)
        self._outgoing.put(None)
        self._writer.join(_LAST_WORDS)

    def _write(self) -> None:
        try:
            while (sent := self._outgoing.get()) is not None:
                for frame in sent if isinstance(sent, Iterator) else (sent,):
                    self._sink.write(control.encode(frame))
                    self._sink.flush()
                    time.sleep(0)  # pickling holds the interpreter: let the calls come in between
            self._sink.close()
        except OSError:
            return  # nobody reads any more; the calls are ended all the same


def _records(parts: list[tuple[str, str, Any, int, int]]) -> Iterator[control.Frame]:
    """Yield rows of journals in frames that are small; a call without a row is in one, too."""
    for call_id, kind, rows, start, end in parts:
        if kind == "events" and start == 0:
            yield control.Records(call_id, kind, [])
        for at in range(start, end, _ROWS):
            yield control.Records(call_id, kind, rows[at : min(at + _ROWS, end)])


class RemoteVoice:
    """A voice that asks the user's process. Use it on one event loop.

    Parameters
    ----------
    send
        Sends a frame to that process; returns at once.
    """

    def __init__(self, send: Callable[[control.Frame], None]):
        self._send = send
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._gone = False

    async def __call__(self, turn: UserTurn) -> Answer:
        """Return what the voice answers; when its process has gone, that it failed."""
        if self._gone:
            return _GONE
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        self._send(control.Think(number, turn))
        try:
            return await future
        except asyncio.CancelledError:
            self._send(control.Forget(number))
            raise
        finally:
            del self._open[number]

    def said(self, frame: control.Said) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        self._settle(frame.thought, frame.answer)

    def gone(self) -> None:
        """Fail whatever is open, and all that is asked from now on."""
        self._gone = True
        for number in list(self._open):
            self._settle(number, _GONE)

    def _settle(self, number: int, answer: Any) -> None:
        future = self._open.get(number)
        if future is not None and not future.done():
            future.set_result(answer)
