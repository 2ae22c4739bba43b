"""From lists of events, levels and packets to one cause in words, rule by rule."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from talks import BETA_NAMES, created, done, error, part, said, spoken_answer, spoken_input

import rtnb
from rtnb import errors, explaining
from rtnb._masking import MASK
from rtnb.diagnosing import findings
from rtnb.events import Direction, Event, EventLog
from rtnb.explaining import CAUSES, Explanation, explain
from rtnb.quality import CallQuality
from rtnb.symptoms import Spoken, Symptoms, session_at
from rtnb.turnstate import ResponseState, ToolCall

Json = dict[str, Any]

GOOD = Spoken(2.0, peak=-6.0, loudest=-15.0, speech=1.8, speech_end=1.9)
BY_HAND = {"detection": None}
PACKETS = CallQuality(packets_sent=500, packets_received=500)


def log(*events: Json, at: float = 0.5, direction: Direction = "received") -> EventLog:
    """Return events, one every 10 ms."""
    return EventLog(
        Event(json.dumps(data), time=at + place / 100, direction=direction)
        for place, data in enumerate(events)
    )


def seen(*events: Json, sent: tuple[str, ...] = (), **known: Any) -> Symptoms:
    """Return the symptoms of a spoken turn that nothing answered, but for what is given."""
    ours = log(*({"type": kind} for kind in sent), at=2.2, direction="sent")
    usual: Json = {"play_started": 0.0, "play_ended": 2.0, "ended": 12.0, "now": 12.0}
    usual |= {"prompt": GOOD, "quality": PACKETS, "events": EventLog([*log(*events), *ours])}
    return Symptoms(**usual | known)


def replied(status: str = "completed", **known: Any) -> ResponseState:
    """Return a response of a spoken answer."""
    usual: Json = {"audio_expected": True, "audio_started": 3.0, "audio_ended": 4.0, "done": 3.5}
    return ResponseState("r1", 2.5, status, **usual | known)


def causes(symptoms: Symptoms) -> list[str]:
    """Return the causes that are found, the most decisive first."""
    return [finding.cause for finding in findings(symptoms)]


def first(symptoms: Symptoms) -> tuple[str, str]:
    """Return the most decisive cause and its text."""
    return tuple(findings(symptoms)[0])


# --- what was said to the model ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sound", "found"),
    [
        (Spoken(2.0), ["silent_prompt"]),
        (Spoken(2.0, -85.0, -90.0), ["silent_prompt"]),
        (dataclasses.replace(GOOD, peak=-52.0, loudest=-60.0), ["too_quiet"]),
        (dataclasses.replace(GOOD, speech=0.06), ["too_short"]),
        (dataclasses.replace(GOOD, clipped=0.2), ["clipped"]),
        (dataclasses.replace(GOOD, speech=0.1, loudest=-50.0), ["too_quiet", "too_short"]),
        (GOOD, ["not_heard"]),
    ],
    ids=str,
)
def test_a_prompt_that_was_not_taken_for_speech(sound: Spoken, found: list[str]) -> None:
    """Its sound says why, and where that is in order its packets are suspected."""
    assert causes(seen(prompt=sound)) == found


def test_a_level_is_said_in_figures() -> None:
    """What was measured is in the sentence, and what to do about it."""
    quiet = dataclasses.replace(GOOD, peak=-52.0, loudest=-60.0)
    _, text = first(seen(prompt=quiet))
    assert "peak is -52 dBFS" in text
    assert "clip.samples * 10" in text


def test_a_quiet_prompt_that_was_heard_is_not_blamed() -> None:
    """Where turn detection heard speech, its level is not the reason."""
    quiet = dataclasses.replace(GOOD, peak=-52.0, loudest=-60.0)
    assert causes(seen(*spoken_input(), prompt=quiet)) == ["no_response"]


def test_packets_that_do_not_come_back_are_told_of() -> None:
    """Nothing heard and nothing received: UDP is suspected, and said to be so only probably."""
    cause, text = first(seen(quality=CallQuality(packets_sent=500)))
    assert cause == "not_heard"
    assert "Probably UDP is blocked" in text


@pytest.mark.parametrize(
    ("known", "said_of_it"),
    [
        ({"ended": 2.1, "ending": "The call is over: closed.", "status": "failed"}, "session.ask"),
        ({"detection": {"silence_duration_ms": 20_000}}, "Lower `silence_duration_ms`"),
        ({}, "rtnb.Clip.silence(1.0)"),
        ({"detection": {"type": "semantic_vad"}}, "rtnb.Clip.silence(1.0)"),
    ],
    ids=["call over", "long silence", "noise", "semantic"],
)
def test_speech_that_does_not_end(known: Json, said_of_it: str) -> None:
    """speech_started without speech_stopped: what followed decides what is to be done."""
    started = {"type": "input_audio_buffer.speech_started", "item_id": "u1"}
    cause, text = first(seen(started, **known))
    assert cause == "no_trailing_silence"
    assert said_of_it in text


def test_speech_may_still_end() -> None:
    """So soon after the prompt the want of an event says nothing; nor where the call cut it off."""
    started = {"type": "input_audio_buffer.speech_started", "item_id": "u1"}
    assert causes(seen(started, status="in_progress", ended=None, now=3.0)) == ["in_progress"]
    cut: Json = {"status": "failed", "ending": "The call is over: closed.", "play_ended": None}
    assert causes(seen(started, **cut)) == ["call_ended"]


# --- what was asked for ---------------------------------------------------------------------------


def test_turns_by_hand_want_a_commit() -> None:
    """Turn detection is off and nothing was committed."""
    assert causes(seen(**BY_HAND)) == ["no_commit"]


def test_turns_by_hand_want_a_request() -> None:
    """A commit alone makes no response."""
    assert causes(seen(sent=("input_audio_buffer.commit",), **BY_HAND)) == ["no_request"]


def test_detection_may_not_ask_for_responses() -> None:
    """create_response: false leaves that to the user."""
    detection = {"type": "server_vad", "create_response": False}
    assert causes(seen(*spoken_input(), detection=detection)) == ["create_response_off"]


def test_a_service_that_says_nothing_is_told_of() -> None:
    """Asked in order, and never answered."""
    assert causes(seen(sent=("response.create",), prompt=None, kind="text")) == ["no_response"]


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("conversation_already_has_active_response", "active_response"),
        ("input_audio_buffer_commit_empty", "commit_empty"),
        ("session_expired", "session_expired"),
        ("insufficient_quota", "quota"),
        ("beta_api_shape_disabled", "wrong_dialect"),
        ("invalid_value", "refused"),
    ],
)
def test_a_refusal_is_named_by_its_code(code: str, cause: str) -> None:
    """The service's code decides, and its words are quoted."""
    found, text = first(seen(error("e1", code, "Not so."), error="Not so.", status="failed"))
    assert found == cause
    assert f"Not so ({code})" in text
    failed = seen(error("e1", code, "Not so."), error="Not so.", status="failed")
    assert causes(failed) == [cause]  # of its sound nobody has said anything


