"""README and docs say what is true: code runs, commands are CI's, no name is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

import rtnb

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
Ran: TypeAlias = dict[str, tuple[subprocess.CompletedProcess[str], Path]]


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def command(number: int) -> str:
    """Return one of the README's two commands."""
    return blocks("console")[number].splitlines()[0].removeprefix("$ ")


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    env = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )


SESSION = "session = rtnb.connect(peer)\n"
CLOSE = "session.close()\npeer.close()\n"
# what is said takes no time; only the reply that is interrupted has to be there for longer
BRIEF = """
peer = rtnb.Peer(voice=lambda turn: rtnb.Clip.tone(440, 4.0 if turn.number == 2 else 0.4))
prompt = rtnb.sample("greeting")[:0.7].write("hello.wav")
"""


def programs() -> dict[str, str]:
    """Return the README's Python blocks as programs, each with what has to come before and after."""
    first, second, figures, third, voice, page, fourth = blocks("python")
    second = second.replace("rtnb.samples()", "[prompt]")
    statuses = "print([t.status for t in turns], len(run.turns))\n"
    fourth = fourth.replace("session.ask(", "said = session.ask(")
    fourth = fourth.replace("    peer.log()", "    log = peer.log()")
    said = "print(said, len(log.calls[0].departures) > 20)\n"
    shown = "print(turns.latency().answered, turn.explain().cause)\n"
    begin, end = (
        f"import rtnb\npeer = rtnb.Peer()\n{SESSION}",
        f"print(len(rtnb.sessions()))\n{CLOSE}",
    )
    return {
        "first": first,
        "second": f"import rtnb{BRIEF}{SESSION}{second}{figures}{shown}{statuses}{CLOSE}",
        "third": begin + third + end,
        "voice": f"import rtnb\npeer = rtnb.Peer()\n{voice}print(session)\n{page}{end}",
        "fourth": f"import rtnb\n{fourth}{said}",
    }


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
) -> Ran:
    """What became of each block, and its folder; three of them run at a time."""
    code = programs()
    folders = [tmp_path_factory.mktemp(name) for name in code]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(run_python, code.values(), folders))
    return dict(zip(code, zip(done, folders, strict=True), strict=True))


def test_the_first_python_block_runs(ran: Ran) -> None:
    """The ten lines do what they say, and leave a reply on disk."""
    done, folder = ran["first"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The capital of France is Paris. 0.")
    assert rtnb.Clip.read(folder / "reply.wav").duration > 1


def test_the_second_python_block_runs(ran: Ran) -> None:
    """What a session can do, it does."""
    done, _ = ran["second"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["2 answered", "['completed', 'completed'] 3"]


def test_the_third_python_block_runs(ran: Ran) -> None:
    """What it shows in a cell can be made in any program."""
    done, _ = ran["third"]
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_the_blocks_on_voice_run(ran: Ran) -> None:
    """A microphone, a speaker and a token endpoint are made and used without a page, too."""
    done, _ = ran["voice"]
    assert done.returncode == 0, done.stderr
    assert "microphone" in done.stdout
    assert "speaker" in done.stdout


def test_the_fourth_python_block_runs(ran: Ran) -> None:
    """A peer says what a function says, and its log has every packet."""
    done, _ = ran["fourth"]
    assert (done.stdout, done.stderr) == ("You are number 1. True\n", "")


@pytest.mark.parametrize("image", re.findall(r"!\[.*?\]\((.*?)\)", README))
def test_the_pictures_are_there(image: str) -> None:
    """Each picture of the README is in the repository, 1,000 pixels wide."""
    content = (ROOT / image).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20], "big") == 1000


def test_ci_calls_the_readme_test_command() -> None:
    """What the README says runs the whole suite is what CI runs."""
    assert command(1) in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_first_command_names_a_bundled_sample() -> None:
    """The file that the first command plays is there."""
    sample = command(0).split()[-1]
    assert (ROOT / sample).is_file()


@pytest.mark.parametrize("name", [n for n in rtnb.__all__ if not n.startswith("_")])
def test_every_public_name_is_in_the_docs(name: str) -> None:
    """docs/api.md has a line for each public name."""
    assert f"| `rtnb.{name}` | " in (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_the_api_page_is_up_to_date() -> None:
    """docs/api.md is what its script would write now."""
    code = "import sys; sys.path.insert(0, 'docs'); import make_api; print(make_api.text(), end='')"
    done = run_python(code, ROOT)
    assert done.stdout == (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
