"""RTP as it should not be, or seldom is: what a recording of it holds."""

from __future__ import annotations

import random
import tracemalloc
from typing import Final

import numpy as np
import pytest
from rtp_streams import (
    PTIME,
    START,
    ZERO,
    arrivals,
    encode,
    frames,
    kinds,
    laid,
    level,
    likeness,
    moved,
    receive,
    speech,
    stream,
    voice,
)

from rtnb.media import opus
from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import Receiving
from rtnb.media.opus import FRAME, LOOK_AHEAD, SAMPLE_RATE, silent_packet

SECOND: Final = SAMPLE_RATE


def in_turn(*streams: list[RtpArrival]) -> list[RtpArrival]:
    """Return the packets of several streams in the order of their arrival."""
    return sorted((packet for packets in streams for packet in packets), key=lambda p: p.time)


# --- not this stream's ---------------------------------------------------------------------------


def test_packets_of_another_source_leave_no_trace_in_the_sound() -> None:
    """A second source between the packets of the first is counted and noted, and not heard."""
    good = arrivals(voice(1.0))
    strange = arrivals(speech(1.0), ssrc=2, sequence=31_000, at=ZERO + 0.005)[::2]
    alone, mixed = receive(good)[1], receive(in_turn(good, strange))
    assert np.array_equal(laid(mixed[1], SECOND), laid(alone, SECOND))
    assert kinds(mixed[1]) == {"received": len(good), "foreign": len(strange)}
    assert (mixed[0].foreign, mixed[0].streams, mixed[0].gaps) == (len(strange), 1, [])


def test_two_packets_of_another_source_take_over_nothing() -> None:
    """It takes three in a row of another source; two that come in a pause are none of the sound."""
    first, second = arrivals(voice(2.0))[:60], arrivals(voice(2.0))[60:]
    strange = arrivals(speech(0.1), ssrc=2, at=ZERO + 1.19)[:2]
    receiving, placed = receive(first, strange, second)
    assert (receiving.streams, receiving.foreign, receiving.reorder.lost) == (1, 2, 0)
    assert [p.position for p in placed if p.samples is not None] == [n * FRAME for n in range(101)]


def test_a_restarted_stream_is_heard_from_its_first_packet() -> None:
    """A new source takes over with its third packet, and the two before it are not lost."""
    first = arrivals(voice(1.0), sequence=400)
    second = arrivals(voice(1.0), ssrc=2, sequence=7, timestamp=2**31, at=ZERO + 1.5)
    receiving, placed = receive(first, second)
    assert kinds(placed) == {"received": len(first) + len(second)}
    assert placed[len(first)].position == round(1.5 * SECOND)
    assert likeness(laid(placed, 3 * SECOND)[round(1.5 * SECOND) :], voice(1.0)) > 0.9
    assert (receiving.streams, receiving.gaps, receiving.foreign) == (2, [], 0)


def test_three_packets_are_a_stream() -> None:
    """Another source that sends no more than these is heard at their place."""
    second = arrivals(voice(0.06), ssrc=2, at=ZERO + 1.5)[:3]
    receiving, placed = receive(arrivals(voice(1.0)), second)
    assert (receiving.streams, receiving.foreign) == (2, 0)
    assert placed[-1].position == round(1.5 * SECOND) + 2 * FRAME


def test_a_source_may_come_back() -> None:
    """The first source after the second is a third stream, in its place."""
    first = arrivals(voice(0.6))
    between = arrivals(voice(0.6), ssrc=2, at=ZERO + 1.0)
    again = arrivals(voice(0.6), sequence=140, timestamp=5_000 + 2 * SECOND, at=ZERO + 2.0)
    receiving, placed = receive(first, between, again)
    assert (receiving.streams, receiving.reorder.lost) == (3, 0)
    assert placed[-len(again)].position == 2 * SECOND


def test_sequence_numbers_that_start_afresh_are_a_new_stream() -> None:
    """A source that restarts without changing its SSRC is heard on, and nothing counts as lost."""
    first = arrivals(voice(1.0), sequence=30_000)
    second = arrivals(voice(1.0), sequence=200, timestamp=9, at=ZERO + 1.02)
    receiving, placed = receive(first, second)
    assert kinds(placed) == {"received": len(first) + len(second)}
    assert (receiving.streams, receiving.reorder.lost) == (2, 0)


