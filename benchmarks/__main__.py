"""``python -m benchmarks [NAME…]``: run the scripts here, or those named, and print a row each."""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

from benchmarks._table import COLUMNS, Result, cells, line, machine, markdown, put

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
LONG = (  # they come last, the longest at the end
    "sessions_per_core",
    "drift",
    "live_voice",
    "send_lateness",
    "plot_spectrogram",
    "plot_waveform",
    "plot_memory",
    "plot_timeline",
)
WITHIN = 900.0  # seconds for a script


def scripts() -> list[str]:
    """Return the names of all benchmarks; a name with an underscore is a part of some."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    names = [name for name in found if not name.startswith("_")]
    return sorted(names, key=lambda name: LONG.index(name) if name in LONG else -1)


def run(name: str) -> Result | str:
    """Run a script; return its result, or what went wrong."""
    script = [sys.executable, "-m", f"benchmarks.{name}"]
    try:
        done = subprocess.run(script, capture_output=True, text=True, timeout=WITHIN)
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        result: Result = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return f"it took longer than {WITHIN:g} s"
    except (IndexError, ValueError):
        return "it printed no line of JSON"
    return result


def run_all(names: list[str], kept: Path | None) -> list[Result]:
    """Run scripts in turn, print a row each, and keep their lines in a file."""
    results = []
    where = measured()
    print(line(COLUMNS), flush=True)
    if kept is not None:
        kept.write_text("", encoding="utf-8")
    for name in names:
        result = run(name)
        if isinstance(result, str):
            print(f"{name} failed: {result}", flush=True)
            continue
        results.append(result)
        print(line(cells(result)), flush=True)
        if kept is not None:
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**result, "measured": where}) + "\n")
    return results


def measured() -> str:
    """Return the sentence of the page that says on what machine, and when."""
    return f"{machine()}. {datetime.date.today():%B %Y}."


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all of them by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the lines in a file")
    parser.add_argument("--read", type=Path, metavar="FILE", help="read them again, run nothing")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page too")
    parser.add_argument("--page", action="store_true", help="put it into docs/performance.md")
    return parser.parse_args()


def main() -> int:
    """Print a table: name, unit, rtnb's figure, the baseline's, their ratio, the target."""
    asked = arguments()
    unknown = [name for name in asked.names if name not in scripts()]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are {', '.join(scripts())}")
        return 2
    names = asked.names or scripts()
    if asked.read:
        lines = asked.read.read_text(encoding="utf-8").splitlines()
        results = [json.loads(one) for one in lines]
        print("\n".join([line(COLUMNS), *(line(cells(one)) for one in results)]))
    else:
        results = run_all(names, asked.json)
    missing = set(scripts()) - {one["benchmark"] for one in results}
    if asked.markdown:
        print(f"\n{markdown(results)}")
    if asked.page and missing:
        print(f"the page stays as it is: there is no figure of {', '.join(sorted(missing))}")
        return 1
    if asked.page:
        put(PAGE, "table", markdown(results))
        put(PAGE, "machine", results[0].get("measured", measured()))
    return 0 if asked.read or len(results) == len(names) else 1


if __name__ == "__main__":
    raise SystemExit(main())
