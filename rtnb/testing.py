"""pytest fixtures for those who test voice clients of their own: peers that close by themselves.

Name the module in a ``conftest.py``, and the fixtures are there::

    pytest_plugins = ["rtnb.testing"]


    def test_my_client_says_hello(realtime_peer):
        client = MyClient(base_url=realtime_peer.url, api_key="any")
        assert "hello" in client.ask("greeting.wav").lower()


    def test_my_client_calls_again_after_a_503(realtime_peer_factory):
        peer = realtime_peer_factory(faults=[rtnb.peer.Faults(call_status=503)])
        ...
        assert [call.events for call in peer.log().calls]

No fixture needs the network or an account; packets go to loopback only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rtnb.peer.handle import Peer

try:
    import pytest
except ImportError as missing:
    raise ImportError(
        "rtnb.testing needs pytest, which is not installed; run pip install pytest."
    ) from missing

__all__ = ["PeerFactory", "realtime_peer", "realtime_peer_factory"]


class PeerFactory(Protocol):
    """What `realtime_peer_factory` gives a test."""

    def __call__(self, **options: object) -> Peer:
        """Start a peer; the options are those of `rtnb.Peer`."""


@pytest.fixture(scope="session")
def realtime_peer() -> Iterator[Peer]:
    """Yield a realtime server on this machine, shared by all tests: `rtnb.Peer()`.

    It accepts any key, answers at once in its default voice, and remembers nothing from one call to
    the next.
    """
    with Peer() as peer:
        yield peer


@pytest.fixture
def realtime_peer_factory() -> Iterator[PeerFactory]:
    """Yield a function that starts a peer with the options of `rtnb.Peer`.

    Whatever it has started is closed at the end of the test, also of one that fails.
    """
    with contextlib.ExitStack() as started:

        def start(**options: object) -> Peer:
            return started.enter_context(Peer(**options))  # type: ignore[arg-type]

        yield start
