"""Python functions as tools: schema from signature, arguments checked; it must not know a session."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from rtnb.errors import ToolError

__all__ = ["Tool", "ToolOutcome"]

_SCALARS: Final[dict[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a tool call gave: the text that goes back to the model, and the error if it failed."""

    output: str
    error: str | None = None


class Tool:
    """A Python function that the model may call.

    Parameters
    ----------
    function
        Its name, docstring and annotated parameters become the schema.

    Raises
    ------
    ToolError
        A parameter is of a kind that cannot be described, e.g. ``*args``.
    """

    def __init__(self, function: Callable[..., Any]):
        self.function = function
        self.name = getattr(function, "__name__", "")
        if not self.name.isidentifier():
            raise ToolError(
                "A tool needs a name; define it with def, and decorate it with @session.tool."
            )
        if inspect.iscoroutinefunction(function):
            raise ToolError(f"The tool {self.name!r} is async; define it with a plain def.")
        self.description = inspect.cleandoc(function.__doc__ or "")
        self.parameters = _parameters(self.name, function)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as the API wants it (``type: function``)."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }

    def run(self, arguments: str) -> ToolOutcome:
        """Call the function with the model's JSON arguments; whatever goes wrong is an outcome too.

        Parameters
        ----------
        arguments
            The JSON text that the model wrote.
        """
        try:
            values = self._checked(arguments)
        except ValueError as error:
            return _failed(f"bad arguments: {error}")
        try:
            result = self.function(**values)
            output = result if isinstance(result, str) else json.dumps(result, default=str)
        # a tool may raise anything, also sys.exit(), and the model must hear of it
        except (Exception, SystemExit) as error:
            return _failed(f"{type(error).__name__}: {error}")
        return ToolOutcome(output)

    def _checked(self, arguments: str) -> dict[str, Any]:
        values = json.loads(arguments or "{}")
        if not isinstance(values, dict):
            raise ValueError("the arguments are not a JSON object")
        known = self.parameters["properties"]
        unknown = sorted(set(values) - set(known))
        absent = [name for name in self.parameters["required"] if name not in values]
        if unknown or absent:
            told = [f"unknown: {', '.join(unknown)}"] if unknown else []
            told += [f"missing: {', '.join(absent)}"] if absent else []
            raise ValueError("; ".join(told))
        for name, value in values.items():
            expected, choices = known[name].get("type"), known[name].get("enum")
            if expected is not None and not _is(value, expected):
                raise ValueError(f"{name} is {type(value).__name__}, not {expected}")
            if choices is not None and value not in choices:
                raise ValueError(f"{name} is {value!r}, not one of {', '.join(map(repr, choices))}")
        return values

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self.parameters['properties'])})>"


def _failed(message: str) -> ToolOutcome:
    return ToolOutcome(json.dumps({"error": message}), message)


def _is(value: object, expected: str) -> bool:
    if expected == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if expected == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds: dict[str, type] = {"string": str, "boolean": bool, "array": list, "object": dict}
    return expected not in kinds or isinstance(value, kinds[expected])


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise ToolError(
                f"The tool {name!r} takes {stars}{parameter.name}; name each parameter."
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ToolError(f"The tool {name!r}: {parameter.name!r} must not be positional-only.")
        properties[parameter.name] = _schema(hints.get(parameter.name, Any))
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schema(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of an annotation; what is not understood accepts anything."""
    if hint in _SCALARS:
        return {"type": _SCALARS[hint]}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        described = next((a for a in arguments[1:] if isinstance(a, str)), None)
        return _schema(arguments[0]) | ({"description": described} if described else {})
    if origin is Literal:
        return {"enum": list(arguments)}
    if hint is list or origin is list:
        return {"type": "array"} | ({"items": _schema(arguments[0])} if arguments else {})
    if hint is dict or origin is dict:
        return {"type": "object"}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(a) for a in arguments]}
    return {"type": "null"} if hint is type(None) else {}
