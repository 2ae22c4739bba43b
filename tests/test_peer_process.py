"""The peer's process and its handle: how it starts, ends, and keeps its key to itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from peer_client import Caller, calling, exchange, post

from rtnb import _process, cli
from rtnb.errors import ConfigurationError, MediaProcessError
from rtnb.peer import handle, link
from rtnb.peer.faults import Faults
from rtnb.peer.handle import Peer
from rtnb.peer.modes import MODES

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


def test_the_modes_are_the_same_everywhere():
    """The handle and the command line name them without loading the peer."""
    assert handle._MODES == tuple(MODES)
    for mode in MODES:
        assert cli._parser().parse_args(["serve", "--mode", mode]).mode == mode


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
    monkeypatch.setattr(Peer, "wait", lambda self, timeout=None: code)
    monkeypatch.setattr(Peer, "log_text", "first\nthe reason\n")
    assert cli.main(["serve", "--port", "0"]) == returned
    assert capsys.readouterr().err.endswith("the reason\n") == bool(code)


def test_the_key_is_not_shown():
    """Not by the handle, not on the command line, not in the log."""
    with Peer(key=KEY) as peer:
        status, _, _ = asyncio.run(post(f"{peer.url}/realtime/client_secrets", key=KEY))
        assert status == 200 and peer.key == KEY
        for place in ("cmdline", "environ"):
            with open(f"/proc/{peer.pid}/{place}") as stream:
                assert KEY not in stream.read()
        assert KEY not in repr(peer) + peer._repr_html_() + repr(vars(peer)) + peer.log_text
        assert KEY not in repr(vars(peer._link))


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
        {"key": "sk-with-an-end-of-line\n"},
        {"host": ""},
        {"reply_after": -1},
        {"reply_after": "soon"},
        {"voice": 7},
        {"voice": lambda: "no turn"},
        {"mode": "telephone"},
        {"faults": "lost"},
        {"faults": {"loss": 1}},
        {"faults": [Faults(), "lost"]},
        {"replay": 7},
        {"replay": "no/such/run"},
        {"replay": "."},
        {"replay": ".", "voice": "parrot"},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_used_are_refused_at_once(arguments, monkeypatch):
    """One sentence, before any process is started."""
    monkeypatch.setattr(handle, "Link", None)
    with pytest.raises(ConfigurationError) as refused:
        Peer(**arguments)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "sent", "repeat"),
    [
        (None, (), False),
        (Faults(seed=1), (Faults(seed=1),), True),
        ([Faults(seed=1), Faults()], (Faults(seed=1), Faults()), False),
        ([], (), False),
    ],
)
def test_faults_are_for_every_call_or_for_one_after_the_other(given, sent, repeat, monkeypatch):
    """One goes on; after a list calls behave well."""
    started = []
    monkeypatch.setattr(handle, "Link", lambda start, voice: started.append(start))
    with pytest.raises(AttributeError):  # there is no link to close
        Peer(faults=given)
    assert (started[0].faults, started[0].faults_repeat) == (sent, repeat)


@pytest.mark.parametrize(("voice", "sent"), [(None, "default"), ("parrot", "parrot")])
def test_a_voice_by_name_is_left_to_the_process(voice, sent, monkeypatch):
    """None is the default one, and not a voice in this process."""
    started = []
    monkeypatch.setattr(handle, "Link", lambda start, here: started.append((start.voice, here)))
    with pytest.raises(AttributeError):  # there is no link to close
        Peer(voice=voice)
    assert started == [(sent, None)]


def test_the_first_call_fails_and_the_next_does_not():
    """A list of faults is used up."""

    async def offer(peer):
        caller = Caller()
        text = await caller.offer()
        statuses = [(await exchange(peer.url, text))[0] for _ in range(2)]
        await caller.pc.close()
        return statuses

    with Peer(faults=[Faults(call_status=503)]) as peer:
        assert asyncio.run(offer(peer)) == [503, 201]


@pytest.mark.parametrize(("mode", "path"), [("openai", "/v1"), ("azure", "/openai/v1")])
def test_the_url_is_as_in_its_mode(mode, path):
    """Azure's base URL has one part more."""
    with Peer(mode=mode) as peer:
        assert peer.url.partition("//")[2].partition("/")[1:] == ("/", path[1:])
        assert peer.mode == mode and (mode in repr(peer._repr_html_())) == (mode != "openai")
        assert peer.endpoint.base_url == peer.url


