"""The notebooks as they are saved, and what a kernel does to a call: reruns, interrupts, restarts.

What they show when they run is in test_tutorials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from kernels import NAMES, NOTEBOOKS, Kernel, code_cells, saved

import rtnb

ANSWER = "The capital of France is Paris."

PIP_WATCHED = """
import importlib

def pip(line):
    print("pip", line)

get_ipython().register_magic_function(pip)
importlib.reload(importlib.util)
"""

ASK_FOR_A_STORY = """
import threading

def tell():
    session.events.wait_for("output_audio_buffer.started")
    session.turns[-1].wait_for_audio(0.3)
    print("audible", flush=True)

threading.Thread(target=tell).start()
session.ask(rtnb.sample("tell_me_a_story"))
"""

every_notebook = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel of this test alone, with rtnb imported."""
    one = Kernel(tmp_path)
    try:
        one.run("import rtnb")
        yield one
    finally:
        one.close()


# --- the notebooks as they are saved -------------------------------------------------------------


def test_the_index_names_every_notebook() -> None:
    """The notebooks' README links to each of them, in order, and to nothing else."""
    index = (NOTEBOOKS / "README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| \[(\w+)\]\(\1\.ipynb\)", index, re.MULTILINE)) == NAMES


@every_notebook
def test_a_saved_notebook_has_never_run(name: str) -> None:
    """It holds no outputs and no execution counts."""
    for cell in code_cells(saved(name)):
        assert (cell.outputs, cell.execution_count) == ([], None)


@every_notebook
def test_a_saved_notebook_is_valid_and_its_cells_have_names(name: str) -> None:
    """It is nbformat 4.5, and the ids of its cells are words that stay."""
    notebook = saved(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id) for cell in notebook.cells)
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_a_saved_notebook_names_no_machine_and_no_key(name: str) -> None:
    """No absolute path and nothing like a key is in the file."""
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"""["'`\s(=](/|~/|[A-Za-z]:\\\\)\w""", text)
    assert not re.search(r"\b(sk-|ek_)\w", text)


@every_notebook
def test_a_notebook_begins_with_what_it_is_for(name: str) -> None:
    """The first cell says what you do, learn and need, and how OpenAI is called instead."""
    notebook = saved(name)
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    assert all(f"What you'll {word}." in opening.replace("**", "") for word in ("do", "learn"))
    assert "What you'll need." in opening
    assert any("To call OpenAI instead" in cell.source for cell in notebook.cells[1:])


def test_the_first_cell_installs_only_what_is_missing(kernel: Kernel) -> None:
    """%pip runs where rtnb cannot be imported, with the one place to edit, and else not."""
    for name in NAMES:
        install = code_cells(saved(name))[0].source
        kernel.run(PIP_WATCHED)
        assert kernel.run(install) == ""
        kernel.run("importlib.util.find_spec = lambda name: None")
        assert kernel.run(install) == "pip install -q .."


# --- calls and kernels ---------------------------------------------------------------------------


def test_the_same_cell_run_again_closes_its_earlier_call(kernel: Kernel, peer: rtnb.Peer) -> None:
    """The call of another cell stays."""
    connect = f"made.append(rtnb.connect({peer.url!r}))"
    kernel.run("made = []", cell="start")
    kernel.run(connect, cell="abc")
    kernel.run(connect, cell="def")
    kernel.run(connect, cell="abc")
    assert kernel.run("print([s.state for s in made])") == "['closed', 'open', 'open']"
    assert kernel.run("print(rtnb.sessions() == made[1:])") == "True"


def test_two_calls_of_one_run_of_a_cell_stay(kernel: Kernel, peer: rtnb.Peer) -> None:
    """Only an earlier run of the cell is cleaned up, not what the same run made before."""
    kernel.run(f"made = [rtnb.connect({peer.url!r}) for _ in range(2)]", cell="abc")
    assert kernel.run("print([s.state for s in rtnb.sessions()])") == "['open', 'open']"


def test_an_interrupted_ask_leaves_a_session_that_answers(kernel: Kernel) -> None:
    """KeyboardInterrupt ends the cell in mid-reply; peer and call live, and the next ask works."""
    kernel.run("peer = rtnb.Peer(); session = rtnb.connect(peer)")
    story = kernel.send(ASK_FOR_A_STORY)
    kernel.outcome(story, until=lambda ran: "audible" in ran.text)
    kernel.manager.interrupt_kernel()
    assert kernel.outcome(story).error == "KeyboardInterrupt"
    again = 'print(session.ask(rtnb.sample("capital_of_france")).transcript)'
    assert kernel.run(again) == ANSWER


def test_a_turn_is_awaited_in_a_cell(kernel: Kernel, peer: rtnb.Peer) -> None:
    """`await session.send(...)` gives the turn when it is over."""
    kernel.run(f"session = rtnb.connect({peer.url!r})")
    kernel.run('turn = await session.send("What is the capital of France?")')
    assert kernel.run("print(turn.status, turn.transcript)") == f"completed {ANSWER}"


def test_a_killed_kernel_leaves_a_readable_run(
    kernel: Kernel, peer: rtnb.Peer, tmp_path: Path
) -> None:
    """A restart in mid-reply loses nothing that had been heard."""
    folder = tmp_path / "run"
    kernel.run(f"session = rtnb.connect({peer.url!r}, record_to={str(folder)!r})")
    kernel.run('turn = session.send(rtnb.sample("tell_me_a_story")).wait_for_audio(1.0)')
    kernel.kill()
    run = rtnb.open_run(folder)
    assert run.turns[0].transcript.startswith("Once upon a time")
    assert run.turns[0].reply.duration > 0.9
