"""What must not end a call or lose an event: odd offers, odd frames, and mistakes of the peer's own."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc import RTCRtpSender
from peer_client import Caller, exchange, prompt_pcm

from rtnb.audio import Clip
from rtnb.media import opus
from rtnb.peer.call import Call
from rtnb.peer.conversation import Conversation
from rtnb.peer.mouth import Mouth
from rtnb.peer.outputs import Say
from rtnb.peer.replytrack import ReplyTrack
from rtnb.peer.server import Setup, make_signaling
from rtnb.peer.speaking import Reports, Speaking

TEXT = {"output_modalities": ["text"]}


def serving(test):
    """Run a test against a peer in this process."""

    async def main():
        signaling = make_signaling(Setup())
        async with TestServer(signaling.app(), host="127.0.0.1") as server:
            await test(f"http://127.0.0.1:{server.port}/v1", signaling)

    asyncio.run(main())


async def connected(url, caller, old="", new=""):
    """Connect a caller; a text of its offer is replaced on the way."""
    offer = await caller.offer()
    assert old in offer
    status, _, answer = await exchange(url, offer.replace(old, new) if old else offer)
    assert status == 201
    await caller.accept(answer)


def calling(test, *, old="", new=""):
    """Run a test with a connected caller."""

    async def main(url, _signaling):
        caller = Caller()
        try:
            await connected(url, caller, old, new)
            await test(caller)
        finally:
            await caller.pc.close()

    serving(main)


def fail_once(monkeypatch, name):
    """Let a method of the conversation raise the first time."""
    real = getattr(Conversation, name)
    failures = [RuntimeError("a mistake")]

    def method(self, *arguments, **named):
        if failures:
            raise failures.pop()
        return real(self, *arguments, **named)

    monkeypatch.setattr(Conversation, name, method)


@pytest.mark.parametrize("name", ["opened", "hear", "receive", "tick"])
def test_a_mistake_of_the_peer_is_told_and_the_call_goes_on(name, monkeypatch):
    """In what was heard, sent or due: an error event of type server_error, then as before."""
    fail_once(monkeypatch, name)

    async def test(caller):
        if name in ("receive", "tick"):
            await caller.until("session.created")
            caller.send("response.create", response=TEXT)
        error = (await caller.until("error"))["error"]
        assert (error["type"], error["code"]) == ("server_error", "server_error")
        caller.send("response.cancel")
        caller.send("response.create", response=TEXT)
        await caller.until("response.done")

    calling(test)


@pytest.mark.parametrize("name", ["sound_started", "sound_ended"])
def test_a_mistake_at_a_sound_is_told(name, monkeypatch):
    """The future's callback does not swallow it."""
    fail_once(monkeypatch, name)

    async def test(caller):
        await caller.until("session.created")
        caller.send("response.create")
        assert (await caller.until("error"))["error"]["type"] == "server_error"

    calling(test)


def test_a_frame_that_is_nested_without_end_is_an_error():
    """Python's parser gives up on it with another error than on broken JSON."""

    async def test(caller):
        await caller.until("session.created")
        caller.channel.send('{"type": "x", "a": ' + "[" * 3_000 + "]" * 3_000 + "}")
        assert (await caller.until("error"))["error"]["code"] == "invalid_event"
        caller.send("response.create", response=TEXT)
        await caller.until("response.done")

    calling(test)


@pytest.mark.parametrize("type", [{}, {"type": 5}])
def test_an_event_without_a_type_is_refused_by_its_id(type):
    """The client can tell which one it was."""

    async def test(caller):
        await caller.until("session.created")
        caller.channel.send(json.dumps({"event_id": "mine", **type}))
        assert (await caller.until("error"))["error"]["event_id"] == "mine"

    calling(test)


