"""A busy user's process: the media process sends on time and hears every packet all the same."""

from __future__ import annotations

import csv
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import rtnb

BUSY = 3.0  # seconds
SLEEPER = f"""
import time
began = time.monotonic()
late = []
while time.monotonic() < began + {BUSY}:
    due = began + 0.02 * (len(late) + 1)
    time.sleep(max(0.0, due - time.monotonic()))
    late.append(time.monotonic() - due)
print(sorted(late)[len(late) * 99 // 100])
"""
"Wakes up every 20 ms, and prints how late it was at the 99th percentile."


def spin() -> None:
    """Hold the interpreter with a pure-Python loop."""
    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        sum(i * i for i in range(2000))


def parse_json() -> None:
    """Parse a large document again and again: each time one C call that keeps the GIL."""
    document = json.dumps([{"name": f"item {i}", "values": list(range(20))} for i in range(40_000)])
    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        json.loads(document)


def draw_figures() -> None:
    """Draw matplotlib figures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        figure, axes = plt.subplots(2, 2, figsize=(8, 6))
        for one in axes.flat:
            one.plot(np.random.default_rng(0).normal(size=20_000))
        figure.canvas.draw()
        plt.close(figure)


def sleep() -> None:
    """Sleep, as a cell may."""
    time.sleep(BUSY)


def _packets(folder: Path, kind: str) -> list[tuple[int, int, float]]:
    """Return (sequence, position, time) of a run's packets."""
    with (folder / "packets.csv").open(newline="") as rows:
        return [
            (int(row["sequence"]), int(row["position"]), float(row["time"]))
            for row in csv.DictReader(rows)
            if row["kind"] == kind
        ]


@pytest.mark.parametrize("load", [spin, parse_json, draw_figures, sleep])
def test_nothing_is_late_or_lost_while_a_cell_computes(
    peer: rtnb.Peer, load: Callable[[], None]
) -> None:
    """While the user's process is busy for 3 s of a reply, packets leave on time and all arrive."""
    with rtnb.connect(
        peer, turn_detection={"type": "server_vad", "interrupt_response": False}
    ) as s:
        turn = s.send(rtnb.sample("tell_me_a_story"))
        turn.wait_for_audio(0.2)
        over = s.send(rtnb.sample("greeting"))  # a prompt that is to leave while the load runs
        command = [sys.executable, "-c", SLEEPER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper:
            began = s._now()
            load()
            ended = s._now()
            machine = float(sleeper.communicate()[0])
    sent = [(p, t) for _, p, t in _packets(s.folder, "sent") if began < t < ended]
    lateness = np.array([t - p / 48_000 for p, t in sent])
    lateness -= lateness.min()
    heard = [(n, t) for n, _, t in _packets(s.folder, "received") if began < t < ended]
    steps = {(b - a) % 65536 for (a, _), (b, _) in itertools.pairwise(heard)}
    assert over._state.play_started is not None
    assert ended - began >= BUSY
    assert len(sent) == pytest.approx((ended - began) * 50, abs=10)
    # where other programs want all cores, nobody is on time
    assert np.percentile(lateness, 99) < max(0.010, 3 * machine)
    assert steps == {1}
    assert len(heard) == pytest.approx((ended - began) * 50, abs=10)
    assert not _packets(s.folder, "lost")
