"""What the peer makes of the caller's audio: packets, turns, and which prompt it was."""

from __future__ import annotations

import numpy as np
import pytest
from peer_client import prompt_clip, prompt_pcm, through_opus

from rtnb.audio import Clip
from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.opus import encode
from rtnb.peer import fingerprint, inputbuffer, repertoire
from rtnb.peer.hearing import Hearing
from rtnb.peer.inputbuffer import InputBuffer, SpeechStarted, SpeechStopped
from rtnb.peer.settings import changed, default_session
from rtnb.peer.vad import Downsampler, Offset, Onset, SpeechDetector

NAMES = [prompt.name for prompt in repertoire.prompts()]
QUIET = "quiet_can_you_hear_me"
BEFORE = 0.8  # seconds of silence in front
RNG = np.random.default_rng(1)


def blocks(samples, size=960):
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def audible_span(name):
    """Return where a prompt is within 30 dB of its loudest 10 ms, in seconds; 16 dB in noise."""
    depth = 16 if "noisy" in name else 30
    samples = prompt_clip(name).resample(48_000).samples
    frames = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    level = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (-depth / 20))
    return loud[0] * 0.01, (loud[-1] + 1) * 0.01


def decisions(samples, **options):
    detector = SpeechDetector(**options)
    return [d for block in blocks(samples) for d in detector.push(block)]


# --- voice activity ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_speech_is_found_where_it_is(name):
    """One turn for a prompt, quiet or noisy; a noise that begins with it counts as speech."""
    found = decisions(through_opus(prompt_pcm(name, before=BEFORE, after=0.7)))
    start, end = audible_span(name)
    assert [type(d) for d in found] == [Onset, Offset]
    assert abs(found[0].sample / 48_000 - BEFORE - start) < (0.13 if "noisy" in name else 0.05)
    assert abs(found[1].sample / 48_000 - BEFORE - end) < (0.25 if "noisy" in name else 0.1)


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(96_000, np.int16),
        RNG.normal(0, 20, 96_000).astype(np.int16),
        RNG.normal(0, 2000, 96_000).astype(np.int16),
        np.where(np.arange(96_000) % 24_000 < 200, 12_000, 0).astype(np.int16),
    ],
    ids=["silence", "hiss", "loud noise", "clicks"],
)
def test_what_is_not_speech_starts_no_turn(samples):
    """Silence, noise and clicks are not taken for speech."""
    assert decisions(samples) == []


def test_the_silence_that_ends_a_turn_is_the_one_asked_for():
    """With 200 ms a pause within the prompt ends a turn; with 500 ms it does not."""
    samples = prompt_pcm("largest_planet", after=1.0)
    assert len(decisions(samples, silence=0.2)) == 4
    assert len(decisions(samples, silence=0.5)) == 2


def test_the_downsampler_does_not_mind_how_its_input_is_cut():
    """Blocks of any size give the samples of the whole."""
    samples = RNG.normal(0, 5000, 9_600).astype(np.int16)
    whole = Downsampler().push(samples)
    cut = Downsampler()
    parts = np.concatenate([cut.push(block) for block in blocks(samples, 701)])
    assert len(whole) == 3_200 and np.allclose(whole, parts, atol=1e-6)


# --- the input buffer ----------------------------------------------------------------------------


def server_vad(**setting):
    audio = {"input": {"turn_detection": {"type": "server_vad", **setting}}}
    session = changed(default_session("s"), {"type": "realtime", "audio": audio})
    return session["audio"]["input"]["turn_detection"]


def test_positions_include_padding_and_silence():
    """audio_start_ms is before the onset, audio_end_ms after the silence that was waited for."""
    buffer = InputBuffer(server_vad(prefix_padding_ms=300, silence_duration_ms=500))
    samples = prompt_pcm("greeting", before=BEFORE, after=0.8)
    started, stopped = (d for block in blocks(samples) for d in buffer.push(block))
    start, end = audible_span("greeting")
    assert isinstance(started, SpeechStarted) and isinstance(stopped, SpeechStopped)
    assert abs(started.start_ms - (BEFORE + start) * 1000 + 300) < 100
    assert abs(stopped.end_ms - (BEFORE + end) * 1000 - 500) < 200


def test_a_turn_begins_at_zero_at_the_earliest():
    """The prefix padding does not reach before the first sample."""
    buffer = InputBuffer(server_vad(prefix_padding_ms=2000))
    samples = prompt_pcm("greeting", before=0.2)
    assert [d for b in blocks(samples) for d in buffer.push(b)] == [SpeechStarted(0)]


