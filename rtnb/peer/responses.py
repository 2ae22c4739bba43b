"""One response from created to done, as steps in time; it must not know how it is heard.

A response makes one output item: a spoken message, a written one, or a function call. Generation is
faster than the sound: a short answer is generated almost at once, a long one in a quarter of its
duration, so that it can still be cancelled.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from rtnb.dialects import Json
from rtnb.peer.outputs import Outbox, Say, StopAfter, new_id
from rtnb.peer.usage import Tokens, spoken_tokens, text_tokens, usage
from rtnb.peer.voices import Reply

__all__ = ["Response"]

_PER_SECOND: Final = 2 * 48_000  # bytes of sound
_SHORT: Final = 4.0  # seconds of sound that are generated almost at once
_AT_ONCE: Final = 0.04  # seconds
_SHARE: Final = 0.25  # of a longer sound's duration
_PER_WORD: Final = 0.01  # seconds for a written word


class Response:
    """One response under way.

    Parameters
    ----------
    out
        Where its events go.
    settings
        The session as this response sees it, with `metadata` and `conversation`.
    reply
        What it will say.
    conversation_id
        None for a response outside the conversation.
    given, before
        Tokens of the conversation it goes by, and of the one that the last response went by.
    on_item
        Called with the output item when it is added, and again when it is done.
    """

    def __init__(
        self,
        out: Outbox,
        settings: Json,
        reply: Reply,
        *,
        conversation_id: str | None,
        given: Tokens,
        before: Tokens,
        on_item: Callable[[Json], None],
    ):
        self.id = new_id("resp")
        self.reply = reply
        self.status = "in_progress"
        self.item: Json | None = None
        self.conversation_id = conversation_id
        self._out = out
        self._settings = settings
        self._given, self._before = given, before
        self._on_item = on_item
        self._steps: deque[tuple[float, Callable[[], None]]] = deque()
        self._text = ""  # generated so far
        self._spoken = settings["output_modalities"] == ["audio"]

    @property
    def speaks(self) -> bool:
        """Whether it makes a sound."""
        return self._spoken and not self.reply.tool

    # --- time -------------------------------------------------------------------------------------

    def start(self, now: float, delay: float) -> None:
        """Announce it, and plan the rest to begin `delay` seconds from `now`."""
        self._out.event("response.created", response=self._json())
        open_, delta, close = self._kind()
        whole = self.reply.arguments if self.reply.tool else self.reply.text
        pieces = re.findall(r"\S+\s*", whole)
        fitting = self._fitting(len(pieces))
        begin = now + delay
        self._steps.append((begin, open_))
        pause = self._generation_time(len(pieces)) / max(len(pieces), 1)
        for index, piece in enumerate(pieces[:fitting]):
            self._steps.append((begin + index * pause, partial(delta, piece)))
        end = begin + fitting * pause
        if fitting < len(pieces):
            self._steps.append((end, partial(self._stop, "incomplete", "max_output_tokens")))
        else:
            self._steps.append((end, partial(close, "completed")))
            self._steps.append((end, partial(self._finish, "completed")))

    def _fitting(self, pieces: int) -> int:
        """Return how many of the pieces max_output_tokens lets through."""
        limit = self._settings["max_output_tokens"]
        if limit == "inf":
            return pieces
        sound = len(self.reply.pcm) / _PER_SECOND * 1000 if self.speaks else 0
        whole = text_tokens(self.reply.arguments or self.reply.text) + spoken_tokens(sound)
        return min(pieces, int(pieces * limit / max(whole.text + whole.audio, 1)))

    def _generation_time(self, words: int) -> float:
        if self.reply.tool or not self._spoken:
            return words * _PER_WORD
        duration = len(self.reply.pcm) / _PER_SECOND
        return duration * _SHARE if duration > _SHORT else _AT_ONCE

    def due(self) -> float | None:
        """When the next step is due."""
        return self._steps[0][0] if self._steps else None

    def tick(self, now: float) -> None:
        """Take all steps that are due."""
        while self._steps and self._steps[0][0] <= now:
            self._steps.popleft()[1]()

    def cancel(self, reason: str) -> None:
        """Stop generating; what has been generated stays."""
        self._stop("cancelled", reason)

    def _stop(self, status: str, reason: str) -> None:
        self._steps.clear()
        if self.item is not None and self.item["status"] == "in_progress":
            self._kind()[2]("incomplete")
            if self.speaks:
                self._out.command(StopAfter(self.id, int(self.share() * len(self.reply.pcm)) // 2))
        self._finish(status, {"type": status, "reason": reason})

    def share(self) -> float:
        """How much of it has been generated, 0 to 1."""
        if self.status == "completed" or not self.reply.text:
            return 1.0
        return len(self._text) / len(self.reply.text)

    # --- the three kinds of output ----------------------------------------------------------------

    def _kind(
        self,
    ) -> tuple[Callable[[], None], Callable[[str], None], Callable[[str], None]]:
        if self.reply.tool:
            return self._open_call, self._call_delta, self._close_call
        return self._open_message, self._message_delta, self._close_message

    def _open_message(self) -> None:
        self._open({"type": "message", "role": "assistant", "content": []})
        part = {"type": "audio", "transcript": ""} if self._spoken else {"type": "text", "text": ""}
        self._part_event("response.content_part.added", part=part)
        if self._spoken:
            self._out.command(Say(self.id, self.reply.pcm, self.reply.echo))

    def _message_delta(self, delta: str) -> None:
        self._text += delta
        name = "output_audio_transcript" if self._spoken else "output_text"
        self._part_event(f"response.{name}.delta", delta=delta)

    def _close_message(self, status: str) -> None:
        assert self.item is not None
        text = self._text
        if self._spoken:
            self._part_event("response.output_audio.done")
            self._part_event("response.output_audio_transcript.done", transcript=text)
            part = {"type": "audio", "transcript": text}
            self.item["content"] = [{"type": "output_audio", "transcript": text}]
        else:
            self._part_event("response.output_text.done", text=text)
            part = {"type": "text", "text": text}
            self.item["content"] = [{"type": "output_text", "text": text}]
        self._part_event("response.content_part.done", part=part)
        self._close(status)

    def _open_call(self) -> None:
        call = {"call_id": new_id("call"), "name": self.reply.tool, "arguments": ""}
        self._open({"type": "function_call", **call})

    def _call_delta(self, delta: str) -> None:
        assert self.item is not None
        self._text += delta
        self._item_event(
            "response.function_call_arguments.delta", call_id=self.item["call_id"], delta=delta
        )

    def _close_call(self, status: str) -> None:
        assert self.item is not None
        self.item["arguments"] = self._text
        self._item_event(
            "response.function_call_arguments.done",
            call_id=self.item["call_id"],
            name=self.item["name"],
            arguments=self._text,
        )
        self._close(status)

    # --- shared -----------------------------------------------------------------------------------

    def _open(self, fields: Json) -> None:
        item_id = new_id("item")
        self.item = {"id": item_id, "object": "realtime.item", "status": "in_progress", **fields}
        self._response_event("response.output_item.added", item=dict(self.item))
        self._on_item(self.item)

    def _close(self, status: str) -> None:
        assert self.item is not None
        self.item["status"] = status
        self._on_item(self.item)
        self._response_event("response.output_item.done", item=dict(self.item))

    def _finish(self, status: str, details: Json | None = None) -> None:
        self.status = status
        self._out.event("response.done", response=self._json(details))

    def _response_event(self, type: str, **fields: object) -> None:
        self._out.event(type, response_id=self.id, output_index=0, **fields)

    def _item_event(self, type: str, **fields: object) -> None:
        assert self.item is not None
        self._response_event(type, item_id=self.item["id"], **fields)

    def _part_event(self, type: str, **fields: object) -> None:
        self._item_event(type, content_index=0, **fields)

    def _json(self, details: Json | None = None) -> Json:
        done = self.status != "in_progress"
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": details,
            "output": [dict(self.item)] if done and self.item else [],
            "conversation_id": self.conversation_id,
            "output_modalities": self._settings["output_modalities"],
            "max_output_tokens": self._settings["max_output_tokens"],
            "audio": {"output": {k: self._settings["audio"]["output"][k] for k in _OUTPUT}},
            "usage": usage(self._given, self._before, self.made()) if done else None,
            "metadata": self._settings["metadata"],
        }

    def made(self) -> Tokens:
        """Return the tokens generated so far."""
        if self.item is None:
            return Tokens()
        sound = self.share() * len(self.reply.pcm) / _PER_SECOND * 1000 if self.speaks else 0
        return text_tokens(self._text) + spoken_tokens(sound)


_OUTPUT: Final = ("format", "voice")
