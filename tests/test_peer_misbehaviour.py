"""Each fault of `rtnb.peer.Faults` and its effect: on lists where it can be, else in a short call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from captured_calls import Captured, Lab, captured, lab
from event_orders import broken_orders
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_client import prompt_clip, prompt_pcm
from simulated_call import SimulatedCall
from test_peer_properties import REPLIES, SAME_EACH_TIME, steps, take_step

import rtnb
from rtnb.media import opus
from rtnb.peer import repertoire
from rtnb.peer.channel import Channel
from rtnb.peer.disturbed import Disturbed
from rtnb.peer.faults import Faults, Network
from rtnb.peer.impairment import Impairment
from rtnb.peer.journal import SILENCE, CallJournal
from rtnb.peer.modes import CallWire
from rtnb.peer.outputs import Forget

FRANCE = "What is the capital of France?"
TEXT = {"output_modalities": ["text"]}
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
CUT = [
    "output_audio_buffer.cleared",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
    "conversation.item.truncated",
]


# --- what can be asked for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *((Network, name, value) for name in ("loss", "late") for value in (-0.1, 1.01, "x", True)),
        *((Network, name, value) for name in ("reordered", "duplicated") for value in (2, None)),
        *((Network, "burst", value) for value in (0, 1.5)),
        *((Network, "late_by", value) for value in (-1, float("nan"), float("inf"))),
        *((Network, "drop", value) for value in ("12", 3, (-1,), (0.5,))),
        *((Faults, "seed", value) for value in (0.5, "x", None)),
        *((Faults, "answer_after", value) for value in (-1, float("inf"), None, "1")),
        *((Faults, "hang_up_in_reply", value) for value in (-1, "soon")),
        *((Faults, name, value) for name in ("mint_status", "call_status") for value in (200, 600)),
        *((Faults, "large_event", value) for value in (-1, 2**40, 1e6)),
        *((Faults, "silent_gaps", value) for value in (1, "yes")),
        *((Faults, "sent", value) for value in (0.1, {"loss": 0.1})),
    ],
)
def test_a_fault_that_cannot_be_is_refused(kind: Any, name: str, value: Any) -> None:
    """With one sentence that names the field, what it may be, and what it was."""
    with pytest.raises(rtnb.ConfigurationError, match=rf"^{kind.__name__}\({name}=…\) is .*, not "):
        kind(**{name: value})


def test_good_values_are_taken_and_good_is_the_default() -> None:
    """Lists of packets become tuples, so that faults stay values."""
    assert Network(drop=[3, 1]).drop == (3, 1)  # type: ignore[arg-type]
    assert Faults().sent.good and not Network(drop=(0,)).good and not Network(late=1).good
    assert Faults(expires_after=0, call_status=503, seed=-1) == Faults(
        expires_after=0, call_status=503, seed=-1
    )


# --- a bad network, on numbers --------------------------------------------------------------------


def through(network: Network, count: int, seed: str = "1") -> list[tuple[int, float]]:
    """Return the packets 0, 1, … that come out as (number, seconds later), in order."""
    impairment: Impairment[int] = Impairment(network, seed)
    out: list[tuple[int, float]] = []
    for number in range(count):
        delivery = impairment.push(number)
        assert not (delivery.dropped and number in delivery.now)
        out += [(one, 0.0) for one in delivery.now] + [(one, d) for d, one in delivery.later]
    return out


def test_a_good_network_does_nothing() -> None:
    """Every packet, once, at once."""
    assert through(Network(), 50) == [(number, 0.0) for number in range(50)]


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1), (0.2, 4), (0.5, 10), (1.0, 3), (0.0, 9)])
def test_packets_are_lost_at_the_rate_and_in_bursts(loss: float, burst: int) -> None:
    """The rate is `loss` whatever the burst, and losses come `burst` at a time."""
    count = 40_000
    got = {number for number, _ in through(Network(loss=loss, burst=burst), count)}
    lost = np.array([number not in got for number in range(count)])
    assert abs(lost.mean() - loss) < 0.02
    if 0 < loss < 1:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]])))
        runs = np.diff(edges)[::2][:-1]
        assert (runs % burst == 0).all() and np.median(runs) == burst


def test_exact_packets_are_dropped() -> None:
    """Those, and no others."""
    got = [number for number, _ in through(Network(drop=(0, 3, 4)), 8)]
    assert got == [1, 2, 5, 6, 7]


def test_packets_come_late_twice_and_in_other_order() -> None:
    """At their rates; whoever changes places does so with the next one."""
    late = through(Network(late=0.3, late_by=0.25), 2_000)
    assert abs(sum(delay == 0.25 for _, delay in late) / 2_000 - 0.3) < 0.04
    twice = [number for number, _ in through(Network(duplicated=0.3), 2_000)]
    assert abs(len(twice) / 2_000 - 1.3) < 0.04 and twice == sorted(twice)
    assert [n for n, _ in through(Network(reordered=1.0), 6)] == [1, 0, 3, 2, 5, 4]


def test_the_same_seed_does_the_same() -> None:
    """And another one something else; the rate of one damage changes nothing about another."""
    bad = Network(loss=0.2, late=0.1, reordered=0.1, duplicated=0.1)
    assert through(bad, 500, "7 sent") == through(bad, 500, "7 sent")
    assert through(bad, 500, "7 sent") != through(bad, 500, "8 sent")
    lossy = {number for number, _ in through(Network(loss=0.2), 500, "7 sent")}
    assert {number for number, _ in through(bad, 499, "7 sent")} >= lossy - {498, 499}


# --- odd events, on lists -------------------------------------------------------------------------


def batch(*types: str) -> list[Any]:
    """Return events of these types, all of one item and one response."""
    ids = {"id": "resp_1"}
    made: list[Any] = []
    for number, kind in enumerate(types):
        event = {"type": kind, "event_id": f"event_{number}", "response_id": "resp_1"}
        about = "response" if kind in ("response.created", "response.done") else "item"
        made.append({**event, about: ids if about == "response" else {"id": "item_1"}})
    return made


def types(commands: list[Any]) -> list[str]:
    """Return the events' types."""
    return [one["type"] for one in commands if isinstance(one, dict)]


