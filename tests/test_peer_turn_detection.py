"""How exactly the peer finds the user's turns, and what it does in silence."""

from __future__ import annotations

import base64
from functools import cache

import numpy as np
import pytest
from peer_client import prompt_clip, prompt_pcm, through_opus
from simulated_call import SimulatedCall, hello, sound

from rtnb.measure import speech_span
from rtnb.peer import repertoire
from rtnb.peer.inputbuffer import InputBuffer, SpeechStarted
from rtnb.peer.reply import Rendered
from rtnb.peer.vad import Offset, Onset, SpeechDetector
from rtnb.peer.wireaudio import encoded

NAMES = [prompt.name for prompt in repertoire.prompts()]
CLEAR = [name for name in NAMES if "noisy" not in name]
BEFORE = 0.723  # seconds of silence in front: no multiple of a frame or window
RNG = np.random.default_rng(3)


def blocks(samples, size=960):
    return [samples[i : i + size] for i in range(0, len(samples), size)]


@cache
def decided(name):
    """Return onset and offset, and when each was decided, in seconds from the clip's beginning."""
    detector, found = SpeechDetector(), []
    samples = through_opus(prompt_pcm(name, before=BEFORE, after=0.9))
    for number, block in enumerate(blocks(samples)):
        decided_at = (number + 1) * 0.02 - BEFORE
        found += [(d.sample / 48_000 - BEFORE, decided_at) for d in detector.push(block)]
    (start, started), (end, ended) = found
    return start, started, end, ended


def errors(names):
    """Return how far onset, offset, and the decision for the onset are from the audible speech."""
    rows = []
    for name in names:
        start, started, end, _ = decided(name)
        true_start, true_end = speech_span(prompt_clip(name))
        rows.append((start - true_start, end - true_end, started - true_start))
    return np.array(rows).T


def test_turns_are_found_to_within_fifty_milliseconds():
    """Of clear speech through Opus: the median within 25 ms, the worst within 50 ms."""
    onsets, offsets, _ = errors(CLEAR)
    assert np.abs(onsets).max() < 0.05 and np.abs(offsets).max() < 0.05
    assert np.median(np.abs(onsets)) < 0.025 and np.median(np.abs(offsets)) < 0.025


def test_speech_is_noticed_within_a_quarter_of_a_second():
    """What an interruption waits for: the median within 170 ms, the worst within 250 ms."""
    _, _, noticed = errors(NAMES)
    assert np.median(noticed) < 0.17 and noticed.max() < 0.25


def test_the_end_is_decided_when_the_silence_is_over():
    """500 ms after the offset, to within two windows of the detector."""
    for name in NAMES:
        _, _, end, ended = decided(name)
        assert 0.5 <= ended - end < 0.5 + 2 * 0.032 + 0.02, name


@pytest.mark.parametrize("noise", [40, 200])
def test_speech_in_a_steady_noise_is_found(noise):
    """The noise alone is not speech, and does not hide where speech begins."""
    samples = prompt_pcm("greeting", before=3.0, after=1.5).astype(float)
    noisy = (samples + RNG.normal(0, noise, len(samples))).clip(-32_768, 32_767).astype(np.int16)
    detector = SpeechDetector()
    found = [d for block in blocks(noisy) for d in detector.push(block)]
    start, end = speech_span(prompt_clip("greeting"))
    assert [type(d) for d in found] == [Onset, Offset]
    assert abs(found[0].sample / 48_000 - 3.0 - start) < 0.1
    assert abs(found[1].sample / 48_000 - 3.0 - end) < 0.15


def asked(samples, monkeypatch):
    """Return the share of a stream's windows for which the net is asked."""
    detector, count = SpeechDetector(), 0
    net = detector._net

    class Counted:
        def reset(self):
            net.reset()

        def process_samples(self, window):
            nonlocal count
            count += 1
            return net.process_samples(window)

    monkeypatch.setattr(detector, "_net", Counted())
    for block in blocks(samples):
        detector.push(block)
    return count / (len(samples) / 48_000 / 0.032)


