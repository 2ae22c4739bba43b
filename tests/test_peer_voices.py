"""What the peer says: known prompts, unknown audio, text, tools; and that it claims nothing untrue."""

from __future__ import annotations

import json

import numpy as np
import pytest
from peer_client import prompt_pcm

from rtnb.audio import Clip
from rtnb.peer import repertoire
from rtnb.peer.audible import audible
from rtnb.peer.toolcalls import arguments_for, chosen_tool
from rtnb.peer.voices import Asked, Heard, default, parrot

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
        "required": ["city"],
    },
}
TONE = (Clip.tone(440, 3.1).samples * 32767).astype(np.int16)


def heard(name, **silence):
    return Heard(prompt_pcm(name, **silence), name)


def test_every_prompt_but_the_tool_prompt_has_its_own_answer():
    """The clip and the words belong together."""
    for prompt in repertoire.prompts():
        reply = default(Asked(heard(prompt.name)))
        said = repertoire.saying_for(prompt.name)
        assert said is not None
        assert (reply.text == said.text) == (said.tool_name is None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.6, "heard one second"),
        (1.4, "heard one second"),
        (1.6, "heard two seconds"),
        (3.1, "three seconds"),
        (10.4, "heard ten seconds"),
        (10.6, "more than ten"),
        (14.0, "more than ten"),
    ],
)
def test_of_unknown_audio_it_says_for_how_long_it_heard_it(seconds, words):
    """Then it plays the audio back, without the silence around it."""
    tone = np.resize(TONE, int(seconds * 48_000))
    for around in (np.zeros(24_000, np.int16), np.zeros(0, np.int16)):
        reply = default(Asked(Heard(np.concatenate([around, tone, around]), None)))
        assert words in reply.text and reply.echo
    assert tone[1000:9000].tobytes() in reply.pcm
    assert len(reply.pcm) / 96_000 < seconds + 2.5


@pytest.mark.parametrize("samples", [TONE[:9_600], np.zeros(96_000, np.int16)])
def test_of_a_moment_or_of_silence_it_says_nothing(samples):
    """No clip would be true of it: it comes back, and the transcript is empty."""
    reply = default(Asked(Heard(samples, None)))
    assert (reply.text, reply.pcm) == ("", samples.tobytes())


def test_text_that_holds_a_prompt_is_answered_like_the_prompt():
    """Case and punctuation do not count, the order of the words does."""
    spoken = default(Asked(heard("capital_of_france")))
    assert default(Asked(text="Tell me: WHAT IS the capital, of france")).text == spoken.text
    assert "read your message" in default(Asked(text="France of capital the is what")).text


def test_it_claims_to_have_used_a_tool_only_when_one_answered():
    """Without a tool the weather prompt is answered like unknown audio."""
    asked = heard("weather_in_paris")
    claim = repertoire.saying_for("weather_in_paris").text
    assert default(Asked(asked)).text == "I heard two seconds."
    assert default(Asked(asked, tools=(WEATHER,))).tool == "get_weather"
    assert default(Asked(asked, tool_answered=True, answered=("get_weather",))).text == claim


def test_the_result_of_another_tool_has_a_general_answer():
    """It does not speak of the weather when something else was asked."""
    general = repertoire.saying("generic_tool").text
    for name in ("greeting", "weather_in_paris"):
        for answered in ((), ("get_time",)):
            reply = default(Asked(heard(name), tool_answered=True, answered=answered))
            assert reply.text == general


def test_the_tool_prompt_calls_the_tool_with_what_it_names():
    """The arguments are the prompt's, restricted to the tool's parameters."""
    reply = default(Asked(heard("weather_in_paris"), tools=(WEATHER,)))
    assert json.loads(reply.arguments) == {"city": "Paris"}


def test_no_tool_is_called_where_that_is_forbidden():
    """tool_choice "none"."""
    reply = default(Asked(heard("weather_in_paris"), tools=(WEATHER,), tool_choice="none"))
    assert reply.tool == ""


@pytest.mark.parametrize(
    ("choice", "text", "called"),
    [
        ("auto", "Hello", None),
        ("auto", "Please call get_weather.", "get_weather"),
        ("auto", "Could you get weather for me?", "get_weather"),
        ("auto", "forget weatherproofing", None),
        ("required", "Hello", "get_weather"),
        ({"type": "function", "name": "get_weather"}, "Hello", "get_weather"),
        ({"type": "function", "name": "other"}, "Hello", None),
        ("none", "get_weather", None),
    ],
)
def test_which_tool_is_called(choice, text, called):
    """By name in the text, or because the choice says so."""
    tool = chosen_tool([WEATHER], choice, text, None)
    assert (tool["name"] if tool else None) == called


def test_arguments_are_not_made_up():
    """A text known under another name is used; the rest are defaults or empty values."""
    kinds = {
        "place": {"type": "string"},
        "unit": {"type": "string", "enum": ["C", "F"]},
        "days": {"type": "integer", "default": 3},
        "note": {"type": "string"},
        "exact": {"type": "boolean"},
        "optional": {"type": "string"},
    }
    required = ["place", "unit", "days", "note", "exact"]
    tool = {"name": "forecast", "parameters": {"properties": kinds, "required": required}}
    assert arguments_for(tool, {"city": "Paris"}) == {
        "place": "Paris",
        "unit": "C",
        "days": 3,
        "note": "",
        "exact": False,
    }


def test_a_parameter_may_be_anything():
    """A schema of `true` is one; null is as good as any value."""
    tool = {"name": "f", "parameters": {"properties": {"x": True}, "required": ["x"]}}
    assert arguments_for(tool, {}) == {"x": None}


def test_the_parrot_repeats_what_it_heard():
    """The sound is the user's; the words only where they are known."""
    known = parrot(Asked(heard("greeting", before=0.5, after=0.5)))
    assert known.text == "Hello, how are you today?"
    assert known.pcm in prompt_pcm("greeting", before=0.5, after=0.5).tobytes()
    assert parrot(Asked(Heard(TONE, None))).text == ""


def test_silence_is_kept_when_there_is_nothing_else():
    """A turn of silence does not become an empty clip."""
    silence = np.zeros(48_000, np.int16)
    assert len(audible(silence)) == 48_000


def test_every_clip_is_there_and_audible():
    """All replies of replies.json can be read and are between 1 and 20 seconds long."""
    for said in repertoire.sayings():
        samples = np.frombuffer(said.pcm, np.int16)
        assert 1 < len(samples) / 48_000 < 20 and np.abs(samples).max() > 3_000, said.name
