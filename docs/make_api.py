"""Writes docs/api.md: every public name with the first line of its docstring.

Run it as ``python docs/make_api.py``; a test fails when the file is not what it would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import rtnb

HEAD = """# Public names

Made by `python docs/make_api.py`; `help(rtnb.NAME)` shows one whole, with shapes, units and errors.

| name | what it is |
|---|---|
"""
MODULES = {
    "errors": "The exceptions, one tree; see [errors.md](errors.md).",
    "measure": "Numbers from arrays: where speech begins and ends, when a reply is audible.",
    "plots": "`waveform`, `spectrogram`, `level`, `events` and `timeline`, drawn on matplotlib axes.",
}


def text() -> str:
    """Return the whole file."""
    rows = [
        f"| `rtnb.{name}` | {_summary(getattr(rtnb, name))} |"
        for name in rtnb.__all__
        if name[0] != "_"
    ]
    rows += [f"| `rtnb.{name}` | {said} |" for name, said in MODULES.items()]
    return (
        HEAD
        + "\n".join(rows)
        + "\n"
        + "".join(_members(name) for name in ("Session", "Turn", "Clip"))
    )


def _summary(value: object) -> str:
    lines = (inspect.getdoc(value) or "").splitlines()
    return lines[0].replace("|", "\\|") if lines else ""


def _members(name: str) -> str:
    cls = getattr(rtnb, name)
    rows = []
    for member in sorted(dir(cls)):
        value = inspect.getattr_static(cls, member)
        shown = callable(value) or isinstance(value, property | classmethod)
        if member.startswith("_") or not shown:
            continue
        summary = _summary(getattr(cls, member) if isinstance(value, classmethod) else value)
        rows.append(f"| `.{member}` | {summary} |")
    return f"\n## `rtnb.{name}`\n\n| member | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(text(), encoding="utf-8")
