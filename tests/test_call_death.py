"""Sudden deaths: of the user's process, and of the media process, in the middle of a reply."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rtnb
from rtnb.engine import ProcessEngine
from rtnb.errors import CallClosedError, MediaProcessError

USER = """
import sys, time
import rtnb
session = rtnb.connect(sys.argv[1], record_to=sys.argv[2])
turn = session.send(rtnb.sample("tell_me_a_story"))
turn.wait_for_audio(1.0)
print(session.call_id, session._engine.pid, session._now(), flush=True)
time.sleep(60)
"""


def wait_until(ready: Callable[[], bool], timeout: float = 15.0) -> None:
    """Wait until another process has come so far; nothing there can tell us."""
    deadline = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


@contextlib.contextmanager
def user_killed_in_mid_reply(url: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Run a user's process until a reply is heard, and kill it; yield (call id, its last time)."""
    with subprocess.Popen(
        [sys.executable, "-c", USER, url, str(folder)], stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        call, media, at = user.stdout.readline().split()
        user.send_signal(signal.SIGKILL)
        user.wait()
        wait_until(lambda: gone(int(media)))
        yield call, float(at)


@pytest.fixture(scope="module")
def killed(
    peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, float, Path]]:
    """One run whose user's process was killed: (call id, time of death, folder)."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    with user_killed_in_mid_reply(peer.url, folder) as (call, at):
        yield call, at, folder


def test_the_run_of_a_killed_kernel_is_complete(killed: tuple[str, float, Path]) -> None:
    """What was heard to the moment of death is on disk, and opens with its turn."""
    _, at, folder = killed
    run = rtnb.open_run(folder)
    assert run.duration >= at
    assert run.turns[0].transcript.startswith("Once upon a time")
    assert run.turns[0].reply.duration > 0.9
    assert not run.complete


def test_the_call_of_a_killed_kernel_is_hung_up(
    killed: tuple[str, float, Path], peer: rtnb.Peer
) -> None:
    """The peer no longer knows the call."""
    assert peer.endpoint.hang_up(killed[0]) is False


@pytest.fixture
def own_engine() -> Iterator[ProcessEngine]:
    """A media process of this test alone."""
    engine = ProcessEngine()
    yield engine
    engine.close()


def test_a_killed_media_process_is_said_plainly(peer: rtnb.Peer, own_engine: ProcessEngine) -> None:
    """The waiting turn, the session and the next prompt all tell what happened."""
    session = rtnb.connect(peer, engine=own_engine)
    turn = session.send(rtnb.sample("tell_me_a_story"))
    turn.wait_for_audio(1.0)
    os.kill(own_engine.pid, signal.SIGKILL)
    with pytest.raises(
        CallClosedError, match=r"The media process has died \(signal 9\); connect again"
    ):
        turn.wait(10)
    assert "has died" in repr(session)
    with pytest.raises(MediaProcessError, match="has died"):
        session.send("Hello?")
    session.close()


def test_all_but_the_last_second_survives_the_media_process(
    peer: rtnb.Peer, own_engine: ProcessEngine
) -> None:
    """The run of a killed media process opens; at most its last second is missing."""
    session = rtnb.connect(peer, engine=own_engine)
    turn = session.send(rtnb.sample("tell_me_a_story"))
    turn.wait_for_audio(2.0)
    killed_at = session._now()
    os.kill(own_engine.pid, signal.SIGKILL)
    with pytest.raises(CallClosedError):
        turn.wait(10)
    run = rtnb.open_run(session.folder)
    with wave.open(str(session.folder / "audio.wav")) as audio:
        assert audio.getnframes() / audio.getframerate() == pytest.approx(run.duration, abs=0.001)
    assert run.duration > killed_at - 1.0
    assert run.turns[0].reply.duration > 1.0
    session.close()


def test_a_new_media_process_takes_over(peer: rtnb.Peer) -> None:
    """After the shared media process has died, the next connect starts another one."""
    session = rtnb.connect(peer)
    os.kill(session._engine.pid, signal.SIGKILL)
    with session.changed:
        assert session.changed.wait_for(lambda: session._closed is not None, 10)
    session.close()
    with rtnb.connect(peer) as again:
        assert again.ask("What is the capital of France?").status == "completed"
