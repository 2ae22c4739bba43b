"""What plotting 60 minutes of 48 kHz audio takes of memory, beyond the audio itself, in MB.

The timelines are those of runs that are open already: one of 240 turns and 100,000 events, and one
of 24 long turns, each of which gets a bracket. Each plot is drawn in a process of its own; the
baseline is one float64 array of the samples' times, which plotting every sample begins with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._drawing import write_call

TARGET = 100.0  # MB
MINUTES = 60
TURNS, LONG_TURNS = 240, 24
SCRIPT = """
import ctypes, resource, sys
from pathlib import Path
from benchmarks._drawing import seconds_to_draw, warm_up
from rtnb import open_run, plots

def high_water():
    try:
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1000
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

def forget():
    "Give back what is free, and let the high-water mark begin at what is in use now."
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        pass

kind, folder = sys.argv[1:]
warm_up()
what = open_run(folder)
if kind != "timeline":
    what = what.heard
forget()
before = high_water()
seconds_to_draw(lambda axes: getattr(plots, kind)(what, ax=axes))
print(high_water() - before)
"""


def megabytes(kind: str, folder: str) -> float:
    """Return by how much drawing one plot raises the peak of a process's resident memory."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, folder], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Print one JSON line."""
    kinds = ("timeline", "waveform", "spectrogram", "level")
    with tempfile.TemporaryDirectory() as folder:
        write_call(Path(folder), turns=TURNS)
        taken = {kind: round(megabytes(kind, folder), 1) for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        write_call(Path(folder), turns=LONG_TURNS, length=MINUTES * 60 / LONG_TURNS)
        taken["timeline of long turns"] = round(megabytes("timeline", folder), 1)
    baseline = MINUTES * 60 * 48_000 * 8 / 1e6
    most = max(taken.values())
    result = {
        "benchmark": "plot_memory",
        "unit": "MB",
        "rtnb_mb": most,
        "baseline_mb": round(baseline, 1),
        "ratio": round(most / baseline, 4),
        "target": TARGET,
        "met": most <= TARGET,
        "each_mb": taken,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
