"""`Latencies`: the latency of many turns with its summary; it must not know how it was measured."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rtnb import _html
from rtnb.eventtext import plain
from rtnb.measure import MARKS, Latency
from rtnb.quality import CallQuality
from rtnb.sessionview import properties
from rtnb.turntaking import of_call, together
from rtnb.verdicts import DEFAULT, Thresholds

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["PACING", "Latencies", "conditions", "framed", "latencies_of"]

FEWEST: Final = 10  # events of which a rate is shown
_SHORT: Final = 40  # characters of a turn's name
_ROWS: Final = 200  # turns in the table
_LINES: Final = 50  # turns in the text
_UNRECORDED: Final = "no packets were recorded: pacing and network are not known"
_VERDICTS: Final = ("answered", "missed", "censored", "excluded", "pending")
_KINDS: Final[dict[str, Any]] = {"answered": "good", "missed": "bad"}
_COLUMNS: Final = ("turn", "prompt", "verdict", "first audio", "stages", "why")


@dataclass(frozen=True, eq=False)
class Latencies:
    """The latencies of turns, and what they add up to; docs/measuring.md has the definitions.

    It is a sequence of `Latency`, one a turn, in order.

    Attributes
    ----------
    turns : tuple of Latency
        One a turn.
    names : tuple of str
        What each turn is called: the prompt's name, its text, or "turn N".
    numbers : tuple of int
        Each turn's number in its call; of several calls, its place.
    thresholds : Thresholds
        What was measured with.
    calls : tuple of CallQuality
        Pacing and network of each call, over its turns.
    gaps : tuple of float
        Turn gaps: seconds from each end of audible user speech to the reply, where the call was
        silent then and the reply came before the user spoke again; from voice activity alone.
    overlap : float
        Seconds in which user and reply were audible at once, within the turns.
    interruptions : int
        How often a reply began while the user was speaking.
    """

    turns: tuple[Latency, ...] = ()
    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    thresholds: Thresholds = DEFAULT
    calls: tuple[CallQuality, ...] = ()
    gaps: tuple[float, ...] = ()
    overlap: float = 0.0
    interruptions: int = 0

    def __len__(self) -> int:
        return len(self.turns)

    def __iter__(self) -> Iterator[Latency]:
        return iter(self.turns)

    def __getitem__(self, place: int) -> Latency:
        return self.turns[place]

    # --- what they add up to ----------------------------------------------------------------------

    @functools.cached_property
    def _counts(self) -> Counter[str]:
        return Counter(latency.verdict for latency in self.turns)

    @property
    def answered(self) -> int:
        """How many turns were answered within the deadline."""
        return self._counts["answered"]

    @property
    def missed(self) -> int:
        """How many turns were not answered within the deadline."""
        return self._counts["missed"]

    @property
    def censored(self) -> int:
        """How many turns ended before the deadline did, unanswered."""
        return self._counts["censored"]

    @property
    def excluded(self) -> int:
        """How many turns cannot be scored; each says why in its `reason`."""
        return self._counts["excluded"]

    @property
    def first_audio(self) -> tuple[float, ...]:
        """Seconds to first audio of the turns that were answered, in order."""
        times = ((t.verdict, t.first_audio) for t in self.turns)
        return tuple(time for word, time in times if word == "answered" and time is not None)

    @property
    def median(self) -> float | None:
        """Median of `first_audio` in seconds; None where no turn was answered."""
        return _percentile(self.first_audio, 50)

    @property
    def p90(self) -> float | None:
        """90th percentile of `first_audio`, linear between the nearest two; None as `median`."""
        return _percentile(self.first_audio, 90)

    @property
    def yields(self) -> tuple[float | None, ...]:
        """Yield latency of each turn that spoke into an audible reply; None where it did not yield."""
        return tuple(t.yield_latency for t in self.turns if t.yielded is not None)

    @property
    def yield_median(self) -> float | None:
        """Median of the yield latencies in seconds; None where no reply yielded."""
        return _percentile([time for time in self.yields if time is not None], 50)

    @property
    def turn_gap(self) -> float | None:
        """Median of `gaps` in seconds; None where there is none."""
        return _percentile(self.gaps, 50)

    @property
    def response_rate(self) -> float | None:
        """Answered turns as a fraction of those answered or missed; None below 10 of them."""
        return _rate(self.answered, self.answered + self.missed)

    @property
    def yield_rate(self) -> float | None:
        """Replies that yielded as a fraction of those spoken into; None below 10 of them."""
        yielded = sum(time is not None for time in self.yields)
        return _rate(yielded, len(self.yields))

    @property
    def interruption_rate(self) -> float | None:
        """`interruptions` per turn that was answered or missed; None below 10 of those turns."""
        return _rate(self.interruptions, self.answered + self.missed)

    @functools.cached_property
    def quality(self) -> CallQuality:
        """Pacing and network of all `calls` together."""
        return together(self.calls)

    @property
    def summary(self) -> dict[str, Any]:
        """All figures by name, times in seconds; None where there are too few to tell."""
        first, quality = self.first_audio, self.quality
        return {
            "turns": len(self),
            **{name: self._counts[name] for name in _VERDICTS},
            "first_audio_median": self.median,
            "first_audio_p90": self.p90,
            "first_audio_min": min(first, default=None),
            "first_audio_max": max(first, default=None),
            "yield_median": self.yield_median,
            "yields": len(self.yields),
            "turn_gap_median": self.turn_gap,
            "overlap": self.overlap,
            "interruptions": self.interruptions,
            "response_rate": self.response_rate,
            "yield_rate": self.yield_rate,
            "interruption_rate": self.interruption_rate,
            **conditions(quality),
        }

    @property
    def hidden(self) -> dict[str, str]:
        """Why a rate is None, by its name."""
        turns, into = self.answered + self.missed, len(self.yields)
        of = {"response_rate": turns, "interruption_rate": turns, "yield_rate": into}
        return {
            name: f"It rests on {_html.counted(events, 'event')}; below {FEWEST} none is shown."
            for name, events in of.items()
            if events < FEWEST
        }

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a turn as a pandas DataFrame, times in seconds.

        Returns
        -------
        pandas.DataFrame
            Columns: turn, name, verdict, reason, first_audio, speech_start, the marks of the
            waterfall, yielded, yield_latency, late_packets, worst_lag, loss, jitter. What is not
            known is None or NaN.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        rows = zip(self.numbers, self.names, self.turns, strict=True)
        return framed([_record(*row) for row in rows], _FIELDS)

    # --- showing ----------------------------------------------------------------------------------

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw the stages of each turn as a waterfall; see `plots.latency`."""
        from rtnb import plots

        drawn: Axes = plots.latency(self, ax=ax, **kwargs)
        return drawn

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        figures = [f"{name}: {value}" for name, value in self._figures() if value]
        left = len(self) - _LINES
        shown = list(zip(self.names, self.turns, strict=True))[-_LINES:]
        more = [f"… {_html.counted(left, 'earlier turn')}"] if left > 0 else []
        return [f"<Latencies of {self._title()}>", *figures, *more, *(_line(*row) for row in shown)]

    def _repr_html_(self) -> str:
        badges = [
            _html.badge(f"{self._counts[name]} {name}", _KINDS.get(name, ""))
            for name in _VERDICTS
            if self._counts[name]
        ]
        head = _html.head(f"Latencies of {_html.counted(len(self), 'turn')}", *badges)
        return _html.boxed(head + properties(self._figures()) + self._table(), repr(self))

    def _title(self) -> str:
        counts = [f"{self._counts[name]} {name}" for name in _VERDICTS if self._counts[name]]
        return ": ".join(filter(None, [_html.counted(len(self), "turn"), ", ".join(counts)]))

    def _figures(self) -> list[tuple[str, str]]:
        first = self.first_audio
        spread = f" (p90 {_s(self.p90)}, {_s(min(first))} to {_s(max(first))})" if first else ""
        yields, gaps = _html.counted(len(self.yields), "interruption"), len(self.gaps)
        begun = _html.counted(self.interruptions, "interruption")
        return [
            ("first audio", f"median {_s(self.median)}{spread}" if first else ""),
            ("yield latency", f"median {_s(self.yield_median)}, {yields}" if self.yields else ""),
            ("turn gap", f"median {_s(self.turn_gap)} of {gaps}" if gaps else ""),
            ("overlap", f"{_s(self.overlap)}, {begun} by replies" if len(self) else ""),
            ("rates", self._rates()),
            ("measured under", self._under()),
        ]

    def _under(self) -> str:
        if not self.calls:
            return ""
        return self.quality.line if _recorded(self.quality) else _UNRECORDED

    def _rates(self) -> str:
        rates = {
            "response": self.response_rate,
            "yield": self.yield_rate,
            "interruption": self.interruption_rate,
        }
        known = [f"{name} {rate:.2f}" for name, rate in rates.items() if rate is not None]
        hidden = [name for name, rate in rates.items() if rate is None]
        if hidden:
            known.append(f"{', '.join(hidden)} not shown: fewer than {FEWEST} events")
        return "; ".join(known)

    def _table(self) -> str:
        heads = "".join(f"<th>{_html.text(name)}</th>" for name in _COLUMNS)
        rows = list(zip(self.numbers, self.names, self.turns, strict=True))[-_ROWS:]
        body = "".join(
            "<tr>" + "".join(f"<td>{cell}</td>" for cell in _cells(*row)) + "</tr>" for row in rows
        )
        left = len(self) - len(rows)
        more = f'<p class="rtnb-muted">{_html.counted(left, "earlier turn")} left out</p>'
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>" + (
            more if left else ""
        )


