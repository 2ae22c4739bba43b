"""The threads of a panel: one thing at a time, errors told, nothing left behind."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator

import pytest
from panel_parts import KEY, until

from rtnb.errors import ConfigurationError
from rtnb.panel.work import Refresher, Worker

# --- what a click starts --------------------------------------------------------------------------


@pytest.fixture
def failures() -> list[Exception]:
    """What went wrong."""
    return []


@pytest.fixture
def worker(failures: list[Exception]) -> Iterator[Worker]:
    """A worker that must have nothing to do at the end."""
    one = Worker(failures.append)
    yield one
    until(lambda: one.doing is None)
    until(lambda: not threads("rtnb-panel"))


def threads(beginning: str) -> list[str]:
    """Return the names of the threads that live."""
    return [t.name for t in threading.enumerate() if t.name.startswith(beginning)]


def test_work_is_done_in_a_thread_of_its_own(worker: Worker) -> None:
    """Whoever starts it is not kept waiting, and is told what is being done."""
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(10)
        done.set()

    assert worker.start("Saving a run", work)
    assert (worker.doing, threads("rtnb-panel")) == ("Saving a run", ["rtnb-panel-saving"])
    go.set()
    assert done.wait(10)
    until(lambda: worker.doing is None)


def test_one_thing_is_done_at_a_time(worker: Worker) -> None:
    """What comes meanwhile is refused, not queued; afterwards it is welcome."""
    go = threading.Event()
    ran: list[str] = []
    assert worker.start("Saving", lambda: ran.append("first") or go.wait(10))  # type: ignore[func-returns-value,arg-type]
    assert not worker.start("Sending", lambda: ran.append("second"))
    go.set()
    until(lambda: worker.doing is None)
    assert worker.start("Sending", lambda: ran.append("third"))
    until(lambda: ran == ["first", "third"])


def test_what_need_not_be_alone_runs_beside(worker: Worker) -> None:
    """An interrupt goes through while something is sent, and is not what is being done."""
    go, through = threading.Event(), threading.Event()
    worker.start("Sending", lambda: go.wait(10) and None)
    assert worker.start("Interrupting", through.set, alone=False)
    assert through.wait(10)
    assert worker.doing == "Sending"
    go.set()


def test_many_clicks_at_once_start_one_thing(worker: Worker) -> None:
    """Whatever thread they come from."""
    go, gate = threading.Event(), threading.Barrier(8)
    started: list[bool] = []

    def click() -> None:
        gate.wait(10)
        started.append(worker.start("Saving", lambda: go.wait(10) and None))

    clicks = [threading.Thread(target=click) for _ in range(8)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    go.set()
    assert sorted(started) == [False] * 7 + [True]


def test_an_error_of_ours_is_told_as_it_is(worker: Worker, failures: list[Exception]) -> None:
    """It says what to do by itself."""
    error = ConfigurationError("Not so; do it so.")

    def work() -> None:
        raise error

    worker.start("Saving", work)
    until(lambda: worker.doing is None)
    assert failures == [error]


@pytest.mark.parametrize("alone", [True, False])
def test_any_other_error_is_told_with_its_kind(
    alone: bool, worker: Worker, failures: list[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the secrets that it may hold; nothing is printed, and the worker goes on."""

    def work() -> None:
        raise ZeroDivisionError(f"with {KEY}")

    worker.start("Saving", work, alone=alone)
    until(lambda: bool(failures))
    assert str(failures[0]) == "ZeroDivisionError: with •••"
    until(lambda: worker.doing is None)
    assert worker.start("Saving", lambda: None)
    assert capfd.readouterr() == ("", "")


# --- what keeps the widgets up to date ------------------------------------------------------------


class Shown:
    """Something that is refreshed, as often as it says."""

    def __init__(self, wait: float | None = None, error: Exception | None = None):
        self.count = 0
        self.wait = wait
        self.error = error
        self.refresher = Refresher(self)

    def refresh(self) -> float | None:
        self.count += 1
        if self.error is not None:
            raise self.error
        return self.wait


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """See that every refresher has ended."""
    yield
    until(lambda: not threads("rtnb-panel-refresh"))


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_refreshes_at_once_and_on_demand() -> None:
    """Where nothing happens by itself, it waits until it is woken."""
    shown = Shown()
    until(lambda: shown.count == 1)
    shown.refresher.wake()
    until(lambda: shown.count == 2)
    shown.refresher.stop()
    shown.refresher.join(10)
    assert not threads("rtnb-panel-refresh")
    shown.refresher.wake()
    assert shown.count == 2


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_comes_again_when_it_was_told_so() -> None:
    """Without being woken."""
    shown = Shown(wait=0.01)
    until(lambda: shown.count >= 4)
    shown.refresher.stop()


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_ends_with_its_owner() -> None:
    """It keeps nothing alive."""
    owners = [Shown()]
    until(lambda: owners[0].count == 1)
    gone = weakref.ref(owners.pop())

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    until(is_gone)


@pytest.mark.usefixtures("no_thread_left")
def test_an_error_does_not_end_the_refreshing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is logged for who wants to know, not printed, and the next one is tried."""
    with caplog.at_level(logging.DEBUG, "rtnb.panel.work"):
        shown = Shown(error=RuntimeError("no comm"))
        until(lambda: "could not be refreshed" in caplog.text)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    shown.error = None
    shown.refresher.wake()
    until(lambda: shown.count >= 2)
    shown.refresher.stop()
    shown.refresher.stop()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_may_be_stopped_from_within() -> None:
    """It does not wait for itself."""
    shown = Shown()

    def close() -> None:
        shown.refresher.stop()
        shown.refresher.join(10)

    until(lambda: shown.count == 1)
    shown.refresh = close  # type: ignore[method-assign]
    shown.refresher.wake()
