"""`Mouth`: asks a voice and makes its answer into sound; it must not know events or calls.

Whatever a voice does, there is an answer: one that raises, returns what cannot be said, or takes
longer than a minute makes the response fail, and the peer's log says why.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from rtnb.audio import Clip, to_pcm
from rtnb.peer.reply import Failure, Rendered, Reply, ToolCall, UserTurn, Voice
from rtnb.peer.speech import LONGEST_TEXT, PAUSE, Speech
from rtnb.peer.voices import Default, Parrot

__all__ = ["WITHIN", "Mouth"]

WITHIN: Final = 60.0  # seconds that a voice may take

_PAUSE: Final = bytes(2 * round(PAUSE * 48_000))
_LONGEST_DELAY: Final = 3_600.0  # seconds
_LONGEST_CLIP: Final = 3_600.0  # seconds

_log = logging.getLogger(__name__)


class _Unsayable(ValueError):
    """A voice returned what cannot be said; the message completes "The peer's voice …"."""


class Mouth:
    """Turns what a voice answers into a `Rendered`.

    Parameters
    ----------
    voice
        What answers. A coroutine function is awaited, any other runs in a thread of its own.
    speech
        How texts are spoken; None takes what is installed.
    within
        Seconds that the voice may take.
    """

    def __init__(self, voice: Voice, speech: Speech | None = None, *, within: float = WITHIN):
        self._voice = voice
        self._speech = Speech() if speech is None else speech
        self._within = within

    def prepare(self) -> None:
        """Load what texts may need, so that the first does not wait for it; blocks for half a second.

        The peer's own voices say only what is recorded: for them there is nothing to load.
        """
        if not isinstance(self._voice, Default | Parrot):
            self._speech.prepare()

    async def render(self, turn: UserTurn, *, spoken: bool, speed: float = 1.0) -> Rendered:
        """Return the answer to a turn; whatever the voice does, this raises nothing.

        The texts of a list are joined by a space, its sounds by 200 ms of silence; its delays add
        up, and the first failure counts. A clip is played as it is: `speed` and the session's voice
        are for what is spoken.

        Parameters
        ----------
        turn
            What the voice goes by.
        spoken
            Make sound; without it there is text only.
        speed
            0.25 to 1.5.
        """
        try:
            replies = _replies(await self._asked(turn))
            calls = tuple(_call(call) for reply in replies for call in reply.calls)
            pcm = await self._sound(replies, turn.voice, speed) if spoken else b""
        except _Unsayable as told:
            return _failed(f"The peer's voice {told}.")
        except Exception:  # a mistake of the peer's own
            _log.exception("an answer could not be made into sound")
            return _failed("What the peer's voice returned could not be made into sound.")
        return Rendered(
            text=" ".join(reply.text for reply in replies if reply.text),
            pcm=pcm,
            calls=calls,
            failure=next((reply.failure for reply in replies if reply.failure), None),
            delay=sum(reply.delay for reply in replies),
            echo=any(reply.echo or _repeats(reply, turn) for reply in replies),
        )

    # --- the voice --------------------------------------------------------------------------------

    async def _asked(self, turn: UserTurn) -> Any:
        """Return the voice's answer."""
        try:
            async with asyncio.timeout(self._within) as limit:
                asynchronous = inspect.iscoroutinefunction(self._voice) or (
                    inspect.iscoroutinefunction(getattr(self._voice, "__call__", None))  # noqa: B004
                )
                answer: Any = (
                    self._voice(turn) if asynchronous else await _in_thread(self._voice, turn)
                )
                return await answer if inspect.isawaitable(answer) else answer
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the response is not wanted any more
            raise _Unsayable("was cancelled from inside") from None
        except (Exception, SystemExit) as error:
            if isinstance(error, TimeoutError) and limit.expired():
                raise _Unsayable(f"took longer than {self._within:g} s") from None
            _log.exception("the voice raised an exception")
            raise _Unsayable(f"raised {type(error).__name__}; the peer's log says where") from None

    # --- the sound --------------------------------------------------------------------------------

    async def _sound(self, replies: Sequence[Reply], voice: str, speed: float) -> bytes:
        for reply in replies:
            if reply.clip is None and len(reply.text) > LONGEST_TEXT:
                raise _Unsayable(
                    f"returned {len(reply.text)} characters; {LONGEST_TEXT} can be spoken at once"
                )
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._joined, replies, voice, speed)

    def _joined(self, replies: Sequence[Reply], voice: str, speed: float) -> bytes:
        sounds = [
            self._speech.speak(reply.text, voice, speed)
            if reply.clip is None
            else to_pcm(reply.clip)
            for reply in replies
        ]
        return _PAUSE.join(sound for sound in sounds if sound)


