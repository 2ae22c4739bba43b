"""Listening live: what is decoded goes on at once, in order, without long silences."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from rtp_streams import PTIME, START, ZERO, arrivals, moved, voice

from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.listening import Listening
from rtnb.media.opus import FRAME, SAMPLE_RATE
from rtnb.media.recording import Recording
from rtnb.runfiles import RunWriter

S16 = npt.NDArray[np.int16]
Stretch = tuple[int, S16, float]

LOUD = np.full(FRAME, 3000, np.int16)
QUIET = np.full(FRAME, 8, np.int16)  # -72 dBFS


def listened(stretches: list[tuple[int, S16]]) -> list[tuple[int, int]]:
    """Return position and length of what goes on."""
    out: list[tuple[int, int]] = []
    listening = Listening(lambda position, samples, _: out.append((position, len(samples))))
    for position, samples in stretches:
        listening.take(position, samples, 0.0)
    return out


def test_what_is_heard_goes_on_as_it_comes() -> None:
    """Whatever the length of a stretch."""
    stretches = [(0, LOUD), (960, np.tile(LOUD, 3)), (3840, LOUD[:120]), (90_000, LOUD)]
    assert listened(stretches) == [(0, 960), (960, 2880), (3840, 120), (90_000, 960)]


def test_a_silence_goes_on_for_a_fifth_of_a_second() -> None:
    """What follows it goes on at its place."""
    blocks = [LOUD, *[QUIET] * 50, LOUD, QUIET]
    places = [at // FRAME for at, _ in listened([(n * FRAME, b) for n, b in enumerate(blocks)])]
    assert places == [*range(11), 51, 52]


def test_one_loud_window_is_no_silence() -> None:
    """A stretch of 60 ms is looked at 20 ms at a time, its last part too."""
    dull = np.tile(QUIET, 12)
    word = np.concatenate((QUIET, QUIET, np.full(100, 40, np.int16)))
    assert listened([(0, dull), (len(dull), word)]) == [(len(dull), len(word))]


def test_what_has_been_gone_past_is_left_out() -> None:
    """A stretch that comes again, and the beginning of one that overlaps."""
    stretches = [(9600, LOUD), (9600, LOUD), (0, LOUD), (10_000, LOUD), (10_960, LOUD)]
    assert listened(stretches) == [(9600, 960), (10_560, 400), (10_960, 960)]


def test_what_lies_before_the_call_is_cut() -> None:
    """The look-ahead of a call's very first packet."""
    assert listened([(-312, LOUD)]) == [(0, 648)]


# --- beside a recording ---------------------------------------------------------------------------


def heard_of(folder: Path, packets: list[RtpArrival]) -> tuple[list[Stretch], S16]:
    """Record packets; return what a listener took, and the heard side of the run."""
    taken: list[Stretch] = []
    writer = RunWriter(folder, sample_rate=SAMPLE_RATE)
    recording = Recording(writer, started=START, on_written=lambda *_: None)
    recording.listener = Listening(lambda *stretch: taken.append(stretch)).take
    for packet in packets:
        recording.arrived(packet)
        recording.write(packet.time)
    recording.finish(packets[-1].time + 0.5)
    with wave.open(str(folder / "audio.wav")) as found:
        return taken, np.frombuffer(found.readframes(found.getnframes()), "<i2")[1::2]


def put_together(taken: list[Stretch], length: int) -> S16:
    out = np.zeros(length, np.int16)
    for position, samples, _ in taken:
        out[position : position + len(samples)] = samples
    return out


@pytest.mark.parametrize("drop", [(), (40,), (40, 41, 42)])
def test_a_listener_hears_what_is_recorded(tmp_path: Path, drop: tuple[int, ...]) -> None:
    """Sample for sample, what stands in for losses too."""
    taken, recorded = heard_of(tmp_path, arrivals(voice(2.0), drop=drop))
    assert np.array_equal(put_together(taken, len(recorded)), recorded)
    ends = [position + len(samples) for position, samples, _ in taken]
    assert [position for position, _, _ in taken[1:]] == ends[:-1]


def test_a_stretch_names_its_arrival(tmp_path: Path) -> None:
    """On the call's clock; that of what stands in for a loss is none of the past's."""
    taken, _ = heard_of(tmp_path, arrivals(voice(1.0), at=ZERO + 0.5))
    times = [arrived for _, _, arrived in taken]
    assert times == pytest.approx([ZERO - START + 0.5 + n * PTIME for n in range(len(times))])


def test_what_a_stall_held_up_goes_on_late(tmp_path: Path) -> None:
    """It is in order, though it goes into what is on disk already; its position tells."""
    packets = arrivals(voice(2.0))
    stalled = [moved(p, later=max(0.0, 1.6 - n * PTIME)) for n, p in enumerate(packets[50:])]
    taken, recorded = heard_of(tmp_path, packets[:50] + stalled)
    assert np.array_equal(put_together(taken, len(recorded)), recorded)
    late = [arrived - position / SAMPLE_RATE for position, _, arrived in taken]
    assert late[50] > 1.5


def test_frames_are_listened_to_where_packets_cannot_be_seen(tmp_path: Path) -> None:
    """The fallback's samples go the same way."""
    taken: list[Stretch] = []
    writer = RunWriter(tmp_path, sample_rate=SAMPLE_RATE)
    recording = Recording(writer, started=0.0, on_written=lambda *_: None)
    recording.frame(LOUD, 0)
    recording.listener = Listening(lambda *stretch: taken.append(stretch)).take
    recording.frame(LOUD, 960)
    recording.finish(0.1)
    assert [(position, len(samples)) for position, samples, _ in taken] == [(960, 960)]
