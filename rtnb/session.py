"""`Session`: what a user asks of one connected conversation; a facade that keeps no state of its own.

What happens underneath is `rtnb.livecall`'s.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from rtnb import _html
from rtnb import messages as m
from rtnb.audio import Clip, to_pcm
from rtnb.callsetup import check_tools, phases
from rtnb.conversation import Send
from rtnb.dialects import Json
from rtnb.eventtext import plain
from rtnb.livecall import LiveCall
from rtnb.liveline import following
from rtnb.livesound import SoundOutput, VoiceInput, check_attachable
from rtnb.progress import Snapshot, of_turn
from rtnb.prompts import as_prompt
from rtnb.runs import copy_run
from rtnb.sessionview import call_body, call_text
from rtnb.toolruns import tool_schema
from rtnb.tools import Tool
from rtnb.turns import Turn
from rtnb.turnstate import VOICE, TurnState

__all__ = ["Session"]

logger = logging.getLogger(__name__)

_SETTLE: Final = 2.0  # seconds that the server's turn detection may take to hear the end

F = TypeVar("F", bound=Callable[..., Any])

_AROUND_TEXT: Final = 180  # bytes of the event that a text is sent in


class Session(LiveCall):
    """One connected conversation. Use `rtnb.connect` to make one.

    Attributes
    ----------
    events : EventLog
        Both directions of the data channel.
    turns : list of Turn
        In order.
    folder : pathlib.Path
        The run folder, written live.
    endpoint : Endpoint
        Where the call goes.
    phases : dict
        Seconds for mint, sdp, ice, dtls, channel, and total.
    offer, answer : SdpView
        By m-section, ICE passwords masked.
    state : str
        ``"connecting"``, ``"open"``, ``"closing"`` or ``"closed"``.
    ended : str or None
        Why the call is over, once it is.
    """

    _progress: bool | None = None  # as `connect` was asked

    # --- speaking ---------------------------------------------------------------------------------

    def send(self, prompt: Clip | str | os.PathLike[str]) -> Turn:
        """Say something, and return its `Turn` at once.

        Parameters
        ----------
        prompt
            A `Clip` or a path is audio, played in real time; a str is text.

        Raises
        ------
        AudioError, ConfigurationError
            The prompt cannot be used; nothing was sent.
        CallClosedError
            The call is over.
        """
        name, value = as_prompt(prompt)
        pcm = b"" if isinstance(value, str) else to_pcm(value)  # before anything is begun
        with self.changed:
            self._check_open()
            if isinstance(value, str):
                self._out.encoded({"text": value}, around=_AROUND_TEXT)  # before a turn is begun
                state, effects = self._conversation.begin_turn(self._now(), "text", text=value)
                return self._begun(state, None, effects)
            by_hand = self._conversation.by_hand
            state, effects = self._conversation.begin_turn(self._now(), "audio", name=name)
            turn = self._begun(state, value, effects)
            then = self._conversation.commit_events(state) if by_hand else []
            self._play_clip(state, pcm, then)
            return turn

    def ask(
        self,
        prompt: Clip | str | os.PathLike[str],
        *,
        timeout: float | None = 30.0,
        progress: bool | None = None,
    ) -> Turn:
        """Say something and wait until the answer has been heard: ``send(prompt).wait(timeout)``.

        Parameters
        ----------
        prompt
            As for `send`.
        timeout
            Seconds; None waits as long as it takes.
        progress
            Show a live line; None does as `connect` was told.

        Raises
        ------
        TurnTimeoutError
            The turn is not over yet; it goes on.
        AudioError, ConfigurationError, CallClosedError
            As from `send`, or the call broke meanwhile.
        """
        with following(self._progress if progress is None else progress) as line:
            turn = self.send(prompt)
            line.watch(lambda: self._how_far(turn))
            return turn.wait(timeout)

    def _how_far(self, turn: Turn) -> Snapshot:
        first = None if turn.status == "in_progress" else turn.latency.first_audio
        with self.changed:
            return of_turn(turn._state, self._now(), self.levels, first)

    @contextlib.contextmanager
    def push_to_talk(self) -> Iterator[Turn]:
        """Hold a turn open: turn detection off on entry; commit, response, restored on exit.

        What is said into `microphone` meanwhile is of this turn, and `Turn.play` adds clips. The
        commit leaves 200 ms after the last sample of both.
        """
        state = self._hold()
        fed = self._sound.fed
        turn = next(one for one in self.turns if one._state is state)
        try:
            yield turn
        except BaseException:
            with self.changed:
                self._out.send(m.Cancel(self._id))
                self._act(self._conversation.abandon(state, self._now()))
            raise
        with self.changed:
            if self._closed is None and state.status == "in_progress":
                self._note_voice(state, self._sound.fed > fed)
                # an empty clip queues behind the others: its end is theirs
                then = self._conversation.commit_events(state)
                self._play_clip(state, b"", then)

    def _note_voice(self, state: TurnState, said: bool) -> None:
        """Take note, at the end of push-to-talk, of whether anything was said live."""
        if said == (VOICE in state.plays):
            return
        if said:  # the microphone was attached meanwhile
            state.plays[VOICE] = (state.started, None)
        else:
            del state.plays[VOICE]
        self._files.voice(state, self._now())

    def _hold(self) -> TurnState:
        """Turn turn detection off, acknowledged, and begin a turn that is held open."""
        before = self._conversation.detection
        try:
            self.update({"audio": {"input": {"turn_detection": None}}})
            with self.changed:
                self._check_open()
                if self._conversation.speaking:
                    self._sound.take(None)
                    self._act(self._conversation.interrupt())
                for spoken in [one for one in self._conversation.turns if one.half_said]:
                    self._act(self._conversation.abandon(spoken, self._now()))
                state, effects = self._conversation.begin_turn(self._now(), "push_to_talk")
                state.restore = before
                if self._sound.microphone is not None:
                    state.plays[VOICE] = (state.started, None)
                self._begun(state, None, [*effects, Send({"type": "input_audio_buffer.clear"})])
                return state
        except BaseException:  # an interrupt too must not leave turn detection off
            if self.state == "open" and before is not None:
                with self.changed:
                    change = self._typed({"audio": {"input": {"turn_detection": before}}})
                    self._act([self._conversation.update_session(change)[1]])
            raise

    def interrupt(self, *, timeout: float = 5.0) -> None:
        """Stop the reply: cancel the response, clear its sound, and wait until the turn is over.

        A turn that has no response yet is ended too: its prompt stops, and no answer is wanted,
        nor to what somebody is saying meanwhile.
        Where the server cannot be told to stop (speaches), the turn is over all the same, and its
        sound goes on; a warning says so.
        """
        if not self.endpoint.shape.cancels:
            logger.warning(
                "%s cannot be told to stop a reply; its turn is over, its sound goes on.",
                self.endpoint.base_url,
            )
        with self.changed:
            self._check_open()
            current = [turn for turn in self.turns if turn.status == "in_progress"]
            self._out.send(m.Cancel(self._id))
            if self._conversation.speaking or any(turn.responses for turn in current):
                self._act(self._conversation.interrupt())
            self._act(self._conversation.drop_unanswered(self._now()))
        self._sound.take(None)  # what the page has not played yet is not to be heard
        for turn in current:
            turn.wait(timeout)
        states = [turn._state for turn in current]
        with self.changed:  # or the server would hear the next prompt as more of this one
            self._wait(lambda: not any(s.speaking or s.awaiting for s in states), _SETTLE)

    def send_event(self, event: Json) -> str:
        """Send an event of your own (in the server's dialect), and return its ``event_id``."""
        with self.changed:
            self._check_open()
            identified = self._conversation.identified(event)
            self._out.send_event(identified, is_wire=True)
            return str(identified["event_id"])

    def tool(self, function: F) -> F:
        """Offer a Python function to the model; its schema comes from signature and docstring.

        It runs in a thread of its own when called. What it raises goes back to the model as an
        error result, and into the turn.
        """
        tool = Tool(function)
        check_tools(self.endpoint, [tool])
        with self.changed:
            self._tools[tool.name] = tool
        self.update(
            {"tools": [tool_schema(t) for t in self._tools.values()], "tool_choice": "auto"}
        )
        return function

    # --- live sound -------------------------------------------------------------------------------

    @property
    def microphone(self) -> VoiceInput | None:
        """The `rtnb.Microphone` that feeds this call; set it to another one, or to None."""
        return self._sound.microphone

    @microphone.setter
    def microphone(self, microphone: VoiceInput | None) -> None:
        if microphone is not None:
            check_attachable(microphone, "microphone")
            self._check_open()
            self._sound.push_to_talk = self.push_to_talk
            self._sound.figures = lambda: self.stats().get("microphone")
        self._sound.take_microphone(microphone)

    @property
    def speaker(self) -> SoundOutput | None:
        """The `rtnb.Speaker` that plays this call; set it to another one, or to None."""
        return self._sound.speaker

    @speaker.setter
    def speaker(self, speaker: SoundOutput | None) -> None:
        if speaker is not None:
            check_attachable(speaker, "speaker")
            self._check_open()
        self._sound.take_speaker(speaker)

    # --- looking ----------------------------------------------------------------------------------

    @property
    def phases(self) -> dict[str, float]:
        """Seconds for mint, sdp, ice, dtls and channel, and in total until configured."""
        return phases(self._reached, self._http)

    @property
    def elapsed(self) -> float:
        """Seconds since `connect` was called, until the call's end."""
        closed = self._closed
        return self._now() if closed is None or closed.time < 0 else closed.time

    @property
    def levels(self) -> dict[str, float]:
        """How loud it is now: ``"sent"`` and ``"heard"``, dBFS of the loudest 20 ms of 100."""
        return {side: meter.level for side, meter in self._meters.items()}

    def recent_levels(self, start: float) -> dict[str, list[float]]:
        """Return the levels of both sides since `start`, one every 20 ms, of the last 30 s at most.

        Parameters
        ----------
        start
            Seconds on the call's clock.

        Returns
        -------
        dict
            ``"sent"`` and ``"heard"``: dBFS of each 20 ms window.
        """
        with self.changed:
            return {side: meter.since(start) for side, meter in self._meters.items()}

    def stats(self, *, timeout: float = 2.0) -> Json:
        """Return the call's counters, of a closed call the last ones.

        Those that `CallQuality` has too go by its names. Besides: ``concealment``, the method in use;
        ``round_trip`` and ``clock_uncertainty`` in seconds, None while unknown; ``segments`` and
        ``streams`` of what was heard; ``late_samples``; ``fallbacks``, a sentence each;
        ``microphone``, the counters of the live voice, where there was any.

        Parameters
        ----------
        timeout
            Seconds to wait for the media process; after it the counters told last are returned.
        """
        with self.changed:
            if self._closed is None:
                request = len(self._stats) + 1
                self._out.send(m.StatsWanted(self._id, request))
                self._wait(lambda: request in self._stats, timeout)
            return dict(self._stats[max(self._stats)]) if self._stats else {}

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Copy the run to a folder of your own, and return it."""
        self._files.flush()
        self.stats()  # answered when all that happened before is on disk
        return copy_run(self.folder, folder)

    def __repr__(self) -> str:
        wrong = self.failure or self.trouble
        why = f" ({plain(wrong, 1_000)})" if wrong else ""
        turns = _html.counted(len(self.turns), "turn")
        return (
            f"<Session {self.state}{why}: {plain(self.model or 'default model')} at "
            f"{plain(self.endpoint.base_url)}, {turns}, {self._said()}, "
            f"run {plain(self.folder.name)}>"
        )

    def _attached(self) -> str | None:
        """Return what is attached to it in words; None of nothing."""
        ends = {"microphone": self.microphone, "speaker": self.speaker}
        names = [name for name, end in ends.items() if end is not None]
        return f"{' and '.join(names)} attached" if names else None

    def _said(self) -> str:
        return ", ".join(filter(None, [self._audible(), self._attached()]))

    def _audible(self) -> str:
        sent, heard = (self._meters[side].audible for side in ("sent", "heard"))
        return f"{sent:.1f} s sent, {heard:.1f} s heard"

    def _repr_html_(self) -> str:
        pairs = [
            ("endpoint", self.endpoint.base_url),
            ("model", self.model or "the server's default"),
            ("voice", self.voice),
            ("elapsed", f"{self.elapsed:.1f} s; audible: {self._audible()}"),
            (
                "recorded",
                f"{self.audio.duration:.1f} s, {_html.counted(len(self.events), 'event')}",
            ),
            *self._figures(),
            ("live sound", self._attached()),
            ("run", self.folder.name),
            ("ended", self.ended if self.failure is None else None),
        ]
        table, lines = self.turns._shown() if self.turns else ("", [])
        timing = self.phases
        body = call_body(
            "Session",
            self.state,
            self.failure or self.trouble,
            pairs,
            phases=timing,
            turns=table,
        )
        return _html.boxed(body, call_text(repr(self), pairs, phases=timing, turns=lines))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