def test_good_behaviour_changes_nothing() -> None:
    """The very commands come back."""
    commands = [*batch(*CUT), Forget("resp_1")]
    assert Disturbed(Faults())(commands) == commands


def test_items_change_places() -> None:
    """conversation.item.* comes before response.output_item.added, and after it at the end."""
    other = Disturbed(Faults(other_order=True))
    added = batch("response.output_item.added", "conversation.item.added", "response.x")
    assert types(other(added)) == [added[i]["type"] for i in (1, 0, 2)]
    done = batch("conversation.item.done", "response.output_item.done", "response.done")
    assert types(other(done)) == [done[i]["type"] for i in (1, 0, 2)]


def test_a_cut_comes_in_another_mutual_order() -> None:
    """Never the usual one; what belongs to the response stays in order, and a command in its place."""
    found = set()
    for seed in range(20):
        out = Disturbed(Faults(other_order=True, seed=seed))([*batch(*CUT), Forget("resp_1")])
        found.add(tuple(types(out)))
        assert Forget("resp_1") in out
    usual = tuple(one for one in CUT if one != "rate_limits.updated")
    assert len(found) > 2 and usual not in found
    rest = ["response.output_item.done", "response.done"]
    assert all([t for t in order if t in rest] == rest for order in found)


def test_transcription_waits_for_the_response() -> None:
    """It comes after response.done; without a response it comes at once."""
    other = Disturbed(Faults(other_order=True))
    deltas = batch(f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed")
    assert types(other(deltas)) == types(deltas)
    other(batch("response.created"))
    assert other(deltas) == []
    assert types(other(batch("response.done")))[-2:] == types(deltas)
    assert types(other(deltas)) == types(deltas)


@pytest.mark.parametrize(
    ("faults", "early", "late"),
    [
        (Faults(other_order=True), 1, 0),
        (Faults(duplicate_rate_limits=True), 1, 1),
        (Faults(other_order=True, duplicate_rate_limits=True), 1, 1),
    ],
)
def test_rate_limits_come_early_or_twice(faults: Faults, early: int, late: int) -> None:
    """With the response's beginning; each with an id of its own."""
    disturbed = Disturbed(faults)
    first = disturbed(batch("response.created"))
    last = disturbed(batch("response.done", "rate_limits.updated"))
    assert types(first).count("rate_limits.updated") == early
    assert types(last).count("rate_limits.updated") == late
    assert len({one["event_id"] for one in first + last}) >= 2


def test_unknown_fields_are_added_everywhere_but_in_what_users_gave() -> None:
    """In the event, in objects and in lists of objects; the event itself is not changed."""
    event = {
        "type": "session.updated",
        "session": {"tools": [{"parameters": {"a": 1}}], "audio": {"input": {}}, "x": [{}, 1]},
        "metadata": {"mine": "x"},
    }
    before = repr(event)
    (out,) = Disturbed(Faults(unknown_fields=True))([event])
    assert repr(event) == before and isinstance(out, dict)
    inside = out["session"]
    for place in (out, inside, inside["audio"], inside["audio"]["input"], inside["x"][0]):
        assert "rtnb_unknown" in place
    assert inside["tools"] == [{"parameters": {"a": 1}}] and out["metadata"] == {"mine": "x"}


def test_unknown_events_come_between() -> None:
    """Among others, never first, and the same ones for the same seed."""
    once, again, other = (
        types(Disturbed(Faults(unknown_events=True, seed=seed))(batch(*["a"] * 100)))
        for seed in (1, 1, 2)
    )
    assert once == again != other and once[0] == "a"
    assert 110 < len(once) < 145 and {t for t in once if t != "a"} > {"rtnb.unknown.ping"}


@settings(SAME_EACH_TIME, max_examples=60)
@given(
    steps,
    st.lists(st.integers(0, len(REPLIES) - 1), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.7]),
    st.integers(0, 9),
)
def test_no_legal_sequence_makes_the_other_orders_illegal(
    plan: list[Any], replies: list[int], thinking: float, seed: int
) -> None:
    """Whatever is said, written, asked or cancelled when."""
    numbers = cycle(replies)
    faults = Faults(other_order=True, seed=seed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SimulatedCall, "disturbance", lambda _: Disturbed(faults))
        call = SimulatedCall(lambda _: REPLIES[next(numbers)], thinking=thinking)
    for what, value in plan:
        take_step(call, what, value)
    call.input(turn_detection=None)
    call.drain()
    assert call.problems(over=False) == []


