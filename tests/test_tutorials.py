"""The notebooks executed in real kernels against real peers: that they run, and what they show."""

from __future__ import annotations

import ast
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from kernels import NAMES, NOTEBOOKS, Executed, code_cells, execute

import rtnb

ANSWER = "The capital of France is Paris."
KEY = "sk-test-only-0123456789abcdef"
REPLIES = Path(rtnb.__file__).parent / "peer" / "replies"
TEXT_SUFFIXES = (".json", ".jsonl", ".csv", ".log", ".txt")
AT_ONCE = 3  # notebooks that run beside each other; more would disturb each other's sound

every_notebook = pytest.mark.parametrize("name", NAMES)


# --- running them --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Executed]]]:
    """All notebooks as they run, in order, with a standard key in the environment."""
    folders = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {n: pool.submit(execute, n, folders[n], OPENAI_API_KEY=KEY) for n in NAMES}
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def executed(under_way: dict[str, Future[Executed]]) -> Callable[[str], Executed]:
    """Return what waits for a notebook, by its name, until it has run."""
    return lambda name: under_way[name].result()


@every_notebook
def test_a_notebook_runs_top_to_bottom(executed: Callable[[str], Executed], name: str) -> None:
    """Every code cell has run, in order, and none shows an error."""
    cells = code_cells(executed(name).notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@every_notebook
def test_an_executed_notebook_holds_no_key(executed: Callable[[str], Executed], name: str) -> None:
    """Neither outputs, widget state nor metadata hold a key or an ICE password."""
    shown = executed(name).shown()
    assert "ek_" not in shown
    assert KEY not in shown
    assert not re.search("ice-pwd:(?!•••)", shown)


@every_notebook
def test_an_executed_notebook_names_no_folder(
    executed: Callable[[str], Executed], name: str
) -> None:
    """No absolute path is in its outputs, its widgets' saved state or other metadata."""
    shown = re.sub("[A-Za-z0-9+/=]{60,}", "", executed(name).shown())  # sound and pictures
    places = (executed(name).folder, NOTEBOOKS.parent, Path.home(), tempfile.gettempdir())
    assert [str(place) for place in places if str(place) in shown] == []


@every_notebook
def test_the_files_of_a_notebook_hold_no_key(
    executed: Callable[[str], Executed], name: str
) -> None:
    """Nor does anything that it has written."""
    files = [path for path in executed(name).folder.rglob("*") if path.is_file()]
    written = {path: path.read_bytes() for path in files}
    assert any(path.suffix == ".wav" for path in written)
    assert not [path for path, content in written.items() if KEY.encode() in content]
    texts = {path: content for path, content in written.items() if path.suffix in TEXT_SUFFIXES}
    assert not [path for path, content in texts.items() if b"ek_" in content]


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_notebook_leaves_no_call_open(executed: Callable[[str], Executed], name: str) -> None:
    """Every call that it has made was closed in order."""
    runs = [rtnb.open_run(path.parent) for path in executed(name).folder.rglob("run.json")]
    assert runs
    assert all(run.complete for run in runs)


# --- 00_handshake --------------------------------------------------------------------------------


@pytest.fixture
def handshake(executed: Callable[[str], Executed]) -> Executed:
    """The executed 00_handshake."""
    return executed("00_handshake")


def test_the_handshake_offers_this_machine_only(handshake: Executed) -> None:
    """The offer is shown by section, its only address is 127.0.0.1, its password is masked."""
    offer = handshake.rendered("offer")
    assert {"audio", "application"} <= set(re.findall(r"<summary>(\w+)", offer))
    assert set(re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+)", offer)) == {"127.0.0.1"}
    assert "a=ice-pwd:•••" in offer


def test_the_handshake_shows_events_until_the_reply_is_over(handshake: Executed) -> None:
    """The types of events are listed in order, up to the end of the sound."""
    assert handshake.printed("open").split() == ["session.created"]
    types = handshake.printed("talk").split()
    assert types[0] == "input_audio_buffer.speech_started"
    assert types.index("response.created") < types.index("response.done")
    assert types[-1] == "output_audio_buffer.stopped"


def test_the_handshake_gets_an_answer(handshake: Executed) -> None:
    """The transcript of the reply is printed."""
    assert handshake.printed("transcript").strip() == ANSWER


def test_the_handshake_leaves_a_wav_with_the_spoken_reply(handshake: Executed) -> None:
    """The last cell is a player of the WAV, in which the reply is heard to its end."""
    assert "<audio" in handshake.rendered("reply")
    (path,) = handshake.folder.glob("*/reply.wav")
    clip = rtnb.Clip.read(path)
    reply = rtnb.Clip.read(REPLIES / "capital_of_france.wav")
    assert clip.duration > reply.duration
    assert clip[clip.duration - reply.duration :].level == pytest.approx(reply.level, abs=3)


# --- 01_first_call -------------------------------------------------------------------------------


@pytest.fixture
def first_call(executed: Callable[[str], Executed]) -> Executed:
    """The executed 01_first_call."""
    return executed("01_first_call")


def test_five_lines_get_a_spoken_answer(first_call: Executed) -> None:
    """The first cell after the installation has five lines, and shows transcript and latency."""
    call = next(cell for cell in first_call.notebook.cells if cell.id == "call")
    assert len([line for line in call.source.splitlines() if line.strip()]) == 5
    transcript, first_audio = ast.literal_eval(first_call.printed("call"))
    assert transcript == ANSWER
    assert 0.2 < first_audio < 3


def test_the_first_call_can_be_heard_and_seen(first_call: Executed) -> None:
    """The reply is a player in its cell, the plot is a figure, the events are a table."""
    assert "<audio" in first_call.rendered("reply")
    assert first_call.rendered("plot", "image/png")
    assert "response.done" in first_call.rendered("events")


def test_the_first_call_is_kept(first_call: Executed) -> None:
    """The saved run opens complete, with its turns."""
    assert "2 turns" in first_call.printed("save")
    assert "not closed" not in first_call.printed("save")
    assert ANSWER in first_call.printed("run")


# --- 02_events_and_transcripts -------------------------------------------------------------------


@pytest.fixture
def events(executed: Callable[[str], Executed]) -> Executed:
    """The executed 02_events_and_transcripts."""
    return executed("02_events_and_transcripts")


def test_the_log_shows_both_directions(events: Executed) -> None:
    """Sent and received events are in one table, and can be selected by direction and type."""
    assert "session.update" in events.printed("sent")
    assert "session.created" not in events.printed("sent")
    assert re.findall(r"(\w+_audio_buffer\.\w+)", events.printed("select")) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "output_audio_buffer.started",
        "output_audio_buffer.stopped",
    ]


