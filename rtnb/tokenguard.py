"""Who may ask a token endpoint, and how often; it must not know HTTP servers.

A page of any site can send requests to a server on this machine; what it must not do is have keys
minted, or read them. Three headers tell: ``Host`` (a foreign name that was rebound to this machine),
``Origin``, and ``Sec-Fetch-Site`` where a request has no origin (Fetch Metadata).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from rtnb._http import checked_key
from rtnb._masking import Secret
from rtnb.errors import ConfigurationError

__all__ = [
    "Allowance",
    "Bucket",
    "Guard",
    "Limiter",
    "Refusal",
    "Refused",
    "checked_host",
    "is_local",
]

_ORIGIN: Final = re.compile(
    r"https?://[a-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?"
)
_SHORTEST_TOKEN: Final = 16  # characters
_ANYWHERE: Final = ("0.0.0.0", "::")
_PROXIED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


# --- how often ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Allowance:
    """How much may be asked.

    Attributes
    ----------
    burst : int
        How often at once.
    every : float
        Seconds after which there is one more.
    """

    burst: int
    every: float


class Bucket:
    """A token bucket: full at first, and filled again at a steady pace.

    Parameters
    ----------
    allowance
        Its size, and its pace.
    now
        Seconds on a clock that never steps back, as in all other calls.
    """

    __slots__ = ("_allowance", "_full_at")

    def __init__(self, allowance: Allowance, now: float):
        self._allowance = allowance
        self._full_at = now

    def wait(self, now: float) -> float:
        """Return the seconds until one may be taken; 0 at once."""
        missing = max(0.0, self._full_at - now) / self._allowance.every
        return max(0.0, (missing - (self._allowance.burst - 1)) * self._allowance.every)

    def take(self, now: float) -> None:
        """Take one."""
        self._full_at = max(self._full_at, now) + self._allowance.every


class Limiter:
    """Limits requests by client, and all of them together, in bounded memory.

    Parameters
    ----------
    each, all
        What a client, and what all of them, may ask.
    remembered
        Clients; the one that was longest away is forgotten.
    """

    def __init__(
        self,
        each: Allowance = Allowance(10, 2.0),
        all: Allowance = Allowance(40, 0.5),
        *,
        remembered: int = 1_000,
    ):
        self._each = each
        self._all = Bucket(all, 0.0)
        self._remembered = remembered
        self._clients: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str | None, now: float) -> float:
        """Count one request of a client, if it may be; return 0, or the seconds to wait.

        Parameters
        ----------
        client
            Its address; a network of IPv6 (/64) counts as one.
        now
            Monotonic seconds.
        """
        name = _network(client)
        bucket = self._clients.get(name) or Bucket(self._each, now)
        wait = max(bucket.wait(now), self._all.wait(now))
        if wait > 0:
            return wait
        bucket.take(now)
        self._all.take(now)
        self._clients[name] = bucket
        self._clients.move_to_end(name)
        if len(self._clients) > self._remembered:
            self._clients.popitem(last=False)
        return 0.0


def _network(client: str | None) -> str:
    try:
        address = ipaddress.ip_address((client or "").partition("%")[0])
    except ValueError:
        return client or ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


# --- who ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        For programs.
    message : str
        For people.
    param : str or None
        Which parameter was wrong.
    retry_after : float or None
        Seconds after which it may be asked again.
    """

    status: int
    code: str | None
    message: str
    param: str | None = None
    retry_after: float | None = None


class Refused(Exception):
    """A request is not answered.

    Parameters
    ----------
    refusal
        Why.
    """

    def __init__(self, refusal: Refusal):
        super().__init__(refusal.message)
        self.refusal = refusal


