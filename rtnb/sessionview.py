"""How sessions, runs and endpoints look in a cell, from plain values; it must not know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rtnb import _html
from rtnb.eventtext import plain

__all__ = ["call_body", "call_text", "phase_bar", "properties", "scaled_bar"]

_REST: Final = "rest"
_REST_IS: Final = "starting the media process, making the offer, waiting, configuring"
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
    """Return the phases of connecting as a bar to scale, with their seconds beneath.

    What of the total is in no phase is the last part of the bar, the rest.
    """
    parts = _parts(phases)
    if not parts:
        return ""
    return scaled_bar(parts, _phase_line(phases), classes={_REST: "rtnb-rest"})


def scaled_bar(
    parts: Sequence[tuple[str, float]], line: str, *, classes: Mapping[str, str] | None = None
) -> str:
    """Return stretches of time as a bar to scale, with a line beneath that says the same.

    Parameters
    ----------
    parts
        Names and seconds, in order; what is negative is drawn as nothing.
    line
        All of it in words, for those who do not see the bar too.
    classes
        The style of a part, by its name.
    """
    lengths = [max(seconds, 0.0) for _, seconds in parts]
    whole = sum(lengths) or 1.0
    styles = classes or {}
    bars = "".join(
        f'<i{_class(styles.get(name))} style="flex:{max(length / whole, 0.002):.4f}" '
        f'title="{_html.text(name)} {seconds:.3f} s"></i>'
        for (name, seconds), length in zip(parts, lengths, strict=True)
    )
    said = _html.text(line)
    return (
        f'<div class="rtnb-phases" role="img" aria-label="{said}">{bars}</div>'
        f'<div class="rtnb-figures">{said}</div>'
    )


def _parts(phases: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the phases that are known, and the rest of the total, with their seconds."""
    known = [(name, phases[name]) for name in _PHASES if name in phases]
    rest = phases.get("total", 0.0) - sum(seconds for _, seconds in known)
    return [*known, (_REST, rest)] if known and rest >= 0.0005 else known


def _class(style: str | None) -> str:
    return f' class="{style}"' if style else ""


def _phase_line(phases: Mapping[str, float]) -> str:
    parts = _parts(phases)
    names = " · ".join(
        f"{name} {seconds:.3f} s" + (f" ({_REST_IS})" if name == _REST else "")
        for name, seconds in parts
    )
    return names + (f"; {phases['total']:.3f} s in all" if parts and "total" in phases else "")


def call_text(
    line: str,
    pairs: Iterable[tuple[str, object]],
    *,
    phases: Mapping[str, float] | None = None,
    turns: Sequence[str] = (),
) -> str:
    """Return a session or a run as some lines of text.

    Parameters
    ----------
    line
        Its repr.
    pairs, phases
        As for `call_body`.
    turns
        The turns, a line each.
    """
    out = [line]
    out += [f"{name}: {plain(value)}" for name, value in pairs if value not in (None, "")]
    if timing := _phase_line(phases or {}):
        out.append(f"phases: {timing}")
    return "\n".join([*out, *turns])


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
