"""What a panel may do and what it says, from plain facts; it must not know widgets or sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Facts", "Tone", "allowed", "news", "said"]

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Facts:
    """How things stand.

    Attributes
    ----------
    call : str
        ``"none"``, ``"connecting"``, ``"open"``, ``"closing"`` or ``"closed"``.
    doing : str or None
        What the panel is at, in a word, besides the call's own state.
    progress : str
        How far connecting, or the running turn, is.
    running : bool
        A turn is in progress.
    holding : bool
        Push to talk is held.
    clip, text : bool
        A prompt is chosen; something is written.
    ended : str or None
        Why the call is over.
    stuck : bool
        Connecting failed, or the call broke: another endpoint may help.
    outcome : str or None
        What went wrong with the last turn, if anything did.
    trouble : str or None
        What is wrong with the recording.
    failure : str or None
        What went wrong last with what was clicked, and what to do.
    note : str or None
        What went well last.
    """

    call: Literal["none", "connecting", "open", "closing", "closed"] = "none"
    doing: str | None = None
    progress: str = ""
    running: bool = False
    holding: bool = False
    clip: bool = False
    text: bool = False
    ended: str | None = None
    stuck: bool = False
    outcome: str | None = None
    trouble: str | None = None
    failure: str | None = None
    note: str | None = None


def allowed(facts: Facts) -> dict[str, bool]:
    """Return which controls mean something now.

    Returns
    -------
    dict
        ``connect``, ``peer``, ``hang_up``, ``send``, ``talk``, ``interrupt``, ``save``, ``form``.
    """
    is_open = facts.call == "open"
    free = facts.doing is None
    at_rest = facts.call in ("none", "closed")
    return {
        "connect": at_rest and free,
        "peer": at_rest and free and facts.stuck,
        "form": at_rest and free,
        "hang_up": facts.call in ("connecting", "open"),
        "send": is_open and free and not facts.holding and (facts.clip or facts.text),
        "talk": is_open and (free or facts.holding) and facts.clip,
        "interrupt": is_open and facts.running and not facts.holding,
        "save": facts.call in ("open", "closed") and free,
    }


def said(facts: Facts) -> tuple[str, Tone]:
    """Return how things are, and whether that is good or bad news."""
    if facts.doing:
        return f"{facts.doing} …", ""
    match facts.call:
        case "none":
            return "Not connected. Choose where to call, then Connect.", ""
        case "connecting":
            return f"Connecting: {facts.progress}", ""
        case "closing":
            return "Hanging up …", ""
        case "closed":
            ended = facts.ended or "The call is over."
            return f"{ended} Connect begins another one.", "bad" if facts.stuck else ""
    if facts.holding:
        return "Talking. Let go to have it answered.", ""
    if facts.running:
        return facts.progress, ""
    if facts.outcome:
        return f"{facts.outcome} Send it again, or something else.", "bad"
    return "Connected. Choose a prompt or write something, then Send.", "good"


def news(facts: Facts) -> tuple[str, Tone] | None:
    """Return what happened last, beside how things are; None for nothing new."""
    if facts.failure:
        return facts.failure, "bad"
    if facts.trouble:
        return facts.trouble, "bad"
    return (facts.note, "good") if facts.note else None
