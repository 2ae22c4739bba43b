"""Run folders: readable after every write, opened again without a network."""

from __future__ import annotations

import json
import os
import tempfile
import wave
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import rtnb
from rtnb import Clip, ConfigurationError, RunError
from rtnb.runaudio import RunAudio
from rtnb.runfiles import PACKET_FIELDS, RunWriter, WavWriter, create_run_folder, runs_root
from rtnb.runs import copy_run, cut_turn

RATE: Final = 48_000
S16 = npt.NDArray[np.int16]


def stereo(sent: S16, heard: S16) -> S16:
    return np.stack([sent, heard], axis=1)


def tone(duration: float) -> S16:
    return np.rint(Clip.tone(440, duration).samples * 32768).astype(np.int16)


def silence(duration: float) -> S16:
    return np.zeros(round(duration * RATE), np.int16)


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


def response(kind: str, **fields: Any) -> str:
    return event(kind, response={"id": "r1", **fields})


def record(record: str, time: float, **fields: Any) -> str:
    return json.dumps({"record": record, "time": time, **fields})


TURN: Final = record("turn", 0.1, turn=1, kind="text", name=None, text="Hello.")
ENDED: Final = record("ended", 2.1, turn=1, status="completed", error=None)
EVENTS: Final = [
    (0.05, "received", event("session.created", session={"id": "s"})),
    (0.2, "sent", event("response.create", event_id="e1")),
    (0.3, "received", response("response.created", status="in_progress")),
    (0.9, "received", event("output_audio_buffer.started", response_id="r1")),
    (
        1.0,
        "received",
        event(
            "response.output_audio_transcript.done",
            response_id="r1",
            item_id="i1",
            content_index=0,
            transcript="Good morning.",
        ),
    ),
    (1.1, "received", response("response.done", status="completed", usage={"total_tokens": 9})),
    (2.0, "received", event("output_audio_buffer.stopped", response_id="r1")),
]


