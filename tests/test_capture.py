"""From packets to samples on one clock: order, losses, placement, and what goes to disk."""

from __future__ import annotations

import csv
import random
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rtp_streams import PTIME, START, ZERO, arrivals, laid, likeness, moved, receive, speech

from rtnb import Clip
from rtnb.audio import to_pcm
from rtnb.media import opus
from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import (
    HOLD,
    Lost,
    Receiving,
    Reorder,
    StreamClock,
    Timeline,
    Unwrapped,
    unwrap,
)
from rtnb.media.opus import FRAME, encode, silent_packet
from rtnb.media.recording import Recording, levels
from rtnb.runaudio import RunAudio
from rtnb.runfiles import PACKET_FIELDS, RunWriter


def packet(sequence: int, *, payload: bytes = b"") -> Unwrapped:
    return Unwrapped(sequence, sequence * FRAME, payload, sequence * PTIME)


def order(*sequences: int, flush: bool = False) -> tuple[Reorder, list[Any]]:
    """Push packets; return the reorderer and what came out, a loss as ("lost", first, count)."""
    reorder = Reorder()
    out = [one for sequence in sequences for one in reorder.push(packet(sequence))]
    out += reorder.flush() if flush else []
    return reorder, [
        ("lost", o.sequence, o.count) if isinstance(o, Lost) else o.sequence for o in out
    ]


def counters(reorder: Reorder) -> dict[str, int]:
    names = ("received", "lost", "late", "duplicates", "reordered")
    return {name: getattr(reorder, name) for name in names if getattr(reorder, name)}


# --- numbers that wrap ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "near", "bits", "unwrapped"),
    [
        (5, 3, 16, 5),
        (0, 65_535, 16, 65_536),
        (65_535, 65_536, 16, 65_535),
        (65_535, 0, 16, -1),
        (2, 3 * 65_536 - 1, 16, 3 * 65_536 + 2),
        (959, 2**32 - 1, 32, 2**32 + 959),
        (2**32 - 960, 2**32, 32, 2**32 - 960),
        (32_767, 0, 16, 32_767),
    ],
)
def test_unwrap_counts_on(value: int, near: int, bits: int, unwrapped: int) -> None:
    """The number closest to the last one is taken, forwards and backwards."""
    assert unwrap(value, near, bits) == unwrapped


# --- order ---------------------------------------------------------------------------------------


def test_packets_in_order_pass_at_once() -> None:
    """Nothing waits where nothing is missing."""
    reorder, out = order(7, 8, 9)
    assert out == [7, 8, 9]
    assert counters(reorder) == {"received": 3}


def test_a_swapped_pair_is_put_in_order() -> None:
    """The later packet waits for the earlier one."""
    reorder, out = order(1, 3, 2, 4)
    assert out == [1, 2, 3, 4]
    assert counters(reorder) == {"received": 4, "reordered": 1}


def test_a_missing_packet_is_waited_for() -> None:
    """`HOLD` packets wait for a missing one."""
    assert order(1, *range(3, 3 + HOLD))[1] == [1]


def test_a_missing_packet_is_given_up() -> None:
    """One more than `HOLD` gives it up: the loss comes in its place."""
    reorder, out = order(1, *range(3, 4 + HOLD))
    assert out == [1, ("lost", 2, 1), *range(3, 4 + HOLD)]
    assert counters(reorder) == {"received": 2 + HOLD, "lost": 1}


def test_a_loss_says_which_samples_are_missing() -> None:
    """It reaches from the end of the packet before to the start of the one after."""
    reorder = Reorder()
    out = [o for s in (10, 13) for o in reorder.push(packet(s))] + reorder.flush()
    assert out[1] == Lost(11, 2, 11 * FRAME, 13 * FRAME)


def test_two_losses_come_one_by_one() -> None:
    """Each hole is a loss of its own, in order."""
    reorder, out = order(1, 3, 6, 7, flush=True)
    assert out == [1, ("lost", 2, 1), 3, ("lost", 4, 2), 6, 7]
    assert reorder.lost == 3


def test_the_end_gives_up_waiting() -> None:
    """`flush` returns everything that waits; there is nothing left after it."""
    reorder, out = order(1, 3, flush=True)
    assert out == [1, ("lost", 2, 1), 3]
    assert reorder.flush() == []


