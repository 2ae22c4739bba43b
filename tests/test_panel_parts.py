"""The parts of a panel, without a front end: key field, button, form, picker, threads."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rtnb
from rtnb.errors import CallError, ConfigurationError, MissingKeyError
from rtnb.panel.controls import HoldButton, KeyField
from rtnb.panel.form import Form
from rtnb.panel.picker import Picker
from rtnb.panel.work import Refresher, Worker

KEY = "sk-test-only-0123456789abcdef"
ODD_KEY = "only-this-server-knows-0123456789"  # no pattern catches it
ELSEWHERE = "https://example.org/v1"


def until(fact: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.005)


def state_of(*widgets: Any) -> str:
    """Return everything of the state of widgets, as a saved notebook would hold it."""
    return "\n".join(str(widget.get_state()) for widget in widgets)


# --- the key field --------------------------------------------------------------------------------


def typed(value: Any) -> KeyField:
    """Return a key field that was left with this in it."""
    field = KeyField()
    field._handle_custom_msg({"kind": "key", "value": value}, [])
    return field


def calls(told: list[str]) -> list[Callable[[], None]]:
    """Return what notes down each word of a button."""
    return [lambda word=word: told.append(word) for word in ("down", "up", "here")]  # type: ignore[misc]


@pytest.mark.parametrize("key", [KEY, ODD_KEY])
def test_a_key_is_in_no_state(key: str) -> None:
    """Neither a trait, nor the repr, nor what a notebook is saved with holds it."""
    field = typed(key)
    assert field.held
    traits = {name: getattr(field, name, None) for name in field.trait_names()}
    for shown in (state_of(field), repr(field), str(field), str(traits), str(vars(field))):
        assert key not in shown
    assert repr(field) == "<KeyField holds a key>"


def test_a_key_is_taken_once() -> None:
    """It is forgotten then."""
    field = typed(f" {KEY}\n")
    taken = field.take()
    assert taken is not None and taken.reveal() == KEY
    assert (field.take(), field.held, repr(field)) == (None, False, "<KeyField empty>")


@pytest.mark.parametrize("value", ["", "  \n"])
def test_an_emptied_field_forgets_its_key(value: str) -> None:
    """What was typed before is gone too."""
    field = typed(KEY)
    field._handle_custom_msg({"kind": "key", "value": value}, [])
    assert (field.held, field.take()) == (False, None)


@pytest.mark.parametrize(
    "message",
    [
        None, "key", [KEY], {}, {"kind": "key"}, {"kind": "key", "value": 3}, {"kind": "other"},
        {"kind": "key", "value": [KEY]}, {"kind": "key", "value": "x" * 5000}, {"value": KEY},
    ],
)  # fmt: skip
def test_a_bad_message_is_no_key(message: Any) -> None:
    """Nothing is held, and nothing is raised."""
    field = KeyField()
    field._handle_custom_msg(message, [])
    assert (field.held, field.take()) == (False, None)


def test_a_key_that_cannot_be_one_is_refused() -> None:
    """What was held before is dropped, and the sentence says why."""
    told: list[str] = []
    field = KeyField(told.append)
    field._handle_custom_msg({"kind": "key", "value": KEY}, [])
    field._handle_custom_msg({"kind": "key", "value": "x" * 5_000}, [])
    assert (field.held, field.take()) == (False, None)
    assert told == ["This is no key: it has more than 4096 characters."]


def test_two_key_fields_hold_their_own() -> None:
    """Nothing is shared between panels."""
    one, two = typed(KEY), KeyField()
    assert (one.held, two.held, two.take()) == (True, False, None)


# --- the button to hold ---------------------------------------------------------------------------


def test_a_button_tells_press_and_release() -> None:
    """Each in its time, without arguments."""
    told: list[str] = []
    button = HoldButton(*calls(told), label="Talk")
    for kind in ("press", "release", "press"):
        button._handle_custom_msg({"kind": kind}, [])
    assert told == ["down", "up", "down"]
    assert (button.label, repr(button)) == ("Talk", "<HoldButton 'Talk'>")


@pytest.mark.parametrize("message", [None, "press", [], {}, {"kind": ["press"]}, {"kind": "hold"}])
def test_a_bad_message_presses_nothing(message: Any) -> None:
    """It is ignored."""
    told: list[str] = []
    button = HoldButton(*calls(told))
    button._handle_custom_msg(message, [])
    assert told == []


# --- the form -------------------------------------------------------------------------------------


def filled(choice: str, *, key: str | None = None, given: Any = None, **values: Any) -> Form:
    """Return a form with an endpoint chosen, and other fields filled in."""
    form = Form(given)
    form.endpoint.value = choice
    for name, value in values.items():
        getattr(form, name).value = value
    if key is not None:
        form.key._handle_custom_msg({"kind": "key", "value": key}, [])
    return form


def test_a_new_form_offers_the_peer() -> None:
    """With transcription, and the server's defaults otherwise; address and key are hidden."""
    form = Form()
    wanted = form.wanted()
    assert wanted.peer
    assert wanted.options == {
        "transcription": True, "model": None, "voice": None, "instructions": None,
    }  # fmt: skip
    assert (form.url.layout.visibility, form.key.layout.visibility) == ("hidden", "hidden")


