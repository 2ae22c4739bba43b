"""`Faults`: how a peer is to misbehave, as plain values; it must not know how that is done."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any, Final

from rtnb.errors import ConfigurationError

__all__ = ["Faults", "Network"]

_RATES: Final = ("loss", "late", "reordered", "duplicated")
_LARGEST_EVENT: Final = 16 * 1024 * 1024
_LONGEST_BURST: Final = 10_000
_STATUSES: Final = range(400, 600)
_LONGEST: Final = 86_400.0  # seconds


@dataclass(frozen=True)
class Network:
    """What happens to RTP packets of one direction; all rates are 0 to 1.

    Attributes
    ----------
    loss : float
        Rate of packets that are dropped.
    burst : int
        Packets lost in a row, each time; the rate stays `loss`.
    late : float
        Rate of packets that are held back.
    late_by : float
        Seconds that these come later.
    reordered : float
        Rate of packets that change places with the next one.
    duplicated : float
        Rate of packets that come twice. A caller's SRTP drops the second one (RFC 3711 section
        3.3.2), as it does with those that a network doubled.
    drop : tuple of int
        Besides, exactly these packets are dropped: 0 is the first of the call.

    Raises
    ------
    ConfigurationError
        A value cannot be used; the message names it.
    """

    loss: float = 0.0
    burst: int = 1
    late: float = 0.0
    late_by: float = 0.1
    reordered: float = 0.0
    duplicated: float = 0.0
    drop: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in _RATES:
            _check_number(self, name, 1.0, "a rate from 0 to 1")
        _check_seconds(self, "late_by")
        _check_whole(self, "burst", range(1, _LONGEST_BURST + 1))
        if isinstance(self.drop, str) or not isinstance(self.drop, Collection):
            raise _wrong(self, "drop", "numbers of packets, such as (0, 5)")
        if not all(_is_whole(one) and one >= 0 for one in self.drop):
            raise _wrong(self, "drop", "numbers of packets, such as (0, 5)")
        object.__setattr__(self, "drop", tuple(self.drop))

    @property
    def good(self) -> bool:
        """Whether nothing happens to any packet."""
        return not self.drop and not any(getattr(self, name) for name in _RATES)


@dataclass(frozen=True)
class Faults:
    """How one call goes wrong. Every default is good behaviour.

    What is random is drawn from `seed`, so that a call goes wrong in the same way each time.

    Attributes
    ----------
    seed : int
        For everything random.
    mint_after, answer_after, created_after, reply_after, transcribed_after : float
        Seconds of delay: before a key is minted, before an offer is answered, from the open channel
        to ``session.created``, from the end of speech to the answer, and before a transcription.
    sent, received : Network
        What happens to the peer's packets, and to the caller's before the peer hears them.
    silent_gaps : bool
        Send no RTP while nothing is said; timestamps go on counting.
    unknown_events, unknown_fields : bool
        Send events of types, and fields, that no client knows.
    other_order : bool
        Send events in other orders that are legal: see docs/peer.md.
    duplicate_rate_limits : bool
        Send ``rate_limits.updated`` twice, the second time early.
    transcription_fails : bool
        Every transcription fails.
    large_event : int
        Characters of a harmless unknown event that is sent after ``session.created``; 0 for none.
        One that is larger than the largest message that the caller takes is not sent.
    channel_dies_after, audio_dies_after, expires_after : float or None
        Seconds from the open channel to its end, to the last packet of audio, and to
        ``session_expired``.
    hang_up_in_reply : float or None
        Seconds of a reply after which the peer hangs up; shorter replies are played to their end.
    refuse_offer : bool
        Answer offers with 400 ``invalid_offer``.
    mint_status, call_status : int or None
        Answer the minting of a key, or an offer, with this HTTP status (429, 500, 503, …).

    Raises
    ------
    ConfigurationError
        A value cannot be used; the message names it.
    """

    seed: int = 0
    mint_after: float = 0.0
    answer_after: float = 0.0
    created_after: float = 0.0
    reply_after: float = 0.0
    transcribed_after: float = 0.0
    sent: Network = field(default_factory=Network)
    received: Network = field(default_factory=Network)
    silent_gaps: bool = False
    unknown_events: bool = False
    unknown_fields: bool = False
    other_order: bool = False
    duplicate_rate_limits: bool = False
    transcription_fails: bool = False
    large_event: int = 0
    channel_dies_after: float | None = None
    audio_dies_after: float | None = None
    expires_after: float | None = None
    hang_up_in_reply: float | None = None
    refuse_offer: bool = False
    mint_status: int | None = None
    call_status: int | None = None

    def __post_init__(self) -> None:
        if not _is_whole(self.seed):
            raise _wrong(self, "seed", "a whole number")
        for one in fields(self):
            value = getattr(self, one.name)
            if one.type == "float" or (one.type == "float | None" and value is not None):
                _check_seconds(self, one.name)
            elif one.type == "bool" and not isinstance(value, bool):
                raise _wrong(self, one.name, "True or False")
            elif one.type == "Network" and not isinstance(value, Network):
                raise _wrong(self, one.name, "an rtnb.peer.Network")
            elif one.type == "int | None" and not (_is_whole(value) and value in _STATUSES):
                if value is not None:
                    raise _wrong(self, one.name, "an HTTP status from 400 to 599, or None")
        _check_whole(self, "large_event", range(_LARGEST_EVENT + 1))


def _check_seconds(values: Any, name: str) -> None:
    _check_number(values, name, _LONGEST, f"seconds from 0 to {_LONGEST:g}")


def _check_number(values: Any, name: str, largest: float, wanted: str) -> None:
    value = getattr(values, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(values, name, wanted)
    if not math.isfinite(value) or not 0 <= value <= largest:
        raise _wrong(values, name, wanted)


def _check_whole(values: Any, name: str, allowed: range) -> None:
    value = getattr(values, name)
    if not _is_whole(value) or value not in allowed:
        raise _wrong(values, name, f"a whole number from {allowed[0]} to {allowed[-1]:,}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(values: Any, name: str, wanted: str) -> ConfigurationError:
    given = repr(getattr(values, name))
    shown = given if len(given) <= 60 else given[:59] + "…"
    return ConfigurationError(f"{type(values).__name__}({name}=…) is {wanted}, not {shown}.")
