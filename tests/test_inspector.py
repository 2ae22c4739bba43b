"""`EventInspector`: the live table of events, driven as a page drives it, without a browser."""

from __future__ import annotations

import contextvars
import gc
import json
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rtnb import ConfigurationError, Event, EventLog
from rtnb.inspector import EventInspector
from rtnb.turns import Turn
from rtnb.turnstate import TurnState

ALL = {"kind": "query", "pattern": "", "search": "", "direction": "", "errors": False, "turn": None}
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


def event(type: str, at: float = 0.0, direction: Any = "received", **fields: Any) -> Event:
    return Event(json.dumps({"type": type, **fields}), time=at, direction=direction)


def delta(text: str, at: float = 0.0) -> Event:
    return event("response.output_text.delta", at, item_id="i", delta=text)


def numbered(count: int) -> EventLog:
    return EventLog(event("response.created", at, number=at) for at in range(count))


class Call:
    """What an inspector sees of a session."""

    def __init__(self, events: EventLog):
        self.events = events
        self.state = "open"
        self.turns: list[Turn] = []


class Page:
    """The page's side, as inspector.js has it: the window, brought up to date by what is sent."""

    def __init__(self, inspector: EventInspector):
        self.inspector = inspector
        self.heard: list[dict[str, Any]] = []
        self.speakers: set[str] = set()
        self.changed = threading.Condition()
        self.window: dict[str, Any] = inspector.window
        inspector.send = self.hear
        inspector.observe(self.synced, "window")
        self.say("hello")

    def say(self, kind: str, **fields: Any) -> None:
        self.inspector._heard({"kind": kind, **fields})

    def query(self, **fields: Any) -> None:
        self.inspector._heard({**ALL, **fields})

    def synced(self, change: Any) -> None:
        with self.changed:
            self.window = change["new"]
            self.changed.notify_all()

    def hear(self, message: dict[str, Any]) -> None:
        with self.changed:
            self.heard.append(message)
            self.speakers.add(WHO.get())
            if message["kind"] == "patch" and message["base"] == self.window["seq"]:
                self.apply(json.loads(json.dumps(message)))
            elif message["kind"] == "patch":
                self.say("hello")
            self.changed.notify_all()

    def apply(self, patch: dict[str, Any]) -> None:
        known = {row[0]: row for row in self.window["rows"] + patch.get("rows", [])}
        order = patch.pop("order", [row[0] for row in self.window["rows"]])
        self.window = {**self.window, **patch, "rows": [known[number] for number in order]}

    def wait(self, fact: Callable[[], Any]) -> Any:
        with self.changed:
            assert self.changed.wait_for(fact, 30), self.window
            return fact()

    def shows(self, **facts: Any) -> dict[str, Any]:
        """Wait until the window is as told, and return it."""
        self.wait(lambda: all(self.window[key] == value for key, value in facts.items()))
        return self.window

    def said(self, kind: str) -> dict[str, Any]:
        """Wait for a message of a kind, and return the latest."""
        return self.wait(lambda: next((m for m in self.heard[::-1] if m["kind"] == kind), None))

    @property
    def numbers(self) -> list[int]:
        return [row[0] for row in self.window["rows"]]


@pytest.fixture
def look() -> Iterator[Callable[..., Page]]:
    """Return a function that opens an inspector in a page; all are closed in the end."""
    pages: list[Page] = []

    def opened(source: Any, **kwargs: Any) -> Page:
        pages.append(Page(EventInspector(source, **kwargs)))
        return pages[-1]

    yield opened
    for page in pages:
        page.inspector.close()


def thread_of(page: Page) -> threading.Thread:
    follower = page.inspector._follower
    assert follower is not None
    return follower


# --- what is shown -------------------------------------------------------------------------------


def test_the_newest_rows_are_there_at_once(look: Any) -> None:
    """Before anything is asked, the window holds the last rows, newest first, and the totals."""
    window = EventInspector(numbered(1_000), rows=10).window
    assert [row[0] for row in window["rows"]] == list(range(999, 989, -1))
    assert (window["total"], window["matching"], window["older"]) == (1_000, 1_000, 990)


def test_a_row_is_compact(look: Any) -> None:
    """Number, time, side, type, mark, span and summary."""
    page = look(EventLog([delta("Pa", 1), delta("ris", 2), event("error", 3, "sent", error="No.")]))
    assert page.window["rows"] == [
        [1, "3.000", 1, "error", "error", "", "No."],
        [0, "1.000", 0, "response.output_text.delta", "", "×2 in 1.00 s", "Paris"],
    ]


