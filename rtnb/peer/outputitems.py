"""The output items of a response, as they are generated piece by piece; they know no time.

A spoken message, a written one, or a function call: each is opened, grows by pieces, and is closed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from rtnb.dialects import Json
from rtnb.peer.outputs import Outbox, Say, StopAfter, new_id
from rtnb.peer.reply import Rendered
from rtnb.peer.usage import Tokens, spoken_tokens, text_tokens

__all__ = ["FunctionCall", "Message", "OutputItem", "SpokenMessage", "output_items"]

_PER_SECOND: Final = 2 * 48_000  # bytes of sound
_PER_PIECE: Final = _PER_SECOND // 10  # of a sound without words

OnItem = Callable[["OutputItem"], None]


class OutputItem:
    """What the kinds of output share.

    Parameters
    ----------
    out
        Where its events go.
    response_id
        Of which response it is.
    index
        Its ``output_index``.
    whole
        Everything that it will hold: words, or JSON arguments.
    on_item
        Called with the item when it is added, and again when it is done.
    """

    def __init__(self, out: Outbox, response_id: str, index: int, whole: str, on_item: OnItem):
        self.pieces = re.findall(r"\s*\S+\s*", whole) or ([whole] if whole else [])
        self.json: Json | None = None
        self._out = out
        self._response_id = response_id
        self._index = index
        self._on_item = on_item
        self._whole = whole
        self._text = ""  # generated so far
        self._added = 0  # pieces

    @property
    def sound(self) -> bytes:
        """Its sound: s16 mono 48,000 Hz."""
        return b""

    @property
    def kept(self) -> bytes:
        """As much of its sound as may be kept."""
        return self.sound

    @property
    def under_way(self) -> bool:
        """Whether it was opened and not closed yet."""
        return self.json is not None and self.json["status"] == "in_progress"

    def open(self) -> None:
        """Announce it, still empty."""
        raise NotImplementedError

    def add(self, piece: str) -> None:
        """Generate one more piece."""
        raise NotImplementedError

    def close(self, status: str) -> None:
        """Finish it with what was generated: ``completed`` or ``incomplete``."""
        raise NotImplementedError

    def cost(self) -> Tokens:
        """Return what the whole of it costs."""
        return text_tokens(self._whole) + spoken_tokens(len(self.sound) / _PER_SECOND * 1000)

    def made(self) -> Tokens:
        """Return what it has cost so far."""
        if self.json is None:
            return Tokens()
        return text_tokens(self._text) + spoken_tokens(self.made_ms())

    def made_ms(self) -> int:
        """Return how many milliseconds of sound have been generated."""
        if self.json is None:
            return 0
        return int(self.share() * len(self.sound) / _PER_SECOND * 1000)

    def share(self) -> float:
        """Return how much of it has been generated, 0 to 1."""
        done = self.json is not None and self.json["status"] == "completed"
        if done or not self.pieces:
            return 1.0
        if self._whole:
            return len(self._text) / len(self._whole)
        return self._added / len(self.pieces)

    # --- shared -----------------------------------------------------------------------------------

    def _open(self, fields: Json) -> None:
        head = {"id": new_id("item"), "object": "realtime.item", "status": "in_progress"}
        self.json = {**head, **fields}
        self._response_event("response.output_item.added", item=dict(self.json))
        self._on_item(self)

    def _close(self, status: str) -> None:
        assert self.json is not None
        self.json["status"] = status
        self._on_item(self)
        self._response_event("response.output_item.done", item=dict(self.json))

    def _response_event(self, type: str, **fields: object) -> None:
        self._out.event(type, response_id=self._response_id, output_index=self._index, **fields)

    def _item_event(self, type: str, **fields: object) -> None:
        assert self.json is not None
        self._response_event(type, item_id=self.json["id"], **fields)

    def _part_event(self, type: str, **fields: object) -> None:
        self._item_event(type, content_index=0, **fields)


class Message(OutputItem):
    """A written message."""

    def open(self) -> None:
        """Announce it, and its one part."""
        self._open({"type": "message", "role": "assistant", "content": []})
        self._part_event("response.content_part.added", part={"type": "text", "text": ""})

    def add(self, piece: str) -> None:
        """Write one more piece."""
        self._text += piece
        self._part_event("response.output_text.delta", delta=piece)

    def close(self, status: str) -> None:
        """Finish the text, the part and the item."""
        assert self.json is not None
        self._part_event("response.output_text.done", text=self._text)
        self.json["content"] = [{"type": "output_text", "text": self._text}]
        part = {"type": "text", "text": self._text}
        self._part_event("response.content_part.done", part=part)
        self._close(status)


class SpokenMessage(OutputItem):
    """A spoken message: its sound, and the transcript of it."""

    def __init__(
        self,
        out: Outbox,
        response_id: str,
        index: int,
        whole: str,
        on_item: OnItem,
        pcm: bytes,
        echo: bool,
    ):
        super().__init__(out, response_id, index, whole, on_item)
        self._pcm = pcm
        self._echo = echo
        if not self.pieces:  # nothing to transcribe, and it is generated bit by bit all the same
            self.pieces = [""] * -(-len(pcm) // _PER_PIECE)

    @property
    def sound(self) -> bytes:
        """Its sound: s16 mono 48,000 Hz."""
        return self._pcm

    @property
    def kept(self) -> bytes:
        """Its sound, unless it is the user's own voice."""
        return b"" if self._echo else self._pcm

    def open(self) -> None:
        """Announce it and its one part, and begin to speak."""
        self._open({"type": "message", "role": "assistant", "content": []})
        part = {"type": "audio", "transcript": ""}
        self._part_event("response.content_part.added", part=part)
        if self._pcm:
            self._out.command(Say(self._response_id, self._pcm, self._echo))

    def add(self, piece: str) -> None:
        """Generate one more piece, and transcribe it if it has words."""
        self._text += piece
        self._added += 1
        if piece:
            self._part_event("response.output_audio_transcript.delta", delta=piece)

    def close(self, status: str) -> None:
        """Finish the sound, the transcript, the part and the item."""
        assert self.json is not None
        self._part_event("response.output_audio.done")
        self._part_event("response.output_audio_transcript.done", transcript=self._text)
        self.json["content"] = [{"type": "output_audio", "transcript": self._text}]
        part = {"type": "audio", "transcript": self._text}
        self._part_event("response.content_part.done", part=part)
        generated = self.share()
        self._close(status)
        if status != "completed" and self._pcm:
            self._out.command(StopAfter(self._response_id, int(generated * len(self._pcm)) // 2))


class FunctionCall(OutputItem):
    """A function that the client is to call."""

    def __init__(
        self, out: Outbox, response_id: str, index: int, whole: str, on_item: OnItem, name: str
    ):
        super().__init__(out, response_id, index, whole, on_item)
        self._name = name
        self._call_id = new_id("call")

    def open(self) -> None:
        """Announce it, without arguments."""
        call = {"call_id": self._call_id, "name": self._name, "arguments": ""}
        self._open({"type": "function_call", **call})

    def add(self, piece: str) -> None:
        """Write one more piece of the arguments."""
        self._text += piece
        kind = "response.function_call_arguments.delta"
        self._item_event(kind, call_id=self._call_id, delta=piece)

    def close(self, status: str) -> None:
        """Finish the arguments and the item."""
        assert self.json is not None
        self.json["arguments"] = self._text
        done = {"call_id": self._call_id, "name": self._name, "arguments": self._text}
        self._item_event("response.function_call_arguments.done", **done)
        self._close(status)


def output_items(
    out: Outbox, response_id: str, rendered: Rendered, *, spoken: bool, on_item: OnItem
) -> list[OutputItem]:
    """Return the items that a reply makes: its message, if it says anything, then its calls."""
    items: list[OutputItem] = []
    if spoken and (rendered.text or rendered.pcm):
        made = (rendered.text, on_item, rendered.pcm, rendered.echo)
        items.append(SpokenMessage(out, response_id, 0, *made))
    elif not spoken and rendered.text:
        items.append(Message(out, response_id, 0, rendered.text, on_item))
    for name, arguments in rendered.calls:
        items.append(FunctionCall(out, response_id, len(items), arguments, on_item, name))
    return items
