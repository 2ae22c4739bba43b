"""How the peer speaks: recordings, a synthesiser, a tone; and voices that can be told apart."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys

import numpy as np
import pytest

from rtnb.audio import Clip
from rtnb.errors import ConfigurationError
from rtnb.peer import repertoire, speech
from rtnb.peer.audible import audible_seconds
from rtnb.peer.speech import LONGEST_TEXT, PAUSE, Speech
from rtnb.peer.timbre import PITCHES, pitch_of, shaped

RATE = 48_000
PARIS = "The capital of France is Paris."
SKY = "The sky is blue on a clear day."
NEW = "It is twenty one degrees in Lisbon."


def samples_of(pcm):
    return np.frombuffer(pcm, np.int16).astype(np.float32) / 32768


def pitch(samples, lowest=70, highest=330):
    """Return the median fundamental in Hz of what is voiced, by autocorrelation."""
    found = []
    for at in range(0, len(samples) - 4096, 1024):
        block = samples[at : at + 4096]
        if np.sqrt(np.mean(block**2)) < 0.03:
            continue
        spectrum = np.fft.rfft(block * np.hanning(4096), 16_384)
        similar = np.fft.irfft(np.abs(spectrum) ** 2)
        lag = RATE // highest + int(np.argmax(similar[RATE // highest : RATE // lowest]))
        if similar[lag] > 0.5 * similar[0]:
            before, here, after = similar[lag - 1 : lag + 2]
            found.append(RATE / (lag + (before - after) / (2 * (before - 2 * here + after))))
    return statistics.median(found)


def level_db(samples):
    return 20 * np.log10(np.sqrt(np.mean(samples**2)))


@pytest.fixture(scope="module")
def plain():
    """Speech without a synthesiser."""
    return Speech(synthesiser=None)


@pytest.fixture(scope="module")
def synthesising():
    """Speech with what the test environment has installed."""
    return Speech()


# --- which sound ----------------------------------------------------------------------------------


def test_a_clip_s_own_words_are_the_clip_with_and_without_a_synthesiser(plain, synthesising):
    """Every answer of the default voice is its recording, to the bit."""
    for said in repertoire.sayings():
        assert plain.speak(said.text) == synthesising.speak(said.text) == said.pcm


def test_case_and_punctuation_do_not_keep_a_clip_from_being_found(plain):
    """The words are the same."""
    assert (
        plain.speak("the capital of france is PARIS") == repertoire.saying("capital_of_france").pcm
    )


def test_sentences_that_all_have_clips_are_joined(plain):
    """With 200 ms between them; a clip of two sentences is one."""
    joined = plain.speak(f"{PARIS} Hello! I am doing fine today. {SKY}")
    pause = bytes(2 * round(PAUSE * RATE))
    names = ("capital_of_france", "greeting", "color_of_the_sky")
    assert joined == pause.join(repertoire.saying(name).pcm for name in names)


def test_a_bundled_sample_s_words_are_its_sound_in_the_peer_s_voice(plain):
    """It is as long as the sample, and lower."""
    sample = next(p for p in repertoire.prompts() if p.name == "color_of_the_sky")
    recorded = Clip.read(sample.path).resample(RATE)
    spoken = samples_of(plain.speak(sample.text))
    assert len(spoken) == len(recorded)
    assert pitch(spoken) / pitch(recorded.samples) == pytest.approx(0.82, rel=0.03)


@pytest.mark.parametrize("text", [NEW, f"{PARIS} {NEW}", "日本語のテキスト", "…", "?!", "x"])
def test_what_nobody_recorded_is_a_tone(plain, text):
    """Soft, audible from end to end, and never louder than the clips."""
    spoken = samples_of(plain.speak(text))
    assert audible_seconds(np.frombuffer(plain.speak(text), np.int16)) > 0.9 * len(spoken) / RATE
    assert -30 < level_db(spoken) < level_db(samples_of(plain.speak(PARIS)))


def test_a_tone_lasts_as_long_as_there_are_words(plain):
    """0.3 s each; a script without spaces counts by its characters; 600 at most."""
    seconds = [len(plain.speak(t)) / 2 / RATE for t in ("one", "one two three", "語" * 120)]
    assert seconds == pytest.approx([0.3, 0.9, 3.0])
    assert len(plain.speak("a " * 2_000)) / 2 / RATE == pytest.approx(180)


def test_a_tone_is_two_notes_that_take_turns(plain):
    """Words can be counted by ear."""
    spoken = samples_of(plain.speak("one two three four"))
    words = spoken.reshape(4, -1)
    notes = [np.argmax(np.abs(np.fft.rfft(word, RATE))) for word in words]
    assert notes == pytest.approx([392, 523, 392, 523], abs=2)


def test_white_space_has_no_sound(plain):
    """There is nothing to say."""
    assert plain.speak("") == plain.speak(" \n") == b""


def test_a_text_that_would_take_too_long_is_refused(plain):
    """Before anything is made of it."""
    with pytest.raises(ValueError, match="5001 characters is too long"):
        plain.speak("x" * (LONGEST_TEXT + 1))


# --- the synthesiser ------------------------------------------------------------------------------


def test_a_new_text_is_spoken_by_the_installed_synthesiser(synthesising, plain):
    """In the voice of the recordings, as loud as they are, and the same each time."""
    spoken = synthesising.speak(NEW)
    assert spoken != plain.speak(NEW)
    assert Speech().speak(NEW) == spoken
    recorded = samples_of(plain.speak(f"{PARIS} {SKY}"))
    samples = samples_of(spoken)
    assert pitch(samples) / pitch(recorded) == pytest.approx(1.0, abs=0.15)
    assert abs(level_db(samples) - level_db(recorded)) < 6
    assert 1.2 < len(samples) / RATE < 4


def test_more_words_take_more_time(synthesising):
    """It is speech of that text, not a sound for it."""
    once, thrice = (len(synthesising.speak(" ".join([NEW] * n))) for n in (1, 3))
    assert 2.5 < thrice / once < 3.6


@pytest.mark.parametrize("text", ["日本語", "…", "🎉"])
def test_what_the_synthesiser_cannot_say_is_a_tone(synthesising, plain, text):
    """It is never silent."""
    assert synthesising.speak(text) == plain.speak(text)


def test_a_synthesiser_of_ones_own_is_used_after_the_clips():
    """At its own pitch; sentences are not taken apart for clips before it."""
    asked = []

    def own(text):
        asked.append(text)
        return Clip.tone(220, 0.5, sample_rate=16_000)

    mine = Speech(own)
    assert mine.speak(PARIS) == repertoire.saying("capital_of_france").pcm
    assert pitch(samples_of(mine.speak(f"{PARIS} {SKY}"))) == pytest.approx(220, rel=0.01)
    assert asked == [f"{PARIS} {SKY}"]


def test_a_synthesiser_that_fails_leaves_a_tone(plain, caplog):
    """The log says why, and not which words."""

    def broken(text):
        raise OSError("no such model")

    for own in (broken, lambda text: Clip([], RATE), lambda text: Clip.silence(1), lambda text: 3):
        assert Speech(own).speak(NEW) == plain.speak(NEW)
    assert "no such model" in caplog.text and NEW not in caplog.text


def test_without_a_synthesiser_a_new_text_is_a_tone(plain, monkeypatch):
    """As in an install without the extra, and with one that is damaged."""
    for module in (None, type(sys)("hibari")):
        monkeypatch.setitem(sys.modules, "hibari", module)
        speech._hibari.cache_clear()
        assert Speech().speak(NEW) == plain.speak(NEW)
    speech._hibari.cache_clear()


@pytest.mark.parametrize("given", ["espeak", 3, ""])
def test_what_is_no_synthesiser_is_refused(given):
    """In one sentence."""
    with pytest.raises(ConfigurationError, match='"auto", None or a function'):
        Speech(given)


def test_the_synthesiser_is_loaded_when_it_is_needed():
    """Not by an import, and not for what was recorded; ahead of time for voices that may need it."""
    code = (
        "import sys; from rtnb.peer import mouth, voices; from rtnb.peer.speech import Speech\n"
        "before = {'hibari', 'onnxruntime', 'av', 'yaml'} & set(sys.modules)\n"
        f"speech = Speech(); speech.speak({PARIS!r})\n"
        "print(sorted(before), 'hibari' in sys.modules)\n"
        "mouth.Mouth(voices.Default(), speech).prepare(); print('hibari' in sys.modules)\n"
        "mouth.Mouth(voices.Script([]), speech).prepare(); print('hibari' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["[] False", "False", "True"]


# --- voices and speed -----------------------------------------------------------------------------


def test_marin_is_the_recording(plain):
    """At speed 1 nothing is done to it."""
    assert plain.speak(PARIS, "marin", 1.0) is plain.speak(PARIS)


@pytest.mark.parametrize("voice", sorted(set(PITCHES) - {"marin"}))
def test_a_voice_has_its_pitch_and_the_recording_s_duration(plain, voice):
    """To 3 %, measured on speech."""
    recorded, spoken = samples_of(plain.speak(PARIS)), samples_of(plain.speak(PARIS, voice))
    assert len(spoken) == len(recorded)
    assert pitch(spoken) / pitch(recorded) == pytest.approx(pitch_of(voice), rel=0.03)


def test_any_two_voices_can_be_told_apart(plain):
    """Their pitches, as measured, are at least 4 % apart."""
    measured = sorted(pitch(samples_of(plain.speak(PARIS, voice))) for voice in PITCHES)
    assert all(high / low > 1.04 for low, high in itertools.pairwise(measured))


def test_another_name_always_has_the_same_of_these_voices():
    """Ids and names that no server has."""
    names = [f"voice_{n:04d}" for n in range(200)]
    assert [pitch_of(name) for name in names] == [pitch_of(name) for name in names]
    assert {pitch_of(name) for name in names} == set(PITCHES.values())
    assert pitch_of("voice_1234") == 1.32 and pitch_of("\ud800") in PITCHES.values()


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.25, 1.5])
@pytest.mark.parametrize("ratio", [0.72, 1.0, 1.32])
def test_speed_changes_the_duration_and_not_the_pitch(ratio, speed):
    """A harmonic sound of 150 Hz for 1 s: its end is there, too."""
    at = np.arange(RATE) / RATE
    tone = sum(0.2 * np.sin(2 * np.pi * 150 * k * at) / k for k in range(1, 9)).astype(np.float32)
    out = shaped(tone, ratio, speed)
    assert len(out) == pytest.approx(RATE / speed, abs=1)
    assert pitch(out) == pytest.approx(150 * ratio, rel=0.01)
    part = round(0.05 * RATE / speed)
    for end in (out[:part], out[-part:]):
        assert level_db(end) == pytest.approx(level_db(tone), abs=3)


@pytest.mark.parametrize("speed", [0.25, 1.5])
def test_speech_at_another_speed_lasts_accordingly(plain, speed):
    """From its first to its last audible sample, to 3 %."""
    slow, normal = (np.frombuffer(plain.speak(SKY, speed=s), np.int16) for s in (speed, 1.0))
    assert audible_seconds(slow) == pytest.approx(audible_seconds(normal) / speed, rel=0.03)


def test_a_tone_has_pitch_and_speed_too(plain):
    """One word at half speed takes twice as long."""
    spoken = samples_of(plain.speak("word", "shimmer", 0.5))
    assert len(spoken) / RATE == pytest.approx(0.6)
    assert pitch(spoken, highest=700) == pytest.approx(392 * PITCHES["shimmer"], rel=0.01)


def test_what_was_made_is_kept_within_bounds(monkeypatch):
    """The same text is the same object; the oldest goes first."""
    monkeypatch.setattr("rtnb.peer.speech._KEPT", 60_000)  # two words of tone
    kept = Speech(synthesiser=None)
    first = kept.speak("first")
    assert kept.speak("first") is first
    kept.speak("second")
    assert kept.speak("first") is first
    kept.speak("third")
    assert kept.speak("first") is first
    assert sum(map(len, kept._kept.values())) <= 60_000
