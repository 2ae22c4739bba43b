"""Real calls to a real peer process, placed by a bare aiortc caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from openai.types.realtime import RealtimeServerEvent
from peer_client import calling, exchange, post, prompt_clip, through_opus
from pydantic import TypeAdapter

from rtnb.peer import repertoire
from rtnb.peer.handle import Peer

TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def url(peer: Peer) -> str:
    return peer.url


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def similarity(heard: np.ndarray, said: np.ndarray) -> float:
    """Return the best correlation of the envelopes of what was heard and what was said."""
    one, two = (
        np.abs(x[: len(x) // 960 * 960].reshape(-1, 960).astype(float)).mean(1)
        for x in (heard, said)
    )
    two = (two - two.mean()) / np.linalg.norm(two - two.mean())
    best = 0.0
    for lag in range(len(one) - len(two) + 1):
        part = one[lag : lag + len(two)] - one[lag : lag + len(two)].mean()
        best = max(best, float(part @ two) / (float(np.linalg.norm(part)) or 1.0))
    return best


def test_a_spoken_prompt_gets_its_spoken_answer(url):
    """The prompt is recognised, transcribed and answered, and the answer is heard in full."""

    async def call() -> None:
        async with calling(url, session=TRANSCRIBED) as caller:
            caller.play(prompt_clip("capital_of_france"))
            await caller.until("output_audio_buffer.stopped")
            done = "response.output_audio_transcript.done"
            (answer,) = [e for e in caller.events if e["type"] == done]
            assert answer["transcript"] == "The capital of France is Paris."
            kind = "conversation.item.input_audio_transcription.completed"
            (prompt,) = [e for e in caller.events if e["type"] == kind]
            assert prompt["transcript"] == "What is the capital of France?"
            said = np.frombuffer(repertoire.saying("capital_of_france").pcm, np.int16)
            assert similarity(caller.audio(), said) > 0.95

    run(call())


def test_every_event_is_one_of_the_official_types(url):
    """A turn, a tool, text, an interruption and errors parse with the SDK's types, no key unknown."""
    adapter: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)

    async def call() -> None:
        async with calling(url, session={**TRANSCRIBED, "tools": [WEATHER]}) as caller:
            caller.play(prompt_clip("weather_in_paris"))
            await caller.until("rate_limits.updated")
            say(caller, "Tell me a long story.")
            await caller.until("output_audio_buffer.started")
            caller.send("response.cancel")
            caller.send("output_audio_buffer.clear")
            await caller.until("conversation.item.truncated")
            say(caller, "What is the capital of France?", output_modalities=["text"])
            item_id = (await caller.until("response.output_text.done"))["item_id"]
            await caller.until("response.done")
            for name in ("retrieve", "delete"):
                caller.send(f"conversation.item.{name}", item_id=item_id)
            caller.send("input_audio_buffer.clear")
            caller.send("session.update", session={"type": "realtime", "instructions": "x"})
            caller.send("nonsense")
            await caller.until("error")
            unknown = {}
            for event in caller.events:
                parsed = adapter.validate_python(event, strict=True)
                assert parsed.type == event["type"]
                unknown[event["type"]] = parsed.model_extra
            assert {t: extra for t, extra in unknown.items() if extra} == {}
            assert len(unknown) >= 28

    run(call())


