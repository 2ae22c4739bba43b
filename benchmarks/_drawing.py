"""What the benchmarks of plots share: six minutes of audio, a call, and how long a drawing takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

import rtnb
from rtnb import Clip, plots
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


def write_call(folder: Path, *, turns: int, length: float = 15.0, deltas: int = 405) -> rtnb.Run:
    """Write a call as a run of turns of equal length, and open it as a notebook would.

    In each turn a prompt is heard to the end of its second fifth, and a reply from its third on,
    which is written in as many deltas. Packets come every 20 ms, and one in a thousand is lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = RunWriter(folder, sample_rate=SAMPLE_RATE)
    samples = np.rint(speechlike(length).samples * 32767).astype(np.int16)
    at = np.arange(len(samples)) / len(samples)
    sound = np.stack([samples * (at < 0.4), samples[::-1] * ((at > 0.45) & (at < 0.95))], axis=1)
    for _ in range(turns):
        writer.audio(sound)
    writer.close()
    starts = [number * length for number in range(turns)]
    write_lines(folder / "turns.jsonl", (one for s in starts for one in records(s, length)))
    write_lines(folder / "events.jsonl", (one for s in starts for one in events(s, length, deltas)))
    with (folder / "packets.csv").open("a", encoding="utf-8") as file:
        file.writelines(packet(number) for number in range(round(turns * length * 50)))
    (folder / "run.json").write_text('{"version": 1, "dialect": "ga", "session": {}}')
    return rtnb.open_run(folder)


def write_lines(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Write records as lines of JSON, one at a time."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def packet(number: int) -> str:
    """Return one row of packets.csv."""
    if number % 1000 == 999:
        return f"lost,{number},{number * 960},{number * 0.02:.6f},960,{number * 960}\n"
    return f"received,{number},{number * 960},{number * 0.02:.6f},80,{number * 960}\n"


def records(start: float, length: float) -> Iterator[dict[str, Any]]:
    """Yield what turns.jsonl has of one turn."""
    turn = round(start / length) + 1
    for record, at, data in (
        ("turn", 0.0, {"turn": turn, "kind": "audio", "name": f"question {turn}"}),
        ("play", 0.0, {"turn": turn, "play": f"play {turn}"}),
        ("play_started", 0.001, {"play": f"play {turn}"}),
        ("play_ended", 0.41, {"play": f"play {turn}"}),
        ("request", 0.41, {"turn": turn, "event_id": f"event {turn}"}),
        ("ended", 0.98, {"turn": turn, "status": "completed"}),
    ):
        yield {"record": record, "time": start + at * length, **data}


def events(start: float, length: float, deltas: int) -> Iterator[dict[str, Any]]:
    """Yield what events.jsonl has of one turn, in order of time."""
    turn = round(start / length) + 1
    response, item = {"id": f"response {turn}"}, f"item {turn}"
    part = {"response_id": response["id"], "item_id": f"reply {turn}"}
    part |= {"output_index": 0, "content_index": 0}
    created = {"event_id": f"event {turn}"}
    done = {"response": {**response, "status": "completed"}}
    found: list[tuple[float, str, dict[str, Any]]] = [
        (0.01, "input_audio_buffer.speech_started", {"item_id": item}),
        (0.40, "input_audio_buffer.speech_stopped", {"item_id": item}),
        (0.405, "input_audio_buffer.committed", {"item_id": item}),
        (0.41, "response.create", created),
        (0.42, "response.created", {"response": response}),
        (0.45, "output_audio_buffer.started", {"response_id": response["id"]}),
        (0.93, "response.done", done),
        (0.94, "error", {"error": {"code": "slow", "message": "The service is slow."}}),
        (0.96, "output_audio_buffer.stopped", {"response_id": response["id"]}),
        (0.97, "rate_limits.updated", {"rate_limits": []}),
    ]
    kind = "response.output_audio_transcript.delta"
    found += [
        (float(at), kind, {**part, "delta": "word "}) for at in np.linspace(0.46, 0.92, deltas)
    ]
    for at, name, data in sorted(found, key=lambda one: one[0]):
        direction = "sent" if name == "response.create" else "received"
        event = {"type": name, **data}
        yield {"time": start + at * length, "direction": direction, "event": event}


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
    """Print the JSON line of a comparison; called with "ours", "naive" or "empty", print its seconds.

    Each drawing has a process of its own, as the first of a notebook has: memory that an earlier
    one left behind makes the baseline seem faster. Fonts and modules are loaded before the clock
    starts. Both are measured in turns, so that a noisy machine is noisy for both.
    """
    if sys.argv[1:]:
        warm_up()
        several = {"ours": ours, "naive": naive, "empty": lambda axes: None}
        print(seconds_to_draw(several[sys.argv[1]]))
        return
    fast, slow, empty = [], [], []
    for _ in range(rounds):
        empty.append(in_its_own_process(name, "empty"))
        slow.append(in_its_own_process(name, "naive"))
        fast += [in_its_own_process(name, "ours") for _ in range(3)]
    report(name, fast, slow, target, empty)


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
        run = write_call(Path(folder), turns=1, length=1.0, deltas=5)
        seconds_to_draw(lambda axes: run.plot(ax=axes))


def report(
    name: str,
    ours: Sequence[float],
    naive: Sequence[float],
    target: float,
    empty: Sequence[float],
) -> None:
    """Print the JSON line of a comparison: medians, their ratio, and how far runs lay apart."""
    axes = statistics.median(empty)
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
        "note": f"matplotlib's axes without anything on them take {axes:.3f} s of ours",
    }
    print(json.dumps(result))
