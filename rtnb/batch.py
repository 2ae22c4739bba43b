"""`replay`: many prompts, voices and repeats, each in a call of its own; it adds no figures."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rtnb import _html
from rtnb.audio import Clip
from rtnb.configuration import check_seconds
from rtnb.connecting import connect
from rtnb.errors import ConfigurationError, RtnbError, RunError
from rtnb.eventtext import plain
from rtnb.liveline import following
from rtnb.progress import Snapshot, of_batch
from rtnb.prompts import as_prompt
from rtnb.runfiles import RUN
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

    def _lines(self, views: Sequence[TurnView]) -> list[str]:
        failed = [
            f"Not replayed: {plain(name)}: {plain(str(error), _REASON)}"
            for name, error in self.failures
        ]
        return [*super()._lines(views), *_bounded(failed)]

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
    jobs = list(_jobs(prompts, voices, repeat, out))
    batch = Batch()
    options |= {"progress": progress}
    with following(progress) as line:
        counting = _Counting(jobs, batch)
        line.watch(counting.how_far)
        for number, job in enumerate(jobs, 1):
            counting.number = number
            try:
                turn, folder = _replay_one(job, endpoint, turn_timeout or job.timeout, options)
            except RtnbError as error:
                batch.failures.append((job.name, error))
                continue
            batch.append(turn)
            batch.folders.append(folder)
        counting.number = len(jobs) + 1
    if batch.failures and not batch:
        raise batch.failures[0][1]
    return batch


def _replay_one(
    job: _Job, endpoint: Any, timeout: float, options: dict[str, Any]
) -> tuple[Turn, Path]:
    with connect(endpoint, voice=job.voice, record_to=job.folder, **options) as session:
        turn = session.ask(job.prompt, timeout=timeout)
        session._files.flush()
        return turn, session.folder


@dataclass(slots=True)
class _Counting:
    """How far a `replay` is."""

    jobs: Sequence[_Job]
    batch: Batch
    number: int = 1  # of the running call
    started: float = field(default_factory=time.monotonic)

    def how_far(self) -> Snapshot:
        job = self.jobs[min(self.number, len(self.jobs)) - 1]
        seconds = time.monotonic() - self.started
        ended = Counter(str(turn.status) for turn in list(self.batch))
        ended["not replayed"] = len(self.batch.failures)
        return of_batch(self.number, len(self.jobs), job.name, job.voice, seconds, ended)


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