@pytest.mark.parametrize(
    ("choice", "url", "key"),
    [
        ("peer", "hidden", "hidden"),
        ("openai", "hidden", "visible"),
        ("other", "visible", "visible"),
        ("given", "hidden", "hidden"),
    ],
)
def test_each_choice_shows_its_fields(choice: str, url: str, key: str) -> None:
    """What is not asked for is hidden."""
    form = filled(choice, given="http://127.0.0.1:9/v1")
    assert (form.url.layout.visibility, form.key.layout.visibility) == (url, key)


def test_what_was_filled_in_is_wanted() -> None:
    """Without blanks around it; an empty field is the server's default."""
    form = filled("peer", model=" m-1 ", voice="ash", instructions=" Be brief.\n")
    form.transcription.value = False
    options = form.wanted().options
    assert options == {
        "transcription": None, "model": "m-1", "voice": "ash", "instructions": "Be brief.",
    }  # fmt: skip


def test_openai_gets_the_key_that_was_typed() -> None:
    """It leaves the form, and is not in the repr of what is wanted."""
    form = filled("openai", key=KEY)
    wanted = form.wanted()
    assert (wanted.peer, wanted.options["endpoint"], wanted.options["api_key"]) == (
        False,
        None,
        KEY,
    )
    assert KEY not in repr(wanted)
    assert form.wanted().options["api_key"] is None


def test_a_given_endpoint_is_chosen_first(peer: rtnb.Peer) -> None:
    """It is passed on as it is, also after another choice."""
    form = Form(peer)
    assert form.wanted().options["endpoint"] is peer
    form.choose_peer()
    assert form.wanted().peer
    form.endpoint.value = "given"
    assert (form.wanted().peer, form.wanted().options["endpoint"]) == (False, peer)


def test_another_server_is_an_endpoint_with_its_key() -> None:
    """The address and the key that were typed, and nothing else."""
    endpoint = filled("other", key=KEY, url=f" {ELSEWHERE}/ ").wanted().options["endpoint"]
    assert endpoint.base_url == ELSEWHERE
    assert endpoint.key.reveal() == KEY


def test_a_server_on_this_machine_needs_no_key() -> None:
    """But takes the one that was typed."""
    place = "http://127.0.0.1:9/v1"
    keys = [
        filled("other", key=key, url=place).wanted().options["endpoint"].key.reveal()
        for key in (None, KEY)
    ]
    assert keys == [rtnb.Endpoint.for_peer(place).key.reveal(), KEY]


def test_the_environments_key_is_not_for_an_address_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL handed to the panel needs a key that is typed."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    form = Form("https://example.org/v1")
    assert form.key.layout.visibility == "visible"
    with pytest.raises(ConfigurationError, match="needs a key"):
        form.wanted()


