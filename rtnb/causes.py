"""The causes of a missing reply, and which of them the service's own codes tell; it knows no turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from rtnb._masking import mask
from rtnb.dialects import Json, text_at
from rtnb.eventtext import plain

if TYPE_CHECKING:
    from rtnb.symptoms import Symptoms

__all__ = ["CAUSES", "Finding", "Rule", "quoted", "reason_of", "refusal_of", "refused"]

CAUSES: Final = {
    # there was a reply, or there may be one
    "answered": "a reply was heard",
    "in_progress": "the turn is not over, and nothing is wrong yet",
    "text_only": "the reply is text, as the session or the response was asked for",
    # what was said to the model
    "silent_prompt": "the prompt is silence",
    "too_short": "the prompt is too short to count as speech",
    "too_quiet": "the prompt is too quiet to count as speech",
    "clipped": "the prompt is overdriven, and was not taken for speech",
    "no_trailing_silence": "speech was heard to begin, but not to end",
    "not_heard": "the prompt is audible, and the service heard no speech",
    # what was asked of it
    "no_commit": "turn detection is off, and nothing was committed",
    "no_request": "the prompt was committed, and no response was asked for",
    "create_response_off": "turn detection does not ask for a response (create_response: false)",
    "commit_empty": "there was too little audio to commit",
    "held_open": "push-to-talk is still held",
    "active_response": "a response was asked for while another one was being made",
    "refused": "the service refused an event of ours",
    # what the service did
    "response_failed": "the response failed",
    "quota": "no credit is left, or a rate limit was reached",
    "content_filter": "the content filter ended the response",
    "max_output_tokens": "the response reached its limit of tokens",
    "turn_detected": "new speech cut the response off",
    "interrupted": "we interrupted it",
    "tool_running": "a tool is still running",
    "tool_unanswered": "the model called a tool whose answer is left to you",
    "empty_response": "the response has neither sound nor words",
    "no_response": "the prompt was understood, and the service made no response",
    # what became of its sound
    "no_packets": "no packet of audio came",
    "packets_lost": "the packets of the reply were lost",
    "silent_reply": "packets came, all of silence",
    "transcript_only": "the words came, the sound did not",
    # the call
    "call_ended": "the call was over before the reply",
    "session_expired": "the session reached its longest duration",
    "key_expired": "the ephemeral key had expired",
    "key_refused": "the key was refused, or there is none",
    "wrong_dialect": "the server speaks another dialect of the API",
    "wrong_model": "the server does not offer the model",
    "offer_refused": "offer and answer did not fit",
    "unreachable": "no server answered",
    "udp_blocked": "no UDP packet came through",
    "no_channel": "the data channel never opened",
    "process_died": "the media process could not start, or died",
    "unusable": "an argument or a prompt cannot be used",
    "no_turn": "nothing has been said in this call",
    "unknown": "no rule fits",
}
"""Each cause that an `Explanation` may name, and what it means."""

_LONGEST: Final = 300  # characters of the service's words that are shown

# codes of `error` objects, in events and in the status details of a response
_CODES: Final = {
    "conversation_already_has_active_response": "active_response",
    "session_expired": "session_expired",
    "input_audio_buffer_commit_empty": "commit_empty",
    "rate_limit_exceeded": "quota",
    "insufficient_quota": "quota",
    "content_filter": "content_filter",
    "beta_api_shape_disabled": "wrong_dialect",
    "expired_client_secret": "key_expired",
    "invalid_api_key": "key_refused",
    "model_not_found": "wrong_model",
    "invalid_model": "wrong_model",
}
_ADVICE: Final = {
    "active_response": "Send one `response.create` at a time, after the `response.done` of the one "
    "before; `session.send` and `session.ask` do so by themselves.",
    "session_expired": "A session has a longest duration; call `rtnb.connect` again.",
    "commit_empty": "A commit needs at least 100 ms of audio that was not committed yet: play "
    "something longer, or leave the commit to turn detection where that is on.",
    "quota": "Wait a little, or look at the credit and the limits of the key's account.",
    "content_filter": "The service's content filter ended it; put the prompt or the instructions "
    "in other words.",
    "wrong_dialect": "Use another constructor of `rtnb.Endpoint`: `.openai` for the present API, "
    "`.beta` for servers that speak the one of before.",
    "key_expired": "Mint a new key, and call `rtnb.connect` again.",
    "key_refused": "Check the key.",
    "wrong_model": "Check `model=`.",
}
# what a server that speaks the other dialect complains about
_SHAPES: Final = (
    "session.type",
    "session.audio",
    "session.output_modalities",
    "session.modalities",
)


class Finding(NamedTuple):
    """One cause, and what was seen of it in words."""

    cause: str
    text: str


Rule = Callable[["Symptoms"], Finding | None]
"""From what was seen to a cause, or None where it is not this one."""


def quoted(words: str) -> str:
    """Return the service's words as they may be shown: in one line, short, without secrets."""
    return plain(mask(words), _LONGEST).rstrip(".")


def reason_of(error: Json) -> str:
    """Return an error's message, with its code where that is not in it."""
    message, code = text_at(error, "message"), text_at(error, "code") or text_at(error, "type")
    if not message or not code or code in message:
        return quoted(message or code) or "it gave no reason"
    return f"{quoted(message)} ({quoted(code)})"


def refusal_of(error: Json, default: str) -> tuple[str, str]:
    """Return (cause, advice) of an ``error`` object; `default` where its code is no known one."""
    code, param = text_at(error, "code"), text_at(error, "param")
    cause = _CODES.get(code, default)
    if code in ("unknown_parameter", "missing_required_parameter") and param.startswith(_SHAPES):
        cause = "wrong_dialect"
    return cause, _ADVICE.get(cause, "")


def refused(error: Json) -> Finding:
    """Return what an ``error`` object that answers an event means."""
    cause, advice = refusal_of(error, "refused")
    said = {
        "session_expired": "The session expired",
        "wrong_dialect": "The event was in another dialect of the API than the server speaks",
    }.get(cause, "The service refused an event of ours")
    return Finding(cause, f"{said}: {reason_of(error)}. {advice}".strip())