def test_a_pattern_can_be_given(look: Any) -> None:
    """The first window is filtered already."""
    page = look(EventLog([event("error"), event("response.done")]), pattern="response.*")
    assert page.numbers == [1]
    assert page.window["query"]["pattern"] == "response.*"


def test_the_saved_state_is_bounded(look: Any) -> None:
    """A hundred rows of hostile, huge events are under 200 kB of state."""
    hostile = "\u202e\x1b<script>\ud800" + "ü" * 20_000
    page = look(EventLog([event(f"{n}{hostile}", n, error=hostile) for n in range(200)]))
    saved = json.dumps(page.window, allow_nan=False).encode()
    assert len(saved) < 200_000
    assert len(page.window["rows"]) == 100


def test_a_key_is_not_in_the_state(look: Any) -> None:
    """What a server echoes is masked in the window and in the JSON."""
    key = "sk-proj-abcdefgh123456"
    page = look(EventLog([event("error", error={"message": f"bad key {key}"})]))
    page.say("open", row=0, event=None)
    assert key not in json.dumps(page.said("detail")) + json.dumps(page.inspector.get_state())


# --- following -----------------------------------------------------------------------------------


def test_a_growing_log_is_followed(look: Any) -> None:
    """What another thread appends shows, and patches add up to the very window."""
    log = EventLog()
    page = look(log, rows=20)
    chance = random.Random(3)
    kinds = ["error", "response.created", "vendor.mood", "rate_limits.updated"]

    def grow() -> None:
        for at in range(3_000):
            log.append(delta("x", at) if chance.random() < 0.5 else event(chance.choice(kinds), at))

    other = threading.Thread(target=grow)
    other.start()
    window = page.shows(total=3_000)
    other.join()
    assert window["rows"] == EventInspector(log, rows=20).window["rows"]
    assert sum(count for _, count in window["counts"]) == 3_000


def test_only_changes_are_sent(look: Any) -> None:
    """One more event is one more row in the patch, however many are shown."""
    log = numbered(500)
    page = look(log)
    page.shows(total=500, seq=1)
    log.append(event("error"))
    page.shows(total=501)
    (patch,) = [m for m in page.heard if m["kind"] == "patch"]
    assert [row[0] for row in patch["rows"]] == [500]
    assert "turns" not in patch
    assert len(json.dumps(patch)) < 1_500


def test_nothing_is_sent_where_nothing_happens(look: Any) -> None:
    """Messages that change nothing make no patch."""
    log = numbered(5)
    page = look(log)
    page.say("follow")
    page.say("open", row=0, event=None)
    page.said("detail")
    assert [m["kind"] for m in page.heard] == ["detail"]


def test_the_window_is_saved_when_it_is_quiet(look: Any) -> None:
    """A while after the last change the trait holds what the page shows."""
    log = numbered(5)
    page = look(log)
    log.append(event("error"))
    page.shows(total=6)
    page.wait(lambda: page.inspector.window["total"] == 6)
    assert page.inspector.window["rows"] == page.window["rows"]


# --- filters -------------------------------------------------------------------------------------

MIXED = EventLog(
    [
        event("session.created", 0, session={"model": "gpt-realtime"}),
        event("response.create", 1, "sent", response={"instructions": "Be Brief."}),
        delta("Pa", 2),
        event("rate_limits.updated", 3),
        delta("ris", 4),
        event("error", 5, error={"message": "caf\u00e9", "param": "hidden.field"}),
    ]
)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"pattern": "response.*"}, [2, 1]),
        ({"pattern": " *.created "}, [0]),
        ({"pattern": "nothing"}, []),
        ({"search": "be brief"}, [1]),
        ({"search": "PARIS"}, [2]),
        ({"search": "hidden.field"}, [4]),
        ({"search": "CAFÉ"}, [4]),
        ({"search": "rate_lim"}, [3]),
        ({"direction": "sent"}, [1]),
        ({"direction": "received", "search": "gpt"}, [0]),
        ({"errors": True}, [4]),
        ({"errors": True, "pattern": "response.*"}, []),
    ],
    ids=str,
)
def test_rows_are_filtered(look: Any, query: dict[str, Any], numbers: list[int]) -> None:
    """By glob, text in type, summary, transcript and JSON, direction, and errors."""
    page = look(MIXED)
    page.query(**query)
    page.shows(matching=len(numbers))
    assert page.numbers == numbers


def test_a_filter_holds_for_what_comes(look: Any) -> None:
    """New events are filtered too; the totals count all."""
    log = numbered(10)
    page = look(log)
    page.query(errors=True)
    page.shows(matching=0)
    log.append(event("error"))
    log.append(event("response.done"))
    page.shows(matching=1, total=12)
    assert page.numbers == [10]


