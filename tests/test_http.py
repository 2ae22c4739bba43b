"""Requests to one server: over one connection where that is wanted, and each for itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import rtnb
from rtnb import _http
from rtnb._http import one_connection, post


class Counted(ThreadingHTTPServer):
    """Counts connections, and keeps the cookies that come back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.connections = 0
        self.ended = threading.Event()
        self.cookies: list[str | None] = []

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    @property
    def endpoint(self) -> rtnb.Endpoint:
        return rtnb.Endpoint.for_peer(f"http://127.0.0.1:{self.server_port}/v1")


class Answering(BaseHTTPRequestHandler):
    """Keeps connections open, and sets a cookie."""

    protocol_version = "HTTP/1.1"
    server: Counted

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.cookies.append(self.headers["Cookie"])
        if self.path.endswith("/silent"):
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Length", "2")
        if self.path.endswith("/once"):
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def finish(self) -> None:
        super().finish()
        self.server.ended.set()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Counted]:
    """A server of HTTP/1.1."""
    with Counted() as one:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        yield one
        one.shutdown()


def ask(server: Counted, path: str = "mint", within: float | None = 10.0) -> None:
    endpoint = server.endpoint
    answer = post(
        f"{endpoint.base_url}/{path}", endpoint, timeout=(5, 5), within=within, json={"a": 1}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("within", [None, 10.0])
def test_requests_of_a_block_share_a_connection(server: Counted, within: float | None) -> None:
    """On the caller's thread and on one of its own; nothing else is carried along."""
    with one_connection():
        ask(server, "mint", within)
        ask(server, "calls", within)
    assert server.connections == 1
    assert server.cookies == [None, None]


def test_a_server_may_close_a_shared_connection(server: Counted) -> None:
    """The next request makes another."""
    with one_connection():
        ask(server, "once")
        ask(server, "calls")
    assert server.connections == 2


def test_a_connection_that_was_idle_is_not_used_again(
    server: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may be closing it just when the next request is sent, which is sent only once."""
    monkeypatch.setattr(_http, "_IDLE", 0.0)
    with one_connection():
        ask(server, "mint")
        ask(server, "calls")
    assert server.connections == 2
    assert len(server.cookies) == 2


def test_a_request_that_gets_no_answer_is_not_sent_twice(server: Counted) -> None:
    """Nobody can know whether the server has acted on it."""
    with one_connection():
        ask(server, "mint")
        with pytest.raises(rtnb.UnreachableError):
            ask(server, "silent")
    assert len(server.cookies) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_shared_connection_is_closed_at_the_end(server: Counted, fails: bool) -> None:
    """Of an interrupted block too; the server sees the end of it."""
    with contextlib.suppress(KeyboardInterrupt), one_connection():
        ask(server)
        if fails:
            raise KeyboardInterrupt
    assert server.ended.wait(10)


@pytest.mark.parametrize("shared", [False, True])
def test_no_proxy_gets_what_is_for_this_machine(
    server: Counted, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says, in a block and outside."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with one_connection() if shared else contextlib.nullcontext():
        ask(server, "mint")
        ask(server, "calls")
    assert len(server.cookies) == 2


def test_a_block_belongs_to_who_entered_it(server: Counted) -> None:
    """Calls that are placed at once share nothing."""
    with one_connection():
        ask(server)
        other = threading.Thread(target=ask, args=(server,))
        other.start()
        other.join()
    assert server.connections == 2


def test_other_requests_have_connections_of_their_own(server: Counted) -> None:
    """Outside of a block, and behind it."""
    ask(server)
    with one_connection():
        ask(server)
    ask(server)
    assert server.connections == 3
