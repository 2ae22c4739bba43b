"""Splits the events of a recorded call at what began them; it must not know files or sound.

A **part** is what a server sent because of one thing that its client did: the end of its speech, a
commit, or a ``response.create``. What belongs to a response goes with the part that created it,
however late it came; so does what belongs to an item.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from rtnb.dialects import Json, object_at, text_at
from rtnb.peer.recordedsound import Sounding

__all__ = ["Cue", "Part", "Recorded", "Row", "Split", "asked", "split"]

Cue = Literal["speech", "commit", "text", "tool", "response", "outside", "opening"]

# what answers a client's event at once is said anew in each call, and not from the record
_SAID_ANEW: Final = frozenset(
    {
        "session.created",
        "session.updated",
        "input_audio_buffer.cleared",
        "conversation.item.truncated",
        "conversation.item.deleted",
        "conversation.item.retrieved",
    }
)
_ANNOUNCED: Final = "response.content_part.added"
_CLOSING: Final = 0.1  # seconds before response.done in which an interrupted response is closed
_GRACE: Final = 1.0  # seconds that the end of an interrupted response waits for an interruption


@dataclass(frozen=True)
class Row:
    """One recorded event: seconds on the call's clock, whose it was, and itself in GA names."""

    time: float
    sent: bool
    event: Json


@dataclass(frozen=True)
class Recorded:
    """One event of the server's.

    Attributes
    ----------
    after : float
        Seconds from what began its part.
    event : dict
        In GA names; shared, never to be changed.
    response_id : str or None
        The response to which it belongs.
    """

    after: float
    event: Json
    response_id: str | None = None


@dataclass(eq=False)
class Part:
    """What a server sent because of one thing that its client did.

    Attributes
    ----------
    cue : str
        What began it: ``"speech"``, ``"commit"``; or ``response.create`` after a message
        (``"text"``), after a tool's output (``"tool"``) or after neither (``"response"``), or for
        ``"conversation": "none"`` (``"outside"``); ``"opening"`` for what came by itself.
    began : float
        When, on the recorded call's clock: for speech, its end.
    item_id : str or None
        The user's item, of speech or a commit.
    started : tuple of (float, dict) or None
        When speech began, and its event.
    events : list of Recorded
        In order; what came while the user was speaking has a negative distance.
    """

    cue: Cue
    began: float | None
    item_id: str | None = None
    started: tuple[float, Json] | None = None
    events: list[Recorded] = field(default_factory=list)

    def at(self, time: float) -> float:
        """Return a time on the recorded call's clock as a distance from what began this part."""
        return time - (self.began or 0.0)

    def first(self, type: str) -> Json | None:
        """Return its first event of a type."""
        return next((one.event for one in self.events if one.event["type"] == type), None)

    def announced(self, response_id: str) -> float | None:
        """Return after how long a response's first content part is added; None where none is."""
        for one in self.events:
            if one.response_id == response_id and one.event["type"] == _ANNOUNCED:
                return one.after
        return None


@dataclass(frozen=True)
class Split:
    """A whole call.

    Attributes
    ----------
    parts : list of Part
        In order; the first one is the opening.
    soundings : list of Sounding
        The responses that spoke.
    part_of : dict
        Response id to its part.
    spoken_items : dict
        Response id to the item that it spoke.
    client_items : list of (str, str)
        Type and id of the items that the client made, in order.
    """

    parts: list[Part]
    soundings: list[Sounding]
    part_of: dict[str, Part]
    spoken_items: dict[str, str]
    client_items: list[tuple[str, str]]


def split(rows: Iterable[Row]) -> Split:
    """Return a call's events by what began them.

    Parameters
    ----------
    rows
        Both directions, in order of time.
    """
    ordered = list(rows)
    splitter = _Splitter(_response_of_items(ordered))
    for row in ordered:
        (splitter.sent if row.sent else splitter.received)(row)
    return splitter.result()


def _response_of_items(rows: Iterable[Row]) -> dict[str, str]:
    """Return which response made which item; the item may be announced before it says so."""
    found = {}
    for row in rows:
        response_id = text_at(row.event, "response_id")
        item_id = text_at(row.event, "item_id") or text_at(row.event, "item", "id")
        if response_id and item_id and not row.sent:
            found[item_id] = response_id
    return found


