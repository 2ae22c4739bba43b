"""How a list of turns looks: a table that sorts itself, and what it adds up to, from plain values.

It must not know sessions, audio or events.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rtnb import _html
from rtnb.clipview import Role, player
from rtnb.prices import total
from rtnb.turnview import TurnView, status_badge, tone

__all__ = ["turn_list", "turn_summary"]

_SHORT: Final = 60  # characters of a text in one line
_ROWS: Final = 200  # turns shown in one table
_COLUMNS: Final = ("turn", "prompt", "voice", "status", "reply", "first audio", "duration", "cost")
_GRID: Final = "3em minmax(9em,1.3fr) 4.5em 6.5em minmax(10em,1.7fr) 5em 5em 5.5em"
_MANY: Final = 10  # latencies of which a ninetieth percentile is told


def turn_summary(views: Sequence[TurnView]) -> str:
    """Return what some turns add up to, in one line; "" of fewer than two.

    The median of their first audio and, of ten or more, the ninetieth percentile; how many were
    answered of those that can be scored; and the cost in all, or how many have none.
    """
    if len(views) < 2:
        return ""
    timed = [view for view in views if not view.outcome]  # a reply after its time is no answer
    first = [view.first_audio for view in timed if view.first_audio is not None]
    parts = []
    if first:
        high = f", p90 {np.percentile(first, 90):.2f} s" if len(first) >= _MANY else ""
        parts.append(f"first audio: median {np.median(first):.2f} s{high}")
    return "; ".join([*parts, *_answered(views), *_spent(views)])


def _answered(views: Sequence[TurnView]) -> list[str]:
    count = Counter(view.verdict for view in views)
    scored = count["answered"] + count["missed"]
    rest = ", ".join(f"{count[name]} {name}" for name in ("censored", "excluded") if count[name])
    said = [f"answered {count['answered']} of {scored}"] if scored else []
    return said + ([rest] if rest else [])


def _spent(views: Sequence[TurnView]) -> list[str]:
    used = [view for view in views if view.usage]
    unpriced = sum(view.cost is None for view in used)
    if used and unpriced:
        return [f"no cost of {unpriced} of {_html.counted(len(used), 'turn')} that used tokens"]
    cost = total(view.cost for view in used)
    return [] if cost is None else [f"{cost!r} in all"]


def turn_list(views: Sequence[TurnView], *, left_out: int = 0) -> str:
    """Return turns as a table with players, which a click on a heading sorts without a script.

    Parameters
    ----------
    views
        Of more than 200, the last 200 are shown.
    left_out
        How many earlier turns there are besides.
    """
    if not views:
        return '<p class="rtnb-muted">no turns</p>'
    shown = views[-_ROWS:]
    ranks = [_ranks([_key(view, column) for view in shown]) for column in range(len(_COLUMNS))]
    key = f"rtnb-{uuid.uuid4().hex[:8]}"
    rows = [_row(view, [column[i] for column in ranks]) for i, view in enumerate(shown)]
    left = left_out + len(views) - len(shown)
    more = ""
    if left:
        more = (
            f'<p class="rtnb-muted">The last {len(shown)} turns; {left:,} earlier ones are left out. '
            f"A slice such as <code>[:{_ROWS}]</code> shows others.</p>"
        )
    return (
        f'{more}<div class="rtnb-sortable">{_inputs(key)}<div class="rtnb-rows">'
        f"{_headings(key)}{''.join(rows)}</div></div>"
    )


def _inputs(key: str) -> str:
    """Return the hidden radio buttons and the check box on which the sorting hangs."""
    radios = "".join(
        f'<input type="radio" name="{key}" id="{key}-{i}" class="rtnb-by{i}" '
        f'aria-label="sort by {name}"{" checked" if i == 0 else ""}>'
        for i, name in enumerate(_COLUMNS)
    )
    return (
        f'{radios}<input type="checkbox" id="{key}-down" class="rtnb-down" '
        f'aria-label="largest first">'
    )


def _headings(key: str) -> str:
    labels = [
        f'<label class="rtnb-sort rtnb-sort{i}" for="{key}-{i}">{name}</label>'
        for i, name in enumerate(_COLUMNS)
    ]
    labels[-1] += (
        f' <label class="rtnb-flip" for="{key}-down" title="largest first">reverse</label>'
    )
    cells = "".join(f"<div>{label}</div>" for label in labels)
    return (
        f'<div class="rtnb-rowline rtnb-toprow" style="grid-template-columns:{_GRID}">{cells}</div>'
    )


def _key(view: TurnView, column: int) -> tuple[bool, Any]:
    """Return what a column is sorted by; what is missing comes last."""
    first = view.first_audio
    keys: tuple[Any, ...] = (
        *(view.number, view.title.lower(), view.voice or "", view.status),
        *(view.transcript.lower(), first or 0.0, view.duration, view.cost or 0.0),
    )
    missing = (column == 5 and first is None) or (column == 7 and view.cost is None)
    return missing, keys[column]


def _ranks(keys: Sequence[tuple[bool, Any]]) -> list[int]:
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    ranks = [0] * len(keys)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def _row(view: TurnView, ranks: Sequence[int]) -> str:
    first = "–" if view.first_audio is None else f"{view.first_audio:.2f} s"
    if view.outcome:
        first = f'<span class="{tone(view)}">{view.verdict}</span>'
    cells = (
        str(view.number),
        _html.text(view.title[: 4 * _SHORT]) + _sound(view, "prompt"),
        _html.text(view.voice or ""),
        status_badge(view.status),
        _reply(view),
        first,
        f"{view.duration:.2f} s",
        "–" if view.cost is None else repr(view.cost),
    )
    places = "".join(f"--r{i}:{rank};" for i, rank in enumerate(ranks))
    inner = "".join(f"<div>{cell}</div>" for cell in cells)
    return f'<div class="rtnb-rowline" style="{places}grid-template-columns:{_GRID}">{inner}</div>'


def _reply(view: TurnView) -> str:
    words = _html.text(view.transcript[: 8 * _SHORT])
    why = f'<span class="rtnb-why">{_html.text(view.error)}</span>' if view.error else ""
    if view.reason and view.outcome and not why:
        why = f'<div class="{tone(view)}">{_html.text(view.reason[: 4 * _SHORT])}</div>'
    calls = "".join(f'<div class="rtnb-muted">tool {_html.text(t.name)}</div>' for t in view.tools)
    return f"{words}{why}{calls}{_sound(view, 'reply')}"


def _sound(view: TurnView, role: Role) -> str:
    clip = view.prompt if role == "prompt" else view.reply
    if clip is None or clip.sound is None:
        return ""
    return player(clip.sound, label=f"{role} of turn {view.number}")
