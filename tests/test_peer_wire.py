"""JSON from and to a client of the peer, and what of its offer is used."""

from __future__ import annotations

import json

import pytest

from rtnb.peer.offers import usable_offer
from rtnb.peer.wire import parsed, written

AUDIO = [
    "m=audio 9 UDP/TLS/RTP/SAVPF 0 9 111",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:111 OPUS/48000/2",
    "a=fmtp:111 minptime=10",
    "a=rtcp-fb:9 nack",
]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        b"\xff",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": ' + "[" * 3_000 + "]" * 3_000 + "}",
        '{"a": ' + "[" * 200 + "]" * 200 + "}",
    ],
)
def test_what_is_no_object_is_none(text):
    """Broken, not an object, no number of JSON, or nested beyond all use."""
    assert parsed(text) is None


def test_half_a_surrogate_pair_can_be_sent():
    """It is escaped, as it came; other text stays as it is."""
    assert json.loads(written({"a": "\ud800"}).encode()) == {"a": "\ud800"}
    assert written({"a": "\u00e9"}) == '{"a": "\u00e9"}'


def test_an_offer_is_cut_to_opus():
    """Whatever it lists first; the lines of other types go with them."""
    offer = usable_offer("\r\n".join(["v=0", *AUDIO, "m=video 9 X 96", "a=rtpmap:96 VP8/90000"]))
    assert offer.opus
    assert offer.sdp.split("\r\n") == [
        "v=0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        *AUDIO[3:5],
        "m=video 9 X 96",
        "a=rtpmap:96 VP8/90000",
    ]


def test_an_offer_without_opus_stays_as_it_is():
    """A name of Opus elsewhere, or a type that is not offered, does not count."""
    lines = ["v=0", "s=opus/48000", "m=audio 9 X 0", *AUDIO[1:4]]
    offer = usable_offer("\r\n".join(lines))
    assert not offer.opus and offer.sdp.split("\r\n") == lines