class _Splitter:
    def __init__(self, response_of: dict[str, str]) -> None:
        self._response_of = response_of  # output item -> response
        self._opening = Part("opening", None)
        self._parts = [self._opening]
        self._current = self._opening
        self._waiting: list[Part] = []  # for their response
        self._asked: dict[str, Part] = {}  # by the event id of the response.create
        self._by_item: dict[str, Part] = {}
        self._by_response: dict[str, Part] = {}
        self._soundings: dict[str, Sounding] = {}
        self._spoken_items: dict[str, str] = {}
        self._client_items: list[tuple[str, str]] = []
        self._commits: list[float] = []
        self._made: set[str] = set()  # types of items that the client made since it last asked
        self._creates = True  # the turn detection creates responses

    def result(self) -> Split:
        """Return what was found; speech that never ended began nothing."""
        parts = [p for p in self._parts if p.began is not None or p is self._opening]
        for part in parts:
            _wait_for_interruption(part)
        return Split(
            parts,
            [s for i, s in self._soundings.items() if i in self._spoken_items or s.started],
            self._by_response,
            self._spoken_items,
            self._client_items,
        )

    # --- what the client did ----------------------------------------------------------------------

    def sent(self, row: Row) -> None:
        """Take an event of the client's."""
        match row.event["type"]:
            case "input_audio_buffer.commit":
                self._commits.append(row.time)
            case "conversation.item.create":
                self._made.add(text_at(row.event, "item", "type"))
            case "response.create":
                part = Part(asked(row.event.get("response"), self._made), row.time)
                self._begin(part)
                self._waiting.append(part)
                self._asked[text_at(row.event, "event_id")] = part

    def _begin(self, part: Part) -> None:
        self._parts.append(part)
        self._current = part

    # --- what the server sent ---------------------------------------------------------------------

    def received(self, row: Row) -> None:
        """Take an event of the server's."""
        kind = str(row.event["type"])
        if kind in ("session.created", "session.updated"):
            self._session(row)
        elif kind.startswith("output_audio_buffer."):
            self._sounding(row, kind)
        elif kind == "error" and text_at(row.event, "error", "event_id"):
            self._refused(text_at(row.event, "error", "event_id"))
        elif kind == "input_audio_buffer.speech_started":
            self._speech_started(row)
        elif kind not in _SAID_ANEW:
            self._keep(row, kind)

    def _session(self, row: Row) -> None:
        if self._opening.began is None:
            self._opening.began = row.time
        detection = object_at(row.event, "session", "audio", "input", "turn_detection")
        self._creates = detection.get("create_response", True) is not False and bool(detection)

    def _sounding(self, row: Row, kind: str) -> None:
        one = self._soundings.get(text_at(row.event, "response_id"))
        if one is None:
            return
        if kind == "output_audio_buffer.started":
            one.started = row.time
        elif kind in ("output_audio_buffer.stopped", "output_audio_buffer.cleared"):
            one.ended, one.cut = row.time, kind.endswith("cleared")

    def _refused(self, event_id: str) -> None:
        """Forget a response.create that was refused: refusals are decided anew in each call."""
        part = self._asked.get(event_id)
        if part in self._waiting:
            self._waiting.remove(part)
            self._parts.remove(part)

    def _speech_started(self, row: Row) -> None:
        item_id = text_at(row.event, "item_id")
        part = Part("speech", None, item_id, (row.time, row.event))
        self._by_item[item_id] = part
        self._parts.append(part)

    def _keep(self, row: Row, kind: str) -> None:
        if kind == "input_audio_buffer.speech_stopped":
            part = self._by_item.get(text_at(row.event, "item_id"))
            if part is not None and part.began is None:
                part.began = row.time
        elif kind == "input_audio_buffer.committed":
            self._committed(row)
        elif kind == "response.created":
            self._created(row)
        owner = self._owner(row.event, kind)
        if owner is None:  # an item that the client made
            if kind == "conversation.item.added":
                item = object_at(row.event, "item")
                self._client_items.append((text_at(item, "type"), text_at(item, "id")))
            return
        part, response_id = owner
        if part.cue != "speech" or part.began is not None:
            self._current = part
        part.events.append(Recorded(row.time, row.event, response_id))

    def _committed(self, row: Row) -> None:
        item_id = text_at(row.event, "item_id")
        part = self._by_item.get(item_id)
        if part is None and self._commits:
            part = Part("commit", self._commits.pop(0), item_id)
            self._by_item[item_id] = part
            self._begin(part)
        elif part is not None and part.began is None:  # the client committed while it was speaking
            part.began = self._commits.pop(0) if self._commits else row.time
        elif part is not None and self._creates:
            self._waiting.append(part)

    def _created(self, row: Row) -> None:
        response_id = text_at(row.event, "response", "id")
        self._waiting.sort(key=lambda part: part.began or 0.0)
        part = self._waiting.pop(0) if self._waiting else self._current
        self._by_response[response_id] = part
        self._soundings[response_id] = Sounding(response_id, row.time)

    def _owner(self, event: Json, kind: str) -> tuple[Part, str | None] | None:
        """Return the part and the response to which an event belongs; None for a client's item."""
        response_id = text_at(event, "response_id") or text_at(event, "response", "id")
        item_id = text_at(event, "item_id") or text_at(event, "item", "id")
        response_id = response_id or self._response_of.get(item_id, "")
        if response_id in self._by_response:
            if item_id and text_at(event, "part", "type") in ("audio", "output_audio"):
                self._spoken_items.setdefault(response_id, item_id)
            return self._by_response[response_id], response_id
        if item_id in self._by_item:
            return self._by_item[item_id], None
        if kind in ("conversation.item.added", "conversation.item.done"):
            return None
        return self._current, None


def asked(response: object, made: set[str]) -> Cue:
    """Return what a response.create is.

    Parameters
    ----------
    response
        Its ``response``.
    made
        The types of the items that the client made before it; those that it takes up are removed.
    """
    if isinstance(response, dict) and response.get("conversation") == "none":
        return "outside"
    kinds = made.copy()
    made.clear()
    if "function_call_output" in kinds:
        return "tool"
    return "text" if kinds else "response"


def _wait_for_interruption(part: Part) -> None:
    """Turn times into distances; let the end of what was interrupted wait to be so again."""
    ends = {
        one.response_id: one.after
        for one in part.events
        if one.event["type"] == "response.done"
        and text_at(one.event, "response", "status") == "cancelled"
    }
    kept = []
    for one in part.events:
        end = ends.get(one.response_id)
        late = end is not None and one.after >= end - _CLOSING and _closes(one.event)
        after = part.at(one.after) + (_GRACE if late else 0.0)
        kept.append(Recorded(after, one.event, one.response_id))
    part.events = sorted(kept, key=lambda one: one.after)


def _closes(event: Json) -> bool:
    return str(event["type"]).endswith(".done")