def test_the_net_is_asked_only_where_it_matters(monkeypatch):
    """Never in silence, hardly ever in a steady noise, for less than half of loud speech."""
    assert asked(np.zeros(96_000, np.int16), monkeypatch) == 0
    assert asked(RNG.normal(0, 150, 480_000).astype(np.int16), monkeypatch) < 0.02
    assert asked(prompt_pcm("tell_me_a_story"), monkeypatch) < 0.5


def test_quiet_speech_after_loud_speech_is_heard():
    """What was loud a moment ago does not count as noise."""
    quiet = (prompt_pcm("greeting") * 0.05).astype(np.int16)
    samples = np.concatenate(
        [prompt_pcm("leap_year", after=0.7), quiet, np.zeros(48_000, np.int16)]
    )
    detector = SpeechDetector()
    found = [d for block in blocks(samples) for d in detector.push(block)]
    assert [type(d) for d in found] == [Onset, Offset, Onset, Offset]


def test_speech_of_one_level_is_no_noise():
    """Compressed until it neither rises nor falls, it goes on for as long as somebody speaks."""
    names = ("tell_me_a_story", "leap_year")
    clips = [prompt_clip(name).resample(48_000).samples[9_600:-9_600] for name in names]
    said = np.concatenate(clips)
    level = np.sqrt(np.convolve(said**2, np.ones(1_920) / 1_920, "same"))
    flat = said / np.maximum(level, 1e-4) * 0.05
    samples = np.concatenate([np.zeros(24_000), flat.clip(-1, 1), np.zeros(48_000)]) * 32_767
    detector = SpeechDetector()
    found = [d for block in blocks(samples.astype(np.int16)) for d in detector.push(block)]
    assert [type(d) for d in found] == [Onset, Offset]
    assert abs((found[1].sample - found[0].sample) - len(said)) < 9_600


def test_a_silence_of_no_length_ends_speech_at_its_first_pause():
    """Not at once."""
    detector = SpeechDetector(silence=0.0)
    samples = prompt_pcm("greeting", after=0.5)
    onset, offset, *_ = (d for block in blocks(samples) for d in detector.push(block))
    assert offset.sample - onset.sample > 4_800


# --- the input audio buffer ----------------------------------------------------------------------


def test_events_say_what_the_detector_decided():
    """audio_start_ms is the onset less the padding, audio_end_ms the offset and the silence."""
    call = SimulatedCall()
    call.input(turn_detection={"prefix_padding_ms": 200, "silence_duration_ms": 400})
    samples = prompt_pcm("greeting", before=BEFORE, after=0.9)
    call.hear(samples)
    detector = SpeechDetector(silence=0.4)
    onset, offset = (d for block in blocks(samples) for d in detector.push(block))
    started = call.last("input_audio_buffer.speech_started")["audio_start_ms"]
    stopped = call.last("input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert abs(started - (onset.sample / 48 - 200)) <= 1
    assert abs(stopped - (offset.sample / 48 + 400)) <= 1


def test_a_turn_begins_with_its_padding():
    """The audio of the item is what the events say."""
    call = SimulatedCall()
    call.hear(prompt_pcm("greeting", before=BEFORE, after=0.9))
    started = call.last("input_audio_buffer.speech_started")["audio_start_ms"]
    stopped = call.last("input_audio_buffer.speech_stopped")["audio_end_ms"]
    duration = call.turns[0].audio.duration * 1000
    assert -25 <= duration - (stopped - started) <= 55


def test_a_semantic_turn_ends_sooner_the_more_eager_it_is():
    """And always before the longest wait of the reference: 8, 4 and 2 seconds."""
    waits = {}
    for eagerness, longest in (("low", 8), ("medium", 4), ("high", 2), ("auto", 4)):
        buffer = InputBuffer({"type": "semantic_vad", "eagerness": eagerness})
        found = [d for b in blocks(prompt_pcm("greeting", after=2.0)) for d in buffer.push(b)]
        waits[eagerness] = found[-1].end_ms
        assert waits[eagerness] < len(prompt_pcm("greeting")) / 48 + longest * 1000
    assert waits["low"] > waits["medium"] == waits["auto"] > waits["high"]


def test_a_threshold_of_one_hears_nobody():
    """The threshold is that of the detector's probability."""
    buffer = InputBuffer(
        {"type": "server_vad", "threshold": 1, "prefix_padding_ms": 0, "silence_duration_ms": 500}
    )
    assert [d for b in blocks(prompt_pcm("greeting")) for d in buffer.push(b)] == []


def test_appended_audio_is_heard_like_the_tracks():
    """It is one stream: 24 kHz PCM makes a turn as the track does."""
    call = SimulatedCall()
    wire = base64.b64decode(
        encoded(prompt_pcm("greeting", before=0.3, after=0.9), {"type": "audio/pcm"})
    )
    for start in range(0, len(wire), 48_000):
        audio = base64.b64encode(wire[start : start + 48_000]).decode()
        assert call.send("input_audio_buffer.append", audio=audio) is None
    call.drain()
    assert "response.done" in call.types() and call.problems() == []


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        (None, "missing_required_parameter"),
        (7, "invalid_value"),
        ("no base64!", "invalid_value"),
        ("AAAA", "invalid_value"),
        ("A" * (15 * 1024 * 1024 + 4), "string_above_max_length"),
    ],
    ids=["none", "number", "text", "odd bytes", "too long"],
)
def test_what_is_no_audio_is_not_appended(audio, code):
    """The error names the parameter."""
    error = SimulatedCall().send("input_audio_buffer.append", audio=audio)
    assert (error["code"], error["param"]) == (code, "audio")