# --- in calls -------------------------------------------------------------------------------------


def calling(
    faults: Faults,
    test: Callable[[Captured, Lab], Awaitable[None]],
    *,
    session: dict[str, Any] | None = None,
    largest: int = 262_144,
) -> None:
    """Run a test in a call that goes wrong."""

    async def main() -> None:
        async with (
            lab(faults) as peer,
            captured(peer.url, session=session, largest=largest) as caller,
        ):
            async with asyncio.timeout(15):
                await test(caller, peer)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    while not condition():
        await asyncio.sleep(0.01)


Act = Callable[[Captured, Lab], Coroutine[Any, Any, None]]

_together: dict[str, tuple[Faults, Act, dict[str, Any]]] = {}


def together(faults: Faults, **how: Any) -> Callable[[Act], Callable[[Outcomes], None]]:
    """Make a test of what happens in a call that goes wrong; all such calls go on at once."""

    def made(act: Act) -> Callable[[Outcomes], None]:
        _together[act.__name__] = (faults, act, how)

        def test(outcomes: Outcomes) -> None:
            failure = outcomes[act.__name__]
            if failure is not None:
                raise failure

        test.__name__, test.__doc__ = act.__name__, act.__doc__
        return test

    return made


Outcomes = dict[str, BaseException | None]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """What each call of `together` raised: one after the other begins, and none waits for another."""

    async def main() -> Outcomes:
        calls = [asyncio.ensure_future(placed(*one)) for one in _together.values()]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        return dict(zip(_together, ended, strict=True))

    return asyncio.run(main())


