"""A front end without a browser: it speaks the comm protocol to a real kernel, and knows no widget."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

import rtnb

__all__ = ["Gone", "KernelOf", "Model", "Ran", "Rig", "environment", "running_rig"]

WITHIN = 30.0  # seconds for anything that a rig waits for
REFERENCE = "IPY_MODEL_"
VIEW = "application/vnd.jupyter.widget-view+json"

Found = TypeVar("Found")
Buffer = bytes | memoryview


class Gone(AssertionError):
    """What a rig waited for did not come in time."""


# --- kernels -------------------------------------------------------------------------------------


def tested_rtnb(folder: Path) -> Path:
    """Return a folder in which another interpreter finds the tested rtnb, and nothing else."""
    package = Path(rtnb.__file__).parent
    if (package.parent / "pyproject.toml").exists():
        return package.parent
    # installed: beside it are packages for this interpreter, which another must not see
    link = folder / "tested" / "rtnb"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(package, target_is_directory=True)
    return link.parent


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a kernel: rtnb as it is tested, all files in `folder`, no key."""
    left_out = {"MPLBACKEND", "OPENAI_API_KEY"}  # figures go into cells
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    places = {"TMPDIR": temporary, "IPYTHONDIR": folder / "ipython"}
    places["PYTHONPATH"] = tested_rtnb(folder)
    return kept | {name: str(path) for name, path in places.items()}