def test_a_run_may_come_to_match(look: Any) -> None:
    """A row that grows is looked at again."""
    log = EventLog([delta("Pa"), event("error")])
    page = look(log)
    page.query(search="paris")
    page.shows(matching=0)
    log.append(delta("ris"))
    page.shows(matching=1)
    assert page.numbers == [0]


def turn(number: int, started: float, ended: float | None, source: Any = None) -> Turn:
    state = TurnState(number, "text", started, text="Hello <b>", ended=ended)
    state.status = "in_progress" if ended is None else "completed"
    return Turn(state, source)


def test_rows_are_filtered_by_turn(look: Any) -> None:
    """The rows of a turn's time; of a turn that goes on, all that come."""
    call = Call(numbered(10))
    call.turns = [turn(1, 2, 4), turn(2, 7, None)]
    page = look(call)
    assert page.window["turns"] == [[1, "Hello <b>"], [2, "Hello <b>"]]
    page.query(turn=1)
    page.shows(matching=3)
    page.query(turn=2)
    page.shows(matching=3)
    call.events.append(event("error", 11))
    page.shows(matching=4)
    call.turns[1]._state.ended = 9.5
    page.shows(matching=3)


def test_a_turn_is_inspected_by_itself(look: Any) -> None:
    """Given a turn, only its events are counted and shown."""
    page = look(turn(1, 2, 4, Call(numbered(10))))
    assert page.window["source"] == "Turn"
    assert (page.window["total"], page.window["over"]) == (3, True)


# --- pause and pages -----------------------------------------------------------------------------


def test_a_pause_keeps_the_rows(look: Any) -> None:
    """New events are counted and not shown, until the log is followed again."""
    log = numbered(10)
    page = look(log)
    page.say("pause")
    page.shows(paused=True)
    log.append(event("error"))
    page.shows(newer=1, total=11)
    assert page.numbers[0] == 9
    page.say("follow")
    page.shows(newer=0, paused=False)
    assert page.numbers[0] == 10


def test_pages_go_to_both_ends(look: Any) -> None:
    """Older and newer move by a page and stop at the ends."""
    page = look(numbered(25), rows=10)
    for kind, newer, top in [
        ("older", 10, 14),
        ("older", 15, 9),
        ("newer", 5, 19),
        ("newer", 0, 24),
        ("oldest", 15, 9),
        ("follow", 0, 24),
    ]:
        page.say(kind)
        page.shows(newer=newer, older=15 - newer)
        assert page.numbers == list(range(top, top - 10, -1))


def test_a_page_stays_while_the_log_grows(look: Any) -> None:
    """Looking at older rows is not disturbed by new ones."""
    log = numbered(25)
    page = look(log, rows=10)
    page.say("older")
    page.shows(newer=10)
    log.append(event("error"))
    page.shows(newer=11)
    assert page.numbers[0] == 14


# --- unfolding -----------------------------------------------------------------------------------


def test_an_event_unfolds_to_its_json(look: Any) -> None:
    """The page asks for the JSON of a row and gets it as text."""
    page = look(EventLog([event("error", error={"message": "<b>\u202e"})]))
    page.say("open", row=0, event=None)
    answer = page.said("detail")
    assert json.loads(answer["json"])["error"]["message"] == "<b>\ufffd"
    assert (answer["row"], answer["event"]) == (0, None)


def test_a_run_unfolds_to_its_events(look: Any) -> None:
    """First to a line each, then each to its JSON."""
    page = look(EventLog([delta("Pa", 1), delta("ris", 2)]))
    page.say("open", row=0, event=None)
    assert page.said("detail")["events"] == [["1.000", "Pa"], ["2.000", "ris"]]
    page.say("open", row=0, event=1)
    single = page.wait(lambda: next((m for m in page.heard if "json" in m), None))
    assert json.loads(single["json"])["delta"] == "ris"


def test_a_long_run_unfolds_a_hundred_events_at_a_time(look: Any) -> None:
    """From where the page asks for them, with how many there are."""
    log = EventLog(delta(str(number), number) for number in range(250))
    page = look(log)
    for first, count in [(0, 100), (100, 100), (200, 50), (250, 0)]:
        page.say("open", row=0, event=None, first=first)
        answer = page.wait(
            lambda first=first: next((m for m in page.heard if m.get("first") == first), None)
        )
        said = [words for _, words in answer["events"]]
        assert said == [str(number) for number in range(first, first + count)]
        assert answer["count"] == 250


