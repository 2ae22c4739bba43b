"""Pictures of what rtnb shows in JupyterLab, in both themes, for the eye and for the README.

``python -m tests.screenshots [OUT [NAME ...]]`` shoots all scenes, the notebooks, a
conversation and the page of ``rtnb serve``, or those named;
``python -m tests.screenshots --readme`` makes the README's pictures anew.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

import rtnb

# the rigs are found beside this file, as pytest finds them
sys.path.insert(0, str(Path(__file__).parent))

import page_rig
from browser_rig import Lab, artifacts, new_page, running_browser, running_lab
from spoken_page import conversation, draw

__all__ = ["SCENES", "Scene", "shoot", "shoot_notebook"]

WITHIN = 90.0  # seconds for all cells of a scene
PATIENCE = 30_000  # milliseconds for what a click brings about
CALL = "session = rtnb.connect(peer, transcription=True)"
MANY = """import json

log = rtnb.EventLog()
for n in range(10_000):
    one = {"response_id": f"r{n // 10}", "item_id": f"i{n // 10}", "delta": f"word {n} "}
    one["type"] = "response.output_text.delta"
    if n % 10 in (0, 1):
        one = {"type": "response.created" if n % 10 else "response.create", "response": {"id": "r"}}
    elif n % 10 == 9:
        usage = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}
        one = {"type": "response.done", "response": {"status": "completed", "usage": usage}}
    elif n % 100 == 58:
        one = {"type": "vendor.mood", "mood": "cheerful"}
    elif n % 1000 == 978:
        one = {"type": "error", "error": {"code": "full", "message": f"No room for {n}."}}
    event = rtnb.Event(json.dumps(one), time=n / 50, direction="received" if n % 10 else "sent")
    log.append(event)"""
ASK = 'turn = session.ask(rtnb.sample("capital_of_france"))'


@dataclass(frozen=True)
class Scene:
    """Cells that are run in a notebook of their own, and the one that is shot.

    `act` does with the page what a user does, before the picture; with `whole` the picture has
    the cell's code too.
    """

    name: str
    cells: tuple[str, ...]
    cell: int = -1
    themes: tuple[str, ...] = ("light", "dark")
    whole: bool = False
    act: Callable[[Lab, Page], None] | None = None


def use_panel(lab: Lab, page: Page) -> None:
    """Connect and ask in a panel, with pictures on the way; it is left with a turn that is over."""
    panel = lab.output(page, -1)
    lab.screenshot(page, "panel-before", panel)
    panel.get_by_role("button", name="Connect", exact=True).click()
    status = panel.locator(".rtnb-status").last
    expect(status).to_contain_text("Connected. Choose a prompt", timeout=PATIENCE)
    panel.get_by_role("button", name="Send prompt").click()
    expect(status).to_contain_text("reply sounding", timeout=PATIENCE)
    # long enough to see both sides in the meters, and words in the transcript
    expect(panel.get_by_role("log")).to_contain_text("The capital", timeout=PATIENCE)
    heard = panel.get_by_label("level heard")
    expect(heard).not_to_have_attribute("aria-valuetext", "silent", timeout=PATIENCE)
    lab.screenshot(page, "panel-during", panel)
    expect(status).to_contain_text("Connected. Choose a prompt", timeout=PATIENCE)
    facts = {
        "Events": panel.get_by_role("row", name=re.compile("response.done")).first,
        "Handshake": panel.get_by_text("SDP answer"),
        "Turns": panel.get_by_text("first audio").first,
    }
    for tab, fact in facts.items():
        panel.get_by_role("tab", name=tab).click()
        expect(panel.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(fact).to_be_visible(timeout=PATIENCE)
        lab.screenshot(page, f"panel-{tab.lower()}", panel)


def speak_to_panel(lab: Lab, page: Page) -> None:
    """Connect and speak into a panel, with pictures on the way; it is left after the call."""
    panel = lab.output(page, -1)
    status = panel.locator(".rtnb-status").last
    panel.get_by_role("button", name="Connect", exact=True).click()
    expect(status).to_contain_text("Connected. Choose a prompt", timeout=PATIENCE)
    panel.locator(".rtnb-mic").get_by_role("button", name="Start").click()
    expect(status).to_contain_text("Connected and listening", timeout=PATIENCE)
    lab.screenshot(page, "voice-listening", panel)
    expect(status).to_contain_text("You are speaking", timeout=PATIENCE)
    lab.screenshot(page, "voice-speaking", panel)
    expect(status).to_contain_text("The reply is being heard", timeout=PATIENCE)
    lab.screenshot(page, "voice-heard-light", panel)
    lab.theme(page, dark=True)
    lab.screenshot(page, "voice-heard-dark", panel)
    expect(status).to_contain_text("Connected and listening", timeout=PATIENCE)
    panel.get_by_role("tab", name="Turns").click()
    expect(panel.get_by_text("first audio").first).to_be_visible(timeout=PATIENCE)
    panel.get_by_role("button", name="Hang up").click()
    expect(status).to_contain_text("The call is over", timeout=PATIENCE)


def voice(folder: Path) -> Path:
    """Write what the browser's microphone hears: a prompt, and a long silence after it."""
    prompt = rtnb.sample("tell_me_a_story").resample(48_000)
    said = rtnb.Clip.silence(3.0) + prompt + rtnb.Clip.silence(60.0)
    return said.write(folder / "voice.wav")