class KernelOf(KernelSpecManager):
    """Finds one kernel: that of a given interpreter."""

    def __init__(self, python: str = sys.executable) -> None:
        super().__init__()
        self._argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the kernel, whatever name it is asked for by."""
        return KernelSpec(argv=self._argv, display_name=kernel_name, language="python")


# --- models --------------------------------------------------------------------------------------


@dataclass(eq=False)
class Model:
    """What the front end knows of one widget."""

    id: str
    state: dict[str, Any]
    received: list[tuple[Any, list[Buffer]]] = field(default_factory=list)
    closed: bool = False
    changes: int = 0

    def __getitem__(self, trait: str) -> Any:
        return self.state[trait]

    def has(self, **traits: Any) -> bool:
        """Tell whether all these traits have these values."""
        return all(self.state.get(name, REFERENCE) == value for name, value in traits.items())


def put(state: dict[str, Any], path: Sequence[Any], value: Any) -> None:
    """Put a value into nested dictionaries and lists."""
    *parents, last = path
    target: Any = state
    for step in parents:
        target = target[step]
    if isinstance(target, list) and last == len(target):
        target.append(value)
    else:
        target[last] = value


def split(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Buffer]]:
    """Yield where in a state there are binary values, and these."""
    if isinstance(value, bytes | bytearray | memoryview):
        yield path, memoryview(value)
    elif isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for step, part in pairs:
            yield from split(part, (*path, step))


def without_binary(value: Any) -> Any:
    """Return a state as JSON carries it: binary values left out, or None in lists."""
    if isinstance(value, dict):
        binary = bytes | bytearray | memoryview
        return {k: without_binary(v) for k, v in value.items() if not isinstance(v, binary)}
    if isinstance(value, list | tuple):
        return [without_binary(part) for part in value]
    return None if isinstance(value, bytes | bytearray | memoryview) else value


def references(value: Any) -> Iterator[str]:
    """Yield the ids of the models that a value refers to, in order."""
    if isinstance(value, str) and value.startswith(REFERENCE):
        yield value.removeprefix(REFERENCE)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from references(part)


# --- the front end -------------------------------------------------------------------------------


@dataclass
class Ran:
    """What has become of one executed cell."""

    id: str
    text: str = ""
    error: str | None = None
    traceback: list[str] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False


class Rig:
    """A kernel, and all models of the widgets in it.

    Nothing is read from the kernel but in `until` and in what calls it.
    """

    def __init__(self, folder: Path, python: str = sys.executable, *, subshell: bool = False):
        self.manager = KernelManager(kernel_spec_manager=KernelOf(python))
        self.manager.start_kernel(env=environment(folder), cwd=str(folder))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WITHIN)
        self.models: dict[str, Model] = {}
        self.ran: dict[str, Ran] = {}
        self.handled: set[str] = set()
        self.stray: list[str] = []
        self.header = {"subshell_id": self._new_subshell()} if subshell else {}

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    # --- cells

    def send(self, code: str, *, cell: str = "cell") -> Ran:
        """Ask for the execution of a cell as JupyterLab does, and return at once."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        # a cell that fails would else abort the one that is sent next
        content |= {"allow_stdin": False, "stop_on_error": False}
        message = self.client.session.msg("execute_request", content)
        message["metadata"] = {"cellId": cell}
        ran = Ran(str(message["header"]["msg_id"]))
        self.ran[ran.id] = ran
        self.client.shell_channel.send(message)
        return ran

    def run(self, code: str, *, cell: str = "cell", within: float = WITHIN) -> Ran:
        """Execute a cell that must not fail, and return what it has shown."""
        ran = self.send(code, cell=cell)
        self.until(lambda: ran.over, within, f"the end of {code!r}")
        assert ran.error is None, "\n".join(ran.traceback)
        return ran

    def show(self, code: str, *, cell: str = "cell", within: float = WITHIN) -> Model:
        """Execute a cell that must show one widget, and return the widget's model."""
        ran = self.run(code, cell=cell, within=within)
        (view,) = [data[VIEW]["model_id"] for data in ran.shown if VIEW in data]
        return self.models[view]

    # --- models

    def all(self, root: Model | None = None, **traits: Any) -> list[Model]:
        """Return the open models that have these traits, of all or of those below `root`."""
        models = self.within(root) if root else list(self.models.values())
        return [model for model in models if not model.closed and model.has(**traits)]

    def find(self, root: Model | None = None, **traits: Any) -> Model:
        """Return the one open model that has these traits."""
        found = self.all(root, **traits)
        if len(found) != 1:
            raise Gone(f"{len(found)} models have {traits}")
        return found[0]

    def within(self, root: Model) -> list[Model]:
        """Return a model and those that it refers to, directly or not, in order."""
        ids, waiting = list[str](), [root.id]
        while waiting:
            one = waiting.pop(0)
            if one in self.models and one not in ids:
                ids.append(one)
                waiting = [*references(self.models[one].state), *waiting]
        return [self.models[one] for one in ids]

    # --- what a user does

    def set(self, model: Model, **traits: Any) -> str:
        """Change traits as a view does, and return the request's id."""
        parts = list(split(traits))
        paths, buffers = [list(path) for path, _ in parts], [part for _, part in parts]
        state = without_binary(traits)
        model.state |= traits
        return self._send(
            model, {"method": "update", "state": state, "buffer_paths": paths}, buffers
        )

    def click(self, model: Model) -> str:
        """Click a button, and return the request's id."""
        return self.message(model, {"event": "click"})

    def message(self, model: Model, content: Any, buffers: Sequence[Buffer] = ()) -> str:
        """Send a message of the view's own kind, and return the request's id."""
        return self._send(model, {"method": "custom", "content": content}, buffers)

    # --- waiting

    def until(
        self, holds: Callable[[], Found], within: float = WITHIN, what: str = "what was awaited"
    ) -> Found:
        """Take in what the kernel sends until `holds` returns something true; return that."""
        deadline = time.monotonic() + within
        while not (found := holds()):
            left = deadline - time.monotonic()
            try:
                self._take(self.client.get_iopub_msg(timeout=max(left, 0.001)))
            except Empty:
                raise Gone(f"{what} did not come within {within:g} s") from None
            if left < 0:
                raise Gone(f"{what} did not come within {within:g} s, but other messages")
        return found

    def until_handled(self, request: str, within: float = WITHIN) -> None:
        """Wait until the kernel has handled a change, a click or a message."""
        self.until(lambda: request in self.handled, within, "the end of a callback")

    # --- the protocol

    def _send(self, model: Model, data: dict[str, Any], buffers: Sequence[Buffer]) -> str:
        content = {"comm_id": model.id, "data": data}
        message = self.client.session.msg("comm_msg", content)
        message["header"] |= self.header
        message["buffers"] = list(buffers)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def _new_subshell(self) -> str:
        request = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(request)
        reply = self.client.get_control_msg(timeout=WITHIN)
        return str(reply["content"]["subshell_id"])

    def _take(self, message: dict[str, Any]) -> None:
        """Take in one message of the kernel."""
        content, parent = message["content"], message["parent_header"].get("msg_id", "")
        match message["msg_type"]:
            case "comm_open" | "comm_msg" | "comm_close":
                self._take_comm(message["msg_type"], content, message["buffers"])
            case "status" if content["execution_state"] == "idle":
                self.handled.add(parent)
                if parent in self.ran:
                    self.ran[parent].over = True
            case kind:
                self._take_output(kind, content, self.ran.get(parent))

    def _take_output(self, kind: str, content: dict[str, Any], ran: Ran | None) -> None:
        if kind == "stream" and ran:
            ran.text += content["text"]
        elif kind == "stream":
            self.stray.append(content["text"])
        elif kind == "error" and ran:
            ran.error, ran.traceback = content["ename"], content["traceback"]
        elif kind == "error":
            self.stray.extend(content["traceback"])
        elif kind in ("display_data", "execute_result", "update_display_data") and ran:
            ran.shown.append(content["data"])

    def _take_comm(self, kind: str, content: dict[str, Any], buffers: list[Buffer]) -> None:
        one, data = content["comm_id"], content["data"]
        if kind == "comm_open":
            if content["target_name"] == "jupyter.widget":
                self.models[one] = Model(one, {})
                self._update(self.models[one], data, buffers)
        elif (model := self.models.get(one)) is None:
            return  # a comm of another kind, such as matplotlib's or the debugger's
        elif kind == "comm_close":
            model.closed = True
        elif data.get("method") == "update":
            self._update(model, data, buffers)
        elif data.get("method") == "custom":
            model.received.append((data["content"], buffers))

    def _update(self, model: Model, data: dict[str, Any], buffers: list[Buffer]) -> None:
        state = data["state"]
        for path, buffer in zip(data.get("buffer_paths", []), buffers, strict=True):
            put(state, path, bytes(buffer))
        model.state |= state
        model.changes += 1


@contextmanager
def running_rig(
    folder: Path, python: str = sys.executable, *, subshell: bool = False
) -> Iterator[Rig]:
    """Run a kernel of an interpreter, with its files in `folder`."""
    rig = Rig(folder, python, subshell=subshell)
    try:
        yield rig
    finally:
        rig.close()
