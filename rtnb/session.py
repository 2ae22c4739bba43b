"""`connect` and `Session`: a facade over conversation, engine, tools and run; it keeps no turn state.

Everything that arrives is handled on the engine's thread under one lock, and everything that waits
waits for `changed`, so a cell can be interrupted at any time and the session stays usable.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rtnb import _html
from rtnb import messages as m
from rtnb.audio import Clip
from rtnb.configuration import UNSET, Unset, as_tools, session_object
from rtnb.connecting import closed_error, find_endpoint, phases, signal, write_run_info
from rtnb.conversation import Conversation, Effect, RunTool, Send, TurnOver
from rtnb.dialects import Json
from rtnb.engine import Engine, call_id, shared_engine
from rtnb.errors import CallClosedError, CallError, ConfigurationError, RtnbError, ServiceError
from rtnb.events import Event, EventLog
from rtnb.prompts import as_prompt, to_pcm
from rtnb.registry import enroll, leave
from rtnb.runaudio import RunAudio
from rtnb.runfiles import create_run_folder
from rtnb.runs import copy_run
from rtnb.sdp import SdpView, max_message_size
from rtnb.signaling import Endpoint, EphemeralKey
from rtnb.tools import Tool
from rtnb.turnfiles import TurnFiles
from rtnb.turns import Turn
from rtnb.turnstate import TurnState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Session", "connect"]

_GRACE: Final = 5.0  # seconds that session.created and session.updated are waited for
_CLOSE: Final = 8.0  # seconds that close() may take
_COMMIT_AFTER: Final = 0.2  # seconds from the last sample to input_audio_buffer.commit

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """One connected conversation. Use `connect` to make one.

    Attributes
    ----------
    events : EventLog
        Both directions of the data channel.
    turns : list of Turn
        In order.
    folder : pathlib.Path
        The run folder, written live.
    endpoint : Endpoint
        Where the call goes.
    phases : dict
        Seconds for mint, sdp, ice, dtls, channel, and total.
    offer, answer : SdpView
        By m-section, ICE passwords masked.
    state : str
        ``"connecting"``, ``"open"`` or ``"closed"``.
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
        self.turns: list[Turn] = []
        self.changed = threading.Condition(threading.RLock())
        self.state = "connecting"
        self.offer: SdpView | None = None
        self.answer: SdpView | None = None
        self.audio = RunAudio(folder)
        self.call_id: str | None = None
        self.failure: str | None = None
        self._id = call_id()
        self._engine = engine
        self._started = started
        self._config = config
        self._conversation = Conversation(endpoint.dialect)
        self._files = TurnFiles(folder, lambda text: self._try_send(m.Note(self._id, text)))
        self._tools: dict[str, Tool | Json] = {_tool_name(t): t for t in tools}
        self._reached: dict[str, float] = {}
        self._http: dict[str, float] = {}
        self._stats: dict[int, Json] = {}
        self._closed: m.Closed | None = None
        self._offered: str | None = None
        self._largest = 65_536
        self._over: list[tuple[TurnState, Callable[[], None]]] = []
        self._max_duration = max_duration
        self._idle_close = idle_close
        self._active_at = 0.0
        self._play = 0
        engine.register(self._id, self._on_message)

    # --- speaking ---------------------------------------------------------------------------------

    def send(self, prompt: Clip | str | os.PathLike[str]) -> Turn:
        """Say something, and return its `Turn` at once.

        Parameters
        ----------
        prompt
            A `Clip` or a path is audio, played in real time; a str is text.

        Raises
        ------
        AudioError, ConfigurationError
            The prompt cannot be used; nothing was sent.
        CallClosedError
            The call is over.
        """
        name, value = as_prompt(prompt)
        with self.changed:
            self._check_open()
            if isinstance(value, str):
                state, effects = self._conversation.begin_turn(self._now(), "text", text=value)
                return self._begun(state, None, effects)
            state, effects = self._conversation.begin_turn(self._now(), "audio", name=name)
            turn = self._begun(state, value, effects)
            by_hand = self._detection_off()
            self._play_clip(state, value, self._conversation.commit_events(state) if by_hand else [])
            return turn

    def ask(self, prompt: Clip | str | os.PathLike[str], *, timeout: float | None = 60.0) -> Turn:
        """Say something and wait until the answer has been heard: ``send(prompt).wait(timeout)``."""
        return self.send(prompt).wait(timeout)

    @contextlib.contextmanager
    def push_to_talk(self) -> Iterator[Turn]:
        """Hold a turn open: turn detection off on entry; commit, response, restored on exit.

        The commit leaves 200 ms after the last sample. Within it, `Turn.play` adds clips.
        """
        before = self._detection()
        self.update({"audio": {"input": {"turn_detection": None}}})
        with self.changed:
            self._check_open()
            if self._conversation.speaking:
                self._act(self._conversation.interrupt())
            state, effects = self._conversation.begin_turn(self._now(), "push_to_talk")
            clear: Json = {"type": "input_audio_buffer.clear"}
            turn = self._begun(state, None, [*effects, Send(clear)])
        try:
            yield turn
        finally:
            with self.changed:
                then = self._conversation.commit_events(state)
                if before is not None:
                    restore = {"audio": {"input": {"turn_detection": before}}}
                    then.append(self._conversation.update_session(self._typed(restore))[1].event)
                if self._closed is None:
                    # an empty clip queues behind the others: its end is theirs
                    self._play_clip(state, Clip.silence(0), then)

    def play_into(self, turn: TurnState, clip: Clip) -> None:
        """Play a clip as part of a push-to-talk turn; `Turn.play` calls it."""
        _, value = as_prompt(clip)
        assert isinstance(value, Clip)
        with self.changed:
            self._check_open()
            self._play_clip(turn, value, [])

    def interrupt(self, *, timeout: float = 5.0) -> None:
        """Stop the reply: cancel the response, clear its sound, and wait until the turn is over."""
        with self.changed:
            self._check_open()
            current = [turn for turn in self.turns if turn.status == "in_progress"]
            self._try_send(m.Cancel(self._id))
            if any(turn._state.responses or turn._state.pending for turn in current):
                self._act(self._conversation.interrupt())
        for turn in current:
            turn.wait(timeout)

    def send_event(self, event: Json) -> str:
        """Send an event of your own (in the server's dialect), and return its ``event_id``."""
        with self.changed:
            self._check_open()
            identified = self._conversation.identified(event)
            self._send_text(identified)
            return str(identified["event_id"])

    def update(self, change: Json, *, timeout: float = _GRACE) -> None:
        """Change the session (API: ``session.update``, GA form) and wait for the acknowledgement.

        Parameters
        ----------
        change
            Only what changes, e.g. ``{"instructions": "Be brief."}``.
        timeout
            Seconds of grace; a server that never acknowledges is gone on with.

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
            self._wait(lambda: event_id in known.acknowledged or event_id in known.refused, timeout)
            if event_id in known.refused:
                raise _service_error(known.refused[event_id], "The service refused session.update")

    def tool(self, function: F) -> F:
        """Offer a Python function to the model; its schema comes from signature and docstring.

        It runs in a thread of its own when called. What it raises goes back to the model as an
        error result, and into the turn.
        """
        tool = Tool(function)
        with self.changed:
            self._tools[tool.name] = tool
        self.update({"tools": [_schema(t) for t in self._tools.values()], "tool_choice": "auto"})
        return function

    # --- looking ----------------------------------------------------------------------------------

    @property
    def phases(self) -> dict[str, float]:
        """Seconds for mint, sdp, ice, dtls and channel, and in total until configured."""
        return phases(self._reached, self._http)

    @property
    def model(self) -> str | None:
        """The model, as the server says, or as asked for."""
        return self._conversation.session.get("model") or self._config.get("model")

    @property
    def voice(self) -> str | None:
        """The voice, as the server says, or as asked for."""
        for session in (self._conversation.session, self._config):
            voice = session.get("audio", {}).get("output", {}).get("voice")
            if voice:
                return str(voice)
        return None

    @property
    def sent(self) -> Clip:
        """Everything we sent so far, 48,000 Hz, from 0 of the call's clock."""
        return self.audio.clip("sent")

    @property
    def heard(self) -> Clip:
        """Everything we heard so far, 48,000 Hz, from 0 of the call's clock."""
        return self.audio.clip("heard")

    def stats(self, *, timeout: float = 2.0) -> Json:
        """Return the call's counters: packets, losses, late packets, worst lag, fallbacks in use."""
        with self.changed:
            if self._closed is None:
                request = len(self._stats) + 1
                self._try_send(m.StatsWanted(self._id, request))
                self._wait(lambda: request in self._stats, timeout)
            return dict(self._stats[max(self._stats)]) if self._stats else {}

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Copy the run to a folder of your own, and return it."""
        self._files.flush()
        return copy_run(self.folder, folder)

    def when_over(self, turn: TurnState, callback: Callable[[], None]) -> None:
        """Call back, from the engine's thread, when a turn is over."""
        with self.changed:
            if turn.status == "in_progress":
                self._over.append((turn, callback))
                return
        callback()

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw both waveforms and the event lanes on one time axis; see `rtnb.plots.timeline`."""
        from rtnb import plots

        return plots.timeline(self, ax=ax, **kwargs)

    def __repr__(self) -> str:
        duration = self.audio.duration
        why = f" ({self.failure})" if self.failure else ""
        return (
            f"<Session {self.state}{why}: {self.model or 'default model'} at "
            f"{self.endpoint.base_url}, {len(self.turns)} turns, {duration:.1f} s, "
            f"run {self.folder.name}>"
        )

    def _repr_html_(self) -> str:
        pairs = [
            ("state", _html.text(f"{self.state} {self.failure or ''}")),
            ("endpoint", _html.text(self.endpoint.base_url)),
            ("model, voice", _html.text(f"{self.model}, {self.voice}")),
            ("turns", str(len(self.turns))),
            ("recorded", f"{self.audio.duration:.1f} s"),
            ("phases", _html.text(self.phases)),
            ("run", _html.text(self.folder)),
        ]
        return _html.definitions("Session", pairs)

    # --- the end ----------------------------------------------------------------------------------

    def close(self, reason: str = "closed by the user") -> None:
        """Hang up and finish the run; returns when both are done, or after 8 s. Idempotent."""
        with self.changed:
            if self._closed is None and self.state != "closing":
                self.state = "closing"
                self._try_send(m.Note(self._id, json.dumps({"record": "closed", "reason": reason})))
                self._try_send(m.Close(self._id, reason))
            self._wait(lambda: self._closed is not None, _CLOSE)
            hang_up, self.call_id = self.call_id, None
            self.state = "closed"
        self._files.close()
        leave(self)
        if hang_up and self.endpoint.key is not None and not self.failure:
            # the other side heard DTLS close; this is for services that count open calls
            with contextlib.suppress(RtnbError):
                self.endpoint.hang_up(hang_up)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            )
        )
        answer = signal(
            self.endpoint, lambda: self._offer(deadline), key, self._config, self._http
        )
        self.call_id = answer.call_id
        self.answer = SdpView(answer, "answer")
        self._largest = max_message_size(answer)
        self._engine.send(m.Answer(self._id, str(answer)))
        with self.changed:
            self._until(lambda: "channel" in self._reached, deadline, "the data channel")
            self.state = "open"
            self._wait(lambda: bool(self._conversation.session), _GRACE)
        self._configure()
        self._reached["configured"] = self._now()

    def _offer(self, deadline: float) -> str:
        with self.changed:
            self._until(lambda: self._offered is not None, deadline, "the media process's offer")
            assert self._offered is not None
            return self._offered

    def _configure(self) -> None:
        """Send the whole configuration but the model, which only minting can choose."""
        change = {k: v for k, v in self._config.items() if k not in ("model", "type")}
        if not change:
            change = {"output_modalities": ["audio"]}
        self.update(change)

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

    # --- what arrives -----------------------------------------------------------------------------

    def _on_message(self, message: m.Message) -> None:
        with self.changed:
            self._act(self._take(message))
            self.changed.notify_all()

    def _take(self, message: m.Message) -> list[Effect]:
        talk = self._conversation
        match message:
            case m.EventArrived():
                event = self._logged(message.text, message.time, "received")
                return talk.received(event)
            case m.EventSent():
                talk.sent(self._logged(message.text, message.time, "sent"))
            case m.AudioWritten():
                self._check_limits(message.end)
                return talk.heard(message.end, message.heard)
            case m.PlayStarted():
                talk.play_started(message.play, message.time)
            case m.PlayEnded():
                talk.play_ended(message.play, message.time, cancelled=message.cancelled)
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
        self._closed = closed
        self.state = "closed"
        if closed.kind != "closed":
            self.failure = str(closed_error(closed, self.endpoint))
        at = closed.time if closed.time >= 0 else self._now()
        return self._conversation.closed(at, self.failure or f"The call is over: {closed.reason}.")

    def _check_limits(self, now: float) -> None:
        busy = any(turn.status == "in_progress" for turn in self.turns[-3:])
        self._active_at = now if busy else self._active_at
        reason = None
        if self._max_duration is not None and now > self._max_duration:
            reason = f"max_duration of {self._max_duration:g} s reached"
        elif self._idle_close is not None and now - self._active_at > self._idle_close:
            reason = f"idle for {self._idle_close:g} s (idle_close)"
        if reason is not None and self.state == "open":
            threading.Thread(target=self.close, args=(reason,), daemon=True).start()

    # --- what is to be done -----------------------------------------------------------------------

    def _act(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send_text(self.endpoint.dialect.event_to_wire(effect.event))
                case RunTool():
                    self._start_tool(effect)
                case TurnOver():
                    self._finish_turn(effect.turn)

    def _send_text(self, event: Json) -> None:
        self._try_send(m.SendEvent(self._id, self._encoded(event)))

    def _encoded(self, event: Json) -> str:
        text = json.dumps(event, ensure_ascii=False)
        if len(text.encode()) > self._largest:
            raise ConfigurationError(
                f"An event of {len(text.encode())} bytes is too large for this server, which takes "
                f"{self._largest}; send less at a time."
            )
        return text

    def _try_send(self, message: m.Message) -> None:
        """Send to the media process; if it has died, `Closed` is on its way and says so."""
        with contextlib.suppress(CallError):
            self._engine.send(message)

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
        if tool is None:
            output, error = json.dumps({"error": f"no tool {call.name}"}), "no such tool"
        else:
            outcome = tool.run(call.arguments)
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
        self._files.over(next(t for t in self.turns if t._state is state), state)
        waiting = [callback for turn, callback in self._over if turn is state]
        self._over = [(turn, callback) for turn, callback in self._over if turn is not state]
        for callback in waiting:
            callback()

    def _play_clip(self, state: TurnState, clip: Clip, then: Sequence[Json]) -> None:
        self._play += 1
        play = f"play-{self._play}"
        self._conversation.play_queued(state, play)
        self._files.play(state, play, self._now())
        wire = self.endpoint.dialect.event_to_wire
        texts = tuple(self._encoded(wire(event)) for event in then)
        self._try_send(m.Play(self._id, play, to_pcm(clip), texts, _COMMIT_AFTER))

    # --- small facts ------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _typed(self, change: Json) -> Json:
        return {"type": "realtime", **change}

    def _detection(self) -> Json | None:
        """Return the turn detection in force; the service's default where nobody has said."""
        default: Json = {"type": "server_vad"}
        for session in (self._conversation.session, self._config):
            heard = session.get("audio", {}).get("input", {})
            if "turn_detection" in heard:
                found: Json | None = heard["turn_detection"]
                return found
        return default

    def _detection_off(self) -> bool:
        return self._detection() is None

    def _check_open(self) -> None:
        if self._closed is not None:
            raise closed_error(self._closed, self.endpoint)
        if self.state in ("closing", "closed"):
            raise CallClosedError("The session is closed; call rtnb.connect again.")


