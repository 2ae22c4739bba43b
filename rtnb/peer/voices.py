"""What the peer says to what it was told; it must not know events, calls or time.

The default voice never invents. It knows the bundled prompts, by their sound or by their words, and
has a recorded answer to each. Of other audio it says for how many seconds it heard it, to the nearest
whole one, and plays it back; what is shorter than half a second, or silent, it plays back without a
word. Of other text it says that it has read it. A transcript is exactly what is spoken, except that
audio played back is not transcribed. It claims to have used a tool only when the tool has answered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.peer import repertoire
from rtnb.peer.audible import audible, audible_seconds
from rtnb.peer.toolcalls import arguments_for, chosen_tool

__all__ = ["VOICES", "Asked", "Heard", "Reply", "Voice", "greeting"]

S16 = npt.NDArray[np.int16]

_RATE: Final = 48_000
_PAUSE: Final = bytes(2 * _RATE // 5)  # 200 ms between what it says and what it plays back
_COUNTED: Final = 10  # seconds up to which there is a clip for each


@dataclass(frozen=True)
class Heard:
    """One piece of audio that the user said.

    Attributes
    ----------
    samples : numpy.ndarray
        s16 mono 48,000 Hz.
    prompt : str or None
        Name of the bundled prompt that it is.
    """

    samples: S16
    prompt: str | None

    @property
    def text(self) -> str | None:
        """The words, where they are known."""
        known = (p.text for p in repertoire.prompts() if p.name == self.prompt)
        return next(known, None)


@dataclass(frozen=True)
class Asked:
    """All that a voice may go by.

    Attributes
    ----------
    heard : Heard or None
        The audio of the user's last message.
    text : str
        Its text.
    tools : tuple of dict
        The function tools that may be called now.
    tool_choice : str or dict
        As in the session.
    tool_answered : bool
        A tool has answered since that message.
    answered : tuple of str
        The names of the tools that have, without an error.
    """

    heard: Heard | None = None
    text: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] = "auto"
    tool_answered: bool = False
    answered: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What is said, or which tool is called instead.

    Attributes
    ----------
    text : str
        The words, for a transcript or for a text answer.
    pcm : bytes
        The sound: s16 mono 48,000 Hz.
    tool, arguments : str
        Name and JSON arguments of the call; "" for none.
    echo : bool
        The sound holds audio of the user's.
    """

    text: str = ""
    pcm: bytes = field(default=b"", repr=False)
    tool: str = ""
    arguments: str = ""
    echo: bool = False


Voice = Callable[[Asked], Reply]


def default(asked: Asked) -> Reply:
    """Answer what is known, and say so of what is not."""
    prompt = asked.heard.prompt if asked.heard else None
    if asked.text:
        found = repertoire.prompt_in(asked.text)
        prompt = found.name if found else None
    said = repertoire.saying_for(prompt) if prompt else None
    if asked.tool_answered:
        # the recorded answer speaks of its own tool; another tool's result gets the general one
        own = said is not None and any(_fits(said.tool_name, name) for name in asked.answered)
        return _say(said if said and own else repertoire.saying("generic_tool"))
    tool = chosen_tool(asked.tools, asked.tool_choice, asked.text, said.tool_name if said else None)
    if tool is not None:
        known = said.tool_arguments if said else {}
        return Reply(tool=tool["name"], arguments=json.dumps(arguments_for(tool, known)))
    if said is not None and not said.tool_name:
        return _say(said)
    if asked.heard is not None and not asked.text:
        return _heard(asked.heard)
    return _say(repertoire.saying("generic_text"))


def greeting() -> Reply:
    """Begin a conversation in which the user has said nothing."""
    said = repertoire.saying_for("greeting")
    assert said is not None
    return _say(said)


def parrot(asked: Asked) -> Reply:
    """Play the user's audio back; text is handled by the default voice."""
    if asked.heard is None or asked.text or asked.tool_answered:
        return default(asked)
    pcm = audible(asked.heard.samples).tobytes()
    return Reply(text=asked.heard.text or "", pcm=pcm, echo=True)


def _fits(wanted: str | None, name: str) -> bool:
    return wanted is not None and wanted in name.lower()


def _say(said: repertoire.Saying) -> Reply:
    return Reply(text=said.text, pcm=said.pcm)


def _heard(heard: Heard) -> Reply:
    sound = audible(heard.samples).tobytes()
    seconds = int(audible_seconds(heard.samples) + 0.5)
    if seconds == 0:
        return Reply(pcm=sound, echo=True)
    said = repertoire.saying(f"generic_heard_{seconds if seconds <= _COUNTED else 'more'}")
    return Reply(text=said.text, pcm=said.pcm + _PAUSE + sound, echo=True)


VOICES: Final[Mapping[str, Voice]] = {"default": default, "parrot": parrot}