def test_a_refusal_that_did_no_harm_is_not_blamed() -> None:
    """A request that was refused, sent again and answered leaves no trace."""
    refusal = error("e1", "conversation_already_has_active_response")
    answered = seen(refusal, *spoken_answer(), status="completed", answered=1.0)
    assert causes(dataclasses.replace(answered, responses=[replied()])) == ["answered"]


def test_a_refusal_is_not_blamed_for_what_came_later() -> None:
    """A response that is complete, or the end of the call, says more."""
    refusal = error("e1", "conversation_already_has_active_response")
    silent: Json = {"status": "completed", "responses": [replied()], "transcript": "Hello."}
    assert causes(seen(refusal, **silent)) == ["silent_reply"]
    over: Json = {"status": "failed", "ending": "The call is over: closed.", "error": "Closed."}
    assert causes(seen(refusal, **over)) == ["call_ended"]


@pytest.mark.parametrize("param", ["session.type", "session.modalities"])
def test_an_unknown_shape_is_another_dialect(param: str) -> None:
    """A server that does not know the shape of a session speaks the other dialect."""
    refusal = error("e1", "unknown_parameter")
    refusal["error"]["param"] = param
    assert first(seen(refusal))[0] == "wrong_dialect"


def test_a_server_that_filters_events_is_believed_in_what_it_tells() -> None:
    """Where commits are not told of, the end of speech stands for them."""
    stopped = {"type": "input_audio_buffer.speech_stopped", "item_id": "u1"}
    assert causes(seen(stopped, told=False)) == ["no_response"]


