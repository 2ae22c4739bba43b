"""What is asked of IPython and Colab, where they are and where they are not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from rtnb._notebook import cell_run, colab_secret

HEADER = {"header": {"msg_id": "m1"}, "metadata": {"cellId": "c1"}}


def in_ipython(monkeypatch: pytest.MonkeyPatch, parent: Any) -> None:
    """Pretend that a cell runs, whose request has this parent header."""
    shell = type("Shell", (), {} if parent is None else {"parent_header": parent})()
    module = ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)


def in_colab(monkeypatch: pytest.MonkeyPatch, get: Callable[[str], Any]) -> None:
    """Pretend that this is Colab, whose secrets answer like this."""
    google, colab, userdata = (
        ModuleType(name) for name in ("google", "google.colab", "google.colab.userdata")
    )
    userdata.get = get  # type: ignore[attr-defined]
    colab.userdata = userdata  # type: ignore[attr-defined]
    google.colab = colab  # type: ignore[attr-defined]
    for module in (google, colab, userdata):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_a_script_has_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without IPython there is none, and IPython is not imported to find out."""
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert cell_run() is None
    assert "IPython" not in sys.modules


def test_ipython_without_a_shell_has_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython may be imported by a script."""
    module = ModuleType("IPython")
    module.get_ipython = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert cell_run() is None


@pytest.mark.parametrize("key", ["cellId", "cell_id"])
def test_a_cell_has_its_id_and_that_of_the_run(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both come from the request that is being executed."""
    in_ipython(monkeypatch, {"header": {"msg_id": "m1"}, "metadata": {key: "c1"}})
    assert cell_run() == ("c1", "m1")


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "text",
        {},
        {"metadata": None, "header": None},
        HEADER | {"metadata": {}},
        HEADER | {"header": {}},
    ],
)
def test_a_front_end_that_does_not_say(parent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal, or a front end without cell ids, has no cell."""
    in_ipython(monkeypatch, parent)
    assert cell_run() is None


def test_there_is_no_secret_outside_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported to find out."""
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    assert colab_secret("OPENAI_API_KEY") is None
    assert "google.colab" not in sys.modules


def test_colab_gives_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret of that name is returned."""
    in_colab(monkeypatch, {"OPENAI_API_KEY": "a key"}.get)
    assert colab_secret("OPENAI_API_KEY") == "a key"
    assert colab_secret("OTHER") is None


def test_an_empty_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without a value is no key."""
    in_colab(monkeypatch, lambda name: "")
    assert colab_secret("OPENAI_API_KEY") is None


@pytest.mark.parametrize("error", [KeyError, PermissionError, TimeoutError])
def test_a_secret_that_may_not_be_read_is_none(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not found, not allowed or not answered: there is no key, and no error."""

    def refuse(name: str) -> str:
        raise error(name)

    in_colab(monkeypatch, refuse)
    assert colab_secret("OPENAI_API_KEY") is None
