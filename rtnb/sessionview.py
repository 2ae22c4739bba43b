"""How sessions, runs and endpoints look in a cell, from plain values; it must not know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rtnb import _html

__all__ = ["call_body", "phase_bar", "properties"]

_PHASES: Final = ("mint", "sdp", "ice", "dtls", "channel")
_STATES: Final = {"open": "good", "closed": "", "connecting": ""}


def properties(pairs: Iterable[tuple[str, object]]) -> str:
    """Return names and values as a small table; a value of None or "" is left out."""
    rows = "".join(
        f"<tr><th>{_html.text(name)}</th><td>{_html.text(value)}</td></tr>"
        for name, value in pairs
        if value not in (None, "")
    )
    return f"<table><tbody>{rows}</tbody></table>"


def phase_bar(phases: Mapping[str, float]) -> str:
    """Return the phases of connecting as a bar to scale, with their seconds beneath."""
    known = [(name, phases[name]) for name in _PHASES if name in phases]
    if not known:
        return ""
    whole = sum(seconds for _, seconds in known) or 1.0
    bars = "".join(
        f'<i style="flex:{max(seconds / whole, 0.002):.4f}" title="{name} {seconds:.3f} s"></i>'
        for name, seconds in known
    )
    names = " · ".join(f"{name} {seconds:.3f} s" for name, seconds in known)
    total = f"; {phases['total']:.3f} s in all" if "total" in phases else ""
    return (
        f'<div class="rtnb-phases" role="img" aria-label="phases">{bars}</div>'
        f'<div class="rtnb-figures">{names}{total}</div>'
    )


def call_body(
    title: str,
    state: str,
    wrong: str | None,
    pairs: Sequence[tuple[str, object]],
    *,
    phases: Mapping[str, float] | None = None,
    turns: str = "",
) -> str:
    """Return a session or a run.

    Parameters
    ----------
    title
        ``"Session"`` or ``"Run"``.
    state
        One word or two.
    wrong
        What went wrong, if anything did.
    pairs
        Its properties, as text.
    phases
        Seconds of each phase of connecting.
    turns
        The turns, as HTML.
    """
    kind: Any = "bad" if wrong else _STATES.get(state, "")
    parts = [_html.head(title, _html.badge(state, kind))]
    if wrong:
        parts.append(f'<p class="rtnb-why">{_html.text(wrong)}</p>')
    parts += [properties(pairs), phase_bar(phases or {}), turns]
    return "".join(parts)
