"""``rtnb serve``: a realtime server, a page and a token endpoint on one port; it knows no HTTP."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from rtnb.errors import ConfigurationError

if TYPE_CHECKING:
    from rtnb.peer.handle import Peer
    from rtnb.serve import TokenServer

__all__ = ["add"]

_FAILED: Final = 1  # as in `rtnb.cli`

_KEY: Final = "RTNB_PEER_KEY"
_ACCESS: Final = "RTNB_ACCESS_TOKEN"
_LOOK_EVERY: Final = 0.2  # seconds between two looks at the log

# options that say what a peer is to be
_OF_A_PEER: Final = ("key", "voice", "script", "replay", "mode", "reply_after", "log")


def add(commands: Any) -> None:
    """Add the command to those of ``rtnb``."""
    serve = commands.add_parser(
        "serve",
        help="run a realtime server on this machine, with a page to talk to it",
        description="Run a realtime server on this machine until it is interrupted, with a page to "
        "talk to it and an endpoint that mints ephemeral keys, all on one port. With --to, page and "
        "endpoint are for another server, and the key that mints stays here.",
    )
    serve.add_argument(
        "--to",
        default="peer",
        metavar="peer|openai|URL",
        help="what the page calls: a peer on this machine (default), OpenAI (OPENAI_API_KEY), or a "
        "base URL",
    )
    serve.add_argument("--model", help="the model, where a page names none")
    _add_address(serve)
    _add_peer(serve)
    serve.set_defaults(run=_serve)


def _add_address(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--port", type=int, default=8177, help="port, 0 for any (%(default)s)")
    serve.add_argument(
        "--public",
        action="store_true",
        help="let other machines ask, with an access token: that of the environment variable "
        f"{_ACCESS}, or one that is made and shown once",
    )
    serve.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin ask too, such as https://voice.example, which may be that of "
        "a proxy in front; can be repeated",
    )


def _add_peer(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--key",
        help="the key that the peer accepts; any, when not given. Others can read it on the command "
        f"line: better in the environment variable {_KEY}",
    )
    says = serve.add_mutually_exclusive_group()
    says.add_argument("--voice", choices=("default", "parrot"), help="what it says")
    says.add_argument("--script", metavar="FILE", help="YAML rules for what it says")
    says.add_argument("--replay", metavar="RUN", help="give a saved run's replies and events again")
    serve.add_argument(
        "--mode",
        choices=("openai", "azure", "localai", "speaches"),
        help="whose shape it takes (openai)",
    )
    serve.add_argument(
        "--reply-after",
        type=float,
        metavar="S",
        help="seconds from the end of speech to the answer",
    )
    serve.add_argument("--log", action="store_true", help="show on stderr what it logs")


def _serve(arguments: argparse.Namespace) -> int:
    from rtnb.tokenguard import checked_host

    checked_host(arguments.host, public=arguments.public)  # before anything is started
    with _ended_as_by_an_interrupt(signal.SIGTERM):
        if arguments.to == "peer":
            return _serve_peer(arguments)
        given = [name for name in _OF_A_PEER if getattr(arguments, name) not in (None, False)]
        if given:
            option = given[0].replace("_", "-")
            raise ConfigurationError(f"--{option} is for a peer, and --to names another server.")
        return _serve_other(arguments)


def _serve_peer(arguments: argparse.Namespace) -> int:
    from rtnb.peer.handle import Peer

    # an empty option is refused: what stood there was to be a key
    key = arguments.key if arguments.key is not None else os.environ.get(_KEY) or None
    with (
        Peer(
            key=key,
            voice=_script(arguments.script) if arguments.script else arguments.voice,
            reply_after=arguments.reply_after,
            replay=arguments.replay,
            mode=arguments.mode or "openai",
        ) as peer,
        _server(peer, arguments) as server,
    ):
        _announce(_of_a_peer(peer, server, arguments), server)
        follower = _Follower(peer) if arguments.log else None
        try:
            code = _wait(peer, follower)
        except KeyboardInterrupt:  # how it is meant to end
            return 0
        finally:
            server.close()
            if follower is not None:
                peer.close()
                follower.show()
        if code:
            last = peer.log_text.strip().rpartition("\n")[2] or "it said nothing"
            sys.stderr.write(f"rtnb: the peer ended with code {code}; its last words: {last}\n")
    return _FAILED if code else 0


def _serve_other(arguments: argparse.Namespace) -> int:
    with _server(arguments.to, arguments) as server:
        what = "OpenAI" if arguments.to == "openai" else server.base_url
        lines = [
            f"rtnb serves {server.url}",
            f"It mints keys for {what}, and ends with Ctrl-C. What is called there costs money.",
        ]
        _announce(lines, server)
        try:
            while not server.wait(_LOOK_EVERY if sys.platform == "win32" else None):
                continue
        except KeyboardInterrupt:
            return 0
    sys.stderr.write("rtnb: the server has ended by itself\n")
    return _FAILED


def _server(target: Any, arguments: argparse.Namespace) -> TokenServer:
    from rtnb.serve import TokenServer

    return TokenServer(
        target,
        host=arguments.host,
        port=arguments.port,
        model=arguments.model,
        public=arguments.public,
        access_token=(os.environ.get(_ACCESS) or None) if arguments.public else None,
        allow_origins=arguments.allow_origin,
    )


@contextlib.contextmanager
def _ended_as_by_an_interrupt(number: int) -> Iterator[None]:
    """Let a signal end this process in the same orderly way; `kill` and containers send SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # others may set none
        yield
        return
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def _script(path: str) -> Any:
    import rtnb

    return rtnb.peer.voices.Script.read(path)


