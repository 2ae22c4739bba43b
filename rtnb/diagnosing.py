"""The rules from symptoms to causes, the most decisive first; they must not know a turn or a call."""

from __future__ import annotations

from typing import Final

from rtnb.causes import Finding, Rule, quoted, reason_of, refusal_of, refused
from rtnb.dialects import BETA, text_at
from rtnb.eventtext import plain
from rtnb.measure import AUDIBLE_LEVEL
from rtnb.symptoms import Symptoms
from rtnb.unanswered import PATIENCE, UNANSWERED, ends_in_speech

__all__ = ["findings"]

_OTHERWISE_TOLD: Final = ("session_expired", "wrong_dialect")
_ENDED_EARLY: Final = ("failed", "incomplete", "cancelled")
_LONGEST: Final = 400  # characters of what a call ended for
_MANY_LOST: Final = 0.5  # of the time in which a reply was to be heard


def findings(seen: Symptoms) -> list[Finding]:
    """Return every cause that fits, the most decisive first; never none."""
    found = [finding for rule in _RULES if (finding := rule(seen)) is not None]
    if seen.answered and seen.status == "completed":
        return [_answered(seen), *found]
    if not seen.over and not any(finding.cause in _HOLDING for finding in found):
        return [_in_progress(seen, found), *found]
    return found or [_unknown(seen)]


_HOLDING: Final = ("held_open", "tool_running", "active_response", "session_expired")


def _answered(seen: Symptoms) -> Finding:
    return Finding("answered", f"There was a reply: {seen.answered:.2f} s of it were heard.")


def _in_progress(seen: Symptoms, found: list[Finding]) -> Finding:
    going = f"The turn is not over: it began {seen.until - seen.started:.1f} s ago"
    if seen.answered:
        return Finding("in_progress", f"{going}, and {seen.answered:.2f} s of reply were heard.")
    if found:
        return Finding("in_progress", f"{going}. So far: {found[0].text}")
    if seen.voice_open:
        return Finding("in_progress", f"{going}, and somebody is speaking.")
    if seen.kind != "text" and seen.play_ended is None:
        return Finding("in_progress", f"{going}, and its prompt is being played.")
    return Finding("in_progress", f"{going}, and there is no sign of trouble; wait for it.")


def _unknown(seen: Symptoms) -> Finding:
    heard = f"{seen.answered:.2f} s of reply were heard" if seen.answered else "No reply was heard"
    return Finding(
        "unknown",
        f"{heard}, and no known cause fits. What was seen: {seen.came}; {seen.packets}. "
        "Look at `turn.events` and `turn.plot()`.",
    )


# --- what the service refused ----------------------------------------------------------------------


def _expired(seen: Symptoms) -> Finding | None:
    told = [refused(error) for error in seen.errors]
    return next((one for one in told if one.cause == "session_expired"), None)


def _other_dialect(seen: Symptoms) -> Finding | None:
    for error in seen.errors:
        if (told := refused(error)).cause == "wrong_dialect":
            return told
    # what the endpoint's own dialect has was renamed when it came
    old = sorted({e.type for e in seen.events if e.type in BETA.received})
    if not old or seen.answered:
        return None
    return Finding(
        "wrong_dialect",
        f"The server sends events of the beta dialect ({plain(old[0], 80)}), and the endpoint was "
        "set up for the present one. Use `rtnb.Endpoint.beta`.",
    )


def _refused(seen: Symptoms) -> Finding | None:
    """Tell what an event of ours was refused for, if the turn came to nothing by it."""
    # one that was asked for again, and then answered, did no harm
    open_still = seen.last is None or seen.last.done is None
    harmful = open_still and not seen.answered and seen.ending is None
    for error in reversed(seen.errors):
        told = refused(error)
        failed = seen.error in (text_at(error, "message"), text_at(error, "code"))
        if told.cause in _OTHERWISE_TOLD:
            continue
        if failed or (harmful and told.cause != "refused"):
            return told
    if seen.error == "the service gave no reason":
        return Finding("refused", "The service refused an event of ours, and gave no reason.")
    return None


# --- how its responses ended -----------------------------------------------------------------------


def _heard_before(seen: Symptoms) -> str:
    return f" {seen.answered:.2f} s of it were heard." if seen.answered else ""


def _failed(seen: Symptoms) -> Finding | None:
    last = seen.last
    if last is None or last.status != "failed":
        return None
    error = seen.details(last).get("error")
    told = error if isinstance(error, dict) else {"message": last.error or ""}
    cause, advice = refusal_of(told, "response_failed")
    said = f"The response failed; the service says: {reason_of(told)}.{_heard_before(seen)}"
    return Finding(cause, f"{said} {advice or 'Try again.'}")


def _incomplete(seen: Symptoms) -> Finding | None:
    last = seen.last
    if last is None or last.status != "incomplete":
        return None
    reason = text_at(seen.details(last), "reason") or last.error or ""
    heard = _heard_before(seen)
    if reason == "max_output_tokens":
        limit = seen.session.get("max_output_tokens")
        most = f" of {limit}" if isinstance(limit, int) else ""
        return Finding(
            "max_output_tokens",
            f"The response reached its limit{most} tokens.{heard} Raise `max_output_tokens`.",
        )
    if reason == "content_filter":
        _, advice = refusal_of({"code": reason}, reason)
        return Finding(reason, f"The response is incomplete.{heard} {advice}")
    said = f"The response is incomplete: {quoted(reason) or 'the service gave no reason'}.{heard}"
    return Finding("response_failed", f"{said} Try again.")


