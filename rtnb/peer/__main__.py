"""``python -m rtnb.peer``: the peer's process; it must not know the notebook that started it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any, Final

from rtnb._masking import mask
from rtnb.errors import ConfigurationError, RtnbError
from rtnb.peer.modes import MODES
from rtnb.peer.reply import Voice
from rtnb.peer.server import Setup
from rtnb.peer.serving import serve, serve_parent
from rtnb.peer.voices import VOICES, Script, as_voice

__all__ = ["main"]

_FAILED: Final = 1
_USAGE: Final = 2  # as argparse's own


class _Masking(logging.Formatter):
    """Formats like its base, then takes secrets out."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rtnb.peer",
        description="A realtime server on this machine. The environment variable RTNB_PEER_KEY "
        "sets the one key it accepts; without it any key is accepted.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where HTTP listens (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port (%(default)s)")
    says = parser.add_mutually_exclusive_group()
    says.add_argument("--voice", choices=sorted(VOICES), default="default", help="what it says")
    says.add_argument("--script", metavar="FILE", help="YAML rules for what it says")
    parser.add_argument(
        "--reply-after", type=float, default=0.0, metavar="S", help="seconds from speech to answer"
    )
    parser.add_argument("--mode", choices=MODES, default="openai", help="whose shape it takes")
    parser.add_argument("--stay", action="store_true", help="do not end when stdin closes")
    # how `rtnb.Peer` starts it: frames on stdin and stdout instead of the options above
    parser.add_argument("--piped", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the peer until it is told to end."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Masking("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("rtnb").setLevel(logging.INFO)
    key = os.environ.pop("RTNB_PEER_KEY", None) or None
    if options.piped:
        return _piped()
    try:
        setup = Setup(
            host=options.host,
            port=options.port,
            key=key,
            voice=_voice(options),
            reply_after=options.reply_after,
            mode=options.mode,
        )
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return _USAGE
    return _run(serve(setup, until_stdin_closes=not options.stay), setup.host, setup.port)


def _voice(options: argparse.Namespace) -> Voice:
    return as_voice(options.voice) if options.script is None else Script.read(options.script)


def _piped() -> int:
    from rtnb.peer.remote import ParentPipe

    pipe = ParentPipe.of_process()
    start = pipe.first()
    if start is None:
        return 0  # whoever started it has ended before
    return _run(serve_parent(start, pipe), start.host, start.port)


def _run(serving: Coroutine[Any, Any, None], host: str, port: int) -> int:
    try:
        asyncio.run(serving)
    except OSError as error:
        print(f"The peer cannot listen on {host} port {port}: {error}", file=sys.stderr)
        return _FAILED
    except RtnbError as error:  # a run that cannot be replayed
        print(error, file=sys.stderr)
        return _USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
