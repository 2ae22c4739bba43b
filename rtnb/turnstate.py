"""What is known of turns, responses and tool calls, as plain values; it must not know how it came.

All times are seconds on the call's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["VOICE", "ResponseState", "Status", "ToolCall", "TurnState"]

VOICE: Final = "microphone"
"What is said live goes by this name: the kind of a turn that a voice began, and its playing."

Status = Literal["in_progress", "completed", "cancelled", "failed", "incomplete", "no_reply"]


@dataclass(slots=True)
class ToolCall:
    """One call of a tool by the model (an item of type ``function_call``).

    Attributes
    ----------
    call_id, name, arguments : str
        As the model gave them; `arguments` is its JSON text.
    output : str or None
        What went back to the model; None until then.
    error : str or None
        What went wrong, if anything did; it went back to the model as an error result.
    started, ended : float or None
        Seconds on the call's clock.
    """

    call_id: str
    name: str
    arguments: str
    started: float
    output: str | None = None
    error: str | None = None
    ended: float | None = None


@dataclass(slots=True)
class ResponseState:
    """One answer of the model (API: ``response``).

    Attributes
    ----------
    id : str
        The service's id.
    status : str
        The service's own word: in_progress, completed, cancelled, failed, incomplete.
    created, done : float or None
        When the events came.
    audio_started, audio_ended : float or None
        When the service began and stopped to send its sound (output_audio_buffer events).
    follows : float or None
        When the sound of the responses before it had ended.
    followed : float or None
        When the service began to send the sound of the response after it.
    cut : bool
        The sound was cut (output_audio_buffer.cleared).
    truncated : float or None
        Seconds of the reply that were heard, as the service counts (conversation.item.truncated).
    usage : dict or None
        Tokens, as in the event.
    error : str or None
        The service's reason for a failed or incomplete response.
    untold : bool
        The service tells neither its beginning nor its end: it filters events.
    said : float or None
        When a part of its words was last said to be complete.
    stopped : float or None
        When we asked for its end, before its sound had ended.
    """

    id: str
    created: float
    status: str = "in_progress"
    done: float | None = None
    audio_expected: bool = False
    audio_started: float | None = None
    audio_ended: float | None = None
    follows: float | None = None
    followed: float | None = None
    cut: bool = False
    truncated: float | None = None
    usage: dict[str, Any] | None = None
    error: str | None = None
    untold: bool = False
    said: float | None = None
    stopped: float | None = None
    parts: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def transcript(self) -> str:
        """What was said or written, all parts joined."""
        return " ".join(text for text in self.parts.values() if text)

    def __repr__(self) -> str:
        return f"<Response {self.id} {self.status} {self.transcript[:60]!r}>"


@dataclass(slots=True)
class TurnState:
    """One user input and what came of it.

    Attributes
    ----------
    number : int
        Counted from 1.
    kind : str
        ``"audio"``, ``"text"``, ``"push_to_talk"``, or ``"microphone"`` for one that a voice began.
    started, ended : float or None
        When it was begun, and when nothing more was to come.
    name, text : str or None
        The clip's name, or the prompt's text.
    plays : dict
        Id of each playing to its (start, end); None where that has not come yet. ``"microphone"`` is
        what was said live.
    requested : float or None
        When ``response.create`` was sent, if it was.
    committed : float or None
        When the service last told that it had taken what was said for an item.
    """

    number: int
    kind: str
    started: float
    name: str | None = None
    text: str | None = None
    status: Status = "in_progress"
    ended: float | None = None
    error: str | None = None
    plays: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    requested: float | None = None
    committed: float | None = None
    transcripts: dict[str, str] = field(default_factory=dict)
    transcription_error: str | None = None
    responses: list[ResponseState] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    restore: dict[str, Any] | None = None  # the turn detection to turn on again after its commit
    # what is still to come; the turn is over when none of these holds
    holding: bool = False  # push-to-talk is being held
    speaking: bool = False  # speech_started without its speech_stopped
    awaiting: int = 0  # committed by turn detection, no response.created yet
    pending: int = 0  # response.create of ours not yet answered, queued ones included
    touched: float = 0.0  # when something last happened to it

    @property
    def play_started(self) -> float | None:
        """When the first packet of the prompt left."""
        starts = [start for start, _ in self.plays.values() if start is not None]
        return min(starts) if starts else None

    @property
    def play_ended(self) -> float | None:
        """When the last sample of the prompt had left; None while it plays."""
        ends = [end for _, end in self.plays.values()]
        return None if not ends or None in ends else max(e for e in ends if e is not None)

    @property
    def voice_open(self) -> bool:
        """Whether somebody is speaking live, as far as is known."""
        return VOICE in self.plays and self.plays[VOICE][1] is None

    @property
    def half_said(self) -> bool:
        """Whether a voice has begun it, and the service has not taken all of it for an item yet."""
        going_on = self.kind == VOICE and self.status == "in_progress"
        return going_on and (self.voice_open or self.committed is None)

    def end_voice(self, time: float) -> None:
        """Take note that what is said live ended at `time`, if it is not over."""
        if self.voice_open:
            start = self.plays[VOICE][0]
            self.plays[VOICE] = (start, time if start is None else max(start, time))
