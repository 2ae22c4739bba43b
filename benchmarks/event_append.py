"""An event of a call put into the log, against `json.loads` and append.

The events are those of a session of spoken turns, as the API sends them: mostly deltas. Ours is `Event`
and `EventLog.append`, with the type known; secrets are masked and JSON is parsed when an event is
looked into. The baseline parses and keeps the dict.
"""

from __future__ import annotations

import gc
import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from rtnb import Event, EventLog

RUNS = 15
TURNS = 40
TARGET = 1 / 3

Json = dict[str, Any]

TOOL: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Look up the weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
        "required": ["city"],
    },
}
SESSION: Json = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_C9CuX3OhkC6WXxGJ0Z2pR",
    "model": "gpt-realtime",
    "output_modalities": ["audio"],
    "instructions": "You are a friendly assistant. Be brief, and say where you are not sure. " * 4,
    "tools": [TOOL],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "prompt": None,
    "expires_at": 1_756_324_625,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "voice": "marin",
            "speed": 1.0,
        },
    },
    "include": None,
}
USAGE: Json = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
SAID = "The capital of France is Paris, which lies on the Seine. " * 2


def spoken_turn() -> list[Json]:
    """Return the events of one answer, without their ids."""
    where = {"response_id": "resp_C9CuZ3", "item_id": "item_C9Cub8", "output_index": 0}
    part = {**where, "content_index": 0}
    item = {"id": "item_C9Cub8", "object": "realtime.item", "type": "message", "role": "assistant"}
    audio = {"type": "output_audio", "transcript": SAID}
    done = {**item, "status": "completed", "content": [audio]}
    response = {
        "object": "realtime.response",
        "id": "resp_C9CuZ3",
        "conversation_id": "conv_C9CuXa",
        "output_modalities": ["audio"],
        "max_output_tokens": "inf",
        "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"}},
        "metadata": None,
    }
    words = [{"type": "response.output_audio_transcript.delta", **part, "delta": f"{w} "}
             for w in SAID.split()]  # fmt: skip
    call = {**where, "call_id": "call_2dIk"}
    arguments = [{"type": "response.function_call_arguments.delta", **call, "delta": d}
                 for d in ('{"', "city", '":"', "Par", "is", '"}')]  # fmt: skip
    heard = {"item_id": "item_C9Cua1", "audio_start_ms": 544}
    return [
        {"type": "input_audio_buffer.speech_started", **heard},
        {"type": "input_audio_buffer.speech_stopped", "item_id": "item_C9Cua1", "audio_end_ms": 2336},
        {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": "item_C9Cua1"},
        {"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}},
        {"type": "response.output_item.added", **where, "item": {**item, "content": []}},
        {"type": "conversation.item.added", "previous_item_id": "item_C9Cua1", "item": item},
        {"type": "response.content_part.added", **part, "part": {"type": "audio", "transcript": ""}},
        {"type": "output_audio_buffer.started", "response_id": "resp_C9CuZ3"},
        *words,
        *arguments,
        {"type": "response.output_audio.done", **part},
        {"type": "response.output_audio_transcript.done", **part, "transcript": SAID},
        {"type": "response.content_part.done", **part, "part": audio},
        {"type": "response.output_item.done", **where, "item": done},
        {"type": "response.done", "response": {**response, "status": "completed",
                                               "output": [done], "usage": USAGE}},
        {"type": "rate_limits.updated", "rate_limits": [
            {"name": "tokens", "limit": 1_800_000, "remaining": 1_799_000, "reset_seconds": 0.02}]},
        {"type": "output_audio_buffer.stopped", "response_id": "resp_C9CuZ3"},
    ]  # fmt: skip


def texts() -> list[str]:
    """Return the text frames of a session of many turns, compact, as the service writes them."""
    ids = itertools.count(1)
    frames = [{"type": f"session.{what}", "session": SESSION} for what in ("created", "updated")]
    frames += [event for _ in range(TURNS) for event in spoken_turn()]
    return [
        json.dumps({"type": e["type"], "event_id": f"event_C9C{next(ids):06d}", **e},
                   separators=(",", ":")) for e in frames
    ]  # fmt: skip


def ours(frames: list[str]) -> EventLog:
    """Put all into an event log."""
    log = EventLog()
    for text in frames:
        log.append(Event(text, time=1.0, direction="received"))
    return log


def plain(frames: list[str]) -> list[Json]:
    """Parse all and keep the dicts."""
    log: list[Json] = []
    for text in frames:
        log.append(json.loads(text))  # one comes after the other in a call too
    return log


def seconds(work: Callable[[list[str]], object], frames: list[str]) -> float:
    """Return how long it took, an event."""
    gc.collect()
    began = time.perf_counter()
    kept = work(frames)
    took = time.perf_counter() - began
    del kept
    return took / len(frames)


def main() -> None:
    """Print one JSON line."""
    frames = texts()
    ours_s, plain_s = [], []
    for run in range(RUNS + 1):  # in turns, so that a noisy machine is noisy for both
        pair = seconds(ours, frames), seconds(plain, frames)
        if run:
            ours_s.append(pair[0])
            plain_s.append(pair[1])
    ratio = statistics.median(ours_s) / statistics.median(plain_s)
    result = {
        "benchmark": "event_append",
        "rtnb_us": round(1e6 * statistics.median(ours_s), 3),
        "baseline_us": round(1e6 * statistics.median(plain_s), 3),
        "ratio": round(ratio, 4),
        "target": round(TARGET, 4),
        "met": ratio <= TARGET,
        "spread_us": [round(1e6 * (max(x) - min(x)), 3) for x in (ours_s, plain_s)],
        "runs": RUNS,
        "events": len(frames),
        "note": "secrets are masked and JSON is parsed when an event is looked into, not here",
        "mean_bytes": round(sum(map(len, frames)) / len(frames)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