def test_events_of_the_other_dialect_are_known() -> None:
    """Beta names that were not renamed show that the endpoint was set up for another server."""
    kind = BETA_NAMES["response.output_audio_transcript.delta"]
    assert first(seen({"type": kind, "delta": "Hi"}))[0] == "wrong_dialect"
    answered: Json = {"status": "completed", "answered": 1.0, "responses": [replied()]}
    assert causes(seen({"type": kind, "delta": "Hi"}, **answered)) == ["answered"]


# --- what the service did -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "details", "cause"),
    [
        ("failed", {"error": {"code": "server_error", "message": "Broken."}}, "response_failed"),
        ("failed", {"error": {"code": "rate_limit_exceeded"}}, "quota"),
        ("failed", {}, "response_failed"),
        ("incomplete", {"reason": "content_filter"}, "content_filter"),
        ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens"),
        ("incomplete", {"reason": "weather"}, "response_failed"),
        ("cancelled", {"reason": "turn_detected"}, "turn_detected"),
        ("cancelled", {"reason": "client_cancelled"}, "interrupted"),
    ],
)
def test_a_response_ends_for_the_services_reason(status: str, details: Json, cause: str) -> None:
    """status_details of response.done decides."""
    end = done(status=status, status_details=details)
    turn = seen(created(), end, status=status, responses=[replied(status, audio_started=None)])
    assert first(turn)[0] == cause


def test_a_cut_reply_says_how_much_was_heard() -> None:
    """What was heard before is in the sentence."""
    turn = seen(status="cancelled", responses=[replied(stopped=3.2)], answered=0.4)
    assert first(turn) == (
        "interrupted",
        "The reply was interrupted by us. 0.40 s of it were heard.",
    )


def test_what_cut_the_reply_before_is_not_said_of_this_one() -> None:
    """The end of the sound of one turn's response may come while the next one speaks."""
    cleared = {"type": "output_audio_buffer.cleared", "response_id": "r0"}
    turn = seen(cleared, *spoken_answer(), status="completed", answered=1.0, responses=[replied()])
    assert causes(turn) == ["answered"]


def test_a_cut_sound_needs_no_reason() -> None:
    """Where we did not ask for it, turn detection has cut it."""
    assert causes(seen(status="completed", responses=[replied(cut=True)])) == ["turn_detected"]


def test_a_cancelled_response_may_have_no_reason() -> None:
    """That is said, too."""
    _, text = first(
        seen(done(status="cancelled"), status="cancelled", responses=[replied("cancelled")])
    )
    assert "gave no reason" in text


def test_a_turn_that_was_dropped_says_so() -> None:
    """Interrupted before there was a response."""
    assert causes(seen(status="cancelled")) == ["interrupted"]


def test_a_tool_without_function_waits_for_its_answer() -> None:
    """The call is left to the user, and nothing else will come."""
    call = ToolCall("c1", "weather", "{}", 3.0, ended=3.0)
    silent = replied(audio_expected=False, audio_started=None, audio_ended=None)
    turn = seen(status="completed", responses=[silent], tool_calls=[call])
    cause, text = first(turn)
    assert cause == "tool_unanswered"
    assert "function_call_output" in text


