"""Real calls in which voice is fed live and replies are heard live, through the media process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from brief import SOON

import rtnb
from rtnb import messages as m
from rtnb.audio import to_pcm
from rtnb.engine import ThreadEngine
from rtnb.media import aiortc_hooks
from rtnb.media.opus import FRAME, SAMPLE_RATE

S16 = npt.NDArray[np.int16]
PTIME: Final = FRAME / SAMPLE_RATE
ROOM: Final = 25  # chunks of silence before what is said, and after it
REPLY_OVER: Final = "output_audio_buffer.stopped"


class Ear:
    """Listens to a call, and notes on its clock when each stretch came."""

    def __init__(self, session: rtnb.Session):
        self.taken: list[tuple[float, m.AudioHeard]] = []
        self._session = session
        self.leave = session._sound.subscribe(self._take)

    def _take(self, message: m.AudioHeard | None) -> None:
        if message is not None:
            self.taken.append((time.monotonic() - self._session._started, message))

    def put_together(self, length: int) -> S16:
        out = np.zeros(length, np.int16)
        for _, one in self.taken:
            samples = np.frombuffer(one.samples, np.int16)
            out[one.position : one.position + len(samples)] = samples
        return out


def say(session: rtnb.Session, pcm: S16) -> list[float]:
    """Feed samples in chunks of 20 ms, paced in real time; return when each was captured."""
    begun, times = time.monotonic(), []
    for index, start in enumerate(range(0, len(pcm), FRAME)):
        time.sleep(max(begun + index * PTIME - time.monotonic(), 0))
        chunk = pcm[start : start + FRAME].tobytes()
        captured = time.monotonic() - session._started
        session._out.send(m.Feed(session._id, index, chunk, SAMPLE_RATE, captured))
        times.append(captured)
    return times


def told(session: rtnb.Session) -> list[m.Message]:
    """Return the messages that the media process sends from now on, in their order."""
    messages: list[m.Message] = []

    def take(message: m.Message) -> None:
        messages.append(message)
        session._on_message(message)

    session._out._engine.register(session._id, take)
    return messages


def as_s16(clip: rtnb.Clip) -> S16:
    return np.frombuffer(to_pcm(clip), np.int16)


@dataclass
class Spoken:
    """A call in which a bundled sample was fed live, and the reply was listened to."""

    session: rtnb.Session
    ear: Ear
    voice: S16
    captured: list[float]
    "Of each chunk."
    told: list[m.Message]
    stats: dict[str, Any]
    sent: S16
    heard: S16


@pytest.fixture(scope="module")
def spoken(peer: rtnb.Peer) -> Iterator[Spoken]:
    """Ask for the capital of France, with silence before and after as a microphone has it."""
    voice = as_s16(rtnb.sample("capital_of_france"))
    voice = voice[: len(voice) // FRAME * FRAME]
    with rtnb.connect(peer) as session:
        ear, messages = Ear(session), told(session)
        room = np.zeros(ROOM * FRAME, np.int16)
        captured = say(session, np.concatenate((room, voice, room)))
        session._out.send(m.FeedEnd(session._id))
        session.events.wait_for(REPLY_OVER, timeout=20)
        stats = session.stats()
        ear.leave()
        session.close()
        both = as_s16(session.sent), as_s16(session.heard)
        yield Spoken(session, ear, voice, captured, messages, stats, *both)


def places(spoken: Spoken) -> dict[int, int]:
    """Return where each audible block of the voice lies in the run, by its index; -1 if nowhere."""
    whole, at, found = spoken.sent.tobytes(), 0, {}
    for index in range(len(spoken.voice) // FRAME):
        block = spoken.voice[index * FRAME : (index + 1) * FRAME]
        if np.sqrt(np.mean(np.square(block, dtype=np.float64))) > 120:  # no silence to skip
            at = whole.find(block.tobytes(), at)
            found[index] = at // 2 if at >= 0 else -1
    return found


def in_one_piece(spoken: Spoken) -> bool:
    """Return whether no block of the voice left late: a busy machine may tear it apart."""
    return len({place - index * FRAME for index, place in places(spoken).items()}) == 1


def test_what_was_fed_is_in_the_run(spoken: Spoken) -> None:
    """Every block of speech, sample for sample and in order."""
    found = list(places(spoken).values())
    assert len(found) > 40
    assert min(found) > 0
    assert found == sorted(set(found))


def test_a_gap_in_what_was_fed_is_counted(spoken: Spoken) -> None:
    """Where the run has the voice in pieces, the counters say why."""
    figures = spoken.stats["microphone"]
    reasons = figures["underruns"] + figures["skipped"] + spoken.stats["skipped"]
    assert reasons > 0 or in_one_piece(spoken)


def test_the_peer_understood_it(spoken: Spoken) -> None:
    """It heard the question, if in one piece, and answers it."""
    said = spoken.session.events.select("response.*audio_transcript.done").last
    assert "Paris" in said.data["transcript"] or not in_one_piece(spoken)


def test_nothing_of_it_was_lost(spoken: Spoken) -> None:
    """The counters are in the call's figures."""
    figures = spoken.stats["microphone"]
    assert figures["received"] == len(spoken.captured)
    assert (figures["lost"], figures["refused"], figures["overridden"]) == (0, 0, 0)
    assert figures["buffered"] == 0


