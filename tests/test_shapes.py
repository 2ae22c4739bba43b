"""Calls in the shapes of other servers, to our own peer: whole turns, and each HTTP request."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import requests
from aiortc import RTCDataChannel
from bare_calls import answer_offer, bare_connection, signalling

import rtnb

KEY: Final = "a-key-of-the-peer-0123"
ANSWER: Final = "The capital of France is Paris."
QUESTION: Final = "What is the capital of France?"
STORY: Final = "Tell me a long story, please."

# shape -> (mode of the peer, endpoint)
SHAPES: Final[dict[str, tuple[str, Callable[[str], rtnb.Endpoint]]]] = {
    "azure": ("azure", lambda url: rtnb.Endpoint.azure(url, KEY, deployment="my-voice")),
    "filtered": (
        "azure",
        lambda url: rtnb.Endpoint.azure(url, KEY, deployment="my-voice", filtered=True),
    ),
    "localai": ("localai", lambda url: rtnb.Endpoint.localai(url, model="talker")),
    "speaches": ("speaches", lambda url: rtnb.Endpoint.speaches(url, model="vendor/talker")),
}
NAMES: Final = tuple(SHAPES)


@dataclass(frozen=True)
class Posted:
    """One HTTP request, as far as it is compared."""

    path: str
    key: str | None = None
    "The header of the key and what kind of key it was."
    content: str | None = None
    body: str | None = None


@dataclass
class Called:
    """What came of one call."""

    turns: list[rtnb.Turn] = field(default_factory=list)
    folder: Path = Path()
    took: float = 0.0
    "Seconds for connect()."
    held: float = 0.0
    "Seconds until push_to_talk was entered."
    interrupted: float = 0.0
    "Seconds that interrupt() took."
    types: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)


# --- the calls ------------------------------------------------------------------------------------


def kind_of_key(headers: Any) -> str | None:
    """Return which header carries which kind of key."""
    api_key, bearer = headers.get("api-key"), headers.get("Authorization")
    assert api_key is None or bearer is None
    if api_key is not None:
        return f"api-key: {'standard' if api_key == KEY else 'other'}"
    if bearer is not None:
        return f"Bearer {'ek' if bearer.startswith('Bearer ek_') else 'other'}"
    return None


def body_of(request: requests.PreparedRequest) -> str | None:
    """Return what a body is: an offer, or JSON with these keys and this model."""
    body = request.body
    text = body.decode() if isinstance(body, bytes) else body
    if not text:
        return None
    if text.startswith("v=0"):
        return "offer"
    data = json.loads(text)
    for value in list(data.values()):
        if isinstance(value, dict):
            data["model of the session"] = value.get("model")
    return ", ".join(f"{key}={data[key]}" if "model" in key else key for key in sorted(data))


def as_posted(request: requests.PreparedRequest) -> Posted:
    parts = urlsplit(str(request.url))
    path = f"{request.method} {parts.path}{'?' if parts.query else ''}{parts.query}"
    call = path.partition("/calls/rtc_")
    path = f"{call[0]}/calls/CALL/hangup" if call[1] and path.endswith("/hangup") else path
    content = request.headers.get("Content-Type")
    return Posted(path, kind_of_key(request.headers), content, body_of(request))


def talk(endpoint: rtnb.Endpoint) -> Called:
    """Ask by voice, ask in writing, and interrupt a long reply."""
    out = Called()
    began = time.monotonic()
    with rtnb.connect(endpoint, transcription=True) as session:
        out.took = time.monotonic() - began
        session.ask(rtnb.sample("capital_of_france"))
        session.ask(QUESTION)
        session.send(STORY).wait_for_audio(0.3)
        began = time.monotonic()
        session.interrupt()
        out.interrupted = time.monotonic() - began
        out.turns, out.folder = list(session.turns), session.folder
        out.types = session.events.select(direction="received").types
        out.sent = session.events.select(direction="sent").types
    return out


def hold(endpoint: rtnb.Endpoint) -> Called:
    """Ask by push-to-talk."""
    out = Called()
    with rtnb.connect(endpoint, transcription=True) as session:
        began = time.monotonic()
        with session.push_to_talk() as turn:
            out.held = time.monotonic() - began
            turn.play(rtnb.sample("capital_of_france"))
        turn.wait(30)
        out.turns = list(session.turns)
    return out


@dataclass
class Calls:
    """All calls that were made, and what was posted for each."""

    made: dict[str, Called]
    posted: dict[str, list[Posted]]
    held: Called


@pytest.fixture(scope="module")
def calls() -> Iterator[Calls]:
    """One call in each shape and one more, all at once, as each takes its real time."""
    seen: list[tuple[str, Posted]] = []
    send = requests.Session.send

    def recorded(self: requests.Session, request: requests.PreparedRequest, **rest: Any) -> Any:
        seen.append((str(urlsplit(str(request.url)).port), as_posted(request)))
        return send(self, request, **rest)

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(SHAPES) + 1) as pool:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(requests.Session, "send", recorded)
        keys = {"azure": KEY}
        peers = {
            name: pool.submit(rtnb.Peer, mode=mode, key=keys.get(mode))
            for name, (mode, _) in [*SHAPES.items(), ("held", SHAPES["filtered"])]
        }
        up = {name: stack.enter_context(peer.result()) for name, peer in peers.items()}
        endpoints = {name: make(up[name].url) for name, (_, make) in SHAPES.items()}
        running = {name: pool.submit(talk, endpoint) for name, endpoint in endpoints.items()}
        held = pool.submit(hold, SHAPES["filtered"][1](up["held"].url))
        made = {name: one.result() for name, one in running.items()}
        ports = {str(urlsplit(peer.url).port): name for name, peer in up.items()}
        posted: dict[str, list[Posted]] = {}
        for port, one in seen:
            posted.setdefault(ports[port], []).append(one)
        yield Calls(made, posted, held.result())


# --- over HTTP ------------------------------------------------------------------------------------

EXPECTED: Final[dict[str, list[Posted]]] = {
    "azure": [
        Posted(
            "POST /openai/v1/realtime/client_secrets",
            "api-key: standard",
            "application/json",
            "model of the session=my-voice, session",
        ),
        Posted("POST /openai/v1/realtime/calls", "Bearer ek", "application/sdp", "offer"),
        Posted("POST /openai/v1/realtime/calls/CALL/hangup", "api-key: standard"),
    ],
    "filtered": [
        Posted(
            "POST /openai/v1/realtime/client_secrets",
            "api-key: standard",
            "application/json",
            "model of the session=my-voice, session",
        ),
        Posted(
            "POST /openai/v1/realtime/calls?webrtcfilter=on",
            "Bearer ek",
            "application/sdp",
            "offer",
        ),
        Posted("POST /openai/v1/realtime/calls/CALL/hangup", "api-key: standard"),
    ],
    "localai": [
        Posted("POST /v1/realtime/calls", None, "application/json", "model=talker, sdp"),
    ],
    "speaches": [
        Posted("POST /v1/realtime?model=vendor/talker", None, "application/sdp", "offer"),
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_each_shape_asks_what_its_servers_take(calls: Calls, name: str) -> None:
    """Method, path, query, key, kind of body: all requests of a whole call, in order."""
    assert calls.posted[name] == EXPECTED[name]


# --- whole turns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_spoken_turn_is_whole(calls: Calls, name: str) -> None:
    """Its words both ways, its sound, its status and its latency."""
    turn = calls.made[name].turns[0]
    assert (turn.status, turn.transcript, turn.error) == ("completed", ANSWER, None)
    assert turn.prompt_transcript == QUESTION
    assert 1.5 < turn.reply.duration < 2.3
    assert turn.latency.first_audio is not None
    assert 0.1 < turn.latency.first_audio < 3.0


@pytest.mark.parametrize("name", NAMES)
def test_a_written_turn_is_whole(calls: Calls, name: str) -> None:
    """Its answer comes by voice."""
    turn = calls.made[name].turns[1]
    assert (turn.status, turn.transcript, turn.error) == ("completed", ANSWER, None)
    assert 1.5 < turn.reply.duration < 2.3
    assert turn.latency.first_audio is not None
    assert 0.0 < turn.latency.first_audio < 3.0


@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_ends_the_turn(calls: Calls, name: str) -> None:
    """Whatever the server understands of it, within the bound; the turn is cancelled."""
    called = calls.made[name]
    assert called.turns[2].status == "cancelled"
    assert called.interrupted < 4.0


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_any_shape_is_opened_again(calls: Calls, name: str) -> None:
    """The saved run has the turns that the call had."""
    called = calls.made[name]
    run = rtnb.open_run(called.folder)
    found = [(turn.status, turn.transcript) for turn in run.turns]
    assert found == [(turn.status, turn.transcript) for turn in called.turns]
    expected = {"azure": "azure", "filtered": "azure, filtered"}.get(name, name)
    assert run.info["server"] == expected


# --- what these servers do not say ----------------------------------------------------------------


def test_a_filtered_call_does_without_most_events(calls: Calls) -> None:
    """None of the session nor of the responses' ends has come, and none was waited for."""
    called = calls.made["filtered"]
    kinds = {kind.partition(".")[0] for kind in called.types}
    assert kinds == {"input_audio_buffer", "output_audio_buffer", "conversation", "response"}
    assert {"response.created", "response.done"} & set(called.types) == set()
    assert called.took < 4.0


