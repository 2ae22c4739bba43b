"""The key field and the button to hold, without a front end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from panel_parts import KEY, ODD_KEY, state_of

from rtnb.panel.controls import HoldButton, KeyField

# --- the key field --------------------------------------------------------------------------------


def typed(value: Any) -> KeyField:
    """Return a key field that was left with this in it."""
    field = KeyField()
    field._handle_custom_msg({"kind": "key", "value": value}, [])
    return field


def calls(told: list[str]) -> list[Callable[[], None]]:
    """Return what notes down each word of a button."""
    return [lambda word=word: told.append(word) for word in ("down", "up", "here")]  # type: ignore[misc]


@pytest.mark.parametrize("key", [KEY, ODD_KEY])
def test_a_key_is_in_no_state(key: str) -> None:
    """Neither a trait, nor the repr, nor what a notebook is saved with holds it."""
    field = typed(key)
    assert field.held
    traits = {name: getattr(field, name, None) for name in field.trait_names()}
    for shown in (state_of(field), repr(field), str(field), str(traits), str(vars(field))):
        assert key not in shown
    assert repr(field) == "<KeyField holds a key>"


def test_a_key_is_taken_once() -> None:
    """It is forgotten then."""
    field = typed(f" {KEY}\n")
    taken = field.take()
    assert taken is not None and taken.reveal() == KEY
    assert (field.take(), field.held, repr(field)) == (None, False, "<KeyField empty>")


@pytest.mark.parametrize("value", ["", "  \n"])
def test_an_emptied_field_forgets_its_key(value: str) -> None:
    """What was typed before is gone too."""
    field = typed(KEY)
    field._handle_custom_msg({"kind": "key", "value": value}, [])
    assert (field.held, field.take()) == (False, None)


@pytest.mark.parametrize(
    "message",
    [
        None, "key", [KEY], {}, {"kind": "key"}, {"kind": "key", "value": 3}, {"kind": "other"},
        {"kind": "key", "value": [KEY]}, {"kind": "key", "value": "x" * 5000}, {"value": KEY},
    ],
)  # fmt: skip
def test_a_bad_message_is_no_key(message: Any) -> None:
    """Nothing is held, and nothing is raised."""
    field = KeyField()
    field._handle_custom_msg(message, [])
    assert (field.held, field.take()) == (False, None)


def test_a_key_that_cannot_be_one_is_refused() -> None:
    """What was held before is dropped, and the sentence says why."""
    told: list[str] = []
    field = KeyField(told.append)
    field._handle_custom_msg({"kind": "key", "value": KEY}, [])
    field._handle_custom_msg({"kind": "key", "value": "x" * 5_000}, [])
    assert (field.held, field.take()) == (False, None)
    assert told == ["This is no key: it has more than 4096 characters."]


def test_two_key_fields_hold_their_own() -> None:
    """Nothing is shared between panels."""
    one, two = typed(KEY), KeyField()
    assert (one.held, two.held, two.take()) == (True, False, None)


# --- the button to hold ---------------------------------------------------------------------------


def test_a_button_tells_press_and_release() -> None:
    """Each in its time, without arguments."""
    told: list[str] = []
    button = HoldButton(*calls(told), label="Talk")
    for kind in ("press", "release", "press"):
        button._handle_custom_msg({"kind": kind}, [])
    assert told == ["down", "up", "down"]
    assert (button.label, repr(button)) == ("Talk", "<HoldButton 'Talk'>")


@pytest.mark.parametrize("message", [None, "press", [], {}, {"kind": ["press"]}, {"kind": "hold"}])
def test_a_bad_message_presses_nothing(message: Any) -> None:
    """It is ignored."""
    told: list[str] = []
    button = HoldButton(*calls(told))
    button._handle_custom_msg(message, [])
    assert told == []
