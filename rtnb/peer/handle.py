"""`Peer`: a handle on a realtime server in its own process; it must not know how a call works."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from rtnb import _html
from rtnb._masking import Secret, mask
from rtnb.errors import ConfigurationError
from rtnb.peer import control
from rtnb.peer.faults import Faults
from rtnb.peer.link import Link
from rtnb.sessionview import properties

if TYPE_CHECKING:
    from rtnb.peer.peerlog import PeerLog
    from rtnb.peer.reply import Voice
    from rtnb.signaling import Endpoint

__all__ = ["Peer"]

_SHORTEST_KEY: Final = 8
_LONGEST_WAIT: Final = 60.0
_VOICES: Final = ("default", "parrot")
_MODES: Final = ("openai", "azure", "localai", "speaches")  # as in `rtnb.peer.modes`, unloaded


class Peer:
    """A realtime server on this machine, in a process of its own.

    It speaks the GA and the beta dialect over real WebRTC on loopback. Its default voice knows the
    bundled prompts by their sound and answers them with recorded clips; of other audio it says for
    how long it heard it, and plays it back. It ends with this process, with `close`, or at the end
    of a ``with`` block.

    Parameters
    ----------
    host
        Where its HTTP listens; calls are taken from this machine only.
    port
        0 takes a free one.
    key
        The API key that it accepts; None accepts any.
    voice
        What it says: ``"default"``, ``"parrot"`` (which repeats the audio), a
        `rtnb.peer.voices.Script`, or any function, async or not, from a
        `rtnb.peer.voices.UserTurn` to text, a `Clip`, a tool call or a list of these. A function
        runs in this process, in a thread of the handle's, up to 32 at a time, and async ones on an
        event loop there, not on yours; the parts of `rtnb.peer.voices` run in the peer's.
    reply_after
        Seconds from the end of the user's speech to the answer; None answers at once.
    faults
        How calls are to go wrong: one `rtnb.peer.Faults` for every call, or a list with one for
        each call in turn, after which calls behave well.
    replay
        The folder of a saved run: its replies and events are given again, at their recorded times.
    mode
        Whose shape it takes: ``"openai"``, ``"azure"``, ``"localai"`` or ``"speaches"``.

    Raises
    ------
    ConfigurationError
        An argument cannot be used.
    MediaProcessError
        The process did not start.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        voice: str | Voice | None = None,
        reply_after: float | None = None,
        faults: Faults | Sequence[Faults] | None = None,
        replay: str | os.PathLike[str] | None = None,
        mode: str = "openai",
    ):
        _check(host, port, key, reply_after)
        _check_mode(mode)
        where = _run_folder(replay, voice)
        here = _checked_voice(voice)
        start = control.Start(
            host=host,
            port=port,
            key=key,
            voice=None if here is not None else "default" if voice is None else voice,
            reply_after=float(reply_after or 0),
            mode=mode,
            faults=_listed(faults),
            faults_repeat=isinstance(faults, Faults),
            replay=where,
        )
        self._host = host
        self._mode = mode
        self._key = Secret(key) if key is not None else None
        self._link = Link(start, here)
        self._finalizer = weakref.finalize(self, self._link.close)

    @property
    def url(self) -> str:
        """Its base URL, such as ``http://127.0.0.1:49152/v1``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        host = f"[{host}]" if ":" in host else host
        version = "openai/v1" if self._mode == "azure" else "v1"
        return f"http://{host}:{self._link.port}/{version}"

    @property
    def key(self) -> str | None:
        """The key it accepts, or None when it accepts any."""
        return self._key.reveal() if self._key else None

    @property
    def mode(self) -> str:
        """Whose shape it takes."""
        return self._mode

    @property
    def pid(self) -> int:
        """The process id."""
        return self._link.process.pid

    @property
    def endpoint(self) -> Endpoint:
        """Where and how it is called, for a handshake by hand."""
        from rtnb.signaling import Endpoint

        return Endpoint.for_peer(self.url, self.key, self._mode)

    @property
    def closed(self) -> bool:
        """Whether its process has ended."""
        return self._link.process.poll() is not None

    @property
    def live_calls(self) -> int:
        """How many calls are open."""
        return self._link.live()

    @property
    def log_text(self) -> str:
        """What its process has logged so far, secrets masked."""
        return self._link.text()

    def log(self) -> PeerLog:
        """Return what it has done until now: each packet, each event, and what it logged.

        When it is closed, this is what it had done by then.
        """
        return self._link.log()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until its process ends by itself, and return the exit code.

        Parameters
        ----------
        timeout
            Seconds, after which None is returned.
        """
        return self._link.wait(timeout)

    def close(self) -> None:
        """End the process and all its calls; returns when it has ended. Harmless when repeated.

        Where an interrupt comes in between, it can be called again.
        """
        self._link.close()
        self._finalizer.detach()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Peer {self.url}{' (closed)' if self.closed else ''}>"

    def _repr_html_(self) -> str:
        state = _html.badge("closed" if self.closed else "running", "" if self.closed else "good")
        key = "its own" if self._key else "any is accepted"
        pairs = [("base URL", self.url), ("key", key)]
        pairs += [("mode", self._mode)] * (self._mode != "openai")
        return _html.boxed(_html.head("Peer", state) + properties(pairs), repr(self))


