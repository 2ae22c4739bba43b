"""What the user's process adds to a run: turn records and cut clips; it must not decide about turns.

Records go through the media process, which owns turns.jsonl; clips are cut by a thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from rtnb.events import Event
from rtnb.runs import cut_turn
from rtnb.turns import Turn
from rtnb.turnstate import VOICE, ToolCall, TurnState

__all__ = ["TurnFiles"]

logger = logging.getLogger(__name__)

_FLUSH: Final = 10.0  # seconds


class TurnFiles:
    """Notes about the turns of one session.

    Parameters
    ----------
    folder
        The run folder.
    note
        Takes one JSON record for turns.jsonl.
    """

    def __init__(self, folder: Path, note: Callable[[str], object]):
        self._folder = folder
        self._note = note
        self._cutter = ThreadPoolExecutor(1, thread_name_prefix="rtnb-cut")
        self._pending: list[Future[None]] = []

    def turn(self, state: TurnState) -> None:
        """Note that a turn has begun."""
        about: dict[str, Any] = {
            "turn": state.number,
            "kind": state.kind,
            "name": state.name,
            "text": state.text,
        }
        if VOICE in state.plays:  # from when on what is said live is of it
            about["voice"] = state.plays[VOICE][0]
        # when that was known: a voice has begun before the service could tell
        self._record("turn", state.touched, **about)

    def voice(self, state: TurnState, at: float) -> None:
        """Note from when on what is said live is of a turn that is held open, if it is."""
        self._record("voice", at, turn=state.number, start=state.plays.get(VOICE, (None,))[0])

    def play(self, state: TurnState, play: str, at: float) -> None:
        """Note that a clip was queued for a turn."""
        self._record("play", at, turn=state.number, play=play)

    def tool(self, call: ToolCall, at: float, output: str, error: str | None) -> None:
        """Note what a tool gave."""
        self._record("tool", at, call_id=call.call_id, output=output, error=error)

    def over(self, turn: Turn, state: TurnState) -> None:
        """Note how a turn ended, and cut its clips."""
        ended = {"turn": state.number, "status": state.status, "error": state.error}
        self._record("ended", state.ended or 0.0, **ended, transcript=turn.transcript)
        try:
            future = self._cutter.submit(cut_turn, self._folder, turn)
        except RuntimeError:  # the program ends; `open_run` cuts what is missing
            return
        future.add_done_callback(_log_failure)
        self._pending = [f for f in self._pending if not f.done()] + [future]

    def request(self, state: TurnState, event: Event) -> None:
        """Note which turn a ``response.create`` was for."""
        event_id = event.data.get("event_id")
        self._record("request", event.time, turn=state.number, event_id=event_id)

    def flush(self) -> None:
        """Wait until the clips of all ended turns are on disk, at most 10 s."""
        wait(self._pending, timeout=_FLUSH)

    def close(self) -> None:
        """Finish what is pending; clips of later turns are left to `open_run`."""
        self.flush()
        self._cutter.shutdown(wait=False)

    def _record(self, record: str, at: float, **values: Any) -> None:
        line = {"record": record, "time": round(at, 6), **values}
        self._note(json.dumps(line, ensure_ascii=False))


def _log_failure(done: Future[None]) -> None:
    error = done.exception()
    if error is not None:
        logger.warning("the clips of a turn could not be written: %s", error)
