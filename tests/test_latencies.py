"""What is reported of a turn's timing, and of many: marks, verdicts, yields, rates, and their text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brief import SOON, STORY, brief_prompt
from measured_runs import RATE, Written, answered, asked, spoken

import rtnb
from rtnb import ConfigurationError
from rtnb.latencies import Latencies
from rtnb.measure import MARKS, Latency
from rtnb.quality import CallQuality
from rtnb.turntaking import together
from rtnb.verdicts import Thresholds


@pytest.fixture
def call(tmp_path: Path) -> Written:
    """A call that is yet to be made up."""
    return Written(tmp_path / "run")


def the(run: rtnb.Run) -> Latency:
    (turn,) = run.turns
    return turn.latency


# --- marks ----------------------------------------------------------------------------------------


def test_a_turn_has_all_marks(call: Written) -> None:
    """From the end of speech to the end of the reply; each stage is named by where it leads."""
    spoken(call)
    for number in range(250):
        at = number * 0.02
        call.packet("received", number, 960 * number, at + 0.004, 80, 960 * number, "")
    latency = the(call.run(5.0))
    times = (2.0, 2.2, 2.21, 2.25, 3.004, 3.0, 4.0)
    assert latency.marks == pytest.approx(dict(zip(MARKS, times, strict=True)), abs=0.001)
    stages = dict(zip(MARKS[1:], np.diff(times), strict=True))
    assert latency.stages == pytest.approx(stages, abs=0.001)
    assert (latency.speech_start, latency.first_audio) == pytest.approx((1.0, 1.0), abs=0.001)
    assert (latency.verdict, latency.reason) == ("answered", "")


def test_stages_leave_out_what_is_not_known() -> None:
    """A stage runs from the last mark that is known, and may be below 0."""
    latency = Latency(speech_end=1.0, committed=0.75, first_audible=2.5)
    assert latency.stages == {"committed": -0.25, "first_audible": 1.75}
    assert sum(latency.stages.values()) == 1.5
    assert Latency().stages == {}


def test_a_text_turn_counts_from_its_request(call: Written) -> None:
    """There is no speech to end, and nothing that is committed."""
    asked(call)
    latency = the(call.run(4.0))
    assert list(latency.marks) == ["speech_end", "response_created", "first_audible", "reply_end"]
    assert (latency.speech_end, latency.first_audio) == pytest.approx((1.0, 1.0), abs=0.001)


def test_the_commit_is_that_of_the_answered_item(call: Written) -> None:
    """A pause that was committed first, and answered by nothing audible, is not counted from."""
    turn = call.turn(1.0)
    call.say(turn, 1.0, 2.0)
    for n, at in ((1, 1.4), (2, 2.2)):
        call.event(at, "input_audio_buffer.speech_stopped", item_id=f"u{n}")
        call.event(at + 0.01, "input_audio_buffer.committed", item_id=f"u{n}")
        call.event(at + 0.02, "response.created", response={"id": f"r{n}"})
    call.event(1.5, "response.done", response={"id": "r1", "status": "cancelled"})
    answered(call, 3.0, 4.0, n=2)
    call.ended(turn, 4.4, "completed")
    latency = the(call.run(5.0))
    marks = (latency.speech_stopped, latency.committed, latency.response_created)
    assert marks == pytest.approx((2.2, 2.21, 2.22))


def test_the_first_packet_is_that_of_the_sound_not_of_what_is_audible(call: Written) -> None:
    """A faint beginning belongs to the reply: its packet came before the reply was audible."""
    spoken(call)
    for number in range(250):
        call.packet("received", number, 960 * number, number * 0.02, 80, 960 * number, "")
    run = call.run(5.0)
    faint = np.resize([20, -20], 9600).astype(np.int16)  # -64 dBFS for 0.2 s
    with (run.folder / "audio.wav").open("r+b") as file:
        whole = np.frombuffer(file.read()[44:], "<i2").reshape(-1, 2).copy()
        whole[round(2.8 * RATE) : round(3.0 * RATE), 1] = faint
        file.seek(44)
        file.write(whole.tobytes())
    latency = the(rtnb.open_run(run.folder))
    assert latency.first_audible == pytest.approx(3.0, abs=0.001)
    assert latency.first_packet == pytest.approx(2.8, abs=0.001)


def test_events_of_other_shapes_change_nothing(call: Written) -> None:
    """Items that are numbers, lists and nothing; the marks are those that can be told."""
    spoken(call)
    for odd in (3, [1], None, {"a": 1}):
        call.event(2.205, "input_audio_buffer.speech_stopped", item_id=odd)
        call.event(2.212, "input_audio_buffer.committed", item_id=odd, audio_end_ms=odd)
        call.event(4.39, "error", error=odd)
    latency = the(call.run(5.0))
    assert latency.verdict == "answered"
    assert latency.committed == pytest.approx(2.212)


def test_a_reply_may_begin_and_end_long_within_its_events(call: Written) -> None:
    """Its sound is looked for beyond the first second, and before the last one."""
    turn = spoken(call, reply=None)
    answered(call, 4.6, 5.0)
    call.event(2.5, "output_audio_buffer.started", response_id="r1")
    call.event(8.0, "output_audio_buffer.stopped", response_id="r1")
    call.ended(turn, 8.4, "completed")
    latency = the(call.run(9.0))
    assert (latency.first_audible, latency.reply_end) == pytest.approx((4.6, 5.0), abs=0.001)


def test_a_prompt_that_is_not_yet_on_disk_is_measured_again(call: Written) -> None:
    """A turn may be over before all of it has been written."""
    call.ended(spoken(call, reply=None), 2.5, "cancelled")
    run = call.run(3.0)
    audio = run.folder / "audio.wav"
    whole = audio.read_bytes()
    audio.write_bytes(whole[: 44 + 4 * round(1.5 * RATE)])
    assert run.turns[0].latency.speech_end == pytest.approx(1.5, abs=0.001)
    audio.write_bytes(whole)
    assert run.turns[0].latency.speech_end == pytest.approx(2.0, abs=0.001)


# --- verdicts ---------------------------------------------------------------------------------------


def verdict_of(call: Written, duration: float = 9.0) -> tuple[str, str]:
    latency = the(call.run(duration))
    return latency.verdict, latency.reason


def test_a_reply_after_the_deadline_is_missed(call: Written) -> None:
    """It is told how late it was; the deadline can be given."""
    spoken(call, reply=(7.5, 8.0))
    run = call.run(9.0)
    assert the(run).verdict == "missed"
    assert the(run).reason == "The reply was audible after 5.50 s; the deadline is 5 s."
    assert run.latency(deadline=6.0).answered == 1


def test_a_turn_without_a_reply_is_missed(call: Written) -> None:
    """When its deadline had passed."""
    turn = spoken(call, reply=None)
    call.ended(turn, 12.0, "no_reply")
    assert verdict_of(call, 13.0) == ("missed", "No reply was audible within 5 s.")


def test_a_failed_response_is_missed(call: Written) -> None:
    """However soon: it will not be audible any more; the service's reason is told."""
    turn = spoken(call, reply=None)
    error = {"message": "The server had an error."}
    failed = {"id": "r1", "status": "failed", "status_details": {"error": error}}
    call.event(2.5, "response.done", response=failed)
    call.ended(turn, 2.9, "failed")
    assert verdict_of(call) == ("missed", "The response was failed: The server had an error.")


