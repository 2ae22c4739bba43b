"""`replay`: many prompts, voices and repeats, each in a call of its own; it adds no figures."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rtnb import _html
from rtnb import messages as m
from rtnb.audio import Clip, to_pcm
from rtnb.configuration import check_seconds
from rtnb.connecting import connect
from rtnb.engine import Engine, EnginePool
from rtnb.errors import ConfigurationError, RtnbError, RunError
from rtnb.eventtext import plain
from rtnb.liveline import following
from rtnb.progress import Snapshot, of_batch
from rtnb.prompts import as_prompt
from rtnb.runfiles import RUN
from rtnb.together import together
from rtnb.turnlist import Turns
from rtnb.turns import Turn
from rtnb.turnview import TurnView

__all__ = ["Batch", "replay"]

Prompt = Clip | str | os.PathLike[str]

_FAILURES: Final = 50  # failures shown
_REASON: Final = 1_000  # characters of one
_WHOLE: Final = 4_000  # characters of a transcript in a row
_PATIENCE: Final = 30.0  # seconds that an answer may take, beside the prompt


class Batch(Turns):
    """A list of turns, each of a call of its own, with what could not be replayed.

    Attributes
    ----------
    folders : list of pathlib.Path
        The run of each turn.
    failures : list of (str, RtnbError)
        What could not be replayed at all, and why.
    """

    def __init__(self, turns: Iterable[Turn] = ()):
        super().__init__(turns)
        self.folders: list[Path] = []
        self.failures: list[tuple[str, RtnbError]] = []

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return prompt, voice, status or transcript, first audio and duration, as text."""
        return [_row(turn) for turn in self]

    def _records(self) -> list[dict[str, Any]]:
        """Return the rows of `to_frame`, counted from 1: each turn is the first of its call."""
        return [record | {"turn": i} for i, record in enumerate(super()._records(), 1)]

    def _view(self, place: int, turn: Turn, *, players: bool = False) -> TurnView:
        return dataclasses.replace(super()._view(place, turn, players=players), number=place)

    def _title(self) -> str:
        turns, failures = len(self), len(self.failures)
        return f"Batch of {_html.counted(turns, 'turn')}, {_html.counted(failures, 'failure')}"

    def _lines(self, views: Sequence[TurnView], summary: str) -> list[str]:
        failed = [
            f"Not replayed: {plain(name)}: {plain(str(error), _REASON)}"
            for name, error in self.failures
        ]
        return [*super()._lines(views, summary), *_bounded(failed)]

    def _shown(self) -> tuple[str, list[str]]:
        table, lines = super()._shown()
        failed = [f"{plain(name)}: {plain(str(error), _REASON)}" for name, error in self.failures]
        wrong = [f'<p class="rtnb-why">{_html.text(one)}</p>' for one in _bounded(failed)]
        return table + "".join(wrong), lines


def _bounded(failed: list[str]) -> list[str]:
    """Return the first failures, and how many more there are."""
    left = len(failed) - _FAILURES
    return failed[:_FAILURES] + (
        [f"… and {_html.counted(left, 'more failure')}"] if left > 0 else []
    )


def _row(turn: Turn) -> tuple[str, str, str, str, str]:
    prompt = turn.name or turn.prompt_transcript or f"turn {turn.number}"
    said = turn.transcript if turn.status == "completed" else f"({turn.status}) {turn.transcript}"
    first = turn.latency.first_audio
    return (
        plain(prompt),
        plain(turn.voice or ""),
        plain(said.strip(), _WHOLE),
        "–" if first is None else f"{first:.2f} s",
        f"{turn.reply.duration:.2f} s",
    )


@dataclass(frozen=True, slots=True)
class _Job:
    prompt: Clip | str  # read and checked; a clip of a file knows its name
    name: str
    voice: str | None
    folder: Path | None

    @property
    def timeout(self) -> float:
        """Seconds for the whole turn: the prompt, an answer of the same length, and patience."""
        spoken = self.prompt.duration if isinstance(self.prompt, Clip) else 0.0
        return 2 * spoken + _PATIENCE


def replay(
    prompts: Prompt | Iterable[Prompt],
    endpoint: Any = None,
    *,
    voices: Sequence[str] | str | None = None,
    repeat: int = 1,
    out: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    turn_timeout: float | None = None,
    concurrency: int = 1,
    **options: Any,
) -> Batch:
    """Replay prompts into an endpoint, each in a fresh call, and return their turns.

    Parameters
    ----------
    prompts
        Paths, clips or texts; all are checked before the first call.
    endpoint
        As for `connect`.
    voices
        Each prompt is replayed with each voice; None leaves the voice to the service.
    repeat
        How often.
    out
        A folder for the runs. A single call's run lies in it directly, several in subfolders.
    progress
        Show a live line that counts the calls and tells what the running one does. None shows it
        in a notebook and on a terminal, unless the environment variable ``RTNB_PROGRESS`` is 0.
    turn_timeout
        Seconds that a turn may take; None gives it twice the prompt's duration and 30 s.
    concurrency
        How many calls go on at once. Up to 16 share a media process; for more there are more of
        them, at most one a core. Services limit how many calls an account may have.
    **options
        Further arguments of `connect`; its ``timeout`` is that of connecting.

    Returns
    -------
    Batch
        A list of `Turn`; what could not be replayed is in its `failures`.

    Raises
    ------
    AudioError, ConfigurationError
        A prompt or an argument cannot be used; nothing was called then.
    RtnbError
        The only call, or every call, failed: the first reason.
    """
    if turn_timeout is not None:
        check_seconds("turn_timeout", turn_timeout, or_none=True)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigurationError(f"concurrency= is 1 or more, not {concurrency!r}.")
    jobs = list(_jobs(prompts, voices, repeat, out))
    at_once = min(concurrency, len(jobs))
    # several at once are told of in one line, not in one each
    options |= {"progress": progress if at_once == 1 else False}
    with following(progress) as line:
        calling = _Calling(jobs, endpoint, turn_timeout, options, at_once)
        line.watch(calling.how_far)
        calling.all()
    batch = calling.batch()
    if batch.failures and not batch:
        raise batch.failures[0][1]
    return batch


