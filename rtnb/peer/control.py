"""What crosses the pipe between a `Peer` and its process; it must not know who reads.

Each frame is four bytes of length, then a pickle that may hold nothing but plain values, arrays,
clips, and the classes of `rtnb.peer` that are named here.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from rtnb.audio import Clip
    from rtnb.peer.faults import Faults
    from rtnb.peer.reply import Answer, UserTurn

__all__ = [
    "Forget",
    "Frame",
    "LogWanted",
    "Logged",
    "Ready",
    "Records",
    "Said",
    "Start",
    "Think",
    "checked",
    "decode",
    "encode",
    "read_frame",
]


# --- to the peer's process ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """The first frame: what to be. The key travels here, where nobody else can read it."""

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = field(default=None, repr=False)
    voice: Any = "default"
    "A name, a voice of `rtnb.peer.voices`, or None: it is asked for with `Think`."
    reply_after: float = 0.0
    mode: str = "openai"
    faults: tuple[Faults, ...] = ()
    faults_repeat: bool = True
    "Whether the first of `faults` follows the last; otherwise good behaviour does."
    replay: str | None = None
    "A run's folder."


@dataclass(frozen=True, slots=True)
class Said:
    """What the voice in the user's process answers to `Think`."""

    thought: int
    answer: Answer = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LogWanted:
    """Ask for what was recorded since the last time: `Records`, then `Logged`."""

    request: int
    rows: bool = True
    "False where `Logged` alone is wanted."


# --- from the peer's process ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """It listens."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Think:
    """A response needs the voice's answer to a turn: `Said` with the same number."""

    thought: int
    turn: UserTurn


@dataclass(frozen=True, slots=True)
class Forget:
    """The answer is not needed any more: the response is cancelled, or its call is over."""

    thought: int


@dataclass(frozen=True, slots=True)
class Records:
    """More of one call's journal."""

    call_id: str
    kind: str
    "departures, arrivals or events, as in `rtnb.peer.journal.CallJournal`."
    rows: list[tuple[Any, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Logged:
    """All `Records` until now have been sent; the last frame of all has request 0."""

    request: int
    live: int = 0
    "Calls that are open."
    lost: bool = False
    "There was more than is kept."


Frame: TypeAlias = Start | Said | LogWanted | Ready | Think | Forget | Records | Logged

# --- framing --------------------------------------------------------------------------------------

_HEADER: Final = struct.Struct("!I")
_OURS: Final = (
    __name__,
    "rtnb.peer.faults",
    "rtnb.peer.reply",
    "rtnb.peer.script",
    "rtnb.peer.voices",
)
# how numpy's arrays and scalars are made, under the names of numpy 1 and 2
_ARRAYS: Final = frozenset(
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (
        ("multiarray", "_reconstruct"),
        ("multiarray", "scalar"),
        ("numeric", "_frombuffer"),
    )
) | {("numpy", "ndarray"), ("numpy", "dtype")}
_PLAIN: Final = frozenset(
    ("builtins", name) for name in ("bytearray", "complex", "frozenset", "set")
)


def _clip(samples: Any, sample_rate: int, gaps: tuple[Any, ...], role: Any) -> Clip:
    from rtnb.audio import Clip

    return Clip(samples, sample_rate, gaps=gaps, role=role)


class _Pickler(pickle.Pickler):
    """Writes a clip as what it is made of, without the players that it has shown."""

    def reducer_override(self, value: Any) -> Any:
        audio = sys.modules.get("rtnb.audio")  # where it was never imported, there is no clip
        if audio is not None and isinstance(value, audio.Clip):  # a bundled sample knows its name
            return _clip, (value.samples, value.sample_rate, value.gaps, value.role)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Makes nothing but the classes named above."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ARRAYS | _PLAIN:
            return super().find_class(module, name)
        if module in _OURS and "." not in name:
            found = super().find_class(module, name)
            if found is _clip or (isinstance(found, type) and found.__module__ == module):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} may not cross the pipe")


def encode(frame: Frame) -> bytes:
    """Return a frame with its length in front.

    Raises
    ------
    Exception
        It holds what cannot be pickled.
    """
    stream = io.BytesIO()
    stream.write(bytes(_HEADER.size))
    _Pickler(stream, protocol=5).dump(frame)
    stream.seek(0)
    stream.write(_HEADER.pack(stream.getbuffer().nbytes - _HEADER.size))
    return stream.getvalue()


def decode(body: bytes) -> Frame:
    """Return the frame in `body`, which has no length in front.

    Raises
    ------
    pickle.UnpicklingError
        It is no frame, or holds what may not cross the pipe.
    """
    frame = _Unpickler(io.BytesIO(body)).load()
    if not isinstance(frame, Frame):
        raise pickle.UnpicklingError(f"{type(frame).__name__} is not a frame")
    return frame


def checked(frame: Frame) -> bytes:
    """Return a frame as `encode` does, once it is sure that the other end will read it.

    Raises
    ------
    Exception
        It holds what cannot be pickled, or may not cross the pipe.
    """
    encoded = encode(frame)
    decode(encoded[_HEADER.size :])
    return encoded


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read one frame from a blocking byte stream; None at its end.

    Raises
    ------
    pickle.UnpicklingError
        What came is no frame.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    (length,) = _HEADER.unpack(header)
    body = stream.read(length)
    return decode(body) if len(body) == length else None
