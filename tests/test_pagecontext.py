"""`PageContext`: whose context a thread publishes in, and for how long."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rtnb import pagecontext
from rtnb.pagecontext import PageContext

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


class Clock:
    """What stands in for `time` in the module."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pagecontext, "time", clock)
    return clock


def hear(page: PageContext, who: str) -> None:
    """Let the page say something, as `who`."""

    def said() -> None:
        WHO.set(who)
        page.heard()

    contextvars.copy_context().run(said)


def in_a_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(30)


def test_without_a_message_nothing_changes() -> None:
    """Before the page has said anything a change runs plainly."""
    assert in_a_thread(lambda: PageContext().run(WHO.get)) == "nobody"


def test_a_context_that_was_given_back_leaves_that_of_the_cell() -> None:
    """A change runs in the context in which the widget was made then, in any thread."""

    def made() -> PageContext:
        WHO.set("cell")
        return PageContext()

    page = contextvars.copy_context().run(made)
    hear(page, "page")
    page.rest(over=True)
    assert in_a_thread(lambda: page.run(WHO.get)) == "cell"


def test_a_change_runs_in_the_context_of_the_last_message(clock: Clock) -> None:
    """The later message counts, in whatever thread the change is made."""
    page = PageContext()
    hear(page, "first")
    hear(page, "second")
    assert in_a_thread(lambda: page.run(WHO.get)) == "second"


def test_a_change_leaves_the_context_as_it_was(clock: Clock) -> None:
    """What one change sets is not there for the next."""
    page = PageContext()
    hear(page, "page")
    page.run(lambda: WHO.set("other"))
    assert page.run(WHO.get) == "page"


def test_the_lease_runs_out(clock: Clock) -> None:
    """After 30 s without a message it is not used; a message renews the lease."""
    page = PageContext()
    hear(page, "page")
    clock.now += 29
    assert page.run(WHO.get) == "page"
    clock.now += 1
    assert page.run(WHO.get) == "nobody"
    hear(page, "back")
    assert page.run(WHO.get) == "back"


def test_the_lease_may_be_another(clock: Clock) -> None:
    """Its seconds are those that were given."""
    page = PageContext(lease=5)
    hear(page, "page")
    clock.now += 5
    assert page.run(WHO.get) == "nobody"


def test_the_context_is_given_back_once(clock: Clock) -> None:
    """When the lease is out, and not before."""
    page = PageContext()
    assert not page.rest()
    hear(page, "page")
    assert not page.rest()
    clock.now += 30
    assert page.rest()
    assert not page.rest()


def test_the_context_is_given_back_when_all_is_over(clock: Clock) -> None:
    """Then the lease does not matter."""
    page = PageContext()
    hear(page, "page")
    assert page.rest(over=True)
    assert not page.rest(over=True)
    assert page.run(WHO.get) == "nobody"


def test_changes_run_at_once_in_several_threads(clock: Clock) -> None:
    """Two threads are in the context at the same time."""
    page = PageContext()
    hear(page, "page")
    both = threading.Barrier(2, timeout=30)

    def change() -> str:
        both.wait()
        return WHO.get()

    with ThreadPoolExecutor(2) as pool:
        ran = [pool.submit(page.run, change) for _ in range(2)]
        assert [one.result(30) for one in ran] == ["page", "page"]


def test_a_change_may_make_another(clock: Clock) -> None:
    """Inside one change the context can be used once more."""
    page = PageContext()
    hear(page, "page")
    assert page.run(lambda: page.run(WHO.get)) == "page"


def test_what_a_change_raises_passes(clock: Clock) -> None:
    """The error reaches the caller, and the next change runs."""
    page = PageContext()
    hear(page, "page")
    with pytest.raises(KeyError):
        page.run(lambda: {}["missing"])
    assert page.run(WHO.get) == "page"
