"""What becomes of a voice's answer: text, sound, calls; and of a voice that goes wrong."""

from __future__ import annotations

import asyncio
import functools
import threading
import time

import numpy as np
import pytest

from rtnb.audio import CALL_SAMPLE_RATE, Clip, to_pcm
from rtnb.peer import repertoire
from rtnb.peer.mouth import Mouth
from rtnb.peer.reply import Failure, Rendered, Reply, ToolCall, UserTurn
from rtnb.peer.speech import Speech
from rtnb.peer.voices import Default, Parrot

PARIS = "The capital of France is Paris."
SOUND = repertoire.saying("capital_of_france").pcm
PAUSE = bytes(2 * CALL_SAMPLE_RATE // 5)
DING = Clip.tone(440, 0.1)
SPEECH = Speech(synthesiser=None)


def rendered(answer, *, spoken=True, turn=None, **how):
    """Return what a mouth makes of an answer, or of a voice."""
    voice = answer if callable(answer) else lambda _: answer
    mouth = Mouth(voice, SPEECH, within=how.pop("within", 5.0))
    return asyncio.run(mouth.render(turn or UserTurn(), spoken=spoken, **how))


def message(answer, **how):
    """Return why it failed; nothing else may have come of it."""
    found = rendered(answer, **how)
    assert found == Rendered(failure=found.failure) and found.failure is not None
    return found.failure.message


@pytest.mark.parametrize(
    ("answer", "text", "pcm"),
    [
        (None, "", b""),
        ("", "", b""),
        ([], "", b""),
        (PARIS, PARIS, SOUND),
        (Reply(PARIS), PARIS, SOUND),
        (DING, "", to_pcm(DING)),
        (Reply("ding", DING), "ding", to_pcm(DING)),
        ([PARIS, DING, None, PARIS], f"{PARIS} {PARIS}", PAUSE.join([SOUND, to_pcm(DING), SOUND])),
        ((PARIS, ToolCall("f")), PARIS, SOUND),
    ],
    ids=["none", "empty", "nothing", "str", "reply", "clip", "both", "list", "tuple"],
)
def test_an_answer_becomes_text_and_sound(answer, text, pcm):
    """Texts joined by a space, sounds by 200 ms."""
    found = rendered(answer)
    assert (found.text, found.pcm, found.failure) == (text, pcm, None)


def test_in_text_mode_there_is_no_sound():
    """The words are the same."""
    found = rendered([PARIS, DING, Reply("ding", DING), ToolCall("f")], spoken=False)
    assert (found.text, found.pcm) == (f"{PARIS} ding", b"")
    assert found.calls == (("f", "{}"),)


def test_calls_are_collected_in_order():
    """Arguments become JSON, and a text is sent as it is."""
    answer = [ToolCall("a", {"city": "Zürich"}), "x", Reply(calls=(ToolCall("b", "{broken"),))]
    assert rendered(answer).calls == (("a", '{"city": "Zürich"}'), ("b", "{broken"))


def test_delays_add_up_and_the_first_failure_counts():
    """What is said before it is kept."""
    answer = [Reply("a", delay=0.5), Failure("one"), Reply(delay=1, failure=Failure("two"))]
    found = rendered(answer)
    assert (found.text, found.delay, found.failure) == ("a", 1.5, Failure("one"))


def test_the_users_audio_is_marked_as_such():
    """So that nothing keeps it: an echo, and a bare clip, which may be one."""
    turn = UserTurn(number=1, audio=DING)
    assert rendered(Parrot(), turn=turn).echo
    assert rendered(lambda turn: turn.audio, turn=turn).echo
    assert rendered(lambda turn: Reply("you said", turn.audio), turn=turn).echo
    assert not rendered(Reply("ding", DING)).echo and not rendered(PARIS).echo


def test_the_default_voice_says_what_it_heard_and_plays_it_back():
    """Unknown audio: the recorded sentence, 200 ms, the audio."""
    tone = Clip.tone(440, 2.0)
    found = rendered(Default(), turn=UserTurn(number=1, audio=tone))
    assert found.text == "I heard two seconds." and found.echo
    assert found.pcm == repertoire.saying("generic_heard_2").pcm + PAUSE + to_pcm(tone)


def test_voice_and_speed_are_for_what_is_spoken():
    """A clip is played as it is."""
    turn = UserTurn(voice="cedar")
    assert rendered(DING, turn=turn, speed=0.5).pcm == to_pcm(DING)
    assert len(rendered(PARIS, turn=turn, speed=0.5).pcm) == pytest.approx(2 * len(SOUND), abs=4)
    assert rendered(PARIS, turn=turn).pcm == SPEECH.speak(PARIS, "cedar") != SOUND


def test_a_clip_of_any_rate_is_resampled():
    """8,000 Hz."""
    assert len(rendered(Clip(np.zeros(800), 8_000)).pcm) == 2 * CALL_SAMPLE_RATE // 10


class Asynchronous:
    async def __call__(self, turn):
        await asyncio.sleep(0)
        return PARIS


async def coroutine(turn, extra=None):
    await asyncio.sleep(0)
    return PARIS


@pytest.mark.parametrize(
    "voice",
    [coroutine, functools.partial(coroutine, extra=1), Asynchronous(), lambda t: coroutine(t)],
    ids=["function", "partial", "object", "lambda"],
)
def test_an_asynchronous_voice_is_awaited(voice):
    """In whatever shape it comes."""
    assert rendered(voice).text == PARIS


def test_a_plain_function_does_not_hold_up_the_loop():
    """It runs in a thread: here it waits for what the loop does meanwhile."""
    go = threading.Event()

    def voice(turn):
        return PARIS if go.wait(5) else "nobody let me go"

    async def run():
        waiting = asyncio.create_task(Mouth(voice, SPEECH).render(UserTurn(), spoken=False))
        await asyncio.sleep(0)
        go.set()
        return await waiting

    assert asyncio.run(run()).text == PARIS


def test_many_voices_think_at_once():
    """No pool's size limits the calls that can wait for a voice."""
    together = threading.Barrier(40, timeout=5)

    def voice(turn):
        together.wait()
        return PARIS

    async def run():
        mouth = Mouth(voice, SPEECH)
        return await asyncio.gather(*(mouth.render(UserTurn(), spoken=False) for _ in range(40)))

    assert {found.text for found in asyncio.run(run())} == {PARIS}


def test_a_response_that_is_cancelled_cancels_its_voice():
    """The cancellation goes through; a late answer of a thread is dropped."""
    seen = []
    go = threading.Event()

    async def run():
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        async def slow(turn):
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        def plain(turn):
            loop.call_soon_threadsafe(begun.set)
            return PARIS if go.wait(5) else None

        for voice in (slow, plain):
            begun.clear()
            task = asyncio.create_task(Mouth(voice, SPEECH).render(UserTurn(), spoken=True))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        go.set()
        for thread in [t for t in threading.enumerate() if t.name == "rtnb-voice"]:
            await asyncio.to_thread(thread.join, 5)
        await asyncio.sleep(0)  # its answer arrives, and nobody waits for it

    asyncio.run(run())
    assert seen == ["cancelled"]


# --- what goes wrong ------------------------------------------------------------------------------


def raising(error):
    def voice(turn):
        raise error

    return voice


def raising_later(error):
    async def voice(turn):
        raise error

    return voice


@pytest.mark.parametrize("make", [raising, raising_later])
@pytest.mark.parametrize(
    "error",
    [ValueError("secret 123"), KeyError("x"), TimeoutError("mine"), SystemExit(3), StopIteration()],
    ids=lambda error: type(error).__name__,
)
def test_a_voice_that_raises_makes_the_response_fail(make, error, caplog):
    """The caller is told the kind; what it said, and where, is in the log."""
    told = message(make(error))
    assert told.startswith("The peer's voice raised ") and "secret" not in told
    assert told.endswith("; the peer's log says where.")
    assert "Traceback" in caplog.text
    assert "secret 123" in caplog.text or not isinstance(error, ValueError)


def test_a_voice_that_cancels_itself_makes_the_response_fail():
    """It is not taken for the end of the response."""
    assert "cancelled from inside" in message(raising_later(asyncio.CancelledError()))


@pytest.mark.parametrize("voice", [lambda turn: time.sleep(0.3), lambda turn: asyncio.sleep(60)])
def test_a_voice_that_takes_too_long_makes_the_response_fail(voice):
    """A thread that hangs is left alone."""
    assert message(voice, within=0.05) == "The peer's voice took longer than 0.05 s."


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (3, "returned int; a str, Clip, ToolCall, Failure, Reply, a list of these or None"),
        ({"text": "x"}, "returned dict"),
        (b"sound", "returned bytes"),
        (["x", ["y"]], "returned list"),
        ((x for x in "ab"), "returned generator"),
        (Reply(3), "a Reply whose text is int"),
        (Reply(clip=b"pcm"), "a Reply whose clip is bytes"),
        (Reply(calls="f"), "a Reply whose calls is str"),
        (Reply(calls=("f",)), "returned str among its calls"),
        (Reply(failure="no"), "a Reply whose failure is str"),
        (Reply(delay="1"), "a Reply whose delay is str"),
        (Reply(delay=-1), "a delay of -1 s; 0 to 3600 can be"),
        (Reply(delay=float("nan")), "a delay of nan s"),
        (Reply(delay=float("inf")), "a delay of inf s"),
        (Failure(500), "a Failure whose message, code or type is no text"),
        (ToolCall(""), "a ToolCall without a name"),
        (ToolCall(None), "a ToolCall without a name"),
        (ToolCall("f", {"x": {1}}), "arguments for 'f' that cannot be JSON"),
        (ToolCall("f", {"x": float("nan")}), "arguments for 'f' that cannot be JSON"),
        (ToolCall("f", 3), "arguments for 'f' that cannot be JSON"),
        ("x" * 5_001, "returned 5001 characters; 5000 can be spoken at once"),
    ],
)
def test_what_cannot_be_said_makes_the_response_fail(answer, told):
    """The sentence says what came, and what can be."""
    assert told in message(answer)


def test_a_long_text_can_be_written():
    """Only what is spoken has a limit."""
    assert rendered("x" * 50_000, spoken=False).text == "x" * 50_000
