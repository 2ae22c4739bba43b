"""JupyterLab in a headless Chromium: runs notebooks, shoots pictures; it knows no object of rtnb."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from playwright.sync_api import Browser, Error, Locator, Page, sync_playwright
from widget_rig import environment

__all__ = [
    "Lab",
    "artifacts",
    "chromium",
    "new_page",
    "running_browser",
    "running_lab",
    "write_notebook",
]

WITHIN = 30.0  # seconds for a start, a load, or a cell
WIDTH, HEIGHT = 1000, 900
PACKAGE = "chromium"
# nothing of the browser's own may leave this machine
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    *("--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection"),
    *("--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
    *("--no-proxy-server", "--disable-breakpad"),
)
SETTINGS: dict[str, dict[str, Any]] = {
    # else only the cells in sight are in the page
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
    "apputils-extension/notification": {"checkForUpdates": False, "fetchNews": "false"},
    "docmanager-extension/plugin": {"autosave": False},
}
THEMES = ("JupyterLab Light", "JupyterLab Dark")
SERVER = (
    *("--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port_retries=0"),
    *("--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True"),
    *("--LabApp.news_url=None", "--LabApp.expose_app_in_browser=True"),
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
COMMAND = """
([name, options, milliseconds]) => Promise.race([
    window.jupyterapp.commands.execute(name, options).then(() => null),
    new Promise((_, fail) => setTimeout(
        () => fail(new Error(`${name} was not over within ${milliseconds} ms`)), milliseconds)),
])
"""
START = """
index => {
    const { commands, shell } = window.jupyterapp;
    const cells = shell.currentWidget.content;
    cells.activeCellIndex = index < 0 ? cells.widgets.length + index : index;
    cells.deselectAll();
    window.started = Promise.all([window.started, commands.execute("notebook:run-cell")]);
    return null;
}
"""
OVER = "() => Promise.resolve(window.started).then(() => true)"
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"
OUTSIDE = re.compile(r"^(https?|wss?)://(?!(127\.0\.0\.1|localhost)[:/])")
# without a kernel the widgets' manager fails once in every page, with no harm
ITS_SCRIPTS = ("/static/lab/", "/@jupyter-widgets/jupyterlab-manager/")
READY = "() => window.jupyterapp?.restored.then(() => true)"
CONNECTED = """
() => {
    const context = window.jupyterapp.shell.currentWidget.sessionContext;
    return context.ready.then(() => context.session.kernel.info).then(() => true);
}
"""
SHOWN = """
() => {
    const notebook = window.jupyterapp.shell.currentWidget;
    return notebook.context.ready.then(() => notebook.revealed).then(() => true);
}
"""
# what a reader of a picture has no use for
BARE = """
.jp-Notebook-footer, .jp-cell-toolbar, .jp-Collapser { visibility: hidden !important; }
.jp-Notebook .jp-Cell { border-color: transparent !important; box-shadow: none !important; }
"""


# --- the browser ---------------------------------------------------------------------------------


def chromium() -> str:
    """Return the path of Chromium; without one skip the test, or fail it where CI is set."""
    places = (os.environ.get("CHROMIUM"), "/usr/bin/chromium", shutil.which("chromium"))
    for place in places:
        if place and Path(place).exists():
            return place
    sentence = f"no Chromium: install the Debian package {PACKAGE!r}, or set CHROMIUM to its path"
    if os.environ.get("CI"):
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


@contextmanager
def running_browser(flags: tuple[str, ...] = ()) -> Iterator[Browser]:
    """Run Chromium; while it does, its thread counts as one in which an asyncio loop runs."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, *flags], ignore_default_args=["--mute-audio"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """Open an empty page that knows nothing of others; afterwards end the kernels it used.

    Fails when a script of the page failed, or asked for anything from beyond this machine.
    """
    size: Any = {"width": WIDTH, "height": HEIGHT}
    context = browser.new_context(viewport=size, service_workers="block")
    wrong: list[str] = []
    context.route(OUTSIDE, lambda route: (wrong.append(route.request.url), route.abort()))
    page = context.new_page()
    page.on("pageerror", lambda error: None if is_jupyterlab(error) else wrong.append(str(error)))
    page.set_default_timeout(WITHIN * 1000)
    try:
        yield page
    finally:
        context.close()
        lab.end_kernels()
    assert not wrong, f"in the page: {wrong}"


def is_jupyterlab(error: Error) -> bool:
    """Tell whether an error came about in the scripts of JupyterLab and ipywidgets alone."""
    frames = [line for line in (error.stack or "").splitlines() if line.startswith("    at ")]
    return bool(frames) and all(any(own in frame for own in ITS_SCRIPTS) for frame in frames)


# --- notebooks -----------------------------------------------------------------------------------


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells, and return its path."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)
    return path


# --- JupyterLab ----------------------------------------------------------------------------------


class Lab:
    """A running JupyterLab, and what a user does in its pages."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    # --- notebooks

    def notebook(self, *cells: str, name: str = "notebook") -> Path:
        """Write a notebook of code cells where JupyterLab finds it."""
        return write_notebook(self.folder / f"{name}.ipynb", *cells)

    def trust(self, notebook: Path) -> None:
        """Sign a notebook, as one that this user has run is signed."""
        notary = NotebookNotary(data_dir=str(self.folder / ".jupyter" / "data"))
        notary.sign(nbformat.read(notebook, as_version=4))
        notary.store.close()

    def open(self, notebook: Path, page: Page, *, dark: bool = False, kernel: bool = True) -> None:
        """Open a notebook alone in a page, with a kernel of its own or without any."""
        self.set("apputils-extension/themes", theme=THEMES[dark])
        page.goto(f"{self.url}/doc?reset", wait_until="commit")
        page.wait_for_function(READY)
        start = {"shouldStart": kernel, "canStart": kernel, "autoStartDefault": kernel}
        how: dict[str, Any] = {"factory": "Notebook", "kernelPreference": start}
        self.command(page, "docmanager:open", path=notebook.name, **how)
        page.wait_for_function(SHOWN)
        if kernel:
            page.wait_for_function(CONNECTED)

    def set(self, plugin: str, *, scope: str = "@jupyterlab", **settings: Any) -> None:
        """Change settings of a plugin for pages that are opened from now on."""
        path = self.folder / ".jupyter" / "settings" / scope
        file = path / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings), encoding="utf-8")

    # --- in a page

    def command(self, page: Page, name: str, *, within: float = WITHIN, **options: Any) -> None:
        """Execute a command of JupyterLab and wait until it is over."""
        page.evaluate(COMMAND, [name, options, within * 1000])

    def run_all(self, page: Page, *, within: float = WITHIN) -> None:
        """Run all cells, and wait until the last one is over."""
        self.command(page, "notebook:run-all-cells", within=within)
        self.wait_idle(page, within=within)

    def run_cell(self, page: Page, index: int, *, within: float = WITHIN) -> None:
        """Run one cell, and wait until it is over."""
        self.start_cell(page, index)
        self.wait_idle(page, within=within)

    def start_cell(self, page: Page, index: int) -> None:
        """Run one cell, and return at once."""
        page.evaluate(START, index)

    def wait_idle(self, page: Page, *, within: float = WITHIN) -> None:
        """Wait until no cell runs, and none that was started waits to run."""
        page.wait_for_function(OVER, timeout=within * 1000)
        page.locator(IDLE).wait_for(state="attached", timeout=within * 1000)

    def theme(self, page: Page, *, dark: bool) -> None:
        """Change the theme of an open page."""
        self.command(page, "apputils:change-theme", theme=THEMES[dark])
        light = str(not dark).lower()
        page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached")

    def must_not_fail(self, page: Page) -> None:
        """Fail when a cell shows an error."""
        errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        assert not errors, "\n".join(errors)

    def save(self, page: Page) -> None:
        """Save the notebook."""
        self.command(page, "docmanager:save")

    def cell(self, page: Page, index: int) -> Locator:
        """Return a cell, by its place from 0; a negative one counts from the end."""
        return page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, page: Page, index: int) -> Locator:
        """Return all that a cell shows."""
        return self.cell(page, index).locator(".jp-Cell-outputArea")

    def screenshot(
        self, page: Page, name: str, of: Locator | None = None, *, width: int = WIDTH
    ) -> Path:
        """Shoot a part of the page, whole and `width` pixels wide, into the artefacts' folder."""
        part = page.locator(".jp-WindowedPanel-viewport") if of is None else of
        fit(page, part, width)
        path = artifacts() / f"{name}.png"
        part.screenshot(path=path, animations="disabled", caret="hide", style=BARE)
        return path

    # --- kernels

    def kernels(self) -> list[str]:
        """Return the ids of the running kernels."""
        return [kernel["id"] for kernel in json.loads(request(f"{self.url}/api/kernels"))]

    def end_kernels(self) -> None:
        """End every kernel, so that the next notebook begins anew."""
        for session in json.loads(request(f"{self.url}/api/sessions")):
            request(f"{self.url}/api/sessions/{session['id']}", "DELETE")


