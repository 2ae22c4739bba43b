"""How the two sides of a call took turns, from its recording; it must not know how that is shown."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rtnb.quality import CallQuality
from rtnb.runaudio import RunAudio, Side
from rtnb.voiceactivity import activity_of, begun_during, overlap, turn_gaps

__all__ = ["TurnTaking", "of_call", "together"]

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class TurnTaking:
    """What the turns of one call add up to.

    Attributes
    ----------
    quality : CallQuality
        From the beginning of the first of them to the end of the last.
    gaps : sequence of float
        Seconds from each end of the user's speech to the reply.
    overlap : float
        Seconds in which both sides were audible.
    interruptions : int
        How often a reply began while the user was speaking.
    """

    quality: CallQuality
    gaps: Sequence[float]
    overlap: float
    interruptions: int


def of_call(turns: Sequence[Any], level: float) -> TurnTaking:
    """Return what turns of one call add up to, from what is on disk between their ends.

    Parameters
    ----------
    turns
        `rtnb.turns.Turn` objects, at least one.
    level
        From which RMS on a side is audible, in dBFS.
    """
    audio = turns[0]._source.audio
    last = audio.duration
    spans = _joined((max(t.started, 0.0), last if t.ended is None else t.ended) for t in turns)
    spans = [(start, min(end, last)) for start, end in spans if start < last]
    # each stretch on its own: the reply to a later turn is no answer to what was said before it
    sides = [[_active(audio, side, span, level) for side in ("sent", "heard")] for span in spans]
    return TurnTaking(
        quality=audio.quality(spans[0][0], spans[-1][1]) if spans else CallQuality(),
        gaps=[round(gap, 6) for user, agent in sides for gap in turn_gaps(user, agent)],
        overlap=sum(overlap(user, agent) for user, agent in sides),
        interruptions=sum(begun_during(agent, user) for user, agent in sides),
    )


def _active(audio: RunAudio, side: Side, span: Span, level: float) -> list[Span]:
    """Return when one side is audible within a stretch of a call."""
    return activity_of(functools.partial(audio.clip, side), *span, level=level)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those that overlap as one: nothing is counted twice."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def together(calls: Sequence[CallQuality]) -> CallQuality:
    """Return the figures of several calls as one: counts added up, the worst lag and jitter.

    The drift of several clocks is none.
    """
    if len(calls) == 1:
        return calls[0]
    lost = sum(one.packets_lost for one in calls)
    concealed: Counter[str] = Counter()
    for one in calls:
        concealed.update(one.concealed)
    # of each call, what was expected follows from its own fraction
    expected = sum(_expected(one) for one in calls)
    counts = {name: sum(getattr(one, name) for one in calls) for name in _COUNTS}
    return CallQuality(
        **counts,
        worst_lag=max((one.worst_lag for one in calls), default=0.0),
        loss=lost / expected if expected else 0.0,
        bursts=tuple(burst for one in calls for burst in one.bursts),
        concealed=dict(concealed),
        jitter=max((one.jitter for one in calls if one.jitter is not None), default=None),
    )


_COUNTS = (
    *("packets_sent", "late_packets", "skipped", "packets_received", "packets_lost"),
    *("packets_late", "packets_duplicate", "packets_damaged", "packets_foreign"),
    "packets_reordered",
)


def _expected(one: CallQuality) -> float:
    """Return how many packets a call was to have: the lost and those that came in time."""
    if one.loss > 0:
        return one.packets_lost / one.loss
    return one.packets_received - one.packets_late - one.packets_duplicate
