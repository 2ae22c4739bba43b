"""Each cause of a missing reply, in a real call with the peer, and named rightly."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from bare_calls import signalling
from test_call_faults import Hurried, answer_and_vanish

import rtnb
from rtnb import turnover
from rtnb.peer import Faults, Network
from rtnb.peer.voices import Failure, Reply, ToolCall, UserTurn
from rtnb.signaling import EphemeralKey

Json = dict[str, Any]
Case = Callable[[rtnb.Session], rtnb.Explanation]

SPEECH = rtnb.sample("greeting")[:0.7]
SOON = {"type": "server_vad", "silence_duration_ms": 200}
SHORT = rtnb.Clip.tone(440, 0.3, level=-6.0)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
DEAF = Network(loss=1.0)
GONE = Network(drop=tuple(range(1, 250)))  # 5 s


def voice(turn: UserTurn) -> Any:
    """Answer what was written by its first word, and all speech with a short tone."""
    answers: dict[str, Any] = {
        "fail": Failure("The model is out of order."),
        "quota": Failure("You are over your limit.", code="rate_limit_exceeded"),
        "silence": Reply("Can you hear me?", clip=rtnb.Clip.silence(0.4)),
        "story": Reply("Once upon a time.", clip=rtnb.Clip.tone(440, 9.0, level=-6.0)),
        "slow": Reply("Just a moment.", clip=SHORT, delay=1.0),
        "tool": ToolCall("weather", {"city": "Rome"}),
    }
    unasked = 0.5 if turn.number == 0 else 0.0
    return answers.get(turn.text.partition(" ")[0], Reply("All right.", clip=SHORT, delay=unasked))


# --- one function a case: what a user does, and what is told of it --------------------------------


def asked(prompt: rtnb.Clip | str) -> Case:
    """Return a case that asks something and waits for what comes of it."""
    return lambda session: session.ask(prompt, timeout=25).explain()


def scaled(level: float) -> rtnb.Clip:
    """Return speech whose peak is at a level in dBFS."""
    gain = 10 ** ((level - SPEECH.peak) / 20)
    return rtnb.Clip(SPEECH.samples * gain, SPEECH.sample_rate)


def overdriven() -> rtnb.Clip:
    """Return a buzz far beyond full scale, as of a microphone that is turned up too much."""
    loud = 8 * rtnb.Clip.tone(180, 0.8, level=0.0).samples
    return rtnb.Clip(np.clip(loud, -1, 1), 48_000)


def turned_off_by_hand(session: rtnb.Session) -> rtnb.Explanation:
    """Turn turn detection off behind rtnb's back, and speak."""
    with session.changed:  # before the server has acknowledged it
        audio = {"input": {"turn_detection": None}}
        change = {"type": "realtime", "audio": audio}
        session.send_event({"type": "session.update", "session": change})
        turn = session.send(SPEECH)
    return turn.wait(25).explain()


def committed_only(session: rtnb.Session) -> rtnb.Explanation:
    """Commit by hand, and ask for no response."""
    with session.changed:
        change = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        session.send_event({"type": "session.update", "session": change})
        turn = session.send(SPEECH)
    with session.changed:
        session._wait(lambda: turn._state.play_ended is not None, 5)
    session.send_event({"type": "input_audio_buffer.commit"})
    return turn.wait(25).explain()


def closed_too_soon(session: rtnb.Session) -> rtnb.Explanation:
    """Hang up when the prompt has been said, as a script does that does not wait."""
    turn = session.send(SPEECH)
    session.events.wait_for("input_audio_buffer.speech_started", timeout=5)
    with session.changed:
        session._wait(lambda: turn._state.play_ended is not None, 5)
    session.close()
    return turn.explain()


def closed_while_speaking(session: rtnb.Session) -> rtnb.Explanation:
    """Hang up in the midst of the prompt."""
    turn = session.send(rtnb.sample("greeting"))
    with session.changed:
        session._wait(lambda: turn._state.play_started is not None, 5)
    session.close()
    return turn.explain()


def interrupted(session: rtnb.Session) -> rtnb.Explanation:
    """Stop a reply that is being heard."""
    turn = session.send("story please").wait_for_audio(0.3)
    session.interrupt()
    return turn.explain()


def interrupted_early(session: rtnb.Session) -> rtnb.Explanation:
    """Stop before there is a response."""
    turn = session.send(rtnb.sample("greeting"))
    session.interrupt()
    return turn.explain()


def spoken_over(session: rtnb.Session) -> rtnb.Explanation:
    """Speak while the reply is heard, so that turn detection cuts it off."""
    turn = session.send("story please").wait_for_audio(0.3)
    second = session.send(SPEECH)
    turn.wait(10)
    second.wait(10)
    return turn.explain()


def still_going(session: rtnb.Session) -> rtnb.Explanation:
    """Look at a turn before anything has come."""
    return session.send(rtnb.sample("greeting")).explain()


def held(session: rtnb.Session) -> rtnb.Explanation:
    """Look at a turn that push-to-talk holds open."""
    with session.push_to_talk() as turn:
        turn.play(SPEECH)
        return turn.explain()


