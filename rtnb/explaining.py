"""Why there was no reply: from a turn, a call or an error to one cause in words; it sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rtnb import _html
from rtnb._masking import mask
from rtnb.causes import CAUSES, Finding, refusal_of, refused
from rtnb.diagnosing import findings
from rtnb.dialects import object_at
from rtnb.errors import (
    AnswerError,
    AudioError,
    AuthenticationError,
    CallError,
    ChannelTimeoutError,
    ConfigurationError,
    DialectError,
    ExpiredKeyError,
    MediaProcessError,
    MissingKeyError,
    ModelError,
    OfferRefusedError,
    QuotaError,
    RtnbError,
    RunError,
    ServiceError,
    ToolError,
    TurnTimeoutError,
    UdpBlockedError,
    UnreachableError,
)
from rtnb.eventtext import plain
from rtnb.symptoms import symptoms_of

__all__ = ["CAUSES", "Explanation", "explain"]

_LONGEST: Final = 600  # characters of an error's sentence
_WHOLE: Final = 2_000  # characters of a text

# the first that fits
_ERRORS: Final[tuple[tuple[type[RtnbError], str], ...]] = (
    (MissingKeyError, "key_refused"),
    (ExpiredKeyError, "key_expired"),
    (AuthenticationError, "key_refused"),
    (DialectError, "wrong_dialect"),
    (ModelError, "wrong_model"),
    (QuotaError, "quota"),
    (UnreachableError, "unreachable"),
    (OfferRefusedError, "offer_refused"),
    (AnswerError, "offer_refused"),
    (UdpBlockedError, "udp_blocked"),
    (ChannelTimeoutError, "no_channel"),
    (MediaProcessError, "process_died"),
    (CallError, "call_ended"),
    (TurnTimeoutError, "in_progress"),
    (ServiceError, "refused"),
    (AudioError, "unusable"),
    (ConfigurationError, "unusable"),
    (ToolError, "unusable"),
    (RunError, "unusable"),
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What came of a turn or a call, and why, in one word and in words.

    Attributes
    ----------
    cause : str
        One of `rtnb.explaining.CAUSES`.
    text : str
        What was seen and what to do about it, in a sentence or two.
    evidence : tuple of str
        All that was looked at: status, prompt, events, turn detection, packets, reply.
    others : tuple of Explanation
        What else is wrong, the most decisive first.
    """

    cause: str
    text: str
    evidence: tuple[str, ...] = ()
    others: tuple[Explanation, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Explanation {self.cause}: {self.text}>"

    def _repr_html_(self) -> str:
        kind: Any = "good" if self.cause == "answered" else ""
        title = "There was a reply" if kind else "Why no reply?"
        heading = _html.head(title, _html.badge(self.cause.replace("_", " "), kind))
        parts = [heading, f"<p>{_html.text(self.text)}</p>"]
        parts += [f"<p>Besides: {_html.text(other.text)}</p>" for other in self.others]
        if self.evidence:
            seen = _html.text("; ".join(self.evidence))
            parts.append(f'<p class="rtnb-muted">{seen}</p>')
        return _html.boxed("".join(parts), self.text)


def explain(subject: Any) -> Explanation:
    """Return why there was no reply, or that there was one.

    Parameters
    ----------
    subject
        A `Turn`, of a live session or of a saved run; a `Session` or a `Run`, of which the last
        turn or what ended it is explained; or an exception that rtnb has raised.

    Returns
    -------
    Explanation
        What is said in it was seen; where that admits of more than one cause, it says "probably".

    Raises
    ------
    ConfigurationError
        The subject is something else.
    """
    if isinstance(subject, BaseException):
        return _of_error(subject)
    if hasattr(subject, "turns") and hasattr(subject, "events"):
        return _of_call(subject)
    if hasattr(subject, "_state") and hasattr(subject, "_source"):
        seen = symptoms_of(subject)
        return _explanation(findings(seen), seen.evidence)
    raise ConfigurationError(
        "rtnb.explain takes a turn, a session, a run or an exception of rtnb's, not "
        f"{plain(type(subject).__name__, 80)}."
    )


def _explanation(found: Sequence[Finding], evidence: tuple[str, ...] = ()) -> Explanation:
    first, *rest = [Explanation(cause, plain(mask(text), _WHOLE)) for cause, text in found]
    seen = tuple(plain(mask(one), _WHOLE) for one in evidence)
    return Explanation(first.cause, first.text, seen, tuple(rest))


def _of_error(error: BaseException) -> Explanation:
    said = plain(mask(str(error)), _LONGEST)
    if isinstance(error, ServiceError):
        cause, advice = refusal_of({"code": error.code}, "refused")
        return Explanation(cause, f"{said} {advice}".strip())
    cause = next((cause for kind, cause in _ERRORS if isinstance(error, kind)), "unknown")
    return Explanation(cause, said or f"{type(error).__name__}, without a word.")


def _of_call(call: Any) -> Explanation:
    """Explain a call's last turn, or what the service said where there is none."""
    turns = list(call.turns)
    told = [refused(object_at(e.data, "error")) for e in call.events if e.type == "error"]
    found, evidence = told[::-1], tuple[str, ...]()
    if turns:
        seen = symptoms_of(turns[-1])
        found, evidence = findings(seen), seen.evidence
    failure = getattr(call, "failure", None)
    if not any(one.cause in ("call_ended", "session_expired") for one in found):
        expired = [one for one in told if one.cause == "session_expired"]  # after its last turn
        ended = [Finding("call_ended", plain(failure, _LONGEST))] if failure else []
        found = [*(expired[-1:] or ended), *found]
    if not found:
        found = [Finding("no_turn", f"Nothing was said in this call yet{_over(call)}.")]
    return _explanation(found, evidence)


def _over(call: Any) -> str:
    ended = getattr(call, "ended", None)
    return f", and it is over: {plain(ended, _LONGEST).rstrip('.')}" if ended else ""
