"""The rig without a browser, with ordinary widgets, on the widgets of today and those of Colab."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from colab_env import CONSTRAINTS, build, colab_python, run
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from widget_rig import Gone, KernelOf, Rig, environment, running_rig

import rtnb

PANEL = """
import threading
import ipywidgets as w

label, button, box = w.Label("before"), w.Button(description="Go"), w.Text("")
shown = w.VBox([w.HBox([button, label]), box])
shown
"""
ON_CLICK = "button.on_click(lambda _: setattr(label, 'value', 'after'))"
HANDED_OVER = """
gate = threading.Event()

def work():
    gate.wait(20)
    label.value = "worked"

button.on_click(lambda _: threading.Thread(target=work).start())
"""
BLOCKED = """
threading.Thread(target=lambda: setattr(label, "value", "from a thread")).start()
while True:  # a long wait might not see the interrupt
    threading.Event().wait(0.05)
"""
VERSIONS = """
import importlib.metadata, json

print(json.dumps({d.name.lower(): d.version for d in importlib.metadata.distributions()}))
"""
MIRROR = """
import anywidget, traitlets

class Mirror(anywidget.AnyWidget):
    _esm = "export default { render() {} }"
    block = traitlets.Any(bytes(2)).tag(sync=True)
    parts = traitlets.Any({"a": [bytes([1, 2]), "text", {"b": bytes([3])}]}).tag(sync=True)

mirror = Mirror()
mirror.on_msg(lambda widget, content, buffers: widget.send({"seen": content}, buffers=buffers))
mirror
"""


# --- rigs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["own", "colab"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A kernel of this interpreter, and one of Colab's versions."""
    python = sys.executable if request.param == "own" else colab_python()
    with running_rig(tmp_path_factory.mktemp(request.param), python) as one:
        yield one


# --- models --------------------------------------------------------------------------------------


def test_a_shown_widget_leads_to_all_its_parts(rig: Rig) -> None:
    """References are followed through containers, and widgets of other cells are left out."""
    rig.run(PANEL)
    root = rig.show(PANEL)
    names = {model["_model_name"] for model in rig.within(root)}
    assert {"VBoxModel", "HBoxModel", "ButtonModel", "LabelModel", "TextModel"} <= names
    assert rig.find(root, description="Go")["_model_name"] == "ButtonModel"
    assert len(rig.all(description="Go")) > 1


def test_a_click_runs_the_callback(rig: Rig) -> None:
    """What the callback changes is seen in the label's model."""
    root = rig.show(PANEL)
    rig.run(ON_CLICK)
    label = rig.find(root, _model_name="LabelModel")
    assert label["value"] == "before"
    rig.click(rig.find(root, description="Go"))
    rig.until(lambda: label["value"] == "after")


def test_a_changed_trait_reaches_the_kernel(rig: Rig) -> None:
    """The kernel's widget has the value when the change is handled."""
    root = rig.show(PANEL)
    rig.until_handled(rig.set(rig.find(root, _model_name="TextModel"), value="typed"))
    assert rig.run("print(box.value)").text == "typed\n"


def test_a_callback_that_hands_over_does_not_block(rig: Rig) -> None:
    """While its work goes on a cell runs; when the work is over the label changes."""
    root = rig.show(PANEL)
    rig.run(HANDED_OVER)
    rig.until_handled(rig.click(rig.find(root, description="Go")))
    label = rig.find(root, _model_name="LabelModel")
    assert rig.run("print(label.value)").text == "before\n"
    rig.run("gate.set()")
    rig.until(lambda: label["value"] == "worked")


def test_a_thread_shows_while_a_cell_blocks(rig: Rig) -> None:
    """A trait that a thread sets arrives before the cell is over."""
    label = rig.find(rig.show(PANEL), _model_name="LabelModel")
    cell = rig.send(BLOCKED)
    rig.until(lambda: label["value"] == "from a thread")
    assert not cell.over
    rig.manager.interrupt_kernel()
    rig.until(lambda: cell.over)
    assert cell.error == "KeyboardInterrupt"


def test_a_click_waits_for_the_running_cell(rig: Rig) -> None:
    """Without subshells a blocked cell keeps callbacks back, as on Colab."""
    root = rig.show(PANEL)
    rig.run(ON_CLICK)
    cell = rig.send("threading.Event().wait(0.5); print(label.value)")
    rig.click(rig.find(root, description="Go"))
    rig.until(lambda: rig.find(root, _model_name="LabelModel")["value"] == "after")
    assert cell.text == "before\n"


def test_a_subshell_serves_a_click_while_a_cell_blocks(tmp_path: Path) -> None:
    """Once the widget's comm has answered a subshell; JupyterLab speaks to a kernel like this."""
    with running_rig(tmp_path, subshell=True) as rig:
        root = rig.show(PANEL)
        rig.run(ON_CLICK)
        # the kernel serves a comm where it last published: the echo of this moves the button
        rig.until_handled(rig.set(rig.find(root, description="Go"), tooltip="moved"))
        cell = rig.send("while label.value == 'before': threading.Event().wait(0.02)")
        rig.click(rig.find(root, description="Go"))
        rig.until(lambda: cell.over)
        assert cell.error is None


