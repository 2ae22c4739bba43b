"""What the peer says: known prompts, unknown audio, text, tools; and that it claims nothing untrue."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from peer_client import prompt_pcm

from rtnb._audiofile import to_s16
from rtnb.audio import Clip
from rtnb.errors import ConfigurationError
from rtnb.peer import repertoire
from rtnb.peer.audible import audible
from rtnb.peer.heard import Heard
from rtnb.peer.toolcalls import arguments_for, chosen_tool
from rtnb.peer.voices import (
    Default,
    Parrot,
    Reply,
    Script,
    ToolCall,
    ToolResult,
    UserTurn,
    as_voice,
)

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
answer_to = Default()


def spoken(name, **more):
    heard = Heard(prompt_pcm(name), name)
    return UserTurn(number=1, text=heard.text, audio=heard.clip, sample=name, **more)


def unknown(samples):
    return UserTurn(number=1, audio=Heard(samples, None).clip)


def written(text, **more):
    found = repertoire.prompt_in(text)
    return UserTurn(number=1, text=text, sample=found.name if found else None, **more)


def pcm_of(clip):
    return to_s16(clip.samples).tobytes()


def test_every_prompt_but_the_tool_prompt_has_its_own_answer():
    """The words are those of its clip, so that the clip is what is heard."""
    for prompt in repertoire.prompts():
        answer = answer_to(spoken(prompt.name))
        said = repertoire.saying_for(prompt.name)
        assert said is not None
        assert (answer == said.text) == (said.tool_name is None)


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
        said, sound = answer_to(unknown(np.concatenate([around, tone, around])))
        assert words in said and sound.echo and not sound.text
    assert tone[1000:9000].tobytes() in pcm_of(sound.clip)
    assert sound.clip.duration < seconds + 0.2


@pytest.mark.parametrize("samples", [TONE[:9_600], np.zeros(96_000, np.int16)])
def test_of_a_moment_or_of_silence_it_says_nothing(samples):
    """No clip would be true of it: it comes back, and the transcript is empty."""
    answer = answer_to(unknown(samples))
    assert (answer.text, answer.echo, pcm_of(answer.clip)) == ("", True, samples.tobytes())


def test_text_that_holds_a_prompt_is_answered_like_the_prompt():
    """Case and punctuation do not count, the order of the words does."""
    answer = answer_to(spoken("capital_of_france"))
    assert answer_to(written("Tell me: WHAT IS the capital, of france")) == answer
    assert "read your message" in answer_to(written("France of capital the is what"))


def test_before_the_user_has_said_anything_it_greets():
    """A response to an empty conversation; a tool that has to be called is called, though."""
    assert answer_to(UserTurn()) == repertoire.saying_for("greeting").text
    called = answer_to(UserTurn(tools=(WEATHER,), tool_choice="required"))
    assert called == ToolCall("get_weather", {"city": ""})


def results(*names, output="{}"):
    return tuple(ToolResult(name, f"call_{i}", output) for i, name in enumerate(names))


def test_it_claims_to_have_used_a_tool_only_when_one_answered():
    """Without a tool the weather prompt is answered like unknown audio."""
    claim = repertoire.saying_for("weather_in_paris").text
    assert answer_to(spoken("weather_in_paris"))[0] == "I heard two seconds."
    asked = spoken("weather_in_paris", tools=(WEATHER,))
    assert answer_to(asked).name == "get_weather"
    assert answer_to(spoken("weather_in_paris", results=results("get_weather"))) == claim


def test_the_result_of_another_tool_has_a_general_answer():
    """It does not speak of the weather when something else was asked, or when that failed."""
    general = repertoire.saying("generic_tool").text
    failed = results("get_weather", output='{"error": "no network"}')
    for name in ("greeting", "weather_in_paris"):
        for answered in (results(""), results("get_time"), failed):
            assert answer_to(spoken(name, results=answered)) == general


def test_the_tool_prompt_calls_the_tool_with_what_it_names():
    """The arguments are the prompt's, restricted to the tool's parameters."""
    answer = answer_to(spoken("weather_in_paris", tools=(WEATHER,)))
    assert answer == ToolCall("get_weather", {"city": "Paris"})


def test_no_tool_is_called_where_that_is_forbidden():
    """tool_choice "none"."""
    answer = answer_to(spoken("weather_in_paris", tools=(WEATHER,), tool_choice="none"))
    assert isinstance(answer, list)


def test_what_was_said_names_no_tool():
    """Only what was written does: a sample's words are not the user's wish for a tool."""
    lights = {"type": "function", "name": "turn_on_the_lights"}
    said = repertoire.saying_for("turn_on_the_lights").text
    assert answer_to(spoken("turn_on_the_lights", tools=(lights,))) == said
    assert answer_to(written("Turn on the lights!", tools=(lights,))).name == "turn_on_the_lights"


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
    pcm = prompt_pcm("greeting", before=0.5, after=0.5)
    heard = Heard(pcm, "greeting")
    known = Parrot()(UserTurn(number=1, text=heard.text, audio=heard.clip, sample="greeting"))
    assert known.text == "Hello, how are you today?" and known.echo
    assert pcm_of(known.clip) in pcm.tobytes()
    assert Parrot()(unknown(TONE)).text == ""


def test_the_parrot_leaves_text_and_tools_to_the_default_voice():
    """It has nothing to repeat."""
    assert Parrot()(written("Hello")) == answer_to(written("Hello"))
    answered = spoken("greeting", results=results("get_time"))
    assert Parrot()(answered) == answer_to(answered)


def test_a_voice_is_given_by_name_or_as_itself():
    """None is the default."""

    async def mine(turn):
        return turn.text

    assert as_voice(None) == as_voice("default") == Default()
    assert as_voice("parrot") == Parrot()
    for voice in (Parrot(), Script([]), mine, lambda turn, *more: None):
        assert as_voice(voice) is voice


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("marin", "no voice 'marin'; give 'default', 'parrot'"),
        (Parrot, r"Parrot\(\) rather than Parrot"),
        (7, "called with a UserTurn; give a function"),
        (lambda: "hello", "function of one parameter"),
        (lambda turn, session: "hello", "function of one parameter"),
    ],
)
def test_what_cannot_be_a_voice_is_refused(given, told):
    """In one sentence, before any call."""
    with pytest.raises(ConfigurationError, match=told):
        as_voice(given)


@pytest.mark.parametrize("voice", [Default(), Parrot(), Script([{"say": "Hello"}])], ids=repr)
def test_the_peers_own_voices_can_be_sent_to_its_process(voice):
    """Pickled and back they are equal, and answer alike."""
    again = pickle.loads(pickle.dumps(voice))
    assert again == voice and again(UserTurn()) == voice(UserTurn())


def test_a_reply_keeps_user_audio_out_of_its_text():
    """A repr goes into logs: it shows no samples."""
    reply = Reply("words", Clip.tone(440, 0.1))
    assert "Clip" not in repr(reply) and "words" in repr(reply)


def test_silence_is_kept_when_there_is_nothing_else():
    """A turn of silence does not become an empty clip."""
    silence = np.zeros(48_000, np.int16)
    assert len(audible(silence)) == 48_000


def test_every_clip_is_there_and_audible():
    """All replies of replies.json can be read and are between 1 and 20 seconds long."""
    for said in repertoire.sayings():
        samples = np.frombuffer(said.pcm, np.int16)
        assert 1 < len(samples) / 48_000 < 20 and np.abs(samples).max() > 3_000, said.name
