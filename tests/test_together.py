"""Several calls of a batch at once: all are answered, in order, and all end together."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from brief import SOON, brief_prompt

import rtnb
from rtnb import engine as engine_module
from rtnb import together as together_module
from rtnb.connecting import Waiting
from rtnb.engine import EnginePool, shared_engine
from rtnb.peer import Faults
from rtnb.progress import of_batch, text_of
from rtnb.together import together

AT_ONCE = {"turn_detection": SOON, "progress": False}


def replayed(peer: rtnb.Peer, calls: int, **options: Any) -> tuple[Any, float]:
    """Replay a brief prompt several times; return the batch and the seconds that it took."""
    began = time.monotonic()
    batch = rtnb.replay([brief_prompt()] * calls, peer, **AT_ONCE, **options)
    return batch, time.monotonic() - began


def heard(others: list[Any]) -> list[Any]:
    """Return the sessions whose prompt the peer hears, but for some others."""
    return [
        one
        for one in rtnb.sessions()
        if one not in others and len(one.events.select("input_audio_buffer.speech_started"))
    ]


# --- with real calls -----------------------------------------------------------------------------


def test_calls_at_once_are_all_answered_and_sooner(brief_peer: rtnb.Peer, tmp_path: Path) -> None:
    """Three calls at once take less than two thirds of the time; each run is whole."""
    batch, at_once = replayed(brief_peer, 3, concurrency=3, out=tmp_path)
    _, one = replayed(brief_peer, 1)
    assert [turn.status for turn in batch] == ["completed"] * 3
    assert batch.failures == []
    assert at_once < 3 * one * 2 / 3
    assert all(turn.reply.duration > 0.3 for turn in batch)
    assert [folder.name[:3] for folder in batch.folders] == [f"00{n}" for n in range(1, 4)]
    for folder, turn in zip(batch.folders, batch, strict=True):
        run = rtnb.open_run(folder)
        assert [one.status for one in run.turns] == ["completed"]
        assert run.turns[0].transcript == turn.transcript == "All right."
        assert run.turns[0].reply.duration == pytest.approx(turn.reply.duration, abs=0.02)


def test_a_call_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    """Its reason is kept; the turns of the others are in order."""
    faults = [Faults(), Faults(call_status=500), Faults()]
    prompts = ["One.", "Two.", "Three.", "Four."]
    with rtnb.Peer(faults=faults) as peer:
        batch = rtnb.replay(
            prompts, peer, concurrency=4, out=tmp_path, modalities=["text"], progress=False
        )
    assert [turn.status for turn in batch] == ["completed"] * 3
    assert [type(error) for _, error in batch.failures] == [rtnb.SignalingError]
    said = [turn.prompt_transcript for turn in batch]
    assert said == [one for one in prompts if one in said]


def test_a_wrong_argument_ends_a_batch_at_once(brief_peer: rtnb.Peer) -> None:
    """What no call can be placed with is raised as it is from a single call."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'voise'"):
        rtnb.replay(["One.", "Two."], brief_peer, concurrency=2, progress=False, voise="ash")


def test_an_interrupt_hangs_all_calls_up(brief_peer: rtnb.Peer, tmp_path: Path) -> None:
    """It is felt within seconds, no call goes on, and what was recorded can be opened."""
    before = rtnb.sessions()
    felt: list[float] = []

    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len(heard(before)) < 3:
            time.sleep(0.01)
        felt.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        rtnb.replay(
            [rtnb.sample("tell_me_a_story")] * 6, brief_peer, concurrency=3, out=tmp_path, **AT_ONCE
        )
    assert time.monotonic() - felt[0] < 5
    assert rtnb.sessions() == before
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 3
    assert all(rtnb.open_run(folder).audio.duration > 0 for folder in folders)


