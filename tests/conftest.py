"""Fixtures of all tests: one peer for the whole run, and no key from the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rtnb


@pytest.fixture(autouse=True)
def _no_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="session")
def peer() -> Iterator[rtnb.Peer]:
    """A real realtime server in a process of its own, shared by all tests."""
    with rtnb.Peer() as one:
        yield one


@pytest.fixture(scope="module")
def session(peer: rtnb.Peer) -> Iterator[rtnb.Session]:
    """A real call to the peer, shared by the tests of a module."""
    with rtnb.connect(peer, transcription=True) as one:
        yield one