def test_a_packet_twice_passes_once() -> None:
    """A copy is counted and dropped, whether the first one waits or has passed."""
    reorder, out = order(1, 1, 3, 3, 2)
    assert out == [1, 2, 3]
    assert counters(reorder) == {"received": 5, "duplicates": 2, "reordered": 1}


def test_a_packet_that_comes_too_late_is_counted() -> None:
    """One that was given up is late when it comes, and a duplicate when it comes again."""
    reorder, out = order(1, *range(3, 4 + HOLD), 2, 2)
    assert out == [1, ("lost", 2, 1), *range(3, 4 + HOLD)]
    assert counters(reorder) == {"received": 4 + HOLD, "lost": 1, "late": 1, "duplicates": 1}


@pytest.mark.parametrize("seed", range(5))
def test_any_order_within_the_bound_is_put_right(seed: int) -> None:
    """Packets displaced by less than `HOLD` places all come out, in order."""
    chance = random.Random(seed)
    shuffled = sorted(range(1, 200), key=lambda n: n + chance.uniform(0, HOLD - 1))
    reorder, out = order(0, *shuffled, flush=True)
    assert out == list(range(200))
    assert (reorder.lost, reorder.duplicates) == (0, 0)


def ordered(reorder: Reorder, *sequences: int) -> list[int]:
    """Push packets and return the numbers of those that came out, losses left out."""
    out = [one for sequence in sequences for one in reorder.push(packet(sequence))]
    return [one.sequence for one in out if isinstance(one, Unwrapped)]


def test_a_head_start_finds_the_first_packet() -> None:
    """With it, the first packets wait until it is settled which is the first."""
    reorder = Reorder(head=3)
    assert ordered(reorder, 9, 8, 7) == []
    assert ordered(reorder, 10) == [7, 8, 9, 10]
    assert counters(reorder) == {"received": 4, "reordered": 2}


def test_a_head_start_ends_with_patience() -> None:
    """What waits too long comes out, though there are few packets; what was before it is late."""
    reorder = Reorder(head=3)
    assert ordered(reorder, 9, 8) == []
    assert [one.sequence for one in reorder.expire(before=1.0)] == [8, 9]
    assert ordered(reorder, 7) == []
    assert (reorder.refused, reorder.late) == ("late", 1)


def test_patience_ends_for_each_hole() -> None:
    """Only what a packet that waited too long is held back by is given up."""
    reorder = Reorder()
    ordered(reorder, 1, 3, 6)
    out = reorder.expire(before=0.07)  # packet 3 came at 0.06, packet 6 at 0.12
    assert [one.sequence for one in out] == [2, 3]
    assert (reorder.lost, reorder.bursts) == (1, [1])
    assert reorder.expire(before=0.07) == []


def test_it_says_why_a_packet_is_of_no_use() -> None:
    """`refused` is of the last packet: late, a duplicate, or neither."""
    reorder = Reorder()
    ordered(reorder, 1, *range(3, 4 + HOLD), 2)
    assert reorder.refused == "late"
    ordered(reorder, 3)
    assert reorder.refused == "duplicate"
    ordered(reorder, 4 + HOLD)
    assert reorder.refused is None


def test_what_was_lost_long_ago_is_forgotten() -> None:
    """Numbers of losses are kept for the last thousand packets; what is older is late all the same."""
    reorder = Reorder()
    ordered(reorder, *range(0, 12_000, 2))
    reorder.flush()
    assert reorder.lost == len(reorder.bursts) == 5_999
    assert len(reorder._given_up) <= 2_000
    ordered(reorder, 1)
    assert reorder.refused == "late"


def test_a_restart_forgets_the_numbers_and_keeps_the_counts() -> None:
    """Another stream may have any numbers; the counters go on."""
    reorder = Reorder()
    ordered(reorder, 100, 101, 103)
    reorder.flush()
    reorder.restart()
    assert ordered(reorder, 5, 6) == [5, 6]
    assert counters(reorder) == {"received": 5, "lost": 1}


# --- the clock of a stream -----------------------------------------------------------------------


def test_the_clock_takes_the_least_delayed_packet() -> None:
    """Jitter only delays: the earliest arrival relative to its timestamp is the truth."""
    clock = StreamClock()
    for index, delay in enumerate([0.030, 0.004, 0.050, *[0.020] * 30]):
        clock.observe(index * FRAME, START + index * PTIME + delay)
    assert clock.offset == pytest.approx(START + 0.004)


