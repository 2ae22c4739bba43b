"""Live voice: the jitter buffer in lists of times, the resampling, the encoding, the track."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtnb.media import opus
from rtnb.media.jitterbuffer import KEPT, LEAST, MOST, PTIME, START, Block, JitterBuffer
from rtnb.media.livefeed import LiveFeed
from rtnb.media.opus import FRAME, LOOK_AHEAD, SAMPLE_RATE
from rtnb.media.tracks import PromptTrack

S16 = npt.NDArray[np.int16]

SILENCE = np.zeros(FRAME, np.int16)


def speech(number: int) -> S16:
    """20 ms that are loud and can be told apart."""
    return np.full(FRAME, 1000 + number, np.int16)


def played(
    chunks: list[tuple[float, S16]], until: float, buffer: JitterBuffer | None = None
) -> tuple[JitterBuffer, list[tuple[float, Block | None]]]:
    """Push chunks at their times, captured 1 ms before, and pop every 20 ms from 3 ms on."""
    buffer = buffer or JitterBuffer()
    waiting = list(enumerate(chunks))
    out = []
    for tick in range(int(until / PTIME)):
        now = tick * PTIME + 0.003
        while waiting and waiting[0][1][0] <= now:
            number, (at, samples) = waiting.pop(0)
            buffer.push(number, samples, at, number * PTIME)
        out.append((now, buffer.pop(now)))
    return buffer, out


def delays(out: list[tuple[float, Block | None]]) -> list[float]:
    """Return the seconds from capture to departure of each block."""
    return [at - block.captured for at, block in out if block and block.captured is not None]


def values(out: list[tuple[float, Block | None]]) -> list[int]:
    """Return the first sample of each block that is loud."""
    return [int(block.samples[0]) for _, block in out if block and not block.silent]


# --- the jitter buffer ----------------------------------------------------------------------------


def test_regular_voice_leaves_within_two_blocks() -> None:
    """Nothing is lost or skipped, and the delay is the target and what a schedule costs."""
    buffer, out = played([(n * PTIME, speech(n % 500)) for n in range(1500)], 30.2)
    assert values(out) == [1000 + n % 500 for n in range(1500)]
    assert (buffer.lost, buffer.skipped, buffer.target) == (0, 0, LEAST)
    assert LEAST <= min(delays(out)) <= max(delays(out)) < LEAST + PTIME


@pytest.mark.parametrize("phase", [0.0, 0.005, 0.013, 0.0199])
def test_the_delay_is_bounded_wherever_the_schedules_lie(phase: float) -> None:
    """Chunks may come at any time between two departures; of regular ones little is held back."""
    _, out = played([(n * PTIME + phase, SILENCE) for n in range(1500)], 30.2)
    arrived = [late - phase for late in delays(out)]
    first, settled = arrived[:90], arrived[1000:]  # before and after what is usual is known
    assert START - 1e-6 <= min(first) <= max(first) <= START + PTIME + 1e-6
    assert LEAST - 1e-6 <= min(settled) <= max(settled) <= LEAST + PTIME + 0.005 + 1e-6


@pytest.mark.parametrize(
    ("jitter", "most"), [(0.0, 0.026), (0.005, 0.028), (0.015, 0.038), (0.035, 0.06)]
)
def test_the_delay_follows_the_jitter(jitter: float, most: float) -> None:
    """After five seconds there is no gap, and what is held back is little more than the jitter."""
    medians = []
    for phase in range(5):
        late = np.random.default_rng(phase).uniform(0, jitter, 3000)
        came = np.maximum.accumulate(np.arange(3000) * PTIME + phase * PTIME / 5 + late)
        kinds = (SILENCE if n % 150 < 60 else speech(0) for n in range(3000))
        chunks = list(zip(came.tolist(), kinds, strict=True))
        first, _ = played(chunks[:250], 5.0)
        buffer, out = played(chunks, 60.0)
        assert buffer.underruns == first.underruns
        medians.append(np.median(delays(out)[500:]) - phase * PTIME / 5)
    assert jitter / 2 < np.mean(medians) < most


def test_voice_that_comes_late_makes_the_target_grow_at_once() -> None:
    """One chunk in thirty 60 ms late: after the first gap there is no other."""
    chunks = [(n * PTIME + (0.06 if n % 30 == 20 else 0), speech(n)) for n in range(400)]
    ordered, latest = [], 0.0
    for at, samples in chunks:  # the way keeps the order
        latest = max(latest, at)
        ordered.append((latest, samples))
    buffer, out = played(ordered, 8.4)
    assert values(out) == [1000 + n for n in range(400)]
    assert buffer.underruns == 1
    assert 0.05 <= buffer.target <= 0.12


def test_the_target_shrinks_slowly_and_the_delay_follows_in_silence() -> None:
    """After a rough second the target is down again within half a minute."""
    rough = [(max(n * PTIME, 0.5 if 20 <= n < 26 else 0), speech(n)) for n in range(50)]
    smooth = [(n * PTIME, SILENCE if n % 50 < 10 else speech(n)) for n in range(50, 1800)]
    buffer, out = played(rough + smooth, 36.2)
    at = {round(now): late for (now, _), late in zip(out, delays(out), strict=False)}
    assert buffer.underruns == 1
    assert at[3] > 0.06
    assert delays(out)[-1] <= LEAST + PTIME + 0.03
    assert buffer.target < LEAST + 0.01
    assert buffer.lost == 0


def stalled(kind: list[bool], stall: float = 3.0, after: int = 200) -> list[tuple[float, S16]]:
    """A second of speech, then a stall; of what comes at its end `kind` says what is speech."""
    end = 1.0 + stall
    during = [(end, speech(50 + n) if loud else SILENCE) for n, loud in enumerate(kind)]
    later = [(end + n * PTIME, SILENCE) for n in range(after)]
    return [(n * PTIME, speech(n)) for n in range(50)] + during + later


def test_speech_within_two_seconds_outlives_a_stall() -> None:
    """Of 3 s that come at once the silence is skipped, and the delay is low again."""
    kind = [n % 50 < 25 for n in range(150)]  # 1.5 s of speech in all
    buffer, out = played(stalled(kind), 9.0)
    loud = [1050 + n for n, is_loud in enumerate(kind) if is_loud]
    assert values(out) == [1000 + n for n in range(50)] + loud
    assert buffer.lost == 0
    assert buffer.skipped > 60
    assert buffer.underruns == 1
    assert buffer.target < START
    assert delays(out)[-1] < START + 2 * PTIME


def test_of_speech_the_last_two_seconds_are_kept() -> None:
    """What is older is lost, and counted."""
    buffer, out = played(stalled([True] * 150), 9.0)
    assert values(out) == [1000 + n for n in range(50)] + [1100 + n for n in range(100)]
    assert buffer.lost == 50


def test_speech_is_never_cut_to_catch_up() -> None:
    """As long as it goes on the delay stays what it is, and comes down in the first silence."""
    late = [(4.0, speech(n)) for n in range(50, 145)]
    on = [(4.01 + n * PTIME, speech(145 + n)) for n in range(100)]
    rest = [(6.0 + n * PTIME, SILENCE) for n in range(200)]
    buffer, out = played([(n * PTIME, speech(n)) for n in range(50)] + late + on + rest, 10.2)
    assert values(out) == [1000 + n for n in range(245)]
    assert buffer.lost == 0
    assert buffer.buffered <= 3 * PTIME


@pytest.mark.parametrize("pace", [0.999, 1.001])
def test_clocks_may_drift_apart(pace: float) -> None:
    """A microphone that is slower or faster than we are is heard without a gap."""
    chunks = [(n * PTIME * pace, SILENCE if n % 100 < 10 else speech(n % 100)) for n in range(6000)]
    buffer, out = played(chunks, 119.0)
    assert buffer.underruns == buffer.lost == 0
    assert values(out)[:5000] == [1000 + n % 100 for n in range(6000) if n % 100 >= 10][:5000]
    assert buffer.buffered <= 3 * PTIME


def test_a_noisy_room_is_silence() -> None:
    """At -42 dBFS, after some seconds of it: a delay must come down there too."""
    noise = np.random.default_rng(1).normal(0, 260, (600, FRAME)).astype(np.int16)
    chunks = [(n * PTIME if n < 400 or n >= 550 else 11.0, block) for n, block in enumerate(noise)]
    buffer, out = played(chunks, 12.5)
    assert buffer.lost == 0
    assert buffer.skipped > 120
    assert delays(out)[-1] < LEAST + 2 * PTIME


def test_a_voice_that_never_pauses_is_no_noise() -> None:
    """Quiet speech in the first seconds, none of it silent: nothing is skipped."""
    murmur = np.random.default_rng(1).normal(0, 260, (200, FRAME)).astype(np.int16)
    buffer, _ = played([(max(n * PTIME, 1.5), block) for n, block in enumerate(murmur)], 8.0)
    assert buffer.skipped == 0


def test_a_missing_number_is_a_loss_and_keeps_its_time() -> None:
    """Silence stands in for it, so that what follows is neither early nor late."""
    buffer, blocks = JitterBuffer(), list[Block | None]()
    for n in range(8):
        if n in (0, 1, 2, 4, 5):
            buffer.push(n, speech(n), n * PTIME)
        blocks.append(buffer.pop(n * PTIME + 0.003))
    assert [int(b.samples[0]) for b in blocks if b] == [1000, 1001, 1002, 0, 1004, 1005]
    assert buffer.lost == 1


def test_many_missing_numbers_are_lost_without_standing_in() -> None:
    """A second that never comes is no second of delay."""
    buffer = JitterBuffer()
    buffer.push(0, speech(0), 0.0)
    buffer.push(51, speech(1), 0.0)
    assert buffer.lost == 50
    assert buffer.buffered == pytest.approx(2 * PTIME)


def test_what_comes_twice_is_refused() -> None:
    """Its samples are there already."""
    buffer = JitterBuffer()
    for n in (0, 1, 1, 2):
        buffer.push(n, speech(n), 0.0)
    assert (buffer.refused, buffer.lost) == (1, 0)
    assert buffer.buffered == pytest.approx(3 * PTIME)


@pytest.mark.parametrize("first", [0, 50])
def test_numbers_may_begin_anew(first: int) -> None:
    """Another microphone, or a page that was loaded again, counts from the beginning."""
    buffer = JitterBuffer()
    for n in (500, 501, first, first + 1):
        buffer.push(n, speech(n), 0.0)
    assert (buffer.refused, buffer.lost, buffer.added) == (0, 0, 4)


def test_a_pause_is_no_loss_and_no_underrun() -> None:
    """What was said before it leaves without waiting, and numbers may jump over it."""
    buffer = JitterBuffer()
    for n in range(3):
        buffer.push(n, speech(n), n * PTIME)
    buffer.end()
    assert [buffer.pop(0.041 + n * PTIME) is not None for n in range(4)] == [True] * 3 + [False]
    buffer.push(100, speech(100), 9.0)
    buffer.push(101, speech(101), 9.02)
    assert buffer.pop(9.03) is not None
    assert (buffer.lost, buffer.underruns) == (0, 0)


def test_the_last_words_before_a_pause_do_not_wait() -> None:
    """There is nothing to wait for, however short they are."""
    buffer = JitterBuffer()
    buffer.push(0, speech(0), 0.0)
    assert buffer.pop(0.001) is None
    buffer.end()
    assert buffer.pop(0.002) is not None


def test_voice_that_ends_without_a_word_is_no_underrun() -> None:
    """A page that was closed: only when voice goes on was there a gap."""
    buffer, _ = played([(n * PTIME, speech(n)) for n in range(10)], 2.0)
    assert buffer.underruns == 0


@pytest.mark.parametrize("size", [128, 441, 480, 1000, 4096])
def test_chunks_of_any_size_come_out_as_blocks(size: int) -> None:
    """Sample for sample, the last block filled up."""
    whole = np.arange(1, 20_001).astype(np.int16)
    buffer = JitterBuffer()
    for n, start in enumerate(range(0, len(whole), size)):
        buffer.push(n, whole[start : start + size], start / SAMPLE_RATE, start / SAMPLE_RATE)
    buffer.end()
    blocks = [b.samples for n in range(30) if (b := buffer.pop(1 + n * PTIME)) is not None]
    out = np.concatenate(blocks)
    assert np.array_equal(out[: len(whole)], whole)
    assert not out[len(whole) :].any()
    assert buffer.lost == 0


def test_the_capture_of_a_block_is_that_of_its_last_sample() -> None:
    """A chunk of 50 ms that was captured at 7.0: its blocks ended before."""
    buffer = JitterBuffer()
    buffer.push(0, np.full(2400, 1000, np.int16), 0.0, 7.0)
    blocks = [buffer.pop(0.1), buffer.pop(0.12)]
    assert [b and b.captured for b in blocks] == pytest.approx([6.97, 6.99])


def test_long_chunks_ask_for_a_longer_target() -> None:
    """100 ms at a time, as some pages send: no gap, none skipped, one pause longer at the most."""
    chunks = [(n * 0.1, np.zeros(4800, np.int16)) for n in range(100)]
    buffer, out = played(chunks, 10.0)
    assert (buffer.underruns, buffer.skipped) == (0, 0)
    assert 0.08 <= buffer.target < 0.09
    assert sum(block is None for _, block in out[10:]) <= 1


CHUNK = st.tuples(
    st.one_of(st.integers(0, 5), st.integers(-(1 << 70), 1 << 70), st.just(None)),
    st.sampled_from([0, 1, 100, 960, 961, 5000, 200_000]),
    st.booleans(),
    st.floats(0, 5),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(CHUNK, max_size=30), st.integers(0, 100))
def test_whatever_is_pushed_stays_bounded(
    chunks: list[tuple[int | None, int, bool, float]], ticks: int
) -> None:
    """Numbers that jump, sizes that do not fit, times that stand still: blocks of 20 ms come out."""
    buffer = JitterBuffer()
    now = 0.0
    for number, size, loud, wait in chunks:
        now += wait
        if number is None:
            buffer.end()
        else:
            buffer.push(number, np.full(size, 9000 * loud, np.int16), now)
        assert buffer.buffered <= KEPT + PTIME
        assert LEAST <= buffer.target <= MOST
        block = buffer.pop(now)
        assert block is None or len(block.samples) == FRAME
    for tick in range(ticks):
        buffer.pop(now + tick * PTIME)
    assert buffer.added - buffer.gone == len(buffer._blocks)
    assert min(buffer.lost, buffer.skipped, buffer.underruns, buffer.refused) >= 0


# --- the feed -------------------------------------------------------------------------------------


def taken(feed: LiveFeed, count: int, start: float = 0.0) -> list[tuple[S16, bytes] | None]:
    return [feed.next(start + n * PTIME, overridden=False) for n in range(count)]


def decoded(packets: list[bytes]) -> S16:
    """Decode packets, less the look-ahead."""
    decoder = opus.Decoder()
    return np.concatenate([decoder.decode(p) for p in packets])[LOOK_AHEAD:]


def voice(duration: float, rate: int = SAMPLE_RATE) -> S16:
    """A tone that swells but is never silent, so that it fits at one place only."""
    t = np.arange(round(duration * rate)) / rate
    swell = 1.2 + np.sin(2 * np.pi * 3 * t)
    return np.asarray(6000 * swell * np.sin(2 * np.pi * 300 * t), np.int16)


def correlation(one: S16, other: S16) -> float:
    return float(np.corrcoef(one.astype(float), other.astype(float))[0, 1])


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000, 96_000])
def test_voice_of_any_rate_arrives_in_place(rate: int) -> None:
    """In chunks of 20 ms: as long as it was, to the last sample, and sample-aligned."""
    said, expected = voice(1.0, rate), voice(1.0)
    feed = LiveFeed()
    size = rate // 50
    for n in range(50):
        feed.feed(n, said[n * size : (n + 1) * size].tobytes(), rate, None, n * PTIME)
    feed.end()
    out = np.concatenate([block[0] for block in taken(feed, 60, 2.0) if block])
    assert correlation(out[: len(expected)], expected) > 0.999
    assert correlation(out[len(expected) - 100 : len(expected)], expected[-100:]) > 0.95
    assert not out[len(expected) + 20 :].any()
    assert feed.figures() is not None


def test_the_rate_may_change_while_it_is_fed() -> None:
    """Nothing of what the resampler held back is lost."""
    feed = LiveFeed()
    one, other = voice(0.2, 16_000), voice(0.2)
    for n in range(10):
        feed.feed(n, one[n * 320 : (n + 1) * 320].tobytes(), 16_000, None, 0.0)
    for n in range(10):
        feed.feed(10 + n, other[n * 960 : (n + 1) * 960].tobytes(), 48_000, None, 0.0)
    feed.end()
    out = np.concatenate([block[0] for block in taken(feed, 30, 2.0) if block])
    assert np.array_equal(out[9600:19200], other)


def test_what_leaves_decodes_to_what_was_said() -> None:
    """One packet per block, and some more after the end, which hold its last samples."""
    said = voice(0.5)
    feed = LiveFeed()
    for n in range(25):
        feed.feed(n, said[n * FRAME : (n + 1) * FRAME].tobytes(), SAMPLE_RATE, None, n * PTIME)
    feed.end()
    packets = [block[1] for block in taken(feed, 60, 1.0) if block]
    assert len(packets) == 30
    out = decoded(packets)
    assert correlation(out[: len(said)], said) > 0.99
    assert correlation(out[len(said) - 400 : len(said)], said[-400:]) > 0.95


def test_a_live_encoding_is_that_of_a_clip() -> None:
    """The same settings, the same state: the same packets."""
    said = voice(0.4)
    encoder = opus.LiveEncoder()
    live = [encoder.encode(said[at : at + FRAME]) for at in range(0, len(said), FRAME)]
    assert tuple(live) == opus.encode(said.tobytes())[: len(live)]


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(b"", 48_000), (b"\0", 48_000), (b"\0" * 1919, 48_000)]
    + [(b"\0" * 1920, rate) for rate in (7999, 192_001, 0, -48_000)],
)
def test_what_cannot_be_used_is_refused(samples: bytes, rate: int) -> None:
    """It is counted, it is no loss, and what follows is heard."""
    feed = LiveFeed()
    good = speech(0).tobytes()
    for n, (chunk, at) in enumerate([(good, 48_000), (samples, rate), (good, 48_000)]):
        feed.feed(n, chunk, at, float("nan"), 0.0)
    figures: dict[str, Any] = feed.figures() or {}
    assert (figures["received"], figures["refused"], figures["lost"]) == (3, 1, 0)
    assert figures["buffered"] == pytest.approx(2 * PTIME)
    assert figures["delay_median"] is None


def test_of_a_huge_chunk_the_last_two_seconds_are_taken() -> None:
    """A minute at 16 kHz in one message: the rest is lost, in blocks."""
    feed = LiveFeed()
    feed.feed(0, np.full(60 * 16_000, 5000, np.int16).tobytes(), 16_000, 1.0, 0.0)
    figures: dict[str, Any] = feed.figures() or {}
    assert figures["lost"] == 58 * 50
    assert figures["buffered"] == pytest.approx(2.0, abs=0.01)


def test_delays_are_those_from_capture_to_departure() -> None:
    """Now, the median of the last minute, and the worst of all."""
    feed = LiveFeed()
    feed.feed(0, SILENCE.tobytes(), SAMPLE_RATE, 0.0, 0.0)
    for delay in (0.5, *[0.03] * 3000, 0.04):
        feed.left(10.0, 10.0 + delay)
    figures: dict[str, Any] = feed.figures() or {}
    assert figures["delay"] == pytest.approx(0.04)
    assert figures["delay_median"] == pytest.approx(0.03)
    assert figures["delay_worst"] == pytest.approx(0.5)


def test_a_call_that_was_never_fed_has_no_figures() -> None:
    """Nor does it encode anything."""
    feed = LiveFeed()
    assert taken(feed, 3) == [None] * 3
    assert feed.figures() is None


@pytest.mark.parametrize("apart", ["prompt", "pause"])
def test_what_was_held_back_before_something_else_is_not_heard_after_it(apart: str) -> None:
    """Voice that begins anew is a stream of its own, as a clip is."""
    feed = LiveFeed()
    for n in range(2):
        feed.feed(n, speech(0).tobytes(), SAMPLE_RATE, None, 0.0)
    feed.end()
    first = [block[1] for block in taken(feed, 2, 1.0) if block]
    for n in range(20):
        feed.next(2.0 + n * PTIME, overridden=apart == "prompt")
    feed.feed(2, speech(0).tobytes(), SAMPLE_RATE, None, 3.0)
    again = feed.next(3.1, overridden=False)
    assert again is not None
    assert again[1] == first[0] != first[1]


def test_silence_is_encoded_while_a_microphone_is_there() -> None:
    """A muted room is voice like any other; only a pause ends it."""
    feed = LiveFeed()
    for n in range(20):
        feed.feed(n, SILENCE.tobytes(), SAMPLE_RATE, None, n * PTIME)
        if n > 3:
            assert feed.next(n * PTIME, overridden=False) is not None


# --- the track ------------------------------------------------------------------------------------


def test_a_prompt_takes_precedence_over_the_voice() -> None:
    """Voice that comes meanwhile is passed over and counted; what comes after it is heard."""

    async def call() -> tuple[list[int], dict[str, Any]]:
        feed, sent = LiveFeed(), list[int]()
        track = PromptTrack(encoded=True, live=feed, on_block=lambda _, pcm: sent.append(pcm[0]))
        loop = asyncio.get_running_loop()
        for n in range(10):
            feed.feed(n, speech(n).tobytes(), SAMPLE_RATE, None, loop.time() - 1)
        track.play(np.full(FRAME * 3 - LOOK_AHEAD, 7, np.int16).tobytes())
        for _ in range(11):
            assert len(bytes(await track.recv())) > 0
        return sent, feed.figures() or {}

    sent, figures = asyncio.run(call())
    assert sent[:10] == [7] * 3 + [1003 + n for n in range(7)]
    assert figures["overridden"] == 3


def test_an_empty_clip_takes_no_time_from_the_voice() -> None:
    """What commits a voice is a playing of nothing: it is over at once."""

    async def call() -> tuple[list[int], int]:
        feed, sent = LiveFeed(), list[int]()
        track = PromptTrack(encoded=True, live=feed, on_block=lambda _, pcm: sent.append(pcm[0]))
        for n in range(4):
            feed.feed(n, speech(n).tobytes(), SAMPLE_RATE, None, 0.0)
        playing = track.play(b"")
        mark = feed.mark
        for _ in range(4):
            await track.recv()
        assert playing.ended.done()
        await feed.all_left(mark, 0.0)
        return sent, playing.samples

    assert asyncio.run(call()) == ([1000, 1001, 1002, 1003], 0)


def test_nobody_waits_for_what_is_less_than_a_block() -> None:
    """A page that was closed in the middle of one does not fill it up any more."""
    feed = LiveFeed()
    feed.feed(0, speech(0)[:500].tobytes(), SAMPLE_RATE, None, 0.0)
    asyncio.run(asyncio.wait_for(feed.all_left(feed.mark, 60), 30))
    feed.end()
    assert feed.mark == 1


def test_waiting_for_what_was_fed_is_bounded() -> None:
    """A track that stands still does not keep a commit for ever."""

    async def wait() -> float:
        feed = LiveFeed()
        feed.feed(0, speech(0).tobytes(), SAMPLE_RATE, None, 0.0)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.wait_for(feed.all_left(feed.mark, 0.05), 30)
        return loop.time() - begun

    assert asyncio.run(wait()) >= 0.05
