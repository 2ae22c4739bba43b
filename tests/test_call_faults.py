"""Calls that cannot come up: each failure has its own error, and leaves nothing open."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pytest
from bare_calls import answer_offer, bare_connection, signalling

import rtnb
from rtnb import messages as m
from rtnb.engine import Handler, ProcessEngine, shared_engine
from rtnb.errors import AnswerError, ChannelTimeoutError, UdpBlockedError


class Hurried:
    """The shared media process, with shorter timers for this test's calls."""

    def __init__(self) -> None:
        self._engine: ProcessEngine = shared_engine()

    def register(self, call: str, handler: Handler) -> None:
        """As the engine does."""
        self._engine.register(call, handler)

    def send(self, message: m.Message) -> None:
        """As the engine does, but for the timers."""
        if isinstance(message, m.Open):
            message = dataclasses.replace(message, ice_timeout=1.0, channel_timeout=1.0)
        self._engine.send(message)


async def answer_and_vanish(offer: str) -> str:
    """Answer an offer, then be gone: no packet will come through."""
    pc = bare_connection()
    pc.addTrack(rtnb.SilentTrack())
    sdp = await answer_offer(pc, offer)
    await pc.close()
    return sdp


@pytest.fixture
def deaf_channel() -> Iterator[str]:
    """A server whose media comes up, but whose data channel never hears anything."""
    connections = []

    async def answer(offer: str) -> str:
        pc = bare_connection()
        connections.append(pc)
        pc.addTrack(rtnb.SilentTrack())
        sdp = await answer_offer(pc, offer)

        async def ignore(data: bytes) -> None:
            pass

        pc.sctp._handle_data = ignore
        return sdp

    with signalling(answer) as url:
        yield url


def test_blocked_udp_is_told_by_our_own_timer() -> None:
    """No valid pair: the error names UDP and what to do, long before aiortc gives up."""
    began = time.monotonic()
    with signalling(answer_and_vanish) as url, pytest.raises(UdpBlockedError, match="block UDP"):
        rtnb.connect(url, engine=Hurried())
    assert time.monotonic() - began < 8


def test_a_channel_that_never_opens_is_told(deaf_channel: str) -> None:
    """Media came up, the channel did not: the error says which."""
    with pytest.raises(ChannelTimeoutError, match="its data channel never opened"):
        rtnb.connect(deaf_channel, engine=Hurried())


def test_an_answer_that_cannot_be_used_is_told() -> None:
    """An SDP without ICE credentials is refused with one sentence."""

    async def answer(offer: str) -> str:
        return "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"

    with signalling(answer) as url, pytest.raises(AnswerError, match="could not be used"):
        rtnb.connect(url)


def test_nothing_stays_open_after_a_failed_connect(deaf_channel: str) -> None:
    """A connect that failed leaves no live session."""
    before = len(rtnb.sessions())
    with pytest.raises(ChannelTimeoutError):
        rtnb.connect(deaf_channel, engine=Hurried())
    assert len(rtnb.sessions()) == before
