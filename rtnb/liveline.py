"""A live line in a cell or on a terminal while something takes its time; it must not know what.

Whoever waits gives a function that says how far things are; a thread of ours shows it.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, Protocol, TextIO

from rtnb._notebook import kernel_publish
from rtnb.progress import BAR, COLUMNS, Snapshot, broken, columns_of, html_of, text_of

__all__ = [
    "CellOutlet",
    "Line",
    "LogOutlet",
    "Outlet",
    "TerminalOutlet",
    "find_outlet",
    "following",
]

logger = logging.getLogger(__name__)

_TICK: Final = 0.2  # seconds between two updates, and the most that a return may be delayed


# --- where it is shown ----------------------------------------------------------------------------


class Outlet(Protocol):
    """Where a line is shown."""

    def show(self, snapshot: Snapshot, *, last: bool) -> None:
        """Show a snapshot in place of the one before; the last one stays."""


class CellOutlet:
    """A cell of a notebook: one display, updated in place.

    An update names its display, so it may come from any thread.

    Parameters
    ----------
    publish
        ``display_pub.publish`` of the kernel's shell.
    """

    def __init__(self, publish: Callable[..., Any]):
        self._publish = publish
        self._id = uuid.uuid4().hex
        self._made = False

    def show(self, snapshot: Snapshot, *, last: bool) -> None:
        """Make the display, or update it."""
        data = {"text/plain": text_of(snapshot), "text/html": html_of(snapshot)}
        self._publish(data, {}, transient={"display_id": self._id}, update=self._made)
        self._made = True


class _StreamOutlet:
    """What can be written on a stream, in its encoding.

    Parameters
    ----------
    stream
        Where to write.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._plain = not _can_show(self._encoding)

    def _text(self, snapshot: Snapshot, *, width: int = COLUMNS) -> str:
        text = text_of(snapshot, width=width, plain=self._plain)
        return text.encode(self._encoding, "replace").decode(self._encoding)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class TerminalOutlet(_StreamOutlet):
    """A terminal: one line, written over and over, ended at last."""

    _width = 0  # columns of what stands there

    def show(self, snapshot: Snapshot, *, last: bool) -> None:
        """Write over the line."""
        text = self._text(snapshot, width=min(shutil.get_terminal_size().columns - 1, COLUMNS))
        rest = " " * (self._width - columns_of(text))
        self._width = columns_of(text)
        self._write(f"\r{text}{rest}" + "\n" * last)


class LogOutlet(_StreamOutlet):
    """A file or a pipe, where it was asked for: a line for each thing begun, and the last one."""

    _what = ""

    def show(self, snapshot: Snapshot, *, last: bool) -> None:
        """Write a line, if there is something new."""
        if not last and snapshot.what == self._what:
            return
        self._what = snapshot.what
        self._write(self._text(replace(snapshot, level=None)) + "\n")


def _can_show(encoding: str) -> bool:
    try:
        f"{BAR}→…".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def find_outlet(wanted: bool | None) -> Outlet | None:
    """Return where progress is to be shown; None for nowhere.

    Parameters
    ----------
    wanted
        None shows it in a notebook or on a terminal, from the main thread, unless the environment
        variable ``RTNB_PROGRESS`` is 0. True shows it in any case. False never does.
    """
    by_itself = wanted is None
    if wanted is False or (by_itself and not _may_by_itself()):
        return None
    publish = kernel_publish()
    if publish is not None:
        return CellOutlet(publish)
    stream = sys.stderr
    if stream is None or getattr(stream, "closed", False):
        return None
    if _is_terminal(stream) and os.environ.get("TERM") != "dumb":
        return TerminalOutlet(stream)
    return None if by_itself else LogOutlet(stream)


def _is_terminal(stream: TextIO) -> bool:
    asked = getattr(stream, "isatty", None)  # what stands in for stderr may lack it
    return bool(asked is not None and asked())


def _may_by_itself() -> bool:
    # what a thread shows would land in whatever cell runs
    main = threading.current_thread() is threading.main_thread()
    return main and os.environ.get("RTNB_PROGRESS", "").strip() != "0"


# --- while it goes on -----------------------------------------------------------------------------


class Line:
    """A live line that follows what it is told to watch; `following` makes and ends it.

    Nothing that goes wrong in it reaches whoever waits.

    Parameters
    ----------
    outlet
        Where it is shown; None for nowhere.
    around
        A line that shows this one's snapshots in its own.
    """

    def __init__(self, outlet: Outlet | None, around: Line | None = None):
        self._outlet = outlet
        self._around = around
        self._source: Callable[[], Snapshot] | None = None
        self._inner: Callable[[], Snapshot] | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, source: Callable[[], Snapshot]) -> None:
        """Show what `source` says, about five times a second; it is called from a thread."""
        if self._around is not None:
            self._around._inner = source
        if self._outlet is None:
            return
        self._source = source
        if not self._show():
            return
        run = contextvars.copy_context().run  # a kernel keeps there which cell is meant
        self._thread = threading.Thread(
            target=run, args=(self._follow,), name="rtnb-progress", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no more threads here, or the interpreter is ending
            logger.debug("progress cannot be followed", exc_info=True)
        except BaseException:  # an interrupt while the thread starts must not leave it running
            self._stop.set()
            raise

    def end(self, error: BaseException | None = None) -> None:
        """Leave the last line; returns within a tick, whatever the display does."""
        self._error = error
        self._stop.set()
        if self._around is not None and error is None:
            self._around._inner = None
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(_TICK)

    def _follow(self) -> None:
        while not self._stop.wait(_TICK):
            if not self._show():
                return
        self._show(last=True)
        self._error = None  # its traceback holds the frames that hold this line

    def _show(self, *, last: bool = False) -> bool:
        """Show how far things are; return whether that could be done."""
        assert self._outlet is not None
        try:
            snapshot = self._snapshot()
            if last and self._error is not None:
                snapshot = broken(snapshot, self._error)
            self._outlet.show(snapshot, last=last)
        except Exception:  # a broken display must not break a call
            logger.debug("progress cannot be shown", exc_info=True)
            return False
        return True

    def _snapshot(self) -> Snapshot:
        assert self._source is not None
        own, inner = self._source(), self._inner
        if own.over or inner is None:
            return own
        part = inner()
        return own if part.over else replace(part, what=own.what)


_around: Final[contextvars.ContextVar[Line | None]] = contextvars.ContextVar(
    "rtnb_progress", default=None
)


@contextlib.contextmanager
def following(wanted: bool | None) -> Iterator[Line]:
    """Show a live line while the block runs; inside another such block, show it in that line.

    Parameters
    ----------
    wanted
        As for `find_outlet`.
    """
    around = _around.get()
    if around is None:
        line = Line(find_outlet(wanted))
        token = _around.set(None if line._outlet is None else line)
    else:
        line = Line(None, None if wanted is False else around)
        token = _around.set(around)
    try:
        yield line
    except BaseException as error:
        line.end(error)
        raise
    else:
        line.end()
    finally:
        _around.reset(token)
