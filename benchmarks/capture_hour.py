"""Memory that capture grows by in 60 minutes of packets, fed to it and to disk faster than real time.

The packets go through what a call has: `rtnb.media.recording.Recording` into a run folder. One in a
hundred changes places with the next one, one in a thousand comes twice; in the last ten minutes 1 %
are lost. Then audio.wav must equal what a decoder makes of all packets, to the sample, up to the
first loss, and packets.csv must have exactly the lost ones at their places. The baseline keeps the
frames of aiortc's decoder in a list, for as many minutes as are named in the line, and is
scaled to an hour. Both in processes of their own; memory is the growth of the resident set.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

from benchmarks._loss import FRAME, SAMPLE_RATE, packets_of
from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.opus import Decoder
from rtnb.media.recording import Recording
from rtnb.packets import read_packets
from rtnb.runfiles import RunWriter

HOUR = 60 * 60 * 50  # packets
WITHOUT_LOSS = HOUR * 5 // 6
LIST = 3 * 60 * 50  # packets of the baseline
WARM = 60 * 50  # packets until memory is looked at for the first time
BATCH = 50  # packets between writes: a call writes every 100 ms, which nobody waits for here
TARGET = 20.0  # MB
STARTED = 1000.0  # monotonic seconds at 0 of the call
FIRST = STARTED + 0.1  # when the first packet comes
RUNS = 3  # of the baseline; ours once, as it takes longest

Lost = set[int]


def resident() -> float:
    """Return the process's resident memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def arrivals(lost: Lost) -> Iterator[RtpArrival]:
    """Yield the packets as they come, with jitter, some of them swapped, doubled or lost."""
    chance = random.Random(7)
    packets = packets_of(20.0)
    waiting: RtpArrival | None = None
    for number in range(HOUR):
        payload = packets[number % len(packets)]
        at = FIRST + number * FRAME / SAMPLE_RATE + chance.uniform(0, 0.004) * (number > 0)
        packet = RtpArrival(number % 65536, number * FRAME % 2**32, 1, payload, at)
        if number > WITHOUT_LOSS and chance.random() < 0.01 and HOUR - number > 50:
            lost.add(number)
            continue
        if waiting is None and chance.random() < 0.01:
            waiting = packet
            continue
        yield packet
        if chance.random() < 0.001:
            yield packet
        if waiting is not None:
            yield RtpArrival(*_parts(waiting), at)
            waiting = None


def _parts(packet: RtpArrival) -> tuple[int, int, int, bytes]:
    return packet.sequence, packet.timestamp, packet.ssrc, packet.payload


def ours() -> None:
    """Print what an hour of capture took, as JSON."""
    with tempfile.TemporaryDirectory() as name:
        writer = RunWriter(Path(name), sample_rate=SAMPLE_RATE)
        recording = Recording(writer, started=STARTED, on_written=lambda *_: None)
        lost: Lost = set()
        seen, highest, before = 0, 0.0, 0.0
        began = time.perf_counter()
        for packet in arrivals(lost):
            recording.arrived(packet)
            seen += 1
            if seen % BATCH == 0:
                recording.write(packet.time)
                recording.flush()
                highest = max(highest, resident())
                before = highest if seen == WARM else before
        recording.finish(packet.time + 0.1)
        took = time.perf_counter() - began
        found = {
            "mb": max(highest, resident()) - before,
            "seconds": took,
            "exact": equal(Path(name)),
            "gaps": gaps(Path(name)) == sorted(lost),
        }
        print(json.dumps(found))


def equal(folder: Path) -> bool:
    """Whether audio.wav holds what a decoder makes of all packets, up to the first loss."""
    packets, decoder = packets_of(20.0), Decoder()
    with soundfile.SoundFile(folder / "audio.wav") as file:
        file.seek(start_of(folder))
        for first in range(0, WITHOUT_LOSS, len(packets)):
            count = min(len(packets), WITHOUT_LOSS - first)
            decoded = [decoder.decode(packet) for packet in packets[:count]]
            heard = file.read(count * FRAME, dtype="int16", always_2d=True)[:, 1]
            if not np.array_equal(heard, np.concatenate([d for d in decoded if d is not None])):
                return False
    return True


def start_of(folder: Path) -> int:
    """Return the sample of audio.wav at which the first packet's sound begins."""
    packets = read_packets(folder)
    return int(packets.position[packets.kind == "received"][0])


def gaps(folder: Path) -> list[int]:
    """Return which packets are missing by packets.csv, from the places of the lost stretches."""
    packets, start = read_packets(folder), start_of(folder)
    missing = packets.kind == "lost"
    found = []
    for place, size in zip(packets.position[missing], packets.size[missing], strict=True):
        found += range((place - start) // FRAME, (place - start + size) // FRAME)
    return [int(number) for number in found]


def frames() -> None:
    """Print by how much a list of decoded frames grows memory, scaled to an hour, as JSON."""
    decoder = OpusDecoder()
    packets = packets_of(20.0)
    kept, before = [], 0.0
    for number in range(WARM + LIST):
        encoded = JitterFrame(packets[number % len(packets)], number * FRAME)
        decoded = decoder.decode(encoded)
        if number < WARM:
            before = resident()
        else:
            kept += decoded
    print(json.dumps({"mb": (resident() - before) * HOUR / len(kept)}))


def in_its_own_process(which: str) -> dict[str, float]:
    """Return what one side prints."""
    script = [sys.executable, "-m", "benchmarks.capture_hour", which]
    done = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print one JSON line; called with "ours" or "frames", that side's."""
    if sys.argv[1:]:
        {"ours": ours, "frames": frames}[sys.argv[1]]()
        return
    baseline = [in_its_own_process("frames")["mb"] for _ in range(RUNS)]
    found = in_its_own_process("ours")
    result = {
        "benchmark": "capture_hour",
        "rtnb_mb": round(found["mb"], 2),
        "baseline_mb": round(statistics.median(baseline), 1),
        "target": TARGET,
        "met": found["mb"] < TARGET and bool(found["exact"]) and bool(found["gaps"]),
        "spread_mb": [0, round(max(baseline) - min(baseline), 1)],
        "runs": [1, RUNS],
        "files_exact": bool(found["exact"]),
        "gaps_are_the_drops": bool(found["gaps"]),
        "rtnb_s": round(found["seconds"], 1),
        "note": f"target: under {TARGET:g} MB; baseline scaled from {LIST // 3000} minutes; "
        "each frame keeps a buffer of 120 ms, the longest that an Opus packet may be",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
