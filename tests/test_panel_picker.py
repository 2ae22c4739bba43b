"""Choosing a prompt: samples, files, uploads of both ipywidgets, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from panel_parts import state_of

import rtnb
from rtnb.panel.picker import Picker

# --- the picker -----------------------------------------------------------------------------------


class Told:
    """A picker, and what it told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.changes = 0
        self.picker = Picker(self.sentences.append, self._changed)
        self.changes = 0

    def _changed(self) -> None:
        self.changes += 1

    def labels(self) -> list[str]:
        return [label for label, _ in self.picker.choice.options]

    def add(self, path: object) -> None:
        self.picker.path.value = str(path)
        self.picker.add.click()

    def upload(self, name: str, content: bytes) -> None:
        """Upload a file, as the ipywidgets that are installed tell it."""
        upload = self.picker.upload
        if isinstance(upload.value, dict):  # ipywidgets 7
            upload.set_state({"metadata": [{"name": name}], "data": [content], "_counter": 1})
        else:
            one = {"name": name, "type": "audio/wav", "size": len(content), "content": content}
            upload.set_state({"value": [one | {"last_modified": 0}]})


@pytest.fixture
def told() -> Told:
    """A picker, and what it told."""
    return Told()


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short audio file."""
    return rtnb.Clip.tone(440, 0.2).write(tmp_path_factory.mktemp("picker") / "question.wav")


def test_the_samples_are_offered_and_the_first_is_chosen(told: Told) -> None:
    """Each with its words, and a player of the one that is chosen."""
    names = [path.stem for path in rtnb.samples()]
    assert told.labels()[0] == "no prompt"
    assert [label.partition(":")[0] for label in told.labels()[1:]] == names
    assert told.picker.clip == rtnb.sample(names[0])
    assert "<audio" in told.picker.preview.value


def test_another_sample_can_be_chosen(told: Told) -> None:
    """The preview follows, and whoever asked is told."""
    before = told.picker.preview.value
    told.picker.choice.value = "greeting"
    assert told.picker.clip == rtnb.sample("greeting")
    assert told.picker.preview.value != before
    assert told.changes == 1


def test_no_prompt_can_be_chosen(told: Told) -> None:
    """There is no clip then, and no player."""
    told.picker.choice.value = ""
    assert told.picker.clip is None
    assert "<audio" not in told.picker.preview.value


def test_looking_at_the_prompt_reads_no_file(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at five times a second."""
    clip = told.picker.clip
    monkeypatch.setattr("rtnb.panel.picker.sample", None)
    assert told.picker.clip is clip


def test_a_file_is_added_by_its_path(told: Told, wav: Path) -> None:
    """It is chosen, its name is offered, and the field is empty again."""
    told.add(wav)
    assert told.picker.clip == rtnb.Clip.read(wav)
    assert told.labels()[1] == "question (added)"
    assert told.picker.path.value == ""
    assert told.sentences == []
    assert told.changes


def test_enter_adds_a_file(told: Told, wav: Path) -> None:
    """As the button does; another message does nothing."""
    told.picker.path.value = str(wav)
    told.picker.path._handle_custom_msg({"event": "other"}, [])
    told.picker.path._handle_custom_msg(None, [])
    assert "question (added)" not in told.labels()
    told.picker.path._handle_custom_msg({"event": "submit"}, [])
    assert "question (added)" in told.labels()


