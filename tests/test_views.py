"""How clips, turns, sessions and lists of turns look: the same as their text, and never markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

import rtnb
from rtnb import _html
from rtnb.clipview import ClipView, clip_body
from rtnb.sessionview import call_body, phase_bar, properties
from rtnb.turnview import ToolView, TurnView, tokens, turn_body, turn_line, turn_list

EVIL = "<script>alert(1)</script>\x1b[31m\u202etxt"
TURN = TurnView(
    number=3,
    status="completed",
    error=None,
    voice="marin",
    name="capital_of_france",
    said="What is the capital of France?",
    text=False,
    transcript="Paris.",
    first_audio=0.625,
    duration=1.5,
    prompt=ClipView("Clip 2.00 s", (-0.5,), (0.5,), ("audio/flac", b"prompt"), role="prompt"),
    reply=ClipView("Clip 1.50 s", (-0.5,), (0.5,), ("audio/flac", b"reply"), role="reply"),
)


def words(html: str) -> str:
    """Return what is read of HTML, without tags and styles."""
    bare = re.sub(r"<style>.*?</style>|<pre class=\"rtnb-text\">.*?</pre>", "", html, flags=re.S)
    return unescape(re.sub(r"<[^>]+>", " ", bare))


def numbered(count: int) -> list[TurnView]:
    """Return so many turns, each with another latency, the slowest first."""
    return [replace(TURN, number=n, first_audio=9.0 - n / 1000) for n in range(1, count + 1)]


# --- one clip ------------------------------------------------------------------------------------


def test_a_clip_has_waveform_player_figures_and_note() -> None:
    """All four, in the colour of its side."""
    html = clip_body(ClipView("figures", (-1.0,), (1.0,), ("audio/flac", b"x"), "a note", "reply"))
    assert html.index("<svg") < html.index("<audio") < html.index("figures") < html.index("a note")
    assert "rtnb-reply" in html


def test_a_clip_without_samples_is_only_said() -> None:
    """No empty player and no empty drawing."""
    assert not re.search("<svg|<audio", clip_body(ClipView("Clip 0.00 s: no samples")))


# --- one turn ------------------------------------------------------------------------------------


def test_a_turn_says_the_same_in_text_and_html() -> None:
    """Number, status, both sides' words and the latency are in both."""
    line, html = turn_line(TURN), words(turn_body(TURN))
    for fact in ("Turn 3", "completed", TURN.said, "Paris.", "first audio 0.62 s"):
        assert str(fact) in line
        assert str(fact) in html


def test_a_turn_has_players_for_both_sides() -> None:
    """The prompt's is in the prompt's colour, the reply's in the reply's."""
    prompt, reply = turn_body(TURN).split('<div class="rtnb-side rtnb-reply">')
    assert prompt.count("<audio") == reply.count("<audio") == 1
    assert '<div class="rtnb-side rtnb-prompt">' in prompt


def test_a_turn_without_a_reply_says_so_and_why() -> None:
    """The status is bad news, and the reason is there."""
    silent = replace(TURN, status="no_reply", transcript="", reply=None, error="Nothing came.")
    html = turn_body(silent)
    assert 'rtnb-bad">no reply<' in html
    assert "nothing was heard" in html
    assert "Nothing came." in words(html)
    assert "Nothing came." in turn_line(silent)


@pytest.mark.parametrize(
    ("tool", "shown"),
    [
        (ToolView("weather", '{"city": "Paris"}', "18 °C", None, 0.25), "18 °C"),
        (ToolView("weather", "{}", None, "it raised ValueError", 0.25), "it raised ValueError"),
        (ToolView("weather", "{}", None, None, None), "no result yet"),
    ],
)
def test_a_tool_call_shows_what_became_of_it(tool: ToolView, shown: str) -> None:
    """Name, arguments, and result or error."""
    html = words(turn_body(replace(TURN, tools=[tool])))
    assert f"weather({tool.arguments})" in html
    assert shown in html


def test_tokens_are_told_by_kind() -> None:
    """Cached ones are part of the input, and said as such."""
    usage = {
        "total_tokens": 30,
        "input_tokens": 20,
        "output_tokens": 10,
        "input_token_details": {"audio_tokens": 15, "text_tokens": 5, "cached_tokens": 4},
        "output_token_details": {"audio_tokens": 10},
    }
    assert tokens(usage) == "30 tokens: 20 input (15 audio, 5 text, 4 cached), 10 output (10 audio)"
    assert tokens({}) == ""


# --- many turns ----------------------------------------------------------------------------------


def test_turns_are_rows_under_headings() -> None:
    """One line a turn, players in it."""
    html = turn_list(numbered(3))
    assert html.count('class="rtnb-rowline"') == 3
    assert html.count("<audio") == 6


def test_turns_are_sorted_without_a_script() -> None:
    """Each row carries its rank by each column; the slowest first turn is last by latency."""
    html = turn_list(numbered(3))
    assert "<script" not in html
    assert re.findall(r"--r0:(\d)", html) == ["0", "1", "2"]
    assert re.findall(r"--r5:(\d)", html) == ["2", "1", "0"]


def test_a_turn_without_a_latency_is_sorted_last() -> None:
    """What was not heard is slower than all that was."""
    html = turn_list([replace(TURN, first_audio=None), TURN])
    assert re.findall(r"--r5:(\d)", html) == ["1", "0"]