def say(caller, text: str, **response: Any) -> None:
    """Send a text message and ask for a response."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    caller.send("conversation.item.create", item=item)
    caller.send("response.create", response=response)


def test_other_audio_is_counted_and_played_back(url):
    """No transcript is invented: the transcription fails, and the sound comes back."""

    async def call() -> None:
        async with calling(url, session=TRANSCRIBED) as caller:
            said = np.frombuffer(repertoire.saying("color_of_the_sky").pcm, np.int16)[:48_000]
            caller.play(said.tobytes())
            done = await caller.until("response.output_audio_transcript.done")
            assert done["transcript"] == "I heard one second."
            await caller.until("output_audio_buffer.stopped")
            kind = "conversation.item.input_audio_transcription"
            assert f"{kind}.failed" in caller.types() and f"{kind}.completed" not in caller.types()
            assert similarity(caller.audio(), said) > 0.95

    run(call())


def test_the_sound_of_a_reply_takes_its_own_time(url):
    """Started to stopped is as long as the clip, and response.done comes in its first part."""

    async def call() -> None:
        async with calling(url) as caller:
            say(caller, "How much is seven times eight?")
            started = caller.time_of(await caller.until("output_audio_buffer.started"))
            done = caller.time_of(await caller.until("response.done"))
            stopped = caller.time_of(await caller.until("output_audio_buffer.stopped"))
            duration = len(repertoire.saying("seven_times_eight").pcm) / 96_000
            assert abs(stopped - started - duration) < 0.1 and done - started < 0.3
            loud = [t for t in caller.loud_times() if t > started - 0.05]
            assert loud[0] - started < 0.3 and loud[-1] < stopped + 0.05

    run(call())


def test_speech_stops_the_reply_at_once(url):
    """Barge-in: the sound ends with the next packet, and the item is cut to what was played."""

    async def call() -> None:
        async with calling(url) as caller:
            say(caller, "Tell me a long story.")
            started = caller.time_of(await caller.until("output_audio_buffer.started"))
            await asyncio.sleep(1.5)  # into the second phrase of the story, which has no pause
            playing = caller.play(prompt_clip("greeting"))
            cleared = caller.time_of(await caller.until("output_audio_buffer.cleared"))
            cut = (await caller.until("conversation.item.truncated"))["audio_end_ms"]
            await caller.until("input_audio_buffer.committed")
            before_answer = [t for t in caller.loud_times() if t > started]
            assert abs(before_answer[-1] - cleared) < 0.06
            assert cleared - playing.started.result() < 0.5
            assert abs(cut / 1000 - (cleared - started)) < 0.1
            done = next(e for e in caller.events if e["type"] == "response.done")
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            answer = await caller.until("response.output_audio_transcript.done")
            assert answer["transcript"].startswith("Hello!")

    run(call())


def test_a_client_interrupts(url):
    """response.cancel and output_audio_buffer.clear end generation and sound."""

    async def call() -> None:
        async with calling(url) as caller:
            say(caller, "Tell me a long story.")
            started = caller.time_of(await caller.until("output_audio_buffer.started"))
            caller.send("response.cancel")
            caller.send("output_audio_buffer.clear")
            done = await caller.until("response.done")
            assert done["response"]["status_details"]["reason"] == "client_cancelled"
            cleared = caller.time_of(await caller.until("output_audio_buffer.cleared"))
            cut = (await caller.until("conversation.item.truncated"))["audio_end_ms"]
            assert cut / 1000 < cleared - started + 0.05

    run(call())


def test_a_cancelled_reply_alone_plays_out_what_was_generated(url):
    """Without a clear the sound stops by itself where generation stopped."""

    async def call() -> None:
        async with calling(url) as caller:
            say(caller, "Tell me a long story.")
            await caller.until("output_audio_buffer.started")
            for _ in range(5):
                await caller.until("response.output_audio_transcript.delta")
            caller.send("response.cancel")
            await caller.until("response.done")
            await caller.until("output_audio_buffer.stopped")
            assert "conversation.item.truncated" not in caller.types()

    run(call())


def test_push_to_talk(url):
    """With turn detection off, commit and create make the turn."""

    async def call() -> None:
        quiet = {"audio": {"input": {"turn_detection": None}}}
        async with calling(url, session=quiet) as caller:
            caller.send("input_audio_buffer.clear")
            await caller.until("input_audio_buffer.cleared")
            await caller.play(prompt_clip("greeting")).ended
            await asyncio.sleep(0.2)  # audio and events go separate ways
            caller.send("input_audio_buffer.commit")
            caller.send("response.create")
            answer = await caller.until("response.output_audio_transcript.done")
            assert answer["transcript"].startswith("Hello!")
            assert "input_audio_buffer.speech_started" not in caller.types()

    run(call())


def test_a_tool_is_called_and_its_result_is_spoken_of(url):
    """The weather prompt calls the session's tool first."""

    async def call() -> None:
        async with calling(url, session={"tools": [WEATHER]}) as caller:
            caller.play(prompt_clip("weather_in_paris"))
            called = (await caller.until("response.done"))["response"]["output"][0]
            assert json.loads(called["arguments"]) == {"city": "Paris"}
            result = {"call_id": called["call_id"], "output": '{"sky": "clear"}'}
            caller.send("conversation.item.create", item={"type": "function_call_output", **result})
            caller.send("response.create")
            answer = await caller.until("response.output_audio_transcript.done")
            assert answer["transcript"] == "I looked up the weather in Paris for you."

    run(call())


def test_silence_flows_from_the_start(url):
    """Packets of 20 ms come before anybody has spoken, on time and in sequence."""

    async def call() -> None:
        async with calling(url) as caller:
            async with asyncio.timeout(5):
                while len(caller.heard) < 50:
                    await asyncio.sleep(0.02)
            times = [time for time, _ in caller.heard]
            assert abs(np.diff(times).mean() - 0.02) < 0.002
            assert np.abs(caller.audio()).max() < 10

    run(call())


def test_a_beta_call_speaks_beta(url):
    """The old route: no Location, old event names, flat settings, no GA-only events."""

    async def call() -> None:
        path = "realtime?model=gpt-4o-realtime-preview&voice=verse"
        async with calling(url, path=path) as caller:
            assert caller.location is None
            session = caller.events[0]["session"]
            assert session["voice"] == "verse" and "audio" not in session
            caller.send("session.update", session={"turn_detection": None, "modalities": ["text"]})
            updated = (await caller.until("session.updated"))["session"]
            assert updated["turn_detection"] is None and updated["modalities"] == ["text"]
            say(caller, "What is the capital of France?", modalities=["audio", "text"])
            done = await caller.until("response.done")
            assert done["response"]["output"][0]["content"][0]["type"] == "audio"
            names = {"conversation.item.created", "response.audio_transcript.done"}
            assert names <= set(caller.types())
            assert not [
                t
                for t in caller.types()
                if "output_text" in t or (t.endswith("item.done") and t.startswith("conversation"))
            ]

    run(call())