def test_a_state_holds_no_path_of_an_added_file(told: Told, wav: Path) -> None:
    """Only its name."""
    told.add(wav)
    parts = (told.picker.choice, told.picker.path, told.picker.preview)
    assert str(wav.parent) not in state_of(*parts)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "Type the path of an audio file first"),
        ("   ", "Type the path of an audio file first"),
        ("missing.wav", "There is no audio file"),
        (".", ""),
        ("notes.txt", ""),
        ("empty.wav", ""),
        ("a\0b.wav", ""),
        ("x" * 5000, ""),
    ],
)
def test_what_cannot_be_read_is_told(
    name: str, sentence: str, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence; the prompt that was chosen stays."""
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no audio")
    Path("empty.wav").write_bytes(b"")
    before = told.picker.clip
    told.add(name)
    (said,) = told.sentences
    assert sentence in said
    assert told.picker.clip == before
    assert told.changes == 0


def test_a_file_of_the_same_name_takes_its_place(told: Told, wav: Path, tmp_path: Path) -> None:
    """The newer one is meant."""
    told.add(wav)
    other = rtnb.Clip.tone(880, 0.3).write(tmp_path / "question.wav")
    told.add(other)
    assert told.picker.clip == rtnb.Clip.read(other)
    assert told.labels().count("question (added)") == 1


def test_an_upload_is_chosen_and_emptied(told: Told, wav: Path) -> None:
    """The clip is there, and the file is in no state, so in no saved notebook."""
    told.upload("spoken.wav", wav.read_bytes())
    assert told.picker.clip == rtnb.Clip.read(wav)
    assert told.labels()[1] == "spoken (added)"
    assert not told.picker.upload.value
    state = told.picker.upload.get_state()
    assert not state.get("value") and not state.get("data") and not state.get("metadata")
    assert len(state_of(told.picker.upload)) < 2000


def test_the_same_file_may_be_uploaded_again(told: Told, wav: Path) -> None:
    """Because the widget was emptied."""
    for _ in range(2):
        told.upload("spoken.wav", wav.read_bytes())
        told.picker.choice.value = ""
    told.upload("spoken.wav", wav.read_bytes())
    assert told.picker.choice.value == "added:spoken"


class Upload7:
    """The upload of ipywidgets 7: a dict of what two lists and a counter say."""

    def __init__(self, name: str, content: bytes):
        self.metadata, self.data = [{"name": name}], [content]
        self.value: dict[str, Any] = {name: {"metadata": self.metadata[0], "content": content}}

    def set_trait(self, name: str, value: Any) -> None:
        assert (name, value, self.metadata, self.data) == ("_counter", 0, [], [])
        self.value = {}


def test_the_upload_of_ipywidgets_7_is_understood(told: Told, wav: Path) -> None:
    """A dict by name, emptied by its lists and its counter, which may not be assigned."""
    upload = told.picker.upload = Upload7("spoken.wav", wav.read_bytes())
    told.picker._on_upload({"new": upload.value})
    assert told.picker.clip == rtnb.Clip.read(wav)
    assert (upload.value, upload.data) == ({}, [])
    told.picker._on_upload({"new": upload.value})  # it tells that it was emptied
    assert told.sentences == []


@pytest.mark.parametrize("content", [memoryview, bytearray, bytes])
def test_an_upload_comes_as_bytes_of_any_kind(content: Any, told: Told, wav: Path) -> None:
    """ipywidgets 8 gives a memoryview."""
    told.upload("spoken.wav", content(wav.read_bytes()))
    assert told.picker.clip == rtnb.Clip.read(wav)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.wav", "/etc/passwd", "C:\\x\\y.wav", "", ".", "..", "a\0b.wav", "\n.wav",
        "<script>alert(1)</script>.wav", "x" * 5000 + ".wav", "\u202eevil\u202c.wav", "\ud800.wav",
        "name." + "w" * 5000, "a.w/../v", "added:", "\x1b[31m.wav",
    ],
)  # fmt: skip
def test_a_hostile_name_does_no_harm(
    name: str, told: Told, wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never reaches the file system; what is shown of it is short, one line and can be sent."""
    monkeypatch.chdir(tmp_path)
    told.upload(name, wav.read_bytes())
    assert told.picker.clip == rtnb.Clip.read(wav)
    assert list(tmp_path.iterdir()) == []
    label = told.labels()[1]
    assert len(label) <= 100
    assert not any(c in label for c in "\0\n\x1b\u202e\u202c")
    json.dumps(told.labels(), ensure_ascii=False).encode()
    assert "<script>" not in told.picker.preview.value


@pytest.mark.parametrize("content", [b"", b"no audio", b"RIFF" + b"\0" * 100, b"\xff" * 1000])
def test_an_upload_that_is_no_audio_is_told(content: bytes, told: Told) -> None:
    """By its own name, not by that of a file that we wrote; the widget is emptied all the same."""
    before = told.picker.clip
    told.upload("my <b>question</b>.wav", content)
    (said,) = told.sentences
    assert "my <b>question</b>.wav" in said
    assert "upload.wav" not in said and "/tmp" not in said
    assert told.picker.clip == before
    assert not told.picker.upload.value


def test_a_too_large_upload_is_told(told: Told) -> None:
    """With its size, and what to do instead."""
    told.upload("long.wav", bytes(20_000_001))
    (said,) = told.sentences
    assert "'long.wav' has 20.0 MB; at most 20" in said
    assert "Type its path instead" in said
    assert not told.picker.upload.value
