"""Takes secrets out of text before anybody sees it; it must not know where the text goes."""

from __future__ import annotations

import re
import threading
from typing import Final

__all__ = ["MASK", "Secret", "mask"]

MASK: Final = "•••"

# OpenAI's standard and ephemeral keys, bearer tokens, ICE passwords, and the secrets that a session
# object may carry (`authorization` of an MCP tool, Realtime API reference).
_PATTERNS: Final = (
    # in JSON text a newline before a key is a backslash and an n, which is no word boundary
    re.compile(r"(?:\b|(?<=\\[bfnrt]))(?:sk-|ek_)[A-Za-z0-9_\-•*.]{3,}"),
    re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=\-]{6,}"),
    re.compile(r"(?<=a=ice-pwd:)[^\s\\]+"),
    re.compile(r'(?<="authorization":")[^"]+', re.IGNORECASE),
    re.compile(r'(?<="authorization": ")[^"]+', re.IGNORECASE),
)

# Every secret handed to rtnb in this process, so that it is masked wherever a server echoes it.
# Rebound, never changed: other threads are reading it.
_known: tuple[str, ...] = ()
_lock: Final = threading.Lock()
_SHORTEST_KNOWN: Final = 8


def mask(text: str) -> str:
    """Return `text` with every key, token and ICE password replaced by ``•••``."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text


def _remember(secret: str) -> None:
    """Mask this secret from now on; what the patterns catch by itself need not be remembered."""
    global _known
    if len(secret) < _SHORTEST_KNOWN or any(p.fullmatch(secret) for p in _PATTERNS):
        return
    with _lock:
        if secret not in _known:
            _known = (*_known, secret)


class Secret:
    """A text that does not show itself: its repr, str and pickle are masked.

    Parameters
    ----------
    value
        The secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str):
        self._value = value
        _remember(value)

    def reveal(self) -> str:
        """Return the secret itself; only the line that sends it should call this."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)
