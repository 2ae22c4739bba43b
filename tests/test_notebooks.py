"""The notebooks in a real kernel, and what a kernel does to a call: reruns, interrupts, restarts."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

import rtnb

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = ("00_handshake", "01_first_call")
ANSWER = "The capital of France is Paris."
KEY = "sk-test-only-0123456789abcdef"
WITHIN = 60.0  # seconds for a cell
REPLIES = Path(rtnb.__file__).parent / "peer" / "replies"
TEXT_SUFFIXES = (".json", ".jsonl", ".csv", ".log", ".txt")

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

both_notebooks = pytest.mark.parametrize("name", NAMES)


# --- kernels -------------------------------------------------------------------------------------


def own_interpreter() -> KernelSpecManager:
    """Return what finds this interpreter's kernel, whatever else the user has installed."""
    return KernelSpecManager(kernel_dirs=[])


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a kernel: rtnb from where it is tested, its files in `folder`."""
    kept = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}  # figures go into cells
    places = {"TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython")}
    return kept | places | {"PYTHONPATH": str(Path(rtnb.__file__).parents[1])}


@dataclass
class Ran:
    """What became of one executed cell."""

    text: str = ""
    error: str | None = None
    traceback: list[str] = field(default_factory=list)


class Kernel:
    """A real kernel and a front end that executes cells in it."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_spec_manager=own_interpreter())
        self.manager.start_kernel(env=environment(folder), cwd=str(folder))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WITHIN)

    def send(self, code: str, *, cell: str = "cell") -> str:
        """Ask for the execution of a cell as JupyterLab does, and return the request's id."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def outcome(self, request: str, *, until: Callable[[Ran], bool] = lambda ran: False) -> Ran:
        """Return what a cell has shown when it has ended, or when `until` holds."""
        ran = Ran()
        while not until(ran):
            message = self.client.get_iopub_msg(timeout=WITHIN)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    ran.text += content["text"]
                case "error":
                    ran.error, ran.traceback = content["ename"], content["traceback"]
                case "status" if content["execution_state"] == "idle":
                    break
        return ran

    def run(self, code: str, *, cell: str = "cell") -> str:
        """Execute a cell that must not fail, and return what it printed."""
        ran = self.outcome(self.send(code, cell=cell))
        assert ran.error is None, "\n".join(ran.traceback)
        return ran.text.strip()

    def kill(self) -> None:
        """End the kernel as "Restart" does, without a word of warning."""
        self.manager.shutdown_kernel(now=True)

    def close(self) -> None:
        """End the kernel and its channels."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


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


def saved(name: str) -> NotebookNode:
    """Return a notebook as it is in the repository."""
    notebook: NotebookNode = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@both_notebooks
def test_a_saved_notebook_has_never_run(name: str) -> None:
    """It holds no outputs and no execution counts."""
    for cell in code_cells(saved(name)):
        assert (cell.outputs, cell.execution_count) == ([], None)


@both_notebooks
def test_a_saved_notebook_is_valid_and_its_cells_have_names(name: str) -> None:
    """It is nbformat 4.5, and the ids of its cells are words that stay."""
    notebook = saved(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id) for cell in notebook.cells)
    assert notebook.metadata.kernelspec.name == "python3"


@both_notebooks
def test_a_saved_notebook_names_no_machine_and_no_key(name: str) -> None:
    """No absolute path and nothing like a key is in the file."""
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"""["'`\s(=](/|~/|[A-Za-z]:\\\\)\w""", text)
    assert not re.search(r"\b(sk-|ek_)\w", text)


@both_notebooks
def test_a_notebook_begins_with_what_it_is_for(name: str) -> None:
    """The first cell says what you do, learn and need, and how OpenAI is called instead."""
    notebook = saved(name)
    opening = notebook.cells[0].source
    assert opening.startswith("# ")
    assert all(f"What you'll {word}." in opening.replace("**", "") for word in ("do", "learn"))
    assert "What you'll need." in opening
    assert any("To call OpenAI instead" in cell.source for cell in notebook.cells[1:])


# --- the notebooks as they run -------------------------------------------------------------------


@dataclass
class Executed:
    """A notebook with its outputs, and the folder in which its files are."""

    notebook: NotebookNode
    folder: Path

    def outputs(self, cell_id: str) -> list[NotebookNode]:
        """Return the outputs of a cell."""
        return next(cell.outputs for cell in self.notebook.cells if cell.id == cell_id)

    def printed(self, cell_id: str) -> str:
        """Return what a cell shows as plain text."""
        outputs = self.outputs(cell_id)
        return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs)

    def rendered(self, cell_id: str, kind: str = "text/html") -> str:
        """Return what a cell shows as HTML, or as another MIME type."""
        return "".join(o.get("data", {}).get(kind, "") for o in self.outputs(cell_id))

    def shown(self) -> str:
        """Return all that would be saved with the notebook besides its source."""
        parts = [self.notebook.metadata]
        for cell in self.notebook.cells:
            parts += [cell.metadata, *cell.get("outputs", [])]
        return json.dumps(parts, ensure_ascii=False)


