"""A voice and a prompt that are soon over, for tests of calls in which the words take no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import rtnb
from rtnb.peer import repertoire
from rtnb.peer.voices import Script

__all__ = ["SOON", "STORY", "brief_prompt", "brief_voice"]

SOON: Final = {"type": "server_vad", "silence_duration_ms": 200}
"""Turn detection that does not wait long for the end of a prompt."""

STORY: Final = "Tell me a long story."
"""What is answered at length: 13 s."""


def brief_voice(folder: Path, seconds: float = 0.5) -> Script:
    """Return the words of the default voice, but each in `seconds` of sound, the story excepted.

    Whatever else it hears or reads is answered with "All right."
    """
    clip = str(rtnb.Clip.tone(440, seconds, level=-6.0).write(folder / "reply.wav"))
    story = str(Path(repertoire.__file__).parent / "replies" / "tell_me_a_story.wav")
    rules: list[dict[str, Any]] = []
    for prompt in repertoire.prompts():
        said = repertoire.saying_for(prompt.name)
        assert said is not None
        match = {"sample": prompt.name}
        if said.tool_name:
            call = {"name": said.tool_name, "arguments": said.tool_arguments}
            rules.append({"match": match, "call": call})
            match = {"tool": said.tool_name}
        sound = story if prompt.name == "tell_me_a_story" else clip
        rules.append({"match": match, "clip": sound, "say": said.text})
    return Script([*rules, {"clip": clip, "say": "All right."}])


def brief_prompt() -> rtnb.Clip:
    """Return 0.7 s of speech, which is no bundled sample."""
    return rtnb.sample("greeting")[:0.7]
