"""A voice call in a real JupyterLab, in which cells keep the kernel busy; it reckons nothing."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from browser_rig import Lab, new_page, running_browser, running_lab
from playwright.sync_api import Locator, Page
from spoken_page import fake_microphone, start_microphone

import rtnb
from benchmarks._live_page import RATE, TAPS, Tapped, tapped
from benchmarks._live_signal import ruler
from rtnb.packets import read_packets

__all__ = ["AFTER", "BUSY", "IDLE", "MOMENTS", "Call", "call"]

IDLE: Final = 30.0  # seconds
BUSY: Final = 3.0
AFTER: Final = 7.0  # seconds between two busy cells, in which what is late can be made up for
SETTLED: Final = 2.0  # seconds after the microphone, and after the reply, has begun
REPLY: Final = 80.0  # seconds of a reply that is longer than all of this
WITHIN: Final = 60.0  # seconds for a cell
MOMENTS: Final = ("settled", "idle", "sleep", "spin")
CONNECT: Final = """
import json, time
import ipykernel, rtnb

mic, speaker = rtnb.Microphone(), rtnb.Speaker()
session = rtnb.connect(
    {url!r}, turn_detection=None, microphone=mic, speaker=speaker, progress=False
)
counted = []
"""
CELLS: Final = {
    "show": "display(mic, speaker)",
    "talk": "turn = session.send('Go on.')\nturn.wait_for_audio(1.0);",
    "count": "counted.append([session.stats()['microphone'], mic.stats(), speaker.stats()])",
    "sleep": f"""
began = time.monotonic()
time.sleep({BUSY})
sleep = [began, time.monotonic()]
""",
    "spin": f"""
began = time.monotonic()
while time.monotonic() < began + {BUSY}:
    sum(i * i for i in range(1000))
spin = [began, time.monotonic()]
""",
    "close": """
session.close()
told = {
    "kernel": ipykernel.__version__, "folder": str(session.folder), "counted": counted,
    "started": session._started, "sleep": sleep, "spin": spin,
}
with open("call.json", "w") as file:
    json.dump(told, file, default=lambda one: getattr(one, "__dict__", str(one)))
""",
}


@dataclass(frozen=True)
class Wire:
    """One side of a recording.

    Attributes
    ----------
    samples
        float32, 48,000 Hz, from 0 on the call's clock on.
    positions, times
        Of its packets: the first sample, and when it left or came, in seconds.
    """

    samples: Any
    positions: Any
    times: Any

    def when(self, position: float) -> float:
        """Return when the packet left or came that has the sample at a position in seconds."""
        return float(self.times[max(0, np.searchsorted(self.positions, position, "right") - 1)])


@dataclass(frozen=True)
class Call:
    """What came of one call; all times are seconds on its clock.

    Attributes
    ----------
    kernel
        ipykernel's version.
    idle, sleep, spin
        When the kernel was idle, and when each of the busy cells ran.
    counted
        What session, microphone and speaker had counted at each of `MOMENTS`.
    said, played
        What the page's microphone gave, and what the page played.
    sent, heard
        What left on the wire, and what came.
    """

    kernel: str
    idle: tuple[float, float]
    sleep: tuple[float, float]
    spin: tuple[float, float]
    counted: dict[str, list[Any]]
    said: Tapped
    played: Tapped
    sent: Wire
    heard: Wire


def call(python: str = sys.executable) -> Call:
    """Make a call of a minute from a kernel of this interpreter."""
    with tempfile.TemporaryDirectory() as name, rtnb.Peer(voice=lambda turn: ruler(REPLY)) as peer:
        said = ruler(2 * REPLY).write(Path(name) / "said.wav")
        folder = Path(name) / "lab"
        folder.mkdir()
        with (
            running_lab(folder, python=python) as lab,
            running_browser(fake_microphone(Path(said))) as browser,
            new_page(browser, lab) as page,
        ):
            page.add_init_script(TAPS)
            idle = use(lab, page, peer.url)
            told = json.loads((folder / "call.json").read_text(encoding="utf-8"))
            return _call(told, idle, [tapped(page, "in"), tapped(page, "out")])


def use(lab: Lab, page: Page, url: str) -> tuple[float, float]:
    """Make the call in a page; return when the kernel was idle, in monotonic seconds."""
    lab.open(lab.notebook(CONNECT.format(url=url), *CELLS.values()), page)
    lab.run_cell(page, 0, within=WITHIN)
    run(lab, page, "show")
    start_microphone(cell(lab, page, "show"))
    page.wait_for_timeout(1000 * SETTLED)
    run(lab, page, "talk")
    page.wait_for_timeout(1000 * SETTLED)
    run(lab, page, "count")
    began = time.monotonic()
    page.wait_for_timeout(1000 * IDLE)
    idle = (began, time.monotonic())
    run(lab, page, "count")
    for busy in ("sleep", "spin"):
        run(lab, page, busy)
        page.wait_for_timeout(1000 * AFTER)
        run(lab, page, "count")
    run(lab, page, "close")
    return idle


def run(lab: Lab, page: Page, name: str) -> None:
    """Run a cell by its name, and wait until it is over."""
    lab.run_cell(page, list(CELLS).index(name) + 1, within=WITHIN)
    lab.must_not_fail(page)


def cell(lab: Lab, page: Page, name: str) -> Locator:
    """Return what a cell shows."""
    return lab.output(page, list(CELLS).index(name) + 1)


def _call(told: dict[str, Any], idle: tuple[float, float], taps: list[Tapped]) -> Call:
    started = told["started"]
    zero = time.time() - time.monotonic() + started  # of the call's clock, in seconds since 1970
    said, played = (tap.shifted(-zero) for tap in taps)
    run = rtnb.open_run(told["folder"])
    packets = read_packets(run.folder)
    sides = ((run.sent, packets.of("sent")), (run.heard, packets.of("received")))
    sent, heard = (Wire(clip.samples, rows.position / RATE, rows.time) for clip, rows in sides)
    return Call(
        kernel=told["kernel"],
        idle=(idle[0] - started, idle[1] - started),
        sleep=(told["sleep"][0] - started, told["sleep"][1] - started),
        spin=(told["spin"][0] - started, told["spin"][1] - started),
        counted=dict(zip(MOMENTS, told["counted"], strict=True)),
        said=said,
        played=played,
        sent=sent,
        heard=heard,
    )
