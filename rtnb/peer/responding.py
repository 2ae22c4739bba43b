"""A session's responses and their sounds: one at a time inside it; it must not know client events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtnb.dialects import Json
from rtnb.peer.checks import Problem
from rtnb.peer.items import Item, Items, Recogniser
from rtnb.peer.outputitems import OutputItem
from rtnb.peer.outputs import Forget, Hush, Outbox, Think
from rtnb.peer.reply import Rendered
from rtnb.peer.responses import Response
from rtnb.peer.settings import response_settings
from rtnb.peer.usage import RATE_LIMITS, Tokens, text_tokens
from rtnb.peer.userturn import user_turn

__all__ = ["Responding"]

_PER_MS: Final = 48


@dataclass
class _Sound:
    """A response's sound that is queued or playing."""

    item: Item
    inside: bool
    started: bool = False
    ended: bool = False  # and the response is not done yet


class Responding:
    """The responses of one session.

    Parameters
    ----------
    session
        Gives the session object as it is now.
    out
        Where events and commands go.
    items
        The conversation's items.
    conversation_id
        Its id.
    recognise
        From samples to the name of a bundled prompt, or None.
    clock
        Seconds, monotonic.
    reply_after
        Seconds from a response's creation to its first output.
    busy, quiet
        Called when a response is created, and when nothing is generated or heard any more.
    """

    def __init__(
        self,
        session: Callable[[], Json],
        out: Outbox,
        items: Items,
        conversation_id: str,
        *,
        recognise: Recogniser,
        clock: Callable[[], float],
        reply_after: float,
        busy: Callable[[], None],
        quiet: Callable[[], None],
    ):
        self._session = session
        self._out = out
        self._items = items
        self._conversation_id = conversation_id
        self._recognise = recognise
        self._clock = clock
        self._reply_after = reply_after
        self._busy, self._quiet = busy, quiet
        self._responses: list[Response] = []  # in progress
        self._begins: dict[str, float] = {}  # the earliest time, while the voice thinks
        self._sounds: dict[str, _Sound] = {}
        self._wanted = False  # a response is to be created when the active one is done
        self._before = Tokens()
        self.spoken = False
        "Whether audio was ever made."

    @property
    def active(self) -> Response | None:
        """The response in the conversation that is in progress."""
        return next((r for r in self._responses if r.conversation_id), None)

    # --- beginning --------------------------------------------------------------------------------

    def create_or_wait(self) -> None:
        """Create a response, at the latest when the active one is done."""
        if self.active is not None:
            self._wanted = True
        else:
            self.create(None)

    def create(self, change: object) -> None:
        """Create a response.

        Parameters
        ----------
        change
            The ``response`` of a response.create.

        Raises
        ------
        Problem
            Something in it is not permitted, or one is active.
        """
        settings = response_settings(self._session(), change, spoken=self.spoken)
        inside = settings["conversation"] != "none"
        if inside and self.active is not None:
            raise Problem(
                f"Conversation already has an active response in progress: {self.active.id}. "
                "Wait until the response is finished before creating a new one.",
                None,
                "conversation_already_has_active_response",
            )
        form = settings["audio"]["input"]["format"]
        going_by = self._items.referred(settings["input"], self._recognise, form)
        given = sum((i.tokens() for i in going_by), text_tokens(settings["instructions"]))
        response = Response(
            self._out,
            settings,
            conversation_id=self._conversation_id if inside else None,
            given=given,
            before=self._before,
            on_item=lambda output: self._output_item(response, output),
        )
        if inside:
            self._before = given
        self._responses.append(response)
        self._begins[response.id] = self._clock() + self._reply_after
        self._busy()
        response.start()
        turn, speed = user_turn(going_by, settings), settings["audio"]["output"]["speed"]
        self._out.command(Think(response.id, turn, response.spoken, speed))

    def answered(self, response_id: str, rendered: Rendered) -> None:
        """Take what the voice says in a response; one that is over says nothing any more."""
        now = self._clock()
        for response in [r for r in self._responses if r.id == response_id and r.thinking]:
            response.begin(rendered, max(now, self._begins.pop(response_id)) + rendered.delay)
            response.tick(now)
            self._look_at(response)

    def _output_item(self, response: Response, output: OutputItem) -> None:
        """Announce an output item that was added or is done."""
        assert output.json is not None
        if output.under_way:
            item = Item(output.json, sound=output.kept)
            item.spoken_ms = len(output.sound) // 2 // _PER_MS
            if output.sound:
                self.spoken = True
                self._sounds[response.id] = _Sound(item, bool(response.conversation_id))
            if response.conversation_id:
                previous = self._items.add(item)
                added = {"item": dict(output.json), "previous_item_id": previous}
                self._out.event("conversation.item.added", **added)
            return
        for item in [i for i in self._items if i.json is output.json]:
            if item.cut:
                item.drop_words()
            else:
                item.spoken_ms = output.made_ms()
            shown = {"item": dict(output.json), "previous_item_id": self._items.before(item)}
            self._out.event("conversation.item.done", **shown)

    # --- time -------------------------------------------------------------------------------------

    def due(self) -> float:
        """When `tick` is to be called next."""
        times = (response.due() for response in self._responses)
        return min((time for time in times if time is not None), default=float("inf"))

    def tick(self, now: float) -> None:
        """Do what is due."""
        for response in list(self._responses):
            response.tick(now)
            self._look_at(response)

    def _look_at(self, response: Response) -> None:
        if response.status != "in_progress" and response in self._responses:
            self._done(response)

    def _done(self, response: Response) -> None:
        self._responses.remove(response)
        self._out.event("rate_limits.updated", rate_limits=RATE_LIMITS)
        if response.id in self._sounds and self._sounds[response.id].ended:
            self._stopped(response.id)
        if self._wanted and self.active is None:
            self._wanted = False
            self.create(None)
        self._look_whether_quiet()

    def _look_whether_quiet(self) -> None:
        if not self._responses and not self._sounds:
            self._quiet()

    # --- ending -----------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Stop what is said in the conversation: the user speaks."""
        self._wanted = False
        playing = self._playing()
        silent = [r for r in self._responses if r.conversation_id and r.id not in playing]
        for response in silent:
            self._cancel(response, "turn_detected")
        self._hush([name for name in playing if self._sounds[name].inside], "turn_detected")

    def silence(self) -> None:
        """Stop every sound, as the client asks."""
        self._hush(self._playing(), "client_cancelled")

    def _playing(self) -> list[str]:
        """Return whose sounds are queued or playing."""
        return [name for name, sound in self._sounds.items() if not sound.ended]

    def _hush(self, sounding: list[str], reason: str) -> None:
        """Stop sounds; a response whose sound is stopped is cancelled with it, in `sound_cut`."""
        if sounding:
            self._out.command(Hush(tuple(sounding), reason))

    def cancel(self, response_id: object) -> None:
        """Cancel a response as the client asks: of that id, or else the active one.

        Raises
        ------
        Problem
            There is none.
        """
        if response_id is None:
            found = self.active
        else:
            found = next((r for r in self._responses if r.id == response_id), None)
        if found is None:
            message = "Cancellation failed: no active response found."
            raise Problem(message, None, "response_cancel_not_active")
        if found.conversation_id:
            self._wanted = False
        self._cancel(found, "client_cancelled")

    def _cancel(self, response: Response, reason: str) -> None:
        if response.thinking:
            self._begins.pop(response.id)
            self._out.command(Forget(response.id))
        response.cancel(reason)
        self._done(response)

    # --- sounds -----------------------------------------------------------------------------------

    def sound_started(self, response_id: str) -> None:
        """Take note that the first packet of a response's sound has left."""
        if response_id in self._sounds:
            self._sounds[response_id].started = True
            self._out.event("output_audio_buffer.started", response_id=response_id)

    def sound_ended(self, response_id: str) -> None:
        """Take note that the last packet of a response's sound has left.

        This is told after ``response.done``, which a long function call may delay.
        """
        if response_id not in self._sounds:
            return
        if any(response.id == response_id for response in self._responses):
            self._sounds[response_id].ended = True
            return
        self._stopped(response_id)
        self._look_whether_quiet()

    def _stopped(self, response_id: str) -> None:
        del self._sounds[response_id]
        self._out.event("output_audio_buffer.stopped", response_id=response_id)

    def sound_cut(self, response_id: str, played_ms: int, reason: str) -> None:
        """Take note that a sound was stopped as asked, after that much of it had left."""
        sound = self._sounds.pop(response_id, None)
        if sound is None:
            return
        if sound.started:
            self._out.event("output_audio_buffer.cleared", response_id=response_id)
        for response in [r for r in self._responses if r.id == response_id]:
            self._cancel(response, reason)
        if sound.item in self._items:
            self._truncate(sound.item, min(played_ms, sound.item.spoken_ms))
        self._look_whether_quiet()

    def truncate(self, item: Item, end_ms: int) -> None:
        """Truncate an item's audio as the client asks.

        Raises
        ------
        Problem
            There is not that much of it.
        """
        made = (response.made_ms(item.id) for response in self._responses)
        length = min([item.spoken_ms, *(ms for ms in made if ms is not None)])
        if end_ms > length:
            message = f"Audio content of {length}ms is already shorter than {end_ms}ms."
            raise Problem(message, "audio_end_ms")
        self._truncate(item, end_ms)

    def _truncate(self, item: Item, end_ms: int) -> None:
        item.truncate(end_ms)
        where = {"item_id": item.id, "content_index": 0, "audio_end_ms": end_ms}
        self._out.event("conversation.item.truncated", **where)
