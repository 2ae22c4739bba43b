"""Events that are odd but legal: in other orders, unknown, repeated; it must not know the call."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from rtnb.dialects import Json
from rtnb.peer.faults import Faults
from rtnb.peer.outputs import Command, new_id
from rtnb.peer.usage import RATE_LIMITS
from rtnb.peer.wire import written

__all__ = ["Disturbed", "is_ours"]

_PREFIX: Final = "rtnb."  # of the types that no client knows
_EVERY: Final = 4  # about one unknown event to so many others
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."
_CLEARED: Final = "output_audio_buffer.cleared"
_TRUNCATED: Final = "conversation.item.truncated"
_AS_GIVEN: Final = frozenset({"metadata", "tools", "parameters", "arguments", "include"})


def is_ours(event: Json) -> bool:
    """Whether an event was made here: nobody misses it."""
    return str(event["type"]).startswith(_PREFIX)


class Disturbed:
    """Commands in, commands out: what is no event keeps its place among the others.

    Parameters
    ----------
    faults
        What is to be odd.
    """

    def __init__(self, faults: Faults):
        self._faults = faults
        self._random = random.Random(f"{faults.seed} events")
        self._responding: set[str] = set()
        self._late: list[Command] = []  # transcription that waits for the response's end

    def __call__(self, commands: Sequence[Command]) -> list[Command]:
        """Return the commands to carry out instead of these."""
        faults = self._faults
        out = list(commands)
        if faults.other_order:
            out = self._late_transcription(_other_items(self._other_cut(out)))
        if faults.other_order or faults.duplicate_rate_limits:
            out = self._moved_rate_limits(out)
        if faults.unknown_fields:
            out = [_with_unknown(one) if isinstance(one, dict) else one for one in out]
        if faults.unknown_events:
            out = self._interspersed(out)
        if faults.large_event:
            out = _with_large(out, faults.large_event)
        return out

    # --- other orders -----------------------------------------------------------------------------

    def _other_cut(self, commands: list[Command]) -> list[Command]:
        """Give cleared, the cancelled response and truncated another mutual order."""
        types = [_type(one) for one in commands]
        if _TRUNCATED not in types:
            return commands
        cleared = [one for one in commands if _type(one) == _CLEARED]
        truncated = [one for one in commands if _type(one) == _TRUNCATED]
        rest = [one for one in commands if _type(one) not in (_CLEARED, _TRUNCATED)]
        orders = [
            [*truncated, *cleared, *rest],
            [*truncated, *rest, *cleared],
            [*rest, *cleared, *truncated],
            [*rest, *truncated, *cleared],
        ]
        others = [order for order in orders if order != commands]
        return self._random.choice(others) if others else commands

    def _late_transcription(self, commands: list[Command]) -> list[Command]:
        """Keep transcription back while a response is in progress."""
        out: list[Command] = []
        for one in commands:
            kind = _type(one)
            if kind.startswith(_TRANSCRIPTION) and self._responding:
                self._late.append(one)
                continue
            out.append(one)
            if isinstance(one, dict) and kind == "response.created":
                self._responding.add(one["response"]["id"])
            elif isinstance(one, dict) and kind == "response.done":
                self._responding.discard(one["response"]["id"])
            if self._late and not self._responding:
                out += self._late
                self._late = []
        return out

    def _moved_rate_limits(self, commands: list[Command]) -> list[Command]:
        """Put ``rate_limits.updated`` at the beginning of a response: only there, or there too."""
        twice = self._faults.duplicate_rate_limits
        out: list[Command] = []
        for one in commands:
            if _type(one) != "rate_limits.updated" or twice:
                out.append(one)
            if _type(one) == "response.created":
                out.append(_event("rate_limits.updated", rate_limits=RATE_LIMITS))
        return out

    # --- what nobody knows ------------------------------------------------------------------------

    def _interspersed(self, commands: list[Command]) -> list[Command]:
        out: list[Command] = []
        for one in commands:
            out.append(one)
            if isinstance(one, dict) and self._random.randrange(_EVERY) == 0:
                name = f"{_PREFIX}unknown.{self._random.choice(('ping', 'delta', 'done'))}"
                out.append(_event(name, detail={"since": 2026, "parts": [None, True, 0.5]}))
        return out


def _type(command: Command) -> str:
    return str(command["type"]) if isinstance(command, dict) else ""


def _event(type: str, **fields: object) -> Json:
    return {"type": type, "event_id": new_id("event"), **fields}


def _other_items(commands: list[Command]) -> list[Command]:
    """Swap ``conversation.item.*`` and ``response.output_item.*`` of the same output item."""
    out = list(commands)
    for step in ("added", "done"):
        ours, theirs = f"conversation.item.{step}", f"response.output_item.{step}"
        places = {
            (_type(one), one["item"]["id"]): index
            for index, one in enumerate(out)
            if isinstance(one, dict) and one["type"] in (ours, theirs)
        }
        for (kind, item_id), index in places.items():
            other = places.get((theirs, item_id))
            if kind == ours and other is not None:
                out[index], out[other] = out[other], out[index]
    return out


def _with_unknown(event: Json) -> Json:
    """Return an event with one more field in it and in each object inside; what users gave stays."""
    return {
        **{key: value if key in _AS_GIVEN else _inside(value) for key, value in event.items()},
        "rtnb_unknown": {"level": 1},
    }


def _inside(value: object) -> object:
    if isinstance(value, dict):
        return _with_unknown(value)
    if isinstance(value, list):
        return [_inside(one) for one in value]
    return value


def _with_large(commands: list[Command], size: int) -> list[Command]:
    out: list[Command] = []
    for one in commands:
        out.append(one)
        if _type(one) == "session.created":
            large = _event(f"{_PREFIX}large", filler="")
            out.append({**large, "filler": "." * max(size - len(written(large)), 0)})
    return out
