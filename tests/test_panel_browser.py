"""The panel in JupyterLab, as a user has it: clicked, read, and looked at in a Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from browser_rig import Lab, new_page
from playwright.sync_api import Browser, Locator, Page, expect

import rtnb

ANSWER = "The capital of France is Paris."
KEY = "sk-test-only-0123456789abcdef"
WITHIN = 30_000  # milliseconds
OVER = "over.txt"
BUSY = f"""
import pathlib, time
until = time.monotonic() + 30
while not pathlib.Path({OVER!r}).exists() and time.monotonic() < until:
    time.sleep(0.05)
print("over")
"""


@pytest.fixture(scope="module")
def page(lab: Lab, browser: Browser, peer: rtnb.Peer) -> Iterator[Page]:
    """A page with a panel that offers the tests' peer, for all tests of this module."""
    lab.set("jupyterlab-manager/plugin", scope="@jupyter-widgets", saveState=True)
    notebook = lab.notebook(f"import rtnb\npanel = rtnb.Panel(endpoint={peer.url!r})\npanel", BUSY)
    with new_page(browser, lab) as one:
        lab.open(notebook, one)
        lab.run_cell(one, 0)
        yield one


@pytest.fixture
def panel(lab: Lab, page: Page) -> Locator:
    """The panel, without a call, and with its first prompt chosen."""
    panel = lab.output(page, 0)
    if button(panel, "Hang up").is_enabled():
        button(panel, "Hang up").click()
    expect(button(panel, "Connect")).to_be_enabled(timeout=WITHIN)
    panel.get_by_label("call", exact=True).select_option(label="the endpoint given")
    choose(panel, "capital_of_france")
    panel.get_by_role("tab", name="Transcript").click()
    return panel


def button(panel: Locator, name: str) -> Locator:
    return panel.get_by_role("button", name=name, exact=True)


def see(panel: Locator, text: str) -> None:
    """Wait until the status line says something."""
    line = panel.get_by_role("status").filter(has=panel.page.locator(".rtnb-status"))
    expect(line).to_contain_text(text, timeout=WITHIN)


def connect(panel: Locator) -> None:
    button(panel, "Connect").click()
    see(panel, "Connected. Choose a prompt")


def choose(panel: Locator, name: str) -> None:
    """Choose a prompt by its beginning."""
    menu = panel.get_by_label("prompt", exact=True)
    label = menu.locator("option", has_text=re.compile(f"^{name}")).inner_text()
    menu.select_option(label=label)


def test_the_whole_flow(lab: Lab, page: Page, panel: Locator) -> None:
    """Connect, choose, send, read both sides, open an event, interrupt a story, hang up."""
    see(panel, "Not connected")
    lab.screenshot(page, "panel-before", panel)
    connect(panel)
    choose(panel, "capital_of_france")
    button(panel, "Send prompt").click()
    see(panel, "reply sounding")
    lab.screenshot(page, "panel-during", panel)
    said = panel.get_by_role("log")
    expect(said).to_contain_text("What is the capital of France?", timeout=WITHIN)
    expect(said).to_contain_text(ANSWER, timeout=WITHIN)
    open_an_event(panel)
    panel.get_by_role("tab", name="Turns").click()
    expect(panel.get_by_text("first audio").first).to_be_visible(timeout=WITHIN)
    assert panel.locator("audio:visible").count() == 3  # the preview, and both sides
    choose(panel, "tell_me_a_story")
    button(panel, "Send prompt").click()
    see(panel, "reply sounding")
    button(panel, "Interrupt").click()
    see(panel, "Interrupted.")
    panel.get_by_role("tab", name="Handshake").click()
    expect(panel.get_by_text("SDP answer")).to_be_visible()
    lab.screenshot(page, "panel-handshake", panel)
    button(panel, "Hang up").click()
    see(panel, "The call is over")
    panel.get_by_role("tab", name="Turns").click()
    lab.screenshot(page, "panel-after", panel)


def open_an_event(panel: Locator) -> None:
    """Unfold the newest response.done in the inspector, and read its JSON."""
    panel.get_by_role("tab", name="Events").click()
    row = panel.get_by_role("row", name=re.compile("response.done")).first
    row.click()
    expect(panel.locator("pre", has_text='"status": "completed"').first).to_be_visible(
        timeout=WITHIN
    )


