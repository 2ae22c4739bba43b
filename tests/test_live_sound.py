"""What a microphone and a speaker are to a call: attached, moved, told of an interruption, let go."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from scripted_server import Reply, answered, minted, refused, serving
from test_scripted import Script, connected, pass_time, sent
from voice_double import Ears, Voice

import rtnb
from rtnb import messages as m
from rtnb.connecting import Waiting
from rtnb.engine import ScriptedEngine
from rtnb.errors import AuthenticationError, CallClosedError, ConfigurationError
from rtnb.livesound import LiveSound

CHUNK = bytes(1920)


def arrive(
    session: rtnb.Session, engine: ScriptedEngine, at: float, kind: str, **rest: Any
) -> None:
    """Let an event of the service's arrive."""
    engine.deliver(m.EventArrived(session._id, json.dumps({"type": kind, **rest}), at))


def notes(engine: ScriptedEngine, record: str) -> list[dict[str, Any]]:
    """Return the records of a kind that went to turns.jsonl."""
    made = [json.loads(one.text) for one in engine.sent if isinstance(one, m.Note)]
    return [one for one in made if one["record"] == record]


# --- attaching ------------------------------------------------------------------------------------


def test_a_microphone_feeds_the_call() -> None:
    """Each stretch goes to the media process, with when it was captured on the call's clock."""
    voice = Voice()
    with connected(microphone=voice) as (session, engine):
        assert session.microphone is voice
        assert voice.sink is not None
        voice.sink.feed(CHUNK, number=0, captured=session._started + 2.5)
        voice.sink.feed(CHUNK, number=1, captured=None)
        voice.sink.pause()
        fed = [one for one in engine.sent if isinstance(one, m.Feed)]
        assert [(one.number, one.captured) for one in fed] == [(0, pytest.approx(2.5)), (1, None)]
        assert isinstance(engine.sent[-1], m.FeedEnd)


def test_nothing_is_attached_before_the_call_is_open() -> None:
    """Voice that cannot go out would be lost, and counted so."""
    with connected(microphone=Voice(), speaker=Ears()) as (_, engine):
        kinds = [type(one) for one in engine.sent]
    assert kinds.index(m.Subscribe) > kinds.index(m.SendEvent)


def test_both_are_detached_at_the_end() -> None:
    """And what is fed later goes nowhere."""
    voice, ears = Voice(), Ears()
    with connected(microphone=voice, speaker=ears) as (session, engine):
        sink = voice.sink
        assert sink is not None
        session.close()
        sent_before = len(engine.sent)
        sink.feed(CHUNK, number=0, captured=None)
        assert len(engine.sent) == sent_before
        assert (voice.sink, voice.detached, ears.source, ears.detached) == (None, 1, None, 1)
        assert (session.microphone, session.speaker) == (None, None)
        assert not sink.open


def test_a_call_that_breaks_detaches_both() -> None:
    """Whoever ended it."""
    voice, ears = Voice(), Ears()
    with connected(microphone=voice, speaker=ears) as (session, engine):
        engine.deliver(m.Closed(session._id, "peer_gone", "Why", 9.0))
        assert (voice.sink, ears.source) == (None, None)


def test_a_call_that_was_not_placed_attaches_nothing() -> None:
    """The microphone stays where it was."""
    voice, engine = Voice(), ScriptedEngine(Script())
    with connected(microphone=voice) as (session, _):
        with serving(refused(401, "invalid_api_key")) as server, pytest.raises(AuthenticationError):
            rtnb.connect(server.url, engine=engine, microphone=voice)
        assert session.microphone is voice


def test_a_microphone_that_cannot_be_attached_ends_the_call() -> None:
    """connect() raises what it raised, and leaves no call open."""

    class Broken(Voice):
        def attach(self, sink: Any) -> None:
            raise RuntimeError("the page is gone")

    before = len(rtnb.sessions())
    with pytest.raises(RuntimeError, match="the page is gone"), connected(microphone=Broken()):
        pass
    assert len(rtnb.sessions()) == before


