"""`Turns`: a list of turns that shows itself as a table; it must not know where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, SupportsIndex, overload

from rtnb import _html
from rtnb.turns import Turn
from rtnb.turnview import TurnView, turn_line, turn_list

if TYPE_CHECKING:
    import pandas

__all__ = ["Turns"]

_PLAYERS: Final = 50  # turns that get players
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
        lines = [turn_line(view) for view in self._views(players=0)[:_LINES]]
        left = len(self) - len(lines)
        more = [f"… and {left} more"] if left else []
        return "\n".join([f"<{self._title()}>", *lines, *more])

    def _views(self, *, players: int) -> list[TurnView]:
        return [turn._view(compact=True, players=i < players) for i, turn in enumerate(self)]

    def _title(self) -> str:
        return _html.counted(len(self), "turn")

    def _repr_html_(self) -> str:
        return _html.boxed(_html.head(self._title()) + self._table(), repr(self))

    def _table(self) -> str:
        left = len(self) - _PLAYERS
        note = f"players for the first {_PLAYERS} turns; index the list for others"
        more = f'<p class="rtnb-muted">{note}</p>' if left > 0 else ""
        return turn_list(self._views(players=_PLAYERS)) + more


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
