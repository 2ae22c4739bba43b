"""Sessions above a scripted transport: real signalling over HTTP, everything below it by script."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import SDP, answered, minted, refused, serving

import rtnb
from rtnb import messages as m
from rtnb.callsetup import find_endpoint
from rtnb.connecting import Waiting, watched_by
from rtnb.engine import ScriptedEngine
from rtnb.errors import (
    AuthenticationError,
    CallClosedError,
    CallError,
    ChannelTimeoutError,
    ConfigurationError,
    MediaProcessError,
    MissingKeyError,
    ServiceError,
    TurnTimeout,
    UdpBlockedError,
)

Json = dict[str, Any]
Answers = dict[str, Callable[[Json], list[Json]]]

OFFER = SDP.replace("m=audio", "a=ice-pwd:secretsecretsecret\r\nm=audio")


# --- what the far side does -----------------------------------------------------------------------


def accept(event: Json) -> list[Json]:
    """Acknowledge a session.update."""
    return [{"type": "session.updated", "session": event["session"]}]


def refuse(event: Json) -> list[Json]:
    """Refuse any event."""
    about = {"code": "invalid_value", "message": "Not so.", "event_id": event["event_id"]}
    return [{"type": "error", "error": about}]


def say_nothing(_: Json) -> list[Json]:
    """Leave an event without an answer."""
    return []


def write_hello(_: Json) -> list[Json]:
    """Answer in text."""
    place = {"response_id": "r1", "item_id": "a1", "content_index": 0}
    return [
        {"type": "response.created", "response": {"id": "r1"}},
        {"type": "response.output_text.done", **place, "text": "Hello"},
        {"type": "response.done", "response": {"id": "r1", "status": "completed"}},
    ]


def call_then_write(name: str, arguments: str) -> Callable[[Json], list[Json]]:
    """Call a tool in the first response, and answer in text in the second."""
    call = {"type": "function_call", "call_id": "c1", "name": name, "arguments": arguments}
    done = {"id": "r0", "status": "completed", "output": [call]}
    asked = [
        {"type": "response.created", "response": {"id": "r0"}},
        {"type": "response.done", "response": done},
    ]

    def answer(event: Json) -> list[Json]:
        nonlocal asked
        first, asked = asked, []
        return first or write_hello(event)

    return answer


class Script:
    """The media process and the service behind it, without either."""

    def __init__(self, answers: Answers | None = None, *, end: str | None = None):
        self.answers: Answers = {"session.update": accept, "response.create": write_hello}
        self.answers |= answers or {}
        self.end = end  # what comes instead of an open channel
        self.now = 0.0
        self.closed = threading.Event()

    def __call__(self, message: m.Message) -> Iterator[m.Message]:
        """Answer one message."""
        call = message.call
        match message:
            case m.Open():
                yield m.Offered(call, OFFER)
            case m.Answer():
                if self.end:
                    yield m.Closed(call, self.end, "Why", self.tick())
                else:
                    yield from self.open(call)
            case m.SendEvent():
                yield m.EventSent(call, message.text, self.tick())
                event = json.loads(message.text)
                for answer in self.answers.get(event["type"], say_nothing)(event):
                    yield m.EventArrived(call, json.dumps(answer), self.tick())
                yield m.AudioWritten(call, self.now, self.now, (), ())
            case m.Play():
                yield m.PlayStarted(call, message.play, self.tick())
                yield m.PlayEnded(call, message.play, self.tick(), len(message.samples) // 2)
            case m.StatsWanted():
                yield m.Stats(call, message.request, {"late": 3})
            case m.Close():
                yield m.Closed(call, "closed", message.reason, self.tick())
                self.closed.set()

    def tick(self) -> float:
        """Let a hundredth of a second pass."""
        self.now = round(self.now + 0.01, 2)
        return self.now

    def open(self, call: str) -> Iterator[m.Message]:
        """Reach every phase, and describe the session."""
        for phase in ("answer", "ice", "dtls", "channel"):
            yield m.StateChanged(call, phase, self.tick())
        created = {"type": "session.created", "session": {"type": "realtime", "model": "m-1"}}
        yield m.EventArrived(call, json.dumps(created), self.tick())


# --- verbs ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected(
    answers: Answers | None = None, *, sdp: str = SDP, end: str | None = None, **wishes: Any
) -> Iterator[tuple[rtnb.Session, ScriptedEngine]]:
    """Connect above a script."""
    engine = ScriptedEngine(Script(answers, end=end))
    with serving(minted(), answered(sdp)) as server:
        with rtnb.connect(server.url, engine=engine, **wishes) as session:
            yield session, engine


def sent(engine: ScriptedEngine, kind: str) -> list[Json]:
    """Return the events of one type that went to the channel."""
    texts = [message.text for message in engine.sent if isinstance(message, m.SendEvent)]
    return [event for event in map(json.loads, texts) if event["type"] == kind]


def break_call(session: rtnb.Session, engine: ScriptedEngine, kind: str, reason: str) -> None:
    """End the call from the other side."""
    engine.deliver(m.Closed(session._id, kind, reason, 9.0))


def pass_time(session: rtnb.Session, engine: ScriptedEngine, until: float) -> None:
    """Let the recording reach a time."""
    engine.deliver(m.AudioWritten(session._id, 0.0, until, (), ()))


# --- connecting -----------------------------------------------------------------------------------


def test_connecting_opens_and_configures() -> None:
    """connect() returns an open session whose configuration was sent and acknowledged."""
    with connected(instructions="Be brief.", voice="marin") as (session, engine):
        assert session.state == "open"
        (update,) = sent(engine, "session.update")
        assert update["session"] == {
            "type": "realtime",
            "instructions": "Be brief.",
            "audio": {"output": {"voice": "marin"}},
        }
    assert session.state == "closed"


def test_the_messages_of_a_call_come_in_order() -> None:
    """Open, answer, events, close: each once, all of the same call."""
    with connected() as (session, engine):
        call = session._id
    kinds = [type(message).__name__ for message in engine.sent if not isinstance(message, m.Note)]
    assert kinds[:3] == ["Open", "Answer", "SendEvent"]
    assert "Close" in kinds[3:]
    assert {message.call for message in engine.sent} == {call}


def test_the_phases_are_told() -> None:
    """Seconds for each phase, from the times that the media process gave."""
    with connected() as (session, _):
        phases = session.phases
    assert list(phases) == ["mint", "sdp", "ice", "dtls", "channel", "total"]
    assert (phases["ice"], phases["dtls"], phases["channel"]) == (0.01, 0.01, 0.01)


def test_offer_and_answer_show_no_ice_password() -> None:
    """Both render by section, passwords masked."""
    with connected(sdp=OFFER) as (session, _):
        for view in (session.offer, session.answer):
            assert "secretsecret" not in str(view) + repr(view) + view._repr_html_()
            assert "a=ice-pwd:•••" in str(view)


def test_a_refused_configuration_is_raised_in_the_services_words() -> None:
    """connect() raises ServiceError and leaves no session open."""
    before = len(rtnb.sessions())
    with pytest.raises(ServiceError, match=r"refused session\.update: Not so\.") as told:
        with connected({"session.update": refuse}):
            pass
    assert (told.value.code, told.value.event_id) == ("invalid_value", "rtnb_1")
    assert len(rtnb.sessions()) == before


def test_a_refused_key_sends_no_answer_to_the_media_process() -> None:
    """A refusal over HTTP closes the call that was being set up."""
    engine = ScriptedEngine(Script())
    with serving(refused(401, "invalid_api_key")) as server, pytest.raises(AuthenticationError):
        rtnb.connect(server.url, engine=engine)
    kinds = [type(message) for message in engine.sent if not isinstance(message, m.Note)]
    assert kinds == [m.Open, m.Close]


def test_an_ephemeral_key_is_not_minted_again() -> None:
    """With ephemeral_key= the only request before the call is the exchange."""
    engine = ScriptedEngine(Script())
    with serving(answered()) as server:
        rtnb.connect(server.url, ephemeral_key="ek_scripted_1234", engine=engine).close()
    assert server.requests[0].path == "/v1/realtime/calls"
    assert server.requests[0].headers["Authorization"] == "Bearer ek_scripted_1234"


def test_closing_hangs_up_by_the_calls_id() -> None:
    """The id of the Location header is what is hung up, once."""
    engine = ScriptedEngine(Script())
    with serving(minted(), answered()) as server:
        session = rtnb.connect(server.url, engine=engine)
        session.close()
        session.close()
    paths = [request.path for request in server.requests]
    assert paths[2:] == ["/v1/realtime/calls/rtc_42/hangup"]


@pytest.mark.parametrize(
    ("kind", "error", "also", "sentence"),
    [
        ("udp_blocked", UdpBlockedError, TimeoutError, "No UDP packet came through to .* within"),
        ("channel_timeout", ChannelTimeoutError, TimeoutError, "its data channel never opened"),
        ("peer_gone", CallClosedError, ConnectionError, r"The call is over; .* is gone\. Why"),
        ("process_died", MediaProcessError, ConnectionError, "^Why$"),
        ("bad_answer", rtnb.AnswerError, ValueError, "/v1: Why$"),
        ("closed", CallClosedError, ConnectionError, r"^The call is over: Why\.$"),
        ("failed", CallError, ConnectionError, "^The call to .* failed: Why$"),
    ],
)
def test_each_end_before_the_channel_has_its_error(
    kind: str, error: type[Exception], also: type[Exception], sentence: str
) -> None:
    """What the media process tells becomes one sentence of its own class."""
    with pytest.raises(error, match=sentence) as told, connected(end=kind):
        pass
    assert type(told.value) is error
    assert isinstance(told.value, also)


def test_a_call_is_watched_while_it_is_placed() -> None:
    """Before anything goes out, and to the end: where it goes, how far it is, its session."""
    begun: list[tuple[Waiting, str, list[m.Message]]] = []

    def watch(waiting: Waiting) -> None:
        assert waiting.session is not None
        begun.append((waiting, waiting.session.state, list(waiting.session._engine.sent)))  # type: ignore[attr-defined]

    with watched_by(watch), connected() as (session, _):
        ((waiting, state, sent_then),) = begun
        assert (waiting.session, state, sent_then) == (session, "connecting", [])
        assert waiting.how_far().over
        assert waiting.endpoint.base_url.endswith(waiting.how_far().what + "/v1")
    with connected():
        assert len(begun) == 1, "only within the block"


def test_a_call_that_waits_is_minting_first() -> None:
    """How far it is, is known at any time."""
    phases: list[str] = []
    with watched_by(lambda waiting: phases.append(waiting.how_far().phase)), connected():
        assert phases == ["minting a key"]


def test_a_watcher_may_give_a_call_up() -> None:
    """What it raises comes out of connect; nothing was minted or sent, and no session is left."""

    def give_up(_: Waiting) -> None:
        raise CallClosedError("Changed my mind.")

    before = len(rtnb.sessions())
    engine = ScriptedEngine(Script())
    with serving(minted()) as server, watched_by(give_up):
        with pytest.raises(CallClosedError, match="Changed my mind"):
            rtnb.connect(server.url, engine=engine)
    assert (server.requests, len(rtnb.sessions())) == ([], before)
    assert not [one for one in engine.sent if isinstance(one, m.Open)]


# --- turns ----------------------------------------------------------------------------------------


def test_a_text_is_answered() -> None:
    """ask(text) returns the completed turn."""
    with connected() as (session, engine):
        turn = session.ask("Hi")
        assert (turn.status, turn.transcript, turn.prompt) == ("completed", "Hello", "Hi")
        assert len(sent(engine, "response.create")) == 1
        assert session.turns == [turn]


def test_the_log_holds_both_directions() -> None:
    """What was sent and what came, in order."""
    with connected() as (session, _):
        session.ask("Hi")
        assert session.events.types == [
            "session.created",
            "session.update",
            "session.updated",
            "conversation.item.create",
            "response.create",
            "response.created",
            "response.output_text.done",
            "response.done",
        ]
        assert session.events.select(direction="sent").types == [
            "session.update",
            "conversation.item.create",
            "response.create",
        ]


def test_a_clip_is_played_as_48_khz_samples() -> None:
    """send(clip) queues the clip, resampled, and asks for nothing where the server detects turns."""
    with connected() as (session, engine):
        turn = session.send(rtnb.Clip.tone(440, 0.5, sample_rate=24000))
        (play,) = [message for message in engine.sent if isinstance(message, m.Play)]
        assert (len(play.samples), play.then) == (48000, ())
        assert turn.status == "in_progress"


def test_a_clip_without_turn_detection_is_committed() -> None:
    """With turn_detection=None the clip carries commit and response.create, 200 ms after it."""
    with connected(turn_detection=None) as (session, engine):
        session.send(rtnb.Clip.tone(440, 0.5))
        (play,) = [message for message in engine.sent if isinstance(message, m.Play)]
    kinds = [json.loads(text)["type"] for text in play.then]
    assert kinds == ["input_audio_buffer.commit", "response.create"]
    assert play.then_after == 0.2


def test_a_refused_request_fails_its_turn() -> None:
    """The turn has failed, with the service's words; the next is answered."""
    with connected({"response.create": refuse}) as (session, engine):
        turn = session.ask("Hi")
        assert (turn.status, turn.error) == ("failed", "Not so.")
        engine._script.answers["response.create"] = write_hello
        assert session.ask("Again").status == "completed"


