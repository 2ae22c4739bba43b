"""Checks of what a client sent, and the `Problem` that refuses it; it must not know sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

__all__ = [
    "Check",
    "Fields",
    "Problem",
    "check_object",
    "is_a",
    "listed",
    "missing",
    "must_have",
    "number",
    "one_of",
    "optional",
    "text",
    "whole_number",
    "with_fields",
    "wrong_type",
]

Check: TypeAlias = Callable[[Any, str], None]
Fields: TypeAlias = Mapping[str, Check | None]

_NAMES: Final = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}
_LONGEST_QUOTE: Final = 100  # characters of a client's value that a message repeats


class Problem(Exception):
    """Why something a client asked for is refused, as the API words it.

    Parameters
    ----------
    message
        One sentence.
    param
        Path of what is refused, or None.
    code
        The service's error code.
    """

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value"):
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def missing(path: str) -> Problem:
    """Return why something that lacks a parameter is refused."""
    message = f"Missing required parameter: '{path}'."
    return Problem(message, path, "missing_required_parameter")


def wrong_type(path: str, expected: str) -> Problem:
    """Return why something of a wrong type is refused."""
    return Problem(f"Invalid type for '{path}': expected {expected}.", path, "invalid_type")


def check_object(value: Any, fields: Fields, where: str) -> None:
    """Check an object: every key must be known, every value pass its check.

    Raises
    ------
    Problem
        One does not.
    """
    if not isinstance(value, dict):
        raise wrong_type(where, "an object")
    for key, inner in value.items():
        path = f"{where}.{key[:_LONGEST_QUOTE]}"
        if key not in fields:
            raise Problem(f"Unknown parameter: '{path}'.", path, "unknown_parameter")
        check = fields[key]
        if check is not None:
            check(inner, path)


def with_fields(fields: Fields) -> Check:
    """Return a check for an object of these fields."""

    def check(value: Any, path: str) -> None:
        check_object(value, fields, path)

    return check


def optional(inner: Check) -> Check:
    """Return a check that lets null pass."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def one_of(*permitted: object) -> Check:
    """Return a check for one of some values, also in type: 1 is not true, 1.0 is not 1."""

    def check(value: Any, path: str) -> None:
        if not any(type(value) is type(one) and value == one for one in permitted):
            shown = ", ".join(repr(one) for one in permitted if one is not None)
            quoted = repr(value)[:_LONGEST_QUOTE]
            raise Problem(f"Invalid value: {quoted}. Supported values are: {shown}.", path)

    return check


def number(low: float, high: float) -> Check:
    """Return a check for a number within limits."""

    def check(value: Any, path: str) -> None:
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if not numeric or not low <= value <= high:
            message = f"Invalid '{path}': expected a number from {low:g} to {high:g}."
            raise Problem(message, path)

    return check


def whole_number(low: int, high: int) -> Check:
    """Return a check for a whole number within limits."""

    def check(value: Any, path: str) -> None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not low <= value <= high:
            expected = f"a whole number from {low} to {high}" if low < high else f"{low}"
            message = f"Invalid '{path}': expected {expected}."
            raise Problem(message, path)

    return check


def is_a(kind: type) -> Check:
    """Return a check for a string, a boolean, an array or an object."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, kind):
            raise wrong_type(path, _NAMES[kind])

    return check


def text(longest: int) -> Check:
    """Return a check for a string of at most so many characters."""

    def check(value: Any, path: str) -> None:
        is_a(str)(value, path)
        if len(value) > longest:
            message = f"Invalid '{path}': expected at most {longest} characters."
            raise Problem(message, path, "string_above_max_length")

    return check


def listed(inner: Check) -> Check:
    """Return a check for an array whose members all pass a check."""

    def check(value: Any, path: str) -> None:
        is_a(list)(value, path)
        for index, one in enumerate(value):
            inner(one, f"{path}[{index}]")

    return check


def must_have(value: Mapping[str, Any], key: str, path: str) -> None:
    """Check that an object has a string, not empty, under a key.

    Raises
    ------
    Problem
        It has not.
    """
    if not isinstance(value.get(key), str) or not value[key]:
        raise missing(f"{path}.{key}")
