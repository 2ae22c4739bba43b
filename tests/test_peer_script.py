"""The peer's script: which rule answers, what it fills in, and what is refused before any call."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from rtnb.audio import Clip
from rtnb.errors import ConfigurationError
from rtnb.peer.mouth import Mouth
from rtnb.peer.speech import Speech
from rtnb.peer.voices import Default, Failure, Reply, Script, ToolCall, ToolResult, UserTurn

WEATHER = """\
- match: {sample: weather_in_paris}
  say: One moment, please.
  call: {name: get_weather, arguments: {city: Paris}}
- match: {tool: get_weather}
  say: "It is {result[temperature]} degrees in {result[city]}."
- match: {text: goodbye}
  say: Goodbye.
- match: {turn: 3}
  fail: {code: server_error, message: "That is enough."}
"""
SPEECH = Speech(synthesiser=None)


def result(output, name="get_weather"):
    text = output if isinstance(output, str) else json.dumps(output)
    return ToolResult(name, "call_1", text)


def render(script, turn, **how):
    return asyncio.run(Mouth(script, SPEECH).render(turn, **{"spoken": True, **how}))


def said(rules, turn, **more):
    """Return the text that a script answers with."""
    answer = Script(rules, **more)(turn)
    return answer.text if isinstance(answer, Reply) else answer


@pytest.fixture
def weather(tmp_path):
    path = tmp_path / "weather.yaml"
    path.write_text(WEATHER, encoding="utf-8")
    return Script.read(path)


def test_ten_lines_call_a_tool_wait_and_speak_its_result(weather):
    """The call comes first; when the result is there, it is spoken, and nothing is called again."""
    turn = UserTurn(number=1, text="What is the weather in Paris?", sample="weather_in_paris")
    asking = render(weather, turn)
    assert asking.text == "One moment, please." and asking.pcm
    assert asking.calls == (("get_weather", '{"city": "Paris"}'),)
    answered = UserTurn(
        number=1,
        sample="weather_in_paris",
        results=(result({"temperature": 21.5, "city": "Paris"}),),
    )
    telling = render(weather, answered)
    assert telling.text == "It is 21.5 degrees in Paris."
    assert telling.pcm and telling.calls == ()


def test_where_no_rule_holds_the_default_voice_answers(weather):
    """The script need not know everything."""
    turn = UserTurn(number=1, sample="capital_of_france", text="What is the capital of France?")
    assert weather(turn) == Default()(turn)
    assert Script([])(turn) == Default()(turn)


def test_the_first_rule_that_holds_is_said():
    """A rule without `match` always holds."""
    rules = [{"match": {"turn": 2}, "say": "two"}, {"say": "any"}, {"say": "never"}]
    assert [said(rules, UserTurn(number=n)) for n in (0, 1, 2, 3)] == ["any", "any", "two", "any"]


def test_all_parts_of_a_match_have_to_hold():
    """A sample and a turn are one condition."""
    rules = [{"match": {"sample": "greeting", "turn": 2}, "say": "again"}, {"say": "no"}]
    assert said(rules, UserTurn(number=2, sample="greeting")) == "again"
    assert said(rules, UserTurn(number=1, sample="greeting")) == "no"
    assert said(rules, UserTurn(number=2)) == "no"


@pytest.mark.parametrize(
    ("wanted", "text", "holds"),
    [
        ("paris", "Is it Paris?", True),
        ("capital of france", "The CAPITAL, of France", True),
        ("paris", "a comparison", False),
        ("france capital", "the capital of France", False),
        ("привет", "Ну, Привет!", True),
        (r"/par.s$/", "It is PARIS", True),
        (r"/^par/", "It is Paris", False),
        ("/", "a / b", None),
        ("a/b", "what is a b", True),
    ],
)
def test_words_and_expressions_match_text(wanted, text, holds):
    """Words in order, whole, whatever their case; or an expression between slashes."""
    rules = [{"match": {"text": wanted}, "say": "yes"}, {"say": "no"}]
    if holds is None:
        with pytest.raises(ConfigurationError, match="holds no word"):
            Script(rules)
    else:
        assert said(rules, UserTurn(number=1, text=text)) == ("yes" if holds else "no")


def test_several_calls_are_made_at_once_and_not_again():
    """The rule holds until all of them have answered."""
    calls = [{"name": "a"}, {"name": "b", "arguments": '{"x": 1}'}]
    script = Script([{"call": calls}, {"say": "done"}])
    assert script(UserTurn()).calls == (ToolCall("a", {}), ToolCall("b", '{"x": 1}'))
    assert script(UserTurn(results=(result({}, "a"),))).calls
    assert script(UserTurn(results=(result({}, "b"), result({}, "a")))).text == "done"


@pytest.mark.parametrize(
    ("say", "filled"),
    [
        ("{text} {turn}", "hello {result} 4"),
        ("{result}", '{"list": [1, "two"], "name": "Zoë", "gone": null, "sub": {"k": true}}'),
        ("{result[name]}, {result[list][1]}", "Zoë, two"),
        ("{result[list]} {result[gone]} {result[sub][k]}", '[1, "two"] null true'),
        ("{{result}} {{", "{result} {"),
        ("{result['name']}", "Zoë"),
    ],
)
def test_placeholders_are_filled_in(say, filled):
    """What is filled in is not looked at again: the user's braces stay braces."""
    output = {"list": [1, "two"], "name": "Zoë", "gone": None, "sub": {"k": True}}
    answered = ToolResult("f", "call_1", json.dumps(output, ensure_ascii=False))
    turn = UserTurn(number=4, text="hello {result}", results=(answered,))
    assert said([{"say": say}], turn) == filled


