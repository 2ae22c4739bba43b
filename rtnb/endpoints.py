"""What an endpoint is: an address, a key and a server's shape; it must not know requests."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from rtnb import _html, shapes
from rtnb._http import checked_address, checked_key
from rtnb._masking import Secret
from rtnb._notebook import colab_secret
from rtnb.dialects import DIALECTS, Dialect
from rtnb.errors import ConfigurationError
from rtnb.sessionview import properties
from rtnb.shapes import DialectName, Form, Shape

__all__ = ["DEFAULT_MODEL", "BaseEndpoint", "is_loopback", "key_of_environment"]

OPENAI_URL: Final = "https://api.openai.com/v1"
DEFAULT_MODEL: Final = "gpt-realtime-2.1"
_BETA_MODEL: Final = "gpt-4o-realtime-preview"
_MINT_PATH: Final = "realtime/client_secrets"


def is_loopback(url: str) -> bool:
    """Return whether a URL names this machine's loopback address."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; one that only begins like an address is not trusted
        return host == "localhost"


def key_of_environment(name: str) -> Secret | None:
    """Return a key of the environment or of Colab's secrets; a blank one is none.

    Raises
    ------
    ConfigurationError
        It cannot be a key.
    """
    for found in (os.environ.get(name), colab_secret(name)):
        if found and found.strip():
            return checked_key(found, name)
    return None


