"""Text from outside made fit to be seen; it must not know where it comes from or is shown."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["visible"]

# Control characters; bidirectional ones, which make shown text lie about its order; those that are
# not seen at all, but for the joiners that scripts and emoji need; separators that end a line for
# some readers only; halves of a pair, which cannot be encoded.
_HIDDEN: Final = dict.fromkeys(
    [
        *(n for n in (*range(0x20), *range(0x7F, 0xA0)) if chr(n) not in "\t\n\r"),
        *(0x061C, 0x200B, 0x200E, 0x200F, 0xFEFF),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xD800, 0xE000),
        *range(0xFFF9, 0xFFFC),
    ],
    "\ufffd",
)
# a terminal writes what follows a lone carriage return over what is there
_OVERWRITES: Final = re.compile(r"\r(?!\n)")


def visible(text: str) -> str:
    """Return `text` with U+FFFD for whatever hides, reorders or overwrites; line ends are kept."""
    shown = text.translate(_HIDDEN)
    return _OVERWRITES.sub("\ufffd", shown) if "\r" in shown else shown
