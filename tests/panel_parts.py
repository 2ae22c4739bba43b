"""What the tests of a panel's parts share: keys, waiting, saved state, a voice without a page."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets

import rtnb
from rtnb.audio import to_pcm
from rtnb.livesound import SoundSource, VoiceSink

KEY = "sk-test-only-0123456789abcdef"
ODD_KEY = "only-this-server-knows-0123456789"  # no pattern catches it
ELSEWHERE = "https://example.org/v1"
CHUNK = 960  # samples in 20 ms at 48,000 Hz


def until(fact: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.005)


def state_of(*widgets: Any) -> str:
    """Return everything of the state of widgets, as a saved notebook would hold it."""
    return "\n".join(str(widget.get_state()) for widget in widgets)


class _Device(ipywidgets.HTML):  # type: ignore[misc]  # ipywidgets has no types
    """What is attached to one call at a time, and notes how it was closed."""

    def __init__(self) -> None:
        super().__init__(value="a device")
        self.call: Any = None
        self.reasons: list[str] = []

    def attach(self, call: Any) -> None:
        """Go with a call, and leave the one before."""
        self.call = call

    def detach(self, call: Any) -> None:
        """Leave a call."""
        if self.call is call:
            self.call = None

    def close(self, reason: str = "closed") -> None:
        """Note why."""
        self.reasons.append(reason)


class Mouth(_Device):
    """A microphone without a page: it says a clip in real time."""

    call: VoiceSink | None

    def __init__(self, *, live: bool = True, muted: bool = False, push_to_talk: bool = False):
        super().__init__()
        self.live, self.muted, self.push_to_talk = live, muted, push_to_talk
        self.open: bool | None = None
        "Whether what was said while a button was held elsewhere is fed yet."
        self._spoken = 0

    @contextlib.contextmanager
    def kept(self) -> Iterator[Callable[[], None]]:
        """Note how far a button held elsewhere is."""
        self.open = False
        yield lambda: setattr(self, "open", True)
        self.open = None

    def say(self, clip: rtnb.Clip, *, quiet_after: float = 0.0) -> threading.Thread:
        """Say a clip, and nothing for some seconds after it, in a thread of its own."""
        speaking = threading.Thread(target=self._say, args=(clip, quiet_after), daemon=True)
        speaking.start()
        return speaking

    def _say(self, clip: rtnb.Clip, quiet_after: float) -> None:
        pcm = to_pcm(clip) + bytes(2 * int(48_000 * quiet_after))
        begun = time.monotonic()
        for number, start in enumerate(range(0, len(pcm), 2 * CHUNK), 1):
            threading.Event().wait(max(begun + number * 0.02 - time.monotonic(), 0.0))
            call, shut = self.call, self.muted or self.push_to_talk or not self.live
            if call is not None and not shut:
                chunk = pcm[start : start + 2 * CHUNK]
                call.feed(chunk, number=self._spoken, captured=time.monotonic())
                self._spoken += 1


class Ear(_Device):
    """A speaker without a page."""

    call: SoundSource | None
