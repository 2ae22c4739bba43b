"""A voice in the user's process: what crosses the pipe, who is asked, and how it fails."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import io
import logging
import os
import pickle
import queue
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from peer_client import Caller, calling, prompt_clip

from rtnb.audio import Clip
from rtnb.peer import control as c
from rtnb.peer.faults import Faults, Network
from rtnb.peer.handle import Peer
from rtnb.peer.journal import Journal
from rtnb.peer.remote import ParentPipe, RemoteVoice
from rtnb.peer.reply import Failure, Reply, ToolCall, ToolResult, UserTurn
from rtnb.peer.uservoice import UserVoice
from rtnb.peer.voices import Default, Parrot, Script
from rtnb.prompts import sample

SECRET = "sk-secret-of-this-test-0123"
HELLO = UserTurn(number=1, text="hello")

FRAMES = [
    c.Start(key=SECRET, voice=Parrot(), faults=(Faults(seed=3, sent=Network(drop=(1, 2))),)),
    c.Start(voice=Default(), mode="azure", replay="/run", faults_repeat=False),
    c.Start(voice=Script([{"match": {"text": "a"}, "call": {"name": "f"}, "delay": 0.5}])),
    c.Said(1, "text"),
    c.Said(1, [Reply("a", calls=(ToolCall("f", {"x": [1, None]}),)), Failure("no")]),
    c.LogWanted(3),
    c.LogWanted(4, rows=False),
    c.Ready(8177, 42),
    c.Think(7, UserTurn(2, "t", None, "greeting", (ToolResult("f", "call_1", "{}"),), ({"a": 1},))),
    c.Forget(7),
    c.Records("rtc_1", "departures", [(1.5, 1, 960, "resp_1", 0, False)]),
    c.Logged(3, live=2),
]


class Trap:
    """An object whose pickle runs a function when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_arrives_as_it_was_sent(frame):
    """Over a byte stream, one after the other, until it ends."""
    stream = io.BytesIO(c.encode(frame) + c.checked(c.Forget(1)) + b"\0\0")
    assert c.read_frame(stream) == frame
    assert c.read_frame(stream) == c.Forget(1)
    assert c.read_frame(stream) is None


def test_every_frame_is_tried_here():
    """A new frame must be added to the list above."""
    listed = {one for one in vars(c).values() if dataclasses.is_dataclass(one)}
    assert {type(frame) for frame in FRAMES} == listed


def test_a_clip_arrives_whole_and_as_unchangeable_as_it_was():
    """Samples, rate, gaps and role; the players that it has shown stay behind."""
    clip = Clip.tone(440, 0.1)
    clip._repr_html_()
    arrived = c.read_frame(io.BytesIO(c.encode(c.Said(1, [clip])))).answer[0]
    assert arrived == clip and arrived.sample_rate == clip.sample_rate
    assert not arrived.samples.flags.writeable and not arrived._players
    assert len(c.encode(c.Said(1, clip))) < clip.samples.nbytes + 1000


def test_a_bundled_sample_crosses_as_a_clip():
    """It is a clip that also knows its name, which the peer does not need."""
    clip = sample("greeting")
    (found,) = c.decode(c.checked(c.Said(1, [clip]))[4:]).answer
    assert type(found) is Clip and found == clip


def test_nothing_but_known_classes_is_made(tmp_path):
    """Neither a trap, nor a function of a known module, nor something reached through one."""
    trap = tmp_path / "trapped"
    hostile = [
        pickle.dumps(c.Said(1, Trap(trap))),
        b"crtnb.peer.control\nread_frame\n.",
        b"\x80\x04\x8c\x11rtnb.peer.control\x8c\x0cpickle.dumps\x93.",
        b"cbuiltins\neval\n.",
        pickle.dumps("no frame"),
    ]
    for body in hostile:
        with pytest.raises(pickle.UnpicklingError):
            c.decode(body)
    assert not trap.exists()


def test_a_key_is_not_in_the_repr_of_the_first_frame():
    """Whatever shows a frame does not show the key."""
    assert SECRET not in repr(c.Start(key=SECRET))


# --- the user's side -----------------------------------------------------------------------------


@contextlib.contextmanager
def asking(function):
    """Yield the running voice and the queue of its answers; nothing of it is left afterwards."""
    before = set(threading.enumerate())
    answers: queue.Queue = queue.Queue()
    voice = UserVoice(function, lambda thought, answer: answers.put((thought, answer)))
    try:
        yield voice, answers
    finally:
        voice.close()
    assert set(threading.enumerate()) <= before


class Teller:
    def __init__(self, word):
        self.word = word

    def tell(self, turn):
        return f"{self.word} {turn.text}"

    async def __call__(self, turn):
        return f"{self.word} {turn.text}"


