"""Pacing and network figures: each is what its definition says, and that of a call is its peer's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brief import SOON, brief_prompt, brief_voice

import rtnb
from rtnb import quality
from rtnb.media import concealing
from rtnb.packets import Packets
from rtnb.peer import Faults, Network
from rtnb.quality import CallQuality, quality_of
from rtnb.traffic import arrival_delays, departure_lags, without_drift

Row = tuple[Any, ...]


def packets(*rows: Row) -> Packets:
    """Return rows of (kind, sequence, timestamp, time, size, position, concealed) as arrays."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    kinds = (str, np.int64, np.int64, np.float64, np.int64, np.int64, str)
    return Packets(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True)))


def sent(number: int, lag: float = 0.0, *, skipped: int = 0) -> Row:
    place = (number + skipped) * 960
    return ("sent", number % 65536, place, place / 48_000 + lag, -1, place, "")


def got(number: int, delay: float = 0.0, *, first: int = 0, kind: str = "received") -> Row:
    """Return a packet whose numbers count on from `first`, both wrapping."""
    stamp = (first * 960 + number * 960) % 2**32
    return (kind, (first + number) % 65536, stamp, number * 0.02 + delay, 80, number * 960, "")


def lost(number: int, count: int, *, first: int = 0, how: str = "") -> Row:
    at = number * 960
    return ("lost", (first + number) % 65536, -1, np.nan, 960 * count, at, how)


# --- pacing ----------------------------------------------------------------------------------------


def test_departures_on_time_are_not_late() -> None:
    """A packet counts as late from 10 ms on, against the least-delayed packet."""
    lags = [0.005, 0.0051, 0.0149, 0.0151, 0.045]
    found = quality_of(packets(*(sent(n, lag) for n, lag in enumerate(lags))))
    assert (found.packets_sent, found.late_packets) == (5, 2)
    assert found.worst_lag == pytest.approx(0.04)
    assert found.skipped == 0.0


def test_skipped_time_is_part_of_the_lag() -> None:
    """After a stall the next packet is late since it was due, whatever was left out then."""
    rows = [*(sent(n) for n in range(5)), *(sent(n, 0.1, skipped=95) for n in range(5, 10))]
    found = quality_of(packets(*rows))
    assert found.skipped == pytest.approx(1.9)
    assert found.worst_lag == pytest.approx(2.0)
    assert found.late_packets == 5


def test_a_stretch_is_measured_on_the_call_s_schedule() -> None:
    """Packets of a turn are late though all of the turn's are."""
    every = packets(*(sent(n, 0.03 if n >= 50 else 0.0) for n in range(100)))
    found = quality_of(every, 1.0, 2.0)
    assert (found.packets_sent, found.late_packets) == (50, 50)
    assert quality_of(every, 0.0, 1.0).late_packets == 0
    assert quality_of(every, 0.0, 1.0).packets_sent == 50


def test_a_departure_before_its_time_is_damage() -> None:
    """A row whose time is nonsense does not make all others late."""
    rows = [sent(n) for n in range(20)]
    rows[7] = (*rows[7][:3], -50.0, *rows[7][4:])
    assert departure_lags(packets(*rows)).lag.max() == pytest.approx(0.0, abs=1e-9)


# --- network ---------------------------------------------------------------------------------------


def test_a_call_without_loss() -> None:
    """Even arrivals have no jitter and no loss."""
    found = quality_of(packets(*(got(n, 0.1) for n in range(100))))
    assert (found.packets_received, found.packets_lost, found.loss) == (100, 0, 0.0)
    assert (found.bursts, found.longest_burst) == ((), 0)
    assert found.jitter == pytest.approx(0.0, abs=1e-9)


def test_a_loss_has_the_packets_that_its_neighbours_tell() -> None:
    """One row may be several packets, of any duration, and their numbers may wrap."""
    rows = [*(got(n, first=65_529) for n in range(4)), lost(4, 1, first=65_529, how="fec")]
    rows += [got(5, first=65_529), lost(6, 3, first=65_529, how="plc+fec")]
    rows += [got(n, first=65_529) for n in range(9, 16)]
    found = quality_of(packets(*rows))
    assert found.bursts == (1, 3)
    assert (found.packets_lost, found.longest_burst, found.loss) == (4, 3, 0.25)
    assert found.concealed == {"fec": 2, "plc": 2}


