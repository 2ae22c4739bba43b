"""A call without a network: the peer's conversation, a clock moved by hand, and sounds that take time.

It does what a call does with the conversation's commands, and keeps every event of both sides.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from event_orders import CLIENT, SERVER, broken_orders

from rtnb.peer.conversation import Conversation
from rtnb.peer.outputs import Forget, HangUp, Hush, Say, StopAfter, Think
from rtnb.peer.reply import Rendered, UserTurn
from rtnb.peer.settings import BETA_TEMPERATURE, changed, default_session
from rtnb.peer.wire import parsed, written

Json = dict[str, Any]

FRAME = 960  # samples of 20 ms
RATE = 48_000
PACKET = 0.02
STEPS = 10_000  # far more than any test needs at one time


def sound(seconds: float) -> bytes:
    """Return a sound of a reply, s16 at 48,000 Hz."""
    return np.full(int(seconds * RATE), 500, np.int16).tobytes()


def hello(_turn: UserTurn) -> Rendered:
    """Answer with one second of sound."""
    return Rendered("Well, hello.", sound(1.0))


@dataclass
class _Sound:
    response_id: str
    samples: int
    begins: float | None = None
    started: bool = False

    @property
    def ends(self) -> float:
        assert self.begins is not None
        return self.begins + self.samples / RATE


class SimulatedCall:
    """One call; `log` holds its events as ``(direction, event)``.

    Parameters
    ----------
    voice
        From a `UserTurn` to a `Rendered`; without sound where only text is wanted.
    thinking
        Seconds that it takes.
    recognise
        From samples to the name of a bundled prompt.
    session
        What the session is made with.
    old
        It is one of the beta dialect.
    options
        Of the conversation.
    """

    # what happens to commands on their way: nothing, where a test does not set it
    disturbance: Callable[[], Callable[[list[Any]], list[Any]]] = staticmethod(lambda: list)

    def __init__(
        self,
        voice: Callable[[UserTurn], Rendered] = hello,
        *,
        thinking: float = 0.0,
        recognise: Callable[[Any], str | None] = lambda samples: None,
        session: Json | None = None,
        old: bool = False,
        **options: Any,
    ) -> None:
        self.now = 100.0
        self.log: list[tuple[str, Json]] = []
        self.turns: list[UserTurn] = []
        self.ended: str | None = None
        self._voice = voice
        self._thinking = thinking
        self._thoughts: dict[str, tuple[float, Rendered]] = {}
        self._sounds: list[_Sound] = []
        self._cuts: list[tuple[str, int]] = []  # item, and to how many milliseconds
        self._disturb = self.disturbance()
        begun = default_session("sess_1") | ({"temperature": BETA_TEMPERATURE} if old else {})
        if session is not None:
            begun = changed(begun, session, started=False)
        self.conversation = Conversation(
            begun, recognise=recognise, clock=lambda: self.now, **options
        )
        self.take(self.conversation.opened())

    # --- the peer's side --------------------------------------------------------------------------

    def take(self, commands: list[Any]) -> None:
        """Do what the conversation wants, at once and in order, as a call does."""
        for command in self._disturb(commands):
            if isinstance(command, dict):
                self.log.append((SERVER, json.loads(written(command))))
            elif isinstance(command, Think):
                self._think(command)
            elif isinstance(command, Forget):
                self._thoughts.pop(command.response_id, None)
            elif isinstance(command, Say):
                self._sounds.append(_Sound(command.response_id, len(command.pcm) // 2))
                self._next_sound()
            elif isinstance(command, Hush):
                self._hush(command)
            elif isinstance(command, StopAfter):
                self._stop_after(command)
            elif isinstance(command, HangUp):
                self.ended = command.reason

    def _think(self, think: Think) -> None:
        self.turns.append(think.turn)
        rendered = self._voice(think.turn)
        if not think.spoken:
            rendered = Rendered(**{**vars(rendered), "pcm": b""})
        self._thoughts[think.response_id] = (self.now + self._thinking, rendered)

    def _next_sound(self) -> None:
        if self._sounds and self._sounds[0].begins is None:
            self._sounds[0].begins = self.now + PACKET

    def _hush(self, hush: Hush) -> None:
        for name in hush.response_ids:
            played = 0
            for one in [s for s in self._sounds if s.response_id == name]:
                if one.begins is not None:
                    played = min(max(int((self.now - one.begins) * RATE), 0), one.samples)
                self._sounds.remove(one)
            self._note_cut(name, played // 48)
            self.take(self.conversation.sound_cut(name, played // 48, hush.reason))
        self._next_sound()

    def _note_cut(self, response_id: str, played_ms: int) -> None:
        """Note to what the item of a sound is to be truncated: what was heard and is still there."""
        added = {e["item"]["id"] for e in self.events("conversation.item.added")}
        gone = {e["item_id"] for e in self.events("conversation.item.deleted")}
        for event in self.events("response.output_item.added"):
            item = event["item"]
            if event["response_id"] != response_id or item["type"] != "message":
                continue
            if item["id"] in added - gone:
                self._cuts.append((item["id"], min([played_ms, *self._truncations(item["id"])])))

    def _truncations(self, item_id: str) -> list[int]:
        truncated = self.events("conversation.item.truncated")
        return [e["audio_end_ms"] for e in truncated if e["item_id"] == item_id]

    def _stop_after(self, stop: StopAfter) -> None:
        for one in [s for s in self._sounds if s.response_id == stop.response_id]:
            played = 0 if one.begins is None else int((self.now - one.begins) * RATE)
            one.samples = min(one.samples, max(stop.samples, played))

    def _due(self) -> float:
        times = [self.conversation.due(), *(time for time, _ in self._thoughts.values())]
        if self._sounds:
            first = self._sounds[0]
            times.append(first.ends if first.started else first.begins or self.now)
        return min(times)

    def _step(self) -> None:
        for name, (time, rendered) in list(self._thoughts.items()):
            if time <= self.now and name in self._thoughts:
                del self._thoughts[name]
                self.take(self.conversation.answered(name, rendered))
        if self._sounds:
            self._play(self._sounds[0])
        if self.conversation.due() <= self.now:
            self.take(self.conversation.tick())

    def _play(self, one: _Sound) -> None:
        if not one.started and one.begins is not None and one.begins <= self.now:
            one.started = True
            self.take(self.conversation.sound_started(one.response_id))
        if one.started and one in self._sounds and one.ends <= self.now:
            self._sounds.remove(one)
            self.take(self.conversation.sound_ended(one.response_id))
            self._next_sound()

    # --- the caller's side ------------------------------------------------------------------------

    def send(self, type: str, **fields: Any) -> Json | None:
        """Send a client event, let what is due at once happen, and return the last error of it."""
        event = {"type": type, "event_id": f"mine_{len(self.log)}", **fields}
        self.log.append((CLIENT, event))
        self.take(self.conversation.receive(event))
        self.wait(0.0)
        errors = [e["error"] for e in self.events("error")]
        return next((e for e in errors if e["event_id"] == event["event_id"]), None)

    def frame(self, frame: str | bytes) -> list[str]:
        """Receive a frame of the data channel as it is, and return the types of what it caused."""
        before, event = len(self.log), parsed(frame)
        if event is not None:
            self.log.append((CLIENT, event))
        if event is None or not isinstance(event.get("type"), str):
            self.take(self.conversation.unreadable((event or {}).get("event_id")))
        else:
            self.take(self.conversation.receive(event))
        return [event["type"] for direction, event in self.log[before:] if direction == SERVER]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until, steps = self.now + seconds, 0
        while self._due() <= until:
            steps += 1
            assert steps < STEPS, f"something is due again and again at {self.now}"
            self.now = max(self._due(), self.now)
            self._step()
        self.now = until

    def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._due() < self.now + 1800:
            self.wait(max(self._due() - self.now, 0.0))

    def hear(self, samples: np.ndarray) -> None:
        """Hear samples at their pace."""
        for start in range(0, len(samples), FRAME):
            self.take(self.conversation.hear(samples[start : start + FRAME]))
            self.wait(PACKET)

    def text(self, text: str = "Hello?", **fields: Any) -> Json | None:
        """Write something."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content, **fields}
        return self.send("conversation.item.create", item=item)

    def settings(self, **session: Any) -> Json | None:
        """Change settings."""
        return self.send("session.update", session={"type": "realtime", **session})

    def input(self, **settings: Any) -> Json | None:
        """Change settings of the input audio."""
        return self.settings(audio={"input": settings})

    def idle(self) -> bool:
        """Whether nothing is under way: no thought, no sound, nothing due before the session's end."""
        return not self._thoughts and not self._sounds and self._due() > self.now + 1800

    # --- looking ----------------------------------------------------------------------------------

    def events(self, type: str = "") -> list[Json]:
        """Return the server's events, all or those of a type."""
        sent = [event for direction, event in self.log if direction == SERVER]
        return [event for event in sent if type in ("", event["type"])]

    def last(self, type: str) -> Json:
        """Return the server's last event of a type."""
        return self.events(type)[-1]

    def types(self) -> list[str]:
        """Return the types of the server's events."""
        return [event["type"] for event in self.events()]

    def problems(self, *, over: bool = True) -> list[str]:
        """Return which orders were broken, and which items cut elsewhere than they were heard."""
        wrong = [
            f"{item_id} was heard for {end_ms} ms and truncated to {self._truncations(item_id)}"
            for item_id, end_ms in self._cuts
            if end_ms not in self._truncations(item_id)
        ]
        return broken_orders(self.log, over=over) + wrong
