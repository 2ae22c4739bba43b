"""From a conversation's items to what a voice may go by; it must not know events or responses."""

from __future__ import annotations

from collections.abc import Sequence

from rtnb.audio import Clip
from rtnb.dialects import Json
from rtnb.peer.items import Item
from rtnb.peer.repertoire import prompt_in
from rtnb.peer.reply import ToolResult, UserTurn

__all__ = ["user_turn"]


def user_turn(items: Sequence[Item], settings: Json) -> UserTurn:
    """Return what a voice may go by: the last message of the user's, and what came since."""
    said = [i for i in items if i.json.get("role") == "user"]
    last = said[-1] if said else None
    place = list(items).index(last) if last else -1
    audio, text, sample = (None, "", None) if last is None else _said(last)
    return UserTurn(
        number=len(said),
        text=text,
        audio=audio,
        sample=sample,
        results=_results(items, place),
        tools=tuple(t for t in settings["tools"] if t["type"] == "function"),
        tool_choice=settings["tool_choice"],
        instructions=settings["instructions"],
        voice=_voice_name(settings),
        history=tuple((str(i.json["role"]), i.words()) for i in items[:place] if "role" in i.json),
    )


def _said(item: Item) -> tuple[Clip | None, str, str | None]:
    """Return a user's message as audio, words, and the bundled sample that it is."""
    if item.heard is not None and not item.written():
        return item.heard.clip, item.heard.text or "", item.heard.prompt
    found = prompt_in(item.written())
    return None, item.written(), found.name if found else None


def _results(items: Sequence[Item], place: int) -> tuple[ToolResult, ...]:
    names = {i.json.get("call_id"): str(i.json["name"]) for i in items if "name" in i.json}
    outputs = [i.json for i in items[place + 1 :] if i.json["type"] == "function_call_output"]
    return tuple(
        ToolResult(names.get(o["call_id"], ""), o["call_id"], o["output"]) for o in outputs
    )


def _voice_name(settings: Json) -> str:
    voice = settings["audio"]["output"]["voice"]
    return str(voice.get("id") if isinstance(voice, dict) else voice)
