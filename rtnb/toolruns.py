"""Tool calls found, and run so that something goes back to the model; it knows no session."""

from __future__ import annotations

import json
from typing import Any

from rtnb.dialects import Json
from rtnb.tools import Tool, ToolOutcome
from rtnb.turnstate import ToolCall, TurnState

__all__ = ["new_calls", "run_call", "tool_name", "tool_schema"]


def new_calls(turn: TurnState, items: Any, time: float) -> list[ToolCall]:
    """Take the tool calls of a response's output items into its turn; return those not yet known.

    An item that was cut off while its arguments were written is no call, and neither is one of
    another shape.
    """
    known = {call.call_id for call in turn.tool_calls}
    calls = [
        ToolCall(
            str(item.get("call_id")),
            str(item.get("name")),
            str(item.get("arguments") or ""),
            started=time,
        )
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict)
        and item.get("type") == "function_call"
        and item.get("status") != "incomplete"
        and str(item.get("call_id")) not in known
    ]
    turn.tool_calls += calls
    return calls


def run_call(tool: Tool | None, name: str, arguments: str, *, limit: int) -> ToolOutcome:
    """Run a tool, and return what goes back to the model, whatever happens.

    Parameters
    ----------
    tool
        None where no tool has this name.
    name, arguments
        As the model gave them.
    limit
        The most bytes of JSON that the output may take.
    """
    if tool is None:
        return _failed(f"there is no tool {name}")
    outcome = tool.run(arguments)
    # what cannot be encoded, such as half a surrogate pair of a file's name, is replaced
    output = outcome.output.encode("utf-8", "replace").decode("utf-8")
    if len(json.dumps(output)) > limit:
        return _failed(f"the result is larger than {limit} bytes, more than the data channel takes")
    return ToolOutcome(output, outcome.error)


def _failed(message: str) -> ToolOutcome:
    return ToolOutcome(json.dumps({"error": message}), message)


def tool_name(tool: Tool | Json) -> str:
    """Return the name of a tool, or of what a session object says of one."""
    return tool.name if isinstance(tool, Tool) else str(tool.get("name"))


def tool_schema(tool: Tool | Json) -> Json:
    """Return what a session object says of a tool."""
    return tool.schema if isinstance(tool, Tool) else tool
