"""Plays a call's replies on its track and tells how far they got; it must not know events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from rtnb.peer.outputs import Hush, Say, StopAfter
from rtnb.peer.replytrack import ReplyTrack, Sound

__all__ = ["Reports", "Speaking"]

_PER_MS: Final = 48


@dataclass(frozen=True)
class Reports:
    """Whom to tell: each takes a response's id.

    Attributes
    ----------
    started, ended : callable
        The first packet has left; the last one has.
    cut : callable
        It was stopped after so many milliseconds, for this reason.
    """

    started: Callable[[str], object]
    ended: Callable[[str], object]
    cut: Callable[[str, int, str], object]


class Speaking:
    """The sounds of one call.

    Parameters
    ----------
    track
        Where they are played.
    reports
        Whom to tell.
    """

    def __init__(self, track: ReplyTrack, reports: Reports):
        self._track = track
        self._reports = reports
        self._saying: dict[str, Sound] = {}

    def say(self, say: Say) -> None:
        """Play a sound after what is already playing; what users said is not kept encoded."""
        sound = self._track.say(say.response_id, say.pcm, keep=not say.echo)
        self._saying[say.response_id] = sound
        # both are told on the loop's next round: the packet has then been given to the socket
        sound.started.add_done_callback(partial(self._started, sound))
        sound.ended.add_done_callback(partial(self._ended, sound))

    def _started(self, sound: Sound, _: object) -> None:
        if not sound.cancelled:
            self._reports.started(sound.name)

    def _ended(self, sound: Sound, _: object) -> None:
        if self._saying.pop(sound.name, None) is not None:
            self._reports.ended(sound.name)

    def hush(self, hush: Hush) -> None:
        """Stop sounds with the next packet."""
        for response_id in hush.response_ids:
            sound = self._saying.pop(response_id, None)
            played = sound.samples // _PER_MS if sound else 0
            if sound is not None:
                self._track.cancel(sound)
            self._reports.cut(response_id, played, hush.reason)

    def stop_after(self, stop: StopAfter) -> None:
        """Let a sound end by itself, but no later than after so many samples."""
        sound = self._saying.get(stop.response_id)
        if sound is not None:
            sound.limit = max(stop.samples, 1)  # what was announced is heard, if only just