# JupyterLab lays out anew in a frame after the one in which the window changed
SETTLED = "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"


def fit(page: Page, part: Locator, width: int) -> None:
    """Make the page as large as a part of it needs to be `width` pixels wide and seen whole."""
    part.wait_for()
    for _ in range(10):  # the height follows the width, and a scroll bar may go
        box, size = part.bounding_box(), page.viewport_size
        assert box and size, "only what is shown can be shot"
        wanted = {
            "width": size["width"] + width - round(box["width"]),
            "height": max(HEIGHT, round(box["height"]) + 200),
        }
        if wanted == size:
            return
        page.set_viewport_size(wanted)  # type: ignore[arg-type]
        page.evaluate(SETTLED)  # or the size that was before would be looked at again


def artifacts() -> Path:
    """Return the folder of the screenshots."""
    default = Path(__file__).parents[1] / "build" / "screenshots"
    folder = Path(os.environ.get("RTNB_ARTIFACTS") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# --- the server ----------------------------------------------------------------------------------


@contextmanager
def running_lab(folder: Path, *, python: str = sys.executable) -> Iterator[Lab]:
    """Run a JupyterLab of this interpreter on 127.0.0.1, with all its files in `folder`.

    Its only kernel is that of `python`, with the tested rtnb.
    """
    places, port = prepare(folder, python), free_port()
    log = folder / ".jupyter" / "log.txt"
    command = [sys.executable, "-m", "jupyterlab", *SERVER, f"--port={port}"]
    with log.open("wb") as said:
        server = subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment(folder) | places,
            cwd=folder,
            start_new_session=True,
        )
        one = Lab(folder, f"http://127.0.0.1:{port}")
        try:
            wait_for_server(server, one.url, log)
            yield one
        finally:
            end(server)


