"""Calls at 0, 1, 5 and 10 % loss against the peer's own reference: length, place, gaps, samples."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from bare_calls import lag

import rtnb
from rtnb.audio import to_pcm
from rtnb.media.opus import FRAME, SAMPLE_RATE, Decoder, encode, silent_packet
from rtnb.packets import Packets
from rtnb.peer import Faults, Network

RATES = (0.0, 0.01, 0.05, 0.10)
LENGTH = 3.6  # seconds of the reply
COMPARED = 10  # packets of each stretch that `lag` compares
AFTER = 3  # packets after a loss in which a decoder is not yet what it would have been

S16 = npt.NDArray[np.int16]
every_rate = pytest.mark.parametrize("rate", RATES)


def reply() -> rtnb.Clip:
    """Return bundled speech without its pauses, which is like itself at no other time."""
    speech = rtnb.Clip.silence(0, sample_rate=SAMPLE_RATE)
    for path in rtnb.samples():
        clip = rtnb.Clip.read(path).resample(SAMPLE_RATE)
        blocks = clip.samples[: len(clip) // FRAME * FRAME].reshape(-1, FRAME)
        loud = blocks[np.sqrt(np.mean(blocks**2, axis=1)) > 0.01]
        speech = speech + rtnb.Clip(loud.ravel(), SAMPLE_RATE)
    return speech[:LENGTH]


@dataclass
class Call:
    """A call as both ends have it: what left the peer, and what is in the run."""

    departures: npt.NDArray[Any]
    packets: Packets
    heard: S16
    turn: rtnb.Turn

    def known(self) -> npt.NDArray[Any]:
        """Return the departures between the first and the last packet that came."""
        came = self.packets.sequence[self.packets.kind == "received"]
        numbers = self.departures["sequence"].tolist()
        return self.departures[numbers.index(came[0]) : numbers.index(came[-1]) + 1]

    def reference(self) -> S16:
        """Return what a decoder makes of all that left, each packet at its timestamp."""
        known, decoder = self.known(), Decoder()
        spoken = encode(to_pcm(reply()))
        first = known["timestamp"][0]
        out = np.zeros(int(known["timestamp"][-1] - first) + FRAME, np.int16)
        for one in known:
            payload = silent_packet() if one["position"] < 0 else spoken[one["position"] // FRAME]
            at = int(one["timestamp"] - first)
            samples = decoder.decode(payload)
            assert samples is not None
            out[at : at + FRAME] = samples
        return out

    def stretch(self) -> tuple[S16, S16]:
        """Return the reference, and what is in audio.wav from the first packet's place on."""
        reference = self.reference()
        row = np.flatnonzero(self.packets.kind == "received")[0]
        start = int(self.packets.position[row])
        return reference, self.heard[start : start + len(reference)]

    def lost(self) -> list[int]:
        """Return the sequence numbers that packets.csv says are lost."""
        came = set(self.packets.sequence[self.packets.kind == "received"].tolist())
        found: list[int] = []
        for first in self.packets.sequence[self.packets.kind == "lost"].tolist():
            number = first  # one row a loss, which reaches to the next packet that came
            while number not in came:
                found.append(number)
                number = (number + 1) % 65536
        return found

    def between_losses(self) -> Iterator[int]:
        """Yield the first sample of stretches of the reply that are far from any loss."""
        known = self.known()
        lost = np.flatnonzero(known["dropped"])
        speaking = np.flatnonzero(known["position"] >= 0)
        for number in range(speaking[0], speaking[-1] - COMPARED, 3):
            if not ((lost >= number - AFTER) & (lost < number + COMPARED)).any():
                yield int(known["timestamp"][number] - known["timestamp"][0])


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Call]:
    """Four calls at once to a peer that loses packets at these rates."""
    folder: Path = tmp_path_factory.mktemp("calls")
    faults = [Faults(seed=1, sent=Network(loss=rate)) for rate in RATES]
    clip = reply()
    with rtnb.Peer(voice=lambda turn: clip, faults=faults) as peer:
        sessions = [rtnb.connect(peer, record_to=folder / f"{rate}") for rate in RATES]
        with ThreadPoolExecutor(len(RATES)) as pool:
            turns = list(pool.map(lambda session: session.ask("Please go on."), sessions))
            list(pool.map(lambda session: session.close(), sessions))
        log = peer.log()
    found = {}
    for rate, call, turn in zip(RATES, log.calls, turns, strict=True):
        run = rtnb.open_run(folder / f"{rate}")
        both, _ = soundfile.read(folder / f"{rate}" / "audio.wav", dtype="int16")
        found[rate] = Call(call.departures, run.audio.packets(), both[:, 1].copy(), turn)
    return found


@every_rate
def test_the_lost_packets_are_those_that_the_peer_dropped(
    calls: dict[float, Call], rate: float
) -> None:
    """The gap list equals the drop list, number by number."""
    call = calls[rate]
    known = call.known()
    assert call.lost() == known["sequence"][known["dropped"]].tolist()
    assert bool(call.lost()) == (rate > 0)


@every_rate
def test_every_packet_lies_at_its_timestamp(calls: dict[float, Call], rate: float) -> None:
    """From the first to the last one no sample is added or missing: one offset holds for all."""
    call = calls[rate]
    came = call.packets.kind == "received"
    offsets = call.packets.position[came] - call.packets.timestamp[came]
    assert np.unique(offsets[1:]).size == 1  # the first one may be cut by the look-ahead
    last = call.known()["timestamp"][-1] - call.known()["timestamp"][0]
    assert call.packets.position[came][-1] - call.packets.position[came][0] == last


@every_rate
def test_a_recording_is_aligned_between_its_losses(calls: dict[float, Call], rate: float) -> None:
    """Wherever it is compared with what the peer sent, the best match is at 0 samples."""
    reference, heard = calls[rate].stretch()
    found = [lag(reference, heard, at) for at in calls[rate].between_losses()]
    assert len(found) >= 2
    assert set(found) == {0}


def test_a_recording_without_loss_is_what_was_sent(calls: dict[float, Call]) -> None:
    """It equals the peer's packets, decoded, sample by sample, the tail included."""
    reference, heard = calls[0.0].stretch()
    different = np.flatnonzero(heard != reference)  # all at once, `==` would say nothing of it
    assert different.tolist() == []


@every_rate
def test_a_reply_is_as_long_as_it_was(calls: dict[float, Call], rate: float) -> None:
    """The clip of a turn is no shorter for what was lost in it: as long as it took to say."""
    spoken = calls[rate].departures[calls[rate].departures["position"] >= 0]["timestamp"]
    said = float(spoken[-1] - spoken[0]) / SAMPLE_RATE  # a peer that was held up takes longer
    reply = calls[rate].turn.reply
    assert reply is not None
    assert LENGTH - 0.02 <= said <= reply.duration < said + 0.5
