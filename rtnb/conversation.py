"""The state of one conversation, sans-I/O: events in, state and effects out; it knows no wire.

It is order-tolerant: transcripts may come after the answer, ids may be new, unknown events pass by,
and servers that filter events are understood by what they do send and by the sound itself.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence

from rtnb.dialects import GA, Dialect, Json, object_at, text_at
from rtnb.effects import Effect, RunTool, Send, TurnBegun, TurnOver
from rtnb.events import Event
from rtnb.inputbook import InputBook
from rtnb.requestbook import RequestBook
from rtnb.responsebook import ResponseBook
from rtnb.toolruns import new_calls
from rtnb.turnover import OpenTurns, Sound
from rtnb.turnstate import Status, ToolCall, TurnState
from rtnb.utterances import Utterances

__all__ = ["Conversation", "Effect", "RunTool", "Send", "TurnBegun", "TurnOver"]


class Conversation:
    """The turns, responses and tool calls of one session.

    Parameters
    ----------
    dialect
        How the server names things.
    cancels
        Whether the server stops a reply when it is told to.
    filtered
        Whether the server tells neither the beginning nor the end of a response.
    listening
        Returns whether a microphone is attached: speech that no prompt has caused then begins a turn.

    Attributes
    ----------
    turns : list of TurnState
        In order.
    session : dict
        The session as the server last described it, in GA form.
    detection : dict or None
        The turn detection that is, or is about to be, in force; None for turns by hand.
    errors : list of Event
        ``error`` events that no turn of ours had caused.
    malformed : list of Event
        Events of a known type whose shape could not be understood.
    acknowledged : set of str
        Ids of our session.update events that were acknowledged.
    refused : dict
        Ids of our events to the ``error`` event that they caused.
    """

    def __init__(
        self,
        dialect: Dialect = GA,
        *,
        cancels: bool = True,
        filtered: bool = False,
        listening: Callable[[], bool] = lambda: False,
    ):
        self.turns: list[TurnState] = []
        self.session: Json = {}
        self.detection: Json | None = {"type": "server_vad"}  # the service's default
        self.errors: list[Event] = []
        self.malformed: list[Event] = []
        self.acknowledged: set[str] = set()
        self.refused: dict[str, Event] = {}
        self._dialect = dialect
        self._cancels = cancels
        self._ids = itertools.count(1)
        self._responses = ResponseBook(self._answered_turn, filtered=filtered)
        self._utterances = Utterances(self.turns, listening)
        self._input = InputBook(self._utterances, self._creates_responses)
        self._sent_ids: dict[str, TurnState | None] = {}
        self._updates: deque[str] = deque()
        self._requests = RequestBook()
        self._sound = Sound()
        self._open = OpenTurns(self.turns)
        self._played_for: dict[str, TurnState] = {}  # id of a playing to its turn
        self._handlers = _handlers(self)

    # --- what we do -------------------------------------------------------------------------------

    def begin_turn(
        self, time: float, kind: str, *, text: str | None = None, name: str | None = None
    ) -> tuple[TurnState, list[Effect]]:
        """Begin a turn; a text turn is sent at once."""
        turn = TurnState(len(self.turns) + 1, kind, time, name=name, text=text, touched=time)
        turn.holding = kind == "push_to_talk"
        self.turns.append(turn)
        effects: list[Effect] = []
        if kind == "text":
            content = [{"type": "input_text", "text": text}]
            item = {"type": "message", "role": "user", "content": content}
            effects.append(self._send({"type": "conversation.item.create", "item": item}, turn))
            effects += self.request_response(turn)
        return turn, effects

    def update_session(self, change: Json) -> tuple[str, Send]:
        """Return (event_id, effect) of a session.update; see `acknowledged` and `refused`."""
        effect = self._send({"type": "session.update", "session": change}, None)
        event_id = effect.event["event_id"]
        self._updates.append(event_id)
        self._note_detection(change)
        return event_id, effect

    @property
    def by_hand(self) -> bool:
        """Whether a clip that is played now, after all others, has to be committed by hand."""
        restored = any(turn.restore is not None and not turn.holding for turn in self.turns)
        return self.detection is None and not restored

    def commit_events(self, turn: TurnState) -> list[Json]:
        """Return the events that end a turn by hand: commit, then response.create."""
        turn.holding = False
        turn.pending += 1
        commit = self._send({"type": "input_audio_buffer.commit"}, turn).event
        create = self._send({"type": "response.create"}, turn).event
        self._requests.ask(create["event_id"], turn)
        self._input.manual_commits += 1
        return [commit, create]

    def abandon(self, turn: TurnState, time: float) -> list[Effect]:
        """End a turn that is not to be answered: what was said is thrown away."""
        turn.holding = False
        self._requests.drop_waiting(turn)
        self._sound.reach(time)
        effects: list[Effect] = []
        if not turn.responses:
            effects.append(self._send({"type": "input_audio_buffer.clear"}, None))
        return [*effects, *self._finish(turn, "cancelled"), *self._restore(turn)]

    def _restore(self, turn: TurnState) -> list[Effect]:
        """Turn turn detection on again after push-to-talk, once."""
        detection, turn.restore = turn.restore, None
        if detection is None:
            return []
        change = {"audio": {"input": {"turn_detection": detection}}}
        return [self.update_session({"type": "realtime", **change})[1]]

    def drop_unanswered(self, time: float) -> list[Effect]:
        """End the turns that wait for a response, or for a tool: no answer is wanted."""
        effects: list[Effect] = []
        for turn in self.turns:
            waits = not turn.responses or any(call.ended is None for call in turn.tool_calls)
            if turn.status == "in_progress" and waits and not turn.holding:
                effects += self.abandon(turn, time)
        return effects

    def request_response(self, turn: TurnState, response: Json | None = None) -> list[Effect]:
        """Ask for a response when none is active; only one is asked for at a time."""
        turn.pending += 1
        self._requests.wait(turn, response or {})
        return self._next_request()

    @property
    def speaking(self) -> bool:
        """Whether a response is being made or heard."""
        return self._responses.unfinished or self._responses.sounding

    def interrupt(self) -> list[Effect]:
        """Stop what is being said: cancel the active response, clear the output audio buffer.

        Where the server cannot be told, the turns that are being answered are over all the same.
        """
        effects: list[Effect] = []
        if not self._cancels:
            for turn in self.turns:
                if turn.status == "in_progress" and turn.responses and not turn.holding:
                    effects += self.abandon(turn, self._sound.now)
            return effects
        self._responses.stop(self._sound.now)
        if self._responses.unfinished:
            effects.append(self._send({"type": "response.cancel"}, None))
        effects.append(self._send({"type": "output_audio_buffer.clear"}, None))
        return effects

    def tool_finished(
        self, turn: TurnState, call: ToolCall, time: float, *, output: str, error: str | None = None
    ) -> list[Effect]:
        """Report a tool's result; when all calls of the turn have one, a response is asked for."""
        call.output, call.error, call.ended = output, error, time
        turn.touched = time
        item = {"type": "function_call_output", "call_id": call.call_id, "output": output}
        effects: list[Effect] = [
            self._send({"type": "conversation.item.create", "item": item}, turn)
        ]
        if turn.status == "in_progress" and all(c.ended is not None for c in turn.tool_calls):
            effects += self.request_response(turn)
        return effects

    def leave_tool(self, call: ToolCall, time: float) -> None:
        """Leave a tool call to the user, who answers it with events of their own."""
        call.ended = time

    def identified(self, event: Json) -> Json:
        """Return a client event with an ``event_id``, its own if it has one."""
        return event if event.get("event_id") else {**event, "event_id": f"rtnb_{next(self._ids)}"}

    def _send(self, event: Json, turn: TurnState | None) -> Send:
        identified = self.identified(event)
        self._sent_ids[identified["event_id"]] = turn
        return Send(identified)

    def _next_request(self) -> list[Effect]:
        waiting = None if self._responses.active else self._requests.next_waiting()
        if waiting is None:
            return []
        turn, response = waiting
        event: Json = {"type": "response.create"}
        if response:
            event["response"] = response
        effect = self._send(event, turn)
        self._requests.ask(effect.event["event_id"], turn)
        return [effect]

    # --- what happens -----------------------------------------------------------------------------

    def asked(self, turn: TurnState, event_id: str) -> None:
        """Take note, when a saved run is read, of which turn a ``response.create`` was for."""
        self._sent_ids[event_id] = turn
        turn.pending += 1
        self._requests.ask(event_id, turn)

    def request_of(self, event: Event) -> TurnState | None:
        """Return the turn that a ``response.create`` of ours was for."""
        if event.type != "response.create":
            return None
        return self._sent_ids.get(str(event.data.get("event_id")))

    def sent(self, event: Event) -> list[Effect]:
        """Take note of an event that went out; those of the user's own making are followed too."""
        self._sound.reach(event.time)
        if event.type not in ("input_audio_buffer.commit", "response.create"):
            return []  # nothing of it is looked at, so it is not parsed
        event_id = str(event.data.get("event_id"))
        turn = self._sent_ids.get(event_id)
        ours = event_id in self._sent_ids
        if event.type == "input_audio_buffer.commit":
            self._utterances.let_go(event.time)
            self._input.manual_commits += not ours
            return self._restore(turn) if turn is not None else []
        if event.type == "response.create":
            if not ours:
                turn = self._asking_by_hand(event_id)
            if turn is not None:
                turn.requested = turn.touched = event.time
        return []

    def _asking_by_hand(self, event_id: str) -> TurnState | None:
        """Follow a request of the user's own making: it is the open turn's, or nobody's."""
        last = self.turns[-1] if self.turns else None
        turn = last if last is not None and last.status == "in_progress" else None
        if turn is not None:
            turn.pending += 1
        self._requests.ask(event_id, turn)
        return turn

    def received(self, event: Event) -> list[Effect]:
        """Take an event from the server; unknown types change nothing."""
        self._sound.reach(event.time)
        handler = self._handlers.get(event.type)
        effects: list[Effect] = []
        try:
            if handler is not None:
                data = event.data
                handler = self._handlers.get(event.type)  # known for sure once the data is read
                effects = (handler(data, event) if handler is not None else None) or []
        except (AttributeError, TypeError, ValueError):
            self.malformed.append(event)  # a known type in a shape that is not
        return [*self._utterances.taken(), *effects, *self._settle()]

    def play_queued(self, turn: TurnState, play: str) -> None:
        """Take note that a clip of the turn is on its way to the track."""
        turn.plays[play] = (None, None)
        self._played_for[play] = turn

    def play_started(self, play: str, time: float) -> None:
        """Take note that the first packet of a playing has left."""
        turn = self._played_for.get(play)
        if turn is not None:
            turn.plays[play] = (time, None)
            turn.touched = time

    def play_ended(self, play: str, time: float, *, cancelled: bool = False) -> list[Effect]:
        """Take note that the last sample of a playing has left, or that it was cut."""
        effects: list[Effect] = []
        turn = self._played_for.get(play)
        if turn is not None:
            start = turn.plays[play][0]
            turn.plays[play] = (time if start is None else start, time)
            turn.touched = time
            # the commit and the request that would have followed are not sent
            if cancelled and not turn.holding:
                self._input.manual_commits -= self._requests.withdraw(turn)
                effects += self._restore(turn)
        return [*effects, *self._next_request()]

    def heard(self, end: float, levels: Sequence[float], step: float = 0.02) -> list[Effect]:
        """Take the levels of what was heard up to `end`, in dBFS, one a `step` of seconds."""
        self._sound.heard(end, levels, step)
        return self._settle()

    def closed(self, time: float, reason: str) -> list[Effect]:
        """End every turn that is still open: the call is over."""
        self._sound.reach(time)
        effects: list[Effect] = []
        for turn in self.turns:
            if turn.status == "in_progress":
                turn.error = turn.error or reason
                effects += self._finish(turn, "incomplete" if turn.responses else "failed")
        return effects

    # --- events, one method each; `_handlers` says which ------------------------------------------

    def _on_session(self, data: Json, event: Event) -> list[Effect]:
        described, place = object_at(data, "session"), ("audio", "input", "turn_detection")
        before = object_at(self.session, *place)
        self.session = self._dialect.session_from_wire(described) if described else self.session
        if event.type == "session.updated" and self._updates:
            self.acknowledged.add(self._updates.popleft())
        if not self._updates:  # else another change of ours is on its way
            self._note_detection(self.session)
        if object_at(self.session, *place) != before:
            self._input.forgotten(data, event)
        return []

    def _note_detection(self, session: Json) -> None:
        detection = object_at(session, "audio", "input").get("turn_detection", self.detection)
        if detection is None or isinstance(detection, dict):
            self.detection = detection

    def _on_error(self, data: Json, event: Event) -> list[Effect]:
        error = object_at(data, "error")
        cause = text_at(error, "event_id")
        if cause:
            self.refused[cause] = event
        if cause in self._updates:
            self._updates.remove(cause)
            self._note_detection(self.session)
        asked, turn = self._requests.refused(cause)
        turn = turn if asked else self._sent_ids.get(cause)
        if turn is None:
            self.errors.append(event)
            return []
        turn.touched = event.time
        if error.get("code") == "input_audio_buffer_commit_empty":
            self._input.manual_commits = max(self._input.manual_commits - 1, 0)
        if asked and error.get("code") == "conversation_already_has_active_response":
            self._requests.wait(turn, {}, first=True)
            return []
        turn.pending -= asked
        said = text_at(error, "message") or text_at(error, "code")
        turn.error = said or "the service gave no reason"
        return [*self._finish(turn, "failed"), *self._next_request()]

    def _creates_responses(self) -> bool:
        return bool((self.detection or {}).get("create_response", True))

    def _answered_turn(self) -> TurnState | None:
        """Return the turn a new response belongs to: who asked first, else who was heard last."""
        owner = self._input.owner or (self.turns[-1] if self.turns else None)
        # turn detection has committed before our request came: that one will be refused
        detected = owner is not None and owner.awaiting and owner.status == "in_progress"
        if self._requests.open and (not detected or self._requests.first is owner):
            return self._requests.answered()
        if owner is None or owner.status == "completed":
            return None  # the service speaks of its own accord, e.g. after an idle timeout
        if owner.status == "cancelled" and not owner.awaiting:
            return None
        owner.awaiting = max(owner.awaiting - 1, 0)
        return owner

    def _on_response_created(self, data: Json, event: Event) -> list[Effect]:
        turn = self._responses.created(data, event)
        unwanted = turn is not None and turn.status == "cancelled"
        return self.interrupt() if unwanted and self._cancels else []

    def _on_response_done(self, data: Json, event: Event) -> list[Effect]:
        turn = self._responses.done(data, event)
        described = object_at(data, "response")
        effects: list[Effect] = []
        if turn is not None and (text_at(described, "status") or "completed") == "completed":
            calls = new_calls(turn, described.get("output"), event.time)
            effects = [RunTool(turn, call) for call in calls]
        return [*effects, *self._next_request()]

    # --- when is a turn over? ---------------------------------------------------------------------

    def _settle(self) -> list[Effect]:
        effects: list[Effect] = []
        for turn, status in self._open.over(self._sound):
            effects += self._finish(turn, status)
            self._responses.give_up(turn)
            if turn.pending:
                self._requests.drop(turn)
            effects += self._next_request()
        return effects

    def _finish(self, turn: TurnState, status: Status) -> list[Effect]:
        if turn.status != "in_progress":
            return []
        turn.status = status
        turn.ended = self._sound.now
        turn.end_voice(turn.ended)
        failed = next((r.error for r in reversed(turn.responses) if r.status == "failed"), None)
        turn.error = turn.error or failed
        return [TurnOver(turn)]


_Handler = Callable[[Json, Event], list[Effect] | None]


def _handlers(c: Conversation) -> dict[str, _Handler]:
    """Return the table from GA event type to what is done with it."""
    return {
        **c._input.handlers,
        **c._responses.handlers,
        "session.created": c._on_session,
        "session.updated": c._on_session,
        "error": c._on_error,
        "response.created": c._on_response_created,
        "response.done": c._on_response_done,
    }
