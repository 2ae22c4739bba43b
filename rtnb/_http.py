"""One request within a deadline, and the checks of what goes into it; it knows no dialect.

What `requests` raises becomes one of rtnb's errors here, with a sentence that holds no key.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from rtnb._masking import Secret, mask
from rtnb.errors import ConfigurationError, RtnbError, UnreachableError

if TYPE_CHECKING:
    import requests

__all__ = ["Fetched", "Place", "checked_address", "checked_key", "fetch", "one_connection", "post"]

_IDLE: Final = 1.5  # seconds; a server that closes idle connections gives them 2 s or more
_BLOCK: Final = 4_096  # bytes of a body that are read at a time

T = TypeVar("T")


class Place(Protocol):
    """Where a request goes, such as an `Endpoint`."""

    @property
    def base_url(self) -> str:
        """Its address."""

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""


@dataclass(frozen=True)
class Fetched:
    """An answer, as far as it was read.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : mapping
        By name, in any case.
    body : bytes
        Its beginning, where it was too long.
    whole : bool
        Whether that is all of it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    whole: bool


class _Kept:
    """The session that `one_connection` keeps, once there is one."""

    def __init__(self) -> None:
        self.http: requests.Session | None = None
        self.used = 0.0  # monotonic seconds at the end of its last request


_kept: Final[contextvars.ContextVar[_Kept | None]] = contextvars.ContextVar(
    "rtnb_http", default=None
)


@contextlib.contextmanager
def one_connection() -> Iterator[None]:
    """Let the requests of the block, all to one server, go over one connection.

    To mint a key and to exchange an offer then sets TCP and TLS up once: two or three round trips to
    a server far away are saved. A connection that was idle for longer than 1.5 s is not used again:
    a server may be closing it, and a POST that got no answer must not be sent twice.
    """
    kept = _Kept()
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        if kept.http is not None:
            kept.http.close()


def checked_key(key: object, name: str) -> Secret:
    """Return a key as a `Secret`, white space around it taken off.

    Parameters
    ----------
    key
        What was given.
    name
        The argument or variable it came in.

    Raises
    ------
    ConfigurationError
        It cannot be a key; the sentence does not show it.
    """
    if not isinstance(key, str):
        raise ConfigurationError(f"{name} is a str, not {type(key).__name__}.")
    text = key.strip()
    if not text:
        raise ConfigurationError(f"{name} is empty; give a key, or leave it out.")
    if " " in text or not (text.isascii() and text.isprintable()):
        raise ConfigurationError(
            f"{name} holds a space or a character that no key has; copy the key again."
        )
    return Secret(text)


def checked_address(base_url: Any) -> SplitResult:
    """Return the parts of a base URL.

    Raises
    ------
    ConfigurationError
        It is none.
    """
    try:
        parts = urlsplit(base_url if isinstance(base_url, str) else "")
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # what has no end of an IPv6 address, or no number as port
        usable = False
    if not usable:
        shown = repr(mask(str(base_url)))
        if "@" in shown or "?" in shown:  # behind these stand passwords
            shown = "What was given"
        raise ConfigurationError(
            f"{shown} is not a base URL; "
            "give one like https://api.openai.com/v1 or http://127.0.0.1:8000/v1."
        )
    return parts


def post(
    url: str,
    endpoint: Place,
    *,
    timeout: tuple[float, float],
    within: float | None = None,
    **request: Any,
) -> requests.Response:
    """Post, follow no redirect, and return the answer whatever its status.

    Parameters
    ----------
    url
        Where to.
    endpoint
        Whose it is.
    timeout
        Seconds to connect, and between two parts of the answer.
    within
        Seconds for the whole; None for as long as parts come.
    **request
        As `requests.post` takes it.

    Raises
    ------
    UnreachableError
        No answer came, or not in time.
    ConfigurationError
        The request cannot be made.
    """
    kept = _kept.get()  # not the thread's below
    if within is None:
        return _send(url, endpoint, timeout, request, kept)
    if within <= 0:
        raise UnreachableError(_too_slow(endpoint))
    capped = min(timeout[0], within), min(timeout[1], within)
    return _in_time(lambda: _send(url, endpoint, capped, request, kept), endpoint, within)