def latencies_of(turns: Iterable[Any], limits: Thresholds = DEFAULT) -> Latencies:
    """Return the latencies of turns and what they add up to.

    Parameters
    ----------
    turns
        `rtnb.turns.Turn` objects, of one call or of several.
    limits
        What to measure with.
    """
    chosen = list(turns)
    measured = [t.latency if limits == DEFAULT else t._measured(limits) for t in chosen]
    calls: dict[int, list[Any]] = {}
    for turn in chosen:
        calls.setdefault(id(turn._source), []).append(turn)
    found = [of_call(several, limits.level) for several in calls.values()]
    # of several calls, each of which counts from 1, by their places
    numbers = tuple(turn.number if len(calls) == 1 else n for n, turn in enumerate(chosen, 1))
    return Latencies(
        tuple(measured),
        tuple(map(_name, chosen, numbers)),
        numbers,
        limits,
        tuple(call.quality for call in found),
        tuple(gap for call in found for gap in call.gaps),
        round(sum(call.overlap for call in found), 6),
        sum(call.interruptions for call in found),
    )


def _name(turn: Any, number: int) -> str:
    said = turn.prompt if isinstance(turn.prompt, str) else None
    return plain(turn.name or said or f"turn {number}", _SHORT)


def _percentile(values: Sequence[float], percent: float) -> float | None:
    """Return a percentile, linear between the nearest two values; None where there is none."""
    return round(float(np.percentile(values, percent)), 6) if len(values) else None


