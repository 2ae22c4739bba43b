"""Rows of events to escaped HTML that needs no script and no kernel; it must not know a log.

A cell holds at most 200 rows and about 1 MB: the JSON of one row is cut at 20,000 characters, and
when that of all rows takes 600,000 characters of HTML, older rows are shown without theirs.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rtnb import _html
from rtnb.eventrows import Row
from rtnb.eventtext import compact, plain, pretty

__all__ = ["SHOWN", "event_html", "event_styles", "log_html", "row_json"]

SHOWN: Final = 200  # rows
_SPACE: Final = 600_000  # characters of HTML that the JSON of all rows may take
_SINGLE: Final = 40  # events of a run that are written out
_FILTERS: Final = ("all", "sent", "received", "errors")
_FOOT: Final = (  # a saved cell has no kernel to match a pattern with
    '<p class="rtnb-muted">By type: <code>session.events.select("response.*")</code>; by turn: '
    "<code>turn.events</code>.</p>"
)


@functools.cache
def event_styles() -> str:
    """Return the style sheet of rows of events; `_html.styles` is needed as well."""
    path = Path(__file__).parent / "_static" / "inspector.css"
    return path.read_text(encoding="utf-8")


def row_json(row: Row) -> str:
    """Return the JSON of a row: of one event indented, of a run one line an event."""
    if row.count == 1:
        return pretty(row.events[0].data)
    shown = [compact(event.data) for event in row.events[:_SINGLE]]
    if row.count > len(shown):
        shown.append(f"… ({row.count - len(shown)} more events)")
    return "\n".join(shown)


def _cells(row: Row) -> str:
    arrow, said = ("→", "sent") if row.direction == "sent" else ("←", "received")
    kind = _html.text(plain(row.type, 80)).replace(".", ".<wbr>").replace("_", "_<wbr>")
    mark = f'<span class="rtnb-ev-mark">{row.kind}</span> ' if row.kind else ""
    count = f'<span class="rtnb-ev-count">{_html.text(row.span)}</span> ' if row.span else ""
    return (
        f'<span class="rtnb-ev-time">{row.time:.3f}</span>'
        f'<span class="rtnb-ev-arrow" title="{said}">{arrow}</span>'
        f'<span class="rtnb-ev-type">{kind}</span>'
        f'<span class="rtnb-ev-said">{mark}{count}<bdi>{_html.text(row.summary)}</bdi></span>'
    )


def _classes(row: Row) -> str:
    side = "sent" if row.direction == "sent" else "received"
    tool = " rtnb-ev-tool" if "function_call" in row.type else ""
    return f"rtnb-ev rtnb-ev-{side}{tool}" + (f" rtnb-ev-{row.kind}" if row.kind else "")


def _detail(row: Row, json: str) -> str:
    body = f"<pre>{json}</pre>" if json else '<p class="rtnb-muted">JSON left out for space</p>'
    return f'<details class="{_classes(row)}"><summary>{_cells(row)}</summary>{body}</details>'


def _details(rows: Sequence[Row]) -> list[str]:
    """Return the rows in order; the latest ones get their JSON first."""
    left = _SPACE
    out = []
    for row in reversed(rows):
        json = _html.text(row_json(row)) if left > 0 else ""
        left -= len(json)
        out.append(_detail(row, json if left >= 0 else ""))
    return out[::-1]


def _picks(rows: Sequence[Row]) -> str:
    """Return the radio buttons that filter the rows behind them, by style rules alone."""
    name = f"rtnb-ev-{uuid.uuid4().hex[:12]}"
    sent = sum(row.direction == "sent" for row in rows)
    errors = sum(row.kind == "error" for row in rows)
    counts = (len(rows), sent, len(rows) - sent, errors)
    return "".join(
        f'<input class="rtnb-ev-pick rtnb-ev-pick-{what}" type="radio" name="{name}" '
        f'id="{name}-{what}"{" checked" if what == "all" else ""}>'
        f'<label for="{name}-{what}">{what} {count}</label>'
        for what, count in zip(_FILTERS, counts, strict=True)
    )


def log_html(rows: Sequence[Row], *, total: int, plain_text: str) -> str:
    """Return the latest rows of a log, each with its JSON folded away, and a filter.

    Parameters
    ----------
    rows
        All rows; the last 200 are shown.
    total
        Events in the log.
    plain_text
        What is shown where styles are not trusted.
    """
    shown = rows[-SHOWN:]
    left_out = total - sum(row.count for row in shown)
    note = ""
    if left_out:
        note = (
            f'<p class="rtnb-muted">The last {_html.counted(len(shown), "row")}; '
            f"{left_out:,} earlier events are left out. A slice such as <code>[:500]</code> shows "
            "others, <code>rtnb.EventInspector(…)</code> all of them.</p>"
        )
    title = _html.head("EventLog", _html.badge(_html.counted(total, "event")))
    body = f'<div class="rtnb-ev-list">{"".join(_details(shown))}</div>'
    table = f'<div class="rtnb-ev-log">{_picks(shown)}{body}</div>{_FOOT}' if shown else ""
    return _html.boxed(f"<style>{event_styles()}</style>{title}{note}{table}", plain_text)


def event_html(row: Row, *, plain_text: str) -> str:
    """Return one event with its JSON unfolded."""
    open_ = _detail(row, _html.text(row_json(row))).replace("<details ", "<details open ", 1)
    return _html.boxed(f"<style>{event_styles()}</style>{open_}", plain_text)
