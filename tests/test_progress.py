"""How far an `ask`, a `connect` or a `replay` is: the lines, where they are shown, and when not."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from brief import SOON, brief_prompt, brief_voice
from kernels import Kernel

import rtnb
from rtnb import cli, liveline
from rtnb import progress as p
from rtnb.liveline import CellOutlet, LogOutlet, TerminalOutlet, find_outlet, following
from rtnb.progress import Snapshot
from rtnb.turnstate import ResponseState, ToolCall, TurnState

WITHIN: Final = 60.0  # seconds for whatever is waited for
GREETING: Final = Path(rtnb.__file__).parents[1] / "samples" / "greeting.wav"
HOSTILE: Final = '<script>alert("x")</script>\x1b[2J\r\n\u202eevil'


# --- from state to a snapshot --------------------------------------------------------------------


def turn(**known: Any) -> TurnState:
    """Return a turn that began at 10 s."""
    return TurnState(1, "audio", 10.0, **({"name": "capital_of_france"} | known))


def answer(**known: Any) -> ResponseState:
    return ResponseState("r1", 12.0, **known)


def tool(**known: Any) -> ToolCall:
    return ToolCall("c1", "weather", "{}", 12.0, **known)


PLAYED: Final = {"play-1": (10.1, 12.0)}
SAID: Final = answer(audio_started=12.5, audio_ended=13.0)


@pytest.mark.parametrize(
    ("known", "phase", "level"),
    [
        ({}, "waiting for the reply", -30.0),
        ({"plays": {"play-1": (None, None)}}, "playing prompt", -10.0),
        ({"plays": {"play-1": (10.1, None)}}, "playing prompt", -10.0),
        ({"plays": PLAYED}, "waiting for the reply", -30.0),
        ({"plays": PLAYED, "responses": [answer()]}, "waiting for the reply", -30.0),
        ({"plays": PLAYED, "responses": [answer(audio_started=12.5)]}, "reply sounding", -30.0),
        ({"plays": PLAYED, "responses": [SAID]}, "reply over", -30.0),
        ({"plays": PLAYED, "responses": [SAID], "pending": 1}, "waiting for the reply", -30.0),
        ({"responses": [answer(parts={("i", 0): "Pa"})]}, "reply being written", None),
        ({"responses": [answer(done=13.0)], "tool_calls": [tool()]}, "tool weather running", None),
        ({"plays": PLAYED, "tool_calls": [tool(ended=13.0)]}, "waiting for the reply", -30.0),
    ],
)
def test_the_phase_of_a_turn(known: dict[str, Any], phase: str, level: float | None) -> None:
    """It is decided from the turn's state alone, with the level of the side that matters."""
    seen = p.of_turn(turn(**known), 13.5, {"sent": -10.0, "heard": -30.0})
    assert (seen.what, seen.phase, seen.seconds) == ("capital_of_france", phase, 3.5)
    assert (seen.level, seen.over) == (level, False)


@pytest.mark.parametrize(
    ("known", "first", "phase"),
    [
        ({"status": "completed"}, 0.631, "completed, first audio 0.63 s, 4.1 s in all"),
        ({"status": "no_reply"}, None, "no_reply, 4.1 s in all"),
        ({"status": "failed", "error": "Too fast."}, None, "failed, 4.1 s in all: Too fast."),
    ],
)
def test_the_end_of_a_turn(known: dict[str, Any], first: float | None, phase: str) -> None:
    """Status, first audio and seconds; and why, where there is a reason."""
    seen = p.of_turn(turn(ended=14.1, **known), 20.0, {}, first)
    assert (seen.phase, seen.over) == (phase, True)


@pytest.mark.parametrize(
    ("known", "what"),
    [
        ({"name": None, "text": "And of Italy?"}, '"And of Italy?"'),
        ({"name": None, "text": "word " * 20}, '"word word word word word word…"'),
        ({"name": None}, "turn 1"),
    ],
)
def test_what_a_turn_is_called(known: dict[str, Any], what: str) -> None:
    """A clip by its name, a text by its beginning, else by its number."""
    assert p.of_turn(turn(**known), 10.0, {}).what == what


