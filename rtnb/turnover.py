"""When is a turn over, and how did it end? Decided by its state and the sound; it knows no events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rtnb.measure import AUDIBLE_LEVEL
from rtnb.turnstate import ResponseState, Status, TurnState

__all__ = ["DEAF", "NO_REPLY", "QUIET", "TAIL", "OpenTurns", "Sound", "final_status", "outcome"]

NO_REPLY: Final = 10.0  # seconds of nothing, after the prompt, that make a turn "no_reply"
TAIL: Final = 0.3  # seconds kept after the end of a reply's sound
_ROUNDING: Final = 1e-9  # seconds; a tail subtracted and added again is not quite what it was
DEAF: Final = 2.0  # seconds for which the sound of a reply that we stopped may go on
QUIET: Final = 1.0  # seconds of quiet that end a reply where the service does not say so


@dataclass(slots=True)
class Sound:
    """How far the call has come, in seconds on its clock.

    Attributes
    ----------
    now : float
        The latest time seen.
    written : float
        What was heard is on disk up to here.
    last_audible : float or None
        The end of the last audible window heard.
    """

    now: float = 0.0
    written: float = 0.0
    last_audible: float | None = None

    def reach(self, time: float) -> None:
        """Take note that it is at least `time`."""
        self.now = max(self.now, time)

    def heard(self, end: float, levels: Sequence[float], step: float) -> None:
        """Take the levels in dBFS of what was heard up to `end`, one a `step` of seconds."""
        self.reach(end)
        self.written = max(self.written, end)
        for back, level in enumerate(reversed(levels)):
            if level > AUDIBLE_LEVEL:
                self.last_audible = end - back * step
                break


class OpenTurns:
    """The turns that are in progress, so that those which are over are found without all the others.

    Parameters
    ----------
    turns
        All turns of a conversation; the list grows.
    """

    def __init__(self, turns: Sequence[TurnState]):
        self._turns = turns
        self._seen = 0  # how many of them have been looked at
        self._open: list[TurnState] = []
        # those that wait for the sound alone, each with the time when it was last touched
        self._waiting: list[tuple[TurnState, float]] = []
        self._written = 0.0

    def over(self, sound: Sound) -> Iterator[tuple[TurnState, Status]]:
        """Yield each turn in progress that is over now, with how it ended, in order."""
        kept: list[TurnState] = []
        for turn in self._to_look_at(sound):
            if turn.status != "in_progress":
                continue
            status = final_status(turn, sound)
            if status is not None:
                yield turn, status
            elif _only_sound_missing(turn):
                self._waiting.append((turn, turn.touched))
            else:
                kept.append(turn)
        self._open = kept

    def _to_look_at(self, sound: Sound) -> list[TurnState]:
        self._open += self._turns[self._seen :]
        self._seen = len(self._turns)
        more, self._written = sound.written > self._written, sound.written
        woken = [t for t, touched in self._waiting if more or t.touched != touched]
        if woken:
            self._waiting = [] if more else [w for w in self._waiting if w[0].touched == w[1]]
            self._open = sorted([*self._open, *woken], key=lambda turn: turn.number)
        return self._open


def final_status(turn: TurnState, sound: Sound) -> Status | None:
    """Return how a turn ended, or None while something is still to come."""
    if _held_open(turn):
        return None
    given_up = sound.now - turn.touched > NO_REPLY
    if _answer_to_come(turn):
        return outcome(turn) if given_up else None
    # a long reply may sound long after the last event of a server that filters them
    faded = given_up and sound.now - (sound.last_audible or 0.0) > NO_REPLY
    ends = [_sound_end(response, sound, faded) for response in turn.responses]
    known = [end for end in ends if end is not None]
    # the sound's last samples must be on disk before the turn says it is complete
    if len(known) < len(ends) or sound.written < max(known) + TAIL - _ROUNDING:
        return None
    return outcome(turn)


def _held_open(turn: TurnState) -> bool:
    """Return whether something of ours goes on: holding, playing or a tool."""
    if turn.holding or (turn.plays and turn.play_ended is None):
        return True
    return any(call.ended is None for call in turn.tool_calls)


def _answer_to_come(turn: TurnState) -> bool:
    return bool(turn.speaking or turn.awaiting or turn.pending or not turn.responses)


def _only_sound_missing(turn: TurnState) -> bool:
    """Return whether a turn that is not over can be ended by nothing but what is heard.

    Neither does time alone end it, until something else happens to it.
    """
    if _held_open(turn) or _answer_to_come(turn):
        return False
    return all(response.done is not None for response in turn.responses)


def _sound_end(response: ResponseState, sound: Sound, given_up: bool) -> float | None:
    """Return when a response had been heard in full; None while it has not."""
    if response.done is None:
        ended = response.audio_ended
        if ended is not None and sound.now - ended > QUIET:
            return ended  # a server that filters response.done
        for end in (_untold_end(response, sound), _stopped_end(response, sound)):
            if end is not None:
                return end
        return sound.now - TAIL if given_up else None  # there is no end to keep a tail of
    if not response.audio_expected:
        return response.done - TAIL
    if response.audio_ended is not None:
        return response.audio_ended
    if response.status in ("failed", "cancelled") and response.audio_started is None:
        return response.done
    if (end := _stopped_end(response, sound)) is not None:
        return end
    # the service does not say: the sound itself decides
    since = max(response.done, response.audio_started or 0.0, sound.last_audible or 0.0)
    patience = QUIET if response.audio_started is None else 5 * QUIET
    return since if sound.written > since + patience else None


def _untold_end(response: ResponseState, sound: Sound) -> float | None:
    """Return the end of a written response, where the server tells none."""
    only_text = response.untold and not response.audio_expected
    if only_text and response.said is not None and sound.now - response.said > QUIET:
        return response.said - TAIL  # there is no sound to keep a tail of
    return None


def outcome(turn: TurnState) -> Status:
    """Return a turn's final status from what was heard."""
    if turn.error is not None:
        return "failed"
    if not turn.responses:
        return "no_reply"
    last = turn.responses[-1]
    if last.cut or last.status == "cancelled" or _stopped_untold(last):
        return "cancelled"
    sounded = last.audio_started is not None or last.audio_ended is not None
    if last.status == "in_progress" and not sounded and not last.transcript:
        return "incomplete"  # it was begun, and nothing came of it
    if last.status in ("failed", "incomplete"):
        return "failed" if last.status == "failed" else "incomplete"
    return "completed"


def _stopped_end(response: ResponseState, sound: Sound) -> float | None:
    """Return the end of a response that we stopped, where the server does not say that it did."""
    if response.stopped is None or response.audio_ended is not None:
        return None
    since = max(response.stopped, sound.last_audible or 0.0)
    if sound.written > since + QUIET:
        return since
    # a server that does not stop is not waited for
    return sound.written - TAIL if sound.written > response.stopped + DEAF else None


def _stopped_untold(response: ResponseState) -> bool:
    """Return whether we ended a response, and the server does not say that it did."""
    asked = response.stopped is not None and response.audio_ended is None
    return asked and (response.done is None or response.audio_expected)
