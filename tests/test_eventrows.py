"""`eventtext` and `eventrows`: one line on any event, delta runs folded, whatever is in them."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from rtnb import Event
from rtnb.eventrows import Row, Rows, lines
from rtnb.eventtext import KNOWN_TYPES, compact, plain, pretty, summary


def event(type: str, at: float = 0.0, direction: Any = "received", **fields: Any) -> Event:
    return Event(json.dumps({"type": type, **fields}), time=at, direction=direction)


def delta(text: str, item: str = "i1", at: float = 0.0, what: str = "output_text") -> Event:
    where = {"response_id": "r1", "item_id": item, "content_index": 0}
    return event(f"response.{what}.delta", at, delta=text, **where)


def folded(*events: Event) -> list[tuple[str, int]]:
    return [(row.text or row.type, row.count) for row in Rows(events).rows]


OTHER = event("rate_limits.updated")

# --- one line on an event ------------------------------------------------------------------------

SUMMARIES: list[tuple[dict[str, Any], str]] = [
    ({"type": "error", "error": {"code": "bad", "message": "No."}}, "bad: No."),
    ({"type": "error", "error": {"type": "t", "message": "No."}}, "t: No."),
    (
        {
            "type": "session.created",
            "session": {
                "model": "gpt-realtime",
                "tools": [{}, {}],
                "audio": {
                    "input": {"turn_detection": {"type": "server_vad"}},
                    "output": {"voice": "marin"},
                },
            },
        },
        "gpt-realtime, voice marin, server_vad, tools: 2",
    ),
    (
        {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
        "no turn detection",
    ),
    (
        {"type": "session.update", "session": {"voice": "ash", "turn_detection": None}},
        "voice ash, no turn detection",
    ),
    (
        {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"transcription": {"model": "m"}}}},
        },
        "audio.input.transcription",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        },
        "user: Hi",
    ),
    (
        {
            "type": "response.output_item.done",
            "item": {"type": "function_call", "name": "weather", "arguments": '{"city": "Rome"}'},
        },
        'weather({"city": "Rome"})',
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "c1", "output": "18"},
        },
        "c1 → 18",
    ),
    ({"type": "response.function_call_arguments.done", "name": "f", "arguments": "{}"}, "f({})"),
    (
        {
            "type": "response.done",
            "response": {
                "status": "cancelled",
                "status_details": {"reason": "turn_detected"},
                "usage": {"total_tokens": 3, "input_tokens": 2, "output_tokens": 1},
            },
        },
        "cancelled, turn_detected, 3 tokens (2 in, 1 out)",
    ),
    ({"type": "response.create", "response": {"output_modalities": ["text"]}}, "text"),
    (
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 120, "item_id": "i"},
        "120 ms, i",
    ),
    (
        {"type": "input_audio_buffer.timeout_triggered", "audio_start_ms": 1, "audio_end_ms": 2},
        "1 ms to 2 ms",
    ),
    ({"type": "response.output_audio_transcript.done", "transcript": "Paris."}, "Paris."),
    (
        {
            "type": "rate_limits.updated",
            "rate_limits": [{"name": "tokens", "limit": 4, "remaining": 3}],
        },
        "3 of 4 tokens left",
    ),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "3 bytes of audio"),
    ({"type": "response.content_part.added", "part": {"type": "audio"}}, "audio"),
    (
        {"type": "response.content_part.added", "part": {"type": "audio", "transcript": ""}},
        "audio",
    ),
    ({"type": "output_audio_buffer.started", "event_id": "e", "response_id": "r1"}, "r1"),
    ({"type": "vendor.mood", "mood": "good", "score": 0.5}, "mood: good, score: 0.5"),
]


@pytest.mark.parametrize(("data", "said"), SUMMARIES, ids=lambda v: v if isinstance(v, str) else "")
def test_the_summary_of_an_event(data: dict[str, Any], said: str) -> None:
    """What an event is about stands in one line."""
    assert summary(event(**data)) == said


def test_the_summary_of_an_unreadable_frame_is_its_text() -> None:
    """A frame that is no JSON object shows what came."""
    assert summary(Event("no\njson", time=0, direction="received")) == "no json"


def odd_value(chance: random.Random, depth: int = 0) -> Any:
    keys = ["error", "item", "response", "session", "status", "usage", "content", "name", "delta"]
    keys += ["tools", "audio", "input", "turn_detection", "output_modalities", "status_details"]
    keys += ["rate_limits", "arguments", "total_tokens", "part", "text", "role", "type", "voice"]
    if depth > 3 or chance.random() < 0.3:
        return chance.choice([None, True, 0, -1.5, float("nan"), "", "x" * 300, [], {}, "\ud800"])
    if chance.random() < 0.3:
        return [odd_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(keys): odd_value(chance, depth + 1) for _ in range(chance.randrange(6))}


def test_any_shape_has_a_summary() -> None:
    """Fields of a wrong type, missing or nested, give one short line all the same."""
    chance = random.Random(1)
    for _ in range(2_000):
        fields = odd_value(chance)
        data = fields if isinstance(fields, dict) else {"error": fields}
        one = Event(
            json.dumps(data | {"type": chance.choice(sorted(KNOWN_TYPES))}),
            time=0,
            direction="sent",
        )
        said = summary(one)
        assert len(said) <= 200
        assert "\n" not in said
        pretty(one.data).encode(), compact(one.data).encode(), said.encode()
        Rows([one, one])


@pytest.mark.parametrize("hostile", ["\x1b[31m", "\u202e", "\u2066", "\x00", "\ud800", "\x9b"])
def test_control_and_bidi_characters_are_made_visible(hostile: str) -> None:
    """What would steer a terminal or turn the text round is shown as a replacement character."""
    shown = plain(f"a{hostile}b")
    assert "\ufffd" in shown
    assert hostile[0] not in shown
    assert hostile[0] not in pretty({"a": hostile})


def test_known_types_are_those_of_the_service() -> None:
    """Both dialects' names are known, and nothing else is."""
    assert {"response.output_audio.delta", "response.audio.delta"} <= KNOWN_TYPES
    assert len(KNOWN_TYPES) == 65


