"""`Event` and `EventLog`: the ordered, complete, safe record of the data channel."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
import threading
import time
from typing import Any

import pytest

from rtnb import Event, EventLog, TurnTimeout
from rtnb import events as events_module


def event(type: str, at: float = 0.0, direction: Any = "received", **fields: Any) -> Event:
    return Event(json.dumps({"type": type, **fields}), time=at, direction=direction)


def log(*types: str) -> EventLog:
    return EventLog(event(kind, at) for at, kind in enumerate(types))


CALL = log(
    "session.created",
    "response.created",
    "response.output_audio.delta",
    "response.done",
    "error",
)


# --- one event -----------------------------------------------------------------------------------


def test_an_event_has_its_type_and_data() -> None:
    """`type` and `data` come from the text."""
    one = event("response.done", 1.5, response={"id": "r1"})
    assert one.type == "response.done"
    assert one.data == {"type": "response.done", "response": {"id": "r1"}}


def test_a_normalised_type_leaves_the_data_alone() -> None:
    """A dialect's own name stays in `data`."""
    one = Event('{"type": "response.audio.delta"}', time=0, direction="received", type="x")
    assert (one.type, one.data["type"]) == ("x", "response.audio.delta")


@pytest.mark.parametrize("text", ["not json", "[1, 2]", "3", "null", "", '{"type": ', '"text"'])
def test_an_unreadable_frame_is_kept(text: str) -> None:
    """What is no JSON object has no type, and its text is in `data`."""
    one = Event(text, time=2.0, direction="received")
    assert one.type == ""
    assert one.data == {"type": "", "unreadable": text}
    assert repr(one).startswith("<Event 2.000 s received unreadable")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"a.b","event_id":"e","delta":"x"}',
        '{"event_id": "e", "type": "response.done", "response": {"type": "x"}}',
        '{"event_id":"e","item":{"type":"error"},"type":"response.done"}',
        '{"text":"\\"type\\":\\"error\\",","type":"response.done"}',
        '{"type":"response.done","response":{"type":"x"}}',
        '{"type":"error"}',
        '{"type":"error\\u002eb"}',
        '{"type":"errors"}',
        '{"text":"error","type":"response.done"}',
        '{"event_id": "e", "type": "a.b"}',
        '{ "n" : -1.5 , "b" : true , "z" : null ,\n "type" : "a.b" }',
        '{"item":{"type":"message"},"type":"a.b"}',
        '{"items":[{"type":"x"}],"a":"}","type":"a.b"}',
        '{"text":"\\"type\\":\\"x\\",","type":"a.b"}',
        '{"text":"{\\"type\\":\\"x\\"}","type":"a.b"}',
        '{"a":"type","type":"a.b"}',
        '{"\\u0074ype":"a.b"}',
        '{"type":"a\\u002eb"}',
        '{"type":"a.b"}\n',
        ' {"type":"a.b"}',
        '{"type":"a.b","item":{"type":"x","content":[{"type":"y"}]}}',
        '{"type":"","x":1}',
        '{"type":"käse"}',
        '{"item":{"type":"x"}}',
        '{"x":"type"}',
        '{"type":{"type":"x"}}',
        '{"a":"b","type":null,"c":{"type":"x"}}',
    ],
)
def test_the_type_is_that_of_the_object_itself(text: str) -> None:
    """Wherever it stands, however it is written, and whatever looks like it before."""
    wanted = str(json.loads(text).get("type", ""))
    assert Event(text, time=0, direction="received").type == wanted


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"error","type":"response.done"}',
        '{"type":"error","a":1,"\\u0074ype":"session.updated"}',
        '{"a":1,"type":"error","type":"a.b"}',
        '{"type":"error","type":null}',
    ],
)
def test_of_several_types_the_last_is_the_one(text: str) -> None:
    """As JSON is read; it is known once the event is looked into."""
    one = Event(text, time=0, direction="received")
    assert str(one.data["type"]) == one.type == str(json.loads(text)["type"])


@pytest.mark.parametrize("end", range(1, len('{"type":"error","a":{"b":1}}') - 1))
def test_a_frame_cut_short_has_no_type(end: int) -> None:
    """It is unreadable, wherever it was cut, once it is looked into."""
    one = Event('{"type":"error","a":{"b":1}}'[:end], time=0, direction="received")
    assert "unreadable" in one.data
    assert one.type == ""


