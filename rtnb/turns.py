"""`Turn`: one user input and what came of it, read from state, audio and events; it sends nothing."""

from __future__ import annotations

import asyncio
import threading
import time as _time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from rtnb import _html
from rtnb.audio import CALL_SAMPLE_RATE, Clip
from rtnb.clipview import ClipView, Role
from rtnb.errors import CallClosedError, ConfigurationError, TurnTimeoutError
from rtnb.events import EventLog
from rtnb.explaining import Explanation, explain
from rtnb.measure import Latency
from rtnb.prices import Cost, added, cost_of, total, why_unpriced
from rtnb.quality import CallQuality
from rtnb.runaudio import RunAudio
from rtnb.turnstate import ResponseState, Status, ToolCall, TurnState
from rtnb.turntimes import PAD, measured, reply_span, settled
from rtnb.turnview import ToolView, TurnView, turn_body, turn_line, turn_text
from rtnb.verdicts import DEFAULT, Thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Turn", "TurnSource"]

_SILENT: Final = ("no_reply", "failed")


class TurnSource(Protocol):
    """What a `Turn` needs of the session or run it belongs to."""

    @property
    def audio(self) -> RunAudio:
        """What was sent and heard."""

    @property
    def events(self) -> EventLog:
        """Both directions."""

    @property
    def changed(self) -> threading.Condition:
        """Notified whenever the state has changed."""

    @property
    def failure(self) -> str | None:
        """Why the call broke, if it did."""

    @property
    def voice(self) -> str | None:
        """The voice, as the server says, or as asked for."""

    @property
    def model(self) -> str | None:
        """The model, as the server says, or as asked for."""

    def play_into(self, turn: TurnState, clip: Clip) -> None:
        """Play a clip as part of a push-to-talk turn."""

    def stop_playing(self, turn: TurnState) -> None:
        """Stop what is played into a push-to-talk turn."""

    def when_over(self, turn: TurnState, callback: Callable[[], None]) -> None:
        """Call back, from any thread, when a turn is over."""


