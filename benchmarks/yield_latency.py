"""Yield latency as rtnb reports it, against the peer's own log: speech into a long reply, ten times.

The truth is the end of the last packet of the reply's sound that left the peer, less the arrival of
the first sample of the speech that interrupted it. Opus delays: the last 6.5 ms of what went into that
packet would have come out of the next one, and count as cut. The reply is a steady noise, so that its
end is where it was cut, and nowhere else.
"""

from __future__ import annotations

import json

import numpy as np

import rtnb
from benchmarks._latency import RATE, SOON, said_at, spoken_prompt
from rtnb.measure import speech_span
from rtnb.media.opus import LOOK_AHEAD
from rtnb.peer.peerlog import PeerCall
from rtnb.turns import Turn

TIMES = 10
TARGET_MS = 20.0
LONG = 20.0  # seconds that the reply would take


def noise() -> rtnb.Clip:
    """Return a long steady noise, as loud as speech."""
    samples = np.random.default_rng(5).normal(0.0, 0.1, round(LONG * RATE))
    return rtnb.Clip(np.clip(samples, -1, 1), RATE)


def truth_of(turn: Turn, before: Turn, call: PeerCall, onset: int) -> float:
    """Return for how long the reply to the turn before went on after a turn's speech began."""
    response = before.responses[-1].id
    rows = call.departures[call.departures["response"] == response]
    last = rows[-1]
    heard = (960 - LOOK_AHEAD) / RATE
    return float(last["time"]) + heard - said_at(turn, call, onset)


def errors() -> tuple[list[float], list[float]]:
    """Return the errors, and the latencies as they were reported, in seconds."""
    prompt = spoken_prompt()
    span = speech_span(prompt)
    assert span is not None
    onset = round(span[0] * RATE)
    with rtnb.Peer(voice=lambda turn: noise()) as peer:
        with rtnb.connect(peer, turn_detection=SOON, progress=False) as session:
            turns = [session.send(prompt)]
            for number in range(TIMES):
                # interrupt it at another place within its packets each time
                turns[-1].wait_for_audio(0.6 + 0.007 * number)
                turns.append(session.send(prompt))
            turns[-1].wait_for_audio(0.5)
            session.interrupt()
            for turn in turns:
                turn.wait(30)
            measured = [turn.latency for turn in turns[1:]]
        (call,) = peer.log().calls
    pairs = zip(turns[1:], turns, measured, strict=False)
    found = [(m, truth_of(turn, before, call, onset)) for turn, before, m in pairs]
    known = [(m.yield_latency, truth) for m, truth in found if m.yield_latency is not None]
    return [took - truth for took, truth in known], [took for took, _ in known]


def main() -> None:
    """Print one JSON line."""
    wrong, took = errors()
    worst = 1000 * max(map(abs, wrong), default=float("nan"))
    result = {
        "benchmark": "yield_latency",
        "rtnb_ms": round(worst, 2),
        "target": TARGET_MS,
        "met": worst <= TARGET_MS and len(wrong) == TIMES,
        "median_error_ms": round(1000 * float(np.median(wrong)), 2),
        "spread_ms": round(1000 * (max(wrong) - min(wrong)), 2),
        "yield_ms": round(1000 * float(np.median(took)), 1),
        "runs": len(wrong),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
