"""`Run`: a recorded call, opened again without a network; it must not know how calls are made."""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rtnb import _html
from rtnb.audio import Clip
from rtnb.conversation import Conversation
from rtnb.dialects import DIALECTS, GA
from rtnb.errors import ConfigurationError, RunError
from rtnb.events import Event, EventLog
from rtnb.eventtext import plain
from rtnb.recorded import Recorded
from rtnb.runaudio import RunAudio
from rtnb.runfiles import EVENTS, RUN, TURNS, runs_root
from rtnb.sessionview import call_body, call_text
from rtnb.turnlist import Turns
from rtnb.turns import Turn
from rtnb.turnstate import VOICE, TurnState

__all__ = ["Run", "copy_run", "cut_turn", "open_run", "recent_runs"]


class Run(Recorded):
    """A recorded call: what was sent and heard, all events, and the turns.

    Parameters
    ----------
    folder
        A run folder; use `open_run`.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies.
    info : dict
        run.json: versions, endpoint, session configuration, clock.
    events : EventLog
        Both directions.
    turns : list of Turn
        In order.
    complete : bool
        The call was closed in order; False after a sudden death.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.info = _read_info(folder)
        self.audio = RunAudio(folder)
        self.changed = threading.Condition()
        self.failure: str | None = None
        dialect = DIALECTS.get(str(self.info.get("dialect")), GA)
        self.events = EventLog(_read_events(folder, dialect.normalised))
        records = list(_json_lines(folder / TURNS))
        self.complete = any(r.get("record") == "closed" for r in records)
        self._conversation = Conversation(dialect)
        self._config = self.info.get("session") or {}
        states = _rebuilt(self.events, records, self._conversation, self.audio.duration)
        self.turns = Turns(Turn(state, self) for state in states)

    @property
    def duration(self) -> float:
        """Seconds of audio on disk."""
        return self.audio.duration

    def play_into(self, turn: TurnState, clip: Clip) -> None:
        """Refuse: a recorded call cannot be spoken into."""
        raise ConfigurationError("This turn belongs to a saved run; use rtnb.connect to speak.")

    def stop_playing(self, turn: TurnState) -> None:
        """Do nothing: nothing is played into a recorded call."""

    def when_over(self, turn: TurnState, callback: Callable[[], None]) -> None:
        """Call back at once: every turn of a run is over."""
        callback()

    def __repr__(self) -> str:
        state = "" if self.complete else ", not closed in order"
        return (
            f"<Run {plain(self.folder.name)}: {_html.counted(len(self.turns), 'turn')}, "
            f"{self.duration:.1f} s, {self._counted()}{state}>"
        )

    def _counted(self) -> str:
        return _html.counted(len(self.events), "event")

    def _repr_html_(self) -> str:
        pairs = [
            ("folder", self.folder.name),
            ("endpoint", self.info.get("endpoint")),
            ("model", self.model),
            ("voice", self.voice),
            ("began", self.info.get("began")),
            ("recorded", f"{self.duration:.1f} s, {self._counted()}"),
            *self._figures(),
        ]
        state = "complete" if self.complete else "not closed in order"
        table, lines = self.turns._shown()
        body = call_body("Run", state, None, pairs, turns=table)
        return _html.boxed(body, call_text(repr(self), pairs, turns=lines))


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Open a run folder; prompts and replies that were not cut yet are cut now.

    Parameters
    ----------
    folder
        What `session.save` or ``record_to=`` named, or one of `recent_runs`.

    Raises
    ------
    RunError
        There is no run in it.
    """
    path = Path(folder)
    if not (path / RUN).is_file():
        inside = sorted(p.parent.name for p in path.glob(f"*/{RUN}")) if path.is_dir() else []
        hint = f"; it holds the runs {', '.join(inside)}" if inside else ""
        raise RunError(f"There is no run in {str(path)!r}{hint}; see rtnb.recent_runs().")
    run = Run(path)
    if os.access(path, os.W_OK):
        for turn in run.turns:
            cut_turn(path, turn)
    return run


def recent_runs() -> list[Path]:
    """Return the folders of the runs kept in the system's temporary directory, newest first."""
    found = [path.parent for path in runs_root().glob(f"*/{RUN}")]
    return sorted(found, key=lambda path: (path / RUN).stat().st_mtime, reverse=True)