def test_another_microphone_takes_the_place_of_the_first() -> None:
    """The first one is let go, and the voice pauses between them."""
    first, second = Voice(), Voice()
    with connected(microphone=first) as (session, engine):
        session.microphone = second
        assert (first.sink, first.detached, session.microphone) == (None, 1, second)
        assert isinstance(engine.sent[-1], m.FeedEnd)
        session.microphone = None
        assert (second.sink, session.microphone) == (None, None)


def test_a_microphone_that_moves_leaves_the_first_session() -> None:
    """The session that it has left names it no longer."""
    voice, ears = Voice(), Ears()
    with connected(microphone=voice, speaker=ears) as (first, _):
        with connected(microphone=voice, speaker=ears) as (second, _):
            assert (first.microphone, first.speaker) == (None, None)
            assert (second.microphone, second.speaker) == (voice, ears)
            assert voice.sink is second._sound
        assert (second.microphone, voice.sink) == (None, None)


def test_what_is_attached_is_shown() -> None:
    """In the session's line, its text and its HTML."""
    with connected(microphone=Voice()) as (session, _):
        assert "microphone attached" in repr(session)
        assert "microphone attached" in session._repr_html_()
        session.speaker = Ears()
        assert "microphone and speaker attached" in repr(session)
        session.microphone = None
        session.speaker = None
        assert "attached" not in repr(session) + session._repr_html_()


@pytest.mark.parametrize("odd", ["default", 0, Voice, object()])
@pytest.mark.parametrize("what", ["microphone", "speaker"])
def test_what_cannot_be_attached_is_refused(what: str, odd: Any) -> None:
    """Before a call is placed, and by a session that is open."""
    engine = ScriptedEngine(Script())
    with serving(minted()) as server:
        with pytest.raises(ConfigurationError, match=rf"{what}= takes an rtnb\.{what.title()}"):
            rtnb.connect(server.url, engine=engine, **{what: odd})
        assert server.requests == []
    assert engine.sent == []
    with connected() as (session, _), pytest.raises(ConfigurationError, match="attach"):
        setattr(session, what, odd)


def test_a_closed_session_takes_no_microphone() -> None:
    """It says that it is closed; None is taken all the same."""
    with connected() as (session, _):
        pass
    for what in ("microphone", "speaker"):
        with pytest.raises(CallClosedError):
            setattr(session, what, Voice())
        setattr(session, what, None)


def test_one_that_fails_to_leave_does_not_keep_the_other() -> None:
    """The end of a call goes on, and says in the log what went wrong."""

    class Stuck(Voice):
        def detach(self, sink: Any) -> None:
            raise RuntimeError("stuck")

    sound, ears = LiveSound("c", lambda message: True, 0.0), Ears()
    sound.take_microphone(Stuck())
    sound.take_speaker(ears)
    sound.close()
    assert (ears.source, sound.microphone, sound.speaker) == (None, None, None)


def test_one_that_fails_to_leave_gives_way_to_none() -> None:
    """What was to take its place is not attached, and not named."""

    class Stuck(Voice):
        def detach(self, sink: Any) -> None:
            raise RuntimeError("stuck")

    sound, other = LiveSound("c", lambda message: True, 0.0), Voice()
    for take in (sound.take_microphone, sound.take_speaker):
        take(Stuck())  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="stuck"):
            take(other)  # type: ignore[arg-type]
    assert (sound.microphone, sound.speaker, other.sink) == (None, None, None)


def test_what_is_attached_is_called_without_the_sessions_lock() -> None:
    """It has locks of its own, and may be slow: nobody who waits for the session waits for it."""
    free: list[bool] = []

    class Slow(Ears):
        def look(self) -> None:
            def take() -> None:
                free.append(session.changed.acquire(timeout=5.0))
                session.changed.release()

            (looking := threading.Thread(target=take)).start()
            looking.join()

        def attach(self, source: Any) -> None:
            source.subscribe(lambda heard: self.look())

        def detach(self, source: Any) -> None:
            self.look()

    with connected(speaker=Slow()) as (session, engine):
        engine.deliver(m.AudioHeard(session._id, 0, CHUNK, 1.0))
        arrive(session, engine, 1.1, "output_audio_buffer.cleared", response_id="r1")
        session.interrupt()
        engine.deliver(m.Closed(session._id, "peer_gone", "Why", 9.0))
    assert free == [True] * 4


