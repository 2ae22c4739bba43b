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
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from rtnb.dialects import Json
from rtnb.media import aiortc_hooks, opus
from rtnb.peer.answers import completed_answer
from rtnb.peer.channel import Channel
from rtnb.peer.conversation import Conversation
from rtnb.peer.disturbed import Disturbed, is_ours
from rtnb.peer.faults import Faults
from rtnb.peer.incoming import Incoming
from rtnb.peer.journal import CallJournal
from rtnb.peer.modes import CallWire
from rtnb.peer.mouth import Mouth
from rtnb.peer.offers import usable_offer
from rtnb.peer.outgoing import Outgoing
from rtnb.peer.outputs import Command, Forget, HangUp, Hush, Say, StopAfter, Think
from rtnb.peer.reply import Failure, Rendered
from rtnb.peer.replytrack import ReplyTrack, Sound
from rtnb.peer.speaking import Reports, Speaking

__all__ = ["Call", "InvalidOffer"]

_log = logging.getLogger(__name__)

_CONNECT_WITHIN: Final = 30.0  # seconds from the answer
_CLOSE_WITHIN: Final = 2.0  # seconds; aiortc's close may hang when a track ended before
_TASKS_WITHIN: Final = 0.5  # seconds for the call's own tasks after that
_PAUSE_AFTER_FAILURE: Final = 0.1  # seconds: what fails again and again must not fill the log


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
    wire
        What its events look like on the data channel.
    on_closed
        Called once, when the call is over.
    mouth
        What it says, and how that sounds.
    faults
        How it goes wrong.
    journal
        Where it is written down.
    """

    def __init__(
        self,
        call_id: str,
        conversation: Conversation,
        wire: CallWire,
        on_closed: Callable[[Call], None],
        *,
        mouth: Mouth,
        faults: Faults,
        journal: CallJournal,
    ):
        self.id = call_id
        self._conversation = conversation
        self._wire = wire
        self._mouth = mouth
        self._faults = faults
        self._journal = journal
        self._on_closed = on_closed
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._channel = Channel(wire, journal)
        self._disturbed = Disturbed(faults)
        self._incoming = Incoming(journal, faults, self._hear)
        self._outgoing = Outgoing(journal, faults, self._spawn)
        self._track: ReplyTrack | None = None
        self._speaking: Speaking | None = None
        self._event_id: object = None  # of the client's event that is being handled
        self._thinking: dict[str, asyncio.Task[Any]] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._has_opus = True
        self._opened = False
        self._closed: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the caller has come through."""
        return self._pc.connectionState == "connected"

    # --- beginning and end ------------------------------------------------------------------------

    async def answer(self, offer: str) -> str:
        """Return the answer to an SDP offer.

        Raises
        ------
        InvalidOffer
            It is no SDP, or has no audio section.
        """
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
            aiortc_hooks.connect_at_once(self._pc)
            answer = await self._pc.createAnswer()
        except Exception as error:  # aiortc raises many kinds on an SDP it cannot use
            _log.info("call %s: the offer cannot be used (%s)", self.id, type(error).__name__)
            raise InvalidOffer from None
        with aiortc_hooks.loopback_only():
            await self._pc.setLocalDescription(answer)
        self._after(_CONNECT_WITHIN, self._never_connected)
        self._spawn(self._run_clock())
        return completed_answer(str(self._pc.localDescription.sdp))

    def _add_voice(self, encoded: bool) -> None:
        """Send audio: pre-encoded where both sides have Opus, and then nothing but Opus."""
        gaps = self._faults.silent_gaps
        self._track = ReplyTrack(encoded=encoded, gaps=gaps, on_packet=self._packet_leaves)
        self._speaking = Speaking(self._track, self._reports())
        sender = self._pc.addTrack(self._track)
        self._outgoing.watch(sender)
        for transceiver in self._pc.getTransceivers():
            if transceiver.sender is not sender:
                transceiver.direction = "inactive"  # nobody here looks at video

    def _after(self, seconds: float, act: Callable[[], object]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, act))

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
        """End the call; returns when it has ended, within three seconds, whatever happens."""
        if self._closed is not None:
            return await asyncio.shield(self._closed)
        self._closed = asyncio.get_running_loop().create_future()
        _log.info("call %s ends: %s", self.id, reason)
        for timer in self._timers:
            timer.cancel()
        self._incoming.stop()
        if self._journal.beyond:
            _log.warning("call %s: %d records were not kept", self.id, self._journal.beyond)
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
            await asyncio.wait(others, timeout=_TASKS_WITHIN)

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("call %s: a task failed", self.id, exc_info=task.exception())

    # --- audio in ---------------------------------------------------------------------------------

    def _track_arrived(self, track: MediaStreamTrack) -> None:
        if track.kind != "audio":
            return
        if not self._has_opus or not self._incoming.tap(self._pc, track):
            self._spawn(self._incoming.drain(track))

    def _hear(self, samples: npt.NDArray[np.int16]) -> None:
        self._guarded("what was heard", partial(self._conversation.hear, samples))

    def _packet_leaves(self, sound: Sound | None, position: int) -> None:
        self._outgoing.note(sound, position)
        limit = self._faults.hang_up_in_reply
        if limit is not None and sound and position + opus.FRAME >= limit * opus.SAMPLE_RATE:
            self._end("it was to hang up in mid-reply")

    # --- events -----------------------------------------------------------------------------------

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        if not self._channel.used(channel):
            return
        channel.on("message", self.take)
        if self._faults.created_after:
            self._after(self._faults.created_after, partial(self._begin, channel))
        else:
            self._begin(channel)
        if not self._opened:
            self._opened = True
            self._plan_deaths()

    def _begin(self, channel: RTCDataChannel) -> None:
        """Greet a channel, and send what had to wait for the first one."""
        self._channel.add(channel)
        self._guarded("session.created", self._conversation.opened)
        self._channel.release()

    def _plan_deaths(self) -> None:
        if self._faults.channel_dies_after is not None:
            self._after(self._faults.channel_dies_after, self._channel.close)
        if self._faults.audio_dies_after is not None:
            self._after(self._faults.audio_dies_after, self._outgoing.end)

    def take(self, message: str | bytes) -> None:
        """Take a client's event, from the channel or from elsewhere."""
        self._event_id, event = self._channel.read(message)
        if event is None:
            act = partial(self._conversation.unreadable, self._event_id)
        else:
            act = partial(self._received, event)
        self._guarded("a client's event", act)
        self._event_id = None

    def _received(self, event: Json) -> list[Command]:
        event = self._wire.dialect.event_from_wire(event)
        return self._conversation.receive(event, unknown=self._wire.refused)

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Have every event that is sent, as JSON; return what ends that."""
        return self._channel.listen(listener)

    def _send(self, event: Json) -> None:
        if not self._channel.send(event):
            _log.warning("call %s: %s is too large for the caller", self.id, event["type"])
            if event["type"] != "error" and not is_ours(event):
                self._run(self._conversation.too_large(event["type"], self._event_id))
        if self._channel.stuck:
            self._end("the caller does not read its events")

    # --- what the conversation wants --------------------------------------------------------------

    def _guarded(self, what: str, act: Callable[[], list[Command]]) -> bool:
        """Do what the conversation wants; a mistake of ours is told and must not end the call."""
        if self._closed is not None:
            return False  # what comes now comes too late
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
        for command in self._disturbed(commands):
            try:
                self._do(command)
            except Exception:
                _log.exception("call %s: a command failed", self.id)
                if isinstance(command, dict) and command["type"] != "error":
                    self._run(self._conversation.failed(self._event_id))

    def _do(self, command: Command) -> None:
        if isinstance(command, dict):
            self._send(command)
        elif isinstance(command, HangUp):
            self._end(command.reason)
        elif isinstance(command, Think):
            self._thinking[command.response_id] = self._spawn(self._think(command))
        elif isinstance(command, Forget):
            self._forget(command)
        elif self._speaking is not None:
            self._speak(self._speaking, command)

    def _speak(self, speaking: Speaking, command: Say | Hush | StopAfter) -> None:
        if isinstance(command, Say):
            speaking.say(command)
        elif isinstance(command, Hush):
            speaking.hush(command)
        else:
            speaking.stop_after(command)

    async def _think(self, think: Think) -> None:
        try:
            rendered = await self._mouth.render(think.turn, spoken=think.spoken, speed=think.speed)
        except Exception:
            _log.exception("call %s: the voice failed", self.id)
            rendered = Rendered(failure=Failure("The peer failed; its log says why."))
        finally:
            self._thinking.pop(think.response_id, None)
        self._guarded(
            "an answer", partial(self._conversation.answered, think.response_id, rendered)
        )
        self._changed.set()  # what it says may be due later

    def _forget(self, forget: Forget) -> None:
        task = self._thinking.pop(forget.response_id, None)
        if task is not None:
            task.cancel()

    def _reports(self) -> Reports:
        conversation = self._conversation

        def report(what: str, act: Callable[..., list[Command]]) -> Callable[..., object]:
            return lambda *told: self._guarded(what, partial(act, *told))

        return Reports(
            started=report("the beginning of a sound", conversation.sound_started),
            ended=report("the end of a sound", conversation.sound_ended),
            cut=report("the cut of a sound", conversation.sound_cut),
        )

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