def test_a_running_tool_is_told_of() -> None:
    """It is not over while a tool runs."""
    call = ToolCall("c1", "weather", "{}", 3.0)
    turn = seen(status="in_progress", ended=None, now=5.5, tool_calls=[call], responses=[replied()])
    assert first(turn) == ("tool_running", "The tool weather has been running for 2.5 s.")


# --- what became of its sound ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quality", "response", "cause"),
    [
        (CallQuality(packets_sent=500), replied(), "no_packets"),
        (PACKETS, replied(), "silent_reply"),
        (PACKETS, replied(audio_started=None), "transcript_only"),
        (CallQuality(), replied(audio_started=None), "transcript_only"),
    ],
)
def test_a_reply_that_is_not_heard(quality: CallQuality, response: Any, cause: str) -> None:
    """Packets tell whether it was lost on the way or was silence from the beginning."""
    turn = seen(status="completed", quality=quality, responses=[response], transcript="Hello.")
    assert causes(turn) == [cause]


@pytest.mark.parametrize(
    ("missing", "arrived", "cause", "words"),
    [
        (0.8, 10, "packets_lost", "0.80 s out of its 1.00 s were lost on the way to us (10 came)"),
        (0.1, 45, "silent_reply", "the server sent silence"),
        (0.0, 0, "packets_lost", "in the 1.00 s in which its sound was sent no packet came"),
    ],
    ids=["most", "few", "not known yet"],
)
def test_a_reply_whose_packets_were_lost(
    missing: float, arrived: int, cause: str, words: str
) -> None:
    """What became of its own time decides, however long the prompt before it was."""
    heard: Json = {"sounding": 1.0, "missing": missing, "arrived": arrived, "transcript": "Hello."}
    found, text = first(seen(status="completed", responses=[replied()], **heard))
    assert found == cause
    assert words in text


def test_a_reply_in_text_is_one() -> None:
    """A session for text makes no sound."""
    written = replied(audio_expected=False, audio_started=None, audio_ended=None)
    turn = seen(status="completed", responses=[written], transcript="Hello.")
    turn = dataclasses.replace(turn, session={"output_modalities": ["text"]})
    cause, text = first(turn)
    assert cause == "text_only"
    assert 'modalities=["text"]' in text


def test_a_reply_in_text_after_a_tool_is_one() -> None:
    """The tool was answered, by hand too, and the words came."""
    call = ToolCall("c1", "weather", "{}", 3.0, ended=3.0)
    given = {"item": {"type": "function_call_output", "call_id": "c1"}}
    events = log({"type": "conversation.item.create", **given}, direction="sent")
    written = replied(audio_expected=False, audio_started=None, audio_ended=None)
    known: Json = {"responses": [written, written], "transcript": "Hello.", "tool_calls": [call]}
    assert causes(seen(status="completed", events=events, **known)) == ["text_only"]


def test_a_response_of_nothing_is_told_of() -> None:
    """Neither sound nor words nor tools."""
    empty = replied(audio_expected=False, audio_started=None, audio_ended=None)
    assert causes(seen(status="completed", responses=[empty])) == ["empty_response"]


# --- the rest ------------------------------------------------------------------------------------


def test_a_call_that_ends_first() -> None:
    """Its own words are said, once."""
    turn = seen(status="failed", ending="The call is over: closed by the user.", play_ended=None)
    cause, text = first(turn)
    assert cause == "call_ended"
    assert text.startswith(
        "The call was over while its prompt was being played: closed by the user."
    )
    assert text.count("connect again") == 0
    assert text.endswith("Call `rtnb.connect` again.")
    told = seen(status="cancelled", ending="It is gone; connect again.")
    assert causes(told) == ["call_ended"]
    assert first(told)[1].endswith("connect again.")
    assert "rtnb.connect" not in first(told)[1]