class _Calling:
    """The calls of a `replay`: placed, counted, and put into order."""

    def __init__(
        self,
        jobs: Sequence[_Job],
        endpoint: Any,
        turn_timeout: float | None,
        options: dict[str, Any],
        at_once: int,
    ):
        self._jobs = jobs
        self._endpoint = endpoint
        self._timeout = turn_timeout
        self._options = options
        self._at_once = at_once
        self._pool = EnginePool(at_once)
        self._prepared: set[tuple[int, int]] = set()  # ids of prompt and engine
        self._running: set[int] = set()
        self._done: dict[int, tuple[Turn, Path] | RtnbError] = {}
        self._started = time.monotonic()

    def all(self) -> None:
        """Place all calls, and return when they are over."""
        try:
            if self._at_once == 1:  # on this thread, where an interrupt is felt at once
                for number in range(len(self._jobs)):
                    self._one(number)
            else:
                together(self._one, len(self._jobs), at_once=self._at_once)
        finally:
            self._pool.close()

    def _one(self, number: int) -> None:
        self._running.add(number)
        try:
            self._done[number] = self._call(self._jobs[number])
        except RtnbError as error:
            self._done[number] = error
        finally:
            self._running.discard(number)

    def _call(self, job: _Job) -> tuple[Turn, Path]:
        with self._engine() as engine:
            self._prepare(job.prompt, engine)
            options = self._options | {"engine": engine}
            with connect(
                self._endpoint, voice=job.voice, record_to=job.folder, **options
            ) as session:
                turn = session.ask(job.prompt, timeout=self._timeout or job.timeout)
                session._files.flush()
                return turn, session.folder

    def _prepare(self, prompt: Clip | str, engine: Engine) -> None:
        """Let the packets of a clip be made while its first call comes up; later ones share them."""
        once = (id(prompt), id(engine))
        if isinstance(prompt, Clip) and once not in self._prepared:
            self._prepared.add(once)
            engine.send(m.Prepare("", to_pcm(prompt)))

    def _engine(self) -> contextlib.AbstractContextManager[Engine]:
        given: Engine | None = self._options.get("engine")
        return self._pool.engine() if given is None else contextlib.nullcontext(given)

    def batch(self) -> Batch:
        """Return the turns in the order of the jobs, and what failed."""
        batch = Batch()
        for number, done in sorted(self._done.items()):
            if isinstance(done, RtnbError):
                batch.failures.append((self._jobs[number].name, done))
            else:
                batch.append(done[0])
                batch.folders.append(done[1])
        return batch

    def how_far(self) -> Snapshot:
        """Return how many calls are over, and what runs."""
        done, running = dict(self._done), sorted(self._running)
        ended = Counter("not replayed" if isinstance(one, RtnbError) else str(one[0].status)
                        for one in done.values())  # fmt: skip
        total = len(self._jobs)
        number = running[0] if running else len(done)
        job = self._jobs[min(number, total - 1)]
        seconds = time.monotonic() - self._started
        number = total if len(done) == total else number
        return of_batch(number + 1, total, job.name, job.voice, seconds, ended, len(running))


def _jobs(
    prompts: Prompt | Iterable[Prompt],
    voices: Sequence[str] | str | None,
    repeat: int,
    out: str | os.PathLike[str] | None,
) -> Iterator[_Job]:
    if not isinstance(repeat, int) or repeat < 1:
        raise ConfigurationError(f"repeat= is 1 or more, not {repeat!r}.")
    if isinstance(prompts, str | os.PathLike | Clip) or not isinstance(prompts, Iterable):
        prompts = [prompts]
    several = list(prompts)
    chosen = [voices] if isinstance(voices, str) or voices is None else list(voices)
    if not several or not chosen:
        raise ConfigurationError("There is nothing to replay; give at least one prompt and voice.")
    checked = [as_prompt(prompt) for prompt in several]  # each file is read once
    todo = list(itertools.product(range(repeat), chosen, checked))
    folders = _folders(out, [(name or "prompt", voice) for _, voice, (name, _) in todo])
    for (_, voice, (name, prompt)), folder in zip(todo, folders, strict=True):
        yield _Job(prompt, name or "prompt", voice, folder)


def _folders(
    out: str | os.PathLike[str] | None, names: list[tuple[str, str | None]]
) -> Iterator[Path | None]:
    """Yield a run folder a job; refuse at once where there are runs already."""
    if out is None:
        yield from [None] * len(names)
        return
    root = Path(out)
    if (root / RUN).exists() or any(root.glob(f"*/{RUN}")):
        raise RunError(f"The folder {str(root)!r} holds runs already; name another one.")
    if len(names) == 1:
        yield root
        return
    for number, (name, voice) in enumerate(names, 1):
        yield root / "-".join(filter(None, [f"{number:03d}", name, voice]))