def test_the_events_hold_both_transcripts(events: Executed) -> None:
    """Both sides are in words, the user's after the response had begun."""
    assert "you:   How much is seven times eight?" in events.printed("transcripts")
    assert "model: Seven times eight is fifty-six." in events.printed("transcripts")
    assert 0 < float(events.printed("late")) < 2


def test_an_event_of_ones_own_is_answered(events: Executed) -> None:
    """What was added to the conversation comes back."""
    assert "conversation.item.done" in events.printed("wait")


def test_an_event_that_nobody_knows_is_kept(events: Executed) -> None:
    """It is in the log, and so is the error that answers it."""
    assert "lamp.dim" in events.printed("unknown")
    assert re.search(r"lamp\.dim.*\n.*error", events.printed("kept"))


def test_the_inspector_is_saved_with_the_notebook(events: Executed) -> None:
    """The live view is a widget, and its state is in the notebook's metadata."""
    (view,) = (o for o in events.outputs("live") if "data" in o)
    model = view.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    widgets = events.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]
    assert model in widgets["state"]


# --- 03_waveforms_and_timelines ------------------------------------------------------------------


@pytest.fixture
def plots(executed: Callable[[str], Executed]) -> Executed:
    """The executed 03_waveforms_and_timelines."""
    return executed("03_waveforms_and_timelines")


@pytest.mark.parametrize(
    "cell",
    [
        *("gaps", "spectrogram", "level", "figure", "timeline", "options", "session", "lanes"),
        "lossy-plot",
    ],
)
def test_a_plot_is_one_figure(plots: Executed, cell: str) -> None:
    """Each plot of the notebook is an image in its cell, and only one."""
    images = [o for o in plots.outputs(cell) if "image/png" in o.get("data", {})]
    assert len(images) == 1


def test_clips_are_cut_joined_and_stored(plots: Executed) -> None:
    """Their figures are what was done to them."""
    assert plots.printed("cut").startswith("<Clip 1.60 s, 24000 Hz")
    assert plots.printed("resample").startswith("(True, <Clip 1.60 s, 8000 Hz")
    assert plots.printed("file") == plots.printed("cut")
    assert plots.printed("gaps") == "((1.6, 1.8),)"


