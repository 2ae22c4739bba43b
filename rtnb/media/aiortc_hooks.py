"""Every private part of aiortc and aioice that rtnb touches; it must not know what for.

`missing` tells at start which of them are not as expected (another aiortc version); each function
here then declines by returning False, and its caller falls back to the public interface and says so
(`loopback_only` has no way round, and raises).
"""

from __future__ import annotations

import contextlib
import functools
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import aioice.ice
import pylibsrtp
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender

__all__ = [
    "FALLBACKS",
    "RtpArrival",
    "RtpDeparture",
    "connect_at_once",
    "intercept_sender",
    "loopback_only",
    "missing",
    "receiver_of",
    "tap_receiver",
    "watch_sender",
]

_JITTER_BUFFER: Final = "_RTCRtpReceiver__jitter_buffer"
_CODECS: Final = "_RTCRtpReceiver__codecs"
_STATISTICS: Final = "_RTCRtpReceiver__remote_streams"
_RX_BYTES: Final = "_RTCDtlsTransport__rx_bytes"
_RX_PACKETS: Final = "_RTCDtlsTransport__rx_packets"
_UNCHECKED: Final = ("WAITING", "FROZEN")
_RTP_HEADER: Final = struct.Struct("!BBHII")

FALLBACKS: Final = {
    "receive": "received audio comes through aiortc's jitter buffer and is placed by its PTS",
    "shortcut": "received packets pass through aiortc's queues, which takes more processor time",
    "send": "departures are stamped when the track hands a packet over",
    "addresses": "no server on this machine can be called: its other addresses would be offered",
    "checks": "a connection comes about up to 20 ms after its addresses were found to work",
}


@dataclass(frozen=True, slots=True)
class RtpArrival:
    """One RTP packet as it came from the network (RFC 3550 section 5.1), decrypted."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    time: float
    "Monotonic seconds."
    opus: bool = True
    "Whether its payload type was agreed upon as Opus, and there is a payload: padding may be alone."


@dataclass(frozen=True, slots=True)
class RtpDeparture:
    """One RTP packet as it was given to the network."""

    sequence: int
    timestamp: int
    size: int
    "Bytes with the RTP header, before encryption."
    time: float
    "Monotonic seconds."


@functools.cache
def missing() -> tuple[str, ...]:
    """Return which hooks do not fit the installed aiortc and aioice; empty when all do."""
    absent = []
    if (
        not callable(getattr(RTCRtpReceiver, "_handle_rtp_packet", None))
        or not _has_receiving_parts()
    ):
        absent.append("receive")
    from aiortc.rtcdtlstransport import RTCDtlsTransport

    if not _has_shortcut(RTCDtlsTransport):
        absent.append("shortcut")
    if not callable(getattr(RTCDtlsTransport, "_send_rtp", None)):
        absent.append("send")
    if not callable(getattr(aioice.ice, "get_host_addresses", None)):
        absent.append("addresses")
    if not _has_checks():
        absent.append("checks")
    return tuple(absent)


def _has_receiving_parts() -> bool:
    """Look into the constructor's code: an instance would need a live transport."""
    names = RTCRtpReceiver.__init__.__code__.co_names
    return _JITTER_BUFFER in names and _CODECS in names


def _has_shortcut(dtls: Any) -> bool:
    """Whether what lies between the socket and the receiver is what `_Shortcut` knows."""
    connection: Any = aioice.ice.Connection
    return (
        callable(getattr(connection, "data_received", None))
        and "_queue" in connection.__init__.__code__.co_names
        and {"_rx_srtp", _RX_BYTES, _RX_PACKETS} <= set(dtls.__init__.__code__.co_names)
        and {"_enabled", _STATISTICS} <= set(RTCRtpReceiver.__init__.__code__.co_names)
    )


def _has_checks() -> bool:
    """Whether aioice's loop over the pairs of addresses is the one that `connect_at_once` knows."""
    connection: Any = aioice.ice.Connection
    states = getattr(getattr(aioice.ice, "CandidatePair", None), "State", None)
    attributes = {"_check_list", "_check_list_state", "_remote_candidates_resolving"}
    return (
        callable(getattr(connection, "_check_periodic", None))
        and "_check_periodic" in connection.connect.__code__.co_names
        and attributes <= set(connection.__init__.__code__.co_names)
        and all(hasattr(states, name) for name in _UNCHECKED)
    )


# --- receiving -----------------------------------------------------------------------------------


class _NullJitterBuffer:
    """Stands where aiortc's jitter buffer was, so that nothing is queued or decoded behind a tap."""

    def add(self, packet: Any) -> tuple[bool, None]:
        return False, None


