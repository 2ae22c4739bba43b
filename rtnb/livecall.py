"""What a session is underneath: messages in, conversation and run kept up, effects carried out.

Everything that arrives is handled on the engine's thread under one lock, and everything that waits
waits for `changed`, so a cell can be interrupted at any time and the session stays usable. This
module must not know what a user asks for; that is `rtnb.session`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from rtnb import messages as m
from rtnb.audio import Clip, to_pcm
from rtnb.callsetup import closed_error, service_error, signal, why_closed
from rtnb.conversation import Conversation, Effect, RunTool, Send, TurnBegun, TurnOver
from rtnb.dialects import Json
from rtnb.engine import Engine, call_id
from rtnb.errors import CallClosedError, CallError, RtnbError
from rtnb.events import Event, EventLog
from rtnb.limits import Limits
from rtnb.livesound import LiveSound
from rtnb.measure import AUDIBLE_LEVEL
from rtnb.meters import Meter
from rtnb.outbox import Outbox
from rtnb.prompts import as_prompt
from rtnb.recorded import Recorded
from rtnb.registry import leave
from rtnb.runaudio import RunAudio
from rtnb.sdp import SdpView, max_message_size
from rtnb.signaling import Endpoint, EphemeralKey
from rtnb.toolruns import run_call, tool_name
from rtnb.tools import Tool
from rtnb.turnfiles import TurnFiles
from rtnb.turnlist import Turns
from rtnb.turns import Turn
from rtnb.turnstate import TurnState

__all__ = ["LiveCall"]

logger = logging.getLogger(__name__)

_GRACE: Final = 5.0  # seconds that session.updated is waited for
_HELLO: Final = 2.0  # the same for session.created
_SHORT: Final = 0.5  # the same for session.updated where session.created has not come
_CLOSE: Final = 8.0  # seconds that close() may take
_AROUND_OUTPUT: Final = 400  # bytes of the event that a tool's result is sent in
_COMMIT_AFTER: Final = 0.2  # seconds from the last sample to input_audio_buffer.commit


class LiveCall(Recorded):
    """One call that goes on: its state, and the ways in and out of the media process.

    Parameters
    ----------
    endpoint, engine
        Where the call goes, and what carries it.
    folder
        The run folder.
    started
        0 of the call's clock, in monotonic seconds.
    config
        The session object wanted, in GA form.
    tools
        What the model may call.
    max_duration, idle_close
        Seconds after which the call is closed; None for never.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        engine: Engine,
        *,
        folder: Path,
        started: float,
        config: Json,
        tools: Sequence[Tool | Json] = (),
        max_duration: float | None = None,
        idle_close: float | None = None,
    ):
        self.endpoint = endpoint
        self.folder = folder
        self.events = EventLog()
        self.turns = Turns()
        self.changed = threading.Condition(threading.RLock())
        self.state = "connecting"
        self.offer: SdpView | None = None
        self.answer: SdpView | None = None
        self.audio = RunAudio(folder)
        self.call_id: str | None = None
        self.failure: str | None = None
        self.ended: str | None = None  # why the call is over, once it is
        self.trouble: str | None = None  # what is wrong with the recording, while the call goes on
        self._owner = os.getpid()
        self._id = call_id()
        self._engine = engine
        self._out = Outbox(engine, self._id, endpoint.dialect)
        self._started = started
        self._config = config
        self._sound = LiveSound(self._id, self._out.send, started)
        self._cut = False  # listeners are to be told that the reply was cut
        self._conversation = Conversation(
            endpoint.dialect,
            cancels=endpoint.shape.cancels,
            filtered=endpoint.shape.filtered,
            listening=lambda: self._sound.listening,
        )
        self._files = TurnFiles(folder, lambda text: self._out.send(m.Note(self._id, text)))
        self._tools: dict[str, Tool | Json] = {tool_name(t): t for t in tools}
        self._reached: dict[str, float] = {}
        self._http: dict[str, float] = {}
        self._stats: dict[int, Json] = {}
        self._closed: m.Closed | None = None
        self._offered: str | None = None
        self._over: list[tuple[TurnState, Callable[[], None]]] = []
        self._limits = Limits(max_duration, idle_close)
        self._meters = {"sent": Meter(), "heard": Meter()}
        self._play = 0
        engine.register(self._id, self._on_message)

    # --- connecting -------------------------------------------------------------------------------

    def _connect(
        self, key: EphemeralKey | None, ice_servers: Sequence[Json], timeout: float
    ) -> None:
        """Go through all phases; the session is open and configured afterwards."""
        deadline = time.monotonic() + timeout
        self._engine.send(
            m.Open(
                self._id,
                self._started,
                str(self.folder),
                loopback=self.endpoint.is_loopback,
                ice_servers=tuple(ice_servers),
                channel_label=self.endpoint.shape.label,
                framing=self.endpoint.shape.framing,
            )
        )
        answer = signal(
            self.endpoint,
            lambda: self._offer(deadline),
            key,
            self._config,
            self._http,
            deadline=deadline,
        )
        self.call_id = answer.call_id
        self.answer = SdpView(answer, "answer")
        self._out.largest = max_message_size(answer)
        self._engine.send(m.Answer(self._id, str(answer)))
        with self.changed:
            self._until(lambda: "channel" in self._reached, deadline, "the data channel")
            self.state = "open"
            if not self.endpoint.shape.filtered:
                self._wait(lambda: bool(self._conversation.session), _HELLO)
        self._configure()
        self._reached["configured"] = self._now()

    def _offer(self, deadline: float) -> str:
        with self.changed:
            self._until(lambda: self._offered is not None, deadline, "the media process's offer")
            assert self._offered is not None
            return self._offered

    def _configure(self) -> None:
        """Send the whole configuration but the model, which only signaling can choose.

        An empty change changes nothing, and is acknowledged all the same.
        """
        change = {k: v for k, v in self._config.items() if k not in ("model", "type")}
        self.update(change, timeout=_GRACE if self._conversation.session else _SHORT)

    def _until(self, ready: Callable[[], bool], deadline: float, what: str) -> None:
        if not self._wait(ready, deadline - time.monotonic()):
            raise CallError(f"{what[0].upper()}{what[1:]} did not come in time; try again.")
        if self._closed is not None:
            raise closed_error(self._closed, self.endpoint)

    def _wait(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Wait for a fact, or for the end of the call; `changed` is held."""
        deadline = time.monotonic() + timeout
        while not ready() and self._closed is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.changed.wait(min(left, 0.25))
        return True

    def update(self, change: Json, *, timeout: float = _GRACE) -> None:
        """Change the session (API: ``session.update``, GA form) and wait for the acknowledgement.

        Parameters
        ----------
        change
            Only what changes, e.g. ``{"instructions": "Be brief."}``.
        timeout
            Seconds of grace; a server that never acknowledges is gone on with, and one that filters
            events is not waited for.

        Raises
        ------
        ServiceError
            The service refused the change.
        """
        with self.changed:
            self._check_open()
            event_id, effect = self._conversation.update_session(self._typed(change))
            self._act([effect])
            known = self._conversation
            if self.endpoint.shape.filtered:
                return
            if not known.session:  # it has never said anything of the session
                timeout = min(timeout, _HELLO)
            self._wait(lambda: event_id in known.acknowledged or event_id in known.refused, timeout)
            if event_id in known.refused:
                raise service_error(known.refused[event_id], "The service refused session.update")

    # --- what arrives -----------------------------------------------------------------------------

    def _on_message(self, message: m.Message) -> None:
        # not under the lock: what is attached has locks of its own, and may be slow
        if isinstance(message, m.AudioHeard):
            return self._sound.take(message)
        if isinstance(message, m.Closed):
            self._sound.close()
        with self.changed:
            self._act(self._take(message))
            self.changed.notify_all()
            cut, self._cut = self._cut, False
        if cut:
            self._sound.take(None)

    def _take(self, message: m.Message) -> list[Effect]:
        talk = self._conversation
        match message:
            case m.EventArrived():
                event = self._logged(message.text, message.time, "received")
                self._cut |= event.type == "output_audio_buffer.cleared"
                return talk.received(event)
            case m.EventSent():
                event = self._logged(message.text, message.time, "sent")
                if (asking := talk.request_of(event)) is not None:
                    self._files.request(asking, event)
                return talk.sent(event)
            case m.AudioWritten():
                self._meters["sent"].take(message.sent, message.end)
                self._meters["heard"].take(message.heard, message.end)
                self._note_trouble(message.failure)
                self._check_limits(message.end)
                return talk.heard(message.end, message.heard)
            case m.PlayStarted():
                talk.play_started(message.play, message.time)
            case m.PlayEnded():
                return talk.play_ended(message.play, message.time, cancelled=message.cancelled)
            case m.StateChanged():
                self._reached[message.phase] = message.time
            case m.Offered():
                self._offered = message.sdp
                self.offer = SdpView(message.sdp, "offer")
            case m.Stats():
                self._stats[message.request] = message.values
            case m.Closed():
                return self._on_closed(message)
        return []

    def _logged(self, text: str, at: float, direction: Any) -> Event:
        event = Event(text, time=at, direction=direction)
        event.type = self.endpoint.dialect.normalised(event.type)
        self.events.append(event)
        return event

    def _on_closed(self, closed: m.Closed) -> list[Effect]:
        self._closed = closed = why_closed(closed, self._conversation.errors)
        self.state = "closed"
        if closed.kind != "closed":
            self.failure = str(closed_error(closed, self.endpoint))
            threading.Thread(target=self._hang_up, name="rtnb-hang-up", daemon=True).start()
        leave(self)
        at = closed.time if closed.time >= 0 else self._now()
        self.ended = self.failure or f"The call is over: {closed.reason.rstrip('.')}."
        return self._conversation.closed(at, self.ended)

    def _note_trouble(self, failure: str | None) -> None:
        if failure and self.trouble is None:
            self.trouble = failure
            logger.warning("%s", failure)

    def _check_limits(self, now: float) -> None:
        busy = any(turn.status == "in_progress" for turn in self.turns[-3:])
        speaking = self._sound.listening and self._meters["sent"].level > AUDIBLE_LEVEL
        reason = self._limits.passed(now, busy=busy or speaking)
        if reason is not None and self.state == "open":
            threading.Thread(target=self.close, args=(reason,), daemon=True).start()

    # --- what is to be done -----------------------------------------------------------------------

    def _act(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._out.send_event(effect.event)
                case RunTool():
                    self._start_tool(effect)
                case TurnBegun():
                    self._begun(effect.turn, None, [])
                case TurnOver():
                    self._finish_turn(effect.turn)

    def _start_tool(self, effect: RunTool) -> None:
        tool = self._tools.get(effect.call.name)
        if isinstance(tool, dict):  # a schema without a function: the user answers by hand
            self._conversation.leave_tool(effect.call, self._now())
            return
        # a daemon: a tool that hangs must not keep the interpreter from ending
        threading.Thread(
            target=self._run_tool, args=(effect, tool), name="rtnb-tool", daemon=True
        ).start()

    def _run_tool(self, effect: RunTool, tool: Tool | None) -> None:
        call = effect.call
        limit = max(self._out.largest - _AROUND_OUTPUT, 0)
        outcome = run_call(tool, call.name, call.arguments, limit=limit)
        output, error = outcome.output, outcome.error
        with self.changed:
            now = self._now()
            self._files.tool(call, now, output, error)
            done = self._conversation.tool_finished(
                effect.turn, call, now, output=output, error=error
            )
            self._act(done)
            self.changed.notify_all()

    def _begun(self, state: TurnState, clip: Clip | None, effects: list[Effect]) -> Turn:
        turn = Turn(state, self, prompt=clip)
        self.turns.append(turn)
        self._files.turn(state)
        self._act(effects)
        return turn

    def _finish_turn(self, state: TurnState) -> None:
        waiting = [callback for turn, callback in self._over if turn is state]
        self._over = [(turn, callback) for turn, callback in self._over if turn is not state]
        for callback in waiting:
            callback()
        self._files.over(next(t for t in self.turns if t._state is state), state)

    def _play_clip(self, state: TurnState, pcm: bytes, then: Sequence[Json]) -> None:
        self._play += 1
        play = f"play-{self._play}"
        self._conversation.play_queued(state, play)
        self._files.play(state, play, self._now())
        texts = tuple(self._out.encoded_event(event) for event in then)
        self._out.send(m.Play(self._id, play, pcm, texts, _COMMIT_AFTER))

    # --- the end ----------------------------------------------------------------------------------

    def close(self, reason: str = "closed by the user") -> None:
        """Hang up and finish the run; returns when both are done, or after 8 s. Idempotent."""
        if os.getpid() != self._owner:
            return  # a forked child has no business with its parent's call
        with self.changed:
            if self._closed is None and self.state != "closing":
                self.state = "closing"
                # while the run can still be written to
                self._act(self._conversation.closed(self._now(), f"The call is over: {reason}."))
                self._out.send(m.Note(self._id, json.dumps({"record": "closed", "reason": reason})))
            if self._closed is None and self._out.send(m.Close(self._id, reason)):
                self._wait(lambda: self._closed is not None, _CLOSE)
            self.state = "closed"
        self._sound.close()
        self._files.close()
        leave(self)
        self._hang_up()

    def _hang_up(self) -> None:
        """Tell the service by HTTP too: some count open calls, and may have heard no goodbye."""
        with self.changed:
            call, self.call_id = self.call_id, None
            gone = self._closed is not None and self._closed.kind == "peer_gone"
        keyed = self.endpoint.key is not None or not self.endpoint.shape.needs_key
        if call and keyed and not gone:
            with contextlib.suppress(RtnbError):
                self.endpoint.hang_up(call)

    def when_over(self, turn: TurnState, callback: Callable[[], None]) -> None:
        """Call back, from the engine's thread, when a turn is over."""
        with self.changed:
            if turn.status == "in_progress":
                self._over.append((turn, callback))
                return
        callback()

    def play_into(self, turn: TurnState, clip: Clip) -> None:
        """Play a clip as part of a push-to-talk turn; `Turn.play` calls it."""
        _, value = as_prompt(clip)
        assert isinstance(value, Clip)
        pcm = to_pcm(value)
        with self.changed:
            self._check_open()
            self._play_clip(turn, pcm, [])

    def stop_playing(self, turn: TurnState) -> None:
        """Stop what is played into a push-to-talk turn; `Turn.stop` calls it."""
        with self.changed:
            if turn.holding:
                for play, (_, end) in turn.plays.items():
                    if end is None:
                        self._out.send(m.Cancel(self._id, play))

    # --- small facts ------------------------------------------------------------------------------

    def _now(self) -> float:
        return round(time.monotonic() - self._started, 6)  # as it is written down

    def _typed(self, change: Json) -> Json:
        return {"type": "realtime", **change}

    def _check_open(self) -> None:
        if self._closed is not None:
            raise closed_error(self._closed, self.endpoint)
        if self.state in ("closing", "closed"):
            raise CallClosedError("The session is closed; call rtnb.connect again.")
