"""Reads a run's packets.csv as arrays, also while it is written; it must not know what they tell."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from rtnb.runfiles import PACKETS

__all__ = ["PacketFile", "Packets", "read_packets"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

_SAMPLE_RATE: Final = 48_000  # Hz of a position
_AT_ONCE: Final = 1 << 18  # bytes parsed together: what is in between stays in the cache
_COLUMNS: Final = ("kind", "sequence", "timestamp", "time", "size", "position", "concealed")
_NUMBERS: Final = 5  # sequence, timestamp, time, size, position
_TIME: Final = 2  # which of them has a point
_LONGEST: Final = 1e9  # seconds of a call; a time or a place beyond is damage
_DIGITS: Final = 18  # characters of a number; with more it might not fit 64 bits
_NAMES: Final = 64  # different kinds, and ways to conceal, of one file
_LONGEST_NAME: Final = 24  # characters
_COMMA, _NEWLINE, _MINUS, _POINT, _ZERO = (ord(letter) for letter in ",\n-.0")
# 34 bytes a packet: an hour takes 12 MB
_ROW: Final = np.dtype(
    [
        ("kind", np.uint8),
        ("concealed", np.uint8),
        ("sequence", np.int32),
        ("size", np.int32),
        ("timestamp", np.int64),
        ("time", np.float64),
        ("position", np.int64),
    ]
)


@dataclass(frozen=True, eq=False)
class Packets:
    """The rows of packets.csv, one element a row in each array, all of shape (n,).

    Sent packets are in the order of departure, and those that were heard in that of their sequence;
    ``late`` and ``duplicate`` ones stand where they came. A row that is damaged is left out.

    Attributes
    ----------
    kind : numpy.ndarray
        object, each a str: ``sent``, ``received``, ``lost``, ``late``, ``duplicate``, ``damaged``,
        ``foreign`` (of another stream), or what a later version writes.
    sequence, timestamp : numpy.ndarray
        int64, as in the RTP header; -1 where there is none.
    time : numpy.ndarray
        float64, seconds on the call's clock: of the departure or the arrival; NaN where there is none.
    size : numpy.ndarray
        int64: bytes; of a lost stretch the samples at 48,000 Hz; -1 where there is none.
    position : numpy.ndarray
        int64: the sample of audio.wav at which it was placed, or would have been; that of its time
        where the row has none.
    concealed : numpy.ndarray
        object, each a str: of a lost stretch, how it was filled: ``fec`` (by the copy in the packet
        after it), ``plc`` (made up by the decoder), ``plc+fec``; empty where it was not.
    """

    kind: npt.NDArray[Any]
    sequence: Ints
    timestamp: Ints
    time: Floats
    size: Ints
    position: Ints
    concealed: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.kind)

    def where(self, chosen: npt.NDArray[Any]) -> Packets:
        """Return the rows that a mask or indices choose."""
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return Packets(*(getattr(self, name)[rows] for name in _COLUMNS))

    def of(self, *kinds: str) -> Packets:
        """Return the rows of some kinds."""
        return self.where(np.any([self.are(kind) for kind in kinds], axis=0))

    def are(self, kind: str) -> npt.NDArray[np.bool_]:
        """Return which rows are of a kind: bool, shape (n,)."""
        if kind not in self._masks:  # a call is asked again for each of its turns
            self._masks[kind] = np.asarray(self.kind == kind, np.bool_)
        return self._masks[kind]

    @functools.cached_property
    def _masks(self) -> dict[str, npt.NDArray[np.bool_]]:
        return {}

    def between(self, start: float, end: float) -> Packets:
        """Return the rows placed from `start` on and before `end`, in seconds on the call's clock."""
        return self.where((self.place >= start) & (self.place < end))

    @functools.cached_property
    def place(self) -> Floats:
        """float64, shape (n,): `position` in seconds on the call's clock."""
        return self.position / _SAMPLE_RATE


