"""A call's RTP packets on their way out: written down, and damaged on request; it knows no events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from aiortc import RTCRtpSender

from rtnb.media import aiortc_hooks
from rtnb.peer.faults import Faults
from rtnb.peer.impairment import Impairment
from rtnb.peer.journal import SILENCE, CallJournal
from rtnb.peer.replytrack import Sound

__all__ = ["Outgoing"]

_log = logging.getLogger(__name__)

_NOTED: Final = 1_000  # packets between the track and the socket; there are one or two

Held = tuple[str | None, int]


@dataclass(frozen=True, slots=True)
class _Packet:
    """One packet that was made."""

    sequence: int
    timestamp: int
    response_id: str | None
    position: int
    send: Callable[[], Awaitable[None]]


class Outgoing:
    """The packets of one call's voice.

    Parameters
    ----------
    journal
        Where they are written down.
    faults
        What happens to them.
    spawn
        Runs a coroutine as a task of the call.
    """

    def __init__(
        self,
        journal: CallJournal,
        faults: Faults,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ):
        self._dead = False
        self._journal = journal
        self._spawn = spawn
        self._noted: deque[Held] = deque(maxlen=_NOTED)
        self._watched = False
        self._next: int | None = None  # sequence number
        self._impairment: Impairment[_Packet] | None = None
        if not faults.sent.good:
            self._impairment = Impairment(faults.sent, f"{faults.seed} sent")

    def watch(self, sender: RTCRtpSender) -> None:
        """Take a sender's packets in hand."""
        self._watched = aiortc_hooks.intercept_sender(sender, self._carry)
        if not self._watched:
            _log.warning("%s; packets cannot be damaged", aiortc_hooks.FALLBACKS["send"])

    def end(self) -> None:
        """Let none of them leave any more."""
        self._dead = True

    def note(self, sound: Sound | None, position: int) -> None:
        """Take note of what the packet holds that the track hands over next."""
        held = (sound.name, position) if sound is not None else (None, SILENCE)
        if self._watched:
            self._noted.append(held)
        else:
            self._journal.departures.append((time.monotonic(), -1, -1, *held, False))

    async def _carry(
        self, made: aiortc_hooks.RtpDeparture, send: Callable[[], Awaitable[None]]
    ) -> None:
        if self._next not in (None, made.sequence):  # a caller asked for one again (RFC 4585)
            await send()
            return
        self._next = (made.sequence + 1) % 2**16
        held = self._noted.popleft() if self._noted else (None, SILENCE)
        packet = _Packet(made.sequence, made.timestamp, *held, send)
        if self._dead:
            self._write_down(packet, time.monotonic(), dropped=True)
        elif self._impairment is None:
            await self._send(packet)
        else:
            await self._damage(packet, self._impairment)

    async def _damage(self, packet: _Packet, impairment: Impairment[_Packet]) -> None:
        delivery = impairment.push(packet)
        if delivery.dropped:
            self._write_down(packet, time.monotonic(), dropped=True)
        for one in delivery.now:
            await self._send(one)
        for delay, one in delivery.later:
            self._spawn(self._send_later(delay, one))

    async def _send_later(self, delay: float, packet: _Packet) -> None:
        await asyncio.sleep(delay)
        with contextlib.suppress(ConnectionError):  # the call is over
            await self._send(packet)

    async def _send(self, packet: _Packet) -> None:
        at = (
            time.monotonic()
        )  # before it is sent: afterwards whoever receives it may have run first
        await packet.send()
        self._write_down(packet, at, dropped=False)

    def _write_down(self, packet: _Packet, at: float, *, dropped: bool) -> None:
        row = (packet.sequence, packet.timestamp, packet.response_id, packet.position, dropped)
        self._journal.departures.append((at, *row))