def fetch(
    url: str,
    place: Place,
    *,
    method: str = "GET",
    headers: Mapping[str, str],
    within: float,
    most: int,
) -> Fetched:
    """Ask for something small, follow no redirect, and return the answer whatever its status.

    Parameters
    ----------
    url
        What is asked for.
    place
        Where that is.
    method
        GET, or POST without a body.
    headers
        Of the request.
    within
        Seconds for the whole.
    most
        Bytes of the body that are read at most.

    Raises
    ------
    UnreachableError
        No answer came, or not in time.
    ConfigurationError
        The request cannot be made.
    """
    if within <= 0:
        raise UnreachableError(_too_slow(place))
    return _in_time(lambda: _fetch(url, place, method, headers, within, most), place, within)


def _fetch(
    url: str, place: Place, method: str, headers: Mapping[str, str], within: float, most: int
) -> Fetched:
    import requests

    with _new_session(place) as http:
        try:
            with http.request(
                method,
                url,
                headers=headers,
                timeout=within,
                allow_redirects=False,
                auth=_as_it_is,
                stream=True,
            ) as response:
                body = bytearray()
                for block in response.iter_content(_BLOCK):
                    body += block
                    if len(body) > most:
                        break
        except (requests.RequestException, UnicodeError) as error:
            raise _no_answer(error, place) from None
    whole = len(body) <= most
    return Fetched(response.status_code, response.headers, bytes(body[:most]), whole)


def _in_time(run: Callable[[], T], endpoint: Place, within: float) -> T:
    """Run in a thread of its own: a server that answers byte by byte must not hold the caller."""
    future: Future[T] = Future()

    def keep() -> None:
        try:
            future.set_result(run())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=keep, name="rtnb-http", daemon=True).start()
    try:
        return future.result(min(within, threading.TIMEOUT_MAX))
    except TimeoutError:
        raise UnreachableError(_too_slow(endpoint)) from None


def _send(
    url: str,
    endpoint: Place,
    timeout: tuple[float, float],
    request: dict[str, Any],
    kept: _Kept | None,
) -> requests.Response:
    import requests

    with _session(endpoint, kept) as http:
        try:
            # a redirect would carry the key along, and .netrc put another in its place
            return http.post(url, timeout=timeout, allow_redirects=False, auth=_as_it_is, **request)
        except (requests.RequestException, UnicodeError) as error:
            raise _no_answer(error, endpoint) from None


@contextlib.contextmanager
def _session(endpoint: Place, kept: _Kept | None) -> Iterator[requests.Session]:
    """Give the session that `one_connection` keeps, or one for a single request."""
    if kept is None:
        with _new_session(endpoint) as http:
            yield http
        return
    if kept.http is None:
        kept.http = _new_session(endpoint)
    elif time.monotonic() - kept.used > _IDLE:
        kept.http.close()  # its connections; the next request makes another
    try:
        yield kept.http
    finally:
        kept.used = time.monotonic()


def _new_session(endpoint: Place) -> requests.Session:
    from http.cookiejar import DefaultCookiePolicy

    import requests

    http = requests.Session()
    # proxies and .netrc could send the key elsewhere than the user named
    http.trust_env = not endpoint.is_loopback
    http.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # each request says all itself
    return http


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _no_answer(error: Exception, endpoint: Place) -> RtnbError:
    """Return the error that a request without an answer stands for.

    Parameters
    ----------
    error
        What requests raised.
    endpoint
        Where.
    """
    from requests import exceptions

    host = _host(endpoint)
    if isinstance(error, exceptions.Timeout):
        return UnreachableError(_too_slow(endpoint))
    if isinstance(error, exceptions.SSLError):
        return UnreachableError(
            f"The TLS certificate of {host} was not accepted; check the URL and the clock."
        )
    # an address, a header or a value that cannot be sent at all
    if isinstance(error, ValueError | exceptions.InvalidJSONError):
        return ConfigurationError(
            f"The request to {host} cannot be made ({type(error).__name__}); check base_url=, "
            "safety_identifier= and the session's values."
        )
    hint = (
        "is the peer still running?" if endpoint.is_loopback else "check the URL and the network."
    )
    return UnreachableError(f"No server answered at {host}; {hint}")


def _too_slow(endpoint: Place) -> str:
    """Return the sentence on an answer that did not come in time."""
    return f"{_host(endpoint)} did not answer in time; check the network, or try again."


def _host(endpoint: Place) -> str:
    return urlsplit(endpoint.base_url).netloc
