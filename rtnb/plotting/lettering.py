"""Text as matplotlib can draw it: plain, cut to fit, in a font that has it; it knows no plot."""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, Final

__all__ = ["PLAIN", "fitted", "font_families", "legible", "width_of"]

# nothing in a text is markup: no mathematics between dollar signs, no TeX
PLAIN: Final[dict[str, Any]] = {"parse_math": False, "usetex": False}
_UNKNOWN: Final = "\ufffd"
_NO_GLYPH: Final = "\u25a1"
_DROPPED: Final = "\u200b\u200c\u200d\ufe0e\ufe0f"  # join and vary signs that are shown anyway
# parts of the names of fonts that have what the usual one lacks
_WIDER: Final = ("CJK", "Noto Sans", "WenQuanYi", "YaHei", "PingFang", "Hiragino", "Malgun")
_MOST_FONTS: Final = 12
_HINTED: Final = 1.05  # letters set on whole pixels take a little more room


@functools.lru_cache(maxsize=512)
def legible(text: str) -> str:
    """Return a text on one line, without control characters, with a box for what no font has.

    Control and bidirectional characters become U+FFFD, line ends and tabs become spaces.
    """
    shown = "".join(_plain(char) for char in text)
    usual = _usual()
    return "".join(c if _has(c, usual) else _NO_GLYPH for c in " ".join(shown.split()))


def _plain(char: str) -> str:
    if char in _DROPPED:
        return ""
    if char.isspace():
        return " "
    # Cc, Cf, Cs, Co, Cn: controls, format marks, halves of pairs, private and unassigned ones
    return _UNKNOWN if unicodedata.category(char)[0] == "C" else char


@functools.lru_cache(maxsize=4096)
def _has(char: str, usual: tuple[str, ...]) -> bool:
    return any(_font(path).get_char_index(ord(char)) for path in _paths(usual))


def _usual() -> tuple[str, ...]:
    import matplotlib as mpl

    return tuple(mpl.rcParams["font.family"])


def font_families() -> list[str]:
    """Return the families that texts from outside are drawn in: the usual one, then wider ones."""
    return list(_families(_usual()))


@functools.lru_cache(maxsize=16)
def _families(usual: tuple[str, ...]) -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    names = sorted({font.name for font in fontManager.ttflist})
    wider = [name for part in _WIDER for name in names if part in name]
    return tuple(dict.fromkeys([*usual, "DejaVu Sans", *wider]))[:_MOST_FONTS]


@functools.lru_cache(maxsize=16)
def _paths(usual: tuple[str, ...]) -> list[str]:
    from matplotlib.font_manager import FontProperties, findfont

    return [findfont(FontProperties(family=[family])) for family in _families(usual)]


def _font(path: str) -> Any:
    from matplotlib.font_manager import get_font

    return get_font(path)


def width_of(text: str, size: float) -> float:
    """Return the width in points of a text of a size in points, kerning left out."""
    usual = _usual()
    return sum(_advance(char, usual) for char in text) * size


@functools.lru_cache(maxsize=4096)
def _advance(char: str, usual: tuple[str, ...]) -> float:
    """Return the width of one letter in a text of one point; setting a text takes far longer."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=list(_families(usual)), size=100)
    two, three = (  # between others, for a space has no outline
        text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
        for text in ("||", f"|{char}|")
    )
    return float(three - two) / 100 * _HINTED


def fitted(text: str, width: float, size: float, *, lines: int = 1, least: int = 3) -> str:
    """Return a legible text broken into lines that fit a width, the last one cut with an ellipsis.

    Parameters
    ----------
    text
        From anywhere.
    width
        Points.
    size
        Of the font, in points.
    lines
        The most lines.
    least
        The fewest characters that are worth being shown of a text that must be cut.

    Returns
    -------
    str
        Empty where not even that fits.
    """
    left = legible(text[:2000])
    out: list[str] = []
    while left and len(out) < lines:
        count = _fitting(left, width, size)
        if count >= len(left):
            return "\n".join([*out, left])
        if len(out) == lines - 1:
            cut = _fitting(left, width - width_of("…", size), size)
            shown = "\n".join([*out, left[:cut].rstrip() + "…"])
            return shown if len(shown) > least else ""
        space = left.rfind(" ", 0, count + 1)
        at = space if space > count // 3 else count  # some scripts have no spaces
        if at < 3:
            return ""
        out.append(left[:at].rstrip())
        left = left[at:].lstrip()
    return "\n".join(out)


def _fitting(text: str, width: float, size: float) -> int:
    """Return how many characters of a text fit a width, by halving."""
    low, high = 0, min(len(text), int(width / (size * 0.2)) + 1)
    if width_of(text[:high], size) <= width:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if width_of(text[:middle], size) <= width else (low, middle)
    return low