@pytest.mark.parametrize(
    "message",
    [
        *(None, 5, "open", [], {}, {"kind": None}, {"kind": "explode"}, {"kind": ["open"]}),
        *({"kind": "open"}, {"kind": "open", "row": -1}, {"kind": "open", "row": True}),
        *({"kind": "open", "row": "0"}, {"kind": "open", "row": 0, "event": 1.5}),
        *({"kind": "open", "row": 2**40}, {"kind": "open", "row": 99}),
        *({"kind": "open", "row": 0, "event": 99}, {"kind": "query"}),
        *({**ALL, "pattern": "x" * 201}, {**ALL, "search": 5}, {**ALL, "direction": "up"}),
        *(
            {"kind": "open", "row": 0, "event": None, "first": wrong}
            for wrong in ("1", -1, [], 1.5)
        ),
        *({**ALL, "errors": 1}, {**ALL, "turn": "1"}, {**ALL, "turn": -1}),
    ],
    ids=str,
)
def test_a_bad_message_is_left_alone(look: Any, message: object) -> None:
    """It changes nothing, and the next one is answered."""
    page = look(numbered(3))
    page.inspector._heard(message)
    page.say("open", row=1, event=None)
    page.wait(lambda: any(m.get("row") == 1 for m in page.heard))
    assert page.window["query"]["pattern"] == "*"
    assert page.window["matching"] == 3


@pytest.mark.parametrize("pattern", ["[", "[!", "***", "[]]", "\\", "(a+)+$"])
def test_any_pattern_is_a_glob(look: Any, pattern: str) -> None:
    """A glob that is half written, or no glob, matches or does not."""
    page = look(numbered(3))
    page.query(pattern=pattern)
    page.wait(lambda: page.window["query"]["pattern"] == pattern)


def test_the_page_cannot_set_the_window(look: Any) -> None:
    """A state that a page sends leaves the window as it is."""
    page = look(numbered(3))
    page.inspector.set_state({"window": {"rows": "none"}})
    assert len(page.inspector.window["rows"]) == 3


class Held(EventLog):
    """A log at which the inspector's thread is held up until it is let go."""

    def __init__(self, count: int):
        super().__init__(numbered(count))
        self.go = threading.Event()
        self.held = threading.Event()

    @property
    def state(self) -> str:
        if threading.current_thread().name == "rtnb-inspector":
            self.held.set()
            self.go.wait(30)
        return "open"


def asked_at_once(page: Page, log: Held, *messages: dict[str, Any]) -> None:
    """Let the page say all of these before the first is answered."""
    log.held.wait(30)
    for message in messages:
        page.inspector._heard(message)
    log.go.set()


def test_of_many_queries_the_newest_is_answered(look: Any) -> None:
    """Those before it, and moves that it would undo, are not worked on."""
    log = Held(50)
    page = look(log)
    log.held.wait(30)
    done: list[str] = []
    answer = page.inspector._answer
    page.inspector._answer = lambda asked: (done.append(asked["kind"]), answer(asked))
    patterns = [{**ALL, "pattern": f"p{number}"} for number in range(200)]
    asked_at_once(page, log, *patterns, {"kind": "pause"}, {**ALL, "pattern": "last"})
    page.wait(lambda: page.window["query"]["pattern"] == "last")
    assert done.count("query") == 1
    assert not page.window["paused"]


def test_no_unfolding_is_left_out(look: Any) -> None:
    """However many rows the page asks for at once, each is answered, and once."""
    log = Held(300)
    page = look(log)
    opens = [{"kind": "open", "row": number, "event": None} for number in range(300)]
    asked_at_once(page, log, *opens, {**ALL, "pattern": "x"}, *opens)
    page.shows(matching=0)
    rows = [m["row"] for m in page.heard if m["kind"] == "detail"]
    assert rows == list(range(300))


# --- life ----------------------------------------------------------------------------------------


def test_the_thread_ends_with_the_call(look: Any) -> None:
    """When a session is closed, its last events are shown and the thread is over."""
    call = Call(numbered(3))
    page = look(call)
    follower = thread_of(page)
    call.events.append(event("error"))
    call.state = "closed"
    follower.join(30)
    assert not follower.is_alive()
    assert page.inspector.window["total"] == 4
    assert page.inspector.window["over"]


def test_a_call_that_is_over_can_be_looked_through(look: Any) -> None:
    """The next message starts a thread again, and it ends when it has answered."""
    call = Call(numbered(300))
    call.state = "closed"
    page = look(call)
    page.shows(seq=1)
    page.say("older")
    page.shows(newer=100)
    page.say("open", row=5, event=None)
    assert page.said("detail")["row"] == 5


