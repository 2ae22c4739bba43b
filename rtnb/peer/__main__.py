"""``python -m rtnb.peer``: the peer's process; it must not know the notebook that started it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys

from rtnb._masking import mask
from rtnb.peer.server import Setup, serve
from rtnb.peer.voices import VOICES

__all__ = ["main"]


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
    parser.add_argument("--voice", choices=sorted(VOICES), default="default", help="what it says")
    parser.add_argument(
        "--reply-after", type=float, default=0.0, metavar="S", help="seconds from speech to answer"
    )
    parser.add_argument("--stay", action="store_true", help="do not end when stdin closes")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the peer until it is told to end."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Masking("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("rtnb").setLevel(logging.INFO)
    setup = Setup(
        host=options.host,
        port=options.port,
        key=os.environ.pop("RTNB_PEER_KEY", None) or None,
        voice=options.voice,
        reply_after=options.reply_after,
    )
    try:
        asyncio.run(serve(setup, until_stdin_closes=not options.stay))
    except OSError as error:
        print(f"The peer cannot listen on {setup.host} port {setup.port}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