def test_push_to_talk_does_not_wait_for_a_filtered_acknowledgement(calls: Calls) -> None:
    """Turn detection is off at once; the turn is whole all the same."""
    (turn,) = calls.held.turns
    assert calls.held.held < 1.0
    assert (turn.status, turn.transcript) == ("completed", ANSWER)
    assert turn.prompt_transcript == QUESTION


def test_localai_says_nothing_of_its_sound(calls: Calls) -> None:
    """No event of the output audio buffer has come; the sound itself has ended the turns."""
    assert not [t for t in calls.made["localai"].types if t.startswith("output_audio_buffer")]


def test_the_frames_of_speaches_are_unwrapped(calls: Calls) -> None:
    """In the log and in the run there are events in GA names, and no frames."""
    called = calls.made["speaches"]
    assert {"session.created", "response.output_audio_transcript.done"} <= set(called.types)
    run = (called.folder / "events.jsonl").read_text(encoding="utf-8")
    assert "response.audio_transcript.done" in run  # as it came, in the server's dialect
    for kind in ("full_message", "partial_message"):
        assert kind not in called.types
        assert kind not in run


def test_speaches_is_not_told_what_it_does_not_know(calls: Calls) -> None:
    """The interruption is said to the user alone."""
    called = calls.made["speaches"]
    assert {"response.cancel", "output_audio_buffer.clear"} & set(called.sent) == set()
    assert "error" not in called.types