def test_a_caller_without_opus_is_heard_and_hears(url):
    """PCMU is negotiated where it is all that is offered."""

    async def call() -> None:
        async with calling(url, codec="audio/PCMU") as caller:
            caller.play(prompt_clip("greeting"))
            await caller.until("input_audio_buffer.committed")
            await caller.until("output_audio_buffer.started")

    run(call())


def test_video_is_declined_and_the_call_goes_on(url):
    """An offer may have a video section; nothing is received on it."""

    async def call() -> None:
        async with calling(url, video=True) as caller:
            assert "a=inactive" in caller.pc.remoteDescription.sdp.split("m=video")[1]
            say(caller, "Hello, how are you today?", output_modalities=["text"])
            await caller.until("response.done")

    run(call())


def test_a_hang_up_ends_the_call(url):
    """200 the first time, 404 afterwards, and the channel closes."""

    async def call() -> None:
        async with calling(url) as caller:
            closed = asyncio.Event()
            caller.channel.on("close", closed.set)
            where = url.removesuffix("/v1") + caller.location + "/hangup"
            assert (await post(where))[0] == 200
            assert (await post(where))[0] == 404
            async with asyncio.timeout(5):
                await closed.wait()

    run(call())


def test_a_caller_that_leaves_is_forgotten(url):
    """When the caller closes its connection the call is over: hanging up finds none."""

    async def call() -> None:
        async with calling(url) as caller:
            where = url.removesuffix("/v1") + caller.location + "/hangup"
        async with asyncio.timeout(5):
            while (await post(where))[0] != 404:
                await asyncio.sleep(0.05)

    run(call())


def test_several_calls_at_once_do_not_mix(url):
    """Each has its own conversation and its own audio."""

    async def call(name: str) -> str:
        async with calling(url) as caller:
            caller.play(prompt_clip(name))
            return (await caller.until("response.output_audio_transcript.done"))["transcript"]

    async def calls() -> None:
        names = ["greeting", "seven_times_eight", "day_after_monday"]
        answers = await asyncio.gather(*(call(name) for name in names))
        assert answers == [repertoire.saying_for(name).text for name in names]

    run(calls())


def test_only_loopback_addresses_are_answered(url):
    """The answer offers 127.0.0.1 and nothing else."""

    async def call() -> None:
        async with calling(url) as caller:
            sdp = caller.pc.remoteDescription.sdp
            addresses = {x.split()[4] for x in sdp.splitlines() if x.startswith("a=candidate")}
            assert addresses == {"127.0.0.1"}
            assert sdp.count("a=setup:active") == sdp.count("a=ice-ufrag") == 2

    run(call())


def test_a_caller_with_other_candidates_is_found_by_its_packets(url):
    """Names and foreign addresses in an offer are not looked up or sent to; the call comes up."""

    async def call() -> None:
        async with calling(url, rewrite=("127.0.0.1", "b4ad.local")) as caller:
            say(caller, "Hello, how are you today?", output_modalities=["text"])
            await caller.until("response.done")

    run(call())


def test_reply_after_delays_the_answer():
    """The time between the end of speech and the first sound is the one asked for."""

    async def call(url: str) -> None:
        async with calling(url) as caller:
            caller.play(prompt_clip("greeting"))
            await caller.until("output_audio_buffer.started")

    with Peer(reply_after=0.6) as peer:
        run(call(peer.url))
        (record,) = peer.log().calls
    time = {event.type: event.time for event in record.events}
    after = time["output_audio_buffer.started"] - time["input_audio_buffer.speech_stopped"]
    assert 0.599 < after < 0.8


def test_the_parrot_repeats_the_prompt():
    """The reply is the caller's own audio."""

    async def call(url: str) -> None:
        async with calling(url) as caller:
            said = prompt_clip("greeting")[:0.8].resample(48_000)
            caller.play(said)
            await caller.until("output_audio_buffer.stopped")
            pcm = through_opus((said.samples * 32767).astype(np.int16))
            assert similarity(caller.audio(), pcm) > 0.9  # twice through Opus

    with Peer(voice="parrot") as peer:
        run(call(peer.url))


def test_a_refused_offer_leaves_no_call_behind(url):
    """The error of the reference, and the next call works."""

    async def call() -> None:
        status, _, text = await exchange(url, "v=0\r\n")
        assert status == 400 and json.loads(text)["error"]["code"] == "invalid_offer"
        async with calling(url):
            pass

    run(call())