# --- the whole of an event -----------------------------------------------------------------------


def test_long_data_is_cut_and_says_so() -> None:
    """A string of a megabyte is cut, quickly."""
    begun = time.perf_counter()
    shown = pretty({"a": "x" * 1_000_000, "b": 1})
    assert time.perf_counter() - begun < 0.1
    assert "… (995,000 more characters)" in shown
    assert json.loads(shown)["b"] == 1


def test_many_keys_and_items_are_cut() -> None:
    """However much there is, about 20,000 characters are written."""
    for data in ({str(n): n for n in range(100_000)}, [[0] * 1000] * 1000, ["x" * 4000] * 1000):
        shown = pretty(data)
        assert 10_000 < len(shown) <= 20_002
        assert "more" in shown or shown.endswith(" …")


def test_deep_data_is_cut() -> None:
    """What is nested deeper than 24 levels is left out."""
    data: Any = 1
    for _ in range(900):
        data = {"a": data}
    assert "deeper than 24 levels" in pretty(data)


def test_numbers_that_are_none_are_shown() -> None:
    """NaN and infinity are written as Python reads them."""
    assert compact({"a": float("nan"), "b": float("-inf")}) == '{"a": NaN, "b": -Infinity}'


# --- folding -------------------------------------------------------------------------------------


def test_consecutive_deltas_are_one_row() -> None:
    """The texts are joined, and count and span kept."""
    (row,) = Rows([delta("Pa", at=1), delta("ris", at=1.25), delta(".", at=1.5)]).rows
    assert (row.summary, row.count, row.time, row.end) == ("Paris.", 3, 1, 1.5)
    assert row.span == "×3 in 0.50 s"


def test_other_events_do_not_break_a_run() -> None:
    """A run goes on after events of other kinds; it stands where it began."""
    between = event("output_audio_buffer.started", response_id="r1")
    assert folded(delta("a"), OTHER, delta("b"), between, delta("c")) == [
        ("abc", 3),
        ("rate_limits.updated", 1),
        ("output_audio_buffer.started", 1),
    ]


def test_deltas_of_two_items_make_two_rows() -> None:
    """Interleaved runs are kept apart by item and by type."""
    events = [delta("a", "i1"), delta("x", "i2"), delta("b", "i1"), delta("y", "i2")]
    assert folded(*events, delta("z", "i2", what="output_audio_transcript")) == [
        ("ab", 2),
        ("xy", 2),
        ("z", 1),
    ]


def test_deltas_without_names_are_parted_by_other_events() -> None:
    """Without response and item, only rate limits may come in between."""
    one = event("session.output_transcript.delta", delta="a")
    assert folded(one, OTHER, one, event("response.done"), one) == [
        ("aa", 2),
        ("rate_limits.updated", 1),
        ("response.done", 1),
        ("a", 1),
    ]


