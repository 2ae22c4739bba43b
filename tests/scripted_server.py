"""A real HTTP server in a thread that answers as it is told and keeps what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"


@dataclass(frozen=True)
class Reply:
    """One HTTP answer."""

    status: int
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One HTTP request as it came."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> object:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def parts(self) -> dict[str, Message]:
        """The parts of a multipart body, by name."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = message_from_bytes(head + self.body).get_payload()
        return {p.get_param("name", header="content-disposition"): p for p in parts}


@dataclass
class Server:
    """What is being served, and what was asked so far."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextlib.contextmanager
def serving(*replies: Reply) -> Iterator[Server]:
    """Answer the first request with the first reply, and so on; the last one stands for the rest."""
    waiting = list(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            server.requests.append(Request(self.command, self.path, self.headers, body))
            reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body.encode())))
            self.end_headers()
            self.wfile.write(reply.body.encode())

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def minted(value: str = "ek_local_0123456789", expires_at: float = 4_000_000_000) -> Reply:
    """Return the GA answer to minting."""
    return Reply(200, json.dumps({"value": value, "expires_at": expires_at, "session": {}}))


def answered(sdp: str = SDP, status: int = 201) -> Reply:
    """Return the GA answer to an offer."""
    place = {"Location": "/v1/realtime/calls/rtc_42"}
    return Reply(status, sdp, "application/sdp", place)


def refused(status: int, code: str | None = None, message: str = "It says so.") -> Reply:
    """Return an error in OpenAI's form."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Reply(status, json.dumps({"error": error}))