def test_a_type_that_was_named_anew_stays_when_the_event_is_read() -> None:
    """Dialects are normalised on arrival, before anybody reads."""
    one = event("response.audio.delta", delta="AAAA")
    one.type = "response.output_audio.delta"
    assert one.data["type"] == "response.audio.delta"
    assert one.type == "response.output_audio.delta"


@pytest.mark.parametrize(
    "text", ['{"type":"error",}', '{"type":"error","b":}', '{"type":"error"}}']
)
def test_a_frame_that_only_begins_like_an_event_has_no_type_once_it_is_read(text: str) -> None:
    """Nothing is parsed before `data` is asked for; then the frame turns out as unreadable."""
    one = Event(text, time=0, direction="received")
    assert one.data == {"type": "", "unreadable": text}
    assert one.type == ""


def test_a_type_is_found_without_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of a long call costs no parsing until somebody looks into an event."""

    def refuse(text: str) -> Any:
        raise AssertionError(f"parsed: {text}")

    monkeypatch.setattr(events_module.json, "loads", refuse)
    text = '{"type":"response.done","event_id":"e"}'
    assert Event(text, time=0, direction="received").type == "response.done"


def test_an_event_is_masked_wherever_it_goes() -> None:
    """Copies and pickles hold no more than the event shows."""
    key = "sk-" + "proj-abcdefgh123456"
    text = f'{{"type":"error","message":"bad key {key}"}}'
    assert key not in str(Event(text, time=1.5, direction="received").__getstate__())
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        one = Event(text, time=1.5, direction="received")
        sent: Any = send(one)
        again = pickle.loads(sent) if isinstance(sent, bytes) else sent
        assert key.encode() not in (sent if isinstance(sent, bytes) else pickle.dumps(sent))
        assert (again.text, again.type, again.time) == (one.text, "error", 1.5)
    assert key not in Event(f'{{"type":"{key}","x":1}}', time=0, direction="sent").type
    assert key not in Event("{}", time=0, direction="sent", type=key).type


@pytest.mark.parametrize(
    "send", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_of_a_broken_frame_has_no_type_either(send: Any) -> None:
    """Nobody need have looked into it before."""
    assert send(Event('{"type":"error",}', time=0, direction="sent")).type == ""


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_is_done_to_the_data_stays_outside(size: int) -> None:
    """Each reader has data of its own, of a small event and of a large one."""
    one = event("a", items=["x" * size])
    for _ in range(3):
        assert one.data["items"] == ["x" * size]
        one.data["items"].append("mine")
        one.data.pop("type")


def test_a_large_event_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is looked into: a reply's audio may be a megabyte of text."""
    parsed: list[str] = []
    really = json.loads
    monkeypatch.setattr(
        events_module.json, "loads", lambda text: parsed.append(text) or really(text)
    )
    one = event("error", delta="x" * 100_000)
    for _ in range(3):
        assert len(one.data["delta"]) == 100_000
    assert len(parsed) == 1


@pytest.mark.parametrize("kind", [None, 5, ["a"]])
def test_a_type_that_is_no_string_is_shown_as_one(kind: object) -> None:
    """A server may send anything; the type is a str all the same."""
    assert Event(json.dumps({"type": kind}), time=0, direction="received").type == str(kind)


@pytest.mark.parametrize("key", ["sk-proj-abcdefgh123456", "ek_68af296e8e408191"])
def test_an_event_masks_keys(key: str) -> None:
    """A key that a server echoes is in no form of the event."""
    one = event("error", message=f"bad key {key}")
    assert key not in one.text + str(one.data) + repr(one) + one._repr_html_()
    assert one.data["message"] == "bad key •••"


def test_the_repr_of_an_event() -> None:
    """Time, direction and type on one line."""
    assert repr(event("response.create", 1.23456, "sent")) == (
        "<Event 1.235 s sent response.create>"
    )


def test_the_repr_of_an_event_says_what_is_in_it() -> None:
    """A short summary follows, on the same line, whatever the text is."""
    shown = repr(event("error", 1, error={"code": "bad", "message": "x\n\x1b[31m" * 100}))
    assert shown.startswith("<Event 1.000 s received error: bad: x \ufffd[31mx")
    assert "\n" not in shown
    assert len(shown) < 120


def test_a_frame_nested_too_deep_is_unreadable() -> None:
    """What Python's parser gives up on is kept as text."""
    one = Event("[" * 200_000, time=0, direction="received")
    assert one.type == ""
    assert len(one.data["unreadable"]) == 200_000


