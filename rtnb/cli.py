"""The command line: ``rtnb replay`` and ``rtnb serve``, in the words of the Python interface."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtnb import __version__, cliserve
from rtnb.errors import ConfigurationError, RtnbError

if TYPE_CHECKING:
    from rtnb.batch import Batch

__all__ = ["main"]

_FAILED: Final = 1  # a call failed, or a turn got no answer
_USAGE: Final = 2  # as argparse's own
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code."""
    _never_fail_to_print()
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ConfigurationError as error:
        sys.stderr.write(f"rtnb: {error}\n")
        return _USAGE
    except RtnbError as error:
        sys.stderr.write(f"rtnb: {error}\n")
        return _FAILED
    except KeyboardInterrupt:
        sys.stderr.write("rtnb: interrupted\n")
        return _INTERRUPTED


def _never_fail_to_print() -> None:
    """Let a console that lacks a character show another; a transcript may hold any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's or a test's may be another
            stream.reconfigure(errors="replace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtnb",
        description="Realtime voice: real WebRTC calls, recorded prompts in, exact recordings out.",
    )
    parser.add_argument("--version", action="version", version=f"rtnb {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_replay(commands)
    cliserve.add(commands)
    return parser


def _add_replay(commands: Any) -> None:
    replay = commands.add_parser(
        "replay",
        help="play recorded prompts into a realtime endpoint and record the answers",
        description="Play recorded prompts into a realtime endpoint, each in a fresh call, and record "
        "the answers. Without --to they go to a realtime server started on this machine.",
    )
    replay.add_argument("prompts", nargs="+", metavar="PROMPT", help="an audio file")
    replay.add_argument(
        "--to",
        default="peer",
        metavar="peer|openai|URL",
        help="where to call: a peer on this machine (default), OpenAI (OPENAI_API_KEY), or a base URL",
    )
    replay.add_argument("--voice", help="the voice of the answers")
    replay.add_argument("--model", help="the model")
    replay.add_argument("--out", metavar="DIR", help="where to keep the runs")
    replay.add_argument(
        "--concurrency",
        type=int,
        default=1,
        metavar="N",
        help="how many calls go on at once (%(default)s)",
    )
    replay.add_argument("--quiet", action="store_true", help="show no progress")
    replay.set_defaults(run=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    from rtnb.batch import replay
    from rtnb.engine import shared_engine
    from rtnb.prompts import as_prompt

    # nothing is started for a prompt that cannot be played, and none is read twice
    prompts = [as_prompt(Path(prompt))[1] for prompt in arguments.prompts]
    shared_engine()  # starts while the peer does
    quiet = {"progress": False} if arguments.quiet else {}
    with _endpoint(arguments.to) as endpoint:
        batch = replay(
            prompts,
            endpoint,
            voices=arguments.voice,
            model=arguments.model,
            out=arguments.out,
            concurrency=arguments.concurrency,
            **quiet,
        )
        _print_table(batch)
    for name, error in batch.failures:
        sys.stderr.write(f"rtnb: {name}: {error}\n")
    answered = all(turn.status == "completed" for turn in batch)
    return 0 if answered and not batch.failures else _FAILED


@contextlib.contextmanager
def _endpoint(to: str) -> Iterator[Any]:
    if to == "peer":
        from rtnb.peer.handle import Peer

        with Peer() as peer:
            yield peer
    else:
        yield None if to == "openai" else to


def _print_table(batch: Batch) -> None:
    head = ("prompt", "voice", "transcript", "first audio", "duration")
    rows = [head, *batch.rows()]
    kept = [i for i in range(len(head)) if any(row[i] for row in rows[1:])]
    widths = [max(len(row[i]) for row in rows) for i in kept]
    for row in rows:
        cells = [row[i].ljust(width) for i, width in zip(kept, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    for folder in batch.folders:
        sys.stdout.write(f"run: {folder}\n")


if __name__ == "__main__":
    raise SystemExit(main())
