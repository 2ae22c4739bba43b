"""The rig with a browser itself: ordinary widgets and saved notebooks in JupyterLab and Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser_rig import WIDTH, Lab, chromium, new_page
from playwright.sync_api import Browser, Page, TimeoutError, expect

BUTTON = """
import threading
import ipywidgets as w

label, button = w.Label("before"), w.Button(description="Go")
button.on_click(lambda _: setattr(label, "value", "after"))
w.HBox([button, label])
"""
HANDED_OVER = """
import threading
import ipywidgets as w

label, button, gate = w.Label("before"), w.Button(description="Go"), threading.Event()

def work():
    label.value = "at work"
    gate.wait(20)
    label.value = "worked"

button.on_click(lambda _: threading.Thread(target=work).start())
w.HBox([button, label])
"""
MIRROR = """
import anywidget

class Mirror(anywidget.AnyWidget):
    _esm = '''
    export default {
        render({ model, el }) {
            const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
            model.on("msg:custom", (content, buffers) => {
                const came = new Uint8Array(buffers[0].buffer ?? buffers[0]);
                el.textContent = `${content.kind}: ${came.length} bytes, first ${came[0]}`;
            });
            model.send({ kind: "bytes" }, undefined, [bytes.buffer]);
        }
    }
    '''

def answer(widget, content, buffers):
    widget.send({"kind": f"back {content['kind']}"}, buffers=[bytes(buffers[0])[::-1]])

mirror = Mirror()
mirror.on_msg(answer)
mirror
"""
SCRIPT = "<p class='seen'>shown</p><script>window.ran = true</script>"


@pytest.fixture(scope="module")
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A page for all tests of this module, each of which opens a notebook in it."""
    with new_page(browser, lab) as one:
        yield one


def notebook_that_shows(lab: Lab, html: str) -> Path:
    """Write a notebook that is already executed, by somebody else."""
    data = {"text/plain": "plain", "text/html": html}
    output = nbformat.v4.new_output("execute_result", data, execution_count=1)
    cell = nbformat.v4.new_code_cell("shown", outputs=[output], execution_count=1)
    path = lab.folder / "saved.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


# --- widgets -------------------------------------------------------------------------------------


def test_a_click_changes_a_label_in_the_page(lab: Lab, page: Page) -> None:
    """The whole way: a cell is run, its button clicked, what the callback did is read."""
    lab.open(lab.notebook(BUTTON), page)
    lab.run_all(page)
    shown = lab.output(page, 0)
    expect(shown).to_contain_text("before")
    shown.get_by_role("button", name="Go").click()
    expect(shown).to_contain_text("after")


def test_a_callback_that_hands_over_does_not_block(lab: Lab, page: Page) -> None:
    """Cells run while its work goes on."""
    lab.open(lab.notebook(HANDED_OVER, "1 + 1", "gate.set()"), page)
    lab.run_cell(page, 0)
    shown = lab.output(page, 0)
    shown.get_by_role("button", name="Go").click()
    expect(shown).to_contain_text("at work")
    lab.run_cell(page, 1)
    expect(lab.output(page, 1)).to_contain_text("2")
    expect(shown).to_contain_text("at work")
    lab.run_cell(page, 2)
    expect(shown).to_contain_text("worked")


def test_a_widget_of_ours_sends_bytes_both_ways(lab: Lab, page: Page) -> None:
    """Its JavaScript runs in the page, and 256 bytes go to the kernel and come back."""
    lab.open(lab.notebook(MIRROR), page)
    lab.run_all(page)
    expect(lab.output(page, 0)).to_contain_text("back bytes: 256 bytes, first 255")


def test_a_cell_that_was_started_is_waited_for(lab: Lab, page: Page) -> None:
    """The wait fails in time while the cell goes on, and ends when the cell is over."""
    lab.open(lab.notebook("import threading; threading.Event().wait(0.7); print('over')"), page)
    lab.start_cell(page, 0)
    with pytest.raises(TimeoutError):
        lab.wait_idle(page, within=0.2)
    lab.wait_idle(page)
    assert lab.output(page, 0).inner_text().strip() == "over"


# --- saved notebooks -----------------------------------------------------------------------------


def test_a_saved_notebook_opens_without_a_kernel(lab: Lab, page: Page, browser: Browser) -> None:
    """What it showed is there again, and no kernel was started for it."""
    path = lab.notebook("print('kept')")
    lab.open(path, page)
    lab.run_all(page)
    lab.save(page)
    lab.end_kernels()
    with new_page(browser, lab) as again:
        lab.open(path, again, kernel=False)
        expect(lab.output(again, 0)).to_have_text("kept")
        assert lab.kernels() == []


def test_a_notebook_of_somebody_else_runs_no_script(lab: Lab, page: Page) -> None:
    """Its HTML is cleaned, as it is not trusted."""
    lab.open(notebook_that_shows(lab, SCRIPT), page, kernel=False)
    expect(page.locator("p:text('shown')")).to_be_visible()
    assert page.evaluate("window.ran") is None


def test_a_trusted_notebook_runs_its_scripts(lab: Lab, page: Page) -> None:
    """So whatever comes from outside must be escaped."""
    path = notebook_that_shows(lab, SCRIPT)
    lab.trust(path)
    lab.open(path, page, kernel=False)
    page.wait_for_function("window.ran === true")


# --- pictures ------------------------------------------------------------------------------------


def test_a_picture_shows_a_long_output_whole(
    lab: Lab, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is 1,000 pixels wide, and higher than the window was."""
    monkeypatch.setenv("RTNB_ARTIFACTS", str(tmp_path / "pictures"))
    path = notebook_that_shows(lab, "<div style='height: 3000px'>high</div>")
    lab.open(path, page, kernel=False)
    expect(page.get_by_text("high")).to_be_visible()
    shot = lab.screenshot(page, "high", lab.output(page, 0)).read_bytes()
    assert int.from_bytes(shot[16:20]) == WIDTH
    assert 3000 <= int.from_bytes(shot[20:24]) < 3100


def test_the_theme_is_dark_where_it_is_asked_for(lab: Lab, page: Page) -> None:
    """It can be changed in an open page."""
    lab.open(notebook_that_shows(lab, SCRIPT), page, dark=True, kernel=False)
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    lab.theme(page, dark=False)
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "true")


# --- what must not pass unseen -------------------------------------------------------------------


def test_a_page_that_asks_for_something_outside_fails(browser: Browser, lab: Lab) -> None:
    """The address is in the message, and nothing has left this machine."""
    with (
        pytest.raises(AssertionError, match=r"https://example\.invalid/a"),
        new_page(browser, lab) as page,
    ):
        page.evaluate("fetch('https://example.invalid/a').catch(() => null)")


def test_a_script_that_fails_is_noticed(browser: Browser, lab: Lab) -> None:
    """An error that no one caught fails the test that used the page."""
    with pytest.raises(AssertionError, match="thrown"), new_page(browser, lab) as page:
        with page.expect_event("pageerror"):
            page.evaluate("() => { setTimeout(() => { throw new Error('thrown') }) }")


def test_a_missing_chromium_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set this is a failure, with the name of the package to install."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    with pytest.raises(pytest.fail.Exception, match="install the Debian package 'chromium'"):
        chromium()