def test_a_restarted_stream_may_stall() -> None:
    """Timestamps below those of the stream before are no sign of a jump: nothing moves."""
    first = arrivals(voice(0.6), timestamp=2**31)
    packets = arrivals(voice(4.0), ssrc=2, at=ZERO + 1.0)
    release = packets[60].time + 2.0
    late = [moved(p, later=max(release + n * 1e-4 - p.time, 0)) for n, p in enumerate(packets[60:])]
    receiving, placed = receive(first, packets[:60], late)
    assert [p.position for p in placed[31:]] == [SECOND + n * FRAME for n in range(201)]
    assert (receiving.streams, receiving.segments) == (2, 0)


def test_jitter_and_drift_go_on_when_a_stream_restarts() -> None:
    """They are figures of the call, not of what its last stream happened to be."""
    chance = random.Random(1)
    packets = arrivals(voice(1.4))
    shaken = [moved(p, later=chance.uniform(0, 0.015)) for p in packets]
    once = receive(shaken)[0].jitter
    again = [moved(p, ssrc=2, timestamp=p.timestamp + 2**31) for p in packets[-5:]]
    assert once is not None
    assert once > 0.003
    assert receive(shaken, [moved(p, later=3.0) for p in again])[0].jitter == pytest.approx(
        once * (15 / 16) ** 5
    )


@pytest.mark.parametrize("jump", [101, -20_000, 3_500])
def test_one_wild_sequence_number_is_noted_and_forgotten(jump: int) -> None:
    """It is neither heard nor does it make thousands of packets lost."""
    packets = arrivals(voice(1.0), sequence=20_000)
    wild = moved(packets[30], sequence=(20_030 + jump + (jump > 0) * 3_000) % 65_536, later=0.001)
    receiving, placed = receive(in_turn(packets, [wild]))
    assert kinds(placed) == {"received": 51, "foreign": 1}
    assert (receiving.streams, receiving.reorder.lost) == (1, 0)


def test_another_codec_is_never_fed_to_opus() -> None:
    """PCMU or telephone-event between the packets of a source is noted, silent, and no loss."""
    packets = arrivals(voice(1.0))
    tones = [moved(packets[n], payload=b"\x7f" * 160, opus=False) for n in (20, 21)]
    receiving, placed = receive(packets[:20] + tones + packets[22:])
    assert kinds(placed) == {"received": 49, "foreign": 2}
    assert (receiving.foreign, receiving.damaged, receiving.gaps) == (2, 0, [])
    assert not laid(placed, SECOND)[frames(20, 22)].any()
    row = placed[20].row
    assert row[:2] == ("foreign", 120)
    assert row[4:6] == (160, round((packets[20].time - START) * SECOND))


def test_another_codec_before_opus_is_not_the_stream() -> None:
    """What begins with another codec's packets begins with the first one of Opus."""
    early = stream([b"\x7f" * 160] * 4, ssrc=9, at=ZERO, is_opus=False)
    receiving, placed = receive(early, arrivals(voice(0.6), at=ZERO + 0.1))
    assert kinds(placed) == {"foreign": 4, "received": 31}
    assert (placed[4].position, receiving.streams) == (4_800, 1)


def test_damaged_packets_are_their_own_length_of_silence() -> None:
    """What cannot be decoded moves nothing and ends nothing; the packets after it are heard."""
    packets = arrivals(voice(1.0))
    bad = [moved(p, payload=b"\xff\xff\xff") if n in (30, 31) else p for n, p in enumerate(packets)]
    receiving, placed = receive(bad)
    heard = laid(placed, SECOND)
    assert (receiving.damaged, kinds(placed)["damaged"]) == (2, 2)
    assert not heard[frames(30, 32)].any()
    assert likeness(heard[frames(36, 50)], voice(1.0)[frames(36, 50)]) > 0.9


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x5b\x3f..", b"\x4b\0.."])
def test_a_loss_after_a_damaged_packet_is_where_it_was(payload: bytes) -> None:
    """One that claims a second of sound, or none, is 20 ms: the gap after it stays in place."""
    packets = arrivals(voice(1.0), drop=(31,))
    packets[30] = moved(packets[30], payload=payload)
    receiving, _ = receive(packets)
    assert (receiving.damaged, receiving.gaps) == (1, [(31 * FRAME, 32 * FRAME)])


