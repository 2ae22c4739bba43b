"""Pure functions from plain values to escaped HTML; they must not know the objects they show."""

from __future__ import annotations

import functools
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final, Literal

from rtnb._plain import visible

__all__ = [
    "audio_player",
    "badge",
    "boxed",
    "code",
    "counted",
    "head",
    "style_text",
    "styles",
    "text",
    "waveform_svg",
]

_LONGEST: Final = 20_000


def text(value: object) -> str:
    """Return `value` as escaped text, cut at 20,000 characters, without control characters."""
    shown = str(value)
    if len(shown) > _LONGEST:
        shown = shown[:_LONGEST] + f" … ({len(shown) - _LONGEST} more characters)"
    return escape(visible(shown), quote=True)


def code(value: object) -> str:
    """Return `value` as an escaped preformatted block."""
    return f'<pre style="margin:2px 0;white-space:pre-wrap">{text(value)}</pre>'


@functools.cache
def style_text() -> str:
    """Return the style sheet of everything that rtnb shows."""
    path = Path(__file__).parent / "_static" / "rtnb.css"
    return path.read_text(encoding="utf-8")


def styles() -> str:
    """Return the style sheet of everything that rtnb shows, as an element."""
    return f"<style>{style_text()}</style>"


def boxed(body: str, plain: object) -> str:
    """Return what an object shows in a cell.

    Parameters
    ----------
    body
        HTML. It is hidden until the styles are there.
    plain
        The text that is shown instead where styles are not trusted, as in a notebook from elsewhere.
    """
    return (
        f'<div class="rtnb">{styles()}<pre class="rtnb-text">{text(plain)}</pre>'
        f'<div class="rtnb-body" style="display:none">{body}</div></div>'
    )


def counted(count: int, thing: str) -> str:
    """Return a count with its noun: ``"1 turn"``, ``"2 turns"``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def badge(label: object, kind: Literal["", "good", "bad"] = "") -> str:
    """Return a short word in a frame, coloured where it is good or bad news."""
    return f'<span class="rtnb-badge{" rtnb-" + kind if kind else ""}">{text(label)}</span>'


def head(title: object, *badges: str) -> str:
    """Return the first line of what an object shows; `badges` are HTML already."""
    return f'<div class="rtnb-head"><b>{text(title)}</b>{"".join(badges)}</div>'


def audio_player(content: bytes, kind: str = "audio/wav", *, label: str = "clip") -> str:
    """Return a player that carries the bytes of an audio file of a MIME type in itself.

    Parameters
    ----------
    content
        The file.
    kind
        Its MIME type.
    label
        What a screen reader calls the player.
    """
    encoded = b64encode(content).decode("ascii")
    return (
        f'<audio controls preload="metadata" aria-label="{text(label)}" '
        f'src="data:{text(kind)};base64,{encoded}"></audio>'
    )


def waveform_svg(low: Sequence[float], high: Sequence[float], *, height: int = 48) -> str:
    """Return a waveform as SVG in the current colour, as wide as there is room.

    Parameters
    ----------
    low, high
        The minimum and maximum of each column, in [-1, 1].
    height
        Pixels.
    """
    middle = height / 2
    width = max(len(high), 1)
    upper = [f"{x},{middle - v * middle:.1f}" for x, v in enumerate(high)]
    lower = [f"{x},{middle - v * middle:.1f}" for x, v in reversed(list(enumerate(low)))]
    return (
        f'<svg class="rtnb-wave" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="waveform"><line x1="0" x2="{width}" y1="{middle}" y2="{middle}" '
        f'stroke="currentColor" stroke-width="0.5"/><polygon fill="currentColor" '
        f'stroke="currentColor" stroke-width="0.5" points="{" ".join(upper + lower)}"/></svg>'
    )
