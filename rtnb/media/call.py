"""One call: peer connection, channel, prompt track, capture; it must not know keys, HTTP or turns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
    RTCStatsReport,
)

from rtnb import messages as m
from rtnb.frames import Unwrapper
from rtnb.media import aiortc_hooks, opus
from rtnb.media.aiortc_hooks import RtpDeparture
from rtnb.media.fallback import pump_frames
from rtnb.media.jitterbuffer import KEPT
from rtnb.media.listening import Listening
from rtnb.media.livefeed import LiveFeed
from rtnb.media.recording import Recording
from rtnb.media.tracks import Pacing, Playing, PromptTrack
from rtnb.runfiles import RunWriter
from rtnb.sdp import without_mdns

__all__ = ["Call"]

logger = logging.getLogger(__name__)

_TICK: Final = 0.1  # seconds between writes to the run
_TOGETHER: Final = 0.02  # seconds of which all calls write in the same moment
_LIVENESS: Final = 20.0  # seconds without any packet after which the other side is gone
_PC_CLOSE: Final = 2.0  # seconds that closing the peer connection may take
_VOICE_LEFT: Final = KEPT + 0.5  # seconds that what follows a playing waits for the voice before
_UNTAPPED: Final = "none: packets cannot be seen"  # how losses are concealed without the tap

S16 = npt.NDArray[np.int16]


class Call:
    """One call from `Open` to `Closed`, on the media process's loop.

    Parameters
    ----------
    opened
        What to open.
    emit
        Takes messages for the user's process; may be called from any thread.
    """

    def __init__(self, opened: m.Open, emit: Callable[[m.Message], None]):
        self.id = opened.call
        self._opened = opened
        self._emit = emit
        self._frames = Unwrapper(opened.framing)
        self._writer = RunWriter(Path(opened.folder), sample_rate=opus.SAMPLE_RATE)
        self._recording = Recording(
            self._writer, started=opened.started, on_written=self._on_written
        )
        # what is on its way, with when it had been due, and captured if it is live
        self._blocks: deque[tuple[int, S16, float, float | None]] = deque()
        self._pacing = Pacing()
        self._round_trip: float | None = None
        self._live = LiveFeed()
        self._track = PromptTrack(encoded=True, live=self._live, on_block=self._on_block)
        servers = [RTCIceServer(**server) for server in opened.ice_servers]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._sender: RTCRtpSender | None = None
        self._channel: RTCDataChannel | None = None
        self._playing: dict[str, Playing] = {}
        self._queued: set[str] = set()  # handed over, not on the track yet
        self._cancelled: set[str] = set()
        self._prompts: asyncio.Queue[tuple[m.Play, int]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ice = asyncio.Event()
        self._open = asyncio.Event()
        self._closing = False
        self._watched = False

    # --- setting up -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the offer and send it as `Offered`."""
        pc = self._pc
        pc.on("iceconnectionstatechange", self._on_ice)
        pc.on("connectionstatechange", self._on_connection)
        # the track before the channel, or MAX_BUNDLE never connects (aiortc 1.16)
        self._sender = pc.addTrack(self._track)
        self._prefer_opus()
        self._listen()
        channel = pc.createDataChannel(self._opened.channel_label)
        channel.on("open", self._on_channel_open)
        channel.on("message", self._on_message)
        channel.on("close", self._on_channel_close)
        self._channel = channel
        aiortc_hooks.connect_at_once(pc)
        with aiortc_hooks.loopback_only() if self._opened.loopback else contextlib.nullcontext():
            await pc.setLocalDescription(await pc.createOffer())
        self._phase("offer")
        self._spawn(self._tick())
        self._spawn(self._play_prompts())
        self._emit(m.Offered(self.id, pc.localDescription.sdp))

    def _prefer_opus(self) -> None:
        """Offer nothing but Opus: packets that were encoded before cannot go out as PCMU."""
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        only = [c for c in codecs if c.mimeType.lower() == "audio/opus"]
        self._pc.getTransceivers()[0].setCodecPreferences(only)

    def _listen(self) -> None:
        receiver: RTCRtpReceiver = self._pc.getTransceivers()[0].receiver
        if aiortc_hooks.tap_receiver(receiver, self._recording.arrived):
            return
        logger.warning("%s", aiortc_hooks.FALLBACKS["receive"])
        self._pc.on("track", lambda track: self._spawn(pump_frames(track, self._on_frame)))

    async def answer(self, message: m.Answer) -> None:
        """Take the other side's SDP and watch the connection come up."""
        sdp = without_mdns(message.sdp)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
        except Exception as error:  # aiortc raises whatever its parser meets
            await self.close("bad_answer", f"The answer's SDP could not be used: {error}.")
            return
        assert self._sender is not None
        self._watched = aiortc_hooks.watch_sender(self._sender, self._on_departure)
        self._phase("answer")
        self._spawn(self._watch())

    async def _watch(self) -> None:
        """Apply our own timers; aiortc's may take minutes."""
        if not await _within(self._ice, self._opened.ice_timeout):
            await self.close("udp_blocked", "")
        elif not await _within(self._open, self._opened.channel_timeout):
            await self.close("channel_timeout", "")
        else:
            await self._watch_liveness()

    async def _watch_liveness(self) -> None:
        """End the call when no packet of any kind has come for a while."""
        seen, since = -1, time.monotonic()
        while not self._closing:
            report = await self._pc.getStats()
            received = sum(s.packetsReceived for s in report.values() if s.type == "transport")
            self._note_round_trip(report)
            if received != seen:
                seen, since = received, time.monotonic()
            elif time.monotonic() - since > _LIVENESS:
                await self.close("peer_gone", f"Nothing came from it for {_LIVENESS:.0f} s.")
            await asyncio.sleep(1.0)

    def _note_round_trip(self, report: RTCStatsReport) -> None:
        for one in report.values():
            if one.type == "remote-inbound-rtp" and one.roundTripTime is not None:
                self._round_trip = max(one.roundTripTime, 0.0)

    # --- what happens -----------------------------------------------------------------------------

    def _now(self) -> float:
        return self._on_clock(time.monotonic())

    def _on_clock(self, at: float) -> float:
        return round(at - self._opened.started, 6)  # as it is written down

    def _phase(self, name: str) -> None:
        self._emit(m.StateChanged(self.id, name, self._now()))

    def _on_ice(self) -> None:
        if self._pc.iceConnectionState in ("connected", "completed") and not self._ice.is_set():
            self._ice.set()
            self._phase("ice")

    def _on_connection(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self._phase("dtls")
        elif state in ("failed", "closed") and not self._closing and self._ice.is_set():
            self._spawn(self.close("peer_gone", "The connection to it was lost."))

    def _on_channel_open(self) -> None:
        self._open.set()
        self._phase("channel")

    def _on_channel_close(self) -> None:
        if not self._closing:
            self._spawn(self.close("peer_gone", "It closed the data channel."))

    def _on_message(self, data: str | bytes) -> None:
        frame = data if isinstance(data, str) else data.decode("utf-8", "replace")
        self._arrived(self._frames.take(frame))

    def _arrived(self, texts: list[str]) -> None:
        """Record events and hand them on: what was in the frames, not the frames."""
        now = self._now()
        for text in texts:
            self._recording.event(now, "received", text)
            self._emit(m.EventArrived(self.id, text, now))

    def _on_block(self, pts: int, pcm: S16) -> None:
        block = pts, pcm, self._track.last_due, self._live.leaving
        if self._watched:
            self._blocks.append(block)
        else:
            self._left(block, time.monotonic(), None, None)

    def _on_departure(self, packet: RtpDeparture) -> None:
        if self._blocks:  # a retransmission has none
            self._left(self._blocks.popleft(), packet.time, packet.sequence, packet.timestamp)

    def _left(
        self,
        block: tuple[int, S16, float, float | None],
        at: float,
        sequence: int | None,
        stamp: int | None,
    ) -> None:
        pts, pcm, due, captured = block
        self._pacing.count(at - due)
        self._recording.sent(pts, pcm, at, sequence, stamp)
        if captured is not None:
            self._live.left(captured, at - self._opened.started)

    def _on_frame(self, samples: S16, at: float) -> None:
        position = round((at - self._opened.started) * opus.SAMPLE_RATE)
        self._recording.frame(samples, position)

    def _on_heard(self, position: int, samples: S16, arrived: float) -> None:
        self._emit(m.AudioHeard(self.id, position, samples.tobytes(), arrived))

    def _on_written(
        self, start: float, end: float, sent: tuple[float, ...], heard: tuple[float, ...]
    ) -> None:
        failure = self._recording.failure
        self._emit(m.AudioWritten(self.id, start, end, sent, heard, failure))

    async def _tick(self) -> None:
        while not self._closing:
            # calls that write at the same time wake the thread that does it once
            await asyncio.sleep(_TICK - time.monotonic() % _TOGETHER)
            self._recording.write(time.monotonic())

    # --- what is asked ----------------------------------------------------------------------------

    def send_event(self, message: m.SendEvent) -> None:
        """Put a text on the channel."""
        if self._channel is None or self._channel.readyState != "open" or self._closing:
            return  # `Closed` is on its way and says why
        self._channel.send(message.text)
        now = self._now()
        self._recording.event(now, "sent", message.text)
        self._emit(m.EventSent(self.id, message.text, now))

    def play(self, message: m.Play) -> None:
        """Queue a clip."""
        self._queued.add(message.play)
        self._prompts.put_nowait((message, self._live.mark))

    def cancel(self, message: m.Cancel) -> None:
        """Stop one playing, or all."""
        if message.play is None:
            self._cancelled |= self._queued  # the one that is being encoded too
            self._track.cancel()
        elif message.play in self._playing:
            self._track.cancel(self._playing[message.play])
        else:
            self._cancelled.add(message.play)

    def feed(self, message: m.Feed) -> None:
        """Take a stretch of live voice."""
        given = message.number, message.samples, message.sample_rate, message.captured
        self._live.feed(*given, time.monotonic())

    def feed_end(self) -> None:
        """Let the live voice pause."""
        self._live.end()

    def subscribe(self, message: m.Subscribe) -> None:
        """Hand on what is heard from now on, or no longer."""
        if not message.on:
            self._recording.listener = None
        elif self._recording.listener is None:
            self._recording.listener = Listening(self._on_heard).take

    def note(self, message: m.Note) -> None:
        """Append a record to the run's turns.jsonl."""
        self._recording.record(message.text)

    async def stats(self, message: m.StatsWanted) -> None:
        """Answer with the counters so far, when all that was recorded before is on disk."""
        await asyncio.get_running_loop().run_in_executor(None, self._recording.flush)
        values = self._figures()
        if self._recording.failure:
            values["recording"] = self._recording.failure
        self._emit(m.Stats(self.id, message.request, values))

    def _figures(self) -> dict[str, Any]:
        """Return the counters so far; times in seconds."""
        voice = self._live.figures()
        # what was heard left up to one way earlier than it came, which is at most the way and back
        return self._recording.figures() | {
            "late_packets": self._pacing.late_packets,
            "worst_lag": self._pacing.worst_lag,
            "skipped": self._track.pacing.skipped,
            "round_trip": self._round_trip,
            "clock_uncertainty": self._round_trip,
            "fallbacks": [aiortc_hooks.FALLBACKS[name] for name in aiortc_hooks.missing()],
            **({"microphone": voice} if voice else {}),
            **({"concealment": _UNTAPPED} if "receive" in aiortc_hooks.missing() else {}),
        }

    async def _play_prompts(self) -> None:
        """Hand clips to the track one after the other; their first packets are made off the loop."""
        loop = asyncio.get_running_loop()
        while True:
            message, fed = await self._prompts.get()
            encoding: opus.Encoding | None = None
            if message.play not in self._cancelled:
                encoding = await loop.run_in_executor(None, opus.prepare, message.samples)
            self._queued.discard(message.play)
            if message.play in self._cancelled:
                self._cancelled.discard(message.play)
                self._record_play("play_ended", message.play, self._now(), 0)
                self._emit(m.PlayEnded(self.id, message.play, self._now(), 0, True))
                continue
            playing = self._track.play(message.samples, encoding)
            self._playing[message.play] = playing
            if message.then:  # what is played next belongs to what follows it
                await self._follow(message, playing, fed)
            else:
                self._spawn(self._follow(message, playing, fed))

    async def _follow(self, message: m.Play, playing: Playing, fed: int) -> None:
        started = self._on_clock(await playing.started)
        self._record_play("play_started", message.play, started, 0)
        self._emit(m.PlayStarted(self.id, message.play, started))
        ended = self._on_clock(await playing.ended)
        self._playing.pop(message.play, None)
        self._record_play("play_ended", message.play, ended, playing.samples)
        self._emit(m.PlayEnded(self.id, message.play, ended, playing.samples, playing.cancelled))
        if message.then and not playing.cancelled:
            await self._live.all_left(fed, _VOICE_LEFT)
            await asyncio.sleep(message.then_after)
            for text in message.then:
                self.send_event(m.SendEvent(self.id, text))

    def _record_play(self, record: str, play: str, at: float, samples: int) -> None:
        self._record(record, play=play, time=at, samples=samples)

    def _record(self, record: str, **values: Any) -> None:
        self._recording.record(json.dumps({"record": record, **values}))

    # --- the end ----------------------------------------------------------------------------------

    async def close(self, kind: str, reason: str) -> None:
        """Hang up, finish the run, and say so; a second call changes nothing."""
        if self._closing:
            return
        self._closing = True
        self._arrived(self._frames.left())
        self._recording.write(time.monotonic())
        # tracks are not stopped first: pc.close() may then hang (aiortc#283)
        try:
            await asyncio.wait_for(self._pc.close(), _PC_CLOSE)
        except TimeoutError:
            logger.warning("a peer connection did not close in time")
        except Exception:  # whatever it is, the run must be finished
            logger.exception("a peer connection did not close in order")
        finally:
            await self._finish(kind, reason)

    async def _finish(self, kind: str, reason: str) -> None:
        ended = self._now()
        loop = asyncio.get_running_loop()
        try:
            self._recording.take_last()
            values = self._figures()
            self._record("stats", values=values)
            self._emit(m.Stats(self.id, m.LAST_STATS, values))
            await loop.run_in_executor(None, self._recording.finish, time.monotonic())
        finally:
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            told = " ".join(filter(None, [reason, self._recording.failure]))
            self._emit(m.Closed(self.id, kind, told, ended))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("a task of call %s failed", self.id, exc_info=task.exception())
            if not self._closing:
                self._spawn(self.close("failed", f"An error inside rtnb: {task.exception()!r}."))


async def _within(event: asyncio.Event, timeout: float) -> bool:
    with contextlib.suppress(asyncio.TimeoutError):
        return await asyncio.wait_for(event.wait(), timeout)
    return False
