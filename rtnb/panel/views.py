"""What a panel shows, as HTML from plain values; it must not know widgets or sessions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rtnb import _html
from rtnb.panel.state import Tone
from rtnb.sessionview import phase_bar

__all__ = ["framed", "handshake", "levels", "status", "transcript"]

_SILENT: Final = -100.0  # dBFS; the least that 16 bits hold is -96
_FAINTEST: Final = -60.0  # dBFS at the left end of a meter
_COLUMNS: Final = 240  # of a waveform
_LONGEST: Final = 4_000  # characters of what one side said in a turn
_TONES: Final = {"bad": "rtnb-why", "good": "rtnb-good"}
_SIDES: Final = (("sent", "prompt", "sent"), ("heard", "reply", "heard"))


def framed(body: str) -> str:
    """Return HTML that takes rtnb's styles from elsewhere in the page."""
    return f'<div class="rtnb">{body}</div>'


def status(now: tuple[str, Tone], news: tuple[str, Tone] | None = None) -> str:
    """Return what happened last and how things are; a screen reader reads it out as it changes.

    Parameters
    ----------
    now, news
        Sentence and tone of each; nothing that changes all the time, such as seconds.
    """
    lines = [now] if news is None else [news, now]
    inner = "".join(
        f'<p class="rtnb-status {_TONES.get(tone, "")}">{_html.text(text)}</p>'
        for text, tone in lines
    )
    return framed(f'<div role="status">{inner}</div>')


def levels(
    now: Mapping[str, float], recent: Mapping[str, Sequence[float]], seconds: float | None = None
) -> str:
    """Return a meter and the recent waveform of both directions.

    Parameters
    ----------
    now
        ``"sent"`` and ``"heard"``: dBFS, ``-inf`` for silence.
    recent
        ``"sent"`` and ``"heard"``: dBFS of 20 ms windows, the newest last.
    seconds
        How long what goes on has taken.
    """
    rows = "".join(
        f'<div class="rtnb-meter rtnb-{role}"><span>{name}</span>'
        f"{_meter(name, now.get(side, -math.inf))}{_wave(recent.get(side, ()))}</div>"
        for side, role, name in _SIDES
    )
    took = "" if seconds is None else f"{seconds:.1f} s"
    return framed(f'{rows}<div class="rtnb-figures rtnb-took">{took}</div>')


def _meter(name: str, level: float) -> str:
    shown = min(level, 0.0) if level > _FAINTEST else _FAINTEST  # also of what is no number
    share = (shown - _FAINTEST) / -_FAINTEST
    said = f"{level:.0f} dBFS" if level > _SILENT else "silent"
    return (
        f'<i role="meter" aria-label="level {name}" aria-valuemin="{_FAINTEST:.0f}" '
        f'aria-valuemax="0" aria-valuenow="{shown:.0f}" aria-valuetext="{said}">'
        f'<b style="width:{100 * share:.0f}%"></b></i><em>{said}</em>'
    )


def _wave(recent: Sequence[float]) -> str:
    """Return the envelope of levels as a waveform, the loudest window of each column."""
    if not recent:
        return _html.waveform_svg([0.0], [0.0], height=32)
    step = math.ceil(len(recent) / _COLUMNS)
    peaks = [max(recent[i : i + step]) for i in range(0, len(recent), step)]
    # RMS lies about 9 dB under the peaks of speech
    high = [10 ** (min(peak + 9, 0.0) / 20) if peak > -120 else 0.0 for peak in peaks]
    return _html.waveform_svg([-value for value in high], high, height=32)


def transcript(lines: Iterable[tuple[int, str | None, str | None, str, str]]) -> str:
    """Return what both sides said.

    Parameters
    ----------
    lines
        A turn each: number, the prompt's name, what was understood, the reply, the status.
    """
    rows = ["".join(_said(*line)) for line in lines]
    if not rows:
        return framed('<p class="rtnb-muted">Nothing was said yet.</p>')
    # shown from the bottom up, so that the newest line stays in sight
    inner = "".join(f"<div>{row}</div>" for row in reversed(rows))
    return framed(f'<div role="log" tabindex="0" class="rtnb-transcript">{inner}</div>')


def _said(
    number: int, name: str | None, prompt: str | None, reply: str, status: str
) -> Iterable[str]:
    words = f'<span class="rtnb-muted">{_html.text(name or "audio")}</span>'
    if prompt:
        words = _html.text(_cut(prompt))
    yield f'<div class="rtnb-side rtnb-prompt" data-turn="{number}">{words}</div>'
    left = ""
    if status not in ("completed", "in_progress"):
        left = f" {_html.badge(status.replace('_', ' '), 'bad')}"
    if reply or left:
        words = f"{_html.text(_cut(reply))}{left}"
        yield f'<div class="rtnb-side rtnb-reply" data-turn="{number}">{words}</div>'


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def handshake(phases: Mapping[str, float], parts: Iterable[str]) -> str:
    """Return the phases of connecting, and offer and answer by m-section (HTML already)."""
    sections = "".join(parts)
    if not phases and not sections:
        return framed('<p class="rtnb-muted">Connect to see offer, answer and times.</p>')
    return framed(_html.head("Phases") + phase_bar(phases) + sections)
