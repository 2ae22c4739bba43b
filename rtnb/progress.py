"""How far an `ask`, a `connect` or a `replay` is, in one line of text or HTML, from plain state.

It must not know where the line is shown (see `rtnb.liveline`), nor a session or a call.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from rtnb import _html
from rtnb.measure import AUDIBLE_LEVEL
from rtnb.plotting.canvas import COLORS
from rtnb.turnstate import TurnState

__all__ = [
    "BAR",
    "COLUMNS",
    "Snapshot",
    "broken",
    "columns_of",
    "html_of",
    "of_batch",
    "of_connecting",
    "of_turn",
    "sentence_of",
    "text_of",
]

COLUMNS: Final = 78  # the longest line
BAR: Final = "▁▂▃▄▅▆▇█"

_WHAT: Final = 30  # columns of a prompt's text
_UNREAD: Final = 500  # characters of a name or reason that are looked at
_FLOOR: Final = -60.0  # dBFS at which the level's bar is empty


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far something is, at one moment.

    Attributes
    ----------
    what : str
        What it is about: a prompt's name, an endpoint.
    phase : str
        What happens now, or how it ended.
    seconds : float
        Since its beginning.
    level : float or None
        dBFS of what sounds now, -inf for silence; None where nothing could sound.
    side : str
        Whose colour it has: ``"prompt"``, ``"reply"``, ``"tool"`` or ``"error"``.
    over : bool
        Nothing more is to come; `phase` says the times itself.
    """

    what: str
    phase: str
    seconds: float = 0.0
    level: float | None = None
    side: str = "prompt"
    over: bool = False


# --- from state to a snapshot ---------------------------------------------------------------------


def of_turn(
    turn: TurnState, now: float, levels: Mapping[str, float], first_audio: float | None = None
) -> Snapshot:
    """Return how far a turn is.

    Parameters
    ----------
    turn
        What is known of it.
    now
        Seconds on the call's clock.
    levels
        dBFS of what is ``"sent"`` and ``"heard"`` now; either may be missing.
    first_audio
        Its latency in seconds, once it is over.
    """
    what = turn.name or (f'"{_short(turn.text)}"' if turn.text else f"turn {turn.number}")
    if turn.status != "in_progress":
        return _turn_over(what, turn, now, first_audio)
    seconds = max(now - turn.started, 0.0)
    running = [call.name for call in turn.tool_calls if call.ended is None]
    if running:
        names = ", ".join(_short(name) for name in running)
        return Snapshot(what, f"tool {names} running", seconds, None, "tool")
    if any(r.audio_started is not None and r.audio_ended is None for r in turn.responses):
        return Snapshot(what, "reply sounding", seconds, levels.get("heard"), "reply")
    if turn.voice_open or (turn.holding and not turn.plays):
        return Snapshot(what, "listening", seconds, levels.get("sent"), "prompt")
    if turn.plays and turn.play_ended is None:
        return Snapshot(what, "playing prompt", seconds, levels.get("sent"), "prompt")
    if any(r.done is None and r.parts and not r.audio_expected for r in turn.responses):
        return Snapshot(what, "reply being written", seconds, None, "reply")
    over = bool(turn.responses) and turn.responses[-1].audio_ended is not None
    coming = turn.pending or turn.awaiting
    phase = "reply over" if over and not coming else "waiting for the reply"
    return Snapshot(what, phase, seconds, levels.get("heard"), "reply")


def _turn_over(what: str, turn: TurnState, now: float, first_audio: float | None) -> Snapshot:
    seconds = max((now if turn.ended is None else turn.ended) - turn.started, 0.0)
    parts = [str(turn.status)]
    if first_audio is not None:
        parts.append(f"first audio {first_audio:.2f} s")
    parts.append(f"{seconds:.1f} s in all")
    why = f": {turn.error}" if turn.error else ""
    side = "reply" if turn.status == "completed" else "error"
    return Snapshot(what, ", ".join(parts) + why, seconds, None, side, over=True)


def of_connecting(
    what: str,
    seconds: float,
    reached: Mapping[str, float] | None = None,
    http: Mapping[str, float] | None = None,
    *,
    mints: bool = False,
    offered: bool = False,
) -> Snapshot:
    """Return how far a call is from being connected.

    Parameters
    ----------
    what
        Where it goes.
    seconds
        Since its beginning.
    reached
        When each phase was reached, in seconds on the call's clock.
    http
        How long each request took that has been answered, in seconds.
    mints
        A key is to be minted first.
    offered
        The media process has made its offer.
    """
    reached, http = reached or {}, http or {}
    if "configured" in reached:
        done = reached["configured"]
        return Snapshot(what, f"connected in {done:.2f} s", done, over=True)
    steps = [
        ("channel" in reached, "configuring"),
        ("dtls" in reached, "data channel"),
        ("ice" in reached, "DTLS"),
        ("answer" in reached or "sdp" in http, "ICE"),
        (mints and "mint" not in http, "minting a key"),
        (offered, "exchanging the offer"),
    ]
    phase = next((name for holds, name in steps if holds), "starting the media process")
    return Snapshot(what, phase, seconds)


