"""Which of the session's tools the peer calls, and with what; it must not know voices or events."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["arguments_for", "chosen_tool"]

Tool = Mapping[str, Any]

_EMPTY: Final[dict[str, Any]] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "object": {},
}


def chosen_tool(
    tools: Sequence[Tool], choice: str | Mapping[str, Any], text: str, wanted: str | None
) -> Tool | None:
    """Return the tool to call, or None.

    Parameters
    ----------
    tools
        Function tools of the session.
    choice
        ``"auto"``, ``"none"``, ``"required"`` or ``{"type": "function", "name": …}``.
    text
        What the user wrote; a tool that is named in it is called.
    wanted
        Part of the name of the tool that the user's prompt needs.
    """
    if choice == "none":
        return None
    if isinstance(choice, Mapping):
        return next((t for t in tools if t["name"] == choice.get("name")), None)
    for tool in tools:
        if wanted and wanted in tool["name"].lower():
            return tool
    for tool in tools:
        if _named(tool["name"], text):
            return tool
    return tools[0] if choice == "required" and tools else None


def _named(name: str, text: str) -> bool:
    """Whether a tool's name stands in the text, written as in code or as words."""
    words = re.sub(r"[_\-]+", " ", name.lower())
    plain = re.sub(r"[_\-]+", " ", text.lower())
    return re.search(rf"(?<![a-z0-9]){re.escape(words)}(?![a-z0-9])", plain) is not None


def arguments_for(tool: Tool, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments that fit the tool's parameters.

    What is known under the parameter's own name is used. A required text parameter of another name
    takes a known text that is left over; anything else required gets its default, its first
    permitted value, or the empty value of its type: nothing is made up.

    Parameters
    ----------
    tool
        With ``parameters``, a JSON schema.
    known
        Arguments that the user's prompt names.
    """
    parameters = tool.get("parameters") or {}
    properties: Mapping[str, Any] = parameters.get("properties") or {}
    found = {name: value for name, value in known.items() if name in properties}
    left = [v for name, v in known.items() if name not in properties and isinstance(v, str)]
    for name in parameters.get("required") or ():
        found_schema = properties.get(name)
        schema = found_schema if isinstance(found_schema, dict) else {}  # true: anything
        if name in found:
            continue
        if left and schema.get("type") == "string" and not schema.get("enum"):
            found[name] = left.pop(0)
        else:
            found[name] = _honest_value(schema)
    return found


def _honest_value(schema: Mapping[str, Any]) -> Any:
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    return _EMPTY.get(kind) if isinstance(kind, str) else None