@pytest.mark.parametrize("url", [ELSEWHERE, "http://127.0.0.1:9/v1", "http://localhost:9/v1"])
def test_the_environments_key_is_not_for_another_server(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is OpenAI's: elsewhere a key is typed, or the call is refused."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    form = filled("other", url=url)
    if url == ELSEWHERE:
        with pytest.raises(ConfigurationError, match="This server needs a key; type it"):
            form.wanted()
    else:
        assert KEY not in form.wanted().options["endpoint"].key.reveal()


@pytest.mark.parametrize(
    "url",
    [
        "", "  ", "example.org", "ftp://example.org", "https://", "://", "https://example.org:x/v1",
        "https://user:secret-word@example.org/v1", "https://example.org/v1?key=secret-word",
        "http://example.org/v1", "javascript:alert(1)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", [None, KEY])
def test_a_wrong_address_is_told(url: str, key: str | None) -> None:
    """In one sentence that shows no secret, and the key is forgotten all the same."""
    form = filled("other", key=key, url=url)
    with pytest.raises(ConfigurationError) as told:
        form.wanted()
    assert KEY not in str(told.value)
    assert "secret-word" not in str(told.value)
    assert not form.key.held


@pytest.mark.parametrize("then", ["peer", "other"])
def test_a_key_typed_for_one_server_is_not_for_another(then: str) -> None:
    """Choosing another endpoint forgets it at once."""
    form = filled("openai", key=KEY)
    form.endpoint.value = then
    assert not form.key.held
    form.url.value = "http://127.0.0.1:9/v1"
    assert KEY not in str(form.wanted().options)
    form.endpoint.value = "openai"
    assert form.wanted().options["api_key"] is None


def test_a_missing_key_is_advised_on() -> None:
    """What to do, in this form; other errors say it themselves."""
    advice = Form.advice(MissingKeyError("No key."))
    assert "Type one" in advice and "OPENAI_API_KEY" in advice and "peer" in advice
    assert Form.advice(CallError("Too late; try again.")) == "Too late; try again."


def test_a_form_is_disabled_as_a_whole() -> None:
    """While a call is there, nothing of it can be changed; afterwards all of it."""
    form = Form()
    texts = (form.url, form.model, form.voice, form.instructions)
    parts = (form.endpoint, form.key, form.transcription, *texts)
    form.enable(False)
    assert all(part.disabled for part in parts)
    form.enable(True)
    assert not any(part.disabled for part in parts)


def test_a_filled_form_holds_no_key_in_its_state() -> None:
    """Before and after it is read."""
    form = filled("openai", key=KEY)
    parts = (form.endpoint, form.url, form.key, form.model, form.voice, form.instructions)
    assert KEY not in state_of(*parts)
    form.wanted()
    assert KEY not in state_of(*parts)


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


# --- what a click starts --------------------------------------------------------------------------


@pytest.fixture
def failures() -> list[Exception]:
    """What went wrong."""
    return []


@pytest.fixture
def worker(failures: list[Exception]) -> Iterator[Worker]:
    """A worker that must have nothing to do at the end."""
    one = Worker(failures.append)
    yield one
    until(lambda: one.doing is None)
    until(lambda: not threads("rtnb-panel"))


def threads(beginning: str) -> list[str]:
    """Return the names of the threads that live."""
    return [t.name for t in threading.enumerate() if t.name.startswith(beginning)]


def test_work_is_done_in_a_thread_of_its_own(worker: Worker) -> None:
    """Whoever starts it is not kept waiting, and is told what is being done."""
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        assert go.wait(10)
        done.set()

    assert worker.start("Saving a run", work)
    assert (worker.doing, threads("rtnb-panel")) == ("Saving a run", ["rtnb-panel-saving"])
    go.set()
    assert done.wait(10)
    until(lambda: worker.doing is None)


def test_one_thing_is_done_at_a_time(worker: Worker) -> None:
    """What comes meanwhile is refused, not queued; afterwards it is welcome."""
    go = threading.Event()
    ran: list[str] = []
    assert worker.start("Saving", lambda: ran.append("first") or go.wait(10))  # type: ignore[func-returns-value,arg-type]
    assert not worker.start("Sending", lambda: ran.append("second"))
    go.set()
    until(lambda: worker.doing is None)
    assert worker.start("Sending", lambda: ran.append("third"))
    until(lambda: ran == ["first", "third"])


def test_what_need_not_be_alone_runs_beside(worker: Worker) -> None:
    """An interrupt goes through while something is sent, and is not what is being done."""
    go, through = threading.Event(), threading.Event()
    worker.start("Sending", lambda: go.wait(10) and None)
    assert worker.start("Interrupting", through.set, alone=False)
    assert through.wait(10)
    assert worker.doing == "Sending"
    go.set()


def test_many_clicks_at_once_start_one_thing(worker: Worker) -> None:
    """Whatever thread they come from."""
    go, gate = threading.Event(), threading.Barrier(8)
    started: list[bool] = []

    def click() -> None:
        gate.wait(10)
        started.append(worker.start("Saving", lambda: go.wait(10) and None))

    clicks = [threading.Thread(target=click) for _ in range(8)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    go.set()
    assert sorted(started) == [False] * 7 + [True]


def test_an_error_of_ours_is_told_as_it_is(worker: Worker, failures: list[Exception]) -> None:
    """It says what to do by itself."""
    error = ConfigurationError("Not so; do it so.")

    def work() -> None:
        raise error

    worker.start("Saving", work)
    until(lambda: worker.doing is None)
    assert failures == [error]


@pytest.mark.parametrize("alone", [True, False])
def test_any_other_error_is_told_with_its_kind(
    alone: bool, worker: Worker, failures: list[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the secrets that it may hold; nothing is printed, and the worker goes on."""

    def work() -> None:
        raise ZeroDivisionError(f"with {KEY}")

    worker.start("Saving", work, alone=alone)
    until(lambda: bool(failures))
    assert str(failures[0]) == "ZeroDivisionError: with •••"
    until(lambda: worker.doing is None)
    assert worker.start("Saving", lambda: None)
    assert capfd.readouterr() == ("", "")


# --- what keeps the widgets up to date ------------------------------------------------------------


class Shown:
    """Something that is refreshed, as often as it says."""

    def __init__(self, wait: float | None = None, error: Exception | None = None):
        self.count = 0
        self.wait = wait
        self.error = error
        self.refresher = Refresher(self)

    def refresh(self) -> float | None:
        self.count += 1
        if self.error is not None:
            raise self.error
        return self.wait


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """See that every refresher has ended."""
    yield
    until(lambda: not threads("rtnb-panel-refresh"))


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_refreshes_at_once_and_on_demand() -> None:
    """Where nothing happens by itself, it waits until it is woken."""
    shown = Shown()
    until(lambda: shown.count == 1)
    shown.refresher.wake()
    until(lambda: shown.count == 2)
    shown.refresher.stop()
    shown.refresher.join(10)
    assert not threads("rtnb-panel-refresh")
    shown.refresher.wake()
    assert shown.count == 2


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_comes_again_when_it_was_told_so() -> None:
    """Without being woken."""
    shown = Shown(wait=0.01)
    until(lambda: shown.count >= 4)
    shown.refresher.stop()


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_ends_with_its_owner() -> None:
    """It keeps nothing alive."""
    owners = [Shown()]
    until(lambda: owners[0].count == 1)
    gone = weakref.ref(owners.pop())

    def is_gone() -> bool:
        gc.collect()
        return gone() is None

    until(is_gone)


@pytest.mark.usefixtures("no_thread_left")
def test_an_error_does_not_end_the_refreshing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is logged for who wants to know, not printed, and the next one is tried."""
    with caplog.at_level(logging.DEBUG, "rtnb.panel.work"):
        shown = Shown(error=RuntimeError("no comm"))
        until(lambda: "could not be refreshed" in caplog.text)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    shown.error = None
    shown.refresher.wake()
    until(lambda: shown.count >= 2)
    shown.refresher.stop()
    shown.refresher.stop()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_thread_left")
def test_a_refresher_may_be_stopped_from_within() -> None:
    """It does not wait for itself."""
    shown = Shown()

    def close() -> None:
        shown.refresher.stop()
        shown.refresher.join(10)

    until(lambda: shown.count == 1)
    shown.refresh = close  # type: ignore[method-assign]
    shown.refresher.wake()
