"""`Clip`: files in and out, editing by seconds, levels, and what a cell shows."""

from __future__ import annotations

import io
import math
import re
import wave
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import rtnb
from rtnb import AudioError, Clip, ConfigurationError, _audiofile

Make = Callable[[Path], object]


def sine(sample_rate: int, *, duration: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    """Return a sine of amplitude 0.5."""
    return 0.5 * np.sin(
        2 * np.pi * frequency * np.arange(round(duration * sample_rate)) / sample_rate
    )


def write_m4a(path: Path, samples: npt.NDArray[np.float64], sample_rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=sample_rate, layout="mono")
        block = samples.astype(np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_wav(path: Path, frames: int, *, sample_rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 1, sample_rate, frames, "NONE", ""))
        out.writeframes(bytes([128]) * frames)


def write_nan(path: Path) -> None:
    samples = np.array([0.0, np.nan, 0.5], np.float32)
    soundfile.write(path, samples, 24_000, subtype="FLOAT")


def write_cut_flac(path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(48_000) * 0.1
    soundfile.write(path, noise, 48_000)
    path.write_bytes(path.read_bytes()[:-40_000])


def write_video_without_sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))


# --- files that cannot be used -------------------------------------------------------------------

BAD_FILES: dict[str, tuple[Make, str]] = {
    "missing.wav": (lambda path: None, "There is no audio file {!r}; check the path."),
    "folder.wav": (Path.mkdir, "{!r} is a folder; name one audio file in it."),
    "empty.wav": (Path.touch, "The audio file {!r} is empty; record or export it again."),
    "text.wav": (
        lambda path: path.write_text("This is a transcript and no audio.\n" * 9),
        "The file {!r} is not audio that can be read here; convert it to WAV, FLAC, MP3 or Ogg.",
    ),
    "nothing.wav": (
        lambda path: write_wav(path, 0),
        "The audio file {!r} holds no samples; record it again.",
    ),
    "nan.wav": (
        write_nan,
        "The audio file {!r} holds NaN or infinity; export it again as 16-bit WAV.",
    ),
    "cut.flac": (
        write_cut_flac,
        "The audio file {!r} is damaged or cut off; copy or export it again.",
    ),
    "lecture.wav": (
        lambda path: write_wav(path, 3_601_000, sample_rate=1000),
        "The audio file {!r} is longer than 60 minutes; cut it into prompts first.",
    ),
    "silent.mp4": (
        write_video_without_sound,
        "The file {!r} has no audio in it; give an audio file.",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    """One sentence names the file and says what to do."""
    make, sentence = BAD_FILES[name]
    path = tmp_path / name
    make(path)
    with pytest.raises(AudioError) as caught:
        Clip.read(path)
    assert str(caught.value) == sentence.format(str(path))


def test_an_audio_error_is_a_value_error(tmp_path: Path) -> None:
    """A caller that knows nothing of rtnb catches ValueError."""
    with pytest.raises(ValueError, match="There is no audio file"):
        Clip.read(tmp_path / "missing.wav")


def test_a_compressed_file_is_checked_for_length_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading through FFmpeg stops where it becomes too long."""
    monkeypatch.setattr(_audiofile, "LONGEST", 0.25)
    write_m4a(tmp_path / "long.m4a", sine(48_000), 48_000)
    with pytest.raises(AudioError, match=r"long\.m4a' is longer than"):
        Clip.read(tmp_path / "long.m4a")


def test_an_hour_is_short_enough(tmp_path: Path) -> None:
    """A file of exactly an hour is read."""
    write_wav(tmp_path / "hour.wav", 3_600_000, sample_rate=1000)
    assert Clip.read(tmp_path / "hour.wav").duration == 3600.0


# --- files that can ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
def test_read_what_libsndfile_knows(suffix: str, tmp_path: Path) -> None:
    """Duration, rate and level of the usual formats are right."""
    path = tmp_path / f"prompt.{suffix}"
    soundfile.write(path, sine(24_000), 24_000)
    clip = Clip.read(path)
    assert clip.sample_rate == 24_000
    assert clip.duration == pytest.approx(0.5, abs=0.06)  # mp3 pads to whole frames
    assert clip[0.1:0.4].level == pytest.approx(-9.03, abs=0.2)


@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 48_000])
def test_read_m4a(sample_rate: int, tmp_path: Path) -> None:
    """What only FFmpeg opens keeps its rate, length and level."""
    path = tmp_path / "phone.m4a"
    write_m4a(path, sine(sample_rate), sample_rate)
    clip = Clip.read(path)
    assert clip.sample_rate == sample_rate
    assert clip.duration == pytest.approx(0.5, abs=0.14)  # AAC: 1024-sample frames and priming
    assert clip[0.15:0.4].level == pytest.approx(-9.03, abs=0.3)


@pytest.mark.parametrize(
    ("subtype", "step"),
    [
        *(("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-22), ("PCM_32", 2**-22)),
        *(("FLOAT", 2**-22), ("DOUBLE", 2**-22), ("ALAW", 2**-4), ("ULAW", 2**-4)),
    ],
)
def test_read_any_depth(subtype: str, step: float, tmp_path: Path) -> None:
    """Each sample is within one step of what was written."""
    path = tmp_path / "prompt.wav"
    soundfile.write(path, sine(16_000), 16_000, subtype=subtype)
    assert np.abs(Clip.read(path).samples - sine(16_000)).max() <= step


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
def test_read_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    """Channels are averaged: a sine in one of n is an n-th as loud."""
    frames = np.zeros((12_000, channels))
    frames[:, -1] = sine(24_000)
    soundfile.write(tmp_path / "prompt.wav", frames, 24_000, subtype="FLOAT")
    clip = Clip.read(tmp_path / "prompt.wav")
    assert clip.samples.shape == (12_000,)
    assert np.allclose(clip.samples, sine(24_000) / channels, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 96_000])
def test_read_any_rate(rate: int, tmp_path: Path) -> None:
    """The rate is kept, whatever it is."""
    soundfile.write(tmp_path / "prompt.wav", sine(rate), rate)
    clip = Clip.read(str(tmp_path / "prompt.wav"))
    assert (clip.sample_rate, clip.duration) == (rate, pytest.approx(0.5, abs=1e-4))


@pytest.mark.parametrize("name", ["mit Leerzeichen.wav", "grüße 你好.wav", "no_suffix"])
def test_read_a_file_of_any_name(name: str, tmp_path: Path) -> None:
    """Names with spaces, accents or without a suffix are read."""
    soundfile.write(tmp_path / name, sine(16_000), 16_000, format="WAV")
    assert Clip.read(tmp_path / name).duration == 0.5


def test_write_then_read_gives_the_same_samples(tmp_path: Path) -> None:
    """A clip of 16-bit values survives a WAV unchanged, the extremes too."""
    clip = Clip(np.array([-1.0, -0.5, 0.0, 0.5, 32767 / 32768], np.float32), 24_000)
    assert Clip.read(clip.write(tmp_path / "deep" / "er" / "a.wav")) == clip


def test_write_says_where(tmp_path: Path) -> None:
    """`write` returns the path it was given, as a Path."""
    assert Clip.silence(0.1).write(str(tmp_path / "a.wav")) == tmp_path / "a.wav"


def test_a_written_wav_is_16_bit_mono(tmp_path: Path) -> None:
    """Any WAV reader opens what is written."""
    Clip.tone(440, 0.5).write(tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as found:
        assert found.getparams()[:4] == (1, 2, 48_000, 24_000)


def test_what_exceeds_full_scale_is_clipped_in_a_file(tmp_path: Path) -> None:
    """Samples beyond ±1 do not wrap around."""
    path = Clip(np.array([1.5, -1.5], np.float32), 8000).write(tmp_path / "a.wav")
    assert Clip.read(path).samples.tolist() == [32767 / 32768, -1.0]


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_write_other_formats(suffix: str, tmp_path: Path) -> None:
    """The suffix decides the format."""
    path = Clip.tone(440, 0.5).write(tmp_path / f"a.{suffix}")
    assert soundfile.info(path).format == {"mp3": "MP3"}.get(suffix, suffix.upper())


def test_a_suffix_that_is_no_format(tmp_path: Path) -> None:
    """A format that cannot be written is one clear error."""
    with pytest.raises(AudioError, match=r"A clip cannot be written as '.*a\.xyz'.*use \.wav\."):
        Clip.silence(0.1).write(tmp_path / "a.xyz")


# --- making clips --------------------------------------------------------------------------------


def test_integers_are_scaled_by_their_full_scale() -> None:
    """An int16 array becomes floats in [-1, 1)."""
    clip = Clip(np.array([-32768, 0, 16384], np.int16), 8000)
    assert clip.samples.tolist() == [-1.0, 0.0, 0.5]
    assert clip.samples.dtype == np.float32


def test_unsigned_bytes_are_centred() -> None:
    """128 is the silence of 8-bit audio."""
    assert Clip(np.array([0, 128, 192], np.uint8), 8000).samples.tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("samples", "sample_rate", "sentence"),
    [
        (
            [0.0, math.nan],
            8000,
            "These samples hold NaN or infinity; clean them first, e.g. with numpy.nan_to_num.",
        ),
        (
            [0.0, math.inf],
            8000,
            "These samples hold NaN or infinity; clean them first, e.g. with numpy.nan_to_num.",
        ),
        (
            [0.0],
            0,
            "A clip of 0 Hz cannot be used; give the true rate, 8000 to 192000 Hz.",
        ),
        ([0.0], "48000", "A sample rate is a number in Hz, not '48000'."),
        ([0.0], None, "A sample rate is a number in Hz, not None."),
        (
            np.zeros((2, 2, 2)),
            8000,
            "Samples of shape (2, 2, 2) cannot be a clip; give (n,) or (n, channels).",
        ),
        (
            np.zeros((2, 48_000)),
            48_000,
            "Samples of shape (2, 48000) cannot be a clip; give (n,) or (n, channels).",
        ),
        (
            ["a"],
            8000,
            "Samples of type <U1 cannot be a clip; give floats or integers.",
        ),
    ],
)
def test_samples_that_cannot_be_a_clip(samples: object, sample_rate: Any, sentence: str) -> None:
    """What cannot be audio is refused with a sentence."""
    with pytest.raises(AudioError) as caught:
        Clip(samples, sample_rate)  # type: ignore[arg-type]
    assert str(caught.value) == sentence


def test_samples_are_a_copy_that_nobody_changes() -> None:
    """Neither the clip nor the array it came from can change the other."""
    array = np.zeros(10, np.float32)
    clip = Clip(array, 8000)
    array[0] = 1.0
    assert clip.samples[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        clip.samples[0] = 1.0


def test_silence_has_its_duration() -> None:
    """`silence` is digital silence at 48,000 Hz unless told otherwise."""
    clip = Clip.silence(0.25, sample_rate=8000)
    assert (len(clip), clip.duration, np.abs(clip.samples).max()) == (2000, 0.25, 0.0)
    assert Clip.silence(1.0).sample_rate == 48_000


@pytest.mark.parametrize("duration", [-1.0, 3600.0, math.nan, math.inf])
def test_a_duration_that_cannot_be_made(duration: float) -> None:
    """A negative, endless or undefined duration is refused."""
    with pytest.raises(AudioError, match=f"A clip of {duration:g} s cannot be made"):
        Clip.silence(duration)


# --- levels --------------------------------------------------------------------------------------


def test_a_full_scale_sine_has_minus_3_dbfs() -> None:
    """`level` is the RMS over the clip, `peak` its largest magnitude."""
    clip = Clip(2 * sine(48_000, duration=1.0), 48_000)
    assert clip.level == pytest.approx(-3.0103, abs=0.001)
    assert clip.peak == pytest.approx(0.0, abs=0.001)


def test_a_full_scale_square_has_0_dbfs() -> None:
    """0 dBFS RMS is the loudest there is."""
    assert Clip(np.tile([1.0, -1.0], 500), 8000).level == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("clip", [Clip.silence(1.0), Clip.silence(0.0)])
def test_silence_has_no_level(clip: Clip) -> None:
    """Silence, and a clip without samples, are -inf dBFS."""
    assert (clip.level, clip.peak) == (-math.inf, -math.inf)


# --- editing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [8_000, 11_025, 16_000, 24_000, 44_100])
def test_resample_keeps_the_duration_to_the_sample(source: int) -> None:
    """The length is n * target / source, for odd lengths too."""
    clip = Clip(sine(source)[:-7], source)
    assert len(clip.resample(48_000)) == round(len(clip) * 48_000 / source)


@pytest.mark.parametrize("source", [8_000, 11_025, 16_000, 24_000, 44_100])
def test_resample_does_not_shift(source: int) -> None:
    """A sine stays where it was: zero lag, sample by sample."""
    out = Clip(sine(source), source).resample(48_000).samples
    inner = slice(2_400, -2_400)
    assert np.abs(out - sine(48_000)[: len(out)])[inner].max() < 0.005


@pytest.mark.parametrize("source", [8_000, 11_025, 16_000, 24_000, 44_100])
def test_resample_keeps_the_tail(source: int) -> None:
    """The last 5 ms are as loud as the rest: the resampler was flushed."""
    out = Clip(sine(source), source).resample(48_000)
    assert out[-0.005:].level == pytest.approx(Clip(sine(source), source)[-0.005:].level, abs=0.6)


def test_resample_to_the_same_rate_changes_nothing() -> None:
    """The same rate gives the same samples."""
    clip = Clip(sine(24_000), 24_000)
    assert clip.resample(24_000) == clip


def test_resample_never_exceeds_full_scale() -> None:
    """Overshoot of the filter is clipped to [-1, 1]."""
    clip = Clip(np.sign(sine(8_000)), 8_000).resample(48_000)
    assert np.abs(clip.samples).max() <= 1.0


@pytest.mark.parametrize("rate", [0, -1, "24000", None])
def test_a_rate_that_cannot_be_resampled_to(rate: Any) -> None:
    """A rate that no clip can have is an AudioError here too."""
    with pytest.raises(AudioError, match=r"A clip of .* Hz cannot be used|A sample rate is a"):
        Clip.tone(440, 0.1).resample(rate)


def test_resample_keeps_the_gaps() -> None:
    """Gaps are in seconds: another rate leaves them where they are."""
    assert Clip(sine(8000), 8000, gaps=[(0.1, 0.2)]).resample(48_000).gaps == ((0.1, 0.2),)


@pytest.mark.parametrize(
    ("cut", "first", "count"),
    [
        (slice(0.2, 0.5), 200, 300),
        (slice(None, 0.3), 0, 300),
        (slice(0.9, None), 900, 100),
        (slice(-0.25, None), 750, 250),
        (slice(0.1, -0.1), 100, 800),
        (slice(-5, None), 0, 1000),
        (slice(0.5, 99), 500, 500),
        (slice(0.7, 0.2), 700, 0),
        (slice(2, 3), 1000, 0),
        (slice(None), 0, 1000),
    ],
)
def test_slicing_is_by_seconds(cut: slice, first: int, count: int) -> None:
    """A slice counts in seconds, from the end where negative, and stays inside."""
    samples = np.arange(1000) / 1000
    part = Clip(samples, 1000)[cut]
    assert np.allclose(part.samples, samples[first : first + count])
    assert len(part) == count


@pytest.mark.parametrize("key", [3, 0.5, slice(0, 1, 2)])
def test_other_subscripts_are_refused(key: object) -> None:
    """An index or a step is a TypeError that shows the way."""
    with pytest.raises(TypeError, match=r"A clip is cut by seconds, as in clip\[0\.5:1\.2\]\."):
        Clip.silence(1.0)[key]  # type: ignore[index]


def test_plus_joins() -> None:
    """`+` puts one clip after the other."""
    joined = Clip([0.1, 0.2], 8000) + Clip([0.3], 8000)
    assert joined == Clip([0.1, 0.2, 0.3], 8000)


def test_clips_of_two_rates_are_not_joined() -> None:
    """The sentence says how to make them fit."""
    with pytest.raises(AudioError) as caught:
        Clip.silence(1, sample_rate=8000) + Clip.silence(1, sample_rate=48_000)
    assert str(caught.value) == (
        "Clips of 8000 and 48000 Hz cannot be joined; use .resample(8000) on one first."
    )


def test_a_clip_plus_something_else_is_a_type_error() -> None:
    """A clip is joined with clips only."""
    with pytest.raises(TypeError, match="unsupported operand"):
        Clip.silence(1) + 1  # type: ignore[operator]


def test_gaps_are_shifted_by_slicing() -> None:
    """Gaps move with the cut, are cut with it, and vanish outside of it."""
    clip = Clip.silence(1.0, sample_rate=1000)
    clip = Clip(clip.samples, 1000, gaps=[(0.0, 0.1), (0.2, 0.4), (0.6, 0.8), (0.9, 1.0)])
    assert np.allclose(clip[0.3:0.7].gaps, [(0.0, 0.1), (0.3, 0.4)])
    assert clip[0.4:0.6].gaps == ()


def test_gaps_are_shifted_by_plus() -> None:
    """The gaps of the second clip come after the first."""
    one = Clip(np.zeros(1000), 1000, gaps=[(0.1, 0.2)])
    assert np.allclose((one + one).gaps, [(0.1, 0.2), (1.1, 1.2)])


# --- equality and display ------------------------------------------------------------------------


def test_equal_clips_have_equal_hashes() -> None:
    """Clips with the same samples and rate are one key of a dict."""
    one, other = Clip([0.1, 0.2], 8000), Clip(np.float32([0.1, 0.2]), 8000)
    assert one == other
    assert len({one, other}) == 1


@pytest.mark.parametrize("other", [Clip([0.1], 8000), Clip([0.1, 0.2], 16_000), [0.1, 0.2], None])
def test_different_things_are_not_equal(other: object) -> None:
    """Other samples, another rate, and things that are no clip differ."""
    assert Clip([0.1, 0.2], 8000) != other


def test_a_clip_is_true_even_when_empty() -> None:
    """`if clip` asks whether there is a clip."""
    assert Clip([], 8000)


@pytest.mark.parametrize(
    ("clip", "shown"),
    [
        (Clip(sine(24_000), 24_000), "<Clip 0.50 s, 24000 Hz, peak -6.0 dBFS>"),
        (Clip.silence(2.0), "<Clip 2.00 s, 48000 Hz, silent>"),
        (
            Clip(np.zeros(800), 8000, gaps=[(0.0, 0.02), (0.04, 0.06)]),
            "<Clip 0.10 s, 8000 Hz, silent, 2 gaps>",
        ),
    ],
)
def test_the_repr_is_short(clip: Clip, shown: str) -> None:
    """Duration, rate, peak, and gaps where there are any."""
    assert repr(clip) == shown


def test_a_cell_shows_a_player_and_a_waveform() -> None:
    """The HTML carries the very samples, and a drawing of them."""
    clip = Clip(sine(24_000), 24_000)
    html = clip._repr_html_()
    assert html.count("<svg") == html.count("<audio controls") == 1
    encoded = re.search(r"base64,([^\"]+)", html)
    assert encoded
    samples, sample_rate = soundfile.read(io.BytesIO(b64decode(encoded[1])))
    assert (sample_rate, len(samples)) == (24_000, len(clip))
    assert np.abs(samples - clip.samples).max() <= 2**-15


def embedded(html: str) -> tuple[str, bytes]:
    """Return MIME type and bytes of the file in a player."""
    found = re.search(r"src=\"data:([^;]+);base64,([^\"]+)", html)
    assert found
    return found[1], b64decode(found[2])


def test_a_longer_clip_is_embedded_as_mp3() -> None:
    """Beyond 20 s the player loses a little, and takes 8 kB a second."""
    chance = np.random.default_rng(1).uniform(-0.1, 0.1, 30 * 24_000)
    kind, content = embedded(Clip(chance, 24_000)._repr_html_())
    assert kind == "audio/mpeg"
    samples, _ = soundfile.read(io.BytesIO(content))
    assert len(samples) / 24_000 == pytest.approx(30.0, abs=0.1)
    assert len(content) < 30 * 12_000


def test_a_cell_shows_the_start_of_a_long_clip() -> None:
    """Of a long clip five minutes are embedded, and the caption says so."""
    html = Clip.silence(330, sample_rate=8000)._repr_html_()
    assert "the player has the first 300 s" in html
    assert "Clip 330.00 s, 8000 Hz, silent" in html
    assert len(html) < 4.0e6


def test_a_cell_says_what_is_wrong_with_a_clip() -> None:
    """Lost stretches and clipped samples are told beneath the waveform."""
    square = np.sign(np.sin(np.arange(8000) / 5))
    html = Clip(square, 8000, gaps=[(0.1, 0.12)])._repr_html_()
    assert "20 ms lost on the way" in html
    assert re.search(r"clipped: \d{4} samples at full scale", html)


def test_only_runs_at_full_scale_are_clipped() -> None:
    """Three samples in a row are; a single one may be a true peak."""
    assert Clip([0.0, 1.0, 0.0, -1.0, -1.0, 0.0], 8000).clipped == 0
    assert Clip([0.0, 1.0, 1.0, 1.0, 0.5, -1.0, -1.0, -1.0, -1.0], 8000).clipped == 7
    assert Clip([1.0, 1.0], 8000).clipped == 0


def test_a_clip_keeps_whose_it_is() -> None:
    """Cutting, joining and resampling keep the colour."""
    clip = Clip(sine(24_000), 24_000, role="reply")
    for one in (clip[0.1:0.2], clip + clip, clip.resample(8000)):
        assert one.role == "reply"
        assert "rtnb-clip rtnb-reply" in one._repr_html_()


def test_a_clip_is_drawn_as_no_unknown_kind() -> None:
    """The sentence names the kinds there are."""
    with pytest.raises(ConfigurationError, match="'waveform', 'spectrogram' or 'level'"):
        Clip.silence(0.1).plot("cepstrum")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_cell_shows_the_shortest_clips(count: int) -> None:
    """A clip of no, one or two samples has HTML too."""
    html = Clip(np.full(count, 0.5), 8000)._repr_html_()
    assert f"Clip 0.00 s, 8000 Hz, {'peak -6.0 dBFS' if count else 'silent'}" in html
    assert ("<svg" in html) == bool(count)


def test_the_bundled_samples_are_clips() -> None:
    """`rtnb.sample` gives a clip of 24,000 Hz."""
    assert rtnb.sample("greeting").sample_rate == 24_000


def test_figures_of_a_long_clip_are_those_of_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Level, peak, clipped samples and the mean of channels are the same in small blocks."""
    rows = np.random.default_rng(1).choice(
        np.int16([-32768, 0, 32767]), (5_000, 2), p=[0.8, 0.1, 0.1]
    )
    whole = Clip(rows, 8000)
    figures = (whole.peak, whole.clipped, pytest.approx(whole.level, abs=1e-9))
    monkeypatch.setattr("rtnb.audio._BLOCK", 7)
    assert Clip(rows, 8000) == whole
    assert (whole.peak, whole.clipped, whole.level) == figures


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.uint16])
def test_integers_of_each_width_are_scaled_exactly(dtype: type) -> None:
    """The lowest value is -1.0, and each other one is the nearest float32."""
    info = np.iinfo(dtype)
    values = np.linspace(info.min, info.max, 999).astype(dtype)
    middle = 0.0 if info.min else (info.max + 1) / 2
    exact = (values - middle) / ((float(info.max) - info.min + 1) / 2)
    assert np.array_equal(Clip(values, 8000).samples, exact.astype(np.float32))
