"""What stands in for lost audio: from the packet after it, from the decoder, and then nothing."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rtp_streams import arrivals, encode, frames, laid, level, likeness, receive, stream, voice

from rtnb.media import concealing, libopus, opus
from rtnb.media.concealing import Concealer, carries_fec
from rtnb.media.opus import FRAME, Decoder

SECOND = 48_000
S16 = npt.NDArray[np.int16]


@pytest.fixture
def without_libopus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the library not found, as with a PyAV that was built from source."""
    monkeypatch.setattr(libopus, "_candidates", list)
    libopus.loaded.cache_clear()
    yield
    libopus.loaded.cache_clear()


def heard(*drop: int) -> S16:
    """Return what is heard of two seconds of voice without some packets."""
    return laid(receive(arrivals(voice(2.0), drop=drop))[1], 2 * SECOND)


def off(one: S16, other: S16) -> float:
    """Return the RMS of the difference, relative to the second."""
    return level(one.astype(np.int32) - other) / level(other)


# --- the library ---------------------------------------------------------------------------------


def test_the_library_of_the_wheel_is_found() -> None:
    """It says its name, and what will be done with it."""
    version = libopus.version()
    assert version is not None
    assert version.startswith("libopus ")
    assert concealing.method() == f"{version}: FEC, then PLC"


@pytest.mark.parametrize(
    "name",
    [
        "av.libs/libopus-114e2b1a.so.0.11.1",
        "av/.dylibs/libopus.0.dylib",
        "av.libs/libopus-0-5c.dll",
    ],
)
def test_every_wheel_is_searched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wheels for Linux, macOS and Windows keep their libraries in different places."""
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / "av").mkdir(exist_ok=True)
    (tmp_path / name).touch()
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path / "av")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: package)
    assert [found.name for found in libopus._candidates()] == [Path(name).name]


@pytest.mark.parametrize("what", ["no library", "another library"])
def test_what_is_not_libopus_is_passed_over(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be loaded, or has other functions, is as good as none."""
    other = getattr(ctypes.pythonapi, "_name", None) or __import__("_ctypes").__file__
    monkeypatch.setattr(
        libopus, "_candidates", lambda: [Path(__file__ if what == "no library" else other)]
    )
    libopus.loaded.cache_clear()
    try:
        assert libopus.loaded() is None
        assert libopus.version() is None
    finally:
        libopus.loaded.cache_clear()


@pytest.mark.usefixtures("without_libopus")
def test_without_the_library_it_says_so() -> None:
    """`method` names what is used instead."""
    assert concealing.method() == "libopus through PyAV: PLC only"


def test_both_ways_decode_to_the_same_samples() -> None:
    """PyAV and libopus give the same samples, a loss in between included, bit by bit."""
    payloads = opus.encode(voice(1.0).tobytes())
    one, other = Decoder(), Decoder(direct=False)
    assert (one.copies, other.copies) == (True, False)
    for payload in payloads[:20]:
        assert np.array_equal(one.decode(payload), other.decode(payload))  # type: ignore[arg-type]
    assert np.array_equal(one.conceal(FRAME), other.conceal(FRAME))
    for payload in payloads[21:]:
        assert np.array_equal(one.decode(payload), other.decode(payload))  # type: ignore[arg-type]


@pytest.mark.parametrize("direct", [True, False])
def test_nothing_and_nonsense_are_damaged(direct: bool) -> None:
    """An empty payload is not a loss to be made up, and neither raises."""
    decoder = Decoder(direct=direct)
    assert decoder.decode(b"") is None
    assert decoder.decode(b"\xff\xff\xff") is None
    assert not decoder.conceal(FRAME).any()  # nothing was heard yet that could go on


# --- which packets carry a copy ------------------------------------------------------------------


