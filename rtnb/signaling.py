"""`Endpoint`: minting keys and exchanging SDP over HTTP; it must not know aiortc or turns.

Every failure becomes one of rtnb's errors here, with a sentence that holds no key.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rtnb._http import checked_key, post
from rtnb.dialects import Json, merged
from rtnb.endpoints import DEFAULT_MODEL, BaseEndpoint, is_loopback
from rtnb.errors import ConfigurationError, MissingKeyError
from rtnb.httperrors import raise_for_answer, raise_for_key, raise_for_status

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

_TIMEOUT: Final = (10.0, 30.0)  # seconds to connect, seconds to answer
_HANG_UP_TIMEOUT: Final = (2.0, 3.0)


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


@dataclass(frozen=True, repr=False)
class Endpoint(BaseEndpoint):
    """Where calls are made to, and how.

    Use one of the constructors: `openai`, `beta`, `azure`, `localai`, `speaches`, `custom`,
    `for_peer`.

    Attributes
    ----------
    base_url : str
        What all paths are below, up to and with ``/v1``.
    shape : Shape
        What is particular to servers of its kind: paths, headers, the data channel's label.
    dialect_name : str
        ``"ga"`` or ``"beta"``.
    exchange_form : str
        How an offer is posted: ``"raw"``, with an ephemeral key where the server mints them;
        ``"multipart"``, with the session and the standard key; ``"json"``, with the model.
    default_model : str or None
        The model where a call names none.

    Raises
    ------
    ConfigurationError
        The base URL cannot be used, or a key would travel where others can read it.
    """

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
            The server mints none, there is no key, or the request cannot be made.
        """
        if self.shape.mint_path is None:
            raise ConfigurationError(
                f"Servers like {self.base_url} ({self.shape.name}) mint no keys; rtnb.connect needs "
                "none, and takes api_key= where the server wants one."
            )
        body = self._session(model, voice, session)
        if self.dialect_name == "ga":
            body = {"session": body}
        if expires_after is not None:
            lifetime = {"expires_after": {"anchor": "created_at", "seconds": expires_after}}
            body |= lifetime if self.dialect_name == "ga" else {"client_secret": lifetime}
        response = self._post(
            self.shape.mint_path, self._standard(), json_body=body, within=timeout
        )
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
            An ephemeral key; None uses the endpoint's standard key, if it has one.
        model, voice, session
            For the forms that carry them here: all but ``"raw"`` in the GA dialect.
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
        headers = self._standard() if minted is None else _bearer(minted.reveal())
        if headers:
            self._check_secrecy()
        response = self._post(
            self.shape.calls(self._model(model), voice),
            headers,
            within=timeout,
            **self._offered(offer, minted, model, voice, session),
        )
        raise_for_status(response, "exchange the offer", self, key=minted)
        answer = SdpAnswer(raise_for_answer(response, self))
        location = response.headers.get("Location", "").partition("?")[0]
        answer.call_id = location.rstrip("/").rpartition("/")[2] or None
        return answer

    def hang_up(self, call_id: str) -> bool:
        """End a call by its id, with the standard key; return whether the server did.

        Raises
        ------
        UnreachableError
            No answer came within 5 s.
        """
        path = self.shape.hang_up(call_id)
        response = self._post(path, self._standard(), timeout=_HANG_UP_TIMEOUT)
        return bool(response.ok)

    # --- the wire ---------------------------------------------------------------------------------

    def _offered(
        self,
        offer: str,
        minted: EphemeralKey | None,
        model: str | None,
        voice: str | None,
        session: Json | None,
    ) -> dict[str, Any]:
        """Return the body that an offer is posted in, as `_post` takes it."""
        shape = self.shape
        if shape.form == "json":
            return {"json_body": {"sdp": offer, "model": self._model(model)}}
        # an ephemeral key has its session; the beta dialect has model and voice in the query
        if shape.mint_path:
            raw = minted is not None or (shape.form == "raw" and shape.dialect_name == "beta")
        else:
            raw = shape.form == "raw"
        if raw:
            return {"sdp": offer}
        wanted = json.dumps(self._session(model, voice, session))
        files = {
            "sdp": (None, offer, "application/sdp"),
            "session": (None, wanted, "application/json"),
        }
        return {"files": files}

    def _model(self, model: str | None) -> str | None:
        chosen = model or self.default_model
        if chosen is None and self.shape.needs_model:
            what = "deployment" if self.shape.name.startswith("azure") else "model"
            raise ConfigurationError(
                f"{self.base_url} has to be told which {what} to use; give model= to rtnb.connect, "
                f"or {what}= to the endpoint."
            )
        return chosen

    def _session(self, model: str | None, voice: str | None, session: Json | None) -> Json:
        """Return the session object wanted, in the server's form."""
        wanted: Json = {"type": "realtime"}
        if chosen := self._model(model or (session or {}).get("model")):
            wanted["model"] = chosen
        wanted = merged(wanted, session or {})
        if model:
            wanted["model"] = model
        if voice:
            wanted = merged(wanted, {"audio": {"output": {"voice": voice}}})
        return self.dialect.session_to_wire(wanted)

    def _standard(self) -> dict[str, str]:
        """Return the header with the standard key; none where there is none and none is needed."""
        if self.key is None:
            if not self.shape.needs_key:
                return {}
            self._check_secrecy()
            raise MissingKeyError(
                f"The endpoint {self.base_url} has no key; give api_key= or ephemeral_key=."
            )
        header = self.shape.key_header
        if header.lower() == "authorization":
            return _bearer(self.key.reveal())
        return {header: self.key.reveal()}

    def _post(
        self,
        path: str,
        headers: dict[str, str],
        *,
        json_body: Json | None = None,
        sdp: str | None = None,
        files: Any = None,
        timeout: tuple[float, float] = _TIMEOUT,
        within: float | None = None,
    ) -> requests.Response:
        """Post, and return the answer; `timeout` is for each part, `within` for the whole."""
        headers = {**self.headers, **headers}
        if sdp is not None:
            headers |= {"Content-Type": "application/sdp"}
        if json_body is None:
            headers |= {"Accept": "application/sdp"}
        return post(
            f"{self.base_url}/{path}",
            self,
            timeout=timeout,
            within=within,
            headers=headers,
            json=json_body,
            data=None if sdp is None else sdp.encode(),
            files=files,
        )


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
