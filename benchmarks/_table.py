"""The table of all benchmarks: its rows, as text and as Markdown, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

COLUMNS = ("benchmark", "unit", "rtnb", "baseline", "ratio", "target", "met", "spread")
WIDTHS = (22, 9, 11, 11, 9, 9, 5, 16)
PACKAGES = ("aiortc", "av", "numpy", "matplotlib")

Result = dict[str, Any]


def cells(result: Result) -> list[str]:
    """Return the cells of one result, whose figures are named ``rtnb_UNIT`` and ``baseline_UNIT``.

    Its own unit is that of the first key that begins with ``rtnb_``.
    """
    unit = next((key[5:] for key in result if key.startswith("rtnb_")), "")
    values = {
        "unit": unit,
        "rtnb": result.get(f"rtnb_{unit}"),
        "baseline": result.get(f"baseline_{unit}"),
        "spread": result.get(f"spread_{unit}", result.get("spread")),
    }
    found = {**result, **values}
    return [cell(found.get(name)) for name in COLUMNS]


def cell(value: object) -> str:
    """Return a value as it is read: nothing for None, four digits of a number."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else _number(value)
    if isinstance(value, list | tuple):
        return " / ".join(cell(one) or "–" for one in value)
    return str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def line(row: Sequence[str]) -> str:
    """Return a row for the terminal, words to the left and figures to the right."""
    parts = [
        c.ljust(w) if n < 2 else c.rjust(w)
        for n, (c, w) in enumerate(zip(row, WIDTHS, strict=True))
    ]
    return " ".join(parts).rstrip()


def markdown(results: Sequence[Result]) -> str:
    """Return the table for a page, and below it what the rows have to say."""
    rows = [COLUMNS, ("---", "---", *["---:"] * (len(COLUMNS) - 2)), *map(cells, results)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = [f"- `{r['benchmark']}`: {r['note']}" for r in results if r.get("note")]
    return "\n\n".join([table, *(["\n".join(notes)] if notes else [])])


def machine() -> str:
    """Return what the figures were measured on, without a name or a path."""
    system = f"{platform.system()} {platform.machine()}"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = platform.python_version()
    return f"{_processor()}, {cores} cores, {system}, Python {python}, {packages}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or "unknown processor"


def put(page: Path, name: str, text: str) -> None:
    """Replace what is between the two comments ``NAME begins`` and ``NAME ends`` of a page.

    Raises
    ------
    ValueError
        The page has no such comments.
    """
    begins, ends = (f"<!-- {name} {word} -->" for word in ("begins", "ends"))
    before, found, rest = page.read_text(encoding="utf-8").partition(begins)
    _, closed, after = rest.partition(ends)
    if not (found and closed):
        raise ValueError(f"{page.name} has no comments {begins} and {ends}")
    page.write_text(f"{before}{begins}\n{text}\n{ends}{after}", encoding="utf-8")
