"""The three ways to carry messages between sessions and calls: process, thread, script."""

from __future__ import annotations

import io
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rtnb import MediaProcessError, engine
from rtnb import messages as m
from rtnb.engine import Engine, ProcessEngine, ScriptedEngine, ThreadEngine

Inbox = queue.SimpleQueue[m.Message]


def open_call(one: Engine, folder: Path, *, call: str = "c1") -> Inbox:
    """Open a call on an engine, and return what comes back from it."""
    inbox: Inbox = queue.SimpleQueue()
    folder.mkdir(exist_ok=True)
    one.register(call, inbox.put)
    one.send(m.Open(call, time.monotonic(), str(folder), loopback=True))
    return inbox


def next_of(inbox: Inbox, kind: type[Any]) -> Any:
    """Return the next message of a kind."""
    while True:
        message = inbox.get(timeout=30)
        if isinstance(message, kind):
            return message


@pytest.fixture(params=[ProcessEngine, ThreadEngine])
def real(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A media host, in a process and in a thread."""
    with closing(request.param()) as one:
        yield one


@pytest.fixture
def process() -> Iterator[ProcessEngine]:
    """A media process of the test's own."""
    with closing(ProcessEngine()) as one:
        yield one


# --- a host with real media ----------------------------------------------------------------------


def test_a_call_is_offered(real: Engine, tmp_path: Path) -> None:
    """`Open` is answered by `Offered`: audio and a channel, on loopback only."""
    sdp = next_of(open_call(real, tmp_path / "run"), m.Offered).sdp
    assert "m=audio" in sdp and "m=application" in sdp
    candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate")]
    assert candidates
    assert {line.split()[4] for line in candidates} == {"127.0.0.1"}


def test_a_call_is_closed(real: Engine, tmp_path: Path) -> None:
    """`Close` finishes the run and is answered by `Closed`, with the reason."""
    inbox = open_call(real, tmp_path / "run")
    next_of(inbox, m.Offered)
    real.send(m.Close("c1", "enough"))
    closed = next_of(inbox, m.Closed)
    assert (closed.kind, closed.reason) == ("closed", "enough")
    assert (tmp_path / "run" / "audio.wav").stat().st_size >= 44


def test_a_call_without_a_folder_says_why(real: Engine) -> None:
    """What keeps a call from starting comes back as its end."""
    inbox: Inbox = queue.SimpleQueue()
    real.register("c1", inbox.put)
    real.send(m.Open("c1", 0.0, "/nowhere/at/all"))
    closed = next_of(inbox, m.Closed)
    assert closed.kind == "failed"
    assert closed.reason.startswith("The call could not start: ")


def test_an_answer_that_is_no_sdp_ends_the_call(real: Engine, tmp_path: Path) -> None:
    """The other side's nonsense is said, and the call is over."""
    inbox = open_call(real, tmp_path / "run")
    next_of(inbox, m.Offered)
    real.send(m.Answer("c1", "this is not an SDP"))
    assert next_of(inbox, m.Closed).kind == "bad_answer"


def test_a_note_is_on_disk(real: Engine, tmp_path: Path) -> None:
    """`Note` is a line of turns.jsonl."""
    inbox = open_call(real, tmp_path / "run")
    next_of(inbox, m.Offered)
    real.send(m.Note("c1", '{"record": "turn"}'))
    real.send(m.Close("c1"))
    next_of(inbox, m.Closed)
    assert (tmp_path / "run" / "turns.jsonl").read_text().startswith('{"record": "turn"}\n')


def test_figures_are_answered(real: Engine, tmp_path: Path) -> None:
    """`StatsWanted` is answered with its own number and no fallback."""
    inbox = open_call(real, tmp_path / "run")
    real.send(m.StatsWanted("c1", 7))
    stats = next_of(inbox, m.Stats)
    assert (stats.request, stats.values["fallbacks"]) == (7, [])
    assert (stats.values["packets_sent"], stats.values["packets_lost"]) == (0, 0)


def test_calls_are_kept_apart(real: Engine, tmp_path: Path) -> None:
    """Each handler gets the messages of its own call."""
    one = open_call(real, tmp_path / "one", call="c1")
    two = open_call(real, tmp_path / "two", call="c2")
    assert (next_of(one, m.Offered).call, next_of(two, m.Offered).call) == ("c1", "c2")


def test_a_message_for_a_call_that_is_over_is_no_error(real: Engine, tmp_path: Path) -> None:
    """What crosses a `Closed` on its way is dropped; the next call works."""
    real.send(m.SendEvent("gone", "{}"))
    next_of(open_call(real, tmp_path / "run"), m.Offered)


def test_closing_the_host_finishes_its_runs(real: Any, tmp_path: Path) -> None:
    """`close` hangs up every call; a second one changes nothing."""
    inbox = open_call(real, tmp_path / "run")
    next_of(inbox, m.Offered)
    real.close()
    real.close()
    assert next_of(inbox, m.Closed).kind in ("closed", "process_died")
    assert (tmp_path / "run" / "audio.wav").stat().st_size >= 44


# --- the process ---------------------------------------------------------------------------------


def test_the_process_is_a_child_of_its_own_session(process: ProcessEngine) -> None:
    """An interrupt of this process group does not reach it."""
    process.wait_ready()
    assert process.alive
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert process.fallbacks == ()


def test_the_process_ends_when_it_is_closed(process: ProcessEngine) -> None:
    """After `close` it is gone, with exit code 0, and sending is an error."""
    process.wait_ready()
    process.close()
    assert (process.alive, process._process.returncode) == (False, 0)
    with pytest.raises(MediaProcessError, match="The media process has died; connect again"):
        process.send(m.Close("c1"))


def test_a_killed_process_closes_its_calls(process: ProcessEngine, tmp_path: Path) -> None:
    """Each call hears of it at once, with the signal."""
    inbox = open_call(process, tmp_path / "run")
    next_of(inbox, m.Offered)
    os.kill(process.pid, signal.SIGKILL)
    closed = next_of(inbox, m.Closed)
    assert closed.kind == "process_died"
    assert closed.reason == "The media process has died (signal 9); connect again to go on."


def test_a_killed_process_leaves_no_thread() -> None:
    """Neither the one that read from it nor the one that wrote to it."""
    before = set(threading.enumerate())
    with closing(ProcessEngine()) as one:
        one.wait_ready()
        threads = set(threading.enumerate()) - before
        assert len(threads) == 2
        os.kill(one.pid, signal.SIGKILL)
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)


