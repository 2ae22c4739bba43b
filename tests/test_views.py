"""How clips, turns, sessions and lists of turns look: the same as their text, and never markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plotted import spoken

import rtnb
from rtnb import _audiofile, _html
from rtnb.batch import Batch
from rtnb.clipview import ClipView, clip_body, clip_text
from rtnb.plotting import waterfall
from rtnb.prices import Cost
from rtnb.sdp import SdpView
from rtnb.sessionview import call_body, call_text, phase_bar, properties
from rtnb.turntable import turn_list, turn_summary
from rtnb.turnview import (
    ToolView,
    TurnView,
    tokens,
    turn_body,
    turn_line,
    turn_text,
)

STYLE = _html.style_text()
HIDDEN = "\x00\x07\x1b\r\u200b\u2028\u202e\u2066\ufeff\ud800"
EVIL = f"<script>alert(1)</script>{HIDDEN}[31m"
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
    silent = replace(silent, duration=0.0)
    html = turn_body(silent)
    assert 'rtnb-bad">no reply<' in html
    assert "nothing was heard" in html
    assert "Nothing came." in words(html)
    assert "Nothing came." in turn_line(silent)


def test_a_turn_in_progress_may_still_be_heard() -> None:
    """Silence so far is not told as silence for good, in text or HTML."""
    begun = replace(TURN, status="in_progress", transcript="", reply=None, duration=0.0)
    for shown in (turn_body(begun), turn_text(begun)):
        assert "nothing heard yet" in shown


def test_the_text_of_a_turn_has_the_whole_transcript() -> None:
    """Its line is short; what stands in for the HTML is not."""
    words = "and so on " * 50 + "to the end."
    long = replace(TURN, transcript=words, tools=[ToolView("f", "{}", "18 °C", None, 0.004)])
    assert words in turn_text(long)
    assert "tool, 0.004 s: f({}) → 18 °C" in turn_text(long)
    assert len(turn_line(long)) < 200


@pytest.mark.parametrize(("seconds", "shown"), [(0.0042, "0.004 s"), (0.25, "0.25 s")])
def test_a_fast_tool_has_more_places(seconds: float, shown: str) -> None:
    """No tool took 0.00 s."""
    tool = ToolView("weather", "{}", "18 °C", None, seconds)
    assert f"tool, {shown}<" in turn_body(replace(TURN, tools=[tool]))


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
    assert tokens({}) == tokens({"total_tokens": {"x": 1}}) == ""
    assert tokens({"input_tokens": 3, "output_tokens": 4}) == "7 tokens: 3 input, 4 output"


# --- what it took and cost -----------------------------------------------------------------------

STAGES = {"speech_stopped": 0.3, "committed": 0.1, "first_audible": 0.4, "reply_end": 9.0}
SEEN = Cost(0.0031, prices="somebody's pages, as seen in spring")


def test_a_turn_shows_cost_and_whose_prices() -> None:
    """The amount beside the latency, and the date of the prices below, in text too."""
    dear = replace(TURN, cost=SEEN)
    assert '<span class="rtnb-badge">$0.0031</span>' in turn_body(dear)
    for shown in (words(turn_body(dear)), turn_text(dear)):
        assert "$0.0031 at the prices of somebody's pages, as seen in spring" in shown
    assert ", $0.0031" in turn_line(dear, wide=True)


def test_a_turn_without_a_price_says_why() -> None:
    """No amount, and above all not $0."""
    unpriced = replace(TURN, unpriced="There is no price for the model 'x'.")
    for shown in (words(turn_body(unpriced)), turn_text(unpriced)):
        assert "no cost: There is no price for the model 'x'." in shown
        assert "$" not in shown


def test_what_first_audio_waited_for_is_a_bar_to_scale() -> None:
    """How long the reply is does not belong to it; the seconds are beneath, and in the text."""
    waited = replace(TURN, stages=STAGES)
    html = turn_body(waited)
    assert re.findall(r'class="rtnb-([\w-]+)" style="flex:([\d.]+)', html) == [
        ("speech-stopped", "0.3750"),
        ("committed", "0.1250"),
        ("first-audible", "0.5000"),
    ]
    line = "waited for: speech stopped 0.300 s · committed 0.100 s · first audible 0.400 s"
    assert line in words(html)
    assert line in turn_text(waited)
    assert "rtnb-phases" not in turn_body(TURN)


def test_a_stage_that_came_early_has_no_length() -> None:
    """The others still add up to the first audio."""
    early = replace(TURN, stages={"speech_stopped": 0.3, "committed": -0.1, "first_audible": 0.4})
    assert re.findall(r'title="[\w ]+ ([\d.]+) s"', turn_body(early)) == ["0.300", "0.000", "0.300"]


def test_every_stage_has_a_colour() -> None:
    """Those of the waterfall that `plots.latency` draws."""
    for name, color in waterfall.STAGES.items():
        style = re.search(rf"i\.rtnb-{name.replace('_', '-')} {{ background: (.*?); }}", STYLE)
        assert style, name
        variable = re.fullmatch(r"var\((.*)\)", style[1])
        value = re.search(rf"{variable[1]}: (.*?);", STYLE) if variable else style
        assert value
        assert value[1] == color


def test_a_missed_turn_says_so_and_why() -> None:
    """As a badge and in words; a turn that cannot be scored is no bad news."""
    late = replace(TURN, verdict="missed", reason="No reply was audible within 5 s.")
    assert 'rtnb-bad">missed<' in turn_body(late)
    assert '<p class="rtnb-why">No reply was audible within 5 s.</p>' in turn_body(late)
    assert ", missed: No reply was audible within 5 s, reply" in turn_line(late, wide=True)
    early = replace(TURN, verdict="excluded", reason="It began early.")
    assert '<span class="rtnb-badge">excluded</span>' in turn_body(early)
    assert '<p class="rtnb-muted">It began early.</p>' in turn_body(early)


@pytest.mark.parametrize("verdict", ["answered", "pending", ""])
def test_an_answered_turn_needs_no_verdict(verdict: str) -> None:
    """Its latency says it."""
    assert turn_body(replace(TURN, verdict=verdict)) == turn_body(TURN)


def test_an_explanation_takes_the_place_of_a_reason() -> None:
    """It says more, in the body and in the text."""
    silent = replace(TURN, verdict="missed", reason="No reply.", why="The prompt is silent. Speak.")
    assert "The prompt is silent. Speak." in words(turn_body(silent))
    assert "No reply." not in words(turn_body(silent))
    assert "why: The prompt is silent. Speak." in turn_text(silent)


def test_the_quality_of_its_call_is_below_a_turn() -> None:
    """Each figure travels with the packets that it was measured under."""
    figures = replace(TURN, quality="0.4 % lost, jitter 3.0 ms")
    for shown in (words(turn_body(figures)), turn_text(figures)):
        assert "0.4 % lost, jitter 3.0 ms" in shown


def test_a_real_turn_without_a_reply_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is shown by itself, not in its line, which has to be quick."""
    turn = spoken(tmp_path / "run", ("What?", "")).turns[0]
    turn._state.status, turn._state.responses = "no_reply", []
    turn._source.voice = turn._source.model = None
    assert turn.explain().text
    assert turn._view().why == turn.explain().text
    assert turn._view().quality == turn.quality.line
    assert turn._view(whole=False).why == ""
    monkeypatch.setattr(turn, "explain", lambda: pytest.fail("that takes too long for a line"))
    assert "no_reply" in repr(turn)
    assert "no_reply" in repr(rtnb.Turns([turn]))


