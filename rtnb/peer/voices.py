"""What the peer says: a small protocol, and its own voices; it must not know events, calls or time.

A **voice** is any function, async or not, that takes a `UserTurn` and returns what is to be said:

- a `str`, which is spoken in audio mode and written in text mode;
- a `rtnb.Clip`, which is played as it is, under no transcript;
- a `ToolCall`, which the client is to carry out; when it has sent the result, the voice is asked
  again, with the result in ``turn.results``;
- a `Failure`, with which the response fails;
- a `Reply`, for several of these together, a clip with its transcript, or a delay;
- a list of these, in that order; or None, to say nothing.

::

    def capitals(turn):
        if turn.sample == "capital_of_france":
            return "It is Paris."
        return turn.audio  # what it does not know it plays back

    peer = rtnb.Peer(voice=capitals)

How text becomes sound is told in `rtnb.peer.speech`. `Default` answers the bundled samples, `Parrot`
repeats what it hears, and `Script` goes by rules in a list or a YAML file.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rtnb._masking import mask
from rtnb.audio import CALL_SAMPLE_RATE, Clip, to_pcm
from rtnb.errors import ConfigurationError
from rtnb.peer import repertoire
from rtnb.peer.audible import audible, audible_seconds
from rtnb.peer.reply import Answer, Failure, Reply, ToolCall, ToolResult, UserTurn, Voice
from rtnb.peer.script import Rule, read_rules, rules_of
from rtnb.peer.toolcalls import arguments_for, chosen_tool
from rtnb.peer.wire import parsed

__all__ = [
    "VOICES",
    "Answer",
    "Default",
    "Failure",
    "Parrot",
    "Reply",
    "Script",
    "ToolCall",
    "ToolResult",
    "UserTurn",
    "Voice",
    "as_voice",
]

_COUNTED: Final = 10  # seconds up to which there is a clip for each


@dataclass(frozen=True)
class Default:
    """The voice that never invents.

    It knows the bundled samples, by their sound or by their words, and has a recorded answer to
    each. Of other audio it says for how many seconds it heard it, to the nearest whole one, and
    plays it back; what is shorter than half a second, or silent, it plays back without a word. Of
    other text it says that it has read it. A transcript is exactly what is spoken, except that audio
    played back is not transcribed.

    A tool is called when its name stands in what the user wrote, when it is the one that the sample
    needs, or when ``tool_choice`` asks for it; its arguments are the sample's, a default, or empty.
    It claims to have used a tool only when that tool has answered.
    """

    def __call__(self, turn: UserTurn) -> Answer:
        """Answer what is known, and say so of what is not."""
        said = repertoire.saying_for(turn.sample) if turn.sample else None
        if turn.results:
            # the recorded answer speaks of its own tool; another tool's result gets the general one
            own = said is not None and any(_fits(said.tool_name, r) for r in turn.results)
            return said.text if said and own else repertoire.saying("generic_tool").text
        written = turn.text if turn.audio is None else ""
        wanted = said.tool_name if said else None
        tool = chosen_tool(turn.tools, turn.tool_choice, written, wanted)
        if tool is not None:
            return ToolCall(tool["name"], arguments_for(tool, said.tool_arguments if said else {}))
        if said is not None and not said.tool_name:
            return said.text
        if turn.audio is not None:
            return _heard(turn.audio)
        return _answer_to_nothing() if turn.number == 0 else repertoire.saying("generic_text").text


@dataclass(frozen=True)
class Parrot:
    """The voice that repeats the user's audio, without the silence around it.

    Its transcript is the words where they are known. Text, and what tools answered, is left to
    `Default`.
    """

    def __call__(self, turn: UserTurn) -> Answer:
        """Play the user's audio back."""
        if turn.audio is None or turn.results:
            return Default()(turn)
        return Reply(turn.text, _clip(audible(_samples(turn.audio))), echo=True)


