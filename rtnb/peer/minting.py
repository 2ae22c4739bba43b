"""What the body of a mint asks for: a session and a lifetime; it must not know HTTP or keys."""

from __future__ import annotations

from typing import Final

from rtnb.dialects import BETA, Json
from rtnb.peer.outputs import new_id
from rtnb.peer.settings import BETA_TEMPERATURE, Problem, changed, default_session

__all__ = ["asked", "asked_in_beta"]

_SHORTEST, _LONGEST, _USUAL = 10, 7200, 600  # seconds that an ephemeral key may live
_BETA_LIFETIME: Final = 60


def asked(body: Json) -> tuple[Json, float]:
    """Return the effective session and the key's lifetime in seconds.

    Raises
    ------
    Problem
        Something in the body is not permitted.
    """
    unknown = next((key for key in body if key not in ("expires_after", "session")), None)
    if unknown is not None:
        raise Problem(f"Unknown parameter: {unknown!r}.", unknown, "unknown_parameter")
    lifetime = _lifetime(body.get("expires_after"))
    session = default_session(new_id("sess"))
    if body.get("session") is not None:
        session = changed(session, body["session"], started=False)
    return session, lifetime


def asked_in_beta(body: Json) -> tuple[Json, float]:
    """Return the same of a flat body, as the old route takes it.

    Raises
    ------
    Problem
        Something in the body is not permitted.
    """
    if "type" in body or "audio" in body:
        raise Problem("This is the old route; it takes a flat session.", code="unknown_parameter")
    change = BETA.session_from_wire(body)
    if "temperature" in body:
        change["temperature"] = body["temperature"]
    session = default_session(new_id("sess")) | {"temperature": BETA_TEMPERATURE}
    session = changed(session, change, started=False)
    secret = body.get("client_secret")
    if not isinstance(secret, dict | None):
        raise Problem("Invalid type for 'client_secret'.", "client_secret", "invalid_type")
    path = "client_secret.expires_after"
    return session, _lifetime((secret or {}).get("expires_after"), _BETA_LIFETIME, path)


def _lifetime(given: object, usual: float = _USUAL, path: str = "expires_after") -> float:
    if given is None:
        return usual
    if not isinstance(given, dict) or given.get("anchor", "created_at") != "created_at":
        param = f"{path}.anchor"
        raise Problem(f"Invalid '{param}': expected 'created_at'.", param)
    seconds = given.get("seconds", usual)
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not whole or not _SHORTEST <= seconds <= _LONGEST:
        param = f"{path}.seconds"
        message = f"Invalid '{param}': expected a whole number from {_SHORTEST} to {_LONGEST}."
        raise Problem(message, param)
    return float(seconds)
