"""What a panel shows: pure functions to escaped HTML of bounded size."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from rtnb.panel.views import framed, handshake, levels, status, transcript

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\u202e&\"'"
VOID = {"br", "img", "input", "line"}


class Tags(HTMLParser):
    """The elements of some HTML, and whether each is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def harmless(html: str) -> bool:
    """Return whether no hostile text became an element or an attribute, and all are closed."""
    tags = Tags(html)
    handlers = [name for name, _ in tags.attributes if name.startswith("on")]
    raw = any(c in html for c in "\x1b\u202e")
    return not (tags.seen & {"script", "img"} or handlers or tags.open or raw)


def meters(html: str) -> list[tuple[str, str]]:
    """Return (level read out, width of the bar) of each meter."""
    return re.findall(r'aria-valuetext="([^"]*)"><b style="width:([^"]*)"', html)


# --- the status line ------------------------------------------------------------------------------


def test_the_status_is_read_out_and_escaped() -> None:
    """It is a live region, coloured by its tone, and its text is text."""
    html = status((HOSTILE, "bad"), (HOSTILE, "good"))
    assert harmless(html)
    assert 'role="status"' in html and "rtnb-why" in html and "&lt;script&gt;" in html


@pytest.mark.parametrize(("tone", "kind"), [("good", "rtnb-good"), ("", ""), ("bad", "rtnb-why")])
def test_a_tone_has_its_class(tone: str, kind: str) -> None:
    """And no other."""
    (classes,) = re.findall(r'class="rtnb-status ([^"]*)"', status(("x", tone)))  # type: ignore[arg-type]
    assert classes == kind


def test_a_long_status_is_cut() -> None:
    """A server's long answer does not fill the notebook."""
    assert len(status(("<" * 1_000_000, "bad"))) < 100_000


def test_a_frame_takes_its_body_as_it_is() -> None:
    """It holds HTML already."""
    assert framed("<b>x</b>") == '<div class="rtnb"><b>x</b></div>'


# --- levels ---------------------------------------------------------------------------------------


def test_meters_without_a_call_are_silent() -> None:
    """Both are there, and empty."""
    html = levels({}, {})
    assert meters(html) == [("silent", "0%"), ("silent", "0%")]
    assert html.count("<svg") == 2
    assert harmless(html)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (-60.0, ("-60 dBFS", "0%")),
        (-30.0, ("-30 dBFS", "50%")),
        (-90.0, ("-90 dBFS", "0%")),
        (0.0, ("0 dBFS", "100%")),
        (3.0, ("3 dBFS", "100%")),
        (-math.inf, ("silent", "0%")),
        (math.nan, ("silent", "0%")),
    ],
)
def test_a_level_is_a_bar_and_a_figure(level: float, shown: tuple[str, str]) -> None:
    """From -60 to 0 dBFS; what is no number is silence."""
    assert meters(levels({"sent": level}, {}))[0] == shown


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e9, -1e9])
def test_no_figure_of_the_page_is_odd(odd: float) -> None:
    """Neither NaN nor an infinity gets into an attribute or a path, and a meter keeps its bounds."""
    html = levels({"sent": odd, "heard": odd}, {"sent": [odd] * 9, "heard": [odd, -20.0, odd]})
    figures = " ".join(re.findall(r'(?:points|aria-valuenow|style)="([^"]*)"', html))
    assert not re.search("nan|inf", figures)
    now = [float(value) for value in re.findall(r'aria-valuenow="([^"]*)"', html)]
    assert all(-60 <= value <= 0 for value in now)


@pytest.mark.parametrize("count", [1, 239, 240, 241, 10_000])
def test_a_waveform_has_bounded_columns(count: int) -> None:
    """10,000 windows take no more room than 240."""
    html = levels({}, {"sent": [-20.0] * count, "heard": [-20.0] * count})
    widths = [int(w) for w in re.findall(r'viewBox="0 0 (\d+) ', html)]
    assert max(widths) <= 240
    assert len(html) < 20_000


def test_a_column_shows_its_loudest_window() -> None:
    """One loud window among 10,000 is seen."""
    quiet, loud = [-math.inf] * 10_000, [-math.inf] * 10_000
    loud[7_000] = -3.0
    assert levels({}, {"sent": quiet}) != levels({}, {"sent": loud})


# --- the transcript -------------------------------------------------------------------------------


def test_nothing_was_said() -> None:
    """A sentence stands there instead."""
    assert "Nothing was said yet." in transcript([])


def test_both_sides_are_shown_in_order() -> None:
    """What was said, then what was answered; the newest turn first, since it is shown bottom up."""
    html = transcript(
        [(1, None, "Hi?", "Hello.", "completed"), (2, None, "And?", "So.", "completed")]
    )
    assert re.findall(r'data-turn="(\d)">(.*?)</div>', html) == [
        ("2", "And?"), ("2", "So."), ("1", "Hi?"), ("1", "Hello."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shown"), [("greeting", "greeting"), (None, "audio"), ("", "audio")]
)
def test_a_prompt_without_words_has_its_name(name: str | None, shown: str) -> None:
    """Where nothing was transcribed, the file's name stands there, or what it is."""
    assert f'<span class="rtnb-muted">{shown}</span>' in transcript(
        [(1, name, None, "", "completed")]
    )


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete", "no_reply"])
def test_a_turn_that_went_wrong_says_so(status: str) -> None:
    """Also where nothing was answered."""
    html = transcript([(1, None, "Hi?", "", status)])
    assert status.replace("_", " ") in html
    assert "rtnb-bad" in html


@pytest.mark.parametrize("status", ["completed", "in_progress"])
def test_a_turn_that_goes_well_has_no_badge(status: str) -> None:
    """And no empty line for a reply that is not there yet."""
    assert "rtnb-reply" not in transcript([(1, None, "Hi?", "", status)])


@pytest.mark.parametrize("place", range(4))
def test_hostile_words_are_text(place: int) -> None:
    """In the name, the prompt, the reply and the status."""
    words: list[str | None] = [None, None, "", "completed"]
    words[place] = HOSTILE
    html = transcript([(1, *words)])  # type: ignore[list-item]
    assert harmless(html)
    assert "&lt;script&gt;" in html


def test_a_transcript_of_a_megabyte_is_cut() -> None:
    """30 turns of 1 MB on both sides stay a page that can be shown."""
    html = transcript((n, None, "<" * 1_000_000, "é" * 1_000_000, "completed") for n in range(30))
    assert len(html) < 1_000_000
    assert "é …<" in html


# --- the handshake --------------------------------------------------------------------------------


def test_there_is_no_handshake_yet() -> None:
    """A sentence says how to get one."""
    assert "Connect to see offer, answer and times." in handshake({}, [])


def test_phases_and_sections_are_shown() -> None:
    """A bar of the times, then the parts as they are."""
    html = handshake({"ice": 0.2, "dtls": 0.1, "total": 0.31}, ["<p>offer</p>", "<p>answer</p>"])
    assert "ice 0.200 s · dtls 0.100 s" in html
    assert "0.310 s in all" in html
    assert html.index("<p>offer</p>") < html.index("<p>answer</p>")


def test_an_offer_is_shown_before_any_phase() -> None:
    """While connecting there may be a description and no time."""
    assert "<p>offer</p>" in handshake({}, ["<p>offer</p>"])
