"""One response from created to done, as steps in time; it must not know how it is heard.

It is announced at once, waits for the voice, and then makes its output items one after the other.
Generation is faster than the sound: a short answer is generated almost at once, a long one in a
quarter of its duration, so that it can still be cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from rtnb.dialects import Json
from rtnb.peer.outputitems import OnItem, OutputItem, output_items
from rtnb.peer.outputs import Outbox, new_id
from rtnb.peer.reply import Failure, Rendered
from rtnb.peer.usage import Tokens, usage

__all__ = ["Response"]

_PER_SECOND: Final = 2 * 48_000  # bytes of sound
_SHORT: Final = 4.0  # seconds of sound that are generated almost at once
_AT_ONCE: Final = 0.04  # seconds
_SHARE: Final = 0.25  # of a longer sound's duration
_PER_WORD: Final = 0.01  # seconds for a written word

Calls: TypeAlias = tuple[tuple[str, str], ...]


class Response:
    """One response under way.

    Parameters
    ----------
    out
        Where its events go.
    settings
        The session as this response sees it, with `metadata` and `conversation`.
    conversation_id
        None for a response outside the conversation.
    given, before
        Tokens of the conversation it goes by, and of the one that the last response went by.
    on_item
        Called with an output item when it is added, and again when it is done.
    """

    def __init__(
        self,
        out: Outbox,
        settings: Json,
        *,
        conversation_id: str | None,
        given: Tokens,
        before: Tokens,
        on_item: OnItem,
    ):
        self.id = new_id("resp")
        self.status = "in_progress"
        self.conversation_id = conversation_id
        self.thinking = True
        self._out = out
        self._settings = settings
        self._given, self._before = given, before
        self._on_item = on_item
        self._steps: deque[tuple[float, Callable[[], None]]] = deque()
        self._items: list[OutputItem] = []

    @property
    def spoken(self) -> bool:
        """Whether its messages are spoken."""
        return bool(self._settings["output_modalities"] == ["audio"])

    def made_ms(self, item_id: str) -> int | None:
        """Return how much of an item's sound has been generated; None if it is not under way."""
        for item in self._items:
            if item.json is not None and item.json["id"] == item_id and item.under_way:
                return item.made_ms()
        return None

    # --- time -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Announce it."""
        self._out.event("response.created", response=self._json())

    def begin(self, rendered: Rendered, at: float) -> None:
        """Plan what the voice said, from this time on."""
        self.thinking = False
        rendered = replace(rendered, calls=self._permitted(rendered.calls))
        made = output_items(self._out, self.id, rendered, spoken=self.spoken, on_item=self._on_item)
        self._items = made
        left = self._limit()
        for item in made:
            fitting = _fitting(item, left)
            at = self._plan(item, fitting, at)
            if fitting < len(item.pieces):
                self._steps.append((at, partial(self._stop, "incomplete", "max_output_tokens")))
                return
            left -= sum((item.cost().text, item.cost().audio))
        if rendered.failure is not None:
            self._steps.append((at, partial(self._fail, rendered.failure)))
        else:
            self._steps.append((at, partial(self._finish, "completed")))

    def _permitted(self, calls: Calls) -> Calls:
        """Return the calls that the settings let a model make."""
        choice = self._settings["tool_choice"]
        if choice == "none":
            return ()
        if isinstance(choice, dict) and choice["type"] == "function":
            calls = tuple(call for call in calls if call[0] == choice["name"])
        return calls if self._settings.get("parallel_tool_calls", True) else calls[:1]

    def _limit(self) -> float:
        limit = self._settings["max_output_tokens"]
        return float("inf") if limit in ("inf", None) else float(limit)

    def _plan(self, item: OutputItem, fitting: int, at: float) -> float:
        """Plan one item, and return when its last piece is there."""
        self._steps.append((at, item.open))
        pause = self._generation_time(item) / max(len(item.pieces), 1)
        for index, piece in enumerate(item.pieces[:fitting]):
            self._steps.append((at + index * pause, partial(item.add, piece)))
        end = at + fitting * pause
        if fitting == len(item.pieces):
            self._steps.append((end, partial(item.close, "completed")))
        return end

    def _generation_time(self, item: OutputItem) -> float:
        if not item.sound:
            return len(item.pieces) * _PER_WORD
        duration = len(item.sound) / _PER_SECOND
        return duration * _SHARE if duration > _SHORT else _AT_ONCE

    def due(self) -> float | None:
        """When the next step is due."""
        return self._steps[0][0] if self._steps else None

    def tick(self, now: float) -> None:
        """Take all steps that are due."""
        while self._steps and self._steps[0][0] <= now:
            self._steps.popleft()[1]()

    # --- its end ----------------------------------------------------------------------------------

    def cancel(self, reason: str) -> None:
        """Stop generating; what has been generated stays."""
        self._stop("cancelled", reason)

    def _stop(self, status: str, reason: str) -> None:
        self._close_open_items()
        self._finish(status, {"type": status, "reason": reason})

    def _fail(self, failure: Failure) -> None:
        self._close_open_items()
        error = {"type": failure.type, "code": failure.code, "message": failure.message}
        self._finish("failed", {"type": "failed", "error": error})

    def _close_open_items(self) -> None:
        self._steps.clear()
        for item in self._items:
            if item.under_way:
                item.close("incomplete")

    def _finish(self, status: str, details: Json | None = None) -> None:
        self.status = status
        self._out.event("response.done", response=self._json(details))

    def _json(self, details: Json | None = None) -> Json:
        done = self.status != "in_progress"
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": details,
            "output": [dict(i.json) for i in self._items if i.json is not None] if done else [],
            "conversation_id": self.conversation_id,
            "output_modalities": self._settings["output_modalities"],
            "max_output_tokens": self._settings["max_output_tokens"],
            "audio": {"output": self._output_audio()},
            "usage": usage(self._given, self._before, self._made()) if done else None,
            "metadata": self._settings["metadata"],
        }

    def _output_audio(self) -> Json:
        output = self._settings["audio"]["output"]
        voice = output["voice"]
        named = voice["id"] if isinstance(voice, dict) else voice
        return {"format": output["format"], "voice": named}

    def _made(self) -> Tokens:
        return sum((item.made() for item in self._items), Tokens())


def _fitting(item: OutputItem, limit: float) -> int:
    """Return how many of an item's pieces max_output_tokens lets through."""
    pieces: Sequence[str] = item.pieces
    cost = item.cost().text + item.cost().audio
    return len(pieces) if cost <= limit else int(len(pieces) * max(limit, 0) / max(cost, 1))
