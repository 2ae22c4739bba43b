"""`replay`: many prompts, voices and repeats, each in a call of its own; it adds no figures."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rtnb import _html
from rtnb.audio import Clip
from rtnb.configuration import check_seconds
from rtnb.connecting import connect
from rtnb.errors import ConfigurationError, RtnbError, RunError
from rtnb.prompts import as_prompt
from rtnb.runfiles import RUN
from rtnb.turns import Turn

__all__ = ["Batch", "replay"]

Prompt = Clip | str | os.PathLike[str]

_PATIENCE: Final = 30.0  # seconds that an answer may take, beside the prompt


class Batch(list[Turn]):
    """A list of turns that shows itself as a table.

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

    def __repr__(self) -> str:
        head = f"<Batch of {len(self)} turns, {len(self.failures)} failures>"
        return "\n".join([head, *(repr(turn) for turn in self)])

    def _repr_html_(self) -> str:
        head = ["prompt", "voice", "transcript", "first audio", "duration"]
        return _html.table(head, ([_html.text(cell) for cell in row] for row in self.rows()))


def _row(turn: Turn) -> tuple[str, str, str, str, str]:
    prompt = turn.name or turn.prompt_transcript or f"turn {turn.number}"
    said = turn.transcript if turn.status == "completed" else f"({turn.status}) {turn.transcript}"
    first = turn.latency.first_audio
    voice = getattr(turn._source, "voice", None) or ""
    return (
        prompt,
        str(voice),
        said.strip(),
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
        Show a line a call on stderr; None shows it on a terminal or in a notebook.
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
    report = _reporter(progress, len(jobs))
    batch = Batch()
    for job in jobs:
        report(job.name, job.voice)
        try:
            turn, folder = _replay_one(job, endpoint, turn_timeout or job.timeout, options)
        except RtnbError as error:
            batch.failures.append((job.name, error))
            continue
        batch.append(turn)
        batch.folders.append(folder)
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


def _reporter(progress: bool | None, total: int) -> Callable[[str, str | None], None]:
    """Return what tells of each call: nothing, or one line on stderr."""
    shown = sys.stderr.isatty() or "ipykernel" in sys.modules if progress is None else progress
    count = itertools.count(1)

    def report(name: str, voice: str | None) -> None:
        number = next(count)
        if shown:
            with contextlib.suppress(OSError):
                said = f" ({voice})" if voice else ""
                sys.stderr.write(f"[{number}/{total}] {name}{said}\n")
                sys.stderr.flush()

    return report
