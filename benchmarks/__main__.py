"""``python -m benchmarks [NAME…]``: run the scripts here, or those named, and print a row each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COLUMNS = ("benchmark", "unit", "rtnb", "baseline", "ratio", "target", "met")
WIDTHS = (24, 6, 12, 12, 10, 10, 6)


def scripts() -> list[str]:
    """Return the names of all benchmarks; a name with an underscore is a part of some."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    return [name for name in found if not name.startswith("_")]


def row(line: str) -> list[str]:
    """Return the cells of one result; its figures are named ``rtnb_UNIT`` and ``baseline_UNIT``."""
    result = json.loads(line)
    unit = next((key[5:] for key in result if key.startswith("rtnb_")), "")
    values = {"unit": unit, "rtnb": result.get(f"rtnb_{unit}")}
    values["baseline"] = result.get(f"baseline_{unit}")
    cells = [{**result, **values}.get(name) for name in COLUMNS]
    return ["" if cell is None else str(cell) for cell in cells]


def show(cells: list[str] | tuple[str, ...]) -> None:
    """Print one row of the table, words to the left and figures to the right."""
    parts = [
        c.ljust(w) if n < 2 else c.rjust(w)
        for n, (c, w) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    print("".join(parts), flush=True)


def main() -> None:
    """Print a table: name, unit, rtnb's figure, the baseline's, their ratio, the target."""
    show(COLUMNS)
    for name in sys.argv[1:] or scripts():
        script = [sys.executable, "-m", f"benchmarks.{name}"]
        done = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True)
        show(row(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