def test_a_refused_request_is_missed(call: Written) -> None:
    """An error that ended the turn says why."""
    turn = call.turn(1.0, text="Hello?")
    call.event(1.05, "response.create", direction="sent", event_id="e1")
    call.event(1.5, "error", error={"message": "No such thing."})
    call.ended(turn, 1.5, "failed", "No such thing.")
    assert verdict_of(call) == ("missed", "The service refused: No such thing.")


def test_an_inaudible_reply_is_missed(call: Written) -> None:
    """It was played, and was silence."""
    turn = spoken(call, reply=None)
    call.event(3.0, "output_audio_buffer.started", response_id="r1")
    call.event(3.1, "response.done", response={"id": "r1", "status": "completed"})
    call.event(4.0, "output_audio_buffer.stopped", response_id="r1")
    call.ended(turn, 4.4, "completed")
    assert verdict_of(call) == ("missed", "The reply was not audible above -50 dBFS.")


def test_a_call_that_ended_before_the_deadline_is_censored(call: Written) -> None:
    """Nobody knows whether a reply would have come in time."""
    spoken(call, reply=None)
    word, why = verdict_of(call, 4.0)
    assert word == "censored"
    assert why == "The turn ended 2.00 s after the prompt, before the deadline of 5 s."


def test_a_reply_that_the_user_cut_before_it_was_audible_is_censored(call: Written) -> None:
    """As the service does on barge-in: the response is cancelled before its sound."""
    turn = spoken(call, reply=None)
    call.event(2.6, "output_audio_buffer.started", response_id="r1")
    call.event(2.7, "output_audio_buffer.cleared", response_id="r1")
    call.event(2.7, "response.done", response={"id": "r1", "status": "cancelled"})
    call.ended(turn, 3.0, "cancelled")
    word, why = verdict_of(call)
    assert (word, why[:15]) == ("censored", "The turn was cu")


