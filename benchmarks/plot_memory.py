"""What plotting 60 minutes of 48 kHz audio takes of memory, beyond the audio itself, in MB.

Each plot is drawn in a process of its own; the baseline is one float64 array of the samples' times,
which plotting every sample begins with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TARGET = 100.0  # MB
MINUTES = 60
SCRIPT = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
from benchmarks._drawing import seconds_to_draw
import numpy as np
from rtnb import Clip, EventLog, plots
from rtnb.runaudio import RunAudio

def high_water():
    try:
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1000
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

def forget():
    "Let the high-water mark begin at what is in use now."
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass

kind, folder = sys.argv[1:]
audio = RunAudio(Path(folder))
short = Clip.tone(440, 1.0)
for draw in (plots.waveform, plots.spectrogram, plots.level):
    seconds_to_draw(lambda axes: draw(short, ax=axes))
what = SimpleNamespace(audio=audio, events=EventLog())
if kind != "timeline":
    what = audio.clip("heard")
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


def write_hour(folder: Path) -> None:
    """Write an hour of noise in bursts as the audio of a run, a minute at a time."""
    from rtnb.runfiles import RunWriter

    chance = np.random.default_rng(1)
    minute = (chance.standard_normal((60 * 48_000, 2)) * 3000).astype(np.int16)
    minute[np.arange(len(minute)) // 48_000 % 7 > 3] = 0
    writer = RunWriter(folder, sample_rate=48_000)
    for _ in range(MINUTES):
        writer.audio(minute)
    writer.close()


def main() -> None:
    """Print one JSON line."""
    kinds = ("timeline", "waveform", "spectrogram", "level")
    with tempfile.TemporaryDirectory() as folder:
        write_hour(Path(folder))
        taken = {kind: round(megabytes(kind, folder), 1) for kind in kinds}
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
