"""How turns look in a cell, from plain values; it must not know sessions, audio or events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rtnb import _html
from rtnb.clipview import ClipView, Role, clip_body, clip_text
from rtnb.eventtext import plain
from rtnb.prices import Cost
from rtnb.sessionview import scaled_bar
from rtnb.turnstate import VOICE

__all__ = [
    "ToolView",
    "TurnView",
    "cost_line",
    "status_badge",
    "tokens",
    "tone",
    "turn_body",
    "turn_line",
    "turn_text",
]

_GOOD: Final = {"completed": "good", "failed": "bad", "no_reply": "bad", "incomplete": "bad"}
_SHORT: Final = 60  # characters of a text in one line
_WHOLE: Final = 4_000  # characters of a transcript in the text of one turn
_UNSCORED: Final = ("missed", "censored", "excluded")
# what a reply waits for, in order; each ends with the mark of its name
_STAGES: Final = (
    "speech_stopped",
    "committed",
    "response_created",
    "first_packet",
    "first_audible",
)


@dataclass(frozen=True, slots=True)
class ToolView:
    """What is shown of one tool call: name, arguments as JSON text, result or error, seconds."""

    name: str
    arguments: str
    result: str | None
    error: str | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class TurnView:
    """What is shown of one turn.

    Attributes
    ----------
    number, status, error, voice
        As the turn has them.
    name : str or None
        The prompt's file or sample name.
    said : str or None
        What the service understood, or the text that was sent.
    text : bool
        The prompt is text.
    transcript : str
        The reply in words.
    first_audio : float or None
        Seconds.
    duration : float
        Seconds of reply heard.
    prompt, reply : ClipView or None
        Both sides' sound.
    tools : sequence of ToolView
        In order.
    usage : mapping
        Tokens, as in the events.
    why : str
        Why there was no reply; "" where there was one.
    verdict, reason : str
        Whether it was answered in time, and why not.
    stages : mapping
        Seconds from each mark of the latency to the next.
    cost : Cost or None
        USD.
    unpriced : str
        Why there is no cost, where tokens were used.
    quality : str
        Pacing and network in a line.
    """

    number: int
    status: str
    error: str | None
    voice: str | None
    name: str | None
    said: str | None
    text: bool
    transcript: str
    first_audio: float | None
    duration: float
    prompt: ClipView | None = None
    reply: ClipView | None = None
    tools: Sequence[ToolView] = ()
    usage: Mapping[str, Any] | None = None
    why: str = ""
    verdict: str = ""
    reason: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    cost: Cost | None = None
    unpriced: str = ""
    quality: str = ""

    @property
    def title(self) -> str:
        """What the prompt is called, or said; both where a voice said it."""
        if self.name == VOICE and self.said:
            return f"{self.name}: {self.said}"
        return self.name or self.said or ("text" if self.text else "audio")

    @property
    def outcome(self) -> str:
        """Why it was not answered, or is not scored; "" where it was, or nothing is known yet."""
        if self.verdict not in _UNSCORED:
            return ""
        return f"{self.verdict}: {self.reason}" if self.reason else self.verdict


def turn_line(view: TurnView, *, wide: bool = False) -> str:
    """Return a turn in one line of text; a wide one has duration and voice, as a row has."""
    said = view.said or view.name or ("text" if view.text else "audio")
    line = f"Turn {view.number} {plain(view.status)}: {plain(said, _SHORT)!r}"
    line += f" → {plain(view.transcript, _SHORT)!r}"
    if view.first_audio is not None:
        line += f", first audio {view.first_audio:.2f} s"
    if wide:
        outcome = view.verdict if view.error and view.outcome else view.outcome.rstrip(".")
        line += f", {plain(outcome, 4 * _SHORT)}" if outcome else ""
        line += f", reply {view.duration:.2f} s"
        line += f", {view.cost!r}" if view.cost is not None else ""
        line += f", voice {plain(view.voice, _SHORT)}" if view.voice else ""
    return line + (f" ({plain(view.error, 8 * _SHORT)})" if view.error else "")


def turn_text(view: TurnView) -> str:
    """Return a turn as some lines of text: both sides' words, sound, tools and figures."""
    out = [f"<{turn_line(view, wide=True)}>"]
    if view.why:
        out.append(f"why: {plain(view.why, 8 * _SHORT)}")
    sides: tuple[tuple[Role, str, ClipView | None], ...] = (
        ("prompt", view.said or "", view.prompt),
        ("reply", view.transcript, view.reply),
    )
    for role, words, clip in sides:
        name = f" {plain(view.name)}" if role == "prompt" and view.name else ""
        out.append(f"{role}{name}: {plain(words, _WHOLE) if words else _wordless(view, role)}")
        if clip is not None:
            out.append(plain(clip_text(clip)))
    for tool in view.tools:
        came = tool.error or tool.result or "no result yet"
        call = f"{plain(tool.name)}({plain(tool.arguments)})"
        out.append(f"tool{_took(tool)}: {call} → {plain(came, 8 * _SHORT)}")
    stages = stage_line(view.stages)
    out += [f"waited for: {stages}"] if stages else []
    return "\n".join([*out, *map(plain, _figures(view))])


def _figures(view: TurnView) -> list[str]:
    """Return what was used, what it cost, and how well packets came and went, a line each."""
    lines = (tokens(view.usage or {}), cost_line(view.cost, view.unpriced), view.quality)
    return [line for line in lines if line]


