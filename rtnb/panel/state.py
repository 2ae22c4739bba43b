"""What a panel may do and what it says, from plain facts; it must not know widgets or sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from rtnb.turnstate import TurnState

__all__ = [
    "Facts",
    "Hearing",
    "Spoken",
    "Tone",
    "allowed",
    "aside",
    "news",
    "said",
    "spoken_phase",
    "talking",
]

Tone = Literal["", "good", "bad"]
Hearing = Literal["none", "muted", "held", "live"]
Spoken = Literal["speaking", "waiting", "heard"]


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
    hearing : str
        What the call's microphone does: ``"none"`` where none is on, ``"muted"``, ``"held"`` where
        it is heard only while a button is held, or ``"live"``.
    detection : bool
        Turn detection is on: spoken turns begin and end by themselves.
    spoken : str or None
        How far the running turn is, if it is a spoken one: ``"speaking"``, ``"waiting"`` for the
        reply, or the reply is being ``"heard"``.
    kept : tuple of str
        What the call had of its own when it was handed over: ``"microphone"``, ``"speaker"``.
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
    hearing: Hearing = "none"
    detection: bool = True
    spoken: Spoken | None = None
    kept: tuple[str, ...] = ()


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
        "talk": is_open and (free or facts.holding) and (facts.clip or facts.hearing != "none"),
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
        return (
            f"{'You are speaking' if facts.spoken else 'Talking'}. Let go to have it answered.",
            "",
        )
    if facts.running:
        return _SPOKEN[facts.spoken] if facts.spoken else facts.progress, ""
    if facts.outcome:
        return f"{facts.outcome} Send it again, or something else.", "bad"
    return _at_rest(facts), "good"


_SPOKEN: Final[dict[Spoken, str]] = {
    "speaking": "You are speaking.",
    "waiting": "You have spoken; waiting for the reply.",
    "heard": "The reply is being heard. Interrupt it by speaking, or with the button.",
}


def _at_rest(facts: Facts) -> str:
    if facts.hearing == "none":
        return "Connected. Choose a prompt or write something, then Send."
    if facts.hearing == "live" and facts.detection:
        return "Connected and listening. Speak, or send a prompt."
    why = {"muted": "the microphone is muted", "live": "turn detection is off"}
    state = f"Connected; {why[facts.hearing]}" if facts.hearing in why else "Connected"
    return f"{state}. Hold the button to speak, or send a prompt."


def spoken_phase(turn: TurnState) -> Spoken | None:
    """Return how far a spoken turn is; None where its progress in general says more."""
    if turn.holding or turn.speaking:
        return "speaking"
    if any(call.ended is None for call in turn.tool_calls):
        return None
    if any(r.audio_started is not None and r.audio_ended is None for r in turn.responses):
        return "heard"
    silent = [r for r in turn.responses if r.audio_ended is None and r.done is None]
    written = any(r.parts and not r.audio_expected for r in turn.responses)
    return None if written or len(silent) < len(turn.responses) else "waiting"


def talking(facts: Facts) -> tuple[str, str]:
    """Return what the button to hold is named, and what it does in a sentence."""
    if facts.hearing != "none":
        return (
            "Push to talk (hold): voice",
            "hold: turn detection off, speak; let go: it is answered",
        )
    return (
        "Push to talk (hold): prompt",
        "hold: turn detection off, the prompt plays; let go: it is answered",
    )


def aside(facts: Facts) -> str | None:
    """Return what is to be known of this panel's microphone and speaker; None for nothing."""
    if not facts.kept or facts.call == "closed":
        return None
    which = " and ".join(f"a {name}" for name in facts.kept)
    unused = "this panel's are" if len(facts.kept) > 1 else "this panel's is"
    return f"The call has {which} of its own and keeps it; {unused} not used."


def news(facts: Facts) -> tuple[str, Tone] | None:
    """Return what happened last, beside how things are; None for nothing new."""
    if facts.failure:
        return facts.failure, "bad"
    if facts.trouble:
        return facts.trouble, "bad"
    return (facts.note, "good") if facts.note else None