async def anon(turn):
    await asyncio.sleep(0)
    return f"so {turn.text}"


def said(word, turn):
    return f"{word} {turn.text}"


@pytest.mark.parametrize(
    "function",
    [
        lambda turn: f"so {turn.text}",
        lambda turn: anon(turn),
        anon,
        Teller("so").tell,
        Teller("so"),
        functools.partial(said, "so"),
    ],
    ids=["lambda", "lambda of async", "async", "method", "async object", "partial"],
)
def test_any_function_is_asked(function):
    """Async or not, however it is made."""
    with asking(function) as (voice, answers):
        voice.think(5, HELLO)
        assert answers.get(timeout=5) == (5, "so hello")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_slow_answer_holds_up_no_other(is_async):
    """The second is there before the first, which goes on."""
    go = threading.Event()

    def slow(turn):
        return turn.text if turn.text == "fast" else go.wait(5)

    async def slow_async(turn):
        while turn.text == "slow" and not go.is_set():
            await asyncio.sleep(0.01)
        return turn.text if turn.text == "fast" else True

    with asking(slow_async if is_async else slow) as (voice, answers):
        voice.think(1, UserTurn(text="slow"))
        voice.think(2, UserTurn(text="fast"))
        assert answers.get(timeout=5) == (2, "fast")
        go.set()
        assert answers.get(timeout=5) == (1, True)


def test_so_many_at_once_are_bounded():
    """Of a hundred at once 32 are thought about, and all are answered."""
    go, at_once, most, lock = threading.Event(), [0], [0], threading.Lock()

    def count(turn):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        go.wait(5)
        with lock:
            at_once[0] -= 1
        return turn.number

    with asking(count) as (voice, answers):
        for number in range(100):
            voice.think(number, UserTurn(number))
        go.set()
        got = [answers.get(timeout=5) for _ in range(100)]
    assert sorted(got) == [(n, n) for n in range(100)] and most[0] <= 32


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_becomes_a_failure_of_one_masked_line(is_async, caplog):
    """The user sees where it was raised; the caller one line, without secrets."""

    def broken(turn):
        raise ValueError(f"no\nluck with {SECRET}")

    async def broken_async(turn):
        broken(turn)

    with asking(broken_async if is_async else broken) as (voice, answers):
        voice.think(1, HELLO)
        _, failure = answers.get(timeout=5)
    assert failure == Failure("The voice failed with ValueError: no luck with •••")
    assert "in broken" in caplog.text and SECRET not in caplog.text


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_ends_threads_and_loops_does_not_end_the_voice(error, is_async, caplog):
    """It fails once, and answers the next turn."""

    def leaving(turn):
        if turn.number:
            raise error
        return "still here"

    async def leaving_async(turn):
        return leaving(turn)

    with asking(leaving_async if is_async else leaving) as (voice, answers):
        voice.think(1, HELLO)
        assert isinstance(answers.get(timeout=5)[1], Failure)
        voice.think(2, UserTurn())
        assert answers.get(timeout=5) == (2, "still here")


def test_what_is_forgotten_is_cancelled_and_not_answered():
    """An async voice is cancelled where it waits; a plain one's answer goes nowhere."""
    begun, go, cancelled = threading.Barrier(2), threading.Event(), threading.Event()

    async def wait(turn):
        if turn.text:
            return "next"
        begun.wait(5)
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    def block(turn):
        begun.wait(5)
        go.wait(5)
        return "late"

    with asking(wait) as (voice, answers):
        voice.think(1, UserTurn())
        begun.wait(5)
        voice.forget(1)
        assert cancelled.wait(5)
        voice.think(2, HELLO)
        assert answers.get(timeout=5) == (2, "next")
    with asking(block) as (voice, answers):
        voice.think(1, HELLO)
        begun.wait(5)
        voice.forget(1)
        go.set()
    assert answers.empty()


def test_closing_waits_for_no_voice_that_hangs():
    """It is bounded, and a thought that comes later is dropped."""
    go = threading.Event()
    voice = UserVoice(lambda turn: go.wait(20), lambda *_: None)
    voice.think(1, HELLO)
    closing = time.monotonic()
    voice.close()
    assert time.monotonic() - closing < 2
    voice.think(2, HELLO)
    go.set()


# --- the peer's side -----------------------------------------------------------------------------


