"""The pieces of HTML that cells show: escaped, bounded, and honest about their order."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import numpy as np
import pytest

from rtnb import Clip, _html
from rtnb._plain import visible

EVIL = "<script>alert('1')</script>\"><img src=x onerror=alert(1)>"
FORBIDDEN = {"script", "img", "iframe", "object"}


class Tags(HTMLParser):
    """Collects tags, and finds those that were not closed."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.shown = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)
        if tag not in ("line", "polygon", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data


def pieces(value: str) -> dict[str, str]:
    """Return every piece that shows text, showing this one."""
    return {
        "text": _html.text(value),
        "code": _html.code(value),
        "boxed": _html.boxed(_html.text(value), value),
        "head": _html.head(value, _html.badge(value)),
    }


@pytest.mark.parametrize("piece", pieces(""))
def test_text_cannot_become_markup(piece: str) -> None:
    """A script tag in a transcript stays text, in each piece."""
    html = pieces(EVIL)[piece]
    assert not FORBIDDEN & set(Tags(html).found)
    assert "alert('1')" in Tags(html).shown


@pytest.mark.parametrize("piece", pieces(""))
def test_every_tag_is_closed(piece: str) -> None:
    """A piece can stand in any cell without spoiling it."""
    assert Tags(pieces("a & b")[piece]).open == []


@pytest.mark.parametrize(
    "code",
    [*range(0x2028, 0x202F), *range(0x2060, 0x2070), 0x200B, 0x200E, 0x200F, 0x061C, 0xFEFF],
)
def test_what_hides_or_reorders_is_shown_as_such(code: int) -> None:
    """A character that reorders or hides what is read is replaced by one that can be seen."""
    assert _html.text(f"safe{chr(code)}txt.exe") == "safe\ufffdtxt.exe"
    assert visible(f"safe{chr(code)}txt.exe") == "safe\ufffdtxt.exe"


def test_a_lone_carriage_return_is_shown_as_such() -> None:
    """In a terminal it would write over what is there."""
    assert visible("a\rb\r\nc") == "a\ufffdb\r\nc"


@pytest.mark.parametrize("code", [0x00, 0x07, 0x08, 0x1B, 0x7F, 0x85, 0x9B])
def test_control_characters_are_shown_as_such(code: int) -> None:
    """No escape sequence or NUL reaches the page."""
    assert _html.text(f"a{chr(code)}b") == "a\ufffdb"


@pytest.mark.parametrize("value", ["a\tb\r\nc\n", "grüße, 你好, שלום, 👋🏽"])
def test_ordinary_text_is_shown_as_it_is(value: str) -> None:
    """Line ends, tabs and every script of the world pass."""
    assert _html.text(value) == value


def test_quotes_are_escaped() -> None:
    """A text can stand in an attribute."""
    assert _html.text("\"'") == "&quot;&#x27;"


@pytest.mark.parametrize("piece", pieces(""))
def test_a_megabyte_is_cut(piece: str) -> None:
    """Of a huge text 20,000 characters are shown, quickly."""
    begun = time.perf_counter()
    html = pieces("<x>" * 350_000)[piece]
    assert len(html) < 4 * 20_000 * 9
    assert "more characters)" in html
    assert time.perf_counter() - begun < 2.0


def test_the_cut_says_how_much_is_missing() -> None:
    """The count is that of the characters left out."""
    assert _html.text("x" * 20_005).endswith("x … (5 more characters)")
    assert _html.text("x" * 20_000) == "x" * 20_000


def test_a_player_carries_its_sound() -> None:
    """The bytes are in the element itself, and it does not play on its own."""
    html = _html.audio_player(b"RIFF", label="reply of turn 1")
    assert html == (
        '<audio controls preload="metadata" aria-label="reply of turn 1" '
        'src="data:audio/wav;base64,UklGRg=="></audio>'
    )


def test_a_waveform_is_bounded_and_closed() -> None:
    """A drawing has a point a column and side, of one polygon."""
    tags = Tags(_html.waveform_svg([-0.5] * 10, [0.5] * 10))
    assert tags.found == ["svg", "line", "polygon"]
    assert tags.open == []


@pytest.mark.parametrize("count", [1, 7, 480, 2_000_000])
def test_the_waveform_of_a_clip_is_bounded(count: int) -> None:
    """However long a clip is, 480 columns are drawn."""
    html = Clip(np.zeros(count), 48_000)._repr_html_()
    points = html.split('points="')[1].split('"')[0]
    assert len(points.split()) == 2 * min(count, 480)


@pytest.mark.parametrize(("count", "shown"), [(0, "0 turns"), (1, "1 turn"), (2, "2 turns")])
def test_a_count_agrees_with_its_noun(count: int, shown: str) -> None:
    """One is singular."""
    assert _html.counted(count, "turn") == shown


def test_half_a_pair_is_shown_as_such() -> None:
    """A lone surrogate cannot be encoded, and would lose the whole page."""
    assert _html.text("a\ud800b") == "a\ufffdb"
