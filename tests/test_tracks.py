"""The tracks: exactly 20 ms on an absolute schedule, nothing dropped, nothing cut."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import numpy.typing as npt
import pytest
from aiortc.mediastreams import MediaStreamError

from rtnb import AudioError, Clip, FileTrack, PromptTrack, SilentTrack
from rtnb.audio import to_pcm
from rtnb.media import opus
from rtnb.media.opus import FRAME
from rtnb.media.tracks import CATCH_UP, PacedTrack, Pacer, Pacing

T = TypeVar("T")
S16 = npt.NDArray[np.int16]


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer, so that a schedule is exact and takes no time."""

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        super().__init__(selector)
        self.now = 1000.0
        really = selector.select

        def select(timeout: float | None = None) -> Any:
            self.now += timeout or 0.0
            return really(0)

        selector.select = select  # type: ignore[method-assign]

    def time(self) -> float:
        return self.now


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(work)


def stall(seconds: float) -> None:
    """Let the loop not run for a while."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FastLoop)
    loop.now += seconds


async def frames_of(track: PacedTrack, count: int) -> list[Any]:
    return [await track.recv() for _ in range(count)]


async def drain(track: PacedTrack) -> list[Any]:
    """Receive until the track ends."""
    out = []
    while True:
        try:
            out.append(await track.recv())
        except MediaStreamError:
            return out


def mono(frames: list[av.AudioFrame]) -> S16:
    """Return the left channel of packed stereo frames."""
    return np.concatenate([frame.to_ndarray()[0][::2] for frame in frames])


def tone(duration: float) -> Clip:
    return Clip.tone(440, duration)


def pcm(clip: Clip) -> S16:
    return np.frombuffer(to_pcm(clip), np.int16)


def write(clip: Clip, folder: Path) -> Path:
    return clip.write(folder / "prompt.wav")


# --- the schedule --------------------------------------------------------------------------------


def test_packets_are_due_every_20_ms() -> None:
    """The schedule counts from its start, whenever the packets really leave."""
    pacer = Pacer(100.0)
    assert [(round(pacer.due(), 6), pacer.advance(pacer.due() + 0.003))[0] for _ in range(4)] == [
        *(100.0, 100.02, 100.04, 100.06)
    ]


def test_packets_on_time_are_not_late() -> None:
    """Up to 10 ms behind schedule a packet is on time; the worst lag is kept."""
    pacer = Pacer(0.0)
    assert [pacer.advance(n * 0.02 + 0.009) for n in range(3)] == [0, 960, 1920]
    assert pacer.pacing == Pacing(packets=3, late_packets=0, worst_lag=pytest.approx(0.009))


def test_a_short_stall_is_caught_up() -> None:
    """After a stall of four packets all leave back to back, without a jump in PTS."""
    pacer = Pacer(0.0)
    now = 0.065
    assert [pacer.advance(now) for _ in range(4)] == [n * FRAME for n in range(4)]
    assert pacer.due() > now
    assert (pacer.pacing.late_packets, pacer.pacing.skipped) == (3, 0.0)


def test_a_long_stall_is_skipped() -> None:
    """Of a longer stall all but four packets are skipped in time."""
    pacer = Pacer(0.0)
    pacer.advance(0.0)
    assert pacer.advance(1.01) == 47 * FRAME  # 47 to 50 are due
    assert pacer.pacing.skipped == pytest.approx(0.92)
    assert pacer.pacing.worst_lag == pytest.approx(0.99)


@pytest.mark.parametrize("stalled", [0.05, 0.099, 0.1, 0.25, 3.001, 3.019])
def test_after_any_stall_at_most_five_leave_within_20_ms(stalled: float) -> None:
    """Those that are overdue leave at once, and then the schedule is met again."""
    pacer = Pacer(0.0)
    left = []
    while pacer.due() < stalled + 0.02:
        left.append(max(pacer.due(), stalled))
        pacer.advance(left[-1])
    assert len(left) <= CATCH_UP
    assert pacer.due() - stalled == pytest.approx(0.03, abs=0.011)


def test_a_track_that_was_stalled_says_so() -> None:
    """A loop that does not run for 255 ms is seen in the counters and as a jump of the PTS."""

    async def stalled() -> tuple[list[int], Pacing]:
        track = SilentTrack()
        first = await frames_of(track, 1)
        stall(0.255)
        return [f.pts for f in first + await frames_of(track, 7)], track.pacing

    pts, pacing = run(stalled())
    assert pts == [n * FRAME for n in (0, *range(9, 16))]
    assert pacing.skipped == pytest.approx(0.16)
    assert (pacing.packets, pacing.late_packets) == (8, 4)
    assert pacing.worst_lag == pytest.approx(0.235)


# --- frames --------------------------------------------------------------------------------------


def test_frames_are_20_ms_of_s16_stereo() -> None:
    """960 samples at 48,000 Hz, interleaved, both channels equal."""
    frame = run(frames_of(SilentTrack(), 1))[0]
    assert (frame.format.name, frame.layout.name) == ("s16", "stereo")
    assert (frame.samples, frame.sample_rate) == (FRAME, 48_000)
    assert frame.time_base == opus.TIME_BASE
    assert not frame.to_ndarray().any()


def test_both_channels_are_equal(tmp_path: Path) -> None:
    """A mono prompt is on the left and on the right."""
    frame = run(frames_of(FileTrack(write(tone(0.02), tmp_path)), 1))[0]
    left, right = frame.to_ndarray().reshape(-1, 2).T
    assert left.any()
    assert np.array_equal(left, right)


def test_frames_follow_each_other() -> None:
    """The PTS counts samples from 0 without a hole."""
    assert [f.pts for f in run(frames_of(SilentTrack(), 5))] == [0, 960, 1920, 2880, 3840]


def test_frames_leave_on_schedule() -> None:
    """Ten frames take nine intervals of 20 ms, not less."""

    async def timed() -> float:
        loop = asyncio.get_running_loop()
        track = SilentTrack()
        start = loop.time()
        await frames_of(track, 10)
        return loop.time() - start

    assert run(timed()) == pytest.approx(0.18)


def test_a_track_has_no_figures_before_it_runs() -> None:
    """The counters are zeros until the first frame."""
    assert SilentTrack().pacing == Pacing()


# --- a file --------------------------------------------------------------------------------------


def test_a_file_is_played_whole(tmp_path: Path) -> None:
    """Every sample comes, the last frame is padded with silence, and then the track ends."""
    clip = tone(0.05)
    frames = run(drain(FileTrack(write(clip, tmp_path))))
    assert len(frames) == 3
    assert np.array_equal(mono(frames)[:2400], pcm(clip))
    assert not mono(frames)[2400:].any()


def test_a_file_of_another_rate_is_resampled(tmp_path: Path) -> None:
    """A clip of 24,000 Hz has the same duration on the track."""
    clip = Clip.tone(440, 0.1, sample_rate=24_000)
    frames = run(drain(FileTrack(write(clip, tmp_path))))
    assert len(frames) == 5
    assert np.abs(mono(frames)[960:3840].astype(int) - pcm(tone(0.1))[960:3840]).max() < 60


def test_a_track_that_ended_stays_ended(tmp_path: Path) -> None:
    """After the end every `recv` raises MediaStreamError and the state is ended."""

    async def beyond() -> str:
        track = FileTrack(write(tone(0.02), tmp_path))
        await drain(track)
        with pytest.raises(MediaStreamError):
            await track.recv()
        return str(track.readyState)

    assert run(beyond()) == "ended"


@pytest.mark.parametrize(
    ("silence", "count"), [(0.02, 1), (0.05, 3), (0.06, 3), (0.2, 10), (0.28, 14)]
)
def test_silence_follows_the_file(silence: float, count: int, tmp_path: Path) -> None:
    """`trailing_silence` is rounded up to whole frames, and no further."""
    frames = run(drain(FileTrack(write(tone(0.02), tmp_path), trailing_silence=silence)))
    assert len(frames) == 1 + count
    assert not mono(frames[1:]).any()


def test_silence_without_end_keeps_the_track_alive(tmp_path: Path) -> None:
    """`math.inf` goes on."""
    track = FileTrack(write(tone(0.02), tmp_path), trailing_silence=math.inf)
    assert not mono(run(frames_of(track, 12))[1:]).any()


def test_a_file_in_a_loop_begins_again(tmp_path: Path) -> None:
    """`loop` repeats the file, the PTS going on."""
    frames = run(frames_of(FileTrack(write(tone(0.04), tmp_path), loop=True), 6))
    parts = mono(frames).reshape(3, -1)
    assert np.array_equal(parts[0], parts[1])
    assert np.array_equal(parts[0], parts[2])
    assert frames[-1].pts == 5 * FRAME


def test_a_file_that_cannot_be_used_fails_at_once(tmp_path: Path) -> None:
    """The error comes when the track is made, not when it plays."""
    with pytest.raises(AudioError, match="There is no audio file"):
        FileTrack(tmp_path / "missing.wav")


# --- prompts on one track ------------------------------------------------------------------------


def test_prompts_play_one_after_the_other() -> None:
    """Silence before, both clips in their order, silence after; nothing in between is lost."""
    one, two = Clip.tone(300, 0.04), Clip.tone(700, 0.04)

    async def played() -> S16:
        track = PromptTrack()
        before = await frames_of(track, 1)
        track.play(one)
        track.play(two)
        return mono(before + await frames_of(track, 5))

    heard = run(played())
    silence = np.zeros(FRAME, np.int16)
    assert np.array_equal(heard, np.concatenate([silence, pcm(one), pcm(two), silence]))


def test_a_playing_tells_its_start_and_end() -> None:
    """It ends when its last packet has been sent in full, one interval after it left."""

    async def watched() -> float:
        track = PromptTrack()
        playing = track.play(tone(0.06))
        await frames_of(track, 4)
        assert not playing.cancelled
        assert track.idle
        return playing.ended.result() - playing.started.result()

    assert run(watched()) == pytest.approx(0.06)


def test_a_playing_counts_what_left() -> None:
    """`samples` is what has left of the clip, never more than it has."""

    async def counted() -> list[int]:
        track = PromptTrack()
        playing = track.play(tone(0.03))
        found = [playing.samples]
        for _ in range(3):
            await track.recv()
            found.append(playing.samples)
        return found

    assert run(counted()) == [0, 960, 1440, 1440]


def test_bytes_are_played_as_they_are() -> None:
    """s16 mono 48,000 Hz bytes need no clip."""

    async def played() -> S16:
        track = PromptTrack()
        track.play(np.arange(FRAME, dtype=np.int16).tobytes())
        return mono(await frames_of(track, 1))

    assert run(played()).tolist() == list(range(FRAME))


def test_cancel_is_silence_from_the_next_packet() -> None:
    """What is queued is gone, each playing is ended and says that it was cut."""

    async def cut() -> tuple[S16, list[bool]]:
        track = PromptTrack()
        both = [track.play(tone(1.0)), track.play(tone(1.0))]
        await frames_of(track, 2)
        track.cancel()
        assert [p.ended.done() for p in both] == [True, True]
        assert both[0].samples == 2 * FRAME
        return mono(await frames_of(track, 2)), [p.cancelled for p in both]

    after, cancelled = run(cut())
    assert not after.any()
    assert cancelled == [True, True]


def test_one_of_several_is_cancelled() -> None:
    """The others play on."""
    one, two = Clip.tone(300, 0.04), Clip.tone(700, 0.04)

    async def cut() -> S16:
        track = PromptTrack()
        first = track.play(one)
        second = track.play(two)
        track.cancel(first)
        assert (first.cancelled, second.cancelled) == (True, False)
        return mono(await frames_of(track, 2))

    assert np.array_equal(run(cut()), pcm(two))


def test_stopping_ends_everything() -> None:
    """The track ends, a waiting `recv` too, and so does each playing."""

    async def stopped() -> tuple[bool, bool]:
        track = PromptTrack()
        playing = track.play(tone(1.0))
        await track.recv()
        waiting = asyncio.ensure_future(track.recv())
        await asyncio.sleep(0)
        track.stop()
        with pytest.raises(MediaStreamError):
            await waiting
        return playing.cancelled, playing.ended.done()

    assert run(stopped()) == (True, True)


def test_every_block_that_leaves_is_told() -> None:
    """`on_block` sees the samples and the PTS of each frame, silence too."""
    told: list[tuple[int, bool]] = []

    async def watched() -> None:
        track = PromptTrack(on_block=lambda pts, pcm: told.append((pts, bool(pcm.any()))))
        await track.recv()
        track.play(tone(0.02))
        await frames_of(track, 2)

    run(watched())
    assert told == [(0, False), (960, True), (1920, False)]


# --- packets instead of frames -------------------------------------------------------------------


def decoded(packets: list[Any]) -> Clip:
    decoder = opus.Decoder()
    parts = [decoder.decode(bytes(packet)) for packet in packets]
    return Clip(np.concatenate([part for part in parts if part is not None]), 48_000)


@pytest.mark.parametrize("level", [-3.0, -20.0, -40.0])
def test_encoded_packets_are_as_loud_as_the_file(level: float, tmp_path: Path) -> None:
    """Opus packets decode to the level of the clip within half a dB."""
    path = write(Clip.tone(440, 0.4, level=level), tmp_path)
    packets = run(drain(FileTrack(path, encoded=True)))
    assert {type(packet) for packet in packets} == {av.Packet}
    assert decoded(packets)[0.1:0.3].level == pytest.approx(level - 3.01, abs=0.5)


def test_encoded_packets_carry_time(tmp_path: Path) -> None:
    """PTS and time base are those of frames."""
    packets = run(drain(FileTrack(write(tone(0.06), tmp_path), encoded=True)))
    assert [(p.pts, p.time_base) for p in packets] == [
        (n * FRAME, opus.TIME_BASE) for n in range(len(packets))
    ]


def test_encoding_cuts_no_tail(tmp_path: Path) -> None:
    """The codec's look-ahead gets a packet more, so that the last sample is in it."""
    packets = run(drain(FileTrack(write(tone(0.1), tmp_path), encoded=True)))
    assert len(packets) == 6
    heard = decoded(packets).samples[opus.LOOK_AHEAD :]
    assert Clip(heard, 48_000)[0.08:0.1].level == pytest.approx(-15.01, abs=1.0)


