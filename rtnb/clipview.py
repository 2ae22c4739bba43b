"""How a clip looks in a cell, from plain values; it must not know how a clip is made or encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rtnb import _html

__all__ = ["ClipView", "Role", "clip_body", "clip_notes", "clip_text", "player"]

Role = Literal["prompt", "reply"]


@dataclass(frozen=True, slots=True)
class ClipView:
    """What is shown of a clip.

    Attributes
    ----------
    caption : str
        Its figures, as in its repr.
    low, high : sequence of float
        Minimum and maximum of each column of the waveform, in [-1, 1]; empty for no waveform.
    sound : tuple of (str, bytes), or None
        MIME type and bytes of the file in the player; None for no player.
    note : str
        What is to be known besides: that the player does not carry all of it, that it is clipped.
    role : str
        Whose colour it has: ``"prompt"`` or ``"reply"``.
    """

    caption: str
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    sound: tuple[str, bytes] | None = None
    note: str = ""
    role: Role = "prompt"


def clip_notes(
    duration: float, most: float, gaps: Sequence[tuple[float, float]], clipped: int
) -> str:
    """Return what is to be known of a clip besides its figures.

    Parameters
    ----------
    duration, most
        Seconds that it lasts, and that a player carries at most.
    gaps
        Lost spans in seconds.
    clipped
        Samples at full scale.
    """
    notes = [f"the player has the first {most:g} s"] if duration > most else []
    if gaps:
        lost = sum(end - start for start, end in gaps)
        notes.append(f"{lost * 1000:.0f} ms lost on the way")
    if clipped:
        notes.append(f"clipped: {clipped} samples at full scale")
    return "; ".join(notes)


def clip_text(view: ClipView) -> str:
    """Return the figures, and what is to be known besides, as text."""
    return f"<{view.caption}>" + (f"\n{view.note}" if view.note else "")


def clip_body(view: ClipView, *, label: str = "clip") -> str:
    """Return waveform, player and figures, one below the other.

    Parameters
    ----------
    view
        What is shown.
    label
        What a screen reader calls the player.
    """
    parts = [f'<div class="rtnb-clip rtnb-{view.role}">']
    if len(view.low):
        parts.append(_html.waveform_svg(view.low, view.high))
    if view.sound is not None:
        parts.append(player(view.sound, label=label))
    parts.append(f'<div class="rtnb-figures">{_html.text(view.caption)}</div>')
    if view.note:
        parts.append(f'<div class="rtnb-muted">{_html.text(view.note)}</div>')
    return "".join(parts) + "</div>"


def player(sound: tuple[str, bytes], *, label: str) -> str:
    """Return a player that carries its file in itself, and is called `label` by a screen reader."""
    kind, content = sound
    return _html.audio_player(content, kind, label=label)
