"""What was heard of the user, by item: whose turn it is, and in which words; it knows no responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtnb.dialects import Json, object_at, text_at
from rtnb.events import Event
from rtnb.turnstate import TurnState

__all__ = ["InputBook"]


class InputBook:
    """Utterances as their events tell of them.

    Parameters
    ----------
    turns
        The conversation's turns; the list grows.
    answers
        Returns whether turn detection makes a response to what it has committed.

    Attributes
    ----------
    owner : TurnState or None
        The turn that was heard last.
    manual_commits : int
        Commits of ours that the server has not told of yet.
    """

    def __init__(self, turns: Sequence[TurnState], answers: Callable[[], bool]):
        self.owner: TurnState | None = None
        self.manual_commits = 0
        self._turns = turns
        self._answers = answers
        self._items: dict[str, TurnState] = {}
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
            "conversation.item.added": self.added,
            f"{spoken}.delta": self.transcription,
            f"{spoken}.completed": self.transcription,
            f"{spoken}.failed": self.transcription,
        }

    def speech_started(self, data: Json, event: Event) -> None:
        """Take ``input_audio_buffer.speech_started``."""
        turn = self._speaker()
        if turn is not None:
            turn.speaking = True
            turn.touched = event.time
            self._items[str(data.get("item_id"))] = turn

    def speech_stopped(self, data: Json, event: Event) -> None:
        """Take ``input_audio_buffer.speech_stopped``; its commit follows, or is filtered."""
        item = str(data.get("item_id"))
        turn = self._items.get(item) or self._speaker()
        if turn is not None:
            turn.speaking = False
            turn.touched = event.time
            self._await_response(item, turn)

    def committed(self, data: Json, event: Event) -> None:
        """Take ``input_audio_buffer.committed``."""
        item = str(data.get("item_id"))
        turn = self._items.get(item) or self._speaker()
        if turn is None:
            return
        self._items[item] = turn
        turn.speaking = False
        turn.touched = event.time
        self.owner = turn
        if self.manual_commits:
            self.manual_commits -= 1
        else:
            self._await_response(item, turn)

    def added(self, data: Json, event: Event) -> None:
        """Take ``conversation.item.added``: all that tells of a commit where that is filtered."""
        item, content = text_at(data, "item", "id"), object_at(data, "item").get("content")
        parts = content if isinstance(content, list) else []
        spoken = any(text_at(part, "type") == "input_audio" for part in parts)
        if spoken and item not in self._items and (turn := self._speaker()) is not None:
            self._items[item] = turn

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

    def _speaker(self) -> TurnState | None:
        """Return the turn whose audio is being heard: the last one that has begun to play."""
        spoken = (
            t for t in reversed(self._turns) if t.kind != "text" and t.play_started is not None
        )
        return next(spoken, None)
