"""The items of a conversation, and those that a client makes; it must not know events."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from rtnb.dialects import Json
from rtnb.peer.checks import Problem, is_a, missing, one_of, text, wrong_type
from rtnb.peer.heard import Heard
from rtnb.peer.outputs import new_id
from rtnb.peer.usage import Tokens, spoken_tokens, text_tokens, user_audio_tokens
from rtnb.peer.wireaudio import decoded, encoded

__all__ = ["Item", "Items", "item_from_client", "kept_audio"]

_PER_MS: Final = 48
_PCM: Final[Json] = {"type": "audio/pcm", "rate": 24000}
_KEPT: Final = 64 * 1024 * 1024  # bytes of audio in one conversation: about eleven minutes
_CONTENT: Final = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text",),
}
_MCP: Final = ("mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response")
_IMAGES: Final = ("data:image/png;base64,", "data:image/jpeg;base64,")
_LONGEST_ID: Final = 512  # characters

S16 = npt.NDArray[np.int16]
Recogniser: TypeAlias = Callable[[S16], str | None]


@dataclass(eq=False)
class Item:
    """One item with what only the server knows of it.

    Attributes
    ----------
    json : dict
        The item as events show it, without audio.
    heard : Heard or None
        The audio of a user's message.
    spoken_ms : int
        Milliseconds of an assistant's sound: what was generated, or what a truncation left of it.
    sound : bytes
        That sound, s16 mono 48,000 Hz, as far as it is kept.
    cut : bool
        It was truncated, so that its words are not known any more.
    lengths : tuple of int
        Samples of each part of `heard`, where there are several.
    """

    json: Json
    heard: Heard | None = None
    spoken_ms: int = 0
    sound: bytes = field(default=b"", repr=False)
    cut: bool = False
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._heard_ms = len(self.heard.samples) / _PER_MS if self.heard else 0.0

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.json["id"])

    def tokens(self) -> Tokens:
        """Count it as input of a later response."""
        texts = [str(self.json.get(key) or "") for key in ("arguments", "output")]
        for part in self.json.get("content") or []:
            texts.append(str(part.get("text") or ""))
            if not self.heard:  # the words of the user's audio are not counted again
                texts.append(str(part.get("transcript") or ""))
        audio = user_audio_tokens(self._heard_ms) + spoken_tokens(self.spoken_ms)
        return text_tokens("".join(texts)) + audio

    def written(self) -> str:
        """Return what the user wrote."""
        parts = self.json.get("content") or []
        return " ".join(p["text"] for p in parts if p["type"] == "input_text")

    def words(self) -> str:
        """Return its words, as far as they are known."""
        parts = self.json.get("content") or []
        words = " ".join(str(p.get("text") or p.get("transcript") or "") for p in parts).strip()
        return words or (self.heard.text or "" if self.heard else "")

    def truncate(self, end_ms: int) -> None:
        """Forget its sound from there on, and its words: nobody knows which of them were heard."""
        self.cut, self.spoken_ms = True, end_ms
        self.sound = self.sound[: 2 * end_ms * _PER_MS]
        self.drop_words()

    def drop_words(self) -> None:
        """Take the transcript out of its content; a new list, as events share the old one."""
        parts = self.json.get("content") or []
        self.json["content"] = [{k: v for k, v in p.items() if k != "transcript"} for p in parts]

    def with_audio(self, given: Json = _PCM, made: Json = _PCM) -> Json:
        """Return the item as conversation.item.retrieved shows it, with the audio that is kept.

        Parameters
        ----------
        given, made
            The session's formats of input and output audio.
        """
        if self.heard is not None and len(self.heard.samples):
            pieces, form = self._pieces(self.heard.samples), given
        elif self.sound:
            spoken = np.frombuffer(self.sound, np.int16)[: self.spoken_ms * _PER_MS]
            pieces, form = [spoken], made
        else:
            return dict(self.json)
        shown = []
        for part in self.json.get("content") or []:
            if part["type"] in ("input_audio", "output_audio") and pieces:
                part = part | {"audio": encoded(pieces.pop(0), form)}
            shown.append(part)
        return {**self.json, "content": shown}

    def _pieces(self, samples: S16) -> list[S16]:
        ends = np.cumsum(np.array(self.lengths[:-1], int))
        return list(np.split(samples, ends))

    def forget_audio(self) -> None:
        """Let its audio go; how long it was stays known."""
        self.sound = b""
        if self.heard is not None:
            self.heard = Heard(np.zeros(0, np.int16), self.heard.prompt)


def kept_audio(item: Item) -> int:
    """Return how many bytes of audio an item keeps."""
    return len(item.sound) + (2 * len(item.heard.samples) if item.heard else 0)


class Items:
    """The conversation's items in order; the audio of old ones is let go when it is too much.

    Parameters
    ----------
    kept
        Bytes of audio that are kept in all.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._items: list[Item] = []
        self._kept = kept

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items))

    def __contains__(self, item: Item) -> bool:
        return item in self._items

    def find(self, item_id: object, path: str = "item_id") -> Item:
        """Return the item of that id.

        Parameters
        ----------
        item_id
            As a client gave it.
        path
            Where it stands.

        Raises
        ------
        Problem
            There is none.
        """
        if item_id is None:
            raise missing(path)
        is_a(str)(item_id, path)
        for item in self._items:
            if item.id == item_id:
                return item
        quoted = repr(item_id)[:100]
        raise Problem(f"There is no item with the id {quoted} in the conversation.", path)

    def has(self, item_id: str) -> bool:
        """Whether there is an item of that id."""
        return any(item.id == item_id for item in self._items)

    def check_call_of(self, output: Item) -> None:
        """Check that what a tool's output answers was called in the conversation.

        Raises
        ------
        Problem
            It was not.
        """
        if output.json["type"] != "function_call_output":
            return
        call_id = output.json["call_id"]
        calls = [i.json for i in self._items if i.json["type"] == "function_call"]
        if not any(call["call_id"] == call_id for call in calls):
            quoted = repr(call_id)[:100]
            message = f"Tool call ID {quoted} not found in conversation."
            raise Problem(message, None, "invalid_tool_call_id")

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
            place = self._items.index(self.find(after, "previous_item_id")) + 1
        self._items.insert(place, item)
        self._let_go()
        return self.before(item)

    def _let_go(self) -> None:
        excess = sum(map(kept_audio, self._items)) - self._kept
        for item in self._items[:-1]:
            if excess <= 0:
                return
            excess -= kept_audio(item)
            item.forget_audio()

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

    def referred(self, given: object, recognise: Recogniser, form: Json = _PCM) -> list[Item]:
        """Return what a response goes by: the conversation, or the items it was given instead.

        Raises
        ------
        Problem
            What was given is not a list of items and references.
        """
        if given is None:
            return list(self._items)
        where = "response.input"
        is_a(list)(given, where)
        assert isinstance(given, list)
        found = []
        for index, one in enumerate(given):
            path = f"{where}[{index}]"
            if isinstance(one, dict) and one.get("type") == "item_reference":
                found.append(self.find(one.get("id"), f"{path}.id"))
            else:
                found.append(item_from_client(one, recognise, form, path))
        return found


