"""What a conversation wants done: events to send and sounds to make, in order; it does nothing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rtnb.dialects import Json
from rtnb.peer.reply import UserTurn

__all__ = ["Command", "Forget", "HangUp", "Hush", "Outbox", "Say", "StopAfter", "Think", "new_id"]


def new_id(kind: str) -> str:
    """Return a new id such as ``item_…``."""
    return f"{kind}_{secrets.token_hex(10)}"


@dataclass(frozen=True)
class Think:
    """Ask the voice, and report what it said with `answered`."""

    response_id: str
    turn: UserTurn
    spoken: bool
    "Whether its sound is wanted."
    speed: float = 1.0
    "``audio.output.speed``"


@dataclass(frozen=True)
class Forget:
    """What the voice was asked is not wanted any more."""

    response_id: str


@dataclass(frozen=True)
class Say:
    """Play this sound after what is already playing."""

    response_id: str
    pcm: bytes = field(repr=False)
    "s16 mono 48,000 Hz"
    echo: bool = False
    "It holds audio of the user's, which is not kept."


@dataclass(frozen=True)
class Hush:
    """Stop these responses' sounds with the next packet, and report each with `sound_cut`."""

    response_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class StopAfter:
    """Let a sound end by itself, but no later than here: the rest was never generated."""

    response_id: str
    samples: int


@dataclass(frozen=True)
class HangUp:
    """End the call."""

    reason: str


Command: TypeAlias = Json | Think | Forget | Say | Hush | StopAfter | HangUp


class Outbox:
    """Collects what is to be done until somebody takes it."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def event(self, type: str, **fields: Any) -> None:
        """Add an event to send, in GA names."""
        self._commands.append({"type": type, "event_id": new_id("event"), **fields})

    def command(self, command: Think | Forget | Say | Hush | StopAfter | HangUp) -> None:
        """Add something else to do."""
        self._commands.append(command)

    def take(self) -> list[Command]:
        """Return what is to be done, and forget it."""
        taken, self._commands = self._commands, []
        return taken
