"""One WebRTC call: answers an offer, hears, speaks and exchanges events; it must not know HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from rtnb.dialects import Dialect, Json
from rtnb.media import aiortc_hooks, opus
from rtnb.media.tracks import Playing
from rtnb.peer.conversation import Conversation
from rtnb.peer.hearing import Hearing
from rtnb.peer.offers import usable_offer
from rtnb.peer.outputs import Command, HangUp, Hush, Say, StopAfter
from rtnb.peer.replytrack import ReplyTrack
from rtnb.peer.wire import parsed, written

__all__ = ["Call", "InvalidOffer"]

_log = logging.getLogger(__name__)

_CONNECT_WITHIN: Final = 30.0  # seconds from the answer
_CLOSE_WITHIN: Final = 2.0  # aiortc's close may hang when a track ended before
_EVENTS_KEPT: Final = 1_000  # before the channel is open
_PAUSE_AFTER_FAILURE: Final = 0.1  # seconds: what fails again and again must not fill the log
_PER_MS: Final = 48


class InvalidOffer(ValueError):
    """The text is no SDP offer that a call can be made of."""


class Call:
    """One call, from its offer to its end.

    Parameters
    ----------
    call_id
        ``rtc_…``
    conversation
        What it is about.
    dialect
        What its events look like on the wire.
    on_closed
        Called once, when the call is over.
    """

    def __init__(
        self,
        call_id: str,
        conversation: Conversation,
        dialect: Dialect,
        on_closed: Callable[[Call], None],
    ):
        self.id = call_id
        self._conversation = conversation
        self._dialect = dialect
        self._on_closed = on_closed
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track: ReplyTrack | None = None
        self._hearing = Hearing()
        self._channels: list[RTCDataChannel] = []
        self._event_id: object = None  # of the client's event that is being handled
        self._held: list[str] = []
        self._saying: dict[str, Playing | None] = {}
        self._limits: dict[Playing, tuple[str, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._has_opus = True
        self._closed: asyncio.Future[None] | None = None

    # --- beginning and end ------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Return the answer to an SDP offer.

        Raises
        ------
        InvalidOffer
            It is no SDP, or has no audio section.
        """
        loop = asyncio.get_running_loop()
        offered = usable_offer(offer)
        if offered is None:
            raise InvalidOffer
        self._has_opus = offered.opus
        self._pc.on("track", self._track_arrived)
        self._pc.on("datachannel", self._channel_opened)
        self._pc.on("connectionstatechange", self._state_changed)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(offered.sdp, "offer"))
            self._add_voice(self._has_opus)
            answer = await self._pc.createAnswer()
        except Exception as error:  # aiortc raises many kinds on an SDP it cannot use
            _log.info("call %s: the offer cannot be used (%s)", self.id, type(error).__name__)
            raise InvalidOffer from None
        with aiortc_hooks.loopback_only():
            await self._pc.setLocalDescription(answer)
        self._timer = loop.call_later(_CONNECT_WITHIN, self._never_connected)
        self._spawn(self._run_clock())
        return str(self._pc.localDescription.sdp)

    def _add_voice(self, encoded: bool) -> None:
        """Send audio: pre-encoded where both sides have Opus, and then nothing but Opus."""
        self._track = ReplyTrack(encoded=encoded, on_block=lambda _pts, _pcm: self._block_left())
        sender = self._pc.addTrack(self._track)
        for transceiver in self._pc.getTransceivers():
            if transceiver.sender is not sender:
                transceiver.direction = "inactive"  # nobody here looks at video

    def _never_connected(self) -> None:
        if self._pc.connectionState != "connected":
            self._end("no connection came about")

    def _state_changed(self) -> None:
        _log.info("call %s: %s", self.id, self._pc.connectionState)
        if self._pc.connectionState in ("failed", "closed"):
            self._end(f"the connection {self._pc.connectionState}")

    def _end(self, reason: str) -> None:
        if self._closed is None:
            self._spawn(self.close(reason))

    async def close(self, reason: str = "hung up") -> None:
        """End the call; returns when it has ended, within about two seconds, whatever happens."""
        if self._closed is not None:
            return await asyncio.shield(self._closed)
        self._closed = asyncio.get_running_loop().create_future()
        _log.info("call %s ends: %s", self.id, reason)
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(_CLOSE_WITHIN):
                await self._pc.close()
        except TimeoutError:
            _log.warning("call %s: the connection did not close in time", self.id)
        except Exception:  # aiortc's own state may be half made, after an offer it could not use
            _log.exception("call %s: the connection did not close", self.id)
        finally:
            try:
                await self._stop_everything()
            finally:
                self._closed.set_result(None)
                self._on_closed(self)
        return None

    async def _stop_everything(self) -> None:
        if self._track is not None:
            self._track.stop()
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_CLOSE_WITHIN)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("call %s: a task failed", self.id, exc_info=task.exception())

    # --- audio in ---------------------------------------------------------------------------------

    def _track_arrived(self, track: MediaStreamTrack) -> None:
        if track.kind != "audio":
            return
        receiver = aiortc_hooks.receiver_of(self._pc, track)
        tapped = receiver is not None and self._has_opus
        if receiver is None or not tapped or not self._tap(receiver):
            self._spawn(self._drain(track))

    def _tap(self, receiver: RTCRtpReceiver) -> bool:
        return aiortc_hooks.tap_receiver(receiver, self._packet_arrived)

    def _packet_arrived(self, packet: aiortc_hooks.RtpArrival) -> None:
        for samples in self._hearing.push(packet):
            self._hear(samples)

    def _hear(self, samples: npt.NDArray[np.int16]) -> None:
        self._guarded("what was heard", partial(self._conversation.hear, samples))

    async def _drain(self, track: MediaStreamTrack) -> None:
        """Hear through aiortc's own decoder: other codecs than Opus, or another aiortc."""
        from av import AudioFrame, AudioResampler

        resampler = AudioResampler(format="s16", layout="mono", rate=opus.SAMPLE_RATE)
        with contextlib.suppress(MediaStreamError):
            while True:
                received = await track.recv()
                assert isinstance(received, AudioFrame)
                for frame in resampler.resample(received):
                    samples = np.asarray(frame.to_ndarray()[0], np.int16)
                    self._hear(samples)

    # --- events -----------------------------------------------------------------------------------

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        """Take a channel under any label; of several, the last one that is open is used."""
        self._channels.append(channel)
        channel.on("message", self._message_arrived)
        self._guarded("session.created", self._conversation.opened)
        held, self._held = self._held, []
        for text in held:
            self._send_text(text)

    def _message_arrived(self, message: str | bytes) -> None:
        event = parsed(message)
        self._event_id = event.get("event_id") if event else None
        if event is None or not isinstance(event.get("type"), str):
            act = partial(self._conversation.unreadable, self._event_id)
        else:
            act = partial(self._received, event)
        self._guarded("a client's event", act)
        self._event_id = None

    def _received(self, event: Json) -> list[Command]:
        return self._conversation.receive(self._dialect.event_from_wire(event))

    def _send(self, event: Json) -> None:
        if self._dialect.name == "beta" and event["type"] == "conversation.item.done":
            return  # beta knows one event for an item, when it is created
        text = written(self._dialect.event_to_wire(event))
        if self._channels:
            if not self._send_text(text):
                _log.warning("call %s: %s is too large for the caller", self.id, event["type"])
                if event["type"] != "error":
                    self._run(self._conversation.too_large(event["type"], self._event_id))
        elif len(self._held) < _EVENTS_KEPT:
            self._held.append(text)

    def _send_text(self, text: str) -> bool:
        """Send on the last channel that is open; False when it is too large for the caller."""
        channel = next((c for c in reversed(self._channels) if c.readyState == "open"), None)
        if channel is not None:
            try:
                channel.send(text)
            except ValueError:
                return False
        return True

    # --- what the conversation wants --------------------------------------------------------------

    def _guarded(self, what: str, act: Callable[[], list[Command]]) -> bool:
        """Do what the conversation wants; a mistake of ours is told and must not end the call."""
        try:
            commands = act()
        except Exception:
            _log.exception("call %s: %s failed", self.id, what)
            self._run(self._conversation.failed(self._event_id))
            return False
        self._run(commands)
        return True

    def _run(self, commands: Sequence[Command]) -> None:
        if commands:
            self._changed.set()  # something may be due at another time now
        for command in commands:
            try:
                self._do(command)
            except Exception:
                _log.exception("call %s: a command failed", self.id)
                if isinstance(command, dict) and command["type"] != "error":
                    self._run(self._conversation.failed(self._event_id))

    def _do(self, command: Command) -> None:
        if isinstance(command, Say):
            self._saying[command.response_id] = None
            self._spawn(self._say(command))
        elif isinstance(command, Hush):
            self._hush(command)
        elif isinstance(command, StopAfter):
            playing = self._saying.get(command.response_id)
            if playing is not None:
                self._limits[playing] = (command.response_id, command.samples)
        elif isinstance(command, HangUp):
            self._end(command.reason)
        else:
            self._send(command)

    async def _say(self, say: Say) -> None:
        # Encoding a long clip takes 0.1 s, which the loop cannot spare. Only the peer's own clips
        # are kept encoded: what users said is not.
        packets: Sequence[bytes] = ()
        if self._has_opus:
            encode = opus.encode.__wrapped__ if say.echo else opus.encode
            packets = await asyncio.get_running_loop().run_in_executor(None, encode, say.pcm)
        if say.response_id not in self._saying or self._track is None:
            return
        playing = (
            self._track.play_encoded(say.pcm, packets) if packets else self._track.play(say.pcm)
        )
        self._saying[say.response_id] = playing
        playing.started.add_done_callback(partial(self._sound_started, say.response_id, playing))
        playing.ended.add_done_callback(partial(self._sound_ended, say.response_id, playing))

    def _sound_started(self, response_id: str, playing: Playing, _: object) -> None:
        if not playing.cancelled:
            act = partial(self._conversation.sound_started, response_id)
            self._guarded("the beginning of a sound", act)

    def _sound_ended(self, response_id: str, playing: Playing, _: object) -> None:
        self._limits.pop(playing, None)
        if self._saying.pop(response_id, None) is not None:
            act = partial(self._conversation.sound_ended, response_id)
            self._guarded("the end of a sound", act)

    def _hush(self, hush: Hush) -> None:
        for response_id in hush.response_ids:
            playing = self._saying.pop(response_id, None)
            played = playing.samples // _PER_MS if playing else 0
            if playing is not None and self._track is not None:
                self._track.cancel(playing)
            act = partial(self._conversation.sound_cut, response_id, played, hush.reason)
            self._guarded("the cut of a sound", act)

    def _block_left(self) -> None:
        """Stop what was generated only in part where its sound ends."""
        for playing, (_, samples) in list(self._limits.items()):
            if playing.samples >= samples and self._track is not None:
                self._track.cancel(playing)

    # --- time -------------------------------------------------------------------------------------

    async def _run_clock(self) -> None:
        """Tick the conversation whenever something is due."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            wait = self._conversation.due() - loop.time()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
            if self._conversation.due() <= loop.time():
                if not self._guarded("what was due", self._conversation.tick):
                    await asyncio.sleep(_PAUSE_AFTER_FAILURE)
