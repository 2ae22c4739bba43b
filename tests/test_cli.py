"""The command line: its words, its exit codes, and one real replay in a process of its own."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import requests
import soundfile

import rtnb
from rtnb import _audiofile, batch, cli, serve
from rtnb.peer import handle

ROOT: Final = Path(rtnb.__file__).parents[1]
GREETING: Final = str(ROOT / "samples" / "greeting.wav")
SECRET: Final = "secret-of-this-test-0123"


class FakePeer:
    """Stands where the peer's process would be started."""

    made: Final[list[FakePeer]] = []

    def __init__(self, **options: Any):
        self.options = options
        self.url = "http://127.0.0.1:1/v1"
        self.key = options.get("key")
        self.closed = False
        self.log_text = "one\ntwo"
        self.made.append(self)

    def __enter__(self) -> FakePeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def wait(self, timeout: float | None = None) -> None:
        raise KeyboardInterrupt


class FakeServer:
    """Stands where page and token endpoint would be served."""

    made: Final[list[FakeServer]] = []
    url = "http://127.0.0.1:2/"
    token_url = "http://127.0.0.1:2/session"
    base_url = "http://127.0.0.1:2/v1"

    def __init__(self, target: Any, **options: Any):
        self.target = target
        self.options = options
        self.closed = False
        self.access_token = options["access_token"] or ("made-token" if options["public"] else None)
        self.warning = "It is plain HTTP." if options["host"] == "0.0.0.0" else None
        self.made.append(self)

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def wait(self, timeout: float | None = None) -> bool:
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> list[FakeServer]:
    """No test of this file but the last ones serves HTTP."""
    FakeServer.made.clear()
    monkeypatch.setattr(serve, "TokenServer", FakeServer)
    return FakeServer.made


@pytest.fixture(autouse=True)
def peers(monkeypatch: pytest.MonkeyPatch) -> list[FakePeer]:
    """No test of this file but the last ones starts a peer in its own process."""
    FakePeer.made.clear()
    monkeypatch.setattr(handle, "Peer", FakePeer)
    return FakePeer.made