# --- many turns ----------------------------------------------------------------------------------


def test_a_list_says_what_it_adds_up_to() -> None:
    """The median of what was answered, how many were, and the cost in all."""
    views = [
        replace(TURN, first_audio=s, verdict="answered", cost=SEEN, usage={"x": 1}) for s in (1, 3)
    ]
    late = replace(TURN, first_audio=6.0, verdict="missed", reason="It came late.")
    odd = replace(TURN, first_audio=None, verdict="excluded")
    assert turn_summary([*views, late, odd]) == (
        "first audio: median 2.00 s; answered 2 of 3; 1 excluded; $0.0062 in all"
    )


def test_a_ninetieth_percentile_is_told_of_ten() -> None:
    """Of fewer it would be the slowest one."""
    assert "p90" not in turn_summary(numbered(9))
    assert "p90 9.00 s" in turn_summary(numbered(10))


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    """It says how many turns have no price."""
    used = replace(TURN, usage={"total_tokens": 3})
    assert "; no cost of 1 of 2 turns that used tokens" in turn_summary(
        [used, replace(used, cost=SEEN)]
    )


def test_one_turn_adds_up_to_itself() -> None:
    """Its row says it all."""
    assert turn_summary([TURN]) == turn_summary([]) == ""


def test_costs_are_a_column_that_sorts() -> None:
    """The dearest last, and what is unknown after it."""
    costs = [Cost(0.02), None, Cost(0.0)]
    html = turn_list([replace(TURN, cost=cost) for cost in costs])
    assert re.findall(r"--r7:(\d)", html) == ["1", "2", "0"]
    assert [f"<div>{shown}</div></div>" in html for shown in ("$0.0200", "–", "$0.00")] == [
        True
    ] * 3
    assert all(f".rtnb-by{i}:checked ~ .rtnb-rows > .rtnb-rowline" in STYLE for i in range(8))


