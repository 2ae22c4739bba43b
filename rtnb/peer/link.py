"""The user's end of the pipe to a peer's process; it must not know what a call or a fault is."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rtnb import _process
from rtnb._masking import mask
from rtnb.errors import ConfigurationError, MediaProcessError
from rtnb.peer import control

if TYPE_CHECKING:
    from rtnb.peer.peerlog import PeerLog
    from rtnb.peer.reply import Answer
    from rtnb.peer.uservoice import UserVoice

__all__ = ["Link"]

_log = logging.getLogger(__name__)

_READY_WITHIN: Final = 20.0  # seconds
_LOGGED_WITHIN: Final = 5.0  # seconds
_END_WITHIN: Final = 4.0  # seconds until the process is killed
_WRITTEN_WITHIN: Final = 1.0  # seconds for a write under way when it is closed
_USAGE: Final = 2  # exit code of a process that cannot be what it was told

Rows = dict[str, list[tuple[Any, ...]]]


class Link:
    """A peer's process, and the frames to and from it.

    Parameters
    ----------
    start
        What it is to be.
    voice
        Runs in this process and is asked for answers; None where the process has its own.

    Raises
    ------
    ConfigurationError
        What it is to be cannot be.
    MediaProcessError
        The process did not start.
    """

    def __init__(self, start: control.Start, voice: Callable[..., Any] | None = None):
        self._owner = os.getpid()
        self._voice = self._asked_of(voice) if voice is not None else None
        self._news = threading.Condition()
        self._writing = threading.Lock()
        self._closing = threading.Lock()
        self._ready: control.Ready | None = None
        self._calls: dict[str, Rows] = {}
        self._logged = 0
        self._live = 0
        self._whole = False  # the last of the journal has come
        self._lost = False  # there was more than the process keeps
        self._ended = False
        self._closed = False
        self._text = ""
        self._stderr = _process.stderr_file()
        # its arrays are small: numpy's threads would only compete with the packets
        few = {"OPENBLAS_NUM_THREADS": "1"}
        self.process = _process.start_module(
            "rtnb.peer", ["--piped"], stderr=self._stderr, environment=few
        )
        self._reader = threading.Thread(target=self._read, name="rtnb-peer", daemon=True)
        self._reader.start()
        try:
            self._write(control.encode(start))
            self.port = self._listening()
        except BaseException:
            self.close()
            raise

    def _asked_of(self, voice: Callable[..., Any]) -> UserVoice:
        from rtnb.peer.uservoice import UserVoice

        return UserVoice(voice, self._say)

    def _listening(self) -> int:
        with self._news:
            self._news.wait_for(lambda: self._ready or self._ended, _READY_WITHIN)
            if self._ready is not None:
                return self._ready.port
        if not self._ended:
            self.process.kill()
        code = self.process.wait()
        reason = _process.last_line(self._stderr) or "it said nothing"
        if code == _USAGE:
            raise ConfigurationError(reason)
        raise MediaProcessError(f"The peer did not start: {reason}")

    # --- frames -----------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            while (frame := control.read_frame(self.process.stdout)) is not None:
                self._take(frame)
        except Exception:
            _log.exception("The peer's process sent what is no frame; it is ended")
            self.process.kill()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _take(self, frame: control.Frame) -> None:
        match frame:
            case control.Think() if self._voice is not None:
                self._voice.think(frame.thought, frame.turn)
            case control.Forget() if self._voice is not None:
                self._voice.forget(frame.thought)
            case control.Records():
                with self._news:
                    call = self._calls.setdefault(frame.call_id, {})
                    call.setdefault(frame.kind, []).extend(frame.rows)
            case control.Ready():
                with self._news:
                    self._ready = frame
                    self._news.notify_all()
            case control.Logged():
                with self._news:
                    self._logged, self._live = frame.request or self._logged, frame.live
                    self._whole, self._lost = frame.request == 0, frame.lost
                    self._news.notify_all()

    def _say(self, thought: int, answer: Answer) -> None:
        try:
            said = control.checked(control.Said(thought, answer))
        except Exception:  # a class of the user's may raise anything when it is pickled
            from rtnb.peer.reply import Failure

            kind = type(answer).__name__
            _log.error("A peer's voice returned %s, which is no answer; see rtnb.peer.voices", kind)
            failure = Failure(f"The voice returned {kind}, which is no answer.")
            said = control.encode(control.Said(thought, failure))
        self._write(said)

    def _write(self, encoded: bytes) -> None:
        assert self.process.stdin is not None
        # a process that has ended reads nothing; whoever waits for an answer is told by `_read`
        with self._writing, contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(encoded)
            self.process.stdin.flush()

    # --- its log ----------------------------------------------------------------------------------

    def text(self) -> str:
        """Return what the process has logged so far, secrets masked."""
        with self._closing:
            if not self._stderr.closed:
                self._text = mask(_process.contents(self._stderr).decode("utf-8", "replace"))
            return self._text

    def _fetch(self, *, rows: bool = True) -> bool:
        """Fetch the journal up to now, and return whether all of it has come."""
        if os.getpid() != self._owner:
            return False  # a forked child has no pipe
        with self._news:
            if self._ended:
                return self._whole and not self._lost
            request = self._logged + 1
        self._write(control.encode(control.LogWanted(request, rows)))
        with self._news:
            self._news.wait_for(lambda: self._logged >= request or self._ended, _LOGGED_WITHIN)
            return (self._logged >= request or self._whole) and not self._lost

    def log(self) -> PeerLog:
        """Return what the peer has done until now, or until it ended."""
        from rtnb.peer.peerlog import PeerCall, PeerLog

        whole = self._fetch()
        with self._news:
            rows = {
                call_id: {k: list(v) for k, v in c.items()} for call_id, c in self._calls.items()
            }
        calls = tuple(PeerCall.of(call_id, **kinds) for call_id, kinds in rows.items())
        return PeerLog(calls, self.text(), whole)

    def live(self) -> int:
        """Return how many calls are open."""
        self._fetch(rows=False)
        with self._news:
            return 0 if self._ended else self._live

    # --- its end ----------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code when the process has ended, or None after `timeout` seconds."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Close its stdin, at which it ends by itself; kill it if it does not."""
        if self._closed or os.getpid() != self._owner:
            return  # a forked child must not end its parent's calls
        until = time.monotonic() + _END_WITHIN
        self._close_stdin()
        if self._voice is not None:
            self._voice.close()
        try:
            self.process.wait(max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._reader is not threading.current_thread():
            self._reader.join(_WRITTEN_WITHIN)
        self.text()  # kept from now on
        with self._closing:
            if self.process.stdout is not None and not self._reader.is_alive():
                self.process.stdout.close()
            self._stderr.close()
        self._closed = True

    def _close_stdin(self) -> None:
        assert self.process.stdin is not None
        free = self._writing.acquire(timeout=_WRITTEN_WITHIN)
        if not free:  # it reads no more; the write ends when it does
            self.process.kill()
            # never without end: this thread itself may be in the write, when a handle is forgotten
            free = self._writing.acquire(timeout=_WRITTEN_WITHIN)
        if free:
            try:
                with contextlib.suppress(OSError):
                    self.process.stdin.close()
            finally:
                self._writing.release()