def write_run(folder: Path, *, records: tuple[str, ...] = (TURN, ENDED)) -> Path:
    """Write a call of one text turn: asked at 0.2 s, heard from 1.0 s to 2.0 s."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, "dialect": "ga"}))
    writer = RunWriter(folder, sample_rate=RATE)
    for time, direction, text in EVENTS:
        writer.event(time, direction, text)
    for line in records:
        writer.record(line)
    heard = np.concatenate([silence(1.0), tone(1.0), silence(1.0)])
    writer.audio(stereo(silence(3.0), heard))
    writer.close()
    return folder


# --- WAV files that grow -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_is_valid_after_every_write(channels: int, tmp_path: Path) -> None:
    """The standard library and libsndfile read what is there, from the first byte on."""
    path = tmp_path / "audio.wav"
    writer = WavWriter(path, channels=channels, sample_rate=RATE)
    for count in range(4):
        with wave.open(str(path)) as found:
            assert found.getparams()[:4] == (channels, 2, RATE, 960 * count)
        assert soundfile.info(path).frames == 960 * count
        writer.write(np.full((960, channels), count, np.int16))
    writer.close()
    assert soundfile.read(path, dtype="int16")[0].reshape(4, -1)[:, 0].tolist() == [0, 1, 2, 3]


def test_a_wav_holds_the_very_samples(tmp_path: Path) -> None:
    """s16 goes in and comes out, extremes included."""
    path = tmp_path / "audio.wav"
    writer = WavWriter(path, channels=2, sample_rate=RATE)
    samples = np.array([[-32768, 32767], [1, -1]], np.int16)
    writer.write(samples)
    writer.close()
    assert soundfile.read(path, dtype="int16")[0].tolist() == samples.tolist()


# --- the writer ----------------------------------------------------------------------------------


def test_a_new_run_has_all_its_files(tmp_path: Path) -> None:
    """Before anything happens the files are there, and the WAV is valid."""
    RunWriter(tmp_path, sample_rate=RATE).close()
    assert {p.name for p in tmp_path.iterdir()} == {
        *("audio.wav", "events.jsonl", "packets.csv", "turns.jsonl")
    }
    assert (tmp_path / "packets.csv").read_text() == PACKET_FIELDS + "\n"


def test_events_are_on_disk_at_once(tmp_path: Path) -> None:
    """Each line is complete while the writer is still open."""
    writer = RunWriter(tmp_path, sample_rate=RATE)
    writer.event(1.23456789, "sent", '{"type": "a"}')
    writer.event(2.0, "received", "no json")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    writer.close()
    assert [json.loads(line) for line in lines] == [
        {"time": 1.234568, "direction": "sent", "event": {"type": "a"}},
        {"time": 2.0, "direction": "received", "event": "no json"},
    ]


def test_an_event_is_on_disk_as_it_came(tmp_path: Path) -> None:
    """JSON is copied, not written anew; only what goes over several lines is joined."""
    writer = RunWriter(tmp_path, sample_rate=RATE)
    for text in ('{"a" :1.50,"b":"\\u00e9"}', '{\r\n"a":\n"\\n"}', '{"a":1}\n{"a":2}', '{\r"a":2}'):
        writer.event(1.0, "sent", text)
    writer.close()
    head = '{"time": 1.0, "direction": "sent", "event": '
    assert (tmp_path / "events.jsonl").read_text() == (
        f'{head}{{"a" :1.50,"b":"\\u00e9"}}}}\n'
        f'{head}{{"a": "\\n"}}}}\n'
        f'{head}"{{\\"a\\":1}}\\n{{\\"a\\":2}}"}}\n'
        f'{head}{{"a": 2}}}}\n'
    )


@pytest.mark.parametrize("levels", [101, 985, 100_000])
def test_a_frame_nested_too_deep_is_kept_as_text(levels: int, tmp_path: Path) -> None:
    """Neither writing nor opening the run gives up on it."""
    folder = write_run(tmp_path / "run")
    writer = RunWriter(folder, sample_rate=RATE)
    writer.event(2.5, "received", "[" * levels + "]" * levels)
    writer.close()
    assert rtnb.open_run(folder).events.last.data["unreadable"].startswith("[[[")
    last = (folder / "events.jsonl").read_text().splitlines()[-1]
    assert isinstance(json.loads(last)["event"], str)


@pytest.mark.parametrize("key", ["sk-proj-abcdefgh123456", "ek_68af296e8e408191"])
def test_keys_are_masked_on_disk(key: str, tmp_path: Path) -> None:
    """No key reaches events.jsonl or turns.jsonl."""
    writer = RunWriter(tmp_path, sample_rate=RATE)
    writer.event(1.0, "received", event("error", message=key))
    writer.record(record("tool", 1.0, output=key))
    writer.close()
    text = (tmp_path / "events.jsonl").read_text() + (tmp_path / "turns.jsonl").read_text()
    assert key not in text
    assert text.count("•••") == 2


@pytest.mark.parametrize("text", ["a\u2028b\u2029c\x85d", "👋🏽 grüße", "\x1c\x0b\x0c", "\\ud83d"])
def test_any_text_survives_a_run(text: str, tmp_path: Path) -> None:
    """Separators of lines that JSON does not know, emoji, and halves of them are read again."""
    raw = f'{{"type": "x", "text": "{text}"}}' if "\\" in text else event("x", text=text)
    folder = write_run(tmp_path / "run")
    writer = RunWriter(folder, sample_rate=RATE)
    writer.event(2.5, "received", raw)
    writer.close()
    assert rtnb.open_run(folder).events.last.data == json.loads(raw)


def test_rows_of_packets(tmp_path: Path) -> None:
    """None is an empty field; no rows are no lines."""
    writer = RunWriter(tmp_path, sample_rate=RATE)
    writer.packets([])
    writer.packets([("sent", 1, None, 0.5, None, 960), ("lost", 2, None, None, 1920, 0)])
    assert (tmp_path / "packets.csv").read_text().splitlines()[1:] == [
        *("sent,1,,0.5,,960", "lost,2,,,1920,0")
    ]
    writer.close()


# --- the folder ----------------------------------------------------------------------------------


def test_a_run_gets_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs without a name lie side by side under the temporary directory, for the user only."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    one, two = create_run_folder(), create_run_folder()
    assert one != two
    assert one.parent == two.parent == runs_root()
    assert one.stat().st_mode & 0o077 == 0


def test_a_folder_that_holds_a_run_is_not_written_into(tmp_path: Path) -> None:
    """A recording is never overwritten."""
    folder = write_run(tmp_path / "run")
    with pytest.raises(RunError) as caught:
        create_run_folder(folder)
    assert str(caught.value) == (
        f"The folder {str(folder)!r} holds a run already; name another one."
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Below a file there is no folder; the error is an OSError too."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"The run folder '.*' cannot be made: Not a directory\."):
        create_run_folder(tmp_path / "file" / "run")


# --- audio while it is written -------------------------------------------------------------------


def test_audio_is_read_while_it_is_written(tmp_path: Path) -> None:
    """What was written so far is there, and no more."""
    writer, audio = RunWriter(tmp_path, sample_rate=RATE), RunAudio(tmp_path)
    assert (audio.duration, len(audio.clip("heard"))) == (0.0, 0)
    writer.audio(stereo(tone(0.5), silence(0.5)))
    assert (audio.duration, audio.clip("sent").duration) == (0.5, 0.5)
    writer.audio(stereo(silence(0.5), tone(0.5)))
    assert np.array_equal(audio.clip("heard").samples[24_000:], tone(0.5) / np.float32(32768))
    writer.close()


@pytest.mark.parametrize(
    ("start", "end", "duration"),
    [(0.0, None, 3.0), (1.0, 2.0, 1.0), (2.5, 9.0, 0.5), (4.0, 5.0, 0.0), (-1.0, 0.5, 0.5)],
)
def test_a_stretch_of_audio(
    start: float, end: float | None, duration: float, tmp_path: Path
) -> None:
    """A clip holds what of the stretch is on disk."""
    audio = RunAudio(write_run(tmp_path / "run"))
    assert audio.clip("heard", start, end).duration == duration


def test_a_folder_without_audio_has_none(tmp_path: Path) -> None:
    """A missing file is an empty clip."""
    audio = RunAudio(tmp_path)
    assert (audio.duration, len(audio.clip("sent"))) == (0.0, 0)


def test_losses_are_gaps_of_what_was_heard(tmp_path: Path) -> None:
    """A lost row is a gap of its stretch, counted from the stretch's start; of one side only."""
    folder = write_run(tmp_path / "run")
    with (folder / "packets.csv").open("a") as rows:
        rows.write("lost,7,,,960,48000\nlost,9,,,960,72000\n")
    audio = RunAudio(folder)
    assert audio.clip("heard", 1.0, 1.2).gaps == ((0.0, 0.02),)
    assert np.allclose(audio.clip("heard", 1.01, 2.0).gaps, [(0.0, 0.01), (0.49, 0.51)])
    assert audio.clip("sent", 1.0, 2.0).gaps == ()