def test_a_media_process_that_dies_takes_only_its_own_calls_along(
    brief_peer: rtnb.Peer, tmp_path: Path
) -> None:
    """Each of them says why, and its run can be opened; the other calls get another process."""
    before = rtnb.sessions()
    first = shared_engine()

    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len(heard(before)) < 2:
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    prompts = [rtnb.sample("tell_me_a_story")] * 2 + [brief_prompt()] * 2
    batch = rtnb.replay(prompts, brief_peer, concurrency=2, out=tmp_path, **AT_ONCE)
    assert [turn.status for turn in batch] == ["completed"] * 2
    assert [name for name, _ in batch.failures] == ["tell_me_a_story"] * 2
    for _, error in batch.failures:
        assert str(error).startswith("The media process has died (signal 9); connect again")
    folders = sorted(tmp_path.iterdir())
    statuses = [rtnb.open_run(folder).turns[0].status for folder in folders]
    assert statuses == ["failed", "failed", "completed", "completed"]
    assert rtnb.sessions() == before
    assert shared_engine() is not first


def test_many_calls_take_more_media_processes(
    brief_peer: rtnb.Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what shares one there is another, and it ends with the batch."""
    monkeypatch.setattr(engine_module, "CALLS_EACH", 1)
    monkeypatch.setattr(engine_module, "_cores", lambda: 2)
    made: list[EnginePool] = []
    really = EnginePool.close

    def close(pool: EnginePool) -> None:
        made.append(pool)
        assert [engine.alive for engine in pool._engines if engine is not None] == [True]
        really(pool)

    monkeypatch.setattr(EnginePool, "close", close)
    batch = rtnb.replay(["One.", "Two."], brief_peer, concurrency=2, modalities=["text"])
    assert [turn.status for turn in batch] == ["completed"] * 2
    assert made[0]._engines == [None, None]
    assert shared_engine().alive


# --- the pool ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "cores", "processes"), [(1, 8, 1), (16, 8, 1), (17, 8, 2), (100, 8, 7), (100, 2, 2)]
)
def test_a_pool_is_as_large_as_its_calls_need(
    calls: int, cores: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen calls a process, and never more processes than cores."""
    monkeypatch.setattr(engine_module, "_cores", lambda: cores)
    assert len(EnginePool(calls)._engines) == processes


def test_a_call_gets_the_engine_with_the_fewest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that end make room."""
    monkeypatch.setattr(engine_module, "_cores", lambda: 2)
    monkeypatch.setattr(EnginePool, "_alive", lambda pool, place: place)
    pool = EnginePool(32)
    first = pool.engine()
    with pool.engine() as a, pool.engine() as b, pool.engine() as c:
        assert (a, b, c) == (0, 1, 0)
        assert first.__enter__() == 1
    with pool.engine() as d:
        assert d == 0
    first.__exit__(None, None, None)


# --- the threads ---------------------------------------------------------------------------------


def test_jobs_begin_in_order_and_only_so_many_at_once() -> None:
    """The next one begins when one is over."""
    begun: list[int] = []
    running: set[int] = set()
    most: list[int] = []
    pair = threading.Barrier(2)

    def do(number: int) -> None:
        begun.append(number)
        running.add(number)
        most.append(len(running))
        pair.wait(10)
        running.discard(number)

    together(do, 6, at_once=2)
    assert sorted(begun) == list(range(6))
    assert sorted(begun[:2]) == [0, 1]
    assert max(most) == 2


def test_an_error_of_a_job_is_raised_and_ends_the_rest() -> None:
    """No further job begins."""
    done: list[int] = []

    def do(number: int) -> None:
        done.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        together(do, 100, at_once=1)
    assert done == [0]


def test_a_call_that_begins_while_all_are_hung_up_is_not_placed(brief_peer: rtnb.Peer) -> None:
    """Nobody would hang it up afterwards."""
    crew = together_module._Crew(lambda _: None, 1)
    crew.stop()
    with pytest.raises(rtnb.CallClosedError, match="was not placed: the batch was ended"):
        crew._begun(Waiting(brief_peer.endpoint, 0.0, mints=False))


def test_the_line_of_calls_at_once_counts_those_that_are_over() -> None:
    """Of several there is no one name."""
    line = of_batch(3, 12, "greeting", "marin", 9.0, {"completed": 2, "failed": 1}, running=4)
    assert text_of(line).startswith("[3/12 over] 4 calls at once: calling  9.0 s")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, None])
def test_a_concurrency_that_cannot_be_is_told(wrong: Any) -> None:
    """Before the first call."""
    with pytest.raises(rtnb.ConfigurationError, match=r"concurrency= is 1 or more, not"):
        rtnb.replay("Hello!", concurrency=wrong)