# --- idle ----------------------------------------------------------------------------------------


def idle_call(seconds=5.0, voice=hello):
    """Return a call in which the peer has answered, and then nobody speaks for so long."""
    call = SimulatedCall(voice)
    call.input(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    call.text()
    call.send("response.create")
    call.hear(np.zeros(int(1.5 * 48_000), np.int16))
    call.hear(np.zeros(int(seconds * 48_000), np.int16))
    return call


def test_a_long_silence_is_taken_for_a_turn():
    """Sequence H, five seconds after the answer was heard to its end."""
    call = idle_call()
    types = call.types()
    place = types.index("input_audio_buffer.timeout_triggered")
    assert types[place : place + 5] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    told = call.last("input_audio_buffer.timeout_triggered")
    assert 4950 <= told["audio_end_ms"] - told["audio_start_ms"] <= 5050
    assert told["item_id"] == call.last("input_audio_buffer.committed")["item_id"]
    assert call.problems(over=False) == []


def test_a_silence_before_any_answer_is_not_idle():
    """The time begins with the end of an answer."""
    call = SimulatedCall()
    call.input(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    call.hear(np.zeros(7 * 48_000, np.int16))
    assert "input_audio_buffer.timeout_triggered" not in call.types()


def test_speech_ends_the_waiting():
    """And the turn is an ordinary one."""
    call = idle_call(2.0)
    call.hear(prompt_pcm("greeting", after=0.9))
    call.wait(3.0)
    assert "input_audio_buffer.timeout_triggered" not in call.types()
    assert call.types().count("response.created") == 2


def test_a_written_turn_ends_the_waiting_until_its_answer_was_heard():
    """While a long answer is generated and played nobody waits; then it begins anew."""
    story = Rendered(" ".join(["word"] * 60), sound(20.0))
    call = idle_call(2.0, lambda turn: hello(turn) if turn.number == 1 else story)
    call.text()
    call.send("response.create")
    call.wait(24.5)  # 20 s of sound, and less than the timeout
    assert "input_audio_buffer.timeout_triggered" not in call.types()
    call.wait(1.0)
    assert call.types().count("input_audio_buffer.timeout_triggered") == 1


def test_the_waiting_ends_with_the_setting():
    """Turned off while it runs, nothing happens."""
    call = idle_call(2.0)
    call.input(turn_detection={"type": "server_vad", "idle_timeout_ms": None})
    call.wait(10.0)
    assert "input_audio_buffer.timeout_triggered" not in call.types()


def test_positions_go_on_across_turns():
    """They count all audio that was heard, from the call's beginning."""
    buffer = InputBuffer(
        {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 0, "silence_duration_ms": 500}
    )
    one = prompt_pcm("greeting", before=0.5, after=0.9)
    found = [d for b in blocks(np.concatenate([one, one])) for d in buffer.push(b)]
    starts = [d.start_ms for d in found if isinstance(d, SpeechStarted)]
    assert len(starts) == 2 and abs(starts[1] - starts[0] - len(one) / 48) < 40
