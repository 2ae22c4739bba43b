"""Tables and the event inspector in JupyterLab: sorted, searched and read by hand and keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_rig import Lab, new_page
from playwright.sync_api import Browser, Locator, Page, expect

import rtnb

WITHIN = 20_000  # milliseconds
MANY = """
import json, threading, time, rtnb
from rtnb import Event, EventLog

def made(number):
    kinds = ["response.created", "response.output_audio_transcript.delta", "response.done"]
    data = {"type": kinds[min(number % 10, 2)], "number": number, "response_id": f"r{number // 10}"}
    if number % 1000 == 999:
        data = {"type": "error", "error": {"code": "full", "message": f"number {number}"}}
    return Event(json.dumps(data), time=number / 100, direction="received")

log = EventLog(made(number) for number in range(10_000))
"""
GROW = """
def grow(log):
    for number in range(10_000, 11_000):
        log.append(made(number))
        time.sleep(0.002)

threading.Thread(target=grow, args=(log,), daemon=True).start()
"""


ASK = """
import rtnb

session = rtnb.connect({url!r}, modalities=["text"])
for name in ("greeting", "color_of_the_sky", "capital_of_france"):
    session.ask(rtnb.sample_text(name))
"""
RUN = """
import json, rtnb
from rtnb import Event, EventLog

def delta(number):
    data = {"type": "response.output_text.delta", "item_id": "i", "delta": f"w{number} "}
    return Event(json.dumps(data), time=number / 100, direction="received")

run = EventLog(delta(number) for number in range(250))
"""
GROW_RUN = "for number in range(250, 270): run.append(delta(number))"
CELLS = {
    "ask": ASK,
    "turns": "session.turns",
    "many": MANY,
    "inspector": "rtnb.EventInspector(log)",
    "grow": GROW,
    "run": RUN,
    "run's inspector": "rtnb.EventInspector(run)",
    "grow run": GROW_RUN,
}
INDEX = {name: index for index, name in enumerate(CELLS)}


@pytest.fixture(scope="module")
def page(lab: Lab, browser: Browser, peer: rtnb.Peer) -> Iterator[Page]:
    """A page with one notebook, of which each test runs the cells that it needs anew."""
    with new_page(browser, lab) as one:
        cells = [ASK.format(url=peer.url), *list(CELLS.values())[1:]]
        lab.open(lab.notebook(*cells), one)
        yield one


def show(lab: Lab, page: Page, made: str, shown: str) -> Locator:
    """Run the cell that makes something and the one that shows it, and return what is shown."""
    for name in (made, shown):
        lab.run_cell(page, INDEX[name])
    lab.must_not_fail(page)
    return lab.output(page, INDEX[shown])


@pytest.fixture
def inspector(lab: Lab, page: Page) -> Locator:
    """An inspector of 10,000 events, which can be made to grow."""
    found = show(lab, page, "many", "inspector").locator(".rtnb-insp")
    expect(found).to_have_attribute("data-total", "10000", timeout=WITHIN)
    return found


def order(table: Locator) -> list[str]:
    """Return the first cells of a table's rows from top to bottom, as they are seen."""
    rows = table.locator(".rtnb-rowline:not(.rtnb-toprow)").all()
    placed = [(row.bounding_box(), row.locator("> div").first.inner_text()) for row in rows]
    return [text for box, text in sorted(placed, key=lambda one: one[0]["y"] if one[0] else 0)]


def test_a_click_on_a_heading_sorts_a_table(lab: Lab, page: Page) -> None:
    """By the reply's words, and the other way round; no script does it."""
    table = show(lab, page, "ask", "turns")
    assert order(table) == ["1", "2", "3"]
    texts = dict(zip("123", table.locator(".rtnb-rowline").all_inner_texts()[1:], strict=True))
    by_prompt = sorted(texts, key=lambda number: texts[number].split("\n")[1].lower())
    table.get_by_text("prompt", exact=True).click()
    assert order(table) == by_prompt
    table.get_by_text("reverse", exact=True).click()
    assert order(table) == by_prompt[::-1]


def test_ten_thousand_events_are_a_bounded_page(lab: Lab, page: Page, inspector: Locator) -> None:
    """At most 100 rows are in the page, the newest on top, and it follows what comes."""
    assert inspector.locator(".rtnb-ev").count() <= 100
    lab.screenshot(page, "inspector-light", lab.output(page, INDEX["inspector"]))
    lab.theme(page, dark=True)
    lab.screenshot(page, "inspector-dark", lab.output(page, INDEX["inspector"]))
    lab.run_cell(page, INDEX["grow"])
    expect(inspector).to_have_attribute("data-total", "11000", timeout=WITHIN)
    assert inspector.locator(".rtnb-ev").count() <= 102


def test_the_inspector_finds_by_glob_and_by_text(inspector: Locator) -> None:
    """Both narrow the rows down; the errors are few."""
    inspector.locator("input[type=text]").fill("err*")
    expect(inspector).to_have_attribute("data-matching", "10", timeout=WITHIN)
    inspector.locator("input[type=search]").fill("number 4999")
    expect(inspector).to_have_attribute("data-matching", "1", timeout=WITHIN)


def test_the_inspector_is_used_by_keyboard(page: Page, inspector: Locator) -> None:
    """Down moves, Enter unfolds, what is unfolded stays in place while events arrive."""
    inspector.locator("input[type=text]").fill("response.done")
    inspector.locator(".rtnb-ev[data-type='response.done']").first.wait_for()
    first = inspector.locator(".rtnb-ev-line").first
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    unfolded = inspector.locator(".rtnb-ev-line[aria-expanded=true]")
    expect(unfolded).to_have_count(1)
    expect(inspector.locator(".rtnb-ev-json").first).to_contain_text('"number"', timeout=WITHIN)
    page.keyboard.press("Escape")
    expect(unfolded).to_have_count(0)
    page.keyboard.press("/")
    expect(inspector.locator("input[type=search]")).to_be_focused()


def test_the_inspector_is_paused(lab: Lab, page: Page, inspector: Locator) -> None:
    """Paused, the rows stay while the log grows."""
    top = inspector.locator(".rtnb-ev").first.get_attribute("data-row")
    inspector.get_by_text("Pause", exact=True).click()
    expect(inspector).to_have_attribute("data-state", "paused", timeout=WITHIN)
    lab.run_cell(page, INDEX["grow"])
    expect(inspector).not_to_have_attribute("data-newer", "0", timeout=WITHIN)
    assert inspector.locator(".rtnb-ev").first.get_attribute("data-row") == top
    inspector.get_by_text("Follow", exact=True).click()
    expect(inspector).to_have_attribute("data-state", "following", timeout=WITHIN)


def test_a_long_run_unfolds_a_hundred_at_a_time(lab: Lab, page: Page) -> None:
    """The page stays small; more comes by the keyboard, and what is new when the run grows."""
    root = show(lab, page, "run", "run's inspector").locator(".rtnb-insp")
    expect(root).to_have_attribute("data-total", "250", timeout=WITHIN)
    root.locator(".rtnb-ev-line").first.focus()
    page.keyboard.press("Enter")
    single = root.locator(".rtnb-ev-single")
    expect(single).to_have_count(100, timeout=WITHIN)
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(single).to_have_count(200, timeout=WITHIN)
    root.locator(".rtnb-ev-more button").click()
    expect(single).to_have_count(250, timeout=WITHIN)
    lab.run_cell(page, INDEX["grow run"])
    expect(single).to_have_count(270, timeout=WITHIN)
