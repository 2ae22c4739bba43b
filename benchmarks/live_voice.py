"""How long a voice is on its way from the page to the wire, and a reply from the wire to the page.

A real Chromium with a microphone that plays a file, a real JupyterLab, real kernels, and `rtnb.Peer`:
on an idle kernel over 30 s, then through a cell that sleeps for 3 s and one that computes for 3 s; with
the ipykernel of this environment, and with Colab's ipykernel 6.17.1 under today's widgets. Both ways
are carried out at once. Delays are those of bursts of sound, each with a pitch of its own, found in
four places: in what the page's microphone gives, in the packets that left, in the packets that came,
and in what the page renders. Nothing of it is what the widgets report; that stands beside it.

``--markdown`` prints the table for a page; ``--page`` puts it into docs/voice.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import benchmarks._rigs  # noqa: F401 - for the imports within functions
from benchmarks._live_signal import RATE, Burst, bursts, delays
from benchmarks._table import machine, put

if TYPE_CHECKING:
    from benchmarks._live_lab import Call

TARGETS: Final = (60.0, 100.0)  # milliseconds, medians on an idle kernel
WAYS: Final = ("microphone to wire", "wire to page")
PAGE: Final = Path(__file__).parents[1] / "docs" / "voice.md"
SILENT: Final = 10 ** (-80 / 20)
PLACES: Final = {WAYS[0]: 0, WAYS[1]: 2}  # of the counters in `Call.counted`
COUNTERS: Final = {
    WAYS[0]: ("received", "lost", "delay_median"),
    WAYS[1]: ("stretches", "dropped", "delay"),
}
IDLE_HEADS: Final = (
    *("way", "ipykernel", "median", "worst", "by its own count", "chunks in 30 s", "lost"),
)
BUSY_HEADS: Final = (
    *("way", "ipykernel", "cell of 3 s", "delay in it: median", "worst", "after it: median"),
    *("worst", "bursts lost", "chunks lost", "silences skipped", "silence"),
)
NAMES: Final = {"sleep": "`time.sleep`", "spin": "pure Python"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """One direction of a call: where the same bursts were found, in seconds on the call's clock.

    Attributes
    ----------
    sources, sinks
        Where they set out, and where they arrived.
    part
        Returns what arrived between two times, as samples.
    """

    sources: Sequence[Burst]
    sinks: Sequence[Burst]
    part: Callable[[float, float], Any]

    def through(self, begin: float, end: float) -> Row:
        """Return what became of the bursts that set out in a stretch, in milliseconds."""
        wanted = sum(1 for one in self.sources if begin <= one.time < end)
        took = [1000 * by for at, by in delays(self.sources, self.sinks) if begin <= at < end]
        median = round(float(np.median(took)), 1) if took else None
        worst = round(max(took), 1) if took else None
        return {
            "median_ms": median,
            "worst_ms": worst,
            "bursts": wanted,
            "lost": wanted - len(took),
        }

    def silence(self, begin: float, end: float) -> float:
        """Return for how many seconds there was not even noise between two times."""
        frames = self.part(begin, end)
        frames = frames[: len(frames) // 960 * 960].reshape(-1, 960)
        return round(0.02 * float((np.abs(frames).max(axis=1) < SILENT).sum()), 2)


def ways(one: Call) -> dict[str, Way]:
    """Return both directions of a call."""

    def sent(begin: float, end: float) -> Any:
        return one.sent.samples[round(begin * RATE) : round(end * RATE)]

    said = bursts(one.said.samples, one.said.when)
    played = bursts(one.played.samples, one.played.when)
    return {
        WAYS[0]: Way(said, bursts(one.sent.samples, one.sent.when), sent),
        WAYS[1]: Way(bursts(one.heard.samples, one.heard.when), played, one.played.part),
    }


def rows_of(one: Call) -> list[Row]:
    """Return a row for each direction: idle, and through each of the busy cells."""
    from benchmarks._live_lab import AFTER  # where there is a browser

    rows = []
    for name, way in ways(one).items():
        idle = way.through(*one.idle) | counted(one, name, "settled", "idle")
        row: Row = {"way": name, "ipykernel": one.kernel, "idle": idle}
        for busy, before in (("sleep", "idle"), ("spin", "sleep")):
            began, ended = getattr(one, busy)
            row[busy] = {
                "during": way.through(began, ended),
                "after": way.through(ended, ended + AFTER - 1),
                "silence_s": way.silence(began, ended + AFTER - 1),
                **counted(one, name, before, busy),
            }
        rows.append(row)
    return rows


def counted(one: Call, way: str, before: str, after: str) -> Row:
    """Return what was counted on a way between two moments, and its own figure of the delay."""
    a, b = (one.counted[moment][PLACES[way]] for moment in (before, after))
    came, lost, delay = COUNTERS[way]
    median = b[delay]
    found = {name: b[name] - a[name] for name in ("skipped", "underruns")}
    return {
        "chunks": b[came] - a[came],
        "chunks_lost": b[lost] - a[lost],
        **found,
        "own_median_ms": None if median is None else round(1000 * median, 1),
    }


def measure() -> tuple[list[Row], list[Any]]:
    """Return the rows of both kernels, and what their calls counted."""
    from lab_kernels import colab_kernel  # a rig of the tests

    from benchmarks._live_lab import call

    with tempfile.TemporaryDirectory() as folder:
        calls = [call(), call(colab_kernel(Path(folder)))]
    return [row for one in calls for row in rows_of(one)], [one.counted for one in calls]


# --- tables --------------------------------------------------------------------------------------


def markdown(rows: Sequence[Row]) -> str:
    """Return the two tables for a page."""
    idle = []
    for row in rows:
        found = row["idle"]
        own = _ms(found["own_median_ms"])
        counts = (str(found["chunks"]), str(found["chunks_lost"] + found["lost"]))
        idle.append((row["way"], row["ipykernel"], *_span(found), own, *counts))
    busy = []
    for cell in NAMES:
        for row in rows:
            found = row[cell]
            parts = (found["during"], found["after"])
            lost, all_of_them = (sum(part[key] for part in parts) for key in ("lost", "bursts"))
            ends = (f"{lost} of {all_of_them}", str(found["chunks_lost"]), str(found["skipped"]))
            spans = (*_span(parts[0]), *_span(parts[1]))
            quiet = f"{found['silence_s']:.2f} s"
            busy.append((row["way"], row["ipykernel"], NAMES[cell], *spans, *ends, quiet))
    return f"{_table(IDLE_HEADS, idle)}\n\n{_table(BUSY_HEADS, busy)}"


def _span(found: Row) -> tuple[str, str]:
    return _ms(found["median_ms"]), _ms(found["worst_ms"])


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- the line ------------------------------------------------------------------------------------


def result_of(rows: Sequence[Row], counted: Any) -> Row:
    """Return the benchmark's line: medians on an idle kernel of this environment."""
    own = rows[:2]
    medians = [row["idle"]["median_ms"] for row in own]
    lost = [row["idle"]["lost"] + row["idle"]["chunks_lost"] for row in own]
    below = all(m is not None and m < t for m, t in zip(medians, TARGETS, strict=True))
    return {
        "benchmark": "live_voice",
        "rtnb_ms": medians,
        "target": list(TARGETS),
        "met": below and not any(lost),
        "worst_ms": [row["idle"]["worst_ms"] for row in own],
        "lost": lost,
        "spread_ms": [
            round(abs(a["idle"]["median_ms"] - b["idle"]["median_ms"]), 1)
            for a, b in zip(own, rows[2:], strict=True)
        ],
        "runs": len(rows) // 2,
        "rows": rows,
        "counted": counted,
        "note": f"{' / '.join(WAYS)}, medians on an idle kernel over 30 s, in which no chunk may be "
        "lost; the spread is between the medians of two kernels, see voice.md",
    }


def main(arguments: Sequence[str]) -> None:
    """Print one JSON line; with ``--markdown`` or ``--page`` the tables for docs/voice.md too."""
    if missing := without_a_browser():
        print(json.dumps({"benchmark": "live_voice", "met": None, "note": missing}))
        return
    rows, counted = measure()
    if "--markdown" in arguments:
        print(markdown(rows))
    if "--page" in arguments:
        put(PAGE, "delays", markdown(rows))
        put(PAGE, "machine", f"{machine()}.")
    print(json.dumps(result_of(rows, counted)))


def without_a_browser() -> str | None:
    """Return what is missing for a browser and a JupyterLab; None where all is there."""
    try:
        import pytest
        from browser_rig import chromium

        from benchmarks import _live_lab  # noqa: F401
    except ImportError as error:
        return f"not measured: {error}"
    try:
        chromium()
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        return f"not measured: {error}"
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