def test_a_remote_voice_asks_and_is_answered():
    """Each answer finds its question; one that nobody waits for is dropped."""

    async def talk():
        sent = []
        voice = RemoteVoice(sent.append)
        first, second = (asyncio.ensure_future(voice(HELLO)) for _ in range(2))
        await asyncio.sleep(0)
        assert sent == [c.Think(1, HELLO), c.Think(2, HELLO)]
        voice.said(c.Said(2, "b"))
        voice.said(c.Said(1, "a"))
        voice.said(c.Said(1, "again"))
        assert (await first, await second) == ("a", "b")

    asyncio.run(talk())


def test_a_remote_voice_says_what_is_not_needed_any_more():
    """A cancelled response is told to the user's process."""

    async def talk():
        sent = []
        asked = asyncio.ensure_future(RemoteVoice(sent.append)(HELLO))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert sent[1:] == [c.Forget(1)]

    asyncio.run(talk())


def test_a_remote_voice_whose_process_has_gone_fails():
    """What is open and what is asked later."""

    async def talk():
        voice = RemoteVoice(lambda frame: None)
        asked = asyncio.ensure_future(voice(HELLO))
        await asyncio.sleep(0)
        voice.gone()
        for failure in (await asked, await voice(HELLO)):
            assert isinstance(failure, Failure) and "has gone" in failure.message

    asyncio.run(talk())


def test_a_journal_is_sent_once_and_in_small_parts():
    """Only what is new each time; a call without packets is one, too."""
    journal = Journal()
    rows = [(float(i), i, 960 * i, None, -1, False) for i in range(4500)]
    for row in rows:
        journal.of("rtc_1").departures.append(row)
    journal.of("rtc_2")
    sink = io.BytesIO()
    sink.close = lambda: None
    pipe = ParentPipe(io.BytesIO(), sink)

    async def send():
        pipe.start(lambda frame: None, lambda: None)
        pipe.send_journal(journal, 1, live=2)
        journal.of("rtc_1").departures.append(rows[0])
        pipe.finish(journal)

    asyncio.run(send())
    sink.seek(0)
    frames = list(iter(lambda: c.read_frame(sink), None))
    at = frames.index(c.Logged(1, 2))
    first = [f for f in frames[:at] if f.kind == "departures"]
    assert [row for f in first for row in f.rows] == rows and len(first) == 5
    assert {f.call_id for f in frames[:at]} == {"rtc_1", "rtc_2"}
    later = [f for f in frames[at + 1 :] if getattr(f, "rows", True)]
    assert later == [c.Records("rtc_1", "departures", rows[:1]), c.Logged(0)]


# --- together ------------------------------------------------------------------------------------


class Asked:
    """The voice of this module's peer: what a test sets is called for each turn."""

    def __init__(self):
        self.voice = Default()
        self.turns = []

    def __call__(self, turn):
        self.turns.append(turn)
        return self.voice(turn)


@pytest.fixture(scope="module")
def asked():
    """A peer whose voice lives here, and that voice."""
    voice = Asked()
    with Peer(voice=voice) as one:
        voice.peer = one
        yield voice