async def placed(faults: Faults, act: Act, how: dict[str, Any]) -> None:
    """Let one thing happen in a call that goes wrong, to a peer of its own."""
    async with lab(faults) as peer, captured(peer.url, **how) as caller, asyncio.timeout(15):
        await act(caller, peer)


DAMAGED = Network(loss=0.2, burst=2, drop=(0, 5), reordered=0.1, duplicated=0.1, late=0.1)


@together(Faults(sent=DAMAGED, seed=3))
async def test_packets_to_the_caller_are_damaged_as_the_journal_says(
    caller: Captured, peer: Lab
) -> None:
    """Dropped ones never come, and they are those of the seed."""
    await until(lambda: len(caller.packets) > 60)
    rows = list(peer.record(caller).departures)
    gone = {row[1] for row in rows if row[5]}
    got = caller.sequences()
    assert not gone & set(got)
    left = [row[1] for row in rows if not row[5]]
    assert len(set(left)) < len(left)  # the caller's SRTP takes each number once
    assert got == list(dict.fromkeys(left))[: len(got)]
    steps = np.diff(got)
    assert steps[steps > -(2**15)].min() < 0  # not only where the numbers begin again
    first = next(iter(row[1] for row in rows))
    numbers = {(number - first) % 2**16 for number in gone}
    wanted = {number for number, _ in through(DAMAGED, 61, "3 sent")}
    assert {number for number in numbers if number < 50} == set(range(50)) - wanted
    assert {0, 5} <= numbers


RECEIVED = Network(loss=0.3, burst=3, drop=(1,))


@together(Faults(received=RECEIVED, seed=5))
async def test_packets_from_the_caller_are_damaged_as_the_journal_says(
    caller: Captured, peer: Lab
) -> None:
    """It tells which were dropped: those of the seed."""
    await until(lambda: len(peer.record(caller).arrivals) > 60)
    flags = [row[3] for row in peer.record(caller).arrivals][:60]
    wanted = {number for number, _ in through(RECEIVED, 61, "5 received")}
    assert [number not in wanted for number in range(60)] == flags


@together(Faults(received=Network(loss=1.0)))
async def test_with_every_packet_gone_nobody_is_heard(caller: Captured, peer: Lab) -> None:
    """They are damaged before they are heard."""
    await caller.play(prompt_clip("greeting")).ended
    assert all(row[3] for row in peer.record(caller).arrivals)
    assert caller.types() == ["session.created"]


BAD = Network(loss=0.02, late=0.05, late_by=0.03, reordered=0.1, duplicated=0.1)


@together(Faults(received=BAD, sent=BAD))
async def test_a_prompt_is_understood_through_a_bad_network(caller: Captured, _peer: Lab) -> None:
    """Late, doubled and swapped packets are put in order again; a few losses do no harm."""
    caller.play(prompt_pcm("greeting").tobytes())  # type: ignore[arg-type]
    answer = await caller.until("response.output_audio_transcript.done")
    assert answer["transcript"].startswith("Hello!")


@together(Faults(silent_gaps=True))
async def test_silent_gaps(caller: Captured, peer: Lab) -> None:
    """No packet while nothing is said; sequence numbers go on by one and timestamps by the clock."""
    await caller.until("session.created")
    await asyncio.sleep(0.3)
    assert caller.packets == []
    for _ in range(2):
        caller.say(FRANCE)
        await caller.until("output_audio_buffer.started")
        await asyncio.sleep(0.2)
        caller.send("output_audio_buffer.clear")
        await caller.until("output_audio_buffer.cleared")
        await asyncio.sleep(0.3)
    rows = list(peer.record(caller).departures)
    assert all(row[4] != SILENCE for row in rows)
    assert set(np.diff([row[1] for row in rows]) % 2**16) == {1}
    steps = np.diff([row[2] for row in rows]) % 2**32
    (gap,) = steps[steps != opus.FRAME]
    index = int(np.argmax(steps))
    assert gap > 0.25 * 48_000
    assert abs(gap / 48_000 - (rows[index + 1][0] - rows[index][0])) < 0.2


