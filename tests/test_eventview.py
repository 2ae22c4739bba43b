"""`eventview`: events in a saved cell, without script and kernel, bounded and harmless."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from typing import Any

import pytest

from rtnb import Event, EventLog

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\x1b[31m",
    "\u202e",
    '"><u>',
]


def event(type: str, at: float = 0.0, direction: Any = "received", **fields: Any) -> Event:
    return Event(json.dumps({"type": type, **fields}), time=at, direction=direction)


def log(count: int, **fields: Any) -> EventLog:
    return EventLog(event("response.created", at, **fields) for at in range(count))


def body(shown: Event | EventLog) -> str:
    """Return what is shown where styles are trusted, the styles themselves left out."""
    html = shown._repr_html_()
    return re.sub(
        r"<style>.*?</style>", "", html[html.index('class="rtnb-body"') :], flags=re.DOTALL
    )


def test_each_row_has_its_json_folded_away() -> None:
    """A row is a details element with time, arrow, type, summary, and the JSON beneath."""
    html = body(EventLog([event("error", 1.5, error={"code": "bad"})]))
    assert html.count("<details ") == 1
    for part in ("1.500", "←", "error", "bad", "&quot;code&quot;: &quot;bad&quot;"):
        assert part in html


def test_the_last_200_rows_are_shown() -> None:
    """It says how many events are left out, and how to see them."""
    html = body(log(10_000))
    assert html.count("<details ") == 200
    assert "The last 200 rows; 9,800 earlier events are left out." in html
    assert "rtnb.EventInspector(…)" in html


def test_a_short_log_leaves_nothing_out() -> None:
    """Where all is shown there is no such note."""
    assert "left out" not in body(log(200))


def test_a_run_is_one_row_with_a_line_for_each_event() -> None:
    """The JSON of a folded run is that of its events."""
    deltas = [event("x.delta", at, item_id="i", delta="ab") for at in range(45)]
    html = body(EventLog(deltas))
    assert html.count("<details ") == 1
    assert "×45 in 44.00 s" in html
    assert html.count("&quot;delta&quot;") == 40
    assert "… (5 more events)" in html


def test_errors_and_unknown_types_are_marked() -> None:
    """By a word, not by colour alone."""
    html = body(
        EventLog([event("error"), event("vendor.mood"), Event("?", time=0, direction="sent")])
    )
    for kind in ("error", "unknown", "unreadable"):
        assert f'<span class="rtnb-ev-mark">{kind}</span>' in html


def test_the_filter_needs_no_script() -> None:
    """Radio buttons with their labels and counts, and no script anywhere."""
    html = EventLog([event("error"), event("response.create", direction="sent")])._repr_html_()
    for label in ("all 2", "sent 1", "received 1", "errors 1"):
        assert f">{label}</label>" in html
    assert html.count(" checked") == 1
    assert "<script" not in html


def test_the_filters_that_need_a_kernel_are_named() -> None:
    """By type and by turn: the code is beneath the rows."""
    html = body(log(1))
    assert 'session.events.select("response.*")' in unescape(html)
    assert "turn.events" in html


def test_two_renderings_do_not_share_their_filter() -> None:
    """Every rendering has ids and a group of its own."""
    shown = log(1)
    ids = re.findall(r'id="([^"]+)"', shown._repr_html_() + shown._repr_html_())
    assert len(ids) == len(set(ids)) == 8


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_harmless(hostile: str) -> None:
    """In a type, a value, a key or an unreadable frame: nothing of it becomes part of the page."""
    events = [event(hostile), event("a", text=hostile), event("b", **{hostile: 1})]
    events.append(Event(hostile, time=0, direction="sent"))
    for shown in (*events, EventLog(events)):
        html = shown._repr_html_()
        assert hostile not in html
        assert "<script" not in html
        assert "<img" not in html
        html.encode()


def test_ten_thousand_events_render_quickly() -> None:
    """Well under half a second, and in bounded HTML."""
    events = log(10_000, response={"id": "r", "status": "in_progress"})
    begun = time.perf_counter()
    html = events._repr_html_()
    assert time.perf_counter() - begun < 0.5
    assert len(html) < 400_000


@pytest.mark.parametrize("text", ['<"&' * 400_000, "x" * 1_000_000])
def test_huge_events_are_bounded_together(text: str) -> None:
    """Three hundred events of a megabyte take about one megabyte of HTML, quickly."""
    events = EventLog([event("x", a=[text] * 10)] * 300)
    begun = time.perf_counter()
    html = events._repr_html_()
    assert time.perf_counter() - begun < 2
    assert len(html) < 1_200_000
    assert "more characters" in html


def test_without_space_the_oldest_rows_lose_their_json() -> None:
    """The newest rows have theirs, and the others say that it is left out."""
    html = body(EventLog([event("x", a=['"' * 4000] * 5)] * 200))
    assert html.count("JSON left out for space") > 100
    assert "JSON left out" not in html[-20_000:]


def test_deep_nesting_is_shown() -> None:
    """A frame nested deeper than Python reads is unreadable; one that it reads is cut."""
    assert "deeper than 24 levels" in body(
        Event('{"a":' + "[" * 60 + "]" * 60 + "}", time=0, direction="sent")
    )
    deep = Event("[" * 200_000, time=0, direction="sent")
    assert "unreadable" in repr(deep)
    assert len(deep._repr_html_()) < 100_000


def test_one_event_is_shown_with_its_json_open() -> None:
    """A single event is unfolded."""
    assert '<details open class="rtnb-ev rtnb-ev-received">' in body(event("response.done"))


def test_an_empty_log_says_so() -> None:
    """There is a heading, and no table."""
    html = body(EventLog())
    assert "0 events" in html
    assert "<details" not in html


def test_the_text_in_the_cell_is_that_of_the_repr() -> None:
    """Where styles are not trusted the rows are there as text, the newest included."""
    html = log(10_000)._repr_html_()
    plain_text = html[html.index('class="rtnb-text"') : html.index('class="rtnb-body"')]
    assert "9999.000" in plain_text
    assert "more characters" not in plain_text
