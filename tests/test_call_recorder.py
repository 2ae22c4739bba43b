"""`Recorder` beside aiortc's `MediaRecorder`, each on a real call between two bare aiortc ends."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from aiortc import RTCPeerConnection
from aiortc.contrib.media import MediaRecorder
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from bare_calls import end_of, lag, one_way_call

import rtnb
from rtnb.audio import to_pcm
from rtnb.media import aiortc_hooks, opus
from rtnb.media.recorder import _ReceiverInput

DURATION = 10.0
IN_FLIGHT = 0.3  # seconds for the last packets to arrive


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of speech, which cannot be mistaken for itself at another time."""
    speech = rtnb.Clip.silence(0, sample_rate=24_000)
    for path in rtnb.samples():
        speech = speech + rtnb.Clip.read(path)
    clip = speech[:DURATION].resample(48_000)
    return clip.write(tmp_path_factory.mktemp("reference") / "reference.wav")


Make = Callable[[RTCPeerConnection, Any, Path], Any]


def on_receiver(pc: RTCPeerConnection, track: Any, path: Path) -> rtnb.Recorder:
    """Record packets of the track's receiver."""
    recorder = rtnb.Recorder(path)
    recorder.addTrack(aiortc_hooks.receiver_of(pc, track))
    return recorder


def on_track(pc: RTCPeerConnection, track: Any, path: Path) -> rtnb.Recorder:
    """Record the frames that the track delivers."""
    recorder = rtnb.Recorder(path)
    recorder.addTrack(track)
    return recorder


def media_recorder(pc: RTCPeerConnection, track: Any, path: Path) -> MediaRecorder:
    """Record with aiortc's own recorder."""
    recorder = MediaRecorder(str(path))
    recorder.addTrack(track)
    return recorder


async def _record(source: Path, target: Path, make: Make) -> Any:
    track = rtnb.FileTrack(source, encoded=True)
    made: list[Any] = []
    starting: list[asyncio.Future[None]] = []

    def begin(pc: RTCPeerConnection, remote: Any) -> None:
        made.append(make(pc, remote, target))
        starting.append(asyncio.ensure_future(made[0].start()))

    async with one_way_call(track, begin):
        await end_of(track)
        await asyncio.sleep(IN_FLIGHT)
        await made[0].stop()
    return made[0]


LOST = (60, 90)  # which packets


async def _record_with_losses(source: Path, target: Path) -> rtnb.Recorder:
    track = rtnb.FileTrack(source, encoded=True)
    recorders: list[rtnb.Recorder] = []
    starting: list[asyncio.Future[None]] = []

    beside: list[MediaRecorder] = []

    def begin(pc: RTCPeerConnection, remote: Any) -> None:
        recorders.append(rtnb.Recorder(target))
        recorders[0].addTrack(aiortc_hooks.receiver_of(pc, remote), keep_track=True)
        beside.append(media_recorder(pc, remote, target.with_name("beside.wav")))
        starting.extend(asyncio.ensure_future(one.start()) for one in (*recorders, *beside))

    async with one_way_call(track, begin) as callee:
        original = callee.getReceivers()[0]._handle_rtp_packet
        count = 0

        async def lossy(packet: Any, arrival_time_ms: int) -> None:
            nonlocal count
            count += 1
            if count not in LOST:
                await original(packet, arrival_time_ms)

        callee.getReceivers()[0]._handle_rtp_packet = lossy
        await end_of(track)
        await asyncio.sleep(IN_FLIGHT)
        await recorders[0].stop()
        await beside[0].stop()
    assert count > max(LOST)
    return recorders[0]


@pytest.fixture(scope="module")
def short(reference: Path) -> Path:
    """The first three seconds of the reference."""
    return rtnb.Clip.read(reference)[:3.0].write(reference.parent / "short.wav")


