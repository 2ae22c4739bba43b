"""The way from ``connect()`` to an open, configured session, phase by phase; it plays no prompt."""

from __future__ import annotations

import dataclasses
import functools
import json
import platform
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rtnb import messages as m
from rtnb._http import checked_key, one_connection
from rtnb._masking import mask
from rtnb.dialects import Json, object_at, text_at
from rtnb.endpoints import is_loopback, key_of_environment
from rtnb.errors import (
    AnswerError,
    CallClosedError,
    CallError,
    ChannelTimeoutError,
    ConfigurationError,
    MediaProcessError,
    MissingKeyError,
    RtnbError,
    ServiceError,
    UdpBlockedError,
)
from rtnb.events import Event
from rtnb.runfiles import RUN
from rtnb.shapes import is_azure
from rtnb.signaling import Endpoint, EphemeralKey, as_ephemeral_key
from rtnb.tools import Tool

__all__ = [
    "check_tools",
    "closed_error",
    "find_endpoint",
    "phases",
    "service_error",
    "signal",
    "why_closed",
    "write_run_info",
]

_KEY_NAME: Final = "OPENAI_API_KEY"
_LONGEST: Final = 300  # characters of a reason that are shown


def find_endpoint(
    endpoint: Any,
    *,
    api_key: str | None,
    base_url: str | None,
    needs_key: bool,
    looks_for_key: bool = True,
) -> Endpoint:
    """Return the endpoint that ``connect``'s arguments name, with its key.

    Parameters
    ----------
    endpoint
        None, an `Endpoint`, a base URL, or anything with an ``endpoint`` attribute (an `rtnb.Peer`).
    api_key, base_url
        As given to ``connect``.
    needs_key
        False where an ephemeral key was given.
    looks_for_key
        False where no standard key is to be looked for in environment and secrets.

    Raises
    ------
    MissingKeyError
        No key was given or found.
    ConfigurationError
        The arguments contradict each other, or an address or a key cannot be one.
    """
    if endpoint is not None and base_url is not None:
        raise ConfigurationError("Give either an endpoint or base_url=, not both.")
    target = base_url if endpoint is None else endpoint
    if not isinstance(target, str) and target is not None:
        found = target if isinstance(target, Endpoint) else getattr(target, "endpoint", None)
        if not isinstance(found, Endpoint):
            raise ConfigurationError(
                f"{type(target).__name__} is not an endpoint; give an rtnb.Peer, an rtnb.Endpoint "
                "or a base URL."
            )
        if api_key is None:
            return found
        return dataclasses.replace(found, key=checked_key(api_key, "api_key="))
    if target is not None:
        Endpoint(target)  # a wrong address is told before a missing key
    if target is not None and is_loopback(target) and api_key is None:
        return Endpoint.for_peer(target)  # the user's key is not for whatever listens here
    if target is not None and is_azure(target):
        return _with_key(Endpoint.azure(target, api_key), needs_key)  # OpenAI's key is not for it
    if api_key is not None:
        found = checked_key(api_key, "api_key=")
    else:
        found = key_of_environment(_KEY_NAME) if looks_for_key else None
    key = None if found is None else found.reveal()
    made = Endpoint.openai(key) if target is None else Endpoint.openai(key, base_url=target)
    return _with_key(made, needs_key)


def _with_key(endpoint: Endpoint, needs_key: bool) -> Endpoint:
    if endpoint.key is None and needs_key:
        name = endpoint.shape.key_name
        raise MissingKeyError(
            f"No API key: give api_key=, or set {name} in the environment or in Colab's "
            "secrets; or call rtnb.Peer(), a realtime server on this machine that needs none."
        )
    return endpoint


def check_tools(endpoint: Endpoint, tools: Iterable[Tool | Json]) -> None:
    """Check that functions can be called at all; schemas may be for somebody else to answer.

    Raises
    ------
    ConfigurationError
        The endpoint passes no calls of tools on.
    """
    if endpoint.shape.filtered and any(isinstance(tool, Tool) for tool in tools):
        raise ConfigurationError(
            f"{endpoint.base_url} filters events and passes no call of a tool on; use "
            "filtered=False for tools that are Python functions."
        )