class Script:
    """The voice that goes by rules.

    The first rule that holds is said; where none does, `Default` answers. A rule is a dict, here in
    YAML with all that it may have::

        - match:                        # all of these have to hold; without `match` it always holds
            sample: capital_of_france   #   this bundled sample was heard, or its words were written
            text: the capital of        #   these words, in this order; or /a regular expression/
            turn: 2                     #   the number of the user's message, 1 for the first
            tool: get_weather           #   this tool has answered since that message
          say: It is {result[temperature]} degrees.   # spoken, or written in text mode
          clip: answer.wav              # played instead; `say` is its transcript then
          call:                         # and the client is to call a tool; a list calls several
            name: get_weather
            arguments: {city: Paris}
          fail: {code: server_error, message: "No."}  # and the response fails
          delay: 0.5                    # seconds before it begins

    Neither words nor expressions mind case, and words do not mind punctuation. In `say`, ``{text}``
    is what the user wrote or is known to have said, ``{turn}`` its number, ``{result}`` what the tool
    of `match`, or else the last tool, answered, and ``{result[key]}`` or ``{result[key][0]}`` a part
    of that; a brace itself is written twice. A `clip` is a file beside the YAML file, or a bundled
    sample by its name, with its words as the transcript. A rule that calls tools holds until all of
    them have answered, so that it does not call them again.

    Parameters
    ----------
    rules
        The rules, as dicts.
    folder
        Where their clips are; None for the current folder.

    Raises
    ------
    ConfigurationError
        A rule cannot be used: an unknown key or sample, a wrong type, a clip that is not there, an
        expression that is none. The sentence names the rule. All of this is found out here.
    """

    def __init__(
        self, rules: Sequence[Mapping[str, Any]], *, folder: str | os.PathLike[str] | None = None
    ):
        self._rules = rules_of(rules, Path.cwd() if folder is None else Path(folder))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Script:
        """Read the rules of a YAML file.

        Parameters
        ----------
        path
            The file: a list of rules, in UTF-8.

        Raises
        ------
        ConfigurationError
            It cannot be read, is no YAML, or one of its rules cannot be used.
        """
        script = cls.__new__(cls)
        script._rules = read_rules(Path(path))
        return script

    _rules: tuple[Rule, ...]

    def __call__(self, turn: UserTurn) -> Answer:
        """Answer with the first rule that holds."""
        rule = next((rule for rule in self._rules if rule.holds(turn)), None)
        return Default()(turn) if rule is None else rule.reply(turn)

    def __eq__(self, other: object) -> bool:
        return self._rules == other._rules if isinstance(other, Script) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._rules)

    def __repr__(self) -> str:
        return f"<Script of {len(self)} rule{'' if len(self) == 1 else 's'}>"


def as_voice(given: object) -> Voice:
    """Return the voice that is meant.

    Parameters
    ----------
    given
        ``"default"``, ``"parrot"``, a voice, or None for the default.

    Raises
    ------
    ConfigurationError
        It is none of these.
    """
    if given is None:
        return Default()
    if isinstance(given, str):
        if given not in VOICES:
            known = ", ".join(repr(name) for name in VOICES)
            raise ConfigurationError(
                f"There is no voice {mask(given)!r}; give {known}, a Script, or a function."
            )
        return VOICES[given]
    if isinstance(given, type) or not callable(given):
        name = given.__name__ if isinstance(given, type) else type(given).__name__
        hint = f"{name}() rather than {name}" if isinstance(given, type) else "a function"
        raise ConfigurationError(f"A voice is called with a UserTurn; give {hint}.")
    if not _takes_one(given):
        raise ConfigurationError(
            f"A voice is called with one UserTurn, which {mask(repr(given))} cannot be; "
            "give a function of one parameter."
        )
    return given


def _takes_one(given: Any) -> bool:
    try:
        inspect.signature(given).bind(UserTurn())
    except TypeError:
        return False
    except ValueError:  # a built-in that does not say
        return True
    return True


def _answer_to_nothing() -> str:
    said = repertoire.saying_for("greeting")
    assert said is not None
    return said.text


def _fits(wanted: str | None, result: ToolResult) -> bool:
    """Whether a result is of the wanted tool, and no error."""
    value = parsed(result.output)
    failed = value is not None and bool(value.get("error"))
    return wanted is not None and wanted in result.name.lower() and not failed


def _heard(audio: Clip) -> Answer:
    samples = _samples(audio)
    seconds = int(audible_seconds(samples) + 0.5)
    sound = Reply(clip=_clip(audible(samples)), echo=True)
    if seconds == 0:
        return sound
    name = f"generic_heard_{seconds if seconds <= _COUNTED else 'more'}"
    return [repertoire.saying(name).text, sound]


def _samples(audio: Clip) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.frombuffer(to_pcm(audio), np.int16)


def _clip(samples: np.ndarray[Any, np.dtype[np.int16]]) -> Clip:
    return Clip(samples.astype(np.float32) / 32768.0, CALL_SAMPLE_RATE)


VOICES: Final[Mapping[str, Voice]] = {"default": Default(), "parrot": Parrot()}
"""The voices that have a name."""