async def _in_thread(voice: Callable[[Any], Any], turn: UserTurn) -> Any:
    """Call a voice in a thread that nobody waits for: one that hangs must not keep a process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def call() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = (voice(turn), None)
        except BaseException as error:  # it is raised where the answer is awaited
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(_settle, done, outcome)
        except RuntimeError:
            _log.info("a voice answered after the peer had ended")

    threading.Thread(target=call, name="rtnb-voice", daemon=True).start()
    answer, error = await done
    if isinstance(error, Exception):
        raise error
    if error is not None:  # one that would end the peer if it were raised here
        raise SystemExit(type(error).__name__) from error
    return answer


def _settle(done: asyncio.Future[Any], outcome: tuple[Any, BaseException | None]) -> None:
    if not done.done():
        done.set_result(outcome)


# --- what it answered -----------------------------------------------------------------------------


def _replies(answer: Any) -> list[Reply]:
    """Return an answer as replies, each of them checked."""
    parts = answer if isinstance(answer, list | tuple) else [answer]
    replies = [_reply(part) for part in parts]
    for reply in replies:
        _check(reply)
    return replies


def _reply(part: Any) -> Reply:
    if part is None:
        return Reply()
    if isinstance(part, Reply):
        return part
    if isinstance(part, str):
        return Reply(part)
    if isinstance(part, Clip):
        return Reply(clip=part, echo=True)  # it may be the user's, which is not kept
    if isinstance(part, ToolCall):
        return Reply(calls=(part,))
    if isinstance(part, Failure):
        return Reply(failure=part)
    raise _Unsayable(
        f"returned {type(part).__name__}; a str, Clip, ToolCall, Failure, Reply, a list of these "
        "or None can be said"
    )


def _repeats(reply: Reply, turn: UserTurn) -> bool:
    """Whether it plays back all that the user said, although it does not say so."""
    return reply.clip is not None and turn.audio is not None and reply.clip == turn.audio


def _check(reply: Reply) -> None:
    wanted: tuple[tuple[str, Any, type | tuple[type, ...]], ...] = (
        ("text", reply.text, str),
        ("clip", reply.clip, (Clip, type(None))),
        ("calls", reply.calls, (tuple, list)),
        ("failure", reply.failure, (Failure, type(None))),
        ("delay", reply.delay, (int, float)),
    )
    for name, value, kind in wanted:
        if not isinstance(value, kind):
            raise _Unsayable(f"returned a Reply whose {name} is {type(value).__name__}")
    if not (math.isfinite(reply.delay) and 0 <= reply.delay <= _LONGEST_DELAY):
        raise _Unsayable(f"returned a delay of {reply.delay} s; 0 to {_LONGEST_DELAY:.0f} can be")
    if reply.clip is not None and reply.clip.duration > _LONGEST_CLIP:
        raise _Unsayable(f"returned a clip of {reply.clip.duration:.0f} s, which is too long")
    failure = reply.failure
    if failure and not all(
        isinstance(x, str) for x in (failure.message, failure.code, failure.type)
    ):
        raise _Unsayable("returned a Failure whose message, code or type is no text")


def _call(call: Any) -> tuple[str, str]:
    """Return a call's name and its arguments as JSON."""
    if not isinstance(call, ToolCall):
        raise _Unsayable(f"returned {type(call).__name__} among its calls; give ToolCall(name, …)")
    if not isinstance(call.name, str) or not call.name:
        raise _Unsayable("returned a ToolCall without a name")
    if isinstance(call.arguments, str):
        return call.name, call.arguments
    try:
        return call.name, json.dumps(dict(call.arguments), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise _Unsayable(f"returned arguments for {call.name!r} that cannot be JSON") from None


def _failed(message: str) -> Rendered:
    return Rendered(failure=Failure(message))