def test_a_closed_widget_is_found_no_more(rig: Rig) -> None:
    """Its model is marked."""
    root = rig.show(PANEL)
    button = rig.find(root, description="Go")
    rig.run("button.close()")
    rig.until(lambda: button.closed)
    assert rig.all(root, description="Go") == []


# --- binary --------------------------------------------------------------------------------------


def test_binary_parts_of_a_state_arrive_in_their_places(rig: Rig) -> None:
    """A value that is binary is there, and so are those deep in lists and dictionaries."""
    mirror = rig.show(MIRROR)
    assert mirror["block"] == bytes(2)
    assert mirror["parts"] == {"a": [b"\x01\x02", "text", {"b": b"\x03"}]}


def test_a_binary_trait_reaches_the_kernel(rig: Rig) -> None:
    """All 256 values of a byte arrive unchanged, a nested one too."""
    mirror = rig.show(MIRROR)
    rig.until_handled(rig.set(mirror, block=bytes(range(256)), parts={"a": [b"\xff", 1]}))
    assert rig.run("print(bytes(mirror.block) == bytes(range(256)))").text == "True\n"
    assert rig.run("print(bytes(mirror.parts['a'][0]), mirror.parts['a'][1])").text == (
        "b'\\xff' 1\n"
    )


def test_a_custom_message_comes_back_with_its_buffers(rig: Rig) -> None:
    """Content and two buffers go both ways in order."""
    mirror = rig.show(MIRROR)
    rig.message(mirror, {"kind": "blocks"}, [bytes(range(256)), b"second"])
    rig.until(lambda: mirror.received)
    ((content, buffers),) = mirror.received
    assert content == {"seen": {"kind": "blocks"}}
    assert [bytes(part) for part in buffers] == [bytes(range(256)), b"second"]


# --- what must not pass unseen -------------------------------------------------------------------


def test_what_a_callback_prints_is_stray(rig: Rig) -> None:
    """It belongs to no cell, and so does a callback's traceback."""
    root = rig.show(PANEL)
    rig.stray.clear()
    rig.run("button.on_click(lambda _: print('loose'))")
    rig.until_handled(rig.click(rig.find(root, description="Go")))
    assert "".join(rig.stray) == "loose\n"


def test_a_wait_ends_in_time(rig: Rig) -> None:
    """What does not come is named."""
    with pytest.raises(Gone, match="the moon did not come"):
        rig.until(lambda: False, 0.1, "the moon")


def test_an_executed_notebook_keeps_a_password(tmp_path: Path) -> None:
    """A password's value lands in the saved widget state, so no trait may hold a key."""
    cell = nbformat.v4.new_code_cell("import ipywidgets as w; w.Password('sk-typed')")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    kernel = AsyncKernelManager(kernel_spec_manager=KernelOf())
    NotebookClient(notebook, km=kernel).execute(env=environment(tmp_path), cleanup_kc=True)
    assert "sk-typed" in json.dumps(notebook.metadata.widgets)


def test_an_installed_rtnb_is_seen_without_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another interpreter must not find packages that are not for it."""
    package = tmp_path / "site-packages" / "rtnb"
    package.mkdir(parents=True)
    monkeypatch.setattr(rtnb, "__file__", str(package / "__init__.py"))
    seen = Path(environment(tmp_path / "kernel")["PYTHONPATH"])
    assert [path.resolve() for path in seen.iterdir()] == [package]


# --- the environment of Colab --------------------------------------------------------------------


def test_the_environment_has_the_versions_of_colab(tmp_path: Path) -> None:
    """Every package that Colab ships and that is there has Colab's version."""
    with running_rig(tmp_path, colab_python()) as rig:
        there: dict[str, str] = json.loads(rig.run(VERSIONS).text)
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    assert {name: there[name] for name in pins if name in there} == {
        name: version for name, version in pins.items() if name in there
    }
    assert {
        "ipykernel",
        "ipywidgets",
        "ipython",
        "anywidget",
        "numpy",
    } <= pins.keys() & there.keys()


def test_a_built_environment_is_not_built_again(tmp_path: Path) -> None:
    """A folder with an interpreter is taken as it is."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    assert build(tmp_path) == python
    assert list(tmp_path.iterdir()) == [python.parent]


def test_a_failed_installation_says_why() -> None:
    """The first error of pip is in the one sentence, and so is the way around it."""
    failing = "import sys; sys.exit('WARNING: slow\\nERROR: no such version')"
    with pytest.raises(RuntimeError, match="could not install: ERROR: no such version; or set"):
        run("install", sys.executable, "-c", failing)


def test_a_given_interpreter_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's name is in the message."""
    monkeypatch.setenv("RTNB_COLAB_PYTHON", "/none/python")
    with pytest.raises(RuntimeError, match="RTNB_COLAB_PYTHON"):
        colab_python()
