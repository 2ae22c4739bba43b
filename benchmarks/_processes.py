"""A child process that answers one JSON line with another; it must not know what about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final

__all__ = ["Child", "answer_lines", "cpu_seconds"]

_GOODBYE: Final = 10.0  # seconds


class Child:
    """A module of this package in a process of its own.

    Parameters
    ----------
    module
        Its name, as ``_far``.
    arguments
        Of its command line.
    core
        The one core it may use; None leaves it to the machine.
    """

    def __init__(self, module: str, *arguments: str, core: int | None = None):
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if core is not None:
            os.sched_setaffinity(self.pid, {core})

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, question: Any) -> Any:
        """Send a value and return the answer to it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("A process of this benchmark ended before it answered.")
        return json.loads(answer)

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_GOODBYE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


async def answer_lines(answer: Callable[[Any], Awaitable[Any]]) -> None:
    """Answer each line of standard input, until it ends."""
    import asyncio

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    out = sys.stdout
    while line := await reader.readline():
        reply = json.dumps(await answer(json.loads(line)))
        await loop.run_in_executor(None, _say, out, reply)


def _say(out: Any, text: str) -> None:
    out.write(text + "\n")
    out.flush()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, in user and kernel mode."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