def test_a_result_may_be_plain_text():
    """A JSON string is shown without its quotes, what is no JSON as it is."""
    for output in ("sunny", '"sunny"'):
        turn = UserTurn(results=(result(output),))
        assert said([{"say": "{result}"}], turn) == "sunny"


def test_the_result_is_that_of_the_rules_tool():
    """Without a tool in `match` it is the last one."""
    turn = UserTurn(results=(result("1", "a"), result("2", "b")))
    assert said([{"match": {"tool": "a"}, "say": "{result}"}], turn) == "1"
    assert said([{"say": "{result}"}], turn) == "2"


@pytest.mark.parametrize(
    ("say", "results", "told"),
    [
        ("{result}", (), "no tool has answered"),
        ("{result[x]}", (result({"y": 1}),), r"nothing at {result\[x\]}"),
        ("{result[0]}", (result("plain"),), "nothing at"),
        ("{result[9]}", (result([1]),), "nothing at"),
        ("{result[__class__]}", (result({"y": 1}),), "nothing at"),
    ],
)
def test_a_placeholder_that_stands_for_nothing_fails_the_response(say, results, told):
    """The error names the rule and the placeholder."""
    rendered = render(Script([{"say": say}]), UserTurn(results=results))
    assert rendered.text == "" and rendered.failure is not None
    assert rendered.failure.message.startswith("Rule 1 of the peer's script")
    assert re.search(told, rendered.failure.message)


def test_clips_lie_beside_the_file_and_say_is_their_transcript(tmp_path):
    """A bundled sample is named, and brings its words."""
    Clip.tone(440, 0.25).write(tmp_path / "tone.wav")
    path = tmp_path / "s.yaml"
    path.write_text(
        "- {match: {turn: 1}, clip: tone.wav, say: Ding, delay: 0.5}\n- clip: greeting\n", "utf-8"
    )
    script = Script.read(path)
    tone = render(script, UserTurn(number=1))
    assert (tone.text, tone.delay, tone.echo, len(tone.pcm)) == ("Ding", 0.5, False, 24_000)
    assert script(UserTurn()).text == "Hello, how are you today?"