def connect(
    endpoint: Any = None,
    *,
    # the session
    model: str | None = None,
    voice: str | None = None,
    instructions: str | None = None,
    modalities: Iterable[str] | None = None,
    tools: Iterable[Callable[..., Any] | Json] = (),
    turn_detection: str | Json | None | Unset = UNSET,
    transcription: bool | str | Json | None = None,
    # the endpoint
    api_key: str | None = None,
    ephemeral_key: EphemeralKey | str | None = None,
    base_url: str | None = None,
    ice_servers: Sequence[Json] = (),
    # the run
    record_to: str | os.PathLike[str] | None = None,
    # limits, in seconds; None for none
    timeout: float = 30.0,
    max_duration: float | None = 3600.0,
    idle_close: float | None = 900.0,
    # escape hatch
    engine: Engine | None = None,
) -> Session:
    """Place a call, and return when its channel is open and its configuration acknowledged.

    Parameters
    ----------
    endpoint
        An `rtnb.Peer`, an `rtnb.Endpoint` or a base URL; None is OpenAI.
    model, voice, instructions, modalities
        What the session object is to hold; None leaves it to the service. ``["text"]`` for text.
    tools
        Functions (see `Session.tool`), or schemas whose calls you answer yourself.
    turn_detection
        ``"server_vad"``, ``"semantic_vad"``, a dict, or None for turns by hand.
    transcription
        True, a model's name or a dict, to have what was said transcribed (it costs extra).
    api_key
        A standard key. If None: the environment's ``OPENAI_API_KEY``, then Colab's secrets.
    ephemeral_key
        A key minted elsewhere, instead of a standard one.
    base_url
        Another server that speaks like OpenAI.
    ice_servers
        STUN and TURN servers as dicts (``urls``, ``username``, ``credential``); none by default.
    record_to
        The run folder; a fresh one under the system's temporary directory by default.
    timeout
        Seconds until the channel must be open.
    max_duration
        Seconds after which the call is closed.
    idle_close
        Seconds without a turn after which the call is closed.
    engine
        The media host to use; None shares one media process among all sessions.

    Raises
    ------
    ConfigurationError, SignalingError, CallError
        One of their kinds; the call is hung up then.
    """
    started = time.monotonic()
    offered = as_tools(tools)
    config = session_object(
        model=model,
        voice=voice,
        instructions=instructions,
        modalities=modalities,
        turn_detection=turn_detection,
        transcription=transcription,
        tools=offered,
    )
    key = EphemeralKey(ephemeral_key) if isinstance(ephemeral_key, str) else ephemeral_key
    place = find_endpoint(endpoint, api_key=api_key, base_url=base_url, needs_key=key is None)
    if engine is None:
        engine = shared_engine()  # starts while the key is minted
    session = Session(
        place,
        engine,
        folder=create_run_folder(record_to),
        started=started,
        config=config,
        tools=offered,
        max_duration=max_duration,
        idle_close=idle_close,
    )
    write_run_info(session.folder, place, config, session._id)
    enroll(session)
    try:
        session._connect(key, ice_servers, timeout)
    except BaseException:  # an interrupt too must not leave a call open
        session.close("connecting failed")
        raise
    return session


def _tool_name(tool: Tool | Json) -> str:
    return tool.name if isinstance(tool, Tool) else str(tool.get("name"))


def _schema(tool: Tool | Json) -> Json:
    return tool.schema if isinstance(tool, Tool) else tool


def _service_error(event: Event, what: str) -> ServiceError:
    error = event.data.get("error") or {}
    said = error.get("message") or error.get("code") or "it gave no reason"
    return ServiceError(f"{what}: {said}", code=error.get("code"), event_id=error.get("event_id"))