@pytest.mark.parametrize(
    ("reached", "http", "state", "phase"),
    [
        ([], [], {}, "starting the media process"),
        ([], [], {"mints": True}, "minting a key"),
        ([], ["mint"], {"mints": True}, "starting the media process"),
        ([], ["mint"], {"mints": True, "offered": True}, "exchanging the offer"),
        ([], ["sdp"], {"offered": True}, "ICE"),
        (["answer"], ["sdp"], {"offered": True}, "ICE"),
        (["answer", "ice"], ["sdp"], {"offered": True}, "DTLS"),
        (["answer", "ice", "dtls"], ["sdp"], {"offered": True}, "data channel"),
        (["answer", "ice", "dtls", "channel"], ["sdp"], {"offered": True}, "configuring"),
    ],
)
def test_the_phase_of_a_connect(
    reached: list[str], http: list[str], state: dict[str, bool], phase: str
) -> None:
    """What is reached and answered tells what is waited for."""
    at, took = dict.fromkeys(reached, 0.1), dict.fromkeys(http, 0.1)
    assert p.of_connecting("host", 0.2, at, took, **state) == Snapshot("host", phase, 0.2)


def test_the_end_of_a_connect() -> None:
    """It tells how long it took."""
    seen = p.of_connecting("host:1", 0.5, {"channel": 0.2, "configured": 0.314})
    assert p.text_of(seen) == "host:1 → connected in 0.31 s"


def test_a_batch_is_counted() -> None:
    """The running call by number, name and voice; at the end how all ended."""
    running = p.of_batch(3, 12, "greeting", "marin", 9.0, {"completed": 2})
    assert running.what == "[3/12] greeting (marin)"
    ended = p.of_batch(3, 2, "greeting", None, 9.0, {"completed": 1, "not replayed": 1})
    assert p.text_of(ended) == "2 calls → 1 completed, 1 not replayed, 9.0 s in all"


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (KeyboardInterrupt(), "interrupted after 2.0 s: ICE"),
        (rtnb.TurnTimeout("late"), "not over after 2.0 s: ICE"),
        (rtnb.CallError("broke"), "failed after 2.0 s: ICE"),
    ],
)
def test_what_an_error_cuts_short(error: BaseException, phase: str) -> None:
    """The last line says after how long, and in which phase."""
    assert p.broken(Snapshot("host", "ICE", 2.0, -20.0), error).phase == phase


# --- text and HTML -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (-float("inf"), "         silent"),
        (float("nan"), "         silent"),
        (-112.0, "         silent"),
        (-49.0, "▁▂       -49 dBFS"),
        (-30.0, "▁▂▃▄     -30 dBFS"),
        (3.0, "▁▂▃▄▅▆▇█ 3 dBFS"),
    ],
)
def test_a_line_has_a_level(level: float, shown: str) -> None:
    """A bar from -60 dBFS to full scale, and the figure."""
    line = p.text_of(Snapshot("a", "reply sounding", 1.23, level))
    assert line == "a: reply sounding  1.2 s  " + shown


def test_a_plain_line_is_ascii() -> None:
    """Where the encoding has nothing else, the bar is of # and the arrow is ->."""
    running = Snapshot("a" * 90, "reply sounding", 1.0, -30.0)
    assert p.text_of(running, plain=True).isascii()
    assert "  ####     -30 dBFS" in p.text_of(running, plain=True)
    assert p.text_of(Snapshot("a", "completed", over=True), plain=True) == "a -> completed"


@pytest.mark.parametrize("what", ["n" * 500, "名" * 500, "e\u0301" * 500, "a b " * 200_000])
@pytest.mark.parametrize("width", [78, 60, 20, 1])
def test_a_line_is_cut_to_its_columns(what: str, width: int) -> None:
    """Wide characters count twice, combining ones not at all; the phase is kept before the name."""
    line = p.text_of(Snapshot(what, "waiting for the reply", 1.0, -30.0), width=width)
    assert p.columns_of(line) <= width
    assert width < 60 or "waiting for the reply  1.0 s" in line