def test_silence_is_encoded_too() -> None:
    """A silent packet is the same each time and decodes to silence."""
    packets = run(frames_of(SilentTrack(encoded=True), 3))
    assert {bytes(packet) for packet in packets} == {opus.silent_packet()}
    assert decoded(packets).level < -70


def test_a_clip_is_encoded_once() -> None:
    """All calls that play a clip share its packets."""
    samples = to_pcm(tone(0.1))
    assert opus.encode(samples) is opus.encode(bytes(samples))


def test_a_damaged_packet_decodes_to_nothing() -> None:
    """Nonsense gives None, and the decoder goes on."""
    decoder = opus.Decoder()
    assert decoder.decode(b"\xff\xff\xff\xff") is None
    good = decoder.decode(opus.silent_packet())
    assert good is not None and len(good) == FRAME


@pytest.mark.parametrize(
    ("first_bytes", "samples"),
    [
        *((b"", 960), (b"\x00", 480), (b"\x08", 960), (b"\x18", 2880), (b"\x60", 480)),
        *((b"\x68", 960), (b"\x80", 120), (b"\x98", 960), (b"\x99", 1920), (b"\x9a", 1920)),
        *((b"\x9b\x03", 2880), (b"\x9b", 960)),
    ],
)
def test_a_packet_says_how_long_it_is(first_bytes: bytes, samples: int) -> None:
    """The TOC byte names frame size and count (RFC 6716 section 3.1)."""
    assert opus.samples_in(first_bytes) == samples


def test_a_packet_of_ours_says_20_ms() -> None:
    """The encoder's packets are 960 samples by their own word."""
    assert {opus.samples_in(packet) for packet in opus.encode(to_pcm(tone(0.1)))} == {FRAME}
