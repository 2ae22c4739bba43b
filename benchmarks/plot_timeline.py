"""The timeline of six minutes of audio and 10,000 events, against every sample and an artist an event.

The baseline plots both sides sample by sample, and puts each event on with ``Axes.scatter``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks._drawing import SECONDS, compare, plt, speechlike, write_run
from rtnb import Event, EventLog, plots
from rtnb.runaudio import RunAudio

ROUNDS = 2
TARGET = 0.005
TURNS, EVENTS = 40, 250  # of a turn
# an event of a turn, and when it comes in it, from 0 to 1; deltas fill the rest
MARKS = {
    "input_audio_buffer.speech_started": 0.05,
    "input_audio_buffer.speech_stopped": 0.3,
    "input_audio_buffer.committed": 0.31,
    "conversation.item.added": 0.32,
    "response.created": 0.33,
    "output_audio_buffer.started": 0.4,
    "response.done": 0.8,
    "rate_limits.updated": 0.81,
    "error": 0.85,
    "output_audio_buffer.stopped": 0.9,
}


def events() -> EventLog:
    """Return 10,000 events of 40 turns."""
    log, length = EventLog(), SECONDS / TURNS
    for turn in range(TURNS):
        deltas = np.linspace(0.34, 0.79, EVENTS - len(MARKS))
        times = [*MARKS.items(), *(("response.output_audio_transcript.delta", d) for d in deltas)]
        for kind, at in sorted(times, key=lambda one: one[1]):
            text = json.dumps({"type": kind})
            log.append(Event(text, time=(turn + float(at)) * length, direction="received"))
    return log


def naive(axes: plt.Axes, audio: RunAudio, log: EventLog) -> None:
    """Draw the same as one would at first."""
    for y, clip in ((4, audio.clip("sent")), (2, audio.clip("heard"))):
        axes.plot(np.arange(len(clip)) / clip.sample_rate, clip.samples + y)
    lanes = [*MARKS, "response.output_audio_transcript.delta"]
    for event in log:
        axes.scatter(event.time, -lanes.index(event.type), marker="|")


def main() -> None:
    """Print one JSON line."""
    log = events()
    with tempfile.TemporaryDirectory() as folder:
        audio = write_run(Path(folder), speechlike(SECONDS))
        call = SimpleNamespace(audio=audio, events=log)
        compare(
            "plot_timeline",
            lambda axes: plots.timeline(call, ax=axes),
            lambda axes: naive(axes, audio, log),
            TARGET,
            rounds=ROUNDS,  # each takes a minute
        )


if __name__ == "__main__":
    main()
