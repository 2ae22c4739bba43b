"""``python -m benchmarks``: run every script here and print one row each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SKIPPED = {"__init__", "__main__"}


def main() -> None:
    """Print a table: name, rtnb's figure, the baseline's, their ratio, the target."""
    print(f"{'benchmark':24}{'rtnb':>12}{'baseline':>12}{'ratio':>10}{'target':>10}")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in SKIPPED:
            continue
        script = [sys.executable, "-m", f"benchmarks.{path.stem}"]
        done = subprocess.run(script, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        figures = [row.get(key, "") for key in ("rtnb_s", "baseline_s", "ratio", "target")]
        print(
            f"{row['benchmark']:24}{figures[0]:>12}{figures[1]:>12}{figures[2]:>10}{figures[3]:>10}"
        )


if __name__ == "__main__":
    main()