def test_a_lossy_call_is_heard_by_both_and_kept_by_one(plots: Executed) -> None:
    """MediaRecorder's file is shorter by 100 ms a loss; rtnb's is whole, and has the gaps."""
    plain, heard = plots.printed("lossy-server"), plots.printed("lossy-call")
    durations = [float(re.findall(r"<Clip ([\d.]+) s", one)[0]) for one in (plain, heard)]
    gaps = int(re.findall(r"(\d+) gaps", heard)[0])
    assert gaps >= 3
    assert durations[1] - durations[0] >= 0.1 * gaps
    assert "gap" not in plain


def test_the_drawn_turn_has_a_tool_call(plots: Executed) -> None:
    """The timeline has something to show in every lane."""
    assert "I looked up the weather in Paris for you." in plots.printed("call")
    assert "weather" in plots.rendered("call")


# --- 04_talk_from_a_panel ------------------------------------------------------------------------


@pytest.fixture
def panel(executed: Callable[[str], Executed]) -> Executed:
    """The executed 04_talk_from_a_panel."""
    return executed("04_talk_from_a_panel")


def test_the_panel_is_saved_with_its_call(panel: Executed) -> None:
    """Its widgets are in the notebook's metadata, as they were last."""
    widgets = panel.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    values = [str(model["state"].get("value", "")) for model in widgets.values()]
    assert any("This panel is closed" in value for value in values)
    assert any(ANSWER in value and 'role="log"' in value for value in values)


def test_the_panel_leaves_a_record_of_its_call(panel: Executed) -> None:
    """The same cell has the call as HTML, for a notebook without a kernel."""
    record = panel.rendered("panel")
    assert "Record of the call" in record
    assert ANSWER in record
    assert record.count("<audio") == 3


def test_what_was_coded_is_in_the_panels_session(panel: Executed) -> None:
    """Turns of cells are turns of the panel."""
    assert f"→ '{ANSWER}'" in panel.printed("session")
    assert panel.printed("keep").startswith("2 turns")


# --- 05_function_tools ---------------------------------------------------------------------------


@pytest.fixture
def tools(executed: Callable[[str], Executed]) -> Executed:
    """The executed 05_function_tools."""
    return executed("05_function_tools")


def test_a_function_becomes_a_schema(tools: Executed) -> None:
    """Description, required and optional parameters are in it."""
    schema = ast.literal_eval(tools.printed("schema"))
    assert schema["description"] == "Current temperature in a city."
    assert schema["parameters"]["required"] == ["city"]
    assert schema["parameters"]["properties"]["unit"] == {"enum": ["celsius", "fahrenheit"]}


def test_a_tool_call_shows_both_ways(tools: Executed) -> None:
    """What the model gave and what the function returned, then the spoken response."""
    assert "{'city': 'Paris'} → {'city': 'Paris', 'unit': 'celsius'" in tools.printed("arguments")
    assert tools.printed("responses").splitlines() == [
        "completed ''",
        "completed 'I looked up the weather in Paris for you.'",
    ]


def test_a_failing_tool_ends_no_cell(tools: Executed) -> None:
    """What it raised is in the call, and went to the model."""
    raised = "ConnectionError: the sensor at the door does not answer"
    assert ast.literal_eval(tools.printed("error")) == raised
    assert json.loads(ast.literal_eval(tools.printed("output"))) == {"error": raised}


def test_a_call_is_answered_by_hand(tools: Executed) -> None:
    """The turn ends with a spoken answer once the result was sent."""
    assert "'name': 'ask_colleague'" in tools.printed("hand")
    assert "completed" in tools.printed("answer")
    assert "I have the result of the tool." in tools.printed("answer")


# --- 06_interruptions_and_push_to_talk -----------------------------------------------------------


@pytest.fixture
def talk(executed: Callable[[str], Executed]) -> Executed:
    """The executed 06_interruptions_and_push_to_talk."""
    return executed("06_interruptions_and_push_to_talk")


def test_a_reply_is_interrupted(talk: Executed) -> None:
    """The turn was under way, then cut, and less was heard than generated."""
    assert talk.printed("call") == "'in_progress'"
    assert "cancelled" in talk.printed("interrupt")
    told = re.findall(r"(?:heard|counted):\s+([\d.]+) s", talk.printed("heard"))
    heard, counted = map(float, told)
    assert 1.4 < heard < 6
    assert heard == pytest.approx(counted, abs=0.5)


