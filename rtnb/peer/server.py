"""Runs a peer in this process until it is told to end; it must not know what a call does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from rtnb.dialects import Dialect, Json
from rtnb.media import opus
from rtnb.peer import fingerprint, repertoire
from rtnb.peer.call import Call
from rtnb.peer.conversation import LIFETIME, Conversation
from rtnb.peer.keys import Keys
from rtnb.peer.signaling import Signaling
from rtnb.peer.voices import VOICES, Voice

__all__ = ["Setup", "make_signaling", "serve"]

_log = logging.getLogger(__name__)

_SHUTDOWN = 1.0  # seconds for requests under way


@dataclass(frozen=True)
class Setup:
    """How a peer is to behave.

    Attributes
    ----------
    host, port
        Where HTTP listens; 0 takes a free port.
    key
        The standard key, or None for any.
    voice
        Name of what it says.
    reply_after
        Seconds from the end of speech to the answer.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = field(default=None, repr=False)
    voice: str = "default"
    reply_after: float = 0.0


def make_signaling(setup: Setup, *, clock: Callable[[], float] = time.time) -> Signaling:
    """Return the routes of a peer.

    Parameters
    ----------
    setup
        How it behaves.
    clock
        Unix seconds, by which ephemeral keys expire.
    """
    new_call = functools.partial(_new_call, VOICES[setup.voice], setup.reply_after)
    return Signaling(Keys(setup.key, clock), new_call)


def _new_call(
    voice: Voice,
    reply_after: float,
    call_id: str,
    session: Json,
    dialect: Dialect,
    on_closed: Callable[[Call], None],
) -> Call:
    conversation = Conversation(
        session | {"expires_at": int(time.time() + LIFETIME)},
        voice=voice,
        recognise=fingerprint.recognise,
        clock=asyncio.get_running_loop().time,
        reply_after=reply_after,
    )
    return Call(call_id, conversation, dialect, on_closed)


async def serve(setup: Setup, *, until_stdin_closes: bool) -> None:
    """Serve until a signal comes or, if wanted, until stdin closes; then end all calls.

    Prints one line of JSON with the port when it listens.
    """
    runner = web.AppRunner(make_signaling(setup).app(), access_log=None, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    try:
        site = web.TCPSite(runner, setup.host, setup.port)
        await site.start()
        port = runner.addresses[0][1]
        ended = _end_of_process(until_stdin_closes)
        threading.Thread(target=_warm_up, daemon=True).start()
        print(json.dumps({"ready": True, "port": port, "pid": os.getpid()}), flush=True)
        _log.info("listening on %s port %d", setup.host, port)
        await ended.wait()
    finally:
        await runner.cleanup()


def _end_of_process(until_stdin_closes: bool) -> asyncio.Event:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the default handler ends it
            loop.add_signal_handler(number, ended.set)
    if until_stdin_closes:

        def watch() -> None:
            # by descriptor: a thread inside sys.stdin's lock would upset the interpreter's end
            # no stdin, or one that cannot be read, is one that has ended
            with contextlib.suppress(OSError, ValueError):
                while sys.stdin is not None and os.read(sys.stdin.fileno(), 4096):
                    pass
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=watch, daemon=True).start()
    return ended


def _warm_up() -> None:
    """Read and encode the clips before somebody waits for them."""
    fingerprint.prepare()
    for said in repertoire.sayings():
        opus.encode(said.pcm)