def test_the_clock_is_open_for_half_a_second() -> None:
    """Nothing is placed before the first 500 ms are over."""
    clock = StreamClock()
    for index in range(26):
        clock.observe(index * FRAME, START + index * PTIME)
    assert clock.offset is None
    clock.observe(26 * FRAME, START + 26 * PTIME)
    assert clock.offset == pytest.approx(START)


def test_the_clock_never_moves_again() -> None:
    """What comes after it was frozen changes nothing, however early it is."""
    clock = StreamClock()
    clock.observe(0, START)
    clock.freeze()
    clock.observe(FRAME, START - 5.0)
    assert clock.offset == START


def test_the_clock_without_packets_stays_open() -> None:
    """There is nothing to freeze."""
    clock = StreamClock()
    clock.freeze()
    assert (clock.offset, clock.first) == (None, None)


def test_the_clock_places_a_timestamp() -> None:
    """`position` is where timestamp 0 lies, in samples from the start of the call."""
    clock = StreamClock()
    clock.observe(48_000, START + 3.0)
    clock.freeze()
    assert clock.position(START) == 96_000


# --- two sides on one axis -----------------------------------------------------------------------


def block(value: int, count: int) -> npt.NDArray[np.int16]:
    return np.full(count, value, np.int16)


def test_both_channels_lie_side_by_side() -> None:
    """Each channel has its samples where they were placed, silence elsewhere."""
    timeline = Timeline()
    timeline.place(0, 1, block(5, 2))
    timeline.place(1, 2, block(7, 1))
    assert timeline.take(4).tolist() == [[0, 0], [5, 0], [5, 7], [0, 0]]
    assert timeline.written == 4


def test_a_block_is_taken_in_parts() -> None:
    """What reaches beyond `until` is kept for the next time."""
    timeline = Timeline(1)
    timeline.place(0, 0, np.arange(1, 7, dtype=np.int16))
    assert timeline.take(4).ravel().tolist() == [1, 2, 3, 4]
    assert timeline.take(8).ravel().tolist() == [5, 6, 0, 0]


def test_samples_that_come_late_are_counted() -> None:
    """The part before `written` is lost and counted, the rest is placed."""
    timeline = Timeline(1)
    timeline.take(3)
    timeline.place(0, 1, np.array([1, 2, 3, 4], np.int16))
    assert timeline.late_samples == 2
    assert timeline.take(5).ravel().tolist() == [3, 4]


def test_samples_that_come_far_too_late_are_only_counted() -> None:
    """A block wholly before `written` leaves no trace but the count."""
    timeline = Timeline(1)
    timeline.take(10)
    timeline.place(0, 2, block(9, 4))
    assert (timeline.late_samples, timeline.end) == (4, 10)


def test_taking_backwards_gives_nothing() -> None:
    """`take` never goes back."""
    timeline = Timeline()
    timeline.take(10)
    assert timeline.take(5).shape == (0, 2)
    assert timeline.written == 10


def test_what_lies_seconds_ahead_is_kept() -> None:
    """Samples beyond the stretch that lies ready come when it is their turn; the later covers."""
    timeline = Timeline(1)
    timeline.place(0, 140_000, block(3, 20_000))
    timeline.place(0, 150_000, block(4, 5))
    assert not timeline.take(100_000).any()
    timeline.place(0, 140_000, block(5, 2))
    assert timeline.take(140_003).ravel()[-4:].tolist() == [0, 5, 5, 3]
    rest = timeline.take(timeline.end).ravel()
    assert len(rest) == 160_000 - 140_003
    assert np.flatnonzero(rest == 4).tolist() == list(range(9_997, 10_002))
    assert np.count_nonzero(rest == 3) == len(rest) - 5


def test_the_end_is_the_last_sample_laid() -> None:
    """`end` covers all channels, and what is written already."""
    timeline = Timeline()
    timeline.place(0, 10, block(1, 5))
    timeline.place(1, 0, block(1, 3))
    assert timeline.end == 15


# --- one stream from packets to placed samples ---------------------------------------------------


def test_a_stream_is_placed_by_its_timestamps() -> None:
    """Packets follow each other to the sample, from the arrival of the least delayed."""
    _, placed = receive(arrivals(speech(1.0), at=ZERO + 0.25))
    assert [one.position for one in placed] == [12_000 + n * FRAME for n in range(51)]
    assert likeness(laid(placed, 80_000)[12_000:], speech(1.0)) > 0.97


