"""README and docs say what is true: code runs, commands are CI's, no name is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import rtnb

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_the_first_python_block_runs(tmp_path: Path) -> None:
    """The ten lines do what they say, and leave a reply on disk."""
    done = run_python(blocks("python")[0], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The capital of France is Paris. 0.")
    assert rtnb.Clip.read(tmp_path / "reply.wav").duration > 1


def test_the_second_python_block_runs(tmp_path: Path) -> None:
    """What a session can do, it does."""
    begin = "import rtnb\npeer = rtnb.Peer()\nsession = rtnb.connect(peer)\n"
    begin += 'prompt = rtnb.sample("greeting")\n'
    code = blocks("python")[1].replace("rtnb.samples()", "rtnb.samples()[:1]")
    end = "print([t.status for t in turns], len(run.turns))\nsession.close()\npeer.close()\n"
    done = run_python(begin + code + end, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['completed', 'completed'] 3"


def test_the_third_python_block_runs(tmp_path: Path) -> None:
    """What it shows in a cell can be made in any program."""
    begin = "import rtnb\npeer = rtnb.Peer()\nsession = rtnb.connect(peer)\n"
    end = "print(len(rtnb.sessions()))\nsession.close()\npeer.close()\n"
    done = run_python(begin + blocks("python")[2] + end, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("1\n", "")


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