@together(Faults(audio_dies_after=0.3))
async def test_audio_dies(caller: Captured, peer: Lab) -> None:
    """No packet comes any more, and the events go on."""
    await caller.until("session.created")
    await until(lambda: any(row[5] for row in peer.record(caller).departures))
    await asyncio.sleep(0.05)
    count = len(caller.packets)
    caller.say(FRANCE)
    await caller.until("output_audio_buffer.stopped")
    assert count > 5 and len(caller.packets) == count


@together(Faults(channel_dies_after=0.3))
async def test_the_channel_dies(caller: Captured, _peer: Lab) -> None:
    """It is closed at the caller; the audio goes on."""
    closed = asyncio.Event()
    caller.channel.on("close", closed.set)
    await caller.until("session.created")
    await closed.wait()
    count = len(caller.packets)
    await until(lambda: len(caller.packets) > count + 15)
    assert caller.pc.connectionState == "connected"


@together(Faults(hang_up_in_reply=0.5))
async def test_it_hangs_up_in_the_reply(caller: Captured, peer: Lab) -> None:
    """After so much of its sound, which is all that has left of it."""
    await caller.until("session.created")
    caller.say(FRANCE)
    await until(lambda: peer.signaling.calls == {})
    positions = [row[4] for row in peer.record(caller).departures if row[4] != SILENCE]
    assert abs(positions[-1] / 48_000 - 0.5) < 0.1
    await until(lambda: caller.pc.connectionState == "closed")


@together(Faults(expires_after=0.5))
async def test_the_session_expires_early(caller: Captured, peer: Lab) -> None:
    """An error event, and the call is over."""
    assert (await caller.until("error"))["error"]["code"] == "session_expired"
    await until(lambda: peer.signaling.calls == {})


@together(Faults(created_after=0.4))
async def test_the_greeting_is_late(caller: Captured, _peer: Lab) -> None:
    """session.created is still the first event: what was asked before waits for it."""
    opened = asyncio.Event()
    caller.channel.on("open", opened.set)
    if caller.channel.readyState != "open":
        await opened.wait()
    began = asyncio.get_running_loop().time()
    caller.send("session.update", session={"type": "realtime", "instructions": "x"})
    await caller.until("session.updated")
    assert caller.types() == ["session.created", "session.updated"]
    assert caller.times[0] - began > 0.35


@together(Faults(large_event=1_000_000), largest=2_000_000)
async def test_a_large_event(caller: Captured, _peer: Lab) -> None:
    """One megabyte comes in one piece to whoever announces that it takes it."""
    large = await caller.until("rtnb.large")
    assert len(large["filler"]) > 999_000
    assert caller.types() == ["session.created", "rtnb.large"]


def test_a_large_event_is_not_forced_on_anybody(caplog: pytest.LogCaptureFixture) -> None:
    """To a caller that takes less it is not sent, which the log says; the call goes on."""

    async def test(caller: Captured, _peer: Lab) -> None:
        caller_says = caller.until("session.created")
        await caller_says
        caller.say(FRANCE, **TEXT)
        await caller.until("response.done")
        assert "rtnb.large" not in caller.types() and "error" not in caller.types()

    calling(Faults(large_event=300_000), test)
    assert "rtnb.large is too large for the caller" in caplog.text