class _Shortcut:
    """Takes a stream's packets from the socket to the tap at once, and counts what aiortc counts.

    aiortc has them pass through a queue, two tasks and some objects, most of which a tap has no use
    for. It is for streams of which a packet came the long way: what was agreed upon is known then.
    """

    def __init__(self, receiver: RTCRtpReceiver, on_packet: Callable[[RtpArrival], None]):
        self._receiver: Any = receiver
        self._dtls: Any = receiver.transport
        self._on_packet = on_packet
        self._streams: dict[tuple[int, int], Any] = {}  # (source, payload type) -> statistics
        self._header = _Header()
        connection: Any = self._dtls.transport._connection
        self._queue = connection._queue
        self._pass_on: Callable[[bytes, int], None] = connection.data_received
        connection.data_received = self._received

    def learn(self, ssrc: int, kind: int) -> None:
        """Take the packets of this source and payload type from now on."""
        statistics = getattr(self._receiver, _STATISTICS).get(ssrc)
        if statistics is not None and not 64 <= kind <= 95:  # there it may be RTCP (RFC 5761)
            self._streams[ssrc, kind] = statistics

    def _received(self, data: bytes, component: int) -> None:
        if not self._taken(data):
            self._pass_on(data, component)

    def _taken(self, data: bytes) -> bool:
        if len(data) < _RTP_HEADER.size:
            return False
        first, second, sequence, timestamp, ssrc = _RTP_HEADER.unpack_from(data)
        statistics = self._streams.get((ssrc, second & 0x7F))
        if statistics is None or first & 0xEF != 0x80:  # version 2, no padding, no other sources
            return False
        dtls = self._dtls
        if dtls.state != "connected" or not self._receiver._enabled or not self._queue.empty():
            return False  # none may overtake another
        now = time.monotonic()
        setattr(dtls, _RX_BYTES, getattr(dtls, _RX_BYTES) + len(data))
        setattr(dtls, _RX_PACKETS, getattr(dtls, _RX_PACKETS) + 1)
        payload = _payload(dtls._rx_srtp, data, extended=bool(first & 0x10))
        if payload is not None:
            self._header.sequence_number, self._header.timestamp = sequence, timestamp
            statistics.add(self._header)
            self._on_packet(RtpArrival(sequence, timestamp, ssrc, payload, now, bool(payload)))
        return True


@dataclass(slots=True)
class _Header:
    """What aiortc's statistics look at in a packet."""

    sequence_number: int = 0
    timestamp: int = 0


def _payload(srtp: Any, data: bytes, *, extended: bool) -> bytes | None:
    """Decrypt an RTP packet without further sources; None if it is forged, repeated or cut off."""
    try:
        plain: bytes = srtp.unprotect(data)
    except (pylibsrtp.Error, ValueError):
        return None
    start = _RTP_HEADER.size
    if extended:
        if len(plain) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(plain[start + 2 : start + 4], "big")
    return plain[start:] if len(plain) >= start else None


def tap_receiver(
    receiver: RTCRtpReceiver, on_packet: Callable[[RtpArrival], None], *, keep_track: bool = False
) -> bool:
    """See every RTP packet of a receiver before aiortc's jitter buffer does.

    Call it before the first packet: right after ``addTrack``, or in the ``track`` event. The
    receiver's track then delivers nothing, unless it is kept: then aiortc's jitter buffer and
    decoder go on beside the tap. RTCP statistics stay right.

    Returns
    -------
    bool
        False when this aiortc does not fit; then nothing was changed.
    """
    if "receive" in missing() or not hasattr(receiver, _JITTER_BUFFER):
        return False
    handle: Callable[..., Awaitable[None]] = receiver._handle_rtp_packet
    codecs: dict[int, Any] = getattr(receiver, _CODECS)  # by payload type, once SDP was exchanged
    opus: dict[int, bool] = {}
    short = not keep_track and "shortcut" not in missing()
    shortcut: _Shortcut | None = None

    async def tapped(packet: Any, arrival_time_ms: int) -> None:
        nonlocal shortcut
        now = time.monotonic()
        await handle(packet, arrival_time_ms)
        kind = packet.payload_type
        if kind not in opus:
            opus[kind] = _is_opus(codecs.get(kind))
        if opus[kind] and short and _arrived_as_usual(receiver, tapped):
            shortcut = shortcut or _Shortcut(receiver, on_packet)
            shortcut.learn(packet.ssrc, kind)
        on_packet(
            RtpArrival(
                *(packet.sequence_number, packet.timestamp, packet.ssrc),
                *(packet.payload, now, opus[kind] and bool(packet.payload)),
            )
        )

    receiver._handle_rtp_packet = tapped  # type: ignore[method-assign]
    if not keep_track:
        setattr(receiver, _JITTER_BUFFER, _NullJitterBuffer())
    return True


def _arrived_as_usual(receiver: Any, tapped: Any) -> bool:
    """Whether nobody has put himself before the tap, and the transport is a real one."""
    return receiver._handle_rtp_packet is tapped and hasattr(receiver.transport, "transport")


def _is_opus(codec: Any | None) -> bool:
    return codec is not None and str(codec.mimeType).lower() == "audio/opus"


# --- sending -------------------------------------------------------------------------------------


