"""Turns of a real call to the peer: real SDP, ICE, SRTP, Opus and data channel."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import soundfile
from brief import SOON, STORY, brief_prompt

import rtnb
from rtnb.batch import Batch
from rtnb.errors import CallClosedError, ConfigurationError, ServiceError, TurnTimeout

ANSWER = "The capital of France is Paris."
Ended: TypeAlias = dict[str, Any]  # sessions, and the batch of a replay
HELLO = "Hello! I am doing fine today."


@pytest.fixture(scope="module")
def spoken(session: rtnb.Session) -> rtnb.Turn:
    """One spoken question with its spoken answer."""
    return session.ask(rtnb.sample("capital_of_france"))


def two_turns(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Ask aloud and in writing."""
    with rtnb.connect(peer, turn_detection=SOON, record_to=folder / "two-turns") as session:
        session.ask(brief_prompt())
        session.ask("What is the capital of France?")
    return session


def beta(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Ask over the beta routes."""
    endpoint = rtnb.Endpoint.beta(peer.url, "any-key-will-do")
    with rtnb.connect(endpoint, voice="verse", turn_detection=SOON) as session:
        session.ask(rtnb.sample("greeting"))
    return session


def no_turn_detection(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Ask where nothing but the client ends a turn."""
    with rtnb.connect(peer, turn_detection=None) as session:
        session.ask(rtnb.sample("greeting"))
    return session


def tool(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Ask for what takes a tool."""
    with rtnb.connect(peer, turn_detection=SOON) as session:

        @session.tool
        def weather(city: str) -> str:
            """Current weather in a city."""
            return f"18 °C and sunny in {city}"

        session.ask(rtnb.sample("weather_in_paris"))
    return session


def push_to_talk_then_a_prompt(peer: rtnb.Peer, silence_ms: int) -> rtnb.Session:
    """Send a prompt while the commit of the one before is still to leave."""
    detection = {"type": "server_vad", "silence_duration_ms": silence_ms}
    with rtnb.connect(peer, turn_detection=detection | {"interrupt_response": False}) as s:
        with s.push_to_talk() as first:
            first.play(rtnb.sample("seven_times_eight"))
        second = s.send(rtnb.sample("greeting"))
        first.wait(20)
        second.wait(20)
    return s


def after_200_ms(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Do so where turn detection waits for 200 ms of silence."""
    return push_to_talk_then_a_prompt(peer, 200)


def after_500_ms(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Do so where it waits for 500 ms."""
    return push_to_talk_then_a_prompt(peer, 500)


def texts_at_once(peer: rtnb.Peer, folder: Path) -> rtnb.Session:
    """Send three texts before the first one is answered."""
    with rtnb.connect(peer) as session:
        for text in ("What is the capital of France?", "How much is seven times eight?", "Hello"):
            session.send(text)
        for turn in session.turns:
            turn.wait(30)
    return session


def replay(peer: rtnb.Peer, folder: Path) -> Batch:
    """Ask two prompts with two voices."""
    prompts = [brief_prompt().write(folder / "greeting.wav"), "What is the capital of France?"]
    return rtnb.replay(prompts, peer, voices=["marin", "ash"], out=folder / "replay")


@pytest.fixture(scope="module")
def ended(brief_peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Calls that are over, by name; they were made at the same time."""
    folder = tmp_path_factory.mktemp("ended")
    calls = (
        *(two_turns, beta, no_turn_detection, tool, replay),
        *(after_200_ms, after_500_ms, texts_at_once),
    )
    with ThreadPoolExecutor(len(calls)) as pool:
        made = pool.map(lambda call: call(brief_peer, folder), calls)
        return {call.__name__.replace("_", " "): one for call, one in zip(calls, made, strict=True)}


def test_a_recorded_prompt_gets_a_spoken_answer(spoken: rtnb.Turn) -> None:
    """The reply is audible speech with its transcript."""
    assert (spoken.status, spoken.transcript) == ("completed", ANSWER)
    assert 1.5 < spoken.reply.duration < 2.2
    assert spoken.reply.level > -30


def test_the_reply_is_the_very_clip_the_peer_spoke(spoken: rtnb.Turn) -> None:
    """Sample by sample, what was heard follows what the peer had to say."""
    folder = Path(rtnb.__file__).parent / "peer" / "replies"
    original = rtnb.Clip.read(folder / "capital_of_france.wav").resample(48_000).samples
    heard = np.concatenate([spoken.reply.samples, np.zeros(48_000, np.float32)])
    products = np.correlate(heard, original[9600:48_000], "valid")
    best = int(np.argmax(products))
    part = heard[best : best + 38_400]
    assert np.corrcoef(part, original[9600:48_000])[0, 1] > 0.95


def test_first_audio_is_counted_from_the_end_of_speech(spoken: rtnb.Turn) -> None:
    """Latency is the gap between both sides of the recording itself."""
    latency = spoken.latency
    assert latency.first_audio == pytest.approx(latency.first_audible - latency.speech_end)
    assert 0.3 < latency.first_audio < 1.5


def test_the_prompt_transcript_is_what_was_said(spoken: rtnb.Turn) -> None:
    """With transcription on, the service's words of the prompt are on the turn."""
    assert spoken.prompt_transcript == "What is the capital of France?"


def test_usage_adds_up(spoken: rtnb.Turn) -> None:
    """Tokens in and out make the total."""
    usage = spoken.usage
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


def test_a_text_is_answered_aloud(brief: rtnb.Session) -> None:
    """A str is sent as text, and the latency counts from response.create."""
    turn = brief.ask("What is the capital of France?")
    assert (turn.status, turn.transcript, turn.prompt) == (
        "completed",
        ANSWER,
        "What is the capital of France?",
    )
    assert 0 < turn.latency.first_audio < 1.0


def test_a_path_is_played(brief: rtnb.Session, tmp_path: Path) -> None:
    """A pathlib.Path is audio."""
    path = brief_prompt().write(tmp_path / "hello.wav")
    assert brief.ask(path).name == "hello"


def test_send_returns_at_once_and_the_turn_can_be_awaited(brief: rtnb.Session) -> None:
    """send gives an in-progress turn; await gives it back when it is over."""

    async def say() -> rtnb.Turn:
        turn = brief.send("How much is seven times eight?")
        assert turn.status == "in_progress"
        return await turn

    assert asyncio.run(say()).status == "completed"


def test_a_wait_that_runs_out_says_what_was_awaited(brief: rtnb.Session) -> None:
    """TurnTimeout names the last event; the turn goes on to its end."""
    turn = brief.send("What is the capital of France?")
    with pytest.raises(TurnTimeout, match=r"the reply did not come within 0 s; the last event"):
        turn.wait(0)
    assert turn.wait(20).status == "completed"


def test_a_tool_is_called_and_its_result_goes_back(ended: Ended) -> None:
    """The function runs with the model's arguments; then comes the spoken answer."""
    turn = ended["tool"].turns[0]
    (call,) = turn.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
    assert call.output == "18 °C and sunny in Paris"
    assert turn.transcript == "I looked up the weather in Paris for you."


def test_what_a_tool_raises_goes_back_to_the_model(brief_peer: rtnb.Peer) -> None:
    """An exception becomes an error result, on the wire and in the turn."""
    with rtnb.connect(brief_peer) as session:

        @session.tool
        def weather(city: str) -> str:
            """Current weather in a city."""
            raise LookupError("no station")

        turn = session.ask(rtnb.sample_text("weather_in_paris"))
        (sent,) = [
            e
            for e in session.events.select("conversation.item.create", direction="sent")
            if e.data["item"]["type"] == "function_call_output"
        ]
    assert turn.tool_calls[0].error == "LookupError: no station"
    assert json.loads(sent.data["item"]["output"]) == {"error": "LookupError: no station"}


def test_push_to_talk_commits_after_the_last_sample(brief: rtnb.Session) -> None:
    """Turn detection is off within the block; the commit leaves 200 ms after the clip."""
    before = len(brief.events)
    with brief.push_to_talk() as turn:
        turn.play(rtnb.sample("seven_times_eight"))
    turn.wait(20)
    commit = brief.events[before:].select("input_audio_buffer.commit").last
    assert turn.transcript == "Seven times eight is fifty-six."
    assert 0.18 <= commit.time - turn._state.play_ended <= 0.35


def test_push_to_talk_may_stop_in_mid_word(brief: rtnb.Session) -> None:
    """What was said until then is committed at once and answered; more may be played before."""
    with brief.push_to_talk() as turn:
        turn.play(rtnb.Clip.tone(300, 30.0)).play(rtnb.Clip.tone(300, 30.0))
        with brief.changed:
            assert brief.changed.wait_for(lambda: turn._state.play_started is not None, 20)
        assert turn.stop() is turn
    assert turn.wait(20).status == "completed"
    assert turn.prompt_as_sent.duration < 10


def test_stopping_a_turn_that_is_not_held_is_refused(brief: rtnb.Session) -> None:
    """The clip of an ordinary turn is heard to its end; `interrupt` is what stops it."""
    turn = brief.send(rtnb.sample("greeting"))
    with pytest.raises(ConfigurationError, match=r"session\.interrupt\(\) stops any other"):
        turn.stop()
    assert turn.wait(20).transcript == HELLO


def test_push_to_talk_restores_turn_detection(brief: rtnb.Session) -> None:
    """After the block the server detects turns by itself again."""
    with brief.push_to_talk() as turn:
        turn.play(brief_prompt())
    turn.wait(20)
    assert brief.ask(brief_prompt()).status == "completed"


def test_a_session_without_turn_detection_commits_by_itself(ended: Ended) -> None:
    """With turn_detection=None a sent clip is committed and answered all the same."""
    session = ended["no turn detection"]
    assert session.turns[0].transcript == HELLO
    assert not session.events.select("input_audio_buffer.speech_started")


def test_interrupt_cuts_the_sound(brief: rtnb.Session) -> None:
    """interrupt() ends the turn as cancelled, long before the story is over."""
    turn = brief.send(STORY)
    turn.wait_for_audio(1.5)
    brief.interrupt()
    assert turn.status == "cancelled"
    assert 1.4 < turn.reply.duration < 4.0


def test_speaking_over_a_reply_cancels_it(brief: rtnb.Session) -> None:
    """The next prompt interrupts: the first turn is cancelled, the second one answered."""
    first = brief.send(STORY)
    first.wait_for_audio(0.5)
    second = brief.ask(rtnb.sample("greeting"))
    assert (first.status, second.status, second.transcript) == ("cancelled", "completed", HELLO)


def test_replies_back_to_back_are_cut_apart(peer: rtnb.Peer) -> None:
    """Neither holds sound of the other, and the second is audible after the first; saved too."""
    with rtnb.connect(peer) as session:
        first = session.send("What is the capital of France?")
        first.wait_for_audio(0.8)
        second = session.send("Which day of the week comes after Monday?")
        live = [(t.reply, t.latency) for t in (first.wait(20), second.wait(20))]
    (one,), (two,) = first.responses, second.responses
    assert two.audio_started - one.audio_ended < 0.2, "they were not back to back"
    begins = second.latency.first_audible
    assert begins > one.audio_ended
    assert begins == pytest.approx(two.audio_started, abs=0.2)
    assert [round(reply.duration, 1) for reply, _ in live] == pytest.approx([1.85, 1.75], abs=0.2)
    saved = rtnb.open_run(session.folder)
    assert [(t.reply, t.latency) for t in saved.turns] == live


def test_a_refused_update_says_why(session: rtnb.Session) -> None:
    """The service's reason is in the exception, and the session goes on."""
    with pytest.raises(ServiceError, match=r"The service refused session\.update"):
        session.update({"audio": {"input": {"turn_detection": {"type": "telepathy"}}}})
    assert session.state == "open"


def test_a_str_that_names_an_audio_file_is_refused(session: rtnb.Session) -> None:
    """Text that looks like a path is not sent as text."""
    with pytest.raises(ConfigurationError, match="names an audio file"):
        session.send("samples/capital_of_france.wav")


def test_the_repr_tells_how_much_was_said(session: rtnb.Session, spoken: rtnb.Turn) -> None:
    """State, model, endpoint, turns, and the audible seconds of both sides."""
    assert "<Session open: gpt-realtime-2.1 at http://127.0.0.1:" in repr(session)
    assert " s sent, " in repr(session)
    assert "0.0 s" not in repr(session)


def test_phases_and_descriptions_are_kept(session: rtnb.Session) -> None:
    """Every phase has its seconds; offer and answer show no ICE password."""
    assert {"mint", "sdp", "ice", "dtls", "channel", "total"} <= set(session.phases)
    assert [title for title, _ in session.answer.sections] == ["session", "audio", "application"]
    assert "a=ice-pwd:•••" in session.offer.text


def test_only_loopback_is_offered(session: rtnb.Session) -> None:
    """A call to a peer on this machine names no other address."""
    lines = [x for x in session.offer.text.splitlines() if x.startswith("a=candidate")]
    assert lines
    assert {line.split()[4] for line in lines} == {"127.0.0.1"}


def test_stats_count_packets(session: rtnb.Session, spoken: rtnb.Turn) -> None:
    """Counters of both directions, and no fallback in use."""
    stats = session.stats()
    assert stats["packets_received"] > 100
    assert stats["packets_sent"] > 100
    assert (stats["packets_lost"], stats["fallbacks"]) == (0, [])


def test_a_closed_session_says_so(peer: rtnb.Peer) -> None:
    """close() is idempotent; what is asked afterwards fails with the reason."""
    session = rtnb.connect(peer)
    session.close()
    session.close()
    assert session not in rtnb.sessions()
    with pytest.raises(CallClosedError, match="closed by the user"):
        session.ask("Anybody there?")


def test_max_duration_ends_a_forgotten_call(peer: rtnb.Peer) -> None:
    """A call that is older than max_duration closes itself and says why."""
    session = rtnb.connect(peer, max_duration=1.0)
    with session.changed:
        assert session.changed.wait_for(lambda: session._closed is not None, 10)
    with pytest.raises(CallClosedError, match="max_duration of 1 s reached"):
        session.ask("Anybody there?")


def test_the_peer_going_away_is_said_plainly() -> None:
    """When the other side ends, the waiting turn says that it is gone."""
    with rtnb.Peer() as own, rtnb.connect(own) as session:
        turn = session.send(STORY)
        turn.wait_for_audio(0.3)
        own.close()
        with pytest.raises(CallClosedError, match="is gone"):
            turn.wait(30)
        assert turn.status == "incomplete"


@pytest.fixture(scope="module")
def recorded(ended: Ended) -> rtnb.Session:
    """A call that is over, with a spoken and a written turn."""
    return ended["two turns"]


def test_the_run_on_disk_says_the_same(recorded: rtnb.Session) -> None:
    """A run opened again has the same turns, clips and figures as the live session."""
    run = rtnb.open_run(recorded.folder)
    for live, saved in zip(recorded.turns, run.turns, strict=True):
        assert (live.status, live.transcript, live.latency) == (
            saved.status,
            saved.transcript,
            saved.latency,
        )
        assert live.reply == saved.reply
    assert [turn.status for turn in run.turns] == ["completed"] * 2
    assert run.complete


def test_audio_wav_has_prompt_left_and_reply_right(recorded: rtnb.Session) -> None:
    """Left is what we sent, right what we heard, on one axis; the turns' clips are cut beside it."""
    samples, rate = soundfile.read(recorded.folder / "audio.wav")
    left, right = samples[:, 0], samples[:, 1]
    latency = recorded.turns[0].latency
    spoken = int(latency.speech_end * rate)
    heard = int(latency.first_audible * rate)
    assert (rate, samples.shape[1]) == (48_000, 2)
    assert np.abs(left[:spoken]).max() > 0.5
    before = heard - rate // 100  # Opus lets some noise precede a sudden sound
    assert np.abs(right[:before]).max() < 0.01
    assert np.abs(right[heard : heard + rate // 2]).max() > 0.3
    assert {p.name for p in (recorded.folder / "turns").iterdir()} == {
        "001-prompt.wav",
        "001-reply.wav",
        "002-reply.wav",
    }


def test_save_copies_a_live_run(session: rtnb.Session, spoken: rtnb.Turn, tmp_path: Path) -> None:
    """save() copies what is written so far, and the copy opens."""
    folder = session.save(tmp_path / "copy")
    assert rtnb.open_run(folder).turns[0].transcript == spoken.transcript
    assert session.folder in rtnb.recent_runs()


def test_the_beta_dialect_is_spoken(ended: Ended) -> None:
    """The same turn over the beta routes: names are normalised, raw events kept."""
    session = ended["beta"]
    turn = session.turns[0]
    assert (turn.status, turn.transcript) == ("completed", HELLO)
    delta = session.events.select("response.output_audio_transcript.delta").first
    assert delta.data["type"] == "response.audio_transcript.delta"


def test_multipart_needs_no_minting(peer: rtnb.Peer) -> None:
    """Offer and session go together with the standard key."""
    endpoint = rtnb.Endpoint.openai("any-key-will-do", base_url=peer.url, multipart=True)
    with rtnb.connect(endpoint, voice="ash") as session:
        assert "mint" not in session.phases
        assert session.voice == "ash"


def test_an_ephemeral_key_is_enough(peer: rtnb.Peer) -> None:
    """A key minted by hand starts the call; the configuration is sent on the channel."""
    key = peer.endpoint.mint(voice="cedar")
    with rtnb.connect(peer, ephemeral_key=key, instructions="Be brief.") as session:
        assert session.voice == "cedar"
        assert session._conversation.session["instructions"] == "Be brief."


def test_replay_returns_a_turn_for_each_voice_and_prompt(ended: Ended) -> None:
    """Every prompt is a call of its own, in a folder of its own."""
    turns = ended["replay"]
    assert [turn.status for turn in turns] == ["completed"] * 4
    assert [folder.name for folder in sorted(turns.folders[0].parent.iterdir())] == [
        "001-greeting-marin",
        "002-prompt-marin",
        "003-greeting-ash",
        "004-prompt-ash",
    ]


def test_an_exception_within_push_to_talk_asks_for_nothing(brief: rtnb.Session) -> None:
    """What was said is thrown away, no response is asked for, and turn detection is back."""
    before = len(brief.events)
    with pytest.raises(RuntimeError), brief.push_to_talk() as turn:
        raise RuntimeError("changed my mind")
    assert turn.status == "cancelled"
    assert brief.ask(brief_prompt()).status == "completed"
    assert not brief.events[before:].select("response.create")


@pytest.mark.parametrize("silence_ms", [200, 500])
def test_a_prompt_sent_right_after_push_to_talk_is_a_turn_of_its_own(
    ended: Ended, silence_ms: int
) -> None:
    """What is sent while the commit is still to leave is played after it, and answered once."""
    session = ended[f"after {silence_ms} ms"]
    said = [turn.transcript for turn in session.turns]
    assert said == ["Seven times eight is fifty-six.", HELLO]
    assert len(session.events.select("input_audio_buffer.committed")) == 2


def test_interrupting_while_the_prompt_plays_ends_the_turn(brief: rtnb.Session) -> None:
    """The prompt stops, no answer comes, and the session goes on."""
    turn = brief.send(rtnb.sample("leap_year"))
    brief.events.wait_for("input_audio_buffer.speech_started", after=len(brief.events))
    brief.interrupt()
    assert turn.status == "cancelled"
    assert turn.reply.duration < 0.2
    assert brief.ask(rtnb.sample("greeting")).transcript == HELLO


def test_interrupting_push_to_talk_leaves_turn_detection_on(brief: rtnb.Session) -> None:
    """The prompt is cut, and the next clip is heard and answered as ever."""
    with brief.push_to_talk() as turn:
        turn.play(rtnb.sample("leap_year"))
    with brief.changed:
        assert brief.changed.wait_for(lambda: turn._state.play_started is not None, 10)
    brief.interrupt()
    assert turn.status == "cancelled"
    assert brief.ask(rtnb.sample("greeting")).transcript == HELLO


def test_a_long_clip_that_is_still_being_encoded_is_interrupted(brief: rtnb.Session) -> None:
    """Nothing of it is sent, and the next prompt need not wait behind it."""
    turn = brief.send(rtnb.Clip.tone(300, 60.0))
    brief.interrupt()
    assert turn.status == "cancelled"
    assert brief.ask(brief_prompt()).status == "completed"


def test_a_saved_run_gives_each_response_to_its_turn(ended: Ended) -> None:
    """Three texts sent at once: live and reopened, each has its own answer."""
    session = ended["texts at once"]
    live = [turn.transcript for turn in session.turns]
    assert len(live) == 3
    assert [t.transcript for t in rtnb.open_run(session.folder).turns] == live
    assert live[0] == ANSWER
    assert all(live)


def test_a_failed_connect_leaves_its_folder_free(peer: rtnb.Peer, tmp_path: Path) -> None:
    """The same folder can be named again after the mistake is mended."""
    with pytest.raises(rtnb.UnreachableError):
        rtnb.connect("http://127.0.0.1:9/v1", record_to=tmp_path / "run")
    with rtnb.connect(peer, record_to=tmp_path / "run") as session:
        assert session.folder == tmp_path / "run"


def test_a_forked_child_does_not_end_its_parents_call(brief_peer: rtnb.Peer) -> None:
    """A child that exits in order leaves the call alone."""
    with rtnb.connect(brief_peer) as session:
        script = "import os, sys, rtnb\n"
        script += f"s = rtnb.connect({brief_peer.url!r})\n"
        script += "child = os.fork()\nif not child: sys.exit(0)\nos.waitpid(child, 0)\n"
        script += "print(s.ask('What is the capital of France?').status); s.close()\n"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
        )
        assert session.state == "open"
    assert done.stdout == "completed\n", done.stderr


def test_a_save_holds_the_turn_that_was_just_begun(brief_peer: rtnb.Peer, tmp_path: Path) -> None:
    """What happened before save() is in the copy, though it is written by another process."""
    with rtnb.connect(brief_peer) as session:
        for number in range(1, 6):
            session.send("Hello there")
            run = rtnb.open_run(session.save(tmp_path / str(number)))
            assert len(run.turns) == number
