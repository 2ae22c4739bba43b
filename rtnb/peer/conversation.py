"""The state of one conversation, without I/O: events and samples in, what to do out.

It must not know sockets, tracks or tasks. Time comes from the `clock` it is given; whoever runs it
calls `tick` when `due` says so. Events are in GA names throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from rtnb.dialects import Json
from rtnb.peer.checks import Problem, is_a, missing
from rtnb.peer.inputbuffer import S16
from rtnb.peer.itemevents import created, retrieved, truncation
from rtnb.peer.items import Item, Items
from rtnb.peer.listening import Listener, Listening
from rtnb.peer.outputs import Command, HangUp, Outbox, new_id
from rtnb.peer.refusals import Refusing, handler_for
from rtnb.peer.reply import Rendered
from rtnb.peer.responding import Responding
from rtnb.peer.settings import changed
from rtnb.peer.wireaudio import decoded

__all__ = ["LIFETIME", "TRANSCRIBED_AFTER", "Conversation"]

LIFETIME: Final = 3600.0  # seconds that a session may last
TRANSCRIBED_AFTER: Final = 0.1  # seconds; transcription runs beside the response


class Conversation(Refusing):
    """One session's state.

    Parameters
    ----------
    session
        The effective session object, with its id.
    recognise
        From samples to the name of a bundled prompt, or None.
    clock
        Seconds, monotonic.
    reply_after
        Seconds from the end of the user's speech to the beginning of an answer.
    transcribed_after
        Seconds from the end of the user's speech to its transcription.
    transcription_fails
        Every transcription fails.
    lifetime
        Seconds that the session lasts.
    """

    def __init__(
        self,
        session: Json,
        *,
        recognise: Callable[[S16], str | None],
        clock: Callable[[], float],
        reply_after: float = 0.0,
        transcribed_after: float = TRANSCRIBED_AFTER,
        transcription_fails: bool = False,
        lifetime: float = LIFETIME,
    ):
        self.session = session
        self._recognise = recognise
        self._clock = clock
        self._lifetime = lifetime
        self._ends = clock() + lifetime
        self._id = new_id("conv")
        self._out = Outbox()
        self._items = Items()
        self._listening = Listening(
            lambda: self.session,
            self._out,
            self._items,
            Listener(self._speech_started, self._turn_ended, self._add),
            recognise=recognise,
            clock=clock,
            transcribed_after=transcribed_after,
            transcription_fails=transcription_fails,
        )
        self._responding = Responding(
            lambda: self.session,
            self._out,
            self._items,
            self._id,
            recognise=recognise,
            clock=clock,
            reply_after=reply_after,
            busy=self._listening.not_idle,
            quiet=self._listening.idle,
        )

    # --- what happens to it -----------------------------------------------------------------------

    def opened(self) -> list[Command]:
        """Begin: the data channel is open."""
        self._out.event("session.created", session=self.session)
        if "temperature" in self.session:  # the old dialect
            conversation = {"id": self._id, "object": "realtime.conversation"}
            self._out.event("conversation.created", conversation=conversation)
        return self._out.take()

    def hear(self, samples: S16) -> list[Command]:
        """Take the next samples of the user's audio: s16 mono 48,000 Hz."""
        self._listening.hear(samples)
        return self._out.take()

    def receive(self, event: Json, *, unknown: Collection[str] = ()) -> list[Command]:
        """Take a client event, in GA names; `unknown` types are refused: a server lacks them."""
        try:
            handler_for(_HANDLERS, event, unknown)(self, event)
        except Problem as problem:
            self._refuse(problem, event.get("event_id"))
        return self._out.take()

    def answered(self, response_id: str, rendered: Rendered) -> list[Command]:
        """Take what the voice says in a response; one that is over says nothing any more."""
        self._responding.answered(response_id, rendered)
        return self._out.take()

    def sound_started(self, response_id: str) -> list[Command]:
        """Take note that the first packet of a response's sound has left."""
        self._responding.sound_started(response_id)
        return self._out.take()

    def sound_ended(self, response_id: str) -> list[Command]:
        """Take note that the last packet of a response's sound has left."""
        self._responding.sound_ended(response_id)
        return self._out.take()

    def sound_cut(self, response_id: str, played_ms: int, reason: str) -> list[Command]:
        """Take note that a sound was stopped as asked, after that much of it had left."""
        self._responding.sound_cut(response_id, played_ms, reason)
        return self._out.take()

    # --- time -------------------------------------------------------------------------------------

    def due(self) -> float:
        """When `tick` is to be called next."""
        return min(self._responding.due(), self._listening.due(), self._ends)

    def tick(self) -> list[Command]:
        """Do what is due."""
        now = self._clock()
        self._listening.tick(now)
        self._responding.tick(now)
        if now >= self._ends:
            self._ends = float("inf")
            minutes = f"{self._lifetime / 60:g} minutes"
            message = f"Your session hit the maximum duration of {minutes}."
            self._refuse(Problem(message, None, "session_expired"), None)
            self._out.command(HangUp("the session hit its maximum duration"))
        return self._out.take()

    # --- turns ------------------------------------------------------------------------------------

    def _speech_started(self) -> None:
        turn_detection = self.session["audio"]["input"]["turn_detection"] or {}
        if turn_detection.get("interrupt_response"):
            self._responding.interrupt()

    def _turn_ended(self, wanted: bool) -> None:
        if wanted:
            self._responding.create_or_wait()

    def _add(self, item: Item, after: str | None = None) -> None:
        previous = self._items.add(item, after)
        for step in ("added", "done"):
            name = f"conversation.item.{step}"
            self._out.event(name, item=dict(item.json), previous_item_id=previous)

    # --- client events ----------------------------------------------------------------------------

    def _session_update(self, event: Json) -> None:
        if event.get("session") is None:
            raise missing("session")
        before = self.session
        self.session = changed(
            before,
            event["session"],
            spoken=self._responding.spoken,
            responding=self._responding.active is not None,
        )
        paths = [s["audio"]["input"]["turn_detection"] for s in (before, self.session)]
        if paths[0] != paths[1]:
            try:
                self._listening.configure()
            except BaseException:
                self.session = before
                raise
        self._out.event("session.updated", session=self.session)

    def _item_create(self, event: Json) -> None:
        form = self.session["audio"]["input"]["format"]
        item, after = created(event, self._items, self._recognise, form)
        self._items.check_call_of(item)
        self._add(item, after)

    def _item_retrieve(self, event: Json) -> None:
        item = retrieved(event, self._items, self.session["audio"])
        self._out.event("conversation.item.retrieved", item=item)

    def _item_delete(self, event: Json) -> None:
        item = self._items.find(event.get("item_id"))
        self._items.remove(item)
        self._out.event("conversation.item.deleted", item_id=item.id)

    def _item_truncate(self, event: Json) -> None:
        self._responding.truncate(*truncation(event, self._items))

    def _input_commit(self, event: Json) -> None:
        self._listening.commit()

    def _input_clear(self, event: Json) -> None:
        self._listening.clear()

    def _input_append(self, event: Json) -> None:
        form = self.session["audio"]["input"]["format"]
        self._listening.hear(decoded(event.get("audio"), form, "audio"))

    def _response_create(self, event: Json) -> None:
        self._responding.create(event.get("response"))

    def _response_cancel(self, event: Json) -> None:
        if event.get("response_id") is not None:
            is_a(str)(event["response_id"], "response_id")
        self._responding.cancel(event.get("response_id"))

    def _output_clear(self, event: Json) -> None:
        self._responding.silence()


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