def nothing_to_commit(session: rtnb.Session) -> rtnb.Explanation:
    """Commit what was thrown away before."""
    with session.changed:
        session.send_event({"type": "input_audio_buffer.clear"})
        session.send_event({"type": "input_audio_buffer.commit"})
    session.events.wait_for("error", timeout=5)
    return rtnb.explain(session)


def asked_twice(session: rtnb.Session) -> rtnb.Explanation:
    """Ask for two responses at once by hand."""
    with session.changed:
        for _ in range(2):
            session.send_event({"type": "response.create"})
    session.events.wait_for("error", timeout=5)
    return rtnb.explain(session)


def asked_twice_in_a_turn(session: rtnb.Session) -> rtnb.Explanation:
    """Ask for one more response by hand while a turn has one."""
    turn = session.send("slow please")
    session.events.wait_for("response.created", timeout=5)
    session.send_event({"type": "response.create"})
    session.events.wait_for("error", timeout=5)
    return turn.explain()


def of_the_other_dialect(session: rtnb.Session) -> rtnb.Explanation:
    """Send the flat session of the beta dialect."""
    change = {"type": "realtime", "modalities": ["text"]}
    session.send_event({"type": "session.update", "session": change})
    session.events.wait_for("error", timeout=5)
    return rtnb.explain(session)


def limited(session: rtnb.Session) -> rtnb.Explanation:
    """Let the response have hardly any tokens."""
    session.update({"max_output_tokens": 1})
    return session.ask("story please", timeout=25).explain()


def lost_for_a_while(session: rtnb.Session) -> rtnb.Explanation:
    """Look at a turn when packets come again, so that those of its reply are known to be lost."""
    turn = session.ask("Hello?", timeout=25)
    with session.changed:
        session._wait(lambda: bool(session.audio.gaps()), 20)
    return turn.explain()


def broken(session: rtnb.Session) -> rtnb.Explanation:
    """Ask while the far side hangs up."""
    with pytest.raises(rtnb.CallClosedError):
        session.ask("story please", timeout=25)
    return rtnb.explain(session)


# name, cause, what is done, how the call is set up, what goes wrong in it
CASES: dict[str, tuple[str, Case, Json, Faults]] = {
    "blip": ("too_short", asked(rtnb.Clip.tone(440, 0.06)), {}, Faults()),
    "quiet": ("too_quiet", asked(scaled(-60.0)), {}, Faults()),
    "silent": ("silent_prompt", asked(rtnb.Clip.silence(0.5)), {}, Faults()),
    "overdriven": ("clipped", asked(overdriven()), {}, Faults()),
    "tone": ("not_heard", asked(rtnb.Clip.tone(440, 0.6)), {}, Faults()),
    "deaf": ("not_heard", asked(SPEECH), {}, Faults(received=DEAF)),
    "off": ("no_commit", turned_off_by_hand, {}, Faults()),
    "committed": ("no_request", committed_only, {}, Faults()),
    "no create": (
        "create_response_off",
        asked(SPEECH),
        {"turn_detection": SOON | {"create_response": False}},
        Faults(),
    ),
    "closed": (
        "no_trailing_silence",
        closed_too_soon,
        {"turn_detection": SOON | {"silence_duration_ms": 3_000}},
        Faults(),
    ),
    "cut": ("call_ended", closed_while_speaking, {}, Faults()),
    "text": ("text_only", asked("Hello?"), {"modalities": ["text"]}, Faults()),
    "mute": ("silent_reply", asked("silence please"), {}, Faults()),
    "lost": ("no_packets", asked(SPEECH), {}, Faults(sent=DEAF)),
    "lost for a while": ("packets_lost", lost_for_a_while, {}, Faults(sent=GONE)),
    "failed": ("response_failed", asked("fail please"), {}, Faults()),
    "quota": ("quota", asked("quota please"), {}, Faults()),
    "limited": ("max_output_tokens", limited, {}, Faults()),
    "spoken over": ("turn_detected", spoken_over, {}, Faults()),
    "interrupted": ("interrupted", interrupted, {}, Faults()),
    "interrupted early": ("interrupted", interrupted_early, {}, Faults()),
    "tool": ("tool_unanswered", asked("tool please"), {"tools": [WEATHER]}, Faults()),
    "held": ("held_open", held, {}, Faults()),
    "nothing": ("commit_empty", nothing_to_commit, {"turn_detection": None}, Faults()),
    "twice": ("active_response", asked_twice, {}, Faults()),
    "twice in a turn": ("active_response", asked_twice_in_a_turn, {}, Faults()),
    "beta": ("wrong_dialect", of_the_other_dialect, {}, Faults()),
    "expired": ("session_expired", broken, {}, Faults(expires_after=1.0)),
    "gone": ("call_ended", broken, {}, Faults(hang_up_in_reply=0.3)),
    "going": ("in_progress", still_going, {}, Faults()),
    "answered": ("answered", asked(SPEECH), {}, Faults()),
}


