"""`Endpoint`: minting keys and exchanging SDP over HTTP; it must not know aiortc or turns.

Every failure becomes one of rtnb's errors here, with a sentence that holds no key.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, urljoin, urlsplit

from rtnb import _html
from rtnb._http import checked_address, checked_key, post
from rtnb._masking import Secret
from rtnb.dialects import DIALECTS, Dialect, Json, merged
from rtnb.errors import ConfigurationError, MissingKeyError
from rtnb.httperrors import raise_for_answer, raise_for_key, raise_for_status
from rtnb.sessionview import properties

if TYPE_CHECKING:
    import requests

__all__ = [
    "DEFAULT_MODEL",
    "Endpoint",
    "EphemeralKey",
    "SdpAnswer",
    "as_ephemeral_key",
    "is_loopback",
]

OPENAI_URL: Final = "https://api.openai.com/v1"
DEFAULT_MODEL: Final = "gpt-realtime-2.1"
_BETA_MODEL: Final = "gpt-4o-realtime-preview"
_TIMEOUT: Final = (10.0, 30.0)  # seconds to connect, seconds to answer
_FORMS: Final = {
    "raw": "an ephemeral key is minted, and the offer posted with it",
    "multipart": "offer and session are posted together with the standard key",
}
_HANG_UP_TIMEOUT: Final = (2.0, 3.0)


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine's loopback address."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; one that only begins like an address is not trusted
        return host == "localhost"


class EphemeralKey:
    """A short-lived key for starting calls; it never shows itself.

    Parameters
    ----------
    value
        The key.
    expires_at
        Unix seconds, as the server said; None where that is not known.

    Raises
    ------
    ConfigurationError
        The value cannot be a key.
    """

    def __init__(self, value: str, *, expires_at: float | None = None):
        self._secret = checked_key(value, "ephemeral_key=")
        self.expires_at = expires_at

    def reveal(self) -> str:
        """Return the key itself, for use by hand. Keep it out of outputs."""
        return self._secret.reveal()

    @property
    def expires_in(self) -> float | None:
        """Seconds until it expires; negative afterwards; None where that is not known."""
        return None if self.expires_at is None else self.expires_at - time.time()

    def __repr__(self) -> str:
        left = self.expires_in
        if left is None:
            return "<EphemeralKey>"
        return f"<EphemeralKey {'expires in' if left >= 0 else 'expired'} {abs(left):.0f} s>"


def as_ephemeral_key(key: EphemeralKey | str | None) -> EphemeralKey | None:
    """Return a key given as text as an `EphemeralKey`; None stays None.

    Raises
    ------
    ConfigurationError
        It cannot be a key; an empty text is no None.
    """
    return key if key is None or isinstance(key, EphemeralKey) else EphemeralKey(key)


class SdpAnswer(str):
    """The answer's SDP, a str, with the id of the call that was made.

    Attributes
    ----------
    call_id : str or None
        For `Endpoint.hang_up`; None where the server gives none.
    """

    call_id: str | None = None

    def __repr__(self) -> str:
        return f"<SdpAnswer of {self.call_id or 'a call'}, {len(self)} characters>"


@dataclass(frozen=True)
class Endpoint:
    """Where calls are made to, and how.

    Use one of the constructors: `openai`, `beta`, `for_peer`.

    Attributes
    ----------
    base_url : str
        Up to and with ``/v1``.
    dialect_name : str
        ``"ga"`` or ``"beta"``.
    exchange_form : str
        ``"raw"``: mint an ephemeral key, then post the offer with it. ``"multipart"``: post offer
        and session with the standard key, without minting.

    Raises
    ------
    ConfigurationError
        The base URL cannot be used, or a key would travel where others can read it.
    """

    base_url: str
    key: Secret | None = field(default=None, repr=False)
    dialect_name: Literal["ga", "beta"] = "ga"
    exchange_form: Literal["raw", "multipart"] = "raw"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    default_model: str | None = DEFAULT_MODEL

    def __post_init__(self) -> None:
        parts = checked_address(self.base_url)
        if parts.username or parts.password or parts.query:
            raise ConfigurationError(
                "A base URL must hold no user, password or query; give the key as api_key=."
            )
        if self.key is not None:
            self._check_secrecy()
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))

    def _check_secrecy(self) -> None:
        """Refuse to let any key, a minted one too, travel where others can read it."""
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and not self.is_loopback:
            raise ConfigurationError(
                f"A key is not sent over plain http:// to {parts.hostname}; use https://."
            )

    # --- constructors -----------------------------------------------------------------------------

    @classmethod
    def openai(
        cls,
        api_key: str | None = None,
        *,
        base_url: str = OPENAI_URL,
        multipart: bool = False,
        safety_identifier: str | None = None,
    ) -> Endpoint:
        """Return OpenAI's GA endpoint, or one that speaks like it.

        Parameters
        ----------
        api_key
            A standard key; None where only an ephemeral key will be used.
        base_url
            Up to and with ``/v1``.
        multipart
            Post offer and session together with the standard key instead of minting first.
        safety_identifier
            A hashed user id for the ``OpenAI-Safety-Identifier`` header.

        Raises
        ------
        ConfigurationError
            The key or the base URL cannot be used.
        """
        headers = {"OpenAI-Safety-Identifier": safety_identifier} if safety_identifier else {}
        return cls(
            base_url, _secret(api_key), exchange_form="multipart" if multipart else "raw",
            headers=headers,
        )  # fmt: skip

    @classmethod
    def beta(cls, base_url: str, api_key: str | None = None) -> Endpoint:
        """Return an endpoint that speaks the beta dialect (``sessions``, ``?model=&voice=``).

        Raises
        ------
        ConfigurationError
            The key or the base URL cannot be used.
        """
        return cls(base_url, _secret(api_key), dialect_name="beta", default_model=_BETA_MODEL)

    @classmethod
    def for_peer(cls, base_url: str, key: str | None = None) -> Endpoint:
        """Return the endpoint of an `rtnb.Peer`; one without a key of its own takes any."""
        return cls(base_url, checked_key(key or "local-peer", "key="))

    # --- what it is -------------------------------------------------------------------------------

    @property
    def dialect(self) -> Dialect:
        """The names it uses on the wire."""
        return DIALECTS[self.dialect_name]

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.base_url)

    def __repr__(self) -> str:
        key = "with a key" if self.key is not None else "without a key"
        return f"<Endpoint {self.base_url} ({self.dialect_name}, {key})>"

    def _repr_html_(self) -> str:
        pairs = [
            ("base URL", self.base_url),
            ("dialect", self.dialect_name),
            ("key", "set, not shown" if self.key is not None else "none"),
            ("signaling", _FORMS[self.exchange_form]),
            ("default model", self.default_model),
        ]
        return _html.boxed(_html.head("Endpoint") + properties(pairs), repr(self))

    # --- the two requests -------------------------------------------------------------------------

    def mint(
        self,
        *,
        model: str | None = None,
        voice: str | None = None,
        session: Json | None = None,
        expires_after: int | None = None,
        timeout: float | None = None,
    ) -> EphemeralKey:
        """Mint an ephemeral key (``POST realtime/client_secrets``; beta: ``realtime/sessions``).

        Parameters
        ----------
        model, voice
            What calls with this key will use.
        session
            More of the session, in GA form; `model` and `voice` are laid over it.
        expires_after
            Seconds, 10 to 7200; None leaves it to the server.
        timeout
            Seconds for the whole request; None waits up to 10 to connect and 30 for each part of
            the answer.

        Raises
        ------
        SignalingError
            One of its kinds, with a sentence that says what to do.
        ConfigurationError
            There is no key, or the request cannot be made.
        """
        wanted = self._session(model, voice, session)
        if self.dialect_name == "beta":
            body = {**self.dialect.session_to_wire(wanted)}
            response = self._post("realtime/sessions", json_body=body, within=timeout)
        else:
            body = {"session": wanted}
            if expires_after is not None:
                body["expires_after"] = {"anchor": "created_at", "seconds": expires_after}
            response = self._post("realtime/client_secrets", json_body=body, within=timeout)
        raise_for_status(response, "mint a key", self)
        value, expires_at = raise_for_key(response, self)
        return EphemeralKey(value, expires_at=expires_at)

    def exchange(
        self,
        offer: str,
        key: EphemeralKey | str | None = None,
        *,
        model: str | None = None,
        voice: str | None = None,
        session: Json | None = None,
        timeout: float | None = None,
    ) -> SdpAnswer:
        """Post an SDP offer and return the answer (``POST realtime/calls``; beta: ``realtime``).

        Parameters
        ----------
        offer
            SDP with an audio section and a data channel.
        key
            An ephemeral key; None uses the endpoint's standard key.
        model, voice, session
            For the multipart form and the beta dialect, which carry them here.
        timeout
            Seconds for the whole request, as for `mint`.

        Raises
        ------
        SignalingError
            One of its kinds, with a sentence that says what to do.
        ConfigurationError
            The key cannot be used, or the request cannot be made.
        """
        minted = as_ephemeral_key(key)
        self._check_secrecy()
        bearer = minted.reveal() if minted is not None else self._revealed()
        if self.dialect_name == "beta":
            query = f"model={quote(model or str(self.default_model))}"
            query += f"&voice={quote(voice)}" if voice else ""
            response = self._post(f"realtime?{query}", sdp=offer, bearer=bearer, within=timeout)
        elif minted is None:
            wanted = json.dumps(self._session(model, voice, session))
            files = {
                "sdp": (None, offer, "application/sdp"),
                "session": (None, wanted, "application/json"),
            }
            response = self._post("realtime/calls", files=files, bearer=bearer, within=timeout)
        else:
            response = self._post("realtime/calls", sdp=offer, bearer=bearer, within=timeout)
        raise_for_status(response, "exchange the offer", self, key=minted)
        answer = SdpAnswer(raise_for_answer(response, self))
        location = response.headers.get("Location", "")
        answer.call_id = location.rstrip("/").rpartition("/")[2] or None
        return answer

    def hang_up(self, call_id: str) -> bool:
        """End a call by its id, with the standard key; return whether the server did.

        Raises
        ------
        UnreachableError
            No answer came within 5 s.
        """
        response = self._post(f"realtime/calls/{quote(call_id)}/hangup", timeout=_HANG_UP_TIMEOUT)
        return bool(response.ok)

    # --- the wire ---------------------------------------------------------------------------------

    def _session(self, model: str | None, voice: str | None, session: Json | None) -> Json:
        wanted: Json = {"type": "realtime", "model": model or self.default_model}
        wanted = merged(wanted, session or {})
        if model:
            wanted["model"] = model
        if voice:
            wanted = merged(wanted, {"audio": {"output": {"voice": voice}}})
        return wanted

    def _revealed(self) -> str:
        if self.key is None:
            raise MissingKeyError(
                f"The endpoint {self.base_url} has no key; give api_key= or ephemeral_key=."
            )
        return self.key.reveal()

    def _post(
        self,
        path: str,
        *,
        json_body: Json | None = None,
        sdp: str | None = None,
        files: Any = None,
        bearer: str | None = None,
        timeout: tuple[float, float] = _TIMEOUT,
        within: float | None = None,
    ) -> requests.Response:
        """Post, and return the answer; `timeout` is for each part, `within` for the whole."""
        revealed = self._revealed() if bearer is None else bearer
        headers = {**self.headers, "Authorization": f"Bearer {revealed}"}
        if sdp is not None:
            headers |= {"Content-Type": "application/sdp"}
        if json_body is None:
            headers |= {"Accept": "application/sdp"}
        return post(
            urljoin(self.base_url + "/", path),
            self,
            timeout=timeout,
            within=within,
            headers=headers,
            json=json_body,
            data=None if sdp is None else sdp.encode(),
            files=files,
        )


def _secret(key: str | None) -> Secret | None:
    return None if key is None else checked_key(key, "api_key=")
