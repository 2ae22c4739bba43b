"""Takes secrets out of text before anybody sees it; it must not know where the text goes."""

from __future__ import annotations

import json
import re
import threading
from typing import Final

__all__ = ["MASK", "Secret", "mask"]

MASK: Final = "•••"

# OpenAI's standard and ephemeral keys, bearer tokens, ICE passwords, and the secrets that a session
# object may carry (`authorization` of an MCP tool, `client_secret`; Realtime API reference). A first
# group stays. What each begins with is looked for by `_masked` first: it must be changed with them.
_PATTERNS: Final = (
    # in JSON text a newline before a key is a backslash and an n, which is no word boundary
    re.compile(r"(?:\b|(?<=\\[bfnrt]))(?:sk-|ek_)[A-Za-z0-9_\-•*.]{3,}"),
    re.compile(r"(?<=[Bb]earer )[A-Za-z0-9._~+/=\-]{6,}"),
    re.compile(r'(?<=a=ice-pwd:)[^\s\\"]+'),
    re.compile(r'("authorization"\s*:\s*")(?:[^"\\]|\\.)+', re.IGNORECASE),
    re.compile(r'("client_secret"\s*:\s*(?:\{[^{}]*?"value"\s*:\s*)?")(?:[^"\\]|\\.)+'),
)

# Characters that JSON text need not escape, but may: behind them a secret would not be seen.
_ESCAPED: Final = re.compile(
    r"\\(?:\\|/|u00(?:2[013-9a-fA-F]|[346][0-9a-fA-F]|5[0-9abd-fABD-F]|7[0-9a-eA-E]))"
)

# Every secret handed to rtnb in this process, so that it is masked wherever a server echoes it.
# Rebound, never changed: other threads are reading it.
_known: tuple[str, ...] = ()
_lock: Final = threading.Lock()
_SHORTEST_KNOWN: Final = 8


def mask(text: str) -> str:
    """Return `text` with every key, token and ICE password replaced by ``•••``.

    In JSON text they are found behind escapes too; what then comes back is written without those.
    """
    if "\\" in text and ("\\/" in text or "\\u00" in text):
        written = _ESCAPED.sub(_unescaped, text)
        masked = _masked(written)
        if masked != written:
            return masked
    return _masked(text)


def _masked(text: str) -> str:
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    # Most texts hold none of the rare letters that a secret comes with, and finding one letter costs
    # next to nothing; the patterns on every event of a call would cost more than parsing it.
    if (
        ("k" in text and ("ek_" in text or "sk-" in text))
        or (" " in text and "earer " in text)
        or ("=" in text and "a=ice-pwd:" in text)
        or (("z" in text or "Z" in text) and "author" in text.lower())
        or '"client_secret"' in text
    ):
        for pattern in _PATTERNS:
            text = pattern.sub(r"\1" + MASK if pattern.groups else MASK, text)
    return text


def _unescaped(found: re.Match[str]) -> str:
    escape = found[0]
    if escape == "\\\\":  # a backslash, which begins no escape
        return escape
    return chr(int(escape[2:], 16)) if escape[1] == "u" else escape[1]


def _remember(secret: str) -> None:
    """Mask this secret from now on; what the patterns catch by itself need not be remembered."""
    global _known
    if len(secret) < _SHORTEST_KNOWN or any(p.fullmatch(secret) for p in _PATTERNS):
        return
    with _lock:
        for written in (secret, json.dumps(secret)[1:-1]):
            if written not in _known:
                _known = (*_known, written)


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