@pytest.fixture(scope="module")
def recorded(
    reference: Path, short: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Record the reference three times, and the short one with losses, in four calls at once.

    The keys are names, the values (recorder, samples).
    """
    folder = tmp_path_factory.mktemp("recorded")
    makes: dict[str, Make] = {
        "receiver": on_receiver,
        "track": on_track,
        "media_recorder": media_recorder,
    }

    async def all_at_once() -> list[Any]:
        work = [_record(reference, folder / f"{n}.wav", m) for n, m in makes.items()]
        return await asyncio.gather(*work, _record_with_losses(short, folder / "lossy.wav"))

    recorders = asyncio.run(all_at_once())
    return {
        name: (one, rtnb.Clip.read(folder / f"{name}.wav").samples)
        for name, one in zip([*makes, "lossy"], recorders, strict=True)
    }


def test_a_receiver_gives_every_sample_with_the_tail(recorded: dict[str, Any]) -> None:
    """Recorder on the receiver holds all 10 s and what the last packet has behind them."""
    _, samples = recorded["receiver"]
    assert len(samples) == DURATION * 48_000 + 960 - opus.LOOK_AHEAD


def test_the_offset_is_constant_over_ten_seconds(recorded: dict[str, Any], reference: Path) -> None:
    """The recording begins with the first sample that was sent, and lags nowhere: no drift, no jump."""
    _, samples = recorded["receiver"]
    source = rtnb.Clip.read(reference).samples
    loud = [at for at in range(4800, 460_000, 24_000) if np.abs(source[at : at + 9600]).max() > 0.1]
    lags = [lag(source, samples, at) for at in loud]
    half = len(lags) // 2
    assert abs(np.mean(lags[:half]) - np.mean(lags[half:])) < 1.0
    assert len(loud) > 10
    assert max(lags) - min(lags) <= 4  # samples: as close as correlation with coded speech can tell
    assert -12 <= min(lags) <= 3


def test_the_very_last_word_is_in_the_recording(recorded: dict[str, Any], reference: Path) -> None:
    """What was said in the last 200 ms is in the file at its place."""
    _, samples = recorded["receiver"]
    source = rtnb.Clip.read(reference).samples
    assert -12 <= lag(source, samples, len(source) - 9600) <= 3


def test_media_recorder_loses_its_tail(recorded: dict[str, Any]) -> None:
    """aiortc's own recorder misses what its jitter buffer never gave up: four packets."""
    _, samples = recorded["media_recorder"]
    assert len(samples) <= DURATION * 48_000 + 960 - 4 * 960


def test_a_track_loses_only_what_it_never_delivers(recorded: dict[str, Any]) -> None:
    """Recorder on the track holds just what aiortc delivered, as MediaRecorder does."""
    _, samples = recorded["track"]
    _, plain = recorded["media_recorder"]
    assert len(samples) >= len(plain)
    assert recorded["track"][0].gaps == ()


def test_a_recorder_says_whether_it_is_exact(recorded: dict[str, Any]) -> None:
    """The repr of a Recorder on a track names what cannot be in its file."""
    assert "every packet" in repr(recorded["receiver"][0])
    assert "did not deliver (start, losses, tail)" in repr(recorded["track"][0])
    assert (recorded["receiver"][0].exact, recorded["track"][0].exact) == (True, False)


def test_a_lost_packet_is_a_gap_and_nothing_moves(recorded: dict[str, Any], short: Path) -> None:
    """Each lost packet costs its own 20 ms: it is marked, and what follows stays in place."""
    recorder, samples = recorded["lossy"]
    assert len(samples) == 3 * 48_000 + 960 - opus.LOOK_AHEAD
    assert [round(end - start, 6) for start, end in recorder.gaps] == [0.02, 0.02]
    assert all(
        samples[round(start * 48_000) : round(end * 48_000)].any() for start, end in recorder.gaps
    )
    plain = rtnb.Clip.read(short).samples
    assert -12 <= lag(plain, samples, 110_000) <= 3


def test_a_kept_track_is_what_it_would_be_without_the_recorder(recorded: dict[str, Any]) -> None:
    """MediaRecorder hears the same call beside it, as badly as ever: five frames a loss, no tail."""
    recorder, samples = recorded["lossy"]
    beside = rtnb.Clip.read(recorder.path.with_name("beside.wav")).samples
    assert np.abs(beside).max() > 0.1
    assert 2 * 5 * 960 <= len(samples) - len(beside) <= 48_000


# --- two inputs, without a call -------------------------------------------------------------------


class Frames(MediaStreamTrack):
    """Delivers 20 ms frames of one level as fast as they are asked for, then ends or fails."""

    kind = "audio"

    def __init__(self, count: int, *, level: int = 1000, error: Exception | None = None):
        super().__init__()
        self._left = count
        self._level = level
        self._error = error or MediaStreamError()
        self._pts = 0

    async def recv(self) -> Any:
        if not self._left:
            raise self._error
        self._left -= 1
        samples = np.full((1, 960), self._level, np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._pts, opus.TIME_BASE
        self._pts += 960
        await asyncio.sleep(0)
        return frame


def packets(began: float, count: int) -> list[aiortc_hooks.RtpArrival]:
    """Return the packets of a loud tone that a receiver got from `began` on, in monotonic s."""
    payloads = opus.encode(to_pcm(rtnb.Clip.tone(440, count * 0.02, level=-6.0)))
    return [
        aiortc_hooks.RtpArrival(
            sequence=i, timestamp=960 * i, payload=payload, time=began + 0.02 * i, ssrc=1
        )
        for i, payload in enumerate(payloads[:count])
    ]


async def _first_receiver_then_frames(path: Path) -> None:
    recorder = rtnb.Recorder(path)
    tapped = _ReceiverInput(recorder, 0)
    recorder._inputs.append(tapped)
    recorder.addTrack(Frames(0))
    await recorder.start()
    for number, packet in enumerate(packets(recorder._origin + 0.1, 100)):
        tapped.packet(packet)
        if number >= 10:
            at = round((packet.time - recorder._origin) * 48_000)
            recorder._place(1, at, np.full(960, 1000, np.int16))
            recorder._advance(packet.time)
    await recorder.stop()


def test_an_input_that_begins_first_keeps_its_beginning(tmp_path: Path) -> None:
    """A receiver is placed half a second late; a track beside it must not cut its first words."""
    asyncio.run(_first_receiver_then_frames(tmp_path / "two.wav"))
    samples, _ = soundfile.read(tmp_path / "two.wav")
    assert len(samples) == 100 * 960
    loud = np.flatnonzero(np.abs(samples[:, 0]) > 0.1)
    assert loud[0] < 960
    assert np.flatnonzero(samples[:, 1])[0] == 10 * 960  # a track's frames lie at their arrival


def test_an_input_that_fails_leaves_the_other_one_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged at once, and raised by stop() when the file is complete."""
    broken = RuntimeError("no more frames")

    async def record() -> list[str]:
        recorder = rtnb.Recorder(tmp_path / "one.wav")
        recorder.addTrack(Frames(5, error=broken))
        recorder.addTrack(Frames(50))
        await recorder.start()
        tasks = [one._task for one in recorder._inputs]
        await asyncio.wait(tasks)
        told = [record.getMessage() for record in caplog.records]
        with pytest.raises(RuntimeError, match="no more frames"):
            await recorder.stop()
        await recorder.stop()
        assert all(task.done() for task in tasks)
        return told

    assert asyncio.run(record()) == ["one.wav: an input of the Recorder stopped: no more frames"]
    samples, _ = soundfile.read(tmp_path / "one.wav")
    assert [np.count_nonzero(samples[:, i]) for i in (0, 1)] == [5 * 960, 50 * 960]


def test_a_track_of_packets_is_refused(tmp_path: Path) -> None:
    """Packets are not frames; the sentence says so."""

    async def record() -> None:
        recorder = rtnb.Recorder(tmp_path / "none.wav")
        recorder.addTrack(rtnb.SilentTrack(encoded=True))
        await recorder.start()
        await asyncio.wait([recorder._inputs[0]._task])
        await recorder.stop()

    with pytest.raises(rtnb.ConfigurationError, match="give a track that decodes"):
        asyncio.run(record())


def test_one_input_begins_with_its_first_sample(tmp_path: Path) -> None:
    """However long the recorder waited for it, there is no silence before it."""

    async def record() -> None:
        recorder = rtnb.Recorder(tmp_path / "one.wav")
        recorder.addTrack(Frames(100))
        recorder._origin -= 3600.0
        await recorder.start()
        await asyncio.wait([recorder._inputs[0]._task])
        await recorder.stop()

    asyncio.run(record())
    samples, _ = soundfile.read(tmp_path / "one.wav")
    assert len(samples) == np.count_nonzero(samples) == 100 * 960


def tapped_in(path: Path) -> tuple[rtnb.Recorder, _ReceiverInput]:
    """Return a recorder and its first input, which takes packets without a call."""
    recorder = rtnb.Recorder(path)
    tapped = _ReceiverInput(recorder, 0)
    recorder._inputs.append(tapped)
    return recorder, tapped


def test_a_packet_at_the_very_start_is_whole(tmp_path: Path) -> None:
    """The first packet may come in the same moment: the look-ahead is taken off once."""
    path = tmp_path / "one.wav"

    async def record() -> None:
        recorder, tapped = tapped_in(path)
        await recorder.start()
        for one in packets(time.monotonic(), 50):
            tapped.packet(one)
        await recorder.stop()

    asyncio.run(record())
    samples, _ = soundfile.read(path)
    assert len(samples) == 50 * 960 - opus.LOOK_AHEAD


def test_an_input_that_stalls_is_written_where_it_belongs(tmp_path: Path) -> None:
    """What the network held up for 3 s, while the other input went on, is put into the file."""
    path = tmp_path / "two.wav"

    async def record() -> None:
        recorder, tapped = tapped_in(path)
        recorder.addTrack(Frames(0))
        await recorder.start()
        coming = packets(recorder._origin, 250)
        release = coming[60].time + 3.0
        coming[60:] = [dataclasses.replace(p, time=max(p.time, release)) for p in coming[60:]]
        for number in range(250):
            now = recorder._origin + 0.02 * number
            while coming and coming[0].time <= now:
                tapped.packet(coming.pop(0))
            recorder._place(1, number * 960, np.full(960, 1000, np.int16))
            recorder._advance(now)
        await recorder.stop()

    asyncio.run(record())
    samples, _ = soundfile.read(path)
    blocks = np.abs(samples[: 249 * 960, 0].reshape(-1, 960)).max(axis=1)
    assert (blocks > 0.1).all()
    assert samples[: 250 * 960, 1].all()


def test_what_comes_late_from_before_the_file_is_cut(tmp_path: Path) -> None:
    """The first sample of the file is fixed once it is written; nothing can go before it."""

    async def record() -> None:
        recorder = rtnb.Recorder(tmp_path / "one.wav")
        recorder.addTrack(Frames(0))
        await recorder.start()
        for number in range(100):
            recorder._place(0, 48_000 + number * 960, np.full(960, 1000, np.int16))
            recorder._advance(0.0)
        recorder._place(0, 48_000 - 500, np.full(960, 3000, np.int16))
        recorder._place(0, 0, np.full(960, 3000, np.int16))
        await recorder.stop()

    asyncio.run(record())
    samples, _ = soundfile.read(tmp_path / "one.wav", dtype="int16")
    assert samples[:461].tolist() == [3000] * 460 + [1000]
    assert len(samples) == 100 * 960