def test_an_event_that_is_too_large_for_the_client_is_an_error_event():
    """It names the client's event that asked for it."""

    async def test(caller):
        await caller.until("session.created")
        session = {"type": "realtime", "instructions": "x" * 5_000}
        caller.send("session.update", event_id="mine", session=session)
        error = (await caller.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("event_too_large", "mine")
        assert "session.updated" in error["message"]

    calling(test, old="max-message-size:262144", new="max-message-size:4000")


def test_half_a_surrogate_pair_comes_back():
    """It is no UTF-8, but it is JSON."""

    async def test(caller):
        await caller.until("session.created")
        session = {"type": "realtime", "instructions": "\ud800"}
        caller.send("session.update", session=session)
        assert (await caller.until("session.updated"))["session"]["instructions"] == "\ud800"

    calling(test)


def test_events_go_on_over_the_first_channel_when_the_second_is_closed():
    """Of several the last one that is open is used."""

    async def main(url, _signaling):
        caller = Caller()
        second = caller.pc.createDataChannel("second")
        created, closed = asyncio.Event(), asyncio.Event()
        second.on("message", lambda _: created.set())
        second.on("close", closed.set)
        await connected(url, caller)
        async with asyncio.timeout(5):
            await created.wait()
            second.close()
            await closed.wait()
        caller.send("response.create", response=TEXT)
        await caller.until("response.done")
        await caller.pc.close()

    serving(main)


def test_opus_is_sent_to_a_caller_that_lists_other_codecs_first():
    """Opus packets never go under the payload type of PCMU."""

    async def main(url, _signaling):
        caller = Caller()
        known = RTCRtpSender.getCapabilities("audio").codecs
        caller.pc.getTransceivers()[0].setCodecPreferences(known[::-1])
        offer = await caller.offer()
        types = offer.split("m=audio ")[1].split("\r\n")[0].split()[2:]
        assert "rtpmap:" + types[0] + " opus" not in offer
        _, _, answer = await exchange(url, offer)
        assert "opus/48000" in answer and "PCM" not in answer and "G722" not in answer
        await caller.accept(answer)
        await caller.until("session.created")
        caller.send("response.create")
        await caller.until("output_audio_buffer.stopped")
        assert np.abs(caller.audio()).max() > 3_000
        await caller.pc.close()

    serving(main)


def test_an_offer_that_breaks_the_connection_is_refused_and_forgotten():
    """Its data section is missing though the bundle names it: 400, and no call stays."""

    async def main(url, signaling):
        caller = Caller()
        offer = await caller.offer()
        await caller.pc.close()
        lines = [x for x in offer.splitlines(True) if not x.startswith("m=application")]
        status, _, text = await exchange(url, "".join(lines))
        assert (status, json.loads(text)["error"]["code"]) == (400, "invalid_offer")
        assert signaling.calls == {}

    serving(main)


def test_a_call_that_cannot_be_answered_is_forgotten(monkeypatch):
    """Whatever the reason."""

    async def answer(self, offer):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Call, "answer", answer)

    async def main(url, signaling):
        caller = Caller()
        assert (await exchange(url, await caller.offer()))[0] == 500
        assert signaling.calls == {}
        await caller.pc.close()

    serving(main)


@pytest.mark.parametrize("echo", [True, False])
def test_what_a_user_said_is_not_kept_encoded(echo):
    """Audio that is played back is encoded for once; the peer's own clips are kept."""

    async def main():
        said = (Clip.tone(333 + echo, 0.1).samples * 9_000).astype(np.int16).tobytes()
        track = ReplyTrack(encoded=True)
        speaking = Speaking(track, Reports(started=print, ended=print, cut=print))
        before = opus.encoding_of.cache_info().misses
        speaking.say(Say("r", said, echo=echo))
        packet = bytes(await track.recv())
        assert opus.encoding_of.cache_info().misses == before + (not echo)
        assert packet == opus.Encoding(said).packet(0)
        track.stop()

    asyncio.run(main())


def test_a_turn_of_speech_with_a_broken_voice_is_not_silent(monkeypatch):
    """A mistake while a spoken turn is answered makes the response fail."""

    async def render(self, turn, **how):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Mouth, "render", render)

    async def test(caller):
        await caller.until("session.created")
        caller.play(prompt_pcm("greeting").tobytes())
        response = (await caller.until("response.done"))["response"]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["type"] == "server_error"

    calling(test)