@dataclass(frozen=True)
class BaseEndpoint:
    """Where calls are made to, and in which shape; `rtnb.Endpoint` also makes the requests.

    Attributes
    ----------
    base_url : str
        What all paths are below, up to and with ``/v1``.
    key : Secret or None
        The standard key.
    shape : Shape
        What is particular to servers of its kind.
    headers : mapping
        Headers of every request.
    default_model : str or None
        The model where a call names none.

    Raises
    ------
    ConfigurationError
        The base URL cannot be used, or a key would travel where others can read it.
    """

    base_url: str
    key: Secret | None = field(default=None, repr=False)
    shape: Shape = shapes.OPENAI
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

    # --- OpenAI's -----------------------------------------------------------------------------

    @classmethod
    def openai(
        cls,
        api_key: str | None = None,
        *,
        base_url: str = OPENAI_URL,
        multipart: bool = False,
        safety_identifier: str | None = None,
    ) -> Self:
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
        shape = shapes.OPENAI_MULTIPART if multipart else shapes.OPENAI
        headers = {"OpenAI-Safety-Identifier": safety_identifier} if safety_identifier else {}
        return cls(base_url, _secret(api_key), shape, headers=headers)

    @classmethod
    def beta(cls, base_url: str, api_key: str | None = None) -> Self:
        """Return an endpoint that speaks the beta dialect (``sessions``, ``?model=&voice=``).

        Raises
        ------
        ConfigurationError
            The key or the base URL cannot be used.
        """
        return cls(base_url, _secret(api_key), shapes.BETA, default_model=_BETA_MODEL)

    # --- other servers' -----------------------------------------------------------------------

    @classmethod
    def azure(
        cls,
        resource: str,
        api_key: str | None = None,
        *,
        deployment: str | None = None,
        entra_token: str | None = None,
        filtered: bool = False,
    ) -> Self:
        """Return the endpoint of an Azure OpenAI resource (GA protocol, without ``api-version``).

        Parameters
        ----------
        resource
            The resource's name, or its base URL: ``https://NAME.openai.azure.com/openai/v1``.
        api_key
            The resource's key, for the ``api-key`` header. If None, and without `entra_token`: the
            environment's ``AZURE_OPENAI_API_KEY``, then Colab's secrets; neither is sent to this
            machine itself.
        deployment
            The name of the model's deployment; `connect` can name it too, as ``model=``.
        entra_token
            A token of Microsoft Entra ID, instead of a key.
        filtered
            Ask for the few events that are safe to show in a browser (``webrtcfilter=on``). The
            service then says neither that the session is configured nor that a response is done:
            nothing is waited for, a turn ends 1 s after its sound or text, and no tool is called.

        Raises
        ------
        ConfigurationError
            An argument cannot be used.
        """
        if api_key is not None and entra_token is not None:
            raise ConfigurationError("Give either api_key= or entra_token=, not both.")
        url = shapes.azure_address(resource)
        shape = shapes.AZURE_FILTERED if filtered else shapes.AZURE
        key = _secret(api_key)
        if entra_token is not None:
            key = checked_key(entra_token, "entra_token=")
            shape = dataclasses.replace(shape, key_header="Authorization")
        checked_address(url)  # a wrong address is told before a wrong key
        if key is None and not is_loopback(url):
            key = key_of_environment(shape.key_name)
        return cls(url, key, shape, default_model=_name("deployment", deployment))

    @classmethod
    def localai(cls, url: str, *, model: str | None = None, api_key: str | None = None) -> Self:
        """Return the endpoint of a LocalAI server (offer and answer in JSON, no minting).

        Parameters
        ----------
        url
            Such as ``http://127.0.0.1:8080``; ``/v1`` is added where there is no path.
        model
            The name of its realtime model; `connect` can name it too.
        api_key
            None sends none.

        Raises
        ------
        ConfigurationError
            An argument cannot be used.
        """
        return cls._at(url, shapes.LOCALAI, model, api_key)

    @classmethod
    def speaches(cls, url: str, *, model: str | None = None, api_key: str | None = None) -> Self:
        """Return the endpoint of a speaches server (``?model=``, beta events in frames).

        Its events come wrapped; `Session.events` and a run's ``events.jsonl`` hold what is in them.
        It cannot be told to stop a reply: `Session.interrupt` ends the turn, and the sound goes on.

        Parameters
        ----------
        url
            Such as ``http://127.0.0.1:8000``; ``/v1`` is added where there is no path.
        model
            The model; `connect` can name it too.
        api_key
            None sends none.

        Raises
        ------
        ConfigurationError
            An argument cannot be used.
        """
        return cls._at(url, shapes.SPEACHES, model, api_key)

    @classmethod
    def _at(cls, url: str, shape: Shape, model: str | None, api_key: str | None) -> Self:
        named = _name("model", model)
        return cls(shapes.versioned(url), _secret(api_key), shape, default_model=named)

    @classmethod
    def custom(
        cls,
        base_url: str,
        api_key: str | None = None,
        *,
        dialect: DialectName = "ga",
        mint_path: str | None = _MINT_PATH,
        calls_path: str = "realtime/calls",
        key_header: str = "Authorization",
        form: Form = "raw",
        label: str = "oai-events",
        framing: str | None = None,
        query: Mapping[str, str] | None = None,
        model: str | None = None,
    ) -> Self:
        """Return the endpoint of a server that is like none of the others.

        Parameters
        ----------
        base_url
            What both paths are below.
        api_key
            None sends none.
        dialect
            ``"ga"`` or ``"beta"``: the names of sessions and events.
        mint_path
            Where ephemeral keys are minted; None where there are none.
        calls_path
            Where offers are posted.
        key_header
            The header of `api_key`; ``Authorization`` carries it after ``Bearer``. What was minted
            always goes there.
        form
            ``"raw"``: the offer as it is, with an ephemeral key where those are minted.
            ``"multipart"``: with the session, in a form. ``"json"``: ``{"sdp", "model"}``.
        label
            The data channel's.
        framing
            ``"speaches"`` where events come in its frames.
        query
            Added to `calls_path`; the values ``"{model}"`` and ``"{voice}"`` stand for the call's.
        model
            The model where a call names none.

        Raises
        ------
        ConfigurationError
            An argument cannot be used.
        """
        shape = shapes.custom_shape(
            dialect=dialect,
            mint_path=mint_path,
            calls_path=calls_path,
            key_header=key_header,
            form=form,
            label=label,
            framing=framing,
            query=query,
        )
        return cls(base_url, _secret(api_key), shape, default_model=_name("model", model))

    @classmethod
    def for_peer(cls, base_url: str, key: str | None = None, mode: str = "openai") -> Self:
        """Return the endpoint of an `rtnb.Peer`; one without a key of its own takes any.

        Parameters
        ----------
        base_url
            Its `Peer.url`.
        key
            Its key, if it has one.
        mode
            Whose shape it takes: ``"openai"``, ``"azure"``, ``"localai"`` or ``"speaches"``.

        Raises
        ------
        ConfigurationError
            An argument cannot be used.
        """
        own = checked_key(key, "key=").reveal() if key else None
        match mode:
            case "openai":
                return cls(base_url, checked_key(own or "local-peer", "key="))
            case "azure":
                return cls.azure(base_url, own or "local-peer", deployment=DEFAULT_MODEL)
            case "localai":
                return cls.localai(base_url, model=DEFAULT_MODEL, api_key=own)
            case "speaches":
                return cls.speaches(base_url, model=_BETA_MODEL, api_key=own)
        raise ConfigurationError(
            f"A peer has no mode {mode!r}; the modes are openai, azure, localai and speaches."
        )

    # --- what it is -------------------------------------------------------------------------------

    @property
    def dialect_name(self) -> DialectName:
        """``"ga"`` or ``"beta"``."""
        return self.shape.dialect_name

    @property
    def dialect(self) -> Dialect:
        """The names it uses on the wire."""
        return DIALECTS[self.shape.dialect_name]

    @property
    def exchange_form(self) -> Form:
        """How an offer is posted: ``"raw"``, ``"multipart"`` or ``"json"``."""
        return self.shape.form

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.base_url)

    def __repr__(self) -> str:
        key = "with a key" if self.key is not None else "without a key"
        known = self.shape.name in ("openai", "beta")
        kind = self.dialect_name if known else f"{self.shape.name}, {self.dialect_name}"
        return f"<Endpoint {self.base_url} ({kind}, {key})>"

    def _repr_html_(self) -> str:
        shape = self.shape
        channel = shape.label if shape.framing is None else f"{shape.label}, {shape.framing} frames"
        pairs = [
            ("base URL", self.base_url),
            ("server", shape.name),
            ("dialect", self.dialect_name),
            ("key", "set, not shown" if self.key is not None else "none"),
            ("signaling", shape.says),
            ("data channel", channel),
            ("default model", self.default_model),
        ]
        return _html.boxed(_html.head("Endpoint") + properties(pairs), repr(self))


def _secret(key: str | None) -> Secret | None:
    return None if key is None else checked_key(key, "api_key=")


def _name(argument: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ConfigurationError(f"{argument}= takes a non-empty str, not {value!r}.")
    return value
