"""Make the bundled audio: the spoken prompts and the local peer's reply clips.

Run it from the root of the repository::

    pip install hibari-tts soundfile numpy && python samples/make_samples.py

It writes

* ``samples/*.wav`` and ``samples/samples.json``: the prompts that a user replays into a call;
* ``rtnb/peer/replies/*.wav`` and ``rtnb/peer/replies/replies.json``: what the local stand-in
  server (the peer) answers to them.

Every file is 24 kHz, mono, 16-bit PCM.  All texts are in the tables at the top; a clip that is no
longer in a table is not deleted.  The voice is hibari's default, ``heart``, which is inside its
wheel, so nothing is downloaded.  The replies use the same voice lowered in pitch and timbre, so
that the two sides of a call sound like two speakers.

All random numbers are seeded, so two runs on one machine with the same package versions give
identical bytes.  Another processor, or another version of onnxruntime or numpy, may round
differently and so change samples, or a clip's length by a frame; that was not tried.

The committed files were made under Python 3.11 with hibari-tts 0.2.1, onnxruntime 1.32.0,
numpy 2.4.6 and soundfile 0.14.0 (without scipy, which hibari uses if it is there).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from hibari import Hibari
from numpy.typing import NDArray

Audio = NDArray[np.float64]

RATE = 24_000
SEED = 20_250
PEAK_DB = -3.0
PAUSE_S = 0.3  # between the sentences of one clip
EDGE_S = 0.05  # silence added before and after a clip
KEEP_S = 0.03  # kept on both sides of the audible part of a sentence
AUDIBLE_DB = -40.0  # relative to the sentence's peak
LOW_CUT_HZ = 50.0
REPLY_PITCH = 0.82  # pitch and timbre of the replies relative to the prompts

SAMPLES_DIR = Path(__file__).resolve().parent
REPLIES_DIR = SAMPLES_DIR.parent / "rtnb" / "peer" / "replies"

WEATHER_TOOL = {"name_contains": "weather", "arguments": {"city": "Paris"}}


@dataclass(frozen=True)
class Prompt:
    """One prompt and the peer's answer to it."""

    name: str
    kind: str
    text: str
    reply: str
    tool: dict[str, Any] | None = None
    speed: float = 1.0
    peak_db: float = PEAK_DB
    snr_db: float | None = None


@dataclass(frozen=True)
class Reply:
    """One clip that the peer can say."""

    name: str
    prompt: str | None
    text: str
    tool: dict[str, Any] | None = None


PROMPTS = (
    Prompt(
        "capital_of_france",
        "question",
        "What is the capital of France?",
        "The capital of France is Paris.",
        speed=0.8,
    ),
    Prompt(
        "greeting",
        "greeting",
        "Hello, how are you today?",
        "Hello! I am doing fine today.",
    ),
    Prompt(
        "turn_on_the_lights",
        "command",
        "Turn on the lights in the kitchen.",
        "I heard you, but I cannot switch any lights.",
    ),
    Prompt(
        "seven_times_eight",
        "number",
        "How much is seven times eight?",
        "Seven times eight is fifty-six.",
    ),
    Prompt(
        "leap_year",
        "long",
        "How many days are there in a leap year, and which month gets the extra day?",
        "A leap year has three hundred sixty-six days.",
    ),
    Prompt(
        "quiet_can_you_hear_me",
        "quiet",
        "Can you hear me when I speak quietly?",
        "Yes, I can hear you.",
        peak_db=-30.0,
    ),
    Prompt(
        "noisy_legs_of_a_spider",
        "noisy",
        "How many legs does a spider have?",
        "A spider has eight legs.",
        snr_db=13.5,
    ),
    Prompt(
        "largest_planet",
        "pause",
        "I have a question. Which planet is the largest?",
        "The largest planet is Jupiter.",
    ),
    Prompt(
        "day_after_monday",
        "fast",
        "Which day of the week comes after Monday?",
        "Tuesday comes after Monday.",
        speed=1.3,
    ),
    Prompt(
        "color_of_the_sky",
        "slow",
        "What color is the sky on a clear day?",
        "The sky is blue on a clear day.",
        speed=0.8,
    ),
    Prompt(
        "weather_in_paris",
        "tool",
        "What is the weather in Paris right now?",
        "I looked up the weather in Paris for you.",
        tool=WEATHER_TOOL,
    ),
    Prompt(
        "tell_me_a_story",
        "interruption",
        "Tell me a long story.",
        "Once upon a time, a small bird lived on a hill above a wide green valley. "
        "Every morning she flew up to the clouds and sang to the farmers below. "
        "One day a storm came, but she sang all night, until the sun came back.",
    ),
)

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

GENERIC_REPLIES = (
    *(
        Reply(f"generic_heard_{n}", None, f"I heard {word} second{'s' if n > 1 else ''}.")
        for n, word in enumerate(NUMBERS, start=1)
    ),
    Reply("generic_heard_more", None, "I heard more than ten seconds."),
    Reply(
        "generic_text",
        None,
        "I can only speak about the recorded samples, but I have read your message.",
    ),
    Reply("generic_tool", None, "I have the result of the tool."),
)

REPLIES = (*(Reply(p.name, p.name, p.reply, p.tool) for p in PROMPTS), *GENERIC_REPLIES)


def _gain(db: float) -> float:
    return float(10.0 ** (db / 20.0))


def _silence(seconds: float) -> Audio:
    return np.zeros(max(0, round(seconds * RATE)))


def _rms(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio**2)))