@pytest.mark.parametrize("cut", ["lost,9,,,96", "lost,9,,,960,7200", "lost,9", "lost,9,,,960,"])
def test_a_row_cut_short_is_no_gap(cut: str, tmp_path: Path) -> None:
    """A last row that a sudden death cut is left out, even where it reads like a number."""
    folder = write_run(tmp_path / "run")
    with (folder / "packets.csv").open("a") as rows:
        rows.write("lost,7,,,960,48000\n" + cut)
    assert RunAudio(folder).clip("heard").gaps == ((1.0, 1.02),)


def test_losses_are_read_as_they_are_written(tmp_path: Path) -> None:
    """A row that was cut counts when it is whole; a file that has shrunk is read anew."""
    folder = write_run(tmp_path / "run")
    audio, packets = RunAudio(folder), folder / "packets.csv"
    head = packets.read_text()
    packets.write_text(head + "lost,7,,,960,48000\nlost,9,,,9")
    assert audio.gaps() == [(1.0, 1.02)]
    packets.write_text(head + "lost,7,,,960,48000\nlost,9,,,960,96000\n")
    assert audio.gaps() == [(1.0, 1.02), (2.0, 2.02)]
    packets.write_text(head)
    assert audio.gaps() == []


# --- opening -------------------------------------------------------------------------------------


