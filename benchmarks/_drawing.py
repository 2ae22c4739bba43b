"""What the benchmarks of plots share: six minutes of audio, and how long a drawing takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np

from rtnb import Clip, EventLog, plots
from rtnb.runaudio import RunAudio
from rtnb.runfiles import RunWriter

mpl.use("Agg")

from matplotlib import pyplot as plt

SAMPLE_RATE = 48_000  # Hz
SECONDS = 360

Draw = Callable[[plt.Axes], object]


def speechlike(seconds: float) -> Clip:
    """Return noise that swells and fades as syllables do, and is never digital silence."""
    chance = np.random.default_rng(1)
    count = round(seconds * SAMPLE_RATE)
    samples = chance.standard_normal(count, dtype=np.float32)
    at = np.arange(count, dtype=np.float32) / SAMPLE_RATE
    samples *= 0.1 * np.abs(np.sin(3 * at))
    return Clip(samples, SAMPLE_RATE)


def write_run(folder: Path, clip: Clip) -> RunAudio:
    """Write a clip as what was sent, and backwards as what was heard."""
    samples = np.rint(clip.samples * 32767).astype(np.int16)
    writer = RunWriter(folder, sample_rate=SAMPLE_RATE)
    writer.audio(np.stack([samples, samples[::-1]], axis=1))
    writer.close()
    return RunAudio(folder)


def seconds_to_draw(draw: Draw) -> float:
    """Return how long it takes from empty axes to the pixels on an Agg canvas."""
    figure, axes = plt.subplots(figsize=(10, 4.5), dpi=100)
    before = time.perf_counter()
    draw(axes)
    figure.canvas.draw()
    took = time.perf_counter() - before
    plt.close(figure)
    return took


def compare(name: str, ours: Draw, naive: Draw, target: float, *, rounds: int) -> None:
    """Print the JSON line of a comparison; called with "ours" or "naive", print its seconds.

    Each drawing has a process of its own, as the first of a notebook has: memory that an earlier
    one left behind makes the baseline seem faster. Fonts and modules are loaded before the clock
    starts. Both are measured in turns, so that a noisy machine is noisy for both.
    """
    if sys.argv[1:]:
        warm_up()
        print(seconds_to_draw({"ours": ours, "naive": naive}[sys.argv[1]]))
        return
    fast, slow = [], []
    for _ in range(rounds):
        slow.append(in_its_own_process(name, "naive"))
        fast += [in_its_own_process(name, "ours") for _ in range(3)]
    report(name, fast, slow, target)


def in_its_own_process(name: str, which: str) -> float:
    """Return the seconds that a benchmark prints of one of its two drawings."""
    script = [sys.executable, "-m", f"benchmarks.{name}", which]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return float(done.stdout)


def warm_up() -> None:
    """Draw something short in every way."""
    short = speechlike(1.0)
    for draw in (plots.waveform, plots.spectrogram, plots.level):
        seconds_to_draw(lambda axes, draw=draw: draw(short, ax=axes))
    seconds_to_draw(lambda axes: axes.plot(short.samples))
    with tempfile.TemporaryDirectory() as folder:
        call = SimpleNamespace(audio=write_run(Path(folder), short), events=EventLog())
        seconds_to_draw(lambda axes: plots.timeline(call, ax=axes))


def report(name: str, ours: Sequence[float], naive: Sequence[float], target: float) -> None:
    """Print the JSON line of a comparison: medians, their ratio, and how far runs lay apart."""
    ratio = statistics.median(ours) / statistics.median(naive)
    result = {
        "benchmark": name,
        "rtnb_s": round(statistics.median(ours), 4),
        "baseline_s": round(statistics.median(naive), 4),
        "ratio": round(ratio, 5),
        "target": target,
        "met": ratio <= target,
        "spread_s": [round(max(x) - min(x), 4) for x in (ours, naive)],
        "runs": [len(ours), len(naive)],
    }
    print(json.dumps(result))