def test_a_process_that_cannot_start_says_its_last_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last line of its stderr is in the error."""
    start = engine.start_module
    monkeypatch.setattr(engine, "start_module", lambda _, **kw: start("rtnb.no_such", **kw))
    with closing(ProcessEngine()) as broken, pytest.raises(MediaProcessError) as caught:
        broken.wait_ready()
    assert str(caught.value).startswith("The media process could not start; connect again")
    assert "No module named rtnb.no_such" in str(caught.value)


def test_the_process_sees_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment stay in this process."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-abcdefgh123456")
    with closing(ProcessEngine()) as one:
        one.wait_ready()
        if sys.platform == "linux":
            environment = Path(f"/proc/{one.pid}/environ").read_bytes()
            assert b"PYTHONPATH" in environment
            assert b"OPENAI" not in environment


def test_the_shared_process_is_started_once() -> None:
    """All sessions of this process share one, and a dead one is replaced."""
    one = engine.shared_engine()
    one.wait_ready()
    assert engine.shared_engine() is one
    one.close()
    assert engine.shared_engine() is not one


# --- the script ----------------------------------------------------------------------------------


def echo(message: m.Message) -> list[m.Message]:
    """Answer each event with the same event."""
    if isinstance(message, m.SendEvent):
        return [m.EventArrived(message.call, message.text, 1.0)]
    return []


def scripted(handler: Callable[[m.Message], None]) -> ScriptedEngine:
    one = ScriptedEngine(echo)
    one.register("c1", handler)
    return one


def test_a_script_answers() -> None:
    """What is sent is kept, and what the script says comes back before `send` returns."""
    got: list[m.Message] = []
    one = scripted(got.append)
    one.send(m.SendEvent("c1", "{}"))
    assert one.sent == [m.SendEvent("c1", "{}")]
    assert got == [m.EventArrived("c1", "{}", 1.0)]


def test_a_script_speaks_of_its_own_accord() -> None:
    """`deliver` is a message from the other side, for the call it names only."""
    got: list[m.Message] = []
    one = scripted(got.append)
    one.deliver(m.EventArrived("c1", "a", 1.0))
    one.deliver(m.EventArrived("c2", "b", 1.0))
    assert got == [m.EventArrived("c1", "a", 1.0)]


def test_closed_is_the_last_message() -> None:
    """After `Closed` a handler hears nothing more."""
    got: list[m.Message] = []
    one = scripted(got.append)
    one.deliver(m.Closed("c1", "closed", "", 1.0))
    one.deliver(m.EventArrived("c1", "a", 2.0))
    assert got == [m.Closed("c1", "closed", "", 1.0)]


def test_a_handler_that_fails_does_not_silence_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its error is logged, and the next message is delivered."""
    got: list[m.Message] = []

    def handle(message: m.Message) -> None:
        got.append(message)
        raise ZeroDivisionError

    one = scripted(handle)
    one.send(m.SendEvent("c1", "a"))
    one.send(m.SendEvent("c1", "b"))
    assert len(got) == 2
    assert caplog.messages == ["a message could not be handled"] * 2