@pytest.mark.parametrize("begun", [False, True])
def test_a_turn_that_we_cancelled_is_excluded(begun: bool, call: Written) -> None:
    """Though the service begins a response all the same, as it has not heard of that yet."""
    turn = call.turn(1.0)
    call.say(turn, 1.0, 2.0)
    call.event(1.2, "input_audio_buffer.speech_started", item_id="u1")
    call.ended(turn, 2.1, "cancelled")
    if begun:
        call.event(2.21, "input_audio_buffer.committed", item_id="u1")
        call.event(2.25, "response.created", response={"id": "r1"})
        call.event(2.3, "response.done", response={"id": "r1", "status": "cancelled"})
    why = "It was cancelled by us before a reply was audible."
    assert verdict_of(call) == ("excluded", why)


def test_a_reply_during_the_prompt_is_excluded(call: Written) -> None:
    """It is no latency below zero."""
    spoken(call, reply=(1.5, 2.5))
    latency = the(call.run(5.0))
    assert (latency.verdict, latency.first_audio) == ("excluded", None)
    assert latency.reason == "The reply began 0.50 s before the prompt had ended."


def test_a_prompt_without_speech_is_excluded(call: Written) -> None:
    """There is no end of speech to count from."""
    turn = call.turn(1.0)
    call.say(turn, 1.0, 2.0, audible=False)
    call.ended(turn, 12.0, "no_reply")
    assert verdict_of(call, 13.0) == ("excluded", "There is no audible speech in the prompt.")


def test_a_prompt_that_never_left_is_excluded(call: Written) -> None:
    """So is a request that was never sent."""
    call.ended(call.turn(1.0), 12.0, "failed")
    call.ended(call.turn(1.5, text="Hi"), 12.0, "failed")
    reasons = [turn.latency.reason for turn in call.run(13.0).turns]
    assert reasons[0] == "No audio of the prompt left."
    assert reasons[1] == "No response.create left, so there is no time to count from."


def test_a_written_reply_is_excluded(call: Written) -> None:
    """There is no sound to time."""
    turn = asked(call, reply=None)
    said = {"item_id": "a1", "content_index": 0, "text": "Paris."}
    call.event(1.5, "response.output_text.done", response_id="r1", **said)
    call.event(1.6, "response.done", response={"id": "r1", "status": "completed"})
    call.ended(turn, 1.6, "completed")
    assert verdict_of(call) == ("excluded", "The reply is text: there is no sound to time.")


