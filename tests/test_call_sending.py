"""Sending: a clip is encoded while it is played, once for all calls, and no stall makes a flood."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tracks import FastLoop, stall

from rtnb import Clip, PromptTrack
from rtnb import messages as m
from rtnb.audio import to_pcm
from rtnb.media import opus
from rtnb.media.aiortc_hooks import RtpDeparture
from rtnb.media.call import Call
from rtnb.media.host import Host
from rtnb.media.opus import FRAME, LOOK_AHEAD, Decoder
from rtnb.media.tracks import CATCH_UP, Pacer
from rtnb.runfiles import create_run_folder


class Later:
    """Stands for the thread that encodes: it does what it is told only when asked to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        self.jobs.append((work, arguments))

    def do_one(self) -> None:
        work, arguments = self.jobs.pop(0)
        work(*arguments)


def tone(seconds: float, frequency: float) -> bytes:
    return to_pcm(Clip.tone(frequency, seconds, level=-12.0))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """The rest of each clip is encoded when the test says so."""
    held = Later()
    monkeypatch.setattr(opus, "_ahead", lambda: held)
    return held


def test_a_long_clip_can_be_played_after_its_first_half_second_is_encoded(later: Later) -> None:
    """Preparing a minute makes 25 packets; the others follow in turns of as many."""
    encoding = opus.prepare(tone(60.0, 333.0))
    assert len(encoding._packets) == 25
    later.do_one()
    assert len(encoding._packets) == 50
    assert len(later.jobs) == 1


def test_long_clips_take_turns(later: Later) -> None:
    """The end of one clip is not waited for by another."""
    one, other = (opus.prepare(tone(20.0, frequency)) for frequency in (334.0, 335.0))
    for _ in range(4):
        later.do_one()
    assert len(one._packets) == len(other._packets) == 75


def test_packets_are_the_same_whoever_makes_them(later: Later) -> None:
    """A track that has overtaken the thread encodes what it needs, and both agree."""
    pcm = tone(2.0, 336.0)
    ahead = opus.Encoding(pcm).whole()
    overtaken = opus.prepare(pcm)
    assert overtaken.packet(60) == ahead[60]
    while later.jobs:
        later.do_one()
    assert overtaken.whole() == ahead
    assert len(ahead) == -(-(2 * opus.SAMPLE_RATE + LOOK_AHEAD) // FRAME)


def test_the_level_is_kept() -> None:
    """A mono prompt decodes to its own level within 2 %."""
    pcm = tone(1.0, 440.0)
    decoder = Decoder()
    decoded = [decoder.decode(packet) for packet in opus.encode(pcm)]
    heard = np.concatenate([block for block in decoded if block is not None])[LOOK_AHEAD:]
    said = np.frombuffer(pcm, np.int16)
    middle = slice(FRAME * 10, FRAME * 40)
    level = np.std(heard[middle].astype(float)) / np.std(said[middle].astype(float))
    assert level == pytest.approx(1.0, abs=0.02)


def test_the_opus_settings_carry_fec() -> None:
    """Most packets of a voice carry a copy of the one before (RFC 6716 section 2.1.7)."""
    from rtnb import sample
    from rtnb.media.concealing import carries_fec

    packets = opus.encode(to_pcm(sample("greeting")))
    assert np.mean([carries_fec(packet) for packet in packets]) > 0.6


def test_a_clip_can_be_encoded_before_there_is_a_call() -> None:
    """`Prepare` names no call and gets no answer; who plays the clip finds its packets."""
    pcm = tone(3.0, 337.0)
    told: list[m.Message] = []

    async def prepared() -> int:
        Host(told.append).dispatch(m.Prepare("", pcm))
        encoding = opus.encoding_of(pcm)
        async with asyncio.timeout(10):
            while len(encoding._packets) < 151:
                await asyncio.sleep(0.01)
        return len(encoding.whole())

    assert asyncio.run(prepared()) == 151
    assert told == []


def test_a_prepare_crosses_the_pipe() -> None:
    """`Prepare` is one of the messages that the media process takes."""
    message = m.Prepare("", b"\0\0")
    assert m.decode_message(m.encode_message(message)[4:]) == message


def test_all_calls_of_a_process_catch_up_with_at_most_five() -> None:
    """After a stall of 250 ms none of ten tracks sends more than five packets within 20 ms."""

    async def left(track: PromptTrack, times: list[float]) -> None:
        for _ in range(40):
            await track.recv()
            times.append(asyncio.get_running_loop().time())

    async def stalled() -> list[list[float]]:
        tracks = [PromptTrack(encoded=True) for _ in range(10)]
        times: list[list[float]] = [[] for _ in tracks]
        async with asyncio.TaskGroup() as group:
            for index, track in enumerate(tracks):
                group.create_task(left(track, times[index]))
                await asyncio.sleep(0.0013 * index)
            await asyncio.sleep(0.1)
            stall(0.25)
        return times

    with asyncio.Runner(loop_factory=FastLoop) as runner:
        for times in runner.run(stalled()):
            within = [sum(0 <= t - one < 0.0199 for t in times) for one in times]
            assert 2 < max(within) <= CATCH_UP


def test_a_long_clip_begins_at_once() -> None:
    """Handing a minute to a track takes less than encoding it."""

    async def begun() -> tuple[float, bytes]:
        pcm = np.random.default_rng(7).normal(0, 2000, 60 * 48_000).astype(np.int16).tobytes()
        track = PromptTrack(encoded=True)
        began = time.perf_counter()
        track.play(pcm)
        packet = await track.recv()
        return time.perf_counter() - began, bytes(packet)

    took, packet = asyncio.run(begun())
    assert len(packet) > 30
    assert took < 0.3


def test_packets_are_late_by_when_they_left(tmp_path: Path) -> None:
    """A packet that its track handed over in time, and that was sent 15 ms later, counts as late."""
    block = np.zeros(FRAME, np.int16)

    async def figures() -> dict[str, Any]:
        now = time.monotonic()
        call = Call(m.Open("one", now, str(create_run_folder(tmp_path))), lambda _: None)
        call._watched = True
        call._track._pacer = Pacer(now)
        for number, lag in enumerate((0.001, 0.015, 0.002)):
            due = now + number * 0.02
            call._on_block(call._track._pacer.advance(due), block)
            call._on_departure(RtpDeparture(number, number * FRAME, 80, due + lag))
        await call.close("closed", "")
        return call._figures()

    counted = asyncio.run(figures())
    assert (counted["packets_sent"], counted["late_packets"]) == (3, 1)
    assert counted["worst_lag"] == pytest.approx(0.015)
    assert (counted["skipped"], counted["clock_uncertainty"]) == (0.0, None)
