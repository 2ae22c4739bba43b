"""Hearing through a track: frames lie where their packets would, without what aiortc held back."""

from __future__ import annotations

import asyncio
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.media import fallback, opus
from rtnb.media.fallback import pump_frames
from rtnb.media.opus import FRAME, LOOK_AHEAD, SAMPLE_RATE

HELD = (4 * FRAME + LOOK_AHEAD) / SAMPLE_RATE


class Delivered(MediaStreamTrack):
    """Delivers 20 ms frames, each with its PTS at its time, then ends."""

    kind = "audio"

    def __init__(self, frames: list[tuple[int, float]], clock: Any):
        super().__init__()
        self._frames = list(frames)
        self._clock = clock

    async def recv(self) -> Any:
        if not self._frames:
            raise MediaStreamError
        pts, self._clock.now = self._frames.pop(0)
        frame = av.AudioFrame.from_ndarray(
            np.full((1, FRAME), 5, np.int16), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, pts, opus.TIME_BASE
        return frame


class Clock:
    """Stands where the module `time` was."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def places(
    frames: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[float, float]]:
    """Return when each frame was passed on, and where it lies, in monotonic seconds."""
    clock = Clock()
    monkeypatch.setattr(fallback, "time", clock)
    found: list[tuple[float, float]] = []
    track = Delivered(frames, clock)
    asyncio.run(pump_frames(track, lambda samples, at: found.append((clock.now, at))))
    return found


def steady(count: int, *, at: float, pts: int = 0) -> list[tuple[int, float]]:
    return [(pts + n * FRAME, at + n * 0.02) for n in range(count)]


def test_what_was_held_back_and_the_look_ahead_are_taken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The least-delayed frame of the first half second came four frames after its packet."""
    frames = steady(40, at=100.0)
    frames[0] = (0, 100.019)  # the first one took longer: the decoder's thread began with it
    found = places(frames, monkeypatch)
    expected = [100.0 - HELD + n * 0.02 for n in range(40)]
    assert [at for _, at in found] == pytest.approx(expected, abs=1e-6)


def test_a_short_track_is_passed_on_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ends within half a second loses nothing."""
    found = places(steady(3, at=100.0), monkeypatch)
    assert [at for _, at in found] == pytest.approx([100.0 - HELD + n * 0.02 for n in range(3)])


@pytest.mark.parametrize("jump", [0, 3_600 * SAMPLE_RATE, -20_000])
def test_a_pause_or_a_jump_begins_anew_at_its_arrival(
    jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PTS that stood still or leapt do not put frames an hour away."""
    frames = steady(40, at=100.0) + steady(5, at=107.0, pts=40 * FRAME + jump)
    found = places(frames, monkeypatch)
    assert found[40][1] == pytest.approx(107.0 - HELD)
    assert found[44][1] == pytest.approx(107.08 - HELD)


def test_frames_that_wait_longer_stay_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter after the beginning moves nothing."""
    frames = [(pts, at + 0.3 * (n > 30)) for n, (pts, at) in enumerate(steady(50, at=100.0))]
    found = places(frames, monkeypatch)
    assert found[-1][1] == pytest.approx(100.0 - HELD + 49 * 0.02)
