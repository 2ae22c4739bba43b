"""A microphone and a speaker without a page, for calls: what `rtnb.Microphone` and `Speaker` are."""

from __future__ import annotations

import threading
import time
from typing import Final

import rtnb
from rtnb import messages as m
from rtnb.audio import to_pcm
from rtnb.livesound import SoundSource, VoiceSink

CHUNK: Final = 0.02  # seconds
_BYTES: Final = 960 * 2  # of one chunk at 48,000 Hz


class Voice:
    """A microphone that speaks clips, in chunks of 20 ms at their own pace."""

    def __init__(self) -> None:
        self.sink: VoiceSink | None = None
        self.detached = 0
        self._number = 0

    def attach(self, sink: VoiceSink) -> None:
        """Feed this call from now on."""
        self.sink = sink

    def detach(self, sink: VoiceSink) -> None:
        """Feed it no longer."""
        if self.sink is sink:
            self.sink = None
            self.detached += 1

    def say(self, clip: rtnb.Clip, *, silence: float = 1.0) -> threading.Thread:
        """Speak a clip with silence after it, as a page with an open microphone does."""
        pcm = to_pcm(clip) + bytes(round(silence / CHUNK) * _BYTES)
        speaking = threading.Thread(target=self._speak, args=(pcm,), daemon=True)
        speaking.start()
        return speaking

    def _speak(self, pcm: bytes) -> None:
        begin = time.monotonic()
        for place in range(0, len(pcm), _BYTES):
            due = begin + (place // _BYTES + 1) * CHUNK
            time.sleep(max(due - time.monotonic(), 0.0))  # the pace of speech, on one schedule
            if (sink := self.sink) is None:
                return
            sink.feed(pcm[place : place + _BYTES], number=self._number, captured=due)
            self._number += 1
        if (sink := self.sink) is not None:
            sink.pause()


class Ears:
    """A speaker that keeps what it is handed, each with when it came."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, m.AudioHeard | None]] = []
        self.source: SoundSource | None = None
        self.detached = 0
        self._leave = lambda: None

    def attach(self, source: SoundSource) -> None:
        """Listen to this call from now on."""
        self.source = source
        self._leave = source.subscribe(lambda one: self.heard.append((time.monotonic(), one)))

    def detach(self, source: SoundSource) -> None:
        """Listen to it no longer."""
        if self.source is source:
            self.source = None
            self.detached += 1
            self._leave()

    @property
    def dropped(self) -> list[float]:
        """When what was not played yet was to be dropped, in monotonic seconds."""
        return [at for at, one in self.heard if one is None]
