"""Calls by the dozen, rtnb's or bare aiortc's, to one far end; it must not know what is measured."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import rtnb
from benchmarks._processes import Child
from rtnb import messages as m
from rtnb.audio import to_pcm
from rtnb.engine import ProcessEngine
from rtnb.packets import read_packets
from rtnb.runfiles import create_run_folder

__all__ = ["RATE", "Ours", "Theirs", "lateness", "spoken_file"]

RATE: Final = 48_000
_WITHIN: Final = 20.0  # seconds

Floats = npt.NDArray[np.float64]


@contextlib.contextmanager
def spoken_file() -> Iterator[str]:
    """Give the path of a WAV of speech, 48,000 Hz mono, some 10 s long."""
    clip = rtnb.sample("tell_me_a_story").resample(RATE)
    with tempfile.TemporaryDirectory() as folder:
        said = clip
        while said.duration < 10:
            said = said + rtnb.Clip.silence(0.5) + clip
        yield str(said.write(Path(folder) / "said.wav"))


def lateness(times: Floats, stamps: Floats) -> Floats:
    """Return by how many seconds packets were behind the schedule of the promptest of them.

    Parameters
    ----------
    times
        Monotonic seconds.
    stamps
        RTP timestamps at 48,000 Hz, or positions in samples.
    """
    if not len(times):
        return np.zeros(0)
    steps = np.diff(np.asarray(stamps, np.int64), prepend=int(stamps[0]))
    steps = (steps + 2**31) % 2**32 - 2**31  # 32 bits wrap around
    late = np.asarray(times) - np.cumsum(steps) / RATE
    return np.asarray(late - late.min())


class Theirs:
    """Bare aiortc callers in one process, each with a MediaPlayer and a drained receiver.

    Parameters
    ----------
    far
        The far end.
    path
        What they say.
    watched
        Take note of departures.
    core
        The one core they may use.
    """

    def __init__(self, far: Child, path: str, *, watched: bool = False, core: int | None = None):
        self._far = far
        self._near = Child("_near", path, *(["watched"] if watched else []), core=core)

    @property
    def pid(self) -> int:
        """The process that holds the calls."""
        return self._near.pid

    def call(self) -> None:
        """Place one call."""
        answer = self._far.ask({"offer": self._near.ask({"open": True})})
        self._near.ask({"answer": answer})

    def late(self, since: float, until: float) -> Floats:
        """Return the lateness of all departures between two monotonic times."""
        out = []
        for call in self._near.ask({"departures": True}):
            times, stamps = np.array(call).reshape(-1, 2).T
            out.append(lateness(times, stamps)[(times >= since) & (times < until)])
        return np.concatenate(out)

    def departures(self, since: float, until: float) -> list[Floats]:
        """Return when the packets of each call left, between two monotonic times."""
        calls = [np.array(one)[:, 0] for one in self._near.ask({"departures": True})]
        return [one[(one >= since) & (one < until)] for one in calls]

    def close(self) -> None:
        """End the process."""
        self._near.close()


class Ours:
    """rtnb's calls in one media process, each playing prompts and recording both sides.

    Parameters
    ----------
    far, path, core
        As for `Theirs`.
    """

    def __init__(self, far: Child, path: str, *, core: int | None = None):
        self._far = far
        self._pcm = to_pcm(rtnb.Clip.read(path))
        self._folder = Path(tempfile.mkdtemp())
        self._engine = ProcessEngine()
        self._engine.wait_ready()
        if core is not None:
            _pin(self._engine.pid, core)
        self._calls: list[tuple[str, float]] = []  # name, 0 of its clock

    @property
    def pid(self) -> int:
        """The process that holds the calls."""
        return self._engine.pid

    def call(self) -> None:
        """Place one call, which plays its file six times: a minute."""
        name = f"call{len(self._calls)}"
        news: queue.Queue[m.Message] = queue.Queue()
        self._engine.register(name, news.put)
        folder = create_run_folder(self._folder / name)
        started = time.monotonic()
        self._engine.send(m.Open(name, started, str(folder), loopback=True))
        offered = self._until(news, m.Offered)
        self._engine.send(m.Answer(name, self._far.ask({"offer": offered.sdp})))
        while self._until(news, m.StateChanged).phase != "channel":
            pass
        # what else it says nobody reads: it is dropped, as by a session without an audience
        self._engine.register(name, lambda _: None)
        for n in range(6):
            self._engine.send(m.Play(name, f"play{n}", self._pcm))
        self._calls.append((name, started))

    def _until(self, news: queue.Queue[m.Message], kind: type[Any]) -> Any:
        while True:
            message = news.get(timeout=_WITHIN)
            if isinstance(message, m.Closed):
                raise RuntimeError(f"A call ended: {message.kind} {message.reason}")
            if isinstance(message, kind):
                return message

    def late(self, since: float, until: float) -> Floats:
        """Return the lateness of all departures between two monotonic times, from the runs.

        They are on disk half a second later.
        """
        out = []
        for name, started in self._calls:
            sent = read_packets(self._folder / name).of("sent")
            times = sent.time + started
            out.append(lateness(times, sent.position)[(times >= since) & (times < until)])
        return np.concatenate(out)

    def departures(self, since: float, until: float) -> list[Floats]:
        """Return when the packets of each call left, between two monotonic times."""
        calls = [read_packets(self._folder / n).of("sent").time + t for n, t in self._calls]
        return [one[(one >= since) & (one < until)] for one in calls]

    def close(self) -> None:
        """End the process, and forget the runs."""
        self._engine.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _pin(pid: int, core: int) -> None:
    """Keep a process, with the threads it has, on one core."""
    tasks = Path(f"/proc/{pid}/task")
    for thread in tasks.iterdir():
        os.sched_setaffinity(int(thread.name), {core})