# --- channels -------------------------------------------------------------------------------------


class Far:
    """A bare aiortc end that says what it is told when its channel opens, or nothing ever."""

    def __init__(self, *frames: str):
        self.frames = frames
        self.labels: list[str] = []
        self.pc: Any = None

    async def answer(self, offer: str) -> str:
        self.pc = bare_connection()
        self.pc.on("datachannel", self.opened)
        return await answer_offer(self.pc, offer)

    def opened(self, channel: RTCDataChannel) -> None:
        self.labels.append(channel.label)
        for frame in self.frames:
            channel.send(frame)
        if self.frames:
            channel.on("message", lambda _text: channel.send('{"type": "session.updated"}'))

    async def close(self) -> None:
        await asyncio.wait_for(self.pc.close(), 2.0)


def test_a_silent_filtered_server_is_connected_to_at_once() -> None:
    """It will say nothing of the session, so nothing is waited for; the label is Azure's sample's."""
    far = Far()
    with signalling(far.answer, far.close) as url:
        endpoint = rtnb.Endpoint.azure(url, KEY, deployment="d", filtered=True)
        with rtnb.connect(endpoint) as session:
            assert session.phases["total"] < 2.0
    assert far.labels == ["realtime-channel"]


def test_a_silent_server_is_waited_for_shortly() -> None:
    """One that might say something of the session gets 2.5 s; the label is the endpoint's own."""
    far = Far()
    with signalling(far.answer, far.close) as url:
        endpoint = rtnb.Endpoint.custom(url, label="my-channel")
        with rtnb.connect(endpoint) as session:
            assert 2.0 < session.phases["total"] < 4.5
    assert far.labels == ["my-channel"]


def test_malformed_frames_become_events_of_their_own() -> None:
    """What cannot be unwrapped is in the log as it came, between what can."""
    created = json.dumps({"type": "session.created", "session": {"voice": "Zoë"}})
    data = base64.b64encode(created.encode()).decode()
    piece = {"type": "partial_message", "id": "e1", "total_fragments": 2}
    frames = [
        json.dumps({**piece, "fragment_index": 1, "data": data[15:]}),
        json.dumps({"type": "full_message", "id": "e2", "data": "no base64"}),
        "no JSON",
        json.dumps({**piece, "fragment_index": 0, "data": data[:15]}),
        json.dumps({**piece, "id": "e3", "fragment_index": 0, "data": "AAAA"}),  # the only one
    ]
    far = Far(*frames)
    with signalling(far.answer, far.close) as url:
        endpoint = rtnb.Endpoint.custom(url, framing="speaches")
        with rtnb.connect(endpoint) as session:
            pass
        received = session.events.select(direction="received")
    assert received.types == [
        *("full_message", "", "session.created", "session.updated", "partial_message")
    ]
    assert received[2].data["session"] == {"voice": "Zoë"}
    assert [event.text for event in received][::4] == [frames[1], frames[4]]
    assert received[1].data["unreadable"] == frames[2]
