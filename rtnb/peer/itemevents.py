"""What clients ask of items, checked; it must not know who answers, or what becomes of it."""

from __future__ import annotations

from typing import Final

from rtnb.dialects import Json
from rtnb.peer.checks import Problem, missing, whole_number
from rtnb.peer.items import Item, Items, Recogniser, item_from_client

__all__ = ["created", "retrieved", "truncation"]

_LONGEST_MS: Final = 24 * 3_600_000


def created(
    event: Json, items: Items, recognise: Recogniser, form: Json
) -> tuple[Item, str | None]:
    """Return the item of a ``conversation.item.create``, and what it is to follow.

    Raises
    ------
    Problem
        It cannot be an item, has the id of another, or is to follow one that is not there.
    """
    item = item_from_client(event.get("item"), recognise, form)
    if items.has(item.id):
        quoted = repr(item.id)[:100]
        raise Problem(f"There is an item with the id {quoted} already.", "item.id")
    after = event.get("previous_item_id")
    if after not in (None, "root"):
        items.find(after, "previous_item_id")
    return item, after


def retrieved(event: Json, items: Items, audio: Json) -> Json:
    """Return the item that a ``conversation.item.retrieve`` asks for, with its audio.

    Parameters
    ----------
    event
        The client's.
    items
        The conversation's.
    audio
        The session's ``audio``, with its formats.

    Raises
    ------
    Problem
        There is no such item.
    """
    forms = [audio[side]["format"] for side in ("input", "output") if side in audio]
    return items.find(event.get("item_id")).with_audio(*forms)


def truncation(event: Json, items: Items) -> tuple[Item, int]:
    """Return the item of a ``conversation.item.truncate``, and its new length in milliseconds.

    Raises
    ------
    Problem
        It is not an assistant's audio, or the length cannot be one.
    """
    item = items.find(event.get("item_id"))
    if not item.spoken_ms and not item.cut:
        raise Problem("Only an assistant's audio can be truncated.", "item_id")
    for name, largest in (("content_index", 0), ("audio_end_ms", _LONGEST_MS)):
        if event.get(name) is None:
            raise missing(name)
        whole_number(0, largest)(event[name], name)
    return item, int(event["audio_end_ms"])