def test_the_size_of_a_loss_is_no_count() -> None:
    """Two packets of 60 ms that are missing are two."""
    one, two = got(0, first=65_534), got(3, first=65_534)
    found = quality_of(packets(one, ("lost", 65_535, -1, np.nan, 5760, 960, ""), two))
    assert found.bursts == (2,)


@pytest.mark.parametrize(
    ("count", "how", "concealed"),
    [
        (9, "plc", {"plc": 5}),
        (9, "plc+fec", {"fec": 1, "plc": 5}),
        (9, "", {}),
        (2, "plc", {"plc": 2}),
    ],
)
def test_only_what_was_made_up_is_concealed(
    count: int, how: str, concealed: dict[str, int]
) -> None:
    """Of a long loss 100 ms are, and its last packet where there is a copy; the rest is silence."""
    found = quality_of(packets(got(0), lost(1, count, how=how), got(1 + count)))
    assert found.concealed == concealed
    assert found.packets_lost == count


def test_what_is_made_up_is_as_long_as_in_capture() -> None:
    """Both count the same packets: those of `session.stats()` and those of a recorded run."""
    assert round(quality._MADE_UP * 48_000) == concealing.LONGEST


def test_a_small_loss_is_not_shown_as_none() -> None:
    """One packet of thousands is less than a tenth of a per cent, and is seen."""
    rows = [*(got(n) for n in range(5_000)), lost(5_000, 1), got(5_001)]
    assert quality_of(packets(*rows)).line.startswith("<0.1 % lost")
    assert quality_of(packets(got(0))).line.startswith("0.0 % lost")


@pytest.mark.parametrize(("size", "count"), [(2880, 3), (0, 1), (-1, 1)])
def test_a_loss_without_a_neighbour_goes_by_its_size(size: int, count: int) -> None:
    """Where nothing tells the number, samples do; there is at least one."""
    assert quality_of(packets(got(0), ("lost", 1, -1, np.nan, size, 960, ""))).bursts == (count,)


def test_late_duplicate_and_damaged_packets_are_counted() -> None:
    """All arrived; a late one stays lost."""
    rows = [got(0), lost(1, 1), got(2), got(1, 0.5, kind="late"), got(2, 0.01, kind="duplicate")]
    found = quality_of(packets(*rows, got(3, kind="damaged"), got(9, kind="foreign")))
    assert (found.packets_received, found.packets_lost) == (5, 1)
    assert (found.packets_late, found.packets_duplicate, found.packets_damaged) == (1, 1, 1)
    assert found.packets_foreign == 1
    assert found.loss == 0.25


def test_overtaken_packets_are_reordered() -> None:
    """A packet that came after one with a higher number is counted, once."""
    rows = [got(0), got(1, 0.05), got(2), got(3), got(4)]
    assert quality_of(packets(*rows)).packets_reordered == 1


