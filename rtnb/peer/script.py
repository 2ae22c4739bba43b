"""The rules of a `Script`: read, checked whole and applied to a turn; they must not know a call."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rtnb._masking import mask
from rtnb.audio import Clip
from rtnb.errors import AudioError, ConfigurationError
from rtnb.peer import repertoire
from rtnb.peer.reply import Failure, Reply, ToolCall, UserTurn

if TYPE_CHECKING:
    import yaml

__all__ = ["Rule", "read_rules", "rules_of"]

_MATCH: Final = ("sample", "text", "turn", "tool")
_REPLY: Final = ("say", "clip", "call", "fail", "delay")
_LONGEST_DELAY: Final = 3_600.0  # seconds
_COLON: Final = ("mapping values are not allowed here",)  # PyYAML's words
_KEYS: Final = r"(?:\[[^\[\]{}]+\])*"
_PLACEHOLDER: Final = re.compile(rf"\{{(?:(text|turn)|result({_KEYS}))\}}")
_BRACES: Final = re.compile(rf"(\{{\{{|\}}\}}|{_PLACEHOLDER.pattern})|[{{}}]")

Told: TypeAlias = Callable[[str], ConfigurationError]


class _Missing(LookupError):
    """What a placeholder stands for is not there."""


@dataclass(frozen=True)
class Rule:
    """One rule: when it holds, and what is said then.

    Attributes
    ----------
    number : int
        Its place, from 1.
    sample, text, turn, tool
        What has to hold, as in `rtnb.peer.voices.Script`; None for what does not matter.
    say : str or None
        With its placeholders.
    clip : Clip or None
        What is played.
    words : str
        The transcript of `clip` where `say` is None.
    calls : tuple of ToolCall
        What is called.
    failure : Failure or None
        How the response fails.
    delay : float
        Seconds.
    """

    number: int
    sample: str | None = None
    text: str | None = None
    turn: int | None = None
    tool: str | None = None
    say: str | None = None
    clip: Clip | None = field(default=None, repr=False)
    words: str = ""
    calls: tuple[ToolCall, ...] = ()
    failure: Failure | None = None
    delay: float = 0.0

    def holds(self, turn: UserTurn) -> bool:
        """Whether everything that it asks for is so, and its own calls are not all answered."""
        answered = {result.name for result in turn.results}
        if self.calls and answered.issuperset(call.name for call in self.calls):
            return False
        return (
            self.sample in (None, turn.sample)
            and self.turn in (None, turn.number)
            and (self.tool is None or self.tool in answered)
            and (self.text is None or _found(self.text, turn.text))
        )

    def reply(self, turn: UserTurn) -> Reply:
        """Return what it says to a turn; a placeholder that stands for nothing makes it fail."""
        try:
            text = self.words if self.say is None else _filled(self.say, turn, self.tool)
        except _Missing as missing:
            message = f"Rule {self.number} of the peer's script cannot be said: {missing}."
            return Reply(failure=Failure(message), delay=self.delay)
        return Reply(text, self.clip, self.calls, self.failure, self.delay)


# --- when it holds --------------------------------------------------------------------------------


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.casefold().replace("\u2019", "'")))


def _expression(text: str) -> str | None:
    """Return the regular expression in ``/…/``, or None."""
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == "/" else None


def _found(wanted: str, text: str) -> bool:
    expression = _expression(wanted)
    if expression is not None:
        return re.search(expression, text, re.IGNORECASE) is not None
    return f" {_words(wanted)} " in f" {_words(text)} "


# --- what is said ---------------------------------------------------------------------------------


def _filled(say: str, turn: UserTurn, tool: str | None) -> str:
    """Return `say` with its placeholders filled in; nothing that is filled in is looked at again."""

    def value(match: re.Match[str]) -> str:
        whole = match.group(0)
        if whole in ("{{", "}}"):
            return whole[0]
        if whole in ("{text}", "{turn}"):
            return turn.text if whole == "{text}" else str(turn.number)
        return _result(whole, turn, tool)

    return _BRACES.sub(value, say)


def _result(placeholder: str, turn: UserTurn, tool: str | None) -> str:
    """Return what a placeholder of a result stands for: of the rule's tool, or else the last one."""
    outputs = [result.output for result in turn.results if tool in (None, result.name)]
    if not outputs:
        raise _Missing(f"no tool has answered, so {placeholder} stands for nothing")
    try:
        value: Any = json.loads(outputs[-1])
    except (ValueError, RecursionError):
        value = outputs[-1]
    keys = re.findall(r"\[([^\[\]]+)\]", placeholder)
    for key in keys:
        try:
            value = value[int(key)] if isinstance(value, list) else _of_object(value, key)
        except (LookupError, ValueError):
            raise _Missing(f"the result has nothing at {placeholder}") from None
    if not keys and not isinstance(value, str):
        return outputs[-1]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of_object(value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise LookupError(key)
    return value[key.strip("\"'")]


# --- reading --------------------------------------------------------------------------------------


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a YAML file; its clips are looked for beside it.

    Raises
    ------
    ConfigurationError
        It cannot be read, is no YAML, or a rule cannot be used.
    """
    import yaml  # here: only a script needs it

    try:
        given = yaml.load(path.read_text(encoding="utf-8"), _loader())
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(f"The script {str(path)!r} cannot be read: {reason}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, problem = (getattr(error, f"problem{x}", None) for x in ("_mark", ""))
        where = f" at line {mark.line + 1}" if mark else ""
        colon = "; put text that holds a colon in quotes" if problem in _COLON else ""
        why = f" ({problem}{colon})" if problem else ""
        raise ConfigurationError(
            mask(f"The script {str(path)!r} is no YAML{where}{why}; give a list of rules in UTF-8.")
        ) from None
    return rules_of(given, path.parent, f"the script {path.name!r}")


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    """Return a loader that drops nothing: YAML has a key once, where PyYAML takes the last."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in getattr(node, "value", ()):
                name = getattr(key, "value", None)
                if isinstance(name, str) and name in seen:
                    problem = f"{name!r} is there twice; is a '-' missing?"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(name if isinstance(name, str) else None)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Loader


def rules_of(given: object, folder: Path, called: str = "the script") -> tuple[Rule, ...]:
    """Return rules, checked.

    Parameters
    ----------
    given
        A list of dicts.
    folder
        Where its clips are.
    called
        What an error calls it.

    Raises
    ------
    ConfigurationError
        One of them cannot be used; the sentence says which, and why.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        hint = "; a file is read by Script.read" if isinstance(given, str | os.PathLike) else ""
        what = f"{called[0].upper()}{called[1:]} has to be a list of rules, not {_kind(given)}"
        raise ConfigurationError(mask(f"{what}{hint}."))
    return tuple(_rule(one, i, folder, called) for i, one in enumerate(given, start=1))


def _rule(given: object, number: int, folder: Path, called: str) -> Rule:
    def told(what: str) -> ConfigurationError:
        return ConfigurationError(mask(f"Rule {number} of {called}: {what}."))

    rule = _mapping(given, ("match", *_REPLY), "a rule", told)
    if not set(rule) & set(_REPLY) - {"delay"}:
        raise told("it says nothing; give 'say', 'clip', 'call' or 'fail'")
    clip, words = _clip(rule.get("clip"), folder, told)
    return Rule(
        number,
        **_match(rule.get("match"), told),
        say=_say(rule.get("say"), told),
        clip=clip,
        words=words,
        calls=_calls(rule.get("call"), told),
        failure=_failure(rule.get("fail"), told),
        delay=_delay(rule.get("delay"), told),
    )


def _match(given: object, told: Told) -> dict[str, Any]:
    match = _mapping({} if given is None else given, _MATCH, "'match'", told)
    for key in ("sample", "text", "tool"):
        _text(match.get(key, "-"), f"'{key}'", told)
    names = [prompt.name for prompt in repertoire.prompts()]
    if match.get("sample", names[0]) not in names:
        raise told(f"there is no bundled sample {match['sample']!r}; there are {', '.join(names)}")
    turn = match.get("turn", 0)
    if not isinstance(turn, int) or isinstance(turn, bool) or turn < 0:
        raise told(f"'turn' is a whole number from 0, not {turn!r}")
    if "text" in match:
        _check_text(match["text"], told)
    return dict(match)


def _check_text(wanted: str, told: Told) -> None:
    expression = _expression(wanted)
    if expression is not None:
        try:
            re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise told(f"{wanted!r} is no regular expression ({error})") from None
    elif not _words(wanted):
        raise told(f"'text' holds no word: {wanted!r}")


def _say(given: object, told: Told) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise told(f"'say' is text, not {_kind(given)}; put it in quotes")
    for match in _BRACES.finditer(given):
        if match.group(1) is None:
            wrong = given[match.start() : match.start() + 30]
            raise told(
                f"{wrong!r} is no placeholder; there are {{text}}, {{turn}}, {{result}} and "
                "{result[key]}, and a brace itself is written twice"
            )
    return given


def _clip(given: object, folder: Path, told: Told) -> tuple[Clip | None, str]:
    if given is None:
        return None, ""
    name = _text(given, "'clip'", told)
    sample = next((p for p in repertoire.prompts() if p.name == name), None)
    try:
        return Clip.read(sample.path if sample else folder / name), sample.text if sample else ""
    except AudioError as error:
        raise told(str(error).rstrip(".")) from None


def _calls(given: object, told: Told) -> tuple[ToolCall, ...]:
    several = isinstance(given, list | tuple)
    listed: Sequence[Any] = () if given is None else given if several else (given,)  # type: ignore[assignment]
    if several and not listed:
        raise told("'call' is an empty list")
    return tuple(_call(one, told) for one in listed)


def _call(given: object, told: Told) -> ToolCall:
    call = _mapping(given, ("name", "arguments"), "'call'", told)
    name = _text(call.get("name"), "the 'name' of a call", told)
    arguments = call.get("arguments")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping | str):
        raise told(f"the 'arguments' of a call are a mapping or JSON, not {_kind(arguments)}")
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise told(
            f"the 'arguments' of {name!r} cannot be JSON ({error}); quote what is text"
        ) from None
    return ToolCall(name, arguments)


def _failure(given: object, told: Told) -> Failure | None:
    if given is None:
        return None
    fail = _mapping(given, ("message", "code", "type"), "'fail'", told)
    for key, value in fail.items():
        _text(value, f"'{key}' of 'fail'", told)
    return Failure(**fail)


def _delay(given: object, told: Told) -> float:
    if given is None:
        return 0.0
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not 0 <= float(given) <= _LONGEST_DELAY:  # type: ignore[arg-type]
        raise told(f"'delay' is a number of seconds from 0 to {_LONGEST_DELAY:.0f}, not {given!r}")
    return float(given)  # type: ignore[arg-type]


def _mapping(given: object, known: Sequence[str], what: str, told: Told) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise told(f"{what} is a mapping with {_listed(known)}, not {_kind(given)}")
    for key in given:
        if key not in known:
            raise told(f"{what} has no {key!r}; there are {_listed(known)}")
    return given


def _text(given: object, what: str, told: Told) -> str:
    if not isinstance(given, str) or not given.strip():
        raise told(f"{what} is text, not {given!r}")
    return given


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _kind(given: object) -> str:
    return "nothing" if given is None else f"{type(given).__name__} {str(given)[:40]!r}"
