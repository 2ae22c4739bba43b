"""What Opus settings do to speech: quality, size, cost, and what is left under loss.

Every bundled prompt is encoded with each candidate, and decoded again: in full, and with one packet in
twenty lost, where the following packet's in-band copy (FEC) stands in if it has one, and libopus's own
concealment if not. The row is the chosen setting against aiortc's; all candidates are in `detail`:

- ``kbit_s``: of the packets, without headers
- ``snr_db``, ``spectral_db``: waveform SNR after alignment, and the mean difference of the spectra's
  levels (20 ms, up to 8 kHz, audible parts); the latter does not mind a filter that turns phases
- ``lost_db``, ``lost_spectral_db``: the same of the lost 20 ms alone
- ``fec``: the share of audible packets that carry a copy of the one before
- ``look_ahead``: samples; ``encode_us``: time for one packet
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

import rtnb
from rtnb.audio import to_pcm
from rtnb.media.concealing import carries_fec
from rtnb.media.opus import _BIT_RATE, _OPTIONS, FRAME, SAMPLE_RATE, TIME_BASE, Decoder
from rtnb.peer import repertoire

LOSS = 20  # one packet in so many
SEARCHED = 600  # samples in which the look-ahead is looked for
AUDIBLE = 10 ** (-45 / 20)
BANDS = 8_000  # Hz

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One way to encode."""

    application: str
    bit_rate: int
    layout: str = "mono"
    fec: bool = True

    @property
    def name(self) -> str:
        """A short name."""
        more = "" if self.fec else ", no FEC"
        return f"{self.application} {self.bit_rate // 1000}k {self.layout}{more}"


OURS = Setting(_OPTIONS["application"], _BIT_RATE)
AIORTC = Setting("voip", 96_000, "stereo", fec=False)
SETTINGS = [
    AIORTC,
    *(Setting("audio", rate) for rate in (24_000, 32_000, 48_000, 64_000)),
    Setting("voip", 32_000),
    Setting("lowdelay", 32_000),
]


def encoded(pcm: npt.NDArray[np.int16], setting: Setting) -> list[bytes]:
    """Return a clip's packets, with one more frame so that its end is in them."""
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout = setting.bit_rate, "s16", setting.layout
    codec.sample_rate, codec.time_base = SAMPLE_RATE, TIME_BASE
    fec = {"fec": "1", "packet_loss": "10"} if setting.fec else {}
    codec.options = {"application": setting.application, "frame_duration": "20", **fec}
    whole = np.zeros((len(pcm) // FRAME + 2) * FRAME, np.int16)
    whole[: len(pcm)] = pcm
    out = []
    for start in range(0, len(whole), FRAME):
        block = np.repeat(whole[start : start + FRAME], 2 if setting.layout == "stereo" else 1)
        frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout=setting.layout)
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, TIME_BASE
        out += [bytes(packet) for packet in codec.encode(frame)]
    return out


def decoded(packets: list[bytes], lost: set[int]) -> Floats:
    """Return the samples of packets of which some did not come, -1 to 1."""
    decoder, out = Decoder(), []
    for index, packet in enumerate(packets):
        samples: npt.NDArray[np.int16] | None
        if index not in lost:
            samples = decoder.decode(packet)
        elif carries_fec(packets[index + 1]):
            samples = decoder.fec(packets[index + 1], FRAME)
        else:
            samples = decoder.conceal(FRAME)
        assert samples is not None
        out.append(samples)
    return np.concatenate(out) / 32768


def delay(said: Floats, heard: Floats) -> int:
    """Return by how many samples what is heard comes later."""
    size = 1 << (len(heard) + SEARCHED).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    return int(np.argmax(cross[:SEARCHED]))


def snr(said: Floats, heard: Floats) -> float:
    """Return how far the difference lies below what was said, in dB."""
    return float(10 * np.log10(np.sum(said**2) / (np.sum((heard - said) ** 2) + 1e-12)))


def spectral(said: Floats, heard: Floats) -> float:
    """Return the mean difference of the levels of the spectra, in dB, of frames (n, 960)."""
    top = BANDS * FRAME // SAMPLE_RATE
    both = [np.abs(np.fft.rfft(x * np.hanning(FRAME), axis=1))[:, 1:top] for x in (said, heard)]
    power = [np.add.reduceat(x**2, np.arange(0, x.shape[1], 5), axis=1) for x in both]
    floor = 1e-4 * power[0].max(axis=1, keepdims=True)
    one, other = (10 * np.log10(x + floor) for x in power)
    return float(np.mean(np.abs(one - other)))


def figures(setting: Setting, clips: list[npt.NDArray[np.int16]]) -> dict[str, float]:
    """Return what one setting does to all clips, as means."""
    rows = []
    for number, pcm in enumerate(clips):
        said = pcm / 32768
        began = time.perf_counter()
        packets = encoded(pcm, setting)
        took = time.perf_counter() - began
        lost = set(range(3 + number, len(packets) - 1, LOSS))
        whole, holed = decoded(packets, set()), decoded(packets, lost)
        late = delay(said, whole)
        count = min(len(said), len(whole) - late) // FRAME
        a, b, c = (
            x[: count * FRAME].reshape(-1, FRAME) for x in (said, whole[late:], holed[late:])
        )
        loud = np.sqrt(np.mean(a**2, axis=1)) > AUDIBLE * np.abs(a).max()
        gone = loud & np.isin(np.arange(count), list(lost))
        carried = [carries_fec(packets[i]) for i in np.flatnonzero(loud)]
        rows.append(
            {
                "kbit_s": sum(map(len, packets)) * 8 / len(packets) / 20,
                "snr_db": snr(a, b),
                "spectral_db": spectral(a[loud], b[loud]),
                "lost_db": snr(a[gone], c[gone]),
                "lost_spectral_db": spectral(a[gone], c[gone]),
                "fec": float(np.mean(carried)),
                "look_ahead": late,
                "encode_us": took / len(packets) * 1e6,
            }
        )
    return {key: round(statistics.fmean(row[key] for row in rows), 2) for key in rows[0]}


def main() -> None:
    """Print one JSON line."""
    clips = [
        np.frombuffer(to_pcm(rtnb.Clip.read(prompt.path)), np.int16)
        for prompt in repertoire.prompts()
    ]
    detail = [asdict(one) | figures(one, clips) for one in SETTINGS]
    ours, theirs = (
        next(row for one, row in zip(SETTINGS, detail, strict=True) if one == chosen)
        for chosen in (OURS, AIORTC)
    )
    result = {
        "benchmark": "opus_settings",
        "rtnb_dB": ours["lost_spectral_db"],
        "baseline_dB": theirs["lost_spectral_db"],
        "ratio": round(ours["lost_spectral_db"] / theirs["lost_spectral_db"], 3),
        "target": 1.0,
        "met": ours["lost_spectral_db"] <= theirs["lost_spectral_db"],
        "spread_dB": None,
        "runs": len(clips),
        "detail": detail,
        "note": "spectra of packets that were lost; of all others they differ by"
        f" {ours['spectral_db']} and {theirs['spectral_db']} dB",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
