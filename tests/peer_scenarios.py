"""What can happen in a call to the peer, as plays without a network; `played` keeps their logs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from peer_client import prompt_pcm
from simulated_call import SimulatedCall, sound

from rtnb.peer import fingerprint
from rtnb.peer.betawire import OLD, sent_in_beta
from rtnb.peer.reply import Failure, Rendered, UserTurn

TOOLS = [
    {"type": "function", "name": name, "description": "Look it up.", "parameters": {}}
    for name in ("get_weather", "get_time")
]
PUSH_TO_TALK = {"turn_detection": None}
LONG = Rendered(" ".join(["word"] * 60), sound(20.0))


def spoken(call: SimulatedCall, name: str = "greeting") -> None:
    """Speak a bundled prompt and wait for the end of the turn."""
    call.hear(prompt_pcm(name, before=0.2, after=1.0))


def long_story(_turn: UserTurn) -> Rendered:
    return LONG


def with_tools(turn: UserTurn) -> Rendered:
    """Say something and call both tools; speak when they have answered."""
    if turn.results:
        return Rendered("It is 20 degrees at noon.", sound(1.5))
    calls = (("get_weather", '{"city": "Oslo"}'), ("get_time", '{"city": "Oslo"}'))
    return Rendered("Let me look.", sound(0.6), calls)


def spoken_turn() -> SimulatedCall:
    call = SimulatedCall(recognise=fingerprint.recognise, thinking=0.1)
    call.input(transcription={"model": "gpt-4o-mini-transcribe", "language": "en"})
    spoken(call)
    call.drain()
    call.input(transcription={"model": "whisper-1"})
    spoken(call)
    call.drain()
    return call


def transcription_that_fails() -> SimulatedCall:
    call = SimulatedCall()
    call.input(transcription={"model": "gpt-transcribe"})
    spoken(call)
    call.drain()
    return call


def transcription_with_speakers() -> SimulatedCall:
    call = SimulatedCall(recognise=fingerprint.recognise)
    call.input(transcription={"model": "gpt-4o-transcribe-diarize"})
    spoken(call)
    call.drain()
    return call


def late_transcription() -> SimulatedCall:
    call = SimulatedCall(recognise=fingerprint.recognise, transcribed_after=5.0)
    call.input(transcription={"model": "gpt-live-transcribe"})
    spoken(call)
    call.drain()
    return call


def semantic_vad() -> SimulatedCall:
    call = SimulatedCall()
    call.input(turn_detection={"type": "semantic_vad", "eagerness": "high"})
    call.hear(prompt_pcm("greeting", after=2.0))
    call.drain()
    return call


def written_turns() -> SimulatedCall:
    call = SimulatedCall()
    call.settings(output_modalities=["text"], instructions="Be brief.")
    for _ in range(2):
        call.text()
        call.send("response.create")
        call.drain()
    call.send("response.create", response={"output_modalities": ["audio"]})
    call.drain()
    return call


def push_to_talk() -> SimulatedCall:
    call = SimulatedCall()
    call.input(**PUSH_TO_TALK)
    call.send("input_audio_buffer.commit")  # refused: it is empty
    call.send("input_audio_buffer.clear")
    call.hear(prompt_pcm("greeting"))
    call.send("input_audio_buffer.commit")
    call.send("response.create")
    call.drain()
    return call


def commit_in_mid_speech() -> SimulatedCall:
    call = SimulatedCall()
    call.hear(prompt_pcm("greeting")[:48_000])
    call.send("input_audio_buffer.commit")
    call.hear(np.zeros(48_000, np.int16))
    call.drain()
    return call


def barge_in() -> SimulatedCall:
    """Speech while the reply still is generated, and speech when it is only heard."""
    call = SimulatedCall(long_story)
    call.text()
    call.send("response.create")
    call.wait(1.0)
    spoken(call)
    call.wait(12.0)
    spoken(call)
    call.drain()
    return call


def barge_in_while_thinking() -> SimulatedCall:
    call = SimulatedCall(thinking=3.0)
    spoken(call)
    spoken(call)
    call.drain()
    return call


def no_barge_in() -> SimulatedCall:
    """Speech that does not interrupt is answered after the response that is active."""
    call = SimulatedCall(long_story)
    call.input(turn_detection={"type": "server_vad", "interrupt_response": False})
    call.text()
    call.send("response.create")
    call.wait(0.5)
    spoken(call)
    call.drain()
    return call


def client_interrupts() -> SimulatedCall:
    call = SimulatedCall(long_story)
    call.text()
    call.send("response.create")
    call.wait(2.0)
    call.send("response.cancel")
    call.send("output_audio_buffer.clear")
    call.send("response.cancel")  # refused: none is active
    call.send("output_audio_buffer.clear")
    call.send("response.create")
    call.wait(8.0)
    call.send("output_audio_buffer.clear")
    call.drain()
    return call


def cancelled_and_played_out() -> SimulatedCall:
    """A cancelled response whose sound is not cleared ends by itself."""
    call = SimulatedCall(long_story)
    call.text()
    call.send("response.create")
    call.wait(2.0)
    name = call.last("response.created")["response"]["id"]
    call.send("response.cancel", response_id=name)
    call.drain()
    return call


def tools() -> SimulatedCall:
    call = SimulatedCall(with_tools)
    call.settings(tools=TOOLS, tool_choice="auto", parallel_tool_calls=True)
    call.text("How is it in Oslo?")
    call.send("response.create")
    call.drain()
    for item in call.last("response.done")["response"]["output"]:
        if item["type"] == "function_call":
            output = {"type": "function_call_output", "call_id": item["call_id"], "output": "{}"}
            call.send("conversation.item.create", item=output)
    call.send("response.create", response={"tool_choice": "none"})
    call.drain()
    return call


def out_of_band() -> SimulatedCall:
    """A response beside the conversation, while another one speaks."""
    call = SimulatedCall(long_story)
    call.text()
    item_id = call.last("conversation.item.done")["item"]["id"]
    call.send("response.create")
    call.wait(0.2)
    told = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Sum"}]}
    call.send(
        "response.create",
        response={
            **{"conversation": "none", "output_modalities": ["text"], "metadata": {"tag": "a"}},
            "input": [{"type": "item_reference", "id": item_id}, told],
        },
    )
    call.send("response.create")  # refused: one is active
    call.drain()
    return call


def failure() -> SimulatedCall:
    call = SimulatedCall(lambda turn: Rendered(failure=Failure("Over capacity.", "overloaded")))
    call.text()
    call.send("response.create")
    call.drain()
    return call


def failure_after_words() -> SimulatedCall:
    call = SimulatedCall(lambda turn: Rendered("I was", sound(0.5), failure=Failure()))
    spoken(call)
    call.drain()
    return call


def nothing_to_say() -> SimulatedCall:
    call = SimulatedCall(lambda turn: Rendered())
    call.text()
    call.send("response.create")
    call.drain()
    return call


def limited_output() -> SimulatedCall:
    call = SimulatedCall(long_story)
    call.text()
    call.send("response.create", response={"max_output_tokens": 20})
    call.drain()
    call.send("response.create", response={"max_output_tokens": 20, "output_modalities": ["text"]})
    call.drain()
    return call


def items() -> SimulatedCall:
    call = SimulatedCall(long_story)
    call.input(**PUSH_TO_TALK)
    call.text("First", id="mine")
    call.text("Second")
    audio = base64.b64encode(bytes(48_000)).decode("ascii")
    picture = "data:image/png;base64," + base64.b64encode(b"no picture").decode("ascii")
    items: list[dict[str, Any]] = [
        {"role": "system", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
        {"role": "user", "content": [{"type": "input_audio", "audio": audio}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": picture}]},
    ]
    for item in items:
        call.send(
            "conversation.item.create", item={"type": "message", **item}, previous_item_id="root"
        )
    first = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    call.send("conversation.item.create", item=first, previous_item_id="mine")
    answer = {"type": "function_call_output", "call_id": "call_1", "output": "1"}
    call.send("conversation.item.create", item=answer)
    for event in call.events("conversation.item.done"):
        call.send("conversation.item.retrieve", item_id=event["item"]["id"])
    call.send("response.create")
    call.drain()
    said = call.last("conversation.item.done")["item"]["id"]
    call.send("conversation.item.truncate", item_id=said, content_index=0, audio_end_ms=1500)
    call.send("conversation.item.truncate", item_id=said, content_index=0, audio_end_ms=90_000)
    call.send("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
    call.send("conversation.item.retrieve", item_id=said)
    call.send("conversation.item.delete", item_id="mine")
    call.send("conversation.item.delete", item_id="mine")
    call.send("conversation.item.retrieve", item_id="mine")
    call.text("Again", id="mine")
    return call


def item_deleted_in_mid_sound() -> SimulatedCall:
    call = SimulatedCall(long_story)
    call.text()
    call.send("response.create")
    call.wait(1.0)
    call.send(
        "conversation.item.delete", item_id=call.last("conversation.item.added")["item"]["id"]
    )
    spoken(call)
    call.drain()
    return call


def settings() -> SimulatedCall:
    """Every field of a session that a client may set."""
    call = SimulatedCall()
    call.settings(instructions="Be brief.", max_output_tokens=200, tracing="auto")
    call.settings(reasoning={"effort": "low"}, parallel_tool_calls=False)
    call.settings(prompt={"id": "pmpt_1", "version": "2", "variables": {"city": "Oslo"}})
    mcp = {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp"}
    call.settings(tools=[mcp])
    call.settings(truncation={"type": "retention_ratio", "retention_ratio": 0.5})
    call.settings(include=["item.input_audio_transcription.logprobs"])
    call.settings(tools=TOOLS, tool_choice={"type": "function", "name": "get_time"})
    call.settings(audio={"output": {"voice": "cedar", "speed": 1.2}})
    call.settings(audio={"output": {"format": {"type": "audio/pcmu"}}})
    call.input(noise_reduction={"type": "near_field"}, format={"type": "audio/pcma"})
    vad = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 100}
    call.input(turn_detection={**vad, "silence_duration_ms": 300})
    call.settings(instructions="", tools=[], tool_choice="auto", max_output_tokens="inf")
    call.text()
    call.send("response.create")
    call.drain()
    return call


def idle_timeout() -> SimulatedCall:
    """The user says nothing after an answer, which is taken for a turn."""
    call = SimulatedCall()
    call.input(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    call.text()
    call.send("response.create")
    call.wait(1.5)
    call.hear(np.zeros(6 * 48_000, np.int16))
    call.input(turn_detection={"type": "server_vad", "idle_timeout_ms": None})
    call.drain()
    return call


def transcription_session() -> SimulatedCall:
    """A session that only transcribes: turns are committed, and nobody answers."""
    session = {
        "type": "transcription",
        "audio": {"input": {"transcription": {"model": "gpt-transcribe", "languages": ["en"]}}},
        "include": ["item.input_audio_transcription.logprobs"],
    }
    call = SimulatedCall(session=session, recognise=fingerprint.recognise)
    spoken(call)
    call.send("response.create")  # refused
    call.drain()
    return call


def appended() -> SimulatedCall:
    """Audio that comes in events instead of on the track."""
    call = SimulatedCall()
    call.input(**PUSH_TO_TALK)
    audio = base64.b64encode(np.full(24_000, 900, "<i2").tobytes()).decode("ascii")
    call.send("input_audio_buffer.append", audio=audio)
    call.send("input_audio_buffer.commit")
    call.send("response.create")
    call.drain()
    return call


def errors() -> SimulatedCall:
    call = SimulatedCall()
    call.send("session.update", session={"output_modalities": ["text"]})
    call.settings(output_modalities=["text", "audio"])
    call.settings(model="gpt-realtime-1.5")
    call.send("response.stop")
    call.send("conversation.item.create")
    call.send("response.create", response={"input": "no list"})
    call.send("response.cancel", response_id="resp_0")
    call.take(call.conversation.unreadable())
    call.take(call.conversation.too_large("conversation.item.retrieved", None))
    call.take(call.conversation.failed(None))
    return call


def expiry() -> SimulatedCall:
    call = SimulatedCall(lifetime=60.0)
    call.wait(61.0)
    return call


def old_session() -> SimulatedCall:
    """A session as the old routes make it."""
    call = SimulatedCall(old=True)
    call.settings(temperature=0.7)
    spoken(call)
    call.drain()
    call.send("response.create", response={"output_modalities": ["text"], "temperature": 0.9})
    call.drain()
    return call


SCENARIOS: dict[str, Callable[[], SimulatedCall]] = {
    play.__name__: play
    for play in (
        *(spoken_turn, transcription_that_fails, transcription_with_speakers, late_transcription),
        *(semantic_vad, written_turns, push_to_talk, commit_in_mid_speech, barge_in),
        *(barge_in_while_thinking, no_barge_in, client_interrupts, cancelled_and_played_out),
        *(tools, out_of_band, failure, failure_after_words, nothing_to_say, limited_output),
        *(items, item_deleted_in_mid_sound, settings, idle_timeout, transcription_session),
        *(appended, errors, expiry),
    )
}

OLD_SCENARIOS: dict[str, Callable[[], SimulatedCall]] = {"old_session": old_session}
"What happens in beta only; its events are in GA names too."
BETA_MODEL = "gpt-4o-realtime-preview"
BETA_PLAYS = [name for name in SCENARIOS if name != "transcription_session"] + [*OLD_SCENARIOS]


@cache
def played(name: str) -> SimulatedCall:
    """Return a scenario's call; it is played once."""
    return {**SCENARIOS, **OLD_SCENARIOS}[name]()


def in_beta(name: str) -> list[dict[str, Any]]:
    """Return a play's events as they are sent in beta, in which nobody shows pictures."""
    sent = [e for e in played(name).events() if sent_in_beta(e["type"])]
    events = [OLD.event_to_wire(e) for e in sent]
    for event in events:
        if "session" in event:
            event["session"]["model"] = BETA_MODEL
    return [e for e in events if "input_image" not in json.dumps(e)]