def test_a_row_says_why_it_was_not_answered() -> None:
    """The verdict where the latency would be, the reason where the reply would."""
    late = replace(TURN, first_audio=None, transcript="", verdict="missed", reason="Nobody spoke.")
    html = turn_list([late])
    assert '<span class="rtnb-why">missed</span>' in html
    assert '<div class="rtnb-why">Nobody spoke.</div>' in html


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
    """Of 1,000 turns the last 200 are shown."""
    html = turn_list(numbered(1000))
    assert re.findall(r"(?:--r\d:\d+;){8}[^>]*><div>(\d+)<", html) == [
        str(n) for n in range(801, 1001)
    ]
    assert "The last 200 turns; 800 earlier ones are left out." in html


def test_the_players_of_a_table_say_whose_they_are() -> None:
    """A screen reader tells them apart."""
    labels = re.findall(r'aria-label="(\w+ of turn \d)"', turn_list(numbered(2)))
    assert labels == ["prompt of turn 1", "reply of turn 1", "prompt of turn 2", "reply of turn 2"]


class Stub:
    """A turn that counts how often it is looked at; its sound has a size."""

    def __init__(self, number: int, size: int):
        self.asked = 0
        clip = ClipView("Clip", (), (), ("audio/mpeg", b"x" * size))
        self.view = replace(TURN, number=number, prompt=None, reply=clip)

    def _view(self, *, compact: bool, players: bool, whole: bool) -> TurnView:
        self.asked += 1
        return self.view if players else replace(self.view, reply=None)


def stubs(count: int, size: int = 10) -> rtnb.Turns:
    """Return a list of so many turns, each with a player of so many bytes."""
    return rtnb.Turns(Stub(n, size) for n in range(1, count + 1))  # type: ignore[misc]


def test_only_the_turns_that_are_shown_are_looked_at() -> None:
    """A thousand turns cost what their last fifty do, and the text says so."""
    turns = stubs(1000)
    lines = repr(turns).splitlines()
    assert lines[0] == "<1,000 turns> (the last 50; 950 earlier ones are left out)"
    assert lines[1].startswith("of the last 50: first audio: median 0.62 s")
    assert lines[-1].startswith("Turn 1000 ")
    assert sum(turn.asked for turn in turns) == 50  # type: ignore[attr-defined]