def test_an_open_turn_may_still_be_answered() -> None:
    """Soon after the prompt nothing is wrong; later the reason is given with it."""
    fresh = seen(status="in_progress", ended=None, now=3.0)
    assert causes(fresh) == ["in_progress"]
    late = dataclasses.replace(fresh, now=8.0, prompt=Spoken(2.0))
    assert causes(late) == ["in_progress", "silent_prompt"]
    assert "2.00 s of silence" in first(late)[1]


def test_sound_may_be_on_its_way() -> None:
    """Soon after response.done a reply that is not heard yet is no riddle; later it is."""
    open_still = seen(status="in_progress", ended=None, now=5.0, responses=[replied()])
    assert causes(open_still) == ["in_progress"]
    assert causes(dataclasses.replace(open_still, now=6.0)) == ["in_progress", "silent_reply"]


def test_what_no_rule_fits_says_what_was_seen() -> None:
    """The last event and the packets are named."""
    item = {"type": "input_audio_buffer.speech_stopped", "item_id": "u1"}
    cause, text = first(seen(item))
    assert cause == "unknown"
    assert "the last one input_audio_buffer.speech_stopped; 500 packets sent" in text


def test_what_ended_a_call_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last turn may have been answered before; the service's word on the end is the better."""
    answered = seen(status="completed", answered=1.0, responses=[replied()])
    monkeypatch.setattr(explaining, "symptoms_of", lambda _: answered)
    expiry = error("", "session_expired", "60 minutes.")
    for events, failure, cause in (
        (log(), "It is gone.", "call_ended"),
        (log(expiry), "It is gone.", "session_expired"),
        (log(expiry), None, "session_expired"),
        (log(error("", "invalid_value")), None, "answered"),
    ):
        call = SimpleNamespace(turns=[None], events=events, failure=failure)
        assert explain(call).cause == cause
    broken = seen(status="failed", ending="It is gone.", error="It is gone.")
    monkeypatch.setattr(explaining, "symptoms_of", lambda _: broken)
    call = SimpleNamespace(turns=[None], events=log(), failure="It is gone.")
    assert (explain(call).cause, explain(call).others) == ("call_ended", ())