def test_nothing_is_placed_before_the_clock_is_settled() -> None:
    """The first 500 ms wait, and then come at once."""
    receiving = Receiving(START)
    packets = arrivals(speech(1.0))
    counts = [len(receiving.push(one)) for one in packets[:28]]
    assert counts == [0] * 26 + [27, 1]


@pytest.mark.parametrize(
    ("sequence", "timestamp"),
    [(65_530, 5_000), (100, 2**32 - 10 * FRAME), (65_535, 2**32 - 1)],
)
def test_numbers_that_wrap_change_nothing(sequence: int, timestamp: int) -> None:
    """Sequence numbers and timestamps wrap around in mid-stream without a trace."""
    receiving, placed = receive(arrivals(speech(0.8), sequence=sequence, timestamp=timestamp))
    assert [one.position for one in placed] == [n * FRAME for n in range(len(placed))]
    assert receiving.reorder.lost == 0
    assert receiving.gaps == []


def test_the_row_of_a_packet_has_the_numbers_of_the_wire() -> None:
    """kind, sequence, timestamp, time, size, position, concealed: wrapped as they were on the wire."""
    packets = arrivals(speech(0.1), sequence=65_535, timestamp=2**32 - FRAME)
    _, placed = receive(packets)
    assert placed[0].row == (
        *("received", 65_535, 2**32 - FRAME, 0.0065),
        *(len(packets[0].payload), 0, None),
    )
    assert placed[1].row[:4] == ("received", 0, 0, 0.0265)


def test_a_loss_is_a_gap_and_a_row() -> None:
    """Lost packets shift nothing: they are a gap of their own length."""
    receiving, placed = receive(arrivals(speech(1.0), drop=(10, 11)))
    assert receiving.gaps == [(10 * FRAME, 12 * FRAME)]
    lost = [one for one in placed if one.row[0] == "lost"]
    assert [one.row[:6] for one in lost] == [("lost", 110, None, None, 2 * FRAME, 10 * FRAME)]
    assert placed[-1].position == 50 * FRAME


def test_after_a_loss_the_sound_is_where_it_was() -> None:
    """The samples after the gap are those of the original, at the same place."""
    _, placed = receive(arrivals(speech(1.0), drop=(10, 11)))
    after = laid(placed, 51 * FRAME)[14 * FRAME :]
    assert likeness(after, speech(1.0)[14 * FRAME :]) > 0.97


def test_jitter_moves_nothing() -> None:
    """Packets that arrive late by up to 60 ms lie where the others would."""
    chance = random.Random(1)
    packets = [
        moved(packet, later=chance.uniform(0, 0.06) * (n > 0))
        for n, packet in enumerate(arrivals(speech(1.0)))
    ]
    _, placed = receive(packets)
    assert [one.position for one in placed] == [n * FRAME for n in range(51)]


def test_a_damaged_packet_is_a_row_and_nothing_else() -> None:
    """What cannot be decoded is counted, marked and left silent."""
    packets = arrivals(speech(0.2))
    packets[4] = moved(packets[4], payload=b"\xff\xff\xff")
    receiving, placed = receive(packets)
    assert receiving.damaged == 1
    assert (placed[4].row[0], placed[4].samples) == ("damaged", None)
    assert placed[5].position == 5 * FRAME


def test_a_new_ssrc_is_placed_by_its_own_arrival() -> None:
    """When the stream is replaced, its numbers start afresh and no loss is counted."""
    first = arrivals(speech(0.6))
    second = arrivals(speech(0.6), ssrc=2, sequence=9, timestamp=77, at=ZERO + 2.0)
    receiving, placed = receive(first, second)
    assert placed[len(first)].position == 96_000
    assert [p.row[0] for p in placed] == ["received"] * (len(first) + len(second))
    assert (receiving.reorder.lost, receiving.gaps) == (0, [])


# --- to disk -------------------------------------------------------------------------------------


def recording(folder: Path, told: list[Any] | None = None) -> Recording:
    writer = RunWriter(folder, sample_rate=48_000)
    return Recording(writer, started=START, on_written=lambda *a: told.append(a) if told else None)


def send(into: Recording, pcm: npt.NDArray[np.int16], *, at: float = 0.0) -> None:
    """Let samples leave, 20 ms at a time, from `at` seconds of the call."""
    for index in range(len(pcm) // FRAME):
        piece = pcm[index * FRAME : (index + 1) * FRAME]
        time = START + at + index * PTIME
        into.sent(index * FRAME, piece, time, index, index * FRAME)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "packets.csv").open() as stream:
        return list(csv.DictReader(stream))