def test_what_comes_from_outside_cannot_act() -> None:
    """Control characters, line ends and markup of a name, a tool or a reason stay text."""
    running = turn(name=HOSTILE, tool_calls=[ToolCall("c", HOSTILE, "{}", 1.0)])
    failed = turn(name=HOSTILE, status="failed", error=HOSTILE, ended=12.0)
    for state in (running, failed):
        seen = p.of_turn(state, 12.0, {})
        assert p.text_of(seen).isprintable()
        assert "<script" not in p.html_of(seen)
        assert not set("\x1b\r\n\u202e") & set(p.html_of(seen))


def test_html_says_what_the_text_says() -> None:
    """Name, phase, seconds and level, in the colour of the side."""
    html = p.html_of(Snapshot("a", "reply sounding", 1.23, -30.0, "reply"))
    assert all(said in html for said in ("a: reply sounding 1.2 s", "-30 dBFS", "#d55e00"))
    assert "a → completed" in p.html_of(Snapshot("a", "completed", over=True))


# --- terminals and other streams -----------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def put_on_stderr(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None) -> None:
    """Let rtnb see a stream; pytest's capture puts its own in `sys` before each test."""
    monkeypatch.setattr(liveline, "sys", SimpleNamespace(stderr=stream, modules=sys.modules))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal on stderr, and automatic progress."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("RTNB_PROGRESS", raising=False)
    stream = Terminal()
    put_on_stderr(monkeypatch, stream)
    return stream


def lines(stream: io.StringIO) -> list[str]:
    """Return what stands on a terminal, line by line, after all that was written over."""
    whole = stream.getvalue().split("\n")
    return [line.rpartition("\r")[2].rstrip() for line in whole if line]


def test_a_terminal_shows_one_line(terminal: Terminal) -> None:
    """Each update writes over the whole of the one before; the last one ends the line."""
    outlet = TerminalOutlet(terminal)
    outlet.show(Snapshot("a" * 20, "reply sounding", 1.0, -3.0), last=False)
    outlet.show(Snapshot("a", "completed", over=True), last=True)
    before, after = terminal.getvalue().removeprefix("\r").removesuffix("\n").split("\r")
    assert len(after) == len(before)
    assert lines(terminal) == ["a → completed"]


def test_a_terminal_without_unicode_is_written_to(terminal: Terminal) -> None:
    """What its encoding lacks becomes a question mark."""
    terminal.encoding = "cp1252"
    TerminalOutlet(terminal).show(Snapshot("東 é", "reply sounding", 1.0, -30.0), last=True)
    assert lines(terminal) == ["? é: reply sounding  1.0 s  ####     -30 dBFS"]