def test_both_directions_are_kept_apart() -> None:
    """What was sent is not folded with what came."""
    sent = event("x.delta", 0, "sent", item_id="i", delta="a")
    assert len(Rows([sent, event("x.delta", item_id="i", delta="a")]).rows) == 2


def test_a_row_holds_at_most_500_events() -> None:
    """A longer run goes on in another row."""
    assert [row.count for row in Rows(delta("a") for _ in range(1_001)).rows] == [500, 500, 1]


def test_audio_deltas_are_counted_in_bytes() -> None:
    """Base64 is not joined; the row says how much audio it was."""
    (row,) = Rows([delta("AAAA", what="output_audio")] * 4).rows
    assert (row.text, row.summary) == ("", "12 bytes of audio")


def test_appended_audio_is_folded() -> None:
    """The many frames a WebSocket client sends are one row."""
    (row,) = Rows([event("input_audio_buffer.append", audio="AAAA")] * 3).rows
    assert (row.count, row.summary) == (3, "9 bytes of audio")


def test_the_joined_text_is_bounded() -> None:
    """Of megabytes in deltas the first 4,000 characters are kept."""
    (row,) = Rows([delta("x" * 1_000_000)] * 3).rows
    assert len(row.text) == 4_000


@pytest.mark.parametrize("odd", [None, 5, ["a"], {"b": 1}])
def test_a_delta_of_another_type_is_folded_too(odd: object) -> None:
    """A delta that is no text, with ids that are none, does no harm."""
    one = event("x.delta", delta=odd, item_id=odd, response_id=odd)
    assert [row.count for row in Rows([one, one]).rows] == [2]


# --- marks and counts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "error"}, "error"),
        ({"type": "response.mcp_call.failed"}, "error"),
        ({"type": "response.done", "response": {"status": "failed"}}, "error"),
        ({"type": "response.done", "response": {"status": "cancelled"}}, ""),
        ({"type": "response.audio.delta"}, ""),
        ({"type": "vendor.mood"}, "unknown"),
        ({"foo": 1}, "unknown"),
    ],
)
def test_rows_are_marked(data: dict[str, Any], kind: str) -> None:
    """Errors and types that nobody names are told from the rest."""
    assert Row(0, Event(json.dumps(data), time=0, direction="received")).kind == kind


def test_an_unreadable_frame_is_marked() -> None:
    """A frame that is no JSON object is a row as well."""
    assert Row(0, Event("[1]", time=0, direction="received")).kind == "unreadable"


def test_rows_are_counted_by_type() -> None:
    """Totals go up event by event."""
    rows = Rows([delta("a"), delta("b"), event("error"), OTHER])
    assert (rows.total, rows.errors, len(rows.rows)) == (4, 1, 3)
    assert rows.counts["response.output_text.delta"] == 2


def test_one_more_event_touches_one_row() -> None:
    """Appending returns the row that is new or has grown, and leaves the others alone."""
    rows = Rows([delta("a"), OTHER])
    assert rows.append(delta("b")) is rows.rows[0]
    assert rows.append(OTHER) is rows.rows[2]


def test_one_more_event_costs_the_same_after_many() -> None:
    """A thousand events cost no more after 50,000 than at the beginning."""
    rows = Rows()

    def cost() -> float:
        more = [OTHER, delta("a"), event("error")] * 333
        begun = time.perf_counter()
        for one in more:
            rows.append(one)
        return time.perf_counter() - begun

    early = min(cost() for _ in range(3))
    for _ in range(50):
        cost()
    assert min(cost() for _ in range(3)) < 5 * early


# --- as text -------------------------------------------------------------------------------------


def test_rows_as_lines() -> None:
    """Time, arrow, type, mark, count and summary, in columns."""
    rows = Rows(
        [
            event("response.create", 1, "sent"),
            event("x", 2, a=1),
            delta("Hi", at=3),
            delta("!", at=4),
        ]
    ).rows
    assert lines(rows) == [
        "    1.000  →  response.create",
        "    2.000  ←  x                           [unknown] a: 1",
        "    3.000  ←  response.output_text.delta  ×2 Hi!",
    ]


def test_a_line_is_short() -> None:
    """A long type and a long summary are cut at the width."""
    (line,) = lines(Rows([event("t" * 500, a="x" * 500)]).rows, 80)
    assert len(line) == 80
    assert line.endswith("…")
