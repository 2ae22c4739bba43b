"""What is asked of IPython and Colab, where they are and where they are not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from rtnb import registry
from rtnb._notebook import acting_for, cell_run, colab_secret

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


def coded(code: str, run: str, metadata: Any = None) -> Any:
    """Return the parent header of a cell with this code."""
    return {"header": {"msg_id": run}, "metadata": metadata, "content": {"code": code}}


def test_a_cell_without_an_id_is_known_by_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run again it is the same cell, changed it is another one; the code itself is not kept."""
    seen = []
    for code, run in (("a = 1", "m1"), ("a = 1", "m2"), ("a = 2", "m3"), ("\ud800", "m4")):
        in_ipython(monkeypatch, coded(code, run))
        seen.append(cell_run())
    (first, again, changed, odd) = [one for one in seen if one is not None]
    assert first[0] == again[0] != changed[0] != odd[0]
    assert [run for _, run in (first, again, changed, odd)] == ["m1", "m2", "m3", "m4"]
    assert "a = 1" not in str(first)


def test_an_id_is_more_than_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells with the same code are two, where the front end tells them apart."""
    in_ipython(monkeypatch, coded("a = 1", "m1", {"cellId": "c1"}))
    assert cell_run() == ("c1", "m1")


@pytest.mark.parametrize("content", [None, {}, {"code": ""}])
def test_a_cell_without_code_is_none(content: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to know it by."""
    in_ipython(monkeypatch, {"header": {"msg_id": "m1"}, "content": content})
    assert cell_run() is None


def test_a_thread_may_act_for_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the block, in that thread, whatever cell runs; nested, and also when it fails."""
    in_ipython(monkeypatch, HEADER)
    others: list[Any] = []
    with pytest.raises(ZeroDivisionError), acting_for(("mine", "m9")):
        other = threading.Thread(target=lambda: others.append(cell_run()))
        other.start()
        other.join()
        with acting_for(("inner", "m8")):
            assert cell_run() == ("inner", "m8")
        assert cell_run() == ("mine", "m9")
        raise ZeroDivisionError
    assert (cell_run(), others) == (("c1", "m1"), [("c1", "m1")])


def test_acting_for_no_cell_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A panel made in a script has none."""
    in_ipython(monkeypatch, HEADER)
    with acting_for(None):
        assert cell_run() == ("c1", "m1")


class Closable:
    """Something that lives until it is closed."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def close(self, reason: str = "") -> None:
        self.reasons.append(reason)
        registry.leave(self)


@pytest.mark.parametrize("listed", [True, False])
def test_a_cell_run_again_closes_what_it_made(listed: bool) -> None:
    """Listed among the sessions or not; what the same run or another cell made stays."""
    first, second, other, again = (Closable() for _ in range(4))
    for one, cell in ((first, ("c", "1")), (second, ("c", "1")), (other, ("d", "1"))):
        with acting_for(cell):
            registry.enroll(one, listed=listed)
    assert (first in registry.live()) is listed
    with acting_for(("c", "2")):
        registry.enroll(again, listed=listed)
    whys = [one.reasons for one in (first, second, other, again)]
    assert whys == [["its cell was run again"], ["its cell was run again"], [], []]
    for one in (other, again):
        registry.leave(one)
    registry.leave(again)
    assert again not in registry.live()


def test_what_is_not_listed_leaves_nothing_behind() -> None:
    """Another object in the same place is listed again."""
    one = Closable()
    registry.enroll(one, listed=False)
    registry.leave(one)
    registry.enroll(one)
    assert one in registry.live()
    registry.leave(one)


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
