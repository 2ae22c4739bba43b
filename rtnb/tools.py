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
        A parameter is of a kind that cannot be described, e.g. ``*args``, or its annotation names
        something that is not there.
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
            if not _fits(value, known[name]):
                given = repr(value) if "enum" in known[name] else type(value).__name__
                raise ValueError(f"{name} is {given}, not {_wanted(known[name])}")
        return values

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self.parameters['properties'])})>"


def _failed(message: str) -> ToolOutcome:
    return ToolOutcome(json.dumps({"error": message}), message)


def _fits(value: object, schema: dict[str, Any]) -> bool:
    """Return whether a value is what a schema asks for; items of arrays are left to the tool."""
    if "anyOf" in schema:
        return any(_fits(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    return "type" not in schema or _is(value, schema["type"])


def _wanted(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(map(_wanted, schema["anyOf"]))
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    return str(schema.get("type", "anything"))


def _is(value: object, expected: str) -> bool:
    if expected == "null":
        return value is None
    if expected == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if expected == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds: dict[str, type] = {"string": str, "boolean": bool, "array": list, "object": dict}
    return expected not in kinds or isinstance(value, kinds[expected])


def _parameters(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    hints, declared = _declared(name, function)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in declared:
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


def _declared(
    name: str, function: Callable[..., Any]
) -> tuple[dict[str, Any], list[inspect.Parameter]]:
    """Return the annotations of a function, resolved, and its parameters."""
    try:
        hints = get_type_hints(function, include_extras=True)
        return hints, list(inspect.signature(function).parameters.values())
    # annotations are code of the user's, evaluated here: whatever is wrong in it may come up
    except Exception as error:
        raise ToolError(
            f"The signature of the tool {name!r} cannot be read ({type(error).__name__}: {error}); "
            "annotate its parameters with types that are defined, e.g. str, int or list[str]."
        ) from None


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