# --- what is shown --------------------------------------------------------------------------------


def _of_a_peer(peer: Peer, server: TokenServer, arguments: argparse.Namespace) -> list[str]:
    """Say what is served and how it is called; never the key."""
    says = f"replays {arguments.replay}" if arguments.replay else None
    says = says or f"speaks by {arguments.script or 'the voice ' + (arguments.voice or 'default')}"
    url, mode = server.base_url, arguments.mode or "openai"
    key = "ACCESS_TOKEN" if arguments.public else "KEY" if peer.key else None
    keys = "takes its own key only" if peer.key else "takes any key"
    if arguments.public:
        keys = "takes the access token as its key"
    target = repr(url)
    if mode != "openai":
        target = f"rtnb.Endpoint.for_peer({url!r}, {key}, {mode!r})"
    elif key:
        target += f", api_key={key}"
    return [
        f"rtnb serves {url}",
        f"It {says}, {keys}, and ends with Ctrl-C.",
        f"Connect with rtnb.connect({target}), or any client with that base URL.",
    ]


def _announce(lines: list[str], server: TokenServer) -> None:
    """Say where page and keys are; the access token only where it was made just now."""
    fragment, about = "", []
    if server.access_token is not None:
        given = bool(os.environ.get(_ACCESS))
        fragment = f"#access={'ACCESS_TOKEN' if given else server.access_token}"
        about = ["Behind #access= stands the access token, shown this once."]
        if given:
            about = [f"ACCESS_TOKEN stands for that of {_ACCESS}."]
    lines += [
        f"Talk to it in a browser: {server.url}{fragment}",
        f"Ephemeral keys, for rtnb.connect(token_url=...) and pages: {server.token_url}",
    ]
    sys.stdout.write("\n".join(lines + about) + "\n")
    sys.stdout.flush()
    if server.warning is not None:
        sys.stderr.write(f"rtnb: {server.warning}\n")


def _wait(peer: Peer, follower: _Follower | None) -> int | None:
    if follower is None and sys.platform != "win32":  # there a wait cannot be interrupted
        return peer.wait()
    while (code := peer.wait(_LOOK_EVERY)) is None:
        if follower is not None:
            follower.show()
    return code


class _Follower:
    """Shows on stderr what a peer logs, line by line."""

    def __init__(self, peer: Peer):
        self._peer = peer
        self._shown = 0

    def show(self) -> None:
        # whole lines only: of half a key nothing could be masked
        whole = self._peer.log_text.rpartition("\n")[0]
        if len(whole) > self._shown:
            sys.stderr.write(whole[self._shown :].lstrip("\n") + "\n")
            sys.stderr.flush()
            self._shown = len(whole)