def copy_run(source: Path, target: str | os.PathLike[str]) -> Path:
    """Copy a run folder to a new place, and return it.

    Raises
    ------
    RunError
        The target exists and is not empty, or cannot be written.
    """
    path = Path(target)
    try:
        taken = path.is_dir() and any(path.iterdir())
        if not taken:
            shutil.copytree(source, path, dirs_exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise RunError(f"The run cannot be saved to {str(path)!r}: {error}.") from None
    if taken:
        raise RunError(f"The folder {str(path)!r} is not empty; name another one.")
    return path


def cut_turn(folder: Path, turn: Turn) -> None:
    """Write turns/NNN-prompt.wav and turns/NNN-reply.wav where they are missing."""
    for kind, clip in (("prompt", turn.prompt_as_sent), ("reply", turn.reply)):
        path = folder / "turns" / f"{turn.number:03d}-{kind}.wav"
        if len(clip) and not path.exists():
            # whole or not at all, and by a name of its own: a live session may cut it too
            part = clip.write(path.with_suffix(f".{uuid.uuid4().hex[:8]}.part.wav"))
            os.replace(part, path)


# --- reading -------------------------------------------------------------------------------------


def _read_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"The file {RUN} of {str(folder)!r} cannot be read: {error}.") from None
    return info if isinstance(info, dict) else {}


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file; a last line cut by a sudden death is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _read_events(folder: Path, normalised: Callable[[str], str]) -> Iterator[Event]:
    for record in _json_lines(folder / EVENTS):
        event = record.get("event")
        text = event if isinstance(event, str) else json.dumps(event)
        kind = str(event.get("type", "")) if isinstance(event, dict) else ""
        yield Event(
            text,
            time=float(record.get("time", 0.0)),
            direction=record.get("direction", "received"),
            type=normalised(kind),
        )


def _rebuilt(
    events: EventLog, records: Sequence[dict[str, Any]], conversation: Conversation, end: float
) -> list[TurnState]:
    """Return the turns, by putting events and records through a conversation once more."""
    steps: list[tuple[float, int, Any]] = [(e.time, 1, e) for e in events]
    records = [r for r in records if isinstance(r.get("time", 0.0), int | float)]  # else not ours
    steps += [(float(r.get("time", 0.0)), 0, r) for r in records]
    for time, _, step in sorted(steps, key=lambda s: s[:2]):
        if not isinstance(step, Event):
            _apply_record(conversation, step, time)
        elif step.direction == "sent":
            conversation.sent(step)
        else:
            conversation.received(step)
    endings = {r.get("turn"): r for r in records if r.get("record") == "ended"}
    for turn in conversation.turns:
        ended = endings.get(turn.number)
        if ended is not None and "status" in ended and "time" in ended:
            turn.status, turn.ended = ended["status"], ended["time"]
            turn.error = ended.get("error")
            turn.end_voice(turn.ended)
    conversation.heard(end, ())  # what was heard in full, but not noted as ended, is complete
    conversation.closed(end, "The recording ended before the turn did.")
    return conversation.turns


def _begun(record: dict[str, Any], number: int, time: float) -> TurnState:
    turn = TurnState(number, str(record.get("kind")), time, touched=time)
    turn.name, turn.text = record.get("name"), record.get("text")
    _note_voice(turn, record.get("voice"))
    if turn.play_started is not None:  # a voice has begun before the service could tell
        turn.started = turn.play_started
    return turn


def _note_voice(turn: TurnState, start: Any) -> None:
    turn.plays.pop(VOICE, None)
    if isinstance(start, int | float):
        turn.plays[VOICE] = (float(start), None)


def _apply_record(conversation: Conversation, record: dict[str, Any], time: float) -> None:
    play = str(record.get("play"))
    match record.get("record"):
        case "turn":
            conversation.turns.append(_begun(record, len(conversation.turns) + 1, time))
        case "voice":
            for turn in conversation.turns:
                if turn.number == record.get("turn"):
                    _note_voice(turn, record.get("start"))
        case "request":
            for turn in conversation.turns:
                if turn.number == record.get("turn"):
                    conversation.asked(turn, str(record.get("event_id")))
        case "play":
            for turn in conversation.turns:
                if turn.number == record.get("turn"):
                    conversation.play_queued(turn, play)
        case "play_started":
            conversation.play_started(play, time)
        case "play_ended":
            conversation.play_ended(play, time)
        case "tool":
            for turn in conversation.turns:
                for call in turn.tool_calls:
                    if call.call_id == record.get("call_id"):
                        call.output, call.error = record.get("output"), record.get("error")
                        call.ended = time