def answered(*, status: str = "completed", failures: tuple[Any, ...] = ()) -> batch.Batch:
    """Return a batch of one turn."""
    reply = SimpleNamespace(duration=2.203)
    turn = SimpleNamespace(
        name="greeting",
        transcript="Hello!",
        status=status,
        latency=SimpleNamespace(first_audio=0.612),
        reply=reply,
        voice="marin",
    )
    out = batch.Batch([turn])  # type: ignore[list-item]
    out.folders = [Path("runs/one")]
    out.failures = list(failures)
    return out


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Replay nothing: keep what was asked, and answer with ``asked["batch"]``."""
    kept: dict[str, Any] = {"batch": answered()}

    def replay(prompts: Any, endpoint: Any, **options: Any) -> Any:
        if isinstance(kept["batch"], BaseException):
            raise kept["batch"]
        kept.update(prompts=prompts, endpoint=endpoint, options=options)
        return kept["batch"]

    monkeypatch.setattr(batch, "replay", replay)
    yield kept


def exit_code(*arguments: str) -> int:
    """Run the command line as a shell would see it."""
    try:
        return cli.main(arguments)
    except SystemExit as leaving:
        return int(leaving.code or 0)


# --- arguments -----------------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version."""
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"rtnb {rtnb.__version__}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], ["replay", "serve", "--version"]),
        (["replay"], ["PROMPT", "--to", "--voice", "--model", "--out", "openai", "--concurrency"]),
        (["serve"], ["--host", "--port", "127.0.0.1", "8177", "--key", "RTNB_PEER_KEY"]),
        (["serve"], ["--voice", "--script", "--replay", "--mode", "--reply-after", "--log"]),
        (["serve"], ["--to", "--model", "--public", "RTNB_ACCESS_TOKEN", "--allow-origin"]),
    ],
)
def test_help(command: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` names every option, and is no failure."""
    assert exit_code(*command, "--help") == 0
    shown = capsys.readouterr().out
    assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["play"],
        ["replay"],
        ["replay", GREETING, "--speed", "2"],
        ["serve", "--port", "x"],
        ["serve", "--voice", "parrot", "--script", "f.yaml"],
        ["serve", "--mode", "telephone"],
    ],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is not understood is code 2, with the usage."""
    assert exit_code(*arguments) == 2
    assert capsys.readouterr().err.startswith("usage: rtnb")


def test_prompts_go_to_a_peer_by_default(asked: dict[str, Any], peers: list[FakePeer]) -> None:
    """Without `--to` a peer is started, called, and closed."""
    assert exit_code("replay", GREETING, GREETING) == 0
    assert asked["prompts"] == [rtnb.Clip.read(GREETING)] * 2
    assert asked["endpoint"] is peers[0]
    assert peers[0].closed
    assert asked["options"] == {"voices": None, "model": None, "out": None, "concurrency": 1}


@pytest.mark.parametrize(
    ("to", "endpoint"), [("openai", None), ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1")]
)
def test_prompts_go_where_they_are_told(
    to: str, endpoint: str | None, asked: dict[str, Any], peers: list[FakePeer]
) -> None:
    """`--to openai` is the default endpoint, a URL is itself; no peer is started."""
    assert exit_code("replay", GREETING, "--to", to) == 0
    assert (asked["endpoint"], peers) == (endpoint, [])


def test_options_are_passed_on(asked: dict[str, Any]) -> None:
    """Voice, model, folder and concurrency are those of `rtnb.replay`."""
    given = ["--voice", "ash", "--model", "m", "--out", "runs", "--concurrency", "4"]
    assert exit_code("replay", GREETING, *given) == 0
    assert asked["options"] == {"voices": "ash", "model": "m", "out": "runs", "concurrency": 4}


# --- what is printed, and how it ends ------------------------------------------------------------


def test_a_table_is_printed(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Prompt, transcript, first audio and duration in columns, then the run."""
    assert exit_code("replay", GREETING) == 0
    assert capsys.readouterr().out.splitlines() == [
        "prompt    voice  transcript  first audio  duration",
        "greeting  marin  Hello!      0.61 s       2.20 s",
        f"run: {Path('runs/one')}",
    ]


def test_a_prompt_is_read_once(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was checked before anything starts is what is played, under the file's name."""
    opened: list[Path] = []
    really = _audiofile.read
    monkeypatch.setattr(_audiofile, "read", lambda path: opened.append(path) or really(path))
    assert exit_code("replay", GREETING) == 0
    assert opened == [Path(GREETING)]
    assert asked["prompts"][0].name == "greeting"


def test_a_narrow_console_shows_what_it_can(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transcript in letters that the console lacks is printed with question marks."""
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    monkeypatch.setattr(sys, "stdout", console)
    asked["batch"][0].transcript = "18 °C, 東京"
    assert exit_code("replay", GREETING) == 0
    console.seek(0)
    assert "18 ?C, ??" in console.read()


def test_a_turn_without_an_answer_is_a_failure(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 1, and the table says why."""
    asked["batch"] = answered(status="no_reply")
    assert exit_code("replay", GREETING) == 1
    assert "(no_reply) Hello!" in capsys.readouterr().out


def test_a_call_that_failed_is_a_failure(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 1; the others' table is printed, and the reason on stderr."""
    asked["batch"] = answered(failures=(("greeting", rtnb.CallError("It broke.")),))
    assert exit_code("replay", GREETING) == 1
    printed = capsys.readouterr()
    assert printed.err == "rtnb: greeting: It broke.\n"
    assert "0.61 s" in printed.out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (rtnb.UdpBlockedError("No packet."), 1, "rtnb: No packet.\n"),
        (rtnb.ConfigurationError("No such voice."), 2, "rtnb: No such voice.\n"),
        (rtnb.MissingKeyError("No key."), 2, "rtnb: No key.\n"),
        (KeyboardInterrupt(), 130, "rtnb: interrupted\n"),
    ],
)
def test_an_error_is_one_line(
    error: BaseException,
    code: int,
    said: str,
    asked: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    peers: list[FakePeer],
) -> None:
    """No traceback: a sentence on stderr and a code; the peer is closed all the same."""
    asked["batch"] = error
    assert exit_code("replay", GREETING) == code
    assert capsys.readouterr().err == said
    assert peers[0].closed


def test_a_prompt_that_is_missing_starts_nothing(
    asked: dict[str, Any], peers: list[FakePeer], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be played is told before anything is started."""
    assert exit_code("replay", GREETING, "missing.wav") == 1
    assert capsys.readouterr().err == (
        "rtnb: There is no audio file 'missing.wav'; check the path.\n"
    )
    assert peers == []
    assert "prompts" not in asked


def test_openai_without_a_key_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the variable, and nothing is called."""
    assert exit_code("replay", GREETING, "--to", "openai") == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_serving_prints_its_url_and_ends_with_an_interrupt(
    peers: list[FakePeer], servers: list[FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupt is how a server is meant to end: code 0."""
    assert exit_code("serve", "--host", "127.0.0.2", "--port", "0", "--model", "m") == 0
    assert given(peers) == {"mode": "openai"}
    assert servers[0].target is peers[0]
    assert servers[0].options == {
        "host": "127.0.0.2",
        "port": 0,
        "model": "m",
        "public": False,
        "access_token": None,
        "allow_origins": [],
    }
    assert capsys.readouterr().out == (
        "rtnb serves http://127.0.0.1:2/v1\n"
        "It speaks by the voice default, takes any key, and ends with Ctrl-C.\n"
        "Connect with rtnb.connect('http://127.0.0.1:2/v1'), or any client with that base URL.\n"
        "Talk to it in a browser: http://127.0.0.1:2/\n"
        "Ephemeral keys, for rtnb.connect(token_url=...) and pages: http://127.0.0.1:2/session\n"
    )
    assert servers[0].closed and peers[0].closed


def test_serving_for_openai_starts_no_peer(
    peers: list[FakePeer], servers: list[FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """The page and the keys are OpenAI's, and it is said that calls cost money."""
    assert exit_code("serve", "--to", "openai") == 0
    assert (peers, servers[0].target, servers[0].options["port"]) == ([], "openai", 8177)
    shown = capsys.readouterr().out
    assert shown.startswith("rtnb serves http://127.0.0.1:2/\n") and "costs money" in shown


@pytest.mark.parametrize("option", [["--voice", "parrot"], ["--key", SECRET], ["--log"]])
def test_options_of_a_peer_are_refused_without_one(
    option: list[str], servers: list[FakeServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--to` they would do nothing; the sentence shows no key."""
    assert exit_code("serve", "--to", "openai", *option) == 2
    assert servers == []
    assert capsys.readouterr().err == (
        f"rtnb: {option[0]} is for a peer, and --to names another server.\n"
    )


def test_another_host_has_to_be_meant(
    peers: list[FakePeer], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `--public` nothing is started on an address that others reach."""
    assert exit_code("serve", "--host", "0.0.0.0") == 2
    assert "--public" in capsys.readouterr().err
    assert peers == []


def test_a_made_access_token_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The link has it in its fragment, and plain HTTP is warned of on stderr."""
    assert exit_code("serve", "--host", "0.0.0.0", "--public") == 0
    shown = capsys.readouterr()
    assert "browser: http://127.0.0.1:2/#access=made-token\n" in shown.out
    assert shown.out.count("made-token") == 1
    assert shown.err == "rtnb: It is plain HTTP.\n"


def test_an_access_token_of_the_environment_is_not_shown(
    servers: list[FakeServer],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever set it knows it; where nothing is public it is not used."""
    monkeypatch.setenv("RTNB_ACCESS_TOKEN", SECRET)
    assert exit_code("serve", "--public", "--allow-origin", "https://voice.example") == 0
    assert servers[0].options["access_token"] == SECRET
    assert servers[0].options["allow_origins"] == ["https://voice.example"]
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    assert "/#access=ACCESS_TOKEN\n" in shown.out
    exit_code("serve")
    assert servers[1].options["access_token"] is None


def given(peers: list[FakePeer]) -> dict[str, Any]:
    """Return what the one peer was asked for."""
    return {name: value for name, value in peers[0].options.items() if value is not None}


def test_serving_takes_what_a_peer_takes(peers: list[FakePeer]) -> None:
    """Voice, delay and shape are those of `rtnb.Peer`."""
    words = ["--voice", "parrot", "--reply-after", "0.5", "--mode", "azure"]
    assert exit_code("serve", *words) == 0
    assert given(peers) == {"voice": "parrot", "reply_after": 0.5, "mode": "azure"}


def test_serving_replays_a_run(peers: list[FakePeer], capsys: pytest.CaptureFixture[str]) -> None:
    """The folder goes to the peer, which checks it."""
    assert exit_code("serve", "--replay", "runs/first") == 0
    assert given(peers)["replay"] == "runs/first"
    assert "It replays runs/first, takes any key" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--key", SECRET], []], ids=["option", "variable"])
def test_a_served_key_is_used_and_never_shown(
    words: list[str],
    peers: list[FakePeer],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the command line or the environment; what is printed stands KEY in its place."""
    if not words:
        monkeypatch.setenv("RTNB_PEER_KEY", SECRET)
    assert exit_code("serve", *words) == 0
    assert peers[0].options["key"] == SECRET
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    assert "api_key=KEY" in shown.out


def test_an_empty_key_is_not_any_key(
    peers: list[FakePeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--key "$KEY"` without a KEY must open nothing: the peer refuses it."""
    monkeypatch.setenv("RTNB_PEER_KEY", SECRET)
    exit_code("serve", "--key", "")
    assert peers[0].options["key"] == ""


def test_serving_speaks_by_a_script(tmp_path: Path, peers: list[FakePeer]) -> None:
    """The file is read here, and goes to the peer as a voice."""
    script = tmp_path / "rules.yaml"
    script.write_text("- say: Hello.\n")
    assert exit_code("serve", "--script", str(script)) == 0
    assert repr(peers[0].options["voice"]) == "<Script of 1 rule>"


@pytest.mark.parametrize("rules", [None, "- shout: Hello.\n", "- [\n"])
def test_a_script_that_cannot_be_used_is_one_sentence(
    rules: str | None, tmp_path: Path, peers: list[FakePeer], capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 2, and nothing is started."""
    script = tmp_path / "rules.yaml"
    if rules is not None:
        script.write_text(rules)
    assert exit_code("serve", "--script", str(script)) == 2
    said = capsys.readouterr().err
    assert said.startswith("rtnb: ") and said.count("\n") == 1 and "rules.yaml" in said
    assert peers == []


def test_serving_shows_the_log_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """Whole lines only: half a line may be half a key."""
    assert exit_code("serve", "--log") == 0
    assert capsys.readouterr().err == "one\n"


# --- for real ------------------------------------------------------------------------------------


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rtnb.cli", *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """One real replay: the folder it ran in, its exit code, and what it printed."""
    folder = tmp_path_factory.mktemp("replay")
    with start("replay", GREETING, "--out", "run", cwd=folder) as process:
        out, err = process.communicate(timeout=60)
    return folder, process.returncode, out, err


def test_a_real_replay(replayed: tuple[Path, int, str, str]) -> None:
    """One command, no account: a transcript, a latency, and where the run is."""
    cwd, code, out, err = replayed
    assert (code, err) == (0, "")
    head, row, folder = out.splitlines()
    assert head.split() == ["prompt", "voice", "transcript", "first", "audio", "duration"]
    assert re.fullmatch(
        r"greeting  marin  Hello! I am doing fine today\.  \d\.\d\d s +\d\.\d\d s", row
    )
    assert folder == f"run: {cwd / 'run'}"


def test_a_real_replay_leaves_a_run(replayed: tuple[Path, int, str, str]) -> None:
    """The folder has both sides, the events and the turn's clips; it opens again."""
    folder = replayed[0] / "run"
    assert rtnb.Clip.read(folder / "turns" / "001-reply.wav").level > -35
    assert rtnb.Clip.read(folder / "turns" / "001-prompt.wav").level > -35
    assert soundfile.info(folder / "audio.wav").channels == 2
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert {"session.created", "response.done"} <= {one["event"]["type"] for one in events}
    assert rtnb.open_run(folder).turns[0].transcript == "Hello! I am doing fine today."


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_server(number: int, tmp_path: Path) -> None:
    """`rtnb serve` answers where it says, and an interrupt or `kill` ends it with code 0."""
    with start("serve", "--port", "0", "--key", SECRET, "--log", cwd=tmp_path) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]
        address = f"{url}/realtime/client_secrets"
        with closing(requests.post(address, json={}, timeout=10)) as refused:
            assert refused.status_code == 401
        head = {"Authorization": f"Bearer {SECRET}"}
        with closing(requests.post(address, json={}, headers=head, timeout=10)) as got:
            assert got.status_code == 200
        said = "".join(process.stdout.readline() for _ in range(4))
        page, keys = re.findall(r"http://127.0.0.1:\d+/(?:session)?$", said, re.MULTILINE)
        for served in (page, keys):
            with closing(requests.get(served, timeout=10)) as got:
                assert got.status_code == 200 and SECRET not in got.text
        process.send_signal(number)
        assert process.wait(30) == 0
        assert process.stderr is not None
        log = process.stderr.read()
        assert "listening on 127.0.0.1" in log and "Traceback" not in log and SECRET not in log
    with pytest.raises(requests.ConnectionError):
        requests.post(address, json={}, timeout=10)