# --- what crosses the pipe -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        m.Open("c1", 1.5, "folder", ice_servers=({"urls": "stun:127.0.0.1"},)),
        m.Play("c1", "p1", b"\x00\x01" * 960, then=("{}",)),
        m.AudioWritten("c1", 0.0, 0.1, (-120.0,), (-20.5,)),
        m.Stats("c1", 3, {"packets_sent": 5, "fallbacks": []}),
        m.Closed("c1", "closed", "grüße", 3.0),
    ],
)
def test_a_message_crosses_the_pipe(message: m.Message) -> None:
    """It comes out as it went in, and after it the stream is at its end."""
    pipe = io.BytesIO()
    m.write_message(pipe, message)
    pipe.seek(0)
    assert m.read_message(pipe) == message
    assert m.read_message(pipe) is None


@pytest.mark.parametrize("cut", [1, 3, 4, 10, 40])
def test_a_message_cut_short_is_the_end(cut: int) -> None:
    """A pipe that breaks in mid-message is read as its end."""
    whole = m.encode_message(m.Closed("c1", "closed", "reason", 1.0))
    assert m.read_message(io.BytesIO(whole[:cut])) is None


class Evil:
    """Runs a command when it is unpickled by anyone who allows it."""

    def __reduce__(self) -> Any:
        return os.system, ("false",)


@pytest.mark.parametrize("value", [Evil(), {"a": Path("x")}, m.Stats("c1", 1, {"p": Path("x")})])
def test_nothing_but_messages_crosses_the_pipe(value: object) -> None:
    """A foreign class in a message is refused, by name."""
    with pytest.raises(pickle.UnpicklingError, match="may not cross the pipe"):
        m.decode_message(pickle.dumps(value))


def test_a_plain_value_is_no_message() -> None:
    """A dict alone is refused too."""
    with pytest.raises(pickle.UnpicklingError, match="dict is not a message"):
        m.decode_message(pickle.dumps({}))


def test_a_file_named_like_a_standard_module_stays_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory is not on the media process's path."""
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong queue')")
    monkeypatch.chdir(tmp_path)
    own = ProcessEngine()
    try:
        own.wait_ready()
    finally:
        own.close()


# Python 3.12 warns of any fork beside threads, which is what is tested here
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_media_process_alive() -> None:
    """With a child still running, the end of our pipe is the end of the media process."""
    own = ProcessEngine()
    own.wait_ready()
    holding, release = os.pipe()
    child = os.fork()
    if not child:  # it lives until the pipe is closed
        os.close(release)
        os.read(holding, 1)
        os._exit(0)
    try:
        began = time.monotonic()
        own.close()
        assert time.monotonic() - began < 4
        assert own._process.returncode == 0
    finally:
        os.close(release)
        os.close(holding)
        os.waitpid(child, 0)