def test_a_narrow_terminal_is_not_overrun(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that wrapped could not be written over."""
    monkeypatch.setenv("COLUMNS", "24")
    TerminalOutlet(terminal).show(Snapshot("name", "waiting for the reply", 1.0), last=True)
    assert [len(line) for line in lines(terminal)] == [23]


def test_a_log_has_a_line_for_each_begin_and_one_for_the_end() -> None:
    """Nothing is written over where nothing can be."""
    stream = io.StringIO()
    outlet = LogOutlet(stream)
    for name in ("a", "a", "b"):
        outlet.show(Snapshot(name, "calling", 1.0, -30.0), last=False)
    outlet.show(Snapshot("b", "completed", over=True), last=True)
    assert stream.getvalue() == "a: calling  1.0 s\nb: calling  1.0 s\nb → completed\n"


# --- where it is shown ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "variable", "shown"),
    [
        (None, "", True),
        (None, "1", True),
        (None, "0", False),
        (True, "0", True),
        (False, "", False),
    ],
)
def test_progress_can_be_turned_off(
    wanted: bool | None,
    variable: str,
    shown: bool,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By an argument, or by RTNB_PROGRESS=0 where there is none."""
    monkeypatch.setenv("RTNB_PROGRESS", variable)
    assert isinstance(find_outlet(wanted), TerminalOutlet) == shown


def test_a_stream_that_is_captured_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is asked for: then it is a log."""
    put_on_stderr(monkeypatch, io.StringIO())
    assert find_outlet(None) is None
    assert isinstance(find_outlet(True), LogOutlet)


@pytest.mark.parametrize("stream", [None, "closed", "dumb"])
def test_no_terminal_shows_nothing(
    stream: str | None, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stream, a closed one, and one that cannot go back on its line."""
    monkeypatch.setenv("TERM", stream or "")
    if stream == "closed":
        terminal.close()
    if stream is None:
        put_on_stderr(monkeypatch, None)
    assert find_outlet(None) is None


def test_a_thread_shows_nothing_by_itself(terminal: Terminal) -> None:
    """It would land in whatever cell runs."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(find_outlet(None)))
    thread.start()
    thread.join(WITHIN)
    assert found == [None]


# --- while it goes on ----------------------------------------------------------------------------


class Screen:
    """An outlet that keeps what it shows, and lets a test wait for it."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.ended = False
        self.changed = threading.Condition()

    def show(self, snapshot: Snapshot, *, last: bool) -> None:
        with self.changed:
            self.shown.append(p.text_of(snapshot))
            self.ended = last
            self.changed.notify_all()

    def wait_for(self, text: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: any(text in s for s in self.shown), WITHIN)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """What all lines are shown on, unless they are not wanted."""
    one = Screen()
    monkeypatch.setattr(liveline, "find_outlet", lambda wanted: None if wanted is False else one)
    return one


def tickers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rtnb-progress"]


def test_a_line_follows_what_it_watches(screen: Screen) -> None:
    """It is shown at once, again and again, and for the last time at the end; then it has ended."""
    now = Snapshot("a", "ICE", 1.0)
    with following(None) as line:
        line.watch(lambda: now)
        assert screen.shown == ["a: ICE  1.0 s"]
        now = Snapshot("a", "DTLS", 1.0)
        screen.wait_for("DTLS")
        now = Snapshot("a", "done", over=True)
    assert (screen.shown[-1], screen.ended, tickers()) == ("a → done", True, [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, rtnb.CallError])
def test_a_line_ends_with_an_error(screen: Screen, error: type[BaseException]) -> None:
    """Its last words are said, and the error goes on its way."""
    with pytest.raises(error), following(None) as line:
        line.watch(lambda: Snapshot("a", "ICE", 1.0))
        raise error("no")
    assert "after 1.0 s: ICE" in screen.shown[-1]
    assert (screen.ended, tickers()) == (True, [])


def test_a_line_without_a_word_shows_nothing(screen: Screen) -> None:
    """What fails before anything is watched leaves no line."""
    with contextlib.suppress(rtnb.AudioError), following(None):
        raise rtnb.AudioError("no such file")
    assert screen.shown == []


@pytest.mark.parametrize("shows_first", [0, 1])
def test_a_broken_display_breaks_nothing(shows_first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it fails at once or later, the block runs to its end."""
    failed = threading.Event()
    left = shows_first

    def publish(*_: Any, **__: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            failed.set()
            raise OSError("gone")

    monkeypatch.setattr(liveline, "find_outlet", lambda wanted: CellOutlet(publish))
    with following(None) as line:
        line.watch(lambda: Snapshot("a", "ICE"))
        assert failed.wait(WITHIN)
    assert tickers() == []


def test_a_display_that_hangs_does_not_hold_the_return(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is left within a tick, and the thread goes when it can."""
    hangs, go_on = threading.Event(), threading.Event()

    def seen() -> Snapshot:
        if threading.current_thread() is not threading.main_thread():
            hangs.set()
            go_on.wait(WITHIN)
        return Snapshot("a", "ICE")

    with following(None) as line:
        line.watch(seen)
        assert hangs.wait(WITHIN)
    (thread,) = tickers()
    go_on.set()
    thread.join(WITHIN)
    assert not thread.is_alive()


def test_a_line_within_a_line_is_shown_in_it(screen: Screen) -> None:
    """One line for a batch: its count, and the phase of the running call."""
    with following(None) as batch:
        batch.watch(lambda: Snapshot("[1/2] a", "calling", 5.0))
        with following(None) as call:
            call.watch(lambda: Snapshot("host", "ICE", 1.0))
            screen.wait_for("[1/2] a: ICE  1.0 s")
        with following(False) as quiet:
            quiet.watch(lambda: Snapshot("host", "DTLS", 1.0))
    assert screen.shown[0] == "[1/2] a: calling  5.0 s"
    assert screen.shown[-1] == "[1/2] a: calling  5.0 s"
    assert not any("host" in line or "DTLS" in line for line in screen.shown)


# --- real calls ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rtnb.Peer]:
    """A peer whose answers take a second: long enough to be seen, and soon over."""
    with rtnb.Peer(voice=brief_voice(tmp_path_factory.mktemp("voice"), 1.0)) as one:
        yield one


def test_a_call_is_followed(screen: Screen, second_peer: rtnb.Peer) -> None:
    """Connecting ends with its time; asking goes through its phases to the first audio."""
    with rtnb.connect(second_peer) as session:
        assert " → connected in " in screen.shown[-1]
        turn = session.ask(rtnb.sample("greeting"))
    phases = ("playing prompt", "waiting for the reply", "reply sounding", "completed")
    found = [next(i for i, s in enumerate(screen.shown) if phase in s) for phase in phases]
    assert found == sorted(found)
    first = f"greeting → completed, first audio {turn.latency.first_audio:.2f} s, "
    assert screen.shown[-1].startswith(first)
    assert any("reply sounding" in s and "dBFS" in s for s in screen.shown)


def test_a_call_remembers_that_it_is_quiet(screen: Screen, peer: rtnb.Peer) -> None:
    """`connect(progress=False)` holds for its asks; one of them may want it all the same."""
    with rtnb.connect(peer, modalities=["text"], progress=False) as session:
        session.ask("Hello!")
        assert screen.shown == []
        session.ask("Hello!", progress=True)
        assert '"Hello!" → completed' in screen.shown[-1]


def test_a_replay_is_one_line(screen: Screen, second_peer: rtnb.Peer, tmp_path: Path) -> None:
    """It counts the calls, tells the phases of each, and how all ended."""
    prompt = brief_prompt().write(tmp_path / "greeting.wav")
    rtnb.replay([prompt], second_peer, voices=["marin", "ash"], turn_detection=SOON)
    assert screen.shown[0].startswith("[1/2] greeting (marin): ")
    assert any(s.startswith("[2/2] greeting (ash): reply sounding") for s in screen.shown)
    assert screen.shown[-1].startswith("2 calls → 2 completed, ")
    assert sum("→" in s for s in screen.shown) == 1


def test_calls_at_once_are_one_line_too(screen: Screen, peer: rtnb.Peer) -> None:
    """It counts the calls that are over; what each of them does is not told."""
    rtnb.replay(["Hello!"] * 6, peer, concurrency=2, modalities=["text"])
    assert any("/6 over] 2 calls at once: calling  " in s for s in screen.shown)
    assert screen.shown[-1].startswith("6 calls → 6 completed, ")
    assert sum("→" in s for s in screen.shown) == 1


def test_a_quiet_replay_shows_nothing(screen: Screen, peer: rtnb.Peer) -> None:
    """Neither its own line nor those of its calls."""
    rtnb.replay(["Hello!"], peer, progress=False, modalities=["text"])
    assert screen.shown == []


def test_a_call_that_fails_says_where(screen: Screen) -> None:
    """The error is raised, and the line tells in which phase it came."""
    with pytest.raises(rtnb.UnreachableError):
        rtnb.connect("http://127.0.0.1:9/v1")
    assert screen.shown[-1].startswith("127.0.0.1:9 → failed after ")
    assert screen.shown[-1].endswith(": minting a key")


@pytest.mark.parametrize(("arguments", "options"), [([], {}), (["--quiet"], {"progress": False})])
def test_the_command_line_can_be_quiet(
    arguments: list[str], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rtnb replay --quiet` is `progress=False`."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr("rtnb.batch.replay", lambda *_, **given: asked.update(given) or [])
    monkeypatch.setattr(cli, "_print_table", lambda batch: None)
    with contextlib.suppress(AttributeError):  # an empty list has no failures
        cli.main(["replay", str(GREETING), "--to", "http://127.0.0.1:9/v1", *arguments])
    assert {k: v for k, v in asked.items() if k == "progress"} == options


# --- a real kernel -------------------------------------------------------------------------------


class Cells(Kernel):
    """A real kernel, and a front end that keeps what each cell shows."""

    def messages(
        self, request: str, until: Callable[[dict[str, Any]], bool] = lambda message: False
    ) -> Iterator[dict[str, Any]]:
        """Yield what a cell shows until it has ended; fail on what belongs to another one."""
        while True:
            message = self.client.get_iopub_msg(timeout=WITHIN)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != request:
                assert kind == "status" or message["parent_header"] == {}, message
                continue
            if kind == "status" and content["execution_state"] == "idle":
                return
            if kind not in ("status", "execute_input"):
                yield message
                if until(message):
                    return

    def shown(self, code: str) -> list[dict[str, Any]]:
        """Execute a cell, and return what it has shown."""
        return list(self.messages(self.send(code)))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, second_peer: rtnb.Peer) -> Iterator[Cells]:
    """A kernel with a spoken and a written call to the peer, shared by these tests."""
    one = Cells(tmp_path_factory.mktemp("kernel"))
    try:
        # each in its own cell: a cell that connects again closes the call that it made before
        url, brief = second_peer.url, f"turn_detection={SOON!r}"
        one.run(f"import os, rtnb\nsession = rtnb.connect({url!r}, {brief})", cell="spoken")
        one.run(f'written = rtnb.connect({url!r}, modalities=["text"])', cell="written")
        yield one
    finally:
        one.close()


def displays(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return kind and display id of what was shown."""
    return [(m["msg_type"], m["content"]["transient"]["display_id"]) for m in messages]


def plain(message: dict[str, Any]) -> str:
    return str(message["content"]["data"]["text/plain"])


def test_a_cell_shows_one_display(kernel: Cells) -> None:
    """It is made once and updated in place, in the cell that asks, as text and as HTML."""
    shown = kernel.shown('turn = session.ask(rtnb.sample("greeting"))')
    (made, one), *updates = displays(shown)
    assert made == "display_data"
    assert len(updates) > 5
    assert set(updates) == {("update_display_data", one)}
    assert plain(shown[-1]).startswith("greeting → completed, first audio ")
    assert "greeting → completed" in shown[-1]["content"]["data"]["text/html"]


def test_each_cell_has_its_own_display(kernel: Cells) -> None:
    """A later cell neither gets the line of an earlier one nor anything else from it."""
    first = kernel.shown('turn = written.ask("Hello!")')
    assert kernel.shown("None") == []
    second = kernel.shown('turn = written.ask("Hello!")')
    ids = [{one for _, one in displays(shown)} for shown in (first, second)]
    assert [len(one) for one in ids] == [1, 1]
    assert ids[0] != ids[1]


def test_connecting_in_a_cell_shows_one_display(kernel: Cells, peer: rtnb.Peer) -> None:
    """Its last line says how long it took."""
    shown = kernel.shown(f"rtnb.connect({peer.url!r}).close()")
    assert len(set(one for _, one in displays(shown))) == 1
    assert " → connected in " in plain(shown[-1])


@pytest.mark.parametrize(
    "code",
    [
        'turn = written.ask("Hello!", progress=False)',
        'os.environ["RTNB_PROGRESS"] = "0"\n'
        'turn = written.ask("Hello!")\ndel os.environ["RTNB_PROGRESS"]',
    ],
)
def test_a_quiet_cell_shows_nothing(code: str, kernel: Cells) -> None:
    """By argument or by environment."""
    assert kernel.shown(code) == []


def test_an_interrupted_cell_ends_its_line(kernel: Cells) -> None:
    """The line says so before the traceback comes, and nothing comes after it."""
    request = kernel.send('session.ask(rtnb.sample("tell_me_a_story"))')
    list(kernel.messages(request, until=lambda m: "reply sounding" in plain(m)))
    kernel.manager.interrupt_kernel()
    shown = list(kernel.messages(request))
    assert shown[-1]["content"]["ename"] == "KeyboardInterrupt"
    assert "tell_me_a_story → interrupted after " in plain(shown[-2])
    assert kernel.shown("session.interrupt()") == []