def test_a_run_is_opened_again(tmp_path: Path) -> None:
    """Turns, events and both sides come from the folder."""
    run = rtnb.open_run(write_run(tmp_path / "run"))
    (turn,) = run.turns
    assert (turn.prompt, turn.status, turn.transcript) == ("Hello.", "completed", "Good morning.")
    assert turn.usage == {"total_tokens": 9}
    assert run.events.types[:2] == ["session.created", "response.create"]
    assert (run.duration, run.sent.duration, run.heard.duration) == (3.0, 3.0, 3.0)


def test_latency_is_measured_on_the_recording(tmp_path: Path) -> None:
    """From response.create at 0.2 s to the first audible sample at 1.0 s."""
    (turn,) = rtnb.open_run(write_run(tmp_path / "run")).turns
    assert turn.latency.first_audio == pytest.approx(0.8, abs=0.001)


def test_a_reply_before_the_end_of_speech_has_no_latency(tmp_path: Path) -> None:
    """What sounds while the user still speaks answers something earlier; the times are kept."""
    folder = write_run(tmp_path / "run", records=())
    writer = RunWriter(folder, sample_rate=RATE)
    writer.record(record("turn", 0.1, turn=1, kind="audio"))
    writer.record(record("play", 0.1, turn=1, play="p"))
    writer.record(record("play_started", 0.1, play="p"))
    writer.record(record("play_ended", 2.9, play="p"))
    writer.record(record("request", 0.2, turn=1, event_id="e1"))
    writer.audio(stereo(tone(3.0), np.concatenate([silence(1.0), tone(1.0), silence(1.0)])))
    writer.close()
    (turn,) = rtnb.open_run(folder).turns
    latency = turn.latency
    assert (latency.first_audio, latency.verdict) == (None, "excluded")
    assert latency.speech_end == pytest.approx(2.9, abs=0.1)
    assert latency.first_audible == pytest.approx(1.0, abs=0.01)


def test_replies_are_cut_when_a_run_is_opened(tmp_path: Path) -> None:
    """turns/001-reply.wav is made where it is missing; a text has no prompt to cut."""
    folder = write_run(tmp_path / "run")
    run = rtnb.open_run(folder)
    assert [p.name for p in (folder / "turns").iterdir()] == ["001-reply.wav"]
    assert Clip.read(folder / "turns" / "001-reply.wav") == run.turns[0].reply
    assert run.turns[0].reply.duration == pytest.approx(1.0, abs=0.35)


def test_a_clip_that_was_cut_is_left_alone(tmp_path: Path) -> None:
    """What is in turns/ already is not written again."""
    folder = write_run(tmp_path / "run")
    kept = Clip.tone(300, 0.1).write(folder / "turns" / "001-reply.wav")
    cut_turn(folder, rtnb.open_run(folder).turns[0])
    assert Clip.read(kept).duration == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["events.jsonl", "turns.jsonl"])
@pytest.mark.parametrize("tail", ['{"time": 2.9, "direc', '{"record', "\x00\x00", "{}\n[]\n3\n"])
def test_a_last_line_cut_short_is_left_out(name: str, tail: str, tmp_path: Path) -> None:
    """After a sudden death the run opens with everything before."""
    folder = write_run(tmp_path / "run")
    with (folder / name).open("a") as stream:
        stream.write(tail)
    run = rtnb.open_run(folder)
    assert run.turns[0].transcript == "Good morning."
    assert len(run.events) == len(EVENTS) + (tail.startswith("{}") and name == "events.jsonl")


@pytest.mark.parametrize(
    "record",
    [
        '{"record": "play_ended", "play": "play-1", "time": null}',
        '{"record": "turn", "time": "soon"}',
        '{"record": "ended", "turn": 1}',
    ],
)
def test_a_record_that_is_none_of_ours_is_left_out(record: str, tmp_path: Path) -> None:
    """A record without a number for its time, or an end without one, changes nothing."""
    folder = write_run(tmp_path / "run")
    with (folder / "turns.jsonl").open("a") as stream:
        stream.write(record + "\n")
    assert [turn.transcript for turn in rtnb.open_run(folder).turns] == ["Good morning."]


def test_audio_cut_in_mid_sample_is_read(tmp_path: Path) -> None:
    """Half a sample at the end of audio.wav is left out."""
    folder = write_run(tmp_path / "run")
    os.truncate(folder / "audio.wav", 44 + 4 * RATE + 3)
    assert rtnb.open_run(folder).heard.duration == 1.0