async def odd_and_legal(caller: Captured, faults: Faults) -> None:
    """Interrupt a spoken turn: all rules of order and ids hold, and it is odd all right."""
    await caller.until("session.created")
    caller.play(prompt_clip("greeting"))
    await caller.until("output_audio_buffer.started")
    await asyncio.sleep(0.1)
    caller.send("output_audio_buffer.clear")
    await caller.until("response.done")
    await until(lambda: f"{TRANSCRIPTION}.completed" in caller.types())
    await until(lambda: "conversation.item.truncated" in caller.types())
    await asyncio.sleep(0.1)
    known = [one for one in caller.log if not one[1]["type"].startswith("rtnb.")]
    assert broken_orders(known) == []
    kinds = caller.types()
    created = kinds.index("response.created")
    if faults.other_order:
        assert kinds[created + 1] == "rate_limits.updated"
        added = kinds.index("response.output_item.added")
        assert kinds[added - 1] == "conversation.item.added"
    count = 2 if faults.duplicate_rate_limits else 1
    assert kinds.count("rate_limits.updated") == count
    if faults.unknown_events:
        assert any(kind.startswith("rtnb.unknown.") for kind in kinds)
        done = next(e for e in caller.events if e["type"] == "response.done")
        assert "rtnb_unknown" in done["response"]["usage"]


OTHER = Faults(other_order=True, seed=1)
TWICE = Faults(other_order=True, seed=2, duplicate_rate_limits=True)
UNKNOWN = Faults(unknown_events=True, unknown_fields=True)


@together(OTHER, session=TRANSCRIBED)
async def test_events_in_other_orders_are_legal(caller: Captured, _peer: Lab) -> None:
    """By the rules that any server's events are judged by."""
    await odd_and_legal(caller, OTHER)


@together(TWICE, session=TRANSCRIBED)
async def test_rate_limits_twice_are_legal(caller: Captured, _peer: Lab) -> None:
    """Beside other orders."""
    await odd_and_legal(caller, TWICE)


@together(UNKNOWN, session=TRANSCRIBED)
async def test_unknown_events_and_fields_are_legal(caller: Captured, _peer: Lab) -> None:
    """Without those that nobody knows, it is an ordinary turn."""
    await odd_and_legal(caller, UNKNOWN)


@together(Faults(reply_after=0.6, transcribed_after=0.3), session=TRANSCRIBED)
async def test_the_answer_and_the_transcription_are_late(caller: Captured, peer: Lab) -> None:
    """Each by its own delay, counted from the end of speech."""
    caller.play(prompt_clip("greeting"))
    await caller.until("output_audio_buffer.started")
    time = {row[2]: row[0] for row in peer.record(caller).events}
    stopped = time["input_audio_buffer.speech_stopped"]
    done = time[f"{TRANSCRIPTION}.completed"] - stopped
    started = time["output_audio_buffer.started"] - stopped
    assert 0.35 < done < started
    assert 0.58 < started < 2


@together(Faults(transcription_fails=True), session=TRANSCRIBED)
async def test_transcription_fails(caller: Captured, _peer: Lab) -> None:
    """The answer comes all the same."""
    caller.play(prompt_clip("greeting"))
    failed = await caller.until(f"{TRANSCRIPTION}.failed")
    assert failed["error"]["message"]
    await until(lambda: "response.done" in caller.types())


