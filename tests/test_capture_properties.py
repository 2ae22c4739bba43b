"""Any stream over any bad network within bounds: what the capture of it must hold, whatever happens."""

from __future__ import annotations

import functools
import itertools
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_streams import S16, START, encode, kinds, moved, stream, voice

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import Placed, Receiving
from rtnb.media.opus import Decoder, samples_in

PTIMES: Final = (0.01, 0.02, 0.06)
WRAPS: Final = (0, 65_500, 30_000)
STAMPS: Final = (5_000, 2**31, 2**32 - 24_000)
LATEST: Final = 0.018  # seconds: of 10 ms packets, two are overtaken at most


@functools.cache
def payloads(ptime: float) -> list[bytes]:
    more = {"fec": "1", "packet_loss": "20", "application": "voip"}
    return encode(voice(3.0), ptime=ptime, **more)


@st.composite
def streams(draw: st.DrawFn) -> list[RtpArrival]:
    """Return packets of changing durations, as they left, with numbers that may wrap."""
    parts = st.tuples(st.sampled_from(PTIMES), st.integers(0, 25), st.integers(2, 20))
    sizes = draw(st.lists(parts, min_size=2, max_size=6))
    packets = [one for ptime, at, count in sizes for one in payloads(ptime)[at : at + count]]
    numbers = {"sequence": draw(st.sampled_from(WRAPS)), "timestamp": draw(st.sampled_from(STAMPS))}
    return stream(packets, **numbers)


def over_a_network(draw: st.DrawFn, left: list[RtpArrival], lost: set[int]) -> list[RtpArrival]:
    """Return what arrives, in its order: without the lost ones, jittered, some of them twice."""
    arrived = []
    for index, packet in enumerate(left):
        if index in lost:
            continue
        later = draw(st.floats(0, LATEST)) if index else 0.0
        arrived.append(moved(packet, later=later))
        if draw(st.integers(0, 15)) == 0:
            arrived.append(moved(packet, later=later + draw(st.floats(0, 0.3))))
    return sorted(arrived, key=lambda packet: packet.time)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_arrived_lies_where_it_belongs_and_the_rest_is_a_gap(data: st.DataObject) -> None:
    """Length, order, places and samples are exact, gaps are the drops, and nothing is laid twice."""
    left = data.draw(streams())
    lost = data.draw(st.sets(st.integers(1, len(left) - 2), max_size=len(left) // 3))
    arrived = over_a_network(data.draw, left, lost)
    receiving, placed = Receiving(START), []
    for packet in arrived:
        placed += receiving.push(packet) + receiving.settle(packet.time)
    placed += receiving.flush()

    starts = np.cumsum([0, *(samples_in(packet.payload) for packet in left)]).tolist()
    kept = [n for n in range(len(left)) if n not in lost]
    heard = [one for one in placed if one.row[0] == "received"]
    base = heard[-1].position - starts[kept[-1]]  # the first may be cut by the look-ahead
    assert [one.row[1] for one in heard] == [left[n].sequence for n in kept]
    assert [one.position for one in heard[1:]] == [base + starts[n] for n in kept[1:]]
    holes = [(a + 1, b) for a, b in itertools.pairwise(kept) if b - a > 1]
    assert receiving.gaps == [(base + starts[a], base + starts[b]) for a, b in holes]
    assert receiving.reorder.bursts == [b - a for a, b in holes]
    assert kinds(placed).get("duplicate", 0) == len(arrived) - len(kept)
    samples, covered = sum_of(placed, base + starts[-1])
    assert covered.max() == 1
    begins = max(base, 0)
    whole = reference(left)
    until = starts[min(lost, default=len(left))]
    assert np.array_equal(samples[begins : base + until], whole[begins - base : until])
    outside = np.ones(len(covered), bool)
    for a, b in receiving.gaps:
        outside[a:b] = False
    assert covered[begins:][outside[begins:]].all()


def sum_of(placed: list[Placed], length: int) -> tuple[S16, Any]:
    """Return the samples laid, and how many times each place was covered; none may be beyond."""
    samples, covered = np.zeros(length, np.int16), np.zeros(length, int)
    for one in placed:
        if one.samples is not None:
            end = one.position + len(one.samples)
            assert end <= length
            samples[one.position : end] = one.samples
            covered[one.position : end] += 1
    return samples, covered


def reference(left: list[RtpArrival]) -> S16:
    """Return what a decoder makes of all packets, one after the other."""
    decoder = Decoder()
    return np.concatenate([decoder.decode(packet.payload) for packet in left])  # type: ignore[arg-type,misc]


@pytest.mark.parametrize("direct", [True, False])
@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=1_500), lost=st.booleans())
def test_a_decoder_survives_any_bytes(direct: bool, payload: bytes, lost: bool) -> None:
    """They are samples of the length they claim, or damaged; nothing raises, and sound goes on."""
    decoder = Decoder(direct=direct)
    good = payloads(0.02)[3]
    decoder.decode(good)
    found = decoder.decode(payload)
    assert found is None or len(found) == samples_in(payload)
    if lost:
        assert len(decoder.conceal(960)) == 960
    after = decoder.decode(good)
    assert after is not None
    assert len(after) == 960
