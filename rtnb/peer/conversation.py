"""The state of one conversation, without I/O: events and samples in, what to do out.

It must not know sockets, tracks or tasks. Time comes from the `clock` it is given; whoever runs it
calls `tick` when `due` says so. Events are in GA names throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rtnb.dialects import Json
from rtnb.peer.inputbuffer import S16, InputBuffer, SpeechStarted
from rtnb.peer.items import Item, Items, asked, item_from_client
from rtnb.peer.outputs import Command, HangUp, Hush, Outbox, new_id
from rtnb.peer.responses import Response
from rtnb.peer.settings import Problem, changed, response_settings
from rtnb.peer.transcription import transcription_events
from rtnb.peer.usage import RATE_LIMITS, Tokens, text_tokens
from rtnb.peer.voices import Heard, Voice, greeting

__all__ = ["LIFETIME", "Conversation"]

LIFETIME: Final = 3600.0  # seconds that a session may last
_SHORTEST_COMMIT_MS: Final = 100
_TRANSCRIBED_AFTER: Final = 0.1  # seconds; transcription runs beside the response
_PER_MS: Final = 48


@dataclass
class _Sound:
    """A response's sound that is queued or playing."""

    item: Item
    started: bool = False


class Conversation:
    """One session's state.

    Parameters
    ----------
    session
        The effective session object, with its id.
    voice
        What it says.
    recognise
        From samples to the name of a bundled prompt, or None.
    clock
        Seconds, monotonic.
    reply_after
        Seconds from the end of the user's speech to the beginning of an answer.
    """

    def __init__(
        self,
        session: Json,
        *,
        voice: Voice,
        recognise: Callable[[S16], str | None],
        clock: Callable[[], float],
        reply_after: float = 0.0,
    ):
        self.session = session
        self._voice = voice
        self._recognise = recognise
        self._clock = clock
        self._reply_after = reply_after
        self._id = new_id("conv")
        self._out = Outbox()
        self._items = Items()
        self._input = InputBuffer(self._turn_detection)
        self._speech_item: str | None = None
        self._responses: list[Response] = []  # in progress
        self._sounds: dict[str, _Sound] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._wanted = False  # a response is to be created when the active one is done
        self._spoken = False
        self._before = Tokens()
        self._ends = clock() + LIFETIME

    @property
    def _turn_detection(self) -> Json | None:
        found: Json | None = self.session["audio"]["input"]["turn_detection"]
        return found

    # --- what happens to it -----------------------------------------------------------------------

    def opened(self) -> list[Command]:
        """Begin: the data channel is open."""
        self._out.event("session.created", session=self.session)
        return self._out.take()

    def hear(self, samples: S16) -> list[Command]:
        """Take the next samples of the user's audio: s16 mono 48,000 Hz."""
        for decision in self._input.push(samples):
            if isinstance(decision, SpeechStarted):
                self._speech_started(decision.start_ms)
            elif self._speech_item is not None:
                stopped = {"audio_end_ms": decision.end_ms, "item_id": self._speech_item}
                self._out.event("input_audio_buffer.speech_stopped", **stopped)
                self._commit()
                if (self._turn_detection or {}).get("create_response"):
                    self._respond_to_speech()
        return self._out.take()

    def receive(self, event: Json) -> list[Command]:
        """Take a client event, in GA names."""
        handler = _HANDLERS.get(str(event.get("type")))
        try:
            if handler is None:
                message = f"Invalid value: {event.get('type')!r}. This is no client event."
                raise Problem(message, "type")
            handler(self, event)
        except Problem as problem:
            self._refuse(problem, event.get("event_id"))
        return self._out.take()

    def unreadable(self, event_id: object = None) -> list[Command]:
        """Take note of a frame that is not a JSON object with a type; it may have an id."""
        problem = Problem("The message is not a JSON object with a type.", None, "invalid_event")
        self._refuse(problem, event_id)
        return self._out.take()

    def failed(self, event_id: object) -> list[Command]:
        """Say that something could not be handled: a mistake of the peer."""
        problem = Problem("The peer failed; its log says why.", None, "server_error")
        self._refuse(problem, event_id, "server_error")
        return self._out.take()

    def too_large(self, type: str, event_id: object) -> list[Command]:
        """Say that an event cannot be sent: the client takes no message of its size."""
        message = f"The event {type} is larger than the largest message that the client takes."
        self._refuse(Problem(message, None, "event_too_large"), event_id)
        return self._out.take()

    def sound_started(self, response_id: str) -> list[Command]:
        """Take note that the first packet of a response's sound has left."""
        if response_id in self._sounds:
            self._sounds[response_id].started = True
            self._out.event("output_audio_buffer.started", response_id=response_id)
        return self._out.take()

    def sound_ended(self, response_id: str) -> list[Command]:
        """Take note that the last packet of a response's sound has left."""
        if self._sounds.pop(response_id, None) is not None:
            self._out.event("output_audio_buffer.stopped", response_id=response_id)
        return self._out.take()

    def sound_cut(self, response_id: str, played_ms: int, reason: str) -> list[Command]:
        """Take note that a sound was stopped as asked, after that much of it had left."""
        sound = self._sounds.pop(response_id, None)
        if sound is None:
            return self._out.take()
        if sound.started:
            self._out.event("output_audio_buffer.cleared", response_id=response_id)
        for response in [r for r in self._responses if r.id == response_id]:
            self._cancel(response, reason)
        if sound.item in list(self._items):
            self._truncate(sound.item, played_ms)
        return self._out.take()

    # --- time -------------------------------------------------------------------------------------

    def due(self) -> float:
        """When `tick` is to be called next."""
        times = [time for time, _ in self._later]
        times += [t for t in (r.due() for r in self._responses) if t is not None]
        return min([*times, self._ends])

    def tick(self) -> list[Command]:
        """Do what is due."""
        now = self._clock()
        for entry in [e for e in self._later if e[0] <= now]:
            self._later.remove(entry)
            entry[1]()
        for response in list(self._responses):
            response.tick(now)
            if response.status != "in_progress":
                self._response_done(response)
        if now >= self._ends:
            self._ends = float("inf")
            minutes = f"{LIFETIME / 60:.0f} minutes"
            message = f"Your session hit the maximum duration of {minutes}."
            self._refuse(Problem(message, None, "session_expired"), None)
            self._out.command(HangUp("the session hit its maximum duration"))
        return self._out.take()

    # --- the user's audio -------------------------------------------------------------------------

    def _speech_started(self, start_ms: int) -> None:
        self._speech_item = new_id("item")
        started = {"audio_start_ms": start_ms, "item_id": self._speech_item}
        self._out.event("input_audio_buffer.speech_started", **started)
        if (self._turn_detection or {}).get("interrupt_response"):
            self._wanted = False
            self._silence(self._sounds, "turn_detected")

    def _silence(self, sounding: Any, reason: str) -> None:
        """Stop sounds; a response whose sound is stopped is cancelled with it, in `sound_cut`."""
        silent = [r for r in self._responses if r.conversation_id and r.id not in self._sounds]
        for response in silent:
            self._cancel(response, reason)
        if sounding:
            self._out.command(Hush(tuple(sounding), reason))

    def _commit(self) -> None:
        samples = self._input.take()
        heard = Heard(samples, self._recognise(samples))
        content = [{"type": "input_audio", "transcript": None}]
        item_id, self._speech_item = self._speech_item or new_id("item"), None
        head = {"id": item_id, "object": "realtime.item", "type": "message", "status": "completed"}
        item = Item({**head, "role": "user", "content": content}, heard)
        committed = {"item_id": item_id, "previous_item_id": self._items.last_id()}
        self._out.event("input_audio_buffer.committed", **committed)
        self._add(item)
        wanted = self.session["audio"]["input"]["transcription"]
        if wanted is not None:
            time = self._clock() + _TRANSCRIBED_AFTER
            self._later.append((time, lambda: self._transcribe(item, heard, wanted)))

    def _transcribe(self, item: Item, heard: Heard, wanted: Json) -> None:
        for event in transcription_events(item.id, heard, wanted):
            self._out.event(**event)
        if heard.text is not None:
            item.json["content"] = [{"type": "input_audio", "transcript": heard.text}]

    def _add(self, item: Item, after: str | None = None) -> None:
        previous = self._items.add(item, after)
        for step in ("added", "done"):
            name = f"conversation.item.{step}"
            self._out.event(name, item=dict(item.json), previous_item_id=previous)

    # --- responses --------------------------------------------------------------------------------

    def _active(self) -> Response | None:
        return next((r for r in self._responses if r.conversation_id), None)

    def _respond_to_speech(self) -> None:
        if self._active() is not None:
            self._wanted = True  # one at a time: it follows when the active one is done
        else:
            self._respond(None)

    def _respond(self, change: object) -> None:
        settings = response_settings(self.session, change)
        inside = settings["conversation"] != "none"
        active = self._active()
        if inside and active is not None:
            raise Problem(
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one.",
                None,
                "conversation_already_has_active_response",
            )
        going_by = self._items.referred(settings["input"], self._recognise)
        question = asked(going_by, settings)
        reply = greeting() if question is None else self._voice(question)
        given = sum((i.tokens() for i in going_by), text_tokens(settings["instructions"]))
        response = Response(
            self._out,
            settings,
            reply,
            conversation_id=self._id if inside else None,
            given=given,
            before=self._before,
            on_item=lambda item: self._output_item(response, item),
        )
        self._before = given
        self._responses.append(response)
        response.start(self._clock(), self._reply_after)
        response.tick(self._clock())

    def _output_item(self, response: Response, json: Json) -> None:
        """Announce an output item that was added or is done."""
        if json["status"] == "in_progress":
            spoken = json["type"] == "message" and response.speaks
            item = Item(json, spoken_ms=len(response.reply.pcm) // 2 // _PER_MS if spoken else 0)
            if spoken:
                self._spoken = True
                self._sounds[response.id] = _Sound(item)
            if response.conversation_id:
                previous = self._items.add(item)
                added = {"item": dict(json), "previous_item_id": previous}
                self._out.event("conversation.item.added", **added)
        elif response.conversation_id and json["id"] in [i.id for i in self._items]:
            previous = self._items.before(self._items.find(json["id"]))
            self._out.event("conversation.item.done", item=dict(json), previous_item_id=previous)

    def _cancel(self, response: Response, reason: str) -> None:
        response.cancel(reason)
        self._response_done(response)

    def _response_done(self, response: Response) -> None:
        self._responses.remove(response)
        self._out.event("rate_limits.updated", rate_limits=RATE_LIMITS)
        if self._wanted and self._active() is None:
            self._wanted = False
            self._respond(None)

    def _truncate(self, item: Item, end_ms: int) -> None:
        item.spoken_ms = end_ms
        # nobody knows where in the words the sound was cut; a new list, as events share the old one
        parts = item.json["content"]
        item.json["content"] = [{k: v for k, v in p.items() if k != "transcript"} for p in parts]
        self._out.event(
            "conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=end_ms
        )

    # --- client events ----------------------------------------------------------------------------

    def _refuse(
        self, problem: Problem, event_id: object, kind: str = "invalid_request_error"
    ) -> None:
        error = {
            "type": kind,
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
            "event_id": event_id if isinstance(event_id, str) else None,
        }
        self._out.event("error", error=error)

    def _session_update(self, event: Json) -> None:
        session = changed(self.session, event.get("session"), spoken=self._spoken)
        turn_detection = session["audio"]["input"]["turn_detection"]
        if turn_detection != self._turn_detection:
            self._input.configure(turn_detection)
            self._speech_item = None
        self.session = session
        self._out.event("session.updated", session=self.session)

    def _item_create(self, event: Json) -> None:
        item = item_from_client(event.get("item"), self._recognise)
        if item.id in [i.id for i in self._items]:
            raise Problem(f"There is an item with the id {item.id!r} already.", "item.id")
        after = event.get("previous_item_id")
        if after not in (None, "root"):
            self._items.find(after)
        self._add(item, after)

    def _item_retrieve(self, event: Json) -> None:
        item = self._items.find(event.get("item_id"))
        self._out.event("conversation.item.retrieved", item=item.with_audio())

    def _item_delete(self, event: Json) -> None:
        item = self._items.find(event.get("item_id"))
        self._items.remove(item)
        self._out.event("conversation.item.deleted", item_id=item.id)

    def _item_truncate(self, event: Json) -> None:
        item = self._items.find(event.get("item_id"))
        end_ms = event.get("audio_end_ms")
        if not item.spoken_ms:
            raise Problem("Only an assistant's audio can be truncated.", "item_id")
        if not isinstance(end_ms, int) or not 0 <= end_ms <= item.spoken_ms:
            message = f"Audio content of {item.spoken_ms}ms is already shorter than {end_ms}ms."
            raise Problem(message, "audio_end_ms")
        self._truncate(item, end_ms)

    def _input_commit(self, event: Json) -> None:
        duration = self._input.duration_ms
        if duration < _SHORTEST_COMMIT_MS:
            raise Problem(
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{_SHORTEST_COMMIT_MS}ms of audio, but buffer only has {duration}ms of audio.",
                None,
                "input_audio_buffer_commit_empty",
            )
        self._commit()

    def _input_clear(self, event: Json) -> None:
        self._input.clear()
        self._out.event("input_audio_buffer.cleared")

    def _input_append(self, event: Json) -> None:
        raise Problem("On WebRTC the audio track fills the input audio buffer.", "type")

    def _response_create(self, event: Json) -> None:
        self._respond(event.get("response"))

    def _response_cancel(self, event: Json) -> None:
        wanted = event.get("response_id")
        found = [r for r in self._responses if wanted in (None, r.id)]
        if not found:
            message = "Cancellation failed: no active response found."
            raise Problem(message, None, "response_cancel_not_active")
        self._wanted = False
        self._cancel(found[0], "client_cancelled")

    def _output_clear(self, event: Json) -> None:
        if self._sounds:
            self._out.command(Hush(tuple(self._sounds), "client_cancelled"))


_HANDLERS: Final[dict[str, Callable[[Conversation, Json], None]]] = {
    "session.update": Conversation._session_update,
    "conversation.item.create": Conversation._item_create,
    "conversation.item.retrieve": Conversation._item_retrieve,
    "conversation.item.delete": Conversation._item_delete,
    "conversation.item.truncate": Conversation._item_truncate,
    "input_audio_buffer.append": Conversation._input_append,
    "input_audio_buffer.commit": Conversation._input_commit,
    "input_audio_buffer.clear": Conversation._input_clear,
    "output_audio_buffer.clear": Conversation._output_clear,
    "response.create": Conversation._response_create,
    "response.cancel": Conversation._response_cancel,
}