@pytest.mark.parametrize(
    ("how", "verdict"),
    [("", "excluded"), ("plc", "excluded"), ("fec+plc", "excluded"), ("fec", "answered")],
)
def test_a_loss_over_the_onset_is_excluded(how: str, verdict: str, call: Written) -> None:
    """Unless the sound was decoded from FEC: otherwise the onset is a guess."""
    spoken(call)
    call.packet("lost", 7, "", "", 960, round(2.99 * RATE), how)
    assert verdict_of(call)[0] == verdict


def test_a_loss_just_before_the_onset_is_excluded(call: Written) -> None:
    """It may have held the beginning."""
    spoken(call)
    call.packet("lost", 7, "", "", 480, round(2.98 * RATE), "")
    assert verdict_of(call)[0] == "excluded"


def test_a_loss_elsewhere_does_not_matter(call: Written) -> None:
    """Before the reply, and within it."""
    spoken(call)
    for at in (2.5, 3.5):
        call.packet("lost", 7, "", "", 960, round(at * RATE), "")
    latency = the(call.run(5.0))
    assert latency.verdict == "answered"
    assert latency.quality is not None
    assert latency.quality.packets_lost == 2


def test_a_prompt_that_left_late_is_excluded(call: Written) -> None:
    """The service did not hear it as it was meant; the limit can be given."""
    spoken(call)
    for number in range(250):
        lag = 0.3 if number == 75 else 0.0
        call.packet("sent", number, 960 * number, 0.02 * number + lag, 80, 960 * number, "")
    run = call.run(5.0)
    assert the(run).verdict == "excluded"
    assert the(run).reason == "A packet of the prompt left 0.30 s late; 0.2 s are allowed."
    assert run.latency(lag=0.5).answered == 1


def test_a_prompt_that_left_late_is_excluded_without_a_reply_too(call: Written) -> None:
    """Nobody knows whether the service would have answered what was meant."""
    call.ended(spoken(call, reply=None), 12.0, "no_reply")
    for number in range(250):
        lag = 0.3 if number == 75 else 0.0
        call.packet("sent", number, 960 * number, 0.02 * number + lag, 80, 960 * number, "")
    assert verdict_of(call, 13.0)[0] == "excluded"


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        (0.9, "The recording ends before the prompt begins."),
        (2.9, "The recording ends before the reply begins."),
    ],
)
def test_what_was_not_recorded_is_excluded(recorded: float, reason: str, call: Written) -> None:
    """It is neither silence in the prompt nor a reply that was missed."""
    spoken(call)
    assert verdict_of(call, recorded) == ("excluded", reason)


@pytest.mark.parametrize(
    "wrong", [{"deadline": 0}, {"deadline": float("nan")}, {"level": 3.0}, {"lag": "long"}]
)
def test_thresholds_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """In one sentence that names it."""
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=rf"^{name}= is a number of"):
        Thresholds(**wrong)


# --- yielding -------------------------------------------------------------------------------------


def interrupted(call: Written, *, silent_from: float, until: float = 9.0) -> Latency:
    """Speak from 4 to 5 s into a reply that began at 3 s; return the second turn's latency."""
    first = spoken(call, reply=None)
    answered(call, 3.0, silent_from)
    call.ended(first, silent_from + 0.4, "cancelled")
    spoken(call, start=4.0, end=5.0, reply=None if silent_from > 6 else (7.0, 8.0), n=2)
    return call.run(until).turns[1].latency


def test_yield_latency_is_from_onset_to_silence(call: Written) -> None:
    """To the millisecond, on clean audio."""
    latency = interrupted(call, silent_from=4.35)
    assert (latency.yielded, latency.yield_latency) == (True, pytest.approx(0.35, abs=0.001))
    assert latency.verdict == "answered"


def test_a_reply_that_goes_on_does_not_yield(call: Written) -> None:
    """Beyond 2 s it is none; another window can be given."""
    latency = interrupted(call, silent_from=6.3)
    assert (latency.yielded, latency.yield_latency) == (False, None)
    run = rtnb.open_run(call._folder)
    (took,) = run.latency(yield_window=2.5).yields
    assert took == pytest.approx(2.3, abs=0.001)