def test_a_wait_that_runs_out_says_what_was_awaited() -> None:
    """TurnTimeout names the turn, the time and the last event; the turn goes on."""
    with connected({"response.create": say_nothing}) as (session, _):
        with pytest.raises(TurnTimeout) as told:
            session.ask("Hi", timeout=0.05)
        assert str(told.value) == (
            "Turn 1: the reply did not come within 0.05 s; the last event seen was response.create."
        )
        assert isinstance(told.value, TimeoutError)
        assert session.turns[0].status == "in_progress"


@pytest.mark.parametrize("nothing", ["", " \n", 3, None, b"x"])
def test_what_cannot_be_said_begins_no_turn(nothing: object) -> None:
    """A prompt of the wrong kind is told before anything is sent."""
    with connected() as (session, engine):
        before = len(engine.sent)
        with pytest.raises(ConfigurationError):
            session.send(nothing)
        assert (session.turns, len(engine.sent)) == ([], before)


def test_an_update_in_mid_call_is_acknowledged_or_raised() -> None:
    """session.update() returns when acknowledged and raises when refused."""
    with connected() as (session, engine):
        session.update({"instructions": "Shout."})
        assert sent(engine, "session.update")[-1]["session"]["instructions"] == "Shout."
        engine._script.answers["session.update"] = refuse
        with pytest.raises(ServiceError, match="Not so"):
            session.update({"instructions": "Whisper."})


