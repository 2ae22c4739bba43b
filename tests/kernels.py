"""Real kernels for tests: one that executes cells, and one that executes a whole notebook."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

import rtnb

__all__ = ["NAMES", "NOTEBOOKS", "Executed", "Kernel", "Ran", "code_cells", "execute", "saved"]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = tuple(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
WITHIN = 60.0  # seconds for a cell


# --- one kernel ----------------------------------------------------------------------------------


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


# --- a whole notebook ----------------------------------------------------------------------------


def saved(name: str) -> NotebookNode:
    """Return a notebook as it is in the repository."""
    notebook: NotebookNode = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that are executed."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@dataclass
class Executed:
    """A notebook with its outputs, and the folder in which its files are."""

    notebook: NotebookNode
    folder: Path

    def outputs(self, cell_id: str) -> list[NotebookNode]:
        """Return the outputs of a cell."""
        return next(cell.outputs for cell in self.notebook.cells if cell.id == cell_id)

    def printed(self, cell_id: str) -> str:
        """Return what a cell prints and its last value as plain text; what it displays is left out."""
        parts = []
        for output in self.outputs(cell_id):
            if output.output_type == "stream":
                parts.append(output.text)
            elif output.output_type == "execute_result":
                parts.append(output.data.get("text/plain", ""))
        return "".join(parts)

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
    env = environment(folder) | variables
    with (folder / "kernel.log").open("wb") as log:
        # with a loop that is closed at the end, in whatever thread this is
        asyncio.run(client.async_execute(env=env, stderr=log, cleanup_kc=True))
    return Executed(notebook, folder)