def watch_sender(sender: RTCRtpSender, on_sent: Callable[[RtpDeparture], None]) -> bool:
    """See every RTP packet of a sender once it was handed to the socket.

    Its `time` is just before that: afterwards whoever receives it may have run first.

    Returns
    -------
    bool
        False when this aiortc does not fit; then nothing was changed.
    """

    async def carry(packet: RtpDeparture, send: Callable[[], Awaitable[None]]) -> None:
        await send()
        on_sent(packet)

    return intercept_sender(sender, carry)


def intercept_sender(
    sender: RTCRtpSender,
    carry: Callable[[RtpDeparture, Callable[[], Awaitable[None]]], Awaitable[None]],
) -> bool:
    """Have every RTP packet of a sender carried to the socket, or not, by somebody else.

    Parameters
    ----------
    sender
        Whose packets; RTCP and other streams of the same transport go as before.
    carry
        Called with a packet (its `time` is when it was made) and what gives it to the socket, which
        may be called any number of times, also later, and raises ConnectionError once the call is
        over.

    Returns
    -------
    bool
        False when this aiortc does not fit; then nothing was changed.
    """
    if "send" in missing():
        return False
    transport = sender.transport
    send: Callable[[bytes], Awaitable[None]] = transport._send_rtp
    ssrc = sender._ssrc

    async def intercepted(data: bytes) -> None:
        header = _rtp_header(data, ssrc)
        if header is None:
            await send(data)
            return
        packet = RtpDeparture(header[0], header[1], len(data), time.monotonic())
        await carry(packet, functools.partial(send, data))

    transport._send_rtp = intercepted  # type: ignore[method-assign]
    return True


def _rtp_header(data: bytes, ssrc: int) -> tuple[int, int] | None:
    """Return (sequence, timestamp) of an RTP packet of `ssrc`; None for anything else."""
    if len(data) < _RTP_HEADER.size:
        return None
    first, second, sequence, timestamp, found = _RTP_HEADER.unpack_from(data)
    if first >> 6 != 2 or 64 <= (second & 0x7F) <= 95 or found != ssrc:
        return None  # not RTP version 2, or RTCP (RFC 5761 section 4), or another stream
    return sequence, timestamp


# --- addresses -----------------------------------------------------------------------------------

_loopback: ContextVar[bool] = ContextVar("rtnb_loopback_only", default=False)


@contextlib.contextmanager
def loopback_only() -> Iterator[None]:
    """Within it, ``setLocalDescription`` gathers 127.0.0.1 and no other address.

    aioice leaves 127.0.0.1 out and offers the machine's other addresses; a call to a server on this
    machine needs the opposite. Only connections that gather inside the block are changed.

    Raises
    ------
    RuntimeError
        The installed aioice does not fit, so that other addresses would be used.
    """
    if "addresses" in missing():
        raise RuntimeError(
            "This version of aioice cannot be kept on loopback addresses; install aioice 0.10 to 0.13."
        )
    _wrap_addresses()
    token = _loopback.set(True)
    try:
        yield
    finally:
        _loopback.reset(token)


@functools.cache
def _wrap_addresses() -> None:
    """Replace aioice's list of addresses once; outside `loopback_only` it is what it was."""
    original = aioice.ice.get_host_addresses

    def get_host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        if _loopback.get():
            return ["127.0.0.1"]
        found: list[str] = original(use_ipv4, use_ipv6)
        return found

    aioice.ice.get_host_addresses = get_host_addresses


def receiver_of(pc: RTCPeerConnection, track: Any) -> RTCRtpReceiver | None:
    """Return the receiver whose track this is; a remote track has no way to it."""
    return next((r for r in pc.getReceivers() if r.track is track), None)


# --- connecting ----------------------------------------------------------------------------------


def connect_at_once(pc: RTCPeerConnection) -> bool:
    """Let a connection go on when ICE has found a pair of addresses, not up to 20 ms later.

    aioice begins a check of a pair every 20 ms (RFC 8445 section 6.1.4.2), and sleeps as long after
    the last one before it looks what came of them. What is checked, when, and what counts as
    success stay as they are. It is for connections that learn all of the other side's addresses
    with its SDP, or from its packets. Call it once the transports exist: after ``addTrack``, or
    ``setRemoteDescription``.

    Returns
    -------
    bool
        False when this aioice does not fit; then nothing was changed.
    """
    if "checks" in missing():
        return False
    transports = {one.sender.transport.transport for one in pc.getTransceivers()}
    if pc.sctp is not None:
        transports.add(pc.sctp.transport.transport)
    for transport in transports:
        _end_after_last_check(transport._connection)
    return True


def _end_after_last_check(connection: aioice.ice.Connection) -> None:
    begin_next: Callable[[], bool] = connection._check_periodic
    unchecked = [getattr(aioice.ice.CandidatePair.State, name) for name in _UNCHECKED]

    def begin_next_if_any() -> bool:
        if not begin_next():
            return False
        pairs = connection._check_list
        left = any(pair.state in unchecked and not pair.task for pair in pairs)
        return left or not pairs or connection._remote_candidates_resolving > 0

    connection._check_periodic = begin_next_if_any  # type: ignore[method-assign]