class Turn:
    """One user input and what came of it.

    Turns are made by a session or read from a run. Times are seconds on the call's clock.

    Parameters
    ----------
    state
        What is known of it.
    source
        The session or run it belongs to.
    prompt
        The clip as it was given, where it is at hand.
    """

    def __init__(self, state: TurnState, source: TurnSource, *, prompt: Clip | None = None):
        self._state = state
        self._source = source
        self._prompt = prompt
        self._reply: Clip | None = None
        self._latency: Latency | None = None
        self._sides: dict[tuple[Role, bool], ClipView] = {}

    # --- what was said ----------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """Its place in the session, from 1."""
        return self._state.number

    @property
    def kind(self) -> str:
        """How it was begun: audio, text, push_to_talk, or microphone, which is by voice."""
        return self._state.kind

    @property
    def name(self) -> str | None:
        """The prompt's file or sample name, if it has one; ``"microphone"`` if a voice began it."""
        return self._state.name

    @property
    def started(self) -> float:
        """When it was begun, in seconds on the call's clock; by voice, from when on it is looked at."""
        return self._state.started

    @property
    def ended(self) -> float | None:
        """When nothing more was to come, in seconds on the call's clock; None until then."""
        return self._state.ended

    @property
    def prompt(self) -> Clip | str:
        """What was said to the model: a `Clip`, or the text."""
        if self._state.text is not None:
            return self._state.text
        return self.prompt_as_sent if self._prompt is None else self._prompt

    @property
    def prompt_as_sent(self) -> Clip:
        """What was sent of the prompt's audio, cut from the recording, 48,000 Hz."""
        start, end = self._state.play_started, self._state.play_ended
        if start is None:
            return Clip(np.zeros(0, np.float32), CALL_SAMPLE_RATE)
        return self._source.audio.clip("sent", start, end)

    @property
    def prompt_transcript(self) -> str | None:
        """What the service understood; None where transcription is off, late or failed."""
        if self._state.text is not None:
            return self._state.text
        texts = [text for text in self._state.transcripts.values() if text]
        return " ".join(texts) or None

    # --- what came of it --------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What was heard: in_progress, completed, cancelled, failed, incomplete or no_reply."""
        return self._state.status

    @property
    def error(self) -> str | None:
        """Why it failed, in the service's words, or None."""
        return self._state.error

    @property
    def responses(self) -> Sequence[ResponseState]:
        """The model's responses; ``responses[i].status`` is the service's own word."""
        return tuple(self._state.responses)

    @property
    def transcript(self) -> str:
        """The reply in words: the transcript of its audio, or its text."""
        return " ".join(r.transcript for r in self._state.responses if r.transcript)

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tools the model called, in order."""
        return tuple(self._state.tool_calls)

    @property
    def reply(self) -> Clip:
        """What was heard of the reply, 48,000 Hz, from 50 ms before to 50 ms after its sound."""
        if self._reply is not None:
            return self._reply
        over = self.status != "in_progress"  # before it is cut: it may end meanwhile
        span = reply_span(self._state, self._source.audio)
        clip = Clip.silence(0) if span is None else self._source.audio.clip("heard", *span)
        if over:
            self._reply = clip
        return clip

    @property
    def latency(self) -> Latency:
        """How long the reply took, measured on what was sent and what was heard."""
        if self._latency is not None:
            return self._latency
        over = self.status != "in_progress"  # before it is measured: it may end meanwhile
        latency = self._measured(DEFAULT)
        if over and settled(self._state, latency, self._source.audio):
            self._latency = latency
        return latency

    def _measured(self, thresholds: Thresholds) -> Latency:
        return measured(self._state, self._source.audio, self._source.events, thresholds)

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of all its responses, added up; empty where the service gave none."""
        return added(self._usages())

    @property
    def cost(self) -> Cost | None:
        """What its responses cost in USD by `rtnb.prices`, a float with its parts.

        Transcription is not in it. None where the service reported no usage, or it has no price.
        """
        return total(cost_of(usage, self.model) for usage in self._usages())

    def _usages(self) -> list[dict[str, Any]]:
        return [response.usage for response in self._state.responses if response.usage]

    def _unpriced(self) -> str:
        """Return why it has no cost, where tokens were used; "" otherwise."""
        reasons = (why_unpriced(usage, self.model) for usage in self._usages())
        return next(filter(None, reasons), "")

    @property
    def quality(self) -> CallQuality:
        """Pacing and network quality from its beginning to its end."""
        end = self._state.ended
        return self._source.audio.quality(self._state.started, float("inf") if end is None else end)

    def explain(self) -> Explanation:
        """Return what came of the turn, and why: first of all why there was no reply.

        It is worked out from events, sound and packets each time; a turn in progress may be asked
        too. See `rtnb.explain`, which takes sessions and exceptions as well.
        """
        return explain(self)

    @property
    def events(self) -> EventLog:
        """The events from its beginning to its end, both directions."""
        end = self._state.ended
        return self._source.events.between(
            self._state.started, float("inf") if end is None else end + 1e-9
        )

    # --- waiting ----------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Turn:
        """Wait until the turn is over, and return it.

        Parameters
        ----------
        timeout
            Seconds; None waits as long as it takes.

        Raises
        ------
        TurnTimeoutError
            It is not over yet; it goes on.
        CallClosedError
            The call broke while the turn was in progress.
        """
        self._wait(lambda: self.status != "in_progress", timeout, "the reply")
        if self._source.failure and self._state.error == self._source.failure:
            raise CallClosedError(self._source.failure)
        return self

    def wait_for_audio(self, seconds: float, *, timeout: float | None = 30.0) -> Turn:
        """Wait until so many seconds of the reply have been heard, or the turn is over.

        Parameters
        ----------
        seconds
            Of reply, counted from its first audible sample.
        timeout
            Seconds to wait at most.

        Raises
        ------
        TurnTimeoutError
            So much has not been heard in time.
        """
        self._wait(
            lambda: self.status != "in_progress" or self.reply.duration - PAD >= seconds,
            timeout,
            f"{seconds:g} s of reply",
        )
        return self

    def __await__(self) -> Generator[Any, None, Turn]:
        return self._over().__await__()

    async def _over(self) -> Turn:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        self._source.when_over(self._state, lambda: _wake(loop, over))
        await over.wait()
        return self.wait()

    def _wait(self, ready: Callable[[], bool], timeout: float | None, what: str) -> None:
        deadline = None if timeout is None else _time.monotonic() + timeout
        with self._source.changed:
            while not ready():
                left = None if deadline is None else deadline - _time.monotonic()
                if left is not None and left <= 0:
                    raise TurnTimeoutError(self._waited_for(what, timeout))
                # short waits, so that an interrupt is felt on every platform
                self._source.changed.wait(0.25 if left is None else min(left, 0.25))

    def _waited_for(self, what: str, timeout: float | None) -> str:
        log = self._source.events
        last = f"the last event seen was {log.last.type}" if len(log) else "no event has come"
        return f"Turn {self.number}: {what} did not come within {timeout:g} s; {last}."

    def play(self, clip: Clip) -> Turn:
        """Play a clip into a turn that push-to-talk holds open."""
        if not self._state.holding:
            raise ConfigurationError(
                "Only a turn held open by `with session.push_to_talk() as turn:` can be played into."
            )
        self._source.play_into(self._state, clip)
        return self

    def stop(self) -> Turn:
        """Stop what is being played into a turn that push-to-talk holds open, in mid-word.

        Raises
        ------
        ConfigurationError
            The turn is not held open.
        """
        if not self._state.holding:
            raise ConfigurationError(
                "Only a turn held open by `with session.push_to_talk() as turn:` can be stopped; "
                "session.interrupt() stops any other."
            )
        self._source.stop_playing(self._state)
        return self

    # --- showing ----------------------------------------------------------------------------------

    @property
    def voice(self) -> str | None:
        """The voice of the call, as the server says."""
        return self._source.voice

    @property
    def model(self) -> str | None:
        """The model of the call, as the server says."""
        return self._source.model

    def _view(self, *, compact: bool = False, players: bool = True, whole: bool = True) -> TurnView:
        """Return what is shown of it; compact players are smaller, and lose a little.

        The whole of it has its quality too and, without a reply, an explanation.
        """
        status, latency = self.status, self.latency
        silent = status in _SILENT or (status != "in_progress" and latency.first_audible is None)
        return TurnView(
            number=self.number,
            status=status,
            error=self.error,
            voice=self.voice,
            name=self.name,
            said=self.prompt_transcript,
            text=self._state.text is not None,
            transcript=self.transcript,
            first_audio=latency.first_audio,
            duration=self.reply.duration,
            prompt=self._side("prompt", compact) if players else None,
            reply=self._side("reply", compact) if players else None,
            tools=[_tool_view(call) for call in self.tool_calls],
            usage=self.usage,
            why=self.explain().text if whole and silent else "",
            verdict=latency.verdict,
            reason=latency.reason,
            stages=latency.stages,
            cost=self.cost,
            unpriced=self._unpriced(),
            quality=self.quality.line if whole else "",
        )

    def _side(self, role: Role, compact: bool) -> ClipView | None:
        """Return the sound of one side; that of a turn that is over is kept, encoded as it is."""
        kept = self._sides.get((role, compact))
        if kept is not None:
            return kept
        over = self.status != "in_progress"  # before the clip is cut, which takes its time
        clip = self.prompt if role == "prompt" else self.reply
        if not isinstance(clip, Clip) or not len(clip):
            return None
        view = clip._view(compact=compact)
        if over:
            self._sides[role, compact] = view
        return view

    def __repr__(self) -> str:
        return f"<{turn_line(self._view(players=False, whole=False))}>"

    def _repr_html_(self) -> str:
        view = self._view()
        return _html.boxed(turn_body(view), turn_text(view))

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw what was sent and heard, spans and events on one time axis; see `plots.timeline`."""
        from rtnb import plots

        return plots.timeline(self, ax=ax, **kwargs)


def _tool_view(call: ToolCall) -> ToolView:
    took = None if call.ended is None else call.ended - call.started
    return ToolView(call.name, call.arguments, call.output, call.error, took)


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)