def test_speaking_over_a_reply_cuts_it(talk: Executed) -> None:
    """The story is cancelled, its sound cleared, and the question answered."""
    answer = "Seven times eight is fifty-six."
    assert ast.literal_eval(talk.printed("barge")) == ("cancelled", answer)
    assert re.search(r"speech_started[^←]*←\s+output_audio_buffer\.cleared", talk.printed("cut"))


def test_push_to_talk_commits_by_hand(talk: Executed) -> None:
    """The held turn is answered, and turn detection restored after its commit."""
    assert "Yes, I can hear you." in talk.printed("push")
    assert re.findall(r"→\s+(\S+)", talk.printed("push-events")) == [
        "input_audio_buffer.clear",
        "input_audio_buffer.commit",
        "response.create",
        "session.update",
    ]


def test_without_turn_detection_no_speech_is_reported(talk: Executed) -> None:
    """The answer is a written one, and the buffer is committed by us."""
    assert "Hello! I am doing fine today." in talk.printed("detection")
    assert "→  input_audio_buffer.commit" in talk.printed("detection-events")
    assert "speech_started" not in talk.printed("detection-events")


# --- 07_replaying_prompts_and_saved_runs ---------------------------------------------------------


@pytest.fixture
def replays(executed: Callable[[str], Executed]) -> Executed:
    """The executed 07_replaying_prompts_and_saved_runs."""
    return executed("07_replaying_prompts_and_saved_runs")


def test_the_batch_is_a_table_with_players(replays: Executed) -> None:
    """Two prompts with two voices are four rows."""
    assert "<audio" in replays.rendered("replay")
    rows = [row.split(" | ") for row in replays.printed("rows").splitlines()]
    assert [row[1] for row in rows] == ["marin", "marin", "ash", "ash"]
    assert {row[2] for row in rows} == {
        "Hello! I am doing fine today.",
        "Tuesday comes after Monday.",
    }
    assert replays.printed("failures") == "[]"


def test_the_batch_is_a_frame(replays: Executed) -> None:
    """pandas shows it, and one prompt's latencies beside each other."""
    assert "first_audio" in replays.printed("frame")
    assert "greeting" in replays.printed("latency")


def test_the_batch_is_measured(replays: Executed) -> None:
    """Latencies with their summary, one waterfall, a cost, and why a turn had no sound."""
    assert "4 answered" in replays.rendered("latencies")
    assert replays.rendered("waterfall", "image/png")
    assert replays.printed("cost").startswith("$0.0")
    assert replays.printed("explain").startswith("<Explanation text_only: ")


def test_a_run_is_opened_and_compared(replays: Executed) -> None:
    """It opens with its turn, and the comparison is arithmetic on what was measured."""
    assert "Hello! I am doing fine today." in replays.printed("turns")
    first, third, by = re.findall(r"([+-]?[\d.]+)(?= s)", replays.printed("compare"))
    assert float(third) - float(first) == pytest.approx(float(by), abs=0.002)
    assert replays.rendered("plot", "image/png")


def test_a_run_is_read_without_rtnb(replays: Executed) -> None:
    """The standard library reads its sound and its events."""
    assert "turns/001-reply.wav" in replays.printed("files")
    assert "2 channels, 48000 Hz" in replays.printed("standard")
    assert "the last is output_audio_buffer.stopped" in replays.printed("standard")


def test_a_call_of_ones_own_is_saved(replays: Executed) -> None:
    """The copy opens, and the call is the newest of the recent ones."""
    assert "by-hand" in replays.printed("save")
    assert replays.printed("recent") == "True"


# --- 08_talk_to_it -------------------------------------------------------------------------------


@pytest.fixture
def voice(executed: Callable[[str], Executed]) -> Executed:
    """The executed 08_talk_to_it, into which nobody has spoken."""
    return executed("08_talk_to_it")


def test_microphone_and_speaker_are_saved_with_the_notebook(voice: Executed) -> None:
    """Both are widgets in one cell, and their state holds no sound."""
    widgets = voice.notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    views = [o.data["application/vnd.jupyter.widget-view+json"] for o in voice.outputs("widgets")]
    states = [widgets[view["model_id"]] for view in views]
    assert len(states) == 2
    assert not any(state.get("buffers") for state in states)


def test_the_notebook_copes_with_nobody_speaking(voice: Executed) -> None:
    """It says so, and goes on with what was sent by code."""
    assert "you have spoken 0 times" in voice.printed("turns")
    assert "Record" in voice.printed("record")
    assert voice.printed("busy") == "'0 chunks came while this cell ran'"
    assert ast.literal_eval(voice.printed("reuse")) == "Seven times eight is fifty-six."


