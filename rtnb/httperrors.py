"""From HTTP answers to rtnb's errors, once, at this boundary; it must not send anything.

The cases are those of the Realtime API's ``/client_secrets`` and ``/calls``; the service's own
message is shown, with keys masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rtnb._http import checked_key
from rtnb._masking import mask
from rtnb.errors import (
    AnswerError,
    AuthenticationError,
    DialectError,
    ExpiredKeyError,
    ModelError,
    OfferRefusedError,
    QuotaError,
    SignalingError,
)

if TYPE_CHECKING:
    import requests

    from rtnb.signaling import Endpoint, EphemeralKey

__all__ = ["raise_for_answer", "raise_for_key", "raise_for_status"]

_LONGEST: Final = 300  # characters of a message that are shown


def raise_for_status(
    response: requests.Response,
    doing: str,
    endpoint: Endpoint,
    *,
    key: EphemeralKey | None = None,
) -> None:
    """Raise the error that an answer of 300 or more stands for; any 2xx passes.

    Parameters
    ----------
    response
        The answer.
    doing
        What was tried, after "could not".
    endpoint
        Where.
    key
        The ephemeral key that was used, if one was.

    Raises
    ------
    SignalingError
        One of its kinds.
    """
    if 200 <= response.status_code < 300:
        return
    status = response.status_code
    code, said = _error(response)
    told = f" The service says: {said}" if said else ""
    if status in (401, 403):
        raise _authentication(endpoint, key, status, code, told)
    sentence, kind = _sentence(status, code, doing, endpoint)
    raise kind(sentence + told, status=status, code=code)


def _sentence(
    status: int, code: str | None, doing: str, endpoint: Endpoint
) -> tuple[str, type[SignalingError]]:
    if code == "beta_api_shape_disabled":
        return (
            f"{endpoint.base_url} no longer speaks the beta dialect; "
            "use rtnb.Endpoint.openai instead of .beta.",
            DialectError,
        )
    if code == "invalid_offer":
        return (
            "The server did not accept the SDP offer; it needs an audio section and ICE, "
            "as rtnb.connect makes them.",
            OfferRefusedError,
        )
    if code == "DeploymentNotFound":
        return (
            "The Azure resource has no deployment of that name; check deployment= or model=.",
            ModelError,
        )
    if code in ("invalid_model", "model_not_found"):
        return (
            "The server does not offer that model to this key; check model=, "
            "e.g. model='gpt-realtime-2.1'.",
            ModelError,
        )
    if status == 429:
        if code == "insufficient_quota":
            return (
                "No credit is left on this key's account; add credit, then try again.",
                QuotaError,
            )
        return "Too many requests with this key; wait a little, then try again.", QuotaError
    if status in (404, 405, 501):
        others = {
            "openai": "another kind of server: rtnb.Endpoint.beta, .azure, .localai or .speaches",
            "beta": "the other dialect with rtnb.Endpoint.openai",
        }
        what = f"try {others.get(endpoint.shape.name, 'another constructor of rtnb.Endpoint')}"
        return (
            f"{endpoint.base_url} does not know this address (HTTP {status}); check base_url, or "
            f"{what}.",
            DialectError,
        )
    if status < 400:
        advice = "it redirects elsewhere: give that address as base_url"
    elif status < 500:
        advice = "check the arguments and base_url"
    else:
        advice = "the server has trouble of its own: try again later"
    return f"Could not {doing} at {endpoint.base_url} (HTTP {status}); {advice}.", SignalingError


def _authentication(
    endpoint: Endpoint, key: EphemeralKey | None, status: int, code: str | None, told: str
) -> AuthenticationError:
    if key is None:
        name = endpoint.shape.key_name
        advice = f"check api_key= or {name}" if name else "check api_key="
        said = f"The server refused the API key; {advice}."
        if endpoint.key is None:
            said = "The server wants an API key; give api_key= to the endpoint."
        return AuthenticationError(
            said + told,
            status=status,
            code=code,
        )
    left = key.expires_in
    if left is not None and left < 0:
        return ExpiredKeyError(
            f"The ephemeral key expired {-left:.0f} s ago; mint a new one." + told,
            status=status,
            code=code,
        )
    return AuthenticationError(
        "The server refused the ephemeral key: it is wrong, or it has expired; mint a new one."
        + told,
        status=status,
        code=code,
    )


def raise_for_answer(response: requests.Response, endpoint: Endpoint) -> str:
    """Return the SDP of an answer, bare or in JSON.

    Raises
    ------
    AnswerError
        There is none.
    """
    text = response.text
    if text.lstrip().startswith("{"):
        try:
            text = str(response.json().get("sdp", ""))
        except ValueError:
            text = ""
    if not text.lstrip().startswith("v=0"):
        raise AnswerError(
            f"{endpoint.base_url} answered the offer with something that is not an SDP "
            f"({response.headers.get('Content-Type', 'no content type')}); check base_url.",
            status=response.status_code,
        )
    return text


def raise_for_key(response: requests.Response, endpoint: Endpoint) -> tuple[str, float | None]:
    """Return (key, expires_at) of either dialect's answer to minting; Unix seconds.

    Raises
    ------
    DialectError
        There is no key in it.
    """
    try:
        body = response.json()
        holder = body.get("client_secret", body) if isinstance(body, dict) else {}
        value = checked_key(holder["value"], "the minted key").reveal()
        expires_at = holder.get("expires_at")
        return value, None if expires_at is None else float(expires_at)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DialectError(
            f"{endpoint.base_url} answered the minting of a key with something else; "
            "it may speak another dialect.",
            status=response.status_code,
        ) from None


def _error(response: requests.Response) -> tuple[str | None, str]:
    """Return (code, message) of an error body; some servers leave both empty or send no JSON."""
    try:
        body: Any = response.json()
        error = body.get("error", body) if isinstance(body, dict) else {}
        if not isinstance(error, dict):
            error = {"message": error}
    except ValueError:
        return None, ""
    code = error.get("code") or None
    message = mask(str(error.get("message") or "")).strip()
    shown = message if len(message) <= _LONGEST else message[:_LONGEST] + "…"
    return (str(code) if code else None), shown