def item_from_client(
    given: object, recognise: Recogniser, form: Json = _PCM, path: str = "item"
) -> Item:
    """Return an item that a client made, checked.

    Parameters
    ----------
    given
        What the client sent.
    recognise
        From samples to the name of a bundled prompt, or None.
    form
        The session's format of input audio.
    path
        Where it stands.

    Raises
    ------
    Problem
        It cannot be an item.
    """
    if given is None:
        raise missing(path)
    is_a(dict)(given, path)
    assert isinstance(given, dict)
    kind = given.get("type")
    if kind in _MCP:
        message = f"Invalid value: {kind!r}. This peer does not take part in MCP."
        raise Problem(message, f"{path}.type")
    one_of("message", "function_call", "function_call_output")(kind, f"{path}.type")
    if given.get("id") is not None:
        text(_LONGEST_ID)(given["id"], f"{path}.id")
    head = {"id": given.get("id") or new_id("item"), "object": "realtime.item", "type": kind}
    head["status"] = "completed"
    if kind == "message":
        return _message(given, head, recognise, form, path)
    if kind == "function_call" and given.get("call_id") is None:
        given = {**given, "call_id": new_id("call")}
    names = ["call_id", "output"] if kind == "function_call_output" else ["name", "arguments"]
    for name in ("call_id", *names):
        if given.get(name) is None:
            raise missing(f"{path}.{name}")
        is_a(str)(given[name], f"{path}.{name}")
    return Item({**head, **{name: given[name] for name in ("call_id", *names)}})


def _message(given: Json, head: Json, recognise: Recogniser, form: Json, path: str) -> Item:
    role = given.get("role")
    one_of(*_CONTENT)(role, f"{path}.role")
    content = given.get("content")
    if content is None:
        raise missing(f"{path}.content")
    is_a(list)(content, f"{path}.content")
    if not content:
        raise Problem("A message needs content.", f"{path}.content")
    parts: list[Json] = []
    audio: list[S16] = []
    for index, part in enumerate(content):
        at = f"{path}.content[{index}]"
        is_a(dict)(part, at)
        one_of(*_CONTENT[str(role)])(part.get("type"), f"{at}.type")
        if part["type"] == "input_audio":
            audio.append(decoded(part.get("audio"), form, f"{at}.audio"))
        parts.append(_PARTS[part["type"]](part, at))
    item = {**head, "role": role, "content": parts}
    if not audio:
        return Item(item)
    samples = np.concatenate(audio)
    heard = Heard(samples, recognise(samples))
    return Item(item, heard, lengths=tuple(len(one) for one in audio))


def _text_part(part: Json, path: str) -> Json:
    if part.get("text") is None:
        raise missing(f"{path}.text")
    is_a(str)(part["text"], f"{path}.text")
    return {"type": part["type"], "text": part["text"]}


def _audio_part(part: Json, path: str) -> Json:
    transcript = part.get("transcript")
    if not isinstance(transcript, str | None):
        raise wrong_type(f"{path}.transcript", "a string")
    return {"type": "input_audio", "transcript": transcript}


def _image_part(part: Json, path: str) -> Json:
    at = f"{path}.image_url"
    if part.get("image_url") is None:
        raise missing(at)
    url: Any = part["image_url"]
    is_a(str)(url, at)
    start = next((s for s in _IMAGES if url[: len(s)].lower() == s), None)
    try:
        raw = base64.b64decode(url[len(start) :], validate=True) if start else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw:
        raise Problem(f"Invalid '{at}'. Expected a data URI of a PNG or JPEG in base64.", at)
    if part.get("detail") is not None:
        one_of("auto", "low", "high")(part["detail"], f"{path}.detail")
    return {k: v for k, v in part.items() if k in ("type", "image_url", "detail") and v is not None}


_PARTS: Final[dict[str, Callable[[Json, str], Json]]] = {
    "input_text": _text_part,
    "output_text": _text_part,
    "input_audio": _audio_part,
    "input_image": _image_part,
}