def test_the_story_is_cut_without_a_voice_too(voice: Executed) -> None:
    """What nobody interrupts by speaking is interrupted by command."""
    assert voice.printed("story") == "'in_progress'"
    assert "cancelled" in voice.printed("cut")


@pytest.mark.parametrize("cell", ["plot", "both"])
def test_a_spoken_call_is_plotted(voice: Executed, cell: str) -> None:
    """A turn, and the run, are one figure each."""
    images = [o for o in voice.outputs(cell) if "image/png" in o.get("data", {})]
    assert len(images) == 1


# --- 09_browser_page_and_tokens ------------------------------------------------------------------


@pytest.fixture
def tokens(executed: Callable[[str], Executed]) -> Executed:
    """The executed 09_browser_page_and_tokens."""
    return executed("09_browser_page_and_tokens")


def test_a_key_is_given_out_and_not_shown(tokens: Executed) -> None:
    """Both shapes of the answer have the same key, which expires within the hour."""
    names, length, same = ast.literal_eval(tokens.printed("session"))
    assert {"value", "expires_at", "client_secret", "base_url"} <= set(names)
    assert same and re.fullmatch(r"a key of \d+ characters", length)
    left = re.match(r"'(\d+) s left'", tokens.printed("expires"))
    assert left and 0 < int(left[1]) <= 3600


def test_a_call_is_placed_with_a_key_of_the_server(tokens: Executed) -> None:
    """It was answered, and is in the peer's log."""
    assert ANSWER in tokens.printed("connect")
    assert tokens.printed("log").count("s of sound came") == 1


def test_the_page_is_a_link_to_this_machine(tokens: Executed) -> None:
    """The link's address is loopback."""
    assert re.search(r"\(http://127\.0\.0\.1:\d+/\)", tokens.rendered("page", "text/markdown"))


def test_a_foreign_page_gets_no_key(tokens: Executed) -> None:
    """It is refused with a sentence."""
    status, why = ast.literal_eval(tokens.printed("guard"))
    assert status == 403
    assert why.endswith(".")


# --- 10_a_server_to_test_against -----------------------------------------------------------------


@pytest.fixture
def server(executed: Callable[[str], Executed]) -> Executed:
    """The executed 10_a_server_to_test_against."""
    return executed("10_a_server_to_test_against")


def test_a_function_is_a_voice(server: Executed) -> None:
    """What it returned was said, and it was given the turn of the bundled sample."""
    assert server.printed("ask") == "'Yes, I can hear you.'"
    assert server.printed("asked").count("UserTurn(") == 1
    assert "sample='greeting'" in server.printed("asked")


def test_a_script_speaks_what_a_tool_returned(server: Executed) -> None:
    """The tool was called with the script's arguments, and its result is in the reply, aloud."""
    assert server.printed("script") == "'It is 7 degrees.'"
    assert """arguments='{"city": "Oslo"}'""" in server.printed("calls")
    assert "<audio" in server.rendered("reply")


@pytest.mark.parametrize("cell", ["pitch", "timeline", "spacing"])
def test_the_servers_plots_are_figures(server: Executed, cell: str) -> None:
    """Each is one image."""
    images = [o for o in server.outputs(cell) if "image/png" in o.get("data", {})]
    assert len(images) == 1


def test_a_refused_call_is_a_sentence_and_the_next_one_is_taken(server: Executed) -> None:
    """The client says why, and the server's log has the refusal."""
    assert server.printed("loss").startswith("Too many requests with this key; wait a little")
    assert "is refused: 429 rate_limit_exceeded" in server.printed("head")
    assert "<audio" in server.rendered("loss")


def test_the_clients_losses_are_the_servers_drops(server: Executed) -> None:
    """In number, burst by burst, and packet by packet."""
    lost, dropped = server.printed("gaps").splitlines()
    assert lost.split("[")[1] == dropped.split("[")[1]
    assert "3" in lost
    assert server.printed("same") == "True"


def test_a_recorded_call_is_given_again(server: Executed) -> None:
    """The words are the same, nobody asked the voice, and the latency is that of the recording."""
    assert server.printed("save") == "(True, 1)"
    recorded, replayed = map(float, re.findall(r"([\d.]+)(?= s)", server.printed("latency")))
    assert replayed == pytest.approx(recorded, abs=0.25)
