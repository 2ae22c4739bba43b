"""A microphone that plays a file, and a conversation in JupyterLab; it knows no widget from inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser_rig import Lab, artifacts, new_page, running_browser
from matplotlib.axes import Axes
from playwright.sync_api import Locator, Page, expect

import rtnb

__all__ = ["PROMPTS", "conversation", "draw", "fake_microphone", "spoken", "start_microphone"]

PROMPTS = ("capital_of_france", "greeting", "seven_times_eight")
FIRST = 3.0  # seconds until the first words, in which the page comes to rest
ANSWER = 4.5  # seconds for the end of speech to be heard, and for the answer
QUIET = 0.25  # of the samples' level, as voices are: gain control would clip what is louder
WITHIN = 40_000  # milliseconds for the whole conversation
CONNECT = """
import threading
import ipywidgets, rtnb

mic, speaker, told = rtnb.Microphone(), rtnb.Speaker(), ipywidgets.Label("listening")
session = rtnb.connect(
    {peer!r}, transcription=True, microphone=mic, speaker=speaker, record_to={run!r}, progress=False
)

def follow():
    seen = []
    while len(seen) < {turns}:
        seen.append(
            session.events.wait_for(
                lambda one: one.type == "output_audio_buffer.stopped" and one not in seen, timeout=60
            )
        )
        told.value = f"answers: {{len(seen)}}"

threading.Thread(target=follow, daemon=True).start()
"""
SHOW = "display(mic, speaker, told)"
END = "for turn in session.turns:\n    turn.wait(10)\nsession.close()"


def fake_microphone(path: Path) -> tuple[str, ...]:
    """Return the flags of a Chromium whose microphone plays a WAV once, from when it is opened."""
    return (f"--use-file-for-fake-audio-capture={path}%noloop",)


def spoken(prompts: tuple[str, ...] = PROMPTS) -> rtnb.Clip:
    """Return bundled prompts with as much silence after each as its answer takes."""
    clip = rtnb.Clip.silence(FIRST)
    for name in prompts:
        clip = clip + rtnb.sample(name).resample(48_000) + rtnb.Clip.silence(ANSWER)
    return rtnb.Clip(QUIET * clip.samples, clip.sample_rate)


def start_microphone(output: Locator) -> None:
    """Turn the microphone on, as a user does."""
    group = output.get_by_role("group", name="Microphone")
    group.get_by_role("button", name="Start", exact=True).click()


@contextmanager
def conversation(lab: Lab, peer: str, folder: Path) -> Iterator[tuple[Page, Locator, Path]]:
    """Talk in JupyterLab; give the page, the cell with the widgets, and the run.

    The prompts are said one after the other, each after the answer to the one before. The call is
    over, and the page still open.
    """
    said = spoken().write(folder / "said.wav")
    run = folder / "run"
    connect = CONNECT.format(peer=peer, run=str(run), turns=len(PROMPTS))
    notebook = lab.notebook(connect, SHOW, END, name="spoken")
    with running_browser(fake_microphone(Path(said))) as browser, new_page(browser, lab) as page:
        lab.open(notebook, page)
        lab.run_cell(page, 0)
        lab.run_cell(page, 1)
        widgets = lab.output(page, 1)
        start_microphone(widgets)
        playing = widgets.get_by_role("group", name="Speaker").get_by_role("meter")
        expect(playing).not_to_have_attribute("aria-valuetext", "silent", timeout=WITHIN)
        # as it is: to lay the page out anew would hold up the voice
        widgets.screenshot(path=artifacts() / "conversation-during.png")
        try:
            expect(widgets).to_contain_text(f"answers: {len(PROMPTS)}", timeout=WITHIN)
        except AssertionError as error:
            raise AssertionError(f"not all was answered: {rtnb.open_run(run).turns}") from error
        lab.run_cell(page, 2)
        lab.must_not_fail(page)
        yield page, widgets, run


def draw(run: rtnb.Run) -> Axes:
    """Draw the timeline of a conversation, and keep its picture."""
    axes = run.plot()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(artifacts() / "conversation-timeline.png", dpi=120, bbox_inches="tight")
    return axes