# --- interruptions --------------------------------------------------------------------------------


def test_a_cleared_buffer_is_told_to_listeners() -> None:
    """They drop what they have not played."""
    ears = Ears()
    with connected(speaker=ears) as (session, engine):
        engine.deliver(m.AudioHeard(session._id, 0, CHUNK, 1.0))
        arrive(session, engine, 1.1, "output_audio_buffer.cleared", response_id="r1")
        assert [one for _, one in ears.heard] == [m.AudioHeard(session._id, 0, CHUNK, 1.0), None]


def test_interrupting_is_told_to_listeners_at_once() -> None:
    """Not only when the service has cleared its buffer."""
    ears = Ears()
    with connected(speaker=ears) as (session, engine):
        arrive(session, engine, 1.0, "response.created", response={"id": "r1"})
        session.interrupt()
        assert len(ears.dropped) == 1
        assert sent(engine, "output_audio_buffer.clear")


# --- turns ----------------------------------------------------------------------------------------


def test_speech_makes_a_turn_of_the_session() -> None:
    """It is in `turns`, and noted for the run."""
    with connected(microphone=Voice()) as (session, engine):
        arrive(session, engine, 3.0, "input_audio_buffer.speech_started", item_id="u1")
        (turn,) = session.turns
        assert (turn.kind, turn.number, turn.status) == ("microphone", 1, "in_progress")
        assert "somebody is speaking" in turn.explain().text
        (note,) = notes(engine, "turn")
        assert (note["kind"], note["time"], note["voice"]) == ("microphone", 3.0, 2.0)


def test_speech_without_a_microphone_makes_none() -> None:
    """As ever."""
    with connected() as (session, engine):
        arrive(session, engine, 3.0, "input_audio_buffer.speech_started", item_id="u1")
        assert session.turns == []


def test_speech_that_was_said_before_the_microphone_left_makes_a_turn() -> None:
    """The service tells of it later."""
    with connected(microphone=Voice()) as (session, engine):
        session.microphone = None
        arrive(session, engine, 3.0, "input_audio_buffer.speech_started", item_id="u1")
        assert len(session.turns) == 1


def test_push_to_talk_ends_a_turn_in_mid_speech() -> None:
    """What was said before it is not answered: its buffer is cleared."""
    with connected(microphone=Voice()) as (session, engine):
        arrive(session, engine, 3.0, "input_audio_buffer.speech_started", item_id="u1")
        with session.push_to_talk() as held:
            assert [turn.status for turn in session.turns] == ["cancelled", "in_progress"]
            assert held.number == 2
        assert sent(engine, "input_audio_buffer.clear")


def test_push_to_talk_into_which_nothing_was_said_has_no_voice() -> None:
    """A muted microphone says nothing; the run knows it too."""
    with connected(microphone=Voice()) as (session, engine):
        with session.push_to_talk() as turn:
            assert "microphone" in turn._state.plays
        assert "microphone" not in turn._state.plays
        (note,) = notes(engine, "voice")
        assert (note["turn"], note["start"]) == (1, None)


def test_a_microphone_may_come_while_push_to_talk_is_held() -> None:
    """What is said then is of the turn."""
    voice = Voice()
    with connected() as (session, engine):
        with session.push_to_talk() as turn:
            session.microphone = voice
            assert voice.sink is not None
            voice.sink.feed(CHUNK, number=0, captured=None)
        assert turn._state.plays["microphone"][0] == turn.started
        assert notes(engine, "voice")[0]["start"] == turn.started


