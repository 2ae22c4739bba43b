"""The SDP answers of a real peer, beside what the service answers."""

from __future__ import annotations

import asyncio
import re

import pytest
from peer_client import KEY, Caller, exchange

import rtnb
from rtnb.peer.answers import completed_answer


@pytest.fixture(scope="module")
def answer(peer: rtnb.Peer) -> str:
    """One answer to an aiortc offer."""

    async def ask() -> str:
        caller = Caller()
        try:
            status, _, text = await exchange(peer.url, await caller.offer(), key=KEY)
            assert status == 201
            return text
        finally:
            await caller.pc.close()

    return asyncio.run(ask())


def sections(sdp: str) -> list[str]:
    """Return the media sections."""
    return sdp.split("m=")[1:]


def test_every_section_says_how_it_is_reached(answer: str) -> None:
    """Each has credentials, a fingerprint and the role of a DTLS client."""
    for section in sections(answer):
        for line in ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 ", "a=setup:active"):
            assert line in section


def test_messages_may_be_as_large_as_the_service_takes(answer: str) -> None:
    """A client that heeds the size sends what it would send to the service."""
    assert "a=max-message-size:1073741823\r\n" in answer and "a=sctp-port:5000\r\n" in answer


def test_opus_is_answered_with_forward_error_correction(answer: str) -> None:
    """A caller's encoder is asked for FEC, under the offer's payload type."""
    (payload,) = re.findall(r"a=rtpmap:(\d+) opus/48000/2", answer)
    assert f"a=fmtp:{payload} minptime=10;useinbandfec=1\r\n" in answer


def test_only_loopback_is_offered(answer: str) -> None:
    """No candidate names another address."""
    candidates = re.findall(r"a=candidate:.*", answer)
    assert candidates and all(" 127.0.0.1 " in candidate for candidate in candidates)


def test_parameters_that_are_there_are_kept() -> None:
    """An answer that has parameters for Opus keeps them."""
    sdp = "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1\r\n"
    assert completed_answer(sdp) == sdp
