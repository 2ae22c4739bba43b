"""When a turn is over, from its state and the sound alone."""

from __future__ import annotations

import pytest

from rtnb.turnover import NO_REPLY, QUIET, TAIL, OpenTurns, Sound, final_status, outcome
from rtnb.turnstate import ResponseState, ToolCall, TurnState

QUIET_LEVEL, LOUD_LEVEL = -90.0, -20.0


def spoken_turn(*responses: ResponseState) -> TurnState:
    """Return an audio turn whose prompt played from 0 to 2 s."""
    turn = TurnState(1, "audio", 0.0, plays={"p": (0.0, 2.0)}, touched=2.0)
    turn.responses = list(responses)
    return turn


def response(**known: object) -> ResponseState:
    """Return a spoken response, created at 2.5 s and done at 3 s unless said otherwise."""
    facts = {"status": "completed", "done": 3.0, "audio_expected": True, **known}
    return ResponseState("r", 2.5, **facts)  # type: ignore[arg-type]


def heard_until(end: float, *, last_audible: float | None = None) -> Sound:
    """Return a call that was heard up to `end`."""
    return Sound(now=end, written=end, last_audible=last_audible)


def test_levels_tell_the_last_audible_window() -> None:
    """The last window above the threshold ends where it ends, counted back from the newest."""
    sound = Sound()
    sound.heard(1.0, [LOUD_LEVEL, LOUD_LEVEL, QUIET_LEVEL], 0.02)
    assert sound.last_audible == pytest.approx(0.98)
    assert (sound.now, sound.written) == (1.0, 1.0)


def test_silence_leaves_the_last_audible_window() -> None:
    """Quiet levels move the clock, not the last audible window."""
    sound = heard_until(1.0, last_audible=0.5)
    sound.heard(2.0, [QUIET_LEVEL] * 50, 0.02)
    assert (sound.written, sound.last_audible) == (2.0, 0.5)


def test_time_never_runs_back() -> None:
    """A late message does not set the clock back."""
    sound = heard_until(5.0)
    sound.reach(4.0)
    sound.heard(3.0, [], 0.02)
    assert (sound.now, sound.written) == (5.0, 5.0)


@pytest.mark.parametrize(
    ("written", "status"), [(5.0 + TAIL - 0.01, None), (5.0 + TAIL, "completed")]
)
def test_a_reply_is_over_when_its_tail_is_on_disk(written: float, status: str | None) -> None:
    """The end of the sound plus its tail must be written before the turn is over."""
    turn = spoken_turn(response(audio_started=2.6, audio_ended=5.0))
    assert final_status(turn, heard_until(written)) == status


@pytest.mark.parametrize(
    "open_end",
    [
        {"holding": True},
        {"speaking": True},
        {"awaiting": 1},
        {"pending": 1},
        {"plays": {"p": (0.0, None)}},
        {"tool_calls": [ToolCall("c", "weather", "{}", 3.0)]},
    ],
    ids=lambda open_end: next(iter(open_end)),
)
def test_nothing_still_to_come_is_cut_off(open_end: dict[str, object]) -> None:
    """Each thing still to come keeps a turn open whose reply was heard in full."""
    turn = spoken_turn(response(audio_started=2.6, audio_ended=5.0))
    assert final_status(turn, heard_until(8.0)) == "completed"
    for name, value in open_end.items():
        setattr(turn, name, value)
    assert final_status(turn, heard_until(8.0)) is None


def test_a_text_reply_is_over_with_its_event() -> None:
    """A response without sound is over when response.done comes, with no tail to wait for."""
    turn = spoken_turn(response(audio_expected=False))
    assert final_status(turn, heard_until(3.0)) == "completed"


@pytest.mark.parametrize(
    ("known", "patience"),
    [({}, QUIET), ({"audio_started": 2.6}, 5 * QUIET)],
    ids=["no buffer events", "stopped is missing"],
)
def test_the_sound_decides_where_the_service_is_silent(
    known: dict[str, float], patience: float
) -> None:
    """Without output_audio_buffer.stopped, quiet after the last audible window ends the reply."""
    turn = spoken_turn(response(**known))
    before = heard_until(6.0 + patience, last_audible=6.0)
    after = heard_until(6.01 + patience, last_audible=6.0)
    assert final_status(turn, before) is None
    assert final_status(turn, after) == "completed"