def open_files():
    """Return what each descriptor of this process leads to."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def children():
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as stream:
        return set(stream.read().split())


def test_nothing_is_left_running_with_calls_under_way():
    """No process, no thread and no descriptor, whatever the calls are at."""

    async def talk(peer):
        async with contextlib.AsyncExitStack() as calls:
            for _ in range(3):
                caller = await calls.enter_async_context(calling(peer.url))
                caller.send("response.create", response={"output_modalities": ["text"]})
                await caller.until("response.created")
            assert await asyncio.to_thread(lambda: peer.live_calls) == 3
            await asyncio.to_thread(peer.close)

    with Peer(voice=anon):  # what is loaded once, is
        pass
    before = set(threading.enumerate()), children(), open_files()
    peer = Peer(voice=anon)
    asyncio.run(talk(peer))
    gc.collect()
    assert set(threading.enumerate()) <= before[0]
    assert children() <= before[1]
    assert open_files().items() <= before[2].items()
    with pytest.raises(OSError):
        os.kill(peer.pid, 0)


async def anon(turn):
    """Answer late: the calls end first."""
    await asyncio.sleep(30)


def test_a_handle_that_is_forgotten_ends_its_process():
    """There is no need to close it."""
    peer = Peer()
    pid = peer.pid
    del peer
    gc.collect()
    with pytest.raises(OSError):
        os.kill(pid, 0)


def test_a_script_that_ends_leaves_nothing_running():
    """Not the peer, and no message, although it was not closed and its voice still thinks."""
    code = (
        "import rtnb, threading, time\n"
        "begun = threading.Event()\n"
        "def voice(turn):\n    begun.set(); time.sleep(30)\n"
        "peer = rtnb.Peer(voice=voice)\n"
        "with rtnb.connect(peer) as session:\n"
        "    session.send('hello'); assert begun.wait(10)\n"
        "print(peer.pid)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=40)
    assert done.returncode == 0 and done.stderr == b""
    assert time.monotonic() - started < 15
    with pytest.raises(OSError):
        os.kill(int(done.stdout), 0)


def test_closing_that_was_interrupted_can_be_repeated(monkeypatch):
    """An interrupt leaves the handle as it was: not closed, and to be closed again."""

    def interrupted(timeout=None):
        raise KeyboardInterrupt

    peer = Peer()
    with monkeypatch.context() as patched:
        patched.setattr(peer._link.process, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            peer.close()
    peer.close()
    assert peer.closed and peer.log().complete


def test_whoever_closes_second_waits_too():
    """When close() returns the peer has ended, whichever thread had begun to close it."""
    peer = Peer()
    ended = []
    threads = [
        threading.Thread(target=lambda: (peer.close(), ended.append(peer.closed))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ended == [True] * 3


def test_counting_calls_fetches_no_packets():
    """One may look at `live_calls` as often as one likes."""

    async def talk(peer):
        async with calling(peer.url):
            return await asyncio.to_thread(lambda: (peer.live_calls, dict(peer._link._calls)))

    with Peer() as peer:
        assert asyncio.run(talk(peer)) == (1, {})
        assert len(peer.log().calls) == 1


@pytest.mark.parametrize(
    ("host", "shown"), [("::", "[::1]"), ("fd00::7", "[fd00::7]"), ("0.0.0.0", "127.0.0.1")]
)
def test_the_url_of_a_host_can_be_called(host, shown, monkeypatch):
    """Addresses of version 6 stand in brackets; one that means any is this machine."""
    link_ = SimpleNamespace(port=7, close=lambda: None, process=SimpleNamespace(poll=lambda: None))
    monkeypatch.setattr(handle, "Link", lambda start, here: link_)
    assert Peer(host=host).url == f"http://{shown}:7/v1"


def test_a_process_that_hangs_is_killed(monkeypatch):
    """Closing takes its time, and not more."""
    monkeypatch.setattr(link, "_END_WITHIN", 0.5)
    peer = Peer()
    os.kill(peer.pid, signal.SIGSTOP)
    closing = time.monotonic()
    peer.close()
    assert 0.5 <= time.monotonic() - closing < 3 and peer.closed


def test_what_cannot_be_served_is_said_on_the_command_line(tmp_path):
    """By hand, too, a script that is none is one sentence and code 2."""
    script = tmp_path / "rules.yaml"
    script.write_text("- shout: no")
    with start("--script", str(script)) as process:
        said = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 2 and said.count("\n") == 1 and "shout" in said


def test_it_can_be_started_by_hand_in_another_shape():
    """The options of the command line, and the key from the environment."""
    with start("--mode", "azure", "--voice", "parrot", "--reply-after", "0.1") as process:
        assert json.loads(process.stdout.readline())["ready"] is True
        process.stdin.close()
        assert process.wait(5) == 0


@pytest.mark.parametrize("used", ["Peer", "peer.Faults", "peer.Network"])
def test_the_handle_imports_nothing_heavy(used):
    """It is part of what `import rtnb` may need; so are the values that it takes."""
    code = (
        f"import sys, rtnb; rtnb.{used}; "
        "print([m for m in ('aiortc', 'aiohttp', 'numpy', 'av', 'asyncio') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_peers_parts_are_reached_without_an_import():
    """`rtnb.peer.voices` is loaded when it is used; a misspelt name fails as in any module."""
    code = (
        "import rtnb; print(rtnb.peer.voices.Parrot(), 'voices' in dir(rtnb.peer)); rtnb.peer.Fault"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "Parrot() True\n"
    assert "AttributeError: module 'rtnb.peer' has no attribute 'Fault'" in done.stderr
