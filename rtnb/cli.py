"""The command line: ``rtnb replay`` and ``rtnb serve``, in the words of the Python interface."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtnb import __version__
from rtnb.errors import ConfigurationError, RtnbError

if TYPE_CHECKING:
    from rtnb.batch import Batch
    from rtnb.peer.handle import Peer

__all__ = ["main"]

_FAILED: Final = 1  # a call failed, or a turn got no answer
_USAGE: Final = 2  # as argparse's own
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

_KEY: Final = "RTNB_PEER_KEY"
_LOOK_EVERY: Final = 0.2  # seconds between two looks at the log


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
    _add_serve(commands)
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


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="run a realtime server on this machine",
        description="Run a realtime server on this machine until it is interrupted.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=int, default=8177, help="port, 0 for any (%(default)s)")
    serve.add_argument(
        "--key",
        help="the key it accepts; any, when not given. Others can read it on the command line: "
        f"better in the environment variable {_KEY}",
    )
    says = serve.add_mutually_exclusive_group()
    says.add_argument("--voice", choices=("default", "parrot"), help="what it says")
    says.add_argument("--script", metavar="FILE", help="YAML rules for what it says")
    says.add_argument("--replay", metavar="RUN", help="give a saved run's replies and events again")
    serve.add_argument(
        "--mode",
        choices=("openai", "azure", "localai", "speaches"),
        default="openai",
        help="whose shape it takes (%(default)s)",
    )
    serve.add_argument(
        "--reply-after",
        type=float,
        metavar="S",
        help="seconds from the end of speech to the answer",
    )
    serve.add_argument("--log", action="store_true", help="show on stderr what it logs")
    serve.set_defaults(run=_serve)


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


def _serve(arguments: argparse.Namespace) -> int:
    from rtnb.peer.handle import Peer

    # an empty option is refused: what stood there was to be a key
    key = arguments.key if arguments.key is not None else os.environ.get(_KEY) or None
    with (
        _ended_as_by_an_interrupt(signal.SIGTERM),
        Peer(
            host=arguments.host,
            port=arguments.port,
            key=key,
            voice=_script(arguments.script) if arguments.script else arguments.voice,
            reply_after=arguments.reply_after,
            replay=arguments.replay,
            mode=arguments.mode,
        ) as peer,
    ):
        _announce(peer, arguments)
        follower = _Follower(peer) if arguments.log else None
        try:
            code = _wait(peer, follower)
        except KeyboardInterrupt:  # how it is meant to end
            return 0
        finally:
            if follower is not None:
                peer.close()
                follower.show()
        if code:
            last = peer.log_text.strip().rpartition("\n")[2] or "it said nothing"
            sys.stderr.write(f"rtnb: the peer ended with code {code}; its last words: {last}\n")
    return _FAILED if code else 0


@contextlib.contextmanager
def _ended_as_by_an_interrupt(number: int) -> Iterator[None]:
    """Let a signal end this process in the same orderly way; `kill` and containers send SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # others may set none
        yield
        return
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _script(path: str) -> Any:
    import rtnb

    return rtnb.peer.voices.Script.read(path)


def _announce(peer: Peer, arguments: argparse.Namespace) -> None:
    """Say what is served and how it is called; never the key."""
    says = f"replays {arguments.replay}" if arguments.replay else None
    says = says or f"speaks by {arguments.script or 'the voice ' + (arguments.voice or 'default')}"
    keys = "takes its own key only" if peer.key else "takes any key"
    target = repr(peer.url)
    if arguments.mode != "openai":
        key = "KEY" if peer.key else None
        target = f"rtnb.Endpoint.for_peer({peer.url!r}, {key}, {arguments.mode!r})"
    elif peer.key:
        target += ", api_key=KEY"
    sys.stdout.write(
        f"rtnb serves {peer.url}\n"
        f"It {says}, {keys}, and ends with Ctrl-C.\n"
        f"Connect with rtnb.connect({target}), or any client with that base URL.\n"
    )
    sys.stdout.flush()


def _wait(peer: Peer, follower: _Follower | None) -> int | None:
    if follower is None and sys.platform != "win32":  # there a wait cannot be interrupted
        return peer.wait()
    while (code := peer.wait(_LOOK_EVERY)) is None:
        if follower is not None:
            follower.show()
    return code


class _Follower:
    """Shows on stderr what a peer logs, line by line."""

    def __init__(self, peer: Peer):
        self._peer = peer
        self._shown = 0

    def show(self) -> None:
        # whole lines only: of half a key nothing could be masked
        whole = self._peer.log_text.rpartition("\n")[0]
        if len(whole) > self._shown:
            sys.stderr.write(whole[self._shown :].lstrip("\n") + "\n")
            sys.stderr.flush()
            self._shown = len(whole)


if __name__ == "__main__":
    raise SystemExit(main())
