"""The private parts of aiortc and aioice: all there, kept to their block, and done without."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioice.ice
import pylibsrtp
import pytest
from aiortc import RTCPeerConnection, RTCRtpCodecParameters, RTCRtpReceiver
from aiortc.rtp import RtpPacket
from bare_calls import bare_connection, end_of, one_way_call

import rtnb
from rtnb.engine import ThreadEngine
from rtnb.media import aiortc_hooks, opus
from rtnb.media.aiortc_hooks import FALLBACKS, loopback_only, missing


@pytest.fixture
def other_aiortc(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the hook named by the test's parameter does not fit."""
    monkeypatch.setattr(aiortc_hooks, "missing", lambda: (request.param,))


def gathered() -> set[str]:
    return set(aioice.ice.get_host_addresses(True, False))


# --- what is installed ---------------------------------------------------------------------------


def test_nothing_is_missing() -> None:
    """The installed aiortc and aioice have every private part that is used."""
    assert missing() == ()


@pytest.mark.parametrize(
    ("owner", "name", "hook"),
    [
        (RTCRtpReceiver, "_handle_rtp_packet", "receive"),
        ("aiortc.rtcdtlstransport.RTCDtlsTransport", "_send_rtp", "send"),
        (aioice.ice.Connection, "data_received", "shortcut"),
        (aioice.ice, "get_host_addresses", "addresses"),
        (aioice.ice.Connection, "_check_periodic", "checks"),
    ],
)
def test_a_part_that_is_gone_is_missed(
    owner: Any, name: str, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aiortc without it is noticed, and there is a sentence for what is done instead."""
    if isinstance(owner, str):
        monkeypatch.delattr(f"{owner}.{name}")
    else:
        monkeypatch.delattr(owner, name)
    assert missing.__wrapped__() == (hook,)
    assert FALLBACKS[hook]


@pytest.mark.parametrize("name", ["_STATISTICS", "_RX_BYTES", "_RX_PACKETS"])
def test_a_renamed_counter_of_aiortc_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets take no shortcut where it would be left out of aiortc's own figures."""
    monkeypatch.setattr(aiortc_hooks, name, "_RTCRtpReceiver__other")
    assert missing.__wrapped__() == ("shortcut",)


@pytest.mark.parametrize("name", ["_JITTER_BUFFER", "_CODECS"])
def test_a_renamed_part_of_the_receiver_is_missed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tap needs the very attributes of aiortc's constructor."""
    monkeypatch.setattr(aiortc_hooks, name, "_RTCRtpReceiver__other")
    assert missing.__wrapped__() == ("receive",)


# --- addresses -----------------------------------------------------------------------------------


def test_loopback_only_holds_inside_its_block() -> None:
    """Inside there is 127.0.0.1 and nothing else; before and after as it was."""
    before = gathered()
    with loopback_only():
        assert gathered() == {"127.0.0.1"}
    assert gathered() == before
    assert "127.0.0.1" not in before


def test_loopback_only_ends_with_an_error_too() -> None:
    """An exception in the block leaves nothing changed."""
    with pytest.raises(ZeroDivisionError), loopback_only():
        _ = 1 / 0
    assert "127.0.0.1" not in gathered()


def test_loopback_only_changes_its_own_task_only() -> None:
    """A task beside it, which gathers at the same time, sees the machine's own addresses."""

    async def both() -> tuple[set[str], set[str]]:
        inside, done = asyncio.Event(), asyncio.Event()

        async def held() -> set[str]:
            with loopback_only():
                inside.set()
                await done.wait()
                return gathered()

        task = asyncio.ensure_future(held())
        await inside.wait()
        beside = gathered()
        done.set()
        return await task, beside

    assert asyncio.run(both())[0] == {"127.0.0.1"}
    assert "127.0.0.1" not in asyncio.run(both())[1]


def test_an_offer_made_inside_has_loopback_candidates_only() -> None:
    """The SDP names no other address of this machine."""

    async def candidates() -> list[str]:
        pc = bare_connection()
        pc.createDataChannel("events")
        with loopback_only():
            await pc.setLocalDescription(await pc.createOffer())
        sdp = pc.localDescription.sdp
        await pc.close()
        return [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate")]

    assert set(asyncio.run(candidates())) == {"127.0.0.1"}


@pytest.mark.parametrize("other_aiortc", ["addresses"], indirect=True)
def test_loopback_only_refuses_rather_than_leak(other_aiortc: None) -> None:
    """Where it cannot hold, it says so instead of offering other addresses."""
    with pytest.raises(RuntimeError, match="cannot be kept on loopback addresses"), loopback_only():
        pass


# --- connecting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "resolving", "begun", "goes_on"),
    [
        (["IN_PROGRESS", "SUCCEEDED", "FAILED"], 0, True, False),
        (["IN_PROGRESS", "WAITING"], 0, True, True),
        (["IN_PROGRESS", "FROZEN"], 0, True, True),
        (["IN_PROGRESS"], 1, True, True),
        ([], 0, True, True),
        (["WAITING"], 0, False, False),
    ],
    ids=["all begun", "one waits", "one is frozen", "a name is looked up", "none yet", "over"],
)
def test_checks_are_begun_until_none_is_left(
    states: list[str], resolving: int, begun: bool, goes_on: bool
) -> None:
    """Then aioice waits for what comes of them, instead of looking every 20 ms."""
    state = aioice.ice.CandidatePair.State
    pairs = [SimpleNamespace(state=getattr(state, name), task=None) for name in states]
    connection: Any = SimpleNamespace(
        _check_periodic=lambda: begun, _check_list=pairs, _remote_candidates_resolving=resolving
    )
    aiortc_hooks._end_after_last_check(connection)
    assert connection._check_periodic() is goes_on


@pytest.mark.parametrize("other_aiortc", ["checks"], indirect=True)
def test_connecting_declines(other_aiortc: None) -> None:
    """A connection that does not fit is left as it is."""
    assert not aiortc_hooks.connect_at_once(SimpleNamespace())  # type: ignore[arg-type]


def test_a_connection_comes_about_without_waiting_for_the_next_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ends are connected though the pause between two checks never ends."""

    async def main() -> None:
        caller, callee = bare_connection(), bare_connection()
        channel, opened = caller.createDataChannel("events"), asyncio.Event()
        channel.on("open", opened.set)
        with loopback_only():
            assert aiortc_hooks.connect_at_once(caller)
            await caller.setLocalDescription(await caller.createOffer())
            await callee.setRemoteDescription(caller.localDescription)
            assert aiortc_hooks.connect_at_once(callee)
            await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        async with asyncio.timeout(10):
            await opened.wait()
        await caller.close()
        await callee.close()

    def endless(delay: float, *result: Any) -> Any:
        return sleep(60 if delay == 0.02 else delay, *result)

    sleep = asyncio.sleep
    monkeypatch.setattr("aioice.ice.asyncio.sleep", endless)
    asyncio.run(main())


# --- packets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (struct.pack("!BBHII", 0x80, 111, 7, 960, 5), (7, 960)),
        (struct.pack("!BBHII", 0x80, 0x80 | 111, 65_535, 2**32 - 1, 5), (65_535, 2**32 - 1)),
        (struct.pack("!BBHII", 0x80, 111, 7, 960, 6), None),
        (struct.pack("!BBHII", 0x80, 200, 7, 960, 5), None),
        (struct.pack("!BBHII", 0x40, 111, 7, 960, 5), None),
        (b"\x80\x6f", None),
    ],
    ids=["ours", "marker", "another stream", "RTCP", "not RTP", "short"],
)
def test_the_header_of_our_packets_is_read(data: bytes, found: tuple[int, int] | None) -> None:
    """RTP of our stream gives sequence and timestamp; everything else is passed over."""
    assert aiortc_hooks._rtp_header(data, 5) == found


@pytest.mark.parametrize("other_aiortc", ["send"], indirect=True)
def test_watching_declines(other_aiortc: None) -> None:
    """A sender that does not fit is left as it is."""
    sender = SimpleNamespace(transport=SimpleNamespace())
    assert not aiortc_hooks.watch_sender(sender, print)  # type: ignore[arg-type]
    assert vars(sender.transport) == {}


@pytest.mark.parametrize("other_aiortc", ["send"], indirect=True)
def test_intercepting_declines(other_aiortc: None) -> None:
    """A sender that does not fit is left as it is."""
    sender = SimpleNamespace(transport=SimpleNamespace())
    assert not aiortc_hooks.intercept_sender(sender, print)  # type: ignore[arg-type]
    assert vars(sender.transport) == {}


def test_intercepted_packets_go_when_they_are_told_to() -> None:
    """Each of the stream's own is handed over with what sends it, any number of times; RTCP goes."""
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    async def carry(packet: aiortc_hooks.RtpDeparture, give: Callable[[], Awaitable[None]]) -> None:
        assert packet.size == 12
        for _ in range(packet.sequence):
            await give()

    async def main() -> None:
        sender = SimpleNamespace(transport=SimpleNamespace(_send_rtp=send), _ssrc=5)
        assert aiortc_hooks.intercept_sender(sender, carry)  # type: ignore[arg-type]
        for data in (*ours, rtcp, theirs):
            await sender.transport._send_rtp(data)

    ours = [struct.pack("!BBHII", 0x80, 111, copies, 960, 5) for copies in (0, 1, 2)]
    rtcp = struct.pack("!BBHII", 0x80, 200, 7, 960, 5)
    theirs = struct.pack("!BBHII", 0x80, 111, 7, 960, 6)
    asyncio.run(main())
    assert sent == [ours[1], ours[2], ours[2], rtcp, theirs]


@pytest.mark.parametrize("other_aiortc", ["receive"], indirect=True)
def test_tapping_declines(other_aiortc: None) -> None:
    """A receiver that does not fit is left as it is."""
    receiver = SimpleNamespace(**{aiortc_hooks._JITTER_BUFFER: "theirs"})
    assert not aiortc_hooks.tap_receiver(receiver, print)  # type: ignore[arg-type]
    assert vars(receiver) == {aiortc_hooks._JITTER_BUFFER: "theirs"}


def test_a_receiver_without_the_buffer_is_not_tapped() -> None:
    """An instance that lacks the attribute is declined, whatever its class promised."""
    assert not aiortc_hooks.tap_receiver(SimpleNamespace(), print)  # type: ignore[arg-type]


def test_the_tap_tells_opus_from_other_codecs() -> None:
    """By the payload types that were agreed upon; nor is one that was not, or padding alone."""
    got: list[aiortc_hooks.RtpArrival] = []

    async def main() -> None:
        receiver = RTCRtpReceiver("audio", SimpleNamespace(state="new"))  # type: ignore[arg-type]
        assert aiortc_hooks.tap_receiver(receiver, got.append)
        codecs = getattr(receiver, aiortc_hooks._CODECS)
        codecs[96] = RTCRtpCodecParameters("audio/OPUS", 48_000, 2, 96)
        codecs[0] = RTCRtpCodecParameters("audio/PCMU", 8_000, 1, 0)
        for kind, payload in ((96, b"\x48\x80"), (0, b"\x7f" * 160), (101, b"\1"), (96, b"")):
            packet = RtpPacket(payload_type=kind, sequence_number=5, timestamp=9, ssrc=3)
            packet.payload = payload
            await receiver._handle_rtp_packet(packet, 0)

    asyncio.run(main())
    told = [(one.opus, len(one.payload)) for one in got]
    assert told == [(True, 2), (False, 160), (False, 1), (False, 0)]
    assert (got[0].sequence, got[0].timestamp, got[0].ssrc) == (5, 9, 3)


async def _tapped_call(count: int) -> tuple[list[aiortc_hooks.RtpArrival], dict[str, Any], Any]:
    """Hear that many packets; return them, the receiver's statistics, and its ICE connection."""
    got: list[aiortc_hooks.RtpArrival] = []
    enough = asyncio.Event()

    def take(packet: aiortc_hooks.RtpArrival) -> None:
        got.append(packet)
        if len(got) == count:
            enough.set()

    def tap(pc: RTCPeerConnection, _: Any) -> None:
        assert aiortc_hooks.tap_receiver(pc.getReceivers()[0], take)

    async with one_way_call(rtnb.PromptTrack(encoded=True), tap) as callee, asyncio.timeout(20):
        receiver = callee.getReceivers()[0]
        await enough.wait()
        report = {one.type: one for one in (await receiver.getStats()).values()}
        return got, report, receiver.transport.transport._connection


def test_packets_take_the_shortcut_and_are_counted_as_ever() -> None:
    """All but the first go around aiortc's queue, whole and in order, and its figures hold them."""
    got, report, connection = asyncio.run(_tapped_call(30))
    assert type(connection.data_received.__self__) is aiortc_hooks._Shortcut
    first = got[0].sequence
    assert [one.sequence for one in got] == [(first + n) % 65536 for n in range(len(got))]
    assert {one.payload for one in got} == {opus.silent_packet()}
    assert report["inbound-rtp"].packetsReceived == len(got)
    assert report["inbound-rtp"].packetsLost == 0
    assert report["transport"].packetsReceived >= len(got)


@pytest.mark.parametrize("other_aiortc", ["shortcut"], indirect=True)
def test_packets_are_heard_without_the_shortcut(other_aiortc: None) -> None:
    """Where it does not fit, all packets go aiortc's way, and none is missed."""
    got, report, connection = asyncio.run(_tapped_call(10))
    assert connection.data_received.__self__ is connection
    assert {one.payload for one in got} == {opus.silent_packet()}
    assert report["inbound-rtp"].packetsReceived == len(got)


@pytest.mark.parametrize(
    ("plain", "extended", "payload"),
    [
        (b"h" * 12 + b"sound", False, b"sound"),
        (b"h" * 12, False, b""),
        (b"h" * 12 + b"\xbe\xde\0\1abcdsound", True, b"sound"),
        (b"h" * 12 + b"\xbe\xde\0\2abcd", True, None),
        (b"h" * 12 + b"\xbe\xde", True, None),
    ],
    ids=["plain", "empty", "extension", "cut off", "cut off in its length"],
)
def test_a_payload_begins_after_the_extension(
    plain: bytes, extended: bool, payload: bytes | None
) -> None:
    """RFC 3550 section 5.3.1; a packet that ends before its header does is dropped."""
    srtp = SimpleNamespace(unprotect=lambda data: data)
    assert aiortc_hooks._payload(srtp, plain, extended=extended) == payload


def test_a_packet_that_is_not_genuine_is_dropped() -> None:
    """What SRTP refuses, forged or repeated, has no payload."""

    def refuse(data: bytes) -> bytes:
        raise pylibsrtp.Error(7)

    assert aiortc_hooks._payload(SimpleNamespace(unprotect=refuse), b"", extended=False) is None


def test_a_track_of_another_connection_has_no_receiver() -> None:
    """`receiver_of` finds only what belongs to the connection."""
    pc = SimpleNamespace(getReceivers=lambda: [SimpleNamespace(track="a")])
    assert aiortc_hooks.receiver_of(pc, "b") is None  # type: ignore[arg-type]


# --- calls without the private parts -------------------------------------------------------------


@pytest.fixture
def fallen_back(peer: rtnb.Peer, other_aiortc: None, tmp_path: Path) -> Iterator[rtnb.Session]:
    """A real call by a host, in a thread of this process, that lacks a hook."""
    with (
        closing(ThreadEngine()) as engine,
        rtnb.connect(peer, engine=engine, record_to=tmp_path / "run") as session,
    ):
        yield session


@pytest.mark.parametrize("other_aiortc", ["receive"], indirect=True)
def test_a_call_hears_without_the_tap(
    fallen_back: rtnb.Session, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply comes through the track, and both the log and the figures say so."""
    turn = fallen_back.ask(rtnb.sample("greeting"))
    assert turn.status == "completed"
    assert turn.reply.level > -35
    stats = fallen_back.stats()
    assert stats["fallbacks"] == [FALLBACKS["receive"]]
    assert stats["concealment"] == "none: packets cannot be seen"
    said = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert FALLBACKS["receive"] in [one.getMessage() for one in said]
    assert "received," not in (fallen_back.folder / "packets.csv").read_text()


@pytest.mark.parametrize("other_aiortc", ["send"], indirect=True)
def test_a_call_sends_without_the_watch(fallen_back: rtnb.Session) -> None:
    """Departures are stamped by the track: rows without the numbers of the wire."""
    turn = fallen_back.ask(rtnb.sample("greeting"))
    assert turn.status == "completed"
    assert fallen_back.stats()["fallbacks"] == [FALLBACKS["send"]]
    rows = (fallen_back.folder / "packets.csv").read_text().splitlines()
    assert all(row.startswith("sent,,,") for row in rows if row.startswith("sent"))
    assert sum(row.startswith("sent") for row in rows) > 50


@pytest.mark.parametrize("other_aiortc", ["addresses"], indirect=True)
def test_a_call_that_would_leak_addresses_fails(peer: rtnb.Peer, other_aiortc: None) -> None:
    """Without the hook for addresses a call to this machine is refused with its reason."""
    with (
        closing(ThreadEngine()) as engine,
        pytest.raises(rtnb.CallError, match="cannot be kept on loopback addresses"),
    ):
        rtnb.connect(peer, engine=engine)


@pytest.mark.parametrize("other_aiortc", ["receive"], indirect=True)
def test_a_recorder_says_that_it_is_not_exact(
    other_aiortc: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a receiver it cannot tap, `Recorder` records its track, and says so twice."""
    path = tmp_path / "heard.wav"
    source = rtnb.Clip.tone(440, 0.6).write(tmp_path / "tone.wav")

    async def record() -> rtnb.Recorder:
        recorder = rtnb.Recorder(path)
        ended: list[asyncio.Future[None]] = []

        def begin(pc: RTCPeerConnection, remote: Any) -> None:
            receiver = aiortc_hooks.receiver_of(pc, remote)
            assert receiver is not None
            recorder.addTrack(receiver)
            ended.append(asyncio.ensure_future(recorder.start()))

        track = rtnb.FileTrack(source, trailing_silence=0.2)
        async with one_way_call(track, begin):
            await end_of(track)
        await recorder.stop()
        return recorder

    recorder = asyncio.run(record())
    assert not recorder.exact
    assert "frames by PTS" in repr(recorder)
    assert caplog.messages == [FALLBACKS["receive"]]
    assert rtnb.Clip.read(path).peak == pytest.approx(-12.0, abs=1.5)