def audio(folder: Path) -> npt.NDArray[np.int16]:
    with wave.open(str(folder / "audio.wav")) as found:
        assert (found.getnchannels(), found.getframerate()) == (2, 48_000)
        return np.frombuffer(found.readframes(found.getnframes()), "<i2").reshape(-1, 2)


def test_both_sides_lie_on_one_clock(tmp_path: Path) -> None:
    """Left is what left at its time, right what came at its time, to the sample."""
    one = recording(tmp_path)
    send(one, speech(1.0), at=0.5)
    for arrival in arrivals(speech(1.0), at=ZERO + 0.75):
        one.arrived(arrival)
    one.finish(START + 2.0)
    sent, heard = audio(tmp_path).T
    assert len(sent) == 96_000
    assert np.array_equal(sent[24_000:72_000], speech(1.0))
    assert not sent[:24_000].any()
    assert likeness(heard[36_000:], speech(1.0)) > 0.97


def test_every_packet_is_a_row(tmp_path: Path) -> None:
    """packets.csv has what left, what came and what was lost, with positions in audio.wav."""
    one = recording(tmp_path)
    send(one, speech(0.1), at=0.5)
    for arrival in arrivals(speech(0.2), at=START + 0.02, drop=(3,)):
        one.arrived(arrival)
    one.finish(START + 1.0)
    kinds = [row["kind"] for row in rows(tmp_path)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"sent": 5, "received": 10, "lost": 1}
    assert [row["concealed"] for row in rows(tmp_path) if row["kind"] == "lost"] == ["fec"]
    first = next(row for row in rows(tmp_path) if row["kind"] == "sent")
    assert list(first) == PACKET_FIELDS.split(",")
    assert (first["sequence"], first["time"], first["position"]) == ("0", "0.5", "24000")


def test_a_stretch_is_written_while_the_call_goes_on(tmp_path: Path) -> None:
    """What is older than the horizon is on disk before the end, and the levels are told."""
    told: list[Any] = [None]
    one = recording(tmp_path, told)
    send(one, speech(1.2))
    one.write(START + 1.2)
    one._disk.submit(lambda: None).result(timeout=10)  # the writer's thread has come this far
    assert len(audio(tmp_path)) == 43_200
    start, end, sent, heard = told[1]
    assert (start, end, len(sent), set(heard)) == (0.0, 0.9, 45, {-120.0})
    one.finish(START + 1.2)


def test_a_pause_in_sending_loses_nothing(tmp_path: Path) -> None:
    """What left before the clock was settled by time alone is written in its place."""
    one = recording(tmp_path)
    send(one, speech(0.4))
    one.write(START + 0.9)
    one.finish(START + 1.0)
    assert np.array_equal(audio(tmp_path)[:19_200, 0], speech(0.4))
    assert one.figures()["late_samples"] == 0


def test_a_pause_in_hearing_loses_nothing(tmp_path: Path) -> None:
    """A reply that ends within the first 500 ms is written though no more packets come."""
    one = recording(tmp_path)
    for arrival in arrivals(speech(0.2), drop=(8,)):
        one.arrived(arrival)
    one.write(START + 0.8)
    one._disk.submit(lambda: None).result(timeout=10)
    assert len(rows(tmp_path)) == 11
    assert audio(tmp_path)[:9_600, 1].any()
    one.finish(START + 0.8)


def test_the_end_is_on_disk_when_finish_returns(tmp_path: Path) -> None:
    """`finish` pads to whole 20 ms, closes the files, and writes nothing twice."""
    one = recording(tmp_path)
    send(one, speech(0.1))
    one.write(START + 0.1)
    one.finish(START + 0.101)
    assert len(audio(tmp_path)) == 6 * FRAME
    assert one.failure is None
    assert one._writer._events.closed


def test_a_call_in_which_nothing_was_sent(tmp_path: Path) -> None:
    """A recording without a packet is silence of the call's length."""
    one = recording(tmp_path)
    one.write(START + 0.6)
    one.finish(START + 1.0)
    assert audio(tmp_path).shape == (48_000, 2)
    assert rows(tmp_path) == []


def test_the_fallback_lays_frames(tmp_path: Path) -> None:
    """Where packets cannot be seen, decoded samples are laid by position."""
    one = recording(tmp_path)
    one.frame(block(7, FRAME), 4_800)
    one.finish(START + 0.2)
    assert np.flatnonzero(audio(tmp_path)[:, 1]).tolist() == list(range(4_800, 4_800 + FRAME))