def test_its_delay_is_that_of_the_run(spoken: Spoken) -> None:
    """From each capture to where the run has the block; it may leave later than on schedule."""
    found = places(spoken)
    by_run = [at / SAMPLE_RATE - spoken.captured[ROOM + n] for n, at in found.items()]
    figures, lag = spoken.stats["microphone"], spoken.stats["worst_lag"]
    assert 0 < figures["delay_median"] <= figures["delay_worst"]
    assert max(by_run) - 0.002 <= figures["delay_worst"]
    assert figures["delay_median"] <= max(by_run) + lag + 0.1


def test_what_was_heard_live_is_what_was_recorded(spoken: Spoken) -> None:
    """The stretches put together are the run, sample for sample; only silence was left out."""
    together = spoken.ear.put_together(len(spoken.heard))
    apart = np.flatnonzero(together != spoken.heard)
    assert np.abs(spoken.heard[apart]).max(initial=0) < 100
    for _, one in spoken.ear.taken:
        samples = np.frombuffer(one.samples, np.int16)
        assert np.array_equal(samples, spoken.heard[one.position :][: len(samples)])
    assert np.abs(together).max() > 3000


def test_it_was_heard_at_once(spoken: Spoken) -> None:
    """Well before it is on disk, unless a busy machine had the packets themselves wait."""
    on_disk, before = 0.0, []
    for one in spoken.told:
        if isinstance(one, m.AudioWritten):
            on_disk = max(on_disk, one.end)
        elif isinstance(one, m.AudioHeard) and one.arrived > 1.0:  # the clock is settled
            before.append(one.position / SAMPLE_RATE >= on_disk)
    assert len(before) > 25
    assert np.mean(before) > 0.5
    assert min(at - one.arrived for at, one in spoken.ear.taken) >= 0


def test_a_call_that_was_not_fed_has_no_microphone(session: rtnb.Session) -> None:
    """Its counters do not mention one."""
    assert "microphone" not in session.stats()


def test_nobody_is_told_who_did_not_ask(brief_peer: rtnb.Peer) -> None:
    """Who has left hears nothing any more."""
    with rtnb.connect(brief_peer, turn_detection=SOON) as session:
        ear = Ear(session)
        ear.leave()
        messages = told(session)
        session.ask("Hello.")
    assert any(isinstance(one, m.AudioWritten) for one in messages)
    assert not any(isinstance(one, m.AudioHeard) for one in messages)


def test_a_commit_waits_for_the_voice_before_it(brief_peer: rtnb.Peer) -> None:
    """What was fed at once takes its time to leave; what is to follow it comes after."""
    voice = as_s16(rtnb.sample("greeting"))[: 30 * FRAME]
    commit = '{"type": "input_audio_buffer.commit"}'
    with rtnb.connect(brief_peer, turn_detection=None) as session:
        for n in range(30):
            chunk = voice[n * FRAME : (n + 1) * FRAME].tobytes()
            session._out.send(m.Feed(session._id, n, chunk))
        session._out.send(m.FeedEnd(session._id))
        session._out.send(m.Play(session._id, "voice", b"", (commit,), 0.05))
        committed = session.events.wait_for("input_audio_buffer.commit", timeout=5)
        session.events.wait_for("input_audio_buffer.committed", timeout=5)
        session.close()
        last = int(np.flatnonzero(as_s16(session.sent))[-1]) / SAMPLE_RATE
    assert last + 0.02 < committed.time


def test_replies_are_heard_live_without_the_tap(
    brief_peer: rtnb.Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where packets cannot be seen, the track's frames go the same way."""
    monkeypatch.setattr(aiortc_hooks, "missing", lambda: ("receive",))
    with (
        closing(ThreadEngine()) as engine,
        rtnb.connect(brief_peer, engine=engine, turn_detection=SOON) as session,
    ):
        ear = Ear(session)
        session.ask("Hello.")
        session.close()
        heard = as_s16(session.heard)
    assert np.abs(ear.put_together(len(heard))).max() > 3000
    as_recorded = []
    for _, one in ear.taken:
        samples = np.frombuffer(one.samples, np.int16)
        as_recorded.append(np.array_equal(samples, heard[one.position :][: len(samples)]))
    assert np.mean(as_recorded) > 0.5  # after a stall frames are placed anew, and may overlap
