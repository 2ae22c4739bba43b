"""What a voice is given and what it gives back; it must not know events, calls or time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rtnb.audio import Clip

__all__ = ["Answer", "Failure", "Rendered", "Reply", "ToolCall", "ToolResult", "UserTurn", "Voice"]


@dataclass(frozen=True)
class ToolResult:
    """What a tool has answered since the user's last message.

    Attributes
    ----------
    name : str
        The function's name; "" where the call is not known.
    call_id : str
        Which call it answers.
    output : str
        As the client sent it, usually JSON.
    """

    name: str
    call_id: str
    output: str


@dataclass(frozen=True)
class UserTurn:
    """All that a voice may go by.

    Attributes
    ----------
    number : int
        The user's messages so far, this one included: 1 for the first; 0 before any.
    text : str
        What the user wrote; where the user spoke, the words of a bundled sample, or "".
    audio : Clip or None
        What the user said: mono, 48,000 Hz, from the prefix padding to the end of the turn.
    sample : str or None
        The name of the bundled sample that was heard or whose words were written.
    results : tuple of ToolResult
        What tools have answered since that message.
    tools : tuple of dict
        The function tools that may be called now, as in the session.
    tool_choice : str or dict
        As in the session.
    instructions : str
        As in the session, or as the response was created with.
    voice : str
        The session's ``audio.output.voice``.
    history : tuple of (str, str)
        Role and words of the messages before this one, the oldest first.
    """

    number: int = 0
    text: str = ""
    audio: Clip | None = field(default=None, repr=False)
    sample: str | None = None
    results: tuple[ToolResult, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    tool_choice: str | Mapping[str, Any] = "auto"
    instructions: str = field(default="", repr=False)
    voice: str = "marin"
    history: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ToolCall:
    """One function to be called by the client.

    Attributes
    ----------
    name : str
        The function's name.
    arguments : mapping or str
        Its arguments, or their JSON, which is sent as it is.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A response that fails: ``response.done`` with ``status`` ``failed``.

    Attributes
    ----------
    message, code, type : str
        As in ``status_details.error``.
    """

    message: str = "The model could not answer."
    code: str = "server_error"
    type: str = "server_error"


@dataclass(frozen=True)
class Reply:
    """One response in full.

    Attributes
    ----------
    text : str
        The words: spoken in audio mode, written in text mode. With `clip`, its transcript.
    clip : Clip or None
        The sound; None has `text` spoken.
    calls : tuple of ToolCall
        Called after what is said.
    failure : Failure or None
        How it fails after that.
    delay : float
        Seconds before it begins.
    echo : bool
        `clip` holds audio of the user's, which is not kept anywhere.
    """

    text: str = ""
    clip: Clip | None = field(default=None, repr=False)
    calls: tuple[ToolCall, ...] = ()
    failure: Failure | None = None
    delay: float = 0.0
    echo: bool = False


Part: TypeAlias = str | Clip | ToolCall | Failure | Reply
Answer: TypeAlias = Part | Sequence[Part] | None
Voice: TypeAlias = Callable[[UserTurn], Awaitable[Answer] | Answer]


@dataclass(frozen=True)
class Rendered:
    """A reply with its sound made: what a response is generated from.

    Attributes
    ----------
    text : str
        The words.
    pcm : bytes
        s16 mono 48,000 Hz; empty in text mode.
    calls : tuple of (str, str)
        Name and JSON arguments of each call.
    failure, delay, echo
        As in `Reply`.
    """

    text: str = ""
    pcm: bytes = field(default=b"", repr=False)
    calls: tuple[tuple[str, str], ...] = ()
    failure: Failure | None = None
    delay: float = 0.0
    echo: bool = False