class PacketFile:
    """A packets.csv that may still grow; each row of it is read once.

    Parameters
    ----------
    path
        The file; it may not be there yet.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._read = 0  # bytes of whole rows
        self._count = 0
        self._rows = np.zeros(0, _ROW)  # with room at the end
        self._kinds: dict[str, int] = {}
        self._methods: dict[str, int] = {"": 0}
        self._changed()

    def _changed(self) -> None:
        self._packets: Packets | None = None
        self._losses: Ints | None = None

    def packets(self) -> Packets:
        """Return all whole rows that are on disk now."""
        with self._lock:
            self._catch_up()
            if self._packets is None:
                self._packets = self._as_packets(self._rows[: self._count])
            return self._packets

    def losses(self) -> Ints:
        """Return the lost stretches: int64, shape (n, 2), start and end in samples of audio.wav."""
        with self._lock:
            self._catch_up()
            if self._losses is None:
                rows = self._rows[: self._count]
                lost = rows[rows["kind"] == self._kinds.get("lost", 255)]
                ends = lost["position"] + lost["size"]
                self._losses = np.column_stack([lost["position"], ends])
                self._losses.flags.writeable = False  # it is kept
            return self._losses

    def _as_packets(self, rows: npt.NDArray[Any]) -> Packets:
        # one string for all rows of a kind: eight bytes a row
        kinds, methods = (np.array([*names, ""], object) for names in (self._kinds, self._methods))
        return Packets(
            kinds[rows["kind"]],
            rows["sequence"].astype(np.int64),
            rows["timestamp"].copy(),
            rows["time"].copy(),
            rows["size"].astype(np.int64),
            rows["position"].copy(),
            methods[rows["concealed"]],
        )

    def _catch_up(self) -> None:
        """Read the rows that were added; a file that has shrunk is another one."""
        try:
            size = self._path.stat().st_size
            if size < self._read:
                self._forget()
            if size > self._read:
                with self._path.open("rb") as file:
                    file.seek(self._read)
                    self._take_all(file, size - self._read)
        except OSError:
            return  # not there yet

    def _take_all(self, file: BinaryIO, left: int) -> None:
        """Take some new bytes, block by block; a last row that is cut is left for later."""
        rest = b""
        while left > 0 and (block := file.read(min(left, _AT_ONCE))):
            left -= len(block)
            block = rest + block
            whole = block.rfind(b"\n") + 1
            rest = block[whole:]
            if whole:
                self._read += whole
                self._take(block[:whole].replace(b"\r", b""))

    def _take(self, text: bytes) -> None:
        rows = self._parse(text)
        if not len(rows):
            return
        end = self._count + len(rows)
        if end > len(self._rows):
            grown = np.zeros(max(end, len(self._rows) * 3 // 2), _ROW)
            grown[: self._count] = self._rows[: self._count]
            self._rows = grown
        self._rows[self._count : end] = rows
        self._count = end
        self._changed()

    def _parse(self, text: bytes) -> npt.NDArray[Any]:
        """Return the sound rows of whole lines."""
        data = np.frombuffer(text, np.uint8)
        marks = np.flatnonzero((data == _COMMA) | (data == _NEWLINE))
        ends = np.flatnonzero(data[marks] == _NEWLINE)  # which of them end a line
        begins = np.concatenate(([0], ends[:-1] + 1))  # the first of each line
        usable = (ends - begins == _NUMBERS) | (ends - begins == _NUMBERS + 1)
        begins, ends = begins[usable], ends[usable]
        starts = np.where(begins > 0, marks[begins - 1] + 1, 0)
        at = marks[begins + np.arange(_NUMBERS + 1)[:, None]]  # (number, row): the comma before it
        rows = np.zeros(len(begins), _ROW)
        rows["kind"], sound = _coded(data, starts, at[0], self._kinds)
        last = marks[ends]
        rows["concealed"], known = _coded(data, np.minimum(at[-1] + 1, last), last, self._methods)
        return rows[sound & known & _fill(rows, data, at[:-1] + 1, at[1:])]


def read_packets(folder: Path) -> Packets:
    """Return all whole rows that are on disk now; none where there is no file."""
    return PacketFile(folder / PACKETS).packets()


def _coded(
    data: Bytes, starts: Ints, stops: Ints, names: dict[str, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return the number of the name in each field, and which have one; new names are added."""
    lengths = stops - starts
    codes, left = np.zeros(len(starts), np.uint8), lengths <= _LONGEST_NAME
    sound = left.copy()
    hashes = lengths.astype(np.uint64)
    for place in range(int(lengths[left].max(initial=0))):
        letters = data[np.minimum(starts + place, len(data) - 1)]
        hashes = hashes * np.uint64(1099511628211) + np.where(place < lengths, letters, 0)
    while left.any():
        one = int(left.argmax())
        same = left & (hashes == hashes[one])
        name = data[starts[one] : stops[one]].tobytes().decode("ascii", "replace")
        if name not in names and len(names) < _NAMES and _is_name(name):
            names[name] = len(names)
        codes[same], sound[same] = names.get(name, 0), name in names
        left &= ~same
    return codes, sound


