"""API keys: which are accepted, and the ephemeral ones minted here; it must not know HTTP."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtnb.dialects import Json

__all__ = ["Grant", "KeyRefused", "Keys"]

_REMEMBERED: Final = 1_000  # ephemeral keys, expired ones included
_KEPT: Final = 16 << 20  # bytes of their sessions, as JSON

# A standard key with one of these endings is out of luck, so that a client can see what it makes of
# it; where one key is required, that key with the ending is.
_OUT_OF_LUCK: Final = {
    "-no-credit": (
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "-rate-limited": ("rate_limit_exceeded", "Rate limit reached for requests. Try again later."),
}


class KeyRefused(Exception):
    """A key was not accepted.

    Parameters
    ----------
    message, code
        As the API words it; never the key.
    status
        HTTP status.
    """

    def __init__(self, message: str, code: str, status: int = 401):
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Grant:
    """What an accepted key stands for.

    Attributes
    ----------
    session : dict or None
        The session an ephemeral key was minted with; None for a standard key.
    """

    session: Json | None = None

    @property
    def standard(self) -> bool:
        """Whether it was a standard key."""
        return self.session is None


class Keys:
    """The keys of one peer.

    Parameters
    ----------
    required
        The one standard key; None accepts any.
    clock
        Unix seconds.
    """

    def __init__(self, required: str | None, clock: Callable[[], float]):
        self._required = required
        self._clock = clock
        self._minted: dict[str, tuple[float, str]] = {}  # when it expires, and its session
        self._size = 0

    def mint(self, session: Json, lifetime: float) -> tuple[str, int]:
        """Return a new ephemeral key for a session, and when it expires in Unix seconds.

        Where there are too many keys, or their sessions are too large, the oldest are forgotten.
        """
        text = json.dumps(session)
        self._size += len(text)
        while self._minted and (len(self._minted) >= _REMEMBERED or self._size > _KEPT):
            _, forgotten = self._minted.pop(next(iter(self._minted)))
            self._size -= len(forgotten)
        value = f"ek_{secrets.token_hex(16)}"
        expires = self._clock() + lifetime
        self._minted[value] = (expires, text)
        return value, int(expires)

    def check(self, authorization: str | None, *, needed: bool = True) -> Grant:
        """Return what the key of an Authorization header stands for.

        Parameters
        ----------
        authorization
            The header's value, None where there was none.
        needed
            A key must be given, even if any will do.

        Raises
        ------
        KeyRefused
            There is no key, or it is wrong, expired or out of luck.
        """
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if not needed and self._required is None:
            return Grant()
        if scheme.lower() != "bearer" or not key:
            message = "You didn't provide an API key. Give it as 'Authorization: Bearer KEY'."
            raise KeyRefused(message, "invalid_api_key")
        return self._ephemeral(key) if key.startswith("ek_") else self._standard(key)

    def _ephemeral(self, key: str) -> Grant:
        if key not in self._minted:
            raise KeyRefused(f"Incorrect API key provided: {_masked(key)}.", "invalid_api_key")
        expires, session = self._minted[key]
        if self._clock() >= expires:
            raise KeyRefused("The ephemeral key has expired.", "expired_client_secret")
        return Grant(json.loads(session))

    def _standard(self, key: str) -> Grant:
        ending = next((e for e in _OUT_OF_LUCK if key.endswith(e)), "")
        if self._required is not None and not (
            _same(key, self._required) or _same(key, self._required + ending)
        ):
            raise KeyRefused(f"Incorrect API key provided: {_masked(key)}.", "invalid_api_key")
        if ending:
            code, message = _OUT_OF_LUCK[ending]
            raise KeyRefused(message, code, 429)
        return Grant()


def _same(key: str, other: str) -> bool:
    # aiohttp decodes headers with surrogateescape: any byte may come
    one, two = (k.encode("utf-8", "surrogateescape") for k in (key, other))
    return hmac.compare_digest(one, two)


def _masked(key: str) -> str:
    """Show as much of a key as OpenAI does: its kind and its last characters, if it is long."""
    if len(key) < 20 or not key.isascii():
        return "***"
    return f"{key[:3]}***{key[-4:]}"
