"""Live sound of one call between its page and its media process; it must not know widgets or turns.

A microphone feeds voice in, and listeners get what is heard as soon as it is decoded. The widgets
reach a call through the two protocols here, so that a floor above can be swapped or tested alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, runtime_checkable

from rtnb import messages as m
from rtnb.errors import ConfigurationError

__all__ = [
    "Listener",
    "LiveSound",
    "SoundOutput",
    "SoundSource",
    "VoiceCall",
    "VoiceInput",
    "VoiceSink",
    "check_attachable",
]

logger = logging.getLogger(__name__)

_AFTERWARDS: Final = 2.0  # seconds in which the service may yet tell of what was said before


class VoiceSink(Protocol):
    """What a microphone feeds: a call."""

    @property
    def open(self) -> bool:
        """Whether voice can go out."""

    def feed(
        self, samples: bytes, *, number: int, sample_rate: int = 48_000, captured: float | None
    ) -> None:
        """Send a stretch of voice; see `LiveSound.feed`."""

    def pause(self) -> None:
        """Say that nothing comes for a while."""


class VoiceInput(Protocol):
    """What can be attached to a call as its microphone, such as `rtnb.Microphone`."""

    def attach(self, sink: VoiceSink) -> None:
        """Feed this call from now on, and no other."""

    def detach(self, sink: VoiceSink) -> None:
        """Feed this call no longer; does nothing if it is not the one that is fed."""


@runtime_checkable
class VoiceCall(VoiceSink, Protocol):
    """A sink that knows turns, and which microphone it has; a plain one is only fed."""

    push_to_talk: Callable[[], AbstractContextManager[object]] | None
    figures: Callable[[], object] | None
    microphone: VoiceInput | None

    def take_microphone(self, microphone: VoiceInput | None) -> None:
        """Attach a microphone in place of the one before; see `LiveSound.take_microphone`."""


Listener = Callable[[m.AudioHeard | None], None]
"""Takes each stretch that is heard; None means: drop what is not played yet.

It is called on the thread that brings what all calls of an engine receive, so it must be quick.
"""


class SoundSource(Protocol):
    """What a speaker listens to: a call."""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hand what is heard to `listener`; return what ends that."""


class SoundOutput(Protocol):
    """What can be attached to a call as its speaker, such as `rtnb.Speaker`."""

    def attach(self, source: SoundSource) -> None:
        """Play what this call hears from now on, and no other."""

    def detach(self, source: SoundSource) -> None:
        """Play this call no longer; does nothing if it is not the one that is played."""


def check_attachable(attached: Any, what: str) -> None:
    """Check that something can be attached as ``"microphone"`` or ``"speaker"``; None can.

    Raises
    ------
    ConfigurationError
        It has not the methods for it.
    """
    methods = (getattr(attached, name, None) for name in ("attach", "detach"))
    # a class has them too, and cannot be called so
    if attached is None or (not isinstance(attached, type) and all(map(callable, methods))):
        return
    raise ConfigurationError(
        f"{what}= takes an rtnb.{what.capitalize()}(), or what has attach() and detach() like it; "
        f"{type(attached).__name__} has not."
    )