def test_a_run_that_was_not_closed_says_so(tmp_path: Path) -> None:
    """A turn under way when everything died ends as what was heard of it, the run as incomplete."""
    run = rtnb.open_run(write_run(tmp_path / "run", records=(TURN,)))
    assert not run.complete
    assert repr(run) == "<Run run: 1 turn, 3.0 s, 7 events, not closed in order>"
    assert run.turns[0].status == "completed"


def test_a_run_that_was_closed_says_nothing(tmp_path: Path) -> None:
    """The repr counts turns, seconds and events."""
    closed = record("closed", 3.0, reason="closed by the user")
    run = rtnb.open_run(write_run(tmp_path / "run", records=(TURN, ENDED, closed)))
    assert run.complete
    assert repr(run) == "<Run run: 1 turn, 3.0 s, 7 events>"


def test_the_html_of_a_run_agrees_with_its_text(tmp_path: Path) -> None:
    """Both show the counts; the cell adds a row a turn, escaped."""
    run = rtnb.open_run(write_run(tmp_path / "run"))
    html = run._repr_html_()
    assert repr(run).strip("<>") in html
    assert "<td" in html and "Good morning." in html


def test_only_run_json_is_needed(tmp_path: Path) -> None:
    """A call that died at once is a run without turns."""
    (tmp_path / "run.json").write_text("{}")
    run = rtnb.open_run(tmp_path)
    assert (run.turns, len(run.events), run.duration) == ([], 0, 0.0)


def test_a_saved_turn_cannot_be_spoken_into(tmp_path: Path) -> None:
    """Neither by the turn nor by its run; the sentence says how to speak."""
    run = rtnb.open_run(write_run(tmp_path / "run"))
    with pytest.raises(ConfigurationError, match=r"Only a turn held open by"):
        run.turns[0].play(Clip.silence(0.1))
    with pytest.raises(ConfigurationError, match=r"use rtnb\.connect to speak\."):
        run.play_into(run.turns[0]._state, Clip.silence(0.1))


# --- what is no run ------------------------------------------------------------------------------


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    """The sentence names the folder and where to look."""
    with pytest.raises(RunError) as caught:
        rtnb.open_run(tmp_path / "nowhere")
    assert str(caught.value) == (
        f"There is no run in {str(tmp_path / 'nowhere')!r}; see rtnb.recent_runs()."
    )


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    """One level too high is the likely mistake."""
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    with pytest.raises(RunError, match=r"it holds the runs a, b; see rtnb\.recent_runs\(\)"):
        rtnb.open_run(tmp_path)


def test_a_broken_run_json(tmp_path: Path) -> None:
    """What cannot be read is named."""
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"The file run\.json of '.*' cannot be read"):
        rtnb.open_run(tmp_path)


# --- copies and lists ----------------------------------------------------------------------------


def test_a_copy_is_the_same_run(tmp_path: Path) -> None:
    """All files are copied, and the folder is returned."""
    source = write_run(tmp_path / "run")
    target = copy_run(source, str(tmp_path / "deep" / "copy"))
    assert target == tmp_path / "deep" / "copy"
    assert {p.name for p in target.iterdir()} == {p.name for p in source.iterdir()}
    assert rtnb.open_run(target).turns[0].transcript == "Good morning."


def test_a_copy_needs_an_empty_folder(tmp_path: Path) -> None:
    """Nothing is written into a folder that holds something."""
    source = write_run(tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunError, match=r"The folder '.*full' is not empty; name another one\."):
        copy_run(source, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["file"]


def test_a_copy_onto_a_file_is_refused(tmp_path: Path) -> None:
    """A file in the way is a RunError too."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"The run cannot be saved to '.*file': .*File exists"):
        copy_run(write_run(tmp_path / "run"), tmp_path / "file")


def test_recent_runs_are_listed_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders without a run are left out."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert rtnb.recent_runs() == []
    old, new = write_run(runs_root() / "old"), write_run(runs_root() / "new")
    (runs_root() / "other").mkdir()
    os.utime(old / "run.json", (1, 1))
    assert rtnb.recent_runs() == [new, old]
