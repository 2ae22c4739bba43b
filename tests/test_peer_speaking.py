"""How replies are played: encoded on the way, told about in step, cut where they are to be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from rtnb.media import opus
from rtnb.media.opus import FRAME
from rtnb.peer.outputs import Hush, Say, StopAfter
from rtnb.peer.replytrack import ReplyTrack, Sound
from rtnb.peer.speaking import Reports, Speaking


def tone(frames: int, pitch: float = 440.0) -> bytes:
    """Return a tone of so many frames of 20 ms."""
    time = np.arange(frames * FRAME) / 48_000
    return (8_000 * np.sin(2 * np.pi * pitch * time)).astype(np.int16).tobytes()


class Stage:
    """A track, what plays on it, and what was told: reports, and (name, position) of each packet."""

    def __init__(self, *, encoded: bool = True, gaps: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.left: list[tuple[str | None, int]] = []
        self.track = ReplyTrack(encoded=encoded, gaps=gaps, on_packet=self._leaves)
        self.speaking = Speaking(
            self.track,
            Reports(
                started=lambda name: self.told.append(("started", name)),
                ended=lambda name: self.told.append(("ended", name)),
                cut=lambda *cut: self.told.append(("cut", *cut)),
            ),
        )

    def _leaves(self, sound: Sound | None, position: int) -> None:
        self.left.append((sound.name if sound else None, position))

    async def play(self, packets: int) -> list[Any]:
        """Let so many packets leave."""
        out = [await self.track.recv() for _ in range(packets)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return out


def staged(act: Callable[[Stage], Awaitable[None]], **how: bool) -> None:
    """Run a test on a stage."""

    async def main() -> None:
        stage = Stage(**how)
        await act(stage)
        stage.track.stop()

    asyncio.run(main())


def test_packets_made_one_by_one_are_the_clip_s() -> None:
    """In any order of asking, and the same ones for whoever asks again."""
    pcm = tone(9, 441.0)
    encoding = opus.Encoding(pcm)
    assert encoding.packet(3) == opus.encode(pcm)[3]
    assert encoding.whole() == opus.encode(pcm) and encoding.whole() is encoding.whole()
    assert encoding.packet(len(encoding.whole())) is None
    assert opus.encoding_of(pcm) is opus.encoding_of(bytes(pcm))


def test_threads_share_an_encoding() -> None:
    """One that makes all packets, and one that needs the next."""
    pcm = tone(200, 442.0)
    encoding = opus.Encoding(pcm)
    with ThreadPoolExecutor(4) as pool:
        wholes = list(pool.map(lambda _: encoding.whole(), range(8)))
    assert set(wholes) == {opus.Encoding(pcm).whole()}


@pytest.mark.parametrize("encoded", [True, False])
def test_sounds_are_played_one_after_the_other(encoded: bool) -> None:
    """Each with its own positions, silence behind them, and reports in step."""

    async def act(stage: Stage) -> None:
        stage.speaking.say(Say("one", tone(2)))
        stage.speaking.say(Say("two", tone(1)))
        extra = 1 if encoded else 0  # the look-ahead takes a packet more
        await stage.play(2 + extra)
        assert stage.told == [("started", "one")]
        await stage.play(1 + extra)
        assert stage.told == [("started", "one"), ("ended", "one"), ("started", "two")]
        await stage.play(2)
        assert stage.told[3:] == [("ended", "two")]
        ones = [("one", i * FRAME) for i in range(2 + extra)]
        twos = [("two", i * FRAME) for i in range(1 + extra)]
        assert stage.left == [*ones, *twos, (None, -1), (None, -1)]

    staged(act, encoded=encoded)


@pytest.mark.parametrize(("samples", "packets"), [(0, 1), (1, 1), (960, 1), (961, 2), (10**9, 6)])
def test_what_was_not_generated_is_not_played(samples: int, packets: int) -> None:
    """The sound ends by itself, and its end is an end, not a cut."""

    async def act(stage: Stage) -> None:
        stage.speaking.say(Say("one", tone(5)))
        stage.speaking.stop_after(StopAfter("one", samples))
        stage.speaking.stop_after(StopAfter("another", samples))
        await stage.play(8)
        assert [name for name, _ in stage.left].count("one") == packets
        assert stage.told == [("started", "one"), ("ended", "one")]

    staged(act)


def test_a_hush_tells_how_much_was_played() -> None:
    """With the next packet there is silence; what had not begun was not played at all."""

    async def act(stage: Stage) -> None:
        stage.speaking.say(Say("one", tone(9)))
        stage.speaking.say(Say("two", tone(9)))
        await stage.play(3)
        stage.speaking.hush(Hush(("one", "two", "never said"), "turn_detected"))
        (packet,) = await stage.play(1)
        assert bytes(packet) == opus.silent_packet() and stage.left[-1] == (None, -1)
        cuts = [("cut", name, ms, "turn_detected") for name, ms in (("one", 60), ("two", 0))]
        assert stage.told == [("started", "one"), *cuts, ("cut", "never said", 0, "turn_detected")]

    staged(act)


def test_with_gaps_there_is_no_packet_of_silence() -> None:
    """The track waits for the next sound, and its clock has gone on meanwhile."""

    async def act(stage: Stage) -> None:
        stage.speaking.say(Say("one", tone(1)))
        first, second = await stage.play(2)
        asyncio.get_running_loop().call_later(0.2, stage.speaking.say, Say("two", tone(1)))
        (third,) = await stage.play(1)
        assert [name for name, _ in stage.left] == ["one", "one", "two"]
        assert second.pts - first.pts >= FRAME  # a stall on a busy machine skips time
        assert third.pts - second.pts >= 9 * FRAME

    staged(act, gaps=True)
