"""Starts a module of rtnb as a child process that outlives interrupts; it knows no message."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from rtnb._masking import mask

__all__ = ["contents", "last_line", "start_module", "stderr_file"]

# a child has no business with these
_KEYS: Final = frozenset(
    "OPENAI_API_KEY OPENAI_ADMIN_KEY AZURE_OPENAI_API_KEY RTNB_PEER_KEY RTNB_ACCESS_TOKEN".split()
)


def stderr_file() -> IO[bytes]:
    """Return an open temporary file for a child's stderr; it is gone when closed."""
    return tempfile.TemporaryFile()


def start_module(
    module: str,
    arguments: Sequence[str] = (),
    *,
    stderr: IO[bytes],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` with pipes for stdin and stdout, in a session of its own.

    An interrupt of the user's process does not reach it; it should end when its stdin closes.
    """
    env = {name: value for name, value in os.environ.items() if name not in _KEYS}
    root = str(Path(__file__).parents[1])
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        # a checkout: the child must find this same rtnb
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
    env |= environment or {}
    platform: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        platform = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        # -P: a file of the user's named like a standard module must not get in
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=env,
        **platform,
    )
    _started.add(process)
    return process


_started: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """Let a forked child's copy of each stdin lead nowhere: only its parent's end shall count.

    The descriptor is replaced, not closed: its file object will close that number once more.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for process in list(_started):
        if process.stdin is not None and not process.stdin.closed:
            os.dup2(nowhere, process.stdin.fileno())
    os.close(nowhere)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def contents(stderr: IO[bytes]) -> bytes:
    """Return all that a child has written to its stderr file so far.

    The child writes where the descriptor they share stands; so it is not moved, or, on Windows,
    moved back to the end.
    """
    stderr.flush()
    if sys.platform == "win32":
        stderr.seek(0)
        found = stderr.read()
        stderr.seek(0, os.SEEK_END)
        return found
    number = stderr.fileno()
    return os.pread(number, os.fstat(number).st_size, 0)


def last_line(stderr: IO[bytes]) -> str:
    """Return the last line a child wrote to its stderr file, secrets masked, or ""."""
    try:
        lines = contents(stderr).decode("utf-8", "replace").strip().splitlines()
    except (OSError, ValueError):
        return ""
    return mask(lines[-1].strip()) if lines else ""