def cost_line(cost: Cost | None, unpriced: str = "") -> str:
    """Return an amount with whose prices it goes by, or why there is none; "" where neither is."""
    if cost is None:
        return f"no cost: {unpriced}" if unpriced else ""
    return f"{cost!r} at the prices of {cost.prices}" if cost.prices else repr(cost)


def turn_body(view: TurnView) -> str:
    """Return a turn: both sides with words, waveform and player; tools, tokens, what went wrong."""
    badges = [status_badge(view.status)]
    if view.outcome:
        badges.append(_html.badge(view.verdict, "bad" if view.verdict == "missed" else ""))
    if view.first_audio is not None:
        badges.append(_html.badge(f"first audio {view.first_audio:.2f} s"))
    if view.cost is not None:
        badges.append(_html.badge(repr(view.cost)))
    if view.voice:
        badges.append(f'<span class="rtnb-muted">voice {_html.text(view.voice)}</span>')
    parts = [_html.head(f"Turn {view.number}", *badges)]
    if view.outcome and view.reason and not (view.error or view.why):
        parts.append(f'<p class="{tone(view)}">{_html.text(view.reason)}</p>')
    parts += [f'<p class="rtnb-why">{_html.text(w)}</p>' for w in (view.error, view.why) if w]
    parts.append('<div class="rtnb-sides">')
    parts.append(_side(view, "prompt"))
    parts.append(_side(view, "reply"))
    parts.append("</div>")
    parts += [_tool(tool) for tool in view.tools]
    parts.append(_stage_bar(view.stages))
    parts += [f'<p class="rtnb-figures">{_html.text(line)}</p>' for line in _figures(view)]
    return "".join(parts)


def tone(view: TurnView) -> str:
    """Return the style of an outcome: only a missed reply is bad news of the service."""
    return "rtnb-why" if view.verdict == "missed" else "rtnb-muted"


def _waits(stages: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return what the first audio waited for, to scale: a mark that came early has no length.

    How long the reply is, the last stage, says nothing of that.
    """
    time = reached = 0.0
    waits = []
    for name in (name for name in _STAGES if name in stages):
        time += stages[name]
        waits.append((name, max(time - reached, 0.0)))
        reached = max(time, reached)
    return waits if reached else []


def stage_line(stages: Mapping[str, float]) -> str:
    """Return what the first audio waited for, in one line; "" where nothing is known."""
    return " · ".join(f"{name.replace('_', ' ')} {s:.3f} s" for name, s in _waits(stages))


def _stage_bar(stages: Mapping[str, float]) -> str:
    waits = _waits(stages)
    if not waits:
        return ""
    names = {name: f"rtnb-{name.replace('_', '-')}" for name, _ in waits}
    return scaled_bar(waits, f"waited for: {stage_line(stages)}", classes=names)


def status_badge(status: str) -> str:
    """Return the status of a turn in a frame, coloured where it is good or bad news."""
    kind: Any = _GOOD.get(status, "")
    return _html.badge(status.replace("_", " "), kind)


def _wordless(view: TurnView, role: Role) -> str:
    """Return what stands where the words of a side would."""
    if role == "prompt" or view.reply is not None or view.duration:
        return "no transcript"
    return "nothing heard yet" if view.status == "in_progress" else "nothing was heard"


def _side(view: TurnView, role: Role) -> str:
    of_prompt = role == "prompt"
    title = f"prompt: {view.name}" if of_prompt and view.name else role
    clip = view.prompt if of_prompt else view.reply
    if said := view.said if of_prompt else view.transcript:
        words = f"<p>{_html.text(said)}</p>"
    else:
        words = f'<p class="rtnb-muted">{_wordless(view, role)}</p>'
    sound = "" if clip is None else clip_body(clip, label=f"{role} of turn {view.number}")
    return f'<div class="rtnb-side rtnb-{role}"><h4>{_html.text(title)}</h4>{words}{sound}</div>'


def _took(tool: ToolView) -> str:
    if tool.seconds is None:
        return ""
    return f", {tool.seconds:.{3 if tool.seconds < 0.1 else 2}f} s"


def _tool(tool: ToolView) -> str:
    if tool.error:
        outcome = f'<p class="rtnb-why">{_html.text(tool.error)}</p>'
    elif tool.result is None:
        outcome = '<p class="rtnb-muted">no result yet</p>'
    else:
        outcome = _html.code(tool.result)
    return (
        f'<div class="rtnb-side rtnb-tool"><h4>tool{_took(tool)}</h4>'
        f"<p><code>{_html.text(tool.name)}({_html.text(tool.arguments)})</code></p>{outcome}</div>"
    )


def tokens(usage: Mapping[str, Any]) -> str:
    """Return what was used, in one line; "" where the service gave none."""
    sides = []
    for side in ("input", "output"):
        details = usage.get(f"{side}_token_details")
        details = details if isinstance(details, dict) else {}
        kinds = ("audio", "text", "image", "cached")
        counts = [(_count(details, f"{kind}_tokens"), kind) for kind in kinds]
        parts = [f"{count} {kind}" for count, kind in counts if count]
        inner = f" ({', '.join(parts)})" if parts else ""
        sides.append(f"{_count(usage, f'{side}_tokens')} {side}{inner}")
    whole = _count(usage, "total_tokens") or sum(
        _count(usage, f"{side}_tokens") for side in ("input", "output")
    )
    return f"{whole} tokens: {', '.join(sides)}" if whole else ""


def _count(usage: Mapping[str, Any], name: str) -> int | float:
    count = usage.get(name)
    return count if isinstance(count, int | float) else 0