class Guard:
    """Decides which requests are answered.

    Parameters
    ----------
    host
        What the server listens on.
    public
        Whether others than this machine may ask, with an access token.
    access_token
        That token; None makes one where it is needed.
    allow_origins
        Of other pages that may ask, such as ``https://voice.example``. Their host is also one that
        the server may go by, which is what it is called behind a proxy.

    Raises
    ------
    ConfigurationError
        An argument cannot be used, or `host` is not this machine's and `public` was not said.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        *,
        public: bool = False,
        access_token: str | None = None,
        allow_origins: Iterable[str] = (),
    ):
        self.host = checked_host(host, public=public)
        self.public = bool(public)
        self.origins = _checked_origins(allow_origins)
        self._token: Secret | None = None
        if access_token is not None:
            self._token = checked_key(access_token, "access_token=")
            if len(self._token.reveal()) < _SHORTEST_TOKEN:
                raise ConfigurationError(
                    f"access_token= has {_SHORTEST_TOKEN} characters or more; leave it out to have "
                    "one made."
                )
            if not self.public:
                raise ConfigurationError("access_token= is asked for with public=True only.")
        elif self.public:
            self._token = Secret(secrets.token_urlsafe(32))
        self._hosts = {urlsplit(origin).netloc for origin in self.origins}

    @property
    def access_token(self) -> str | None:
        """The access token, None where none is asked for."""
        return None if self._token is None else self._token.reveal()

    def __repr__(self) -> str:
        return f"<Guard of {self.host}{', public' if self.public else ''}>"

    def origin_of(self, host: str) -> str:
        """Return the origin that a request with this ``Host`` came to."""
        for origin in self.origins:
            if urlsplit(origin).netloc == host.lower():
                return origin
        return f"http://{host.lower()}"

    def is_own(self, origin: str | None, host: str) -> bool:
        """Return whether a page of this server sent it, or one that is allowed."""
        if origin is None:
            return False
        low = origin.lower()
        return low in self.origins or low == self.origin_of(host)

    def wrong_host(self, host: str | None) -> Refusal | None:
        """Return why a request with this ``Host`` is refused: it may be a name that was rebound."""
        if host is not None and self._answers_to(host.lower()):
            return None
        return Refusal(
            403,
            "host_not_allowed",
            "This server does not go by that name; use its own address, or start it with the "
            "origin in allow_origins.",
        )

    def wrong_page(self, headers: Mapping[str, str], host: str) -> Refusal | None:
        """Return why a request is refused for the page that it came from.

        Parameters
        ----------
        headers
            Of the request, by name in any case.
        host
            Its ``Host``.
        """
        origin = headers.get("Origin")
        if origin is not None and not self.is_own(origin, host):
            return Refusal(
                403, "origin_not_allowed", "Pages of other origins may not ask this server."
            )
        site = headers.get("Sec-Fetch-Site", "none").lower()
        if origin is None and site not in ("none", "same-origin"):
            return Refusal(
                403, "origin_not_allowed", "Pages of other sites may not ask this server."
            )
        return None

    def wrong_proxy(self, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused that was passed on from another machine, by its headers."""
        if not self.public and any(name in headers for name in _PROXIED):
            return Refusal(
                403,
                "proxy_not_allowed",
                "This server is for its own machine; behind a proxy, start it with public=True "
                "(--public) and an access token.",
            )
        return None

    def wrong_token(self, authorization: str | None) -> Refusal | None:
        """Return why a request with this ``Authorization`` is refused, where one is needed."""
        if self._token is None:
            return None
        scheme, _, given = (authorization or "").partition(" ")
        one, two = (
            text.encode("utf-8", "surrogateescape")
            for text in (given.strip(), self._token.reveal())
        )
        if hmac.compare_digest(one, two) and scheme.lower() == "bearer":
            return None
        return Refusal(
            401,
            "access_token_needed",
            "This server wants its access token, as 'Authorization: Bearer TOKEN'.",
        )

    def _answers_to(self, host: str) -> bool:
        if host in self._hosts:
            return True
        try:
            parts = urlsplit(f"//{host}")
            name, _port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if not name or parts.netloc != host or "@" in host:
            return False
        if is_local(name) or name == self.host.lower():
            return True
        # where it listens on all addresses, any of them may be meant; only names can be rebound
        everywhere = self.public and self.host in _ANYWHERE
        return everywhere and (_is_address(name) or name == socket.gethostname().lower())


def checked_host(host: Any, *, public: bool = False) -> str:
    """Return a host to listen on.

    Raises
    ------
    ConfigurationError
        It cannot be one, or is not this machine's alone and `public` was not said.
    """
    if not isinstance(host, str) or not host or not re.fullmatch(r"[A-Za-z0-9.:\-]+", host):
        raise ConfigurationError("host= is an address to listen on, such as '127.0.0.1'.")
    if not public and not is_local(host):
        raise ConfigurationError(
            f"On {host} others than this machine could have keys minted at your expense; say "
            "public=True (--public) to allow that with an access token, or use 127.0.0.1."
        )
    return host


def is_local(name: str) -> bool:
    """Return whether a host is this machine's loopback, by name or address."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _checked_origins(origins: Any) -> tuple[str, ...]:
    if isinstance(origins, str) or not isinstance(origins, Iterable):
        raise ConfigurationError("allow_origins= is a list, such as ['https://voice.example'].")
    found = []
    for one in origins:
        low = one.lower().removesuffix("/") if isinstance(one, str) else ""
        if not _ORIGIN.fullmatch(low):
            raise ConfigurationError(
                "allow_origins= takes origins such as 'https://voice.example': a scheme, a host and, "
                "where it is not the usual one, a port; never '*'."
            )
        found.append(_without_usual_port(urlsplit(low)))
    return tuple(dict.fromkeys(found))


def _without_usual_port(parts: SplitResult) -> str:
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"