Told = dict[str, "Future[rtnb.Explanation]"]

AT_ONCE = 16  # calls; nine of them wait until nothing has come for so long:
NOTHING = 5.0  # seconds, half of what it is otherwise
# calls are counted: those in which something goes wrong come first, whatever becomes of others
ORDER = sorted(CASES, key=lambda name: CASES[name][3] == Faults())


@pytest.fixture(scope="module")
def peer() -> Iterator[rtnb.Peer]:
    """A peer whose first calls go wrong as the cases want it."""
    with rtnb.Peer(voice=voice, faults=[CASES[name][3] for name in ORDER]) as one:
        yield one


@pytest.fixture(scope="module")
def expiring(peer: rtnb.Peer) -> EphemeralKey:
    """A key that has expired when the cases have waited."""
    return peer.endpoint.mint(expires_after=10)


@pytest.fixture(scope="module")
def told(peer: rtnb.Peer, expiring: EphemeralKey) -> Iterator[Told]:
    """What is told of every case, or what went wrong with it; some wait beside each other."""
    room = threading.Semaphore(AT_ONCE)
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(turnover, "NO_REPLY", NOTHING)
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        futures: Told = {}
        for name in ORDER:
            room.acquire()
            futures[name] = _begun(name, peer, pool)
            futures[name].add_done_callback(lambda _: room.release())
        yield futures


def _begun(name: str, peer: rtnb.Peer, pool: ThreadPoolExecutor) -> Future[rtnb.Explanation]:
    """Return a case that goes on in a call of its own; one that has none fails alone."""
    _, case, setup, _ = CASES[name]
    try:
        session = rtnb.connect(peer, **{"turn_detection": SOON} | setup)
    except rtnb.RtnbError as error:
        failed: Future[rtnb.Explanation] = Future()
        failed.set_exception(error)
        return failed
    return pool.submit(_and_close, case, session)


def _and_close(case: Case, session: rtnb.Session) -> rtnb.Explanation:
    with session:
        return case(session)


@pytest.mark.parametrize("name", CASES)
def test_a_missing_reply_is_named_rightly(name: str, told: Told) -> None:
    """The most decisive cause is the true one."""
    explanation = told[name].result(60)
    assert explanation.cause == CASES[name][0], explanation


def test_figures_are_in_the_words(told: Told) -> None:
    """What was measured of the prompt is said with what to do about it."""
    assert "peak is -60 dBFS" in told["quiet"].result(60).text
    length = re.search(r"(\S+) s of sound", told["blip"].result(60).text)
    assert length
    assert 0.06 <= float(length[1]) <= 0.08  # of its length, or one window of 20 ms more
    assert "waits for 3.00 s of silence" in told["closed"].result(60).text


def test_the_prompt_of_an_answer_is_not_looked_at(told: Told) -> None:
    """What was not measured is not among what was seen."""
    assert not [one for one in told["answered"].result(60).evidence if "prompt" in one]


def test_a_saved_run_tells_the_same(told: Told, peer: rtnb.Peer) -> None:
    """A turn of a run that is opened again has the cause that it had in the call."""
    told["failed"].result(60)
    with rtnb.connect(peer, turn_detection=SOON) as session:
        live = session.ask("fail please").explain()
    assert rtnb.explain(rtnb.open_run(session.folder)) == live


def test_a_server_of_another_dialect_is_told(peer: rtnb.Peer) -> None:
    """Where the server does not know the address, another constructor is named."""
    place = rtnb.Endpoint.azure(peer.url.removesuffix("/v1"), "any-key-will-do", deployment="any")
    with pytest.raises(rtnb.DialectError) as raised:
        rtnb.connect(place)
    assert rtnb.explain(raised.value).cause == "wrong_dialect"


def test_blocked_udp_is_told() -> None:
    """A call whose packets find no way is explained by its error."""
    with signalling(answer_and_vanish) as url, pytest.raises(rtnb.UdpBlockedError) as raised:
        rtnb.connect(url, engine=Hurried())
    explanation = rtnb.explain(raised.value)
    assert explanation.cause == "udp_blocked"
    assert "block UDP" in explanation.text


def test_a_call_without_turns_says_so(told: Told, peer: rtnb.Peer) -> None:
    """Nothing was said, so there is nothing to explain but that."""
    assert len(told) == len(CASES)  # the calls with faults come first
    with rtnb.connect(peer, turn_detection=SOON) as session:
        assert rtnb.explain(session).cause == "no_turn"


def test_an_expired_key_is_told(told: Told, peer: rtnb.Peer, expiring: EphemeralKey) -> None:
    """Connecting with a key whose time is over is explained by its error."""
    assert told  # others have waited meanwhile
    time.sleep(max(float(expiring.expires_at or 0) + 1.0 - time.time(), 0.0))
    with pytest.raises(rtnb.ExpiredKeyError) as raised:
        rtnb.connect(peer, ephemeral_key=expiring)
    explanation = rtnb.explain(raised.value)
    assert explanation.cause == "key_expired"
    assert "mint a new one" in explanation.text
