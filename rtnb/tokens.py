"""Fetches ephemeral keys from token endpoints, ours or anybody's; it must not know calls.

Servers that mint keys for pages answer ``GET`` (some ``POST``) with JSON: what the GA or the beta
route of the Realtime API gave them, or only the key under a name of their own.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from rtnb._http import Fetched, checked_key, fetch
from rtnb._masking import MASK, Secret, mask
from rtnb.endpoints import OPENAI_URL, is_loopback
from rtnb.errors import (
    AuthenticationError,
    ConfigurationError,
    DialectError,
    ModelError,
    QuotaError,
    SignalingError,
)
from rtnb.signaling import EphemeralKey

__all__ = ["fetch_token"]

_LARGEST: Final = 65_536  # bytes of an answer
_HOPS: Final = 3  # redirects that are followed on one server
_LONGEST: Final = 300  # characters of a message that are shown
_SHORTEST_HIDDEN: Final = 6  # characters of a header's value that is worth hiding
_MILLISECONDS: Final = 1e11  # as seconds, this is the year 5138
_NAMES: Final = ("value", "client_secret", "token", "ephemeral_key", "ephemeralKey")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_STANDARD: Final = "sk-"
_MOVED: Final = (301, 302, 303, 307, 308)


def fetch_token(
    url: str, headers: Mapping[str, str] | None = None, *, timeout: float = 30.0
) -> tuple[EphemeralKey, str | None]:
    """Ask a token endpoint for an ephemeral key (``GET``; ``POST`` where it wants that).

    Parameters
    ----------
    url
        Of the endpoint, such as ``http://127.0.0.1:8177/session``; its query may name a voice and a
        model. Plain ``http://`` is for this machine only.
    headers
        Of the request, such as ``{"Authorization": "Bearer …"}``.
    timeout
        Seconds for the whole, redirects on the same server included.

    Returns
    -------
    EphemeralKey
        The key.
    str or None
        The base URL to call with it, where the answer names one of the endpoint's own server (or,
        for an endpoint on this machine, of this machine) or OpenAI's.

    Raises
    ------
    UnreachableError
        No answer came, or not in time.
    AuthenticationError
        The endpoint wants other headers (HTTP 401 or 403).
    QuotaError
        It was asked too often, or the account behind it has no credit.
    ModelError
        The model is not offered.
    DialectError
        There is no ephemeral key in the answer.
    SignalingError
        Anything else that is no answer, such as a redirect to another server or a standard key.
    ConfigurationError
        The address or a header cannot be used.
    """
    place = _Place(_checked_url(url))
    sent = _checked_headers(headers)
    answer = _asked(url, place, sent, time.monotonic() + timeout)
    if not 200 <= answer.status < 300:
        raise _refusal(answer, place, sent.values())
    body = _parsed(answer)
    key = _key_of(body, place, answer.status)
    return key, _base_url_of(body, url)


@dataclass(frozen=True, repr=False)
class _Place:
    """The server of a token endpoint; a path or a query may hold what is not to be shown."""

    parts: SplitResult

    @property
    def base_url(self) -> str:
        return f"{self.parts.scheme}://{self.parts.netloc}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.base_url)


def _checked_url(url: Any) -> SplitResult:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no number as port, no end of an IPv6 address
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ConfigurationError(
            "token_url= is no address; give one like http://127.0.0.1:8177/session."
        )
    if parts.username or parts.password:
        raise ConfigurationError("token_url= must hold no user or password; use token_headers=.")
    if parts.scheme == "http" and not is_loopback(url):
        raise ConfigurationError(
            f"A key is not fetched over plain http:// from {parts.hostname}; use https://."
        )
    return parts


def _checked_headers(headers: Any) -> dict[str, str]:
    """Return the headers to send; what is wrong with them is told without a value."""
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigurationError(f"token_headers= is a dict, not {type(headers).__name__}.")
    # small and in one piece: what is read of it is bounded
    sent = {"Accept": "application/json", "Accept-Encoding": "identity"}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise ConfigurationError("token_headers= has a name that is none of an HTTP header.")
        text = value.reveal() if isinstance(value, Secret | EphemeralKey) else value
        if not isinstance(text, str) or not (text.isascii() and text.isprintable()):
            raise ConfigurationError(
                f"token_headers[{name!r}] is to be a str of printable ASCII characters."
            )
        sent[name] = text.strip()
    return sent


# --- the request ----------------------------------------------------------------------------------


def _asked(url: str, place: _Place, headers: dict[str, str], deadline: float) -> Fetched:
    """Return the answer of the endpoint, after redirects on its own server."""
    method = "GET"
    for _ in range(_HOPS + 1):
        left = deadline - time.monotonic()
        answer = fetch(url, place, method=method, headers=headers, within=left, most=_LARGEST)
        if answer.status == 405 and method == "GET":
            method = "POST"
            continue
        target = answer.headers.get("Location")
        if answer.status not in _MOVED or not target:
            return answer
        url = urljoin(url, target)
        if _origin(url) != _origin(place.base_url):
            break
    raise SignalingError(
        f"The token endpoint at {place.parts.netloc} redirects elsewhere; "
        "give the address where it leads as token_url=.",
        status=answer.status,
    )


def _origin(url: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(url)
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname, parts.port or usual
    except ValueError:
        return None


# --- the answer -----------------------------------------------------------------------------------


def _parsed(answer: Fetched) -> Any:
    """Return the JSON of an answer, or None where there is none, or too much of it."""
    try:
        return json.loads(answer.body) if answer.whole else None
    except (ValueError, RecursionError):
        return None


def _key_of(body: Any, place: _Place, status: int) -> EphemeralKey:
    where = place.parts.netloc
    value, expires_at = _found(body)
    if value is not None and value.strip().startswith(_STANDARD):
        raise SignalingError(
            f"The token endpoint at {where} gives its standard key away, which is not used here; "
            "stop that server, revoke the key, and have it mint ephemeral keys.",
            status=status,
        )
    try:
        return EphemeralKey(checked_key(value, "its key").reveal(), expires_at=expires_at)
    except ConfigurationError:
        raise DialectError(
            f"The token endpoint at {where} answered with something that holds no ephemeral key; "
            "check token_url= (that of rtnb serve ends with /session).",
            status=status,
        ) from None


def _found(body: Any) -> tuple[str | None, float | None]:
    """Return the key and its end in Unix seconds, by any of the names they go by."""
    if not isinstance(body, dict):
        return None, None
    for name in _NAMES:
        held: Any = body.get(name)
        match held:
            case str() as value:
                return value, _time(body.get("expires_at"))
            case {"value": str() as value}:
                return value, _time(held.get("expires_at", body.get("expires_at")))
    return None, None


def _time(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        return None
    return value / 1000 if value > _MILLISECONDS else float(value)


def _base_url_of(body: Any, url: str) -> str | None:
    """Return where to call, if that is a place which the endpoint may speak for."""
    named = body.get("base_url")
    if not isinstance(named, str) or not named.isprintable():
        return None
    try:
        full = urljoin(url, named).rstrip("/")
        parts = urlsplit(full)
        if parts.username or parts.password or parts.query or parts.fragment:
            return None
        own = _origin(full) in (_origin(url), _origin(OPENAI_URL))
        both_here = is_loopback(full) and is_loopback(url)
    except ValueError:
        return None
    return full if parts.scheme in ("http", "https") and (own or both_here) else None


# --- refusals -------------------------------------------------------------------------------------


def _refusal(answer: Fetched, place: _Place, sent: Iterable[str]) -> SignalingError:
    """Return the error that an answer of 300 or more stands for."""
    where, status = f"The token endpoint at {place.parts.netloc}", answer.status
    code, said = _error(_parsed(answer), sent)
    told = f" It says: {said}" if said else ""
    kind: type[SignalingError] = SignalingError
    if status in (401, 403):
        kind = AuthenticationError
        sentence = (
            f"{where} refused the request (HTTP {status}); "
            "give what it wants as token_headers=, such as {'Authorization': 'Bearer …'}."
        )
    elif status == 429:
        kind = QuotaError
        sentence = f"{where} was asked too often; wait a little, then try again."
        if code == "insufficient_quota":
            sentence = f"No credit is left on the account behind {place.parts.netloc}; add credit."
    elif code in ("invalid_model", "model_not_found"):
        kind = ModelError
        sentence = f"{where} does not offer that model; check model=."
    else:
        advice = "check token_url= (that of rtnb serve ends with /session)"
        if status >= 500:
            advice = "the server has trouble of its own: try again later"
        sentence = f"{where} gave no key (HTTP {status}); {advice}."
    return kind(sentence + told, status=status, code=code)


def _error(body: Any, sent: Iterable[str]) -> tuple[str | None, str]:
    """Return (code, message) of an error body, without what was sent."""
    error = body.get("error", body) if isinstance(body, dict) else {}
    if not isinstance(error, dict):
        error = {"message": error}
    code = error.get("code")
    message = str(error.get("message") or "")
    for value in sent:
        for part in (value, value.partition(" ")[2]):
            if len(part) >= _SHORTEST_HIDDEN:
                message = message.replace(part, MASK)
    message = mask(message).strip()
    shown = message if len(message) <= _LONGEST else message[:_LONGEST] + "…"
    return (code[:64] if isinstance(code, str) and code else None), shown
