"""The events of input transcription; it never guesses words, and must not know when it begins.

What is known are the words of the bundled samples, and that silence has none.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from rtnb.dialects import Json
from rtnb.peer.heard import Heard
from rtnb.peer.outputs import new_id

__all__ = ["Planned", "transcription_events"]

Planned = tuple[float, Json]
"Seconds after the first event, and an event without its id."

_RATE: Final = 48_000
_PER_WORD: Final = 0.02  # seconds
_FAINTEST: Final = 10 ** (-60 / 20)  # RMS; below is silence
_KIND: Final = "conversation.item.input_audio_transcription"
_UNKNOWN: Final = (
    "This local peer has no speech recognition: it knows the bundled samples by their sound, and "
    "this audio is none of them."
)
_FAILS: Final = "This local peer was asked to have transcriptions fail."
_SPEAKER: Final = "A"  # the bundled samples have one each


def transcription_events(
    item_id: str, heard: Heard, setting: Json, *, logprobs: bool = False, fails: bool = False
) -> list[Planned]:
    """Return the events in order.

    Parameters
    ----------
    item_id
        The user's item.
    heard
        Its audio.
    setting
        The session's ``transcription``.
    logprobs
        The session includes log probabilities.
    fails
        It fails, whatever was heard.
    """
    where = {"item_id": item_id, "content_index": 0}
    text = heard.text
    if text is None and _silent(heard):
        text = ""
    if fails or text is None:
        code, message = ("server_error", _FAILS) if fails else ("audio_unintelligible", _UNKNOWN)
        error = {"type": "transcription_error", "code": code, "message": message, "param": None}
        return [(0.0, {"type": f"{_KIND}.failed", **where, "error": error})]
    model = str(setting.get("model") or "")
    logprobs = logprobs and not model.startswith("whisper-1") and "diarize" not in model
    pieces = re.findall(r"\s*\S+", text)
    planned: list[Planned] = []
    for index, piece in enumerate(pieces):
        event = {"type": f"{_KIND}.delta", **where, "delta": piece}
        if logprobs:
            event["logprobs"] = [_certain(piece)]
        planned.append((index * _PER_WORD, event))
    end = len(pieces) * _PER_WORD
    seconds = round(len(heard.samples) / _RATE, 3)
    if "diarize" in model:
        planned += [(end, event | where) for event in _segments(text, seconds)]
    whole = {"transcript": text, "usage": _usage(text, seconds, model)}
    completed = {"type": f"{_KIND}.completed", **where, **whole}
    if logprobs:
        completed["logprobs"] = [_certain(piece) for piece in pieces]
    if model == "gpt-transcribe":  # the bundled samples are in English
        completed["languages"] = [{"code": "en"}] if text else []
    return [*planned, (end, completed)]


def _silent(heard: Heard) -> bool:
    samples = heard.samples.astype(np.float32) / 32768.0
    return not len(samples) or float(np.sqrt(np.mean(samples**2))) < _FAINTEST


def _certain(piece: str) -> Json:
    """Return the log probability of words that are known by heart: that of certainty."""
    return {"token": piece, "bytes": list(piece.encode()), "logprob": 0.0}


def _segments(text: str, seconds: float) -> list[Json]:
    """Return a segment for each sentence; each takes its share of the time by its length."""
    sentences = re.findall(r"[^.!?]+[.!?]*", text)
    found, begun = [], 0
    for sentence in sentences:
        start, begun = begun, begun + len(sentence)
        times = {"start": start / len(text) * seconds, "end": begun / len(text) * seconds}
        said = {"text": sentence.strip(), "speaker": _SPEAKER}
        found.append({"type": f"{_KIND}.segment", "id": new_id("seg"), **said, **times})
    return found


def _usage(text: str, seconds: float, model: str) -> Json:
    if "whisper" in model:
        return {"type": "duration", "seconds": seconds}
    given, made = int(seconds * 10), -(-len(text) // 4)
    return {
        "type": "tokens",
        "input_tokens": given,
        "output_tokens": made,
        "total_tokens": given + made,
        "input_token_details": {"text_tokens": 0, "audio_tokens": given},
    }
