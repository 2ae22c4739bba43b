"""`Peer`: a handle on a realtime server in its own process; it must not know how a call works."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import weakref
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final

from rtnb import _html, _process
from rtnb._masking import Secret, mask
from rtnb.errors import ConfigurationError, MediaProcessError
from rtnb.sessionview import properties

if TYPE_CHECKING:
    from rtnb.signaling import Endpoint

__all__ = ["Peer"]

_READY_WITHIN: Final = 20.0  # seconds
_END_WITHIN: Final = 4.0  # seconds until the process is killed
_SHORTEST_KEY: Final = 8
_LONGEST_WAIT: Final = 60.0
_VOICES: Final = ("default", "parrot")


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
        ``"default"``, or ``"parrot"``, which repeats the audio.
    reply_after
        Seconds from the end of the user's speech to the answer; None answers at once.

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
        voice: str | None = None,
        reply_after: float | None = None,
    ):
        _check(host, port, key, voice, reply_after)
        self._host = host
        self._key = Secret(key) if key is not None else None
        arguments = ["--host", host, "--port", str(port), "--voice", voice or "default"]
        arguments += ["--reply-after", str(float(reply_after or 0))]
        # not on the command line, where every user of the machine could read it
        environment = {"RTNB_PEER_KEY": key or ""}
        self._stderr = _process.stderr_file()
        self._process = _process.start_module(
            "rtnb.peer", arguments, stderr=self._stderr, environment=environment
        )
        self._finalizer = weakref.finalize(self, _end, self._process, self._stderr)
        self._port = self._wait_until_ready()

    def _wait_until_ready(self) -> int:
        assert self._process.stdout is not None
        timer = threading.Timer(_READY_WITHIN, self._process.kill)
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        try:
            return int(json.loads(line)["port"])
        except (ValueError, KeyError, TypeError):
            self._process.kill()
            self._process.wait()
            reason = _process.last_line(self._stderr) or "it said nothing"
            self.close()
            raise MediaProcessError(f"The peer did not start: {reason}") from None

    @property
    def url(self) -> str:
        """Its base URL, such as ``http://127.0.0.1:49152/v1``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self._host, self._host)
        return f"http://{host}:{self._port}/v1"

    @property
    def key(self) -> str | None:
        """The key it accepts, or None when it accepts any."""
        return self._key.reveal() if self._key else None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def endpoint(self) -> Endpoint:
        """Where and how it is called, for a handshake by hand."""
        from rtnb.signaling import Endpoint

        return Endpoint.for_peer(self.url, self.key)

    @property
    def closed(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def log(self) -> str:
        """Return what the process has logged, secrets masked; "" when it is closed."""
        if self._stderr.closed:
            return ""
        return mask(_process.contents(self._stderr).decode("utf-8", "replace"))

    def wait(self) -> int:
        """Wait until its process ends by itself, and return the exit code."""
        return self._process.wait()

    def close(self) -> None:
        """End the process and all its calls; returns when it has ended. Harmless when repeated."""
        self._finalizer()

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
        return _html.boxed(_html.head("Peer", state) + properties(pairs), repr(self))


def _end(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
    """Close its stdin, at which it ends by itself; kill it if it does not."""
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    stderr.close()


def _check(host: Any, port: Any, key: Any, voice: Any, reply_after: Any) -> None:
    if not isinstance(host, str) or not host:
        raise ConfigurationError(f"A peer cannot listen on host {host!r}; use '127.0.0.1'.")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ConfigurationError(f"A port is a whole number from 0 to 65535, not {port!r}.")
    if key is not None and (not isinstance(key, str) or len(key) < _SHORTEST_KEY):
        raise ConfigurationError(f"A peer's key is a text of {_SHORTEST_KEY} characters or more.")
    if key is not None and (key.startswith("ek_") or not key.isascii() or " " in key):
        raise ConfigurationError("A peer's key is ASCII without spaces and not of the ek_ kind.")
    if voice is not None and voice not in _VOICES:
        known = ", ".join(repr(v) for v in _VOICES)
        raise ConfigurationError(f"There is no voice {mask(str(voice))!r}; choose one of {known}.")
    wait = reply_after
    if wait is not None and (not isinstance(wait, int | float) or not 0 <= wait <= _LONGEST_WAIT):
        limit = f"{_LONGEST_WAIT:g}"
        raise ConfigurationError(f"reply_after is 0 to {limit} seconds, not {wait!r}.")