def test_a_call_that_ends_meanwhile_tells_nothing(call: Written) -> None:
    """Neither that it yielded nor that it did not."""
    latency = interrupted(call, silent_from=4.9, until=4.9)
    assert (latency.yielded, latency.yield_latency) == (None, None)


def test_a_yield_that_is_not_known_yet_is_asked_for_again(call: Written) -> None:
    """A turn may be over before the reply that it spoke into falls silent."""
    first = spoken(call, reply=None)
    answered(call, 3.0, 4.35)
    call.ended(first, 4.75, "cancelled")
    turn = spoken(call, start=4.0, end=4.2, reply=None, n=2)
    call.ended(turn, 4.3, "cancelled")
    run = call.run(9.0)
    audio = run.folder / "audio.wav"
    whole = audio.read_bytes()
    audio.write_bytes(whole[: 44 + 4 * round(4.3 * RATE)])
    assert run.turns[1].latency.yielded is None
    audio.write_bytes(whole)
    assert run.turns[1].latency.yield_latency == pytest.approx(0.35, abs=0.001)


def test_the_answer_is_none_of_the_reply_that_it_follows(call: Written) -> None:
    """Though it comes sooner than a pause of that would end."""
    first = spoken(call, reply=None)
    answered(call, 3.0, 4.35)
    call.ended(first, 4.75, "cancelled")
    spoken(call, start=4.0, end=4.2, reply=(4.7, 5.5), n=2)
    latency = call.run(9.0).turns[1].latency
    assert (latency.yielded, latency.yield_latency) == (True, pytest.approx(0.35, abs=0.001))


def test_a_pause_of_the_reply_is_not_its_end(call: Written) -> None:
    """Below half a second it is a pause."""
    call.heard(4.7, 4.9)
    latency = interrupted(call, silent_from=4.35)
    assert latency.yield_latency == pytest.approx(0.9, abs=0.001)


def test_speech_into_silence_interrupts_nobody(call: Written) -> None:
    """There is nothing to yield."""
    spoken(call)
    assert the(call.run(5.0)).yielded is None


# --- many -------------------------------------------------------------------------------------------


def several(call: Written, count: int = 12, *, late: int = 2) -> rtnb.Run:
    """Return turns of 5 s, answered after 0.3, 0.4, … s but for the last, which are not."""
    for n in range(count):
        at = 5.0 * n
        reply = (at + 1.8 + 0.1 * n, at + 3.5)
        turn = spoken(
            call, start=at + 0.5, end=at + 1.5, reply=None if n >= count - late else reply, n=n
        )
        if n >= count - late:
            call.ended(turn, at + 6.6, "no_reply")
    return call.run(5.0 * count + 2)


def test_a_summary_of_many_turns(call: Written) -> None:
    """Counts, percentiles, gaps and rates."""
    found = several(call).latency()
    assert (len(found), found.answered, found.missed, found.censored) == (12, 10, 2, 0)
    assert found.median == pytest.approx(0.75, abs=0.002)
    assert found.p90 == pytest.approx(1.11, abs=0.002)
    assert found.response_rate == pytest.approx(10 / 12)
    assert found.interruption_rate == 0.0
    assert found.turn_gap == pytest.approx(0.75, abs=0.002)
    assert found.summary["first_audio_min"] == pytest.approx(0.3, abs=0.002)
    assert found.summary["first_audio_max"] == pytest.approx(1.2, abs=0.002)
    assert found.overlap == 0.0
    assert (found.yields, found.yield_median, found.yield_rate) == ((), None, None)


def test_rates_on_fewer_than_ten_events_are_not_shown(call: Written) -> None:
    """They are None, and it is said why."""
    found = several(call, 8, late=0).latency()
    assert (found.response_rate, found.yield_rate, found.interruption_rate) == (None, None, None)
    assert found.hidden["response_rate"] == "It rests on 8 events; below 10 none is shown."
    assert "fewer than 10 events" in repr(found)


