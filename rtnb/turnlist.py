"""`Turns`: a list of turns that shows itself as a table; it must not know where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, overload

from rtnb import _html
from rtnb.latencies import PACING, Latencies, conditions, framed, latencies_of
from rtnb.prices import Cost, total
from rtnb.turns import Turn
from rtnb.turntable import turn_list, turn_summary
from rtnb.turnview import TurnView, turn_line
from rtnb.verdicts import DEFAULT, Thresholds

if TYPE_CHECKING:
    import pandas

__all__ = ["Turns"]

_ROWS: Final = 200  # turns in the table
_PLAYERS: Final = 50  # turns that get players
_SPACE: Final = 4_000_000  # characters that all players of a table may take
_LINES: Final = 50  # turns in the text


class Turns(list[Turn]):
    """A list of turns; in a cell it is a table with players, which a click on a heading sorts."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> Turns: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Turn | Turns:
        found = super().__getitem__(index)
        return Turns(found) if isinstance(found, list) else found

    @property
    def cost(self) -> Cost | None:
        """What they cost in USD by `rtnb.prices`, a float with its parts; see `Turn.cost`.

        Turns without a reported usage are left out. None where a turn that used tokens has no
        price, or none of them used any.
        """
        return total(turn.cost for turn in self if turn.usage)

    def latency(
        self,
        *,
        deadline: float = DEFAULT.deadline,
        level: float = DEFAULT.level,
        yield_window: float = DEFAULT.yield_window,
        pause: float = DEFAULT.pause,
        lag: float = DEFAULT.lag,
    ) -> Latencies:
        """Return the latencies of the turns, and what these add up to.

        docs/measuring.md has the definitions.

        Parameters
        ----------
        deadline
            Seconds from the end of speech within which a reply has to be audible.
        level
            From which RMS of 20 ms on a reply is audible, in dBFS.
        yield_window
            Seconds within which a reply that is spoken over has to fall silent.
        pause
            Seconds of silence in such a reply that end it; a shorter one is a pause.
        lag
            By how many seconds a packet of a prompt may leave late before its turn is not scored.

        Raises
        ------
        ConfigurationError
            A value cannot be used.
        """
        limits = Thresholds(deadline, level, yield_window, pause, lag)
        return latencies_of(self, limits)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a turn as a pandas DataFrame, times and durations in seconds.

        Returns
        -------
        pandas.DataFrame
            Columns: turn, prompt, voice, model, status, error, prompt_transcript, transcript,
            prompt_duration, reply_duration, tools, input_tokens, output_tokens, cost (USD); of
            the turn's latency: verdict, reason, first_audio, yield_latency, speech_start,
            speech_end, speech_stopped, committed, response_created, first_packet, first_audible,
            reply_end; of its quality: late_packets, worst_lag, loss, jitter. What is not known is
            None or NaN.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        return framed(self._records(), _FIELDS)

    def _records(self) -> list[dict[str, Any]]:
        return [_record(turn) for turn in self]

    def __repr__(self) -> str:
        latest = self._latest(_LINES)
        return "\n".join(self._lines(latest, self._summary(latest)))

    def _repr_html_(self) -> str:
        table, lines = self._shown()
        return _html.boxed(_html.head(self._title()) + table, "\n".join(lines))

    def _shown(self) -> tuple[str, list[str]]:
        """Return the latest turns as a table with players, and as lines of text."""
        views: list[TurnView] = []
        left, players = _SPACE, 0
        for place, turn in reversed(list(enumerate(self, 1))[-_ROWS:]):
            room = players == len(views) < _PLAYERS
            view = self._view(place, turn, players=room)
            left -= _size(view)
            if left < 0:
                view = dataclasses.replace(view, prompt=None, reply=None)
            players += room and left >= 0
            views.append(view)
        views.reverse()
        table = turn_list(views, left_out=len(self) - len(views))
        summary = self._summary(views)
        above = f'<p class="rtnb-figures">{_html.text(summary)}</p>' if summary else ""
        table = above + table + _without_players(len(views), players)
        return table, self._lines(views[-_LINES:], summary)

    def _summary(self, views: Sequence[TurnView]) -> str:
        """Return what the latest turns add up to; not of earlier ones, which are not looked at."""
        summary = turn_summary(views)
        left_out = summary and len(views) < len(self)
        return f"of the last {len(views)}: {summary}" if left_out else summary

    def _latest(self, most: int) -> list[TurnView]:
        return [self._view(place, turn) for place, turn in list(enumerate(self, 1))[-most:]]

    def _view(self, place: int, turn: Turn, *, players: bool = False) -> TurnView:
        """Return what is shown of the turn that stands at a place, counted from 1."""
        return turn._view(compact=True, players=players, whole=False)

    def _lines(self, views: Sequence[TurnView], summary: str) -> list[str]:
        """Return a title, what they add up to, and a line for each of the latest turns."""
        left = len(self) - len(views)
        out = f" (the last {len(views)}; {left:,} earlier ones are left out)" if left else ""
        above = [f"<{self._title()}>{out}", *([summary] if summary else [])]
        return [*above, *(turn_line(view, wide=True) for view in views)]

    def _title(self) -> str:
        return _html.counted(len(self), "turn")


def _size(view: TurnView) -> int:
    """Return how many characters the players of a turn take in a page."""
    clips = (view.prompt, view.reply)
    return sum(len(clip.sound[1]) * 4 // 3 for clip in clips if clip and clip.sound)


def _without_players(shown: int, players: int) -> str:
    if shown == players:
        return ""
    who = f"the latest {_html.counted(players, 'turn')}" if players else "no turn, for space"
    return f'<p class="rtnb-muted">players for {who}; index the list for others</p>'


_LATENCY: Final = (
    *("verdict", "reason", "first_audio", "yield_latency", "speech_start", "speech_end"),
    *("speech_stopped", "committed", "response_created", "first_packet", "first_audible"),
    "reply_end",
)
_FIELDS: Final = (
    *("turn", "prompt", "voice", "model", "status", "error", "prompt_transcript", "transcript"),
    *("prompt_duration", "reply_duration", "tools", "input_tokens", "output_tokens", "cost"),
    *(*_LATENCY, *PACING),
)


def _record(turn: Turn) -> dict[str, Any]:
    usage, latency, cost = turn.usage, turn.latency, turn.cost
    quality = latency.quality or turn.quality
    sent = None if isinstance(turn.prompt, str) else turn.prompt_as_sent.duration
    return {
        "turn": turn.number,
        "prompt": turn.name or (turn.prompt if isinstance(turn.prompt, str) else None),
        "voice": turn.voice,
        "model": turn.model,
        "status": turn.status,
        "error": turn.error,
        "prompt_transcript": turn.prompt_transcript,
        "transcript": turn.transcript,
        "prompt_duration": sent,
        "reply_duration": turn.reply.duration,
        "tools": len(turn.tool_calls),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cost": None if cost is None else float(cost),
        **{name: getattr(latency, name) for name in _LATENCY},
        **conditions(quality),
    }
