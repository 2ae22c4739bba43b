"""Whose utterance the service hears: a prompt's of ours, or a voice's; it knows no wire and no items.

A voice begins turns of its own; it is told from a prompt by when that was played. All times are
seconds on the call's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rtnb.effects import Effect, TurnBegun, TurnOver
from rtnb.turnstate import VOICE, TurnState

__all__ = ["Utterances"]

_BEFORE: Final = 1.0  # seconds that the service takes at most to tell that speech has begun
_AFTER: Final = 1.0  # seconds that it takes at most to tell that speech is over
_UNTOLD: Final = 15.0  # seconds of speech that are looked for where its beginning was not told
_TICK: Final = 1e-6  # seconds; times are written down so
_LOOKED_AT: Final = 20  # turns, the last ones


class Utterances:
    """Finds the turn of each utterance, and begins turns by voice.

    Parameters
    ----------
    turns
        The conversation's turns; turns that a voice begins are appended.
    listening
        Returns whether a microphone is attached.
    """

    def __init__(self, turns: list[TurnState], listening: Callable[[], bool]):
        self._effects: list[Effect] = []
        self._turns = turns
        self._listening = listening

    def started(self, time: float) -> TurnState | None:
        """Return the turn that speech belongs to which the service has begun to hear."""
        turn = self.last
        if self._by_voice(turn, time):
            turn = self._begin(max(time - _BEFORE, self._silent_from()), time)
        elif turn is not None and turn.kind == VOICE and _waits(turn):
            turn.plays[VOICE] = (turn.plays[VOICE][0], None)
        return turn

    def untold(self, time: float) -> TurnState | None:
        """Return the turn of an utterance that is over, of which no beginning was told."""
        turn = self.last
        # the first commit after a prompt may come late, and is the prompt's all the same
        uncommitted = turn is not None and turn.kind != VOICE and turn.committed is None
        if not uncommitted and self._by_voice(turn, time):
            turn = self._begin(max(time - _UNTOLD, self._silent_from()), time)
        return turn

    @property
    def last(self) -> TurnState | None:
        """Return the turn whose audio may be being heard: the last one that has begun to play.

        That is not the last that was begun: a voice may be heard while a prompt is on its way.
        """
        begun = [(t.play_started, t.number) for t in self._turns if t.kind != "text"]
        latest = max(((at, number) for at, number in begun if at is not None), default=None)
        return None if latest is None else self._turns[latest[1] - 1]

    def ended(self, turn: TurnState, time: float) -> TurnState:
        """Return the turn of an utterance that is told to be over now: it may be another's.

        A prompt that is played while a voice is heard ends in the same utterance, and gets its
        answer. Had the voice stopped when the prompt began, its end would have been told sooner.
        """
        last = self.last
        if turn.kind != VOICE or last is None or last.kind != "audio":
            return turn
        began = last.play_started
        if began is None or time - began <= _AFTER:
            return turn
        turn.speaking = False
        turn.end_voice(began)
        if _waits(turn) and not turn.awaiting:
            turn.status, turn.ended = "cancelled", time
            self._effects.append(TurnOver(turn))
        return last

    def _by_voice(self, last: TurnState | None, time: float) -> bool:
        """Return whether it is a voice that is heard, and begins a turn."""
        if not self._listening():
            return False
        if last is None:
            return True
        return not _waits(last) if last.kind == VOICE else not _played(last, time)

    def _silent_from(self) -> float:
        """Return from when on what was sent is of no turn yet."""
        recent = self._turns[-_LOOKED_AT:]
        played = (turn.play_ended for turn in recent)
        committed = (turn.committed for turn in recent)
        # just after a commit, so that it is not found among what the next turn has caused
        ends = [*played, *(None if time is None else time + _TICK for time in committed)]
        return max((end for end in ends if end is not None), default=0.0)

    def _begin(self, start: float, time: float) -> TurnState:
        start = round(min(start, time), 6)
        turn = TurnState(len(self._turns) + 1, VOICE, start, name=VOICE, touched=time)
        turn.plays[VOICE] = (start, None)
        self._turns.append(turn)
        self._effects.append(TurnBegun(turn))
        return turn

    def let_go(self, time: float) -> None:
        """Take note of a commit by hand: what is said from now on is not of the turn that was held."""
        for turn in self._turns[-_LOOKED_AT:]:
            if turn.kind == "push_to_talk":
                turn.end_voice(time)

    def taken(self) -> list[Effect]:
        """Return which turns a voice has begun, and lost, since this was last asked."""
        effects, self._effects = self._effects, []
        return effects


def _waits(turn: TurnState) -> bool:
    """Return whether more speech is part of a turn: nothing has come of it yet."""
    return turn.status == "in_progress" and not turn.responses


def _played(turn: TurnState, time: float) -> bool:
    """Return whether speech that is heard now is of the prompt that a turn has played."""
    end = turn.play_ended
    if turn.holding or end is None:
        return True
    committed = turn.committed is not None and turn.committed >= end
    return not committed and time - end <= _AFTER