@pytest.mark.parametrize(("levels", "readable"), [(99, True), (100, False), (400, False)])
def test_a_frame_may_have_a_hundred_levels(levels: int, readable: bool) -> None:
    """A deeper one is kept as text, so that nothing that copies or writes it gives up."""
    one = Event('{"type":"x","a":' + "[" * levels + "]" * levels + "}", time=0, direction="sent")
    assert ("unreadable" not in one.data) is readable
    assert (one.type == "x") is readable
    assert Event('{"type":"x","a":[' + "[]," * 500 + "1]}", time=0, direction="sent").type == "x"


def test_an_event_as_a_dict() -> None:
    """It is what a line of events.jsonl holds."""
    assert event("error", 1.23456789).to_dict() == {
        "time": 1.234568,
        "direction": "received",
        "event": {"type": "error"},
    }


# --- selecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "types"),
    [
        ("*", CALL.types),
        ("error", ["error"]),
        ("response.*", ["response.created", "response.output_audio.delta", "response.done"]),
        ("*.created", ["session.created", "response.created"]),
        ("RESPONSE.*", []),
        ("resp", []),
    ],
)
def test_select_takes_a_glob(pattern: str, types: list[str]) -> None:
    """Whole types are matched, upper and lower case kept apart, in order."""
    assert CALL.select(pattern).types == types


def test_select_takes_a_direction() -> None:
    """One direction, or both."""
    both = EventLog([event("a", direction="sent"), event("a", direction="received")])
    assert [e.direction for e in both.select(direction="sent")] == ["sent"]
    assert len(both.select("a")) == 2


def test_between_takes_a_stretch_of_time() -> None:
    """The start is in it, the end is not."""
    assert CALL.between(1, 3).types == ["response.created", "response.output_audio.delta"]


def test_between_is_exact_where_times_are_not_in_order() -> None:
    """Events of both directions come nearly in order, and damaged ones anyhow; none is missed."""
    chance = random.Random(1)
    odd = [math.nan, math.inf, -math.inf, 1e300]
    log = EventLog()
    for number in range(300):
        late = chance.uniform(-0.5, 0.5) if number % 5 == 0 else 0.0
        time = chance.choice(odd) if number % 50 == 49 else number / 10 + late
        log.append(event("error", time))
        start, end = (chance.choice([*odd, chance.uniform(-1, 31), log[-1].time]) for _ in "ab")
        assert list(log.between(start, end)) == [one for one in log if start <= one.time < end]


def test_a_selection_is_a_log_of_its_own() -> None:
    """What comes later is not in a selection made before."""
    growing = log("a")
    chosen = growing.select("*")
    growing.append(event("a"))
    assert (len(chosen), len(growing)) == (1, 2)


# --- as a sequence -------------------------------------------------------------------------------


def test_an_index_gives_an_event() -> None:
    """Positions count from both ends; `first` and `last` are names for them."""
    assert CALL[1].type == "response.created"
    assert (CALL[-1], CALL[0]) == (CALL.last, CALL.first)


def test_a_slice_gives_a_log() -> None:
    """Slices are logs, steps included."""
    assert isinstance(CALL[1:3], EventLog)
    assert CALL[::2].types == ["session.created", "response.output_audio.delta", "error"]


@pytest.mark.parametrize("name", ["first", "last"])
def test_an_empty_log_says_so(name: str) -> None:
    """There is no first or last event in an empty log."""
    with pytest.raises(LookupError, match=r"This event log is empty; nothing has matched"):
        getattr(CALL.select("nothing"), name)


def test_a_position_beyond_the_end_is_an_index_error() -> None:
    """A log behaves as a list."""
    with pytest.raises(IndexError):
        _ = CALL[99]


# --- waiting -------------------------------------------------------------------------------------


def test_waiting_finds_what_is_there() -> None:
    """An event that has come already is returned at once."""
    assert CALL.wait_for("response.*", timeout=0).type == "response.created"


def test_waiting_can_skip_what_was_there() -> None:
    """`after` leaves out the events before a position."""
    assert CALL.wait_for("response.*", timeout=0, after=2).type == "response.output_audio.delta"


def test_waiting_takes_a_function() -> None:
    """Any question about an event can be asked."""
    assert CALL.wait_for(lambda e: e.time >= 3, timeout=0).type == "response.done"


