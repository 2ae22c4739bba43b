"""The items of a conversation, and what a voice may go by; it must not know events."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from rtnb._audiofile import to_s16
from rtnb.audio import resample
from rtnb.dialects import Json
from rtnb.peer.outputs import new_id
from rtnb.peer.settings import Problem
from rtnb.peer.usage import Tokens, spoken_tokens, text_tokens, user_audio_tokens
from rtnb.peer.voices import Asked, Heard
from rtnb.peer.wire import parsed

__all__ = ["Item", "Items", "asked", "item_from_client"]

_RATE: Final = 48_000
_WIRE_RATE: Final = 24_000  # audio/pcm in events
_CONTENT: Final = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text",),
}

S16 = npt.NDArray[np.int16]
Recogniser: TypeAlias = Callable[[S16], str | None]


@dataclass
class Item:
    """One item with what only the server knows of it.

    Attributes
    ----------
    json : dict
        The item as events show it, without audio.
    heard : Heard or None
        The audio of a user's message.
    spoken_ms : int
        Milliseconds of an assistant's sound.
    """

    json: Json
    heard: Heard | None = None
    spoken_ms: int = 0

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.json["id"])

    def tokens(self) -> Tokens:
        """Count it as input of a later response."""
        texts = [str(self.json.get(key) or "") for key in ("arguments", "output")]
        for part in self.json.get("content") or []:
            texts.append(str(part.get("text") or part.get("transcript") or ""))
        user = user_audio_tokens(len(self.heard.samples) * 1000 / _RATE) if self.heard else Tokens()
        if self.heard:
            texts = []  # the words of audio are not counted again
        return text_tokens("".join(texts)) + user + spoken_tokens(self.spoken_ms)

    def with_audio(self) -> Json:
        """Return the item as conversation.item.retrieved shows it."""
        if self.heard is None:
            return dict(self.json)
        samples = resample(self.heard.samples.astype(np.float32) / 32768.0, _RATE, _WIRE_RATE)
        audio = base64.b64encode(to_s16(samples).astype("<i2").tobytes()).decode("ascii")
        parts = self.json["content"]
        shown = [p | {"audio": audio} if p["type"] == "input_audio" else p for p in parts]
        return {**self.json, "content": shown}


class Items:
    """The conversation's items in order."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def find(self, item_id: object) -> Item:
        """Return the item of that id.

        Raises
        ------
        Problem
            There is none.
        """
        for item in self._items:
            if item.id == item_id:
                return item
        raise Problem(f"There is no item with the id {item_id!r} in the conversation.", "item_id")

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item and return the id of the one before it.

        Parameters
        ----------
        item
            The item.
        after
            An id, ``"root"`` for the beginning, None for the end.
        """
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            place = self._items.index(self.find(after)) + 1
        self._items.insert(place, item)
        return self.before(item)

    def before(self, item: Item) -> str | None:
        """Return the id of the item before this one."""
        place = self._items.index(item)
        return self._items[place - 1].id if place else None

    def remove(self, item: Item) -> None:
        """Take an item out."""
        self._items.remove(item)

    def last_id(self) -> str | None:
        """Return the id of the last item."""
        return self._items[-1].id if self._items else None

    def referred(self, given: object, recognise: Recogniser) -> list[Item]:
        """Return what a response goes by: the conversation, or the items it was given instead.

        Raises
        ------
        Problem
            What was given is not a list of items and references.
        """
        if given is None:
            return list(self._items)
        if not isinstance(given, list):
            raise Problem("Invalid type for 'response.input': expected an array.", "response.input")
        found = []
        for one in given:
            is_reference = isinstance(one, dict) and one.get("type") == "item_reference"
            found.append(
                self.find(one.get("id")) if is_reference else item_from_client(one, recognise)
            )
        return found


def asked(items: Sequence[Item], settings: Json) -> Asked | None:
    """Return what a voice may go by, or None when the user has said nothing."""
    last = next((i for i in reversed(items) if i.json.get("role") == "user"), None)
    if last is None:
        return None
    later = items[list(items).index(last) + 1 :]
    outputs = [i.json for i in later if i.json["type"] == "function_call_output"]
    names = {i.json.get("call_id"): i.json["name"] for i in items if "name" in i.json}
    return Asked(
        heard=last.heard,
        text=" ".join(p["text"] for p in last.json["content"] if p["type"] == "input_text"),
        tools=tuple(t for t in settings["tools"] if t["type"] == "function"),
        tool_choice=settings["tool_choice"],
        tool_answered=bool(outputs),
        answered=tuple(
            names[o["call_id"]]
            for o in outputs
            if o["call_id"] in names and not _is_error(o["output"])
        ),
    )


def _is_error(output: str) -> bool:
    result = parsed(output)
    return result is not None and bool(result.get("error"))


def item_from_client(given: object, recognise: Recogniser) -> Item:
    """Return an item that a client made, checked.

    Raises
    ------
    Problem
        It cannot be an item.
    """
    if not isinstance(given, dict):
        raise Problem("Missing required parameter: 'item'.", "item", "missing_required_parameter")
    kind = given.get("type")
    if kind not in ("message", "function_call", "function_call_output"):
        raise Problem(f"Invalid value: {kind!r}. This peer takes no such item.", "item.type")
    item_id = given.get("id") or new_id("item")
    if not isinstance(item_id, str):
        raise Problem("Invalid type for 'item.id': expected a string.", "item.id", "invalid_type")
    head = {"id": item_id, "object": "realtime.item", "type": kind}
    if kind == "message":
        return _message(given, {**head, "status": "completed"}, recognise)
    required = ("call_id", "output") if kind == "function_call_output" else ("name", "arguments")
    for name in required:
        if not isinstance(given.get(name), str):
            path = f"item.{name}"
            message = f"Missing required parameter: '{path}'."
            raise Problem(message, path, "missing_required_parameter")
    names = {*required, "call_id"}
    return Item({**head, "status": "completed", **{k: given[k] for k in names if k in given}})


def _message(given: Json, head: Json, recognise: Recogniser) -> Item:
    role = given.get("role")
    if not isinstance(role, str) or role not in _CONTENT:
        raise Problem(f"Invalid value: {role!r}. Give system, user or assistant.", "item.role")
    parts: list[Json] = []
    heard: Heard | None = None
    content = given.get("content")
    if not isinstance(content, list) or not content:
        raise Problem("A message needs content.", "item.content", "missing_required_parameter")
    for index, part in enumerate(content):
        path = f"item.content[{index}]"
        if not isinstance(part, dict) or part.get("type") not in _CONTENT[role]:
            listed = ", ".join(_CONTENT[role])
            message = f"Invalid content for role {role}. Supported types are: {listed}."
            raise Problem(message, f"{path}.type")
        if part["type"] == "input_audio":
            heard = _audio(part, f"{path}.audio", recognise)
            parts.append({"type": "input_audio", "transcript": part.get("transcript")})
        else:
            parts.append(_text_part(part, path))
    return Item({**head, "role": role, "content": parts}, heard)


def _text_part(part: Json, path: str) -> Json:
    key = "image_url" if part["type"] == "input_image" else "text"
    if not isinstance(part.get(key), str):
        message = f"Missing required parameter: '{path}.{key}'."
        raise Problem(message, f"{path}.{key}", "missing_required_parameter")
    return {k: v for k, v in part.items() if k in ("type", key, "detail")}


def _audio(part: Json, path: str, recognise: Recogniser) -> Heard:
    try:
        raw: Any = base64.b64decode(part.get("audio") or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raw = b""
    if len(raw) < 2:
        raise Problem("Invalid audio: expected 16-bit PCM at 24 kHz in base64.", path)
    wire = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float32) / 32768.0
    samples = to_s16(resample(wire, _WIRE_RATE, _RATE))
    return Heard(samples, recognise(samples))