def test_jitter_is_that_of_the_rfc() -> None:
    """RFC 3550 section 6.4.1, computed packet by packet, is the same; timestamps may wrap."""
    chance = np.random.default_rng(1)
    rows = [
        got(n, delay, first=2**32 // 960 - 1_000)
        for n, delay in enumerate(chance.gamma(2, 0.002, 3_000))
    ]
    expected, before = 0.0, None
    for row in sorted(rows, key=lambda row: row[3]):
        transit = row[3] - row[5] / 48_000
        if before is not None:
            expected += (abs(transit - before) - expected) / 16
        before = transit
    every = packets(*rows)
    assert quality_of(every).jitter == pytest.approx(expected, rel=1e-6)
    assert arrival_delays(every).segment.max() == 0


@pytest.mark.parametrize("rate", [-100e-6, -5e-6, 0.0, 20e-6])
def test_drift_is_what_the_far_clock_gains(rate: float) -> None:
    """A minute of arrivals with random delays, some of them long, tells the drift within 1 ms."""
    chance = np.random.default_rng(2)
    delays = chance.gamma(2, 0.003, 3_000)
    delays[1_000:1_400] += 0.08  # congestion for 8 s
    rows = [got(n, delay - n * 0.02 * rate) for n, delay in enumerate(delays)]
    every = packets(*rows)
    assert quality_of(every).drift == pytest.approx(60 * rate, abs=1e-3)
    assert quality_of(every, 0.0, 16.0).drift == pytest.approx(16 * rate, abs=2e-3)


def test_drift_can_be_taken_out() -> None:
    """Of a far clock that loses 6 ms a minute, no delay is left, nor in another stream after it."""
    rows = [got(n, n * 0.02 * 100e-6) for n in range(3_000)]
    rows += [got(n, n * 0.02 * 100e-6, first=9_000) for n in range(3_000, 3_400)]
    delays = arrival_delays(packets(*rows))
    assert delays.segment.max() == 1
    assert delays.delay.max() == pytest.approx(6e-3, abs=1e-4)
    assert without_drift(delays).delay.max() == pytest.approx(0.0, abs=1e-6)
    assert without_drift(delays).delay.min() >= 0.0


def test_late_packets_have_a_delay_and_duplicates_none() -> None:
    """What came after it was given up was delayed; a copy tells nothing of the network's delay."""
    rows = [got(0), got(2), got(1, 0.5, kind="late"), got(2, 0.9, kind="duplicate")]
    assert arrival_delays(packets(*rows)).delay == pytest.approx([0.0, 0.0, 0.5])


def test_a_short_stretch_has_no_drift() -> None:
    """Below ten seconds nothing can be told."""
    every = packets(*(got(n) for n in range(1_000)))
    assert quality_of(every).drift == pytest.approx(0.0, abs=1e-6)
    assert quality_of(every, 5.0, 14.0).drift is None


def test_a_stream_that_begins_anew_is_measured_by_itself() -> None:
    """Other numbers and timestamps make neither jitter nor delay nor loss."""
    rows = [got(n) for n in range(800)]
    for n in range(800, 1_600):
        kind, _, _, time, *rest = got(n, 0.004)
        rows.append(
            (kind, (n * 7) % 65536 if n == 800 else n + 5_000, 99 + n * 960 + 2**31, time, *rest)
        )
    every = packets(*rows)
    found = quality_of(every)
    assert (found.packets_lost, found.packets_reordered) == (0, 0)
    assert found.jitter == pytest.approx(0.0, abs=1e-6)
    assert found.drift == pytest.approx(0.0, abs=1e-6)
    assert arrival_delays(every).delay.max() == pytest.approx(0.0, abs=1e-6)


def test_nothing_is_no_trouble() -> None:
    """A call without packets has figures, of nothing."""
    assert quality_of(packets()) == CallQuality()
    assert str(CallQuality()) == "nothing received, nothing sent"


# --- display ---------------------------------------------------------------------------------------


def test_the_line_has_what_matters() -> None:
    """Loss, jitter, late packets and worst lag, with their units."""
    rows = [got(0), lost(1, 1), got(2), got(3), sent(0), sent(1, 0.0123)]
    found = quality_of(packets(*rows))
    assert found.line == "25.0 % lost, jitter 0.0 ms, 1 late packet, worst lag 12.3 ms"
    assert str(found) == found.line
    assert found.line in found._repr_html_()


def test_figures_go_into_json() -> None:
    """`to_dict` has every figure by its name."""
    found = quality_of(packets(got(0), lost(1, 2, how="plc"), got(3)))
    read = json.loads(json.dumps(found.to_dict()))
    assert (read["bursts"], read["longest_burst"], read["concealed"]) == ([2], 2, {"plc": 2})
    assert set(CallQuality.__dataclass_fields__) < set(read)


# --- a call ----------------------------------------------------------------------------------------


def test_losses_of_a_call_are_those_that_its_peer_made(tmp_path: Path) -> None:
    """Loss and bursts, of the call and of a turn, equal what the peer kept back."""
    faults = Faults(sent=Network(loss=0.08, burst=2), seed=4)
    with rtnb.Peer(faults=faults, voice=brief_voice(tmp_path, 1.0)) as peer:
        with rtnb.connect(peer, turn_detection=SOON) as session:
            turn = session.ask(brief_prompt())
        (call,) = peer.log().calls
    figures = session.quality
    heard = session.audio.packets().of("received")
    first, last = heard.sequence[[0, -1]]
    made = call.departures
    made = made[(made["sequence"] - first) % 65536 <= (last - first) % 65536]
    dropped = np.flatnonzero(
        np.diff(np.concatenate(([False], made["dropped"], [False])).astype(int))
    )
    assert figures.bursts == tuple((dropped[1::2] - dropped[::2]).tolist())
    assert figures.packets_lost == made["dropped"].sum() > 0
    assert figures.loss == pytest.approx(made["dropped"].mean())
    assert sum(figures.concealed.values()) == figures.packets_lost
    assert figures.packets_sent > 40
    assert 0 < turn.quality.packets_lost <= figures.packets_lost
