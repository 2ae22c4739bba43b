"""Pure functions to escaped HTML."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import pytest

from rtnb import _html

NASTY = "<script>alert('x')</script>&\"'"


class Balance(HTMLParser):
    """Collects tags, and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("br", "line", "polygon"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "polygon"):
            assert self.open.pop() == tag


def tags(html: str) -> list[str]:
    """Return the tags of a piece of HTML whose every tag is closed."""
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return parser.seen


@pytest.mark.parametrize(
    "html",
    [
        _html.text(NASTY),
        _html.code(NASTY),
        _html.table([NASTY], [[_html.text(NASTY)]]),
        _html.definitions(NASTY, [(NASTY, _html.text(NASTY))]),
        _html.event_details(1.0, "sent", NASTY, {NASTY: [NASTY]}),
        _html.event_table([(1.0, "sent", NASTY, {})], total=1),
    ],
)
def test_what_is_text_stays_text(html: str) -> None:
    """No tag of a value becomes a tag of the page."""
    assert "script" not in tags(html)
    assert "&lt;script&gt;" in html


def test_text_is_cut_at_twenty_thousand_characters() -> None:
    """A cell stays small, and says what is not shown."""
    shown = _html.text("x" * 20_005)
    assert shown == "x" * 20_000 + " … (5 more characters)"


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\u200f", "\x1b"])
def test_characters_that_lie_about_order_are_replaced(character: str) -> None:
    """Bidirectional overrides and escapes do not reach the page."""
    assert _html.text(f"a{character}b") == "a\ufffdb"


def test_a_player_carries_its_audio() -> None:
    """As base64 in a data URL, so that a saved notebook still plays."""
    html = _html.audio_player(b"RIFF....")
    encoded = base64.b64encode(b"RIFF....").decode()
    assert f'src="data:audio/wav;base64,{encoded}"' in html
    assert tags(html) == ["audio"]


def test_a_waveform_is_one_polygon_within_its_box() -> None:
    """Full scale touches the edges, silence the middle."""
    html = _html.waveform_svg([-1.0, 0.0], [1.0, 0.0], height=48)
    assert 'points="0,0.0 1,24.0 1,24.0 0,48.0"' in html
    assert tags(html) == ["svg", "line", "polygon"]


def test_events_are_folded_with_an_arrow_and_their_time() -> None:
    """Sent points right, received left; one without a type is called unreadable."""
    assert "1.500 s → <code>response.create</code>" in _html.event_details(
        1.5, "sent", "response.create", {}
    )
    assert "2.000 s ← <code>unreadable</code>" in _html.event_details(2.0, "received", "", {})


@pytest.mark.parametrize(("total", "note"), [(1, "1 events</b><"), (9, "9 events</b>, the last 1 shown")])
def test_a_table_of_events_says_what_it_leaves_out(total: int, note: str) -> None:
    """Only where something is left out."""
    assert note in _html.event_table([(1.0, "sent", "x", {})], total=total)