def test_a_table_looks_at_each_turn_once() -> None:
    """Its text is made of the same."""
    turns = stubs(300)
    assert "Turn 300 completed" in turns._repr_html_()
    assert [turn.asked for turn in turns] == [0] * 100 + [1] * 200  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("count", "size", "players", "said"),
    [
        (3, 1_000_000, 3, ""),
        (5, 1_000_000, 3, "players for the latest 3 turns"),
        (2, 4_000_000, 0, "players for no turn, for space"),
        (60, 10, 50, "players for the latest 50 turns"),
    ],
)
def test_the_players_of_a_table_are_bounded(count: int, size: int, players: int, said: str) -> None:
    """By 4 MB of a page and by number; the latest turns have theirs, and a note says which."""
    html = stubs(count, size)._repr_html_()
    numbers = [int(n) for n in re.findall(r'aria-label="reply of turn (\d+)"', html)]
    assert numbers == list(range(count - players + 1, count + 1))
    assert re.findall(r"players for [^;<]*", html) == ([said] if said else [])


def test_the_sound_of_a_clip_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each kind of player; the second cell costs nothing."""
    encoded: list[bool] = []
    really = _audiofile.for_player
    monkeypatch.setattr(
        _audiofile, "for_player", lambda *a, **k: encoded.append(k["lossless"]) or really(*a, **k)
    )
    clip = rtnb.Clip.tone(440, 0.1)
    shown = [clip._view(compact=compact) for compact in (False, True, False, True)]
    assert encoded == [True, False]
    assert shown[:2] == shown[2:]


def test_the_sound_of_a_turn_is_encoded_once(tmp_path: Path) -> None:
    """Its prompt is cut from the recording each time, and yet is encoded no more than once."""
    turn = spoken(tmp_path / "run", ("What?", "That.")).turns[0]
    assert turn._side("prompt", True) is turn._side("prompt", True) is not None
    assert turn._side("prompt", False) is not turn._side("prompt", True)


def test_a_batch_names_voices_and_failures() -> None:
    """In text as in HTML, and of many failures the first fifty."""
    batch = Batch(stubs(2))
    batch.failures = [(f"p{n}", rtnb.CallError("The server is gone.")) for n in range(60)]
    for shown in (repr(batch), words(batch._repr_html_())):
        assert "p0: The server is gone." in shown
        assert "p50" not in shown
        assert "… and 10 more failures" in shown
        assert "marin" in shown


def test_no_turns_are_said() -> None:
    """An empty list is no empty table."""
    assert "no turns" in turn_list([])


# --- a session, a run ----------------------------------------------------------------------------


def test_the_phases_are_to_scale() -> None:
    """Each takes its share of the bar, and its seconds are beneath."""
    html = phase_bar({"mint": 0.3, "sdp": 0.1})
    assert re.findall(r"flex:([\d.]+)", html) == ["0.7500", "0.2500"]
    assert ">mint 0.300 s · sdp 0.100 s<" in html
    assert phase_bar({}) == phase_bar({"total": 0.5}) == ""


def test_what_is_in_no_phase_is_the_rest_of_the_bar() -> None:
    """The bar is as long as the whole, and says what the rest is."""
    html = phase_bar({"mint": 0.3, "sdp": 0.1, "total": 0.5})
    assert re.findall(r"flex:([\d.]+)", html) == ["0.6000", "0.2000", "0.2000"]
    assert 'class="rtnb-rest"' in html
    assert "sdp 0.100 s · rest 0.100 s (starting the media process" in html
    assert "; 0.500 s in all<" in html


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
    names = ("status", "error", "voice", "name", "said", "transcript")
    figures = ("why", "reason", "unpriced", "quality")
    texts = dict.fromkeys((*names, *figures), EVIL) | {"verdict": "missed"}
    clip = ClipView(EVIL, note=EVIL)
    stages = {EVIL: 1.0, "committed": 0.1}
    return replace(TURN, **texts, prompt=clip, reply=clip, tools=[tool, failed], stages=stages)


def batch() -> Batch:
    """Return a batch of which all failed, for a hostile reason."""
    out = Batch()
    out.failures = [(EVIL, rtnb.CallError(EVIL))]
    return out


def call() -> Any:
    """Return what a session and a run ask of themselves for their repr, all of it hostile."""
    place, server = SimpleNamespace(name=EVIL), SimpleNamespace(base_url=EVIL)
    said = {"_said": lambda: "1.0 s sent", "_counted": lambda: "1 event"}
    state = {"state": "closed", "failure": EVIL, "complete": True, "duration": 1.0}
    return SimpleNamespace(folder=place, endpoint=server, model=EVIL, turns=[], **said, **state)


@pytest.mark.parametrize(
    "html",
    [
        turn_body(hostile()),
        turn_list([hostile()]),
        clip_body(ClipView(EVIL, note=EVIL)),
        call_body(EVIL, EVIL, EVIL, [(EVIL, EVIL)]),
        batch()._repr_html_(),
        SdpView(f"m={EVIL}", "answer")._repr_html_(),
        _html.boxed("", EVIL),
        rtnb.AudioError(EVIL)._repr_html_(),
        rtnb.Endpoint.openai(None, base_url="https://example.org/%3Cscript%3E")._repr_html_(),
    ],
    ids=["turn", "turns", "clip", "call", "batch", "sdp", "text", "error", "endpoint"],
)
def test_nothing_from_outside_becomes_markup(html: str) -> None:
    """No tag, no escape sequence, and nothing that reorders what is read."""
    assert "<script" not in html
    assert not set(HIDDEN) & set(html)


@pytest.mark.parametrize(
    "shown",
    [
        turn_line(hostile(), wide=True),
        turn_text(hostile()),
        clip_text(ClipView("Clip 1.00 s")),
        call_text("<Session>", [("model", EVIL)], turns=[turn_line(hostile())]),
        repr(batch()),
        str(rtnb.CallError(EVIL)),
        repr(rtnb.CallError(EVIL)),
        repr(SdpView(f"m={EVIL}", "answer")),
        str(SdpView(f"m={EVIL}", "answer")),
        rtnb.Session.__repr__(call()),
        rtnb.Run.__repr__(call()),
        repr(rtnb.Event(f'{{"type": "{EVIL}"}}', time=0.0, direction="received")),
        repr(rtnb.EventLog([rtnb.Event(EVIL, time=0.0, direction="received")])),
    ],
    ids=lambda shown: shown[:12],
)
def test_nothing_from_outside_reaches_a_terminal(shown: str) -> None:
    """No escape sequence, nothing that hides or reorders, and nothing that cannot be printed."""
    assert not set(HIDDEN) & set(shown)
    shown.encode()


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


FACT = re.compile(
    r"\d[\d,.]* (?:s|Hz|dBFS|tokens|events)\b|[\d]+ input|completed|open|marin|mint|dtls"
    r"|The capital of France is Paris\.|The server is gone\."
)


@pytest.fixture(scope="module")
def things(session: rtnb.Session, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything of a call that shows itself."""
    turn = session.ask(rtnb.sample("capital_of_france"))
    run = rtnb.open_run(session.save(tmp_path_factory.mktemp("things") / "run"))
    batch = Batch([turn])
    batch.failures = [("greeting", rtnb.CallError("The server is gone."))]
    things = {"turn": turn, "turns": session.turns, "clip": turn.reply, "session": session}
    return things | {"run": run, "batch": batch}


@pytest.mark.parametrize("name", ["turn", "turns", "clip", "session", "run", "batch"])
def test_html_and_text_say_the_same(things: dict[str, Any], name: str) -> None:
    """Each fact of the one is in the other: what is read without styles lacks nothing."""
    html = things[name]._repr_html_()
    text = unescape(html.split('<pre class="rtnb-text">')[1].split("</pre>")[0])
    assert set(FACT.findall(text)) == set(FACT.findall(words(html)))
    assert len(set(FACT.findall(text))) >= 3
    assert set(FACT.findall(repr(things[name]))) <= set(FACT.findall(text))


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