def test_a_packet_of_padding_alone_is_no_loss() -> None:
    """It has a number and no sound: noted as foreign, and no gap."""
    packets = arrivals(voice(1.0))
    packets[30] = moved(packets[30], payload=b"", opus=False)
    receiving, placed = receive(packets)
    assert kinds(placed) == {"received": 50, "foreign": 1}
    assert (receiving.reorder.lost, receiving.gaps) == (0, [])


# --- numbers that jump ---------------------------------------------------------------------------


def test_both_numbers_wrap_in_the_middle_of_a_loss() -> None:
    """A loss over the wrap of 16-bit sequence numbers and 32-bit timestamps is of its own length."""
    packets = arrivals(
        voice(1.0), sequence=65_536 - 30, timestamp=2**32 - 31 * FRAME, drop=(29, 30, 31)
    )
    receiving, placed = receive(packets)
    assert receiving.gaps == [(29 * FRAME, 32 * FRAME)]
    assert (receiving.reorder.lost, receiving.reorder.bursts) == (3, [3])
    assert placed[-1].position == 50 * FRAME


@pytest.mark.parametrize("jump", [3 * SECOND, -3 * SECOND, 2**31])
def test_a_timestamp_that_jumps_leaves_the_sound_in_its_order(jump: int) -> None:
    """Forward, backward or half way round: what follows lies at its arrival, none is lost."""
    packets = arrivals(voice(2.0))
    jumped = [moved(p, timestamp=(p.timestamp + jump) % 2**32) for p in packets[50:]]
    receiving, placed = receive(packets[:50], jumped)
    assert [one.position for one in placed] == [n * FRAME for n in range(101)]
    assert (receiving.segments, receiving.gaps) == (1, [])


@pytest.mark.parametrize("jump", [3_600, 2, -2, -10, -3_600])
def test_one_timestamp_that_jumps_is_heard_where_it_came(jump: int) -> None:
    """A single wild timestamp displaces nothing but its own packet, and that not far."""
    packets = arrivals(voice(2.0), timestamp=2**31)
    packets[60] = moved(packets[60], timestamp=packets[60].timestamp + jump * SECOND)
    receiving, placed = receive(packets)
    assert [one.position for one in placed] == pytest.approx([n * FRAME for n in range(101)], abs=1)
    assert (receiving.segments, receiving.gaps) == (1, [])


def test_a_stall_of_the_network_moves_nothing() -> None:
    """Packets that were held up for 4 s and then came all at once lie where they belong."""
    packets = arrivals(voice(8.0))
    release = packets[60].time + 4.0
    late = [
        moved(p, later=max(release + n * 1e-4 - p.time, 0.0)) for n, p in enumerate(packets[60:])
    ]
    receiving, placed = receive(packets[:60], late)
    assert [one.position for one in placed] == [n * FRAME for n in range(len(packets))]
    assert (receiving.segments, receiving.gaps, receiving.foreign) == (0, [], 0)


def test_a_pause_ends_with_the_least_delayed_packet() -> None:
    """Where the clock stood still, the first packet's own delay does not shift the next reply."""
    packets = arrivals(voice(2.0))
    after = [moved(p, later=3.0 + 0.04 * (n == 0)) for n, p in enumerate(packets[50:])]
    _, placed = receive(packets[:50], after)
    assert placed[50].position == 50 * FRAME + 3 * SECOND