def test_stats_are_what_the_media_process_says() -> None:
    """stats() asks and returns the counters."""
    with connected() as (session, _):
        assert session.stats() == {"late": 3}


# --- what is too large ----------------------------------------------------------------------------

SMALL = SDP + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=max-message-size:400\r\n"


def test_a_too_large_event_is_refused_with_one_sentence() -> None:
    """The answer's a=max-message-size is kept to; nothing is sent."""
    with connected(sdp=SMALL) as (session, engine):
        before = len(engine.sent)
        with pytest.raises(ConfigurationError) as told:
            session.send_event({"type": "x", "event_id": "e", "pad": "y" * 400})
        assert str(told.value) == (
            "An event of 441 bytes is too large for this server, which takes 400; "
            "send less at a time."
        )
        assert len(engine.sent) == before


def test_a_too_large_text_begins_no_turn() -> None:
    """The session stays usable: the next text is answered."""
    with connected(sdp=SMALL) as (session, _):
        with pytest.raises(ConfigurationError, match="too large for this server"):
            session.send("y" * 300)
        assert session.turns == []
        assert session.ask("Hi", timeout=5).status == "completed"


def test_a_too_large_tool_result_is_an_error_result() -> None:
    """The model hears that the result was too large, and the turn ends."""

    def flood() -> str:
        """Say too much."""
        return "y" * 500

    create = {"response.create": call_then_write("flood", "{}")}
    with connected(create, sdp=SMALL.replace(":400", ":800"), tools=[flood]) as (session, _):
        turn = session.ask("Flood me", timeout=5)
    assert turn.status == "completed"
    assert "larger than 400 bytes" in turn.tool_calls[0].error


