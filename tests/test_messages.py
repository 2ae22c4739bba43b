"""What crosses the pipe: framed, whole, and nothing but messages."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
from pathlib import Path

import pytest

from rtnb import messages as m

ALL = [
    m.Open("c", 1.5, "/run", loopback=True, ice_servers=({"urls": "stun:h"},)),
    m.Answer("c", "v=0"),
    m.SendEvent("c", '{"type": "x"}'),
    m.Play("c", "play-1", b"\0\1" * 960, ("{}",), 0.3),
    m.Prepare("", b"\0\1" * 960),
    m.Cancel("c"),
    m.Feed("c", 7, b"\0\1" * 960, 16_000, 1.25),
    m.FeedEnd("c"),
    m.Subscribe("c"),
    m.Note("c", "{}"),
    m.StatsWanted("c", 1),
    m.Close("c"),
    m.Ready("", 42, ("receive",)),
    m.Offered("c", "v=0"),
    m.StateChanged("c", "ice", 0.1),
    m.EventArrived("c", "ü 🎈", 0.2),
    m.EventSent("c", "{}", 0.2),
    m.PlayStarted("c", "play-1", 0.3),
    m.PlayEnded("c", "play-1", 0.4, 960, cancelled=True),
    m.AudioWritten("c", 0.0, 0.02, (-120.0,), (-20.5,)),
    m.AudioHeard("c", 48_000, b"\0\1" * 960, 1.02),
    m.Stats("c", 1, {"packets_sent": 3}),
    m.Closed("c", "closed", "closed by the user", 9.0),
]


class Trap:
    """An object whose pickle runs a function when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: m.Message) -> None:
    """Over a byte stream, one after the other."""
    stream = io.BytesIO()
    m.write_message(stream, message)
    m.write_message(stream, m.Close("other"))
    stream.seek(0)
    assert m.read_message(stream) == message
    assert m.read_message(stream) == m.Close("other")
    assert m.read_message(stream) is None


def test_every_message_is_tried_here() -> None:
    """A new message must be added to the list above."""
    kinds = {k for k in vars(m).values() if isinstance(k, type) and issubclass(k, m.Message)}
    assert kinds - {m.Message} == {type(message) for message in ALL}


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_a_message_is_frozen(message: m.Message) -> None:
    """Nobody changes one on its way."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.call = "else"  # type: ignore[misc]


def test_a_message_cut_short_is_the_end_of_the_stream() -> None:
    """The other process died in mid-write: no half message, at whatever byte it was."""
    whole = m.encode_message(m.Note("c", "{}"))
    for length in range(len(whole)):
        assert m.read_message(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize("thing", ["text", 3, {"call": "c"}, None])
def test_what_is_no_message_is_refused(thing: object) -> None:
    """Plain values unpickle, and are refused by their type."""
    with pytest.raises(pickle.UnpicklingError, match="is not a message"):
        m.decode_message(pickle.dumps(thing))


def test_nothing_foreign_is_run(tmp_path: Path) -> None:
    """A pickle that names a function outside of this module is refused before it is called."""
    with pytest.raises(pickle.UnpicklingError, match=r"mkdir may not cross the pipe"):
        m.decode_message(pickle.dumps(Trap(tmp_path / "made")))
    assert not (tmp_path / "made").exists()


def test_no_message_can_carry_a_key() -> None:
    """Keys stay in the user's process: there is no field for one."""
    names = {field.name for message in ALL for field in dataclasses.fields(message)}
    assert not names & {"key", "api_key", "token", "secret", "headers", "bearer"}
