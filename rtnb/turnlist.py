"""`Turns`: a list of turns that shows itself as a table; it must not know where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, overload

from rtnb import _html
from rtnb.latencies import Latencies, latencies_of
from rtnb.turns import Turn
from rtnb.turnview import TurnView, turn_line, turn_list

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
    def cost(self) -> float | None:
        """What they cost in USD by `rtnb.prices`; None where one of them has no price."""
        return None

    def latency(self, **thresholds: float) -> Latencies:
        """Return their latencies and what these add up to."""
        return latencies_of(self, **thresholds)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a turn as a pandas DataFrame, times and durations in seconds.

        Returns
        -------
        pandas.DataFrame
            Columns: turn, prompt, voice, model, status, error, prompt_transcript, transcript,
            first_audio, speech_end, first_audible, prompt_duration, reply_duration, tools,
            input_tokens, output_tokens. What is not known is None or NaN.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "to_frame() needs pandas; install it with: pip install pandas."
            ) from None
        return pandas.DataFrame(self._records(), columns=_FIELDS)

    def _records(self) -> list[dict[str, Any]]:
        return [_record(turn) for turn in self]

    def __repr__(self) -> str:
        return "\n".join(self._lines(self._latest(_LINES)))

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
        return table + _without_players(len(views), players), self._lines(views[-_LINES:])

    def _latest(self, most: int) -> list[TurnView]:
        return [self._view(place, turn) for place, turn in list(enumerate(self, 1))[-most:]]

    def _view(self, place: int, turn: Turn, *, players: bool = False) -> TurnView:
        """Return what is shown of the turn that stands at a place, counted from 1."""
        return turn._view(compact=True, players=players)

    def _lines(self, views: Sequence[TurnView]) -> list[str]:
        """Return a title and a line for each of the latest turns."""
        left = len(self) - len(views)
        out = f" (the last {len(views)}; {left:,} earlier ones are left out)" if left else ""
        return [f"<{self._title()}>{out}", *(turn_line(view, wide=True) for view in views)]

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


_FIELDS: Final = (
    *("turn", "prompt", "voice", "model", "status", "error", "prompt_transcript", "transcript"),
    *("first_audio", "speech_end", "first_audible", "prompt_duration", "reply_duration"),
    *("tools", "input_tokens", "output_tokens"),
)


def _record(turn: Turn) -> dict[str, Any]:
    usage, latency = turn.usage, turn.latency
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
        "first_audio": latency.first_audio,
        "speech_end": latency.speech_end,
        "first_audible": latency.first_audible,
        "prompt_duration": sent,
        "reply_duration": turn.reply.duration,
        "tools": len(turn.tool_calls),
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
    }