# --- tools ----------------------------------------------------------------------------------------


def weather(city: str) -> str:
    """Current weather in a city."""
    if city == "Atlantis":
        raise KeyError(city)
    return f"18 °C in {city}"


@pytest.mark.parametrize(
    ("name", "arguments", "output", "error"),
    [
        ("weather", '{"city": "Rome"}', "18 °C in Rome", None),
        ("weather", '{"city": "Atlantis"}', None, "KeyError: 'Atlantis'"),
        ("weather", "{city: Rome}", None, "bad arguments: Expecting property name"),
        ("weather", '{"town": "Rome"}', None, "bad arguments: unknown: town; missing: city"),
        ("weather", '{"city": 3}', None, "bad arguments: city is int, not string"),
        ("wether", "{}", None, "there is no tool wether"),
    ],
)
def test_a_tool_call_goes_back_to_the_model(
    name: str, arguments: str, output: str | None, error: str | None
) -> None:
    """Its result, or whatever went wrong as an error result, then one response.create."""
    create = {"response.create": call_then_write(name, arguments)}
    with connected(create, tools=[weather]) as (session, engine):
        turn = session.ask("Weather?", timeout=5)
        item = sent(engine, "conversation.item.create")[-1]["item"]
        assert len(sent(engine, "response.create")) == 2
    assert (turn.status, turn.transcript) == ("completed", "Hello")
    assert (item["type"], item["call_id"]) == ("function_call_output", "c1")
    if error is None:
        assert (item["output"], turn.tool_calls[0].error) == (output, None)
    else:
        assert turn.tool_calls[0].error.startswith(error)
        assert "error" in json.loads(item["output"])


