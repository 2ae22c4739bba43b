"""Pure functions from plain values to escaped HTML; they must not know the objects they show."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

__all__ = [
    "audio_player",
    "code",
    "definitions",
    "event_details",
    "event_table",
    "table",
    "text",
    "waveform_svg",
]

_CELL: Final = (
    "padding:1px 10px 1px 0;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums"
)
_LONGEST: Final = 20_000

# control characters, and bidirectional ones, which make shown text lie about its order
_HIDDEN: Final = dict.fromkeys(
    [
        *(n for n in (*range(0x20), *range(0x7F, 0xA0)) if chr(n) not in "\t\n\r"),
        *(0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    ],
    "\ufffd",
)


def text(value: object) -> str:
    """Return `value` as escaped text, cut at 20,000 characters, without control characters."""
    shown = str(value)
    if len(shown) > _LONGEST:
        shown = shown[:_LONGEST] + f" … ({len(shown) - _LONGEST} more characters)"
    return escape(shown.translate(_HIDDEN), quote=True)


def code(value: object) -> str:
    """Return `value` as an escaped preformatted block."""
    return f'<pre style="margin:2px 0;white-space:pre-wrap">{text(value)}</pre>'


def audio_player(wav: bytes) -> str:
    """Return a player that carries the bytes of a WAV file in itself."""
    encoded = b64encode(wav).decode("ascii")
    return f'<audio controls preload="metadata" src="data:audio/wav;base64,{encoded}"></audio>'


def waveform_svg(
    low: Sequence[float], high: Sequence[float], *, color: str = "#0072b2", height: int = 48
) -> str:
    """Return a waveform as SVG, drawn from the minimum and maximum of each column.

    Parameters
    ----------
    low, high
        One value a column, in [-1, 1].
    color
        Fill colour.
    height
        Pixels.
    """
    middle = height / 2
    upper = [f"{x},{middle - v * middle:.1f}" for x, v in enumerate(high)]
    lower = [f"{x},{middle - v * middle:.1f}" for x, v in reversed(list(enumerate(low)))]
    width = max(len(high), 1)
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="waveform" style="max-width:100%">'
        f'<line x1="0" x2="{width}" y1="{middle}" y2="{middle}" stroke="{color}" '
        f'stroke-width="0.5"/><polygon fill="{color}" stroke="{color}" stroke-width="0.5" '
        f'points="{" ".join(upper + lower)}"/></svg>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells of `rows` are HTML already, those of `head` are text."""
    header = "".join(f'<th style="{_CELL}">{text(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def definitions(title: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a small titled table of names and values; the values are HTML already."""
    rows = "".join(
        f'<tr><th style="{_CELL}">{text(name)}</th><td style="{_CELL}">{value}</td></tr>'
        for name, value in pairs
    )
    return f"<div><b>{text(title)}</b><table><tbody>{rows}</tbody></table></div>"


def event_details(time: float, direction: str, type: str, data: dict[str, Any]) -> str:
    """Return one event, its JSON folded away."""
    arrow = "→" if direction == "sent" else "←"
    body = code(json.dumps(data, indent=1, ensure_ascii=False))
    return (
        f"<details><summary>{time:.3f} s {arrow} <code>{text(type or 'unreadable')}</code>"
        f"</summary>{body}</details>"
    )


def event_table(rows: Iterable[tuple[float, str, str, dict[str, Any]]], *, total: int) -> str:
    """Return a table of events, each with its JSON folded away."""
    shown = [event_details(*row) for row in rows]
    note = "" if len(shown) == total else f", the last {len(shown)} shown"
    return f"<div><b>{total} events</b>{note}{''.join(shown)}</div>"
