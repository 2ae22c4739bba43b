"""`RecordedRun`: what a server did in a saved run, ready to be done again; it must not know a call."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rtnb.dialects import BETA, DIALECTS, GA, Dialect, Json, merged, object_at, text_at
from rtnb.errors import ConfigurationError
from rtnb.media import opus
from rtnb.peer.recordedparts import Part, Row, Split, split
from rtnb.peer.recordedsound import sound_cuts
from rtnb.peer.settings import default_session
from rtnb.runaudio import RunAudio
from rtnb.runfiles import AUDIO, EVENTS, RUN

__all__ = ["RecordedRun", "Spoken"]

_LIVE: Final = ("type", "expires_at")  # of a session: what is each call's own
_ONE_VALUE: Final = (("input", "turn_detection"), ("input", "transcription"), ("output", "voice"))
_SOONER: Final = 0.01  # seconds: a sound waits for the next packet, half of 20 ms on average
_HINT: Final = "Name a folder that rtnb.connect(record_to=…) or session.save made."


@dataclass(frozen=True)
class Spoken:
    """One response's sound.

    Attributes
    ----------
    response_id : str
        Whose it is.
    item_id : str or None
        The item that holds it.
    after : float
        Seconds from what began its part until it is to be played: in time for its first sample,
        but not before its content part is added.
    pcm : bytes
        s16 mono 48,000 Hz.
    """

    response_id: str
    item_id: str | None
    after: float
    pcm: bytes = field(repr=False)


@dataclass(frozen=True)
class RecordedRun:
    """What a server did in a saved run.

    Attributes
    ----------
    folder : str
        Where the run lies.
    created : dict
        Its ``session.created``.
    opening : Part
        What the server sent before its client did anything.
    parts : tuple of Part
        What it sent because of each thing that its client did, in order.
    spoken : dict
        `id` of a part to the sounds that belong to it.
    client_items : tuple of (str, str)
        Type and id of the items that the client made, in order.
    """

    folder: str
    created: Json = field(repr=False)
    opening: Part = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)
    spoken: dict[int, tuple[Spoken, ...]] = field(repr=False)
    client_items: tuple[tuple[str, str], ...] = field(repr=False)

    def session_in(self, live: Json) -> Json:
        """Return the recorded session as a call sees it: whole, with its own time of expiry.

        A session of another type stays as it is.

        Parameters
        ----------
        live
            The session that the call was made with, with all its keys.
        """
        recorded: Json = self.created["session"]
        if live["type"] != recorded.get("type", "realtime"):
            return live
        out = merged(live, {k: v for k, v in recorded.items() if k not in _LIVE and v is not None})
        for side, key in _ONE_VALUE:
            given = object_at(recorded, "audio", side)
            if key in given:
                out["audio"][side][key] = deepcopy(given[key])
        detection = out["audio"]["input"]["turn_detection"]
        if isinstance(detection, dict) and detection.get("type", "server_vad") == "server_vad":
            default = default_session("")["audio"]["input"]["turn_detection"]
            out["audio"]["input"]["turn_detection"] = default | detection
        return (
            out if "temperature" in live else {k: v for k, v in out.items() if k != "temperature"}
        )

    def warm_up(self) -> None:
        """Encode the replies, which are kept, so that each is said when it is due."""
        for some in self.spoken.values():
            for one in some:
                opus.encode(one.pcm)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> RecordedRun:
        """Read a run folder.

        Parameters
        ----------
        folder
            A folder that a call was recorded to.

        Raises
        ------
        ConfigurationError
            It holds no run, or one that has no reply.
        """
        path = Path(folder)
        try:
            return cls._read(path)
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            why = getattr(error, "strerror", None) or type(error).__name__
            raise _unusable(path, f"a file of it cannot be read ({why}).") from None

    @classmethod
    def _read(cls, path: Path) -> RecordedRun:
        if not (path / RUN).is_file():
            raise ConfigurationError(f"There is no run in {str(path)!r} to replay. {_HINT}")
        if not (path / EVENTS).is_file():
            raise _unusable(path, f"it has no {EVENTS}.")
        rows = list(_rows(path / EVENTS, _dialect(path)))
        created = next((r.event for r in rows if _is_session(r)), None)
        if created is None:
            why = "an endpoint that filters events sends too few of them for a replay"
            raise _unusable(path, f"its {EVENTS} holds no session.created; {why}.")
        found = split(rows)
        if not found.part_of:
            raise _unusable(path, f"its {EVENTS} holds no reply.")
        audio = RunAudio(path)
        if found.soundings and not audio.duration:
            raise _unusable(path, f"its {AUDIO}, which holds the replies, is missing or empty.")
        return cls(
            str(path),
            created,
            found.parts[0],
            tuple(found.parts[1:]),
            _spoken(found, audio),
            tuple(found.client_items),
        )


def _unusable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"The run in {str(path)!r} cannot be replayed: {why}")


def _is_session(row: Row) -> bool:
    return row.event["type"] == "session.created" and isinstance(row.event.get("session"), dict)


def _spoken(found: Split, audio: RunAudio) -> dict[int, tuple[Spoken, ...]]:
    out: dict[int, tuple[Spoken, ...]] = {}
    for cut in sound_cuts(found.soundings, audio):
        part = found.part_of[cut.response_id]
        item_id = found.spoken_items.get(cut.response_id)
        announced = part.announced(cut.response_id)
        after = max(part.at(cut.start) - _SOONER, announced or 0.0)
        one = Spoken(cut.response_id, item_id, after, cut.pcm)
        out[id(part)] = (*out.get(id(part), ()), one)
    return out


# --- the file of events --------------------------------------------------------------------------


def _dialect(path: Path) -> Dialect:
    info = json.loads((path / RUN).read_text(encoding="utf-8"))
    name = info.get("dialect") if isinstance(info, dict) else None
    return DIALECTS.get(str(name), GA)


def _rows(path: Path, dialect: Dialect) -> Iterator[Row]:
    """Yield the events in order of time, in GA names; what is no event is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        row = _row(line, dialect)
        if row is not None:
            rows.append(row)
    rows.sort(key=lambda row: row.time)
    yield from _with_done(rows) if dialect is BETA else rows


def _row(line: str, dialect: Dialect) -> Row | None:
    try:
        record: Any = json.loads(line)
        event, time = record["event"], float(record["time"])
        sent = record["direction"] == "sent"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # a last line that was cut by a sudden death, or nobody's
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        return None
    return Row(time, sent, dialect.event_from_wire(event))


def _with_done(rows: list[Row]) -> Iterator[Row]:
    """Add what beta does not say: an item is done with its creation, or with its output item."""
    for row in rows:
        item = row.event.get("item")
        kind = row.event["type"]
        if kind == "response.output_item.done" and not row.sent:
            yield _done(row, row.event)
        yield row
        done = text_at(row.event, "item", "status") != "in_progress"
        if kind == "conversation.item.added" and isinstance(item, dict) and done:
            yield _done(row, row.event)


def _done(row: Row, event: Json) -> Row:
    event_id = f"{text_at(event, 'event_id')}_done"
    names = ("item", "previous_item_id", "response_id")
    kept: Json = {key: event[key] for key in names if key in event}
    return Row(row.time, False, {"type": "conversation.item.done", "event_id": event_id, **kept})
