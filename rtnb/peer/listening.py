"""What becomes of the user's audio: turns, items, transcriptions; it must not know responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rtnb.dialects import Json
from rtnb.peer.checks import Problem
from rtnb.peer.heard import Heard
from rtnb.peer.inputbuffer import S16, InputBuffer, SpeechStarted
from rtnb.peer.items import Item, Items
from rtnb.peer.outputs import Outbox, new_id
from rtnb.peer.sessionchecks import LOGPROBS
from rtnb.peer.transcription import transcription_events

__all__ = ["Listener", "Listening"]

_SHORTEST_COMMIT_MS: Final = 100


@dataclass(frozen=True)
class Listener:
    """Who is told what was decided.

    Attributes
    ----------
    speech_started : callable
        Called after ``speech_started``.
    turn_ended : callable
        Called after the user's turn was committed because it ended, with whether it is to be
        answered.
    added : callable
        Called with an item that is to be added to the conversation.
    """

    speech_started: Callable[[], None]
    turn_ended: Callable[[bool], None]
    added: Callable[[Item], None]


class Listening:
    """The user's audio of one session.

    Parameters
    ----------
    session
        Gives the session object as it is now.
    out
        Where its events go.
    items
        The conversation's items.
    listener
        Who is told what was decided.
    recognise
        From samples to the name of a bundled prompt, or None.
    clock
        Seconds, monotonic.
    transcribed_after
        Seconds from a commit to the first event of its transcription.
    transcription_fails
        Every transcription fails.
    """

    def __init__(
        self,
        session: Callable[[], Json],
        out: Outbox,
        items: Items,
        listener: Listener,
        *,
        recognise: Callable[[S16], str | None],
        clock: Callable[[], float],
        transcribed_after: float,
        transcription_fails: bool,
    ):
        self._session = session
        self._out = out
        self._items = items
        self._listener = listener
        self._recognise = recognise
        self._clock = clock
        self._transcribed_after = transcribed_after
        self._transcription_fails = transcription_fails
        self._speech_item: str | None = None
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._idle_since: float | None = None
        self._buffer = InputBuffer(self._setting("turn_detection"))

    def _setting(self, name: str) -> Any:
        return self._session()["audio"]["input"][name]

    # --- audio ------------------------------------------------------------------------------------

    def hear(self, samples: S16) -> None:
        """Take the next samples: s16 mono 48,000 Hz."""
        for decision in self._buffer.push(samples):
            if isinstance(decision, SpeechStarted):
                self._speech_started(decision.start_ms)
            elif self._speech_item is not None:
                stopped = {"audio_end_ms": decision.end_ms, "item_id": self._speech_item}
                self._out.event("input_audio_buffer.speech_stopped", **stopped)
                self._commit(self._buffer.take())
                wanted = (self._setting("turn_detection") or {}).get("create_response")
                self._listener.turn_ended(bool(wanted))

    def _speech_started(self, start_ms: int) -> None:
        self.not_idle()
        self._speech_item = new_id("item")
        started = {"audio_start_ms": start_ms, "item_id": self._speech_item}
        self._out.event("input_audio_buffer.speech_started", **started)
        self._listener.speech_started()

    def configure(self) -> None:
        """Follow the session's turn detection, which has changed; speech is judged anew."""
        self._buffer.configure(self._setting("turn_detection"))
        self._speech_item = None
        if self._idle_since is not None and self._timeout() is None:
            self.not_idle()

    def commit(self) -> None:
        """Make what was heard an item, as the client asks.

        Raises
        ------
        Problem
            There is less than 100 ms of it.
        """
        duration = self._buffer.duration_ms
        if duration < _SHORTEST_COMMIT_MS:
            raise Problem(
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{_SHORTEST_COMMIT_MS}ms of audio, but buffer only has {duration}ms of audio.",
                None,
                "input_audio_buffer_commit_empty",
            )
        self._commit(self._buffer.take())

    def clear(self) -> None:
        """Forget what was heard."""
        self._buffer.clear()
        self._out.event("input_audio_buffer.cleared")

    def _commit(self, samples: S16) -> None:
        heard = Heard(samples, self._recognise(samples) if len(samples) else None)
        content = [{"type": "input_audio", "transcript": None}]
        item_id, self._speech_item = self._speech_item or new_id("item"), None
        head = {"id": item_id, "object": "realtime.item", "type": "message", "status": "completed"}
        item = Item({**head, "role": "user", "content": content}, heard)
        committed = {"item_id": item_id, "previous_item_id": self._items.last_id()}
        self._out.event("input_audio_buffer.committed", **committed)
        self._listener.added(item)
        setting = self._setting("transcription")
        if setting is not None:
            self._transcribe(item, heard, setting)

    # --- transcription ----------------------------------------------------------------------------

    def _transcribe(self, item: Item, heard: Heard, setting: Json) -> None:
        logprobs = LOGPROBS in (self._session()["include"] or ())
        fails = self._transcription_fails
        begin = self._clock() + self._transcribed_after
        planned = transcription_events(item.id, heard, setting, logprobs=logprobs, fails=fails)
        for after, event in planned:
            self._at(begin + after, item, event)

    def _at(self, time: float, item: Item, event: Json) -> None:
        def act() -> None:
            if item not in self._items:
                return  # it was deleted: nobody knows any more what this would be about
            self._out.event(**event)
            if "transcript" in event:
                known = {"type": "input_audio", "transcript": event["transcript"]}
                item.json["content"] = [known]

        self._later.append((time, act))

    # --- time -------------------------------------------------------------------------------------

    def _timeout(self) -> float | None:
        """Return after how many seconds without speech something is to happen."""
        wanted = (self._setting("turn_detection") or {}).get("idle_timeout_ms")
        return None if wanted is None or self._session()["type"] != "realtime" else wanted / 1000

    def idle(self) -> None:
        """Begin to wait for the user: what was said to them has been heard."""
        if self._timeout() is not None and self._speech_item is None:
            self._idle_since = self._clock()
            self._buffer.hold()

    def not_idle(self) -> None:
        """Wait no more: somebody says something."""
        self._idle_since = None
        self._buffer.release()

    def _idle_ends(self) -> float:
        timeout = self._timeout()
        since = self._idle_since
        return float("inf") if timeout is None or since is None else since + timeout

    def _timed_out(self) -> None:
        """Take the silence for a turn of the user's."""
        self._idle_since = None
        start_ms, end_ms, samples = self._buffer.take_held()
        self._speech_item = new_id("item")
        where = {"audio_start_ms": start_ms, "audio_end_ms": end_ms}
        self._out.event("input_audio_buffer.timeout_triggered", item_id=self._speech_item, **where)
        self._commit(samples)
        self._listener.turn_ended(True)

    def due(self) -> float:
        """When `tick` is to be called next."""
        return min([self._idle_ends(), *(time for time, _ in self._later)])

    def tick(self, now: float) -> None:
        """Do what is due."""
        due = [entry for entry in self._later if entry[0] <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for _, act in due:
            act()
        if self._idle_ends() <= now:
            self._timed_out()
