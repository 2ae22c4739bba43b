"""What comes from outside does not run in a browser, and a saved notebook still shows what it did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from brief import SOON
from browser_rig import Lab, new_page
from playwright.sync_api import Browser, Page, expect

import rtnb

EVIL = '<script>window.ran=1</script><img src=x onerror="window.ran=1"><svg onload="window.ran=1">'
EVIL_FILE = "<img src=x onerror=window.ran=1>.wav"  # a file's name holds no slash

SETUP = """
import json, pathlib, IPython, rtnb

evil, evil_file = {evil!r}, {evil_file!r}
session = rtnb.connect({peer!r}, transcription=True, turn_detection={soon!r}, progress=False)

@session.tool
def weather(city: str) -> str:
    "The weather."
    return evil

rtnb.sample("greeting").write(evil_file)
"""
CALL = """
named = session.ask(pathlib.Path(evil_file))
written = session.ask(evil)
tooled = session.ask(rtnb.sample_text("weather_in_paris"))
session.send_event({"type": evil, "field": evil})
session.events.wait_for("error")
folder = session.save("hostile")
answer = "Hello! I am doing fine today."
for name in ("events.jsonl", "turns.jsonl"):
    path = folder / name
    path.write_text(path.read_text().replace(answer, json.dumps(evil)[1:-1]))
run = rtnb.open_run(folder)
assert run.turns[0].transcript == evil and tooled.tool_calls[0].output
failed = rtnb.CallError(evil)
"""
SHOWN = (
    *("named", "written", "tooled", "session", "session.events", "session.events.last"),
    *("run", "run.turns", "run.turns[0]", "failed", "rtnb.EventInspector(session)"),
)


@pytest.fixture(autouse=True)
def _without_kernels(lab: Lab) -> Iterator[None]:
    """No kernel of a test is left to the next one."""
    yield
    lab.end_kernels()


def ran(page: Page) -> bool:
    """Tell whether a hostile text has run in the page."""
    return bool(page.evaluate("() => Boolean(window.ran)"))


def test_hostile_texts_do_not_run(lab: Lab, page: Page, brief_peer: rtnb.Peer) -> None:
    """A prompt, a transcript, a tool's result, a file's name, an event and an error stay text."""
    setup = SETUP.format(evil=EVIL, evil_file=EVIL_FILE, peer=brief_peer.url, soon=SOON)
    panel = "panel = rtnb.Panel(session)\npanel"
    control = "IPython.display.HTML(evil)"
    lab.open(lab.notebook(setup, CALL, *SHOWN, panel, control), page)
    for index in range(2 + len(SHOWN) + 1):
        lab.run_cell(page, index)
    lab.must_not_fail(page)
    output = lab.output(page, 2 + len(SHOWN))
    for name in ("Transcript", "Turns", "Events", "Handshake"):
        output.get_by_role("tab", name=name).click()
    expect(output.get_by_text("SDP offer")).to_be_visible()
    for index in range(2, 2 + len(SHOWN)):
        expect(lab.output(page, index)).to_contain_text("window.ran=1")
    assert page.locator("img[src=x]").count() == 0
    assert not ran(page)
    lab.run_cell(page, 3 + len(SHOWN))  # the test can fail: the same text as HTML does run
    page.wait_for_function("() => window.ran")


@pytest.fixture(scope="module")
def saved(lab: Lab, browser: Browser, brief_peer: rtnb.Peer) -> Path:
    """A notebook that shows a bit of everything, saved with its widgets."""
    lab.set("jupyterlab-manager/plugin", scope="@jupyter-widgets", saveState=True)
    notebook = lab.notebook(
        f"import rtnb\nsession = rtnb.connect({brief_peer.url!r}, transcription=True)\n"
        'turn = session.ask(rtnb.sample("capital_of_france"))',
        *("turn", "turn.plot();", "session.events", "session"),
        *("session.events.select('response.*')", "panel = rtnb.Panel(session)\npanel"),
        "session.close(); panel.close()",
        name="saved",
    )
    with new_page(browser, lab) as page:
        lab.open(notebook, page)
        for index in range(8):
            lab.run_cell(page, index)
        status = lab.output(page, 6).locator(".rtnb-status").last
        expect(status).to_contain_text("This panel is closed")
        lab.save(page)
    return notebook


def test_a_saved_notebook_shows_everything_without_a_kernel(
    lab: Lab, page: Page, saved: Path
) -> None:
    """Turns with players, plots, events, and the record of a panel's call."""
    lab.open(saved, page, kernel=False)
    answer = "The capital of France is Paris."
    expect(lab.output(page, 1)).to_contain_text(answer)
    assert lab.output(page, 1).locator("audio:visible").count() == 2
    expect(lab.output(page, 2).locator("img")).to_be_visible()
    expect(lab.output(page, 3)).to_contain_text("response.done")
    assert lab.output(page, 4).locator("audio:visible").count() == 2
    panel = lab.output(page, 6)
    panel.get_by_text("Record of the call").click()
    expect(panel).to_contain_text(answer)
    expect(panel).to_contain_text("response.done")
    assert panel.locator("audio:visible").count() == 2
    lab.screenshot(page, "saved-without-kernel")


def test_an_untrusted_notebook_shows_the_text(lab: Lab, page: Page, saved: Path) -> None:
    """From somebody else, a turn and its events are read as plain text."""
    text = saved.read_text(encoding="utf-8").replace("session.close()", "session.close( )")
    other = lab.folder / "other.ipynb"
    other.write_text(text, encoding="utf-8")  # what was changed elsewhere is not trusted
    lab.open(other, page, kernel=False)
    shown = lab.output(page, 1).locator("pre:visible")
    expect(shown.first).to_contain_text("Turn 1 completed: 'What is the capital of France?'")
    assert lab.output(page, 1).locator("audio:visible").count() == 0
    lab.screenshot(page, "saved-untrusted")
