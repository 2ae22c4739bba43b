"""The peer's process and its handle: how it starts, ends, and keeps its key to itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from peer_client import calling, post

from rtnb import _process, cli
from rtnb.errors import ConfigurationError, MediaProcessError
from rtnb.peer.handle import Peer

KEY = "sk-secret-of-this-test-0123"


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "rtnb.peer", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_it_says_in_one_line_where_it_listens_and_ends_with_its_parent():
    """When stdin closes, because its parent died, it ends by itself within two seconds."""
    with start() as process:
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True and ready["pid"] == process.pid and ready["port"] > 0
        closing = time.monotonic()
        process.stdin.close()
        assert process.wait(5) == 0
        assert time.monotonic() - closing < 2
        assert process.stdout.read() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number):
    """In the foreground stdin is not needed; a signal is an orderly end."""
    with start("--stay") as process:
        process.stdout.readline()
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(number)
        assert process.wait(5) == 0


def test_it_ends_in_time_with_a_call_under_way():
    """The call is closed, and the end takes less than three seconds."""

    async def call(peer):
        async with calling(peer.url):
            closing = time.monotonic()
            await asyncio.to_thread(peer.close)
            assert time.monotonic() - closing < 3

    peer = Peer()
    asyncio.run(call(peer))
    assert peer.closed


def test_the_handle_closes_once_and_says_so():
    """close() may be repeated; the repr tells the state."""
    with Peer() as peer:
        assert repr(peer) == f"<Peer {peer.url}>" and peer.url.endswith("/v1")
        assert peer.url in peer._repr_html_()
    peer.close()
    assert repr(peer) == f"<Peer {peer.url} (closed)>"


def test_the_handle_waits_for_the_end_of_its_process():
    """wait() returns when the process ends by itself."""
    with Peer() as peer:
        os.kill(peer.pid, signal.SIGTERM)
        assert peer.wait() == 0 and peer.closed


def test_a_process_without_stdin_ends_at_once():
    """There is no parent to wait for."""
    command = f"exec {sys.executable} -m rtnb.peer <&-"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, timeout=20)
    assert ended.returncode == 0 and json.loads(ended.stdout)["ready"] is True


def test_reading_the_log_does_not_disturb_it():
    """The child goes on where it was."""
    with _process.stderr_file() as log:
        for word in ("one", "two"):
            code = f"import sys; sys.stderr.write('{word}\\n')"
            subprocess.run([sys.executable, "-c", code], stderr=log, check=True)
            assert _process.last_line(log) == word
            log.seek(0, os.SEEK_CUR)
        assert _process.contents(log) == b"one\ntwo\n"


@pytest.mark.parametrize(("code", "returned"), [(0, 0), (3, 1), (-9, 1)])
def test_a_server_that_dies_is_said_on_the_command_line(code, returned, monkeypatch, capsys):
    """Code 1 and the last line of its log."""
    monkeypatch.setattr(Peer, "wait", lambda self: code)
    monkeypatch.setattr(Peer, "log", lambda self: "first\nthe reason\n")
    assert cli.main(["serve", "--port", "0"]) == returned
    assert capsys.readouterr().err.endswith("the reason\n") == bool(code)


def test_the_key_is_not_shown():
    """Not by the handle, not on the command line, not in the log."""
    with Peer(key=KEY) as peer:
        status, _, _ = asyncio.run(post(f"{peer.url}/realtime/client_secrets", key=KEY))
        assert status == 200 and peer.key == KEY
        with open(f"/proc/{peer.pid}/cmdline") as stream:
            assert KEY not in stream.read()
        assert KEY not in repr(peer) + peer._repr_html_() + repr(vars(peer)) + peer.log()


def test_an_interrupt_of_the_notebook_does_not_reach_it():
    """It runs in a session of its own."""
    with Peer() as peer:
        assert os.getsid(peer.pid) != os.getsid(0)


def test_a_port_that_is_taken_is_said():
    """The error carries the last line of the process."""
    with Peer() as peer:
        port = int(peer.url.rsplit(":", 1)[1].removesuffix("/v1"))
        with pytest.raises(MediaProcessError, match=f"port {port}"):
            Peer(port=port)


@pytest.mark.parametrize(
    "arguments",
    [
        {"voice": "whale"},
        {"port": 70_000},
        {"port": True},
        {"key": "short"},
        {"key": "ek_0123456789"},
        {"host": ""},
        {"reply_after": -1},
        {"reply_after": "soon"},
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments):
    """Before any process is started."""
    with pytest.raises(ConfigurationError):
        Peer(**arguments)


def test_the_handle_imports_nothing_heavy():
    """It is part of what `import rtnb` may need."""
    code = (
        "import sys, rtnb.peer.handle; "
        "print([m for m in ('aiortc', 'aiohttp', 'numpy', 'av', 'asyncio') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