def test_push_to_talk_by_the_keyboard(panel: Locator, page: Page) -> None:
    """The space bar holds it; let go, the turn is answered."""
    connect(panel)
    hold = button(panel, "Push to talk (hold): prompt")
    hold.focus()
    page.keyboard.down(" ")
    see(panel, "Talking. Let go")
    expect(hold).to_have_attribute("aria-pressed", "true")
    expect(panel.get_by_label("level sent")).not_to_have_attribute(
        "aria-valuetext", "silent", timeout=WITHIN
    )
    page.keyboard.up(" ")
    expect(hold).to_have_attribute("aria-pressed", "false")
    see(panel, "waiting for the reply")


def test_push_to_talk_by_the_pointer(panel: Locator, page: Page) -> None:
    """Let go outside the button it ends too."""
    connect(panel)
    hold = button(panel, "Push to talk (hold): prompt")
    hold.hover()
    page.mouse.down()
    see(panel, "Talking. Let go")
    page.mouse.move(5, 5)
    page.mouse.up()
    expect(hold).to_have_attribute("aria-pressed", "false")
    see(panel, "waiting for the reply")


def test_a_typed_key_is_nowhere(lab: Lab, page: Page, panel: Locator) -> None:
    """Neither in the page, nor in the saved notebook and its widgets, before or after Connect."""
    panel.get_by_label("call", exact=True).select_option(label="another server")
    panel.get_by_label("base URL").fill("http://127.0.0.1:9/v1")
    key = panel.get_by_label("API key")
    key.fill(KEY)
    key.blur()
    expect(key).to_have_value("")
    expect(key).to_have_attribute("placeholder", re.compile("^taken"), timeout=WITHIN)
    lab.save(page)
    assert "http://127.0.0.1:9/v1" in saved(lab), "the fields' values are saved"
    assert KEY not in saved(lab)
    button(panel, "Connect").click()
    see(panel, "127.0.0.1:9")
    lab.save(page)
    assert KEY not in saved(lab)
    assert KEY not in page.content()
    assert str(lab.folder) not in saved(lab)


def test_nothing_is_cut_off_in_a_narrow_notebook(page: Page, panel: Locator) -> None:
    """At 900 px every control is as wide as its words, and no line has to be scrolled."""
    expect(panel.locator(".rtnb-mic")).to_be_visible(timeout=WITHIN)
    expect(panel.locator(".rtnb-speaker")).to_be_visible(timeout=WITHIN)
    page.set_viewport_size({"width": 900, "height": 900})
    widgets = panel.locator(".widget-vbox").first.locator("button, .widget-box, .rtnb")
    too_wide = widgets.evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth + 1)"
        ".map(one => `${one.className}: ${one.textContent.slice(0, 80)}`)"
    )
    page.set_viewport_size({"width": 1000, "height": 900})
    assert too_wide == []


def test_enter_sends_the_text(panel: Locator, page: Page) -> None:
    """What is written goes out with Enter, and is answered."""
    connect(panel)
    text = panel.get_by_label("or text")
    text.fill("What is the capital of France?")
    text.press("Enter")
    expect(panel.get_by_role("log")).to_contain_text(ANSWER, timeout=WITHIN)
    expect(text).to_have_value("")


def test_a_click_is_served_while_a_cell_runs(lab: Lab, page: Page, panel: Locator) -> None:
    """A cell sleeps until it is told that one has connected, sent and interrupted meanwhile."""
    (lab.folder / OVER).unlink(missing_ok=True)
    lab.start_cell(page, 1)
    connect(panel)
    panel.get_by_label("or text").fill("Tell me a long story.")
    button(panel, "Send text").click()
    see(panel, "reply sounding")
    button(panel, "Interrupt").click()
    see(panel, "Interrupted.")
    assert "over" not in lab.output(page, 1).inner_text(), "it did not run until now"
    (lab.folder / OVER).touch()
    lab.wait_idle(page)
    expect(lab.output(page, 1)).to_contain_text("over")


def saved(lab: Lab) -> str:
    """Return the notebook as it was saved, its metadata included."""
    notebook = json.loads((lab.folder / "notebook.ipynb").read_text(encoding="utf-8"))
    return json.dumps(notebook, ensure_ascii=False)
