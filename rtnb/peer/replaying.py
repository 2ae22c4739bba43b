"""A conversation that answers with what a saved run recorded, without I/O; it must not know files.

It has the methods of `rtnb.peer.conversation.Conversation`. Each thing that the client does takes up
the next recorded part, if that part was begun by the same kind of thing: speech, a commit, or a
``response.create`` after a message, after a tool's output, or after neither. What the user says in it
is not compared. Where nothing fits, a response fails and says why; nothing is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from rtnb.dialects import Json
from rtnb.peer.checks import Problem, missing
from rtnb.peer.conversation import LIFETIME
from rtnb.peer.inputbuffer import S16, InputBuffer, SpeechStarted
from rtnb.peer.outputs import Command, HangUp, Outbox, new_id
from rtnb.peer.recordedparts import Cue, Part, asked
from rtnb.peer.recordedrun import RecordedRun
from rtnb.peer.refusals import Refusing, handler_for
from rtnb.peer.replayeditems import ReplayedItems
from rtnb.peer.replayedreplies import STOPPED, TRANSCRIPTION, ReplayedReplies
from rtnb.peer.replayedresponse import misfit
from rtnb.peer.reply import Rendered
from rtnb.peer.settings import changed, response_settings
from rtnb.peer.wireaudio import decoded

__all__ = ["ReplayedConversation"]

_SHORTEST_COMMIT_MS: Final = 100
_STARTED: Final = "input_audio_buffer.speech_started"
_ENDS: Final = ("completed", "failed")


@dataclass
class _Speech:
    """The user is speaking: into the recorded part that it takes up, if it fits one."""

    item_id: str
    part: Part | None


class ReplayedConversation(Refusing):
    """One call to the replay of a saved run; each call begins at its beginning.

    Parameters
    ----------
    run
        What is replayed.
    session
        The effective session object of this call, with its id.
    clock
        Seconds, monotonic.
    reply_after, transcribed_after
        Seconds by which replies and transcriptions come later than recorded.
    transcription_fails
        Every transcription fails.
    lifetime
        Seconds that the session lasts.
    """

    def __init__(
        self,
        run: RecordedRun,
        session: Json,
        *,
        clock: Callable[[], float],
        reply_after: float = 0.0,
        transcribed_after: float = 0.0,
        transcription_fails: bool = False,
        lifetime: float = LIFETIME,
    ):
        self.session = run.session_in(session)
        self._run = run
        self._clock = clock
        self._lifetime = lifetime
        self._ends = clock() + lifetime
        self._out = Outbox()
        self._items = ReplayedItems(self._out, run.client_items)
        self._input = InputBuffer(self._turn_detection)
        self._next = 0  # the recorded part that is to be taken up
        self._speech: _Speech | None = None
        self._transcription_fails = transcription_fails
        self._replies = ReplayedReplies(
            run,
            self._out,
            self._items,
            clock,
            reply_after=reply_after,
            transcribed_after=transcribed_after,
        )
        self._opened = False

    @property
    def _turn_detection(self) -> Json | None:
        found: Json | None = self.session["audio"]["input"]["turn_detection"]
        return found

    # --- what happens to it -----------------------------------------------------------------------

    def opened(self) -> list[Command]:
        """Begin: the data channel is open."""
        # a caller may open more than one channel, and an event's id is there once
        again = {"event_id": new_id("event")} if self._opened else {}
        self._replies.emit(self._run.created, session=self.session, **again)
        if not self._opened:
            self._opened = True
            self._begin(self._run.opening)
        return self._take()

    def hear(self, samples: S16) -> list[Command]:
        """Take the next samples of the user's audio: s16 mono 48,000 Hz."""
        self._hear(samples)
        return self._take()

    def receive(self, event: Json, *, unknown: Collection[str] = ()) -> list[Command]:
        """Take a client event, in GA names; `unknown` types are refused: a server lacks them."""
        try:
            handler_for(_HANDLERS, event, unknown)(self, event)
        except Problem as problem:
            self._refuse(problem, event.get("event_id"))
        return self._take()

    def answered(self, response_id: str, rendered: Rendered) -> list[Command]:
        """Do nothing: no voice is asked."""
        return []

    def sound_started(self, response_id: str) -> list[Command]:
        """Take note that the first packet of a response's sound has left."""
        self._replies.sound_started(response_id)
        return self._take()

    def sound_ended(self, response_id: str) -> list[Command]:
        """Take note that the last packet of a response's sound has left."""
        self._replies.sound_ended(response_id)
        return self._take()

    def sound_cut(self, response_id: str, played_ms: int, reason: str) -> list[Command]:
        """Take note that a sound was stopped as asked, after that much of it had left."""
        self._replies.sound_cut(response_id, played_ms, reason)
        return self._take()

    # --- time -------------------------------------------------------------------------------------

    def due(self) -> float:
        """When `tick` is to be called next."""
        return min(self._replies.due(), self._ends)

    def tick(self) -> list[Command]:
        """Do what is due."""
        if self._clock() >= self._ends:
            self._ends = float("inf")
            minutes = f"{self._lifetime / 60:g} minutes"
            message = f"Your session hit the maximum duration of {minutes}."
            self._refuse(Problem(message, None, "session_expired"), None)
            self._out.command(HangUp("the session hit its maximum duration"))
        return self._take()

    def _take(self) -> list[Command]:
        """Send what has become due, and return all that is to be done."""
        self._replies.tick()
        return self._out.take()

    # --- the record -------------------------------------------------------------------------------

    def _taken(self, cue: Cue) -> Part | None:
        """Take up the next recorded part, if it was begun by that."""
        parts = self._run.parts
        if not self._answers or self._next == len(parts) or parts[self._next].cue != cue:
            return None
        self._next += 1
        return parts[self._next - 1]

    def _begin(self, part: Part) -> None:
        self._replies.begin(part, transcribed=self._as_transcribed)

    def _fail(self, cue: Cue, settings: Json) -> None:
        """Answer what does not fit the record."""
        upcoming = self._run.parts[self._next :]
        self._replies.fail(settings, misfit(upcoming[0].cue if upcoming else None, cue))

    # --- the user's audio -------------------------------------------------------------------------

    def _hear(self, samples: S16) -> None:
        for decision in self._input.push(samples):
            if isinstance(decision, SpeechStarted):
                self._speech_started(decision.start_ms)
            elif self._speech is not None:
                self._speech_stopped(decision.end_ms)

    def _speech_started(self, start_ms: int) -> None:
        part = self._taken("speech")
        item_id = part.item_id if part and part.item_id else new_id("item")
        self._speech = _Speech(item_id, part)
        recorded = part.started[1] if part and part.started else {"type": _STARTED}
        self._replies.emit(recorded, audio_start_ms=start_ms, item_id=item_id)
        if part is not None:
            self._replies.begin_during(part, transcribed=self._as_transcribed)
        if (self._turn_detection or {}).get("interrupt_response"):
            self._replies.interrupt()

    def _speech_stopped(self, end_ms: int) -> None:
        assert self._speech is not None
        speech, self._speech = self._speech, None
        recorded = None if speech.part is None else speech.part.first(STOPPED)
        stopped = recorded or {"type": STOPPED}
        self._replies.emit(stopped, audio_end_ms=end_ms, item_id=speech.item_id)
        self._committed(speech)
        wanted = (self._turn_detection or {}).get("create_response") and self._answers
        if speech.part is None and wanted:
            self._fail("speech", response_settings(self.session, None))

    def _committed(self, speech: _Speech) -> None:
        """Go on with the part that the user's audio takes up; it is told where there is none."""
        self._input.clear()
        if speech.part is None:
            self._items.add_audio(speech.item_id)
        else:
            self._begin(speech.part)
        said = speech.part and any(speech.part.first(f"{TRANSCRIPTION}.{end}") for end in _ENDS)
        fails = self._transcription_fails
        if self._transcribes and (fails or not said):
            self._replies.untranscribed(speech.item_id, speech.part, on_request=fails)

    @property
    def _answers(self) -> bool:
        """Whether there can be responses: a transcription session has none, and no record fits it."""
        return bool(self.session["type"] == "realtime")

    @property
    def _transcribes(self) -> bool:
        return self.session["audio"]["input"]["transcription"] is not None

    @property
    def _as_transcribed(self) -> bool:
        """Whether the recorded transcriptions are sent."""
        return self._transcribes and not self._transcription_fails

    # --- client events ----------------------------------------------------------------------------

    def _session_update(self, event: Json) -> None:
        if event.get("session") is None:
            raise missing("session")
        replies = self._replies
        responding = replies.active() is not None
        session = changed(
            self.session, event["session"], spoken=replies.spoken, responding=responding
        )
        turn_detection = session["audio"]["input"]["turn_detection"]
        if turn_detection != self._turn_detection:
            self._input.configure(turn_detection)
            self._speech = None
        self.session = session
        self._out.event("session.updated", session=self.session)

    def _input_commit(self, event: Json) -> None:
        duration = self._input.duration_ms
        if duration < _SHORTEST_COMMIT_MS:
            raise Problem(
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{_SHORTEST_COMMIT_MS}ms of audio, but buffer only has {duration}ms of audio.",
                None,
                "input_audio_buffer_commit_empty",
            )
        speech, self._speech = self._speech, None
        if speech is None:
            part = self._taken("commit")
            speech = _Speech(part.item_id if part and part.item_id else new_id("item"), part)
        self._committed(speech)

    def _input_clear(self, event: Json) -> None:
        self._input.clear()
        self._out.event("input_audio_buffer.cleared")

    def _input_append(self, event: Json) -> None:
        form = self.session["audio"]["input"]["format"]
        self._hear(decoded(event.get("audio"), form, "audio"))

    def _response_create(self, event: Json) -> None:
        settings = response_settings(self.session, event.get("response"))
        active = self._replies.active()
        if settings["conversation"] != "none" and active is not None:
            raise Problem(
                f"Conversation already has an active response in progress: {active}. "
                "Wait until the response is finished before creating a new one.",
                None,
                "conversation_already_has_active_response",
            )
        cue = asked(event.get("response"), self._items.made)
        part = self._taken(cue)
        if part is None:
            self._fail(cue, settings)
        else:
            self._begin(part)

    def _response_cancel(self, event: Json) -> None:
        self._replies.cancel(event.get("response_id"))

    def _output_clear(self, event: Json) -> None:
        self._replies.silence()

    # --- items ------------------------------------------------------------------------------------

    def _item_create(self, event: Json) -> None:
        self._items.create(event, self.session["audio"]["input"]["format"])

    def _item_retrieve(self, event: Json) -> None:
        self._items.retrieve(event, self.session["audio"])


_HANDLERS: Final[dict[str, Callable[[ReplayedConversation, Json], None]]] = {
    "session.update": ReplayedConversation._session_update,
    "conversation.item.create": ReplayedConversation._item_create,
    "conversation.item.retrieve": ReplayedConversation._item_retrieve,
    "conversation.item.delete": lambda self, event: self._items.delete(event),
    "conversation.item.truncate": lambda self, event: self._items.truncate(event),
    "input_audio_buffer.append": ReplayedConversation._input_append,
    "input_audio_buffer.commit": ReplayedConversation._input_commit,
    "input_audio_buffer.clear": ReplayedConversation._input_clear,
    "output_audio_buffer.clear": ReplayedConversation._output_clear,
    "response.create": ReplayedConversation._response_create,
    "response.cancel": ReplayedConversation._response_cancel,
}
