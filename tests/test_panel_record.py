"""The record of a panel's calls: one output, named, updated when a call is over."""

from __future__ import annotations

from typing import Any

import pytest

from rtnb import EventLog, Turns
from rtnb.panel import record
from rtnb.panel.record import Record

VIEW = "application/vnd.jupyter.widget-view+json"


class Call:
    """A call that is over, as far as a record looks at it."""

    def __init__(self, name: str):
        self.name = name
        self.turns, self.events = Turns(), EventLog()

    def __repr__(self) -> str:
        return f"<Call {self.name}>"

    def _repr_html_(self) -> str:
        return f"<p>call {self.name}</p>"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a kernel would have shown, in order."""
    shown: list[dict[str, Any]] = []

    def publish(data: dict[str, str], metadata: object, **options: Any) -> None:
        shown.append({"data": data, **options})

    monkeypatch.setattr(record, "kernel_publish", lambda: publish)
    return shown


def test_the_widget_is_shown_and_room_is_made(published: list[dict[str, Any]]) -> None:
    """First the view, then an empty display with a name."""
    Record().display("model", "<Panel>")
    view, room = published
    assert view["data"][VIEW]["model_id"] == "model"
    assert (room["data"]["text/html"], room["update"]) == ("", False)
    assert room["transient"]["display_id"]


def test_a_call_is_kept_once(published: list[dict[str, Any]]) -> None:
    """The display is updated with it, by its name, and not again."""
    one, call = Record(), Call("one")
    one.display("model", "<Panel>")
    one.keep(call)  # type: ignore[arg-type]
    one.keep(call)  # type: ignore[arg-type]
    *_, room, kept = published
    assert len(published) == 3
    assert kept["transient"] == room["transient"]
    assert "<p>call one</p>" in kept["data"]["text/html"]
    assert "<Call one>" in kept["data"]["text/plain"]


def test_the_newest_calls_are_kept(published: list[dict[str, Any]]) -> None:
    """Of five calls the last three, in order."""
    one = Record()
    one.display("model", "<Panel>")
    for name in "abcde":
        one.keep(Call(name))  # type: ignore[arg-type]
    html = published[-1]["data"]["text/html"]
    assert [name for name in "abcde" if f"call {name}<" in html] == ["c", "d", "e"]
    assert html.index("call c") < html.index("call e")


def test_what_was_kept_before_is_shown_with_the_widget(published: list[dict[str, Any]]) -> None:
    """A panel may be shown after its call is over."""
    one = Record()
    one.keep(Call("one"))  # type: ignore[arg-type]
    assert published == []
    one.display("model", "<Panel>")
    assert "call one" in published[-1]["data"]["text/html"]


def test_without_a_kernel_the_text_is_left_to_ipython() -> None:
    """IPython takes NotImplementedError for "show the repr instead"."""
    with pytest.raises(NotImplementedError):
        Record().display("model", "<Panel>")
