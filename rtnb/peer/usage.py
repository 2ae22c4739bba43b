"""Token counts by the public rules of thumb; it must not know items or responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rtnb.dialects import Json

__all__ = ["RATE_LIMITS", "Tokens", "spoken_tokens", "text_tokens", "usage", "user_audio_tokens"]

_CACHED_BY: Final = 64  # prompts are cached in blocks

# as rate_limits.updated has them; this peer limits nothing
RATE_LIMITS: Final = (
    {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
    {"name": "tokens", "limit": 100_000, "remaining": 99_000, "reset_seconds": 0.6},
)


@dataclass(frozen=True)
class Tokens:
    """Counts by modality."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio)


def text_tokens(text: str) -> Tokens:
    """Count text: about four characters a token."""
    return Tokens(text=-(-len(text) // 4))


def user_audio_tokens(duration_ms: float) -> Tokens:
    """Count what the user said: one token for 100 ms."""
    return Tokens(audio=int(duration_ms // 100))


def spoken_tokens(duration_ms: float) -> Tokens:
    """Count what the assistant said: one token for 50 ms."""
    return Tokens(audio=int(duration_ms // 50))


def usage(given: Tokens, before: Tokens, made: Tokens) -> Json:
    """Return the usage of one response; the cached part is included in the counts.

    Parameters
    ----------
    given
        The whole conversation that it went by.
    before
        The conversation that the response before it went by.
    made
        Its output.
    """
    cached = Tokens(
        min(given.text, before.text) // _CACHED_BY * _CACHED_BY,
        min(given.audio, before.audio) // _CACHED_BY * _CACHED_BY,
    )
    given_all, made_all = given.text + given.audio, made.text + made.audio
    return {
        "total_tokens": given_all + made_all,
        "input_tokens": given_all,
        "output_tokens": made_all,
        "input_token_details": {
            "text_tokens": given.text,
            "audio_tokens": given.audio,
            "image_tokens": 0,
            "cached_tokens": cached.text + cached.audio,
            "cached_tokens_details": {
                "text_tokens": cached.text,
                "audio_tokens": cached.audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": made.text, "audio_tokens": made.audio},
    }