def test_the_inspector_does_not_keep_a_session_alive(look: Any) -> None:
    """A forgotten session is collected, the thread ends, and what came can still be read."""
    call = Call(numbered(3))
    page = look(call)
    follower = thread_of(page)
    del call
    gc.collect()
    follower.join(30)
    assert not follower.is_alive()
    page.say("open", row=2, event=None)
    assert page.said("detail")["row"] == 2


def test_closing_ends_the_thread() -> None:
    """It may be done twice; afterwards messages are not answered."""
    inspector = EventInspector(numbered(3))
    page = Page(inspector)
    inspector.close()
    inspector.close()
    assert not any(t.name == "rtnb-inspector" and t.is_alive() for t in [inspector._follower] if t)
    page.say("hello")
    assert inspector._follower is None
    assert "closed" in repr(inspector)


def test_messages_are_published_where_the_page_asked(look: Any) -> None:
    """The thread publishes in the context of the last message, which decides who is asked next."""
    log = numbered(3)
    page = look(log)
    page.shows(seq=1)
    page.speakers.clear()
    WHO.set("the page")
    page.say("here")
    WHO.set("nobody")
    log.append(event("error"))
    page.shows(total=4)
    assert page.speakers == {"the page"}


def test_the_context_is_given_back_at_the_end(look: Any) -> None:
    """When the call is over the thread publishes once more, in no context of the page's."""
    call = Call(numbered(3))
    page = look(call)
    WHO.set("the page")
    page.say("here")
    page.speakers.clear()
    WHO.set("nobody")
    call.state = "closed"
    page.said("rest")
    assert "nobody" in page.speakers


def frozen(page: Page) -> Page:
    follower = thread_of(page)
    page.inspector.freeze()
    follower.join(30)
    assert not follower.is_alive()
    return page


def test_a_frozen_inspector_follows_no_longer(look: Any) -> None:
    """It says that this is all, its thread ends, and what comes later is not read."""
    log = numbered(3)
    page = look(log)
    page.shows(seq=1)
    frozen(page)
    assert page.shows(over=True)["total"] == 3
    log.append(event("error"))
    page.query(errors=True)
    page.shows(matching=0, total=3)
    assert repr(page.inspector).endswith("over>")


def test_a_frozen_inspector_still_answers(look: Any) -> None:
    """Rows unfold and are filtered, and the thread ends again each time."""
    log = EventLog([delta("Pa"), event("error")])
    page = frozen(look(log))
    page.say("open", row=1, event=None)
    assert '"error"' in page.said("detail")["json"]
    page.query(search="pa")
    page.shows(matching=1)
    page.wait(lambda: page.inspector._follower is None)


def test_what_came_before_it_was_frozen_is_read(look: Any) -> None:
    """Also what the thread had not come to yet."""
    log = numbered(3)
    page = look(log)
    for _ in range(10_000):
        log.append(event("response.created"))
    page.inspector.freeze()
    page.shows(total=10_003, over=True)


def test_a_closed_inspector_may_be_frozen() -> None:
    """It stays closed, and so does one that was frozen first."""
    inspector = EventInspector(numbered(3))
    inspector.freeze()
    inspector.close()
    inspector.freeze()
    assert "closed" in repr(inspector)


@pytest.mark.parametrize("source", [None, 5, "events", [], object()])
def test_a_source_must_have_events(source: Any) -> None:
    """The error says what can be inspected."""
    with pytest.raises(ConfigurationError, match="give a session, a run, a turn or an EventLog"):
        EventInspector(source)


@pytest.mark.parametrize("rows", [0, -1, 501, True, 2.5, "many"])
def test_the_number_of_rows_has_limits(rows: Any) -> None:
    """From 1 to 500."""
    with pytest.raises(ConfigurationError, match="it must be 1 to 500"):
        EventInspector(EventLog(), rows=rows)


# --- where there are no widgets ------------------------------------------------------------------


def test_the_repr_is_short(look: Any) -> None:
    """One line, and no traits."""
    log = EventLog([event("error"), delta("a"), delta("b")])
    inspector = look(log).inspector
    assert repr(inspector) == (
        "<EventInspector of EventLog: 3 events in 2 rows, errors: 1, following>"
    )


def test_without_widgets_the_latest_rows_are_text(look: Any) -> None:
    """The text beside the widget shows what it is of, and 20 rows."""
    bundle = look(numbered(100)).inspector._repr_mimebundle_()
    shown = bundle[0]["text/plain"].splitlines()
    assert shown[0].startswith("<EventInspector of EventLog: 100 events")
    assert len(shown) == 21
    assert "99.000" in shown[1]