def execute(name: str, folder: Path, **variables: str) -> Executed:
    """Run a notebook top to bottom in a kernel of its own, with its files in `folder`."""
    notebook = saved(name)
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=own_interpreter()),
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        timeout=int(WITHIN),
    )
    client.execute(env=environment(folder) | variables, cleanup_kc=True)
    return Executed(notebook, folder)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Executed]:
    """Both notebooks as they have run, with a standard key in the environment."""
    return {
        name: execute(name, tmp_path_factory.mktemp(name), OPENAI_API_KEY=KEY) for name in NAMES
    }


@pytest.fixture
def handshake(executed: dict[str, Executed]) -> Executed:
    """The executed 00_handshake."""
    return executed["00_handshake"]


@pytest.fixture
def first_call(executed: dict[str, Executed]) -> Executed:
    """The executed 01_first_call."""
    return executed["01_first_call"]


@both_notebooks
def test_a_notebook_runs_top_to_bottom(executed: dict[str, Executed], name: str) -> None:
    """Every code cell has run, in order, and none shows an error."""
    cells = code_cells(executed[name].notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@both_notebooks
def test_an_executed_notebook_holds_no_key(executed: dict[str, Executed], name: str) -> None:
    """Neither outputs, widget state nor metadata hold a key or an ICE password."""
    shown = executed[name].shown()
    assert "ek_" not in shown
    assert KEY not in shown
    assert not re.search("ice-pwd:(?!•••)", shown)


@both_notebooks
def test_the_files_of_a_notebook_hold_no_key(executed: dict[str, Executed], name: str) -> None:
    """Nor does anything that it has written."""
    files = [path for path in executed[name].folder.rglob("*") if path.is_file()]
    written = {path: path.read_bytes() for path in files}
    assert any(path.suffix == ".wav" for path in written)
    assert not [path for path, content in written.items() if KEY.encode() in content]
    texts = {path: content for path, content in written.items() if path.suffix in TEXT_SUFFIXES}
    assert not [path for path, content in texts.items() if b"ek_" in content]


def test_the_handshake_offers_this_machine_only(handshake: Executed) -> None:
    """The offer is shown by section, its only address is 127.0.0.1, its password is masked."""
    offer = handshake.rendered("offer")
    assert {"audio", "application"} <= set(re.findall(r"<summary>(\w+)", offer))
    assert set(re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+)", offer)) == {"127.0.0.1"}
    assert "a=ice-pwd:•••" in offer


def test_the_handshake_shows_events_until_the_reply_is_over(handshake: Executed) -> None:
    """The types of events are listed in order, up to the end of the sound."""
    assert handshake.printed("open").split() == ["session.created"]
    types = handshake.printed("talk").split()
    assert types[0] == "input_audio_buffer.speech_started"
    assert types.index("response.created") < types.index("response.done")
    assert types[-1] == "output_audio_buffer.stopped"


def test_the_handshake_gets_an_answer(handshake: Executed) -> None:
    """The transcript of the reply is printed."""
    assert handshake.printed("transcript").strip() == ANSWER


def test_the_handshake_leaves_a_wav_with_the_spoken_reply(handshake: Executed) -> None:
    """The last cell is a player of the WAV, in which the reply is heard to its end."""
    assert "<audio" in handshake.rendered("reply")
    (path,) = handshake.folder.glob("*/reply.wav")
    clip = rtnb.Clip.read(path)
    reply = rtnb.Clip.read(REPLIES / "capital_of_france.wav")
    assert clip.duration > reply.duration
    assert clip[clip.duration - reply.duration :].level == pytest.approx(reply.level, abs=3)


def test_five_lines_get_a_spoken_answer(first_call: Executed) -> None:
    """The first cell after the installation has five lines, and shows transcript and latency."""
    call = next(cell for cell in first_call.notebook.cells if cell.id == "call")
    assert len([line for line in call.source.splitlines() if line.strip()]) == 5
    transcript, first_audio = ast.literal_eval(first_call.printed("call"))
    assert transcript == ANSWER
    assert 0.2 < first_audio < 3


def test_the_first_call_can_be_heard_and_seen(first_call: Executed) -> None:
    """The reply is a player in its cell, the plot is a figure, the events are a table."""
    assert "<audio" in first_call.rendered("reply")
    assert first_call.rendered("plot", "image/png")
    assert "response.done" in first_call.rendered("events")


def test_the_first_call_is_kept(first_call: Executed) -> None:
    """The saved run opens complete, with its turns."""
    assert "2 turns" in first_call.printed("save")
    assert "not closed" not in first_call.printed("save")
    assert ANSWER in first_call.printed("run")


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
