"""Real calls over a bad network: what the capture says of it is what the peer did."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any, Final

import pytest
from captured_calls import captured, lab

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import Placed, Receiving
from rtnb.media.opus import FRAME, LOOK_AHEAD, SAMPLE_RATE
from rtnb.peer.faults import Faults, Network

NETWORKS: Final = {
    "loss": Network(loss=0.05),
    "bursts": Network(loss=0.1, burst=3, reordered=0.1, late=0.1, late_by=0.05),
    "disorder": Network(reordered=0.3),
}
PACKETS: Final = 130


@dataclass
class Heard:
    """One call: what came, what the peer says that left, and what the capture made of it."""

    packets: list[RtpArrival]
    departures: list[Any]
    receiving: Receiving
    placed: list[Placed]

    def base(self) -> int:
        """Return the sample of the call at which timestamp 0 lies."""
        first = next(one for one in self.placed if one.row[0] == "received")
        return int(first.row[5]) - int(first.row[2])  # type: ignore[call-overload,no-any-return]

    def between(self) -> list[Any]:
        """Return the departures from the first packet that came to the last one, by timestamp."""
        numbers = {packet.sequence for packet in self.packets}
        rows = sorted(self.departures, key=lambda row: int(row[2]))
        came = [n for n, row in enumerate(rows) if row[1] in numbers]
        return rows[came[0] : came[-1] + 1]


async def _call(network: Network) -> Heard:
    async with lab(Faults(sent=network, seed=5)) as peer, captured(peer.url) as caller:
        await caller.until("session.created")
        caller.say("Tell me about the weather in a few sentences, please.")
        async with asyncio.timeout(30):
            while len(caller.packets) < PACKETS:
                await asyncio.sleep(0.02)
        packets = list(caller.packets)
        departures = list(peer.record(caller).departures)
    receiving = Receiving(packets[0].time - 1.0)
    placed = [one for packet in packets for one in receiving.push(packet)]
    return Heard(packets, departures, receiving, placed + receiving.flush())


@pytest.fixture(scope="module")
def calls() -> dict[str, Heard]:
    """Place a call over each network, all at once."""

    async def main() -> list[Heard]:
        return await asyncio.gather(*map(_call, NETWORKS.values()))

    return dict(zip(NETWORKS, asyncio.run(main()), strict=True))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gaps_are_the_packets_that_were_dropped(network: str, calls: dict[str, Heard]) -> None:
    """Each run of dropped packets is one gap from the packet before to the one after; no other."""
    call = calls[network]
    came = {packet.sequence for packet in call.packets}
    rows = call.between()
    assert [row[1] in came for row in rows] == [not row[5] for row in rows]
    kept = [n for n, row in enumerate(rows) if not row[5]]
    runs = [(a, b) for a, b in itertools.pairwise(kept) if b - a > 1]
    edges = [(rows[a][2] + FRAME + call.base(), rows[b][2] + call.base()) for a, b in runs]
    assert call.receiving.gaps == edges
    assert call.receiving.reorder.bursts == [b - a - 1 for a, b in runs]
    assert bool(runs) == bool(NETWORKS[network].loss)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_packet_lies_where_it_belongs(network: str, calls: dict[str, Heard]) -> None:
    """What came is placed by its timestamp, in order; what did not come is filled to the sample."""
    call = calls[network]
    rows = call.between()
    heard = [one.position for one in call.placed if one.row[0] == "received"]
    assert heard == [call.base() + row[2] for row in rows if not row[5]]
    filled = [
        (one.position, one.position + len(one.samples))
        for one in call.placed
        if one.row[0] == "lost" and one.samples is not None
    ]
    assert filled == call.receiving.gaps


@pytest.mark.parametrize("network", NETWORKS)
def test_what_left_at_a_time_lies_at_that_time(network: str, calls: dict[str, Heard]) -> None:
    """A sample's place is when its packet left the peer, the codec's look-ahead taken off."""
    call = calls[network]
    first = call.packets[0].time
    off = [
        (call.base() + LOOK_AHEAD + row[2]) / SAMPLE_RATE - (row[0] - call.receiving.started)
        for row in call.between()
        if not row[5] and row[0] < first + 0.45
    ]
    assert -0.001 < max(off) < 0.02  # of the least-delayed one; two ends share a busy process


def test_losses_are_filled_from_the_packets_after_them(calls: dict[str, Heard]) -> None:
    """As many packets as were lost are concealed, by a copy or else made up."""
    receiving = calls["loss"].receiving
    assert sum(receiving.concealed.values()) == receiving.reorder.lost > 0
    assert receiving.jitter is not None
