"""What a replayed call is saying: recorded events and sounds on their way, and how they end early.

It must not know what the client did, or whether that fits the record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rtnb.dialects import Json, text_at
from rtnb.peer.checks import Problem, is_a
from rtnb.peer.outputs import Forget, Hush, Outbox, Say, StopAfter, new_id
from rtnb.peer.recordedparts import Part, Recorded
from rtnb.peer.recordedrun import RecordedRun, Spoken
from rtnb.peer.replayeditems import ReplayedItems
from rtnb.peer.replayedresponse import ReplayedResponse, failed_response, untranscribed
from rtnb.peer.replayqueue import Coming, ReplayQueue

__all__ = ["STOPPED", "TRANSCRIPTION", "ReplayedReplies"]

STOPPED: Final = "input_audio_buffer.speech_stopped"
TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


@dataclass
class _Sound:
    """A response's sound that is queued or playing."""

    item_id: str | None
    samples: int
    started: bool = False


class ReplayedReplies:
    """What of the record was begun, and is not over.

    Parameters
    ----------
    run
        What is replayed.
    out
        Where events and commands go.
    items
        The conversation's items.
    clock
        Seconds, monotonic.
    reply_after, transcribed_after
        Seconds by which what belongs to responses, and transcriptions, come later than recorded.

    Attributes
    ----------
    spoken : bool
        Audio has been sent.
    """

    def __init__(
        self,
        run: RecordedRun,
        out: Outbox,
        items: ReplayedItems,
        clock: Callable[[], float],
        *,
        reply_after: float = 0.0,
        transcribed_after: float = 0.0,
    ):
        self._reply_after = reply_after
        self._transcribed_after = transcribed_after
        self._run = run
        self._out = out
        self._items = items
        self._clock = clock
        self._queue = ReplayQueue()
        self._responses: dict[str, ReplayedResponse] = {}  # in progress
        self._sounds: dict[str, _Sound] = {}
        self.spoken = False

    # --- beginning --------------------------------------------------------------------------------

    def begin(self, part: Part, *, transcribed: bool) -> None:
        """Have a part's events and sounds follow from now on, at their recorded distances."""
        now = self._clock()
        for one in part.events:
            if one.after >= 0 and one.event["type"] != STOPPED:
                self._follow(one, now, transcribed)
        for sound in self._run.spoken.get(id(part), ()):
            self._queue.push(now + sound.after + self._reply_after, sound, sound.response_id)
        self._out.command(Forget(""))  # no voice is asked; it has whoever runs this ask for `due`

    def begin_during(self, part: Part, *, transcribed: bool) -> None:
        """Have those events follow that came while the user was speaking, who begins to now."""
        if part.started is None:
            return
        begun = self._clock() - part.at(part.started[0])
        for one in part.events:
            if one.after < 0:
                self._follow(one, begun, transcribed)

    def _follow(self, one: Recorded, begun: float, transcribed: bool) -> None:
        time = begun + one.after
        if one.event["type"].startswith(TRANSCRIPTION):
            if not transcribed:
                return
            time += self._transcribed_after
        elif one.response_id is not None:
            time += self._reply_after
        self._queue.push(time, one.event, one.response_id)

    def untranscribed(self, item_id: str, part: Part | None, *, on_request: bool) -> None:
        """Have an item's transcription fail, once the item is there."""
        own = [] if part is None else [o.after for o in part.events if o.response_id is None]
        event = untranscribed(item_id, on_request=on_request)
        after = max([0.0, *own]) + self._transcribed_after
        self._queue.push(self._clock() + after, event, None)

    def fail(self, settings: Json, error: Json) -> None:
        """Have a response follow that fails at once, with that error."""
        for event in failed_response(settings, error):
            self._queue.push(self._clock(), event, event["response"]["id"])

    # --- time -------------------------------------------------------------------------------------

    def due(self) -> float:
        """When `tick` is to be called next."""
        return self._queue.due()

    def tick(self) -> None:
        """Send what has become due."""
        now = self._clock()
        while (one := self._queue.pop(now)) is not None:
            if isinstance(one.what, Spoken):
                self._say(one.what)
            elif not self._waits(one, one.what):
                self._replay(one.what, one.response_id)

    def _waits(self, one: Coming, event: Json) -> bool:
        """Put off a response that would begin beside another; it begins when that one is done."""
        active = next((r.id for r in self._responses.values() if r.inside), None)
        beside = event["type"] == "response.created" and ReplayedResponse(event).inside
        end = self._queue.end(active) if active is not None and beside else None
        if end is None or one.response_id is None:
            return False
        self._queue.put_off(one, end)
        return True

    def _replay(self, event: Json, response_id: str | None) -> None:
        kind = event["type"]
        if kind == "response.created":
            response = ReplayedResponse(event)
            self._responses[response.id] = response
        elif kind == "response.done" and response_id is not None:
            self._responses.pop(response_id, None)
        elif response_id in self._responses:
            self._responses[response_id].sent(event)
        self.emit(event, **self._items.placed(event))

    def emit(self, event: Json, **changes: Any) -> None:
        """Send a recorded event, which is shared, with these fields instead of its own."""
        fields = {"event_id": new_id("event"), **event, **changes}
        self._out.event(**fields)

    # --- sound ------------------------------------------------------------------------------------

    def _say(self, sound: Spoken) -> None:
        self.spoken = True
        self._sounds[sound.response_id] = _Sound(sound.item_id, len(sound.pcm) // 2)
        self._items.said(sound.item_id, sound.pcm)
        self._out.command(Say(sound.response_id, sound.pcm))

    def sound_started(self, response_id: str) -> None:
        """Take note that the first packet of a response's sound has left."""
        if response_id in self._sounds:
            self._sounds[response_id].started = True
            self._out.event("output_audio_buffer.started", response_id=response_id)

    def sound_ended(self, response_id: str) -> None:
        """Take note that the last packet of a response's sound has left."""
        if self._sounds.pop(response_id, None) is not None:
            self._out.event("output_audio_buffer.stopped", response_id=response_id)

    def sound_cut(self, response_id: str, played_ms: int, reason: str) -> None:
        """Take note that a sound was stopped as asked, after that much of it had left."""
        sound = self._sounds.pop(response_id, None)
        if sound is None:
            return
        if sound.started:
            self._out.event("output_audio_buffer.cleared", response_id=response_id)
        self._cancel(response_id, reason)
        self._items.cut(sound.item_id, played_ms)

    # --- ending early -----------------------------------------------------------------------------

    def active(self) -> str | None:
        """Return the response that is in progress in the conversation, or about to be."""
        coming = map(ReplayedResponse, self._queue.created())
        return next((r.id for r in (*self._responses.values(), *coming) if r.inside), None)

    def interrupt(self) -> None:
        """Stop because the user speaks; a response with a sound is cancelled in `sound_cut`."""
        reason = "turn_detected"
        inside = [r.id for r in self._responses.values() if r.inside]
        for response in [r for r in map(ReplayedResponse, self._queue.created()) if r.inside]:
            if inside:
                self._queue.remove(response.id)  # it waited for the active one, and is not wanted
            else:
                self._cancel(response.id, reason)
        outside = self._responses.keys() - inside
        for response_id in dict.fromkeys([*inside, *self._queue.unsaid()]):
            if response_id not in outside and response_id not in self._sounds:
                self._cancel(response_id, reason)
        self._hush(reason)

    def silence(self) -> None:
        """Stop every sound, as the client asks."""
        self._hush("client_cancelled")

    def _hush(self, reason: str) -> None:
        if self._sounds:
            self._out.command(Hush(tuple(self._sounds), reason))

    def cancel(self, response_id: object) -> None:
        """Cancel a response as the client asks: of that id, or else the active one.

        Raises
        ------
        Problem
            There is none.
        """
        if response_id is None:
            found = self.active()
        else:
            is_a(str)(response_id, "response_id")
            coming = [text_at(event, "response", "id") for event in self._queue.created()]
            found = next((r for r in (*self._responses, *coming) if r == response_id), None)
        if found is None:
            message = "Cancellation failed: no active response found."
            raise Problem(message, None, "response_cancel_not_active")
        self._cancel(found, "client_cancelled")

    def _cancel(self, response_id: str, reason: str) -> None:
        """End a response with what was sent of it; also one that is not announced yet."""
        rest = self._queue.remove(response_id)
        if rest and rest[0]["type"] == "response.created":
            self._replay(rest.pop(0), response_id)
        response = self._responses.pop(response_id, None)
        if response is None:
            return
        sound = self._sounds.get(response_id)
        if sound is not None:
            samples = int(response.share(rest) * sound.samples)
            self._out.command(StopAfter(response_id, samples))
        for event in response.cut(rest, reason):
            self.emit(event, **self._items.placed(event))
