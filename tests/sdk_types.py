"""The official SDK's event types as a strict judge; it knows the SDK, not the peer."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import openai.types.beta.realtime as beta
import openai.types.realtime as ga
from pydantic import BaseModel, ValidationError

__all__ = ["CLIENT_TYPES", "SERVER_TYPES", "wrong_in"]

# what session objects of events hold beside what their model in the SDK names, which is that of
# a request: the model of the answer to client_secrets has them
_OF_THE_SERVER = {"session.id", "session.object", "session.expires_at"}


def _by_type(union: Any) -> dict[str, type[BaseModel]]:
    if typing.get_origin(union) is typing.Annotated:
        union = typing.get_args(union)[0]
    models = typing.get_args(union)
    return {typing.get_args(m.model_fields["type"].annotation)[0]: m for m in models}


SERVER_TYPES = {"ga": _by_type(ga.RealtimeServerEvent), "beta": _by_type(beta.RealtimeServerEvent)}
CLIENT_TYPES = {"ga": _by_type(ga.RealtimeClientEvent), "beta": _by_type(beta.RealtimeClientEvent)}


def wrong_in(event: dict[str, Any], dialect: str = "ga") -> list[str]:
    """Return what the SDK does not know of a server event: its type, a value, or a key."""
    model = SERVER_TYPES[dialect].get(event["type"])
    if model is None:
        return [f"{event['type']} is no type of the SDK"]
    try:
        found = model.model_validate(event, strict=True)
    except ValidationError as error:
        return [
            f"{event['type']}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
        ]
    return [f"{event['type']}: {path} is no key of the SDK" for path in _unknown(found)]


def _unknown(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of all keys that no model knows."""
    if isinstance(value, BaseModel):
        for key in value.model_extra or {}:
            if f"{path}{key}" not in _OF_THE_SERVER:
                yield f"{path}{key}"
        for key in type(value).model_fields:
            yield from _unknown(getattr(value, key), f"{path}{key}.")
    elif isinstance(value, list):
        for one in value:
            yield from _unknown(one, path)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _unknown(one, path)