def test_a_tool_may_be_offered_in_mid_call() -> None:
    """@session.tool sends the schema and leaves the function as it was."""
    with connected() as (session, engine):
        assert session.tool(weather) is weather
        update = sent(engine, "session.update")[-1]["session"]
    assert [tool["name"] for tool in update["tools"]] == ["weather"]
    assert update["tool_choice"] == "auto"


def test_a_schema_without_a_function_is_left_to_the_user() -> None:
    """The call is in the turn, nothing is sent for it, and the turn ends."""
    schema = {"type": "function", "name": "by_hand", "parameters": {}}
    create = {"response.create": call_then_write("by_hand", "{}")}
    with connected(create, tools=[schema]) as (session, engine):
        turn = session.ask("Do it", timeout=5)
        assert len(sent(engine, "conversation.item.create")) == 1
    assert [call.name for call in turn.tool_calls] == ["by_hand"]


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error", "sentence"),
    [
        ("peer_gone", CallClosedError, "is gone. Consent lost."),
        ("process_died", MediaProcessError, "Consent lost."),
        ("failed", CallError, "failed: Consent lost."),
        ("closed", CallClosedError, "The call is over: Consent lost."),
    ],
)
def test_a_call_that_broke_refuses_more(kind: str, error: type[Exception], sentence: str) -> None:
    """After the end, send() raises what the end was."""
    with connected() as (session, engine):
        break_call(session, engine, kind, "Consent lost.")
        assert session.state == "closed"
        with pytest.raises(error) as told:
            session.send("Hi")
    assert str(told.value).endswith(sentence)


def test_a_session_that_expired_says_so() -> None:
    """The channel only closes; the reason is in the error event before, of which no key is shown."""
    error = {"code": "session_expired", "message": "60 minutes of sk-0123456789 are over."}
    told = json.dumps({"type": "error", "event_id": "event_9", "error": error})
    with connected() as (session, engine):
        engine.deliver(m.EventArrived(session._id, told, 8.0))
        break_call(session, engine, "peer_gone", "It closed the data channel.")
        with pytest.raises(CallClosedError, match=r"is gone\. 60 minutes of ••• are over\.$"):
            session.send("Hi")


def test_a_turn_in_a_broken_call_says_so() -> None:
    """wait() raises, and the turn has failed with the reason."""
    with connected({"response.create": say_nothing}) as (session, engine):
        turn = session.send("Hi")
        break_call(session, engine, "peer_gone", "Consent lost.")
        with pytest.raises(CallClosedError, match="Consent lost"):
            turn.wait(5)
    assert turn.status == "failed"
    assert "Consent lost." in turn.error


def test_a_closed_session_says_what_to_do() -> None:
    """send() on a session that the user closed."""
    with connected() as (session, _):
        session.close()
        with pytest.raises(CallClosedError, match="The call is over: closed by the user"):
            session.send("Hi")


@pytest.mark.parametrize(
    ("limit", "before", "after", "reason"),
    [
        ({"idle_close": 5.0}, 5.0, 5.5, "idle for 5 s (idle_close)"),
        ({"max_duration": 60.0, "idle_close": None}, 60.0, 60.1, "max_duration of 60 s reached"),
    ],
    ids=["idle_close", "max_duration"],
)
def test_a_forgotten_call_is_closed(
    limit: dict[str, float], before: float, after: float, reason: str
) -> None:
    """At the limit the call goes on, past it it is closed with the reason."""
    with connected(**limit) as (session, engine):
        pass_time(session, engine, before)
        assert session.state == "open"
        pass_time(session, engine, after)
        assert engine._script.closed.wait(5)
        session.close()
        closes = [message.reason for message in engine.sent if isinstance(message, m.Close)]
    assert closes[0] == reason