def follow_events(lab: Lab, page: Page) -> None:
    """Wait until the inspector has all 10,000 events, and its newest row is in the page."""
    inspector = lab.output(page, -1).locator("[data-total]")
    expect(inspector).to_have_attribute("data-total", "10000", timeout=PATIENCE)
    expect(inspector.locator(".rtnb-ev").first).to_be_visible(timeout=PATIENCE)


SCENES = (
    Scene("clip", ('rtnb.sample("capital_of_france")',)),
    Scene("turn", (CALL, ASK, "turn")),
    Scene("session", (CALL, ASK, "session")),
    Scene("events", (CALL, ASK, "session.events")),
    Scene("inspector", (MANY, "rtnb.EventInspector(log)"), act=follow_events),
    Scene("plot", (CALL, ASK, "turn.plot();")),
    Scene("batch", ('rtnb.replay(rtnb.samples()[:3], peer, voices=["marin", "ash"])',)),
    Scene("first_call", (f"{CALL}\n{ASK}\nturn",), whole=True),
    Scene("panel", ("panel = rtnb.Panel()\npanel",), act=use_panel),
    Scene("voice", ("panel = rtnb.Panel()\npanel",), act=speak_to_panel),
)
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
README = {"first_call-light": "turn", "voice-light": "panel"}
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def shoot(scene: Scene, lab: Lab, browser: Browser, peer: str) -> list[Path]:
    """Run a scene's cells in a kernel of its own, and return its pictures."""
    setup = f"import rtnb\n\npeer = {peer!r}"
    notebook = lab.notebook(setup, *scene.cells, name=scene.name)
    index = (range(len(scene.cells))[scene.cell]) + 1  # the setup is cell 0
    with new_page(browser, lab) as page:
        lab.open(notebook, page)
        for number in range(len(scene.cells) + 1):
            lab.run_cell(page, number, within=WITHIN)
        lab.must_not_fail(page)
        if scene.act:
            scene.act(lab, page)
        part = lab.cell(page, index) if scene.whole else lab.output(page, index)
        shots = []
        for theme in scene.themes:
            lab.theme(page, dark=theme == "dark")
            shots.append(lab.screenshot(page, f"{scene.name}-{theme}", part))
    return shots


def shoot_notebook(name: str, lab: Lab, browser: Browser) -> list[Path]:
    """Run a tutorial and return pictures of its figures, the last of them in the dark too."""
    notebook = Path(shutil.copy(NOTEBOOKS / f"{name}.ipynb", lab.folder))
    with new_page(browser, lab) as page:
        lab.open(notebook, page)
        lab.run_all(page, within=WITHIN)
        lab.must_not_fail(page)
        figures = page.locator(".jp-Cell-outputArea:has(.jp-RenderedImage)").all()
        shots = [
            lab.screenshot(page, f"{name}-{number}-light", figure)
            for number, figure in enumerate(figures, 1)
        ]
        if figures:
            lab.theme(page, dark=True)
            shots.append(lab.screenshot(page, f"{name}-{len(figures)}-dark", figures[-1]))
    return shots


def shoot_conversation() -> list[Path]:
    """Talk with a voice in JupyterLab, and return pictures of it and of the run's timeline."""
    with (
        tempfile.TemporaryDirectory() as folder,
        rtnb.Peer() as peer,
        running_lab(Path(tempfile.mkdtemp(dir=folder))) as lab,
        conversation(lab, peer.url, Path(folder)) as (page, widgets, run),
    ):
        shots = []
        for theme in ("light", "dark"):
            lab.theme(page, dark=theme == "dark")
            shots.append(lab.screenshot(page, f"conversation-after-{theme}", widgets))
        draw(rtnb.open_run(run))
    return sorted({*shots, *artifacts().glob("conversation-*.png")})


def main(arguments: list[str]) -> int:
    """Shoot what is asked for, and say where the pictures are."""
    for_readme = arguments == ["--readme"]
    names = [shot.rpartition("-")[0] for shot in README] if for_readme else arguments[1:]
    if arguments and not for_readme:
        os.environ["RTNB_ARTIFACTS"] = arguments[0]
    chosen = [scene for scene in SCENES if scene.name in names or not names]
    tutorials = [p.stem for p in sorted(NOTEBOOKS.glob("*.ipynb")) if p.stem in names or not names]
    with (
        tempfile.TemporaryDirectory() as folder,
        rtnb.Peer() as peer,
        running_lab(Path(folder)) as lab,
        running_browser((f"--use-file-for-fake-audio-capture={voice(Path(folder))}",)) as browser,
    ):
        for scene in chosen:
            before = time.monotonic()
            shots = ", ".join(path.name for path in shoot(scene, lab, browser, peer.url))
            sys.stdout.write(f"{shots}: {time.monotonic() - before:.1f} s\n")
        for name in tutorials:
            shots = ", ".join(path.name for path in shoot_notebook(name, lab, browser))
            sys.stdout.write(f"{shots or name}\n")
    if "conversation" in names or not names:
        # in a browser of its own, whose microphone begins to speak when it is started
        sys.stdout.write(f"{', '.join(path.name for path in shoot_conversation())}\n")
    if "page" in names or not names:
        sys.stdout.write(f"{', '.join(path.name for path in page_rig.shoot(artifacts()))}\n")
    if for_readme:
        IMAGES.mkdir(exist_ok=True)
        for shot, image in README.items():
            shutil.copy(artifacts() / f"{shot}.png", IMAGES / f"{image}.png")
    sys.stdout.write(f"in {artifacts()}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