def test_a_rule_may_fail_after_what_it_says():
    """Both are in the reply."""
    answer = Script([{"say": "Oh", "fail": {"code": "c", "message": "m"}}])(UserTurn())
    assert answer == Reply("Oh", failure=Failure("m", "c"))
    assert Script([{"fail": {}}])(UserTurn()).failure == Failure()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("hello", "a rule is a mapping"),
        ({}, "it says nothing"),
        ({"delay": 1}, "it says nothing"),
        ({"saay": "hello"}, "a rule has no 'saay'; there are 'match', 'say'"),
        ({"say": 42}, "'say' is text, not int '42'; put it in quotes"),
        ({"say": "{reslt}"}, "'{reslt}' is no placeholder"),
        ({"say": "{turn.real}"}, "'{turn.real}' is no placeholder"),
        ({"say": "{result!r}"}, "is no placeholder"),
        ({"say": "{turn:>99}"}, "is no placeholder"),
        ({"say": "a } b"}, "a brace itself is written twice"),
        ({"say": "x", "match": "paris"}, "'match' is a mapping with 'sample'"),
        ({"say": "x", "match": {"words": "a"}}, "'match' has no 'words'"),
        ({"say": "x", "match": {"sample": "nope"}}, "no bundled sample 'nope'; there are capital"),
        ({"say": "x", "match": {"sample": 3}}, "'sample' is text, not 3"),
        ({"say": "x", "match": {"text": ""}}, "'text' is text, not ''"),
        ({"say": "x", "match": {"text": "/(/"}}, "'/(/' is no regular expression"),
        ({"say": "x", "match": {"turn": "2"}}, "'turn' is a whole number from 0, not '2'"),
        ({"say": "x", "match": {"turn": True}}, "'turn' is a whole number"),
        ({"say": "x", "match": {"turn": -1}}, "'turn' is a whole number"),
        ({"say": "x", "match": {"tool": ["a"]}}, "'tool' is text"),
        ({"clip": "gone.wav"}, "no audio file"),
        ({"clip": 3}, "'clip' is text"),
        ({"call": "f"}, "'call' is a mapping with 'name', 'arguments'"),
        ({"call": []}, "'call' is an empty list"),
        ({"call": {}}, "the 'name' of a call is text, not None"),
        ({"call": {"name": "f", "args": {}}}, "'call' has no 'args'"),
        ({"call": {"name": "f", "arguments": [1]}}, "are a mapping or JSON, not list"),
        ({"call": {"name": "f", "arguments": {"x": {1}}}}, "of 'f' cannot be JSON"),
        ({"call": {"name": "f", "arguments": {"x": float("nan")}}}, "cannot be JSON"),
        ({"fail": "no"}, "'fail' is a mapping with 'message', 'code', 'type'"),
        ({"fail": {"code": 500}}, "'code' of 'fail' is text, not 500"),
        ({"say": "x", "delay": -1}, "'delay' is a number of seconds from 0 to 3600, not -1"),
        ({"say": "x", "delay": float("nan")}, "'delay' is a number"),
        ({"say": "x", "delay": "1"}, "'delay' is a number"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_with_its_number(rule, told):
    """At once, in one sentence that says what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        Script([{"say": "fine"}, rule])
    message = str(caught.value)
    assert message.startswith("Rule 2 of the script: ") and message.endswith(".")
    assert told in message and "\n" not in message


@pytest.mark.parametrize("rules", [None, "say: hello", {"say": "x"}, 7])
def test_rules_are_a_list(rules):
    """One rule alone is none."""
    with pytest.raises(ConfigurationError, match="has to be a list of rules"):
        Script(rules)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"- say: [", r"no YAML at line"),
        (b"- say: \xff", "no YAML"),
        (b"", "has to be a list of rules, not nothing"),
        (b"say: hello", "has to be a list of rules, not dict"),
        (b"- saay: hello", "Rule 1 of the script 'bad.yaml': a rule has no 'saay'"),
        (b"- !!python/object/apply:os.getcwd []", "no YAML"),
        (b"[" * 5000, "no YAML"),
    ],
)
def test_a_file_that_is_no_script_is_refused(tmp_path, content, told):
    """The sentence names the file, and nothing in it is run."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=told):
        Script.read(path)


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    """Two rules with a '-' missing between them: YAML readers take the last, and say nothing."""
    path = tmp_path / "twice.yaml"
    path.write_text("- say: one\n  say: two\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"line 2 .'say' is there twice; is a '-' missing"):
        Script.read(path)


def test_parts_of_yaml_can_be_used_again(tmp_path):
    """Anchors, aliases and merged mappings are no repetition."""
    path = tmp_path / "again.yaml"
    path.write_text("- &one {say: one, delay: 1}\n- {<<: *one, delay: 2}\n", encoding="utf-8")
    rules = Script.read(path)._rules
    assert [(rule.say, rule.delay) for rule in rules] == [("one", 1.0), ("one", 2.0)]


def test_a_path_is_no_list_of_rules():
    """The sentence says how a file is read."""
    with pytest.raises(ConfigurationError, match=r"a file is read by Script\.read"):
        Script("weather.yaml")


def test_a_file_that_is_not_there_is_told(tmp_path):
    """So is a folder."""
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(ConfigurationError, match=r"script '.+' cannot be read: "):
            Script.read(path)


def test_a_script_shows_how_many_rules_it_has(weather):
    """Not what is in them."""
    assert repr(weather) == "<Script of 4 rules>" and repr(Script([])) == "<Script of 0 rules>"