def test_what_comes_after_a_pause_is_placed_without_more_packets() -> None:
    """A short reply after a pause is placed when half a second is over; until then it is waited for."""
    packets = arrivals(voice(1.4))
    receiving = Receiving(START)
    for packet in packets[:50]:
        receiving.push(packet)
    assert [receiving.push(moved(packet, later=60.0)) for packet in packets[50:]] == [[]] * 21
    came = packets[50].time + 60.0
    assert receiving.settled_before == pytest.approx(came - 0.5)
    assert receiving.settle(came + 0.45) == []
    placed = receiving.settle(came + 0.55)
    assert [one.position for one in placed] == [(50 + n) * FRAME + 60 * SECOND for n in range(21)]
    assert receiving.settled_before == float("inf")


def test_drift_goes_on_over_pauses() -> None:
    """A pause that was not counted is no drift of the far clock."""
    receiving = Receiving(START)
    for n in range(1_500):
        stamp = n * FRAME % 2**32
        at = ZERO + n * PTIME * (1 - 1e-4) + (n >= 700) * 90.0
        receiving.push(RtpArrival(n, stamp, 1, silent_packet(), at))
    assert receiving.drift == pytest.approx(30 * 1e-4, rel=0.2)
    assert receiving.jitter == pytest.approx(0, abs=1e-4)


def test_a_loss_across_a_jump_is_as_long_as_its_packets() -> None:
    """Where the timestamps cannot tell how much is missing, the number of packets does."""
    packets = arrivals(voice(2.0))
    jumped = [moved(p, timestamp=p.timestamp + 60 * SECOND) for p in packets[52:]]
    receiving, placed = receive(packets[:50], jumped)
    assert receiving.gaps == [(50 * FRAME, 52 * FRAME)]
    assert placed[-1].position == pytest.approx(100 * FRAME, abs=1)


# --- pauses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [0.4, 7.0, 180.0])
def test_time_that_was_counted_is_silence(pause: float) -> None:
    """DTX: no packets while the timestamps go on. It is silence, no loss and no new segment."""
    first = arrivals(voice(1.0))
    stamp = first[-1].timestamp + FRAME + round(pause * SECOND)
    second = arrivals(
        voice(1.0),
        sequence=100 + len(first),
        timestamp=stamp,
        at=first[-1].time + PTIME + pause,
    )
    receiving, placed = receive(first, second)
    assert kinds(placed) == {"received": 102}
    assert (receiving.gaps, receiving.segments, receiving.reorder.lost) == ([], 0, 0)
    assert placed[51].position == 51 * FRAME + round(pause * SECOND)


@pytest.mark.parametrize("pause", [3.0, 180.0])
def test_time_that_was_not_counted_is_silence_too(pause: float) -> None:
    """A server that stops its clock between replies: the next one lies at its arrival."""
    packets = arrivals(voice(2.0))
    receiving, placed = receive(packets[:50], [moved(p, later=pause) for p in packets[50:]])
    assert (receiving.segments, receiving.gaps) == (1, [])
    assert placed[50].position == 50 * FRAME + round(pause * SECOND)
    assert placed[51].position == placed[50].position + FRAME


def test_packets_of_one_byte_are_the_decoders_own_quiet() -> None:
    """DTX that keeps sending: a packet of its first byte alone is 20 ms, and not damaged."""
    pcm = np.concatenate([voice(0.6), np.zeros(SECOND, np.int16)])
    payloads = [p if n < 40 else p[:1] for n, p in enumerate(opus.encode(pcm.tobytes()))]
    receiving, placed = receive(stream(payloads))
    heard = laid(placed, round(1.6 * SECOND))
    assert (kinds(placed), receiving.gaps) == ({"received": len(payloads)}, [])
    assert level(heard[frames(50, 80)]) < 20 < level(heard[frames(5, 25)])


def test_a_packet_lost_before_a_pause_takes_its_own_length() -> None:
    """A loss that hides in a pause of the timestamps is not as long as the pause."""
    first = arrivals(voice(1.0))[:50]
    stamp = first[-1].timestamp + FRAME + 5 * SECOND
    second = arrivals(voice(1.0), sequence=151, timestamp=stamp, at=first[-1].time + 5.02)
    receiving, placed = receive(first, second)
    assert receiving.gaps == [(50 * FRAME, 51 * FRAME)]
    assert placed[51].position == 50 * FRAME + 5 * SECOND


