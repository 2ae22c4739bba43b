"""Functions as tools: the schema from the signature, the arguments checked, failures told."""

from __future__ import annotations

import enum
import functools
import json
from typing import Annotated, Any, Literal, Optional

import pytest

import rtnb


def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """Current weather in a city.

    Second paragraph.
    """
    return f"18 °{unit} in {city}"


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the schema of one parameter that is annotated so."""

    def tool(x: Any) -> None: ...

    tool.__annotations__["x"] = hint
    properties: dict[str, Any] = rtnb.Tool(tool).parameters["properties"]
    described: dict[str, Any] = properties["x"]
    return described


def test_the_schema_comes_from_signature_and_docstring() -> None:
    """As the API wants it; defaults are not required."""
    assert rtnb.Tool(weather).schema == {
        "type": "function",
        "name": "weather",
        "description": "Current weather in a city.\n\nSecond paragraph.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Optional[str], {"anyOf": [{"type": "string"}, {"type": "null"}]}),  # noqa: UP045
        (Annotated[str, "a city"], {"type": "string", "description": "a city"}),
        (Annotated[int, object()], {"type": "integer"}),
        (Any, {}),
        (enum.Enum, {}),
    ],
)
def test_the_schema_of_an_annotation(hint: Any, schema: dict[str, Any]) -> None:
    """What is not understood accepts anything."""
    assert schema_of(hint) == schema


def test_a_parameter_without_annotation_accepts_anything() -> None:
    """It is still named and required."""

    def tool(x): ...  # type: ignore[no-untyped-def]

    assert rtnb.Tool(tool).parameters["properties"] == {"x": {}}


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ('{"city": "Oslo"}', "18 °C in Oslo"),
        ('{"city": "Oslo", "unit": "F"}', "18 °F in Oslo"),
    ],
)
def test_a_call_gives_its_text(arguments: str, output: str) -> None:
    """A str goes back as it is."""
    outcome = rtnb.Tool(weather).run(arguments)
    assert (outcome.output, outcome.error) == (output, None)


@pytest.mark.parametrize(
    ("result", "output"),
    [({"a": 1}, '{"a": 1}'), (None, "null"), (3, "3"), ({1}, '"{1}"'), ("", "")],
)
def test_a_result_that_is_no_text_goes_back_as_json(result: object, output: str) -> None:
    """What JSON has no word for goes back as its str."""

    def tool() -> object:
        return result

    assert rtnb.Tool(tool).run("").output == output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{", "bad arguments: Expecting property name enclosed in double quotes"),
        ("[1]", "bad arguments: the arguments are not a JSON object"),
        ("{}", "bad arguments: missing: city"),
        ("", "bad arguments: missing: city"),
        ('{"city": "Oslo", "when": 1}', "bad arguments: unknown: when"),
        ('{"town": "Oslo"}', "bad arguments: unknown: town; missing: city"),
        ('{"city": 7}', "bad arguments: city is int, not string"),
        ('{"city": null}', "bad arguments: city is NoneType, not string"),
        ('{"city": "Oslo", "unit": "K"}', "bad arguments: unit is 'K', not one of 'C', 'F'"),
    ],
)
def test_bad_arguments_go_back_to_the_model(arguments: str, said: str) -> None:
    """The function is not called; the same words are the output and the error."""
    outcome = rtnb.Tool(weather).run(arguments)
    assert outcome.error is not None
    assert outcome.error.startswith(said)
    assert json.loads(outcome.output) == {"error": outcome.error}


@pytest.mark.parametrize(
    ("hint", "value", "fits"),
    [
        (int, "3", True),
        (int, "true", False),
        (int, "3.5", False),
        (float, "3", True),
        (float, "false", False),
        (bool, "true", True),
        (bool, "1", False),
        (list[int], "[1]", True),
        (dict[str, int], "[1]", False),
        (int | None, "null", True),
        (int | None, "3", True),
        (int | None, '"3"', False),
        (Literal["a"] | None, '"a"', True),
        (Literal["a"] | None, '"b"', False),
        (Any, '"x"', True),
    ],
)
def test_arguments_are_checked_against_the_schema(hint: Any, value: str, fits: bool) -> None:
    """True is no number, and 1 is no boolean."""

    def tool(x: Any) -> str:
        return "called"

    tool.__annotations__["x"] = hint
    assert (rtnb.Tool(tool).run(f'{{"x": {value}}}').output == "called") is fits


def test_a_value_of_no_kind_of_a_union_is_told() -> None:
    """The sentence names all that would have been taken."""

    def tool(x: int | Literal["a", "b"] | None) -> None: ...

    assert rtnb.Tool(tool).run('{"x": 2.5}').error == (
        "bad arguments: x is float, not integer or one of 'a', 'b' or null"
    )


@pytest.mark.parametrize("hint", ["Nowhere", "list[", "os.Nowhere"])
def test_an_annotation_that_cannot_be_resolved_is_told(hint: str) -> None:
    """The sentence names the tool and what is missing."""

    def tool(x: Any) -> None: ...

    tool.__annotations__["x"] = hint
    with pytest.raises(rtnb.ToolError, match="The signature of the tool 'tool' cannot be read"):
        rtnb.Tool(tool)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("no"), RuntimeError(), SystemExit(1)])
def test_what_a_tool_raises_goes_back_to_the_model(error: BaseException) -> None:
    """As type and message; even sys.exit() must not leave the model waiting."""

    def tool() -> None:
        raise error

    outcome = rtnb.Tool(tool).run("{}")
    assert outcome.error == f"{type(error).__name__}: {error}"
    assert json.loads(outcome.output) == {"error": outcome.error}


def test_a_result_that_cannot_be_written_is_an_error_too() -> None:
    """A circular structure has no JSON."""

    def tool() -> list[Any]:
        circle: list[Any] = []
        circle.append(circle)
        return circle

    assert rtnb.Tool(tool).run("{}").error == "ValueError: Circular reference detected"


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x, "A tool needs a name"),
        (functools.partial(weather, "Oslo"), "A tool needs a name"),
        (lambda *many: many, "A tool needs a name"),
    ],
)
def test_a_function_without_a_name_is_no_tool(function: Any, sentence: str) -> None:
    """The sentence says what to do."""
    with pytest.raises(rtnb.ToolError, match=sentence):
        rtnb.Tool(function)


def test_parameters_without_names_are_refused() -> None:
    """*args, **kwargs and positional-only parameters cannot be described."""

    def many(*cities: str) -> None: ...
    def keywords(**cities: str) -> None: ...
    def positional(city: str, /) -> None: ...

    for function, said in (
        (many, "takes *cities; name each parameter."),
        (keywords, "takes **cities; name each parameter."),
        (positional, "'city' must not be positional-only."),
    ):
        with pytest.raises(rtnb.ToolError) as told:
            rtnb.Tool(function)
        assert said in str(told.value)


def test_a_tool_shows_its_signature() -> None:
    """Name and parameters."""
    assert repr(rtnb.Tool(weather)) == "<Tool weather(city, unit)>"


def test_an_async_function_is_refused() -> None:
    """Its coroutine would go to the model instead of its result."""

    async def fetch(city: str) -> str:
        return city

    with pytest.raises(rtnb.ToolError, match="The tool 'fetch' is async; define it with a plain"):
        rtnb.Tool(fetch)
