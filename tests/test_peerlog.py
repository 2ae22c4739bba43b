"""`PeerLog`: what a peer did, as numbers and as text."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from peer_client import calling

from rtnb.peer.handle import Peer
from rtnb.peer.peerlog import PeerCall, PeerEvent, PeerLog

SECRET = "sk-secret-of-this-test-0123"
CALL = PeerCall.of(
    "rtc_1",
    departures=[(100.0, 7, 960, None, -1, False), (100.02, 8, 1920, "resp_1", 0, True)],
    arrivals=[(100.01, 3, 960, False)],
    events=[(100.0, "sent", "session.created", ""), (100.5, "received", "<b>", "resp_1")],
)


def test_packets_are_records_that_cannot_be_changed():
    """Fields by name, with their units; events are tuples with names."""
    assert CALL.departures["time"].tolist() == [100.0, 100.02]
    assert CALL.departures["response"].tolist() == [None, "resp_1"]
    assert CALL.departures[CALL.departures["position"] >= 0]["timestamp"].tolist() == [1920]
    assert CALL.arrivals.dtype.names == ("time", "sequence", "timestamp", "dropped")
    assert CALL.events[1] == PeerEvent(100.5, "received", "<b>", "resp_1")
    with pytest.raises(ValueError):
        CALL.departures["time"] = 0


def test_a_log_reads_as_text():
    """One line for each event, from the first on, then what the process logged."""
    text = str(PeerLog((CALL,), "one\ntwo\n"))
    assert text.splitlines() == [
        "rtc_1: 2 packets sent, 1 packet received, 2 events, 1 dropped",
        "      0.000 s ◀ session.created",
        "      0.500 s ▶ <b>  resp_1",
        "log:",
        "one",
        "two",
    ]


def test_a_log_shows_itself():
    """A short repr; HTML in which nothing from outside is markup."""
    log = PeerLog((CALL,), "<script>\n")
    assert repr(log) == "<PeerLog 1 call, 1 line>"
    html = log._repr_html_()
    assert "<script>" not in html and "<b>  resp" not in html and "&lt;script&gt;" in html
    assert repr(PeerLog(complete=False)) == "<PeerLog 0 calls, 0 lines, not all>"
    assert "Not everything" in str(PeerLog(complete=False))


def test_long_logs_are_cut_where_they_are_shown_only():
    """The first events, and the last lines."""
    events = [(float(i), "sent", f"e{i}", "") for i in range(300)]
    log = PeerLog((PeerCall.of("rtc_1", events=events),), "\n".join(f"l{i}" for i in range(300)))
    shown = str(log)
    assert "e199\n" in shown and "e200" not in shown and "100 more events" in shown
    assert "l99\n" not in shown and "l100\n" in shown and "100 lines before" in shown
    assert len(log.calls[0].events) == 300 and log.text.endswith("l299")


def test_of_many_calls_the_newest_are_shown():
    """As text and in a cell, with the number of those before."""
    log = PeerLog(tuple(PeerCall.of(f"rtc_{n:03}") for n in range(60)))
    for shown in (str(log), log._repr_html_()):
        assert "rtc_009" not in shown and "rtc_010" in shown and "rtc_059" in shown
        assert "… 10 calls before" in shown
    assert len(log.calls) == 60 and "before" not in str(PeerLog(log.calls[:50]))


@pytest.fixture(scope="module")
def logs():
    """The clock before a call, the log in it, and the log after the end of its peer."""
    started = time.monotonic()

    async def talk(peer):
        async with calling(peer.url) as caller:
            caller.send("response.cancel", event_id=SECRET)
            await caller.until("error")
            during = await asyncio.to_thread(peer.log)
            while len(during.calls[0].departures) < 5:
                during = await asyncio.to_thread(peer.log)
            live = await asyncio.to_thread(lambda: peer.live_calls)
        while await asyncio.to_thread(lambda: peer.live_calls):
            await asyncio.sleep(0.01)
        return during, live

    with Peer() as peer:
        during, live = asyncio.run(talk(peer))
    return started, during, live, peer.log(), peer


def test_a_call_is_written_down_while_it_goes_on(logs):
    """Packets with the clock of this machine, their headers, and what crossed the channel."""
    started, log, live, _, _ = logs
    (call,) = log.calls
    assert live == 1 and log.complete and call.call_id.startswith("rtc_")
    times = call.departures["time"]
    assert started < times[0] and times[-1] < time.monotonic() and np.all(np.diff(times) >= 0)
    steps = np.diff(call.departures["sequence"]) % 65_536
    assert set(steps) == {1} and set(np.diff(call.departures["timestamp"])) == {960}
    seen = [(event.direction, event.type) for event in call.events]
    wanted = [("sent", "session.created"), ("received", "response.cancel"), ("sent", "error")]
    assert [one for one in seen if one in wanted] == wanted


def test_a_log_outlives_its_peer(logs):
    """What was recorded until the end, and what was logged, is there after close()."""
    _, during, _, after, peer = logs
    assert peer.closed and after.complete and peer.live_calls == 0
    assert len(after.calls[0].departures) >= len(during.calls[0].departures) > 0
    assert len(after.calls[0].arrivals) > 0
    assert f"call {after.calls[0].call_id}" in after.text and "listening" in str(after)
    assert str(peer.log()) == str(after) and SECRET not in str(after)


def test_a_log_of_a_peer_that_was_killed_says_that_it_is_not_all():
    """What was fetched is there, with the text."""
    with Peer() as peer:
        assert peer.log().complete
        peer._link.process.kill()
        peer.wait()
        log = peer.log()
    assert not log.complete and "listening" in log.text
