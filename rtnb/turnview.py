"""How turns look in a cell, from plain values; it must not know sessions, audio or events."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rtnb import _html
from rtnb.clipview import ClipView, Role, clip_body, clip_text, player
from rtnb.eventtext import plain

__all__ = ["ToolView", "TurnView", "tokens", "turn_body", "turn_line", "turn_list", "turn_text"]

_GOOD: Final = {"completed": "good", "failed": "bad", "no_reply": "bad", "incomplete": "bad"}
_SHORT: Final = 60  # characters of a text in one line
_WHOLE: Final = 4_000  # characters of a transcript in the text of one turn
_ROWS: Final = 200  # turns shown in one table
_COLUMNS: Final = ("turn", "prompt", "voice", "status", "reply", "first audio", "duration")
_GRID: Final = "3em minmax(9em,1.3fr) 4.5em 6.5em minmax(10em,1.7fr) 5.5em 5em"


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

    @property
    def title(self) -> str:
        """What the prompt is called, or said."""
        return self.name or self.said or ("text" if self.text else "audio")


def turn_line(view: TurnView, *, wide: bool = False) -> str:
    """Return a turn in one line of text; a wide one has duration and voice, as a row has."""
    said = view.said or view.name or ("text" if view.text else "audio")
    line = f"Turn {view.number} {plain(view.status)}: {plain(said, _SHORT)!r}"
    line += f" → {plain(view.transcript, _SHORT)!r}"
    if view.first_audio is not None:
        line += f", first audio {view.first_audio:.2f} s"
    if wide:
        line += f", reply {view.duration:.2f} s"
        line += f", voice {plain(view.voice, _SHORT)}" if view.voice else ""
    return line + (f" ({plain(view.error, 8 * _SHORT)})" if view.error else "")


def turn_text(view: TurnView) -> str:
    """Return a turn as some lines of text: both sides' words, sound, tools and tokens."""
    out = [f"<{turn_line(view, wide=True)}>"]
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
    return "\n".join([*out, *filter(None, [tokens(view.usage or {})])])


def turn_body(view: TurnView) -> str:
    """Return a turn: both sides with words, waveform and player; tools, tokens, what went wrong."""
    badges = [_status(view.status)]
    if view.first_audio is not None:
        badges.append(_html.badge(f"first audio {view.first_audio:.2f} s"))
    if view.voice:
        badges.append(f'<span class="rtnb-muted">voice {_html.text(view.voice)}</span>')
    parts = [_html.head(f"Turn {view.number}", *badges)]
    if view.error:
        parts.append(f'<p class="rtnb-why">{_html.text(view.error)}</p>')
    parts.append('<div class="rtnb-sides">')
    parts.append(_side(view, "prompt"))
    parts.append(_side(view, "reply"))
    parts.append("</div>")
    parts += [_tool(tool) for tool in view.tools]
    if line := tokens(view.usage or {}):
        parts.append(f'<p class="rtnb-figures">{_html.text(line)}</p>')
    return "".join(parts)


def _status(status: str) -> str:
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
    if not usage.get("total_tokens"):
        return ""
    sides = []
    for side in ("input", "output"):
        details = usage.get(f"{side}_token_details")
        details = details if isinstance(details, dict) else {}
        kinds = ("audio", "text", "image", "cached")
        parts = [f"{details[f'{k}_tokens']} {k}" for k in kinds if details.get(f"{k}_tokens")]
        inner = f" ({', '.join(parts)})" if parts else ""
        sides.append(f"{usage.get(f'{side}_tokens', 0)} {side}{inner}")
    return f"{usage['total_tokens']} tokens: {', '.join(sides)}"


# --- many turns ----------------------------------------------------------------------------------


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
        *(view.transcript.lower(), first if first is not None else 0.0, view.duration),
    )
    return (column == 5 and first is None), keys[column]


def _ranks(keys: Sequence[tuple[bool, Any]]) -> list[int]:
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    ranks = [0] * len(keys)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def _row(view: TurnView, ranks: Sequence[int]) -> str:
    first = "–" if view.first_audio is None else f"{view.first_audio:.2f} s"
    cells = (
        str(view.number),
        _html.text(view.title[: 4 * _SHORT]) + _sound(view, "prompt"),
        _html.text(view.voice or ""),
        _status(view.status),
        _reply(view),
        first,
        f"{view.duration:.2f} s",
    )
    places = "".join(f"--r{i}:{rank};" for i, rank in enumerate(ranks))
    inner = "".join(f"<div>{cell}</div>" for cell in cells)
    return f'<div class="rtnb-rowline" style="{places}grid-template-columns:{_GRID}">{inner}</div>'


def _reply(view: TurnView) -> str:
    words = _html.text(view.transcript[: 8 * _SHORT])
    why = f'<span class="rtnb-why">{_html.text(view.error)}</span>' if view.error else ""
    calls = "".join(f'<div class="rtnb-muted">tool {_html.text(t.name)}</div>' for t in view.tools)
    return f"{words}{why}{calls}{_sound(view, 'reply')}"


def _sound(view: TurnView, role: Role) -> str:
    clip = view.prompt if role == "prompt" else view.reply
    if clip is None or clip.sound is None:
        return ""
    return player(clip.sound, label=f"{role} of turn {view.number}")
