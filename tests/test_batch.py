"""`replay` without a call: which turns are asked for, for how long, and what is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rtnb
from rtnb import _audiofile, batch
from rtnb.engine import ScriptedEngine
from rtnb.messages import Prepare


class FakeSession:
    """Answers each prompt at once, and keeps how it was asked."""

    def __init__(self, asked: list[tuple[Any, float]]):
        self._asked = asked
        self._files = SimpleNamespace(flush=lambda: None)
        self.folder = Path("somewhere")

    def ask(self, prompt: Any, *, timeout: float) -> Any:
        self._asked.append((prompt, timeout))
        return SimpleNamespace(name=getattr(prompt, "name", None))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float]]:
    """Call nobody: keep (prompt, timeout) of each turn."""
    kept: list[tuple[Any, float]] = []

    @contextlib.contextmanager
    def connect(endpoint: Any, **options: Any) -> Iterator[FakeSession]:
        yield FakeSession(kept)

    monkeypatch.setattr(batch, "connect", connect)
    return kept


def test_a_long_prompt_has_the_time_it_needs(asked: list[tuple[Any, float]]) -> None:
    """Twice its own duration and 30 s: a prompt of 40 s can be played to its end."""
    rtnb.replay([rtnb.Clip.silence(40.0), "Hello!"])
    assert [timeout for _, timeout in asked] == [110.0, 30.0]


def test_the_time_of_a_turn_can_be_given(asked: list[tuple[Any, float]]) -> None:
    """`turn_timeout` is the same for all."""
    rtnb.replay([rtnb.Clip.silence(40.0), "Hello!"], turn_timeout=7.5)
    assert [timeout for _, timeout in asked] == [7.5, 7.5]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"turn_timeout": 0}, "turn_timeout= is a positive number of seconds, or None, not 0."),
        ({"repeat": "2"}, "repeat= is 1 or more, not '2'."),
        ({"repeat": 0}, "repeat= is 1 or more, not 0."),
    ],
)
def test_what_cannot_be_used_is_told(
    options: dict[str, Any], sentence: str, asked: list[tuple[Any, float]]
) -> None:
    """Before the first call."""
    with pytest.raises(rtnb.ConfigurationError) as told:
        rtnb.replay("Hello!", **options)
    assert (str(told.value), asked) == (sentence, [])


def test_what_is_no_prompt_is_told(asked: list[tuple[Any, float]]) -> None:
    """Neither a prompt nor a list of them."""
    with pytest.raises(rtnb.ConfigurationError, match="A prompt is a Clip"):
        rtnb.replay(5)  # type: ignore[arg-type]


def test_the_packets_of_a_clip_are_made_once(asked: list[tuple[Any, float]]) -> None:
    """For all its calls, on the engine that was given; a text has none."""
    engine = ScriptedEngine(lambda _: [])
    clips = [rtnb.Clip.silence(0.1), rtnb.Clip.silence(0.2)]
    rtnb.replay([*clips, "Hello!"], repeat=2, engine=engine)
    assert len(asked) == 6
    assert [type(one) for one in engine.sent] == [Prepare, Prepare]


def test_a_file_is_read_once(
    asked: list[tuple[Any, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is replayed, and it keeps its name."""
    opened: list[Path] = []
    really = _audiofile.read
    monkeypatch.setattr(_audiofile, "read", lambda path: opened.append(path) or really(path))
    path = rtnb.samples()[0]
    turns = rtnb.replay([path], voices=["marin", "ash"], repeat=2)
    assert opened == [path]
    assert [turn.name for turn in turns] == [path.stem] * 4
