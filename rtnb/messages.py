"""What crosses the pipe between user's and media process; it must not know who reads.

Every message is a frozen dataclass of plain values. `write_message` and `read_message` frame them
on a byte stream: four bytes of length, then a pickle that may hold nothing but these classes.
Times are seconds on the call's clock (0 is the start of ``connect()``) unless said otherwise.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass, field
from typing import IO, Any, Final

__all__ = [
    "LAST_STATS",
    "Answer",
    "AudioHeard",
    "AudioWritten",
    "Cancel",
    "Close",
    "Closed",
    "EventArrived",
    "EventSent",
    "Feed",
    "FeedEnd",
    "Message",
    "Note",
    "Offered",
    "Open",
    "Play",
    "PlayEnded",
    "PlayStarted",
    "Prepare",
    "Ready",
    "SendEvent",
    "StateChanged",
    "Stats",
    "StatsWanted",
    "Subscribe",
    "decode_message",
    "encode_message",
    "read_message",
    "write_message",
]


@dataclass(frozen=True, slots=True)
class Message:
    """What all messages have: the id of the call they belong to ("" for the process itself)."""

    call: str


# --- to the media process ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open(Message):
    """Begin a call: make a peer connection, record to `folder`, and answer with `Offered`."""

    started: float
    "0 of the call's clock, on this machine's monotonic clock."
    folder: str
    "The run folder; it exists and holds run.json."
    loopback: bool = False
    "Offer and use loopback candidates only."
    ice_servers: tuple[dict[str, Any], ...] = ()
    "STUN and TURN servers, as RTCIceServer keywords."
    channel_label: str = "oai-events"
    framing: str | None = None
    "How events come wrapped on the channel; see `rtnb.frames`."
    ice_timeout: float = 10.0
    "Seconds from the answer to the first valid pair, before the call is 'UDP blocked'."
    channel_timeout: float = 15.0
    "Seconds from the first valid pair to the open channel."


@dataclass(frozen=True, slots=True)
class Answer(Message):
    """The other side's SDP."""

    sdp: str


@dataclass(frozen=True, slots=True)
class SendEvent(Message):
    """Send this JSON text on the data channel."""

    text: str


@dataclass(frozen=True, slots=True)
class Play(Message):
    """Queue a clip on the prompt track."""

    play: str
    "Our id of this playing."
    samples: bytes
    "s16 mono 48,000 Hz, native byte order."
    then: tuple[str, ...] = ()
    "JSON texts to send on the channel after the last sample has left."
    then_after: float = 0.2
    "Seconds between the last sample and the first of `then`."


@dataclass(frozen=True, slots=True)
class Prepare(Message):
    """Begin to encode a clip that some call, which need not exist yet, is going to play."""

    samples: bytes
    "s16 mono 48,000 Hz, native byte order."


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """Stop one playing, or all that are queued."""

    play: str | None = None


@dataclass(frozen=True, slots=True)
class Feed(Message):
    """A stretch of live voice, for the track to send as soon as its jitter buffer lets it."""

    number: int
    "Counts the stretches of one microphone from 0; a number that is missing was lost."
    samples: bytes
    "s16 mono, native byte order."
    sample_rate: int = 48_000
    captured: float | None = None
    "When its last sample was captured, on the call's clock; None where that is not known."


@dataclass(frozen=True, slots=True)
class FeedEnd(Message):
    """The voice pauses (muted, let go, closed): that nothing comes now is no loss."""


@dataclass(frozen=True, slots=True)
class Subscribe(Message):
    """Ask for `AudioHeard` from now on, or no longer."""

    on: bool = True


@dataclass(frozen=True, slots=True)
class Note(Message):
    """Append one JSON record to the run's turns.jsonl."""

    text: str


@dataclass(frozen=True, slots=True)
class StatsWanted(Message):
    """Ask for `Stats`, which come when all that was recorded before is on disk."""

    request: int


@dataclass(frozen=True, slots=True)
class Close(Message):
    """Hang up, finish the run, and answer with `Closed`."""

    reason: str = "closed by the user"


# --- from the media process ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready(Message):
    """The media process is up."""

    pid: int
    fallbacks: tuple[str, ...] = ()
    "Private parts of aiortc that are not as expected; each names what is used instead."


@dataclass(frozen=True, slots=True)
class Offered(Message):
    """Our SDP."""

    sdp: str


@dataclass(frozen=True, slots=True)
class StateChanged(Message):
    """A phase of the connection was reached: gathered, ice, dtls, channel."""

    phase: str
    time: float


@dataclass(frozen=True, slots=True)
class EventArrived(Message):
    """A text frame arrived on the data channel."""

    text: str
    time: float


@dataclass(frozen=True, slots=True)
class EventSent(Message):
    """A text frame was handed to the data channel."""

    text: str
    time: float


@dataclass(frozen=True, slots=True)
class PlayStarted(Message):
    """The first packet of a playing has left."""

    play: str
    time: float


@dataclass(frozen=True, slots=True)
class PlayEnded(Message):
    """The last sample of a playing has left, or it was cancelled."""

    play: str
    time: float
    samples: int
    "Samples at 48,000 Hz that left."
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class AudioWritten(Message):
    """The run's audio.wav is complete up to `end`."""

    start: float
    end: float
    sent: tuple[float, ...]
    "dBFS of each 20 ms window of what we sent."
    heard: tuple[float, ...]
    "dBFS of each 20 ms window of what we heard."
    failure: str | None = None
    "What went wrong with writing the run so far, if anything did."


@dataclass(frozen=True, slots=True)
class AudioHeard(Message):
    """A stretch of what is heard, as soon as it is decoded; long silences are left out."""

    position: int
    "Of its first sample, at 48,000 Hz on the call's clock; stretches come in order."
    samples: bytes
    "s16 mono 48,000 Hz, native byte order."
    arrived: float
    "When its packet came, on the call's clock; of what stands in for a loss, when it was made."


LAST_STATS: Final = 1 << 62  # the request that a call's last counters answer, before its `Closed`


@dataclass(frozen=True, slots=True)
class Stats(Message):
    """Counters of a call, in answer to `StatsWanted`; the last ones come of their own accord."""

    request: int
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed(Message):
    """The call is over and its run is finished."""

    kind: str
    "closed, udp_blocked, channel_timeout, peer_gone, failed"
    reason: str
    time: float


# --- framing -------------------------------------------------------------------------------------

_HEADER: Final = struct.Struct("!I")
_ALLOWED: Final = frozenset(__all__) - {"LAST_STATS"}


class _Unpickler(pickle.Unpickler):
    """Reads nothing but this module's classes."""

    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name in _ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} may not cross the pipe")


def encode_message(message: Message) -> bytes:
    """Return the bytes of one framed message."""
    body = pickle.dumps(message, protocol=5)
    return _HEADER.pack(len(body)) + body


def decode_message(body: bytes) -> Message:
    """Return the message in `body`, a frame without its length."""
    message = _Unpickler(io.BytesIO(body)).load()
    if not isinstance(message, Message):
        raise pickle.UnpicklingError(f"{type(message).__name__} is not a message")
    return message


def write_message(stream: IO[bytes], message: Message) -> None:
    """Write one message to a blocking byte stream, and flush it."""
    stream.write(encode_message(message))
    stream.flush()


def read_message(stream: IO[bytes]) -> Message | None:
    """Read one message from a blocking byte stream; None at its end."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    (length,) = _HEADER.unpack(header)
    body = stream.read(length)
    return decode_message(body) if len(body) == length else None