def _is_name(text: str) -> bool:
    return text.replace("_", "").replace("+", "").isalnum() and text.isascii()


def _fill(rows: npt.NDArray[Any], data: Bytes, starts: Ints, stops: Ints) -> npt.NDArray[np.bool_]:
    """Write the numbers of each row, of fields of shape (number, row); return which are sound."""
    values, decimals, bad = _numbers(data, starts, stops)
    empty = starts == stops
    time = values[_TIME] / 10.0 ** decimals[_TIME]
    time[empty[_TIME]] = np.nan
    for row in np.flatnonzero(bad[_TIME]):  # such as 5e-05
        time[row], bad[_TIME, row] = _slowly(data[starts[_TIME, row] : stops[_TIME, row]])
    values[empty] = -1
    sequence, timestamp, _, size, position = values
    placed = ~empty[-1]
    fits = np.abs(position) < _LONGEST * _SAMPLE_RATE
    fits &= ~(np.abs(time) >= _LONGEST)  # NaN, where there is none, is sound
    own = np.where(fits, np.nan_to_num(time), 0.0) * _SAMPLE_RATE
    at = np.where(placed, position, np.rint(own).astype(np.int64))
    rows["timestamp"], rows["time"], rows["position"] = timestamp, time, at
    rows["sequence"], rows["size"] = sequence, size  # those beyond 32 bits are left out below
    fits &= (np.abs(sequence) < 2**31) & (np.abs(size) < 2**31)
    sound = ~bad.any(axis=0) & fits & (placed | ~empty[_TIME])
    return np.asarray(sound, np.bool_)


def _numbers(data: Bytes, starts: Ints, stops: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Return digits as integers, how many are decimals, and which fields are no number."""
    values, decimals = np.zeros(starts.shape, np.int64), np.zeros(starts.shape, np.int64)
    lengths = stops - starts
    bad = lengths > _DIGITS
    points = np.zeros(starts.shape, np.int64)
    digits = np.zeros(starts.shape, np.int64)
    for place in range(min(int(lengths.max(initial=0)), _DIGITS)):
        letters = data[np.minimum(starts + place, len(data) - 1)]
        inside = place < lengths
        digit = inside & (letters - _ZERO < 10)
        values = np.where(digit, values * 10 + (letters - _ZERO), values)
        digits += digit
        decimals += digit & (points > 0)
        point = inside & (letters == _POINT)
        points += point
        bad |= inside & ~digit & ~point & ((letters != _MINUS) | (place > 0))
    negative = (lengths > 0) & (data[np.minimum(starts, len(data) - 1)] == _MINUS)
    np.negative(values, out=values, where=negative)
    numbers = np.arange(len(starts))[:, None]
    bad |= (points > (numbers == _TIME)) | ((digits == 0) & (lengths > 0))
    return values, decimals, bad


def _slowly(field: Bytes) -> tuple[float, bool]:
    """Return the number of a field, and whether it is none."""
    try:
        number = float(field.tobytes())
    except ValueError:
        return 0.0, True
    return (number, False) if abs(number) < 1e15 else (0.0, True)