def _check(host: Any, port: Any, key: Any, reply_after: Any) -> None:
    if not isinstance(host, str) or not host:
        raise ConfigurationError(f"A peer cannot listen on host {host!r}; use '127.0.0.1'.")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ConfigurationError(f"A port is a whole number from 0 to 65535, not {port!r}.")
    if key is not None and (not isinstance(key, str) or len(key) < _SHORTEST_KEY):
        raise ConfigurationError(f"A peer's key is a text of {_SHORTEST_KEY} characters or more.")
    printable = key is None or (key.isascii() and key.isprintable() and " " not in key)
    if key is not None and (key.startswith("ek_") or not printable):
        raise ConfigurationError("A peer's key is ASCII without spaces and not of the ek_ kind.")
    wait = reply_after
    if wait is not None and (not isinstance(wait, int | float) or not 0 <= wait <= _LONGEST_WAIT):
        limit = f"{_LONGEST_WAIT:g}"
        raise ConfigurationError(f"reply_after is 0 to {limit} seconds, not {wait!r}.")


def _check_mode(mode: Any) -> None:
    if mode not in _MODES:
        known = ", ".join(repr(one) for one in _MODES)
        raise ConfigurationError(f"There is no mode {mask(str(mode))!r}; choose one of {known}.")


def _checked_voice(voice: Any) -> Voice | None:
    """Return the voice that is to run in this process, or None for one that runs in the peer's."""
    if voice is None or (isinstance(voice, str) and voice in _VOICES):
        return None
    from rtnb.peer.voices import as_voice

    checked = as_voice(voice)
    if type(checked).__module__.startswith("rtnb.peer."):
        try:
            control.checked(control.Start(voice=checked))
        except Exception:  # what it was given may be of any class, and fail in any way
            return checked
        return None
    return checked


def _listed(faults: Any) -> tuple[Faults, ...]:
    if faults is None:
        return ()
    if isinstance(faults, Faults):
        return (faults,)
    if not isinstance(faults, list | tuple):
        name = type(faults).__name__
        raise ConfigurationError(f"faults is an rtnb.peer.Faults or a list of them, not {name}.")
    for number, one in enumerate(faults):
        if not isinstance(one, Faults):
            name = type(one).__name__
            raise ConfigurationError(f"faults[{number}] is not an rtnb.peer.Faults but {name}.")
    return tuple(faults)


def _run_folder(replay: Any, voice: Any) -> str | None:
    if replay is None:
        return None
    if not isinstance(replay, str | os.PathLike):
        name = type(replay).__name__
        raise ConfigurationError(f"replay is the folder of a saved run, not {name}.")
    if voice is not None:
        raise ConfigurationError("A peer has a voice or replays a run; give voice or replay.")
    folder = Path(replay).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {mask(str(replay))!r} to replay.")
    if not (folder / "run.json").is_file():
        raise ConfigurationError(
            f"{mask(str(replay))!r} holds no saved run (no run.json); give a run's own folder."
        )
    return str(folder)
