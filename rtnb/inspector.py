"""`EventInspector`: the live table of a call's events; it reads a log and changes nothing.

The rows shown are found by a thread of the widget's own, at most five times a second, and only what
has changed is sent. The page asks by messages, which that thread answers, so that no callback holds
the kernel up. It publishes in a `PageContext`, for which a page says every 10 s that it is there.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from rtnb import _html
from rtnb.errors import ConfigurationError
from rtnb.eventrows import Row, Rows, lines
from rtnb.events import Event, EventLog
from rtnb.eventtext import plain, pretty
from rtnb.eventview import event_styles
from rtnb.eventwindow import Query, Window, understood
from rtnb.followed import Followed, Source
from rtnb.pagecontext import PageContext

__all__ = ["EventInspector"]

_PERIOD: Final = 0.2  # seconds between two looks at the log
_AT_ONCE: Final = 20_000  # events that are read before the widget is made
_STEP: Final = 2_000  # events that are read before the page is answered
_QUIET: Final = 1.0  # seconds without a change after which the saved window is brought up to date
_BUSY: Final = 10.0  # seconds after which it is while changes go on
_MOST_ROWS: Final = 500
_TYPES: Final = 40  # types whose counts are shown
_FALLBACK: Final = 20  # rows where there are no widgets
_LINES: Final = 100  # events of a run in one answer
_ONCE: Final = ("hello", "here", "open")  # asked again, the same answer does
# a query shows the newest rows that match it, whatever was shown before
_OUTDATED: Final = ("query", "pause", "follow", "older", "newer", "oldest")
_SCRIPT: Final = (Path(__file__).parent / "_static" / "inspector.js").read_text(encoding="utf-8")
_Json = dict[str, Any]


class EventInspector(anywidget.AnyWidget):
    """A table of events in a cell that follows a running call.

    Newest on top; filters by glob, text, turn and direction; a row unfolds to its JSON, a run of
    deltas to its events. Keys: up, down, Home, End, Page Up and Page Down move, Enter or the space
    bar unfolds, Escape folds, ``/`` goes to the search field, ``p`` pauses.

    Parameters
    ----------
    source
        A session, run or turn, anything else with ``.events``, or an `EventLog`.
    pattern
        A glob on the type to begin with.
    rows
        How many rows are in the page at once, 1 to 500.

    Raises
    ------
    ConfigurationError
        `source` has no events, or `rows` is out of range.
    """

    _esm = _SCRIPT
    _css = _html.styles().removeprefix("<style>").removesuffix("</style>") + event_styles()
    window = traitlets.Dict().tag(sync=True)

    _stopped = False
    _follower: threading.Thread | None = None

    def __init__(self, source: Source | EventLog, *, pattern: str = "*", rows: int = 100):
        if isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= _MOST_ROWS:
            raise ConfigurationError(f"rows is {rows!r}; it must be 1 to {_MOST_ROWS}.")
        if not isinstance(source, EventLog) and not isinstance(
            getattr(source, "events", None), EventLog
        ):
            raise ConfigurationError(
                f"{type(source).__name__} has no events to inspect; "
                "give a session, a run, a turn or an EventLog."
            )
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._asked: list[_Json] = []
        self._source = Followed(source)
        self._rows = Rows()
        self._window = Window(self._rows, rows)
        self._window.ask(Query(pattern=pattern))
        self._sent: _Json = {}  # the window as the page has it
        self._synced = self._patched = self._looked = 0.0
        self._seq = 0
        self._context = PageContext()
        self._read(_AT_ONCE)
        while not self._window.work():
            pass
        self._sent = self._shown()
        super().__init__(window=self._sent)
        self.on_msg(lambda _, content, __: self._heard(content))
        _living.add(self)
        self._start()

    # --- the page asks ----------------------------------------------------------------------------

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Take the state of the page, of which the window is no part."""
        super().set_state({k: v for k, v in sync_data.items() if k != "window"})

    def _heard(self, content: object) -> None:
        """Take a message of the page; one that is not understood is left alone."""
        if isinstance(content, dict) and understood(content) and not self._stopped:
            self._context.heard()
            with self._lock:
                self._asked = _queued(self._asked, content)
            self._wake.set()
            self._start()

    def _next(self) -> _Json | None:
        with self._lock:
            return self._asked.pop(0) if self._asked else None

    def _answer(self, asked: _Json) -> None:
        window = self._window
        match asked["kind"]:
            case "hello":
                self._sync()
            case "query":
                self._ask(asked)
            case "pause":
                window.pause()
            case "follow":
                window.follow()
            case "older":
                window.turn_page(-1)
            case "newer":
                window.turn_page(1)
            case "oldest":
                window.oldest()
            case "open":
                self._open(asked["row"], asked.get("event"), _first(asked))

    def _ask(self, asked: _Json) -> None:
        query = Query(
            asked["pattern"].strip() or "*",
            asked["search"],
            asked["direction"],
            asked["errors"],
            asked["turn"],
        )
        spans = {number: span for number, _, span in self._source.turns()}
        self._window.ask(query, spans.get(query.turn) if query.turn is not None else None)
        self._window.follow()

    def _open(self, number: int, event: int | None, first: int) -> None:
        if number >= len(self._rows.rows):
            return
        row = self._rows.rows[number]
        answer: _Json = {"kind": "detail", "row": number, "event": event}
        if event is None and row.count > 1:
            answer["events"] = [_single(e) for e in row.events[first : first + _LINES]]
            answer |= {"first": first, "count": row.count}
        elif (event or 0) < row.count:
            answer["json"] = pretty(row.events[event or 0].data)
        self._context.run(lambda: self.send(answer))

    # --- the thread -------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if not self._stopped and (self._follower is None or not self._follower.is_alive()):
                me = weakref.ref(self)
                self._follower = threading.Thread(
                    target=_follow, args=[me, self._wake], name="rtnb-inspector", daemon=True
                )
                self._follower.start()

    def _turn(self) -> bool:
        """Answer, read and send once; return whether there is anything more to come."""
        over = self._source.over  # before the log is read: what came last is read still
        while asked := self._next():
            self._answer(asked)
        self._read(_STEP)
        self._follow_turn()
        found = self._window.work()
        done = found and not self._source.behind
        now = time.monotonic()
        if done or now - self._looked >= _PERIOD:
            self._looked = now
            self._publish(searching=not found)
        if not done:
            self._wake.set()
            return True
        stale = self._patched > self._synced
        if stale and (over or now - self._patched > _QUIET or now - self._synced > _BUSY):
            self._sync()
        if self._context.rest(over=over):
            # what comes next is served on the main thread
            self._context.run(lambda: self.send({"kind": "rest"}))
        return not over

    def _leave(self) -> bool:
        """Return whether the thread may end; the next message starts another."""
        with self._lock:
            if not self._stopped and self._asked:
                return False
            self._follower = None
            return True

    def _read(self, most: int) -> None:
        for event in self._source.read(most):
            self._window.grown(self._rows.append(event), event)

    def _follow_turn(self) -> None:
        """Look again where the turn that is asked for has ended meanwhile."""
        query = self._window.query
        if query.turn is not None:
            spans = {number: span for number, _, span in self._source.turns()}
            if spans.get(query.turn) != self._window.span:
                self._window.ask(query, spans.get(query.turn))

    def _shown(self, *, searching: bool = False) -> _Json:
        """Return the window: what is in the page and in a saved notebook."""
        window, rows = self._window, self._rows
        page = window.page()
        query = window.query
        return {
            "seq": self._seq,
            "source": self._source.name,
            "over": self._source.over,
            "paused": window.anchor is not None,
            "searching": searching,
            "rows": [_compact(row) for row in page.rows],
            "newer": page.newer,
            "older": page.older,
            "matching": window.matching,
            "folded": len(rows.rows),
            "total": rows.total,
            "errors": rows.errors,
            "counts": [[plain(k, 80), n] for k, n in rows.counts.most_common(_TYPES)],
            "turns": [[number, label] for number, label, _ in self._source.turns()],
            "query": {
                "pattern": plain(query.pattern),
                "search": plain(query.search),
                "direction": query.direction,
                "errors": query.errors,
                "turn": query.turn,
            },
        }

    def _publish(self, *, searching: bool) -> None:
        """Send what differs from what the page has."""
        new, old = self._shown(searching=searching), self._sent
        had = {row[0]: row for row in old["rows"]}
        patch: _Json = {k: v for k, v in new.items() if k != "rows" and v != old[k]}
        if new["rows"] != old["rows"]:
            patch["order"] = [row[0] for row in new["rows"]]
            patch["rows"] = [row for row in new["rows"] if had.get(row[0]) != row]
        if not patch:
            return
        self._seq += 1
        new["seq"] = self._seq
        self._sent = new
        self._patched = time.monotonic()
        message = {"kind": "patch", **patch, "seq": self._seq, "base": self._seq - 1}
        self._context.run(lambda: self.send(message))

    def _sync(self) -> None:
        """Bring the saved window up to date."""
        self._synced = time.monotonic()
        self._seq += 1
        self._sent = {**self._sent, "seq": self._seq}
        self._context.run(lambda: self.set_trait("window", self._sent))

    # --- life and looks ---------------------------------------------------------------------------

    def freeze(self) -> None:
        """Follow no longer; what has come until now can still be looked through."""
        self._source.freeze()
        self._join()

    def close(self) -> None:
        """Stop following and take the table out of the page; a second call does nothing."""
        self._halt()
        super().close()

    def _halt(self) -> None:
        self._stopped = True
        self._join()

    def _join(self) -> None:
        """Give the thread a second to see that it may end."""
        follower = self._follower
        if follower is None:  # it has ended, or was never made
            return
        self._wake.set()
        if follower is not threading.current_thread():
            follower.join(1.0)

    def __repr__(self) -> str:
        state = "closed" if self._stopped else "over" if self._source.over else "following"
        rows = self._rows
        return (
            f"<EventInspector of {self._source.name}: {rows.total} events in {len(rows.rows)} rows, "
            f"errors: {rows.errors}, {state}>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            latest = lines(self._window.page().rows[:_FALLBACK])
            data["text/plain"] = "\n".join([repr(self), *latest])
        return bundle


def _follow(me: weakref.ref[EventInspector], wake: threading.Event) -> None:
    """Keep an inspector up to date until it is closed or there is nothing more to come."""
    while True:
        inspector = me()
        if inspector is None:
            return
        going_on = not inspector._stopped and inspector._turn()
        if not going_on and inspector._leave():
            return
        del inspector
        wake.wait(_PERIOD)
        wake.clear()


def _queued(asked: list[_Json], new: _Json) -> list[_Json]:
    """Return what waits for an answer, with one message more; nothing that matters is left out."""
    if new["kind"] == "query":
        asked = [message for message in asked if message["kind"] not in _OUTDATED]
    return asked if new["kind"] in _ONCE and new in asked else [*asked, new]


def _first(asked: _Json) -> int:
    """Return from which event of a run on its lines are asked for."""
    first = asked.get("first")
    return first if isinstance(first, int) and first > 0 else 0


def _compact(row: Row) -> list[Any]:
    side = int(row.direction == "sent")
    return [
        row.number,
        f"{row.time:.3f}",
        side,
        plain(row.type, 80),
        row.kind,
        row.span,
        row.summary,
    ]


def _single(event: Event) -> list[str]:
    return [f"{event.time:.3f}", plain(event.data.get("delta"), 80)]


# An interpreter that ends must not meet a thread that is about to send.
_living: Final[weakref.WeakSet[EventInspector]] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for inspector in list(_living):
        inspector._halt()
