"""Whether the events of one call keep the API's orders and ids; it knows events, not the peer.

What the reference calls not contractual is accepted in any order: `rate_limits.updated`, the place of
`conversation.item.*` of an assistant beside `response.output_item.*`, transcription, and the mutual
order of cleared, done and truncated after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from response_orders import RESPONSE_HANDLERS, Known, ResponseRules, added_up

__all__ = ["CLIENT", "SERVER", "broken_orders"]

Json = dict[str, Any]

CLIENT: Final = "client"
SERVER: Final = "server"

TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
# client events that have to be answered, and the fields that the answer repeats
ANSWERED: Final[dict[str, tuple[str, ...]]] = {
    "session.update": (),
    "conversation.item.retrieve": ("item_id",),
    "conversation.item.delete": ("item_id",),
    "conversation.item.truncate": ("item_id", "content_index", "audio_end_ms"),
    "input_audio_buffer.commit": (),
    "input_audio_buffer.clear": (),
}
ERROR_KEYS: Final = {"type", "code", "message", "param", "event_id"}


def broken_orders(
    log: Iterable[tuple[str, Json]], *, over: bool = True, items_done: bool = True
) -> list[str]:
    """Return a sentence for each rule that a call's events break; an empty list is a good call.

    Parameters
    ----------
    log
        ``(CLIENT or SERVER, event)`` in the order in which they were sent, in GA names.
    over
        Nothing is under way any more: what was begun must have ended.
    items_done
        The dialect has ``conversation.item.done``; beta has not.
    """
    book = _Book()
    for direction, event in log:
        if direction == CLIENT:
            book.client(event)
        else:
            book.server(event)
    if over:
        book.end(items_done)
    return book.known.broken


@dataclass(frozen=True)
class _Asked:
    """A client event that has to be answered, by what it asks for or by an error."""

    kind: str
    event_id: str | None
    about: Any = None


@dataclass
class _Transcription:
    text: str = ""
    deltas: int = 0
    over: bool = False


class _Book:
    """What is known of the call so far."""

    def __init__(self) -> None:
        self.known = Known()
        self.must = self.known.must
        self._responses = ResponseRules(self.known)
        self._event_ids: set[str] = set()
        self._client_ids: set[Any] = set()
        self._asked: list[_Asked] = []  # and was not answered yet
        self._creates: list[tuple[Any, Json]] = []  # event id and item, which was not added yet
        self._heard_until = 0  # milliseconds
        self._began = False
        self._session_id: Any = None
        self._transcribing = False
        self._turn_detection: Any = None
        self._order: list[str] = []  # ids of the conversation
        self._items_done: set[str] = set()
        self._speech: dict[str, int | None] = {}  # item to its start; None when it has stopped
        self._committed: dict[str, bool] = {}  # item to whether it was added
        self._to_transcribe: set[str] = set()
        self._transcriptions: dict[tuple[str, int], _Transcription] = {}

    # --- both directions --------------------------------------------------------------------------

    def client(self, event: Json) -> None:
        """Take what the client sent."""
        kind = str(event.get("type"))
        self.known.asked[kind] += 1
        self._client_ids.add(_hashable(event.get("event_id")))
        item, event_id = event.get("item"), _hashable(event.get("event_id"))
        if kind == "conversation.item.create" and isinstance(item, dict):
            self._creates.append((event_id, item))
        if kind in ANSWERED:
            about = tuple(event.get(key) for key in ANSWERED[kind])
            self._asked.append(_Asked(kind, event_id, about))

    def server(self, event: Json) -> None:
        """Take what the server sent."""
        kind, event_id = event.get("type"), event.get("event_id")
        if not self._began:
            self._began = True
            self.must(kind == "session.created", f"the first event is {kind}")
        self.must(isinstance(event_id, str) and event_id, f"{kind} has no event_id")
        self.must(event_id not in self._event_ids, f"{kind} has an event_id that came before")
        self._event_ids.add(str(event_id))
        if kind == "response.created" or kind in RESPONSE_HANDLERS:
            self._responses.take(event)
        elif self.must(kind in _HANDLERS, f"{kind} is no server event"):
            _HANDLERS[str(kind)](self, event)

    def end(self, items_done: bool) -> None:
        """Check that all that was begun is over."""
        self._responses.end()
        left = [(one.kind, one.event_id) for one in self._asked]
        left += [("conversation.item.create", event_id) for event_id, _ in self._creates]
        for kind, event_id in left:  # an error cannot name an event without an id
            self.must(event_id is None, f"{kind} {event_id} was never answered")
        for item_id, added in self._committed.items():
            self.must(added, f"{item_id} was committed and never added")
        for item_id in self._to_transcribe & set(self._order):
            over = any(t.over for (i, _), t in self._transcriptions.items() if i == item_id)
            self.must(over, f"the transcription of {item_id} never came to an end")
        for item_id in self._order if items_done else ():
            self.must(item_id in self._items_done, f"{item_id} was added and never done")

    # --- session ----------------------------------------------------------------------------------

    def created(self, event: Json) -> None:
        """session.created."""
        self.must(self._session_id is None, "session.created came twice")
        self._session_id = event["session"].get("id")
        self._settings(event["session"])

    def updated(self, event: Json) -> None:
        """session.updated: one for each update."""
        self._answers("session.update", "session.updated without a session.update")
        same = event["session"].get("id") == self._session_id
        self.must(same, "session.updated names another session")
        before = self._turn_detection
        self._settings(event["session"])
        if self._turn_detection != before:
            self._speech = {}  # it is judged anew

    def _settings(self, session: Json) -> None:
        heard = (session.get("audio") or {}).get("input") or {}
        self._transcribing = heard.get("transcription") is not None
        self._turn_detection = heard.get("turn_detection")

    def _answers(self, kind: str, otherwise: str, *about: Any) -> None:
        self.must(self._was_asked(kind, *about), otherwise)

    def _was_asked(self, kind: str, *about: Any) -> bool:
        """Whether a client asked for this and was not answered yet; now it is."""
        found = [one for one in self._asked if one.kind == kind and one.about == about]
        if found:
            self._asked.remove(found[0])
        return bool(found)

    def conversation(self, event: Json) -> None:
        """conversation.created."""
        self.must(not self.known.items, "conversation.created came after an item")

    def error(self, event: Json) -> None:
        """An error has all its keys, and names only an event that was sent."""
        error = event["error"]
        missing = sorted(ERROR_KEYS - set(error))
        self.must(not missing, f"an error has no {', '.join(missing)}")
        self.must(error.get("message"), "an error has no message")
        given = error.get("event_id")
        self.must(
            given is None or given in self._client_ids,
            f"an error names {given}, which the client never sent",
        )
        if given is not None:
            self._asked = [one for one in self._asked if one.event_id != given]
            self._creates = [made for made in self._creates if made[0] != given]

    def limits(self, event: Json) -> None:
        """rate_limits.updated."""
        for limit in event["rate_limits"]:
            known = limit.get("name") in ("requests", "tokens")
            self.must(known, f"a rate limit is named {limit.get('name')}")
            left = 0 <= limit.get("remaining", 0) <= limit.get("limit", float("inf"))
            self.must(left, "a rate limit has more remaining than its limit")

    # --- items ------------------------------------------------------------------------------------

    def added(self, event: Json) -> None:
        """conversation.item.added: a new id at a place that exists, and somebody made it."""
        item, item_id = event["item"], event["item"].get("id")
        self.must(item_id not in self._order, f"{item_id} was added twice")
        self._items_done.discard(item_id)  # an id may come again once its item was deleted
        self._placed(event)
        self.known.items[item_id] = item
        if item_id in self._committed:
            self.must(item.get("role") == "user", f"{item_id} was committed and is no user's")
            self._committed[item_id] = True
        elif self._responses.output(item_id) is None:
            made = [c for c in self._creates if _same_item(c[1], item)]
            if made:
                self._creates.remove(made[0])
            else:  # beside response.output_item.added either may come first
                output = self._responses.under_way() and item.get("role") != "user"
                self.must(output, f"{item_id} was added and nobody made it")

    def _placed(self, event: Json) -> None:
        item_id, previous = event["item"].get("id"), event.get("previous_item_id")
        if previous is not None and not self.must(
            previous in self._order, f"{item_id} follows {previous}, which is not there"
        ):
            self._order.append(item_id)
            return
        place = 0 if previous is None else self._order.index(previous) + 1
        self._order.insert(place, item_id)

    def item_done(self, event: Json) -> None:
        """conversation.item.done: once, after it was added."""
        item_id = event["item"].get("id")
        if not self.must(item_id in self._order, f"{item_id} is done and not in the conversation"):
            return
        self.must(item_id not in self._items_done, f"{item_id} was done twice")
        place = self._order.index(item_id)
        before = self._order[place - 1] if place else None
        previous = event.get("previous_item_id")
        self.must(previous == before, f"{item_id} is done after {previous}, and not after {before}")
        status = event["item"].get("status")
        self.must(status in ("completed", "incomplete"), f"{item_id} is done and {status}")
        self._items_done.add(item_id)
        self.known.items[item_id] = event["item"]

    def retrieved(self, event: Json) -> None:
        """conversation.item.retrieved: of an item that was asked for."""
        item_id = event["item"].get("id")
        wrong = f"{item_id} was retrieved and nobody asked"
        self._answers("conversation.item.retrieve", wrong, item_id)
        self.must(item_id in self._order, f"{item_id} was retrieved and is not there")

    def deleted(self, event: Json) -> None:
        """conversation.item.deleted: of an item that was there."""
        item_id = event["item_id"]
        wrong = f"{item_id} was deleted and nobody asked"
        self._answers("conversation.item.delete", wrong, item_id)
        self.known.deleted.add(item_id)
        if self.must(item_id in self._order, f"{item_id} was deleted and is not there"):
            self._order.remove(item_id)

    def truncated(self, event: Json) -> None:
        """conversation.item.truncated: only the sound of an assistant, to less than there was."""
        item_id, end_ms = event["item_id"], event["audio_end_ms"]
        spoken = self._responses.speaks(item_id)
        self.must(spoken, f"{item_id} was truncated and has no sound of an assistant")
        self.must(item_id in self._order, f"{item_id} was truncated and is not there")
        self.must(end_ms >= 0, f"{item_id} was truncated before its beginning")
        before = self.known.truncated.get(item_id, end_ms)
        self.must(end_ms <= before, f"{item_id} was truncated to more than was left of it")
        self.known.truncated[item_id] = end_ms
        where = (item_id, event["content_index"], end_ms)
        if not self._was_asked("conversation.item.truncate", *where):
            self.known.cut.add(item_id)

    # --- the input audio buffer -------------------------------------------------------------------

    def speech_started(self, event: Json) -> None:
        """Speech begins with an item id of its own."""
        item_id = event["item_id"]
        self.must(not self._speech, "speech started while other speech went on")
        fresh = item_id not in self.known.spoken and item_id not in self.known.items
        self.must(fresh, f"speech started with {item_id}, which is not new")
        start_ms = event["audio_start_ms"]
        self.must(start_ms >= 0, "speech started before the audio")
        self.must(start_ms >= self._heard_until, "speech started before the end of the last")
        self._speech = {item_id: event["audio_start_ms"]}
        self.known.spoken.add(item_id)

    def speech_stopped(self, event: Json) -> None:
        """Speech stops with the item id that it started with, and later."""
        item_id = event["item_id"]
        start = self._speech.get(item_id)
        if self.must(start is not None, f"speech stopped with {item_id} and had not started"):
            self.must(event["audio_end_ms"] > start, "speech stopped before it started")
        self._speech = {item_id: None}
        self._heard_until = event["audio_end_ms"]

    def committed(self, event: Json) -> None:
        """A commit is of speech that stopped, or was asked for, and follows the last item."""
        item_id, previous = event["item_id"], event.get("previous_item_id")
        self.must(item_id not in self._committed, f"{item_id} was committed twice")
        self.must(item_id not in self.known.items, f"{item_id} was committed after it was added")
        stopped = item_id in self._speech and self._speech[item_id] is None
        if not stopped:
            wrong = f"the commit of {item_id} without a input_audio_buffer.commit"
            self._answers("input_audio_buffer.commit", wrong)
        open_ = next(iter(self._speech), item_id)
        self.must(open_ == item_id, f"{item_id} was committed, and the speech was {open_}")
        last = self._order[-1] if self._order else None
        self.must(previous == last, f"{item_id} was committed after {previous}, and not {last}")
        self._speech = {}
        self._committed[item_id] = False
        if self._transcribing:
            self._to_transcribe.add(item_id)

    def timeout(self, event: Json) -> None:
        """input_audio_buffer.timeout_triggered."""
        # a caller may send nothing at all meanwhile
        in_order = event["audio_end_ms"] >= event["audio_start_ms"]
        self.must(in_order, "a timeout ends before it starts")
        self._speech = {event["item_id"]: None}

    def input_cleared(self, event: Json) -> None:
        """input_audio_buffer.cleared: one for each clear."""
        wrong = "input_audio_buffer.cleared without a input_audio_buffer.clear"
        self._answers("input_audio_buffer.clear", wrong)

    # --- transcription ----------------------------------------------------------------------------

    def _transcription(self, event: Json) -> _Transcription:
        item_id, index = event["item_id"], event.get("content_index", 0)
        content = (self.known.items.get(item_id) or {}).get("content") or []
        kinds = [part.get("type") for part in content]
        heard = index < len(kinds) and kinds[index] == "input_audio"
        self.must(heard, f"a transcription of {item_id}, which holds no audio of a user")
        found = self._transcriptions.setdefault((item_id, index), _Transcription())
        self.must(not found.over, f"the transcription of {item_id} went on after its end")
        return found

    def transcript_delta(self, event: Json) -> None:
        """A piece of a transcript."""
        found = self._transcription(event)
        found.text += event.get("delta") or ""
        found.deltas += 1

    def transcript_segment(self, event: Json) -> None:
        """A piece with its speaker and times."""
        self._transcription(event)
        self.must(0 <= event["start"] <= event["end"], "a segment ends before it starts")

    def transcript_completed(self, event: Json) -> None:
        """The deltas join to the transcript."""
        found = self._transcription(event)
        found.over = True
        joined = not found.deltas or found.text == event["transcript"]
        self.must(joined, f"deltas of the transcription join to {found.text!r}")
        usage = event.get("usage") or {}
        if usage.get("type") == "tokens":
            wrong = added_up(usage)
            self.must(not wrong, f"usage of a transcription: {', '.join(wrong)} does not add up")

    def transcript_failed(self, event: Json) -> None:
        """A transcription that failed."""
        self._transcription(event).over = True


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _same_item(created: Json, item: Json) -> bool:
    same_id = created.get("id") in (None, "", item.get("id"))
    return same_id and all(created.get(k) == item.get(k) for k in ("type", "role"))


_HANDLERS: Final[dict[str, Callable[..., None]]] = {
    "session.created": _Book.created,
    "session.updated": _Book.updated,
    "conversation.created": _Book.conversation,
    "conversation.item.added": _Book.added,
    "conversation.item.done": _Book.item_done,
    "conversation.item.retrieved": _Book.retrieved,
    "conversation.item.deleted": _Book.deleted,
    "conversation.item.truncated": _Book.truncated,
    f"{TRANSCRIPTION}.delta": _Book.transcript_delta,
    f"{TRANSCRIPTION}.segment": _Book.transcript_segment,
    f"{TRANSCRIPTION}.completed": _Book.transcript_completed,
    f"{TRANSCRIPTION}.failed": _Book.transcript_failed,
    "input_audio_buffer.speech_started": _Book.speech_started,
    "input_audio_buffer.speech_stopped": _Book.speech_stopped,
    "input_audio_buffer.committed": _Book.committed,
    "input_audio_buffer.cleared": _Book.input_cleared,
    "input_audio_buffer.timeout_triggered": _Book.timeout,
    "rate_limits.updated": _Book.limits,
    "error": _Book.error,
}
