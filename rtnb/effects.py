"""What a conversation wants done, as plain values; it must not know who does it."""

from __future__ import annotations

from dataclasses import dataclass

from rtnb.dialects import Json
from rtnb.turnstate import ToolCall, TurnState

__all__ = ["Effect", "RunTool", "Send", "TurnBegun", "TurnOver"]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this event (GA form)."""

    event: Json


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run this tool call and report with `Conversation.tool_finished`."""

    turn: TurnState
    call: ToolCall


@dataclass(frozen=True, slots=True)
class TurnBegun:
    """A voice has begun a turn."""

    turn: TurnState


@dataclass(frozen=True, slots=True)
class TurnOver:
    """A turn has reached its final status."""

    turn: TurnState


Effect = Send | RunTool | TurnBegun | TurnOver