def test_calls_go_wrong_in_turn() -> None:
    """The second call has the second one's faults; a call's own fault is nobody else's."""

    async def main() -> None:
        async with lab(Faults(), Faults(silent_gaps=True)) as peer:
            async with captured(peer.url) as good, captured(peer.url) as gaps:
                await good.until("session.created")
                await gaps.until("session.created")
                await until(lambda: len(good.packets) > 10)
                assert gaps.packets == []

    asyncio.run(main())


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["peer", "caller", "hang-up", "vanished"])
def test_nothing_is_left_when_a_call_ends(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it ends, in the middle of a reply with late packets: no task, thread or call, soon."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.1)  # else a vanished caller takes 30 s
    late = Network(late=0.5, late_by=5.0)

    threads = set(threading.enumerate())

    async def main() -> None:
        before = asyncio.all_tasks()
        async with contextlib.AsyncExitStack() as ends, asyncio.timeout(10):
            serving = contextlib.AsyncExitStack()
            peer = await serving.enter_async_context(lab(Faults(sent=late, received=late)))
            caller = await ends.enter_async_context(captured(peer.url))
            ends.push_async_callback(serving.aclose)
            await caller.until("session.created")
            caller.say("Tell me a long story.")
            await caller.until("output_audio_buffer.started")
            (call,) = peer.signaling.calls.values()
            if end == "caller":
                await caller.pc.close()
            elif end == "hang-up":
                await call.close()
            elif end == "peer":
                await serving.aclose()
                await until(lambda: caller.pc.connectionState == "closed")
            else:
                vanish(caller)
            await until(lambda: peer.signaling.calls == {})
        async with asyncio.timeout(5):
            await until(lambda: asyncio.all_tasks() <= before)

    asyncio.run(main())
    assert set(threading.enumerate()) <= threads


def vanish(caller: Captured) -> None:
    """Close a caller's sockets under it, as when its process is killed."""
    connection = caller.sender.transport.transport._connection
    for protocol in connection._protocols:
        protocol.transport.abort()


def test_our_own_client_comes_to_an_end_with_each_end() -> None:
    """A turn that is broken off is incomplete and says why; one without sound is silent."""
    faults = [
        Faults(hang_up_in_reply=0.2),
        Faults(channel_dies_after=2.5),
        Faults(audio_dies_after=0.2),
    ]

    def asked(session: rtnb.Session) -> rtnb.Turn:
        with session:
            with contextlib.suppress(rtnb.CallClosedError):
                session.ask(rtnb.sample("greeting"))
            (turn,) = session.turns
            return turn

    with rtnb.Peer(faults=faults) as peer, ThreadPoolExecutor() as pool:
        hung_up, cut_off, silent = pool.map(asked, [rtnb.connect(peer) for _ in faults])
    for turn in (hung_up, cut_off):
        assert turn.status == "incomplete" and "It closed the data channel." in str(turn)
    assert silent.status == "completed" and silent.reply.duration == 0


def test_a_caller_that_reads_nothing_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it leaves unread fills no memory."""
    monkeypatch.setattr("rtnb.peer.channel._UNREAD", 100_000)
    caplog.set_level("INFO")

    async def test(_caller: Captured, peer: Lab) -> None:
        await until(lambda: peer.signaling.calls == {})

    calling(Faults(large_event=200_000), test)
    assert "does not read its events" in caplog.text


def test_events_before_the_channel_is_open_are_kept_within_bounds() -> None:
    """In order, and no more than some: a sideband may speak before."""
    sent: list[str] = []
    open_one: Any = SimpleNamespace(readyState="open", bufferedAmount=0, send=sent.append)
    for size, count, kept in ((10, 1_100, 1_000), (1_000_000, 20, 7)):
        channel = Channel(CallWire(), CallJournal("rtc_1"))
        for number in range(count):
            assert channel.send({"type": "x", "number": number, "filler": "." * size})
        channel.add(open_one)
        channel.release()
        assert [json.loads(text)["number"] for text in sent] == list(range(kept))
        sent.clear()


def test_the_story_of_a_reply_is_heard_though_its_clip_was_never_encoded() -> None:
    """The first sound of a long clip leaves with the next packet: it is encoded on the way."""
    opus.encoding_of.cache_clear()

    async def test(caller: Captured, peer: Lab) -> None:
        await caller.until("session.created")
        caller.say("Tell me a long story.")
        await caller.until("output_audio_buffer.started")
        record = peer.record(caller)
        time = {row[2]: row[0] for row in record.events}
        first = next(row[0] for row in record.departures if row[4] == 0)
        assert first - time["response.output_item.added"] < 0.08
        encoding = opus.encoding_of(repertoire.saying("tell_me_a_story").pcm)
        assert len(encoding._packets) < 200

    calling(Faults(), test)