def test_two_tables_in_one_page_are_sorted_apart() -> None:
    """Their radio buttons have names of their own."""
    names = {re.findall(r'name="([^"]+)"', turn_list([TURN]))[0] for _ in range(2)}
    assert len(names) == 2


def test_a_long_list_is_cut_and_says_so() -> None:
    """Of 1,000 turns 200 are shown."""
    html = turn_list(numbered(1000))
    assert html.count('class="rtnb-rowline"') == 200
    assert "and 800 more turns" in html


def test_no_turns_are_said() -> None:
    """An empty list is no empty table."""
    assert "no turns" in turn_list([])


# --- a session, a run ----------------------------------------------------------------------------


def test_the_phases_are_to_scale() -> None:
    """Each takes its share of the bar, and its seconds are beneath."""
    html = phase_bar({"mint": 0.3, "sdp": 0.1, "total": 0.5})
    assert re.findall(r"flex:([\d.]+)", html) == ["0.7500", "0.2500"]
    assert "mint 0.300 s · sdp 0.100 s; 0.500 s in all" in html
    assert phase_bar({}) == ""


def test_what_is_not_known_is_left_out() -> None:
    """A property of None has no row."""
    assert "voice" not in properties([("model", "m"), ("voice", None)])


def test_what_is_wrong_with_a_call_is_on_top() -> None:
    """The state is bad news then."""
    html = call_body("Session", "closed", "The server is gone.", [("model", "m")])
    assert html.index("The server is gone.") < html.index("model")
    assert 'rtnb-bad">closed<' in html


# --- what comes from outside ---------------------------------------------------------------------


def hostile() -> TurnView:
    """Return a turn every text of which is hostile."""
    tool = ToolView(EVIL, EVIL, EVIL, None, 0.1)
    failed = ToolView(EVIL, EVIL, None, EVIL, 0.1)
    texts = dict.fromkeys(("status", "error", "voice", "name", "said", "transcript"), EVIL)
    clip = ClipView(EVIL, note=EVIL)
    return replace(TURN, **texts, prompt=clip, reply=clip, tools=[tool, failed])


@pytest.mark.parametrize(
    "html",
    [
        turn_body(hostile()),
        turn_list([hostile()]),
        clip_body(ClipView(EVIL, note=EVIL)),
        call_body(EVIL, EVIL, EVIL, [(EVIL, EVIL)]),
        _html.boxed("", EVIL),
        rtnb.AudioError(EVIL)._repr_html_(),
        rtnb.Endpoint.openai(None, base_url="https://example.org/%3Cscript%3E")._repr_html_(),
    ],
    ids=["turn", "turns", "clip", "call", "text", "error", "endpoint"],
)
def test_nothing_from_outside_becomes_markup(html: str) -> None:
    """No tag, no escape sequence, and nothing that reorders what is read."""
    assert "<script" not in html
    assert not set("\x1b\u202e") & set(html)


def test_a_megabyte_in_a_turn_is_cut() -> None:
    """A huge transcript makes no huge page."""
    big = "<x>" * 350_000
    assert len(turn_body(replace(TURN, transcript=big, said=big, error=big))) < 300_000
    assert len(turn_list([replace(TURN, transcript=big, name=big, error=big)])) < 100_000


def test_a_cell_without_styles_shows_the_text() -> None:
    """The body is hidden until the styles come, and the text is there for a page that drops them."""
    html = _html.boxed("<b>body</b>", "the text")
    assert '<pre class="rtnb-text">the text</pre>' in html
    assert '<div class="rtnb-body" style="display:none"><b>body</b></div>' in html
    assert ".rtnb-text { display: none; }" in html


# --- the real things -----------------------------------------------------------------------------


def test_the_things_of_a_call_show_what_their_text_says(session: rtnb.Session) -> None:
    """Turn, session and list: each fact of the text is in the HTML."""
    turn = session.ask(rtnb.sample("capital_of_france"))
    for thing in (turn, session.turns, turn.reply):
        shown = re.sub(r"\s+", " ", words(thing._repr_html_()))
        for fact in re.findall(r"[\d.]+ s\b|completed|The capital of France is Paris", repr(thing)):
            assert fact in shown
    assert f"voice {session.voice}" in words(turn._repr_html_())


def test_the_session_shows_state_phases_and_turns(session: rtnb.Session) -> None:
    """And neither a key nor the place of its folder."""
    html = session._repr_html_()
    shown = words(html)
    for fact in ("open", session.endpoint.base_url, str(session.model), "mint", "dtls", "marin"):
        assert fact in shown
    assert str(session.folder.parent) not in html
    assert "local-peer" not in html


def test_turns_become_a_frame(session: rtnb.Session) -> None:
    """One row a turn, numbers as numbers."""
    frame = session.turns.to_frame()
    assert frame["transcript"].iloc[0] == "The capital of France is Paris."
    assert frame["first_audio"].iloc[0] == session.turns[0].latency.first_audio
    assert frame["voice"].iloc[0] == session.voice
    assert frame["input_tokens"].iloc[0] > 0


def test_a_part_of_the_turns_is_a_list_of_turns(session: rtnb.Session) -> None:
    """A slice shows itself as the whole does."""
    assert isinstance(session.turns[:1], rtnb.Turns)
    assert session.turns[0] is session.turns[:1][0]


def test_no_frame_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        rtnb.Turns().to_frame()