def test_waiting_is_ended_by_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event appended by another thread wakes who waits, who need not look again by himself."""
    growing = log("a")
    really = growing._changed.wait
    monkeypatch.setattr(growing._changed, "wait", lambda _: really(60))
    begun = time.monotonic()
    other = threading.Timer(0.05, growing.append, args=[event("b")])
    other.start()
    assert growing.wait_for("b", timeout=60).type == "b"
    other.join()
    assert time.monotonic() - begun < 10


def test_waiting_runs_out() -> None:
    """The error says what was awaited and what was seen last; it is a TimeoutError too."""
    with pytest.raises(TimeoutError) as caught:
        CALL.wait_for("response.failed", timeout=0.01)
    assert isinstance(caught.value, TurnTimeout)
    assert str(caught.value) == (
        "No event matched 'response.failed' within 0.01 s; the last event seen was error."
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [("no JSON", "unreadable"), ("{}", "unknown"), (f'{{"type":"{"x" * 999}"}}', f"{'x' * 79}…")],
)
def test_waiting_that_runs_out_names_whatever_came_last(text: str, named: str) -> None:
    """Within one line, and without a type too."""
    with pytest.raises(TurnTimeout) as caught:
        EventLog([Event(text, time=0, direction="received")]).wait_for("a", timeout=0)
    assert str(caught.value).endswith(f"; the last event seen was {named}.")


def test_waiting_on_an_empty_log_runs_out_too() -> None:
    """Where nothing was seen it says none."""
    with pytest.raises(TurnTimeout, match=r"the last event seen was none\."):
        EventLog().wait_for("*", timeout=0)


# --- threads -------------------------------------------------------------------------------------


def test_a_log_is_read_while_it_is_written() -> None:
    """Four threads append while it is read in every way: nothing is lost and nothing fails."""
    growing = EventLog()

    def write(name: int) -> None:
        for index in range(500):
            growing.append(event(f"kind.{name}", index))

    writers = [threading.Thread(target=write, args=[name]) for name in range(4)]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        seen = growing.select("kind.1")
        assert [e.time for e in seen] == sorted(e.time for e in seen)
        repr(growing), growing.types, growing.between(0, 10), list(growing)
    assert len(growing) == 2000


# --- showing -------------------------------------------------------------------------------------


def test_the_repr_of_a_log_is_a_table() -> None:
    """One line an event, with an arrow for the direction."""
    shown = EventLog(
        [
            event("response.create", 1.0, "sent"),
            event("error", 12.5, error={"code": "no", "message": "such"}),
        ]
    )
    assert repr(shown) == (
        "<EventLog 2 events>\n    1.000  →  response.create\n   12.500  ←  error            no: such"
    )


def test_the_repr_of_a_long_log_is_cut() -> None:
    """Of a long log the last 200 rows are shown, and it says so."""
    lines = repr(log(*["a"] * 500)).splitlines()
    assert lines[0] == (
        "<EventLog 500 events> (the last 200 rows; 300 earlier events are left out)"
    )
    assert len(lines) == 201


def test_the_repr_of_a_short_log_counts_as_the_html_does() -> None:
    """One event is no plural in either."""
    one = log("a")
    assert repr(one).splitlines()[0] == "<EventLog 1 event>"
    assert ">1 event<" in one._repr_html_()


def test_of_a_very_long_log_the_text_says_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events that are too old to be folded into rows are counted in text and HTML."""
    monkeypatch.setattr(events_module, "_FOLDED", 40)
    deltas = EventLog([event("response.output_text.delta", item_id="i", delta="a")] * 100)
    assert repr(deltas).splitlines()[0].endswith("(the last 1 row; 60 earlier events are left out)")
    assert "60 earlier events are left out" in deltas._repr_html_()


def test_a_run_is_one_line() -> None:
    """Deltas of one item are folded in the text as well."""
    deltas = [event("response.output_text.delta", item_id="i", delta=d) for d in ("Pa", "ris")]
    assert repr(EventLog(deltas)).splitlines()[1].endswith("response.output_text.delta  ×2 Paris")


def test_a_log_is_drawn_by_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """`plot` hands the log, the axes and the options on."""
    from rtnb import plots

    asked: list[Any] = []
    monkeypatch.setattr(plots, "events", lambda *a, **k: asked.append((a, k)), raising=False)
    CALL.plot(ax=None, option=1)
    assert asked == [((CALL,), {"ax": None, "option": 1})]


def test_the_html_of_a_log_is_escaped() -> None:
    """What a server sends cannot become part of the page."""
    html = EventLog([event("<script>alert(1)</script>", text="<img src=x>")])._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
