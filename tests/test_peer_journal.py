"""What a peer writes down of a call: every packet with the audio it carries, and every event."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bare_calls import lag
from captured_calls import Captured, captured, lab

from rtnb.media import aiortc_hooks, opus
from rtnb.peer import repertoire
from rtnb.peer.faults import Faults
from rtnb.peer.journal import SILENCE, CallJournal, Journal, Rows
from rtnb.peer.outgoing import Outgoing

FRAME = opus.FRAME
SAID = np.frombuffer(repertoire.saying("capital_of_france").pcm, np.int16)


class Kept:
    """One call, from both ends."""

    caller: Captured
    record: CallJournal
    left: list[tuple[float, int]]


@pytest.fixture(scope="module")
def kept() -> Kept:
    """A call with one reply, and silence before and after it."""

    async def call() -> Kept:
        kept = Kept()
        kept.left = []
        async with lab() as peer, captured(peer.url) as caller:
            aiortc_hooks.watch_sender(
                caller.sender, lambda packet: kept.left.append((packet.time, packet.sequence))
            )
            await caller.until("session.created")
            caller.say("What is the capital of France?")
            await caller.until("output_audio_buffer.stopped")
            await asyncio.sleep(0.2)
            kept.caller, kept.record = caller, peer.record(caller)
        return kept

    return asyncio.run(call())


def reply_of(kept: Kept) -> list[tuple[Any, ...]]:
    """Return the departures that carry the reply."""
    return [row for row in kept.record.departures if row[4] != SILENCE]


def test_packets_leave_every_20_ms(kept: Kept) -> None:
    """From the beginning, silence and speech alike: the median distance is exact to 1 ms."""
    times, _, timestamps = (
        np.array(x) for x in list(zip(*kept.record.departures, strict=True))[:3]
    )
    assert abs(np.median(np.diff(times)) - 0.020) < 0.001
    assert set(np.diff(timestamps) % 2**32 % FRAME) == {0}
    assert len(times) > len(SAID) / FRAME + 10


def test_the_packets_of_a_reply_carry_it_in_order(kept: Kept) -> None:
    """Positions 0, 960, …, one response's id, no number left out."""
    rows = reply_of(kept)
    positions = [row[4] for row in rows]
    assert positions == list(range(0, len(rows) * FRAME, FRAME))
    assert 0 <= len(rows) * FRAME - len(SAID) - opus.LOOK_AHEAD < FRAME
    created = next(e for e in kept.caller.events if e["type"] == "response.created")
    assert {row[3] for row in rows} == {created["response"]["id"]}
    assert set(np.diff([row[1] for row in rows]) % 2**16) == {1}
    assert {row[3] for row in kept.record.departures} - {created["response"]["id"]} == {None}