def test_what_goes_wrong_on_disk_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first failure of writing is a sentence, and the call goes on."""
    one = recording(tmp_path)
    one._writer._events.close()
    one.event(0.1, "sent", "{}")
    one.finish(START + 0.1)
    assert one.failure == ("The run could not be written in full: I/O operation on closed file.")
    assert caplog.messages == [one.failure]


def test_figures_count_what_happened(tmp_path: Path) -> None:
    """The network's counters of both directions."""
    one = recording(tmp_path)
    send(one, speech(0.1))
    for arrival in arrivals(speech(0.2), drop=(3,)):
        one.arrived(arrival)
    one.finish(START + 0.5)
    counted = ("sent", "received", "lost", "late", "duplicate", "reordered", "damaged")
    found = {name: one.figures()[f"packets_{name}"] for name in counted}
    assert {name: value for name, value in found.items() if value} == {
        "sent": 5,
        "received": 10,
        "lost": 1,
    }


def test_levels_are_rms_per_20_ms() -> None:
    """A sine that peaks at -9 dBFS has -12, silence -120; an unfinished window is left out."""
    tone = np.frombuffer(to_pcm(Clip.tone(500, 0.02, level=-9.0)), np.int16)
    assert levels(np.concatenate([tone, np.zeros(FRAME + 5, np.int16)])) == (-12.0, -120.0)


# --- edges ----------------------------------------------------------------------------------------


def _heard(items: list[tuple[int, int, float]]) -> Receiving:
    """Receive (sequence, timestamp, arrival) packets of silence, and return what came of them."""
    receiving = Receiving(0.0)
    receiving.kept = []  # type: ignore[attr-defined]
    for sequence, timestamp, arrival in items:
        packet = RtpArrival(sequence, timestamp, 1, silent_packet(), arrival)
        receiving.kept += receiving.push(packet)  # type: ignore[attr-defined]
    receiving.kept += receiving.flush()  # type: ignore[attr-defined]
    return receiving


def _steady(
    count: int, *, first: int = 0, stamp: int = 0, at: float = 0.0
) -> list[tuple[int, int, float]]:
    return [(first + i, stamp + i * 960, at + i * 0.02) for i in range(count)]


def test_a_stream_that_paused_goes_on_where_it_arrives() -> None:
    """A server that pauses 3 s without counting them: what follows is 3 s later, none is lost."""
    receiving = _heard(_steady(100) + _steady(50, first=100, stamp=96_000, at=5.0))
    positions = [one.position for one in receiving.kept]
    assert receiving.segments == 1
    assert positions[100] == pytest.approx(5.0 * 48_000 - opus.LOOK_AHEAD, abs=1)
    assert positions[101] - positions[100] == 960


@pytest.mark.parametrize("jump", [60 * 48_000, -60 * 48_000, 2**31])
def test_timestamps_that_jump_begin_a_new_segment(jump: int) -> None:
    """What comes after a jump lies where it arrived, not a minute or a day away."""
    stamp = (96_000 + jump) % 2**32
    receiving = _heard(_steady(100) + _steady(50, first=100, stamp=stamp, at=2.0))
    place = pytest.approx(2.0 * 48_000 - opus.LOOK_AHEAD, abs=1)
    assert receiving.kept[100].position == place


def test_a_late_stretch_goes_where_it_belongs_on_disk(tmp_path: Path) -> None:
    """Audio that came 0.6 s late is written into what is on disk already, at its timestamp."""
    written = []
    writer = RunWriter(tmp_path, sample_rate=48_000)
    recording = Recording(writer, started=0.0, on_written=lambda *a: written.append(a))
    tone = (8000 * np.sin(np.arange(960 * 200) * 0.05)).astype(np.int16)
    packets = encode(tone.tobytes())
    for i in range(150):
        late = 0.6 if 50 <= i else 0.0
        arrival = i * 0.02 + late
        recording.arrived(RtpArrival(i, i * 960, 1, packets[i], arrival))
        recording.write(arrival)
    recording.finish(4.0)
    heard = RunAudio(tmp_path).clip("heard").samples
    assert np.sqrt(np.mean(heard[24_000:140_000] ** 2)) == pytest.approx(
        8000 / 32768 / 2**0.5, rel=0.02
    )
    assert recording.figures()["late_samples"] > 0