def test_a_copy_is_not_laid_at_the_other_end_of_a_pause() -> None:
    """The copy in a packet is of what came just before it, not of what was lost before a pause."""
    whole = arrivals(voice(2.0))
    after = [moved(p, timestamp=p.timestamp + 5 * SECOND, later=5.0) for p in whole[61:]]
    receiving, placed = receive(whole[:60], after)
    assert receiving.gaps == [(60 * FRAME, 61 * FRAME)]
    assert [one.row[6] for one in placed if one.row[0] == "lost"] == ["plc"]
    assert receive(whole[:60], whole[61:])[0].concealed == {"fec": 1}


@pytest.mark.parametrize("kind", ["late", "duplicate"])
def test_jitter_counts_late_packets_and_no_duplicates(kind: str) -> None:
    """RFC 3550 takes every packet that came; one that was sent once came once."""
    packets = arrivals(voice(1.0))
    extra = moved(packets[30], later=0.5)
    others = packets[:30] + packets[30 + (kind == "late") :]
    receiving, placed = receive(in_turn(others, [extra]))
    assert kinds(placed)[kind] == 1
    assert receiving.jitter is not None
    assert (receiving.jitter > 0.001) is (kind == "late")


def test_an_outage_is_as_long_as_it_was() -> None:
    """15 s of lost packets are one gap of 15 s, of which the first 100 ms at most are made up."""
    silence = [silent_packet()] * 900
    receiving, placed = receive(stream(silence, drop=tuple(range(60, 810))))
    assert receiving.gaps == [(60 * FRAME, 810 * FRAME)]
    lost = next(one for one in placed if one.row[0] == "lost")
    assert lost.samples is not None
    assert len(lost.samples) == 5 * FRAME
    assert receiving.concealed == {"plc": 5}


# --- other packets -------------------------------------------------------------------------------


@pytest.mark.parametrize("ptime", [0.01, 0.04, 0.06])
def test_packets_of_other_durations(ptime: float) -> None:
    """10, 40 and 60 ms packets follow each other to the sample, and a loss takes its own length."""
    size = round(ptime * SECOND)
    payloads = encode(voice(1.8), ptime=ptime)
    assert {opus.samples_in(payload) for payload in payloads} == {size}
    receiving, placed = receive(stream(payloads, drop=(9,)))
    assert [one.position for one in placed] == [n * size for n in range(len(payloads))]
    assert receiving.gaps == [(9 * size, 10 * size)]
    heard = laid(placed, round(1.8 * SECOND))
    assert likeness(heard[12 * size :], voice(1.8)[12 * size :]) > 0.9


def test_durations_may_change_from_packet_to_packet() -> None:
    """Each packet is as long as it says; a loss between two of them is told by the timestamps."""
    pcm = voice(2.4)
    payloads = [
        *encode(pcm[: round(1.2 * SECOND)], ptime=0.06),
        *encode(pcm[round(1.2 * SECOND) :], ptime=0.01),
    ]
    receiving, placed = receive(stream(payloads, drop=(19, 20)))
    assert receiving.gaps == [(19 * 2880, 20 * 2880 + 480)]
    assert placed[-1].position + 480 == round(2.4 * SECOND)


@pytest.mark.parametrize(("left", "right", "mean"), [(1.0, 1.0, 1.0), (1.0, 0.0, 0.5)])
def test_stereo_is_mixed_to_its_mean(left: float, right: float, mean: float) -> None:
    """Both channels alike keep their level; one alone is half."""
    both = np.stack([voice(1.0) * left, voice(1.0) * right], axis=1).astype(np.int16)
    _, placed = receive(stream(encode(both, b="96000")))
    heard = laid(placed, SECOND)[12_000:]
    assert level(heard) == pytest.approx(level(voice(1.0)[12_000:]) * mean, rel=0.06)


# --- the beginning -------------------------------------------------------------------------------


