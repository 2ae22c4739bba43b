"""What was heard of the user, by item: whose turn it is, and in which words; it knows no responses."""

from __future__ import annotations

from collections.abc import Callable

from rtnb.dialects import Json, object_at, text_at
from rtnb.events import Event
from rtnb.turnstate import VOICE, TurnState
from rtnb.utterances import Utterances

__all__ = ["InputBook"]


class InputBook:
    """Utterances as their events tell of them.

    Parameters
    ----------
    utterances
        Finds the turn of an utterance, and begins one where a voice does.
    answers
        Returns whether turn detection makes a response to what it has committed.

    Attributes
    ----------
    owner : TurnState or None
        The turn that was heard last.
    manual_commits : int
        Commits of ours that the server has not told of yet.
    """

    def __init__(self, utterances: Utterances, answers: Callable[[], bool]):
        self.owner: TurnState | None = None
        self.manual_commits = 0
        self._utterances = utterances
        self._answers = answers
        self._items: dict[str, TurnState] = {}
        self._over: set[str] = set()  # items that were told to be spoken to the end
        self._awaited: set[str] = set()  # items that turn detection answers
        self._transcribed: set[str] = set()  # items whose words are complete

    @property
    def handlers(self) -> dict[str, Callable[[Json, Event], None]]:
        """Which event each method takes."""
        spoken = "conversation.item.input_audio_transcription"
        return {
            "input_audio_buffer.speech_started": self.speech_started,
            "input_audio_buffer.speech_stopped": self.speech_stopped,
            "input_audio_buffer.committed": self.committed,
            "input_audio_buffer.cleared": self.forgotten,
            "conversation.item.added": self.added,
            f"{spoken}.delta": self.transcription,
            f"{spoken}.completed": self.transcription,
            f"{spoken}.failed": self.transcription,
        }

    def speech_started(self, data: Json, event: Event) -> None:
        """Take ``input_audio_buffer.speech_started``."""
        turn = self._utterances.started(event.time)
        if turn is not None:
            item = str(data.get("item_id"))
            turn.speaking = True
            turn.touched = event.time
            self._items[item] = turn
            self._over.discard(item)

    def speech_stopped(self, data: Json, event: Event) -> None:
        """Take ``input_audio_buffer.speech_stopped``; its commit follows, or is filtered."""
        item = str(data.get("item_id"))
        turn = self._owner(item, event.time) or self._utterances.untold(event.time)
        if turn is not None:
            self._items[item] = turn
            self._end(item, turn, event.time)
            turn.touched = event.time
            self._await_response(item, turn)

    def committed(self, data: Json, event: Event) -> None:
        """Take ``input_audio_buffer.committed``."""
        item = str(data.get("item_id"))
        turn = self._owner(item, event.time) or self._unheard(event.time)
        if turn is None:
            return
        self._items[item] = turn
        self._end(item, turn, event.time)
        turn.committed = turn.touched = event.time
        self.owner = turn
        if self.manual_commits:
            self.manual_commits -= 1
        else:
            self._await_response(item, turn)

    def added(self, data: Json, event: Event) -> None:
        """Take ``conversation.item.added``: all that tells of a commit where that is filtered."""
        item, content = text_at(data, "item", "id"), object_at(data, "item").get("content")
        parts = content if isinstance(content, list) else []
        if not any(text_at(part, "type") == "input_audio" for part in parts):
            return
        turn = self._owner(item, event.time) or self._unheard(event.time)
        if turn is not None:
            self._items[item] = turn
            self._end(item, turn, event.time)
            turn.committed = event.time

    def forgotten(self, data: Json, event: Event) -> None:
        """Take note that the service listens anew: of what was being said, no end may be told."""
        turn = self._utterances.last
        if turn is not None and turn.kind == VOICE and turn.voice_open:
            turn.speaking = False
            turn.end_voice(event.time)
            turn.touched = event.time

    def _owner(self, item: str, time: float) -> TurnState | None:
        """Return the turn of an item that is known."""
        turn = self._items.get(item)
        if turn is None or item in self._over:
            return turn
        return self._utterances.ended(turn, time)

    def _unheard(self, time: float) -> TurnState | None:
        """Return the turn of an item whose speech was not told of: ours by hand, or filtered."""
        if self.manual_commits:
            return self._utterances.last
        return self._utterances.untold(time)

    def _end(self, item: str, turn: TurnState, time: float) -> None:
        """Take note that an item is spoken to the end; another one may have begun already."""
        if item not in self._over:
            self._over.add(item)
            turn.speaking = False
            turn.end_voice(time)

    def transcription(self, data: Json, event: Event) -> None:
        """Take an event of the input's transcription; it may come at any time."""
        item = str(data.get("item_id"))
        turn = self._items.get(item)
        if turn is None:
            return
        if event.type.endswith(".failed"):
            error = object_at(data, "error")
            turn.transcription_error = (
                text_at(error, "message") or text_at(error, "code") or "failed"
            )
        elif event.type.endswith(".completed"):
            self._transcribed.add(item)
            turn.transcripts[item] = text_at(data, "transcript")
        elif item not in self._transcribed:  # else it has come late
            turn.transcripts[item] = turn.transcripts.get(item, "") + text_at(data, "delta")

    def _await_response(self, item: str, turn: TurnState) -> None:
        if item not in self._awaited and self._answers():
            self._awaited.add(item)
            self.owner = turn
            turn.awaiting += 1
