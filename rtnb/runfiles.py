"""The files of a run folder as they are written, live and append-only; it must not know a turn.

Every method leaves the files readable: after a ``kill -9`` what was written before is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import time
import wave
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtnb._masking import mask
from rtnb._nested import too_deep
from rtnb.errors import RunError

__all__ = [
    "AUDIO",
    "EVENTS",
    "PACKETS",
    "PACKET_FIELDS",
    "RUN",
    "TURNS",
    "WAV_HEADER",
    "RunWriter",
    "WavWriter",
    "create_run_folder",
    "discard_run",
    "runs_root",
]

RUN: Final = "run.json"
EVENTS: Final = "events.jsonl"
AUDIO: Final = "audio.wav"
PACKETS: Final = "packets.csv"
TURNS: Final = "turns.jsonl"
# kind: sent, received, lost, late, duplicate, damaged, foreign; time in seconds on the call's clock;
# size in bytes, of a lost stretch in samples; position in samples of audio.wav; concealed, of a lost
# stretch: fec, plc, plc+fec (in the order of time), or empty
PACKET_FIELDS: Final = "kind,sequence,timestamp,time,size,position,concealed"

WAV_HEADER: Final = 44  # bytes, as the standard library's wave module writes it

S16 = npt.NDArray[np.int16]


def runs_root() -> Path:
    """Return the folder under which runs without a name of their own are kept."""
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"rtnb-runs-{user}"


def create_run_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Make the folder of a new run; the default is a fresh one under `runs_root`.

    Raises
    ------
    RunError
        It holds a run already, or cannot be made.
    """
    if folder is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = runs_root() / f"{stamp}-{secrets.token_hex(3)}"
    else:
        path = Path(folder).absolute()
    if (path / RUN).exists():
        raise RunError(f"The folder {str(path)!r} holds a run already; name another one.")
    try:
        if folder is None:
            path = _private(runs_root()) / path.name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise RunError(f"The run folder {str(path)!r} cannot be made: {error.strerror}.") from None
    return path


def discard_run(folder: Path) -> None:
    """Remove the files of a run that never came to hold anything; other files stay."""
    for name in (RUN, EVENTS, AUDIO, PACKETS, TURNS):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds something else
        folder.rmdir()


def _private(root: Path) -> Path:
    """Make a folder that only this user can enter; where somebody else owns it, make another."""
    root.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (root.is_symlink() or root.stat().st_uid != os.getuid()):
        return Path(tempfile.mkdtemp(prefix=f"{root.name}-"))
    return root


class WavWriter:
    """A 16-bit WAV that is valid after every write.

    Parameters
    ----------
    path
        The file.
    channels
        1 or 2.
    sample_rate
        Hz.
    """

    def __init__(self, path: Path, *, channels: int, sample_rate: int):
        # unbuffered, and `writeframes` patches the sizes: nothing is lost to a sudden death
        self._raw = path.open("w+b", buffering=0)
        self._wave = wave.open(self._raw, "wb")
        self._wave.setnchannels(channels)
        self._wave.setsampwidth(2)
        self._wave.setframerate(sample_rate)
        self._wave.writeframes(b"")

    def write(self, samples: S16) -> None:
        """Append samples, s16 of shape (n,) or (n, channels)."""
        self._wave.writeframes(samples.astype("<i2", copy=False).tobytes())

    def patch(self, position: int, channel: int, samples: S16) -> None:
        """Put samples that came late where they belong, in what is written already.

        Parameters
        ----------
        position
            The first sample.
        channel
            0 or 1.
        samples
            s16, shape (n,); it must lie within what is written.
        """
        width = 2 * self._wave.getnchannels()
        end = self._raw.tell()
        self._raw.seek(WAV_HEADER + position * width)
        block = np.frombuffer(self._raw.read(len(samples) * width), "<i2").copy()
        block = block.reshape(-1, self._wave.getnchannels())
        block[:, channel] = samples[: len(block)]
        self._raw.seek(WAV_HEADER + position * width)
        self._raw.write(block.tobytes())
        self._raw.seek(end)

    def close(self) -> None:
        """Close the file."""
        self._wave.close()
        self._raw.close()


class RunWriter:
    """Writes events, packets, turn records and audio of one run.

    Parameters
    ----------
    folder
        The run folder, made before.
    sample_rate
        Hz of audio.wav.
    """

    def __init__(self, folder: Path, *, sample_rate: int):
        self.folder = folder
        self._audio = WavWriter(folder / AUDIO, channels=2, sample_rate=sample_rate)
        # half a surrogate pair, which JSON may hold and UTF-8 may not, is written as its escape
        self._events = (folder / EVENTS).open("a", encoding="utf-8", errors="backslashreplace")
        self._turns = (folder / TURNS).open("a", encoding="utf-8", errors="backslashreplace")
        self._packets = (folder / PACKETS).open("a", encoding="utf-8")
        self._packets.write(PACKET_FIELDS + "\n")
        self._packets.flush()

    def event(self, time: float, direction: str, text: str) -> None:
        """Append one event as it is, secrets masked; what is not JSON is kept as a string.

        So is JSON that is nested deeper than `Event.data` reads.
        """
        event = _in_a_line(mask(text))
        _append(
            self._events,
            f'{{"time": {round(time, 6)}, "direction": "{direction}", "event": {event}}}',
        )

    def record(self, text: str) -> None:
        """Append one JSON record to turns.jsonl."""
        _append(self._turns, mask(text))

    def packets(self, rows: list[tuple[Any, ...]]) -> None:
        """Append rows of `PACKET_FIELDS`."""
        if rows:
            lines = "\n".join(",".join("" if v is None else str(v) for v in row) for row in rows)
            _append(self._packets, lines)

    def audio(self, block: S16) -> None:
        """Append samples, s16 of shape (n, 2): what we sent, what we heard."""
        self._audio.write(block)

    def patch(self, position: int, channel: int, samples: S16) -> None:
        """Put samples that came late where they belong in audio.wav."""
        self._audio.patch(position, channel, samples)

    def close(self) -> None:
        """Close all files."""
        self._audio.close()
        for stream in (self._events, self._turns, self._packets):
            stream.close()


def _in_a_line(text: str) -> str:
    """Return a text as a value within a line of JSON: itself if it is one, else as a string."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    if too_deep(value, text):
        return json.dumps(text, ensure_ascii=False)
    if "\n" in text or "\r" in text:
        return json.dumps(value, ensure_ascii=False)
    return text


def _append(stream: Any, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()