def of_batch(
    number: int,
    total: int,
    name: str,
    voice: str | None,
    seconds: float,
    outcomes: Mapping[str, int],
    running: int = 1,
) -> Snapshot:
    """Return how far a batch of calls is.

    Parameters
    ----------
    number, total
        Which call runs, from 1, and how many there are; `number` is beyond `total` at the end.
    name, voice
        Of the call that runs.
    seconds
        Since its beginning.
    outcomes
        How often the calls that are over ended how.
    running
        How many calls go on at once; of several, it is counted how many are over.
    """
    if number > total:
        counts = [f"{count} {word}" for word, count in outcomes.items() if count]
        phase = ", ".join([*counts, f"{seconds:.1f} s in all"])
        return Snapshot(f"{total} {'call' if total == 1 else 'calls'}", phase, seconds, over=True)
    if running > 1:
        over = sum(outcomes.values())
        return Snapshot(f"[{over}/{total} over] {running} calls at once", "calling", seconds)
    said = f" ({voice})" if voice else ""
    return Snapshot(f"[{number}/{total}] {_short(name)}{said}", "calling", seconds)


def broken(snapshot: Snapshot, error: BaseException) -> Snapshot:
    """Return the end of something that an error cut short; what was over stays as it is."""
    if snapshot.over:
        return snapshot
    match error:
        case KeyboardInterrupt():
            word = "interrupted"
        case TimeoutError():
            word = "not over"
        case _:
            word = "failed"
    phase = f"{word} after {snapshot.seconds:.1f} s: {snapshot.phase}"
    return replace(snapshot, phase=phase, level=None, side="error", over=True)


# --- from a snapshot to text and HTML -------------------------------------------------------------


def text_of(snapshot: Snapshot, *, width: int = COLUMNS, plain: bool = False) -> str:
    """Return a snapshot as one line.

    Parameters
    ----------
    snapshot
        What to say.
    width
        Columns of a terminal that it may take.
    plain
        Use no characters beyond ASCII of our own.
    """
    phase = _clean(snapshot.phase)
    if snapshot.over:
        rest = f" {'->' if plain else '→'} {phase}"
    else:
        rest = f": {phase}  {snapshot.seconds:.1f} s"
        if snapshot.level is not None:
            bar = "#" * _steps(snapshot.level) if plain else BAR[: _steps(snapshot.level)]
            rest += f"  {bar:<{len(BAR)}} {_level(snapshot.level)}"
    what = _cut(_clean(snapshot.what), max(width - columns_of(rest), 8), plain=plain)
    return _cut(what + rest, width, plain=plain)


def sentence_of(snapshot: Snapshot) -> str:
    """Return what and which phase, without the figures that change all the time."""
    return f"{_clean(snapshot.what)}: {_clean(snapshot.phase)}"


def html_of(snapshot: Snapshot) -> str:
    """Return a snapshot as a small line of HTML that says what its text says."""
    what, phase = _html.text(_cut(_clean(snapshot.what), 60)), _html.text(_clean(snapshot.phase))
    color = COLORS.get(snapshot.side, COLORS["prompt"])
    said = f"{what} → {phase}" if snapshot.over else f"{what}: {phase} {snapshot.seconds:.1f} s"
    return (
        f'<div style="border-left:3px solid {color};padding-left:6px;font-size:90%;'
        f'font-variant-numeric:tabular-nums">{said}{_html_bar(snapshot, color)}</div>'
    )


def _html_bar(snapshot: Snapshot, color: str) -> str:
    if snapshot.level is None or snapshot.over:
        return ""
    width = 100 * _steps(snapshot.level) // len(BAR)
    return (
        ' <span style="display:inline-block;width:5em;height:.6em;border:1px solid currentColor">'
        f'<span style="display:block;width:{width}%;height:100%;background:{color}"></span></span> '
        f"{_level(snapshot.level)}"
    )


def _steps(level: float) -> int:
    """Return how many of the bar's steps a level reaches."""
    if not level > _FLOOR:  # silence, and what is no number
        return 0
    return min(math.ceil((min(level, 0.0) - _FLOOR) / -_FLOOR * len(BAR)), len(BAR))


def _level(level: float) -> str:
    return f"{level:.0f} dBFS" if level > AUDIBLE_LEVEL else "silent"


def _clean(text: str) -> str:
    """Return the beginning of a text on one line, without what a terminal would obey."""
    words = " ".join(text[:_UNREAD].split())
    return "".join(c if c.isprintable() else "\ufffd" for c in words)


def _short(text: str) -> str:
    return _cut(_clean(text), _WHAT)


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_column, text))


def _column(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int, *, plain: bool = False) -> str:
    """Return a text cut to so many columns."""
    if columns_of(text) <= width:
        return text
    mark = "..." if plain else "…"
    left, kept = width - len(mark), ""
    for character in text:
        left -= _column(character)
        if left < 0:
            break
        kept += character
    return (kept + mark)[: max(width, 0)]