def test_a_silent_buffer_does_not_grow():
    """With turn detection on, only what a turn may still need is kept."""
    buffer = InputBuffer(server_vad())
    for _ in range(300):
        buffer.push(np.zeros(960, np.int16))
    assert buffer.duration_ms == 1300


@pytest.mark.parametrize("turn_detection", [None, server_vad(prefix_padding_ms=0)])
def test_a_buffer_has_a_limit(turn_detection, monkeypatch):
    """In both modes: somebody who never pauses is heard from a later time on."""
    monkeypatch.setattr(inputbuffer, "_KEPT_AT_MOST", 48_000)
    buffer = InputBuffer(turn_detection)
    for block in blocks(prompt_pcm("capital_of_france")):
        buffer.push(block)
    assert buffer.duration_ms == 1000


# --- packets -------------------------------------------------------------------------------------


def heard(sequence):
    """Return what is heard of 40 packets of a tone that come in this order."""
    packets = encode((Clip.tone(440, 0.8).samples * 32767).astype(np.int16).tobytes())
    hearing = Hearing()
    arrivals = [
        RtpArrival((65_530 + i) % 65_536, (2**32 - 4_800 + i * 960) % 2**32, 7, packets[i], 0.0)
        for i in sequence
    ]
    return np.concatenate([s for a in arrivals for s in hearing.push(a)])


def test_packets_are_put_in_order():
    """Swapped packets sound as if they had come in order, across the wrap of both counters."""
    swapped = [*range(12), 13, 12, *range(14, 40)]
    assert np.array_equal(heard(swapped), heard(range(40)))


def test_a_lost_packet_is_silence_and_shifts_nothing():
    """What is missing takes its time, so that positions stay right."""
    lost = heard([i for i in range(40) if i != 12])
    assert len(lost) == len(heard(range(40)))
    assert not lost[12 * 960 : 13 * 960].any()


# --- recognition ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_prompt_is_recognised_through_opus(name):
    """With a clear margin, behind up to a second of silence, and at a tenth of its level."""
    for before, gain in ((0.31, 1.0), (0.97, 1.0), (0.0, 0.1)):
        samples = (prompt_pcm(name, before=before, after=0.5) * gain).astype(np.int16)
        best, second = fingerprint.scores(through_opus(samples))[:2]
        assert best.name == name and best.score > 0.9 and second.score < 0.7


def others():
    """Return audio that is none of the prompts, by name."""
    found = {
        "silence": np.zeros(96_000, np.int16),
        "tone": (Clip.tone(440, 2).samples * 32767).astype(np.int16),
        "noise": RNG.normal(0, 3000, 96_000).astype(np.int16),
        "quiet, then loud": np.concatenate([prompt_pcm(QUIET, after=0.2), prompt_pcm(NAMES[0])]),
        "loud, then quiet": np.concatenate([prompt_pcm(NAMES[0], after=0.2), prompt_pcm(QUIET)]),
        "two prompts": np.concatenate([prompt_pcm(NAMES[0], after=0.2), prompt_pcm(NAMES[1])]),
    }
    for said in repertoire.sayings():
        found[f"reply {said.name}"] = np.frombuffer(said.pcm, np.int16)
    for name in NAMES:
        samples = prompt_pcm(name)
        eighth = len(samples) // 8
        found[f"reversed {name}"] = samples[::-1].copy()
        found[f"half {name}"] = samples[: len(samples) // 2]
        parts = [samples[i * eighth : (i + 1) * eighth] for i in RNG.permutation(8)]
        found[f"shuffled {name}"] = np.concatenate(parts)
    return found


def test_no_other_audio_is_taken_for_a_prompt():
    """Tones, noise, the peer's own clips, and prompts reversed, halved, shuffled or joined."""
    wrong = {n: fingerprint.recognise(through_opus(s)) for n, s in others().items()}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_in_a_steady_noise_is_recognised(name):
    """What is around it is no speech, as long as it does not rise and fall."""
    samples = prompt_pcm(name, before=0.3, after=0.7)
    noise = RNG.normal(0, np.abs(samples).max() * 0.01, len(samples))
    noisy = np.clip(samples + noise, -32_768, 32_767).astype(np.int16)
    assert fingerprint.recognise(through_opus(noisy)) == name


def test_audio_that_is_too_long_for_a_prompt_is_not_analysed(monkeypatch):
    """The event loop has no time for it."""
    monkeypatch.setattr(fingerprint, "scores", None)
    assert fingerprint.recognise(np.resize(prompt_pcm("greeting"), 6 * 48_000)) is None