def test_a_first_packet_that_was_overtaken_is_not_late() -> None:
    """The first two packets swapped: both are heard, in order."""
    packets = arrivals(voice(1.0))
    swapped = [moved(packets[1]), moved(packets[0], later=PTIME + 0.001), *packets[2:]]
    receiving, placed = receive(swapped)
    assert [one.row[1] for one in placed] == [100 + n for n in range(51)]
    assert (receiving.reorder.late, receiving.reorder.lost) == (0, 0)
    assert [one.position for one in placed] == [n * FRAME for n in range(51)]


def test_what_lies_before_the_call_is_cut() -> None:
    """The decoder's look-ahead of a packet at 0 of the call would lie before it."""
    receiving, placed = receive(arrivals(voice(0.6), at=START))
    assert placed[0].samples is not None
    assert (placed[0].position, len(placed[0].samples)) == (0, FRAME - LOOK_AHEAD)
    assert placed[0].row[5] == 0
    assert placed[1].position == FRAME - LOOK_AHEAD
    assert receiving.gaps == []


# --- late and twice ------------------------------------------------------------------------------


def test_late_and_double_packets_have_rows() -> None:
    """What came after its loss was settled stays lost; both kinds are noted with their place."""
    packets = arrivals(voice(1.0))
    late = moved(packets[30], later=0.2)
    twice = moved(packets[35], later=0.01)
    receiving, placed = receive(in_turn(packets[:30] + packets[31:], [late, twice]))
    assert kinds(placed) == {"received": 50, "lost": 1, "duplicate": 1, "late": 1}
    assert receiving.gaps == [(30 * FRAME, 31 * FRAME)]
    rows = {one.row[0]: one.row for one in placed if one.row[0] in ("late", "duplicate")}
    assert rows["late"][1:6:4] == (130, 30 * FRAME)
    assert rows["duplicate"][1:6:4] == (135, 35 * FRAME)


# --- anything ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_any_mess_is_survived(seed: int) -> None:
    """Random numbers, sources, codecs, bytes and times: no error, and each packet has one row."""
    chance = random.Random(seed)
    payloads = opus.encode(voice(1.0).tobytes())
    receiving, placed, time, count = Receiving(START), [], START, 1_500
    for n in range(count):
        time += chance.choice([0.0, 0.01, 0.02, 0.02, 0.02, 0.7 * (chance.random() < 0.02)])
        wild = chance.random() < 0.1
        packet = RtpArrival(
            (chance.randrange(65_536) if wild else n + chance.randrange(-8, 8)) % 65_536,
            (chance.choice([0, 2**31, 2**32 - 1]) if wild else n * FRAME) % 2**32,
            chance.choice([1, 2, 3]) if chance.random() < 0.2 else 1 + n // 800,
            chance.randbytes(chance.randrange(1, 9)) if wild else chance.choice(payloads),
            time,
            chance.random() > 0.03,
        )
        placed += receiving.push(packet)
        if n % 7 == 0:
            placed += receiving.settle(time)
    placed += receiving.flush()
    assert sum(one.row[0] != "lost" for one in placed) == count
    assert all(one.position >= 0 for one in placed)
    assert all(len(one.row) == 7 and one.row[5] == one.position for one in placed)
    assert max(one.position for one in placed) < (time - START + 5) * SECOND
    assert [(one.row[5], one.row[4]) for one in placed if one.row[0] == "lost"] == [
        (start, end - start) for start, end in receiving.gaps
    ]


# --- memory --------------------------------------------------------------------------------------


def test_a_long_bad_stream_is_forgotten() -> None:
    """Of 6,000 packets, late, double, foreign and lost ones among them, little is kept."""
    receiving = Receiving(START)
    payload = silent_packet()

    def feed(first: int, last: int) -> None:
        for n in range(first, last):
            packet = RtpArrival(n % 65_536, n * FRAME % 2**32, 1, payload, START + n * PTIME)
            if n % 40 == 3:
                continue  # lost
            receiving.push(packet)
            if n % 40 == 20:
                receiving.push(moved(packet, sequence=(n - 17) % 65_536))  # late
                receiving.push(packet)  # twice
                receiving.push(moved(packet, ssrc=2))  # foreign

    feed(0, 2_000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    feed(2_000, 6_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert receiving.reorder.late == 150
    assert grown < 50_000  # the gaps: 100 of them