class _Holders:
    """Which call has each microphone, or each speaker: none serves two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, LiveSound] = {}  # by the id of what the call itself keeps alive

    def of(self, attached: object) -> LiveSound | None:
        with self._lock:
            return self._held.get(id(attached))

    def take(self, attached: object, holder: LiveSound) -> None:
        with self._lock:
            self._held[id(attached)] = holder

    def leave(self, attached: object, holder: LiveSound) -> None:
        with self._lock:
            if self._held.get(id(attached)) is holder:
                del self._held[id(attached)]


_microphones: Final = _Holders()
_speakers: Final = _Holders()


class LiveSound:
    """Both directions of one call's live sound.

    Parameters
    ----------
    call
        The call's id.
    send
        Sends a message to the media process; returns False where that is over.
    started
        0 of the call's clock, in monotonic seconds.
    """

    def __init__(self, call: str, send: Callable[[m.Message], bool], started: float):
        self._call = call
        self._send = send
        self._started = started
        self._lock = threading.Lock()
        self._listeners: Final[list[Listener]] = []
        self._closed = False
        self._heard_until = float("-inf")  # monotonic seconds, after a microphone was detached
        self.fed = 0
        "Stretches of voice taken so far."
        self.push_to_talk: Callable[[], AbstractContextManager[object]] | None = None
        "Holds a turn open while a microphone's own button is held."
        self.figures: Callable[[], object] | None = None
        "What became of the voice that was fed, as `Session.stats` counts it."
        self.microphone: VoiceInput | None = None
        self.speaker: SoundOutput | None = None

    # --- what is said -----------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether voice can go out."""
        return not self._closed

    @property
    def listening(self) -> bool:
        """Whether somebody can be heard to speak: a microphone is attached, or was a moment ago."""
        return self.microphone is not None or time.monotonic() < self._heard_until

    def feed(
        self, samples: bytes, *, number: int, sample_rate: int = 48_000, captured: float | None
    ) -> None:
        """Send a stretch of voice; may be called on any thread, and returns at once.

        Parameters
        ----------
        samples
            s16 mono in native byte order.
        number
            Counts the stretches from 0, those that were lost on the way too.
        sample_rate
            Hz.
        captured
            When the last sample was captured, in monotonic seconds of this process; None where that
            is not known.
        """
        if self._closed:
            return
        self.fed += 1
        at = None if captured is None else captured - self._started
        self._send(m.Feed(self._call, number, samples, sample_rate, at))

    def pause(self) -> None:
        """Say that nothing comes for a while, so that silence is no loss."""
        if not self._closed:
            self._send(m.FeedEnd(self._call))

    def take_microphone(self, microphone: VoiceInput | None) -> None:
        """Attach a microphone in place of the one before; None detaches it.

        A call that it fed before is fed no longer, and its `microphone` is None then.

        Raises
        ------
        ConfigurationError
            It cannot be one.
        """
        check_attachable(microphone, "microphone")
        before = self.microphone
        if microphone is before:
            return
        if microphone is not None and (other := _microphones.of(microphone)) is not None:
            other.take_microphone(None)
        self.microphone = None
        if before is not None:
            _microphones.leave(before, self)
            self._heard_until = time.monotonic() + _AFTERWARDS
            before.detach(self)
            self.pause()
        if microphone is not None:
            self.microphone = microphone
            _microphones.take(microphone, self)
            try:
                microphone.attach(self)
            except BaseException:
                self.take_microphone(None)
                raise
            if self._closed:  # meanwhile
                self.take_microphone(None)

    # --- what is heard ----------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hand what is heard to `listener` from now on; return what ends that."""
        with self._lock:
            self._listeners.append(listener)
            first = len(self._listeners) == 1
        if first and not self._closed:
            self._send(m.Subscribe(self._call, True))
        return lambda: self._leave(listener)

    def _leave(self, listener: Listener) -> None:
        with self._lock:
            if listener not in self._listeners:
                return
            self._listeners.remove(listener)
            last = not self._listeners
        if last and not self._closed:
            self._send(m.Subscribe(self._call, False))

    def take_speaker(self, speaker: SoundOutput | None) -> None:
        """Attach a speaker in place of the one before; None detaches it.

        A call that it played before is played no longer, and its `speaker` is None then.

        Raises
        ------
        ConfigurationError
            It cannot be one.
        """
        check_attachable(speaker, "speaker")
        before = self.speaker
        if speaker is before:
            return
        if speaker is not None and (other := _speakers.of(speaker)) is not None:
            other.take_speaker(None)
        self.speaker = None
        if before is not None:
            _speakers.leave(before, self)
            before.detach(self)
        if speaker is not None:
            self.speaker = speaker
            _speakers.take(speaker, self)
            try:
                speaker.attach(self)
            except BaseException:
                self.take_speaker(None)
                raise
            if self._closed:  # meanwhile
                self.take_speaker(None)

    def take(self, message: m.AudioHeard | None) -> None:
        """Hand on what was heard; None where what is not played yet is to be dropped."""
        for listener in list(self._listeners):
            try:
                listener(message)
            except Exception:  # one page's trouble must not silence the others
                logger.exception("a listener failed")

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Detach everything: the call is over. Idempotent."""
        self._closed = True
        for take in (self.take_microphone, self.take_speaker):
            try:
                take(None)
            except Exception:  # one page's trouble must not keep the call from ending
                logger.exception("what was attached to a call could not be detached")
        with self._lock:
            self._listeners.clear()

    def now(self) -> float:
        """Return the time on the call's clock."""
        return time.monotonic() - self._started
