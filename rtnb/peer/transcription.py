"""The events of input transcription; it never guesses words, and must not know when it runs."""

from __future__ import annotations

from rtnb.dialects import Json
from rtnb.peer.voices import Heard

__all__ = ["transcription_events"]

_RATE = 48_000
_UNKNOWN = (
    "This local peer has no speech recognition: it knows the bundled samples by their sound, and "
    "this audio is none of them."
)


def transcription_events(item_id: str, heard: Heard, setting: Json) -> list[Json]:
    """Return the events, without their ids.

    Parameters
    ----------
    item_id
        The user's item.
    heard
        Its audio.
    setting
        The session's ``transcription``.
    """
    kind = "conversation.item.input_audio_transcription"
    where = {"item_id": item_id, "content_index": 0}
    if heard.text is None:
        error = {"type": "transcription_error", "code": "audio_unintelligible", "param": None}
        return [{"type": f"{kind}.failed", **where, "error": {**error, "message": _UNKNOWN}}]
    seconds = round(len(heard.samples) / _RATE, 3)
    used = _usage(heard.text, seconds, str(setting.get("model") or ""))
    return [
        {"type": f"{kind}.delta", **where, "delta": heard.text},
        {"type": f"{kind}.completed", **where, "transcript": heard.text, "usage": used},
    ]


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