def test_what_was_seen_is_fit_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and settings come from the server: no escape sequence, no key, and not without end."""
    odd = log({"type": f"\x1b[31m sk-abcdefgh12345 {'x' * 9999}"})
    strange = {"type": "\x1b[31m", "threshold": "x" * 9999}
    turn = seen(events=odd, detection=strange, prompt=None, quality=CallQuality())
    monkeypatch.setattr(explaining, "symptoms_of", lambda _: turn)
    explanation = explain(SimpleNamespace(_state=None, _source=None))
    assert explanation.cause == "unknown"
    for shown in (explanation.text, *explanation.evidence):
        assert len(shown) < 2_001
        assert not {"\x1b", "abcdefgh"} & {*shown, *re.findall("abcdefgh", shown)}


def test_words_of_the_service_are_shown_without_secrets() -> None:
    """A key that the service quotes is masked."""
    refusal = error("e1", "invalid_value", "Wrong key sk-abcdefgh12345")
    cause, text = first(seen(refusal, error=f"Wrong key {MASK}"))  # as the turn has it
    assert cause == "refused"
    assert f"Wrong key {MASK} (invalid_value)" in text
    assert "abcdefgh" not in explain(errors.CallError("No: sk-abcdefgh12345")).text


def test_the_session_that_was_in_force_is_found() -> None:
    """Acknowledged changes, those on their way, and refused ones; those of later do not count."""
    off = {"audio": {"input": {"turn_detection": None}}}
    events = [
        ("received", {"type": "session.created", "session": {"output_modalities": ["audio"]}}),
        ("sent", {"type": "session.update", "event_id": "a", "session": {"voice": "no"}}),
        ("received", error("a")),
        ("sent", {"type": "session.update", "event_id": "b", "session": off}),
    ]
    one = EventLog(
        Event(json.dumps(data), time=float(at), direction=direction)
        for at, (direction, data) in enumerate(events)
    )
    assert session_at(one, 2.5) == {"output_modalities": ["audio"]}
    assert session_at(one, 9.0) == {"output_modalities": ["audio"]} | off
    last = {"type": "session.updated", "session": {"output_modalities": ["text"]}}
    more = EventLog([*one, Event(json.dumps(last), time=4.0, direction="received")])
    assert session_at(more, 9.0) == {"output_modalities": ["text"]}  # the server has the last word


def test_a_session_in_beta_is_understood() -> None:
    """The flat session of a beta server is read as the same settings in GA form."""
    flat = {"type": "session.created", "session": {"modalities": ["text"], "turn_detection": None}}
    session = session_at(log(flat), 9.0)
    assert session["output_modalities"] == ["text"]
    assert session["audio"]["input"]["turn_detection"] is None


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        (errors.UdpBlockedError("No UDP packet came through."), "udp_blocked"),
        (errors.ExpiredKeyError("The key expired 3 s ago."), "key_expired"),
        (errors.AuthenticationError("The key was refused."), "key_refused"),
        (errors.MissingKeyError("No key."), "key_refused"),
        (errors.DialectError("Another dialect."), "wrong_dialect"),
        (errors.QuotaError("No credit."), "quota"),
        (errors.ModelError("No such model."), "wrong_model"),
        (errors.UnreachableError("Nobody there."), "unreachable"),
        (errors.AnswerError("No SDP."), "offer_refused"),
        (errors.ChannelTimeoutError("No channel."), "no_channel"),
        (errors.MediaProcessError("It died."), "process_died"),
        (errors.CallClosedError("Over."), "call_ended"),
        (errors.TurnTimeoutError("Not yet."), "in_progress"),
        (errors.AudioError("No audio."), "unusable"),
        (errors.RunError("No run."), "unusable"),
        (errors.ServiceError("Refused: no", code="unknown_parameter"), "refused"),
        (errors.ServiceError("Refused: no", code="insufficient_quota"), "quota"),
        (ValueError("Something else."), "unknown"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_is_explained_by_its_kind(raised: Exception, cause: str) -> None:
    """Its own sentence says what to do; the cause is a word to go by."""
    explanation = explain(raised)
    assert explanation.cause == cause
    assert explanation.text.startswith(str(raised))


def test_every_cause_that_is_told_is_listed() -> None:
    """The codes and kinds of errors lead to causes that have a meaning."""
    from rtnb.causes import _ADVICE, _CODES
    from rtnb.explaining import _ERRORS

    used = {*_CODES.values(), *_ADVICE, *(cause for _, cause in _ERRORS)}
    assert used <= set(CAUSES)


def test_every_cause_is_in_the_documentation() -> None:
    """docs/no-reply.md has a row for each, and for no other."""
    page = Path(rtnb.__file__).parents[1] / "docs" / "no-reply.md"
    rows = re.findall(r"^\| `(\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(CAUSES)


def test_something_else_is_refused_in_words() -> None:
    """What cannot be explained says what can be."""
    with pytest.raises(rtnb.ConfigurationError, match=r"takes a turn, a session, a run or an exc"):
        explain(7)


def test_an_explanation_shows_itself_escaped() -> None:
    """A cell shows words, what else is wrong and what was seen, as text and as HTML."""
    besides = Explanation("clipped", "Too <b>loud</b>.")
    one = Explanation("too_short", "Say <i>more</i>.", ("status <no>",), (besides,))
    shown = one._repr_html_()
    assert str(one) == "Say <i>more</i>."
    assert "too_short" in repr(one)
    assert "Too &lt;b&gt;loud" in shown
    assert "<i>more" not in shown
    assert "status &lt;no&gt;" in shown


def test_parts_without_end_do_not_break_a_rule() -> None:
    """Events of a reply that was begun and left are told of as what was seen."""
    began = [created(), part("audio"), said("output_audio_transcript.delta", "He")]
    left = replied("in_progress", done=None, audio_ended=None)
    assert causes(seen(*began, status="incomplete", responses=[left], transcript="He"))