def test_rates_and_medians_rest_on_the_turns_that_can_be_scored() -> None:
    """Censored and excluded turns are in none; a reply that did not yield counts as one spoken into."""
    late = Latency(first_audio=9.0, verdict="missed")
    turns = [Latency(first_audio=1.0, verdict="answered", yielded=True, yield_latency=0.5)] * 8
    turns += [late, late, Latency(verdict="censored"), Latency(verdict="excluded", yielded=False)]
    found = Latencies((*turns, Latency(verdict="excluded", yielded=False)), interruptions=5)
    assert (found.median, found.p90) == (1.0, 1.0)
    assert (found.response_rate, found.yield_rate, found.interruption_rate) == (0.8, 0.8, 0.5)
    assert found.yield_median == 0.5


def test_overlap_and_interruptions_are_counted(call: Written) -> None:
    """A reply that begins within speech, and what both say at once."""
    spoken(call, reply=(1.75, 3.0))
    found = call.run(5.0).latency()
    assert (found.interruptions, found.gaps) == (1, ())
    assert found.overlap == pytest.approx(0.25, abs=0.001)


def test_the_reply_to_a_later_turn_is_no_answer(call: Written) -> None:
    """After a turn that was missed, a text is answered: there is no gap of 19 s."""
    call.ended(spoken(call, reply=None), 12.0, "no_reply")
    asked(call, at=20.0, reply=(21.0, 22.0))
    found = call.run(23.0).latency()
    assert (found.missed, found.answered, found.gaps) == (1, 1, ())


def test_without_packets_nothing_is_said_of_pacing_and_network(call: Written) -> None:
    """Runs of earlier versions have none: no figure is better than a 0."""
    spoken(call)
    run = call.run(5.0)
    (run.folder / "packets.csv").unlink()
    found = rtnb.open_run(run.folder).latency()
    assert found.answered == 1
    assert (found.summary["loss"], found.summary["worst_lag"]) == (None, None)
    assert found.to_frame()["late_packets"][0] is None
    assert "no packets were recorded" in repr(found)


def test_nothing_adds_up_to_nothing() -> None:
    """No turns, no figures, and no error."""
    found = rtnb.Turns([]).latency()
    assert (len(found), found.median, found.p90, found.turn_gap) == (0, None, None, None)
    assert found.summary["first_audio_min"] is None
    assert repr(found).startswith("<Latencies of 0 turns>")
    assert found._repr_html_()


def test_a_table_has_a_row_a_turn(call: Written) -> None:
    """With the marks, and the pacing and the network of each."""
    frame = several(call, 3, late=1).latency().to_frame()
    assert list(frame["verdict"]) == ["answered", "answered", "missed"]
    assert list(frame["first_audio"][:2]) == pytest.approx([0.3, 0.4], abs=0.002)
    assert {"turn", "reason", *MARKS, "yield_latency", "worst_lag", "loss"} <= set(frame.columns)


def test_text_and_html_say_the_same(call: Written) -> None:
    """Verdicts, first audio, reasons, rates, and what it was measured under."""
    for number in range(100):
        late = 0.03 if number == 50 else 0.0
        call.packet("sent", number, 960 * number, 0.02 * number + late, 80, 960 * number, "")
    found = several(call, 3, late=1).latency()
    for shown in (repr(found), found._repr_html_()):
        assert "2 answered" in shown
        assert "median 0.35 s" in shown
        assert "No reply was audible within 5 s." in shown
        assert "fewer than 10 events" in shown
        assert "1 late packet, worst lag 30.0 ms" in shown


def test_they_are_drawn(call: Written) -> None:
    """As a waterfall, on the axes that are given."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.add_subplot()
    assert several(call, 3, late=1).latency().plot(ax=axes) is axes


def test_names_are_those_of_the_prompts(call: Written) -> None:
    """A text by its words, escaped; else by its number."""
    call.turn(1.0, text="<b>Hi</b>\x1b")
    call.turn(2.0)
    found = call.run(3.0).latency()
    assert found.names[0].startswith("<b>Hi</b>")
    assert found.names[1] == "turn 2"
    assert "\x1b" not in repr(found)
    assert "<b>Hi" not in found._repr_html_()


def test_turns_of_several_calls_are_counted_by_place(tmp_path: Path) -> None:
    """As a batch has them; each call's recording is looked at, and its quality is kept."""
    turns = rtnb.Turns([])
    for name in ("one", "two"):
        call = Written(tmp_path / name)
        spoken(call, reply=(1.75, 3.0))
        turns += call.run(5.0).turns
    found = turns.latency()
    assert (found.numbers, found.names) == ((1, 2), ("turn 1", "turn 2"))
    assert (len(found.calls), found.interruptions) == (2, 2)
    assert found.overlap == pytest.approx(0.5, abs=0.002)


