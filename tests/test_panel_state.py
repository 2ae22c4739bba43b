"""What a panel may do and what it says, state by state."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from rtnb.panel.state import Facts, allowed, aside, news, said, spoken_phase, talking
from rtnb.turnstate import VOICE, ResponseState, ToolCall, TurnState

CALLS = ("none", "connecting", "open", "closing", "closed")


def enabled(facts: Facts) -> set[str]:
    """Return the controls that mean something."""
    return {name for name, on in allowed(facts).items() if on}


LOST = "Turn 1: no reply came."
AGAIN = "Send it again, or something else."
CONNECT = "Connect begins another one."
OFF = "Connected; turn detection is off."
HOLD = "Hold the button to speak, or send a prompt."
HEARD = "The reply is being heard. Interrupt it by speaking, or with the button."
SPEAKING = "You are speaking. Let go to have it answered."
REST = {"connect", "form"}
OPEN = {"hang_up", "save"}


@pytest.mark.parametrize(
    ("facts", "controls"),
    [
        (Facts(), REST),
        (Facts(clip=True, text=True), REST),
        (Facts("none", "Hanging up"), set()),
        (Facts("connecting", clip=True), {"hang_up"}),
        (Facts("open"), OPEN),
        (Facts("open", clip=True), OPEN | {"send", "talk"}),
        (Facts("open", text=True), OPEN | {"send"}),
        (Facts("open", hearing="live"), OPEN | {"talk"}),
        (Facts("open", hearing="muted"), OPEN | {"talk"}),
        (Facts("open", "Saving", hearing="live"), {"hang_up"}),
        (Facts("closed", hearing="live"), REST | {"save"}),
        (Facts("open", clip=True, running=True), OPEN | {"send", "talk", "interrupt"}),
        (Facts("open", clip=True, running=True, holding=True), OPEN | {"talk"}),
        (Facts("open", "Saving", clip=True, text=True, running=True), {"hang_up", "interrupt"}),
        (Facts("open", "Talking", clip=True, holding=True), {"hang_up", "talk"}),
        (Facts("closing", clip=True, text=True, running=True), set()),
        (Facts("closed", clip=True, text=True, running=True), REST | {"save"}),
        (Facts("closed", "Saving"), set()),
    ],
)
def test_what_is_enabled(facts: Facts, controls: set[str]) -> None:
    """A control is enabled only where it means something."""
    assert enabled(facts) == controls


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("doing", "running", "holding", "text"), list(product((None, "Saving"), *[(False, True)] * 3))
)
def test_nothing_is_sent_without_an_open_call(
    call: str, doing: str | None, running: bool, holding: bool, text: bool
) -> None:
    """Whatever else holds, speaking needs an open call, and Connect one that is over."""
    facts = Facts(call, doing, running=running, holding=holding, clip=True, text=text)  # type: ignore[arg-type]
    spoken = enabled(facts) & {"send", "talk", "interrupt"}
    assert not spoken or call == "open"
    assert "connect" not in enabled(facts) or call in ("none", "closed")
    assert ("connect" in enabled(facts)) == ("form" in enabled(facts))


@pytest.mark.parametrize("call", CALLS)
def test_a_failure_or_a_note_changes_no_control(call: str) -> None:
    """They are only said."""
    facts = Facts(call, clip=True)  # type: ignore[arg-type]
    assert enabled(replace(facts, failure="No.", note="Yes.")) == enabled(facts)


@pytest.mark.parametrize(
    ("facts", "sentence", "tone"),
    [
        (Facts(), "Not connected. Choose where to call, then Connect.", ""),
        (Facts("connecting", progress="ICE  0.3 s"), "Connecting: ICE  0.3 s", ""),
        (Facts("closing"), "Hanging up …", ""),
        (Facts("closed"), "The call is over. Connect begins another one.", ""),
        (Facts("closed", ended="The server went."), "The server went. Connect begins another one.", ""),
        (Facts("open"), "Connected. Choose a prompt or write something, then Send.", "good"),
        (Facts("open", "Saving", note="Interrupted."), "Saving …", ""),
        (Facts("open", running=True, progress="reply 1 s", note="Old."), "reply 1 s", ""),
        (Facts("open", running=True, holding=True), "Talking. Let go to have it answered.", ""),
        (Facts("open", running=True, progress="x", failure="It broke."), "x", ""),
        (Facts("open", outcome=LOST), f"{LOST} {AGAIN}", "bad"),
        (Facts("open", running=True, progress="x", outcome="Old."), "x", ""),
        (Facts("closed", ended="It is gone.", stuck=True), f"It is gone. {CONNECT}", "bad"),
        (Facts("open", hearing="live"), "Connected and listening. Speak, or send a prompt.", "good"),
        (Facts("open", hearing="live", detection=False), f"{OFF} {HOLD}", "good"),
        (Facts("open", hearing="muted"), f"Connected; the microphone is muted. {HOLD}", "good"),
        (Facts("open", hearing="held"), f"Connected. {HOLD}", "good"),
        (Facts("open", hearing="live", outcome=LOST), f"{LOST} {AGAIN}", "bad"),
        (Facts("open", running=True, spoken="speaking", progress="x"), "You are speaking.", ""),
        (Facts("open", running=True, spoken="waiting"), "You have spoken; waiting for the reply.", ""),
        (Facts("open", running=True, spoken="heard"), HEARD, ""),
        (Facts("open", running=True, holding=True, spoken="speaking"), SPEAKING, ""),
    ],
)  # fmt: skip
def test_what_is_said(facts: Facts, sentence: str, tone: str) -> None:
    """What is being done, then how it is; what has happened is told beside it."""
    assert said(facts) == (sentence, tone)


@pytest.mark.parametrize("call", CALLS)
def test_something_is_always_said(call: str) -> None:
    """No state leaves the line empty, and none but a failure is bad news."""
    text, tone = said(Facts(call, progress="…"))  # type: ignore[arg-type]
    assert text
    assert tone != "bad"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (Facts("open"), None),
        (Facts("open", note="Saved to x."), ("Saved to x.", "good")),
        (Facts("closed", note="Saved to x."), ("Saved to x.", "good")),
        (Facts("open", trouble="The disk is full.", note="Old."), ("The disk is full.", "bad")),
        (Facts("none", failure="No key; type one.", note="Old."), ("No key; type one.", "bad")),
    ],
)
def test_what_is_told(facts: Facts, told: tuple[str, str] | None) -> None:
    """A failure before trouble before good news, whatever the call does."""
    assert news(facts) == told


def test_the_peer_is_offered_where_connecting_failed() -> None:
    """And not for a file that could not be read."""
    assert "peer" in enabled(Facts(stuck=True, failure="No key."))
    assert "peer" in enabled(Facts("closed", stuck=True))
    assert "peer" not in enabled(Facts(failure="There is no such file."))
    assert "peer" not in enabled(Facts("open", stuck=True))


@pytest.mark.parametrize("hearing", ["none", "muted", "held", "live"])
def test_the_button_says_what_it_sends(hearing: str) -> None:
    """The voice where a microphone is on, though it may be muted; else the prompt."""
    label, hint = talking(Facts("open", hearing=hearing))  # type: ignore[arg-type]
    what = "prompt" if hearing == "none" else "voice"
    assert label == f"Push to talk (hold): {what}"
    assert ("the prompt plays" in hint) == (what == "prompt")


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (Facts("open"), None),
        (
            Facts("open", kept=("speaker",)),
            "a speaker of its own and keeps it; this panel's is not",
        ),
        (Facts("open", kept=("microphone", "speaker")), "a microphone and a speaker of its own"),
        (Facts("closed", kept=("speaker",)), None),
    ],
)
def test_what_a_call_kept_is_told(facts: Facts, told: str | None) -> None:
    """As long as there is the call."""
    sentence = aside(facts)
    assert sentence == told or (told is not None and sentence is not None and told in sentence)


def reply(**facts: object) -> ResponseState:
    """Return a response that was created."""
    made = ResponseState("resp", 1.0, audio_expected=True)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


SOUNDS = {"audio_started": 2.0}
ENDED = {**SOUNDS, "audio_ended": 3.0, "done": 2.5}


@pytest.mark.parametrize(
    ("responses", "facts", "phase"),
    [
        ([], {"speaking": True}, "speaking"),
        ([], {"holding": True}, "speaking"),
        ([], {"awaiting": 1}, "waiting"),
        ([{}], {}, "waiting"),
        ([{"parts": {("item", 0): "I"}}], {}, "waiting"),
        ([SOUNDS], {}, "heard"),
        ([SOUNDS], {"speaking": True}, "speaking"),
        ([ENDED], {}, None),
        ([ENDED, SOUNDS], {}, "heard"),
        ([{"parts": {("item", 0): "I"}, "audio_expected": False}], {}, None),
        ([ENDED], {"tool_calls": [ToolCall("c", "look", "{}", 2.0)]}, None),
    ],
)
def test_how_far_a_spoken_turn_is(
    responses: list[dict[str, object]], facts: dict[str, object], phase: str | None
) -> None:
    """Speaking before all else; what is neither said nor heard is told as for any turn."""
    turn = TurnState(1, VOICE, 0.5, responses=[reply(**one) for one in responses])
    for name, value in facts.items():
        setattr(turn, name, value)
    assert spoken_phase(turn) == phase