def packets_of_many_kinds() -> list[bytes]:
    """Encode voice in many ways: narrow and wide, mono and stereo, short and long, CELT too."""
    mono = voice(1.0)
    both = np.stack([mono, mono // 2], axis=1)
    out: list[bytes] = []
    for ptime in (0.01, 0.02, 0.04, 0.06):
        for pcm, rate in ((mono, "12000"), (mono, "32000"), (both, "40000")):
            more = {"b": rate, "fec": "1", "packet_loss": "20", "application": "voip"}
            out += encode(pcm, ptime=ptime, **more)
    out += encode(mono, application="lowdelay", fec="1", packet_loss="20")
    return out


def test_copies_are_told_as_libopus_tells_them() -> None:
    """`carries_fec` agrees with the library's own look at thousands of bits, of all kinds."""
    lib: Any = libopus.loaded()
    if not hasattr(lib, "opus_packet_has_lbrr"):
        pytest.skip("this libopus cannot tell (before 1.5)")
    packets = packets_of_many_kinds()
    told = [bool(lib.opus_packet_has_lbrr(p, ctypes.c_int32(len(p)))) for p in packets]
    assert [carries_fec(p) for p in packets] == told
    assert 100 < sum(told) < len(told)


@pytest.mark.parametrize(
    ("payload", "carries"),
    [
        (bytes([9 << 3, 0x40]), True),  # SILK, 20 ms, code 0
        (bytes([9 << 3, 0x80]), False),  # voice, but no copy
        (bytes([9 << 3 | 2, 1, 0x40, 0x80]), True),  # two frames of different size
        (bytes([9 << 3 | 2, 0, 0x40]), False),  # of which the first is empty
        (bytes([9 << 3 | 3, 0xC2, 1, 1, 0x40, 0x80, 0]), True),  # with padding and sizes
        (bytes([9 << 3 | 3, 0x02, 0x40, 0x80]), True),  # two of one size
        (bytes([11 << 3, 0x10]), True),  # 60 ms: three flags of voice, then that of the copy
        (bytes([11 << 3, 0x40]), False),
        (bytes([9 << 3 | 4, 0x10]), True),  # stereo: in the side channel only
        (bytes([20 << 3, 0x40]), False),  # CELT
        (bytes([9 << 3]), False),  # DTX
        (bytes([9 << 3 | 3, 0x42, 255]), False),  # cut
        (b"", False),
    ],
)
def test_the_bit_of_the_copy_is_found(payload: bytes, carries: bool) -> None:
    """After the flags of voice, wherever the first frame begins (RFC 6716 sections 3.2 and 4.2.3)."""
    assert carries_fec(payload) is carries


# --- what is heard -------------------------------------------------------------------------------


def test_one_lost_packet_is_heard_from_the_next() -> None:
    """With its copy in the packet after it, a lost frame sounds nearly as it did."""
    whole, lossy = heard(), heard(60)
    assert off(lossy[frames(60)], whole[frames(60)]) < 0.5
    assert likeness(lossy[frames(60)], whole[frames(60)][312:]) > 0.85
    receiving, placed = receive(arrivals(voice(2.0), drop=(60,)))
    assert receiving.concealed == {"fec": 1}
    assert next(one.row[6] for one in placed if one.row[0] == "lost") == "fec"
    assert receiving.gaps == [(60 * FRAME, 61 * FRAME)]


def test_of_a_burst_the_last_frame_is_heard_from_the_next_packet() -> None:
    """The frames before it are made up; the row names both, in the order of time."""
    receiving, placed = receive(arrivals(voice(2.0), drop=(60, 61, 62)))
    loss = next(one for one in placed if one.row[0] == "lost")
    assert loss.samples is not None
    assert (len(loss.samples), loss.row[6]) == (3 * FRAME, "plc+fec")
    assert receiving.concealed == {"plc": 2, "fec": 1}
    assert loss.samples.any()
    assert off(loss.samples[2 * FRAME :], heard()[frames(62)]) < 0.7


@pytest.mark.usefixtures("without_libopus")
def test_without_the_library_the_sound_goes_on() -> None:
    """The decoder makes the frame up, which is counted as such, and nothing moves."""
    receiving, placed = receive(arrivals(voice(2.0), drop=(60,)))
    assert receiving.concealed == {"plc": 1}
    assert placed[-1].position == 100 * FRAME
    lossy = laid(placed, 2 * SECOND)
    assert level(lossy[frames(60)]) > 0.3 * level(lossy[frames(59)])


def test_a_concealed_frame_begins_and_ends_without_a_click() -> None:
    """No step between neighbours at either edge is larger than those of the sound itself."""
    whole, lossy = heard(), heard(60)
    edges = np.abs(np.diff(lossy[[60 * FRAME - 1, 60 * FRAME]].astype(int)))
    edges = np.append(edges, np.abs(np.diff(lossy[[61 * FRAME - 1, 61 * FRAME]].astype(int))))
    assert edges.max() <= np.abs(np.diff(whole[frames(55, 65)].astype(int))).max()


@pytest.mark.parametrize("lost", [8, 20])
def test_what_is_made_up_ends_after_100_ms(lost: int) -> None:
    """It fades to silence, and the last frame before the next packet is the copy."""
    drop = tuple(range(40, 40 + lost))
    found = heard(*drop)
    made = found[frames(40, 40 + lost)]
    copied = 1 if carries_fec(opus.encode(voice(2.0).tobytes())[40 + lost]) else 0
    assert made[: 2 * FRAME].any()
    assert not made[5 * FRAME : (lost - copied) * FRAME].any()
    assert abs(int(made[5 * FRAME - 1])) < 50


def test_after_a_loss_it_sounds_as_it_would_have() -> None:
    """Nothing but the gap is made up: 60 ms later the samples are those without the loss."""
    assert off(heard(60)[frames(64, 100)], heard()[frames(64, 100)]) < 0.1


def test_more_than_a_packet_holds_is_not_made_up_at_once() -> None:
    """libopus would write beyond its buffer: an error instead."""
    lib = libopus.loaded()
    assert lib is not None
    decoder = libopus.StreamDecoder(lib)
    assert len(decoder.conceal(libopus.MOST)) == libopus.MOST
    with pytest.raises(ValueError, match="At most 5760 samples can be made up at once, not 5761"):
        decoder.conceal(libopus.MOST + 1)


def test_celt_is_made_up() -> None:
    """Packets of CELT carry no copies, and none is claimed."""
    payloads = encode(voice(1.0), application="lowdelay")
    receiving, placed = receive(stream(payloads, drop=(30,)))
    assert receiving.concealed == {"plc": 1}
    lost = next(one.samples for one in placed if one.row[0] == "lost")
    assert lost is not None
    assert (len(lost), lost.any()) == (FRAME, True)


def after(*payloads: bytes, missing: int, count: int, following: bytes) -> dict[str, int]:
    """Return what stands in for a loss after some packets."""
    concealer = Concealer()
    for payload in payloads:
        concealer.decode(payload)
    return concealer.conceal(missing, count, following).methods


def test_a_copy_is_asked_for_only_where_libopus_gives_it() -> None:
    """Not after CELT, not after a second of loss, and not where it is longer than the loss."""
    speech = opus.encode(voice(2.0).tobytes())
    copy = next(one for one in speech[50:] if carries_fec(one))
    celt = encode(voice(0.2), application="lowdelay")
    assert after(*speech[:50], missing=FRAME, count=1, following=copy) == {"fec": 1}
    assert after(*celt, missing=FRAME, count=1, following=copy) == {"plc": 1}
    assert after(*speech[:50], missing=SECOND, count=50, following=copy) == {"plc": 5, "fec": 1}
    assert after(*speech[:50], missing=51 * FRAME, count=51, following=copy) == {"plc": 5}
    assert after(*speech[:50], missing=480, count=1, following=copy) == {"plc": 1}


def test_a_loss_of_no_length_is_left_alone() -> None:
    """Where timestamps jumped back there is nothing to fill."""
    found = Concealer().conceal(0, 3, b"\x48\x40")
    assert (len(found.samples), found.methods) == (0, {})


def test_a_length_that_is_no_multiple_is_cut() -> None:
    """libopus makes up multiples of 2.5 ms; a gap of 1,000 samples gets 1,000."""
    concealer = Concealer()
    for payload in opus.encode(voice(0.4).tobytes()):
        concealer.decode(payload)
    assert len(concealer.conceal(1_000, 1, b"").samples) == 1_000