def test_times_beyond_the_recording_are_cut(call: Written) -> None:
    """A turn that is said to end in a thousand years does not take as long to look at."""
    turn = spoken(call, reply=None)
    call.ended(turn, 3e10, "no_reply")
    assert call.run(5.0).latency().missed == 1


def test_figures_of_several_calls_are_added_up() -> None:
    """Losses by what was expected; the worst lag and jitter."""
    one = CallQuality(packets_received=90, packets_lost=10, loss=0.1, bursts=(10,), jitter=0.001)
    other = CallQuality(
        packets_received=100,
        packets_foreign=7,
        worst_lag=0.03,
        jitter=0.004,
        concealed={"fec": 1},
    )
    both = together([one, other])
    assert both.packets_foreign == 7
    assert (both.packets_received, both.loss, both.worst_lag) == (190, 0.05, 0.03)
    assert (both.bursts, both.jitter, both.concealed) == ((10,), 0.004, {"fec": 1})
    assert together([one]) is one
    assert together([]).loss == 0.0


# --- real calls -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talk(brief_peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A call with a story and speech into it; and its run."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    with rtnb.connect(brief_peer, turn_detection=SOON, record_to=folder, progress=False) as session:
        story = session.send(STORY)
        story.wait_for_audio(1.7)  # within a sentence of 3 s
        assert story.latency.verdict == "pending"
        session.ask(brief_prompt(), progress=False)
        story.wait(30)
        live = session.latency()
    assert live.turns == session.latency().turns
    return live, rtnb.open_run(folder)


def test_a_real_call_has_all_marks(talk: tuple[Latencies, rtnb.Run]) -> None:
    """In their order; the first packet may come a little after its own sound is due."""
    live, _ = talk
    first = live[1]
    assert (first.verdict, list(first.marks)) == ("answered", list(MARKS))
    assert all(seconds > -0.1 for seconds in first.stages.values())
    assert first.quality is not None
    assert first.quality.packets_received > 20


def test_speech_into_a_real_reply_has_a_yield_latency(talk: tuple[Latencies, rtnb.Run]) -> None:
    """The story falls silent soon; it was answered all the same."""
    live, _ = talk
    assert [one.yielded for one in live] == [None, True]
    assert 0.0 < (live[1].yield_latency or 0.0) < 1.5
    assert live.overlap > 0.0


def test_a_reopened_run_has_the_same_figures(talk: tuple[Latencies, rtnb.Run]) -> None:
    """Each mark, verdict and rate of the live session."""
    live, run = talk
    found = run.latency()
    assert found.turns == live.turns
    assert (found.gaps, found.overlap, found.interruptions) == (
        live.gaps,
        live.overlap,
        live.interruptions,
    )


def test_the_latency_of_a_turn_does_not_read_the_whole_call(tmp_path: Path) -> None:
    """In an hour of recording a turn takes what it takes in a minute."""
    call = Written(tmp_path / "run")
    spoken(call)
    run = call.run(5.0)
    with (run.folder / "audio.wav").open("r+b") as file:
        file.truncate(44 + 4 * RATE * 3600)  # a hole: it takes no room
    turn = rtnb.open_run(run.folder).turns[0]
    began = time.perf_counter()
    assert turn.latency.verdict == "answered"
    assert turn.latency.reply_end == pytest.approx(4.0, abs=0.001)
    assert time.perf_counter() - began < 1.0
