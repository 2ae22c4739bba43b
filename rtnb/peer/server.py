"""Puts a peer together: its keys, its voice, its calls; it must not know who serves it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from rtnb.dialects import Json
from rtnb.peer import fingerprint
from rtnb.peer.call import Call
from rtnb.peer.conversation import LIFETIME, TRANSCRIBED_AFTER, Conversation
from rtnb.peer.faults import Faults
from rtnb.peer.journal import Journal
from rtnb.peer.keys import Keys
from rtnb.peer.modes import CallWire
from rtnb.peer.mouth import Mouth
from rtnb.peer.recordedrun import RecordedRun
from rtnb.peer.replaying import ReplayedConversation
from rtnb.peer.reply import Voice
from rtnb.peer.signaling import Signaling
from rtnb.peer.voices import Default

__all__ = ["Setup", "make_signaling"]


@dataclass(frozen=True)
class Setup:
    """How a peer is to behave.

    Attributes
    ----------
    host, port
        Where HTTP listens; 0 takes a free port.
    key
        The standard key, or None for any.
    voice
        What it says.
    reply_after
        Seconds from the end of speech to the answer.
    mode
        Whose shape it takes; one of `rtnb.peer.modes.MODES`.
    faults
        How its calls go wrong, one after the other; () for good behaviour.
    faults_repeat
        After the last of them, begin again with the first; else behave well.
    replay
        Folder of a saved run that is answered with, instead of `voice`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = field(default=None, repr=False)
    voice: Voice = field(default_factory=Default)
    reply_after: float = 0.0
    mode: str = "openai"
    faults: tuple[Faults, ...] = ()
    faults_repeat: bool = True
    replay: str | None = None


def make_signaling(
    setup: Setup,
    *,
    clock: Callable[[], float] = time.time,
    journal: Journal | None = None,
    mouth: Mouth | None = None,
) -> Signaling:
    """Return the routes of a peer.

    Parameters
    ----------
    setup
        How it behaves.
    clock
        Unix seconds, by which ephemeral keys expire.
    journal
        Where its calls are written down.
    mouth
        What makes its sound; by default one of the setup's voice.

    Raises
    ------
    ConfigurationError
        The run that is to be replayed cannot be.
    """
    new_call = _NewCall(
        setup, mouth or Mouth(setup.voice), Journal() if journal is None else journal
    )
    return Signaling(Keys(setup.key, clock), new_call, mode=setup.mode, faults=_faults(setup))


def _faults(setup: Setup) -> Callable[[int], Faults]:
    """Return what goes wrong in the call of each number, from 0."""

    def of_call(number: int) -> Faults:
        count = len(setup.faults)
        if count and (setup.faults_repeat or number < count):
            return setup.faults[number % count]
        return Faults()

    return of_call


class _NewCall:
    """Makes calls."""

    def __init__(self, setup: Setup, mouth: Mouth, journal: Journal):
        self._setup = setup
        self._mouth = mouth
        self._journal = journal
        self._replay = None if setup.replay is None else RecordedRun.read(setup.replay)
        if self._replay is not None:  # encoded before somebody waits for it
            threading.Thread(target=self._replay.warm_up, daemon=True).start()

    def __call__(
        self,
        call_id: str,
        session: Json,
        wire: CallWire,
        on_closed: Callable[[Call], None],
        faults: Faults,
    ) -> Call:
        journal = self._journal.of(call_id)
        conversation = self._conversation(session, faults)
        return Call(
            call_id,
            conversation,
            wire,
            on_closed,
            mouth=self._mouth,
            faults=faults,
            journal=journal,
        )

    def _conversation(self, session: Json, faults: Faults) -> Conversation:
        lifetime = LIFETIME if faults.expires_after is None else faults.expires_after
        session = session | {"expires_at": int(time.time() + lifetime)}
        clock = asyncio.get_running_loop().time
        if self._replay is not None:
            replayed = ReplayedConversation(
                self._replay,
                session,
                clock=clock,
                reply_after=self._setup.reply_after + faults.reply_after,
                transcribed_after=faults.transcribed_after,
                transcription_fails=faults.transcription_fails,
                lifetime=lifetime,
            )
            return cast(Conversation, replayed)  # it has the same methods
        return Conversation(
            session,
            recognise=fingerprint.recognise,
            clock=clock,
            reply_after=self._setup.reply_after + faults.reply_after,
            transcribed_after=TRANSCRIBED_AFTER + faults.transcribed_after,
            transcription_fails=faults.transcription_fails,
            lifetime=lifetime,
        )
