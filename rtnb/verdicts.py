"""Was a turn answered, and if not, can it be scored? From state and marks; it reads no audio."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from rtnb.errors import ConfigurationError
from rtnb.measure import AUDIBLE_LEVEL, Latency
from rtnb.turnstate import ResponseState, TurnState

__all__ = ["DEFAULT", "Thresholds", "verdict"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is measured against; docs/measuring.md says how.

    Attributes
    ----------
    deadline : float
        Seconds from the end of speech within which a reply has to be audible.
    level : float
        From which RMS of 20 ms on a reply is audible, in dBFS.
    yield_window : float
        Seconds within which a reply that is spoken over has to fall silent.
    pause : float
        Seconds of silence that are a pause of such a reply, and not its end, if they are shorter.
    lag : float
        By how many seconds a packet of the prompt may leave late before its turn is not scored.

    Raises
    ------
    ConfigurationError
        A value is no such number.
    """

    deadline: float = 5.0
    level: float = AUDIBLE_LEVEL
    yield_window: float = 2.0
    pause: float = 0.5
    lag: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float) and math.isfinite(value)
            if not number or (value <= 0) != (field.name == "level"):
                what = "dBFS below 0" if field.name == "level" else "seconds above 0"
                raise ConfigurationError(f"{field.name}= is a number of {what}, not {value!r}.")


DEFAULT: Final = Thresholds()


def verdict(
    turn: TurnState, latency: Latency, thresholds: Thresholds, *, refused: str | None, damage: str
) -> tuple[str, str]:
    """Return ``answered``, ``missed``, ``censored``, ``excluded`` or ``pending``, and why.

    Parameters
    ----------
    turn
        What is known of it.
    latency
        The marks found; its verdict is not looked at.
    thresholds
        The deadline counts.
    refused
        Why the service refused to answer, if it did.
    damage
        Why the sound of prompt or reply cannot be relied on, or is not there; "" if it can.
    """
    if turn.status == "in_progress":
        return "pending", "The turn is in progress."
    said = _unscorable(turn, latency, damage)
    if said:
        return "excluded", said
    if latency.first_audible is None:
        return _silent(turn, latency, thresholds, refused)
    took = latency.first_audible - (latency.speech_end or 0.0)
    if took > thresholds.deadline:
        late = f"The reply was audible after {took:.2f} s; the deadline is"
        return "missed", f"{late} {thresholds.deadline:g} s."
    return "answered", ""


def _unscorable(turn: TurnState, latency: Latency, damage: str) -> str:
    """Return why there is nothing to measure between, or it cannot be relied on; "" where it can."""
    if latency.speech_end is None:
        return _unspoken(turn, damage)
    first = latency.first_audible
    if first is not None and first < latency.speech_end:
        early = latency.speech_end - first
        return f"The reply began {early:.2f} s before the prompt had ended."
    if damage or first is not None:
        return damage
    if _cancelled(turn):
        return "It was cancelled by us before a reply was audible."
    if turn.responses and not any(response.audio_expected for response in turn.responses):
        if any(response.transcript for response in turn.responses):
            return "The reply is text: there is no sound to time."
        if turn.tool_calls and turn.status == "completed":
            return "The model called tools and said nothing."
    return ""


def _cancelled(turn: TurnState) -> bool:
    """Return whether we cancelled it: a reply, or the turn before there was one.

    The service may begin one all the same, before it hears of that.
    """
    if any(response.stopped is not None for response in turn.responses):
        return True
    ended = math.inf if turn.ended is None else turn.ended
    return turn.status == "cancelled" and all(r.created >= ended for r in turn.responses)


def _unspoken(turn: TurnState, damage: str) -> str:
    if turn.text is not None:
        return "No response.create left, so there is no time to count from."
    if turn.play_started is None:
        return "No audio of the prompt left."
    return damage or "There is no audible speech in the prompt."


def _silent(
    turn: TurnState, latency: Latency, thresholds: Thresholds, refused: str | None
) -> tuple[str, str]:
    """Return the verdict on a turn of which no reply was audible."""
    failed = next(filter(None, map(_failure, turn.responses)), refused)
    if failed is not None:
        return "missed", failed
    heard = any(r.audio_expected and r.audio_ended is not None for r in turn.responses)
    if heard and turn.status == "completed":
        return "missed", f"The reply was not audible above {thresholds.level:g} dBFS."
    ended = turn.started if turn.ended is None else turn.ended
    waited = ended - (latency.speech_end or 0.0)
    if waited < thresholds.deadline:
        how = "The turn was cut" if any(r.cut for r in turn.responses) else "The turn ended"
        when = f"{waited:.2f} s after the prompt" if waited >= 0 else "during the prompt"
        return "censored", f"{how} {when}, before the deadline of {thresholds.deadline:g} s."
    return "missed", f"No reply was audible within {thresholds.deadline:g} s."


def _failure(response: ResponseState) -> str | None:
    if response.status not in ("failed", "incomplete"):
        return None
    why = f": {response.error.rstrip('.')}" if isinstance(response.error, str) else ""
    return f"The response was {response.status}{why}."
