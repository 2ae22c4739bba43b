"""What `import rtnb` offers, and what it costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import rtnb

INIT: Final = Path(rtnb.__file__)


def printed_by(code: str) -> list[str]:
    """Return the words that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=INIT.parents[1],
        timeout=60,
    )
    return done.stdout.split()


def modules_after(code: str) -> set[str]:
    """Return the top-level names of the modules a fresh interpreter holds after `code`."""
    words = printed_by(f"{code}\nimport sys; print(*sys.modules)")
    return {name.partition(".")[0] for name in words}


def names_for_types() -> dict[str, tuple[str, str]]:
    """Return public name -> (module, name there), as the TYPE_CHECKING block says it."""
    found: dict[str, tuple[str, str]] = {}
    block = next(n for n in ast.parse(INIT.read_text()).body if isinstance(n, ast.If))
    assert ast.unparse(block.test) == "typing.TYPE_CHECKING"
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            names = rtnb.errors.__all__ if alias.name == "*" else [alias.name]
            for name in names:
                found[alias.asname or name] = (str(node.module), name)
    return found


@pytest.mark.parametrize("name", rtnb.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    """Every name of `__all__` resolves, and says in its docstring what it is."""
    value = getattr(rtnb, name)
    if name != "__version__":
        assert (inspect.getdoc(value) or "").strip()


def test_every_listed_name_is_there_without_test_tools() -> None:
    """`help(rtnb)` gets every attribute; pytest, which `rtnb.testing` needs, may be missing."""
    code = (
        "import sys, inspect; sys.modules['pytest'] = None; import rtnb; "
        "print(len(inspect.getmembers(rtnb)) > 50)"
    )
    assert printed_by(code) == ["True"]


def test_tab_completion_lists_every_name() -> None:
    """`dir(rtnb)` has every public name and module before any of them was used."""
    listed = printed_by("import rtnb; print(*dir(rtnb))")
    assert {*rtnb.__all__, "errors", "measure", "plots"} - set(listed) == set()


def test_the_public_list_is_sorted_and_has_no_name_twice() -> None:
    """`__all__` is sorted and its names are distinct."""
    assert rtnb.__all__ == sorted(set(rtnb.__all__))


def test_every_exception_is_public() -> None:
    """Whatever `rtnb.errors` lists can be caught as `rtnb.<name>`."""
    assert set(rtnb.errors.__all__) <= set(rtnb.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """The imports for type checkers name what `__getattr__` loads, from the same modules."""
    assert names_for_types() == rtnb._PUBLIC


@pytest.mark.parametrize("name", ["errors", "measure", "plots"])
def test_a_public_module_is_reached_without_an_import(name: str) -> None:
    """`rtnb.errors`, `rtnb.measure` and `rtnb.plots` are the modules themselves."""
    assert getattr(rtnb, name) is sys.modules[f"rtnb.{name}"]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A misspelt name fails as it does in any module."""
    with pytest.raises(AttributeError, match=r"module 'rtnb' has no attribute 'conect'"):
        _ = rtnb.conect


def test_importing_rtnb_loads_nothing_heavy() -> None:
    """`import rtnb` adds rtnb itself and no third-party module, nor asyncio."""
    added = modules_after("import rtnb") - modules_after("pass")
    assert added - sys.stdlib_module_names == {"rtnb"}
    assert added & {"asyncio", "numpy", "json", "subprocess"} == set()


def test_importing_rtnb_loads_no_module_of_its_own() -> None:
    """Not one module of rtnb is loaded before a name of it is used."""
    code = "import sys, rtnb; assert [m for m in sys.modules if m.startswith('rtnb.')] == []"
    assert "rtnb" in modules_after(code)


def test_listing_the_names_loads_nothing() -> None:
    """Tab completion does not import what it lists."""
    assert "numpy" not in modules_after("import rtnb; dir(rtnb); rtnb.__all__")


def test_a_name_loads_what_it_needs() -> None:
    """Using a name imports its module: the test above would see it."""
    assert "numpy" in modules_after("import rtnb; rtnb.Clip")


def test_exceptions_cost_nothing() -> None:
    """`except rtnb.TurnTimeout` needs neither numpy nor asyncio."""
    assert modules_after("import rtnb; rtnb.TurnTimeout") & {"numpy", "asyncio"} == set()


def test_a_star_import_brings_every_public_name() -> None:
    """`from rtnb import *` resolves all of `__all__`."""
    space: dict[str, object] = {}
    exec("from rtnb import *", space)
    assert set(rtnb.__all__) <= set(space)