def send_text(caller: Caller, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    caller.send("conversation.item.create", item=item)
    caller.send("response.create", response={"output_modalities": ["text"]})


async def answer_to(caller: Caller, text: str):
    send_text(caller, text)
    return (await caller.until("response.done"))["response"]


def words_of(response) -> str:
    return response["output"][0]["content"][0]["text"]


def test_a_function_of_this_process_answers_a_call(asked):
    """A closure knows what only this process knows."""
    here = os.getpid()

    async def talk():
        asked.voice = lambda turn: f"{turn.text}: {here} {os.getpid()}"
        async with calling(asked.peer.url) as caller:
            assert words_of(await answer_to(caller, "pid")) == f"pid: {here} {here}"

    asyncio.run(talk())


def test_a_function_is_given_the_audio(asked):
    """What the user said, as the peer heard it; the sample is recognised."""

    async def talk():
        asked.turns.clear()
        asked.voice = lambda turn: None
        async with calling(asked.peer.url) as caller:
            caller.play(prompt_clip("greeting").resample(48_000) + Clip.silence(1.0))
            await caller.until("response.created")
            await caller.until("response.done")

    asyncio.run(talk())
    (turn,) = asked.turns
    assert turn.sample == "greeting" and turn.audio.sample_rate == 48_000
    assert turn.audio.level > -40 and abs(turn.audio.duration - 1.9) < 1.0


def test_what_a_function_raises_fails_its_response_only(asked, caplog):
    """The reason is told to the client in one masked line, and the call goes on."""

    def broken(turn):
        if turn.text == "break":
            raise RuntimeError(f"with {SECRET}")
        return "mended"

    async def talk():
        asked.voice = broken
        async with calling(asked.peer.url) as caller:
            response = await answer_to(caller, "break")
            assert response["status"] == "failed"
            error = response["status_details"]["error"]
            assert "RuntimeError: with •••" in str(error) and SECRET not in str(error)
            assert words_of(await answer_to(caller, "again")) == "mended"

    asyncio.run(talk())


@pytest.mark.parametrize("answer", [object(), Trap(Path("nowhere")), {"a": 1}, 42])
def test_what_is_no_answer_is_said(asked, answer, caplog):
    """Of a class that cannot cross, or one that can and says nothing."""

    async def talk():
        asked.voice = lambda turn: answer
        async with calling(asked.peer.url) as caller:
            response = await answer_to(caller, "break")
            assert response["status"] == "failed"
            assert type(answer).__name__ in str(response["status_details"])

    asyncio.run(talk())


def test_a_slow_call_holds_up_no_other_call(asked):
    """Two calls at once: the one whose answer is awaited does not delay the other."""
    go = threading.Event()

    def voice(turn):
        return "slow" if turn.text == "slow" and go.wait(10) else "fast"

    async def talk():
        asked.voice = voice
        async with calling(asked.peer.url) as one, calling(asked.peer.url) as other:
            send_text(one, "slow")
            await one.until("response.created")
            assert words_of(await answer_to(other, "fast")) == "fast"
            assert "response.done" not in one.types()
            go.set()
            assert words_of((await one.until("response.done"))["response"]) == "slow"

    asyncio.run(talk())


def test_a_cancelled_response_cancels_an_async_voice(asked):
    """`response.cancel` reaches the coroutine that is thinking."""
    begun, cancelled = threading.Event(), threading.Event()

    async def voice(turn):
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def talk():
        asked.voice = voice
        async with calling(asked.peer.url) as caller:
            send_text(caller, "wait")
            assert await asyncio.to_thread(begun.wait, 5)
            caller.send("response.cancel")
            assert (await caller.until("response.done"))["response"]["status"] == "cancelled"
            assert await asyncio.to_thread(cancelled.wait, 5)

    asyncio.run(talk())


@pytest.mark.parametrize("voice", [Parrot(), Default(), Script([{"say": "{text}!"}])], ids=repr)
def test_voices_of_ours_run_in_the_peers_process(voice, monkeypatch):
    """They are sent there whole, and no thread here thinks for them."""
    started = []
    monkeypatch.setattr("rtnb.peer.handle.Link", lambda start, here: started.append((start, here)))
    with contextlib.suppress(AttributeError):
        Peer(voice=voice)
    assert started == [(c.Start(voice=voice, faults_repeat=False), None)]


def test_a_voice_of_ours_that_cannot_be_sent_runs_here(monkeypatch):
    """A subclass, or one that holds an object of the user's."""

    class Shouting(Parrot):
        pass

    script = Script([{"call": {"name": "f"}}])
    object.__setattr__(script._rules[0], "words", re.compile("a"))
    started = []
    monkeypatch.setattr("rtnb.peer.handle.Link", lambda start, here: started.append(here))
    for voice in (Shouting(), script):
        with contextlib.suppress(AttributeError):
            Peer(voice=voice)
        assert started.pop() is voice


def test_a_peer_that_is_closed_while_its_voice_thinks_ends_in_time(caplog):
    """Nothing is left running but what hangs in the user's own function."""
    go, begun = threading.Event(), threading.Event()

    def hang(turn):
        begun.set()
        return str(go.wait(10))

    async def talk(peer):
        async with calling(peer.url) as caller:
            send_text(caller, "wait")
            assert await asyncio.to_thread(begun.wait, 5)
            closing = time.monotonic()
            await asyncio.to_thread(peer.close)
            assert time.monotonic() - closing < 3.5

    with caplog.at_level(logging.WARNING), Peer(voice=hang) as peer:
        asyncio.run(talk(peer))
        go.set()
    assert peer.closed and caplog.text == ""


def test_samples_of_an_answer_are_what_is_heard(asked):
    """A clip that a function returns is played."""

    async def talk():
        asked.voice = lambda turn: Clip.tone(1000, 0.3)
        async with calling(asked.peer.url) as caller:
            content = [{"type": "input_text", "text": "beep"}]
            item = {"type": "message", "role": "user", "content": content}
            caller.send("conversation.item.create", item=item)
            caller.send("response.create")
            await caller.until("output_audio_buffer.stopped")
            return caller.audio().astype(float)

    heard = asyncio.run(talk())
    loud = heard[np.abs(heard) > 300]
    peak = np.argmax(np.abs(np.fft.rfft(heard))) * 48_000 / len(heard)
    assert abs(peak - 1000) < 20 and 0.2 < len(loud) / 48_000 < 0.4