def low_cut(audio: Audio) -> Audio:
    """Remove DC and everything below `LOW_CUT_HZ`.

    Parameters
    ----------
    audio : ndarray
        Mono samples at `RATE`.

    Returns
    -------
    ndarray
        Filtered samples, of the same length.
    """
    spectrum = np.fft.rfft(audio)
    spectrum[np.fft.rfftfreq(len(audio), 1 / RATE) < LOW_CUT_HZ] = 0
    return np.fft.irfft(spectrum, len(audio))


def trim(audio: Audio) -> Audio:
    """Cut a sentence to its audible part and fade its edges.

    Parameters
    ----------
    audio : ndarray
        Mono samples at `RATE`.

    Returns
    -------
    ndarray
        The part above `AUDIBLE_DB` relative to the peak, with `KEEP_S` more on both sides, over
        which it is faded in and out.
    """
    keep = round(KEEP_S * RATE)
    padded = np.pad(audio, keep)
    audible = np.flatnonzero(np.abs(padded) > np.abs(padded).max() * _gain(AUDIBLE_DB))
    part = padded[audible[0] - keep : audible[-1] + keep + 1].copy()
    fade = np.sin(np.linspace(0, np.pi / 2, keep)) ** 2
    part[:keep] *= fade
    part[-keep:] *= fade[::-1]
    return part


def lower(audio: Audio, pitch: float) -> Audio:
    """Lower pitch and timbre by resampling, which also slows the audio down.

    Parameters
    ----------
    audio : ndarray
        Mono samples at `RATE`.
    pitch : float
        Ratio of the new pitch to the old one, at most 1.

    Returns
    -------
    ndarray
        Band-limited resampled audio, ``1 / pitch`` times as long.
    """
    length = round(len(audio) / pitch)
    spectrum = np.zeros(length // 2 + 1, dtype=complex)
    old = np.fft.rfft(audio)
    spectrum[: len(old)] = old
    return np.fft.irfft(spectrum, length) * (length / len(audio))


def pink_noise(length: int, seed: int) -> Audio:
    """Make seeded pink noise without DC.

    Parameters
    ----------
    length : int
        Number of samples.
    seed : int
        Seed of the random generator.

    Returns
    -------
    ndarray
        Noise with an RMS of 1.
    """
    white = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    white[1:] /= np.sqrt(frequency[1:])
    noise = low_cut(np.fft.irfft(white, length))
    return noise / _rms(noise)


def speak(tts: Hibari, text: str, speed: float = 1.0, pitch: float = 1.0) -> Audio:
    """Say a text, with `PAUSE_S` of silence between its sentences.

    Parameters
    ----------
    tts : Hibari
        Loaded voice.
    text : str
        One or more English sentences.
    speed : float, optional
        Pace of the result; 1 is the voice's own.
    pitch : float, optional
        Pitch of the result relative to the voice's own, at most 1.  The pace does not change.

    Returns
    -------
    ndarray
        Speech with `EDGE_S` of silence at both ends.
    """
    gap = _silence(PAUSE_S - 2 * KEEP_S)
    parts: list[Audio] = []
    for number, sentence in enumerate(tts.split_sentences(text)):
        audio = np.asarray(tts(sentence, speed=speed / pitch, seed=SEED + number), np.float64)
        parts += [gap, trim(low_cut(lower(audio, pitch)))]
    return np.concatenate([_silence(EDGE_S), *parts[1:], _silence(EDGE_S)])


def finish(audio: Audio, peak_db: float = PEAK_DB, snr_db: float | None = None) -> Audio:
    """Add noise if asked, remove DC and set the peak.

    Parameters
    ----------
    audio : ndarray
        Mono samples at `RATE`.
    peak_db : float, optional
        Peak of the result in dBFS.
    snr_db : float or None, optional
        Ratio of the RMS of the whole clip to the RMS of added pink noise; None adds none.

    Returns
    -------
    ndarray
        The finished clip.
    """
    if snr_db is not None:
        audio = audio + pink_noise(len(audio), SEED) * _rms(audio) * _gain(-snr_db)
    audio = audio - np.mean(audio)
    return audio * (_gain(peak_db) / float(np.abs(audio).max()))


def render(tts: Hibari) -> Iterator[tuple[Path, Audio]]:
    """Make every clip of the tables.

    Parameters
    ----------
    tts : Hibari
        Loaded voice.

    Yields
    ------
    tuple of Path and ndarray
        Where the clip belongs, and its samples.
    """
    for prompt in PROMPTS:
        speech = speak(tts, prompt.text, prompt.speed)
        yield SAMPLES_DIR / f"{prompt.name}.wav", finish(speech, prompt.peak_db, prompt.snr_db)
    for reply in REPLIES:
        speech = speak(tts, reply.text, pitch=REPLY_PITCH)
        yield REPLIES_DIR / f"{reply.name}.wav", finish(speech)


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table as indented JSON with a final newline.

    Parameters
    ----------
    path : Path
        File to write.
    rows : list of dict
        Rows of the table.
    """
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Write all clips and both tables."""
    REPLIES_DIR.mkdir(parents=True, exist_ok=True)
    for path, audio in render(Hibari()):
        soundfile.write(path, audio, RATE, subtype="PCM_16")
        print(f"{len(audio) / RATE:6.2f} s  {path.relative_to(SAMPLES_DIR.parent)}")
    write_json(
        SAMPLES_DIR / "samples.json",
        [{"name": p.name, "text": p.text, "kind": p.kind} for p in PROMPTS],
    )
    write_json(
        REPLIES_DIR / "replies.json",
        [{"name": r.name, "prompt": r.prompt, "text": r.text, "tool": r.tool} for r in REPLIES],
    )


if __name__ == "__main__":
    main()