def prepare(folder: Path, python: str) -> dict[str, str]:
    """Write settings and the kernel, and return the variables that say where things are."""
    home = folder / ".jupyter"
    kernel = home / "path" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    for plugin, settings in SETTINGS.items():
        Lab(folder, "").set(plugin, **settings)
    names = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "runtime", "PATH": "path"}
    places = {f"JUPYTER_{name}": str(home / place) for name, place in names.items()}
    places["JUPYTERLAB_SETTINGS_DIR"] = str(home / "settings")
    places["JUPYTERLAB_WORKSPACES_DIR"] = str(home / "workspaces")
    return places


def wait_for_server(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until the server answers; fail with its last lines if it ends or does not."""
    for _ in range(int(WITHIN / 0.1)):
        try:
            request(f"{url}/api/status")
            return
        except urllib.error.URLError:
            pass  # not yet; the wait below ends early if it never will
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    raise RuntimeError("JupyterLab did not start: " + " | ".join(lines[-5:]))


def end(server: subprocess.Popen[bytes]) -> None:
    """End a server, which ends its kernels."""
    server.terminate()
    try:
        server.wait(10)
    finally:
        server.kill()


def request(url: str, method: str = "GET") -> bytes:
    """Return what the server on this machine answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(url, method=method), timeout=10) as answer:
        return bytes(answer.read())


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
