"""`connect`: from arguments to an open session; it must not know what is said in it."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from rtnb.callsetup import check_tools, find_endpoint, write_run_info
from rtnb.configuration import (
    UNSET,
    Unset,
    as_tools,
    check_ice_servers,
    check_limits,
    session_object,
)
from rtnb.dialects import Json
from rtnb.engine import Engine, shared_engine
from rtnb.errors import ConfigurationError
from rtnb.liveline import following
from rtnb.livesound import SoundOutput, VoiceInput, check_attachable
from rtnb.progress import Snapshot, of_connecting
from rtnb.registry import enroll
from rtnb.runfiles import create_run_folder, discard_run
from rtnb.session import Session
from rtnb.signaling import Endpoint, EphemeralKey, as_ephemeral_key
from rtnb.tokens import fetch_token

__all__ = ["Waiting", "connect", "watched_by"]

_watcher: Final[contextvars.ContextVar[Callable[[Waiting], None] | None]] = contextvars.ContextVar(
    "rtnb_watcher", default=None
)


def connect(
    endpoint: Any = None,
    *,
    # the session
    model: str | None = None,
    voice: str | None = None,
    instructions: str | None = None,
    modalities: Iterable[str] | None = None,
    tools: Iterable[Callable[..., Any] | Json] = (),
    turn_detection: str | Json | Unset | None = UNSET,
    transcription: bool | str | Json | None = None,
    # the endpoint
    api_key: str | None = None,
    ephemeral_key: EphemeralKey | str | None = None,
    base_url: str | None = None,
    ice_servers: Sequence[Json] = (),
    token_url: str | None = None,
    token_headers: Mapping[str, str] | None = None,
    # live sound
    microphone: VoiceInput | None = None,
    speaker: SoundOutput | None = None,
    # the run
    record_to: str | os.PathLike[str] | None = None,
    # limits, in seconds; None for none
    timeout: float = 30.0,
    max_duration: float | None = 3600.0,
    idle_close: float | None = 900.0,
    # what is shown meanwhile
    progress: bool | None = None,
    # escape hatch
    engine: Engine | None = None,
) -> Session:
    """Place a call, and return when its channel is open and its configuration acknowledged.

    Parameters
    ----------
    endpoint
        An `rtnb.Peer`, an `rtnb.Endpoint` or a base URL; None is OpenAI.
    model, voice, instructions, modalities
        What the session object is to hold; None leaves it to the service. ``["text"]`` for text.
    tools
        Functions (see `Session.tool`), or schemas whose calls you answer yourself.
    turn_detection
        ``"server_vad"``, ``"semantic_vad"``, a dict, or None for turns by hand.
    transcription
        True, a model's name or a dict, to have what was said transcribed (it costs extra).
    api_key
        A standard key. If None: the environment's ``OPENAI_API_KEY``, then Colab's secrets; for a
        host of Azure's, ``AZURE_OPENAI_API_KEY``.
    ephemeral_key
        A key minted elsewhere, instead of a standard one.
    base_url
        Another server that speaks like OpenAI.
    ice_servers
        STUN and TURN servers as dicts (``urls``, ``username``, ``credential``); none by default.
    token_url
        A token endpoint that gives out ephemeral keys, such as that of ``rtnb serve``; no standard
        key is needed then. Where it names a server, and you do not, that one is called.
    token_headers
        Headers for it, such as ``{"Authorization": "Bearer …"}``.
    microphone
        An `rtnb.Microphone` to speak with; `Session.microphone` changes it later.
    speaker
        An `rtnb.Speaker` to hear the replies with; `Session.speaker` changes it later.
    record_to
        The run folder; a fresh one under the system's temporary directory by default.
    timeout
        Seconds until the channel must be open.
    max_duration
        Seconds after which the call is closed.
    idle_close
        Seconds without a turn, and with nothing audible from a microphone, after which the call
        is closed.
    progress
        Show a live line while this, and each `Session.ask`, waits. None shows it in a notebook and
        on a terminal, unless the environment variable ``RTNB_PROGRESS`` is 0.
    engine
        The media host to use; None shares one media process among all sessions.

    Raises
    ------
    ConfigurationError, SignalingError, CallError
        One of their kinds; the call is hung up then.
    """
    started = time.monotonic()
    check_limits(timeout, max_duration, idle_close)
    check_ice_servers(ice_servers)
    offered = as_tools(tools)
    config = session_object(
        model=model,
        voice=voice,
        instructions=instructions,
        modalities=modalities,
        turn_detection=turn_detection,
        transcription=transcription,
        tools=offered,
    )
    check_attachable(microphone, "microphone")
    check_attachable(speaker, "speaker")
    key = as_ephemeral_key(ephemeral_key)
    if token_url is None:
        _check_no_headers(token_headers)
        place = find_endpoint(endpoint, api_key=api_key, base_url=base_url, needs_key=key is None)
    else:
        _check_no_key(endpoint, api_key, key)
        place = _keyless(endpoint, base_url)
    check_tools(place, offered)
    mints = token_url is not None or (key is None and place.shape.mints)
    waiting = Waiting(place, started, mints=mints, token_url=token_url)
    with following(progress) as line:
        line.watch(waiting.how_far)
        if engine is None:
            engine = shared_engine()  # starts while the key is minted
        took = {}
        if token_url is not None:
            began = time.monotonic()
            key, named = fetch_token(token_url, token_headers, timeout=timeout)
            took["mint"] = time.monotonic() - began
            if named is not None and endpoint is None and base_url is None:
                place = waiting.endpoint = _keyless(None, named)
                check_tools(place, offered)
        session = waiting.session = Session(
            place,
            engine,
            folder=create_run_folder(record_to),
            started=started,
            config=config,
            tools=offered,
            max_duration=max_duration,
            idle_close=idle_close,
        )
        session._progress = progress
        session._http.update(took)
        write_run_info(session.folder, place, config, session._id)
        enroll(session)
        try:
            if (watcher := _watcher.get()) is not None:
                watcher(waiting)
            session._connect(key, ice_servers, timeout - took.get("mint", 0.0))
            # not before: there is nothing yet that voice could go out on
            session.microphone = microphone
            session.speaker = speaker
        except BaseException:  # an interrupt too must not leave a call open
            session.close("connecting failed")
            if not len(session.events):  # or the folder could not be used again
                discard_run(session.folder)
            raise
        return session


def _check_no_key(endpoint: Any, api_key: str | None, key: EphemeralKey | None) -> None:
    own = isinstance(endpoint, Endpoint) and endpoint.key is not None
    if api_key is not None or key is not None or own:
        given = "an endpoint with a key" if own else "api_key= or ephemeral_key="
        raise ConfigurationError(f"token_url= fetches the key; do not give {given} too.")


def _check_no_headers(token_headers: Mapping[str, str] | None) -> None:
    if token_headers is not None:
        raise ConfigurationError("token_headers= are for a token endpoint; give token_url= too.")


def _keyless(endpoint: Any, base_url: str | None) -> Endpoint:
    """Return the endpoint that is called with the key of a token endpoint, and no other."""
    found = find_endpoint(
        endpoint, api_key=None, base_url=base_url, needs_key=False, looks_for_key=False
    )
    return dataclasses.replace(found, key=None)


@contextlib.contextmanager
def watched_by(watcher: Callable[[Waiting], None]) -> Iterator[None]:
    """Let `watcher` have each call that `connect` begins in the block, before it goes out.

    Parameters
    ----------
    watcher
        What it raises ends the call.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@dataclass(slots=True)
class Waiting:
    """A call that `connect` is placing.

    Attributes
    ----------
    endpoint : Endpoint
        Where it goes.
    started : float
        Monotonic seconds.
    mints : bool
        A key is minted first.
    session : Session or None
        Not open yet; closing it gives the call up.
    token_url : str or None
        Where the key comes from, if not from the endpoint itself.
    """

    endpoint: Endpoint
    started: float  # monotonic seconds
    mints: bool
    session: Session | None = None
    token_url: str | None = None

    def how_far(self) -> Snapshot:
        """Return the phase it is in."""
        seconds, session = time.monotonic() - self.started, self.session
        if session is None and self.token_url is not None:
            return of_connecting(_host(self.token_url), seconds, mints=True)
        place = _host(self.endpoint.base_url)
        if session is None:
            return of_connecting(place, seconds)
        with session.changed:
            return of_connecting(
                place,
                seconds,
                session._reached,
                session._http,
                mints=self.mints,
                offered=session.offer is not None,
            )


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except (ValueError, TypeError, AttributeError):  # it is refused in a moment, with the reason
        return ""
