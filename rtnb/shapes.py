"""How families of realtime servers differ over HTTP and on the channel, as values; it sends nothing.

A `Shape` holds what is not the same everywhere: paths, the header of the key, the body of an offer,
the label of the data channel, and what a server leaves out. Sources: the Realtime API reference,
Microsoft's guide to the Realtime API via WebRTC, and the source code of LocalAI and of speaches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode, urlsplit

from rtnb.dialects import DIALECTS
from rtnb.errors import ConfigurationError
from rtnb.frames import FRAMINGS

__all__ = [
    "AZURE",
    "AZURE_FILTERED",
    "BETA",
    "LOCALAI",
    "OPENAI",
    "OPENAI_MULTIPART",
    "SPEACHES",
    "DialectName",
    "Form",
    "Shape",
    "azure_address",
    "custom_shape",
    "is_azure",
    "versioned",
]

DialectName = Literal["ga", "beta"]
Form = Literal["raw", "multipart", "json"]

_FORMS: Final[Mapping[Form, str]] = {
    "raw": "the offer is posted as it is",
    "multipart": "offer and session are posted together with the standard key",
    "json": "the offer is posted in JSON, with the model",
}
_HEADER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_PATH: Final = re.compile(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")
_RESOURCE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
_AZURE_HOSTS: Final = (
    ".openai.azure.com",
    ".services.ai.azure.com",
    ".cognitiveservices.azure.com",
)


@dataclass(frozen=True)
class Shape:
    """What is particular to a family of servers. Paths are relative to the base URL.

    Attributes
    ----------
    name : str
        What it is called where it is shown.
    dialect_name : str
        ``"ga"`` or ``"beta"``: the names of sessions and events.
    form : str
        How an offer is posted: ``"raw"``, ``"multipart"`` or ``"json"``.
    mint_path : str or None
        Where ephemeral keys are minted; None where there are none.
    calls_path : str
        Where offers are posted.
    query : tuple of (str, str)
        What is added to `calls_path`; ``{model}`` and ``{voice}`` stand for those of the call, and a
        pair of which nothing is known is left out.
    key_header : str
        The header of the standard key; ``Authorization`` carries it after ``Bearer``. An ephemeral
        key always goes there.
    key_name : str
        The environment variable of its key.
    needs_key, needs_model : bool
        Whether nothing can be asked without.
    label : str
        The data channel's.
    framing : str or None
        How events are wrapped on it; see `rtnb.frames`.
    filtered : bool
        Whether few events are passed on: none of the session, of a response's beginning and end,
        of calls of tools, and of errors.
    cancels : bool
        False where a reply cannot be stopped by an event.
    """

    name: str
    dialect_name: DialectName = "ga"
    form: Form = "raw"
    mint_path: str | None = "realtime/client_secrets"
    calls_path: str = "realtime/calls"
    query: tuple[tuple[str, str], ...] = ()
    key_header: str = "Authorization"
    key_name: str = "OPENAI_API_KEY"
    needs_key: bool = True
    needs_model: bool = False
    label: str = "oai-events"
    framing: str | None = None
    filtered: bool = False
    cancels: bool = True

    @property
    def mints(self) -> bool:
        """Whether a call begins with the minting of an ephemeral key."""
        return self.form == "raw" and self.mint_path is not None

    @property
    def says(self) -> str:
        """How signaling is done, in words."""
        first = "an ephemeral key is minted, and " if self.mints else ""
        return first + ("the offer posted with it" if self.mints else _FORMS[self.form])

    def calls(self, model: str | None, voice: str | None) -> str:
        """Return the path and query that an offer is posted to."""
        known = {"{model}": model, "{voice}": voice}
        pairs = [(name, known.get(value, value)) for name, value in self.query]
        query = urlencode([(n, v) for n, v in pairs if v], quote_via=quote, safe="/")
        return f"{self.calls_path}?{query}" if query else self.calls_path

    def hang_up(self, call_id: str) -> str:
        """Return the path at which a call is ended."""
        base = "realtime/calls" if self.dialect_name == "beta" else self.calls_path
        return f"{base}/{quote(call_id, safe='')}/hangup"


_ASKED: Final = (("model", "{model}"), ("voice", "{voice}"))

OPENAI: Final = Shape("openai")
OPENAI_MULTIPART: Final = Shape("openai", form="multipart")
BETA: Final = Shape(
    "beta",
    dialect_name="beta",
    mint_path="realtime/sessions",
    calls_path="realtime",
    query=_ASKED,
)
AZURE: Final = Shape(
    "azure",
    key_header="api-key",
    key_name="AZURE_OPENAI_API_KEY",
    needs_model=True,
    label="realtime-channel",
)
AZURE_FILTERED: Final = Shape(
    "azure, filtered",
    key_header="api-key",
    key_name="AZURE_OPENAI_API_KEY",
    query=(("webrtcfilter", "on"),),
    needs_model=True,
    label="realtime-channel",
    filtered=True,
)
LOCALAI: Final = Shape(
    "localai",
    form="json",
    mint_path=None,
    key_name="",
    needs_key=False,
    needs_model=True,
)
SPEACHES: Final = Shape(
    "speaches",
    dialect_name="beta",
    mint_path=None,
    calls_path="realtime",
    query=(("model", "{model}"),),
    key_name="",
    needs_key=False,
    needs_model=True,
    framing="speaches",
    cancels=False,
)


def custom_shape(
    *,
    dialect: DialectName,
    mint_path: str | None,
    calls_path: str,
    key_header: str,
    form: Form,
    label: str,
    framing: str | None,
    query: Mapping[str, str] | None,
) -> Shape:
    """Return the shape of a server that is none of the known ones; see `Endpoint.custom`.

    Raises
    ------
    ConfigurationError
        One of the arguments cannot be used.
    """
    _check_choice("dialect", dialect, tuple(DIALECTS))
    _check_choice("form", form, tuple(_FORMS))
    _check_choice("framing", framing, FRAMINGS)
    if not isinstance(key_header, str) or not _HEADER.fullmatch(key_header):
        raise ConfigurationError("key_header= is the name of an HTTP header, such as 'api-key'.")
    if not isinstance(label, str) or len(label.encode("utf-8", "replace")) > 65_535:
        raise ConfigurationError("label= is a str, the data channel's, of 65,535 bytes at most.")
    return Shape(
        "custom",
        dialect_name=dialect,
        form=form,
        mint_path=None if mint_path is None else _path("mint_path", mint_path),
        calls_path=_path("calls_path", calls_path),
        query=_pairs(query),
        key_header=key_header,
        key_name="",
        needs_key=False,
        label=label,
        framing=framing,
    )


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ConfigurationError(f"{name}= is one of {known}, not {value!r}.")


def _path(name: str, value: Any) -> str:
    """Return a path below the base URL: a key must not leave the server that was named."""
    path = value.strip("/") if isinstance(value, str) else ""
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        raise ConfigurationError(
            f"{name}= is a path below the base URL, such as 'realtime/calls', without query."
        )
    return path


def _pairs(query: Any) -> tuple[tuple[str, str], ...]:
    pairs = tuple(query.items()) if isinstance(query, Mapping) else ()
    if query is not None and not isinstance(query, Mapping):
        pairs = ((None, None),)
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise ConfigurationError(
            "query= maps names to values, such as {'model': '{model}', 'intent': 'conversation'}."
        )
    return pairs


# --- addresses ------------------------------------------------------------------------------------


def versioned(url: Any, version: str = "/v1") -> Any:
    """Return a base URL with the usual path added where it has none; what is no URL stays.

    Parameters
    ----------
    url
        As the user gave it.
    version
        The path.
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return url
    bare = parts is not None and bool(parts.netloc) and not parts.query and not parts.fragment
    if parts is None or not bare:
        return url
    path = parts.path.rstrip("/")
    head, _, last = version.rpartition("/")
    if path not in ("", head):
        return url
    return f"{parts.scheme}://{parts.netloc}{version if not path else f'{path}/{last}'}"


def azure_address(resource: Any) -> Any:
    """Return the base URL of an Azure resource, from its name, its host or its URL.

    Raises
    ------
    ConfigurationError
        It is none of these; the sentence does not show it.
    """
    if isinstance(resource, str) and "://" in resource:
        return versioned(resource, "/openai/v1")
    if isinstance(resource, str) and _RESOURCE.fullmatch(resource):
        return f"https://{resource}.openai.azure.com/openai/v1"
    if isinstance(resource, str) and "." in resource and _HOST.fullmatch(resource):
        return f"https://{resource}/openai/v1"
    raise ConfigurationError(
        "That is neither the name of an Azure resource nor its URL; give one like 'my-resource' "
        "or 'https://my-resource.openai.azure.com/openai/v1'."
    )


def is_azure(url: str) -> bool:
    """Return whether a URL names one of Azure's own hosts."""
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return False
    return host.endswith(_AZURE_HOSTS)