def signal(
    endpoint: Endpoint,
    offer: Callable[[], str],
    key: EphemeralKey | None,
    session: Json,
    times: dict[str, float],
    *,
    deadline: float | None = None,
) -> Any:
    """Mint a key where one is needed, wait for the offer, and exchange it; note the times.

    Parameters
    ----------
    endpoint
        Where the call goes.
    offer
        Waits for the offer, and returns it.
    key
        An ephemeral key; None mints one where the endpoint wants that.
    session
        The session object wanted, in GA form.
    times
        Takes how long each request took, in seconds.
    deadline
        Monotonic seconds at which it is given up; None leaves it to each request.
    """

    def left() -> float | None:
        return None if deadline is None else deadline - time.monotonic()

    key = as_ephemeral_key(key)
    began = time.monotonic()
    model, wanted = session.get("model"), session
    voice = session.get("audio", {}).get("output", {}).get("voice")
    with one_connection():
        if key is None and endpoint.shape.mints:
            key = endpoint.mint(model=model, session=wanted, timeout=left())
            times["mint"] = time.monotonic() - began
        text = offer()
        began = time.monotonic()
        answer = endpoint.exchange(
            text, key, model=model, voice=voice, session=wanted, timeout=left()
        )
        times["sdp"] = time.monotonic() - began
    return answer


def phases(reached: dict[str, float], http: dict[str, float]) -> dict[str, float]:
    """Return how long each phase took, in seconds.

    Parameters
    ----------
    reached
        When each phase of the connection was reached, on the call's clock.
    http
        How long minting and exchanging took.
    """
    out = dict(http)
    steps = [("answer", "ice"), ("ice", "dtls"), ("dtls", "channel")]
    for before, name in steps:
        if before in reached and name in reached:
            out[name] = max(reached[name] - reached[before], 0.0)
    for name in ("configured", "channel"):
        if name in reached:
            out["total"] = reached[name]
            break
    return {name: round(value, 4) for name, value in out.items()}


def why_closed(closed: m.Closed, errors: Iterable[Event]) -> m.Closed:
    """Return `closed` with the service's own reason, where it has given one before.

    Parameters
    ----------
    closed
        How the call ended.
    errors
        The ``error`` events that answered no request of ours.
    """
    if closed.kind != "peer_gone":
        return closed
    told = [object_at(event.data, "error") for event in errors]
    said = "".join(text_at(e, "message") for e in told if text_at(e, "code") == "session_expired")
    return dataclasses.replace(closed, reason=mask(said)[:_LONGEST]) if said else closed


def closed_error(closed: m.Closed, endpoint: Endpoint) -> RtnbError:
    """Return the error that a `Closed` of this kind stands for."""
    where = endpoint.base_url
    match closed.kind:
        case "udp_blocked":
            return UdpBlockedError(
                f"No UDP packet came through to {where} within 10 s of its answer; this network "
                "seems to block UDP. Try another network, or work against rtnb.Peer."
            )
        case "channel_timeout":
            return ChannelTimeoutError(
                f"Packets reach {where}, but its data channel never opened; try again, and check "
                "that the server speaks the realtime API over WebRTC."
            )
        case "process_died":
            return MediaProcessError(closed.reason)
        case "bad_answer":
            return AnswerError(f"{where}: {mask(closed.reason)}")
        case "closed":
            return CallClosedError(f"The call is over: {closed.reason.rstrip('.')}.")
        case "peer_gone":
            return CallClosedError(f"The call is over; {where} is gone. {closed.reason}")
        case _:
            return CallError(f"The call to {where} failed: {mask(closed.reason)}")


def service_error(event: Event, what: str) -> ServiceError:
    """Return the error that an ``error`` event stands for, in the service's words."""
    error = event.data.get("error") or {}
    said = error.get("message") or error.get("code") or "it gave no reason"
    return ServiceError(f"{what}: {said}", code=error.get("code"), event_id=error.get("event_id"))


def write_run_info(folder: Path, endpoint: Endpoint, session: Json, call: str) -> None:
    """Write run.json: what the run was made with, without secrets."""
    info = {
        "format": 1,
        "call": call,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "endpoint": endpoint.base_url,
        "dialect": endpoint.dialect_name,
        "server": endpoint.shape.name,
        "session": session,
        "clock": {"zero": "connect()", "unit": "s", "sample_rate": 48000, "unix": time.time()},
        "versions": _versions(),
    }
    text = mask(json.dumps(info, indent=1, ensure_ascii=False, default=str))
    (folder / RUN).write_text(text + "\n", encoding="utf-8")


@functools.cache  # reading them takes milliseconds, which each call would wait for
def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for name in ("rtnb", "aiortc", "aioice", "av", "numpy"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            out[name] = "not installed"
    return out