def _rate(part: int, events: int) -> float | None:
    """Return a rate, or None where it rests on too few events to mean anything."""
    return part / events if events >= FEWEST else None


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f} s"


def _stages(latency: Latency) -> str:
    """Return the stages in one line, in milliseconds."""
    words = ((name.replace("_", " "), seconds) for name, seconds in latency.stages.items())
    return ", ".join(f"{name} {1000 * seconds:+.0f}" for name, seconds in words) + " ms"


def _line(name: str, latency: Latency) -> str:
    first = "" if latency.first_audio is None else f", first audio {_s(latency.first_audio)}"
    why = f" ({plain(latency.reason)})" if latency.reason else ""
    return f"{name}: {latency.verdict}{first}{why}"


def _cells(number: int, name: str, latency: Latency) -> Iterator[str]:
    """Yield the HTML of a turn's cells."""
    verdict = _html.badge(latency.verdict, _KINDS.get(latency.verdict, ""))
    stages = _stages(latency) if latency.stages else ""
    yield from (_html.text(number), _html.text(name), verdict)
    yield from map(_html.text, (_s(latency.first_audio), stages, latency.reason))


_TIMES: Final = ("first_audio", "speech_start", *MARKS, "yielded", "yield_latency")
PACING: Final = ("late_packets", "worst_lag", "loss", "jitter")
_FIELDS: Final = ("turn", "name", "verdict", "reason", *_TIMES, *PACING)


def _record(number: int, name: str, latency: Latency) -> dict[str, Any]:
    row = {"turn": number, "name": name, "verdict": latency.verdict, "reason": latency.reason}
    row |= {field: getattr(latency, field) for field in _TIMES}
    return row | conditions(latency.quality)


def conditions(quality: CallQuality | None) -> dict[str, Any]:
    """Return what a figure was measured under; None of it is known where no packets are recorded."""
    known = quality if quality is not None and _recorded(quality) else None
    return {field: getattr(known, field, None) for field in PACING}


def _recorded(quality: CallQuality) -> bool:
    """Return whether any packet is known of: old runs have none."""
    return bool(quality.packets_sent or quality.packets_received or quality.packets_lost)


def framed(records: list[dict[str, Any]], columns: Sequence[str]) -> pandas.DataFrame:
    """Return records as a pandas DataFrame, a row each; ImportError says how to install pandas."""
    try:
        import pandas
    except ImportError:
        raise ImportError("to_frame() needs pandas; install it with: pip install pandas.") from None
    return pandas.DataFrame(records, columns=list(columns))
