"""Fixtures of all tests: two peers for the whole run, and no key from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from brief import SOON, brief_voice

import rtnb

if TYPE_CHECKING:
    from browser_rig import Lab
    from playwright.sync_api import Browser, Page


@pytest.fixture(autouse=True)
def _no_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="session")
def peer() -> Iterator[rtnb.Peer]:
    """A real realtime server in a process of its own, shared by all tests."""
    with rtnb.Peer() as one:
        yield one


@pytest.fixture(scope="session")
def brief_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rtnb.Peer]:
    """A peer that answers with the words of the other one, in half a second each."""
    with rtnb.Peer(voice=brief_voice(tmp_path_factory.mktemp("brief"))) as one:
        yield one


@pytest.fixture(scope="module")
def brief(brief_peer: rtnb.Peer) -> Iterator[rtnb.Session]:
    """A real call to that peer, which takes a prompt to be over soon."""
    with rtnb.connect(brief_peer, turn_detection=SOON) as one:
        yield one


@pytest.fixture(scope="module")
def session(peer: rtnb.Peer) -> Iterator[rtnb.Session]:
    """A real call to the peer, shared by the tests of a module."""
    with rtnb.connect(peer, transcription=True) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of a module; without one they are skipped, and fail in CI.

    While it runs, its thread counts as one in which an asyncio loop runs.
    """
    from browser_rig import running_browser

    with running_browser() as one:
        yield one


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab for the whole run."""
    from browser_rig import running_lab

    with running_lab(tmp_path_factory.mktemp("lab")) as one:
        yield one


@pytest.fixture
def page(browser: Browser, lab: Lab) -> Iterator[Page]:
    """A page of its own for each test."""
    from browser_rig import new_page

    with new_page(browser, lab) as one:
        yield one
