"""Both sides of a call on one clock: what a run says against what the peer wrote down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from brief import SOON

import rtnb
from rtnb.media.opus import LOOK_AHEAD
from rtnb.packets import Packets, read_packets

Floats = npt.NDArray[np.float64]
RATE = 48_000
WITHIN = 0.002  # seconds


@dataclass
class Kept:
    """A call of which both ends are kept; the peer's times are on the call's clock here."""

    packets: Packets
    arrivals: dict[int, float]
    departures: dict[int, float]
    stats: dict[str, Any]
    run: rtnb.Run
    records: list[dict[str, Any]]


@pytest.fixture(scope="module")
def kept(peer: rtnb.Peer) -> Kept:
    """One short prompt and its reply."""
    with rtnb.connect(peer, turn_detection=SOON) as session:
        session.ask(rtnb.sample("greeting"))
    stats = session.stats()
    log, zero = peer.log().calls[-1], session._started
    text = (session.folder / "turns.jsonl").read_text(encoding="utf-8")
    return Kept(
        read_packets(session.folder),
        {int(row["sequence"]): float(row["time"]) - zero for row in log.arrivals},
        {int(row["sequence"]): float(row["time"]) - zero for row in log.departures},
        stats,
        rtnb.Run(session.folder),
        [json.loads(line) for line in text.splitlines()],
    )


def differences(times: Floats, sequences: npt.NDArray[np.int64], log: dict[int, float]) -> Floats:
    """Return times less those of the same packets in a log."""
    pairs = [
        (t, log[s]) for t, s in zip(times.tolist(), sequences.tolist(), strict=True) if s in log
    ]
    assert len(pairs) > 100
    ours, theirs = np.array(pairs).T
    return np.asarray(ours - theirs)


# Single packets are late where a machine is busy: it is the median that tells of a wrong clock.


def test_departures_are_when_packets_left(kept: Kept) -> None:
    """The time of a sent packet is at most 2 ms before its arrival at the peer, and never after."""
    sent = kept.packets.of("sent")
    flight = -differences(sent.time, sent.sequence, kept.arrivals)
    assert 0 <= np.median(flight) < WITHIN
    assert flight.min() > -0.0005


def test_the_left_side_lies_where_the_peer_heard_it(kept: Kept) -> None:
    """What we sent is in audio.wav within 2 ms of its arrival at the peer."""
    sent = kept.packets.of("sent")
    off = differences(sent.position / RATE, sent.sequence, kept.arrivals)
    assert abs(np.median(off)) < WITHIN


def test_the_right_side_lies_where_the_peer_said_it(kept: Kept) -> None:
    """What we heard is within 2 ms of its departure there, Opus's look-ahead subtracted."""
    heard = kept.packets.of("received")
    at = (heard.position + LOOK_AHEAD) / RATE
    assert abs(np.median(differences(at, heard.sequence, kept.departures))) < WITHIN


def test_a_far_clock_is_uncertain_by_the_round_trip(kept: Kept) -> None:
    """The round trip on this machine is a few milliseconds, and bounds the error of the far side."""
    assert 0 <= kept.stats["round_trip"] < 0.1
    assert kept.stats["clock_uncertainty"] == kept.stats["round_trip"]


def test_a_run_keeps_the_last_counters(kept: Kept) -> None:
    """The counters at the end are a record of turns.jsonl, and what a closed session tells."""
    (record,) = [one for one in kept.records if one["record"] == "stats"]
    assert record["values"] == kept.stats
    assert record["values"]["packets_sent"] == len(kept.packets.of("sent"))
    assert record["values"]["packets_received"] == len(kept.packets.of("received"))
    assert [turn.status for turn in kept.run.turns] == ["completed"]


def test_counters_have_the_names_of_call_quality(kept: Kept) -> None:
    """What `rtnb.quality` tells of packets, the counters tell by the same names."""
    from rtnb.quality import CallQuality

    names = set(CallQuality.__dataclass_fields__) | {"longest_burst"}
    assert names <= set(kept.stats)
    assert (kept.stats["loss"], kept.stats["bursts"], kept.stats["longest_burst"]) == (0.0, [], 0)