def test_a_response_that_is_never_done_ends_with_its_sound() -> None:
    """Where response.done is filtered, a second of quiet after stopped ends the turn."""
    turn = spoken_turn(response(done=None, status="in_progress", audio_ended=5.0))
    assert final_status(turn, heard_until(5.0 + QUIET)) is None
    assert final_status(turn, heard_until(5.01 + QUIET)) == "completed"


def test_a_sound_that_never_ends_is_given_up() -> None:
    """Where neither stopped nor done comes, ten seconds of nothing end the turn."""
    turn = spoken_turn(response(done=None, status="in_progress", audio_started=2.6))
    assert final_status(turn, heard_until(2.0 + NO_REPLY)) is None
    assert final_status(turn, heard_until(2.01 + NO_REPLY)) == "completed"


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_answer_without_sound_is_not_waited_for(status: str) -> None:
    """A response that ended before its sound began is over at once."""
    turn = spoken_turn(response(status=status))
    assert final_status(turn, heard_until(3.0 + TAIL)) == status


@pytest.mark.parametrize(("now", "status"), [(2.0 + NO_REPLY, None), (2.01 + NO_REPLY, "no_reply")])
def test_nothing_for_ten_seconds_is_no_reply(now: float, status: str | None) -> None:
    """The patience counts from when something last happened to the turn."""
    assert final_status(spoken_turn(), heard_until(now)) == status


@pytest.mark.parametrize(
    ("responses", "status"),
    [
        ([], "no_reply"),
        ([response()], "completed"),
        ([response(cut=True)], "cancelled"),
        ([response(status="cancelled")], "cancelled"),
        ([response(status="incomplete")], "incomplete"),
        ([response(status="failed")], "failed"),
        ([response(status="cancelled"), response()], "completed"),
        ([response(), response(cut=True)], "cancelled"),
    ],
)
def test_the_last_response_names_the_outcome(responses: list[ResponseState], status: str) -> None:
    """A turn ends as its last response was heard."""
    assert outcome(spoken_turn(*responses)) == status


def test_an_error_of_the_turn_outweighs_its_responses() -> None:
    """A refused event makes a turn failed whatever was heard."""
    turn = spoken_turn(response())
    turn.error = "no"
    assert outcome(turn) == "failed"


# --- which of many are over -----------------------------------------------------------------------


def test_a_turn_is_found_over_when_its_sound_is_on_disk() -> None:
    """It is waited for while no more is heard, and yielded when its tail is there."""
    turn = spoken_turn(response(audio_started=2.6, audio_ended=5.0))
    turns = OpenTurns([turn])
    assert list(turns.over(heard_until(4.0))) == []
    assert list(turns.over(heard_until(4.0))) == []
    assert list(turns.over(heard_until(6.0))) == [(turn, "completed")]


def test_a_turn_that_is_touched_is_looked_at_again() -> None:
    """A turn that waited for its sound is given up ten seconds after it was spoken to again."""
    turn = spoken_turn(response(audio_started=2.6, audio_ended=5.0))
    turns = OpenTurns([turn])
    assert list(turns.over(Sound(now=5.0))) == []
    turn.touched, turn.awaiting = 6.0, 1
    assert list(turns.over(Sound(now=6.0))) == []
    assert list(turns.over(Sound(now=6.1 + NO_REPLY))) == [(turn, "completed")]


def test_turns_are_found_over_in_their_order() -> None:
    """Those that waited for their sound and those that did not come by their number."""
    first = spoken_turn(response(audio_started=2.6, audio_ended=5.0))
    second = spoken_turn(response(audio_expected=False))
    second.number, second.speaking = 2, True
    all_turns = [first]
    turns = OpenTurns(all_turns)
    assert list(turns.over(heard_until(4.0))) == []
    all_turns.append(second)
    second.speaking = False
    assert [turn.number for turn, _ in turns.over(heard_until(6.0))] == [1, 2]