def test_a_muted_microphone_does_not_keep_a_call() -> None:
    """Only what is audible does while one is attached, and turns do."""
    with connected(microphone=Voice(), idle_close=5.0) as (session, engine):
        engine.deliver(m.AudioWritten(session._id, 0.0, 6.0, (-20.0,) * 10, (-120.0,) * 10))
        assert session.state == "open"
        pass_time(session, engine, 10.0)
        engine.deliver(m.AudioWritten(session._id, 6.0, 15.5, (-120.0,) * 10, (-120.0,) * 10))
        with session.changed:
            session.changed.wait_for(lambda: session.ended is not None, 5.0)
        assert "idle" in str(session.ended)


def test_counters_of_the_microphone_pass_through() -> None:
    """As the media process has counted them."""
    with connected() as (session, engine):
        engine._script = lambda message: [
            m.Stats(session._id, message.request, {"microphone": {"lost": 2}})
            for message in [message]
            if isinstance(message, m.StatsWanted)
        ]
        assert session.stats()["microphone"] == {"lost": 2}
        engine._script = Script()


# --- a key from a token endpoint ------------------------------------------------------------------


def test_a_token_endpoint_gives_the_key() -> None:
    """The call is placed with it; fetching it is the mint phase, and no other key is minted."""
    with serving(minted("ek_of_the_endpoint"), answered()) as server:
        engine = ScriptedEngine(Script())
        with rtnb.connect(server.url, token_url=f"{server.url}/token", engine=engine) as session:
            assert list(session.phases)[:2] == ["mint", "sdp"]
            assert session.endpoint.key is None
        placed = next(one for one in server.requests if one.path.endswith("/realtime/calls"))
        assert placed.headers["Authorization"] == "Bearer ek_of_the_endpoint"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"api_key": "sk-1"}, "do not give api_key= or ephemeral_key= too"),
        ({"ephemeral_key": "ek_1"}, "do not give api_key= or ephemeral_key= too"),
        ({"token_url": None, "token_headers": {}}, "give token_url= too"),
    ],
)
def test_a_token_endpoint_excludes_other_keys(given: dict[str, Any], said: str) -> None:
    """Nothing is asked of anybody."""
    with serving(minted()) as server, pytest.raises(ConfigurationError, match=said):
        rtnb.connect(**{"token_url": f"{server.url}/session", "endpoint": server.url, **given})
    assert server.requests == []


def test_a_token_endpoint_excludes_an_endpoint_with_a_key() -> None:
    """An endpoint of one's own; that of a peer has none that matters."""
    endpoint = rtnb.Endpoint.openai("sk-1")
    with pytest.raises(ConfigurationError, match="an endpoint with a key"):
        rtnb.connect(endpoint, token_url="http://127.0.0.1:9/session")


def test_a_token_endpoint_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the caller names none, that one is called; the key at hand goes to nobody."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-my-own-key")
    with serving(answered()) as calls:
        told = Reply(200, json.dumps({"value": "ek_of_the_endpoint", "base_url": calls.url}))
        engine = ScriptedEngine(Script())
        with serving(told) as tokens:
            url = f"{tokens.url}/session"
            with rtnb.connect(
                token_url=url, token_headers={"X-Mine": "1"}, engine=engine
            ) as session:
                assert session.endpoint.base_url == calls.url
        assert tokens.requests[-1].headers["X-Mine"] == "1"
        for request in [*calls.requests, *tokens.requests]:
            assert "sk-my-own-key" not in str(request.headers) + request.path


def test_fetching_a_token_is_told_meanwhile() -> None:
    """The live line names the token endpoint, and no path or query of it."""
    place = "https://tokens.example/session?secret=1"
    waiting = Waiting(rtnb.Endpoint.openai(), 0.0, mints=True, token_url=place)
    seen = waiting.how_far()
    assert (seen.what, seen.phase) == ("tokens.example", "minting a key")
    for odd in ("http://[", 7):
        assert Waiting(rtnb.Endpoint.openai(), 0.0, True, token_url=odd).how_far().what == ""  # type: ignore[arg-type]