def _cancelled(seen: Symptoms) -> Finding | None:
    last = seen.last
    if last is None:
        return None
    reason = text_at(seen.details(last), "reason")
    if last.stopped is None and not last.cut and last.status != "cancelled":
        return None
    heard = _heard_before(seen)
    if last.stopped is not None or reason == "client_cancelled":
        return Finding("interrupted", f"The reply was interrupted by us.{heard}")
    if reason == "turn_detected" or last.cut:
        return Finding(
            "turn_detected",
            f"Turn detection heard new speech, and cut the reply off.{heard} Where nobody spoke, "
            "what was sent holds an echo or noise: raise `threshold` in `turn_detection`, or set its "
            "`interrupt_response` to False.",
        )
    said = quoted(reason) or "the service gave no reason"
    return Finding("interrupted", f"The response was cancelled: {said}.{heard}")


def _tool(seen: Symptoms) -> Finding | None:
    running = [call for call in seen.tool_calls if call.ended is None]
    if running and not seen.over:
        name = plain(running[0].name, 80)
        since = seen.now - running[0].started
        return Finding("tool_running", f"The tool {name} has been running for {since:.1f} s.")
    given = {
        text_at(event.data, "item", "call_id") for event in seen.sent("conversation.item.create")
    }
    left = [c for c in seen.tool_calls if c.output is None and c.error is None and c.ended]
    left = [call for call in left if call.call_id not in given]
    if not left or seen.answered:
        return None
    name = plain(left[0].name, 80)
    return Finding(
        "tool_unanswered",
        f"The model called the tool {name} and waits for its result. It was given as a schema "
        "without a function: send a `conversation.item.create` with the `function_call_output`, then "
        "`response.create`, with `session.send_event`; or give a function to `tools=`.",
    )


# --- the call's end ----------------------------------------------------------------------------------


def _call_ended(seen: Symptoms) -> Finding | None:
    if seen.ending is None:
        return None
    said = plain(seen.ending, _LONGEST).rstrip(".")
    for known in ("The call is over: ", "The call is over; "):
        said = said.removeprefix(known)
    heard = f" {seen.answered:.2f} s of it were heard." if seen.answered else ""
    before = "before its reply was complete" if heard else "before its reply was heard"
    if seen.play_started is not None and seen.play_ended is None:
        before = "while its prompt was being played"
    again = "" if "connect again" in said else " Call `rtnb.connect` again."
    return Finding("call_ended", f"The call was over {before}: {said}.{heard}{again}")


def _dropped(seen: Symptoms) -> Finding | None:
    if seen.status != "cancelled" or seen.responses or seen.ending:
        return None
    return Finding(
        "interrupted", "The turn was ended by us before it had a response (`session.interrupt`)."
    )


# --- a response without sound ------------------------------------------------------------------------


def _soundless(seen: Symptoms) -> Finding | None:
    last = seen.last
    if last is None or seen.answered or seen.ending or last.status in _ENDED_EARLY:
        return None
    if last.cut or last.stopped is not None:
        return None  # before its sound was audible
    expected = any(r.audio_expected for r in seen.responses)
    if seen.tool_calls and not expected and not seen.transcript:
        return None
    if not seen.over and (last.done is None or seen.now - last.done < PATIENCE):
        return None  # its sound may be on its way
    if not expected:
        return _wordy(seen) if seen.over or seen.transcript else None
    return _sound_missing(seen)


def _wordy(seen: Symptoms) -> Finding:
    if not seen.transcript:
        return Finding(
            "empty_response",
            "The response is complete, and has neither sound nor words. Ask again, or look at "
            "`turn.events`.",
        )
    words = f"The reply came in text, {len(seen.transcript)} characters, without sound"
    if seen.session.get("output_modalities") == ["text"]:
        how = 'the session has `output_modalities: ["text"]`. Connect without `modalities=["text"]`'
    else:
        how = "the response was asked for as text. Ask for sound with `output_modalities`"
    return Finding("text_only", f"{words}: {how} to hear it.")


def _sound_missing(seen: Symptoms) -> Finding:
    q = seen.quality
    began = any(r.audio_started is not None for r in seen.responses)
    words = f"The words of the reply came ({len(seen.transcript)} characters)"
    if seen.missing and seen.missing >= _MANY_LOST * seen.sounding:
        return Finding(
            "packets_lost",
            f"{words}, and the packets of {seen.missing:.2f} s out of its {seen.sounding:.2f} s were "
            f"lost on the way to us ({seen.arrived} came). Try another network.",
        )
    if q.packets_sent and not q.packets_received:
        return Finding(
            "no_packets",
            f"{words}, and no packet of audio since the turn began: probably UDP is blocked on the "
            "way to us, or all packets were lost. Try another network, or work against `rtnb.Peer`.",
        )
    if seen.sounding and not seen.arrived:
        return Finding(
            "packets_lost",
            f"{words}, and in the {seen.sounding:.2f} s in which its sound was sent no packet came: "
            "probably they were lost on the way to us. Try another network.",
        )
    if began or q.packets_received:
        # some servers have no output_audio_buffer events
        told = "" if began else " It was not said to begin either (`output_audio_buffer.started`)."
        return Finding(
            "silent_reply" if began else "transcript_only",
            f"{words}, and {q.packets_received} packets, in which nothing is above "
            f"{AUDIBLE_LEVEL:.0f} dBFS: the server sent silence.{told} Ask again.",
        )
    return Finding("transcript_only", f"{words}, its sound did not. Ask again.")


_RULES: Final[tuple[Rule, ...]] = (
    *(_expired, _other_dialect, _failed, _incomplete, _refused),
    *(ends_in_speech, _call_ended, _cancelled, _dropped, _tool, _soundless),
    *UNANSWERED,
)