def test_a_turn_in_progress_is_not_idle() -> None:
    """idle_close counts from the end of the last turn."""
    with connected({"response.create": say_nothing}, idle_close=5.0) as (session, engine):
        session.send("Hi")
        pass_time(session, engine, 9.0)
        pass_time(session, engine, 13.9)
        assert session.state == "open"


# --- which endpoint -------------------------------------------------------------------------------


def find(
    endpoint: object = None,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    needs_key: bool = True,
) -> rtnb.Endpoint:
    """Find an endpoint as connect() does."""
    return find_endpoint(endpoint, api_key=api_key, base_url=base_url, needs_key=needs_key)


def test_without_a_key_the_error_names_the_peer() -> None:
    """connect() without any key: what to give, and that rtnb.Peer needs none."""
    with pytest.raises(MissingKeyError, match=r"OPENAI_API_KEY .* rtnb\.Peer\(\)"):
        rtnb.connect()


def test_an_ephemeral_key_is_key_enough() -> None:
    """Where an ephemeral key was given, no standard key is needed."""
    assert find(needs_key=False).key is None


def test_the_environments_key_is_for_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_API_KEY is used for OpenAI; an argument comes first."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    assert find().base_url == "https://api.openai.com/v1"
    assert find().key.reveal() == "sk-from-environment"
    assert find(api_key="sk-from-argument").key.reveal() == "sk-from-argument"


@pytest.mark.parametrize("as_base_url", [True, False])
def test_the_environments_key_is_not_for_loopback(
    monkeypatch: pytest.MonkeyPatch, as_base_url: bool
) -> None:
    """Whatever listens on this machine does not get the user's key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    url = "http://127.0.0.1:1/v1"
    found = find(base_url=url) if as_base_url else find(url)
    assert found.key.reveal() == "local-peer"


def test_a_key_that_was_given_goes_to_loopback() -> None:
    """An api_key= argument is meant for the server that was named."""
    assert find("http://127.0.0.1:1/v1", api_key="sk-given-1234").key.reveal() == "sk-given-1234"


def test_a_url_elsewhere_needs_a_key() -> None:
    """Another server than this machine's is like OpenAI."""
    with pytest.raises(MissingKeyError):
        find("https://api.example.com/v1")
    assert find("https://api.example.com/v1", api_key="k" * 9).base_url.endswith("example.com/v1")


def test_a_wrong_address_is_told_before_a_missing_key() -> None:
    """A typing error in a URL is not answered with advice about keys."""
    with pytest.raises(ConfigurationError, match="'nonsense' is not a base URL"):
        find("nonsense")


def test_an_endpoint_is_taken_as_it_is() -> None:
    """An Endpoint, or anything that has one; api_key= replaces its key only."""
    endpoint = rtnb.Endpoint.beta("https://api.example.com/v1", "sk-first-1234")

    class Holder:
        pass

    holder = Holder()
    holder.endpoint = endpoint
    assert find(endpoint) is endpoint
    assert find(holder) is endpoint
    other = find(endpoint, api_key="sk-second-1234")
    assert (other.key.reveal(), other.dialect_name) == ("sk-second-1234", "beta")


@pytest.mark.parametrize("stranger", [3, object(), Path("x")])
def test_what_is_no_endpoint_is_told(stranger: object) -> None:
    """The sentence names what was given and what is taken."""
    with pytest.raises(ConfigurationError, match=r"is not an endpoint; give an rtnb\.Peer"):
        find(stranger)


def test_two_places_at_once_are_told() -> None:
    """An endpoint and a base URL contradict each other."""
    with pytest.raises(ConfigurationError, match="either an endpoint or base_url=, not both"):
        find("http://127.0.0.1:1/v1", base_url="http://127.0.0.1:2/v1")


def test_a_recording_that_cannot_be_written_is_shown() -> None:
    """The call goes on, and the session says at once what its run is missing."""
    with connected({}) as (session, engine):
        failure = "The run could not be written in full: No space left on device"
        engine.deliver(m.AudioWritten(session._id, 0.0, 0.1, (), (), failure))
        assert failure in repr(session)
        assert session.state == "open"
