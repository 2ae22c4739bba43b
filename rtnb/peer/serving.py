"""Runs a peer in this process until it is told to end; it must not know what a call does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from rtnb.media import opus
from rtnb.peer import control, fingerprint, guard, repertoire
from rtnb.peer.journal import Journal
from rtnb.peer.mouth import Mouth
from rtnb.peer.remote import ParentPipe, RemoteVoice
from rtnb.peer.server import Setup, make_signaling
from rtnb.peer.signaling import Signaling
from rtnb.peer.voices import as_voice

__all__ = ["serve", "serve_parent"]

_log = logging.getLogger(__name__)

_SHUTDOWN: Final = 1.0  # seconds for requests under way
_WARMED: Final = 1.5  # seconds for what is loaded at the start, if the end comes so early
_SWITCH: Final = 0.001  # seconds for which another thread may keep the interpreter from the calls


async def serve(setup: Setup, *, until_stdin_closes: bool) -> None:
    """Serve until a signal comes or, if wanted, until stdin closes; then end all calls.

    Prints one line of JSON with the port when it listens.
    """
    ended = _ended_by_a_signal()
    mouth = Mouth(setup.voice)
    async with _listening(setup, make_signaling(setup, mouth=mouth), mouth) as port:
        if until_stdin_closes:
            _watch_stdin(ended)
        print(json.dumps({"ready": True, "port": port, "pid": os.getpid()}), flush=True)
        await ended.wait()


async def serve_parent(start: control.Start, pipe: ParentPipe) -> None:
    """Serve until a signal comes or the other end of the pipe closes; then end all calls.

    Parameters
    ----------
    start
        What to be.
    pipe
        Leads to the process that holds the `Peer`.
    """
    ended = _ended_by_a_signal()
    voice, journal = RemoteVoice(pipe.send), Journal()
    setup = _setup(start, voice)
    mouth = Mouth(setup.voice)
    signaling = make_signaling(setup, journal=journal, mouth=mouth)

    def take(frame: control.Frame) -> None:
        if isinstance(frame, control.Said):
            voice.said(frame)
        elif isinstance(frame, control.LogWanted):
            live = len(signaling.calls)
            pipe.send_journal(journal, frame.request, live, with_rows=frame.rows)

    def gone() -> None:
        voice.gone()
        ended.set()

    async with _listening(setup, signaling, mouth) as port:
        pipe.start(take, gone)
        pipe.send(control.Ready(port, os.getpid()))
        await ended.wait()
    pipe.finish(journal)


def _setup(start: control.Start, remote: RemoteVoice) -> Setup:
    return Setup(
        host=start.host,
        port=start.port,
        key=start.key,
        voice=remote if start.voice is None else as_voice(start.voice),
        reply_after=start.reply_after,
        mode=start.mode,
        faults=start.faults,
        faults_repeat=start.faults_repeat,
        replay=start.replay,
    )


@contextlib.asynccontextmanager
async def _listening(setup: Setup, signaling: Signaling, mouth: Mouth) -> AsyncIterator[int]:
    """Listen, yield the port, and at the end close everything."""
    _keep_time()
    runner = web.AppRunner(signaling.app(), access_log=None, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    try:
        async with guard.listening(runner, setup.host, setup.port) as port:
            _log.info("listening on %s port %d", setup.host, port)
            async with _warming_up(mouth):
                yield port
    finally:
        await runner.cleanup()


def _ended_by_a_signal() -> asyncio.Event:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the default handler ends it
            loop.add_signal_handler(number, ended.set)
    return ended


def _watch_stdin(ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # by descriptor: a thread inside sys.stdin's lock would upset the interpreter's end
        # no stdin, or one that cannot be read, is one that has ended
        with contextlib.suppress(OSError, ValueError):
            while sys.stdin is not None and os.read(sys.stdin.fileno(), 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()


def _keep_time() -> None:
    """Have this process, which is the peer's own, disturb the pacing of packets less."""
    sys.setswitchinterval(_SWITCH)
    gc.freeze()  # else a full collection stops the loop for 30 ms to look at what was imported


@contextlib.asynccontextmanager
async def _warming_up(mouth: Mouth) -> AsyncIterator[None]:
    """Warm up meanwhile; at the end wait for it, as what it loads may not outlive the interpreter."""
    ended = threading.Event()
    thread = threading.Thread(target=_warm_up, args=(mouth, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        await asyncio.to_thread(thread.join, _WARMED)


def _warm_up(mouth: Mouth, ended: threading.Event) -> None:
    """Read the clips, and load what texts need, before somebody waits for it."""
    fingerprint.prepare()
    for said in repertoire.sayings():
        if ended.is_set():
            return
        opus.encoding_of(said.pcm).packet(0)  # the others are made while it is played
    if not ended.is_set():
        mouth.prepare()