def test_what_the_caller_got_is_what_was_written_down(kept: Kept) -> None:
    """Packet by packet the payload is the clip's, and the sound is the clip at its position."""
    clip = opus.encode(SAID.tobytes())
    both = zip(kept.caller.packets, kept.caller.heard, strict=True)
    got = {packet.sequence: (packet.payload, samples) for packet, (_, samples) in both}
    rows = [row for row in reply_of(kept) if row[1] in got]
    assert len(rows) == len(reply_of(kept))
    assert [got[row[1]][0] for row in rows] == [clip[row[4] // FRAME] for row in rows]
    heard = np.concatenate([got[row[1]][1] for row in rows])
    assert abs(lag(SAID, heard, 24_000) - opus.LOOK_AHEAD) < 10


def test_arrivals_are_what_the_caller_sent(kept: Kept) -> None:
    """Each packet once, a little after it left."""
    left = {sequence: time for time, sequence in kept.left}
    rows = [row for row in kept.record.arrivals if row[1] in left]
    assert len(rows) >= len(left) - 1 > 100
    assert len({row[1] for row in rows}) == len(rows)
    delays = [row[0] - left[row[1]] for row in rows]
    assert -0.001 < np.median(delays) < 0.010
    assert not any(row[3] for row in rows)


def test_events_are_written_down_as_they_cross(kept: Kept) -> None:
    """The types of both directions in order, with ids and times."""
    rows = list(kept.record.events)
    sent = [row[2] for row in rows if row[1] == "sent"]
    assert sent[: len(kept.caller.types())] == kept.caller.types()
    received = [row[2] for row in rows if row[1] == "received"]
    assert received == ["conversation.item.create", "response.create"]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    ids = {row[3] for row in rows if row[2].startswith("output_audio_buffer")}
    assert len(ids) == 1 and ids.pop().startswith("resp_")


def test_started_and_stopped_are_in_step_with_the_packets(kept: Kept) -> None:
    """Started comes between the first packet and the next, stopped within a packet of the last.

    In packets of 20 ms, so that a machine that stalls for a moment stalls both.
    """
    rows = list(kept.record.departures)
    places = [index for index, row in enumerate(rows) if row[4] != SILENCE]
    time = {row[2]: row[0] for row in kept.record.events}
    started, stopped = (time[f"output_audio_buffer.{x}"] for x in ("started", "stopped"))
    assert rows[places[0]][0] <= started <= rows[places[1]][0]
    assert rows[places[-1]][0] <= stopped <= rows[places[-1] + 2][0]


# --- its bounds -----------------------------------------------------------------------------------


def test_rows_read_like_a_list() -> None:
    """Texts, None and numbers come back, and slices work as they do."""
    rows = Rows("dqqsq?")
    wanted = [
        (i / 7, i, 2**32 - i, None if i % 2 else f"resp_{i % 4}", -1, i > 3) for i in range(9)
    ]
    for row in wanted:
        rows.append(row)
    assert list(rows) == wanted and len(rows) == 9
    assert rows[3:5] == wanted[3:5] and rows[7:] == wanted[7:] and rows[9:] == []


def test_what_is_beyond_the_limit_is_counted() -> None:
    """A call that never ends fills no memory."""
    rows = Rows("dqq?", limit=3)
    for number in range(5):
        rows.append((0.0, number, 0, False))
    assert [row[1] for row in rows] == [0, 1, 2] and rows.beyond == 2


def test_a_record_takes_few_bytes() -> None:
    """Two hours of a call are a few megabytes, not a hundred."""
    rows = Rows("dqqsq?")
    for number in range(1_000):
        rows.append((0.0, number, 0, "resp_1", 0, False))
    assert len(rows._data) / 1_000 < 40


def test_the_oldest_calls_are_forgotten() -> None:
    """A peer that runs for weeks keeps the last ones."""
    journal = Journal(limit=7_000)
    for number in range(6):
        journal.of(f"rtc_{number}").arrivals.append((0.0, 0, 0, False))
    assert [call["call_id"] for call in journal.exported()][-1] == "rtc_5"
    assert 0 < journal.forgotten < 6
    assert len(journal.exported()) == 6 - journal.forgotten


def test_a_long_type_is_cut() -> None:
    """A client may send any text as a type."""
    record = CallJournal("rtc_1")
    record.event("received", {"type": "x" * 10_000, "item_id": "y" * 10_000})
    ((_, direction, kind, about),) = list(record.events)
    assert (direction, len(kind), len(about)) == ("received", 80, 80)


def test_a_packet_that_is_sent_again_shifts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller may ask for a lost one: it goes out again, and the next one keeps its own sound."""
    record = CallJournal("rtc_1")
    outgoing = Outgoing(record, Faults(), print)
    carried: list[Any] = []
    monkeypatch.setattr(
        aiortc_hooks, "intercept_sender", lambda _, carry: carried.append(carry) or True
    )
    outgoing.watch(SimpleNamespace())  # type: ignore[arg-type]
    sent: list[int] = []

    async def packet(sequence: int) -> None:
        async def send() -> None:
            sent.append(sequence)

        await carried[0](aiortc_hooks.RtpDeparture(sequence, 0, 60, 0.0), send)

    async def main() -> None:
        outgoing.note(None, SILENCE)
        await packet(65_535)
        outgoing.note(SimpleNamespace(name="resp_1"), 0)  # type: ignore[arg-type]
        await packet(65_535)
        await packet(0)

    asyncio.run(main())
    assert sent == [65_535, 65_535, 0]
    assert [row[1:5:2] for row in record.departures] == [(65_535, None), (0, "resp_1")]


def test_without_the_hook_departures_are_stamped_by_the_track(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With another aiortc there are no numbers of the wire, and the log says so."""
    monkeypatch.setattr(aiortc_hooks, "missing", lambda: ("send",))
    record = CallJournal("rtc_1")
    outgoing = Outgoing(record, Faults(), print)
    outgoing.watch(SimpleNamespace())  # type: ignore[arg-type]
    outgoing.note(None, SILENCE)
    ((_, *row),) = list(record.departures)
    assert row == [-1, -1, None, SILENCE, False]
    assert aiortc_hooks.FALLBACKS["send"] in caplog.text
