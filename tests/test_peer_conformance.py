"""Every event that the peer sends, judged by the official SDK's types and by the orders of the API."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from aiohttp.test_utils import TestServer
from event_orders import CLIENT, SERVER, broken_orders
from peer_client import calling, prompt_clip
from peer_scenarios import (
    BETA_MODEL,
    BETA_PLAYS,
    OLD_SCENARIOS,
    PUSH_TO_TALK,
    SCENARIOS,
    TOOLS,
    in_beta,
    played,
)
from sdk_types import SERVER_TYPES, wrong_in
from simulated_call import SimulatedCall

from rtnb.audio import Clip
from rtnb.dialects import BETA
from rtnb.peer.disturbed import Disturbed
from rtnb.peer.faults import Faults
from rtnb.peer.reply import Reply, ToolCall
from rtnb.peer.server import Setup, make_signaling

# what the API's reference knows and does not occur here: audio travels as RTP, there is no telephone,
# and MCP servers are absent from the peer
ABSENT = {
    "response.output_audio.delta",
    "input_audio_buffer.dtmf_event_received",
    *(f"mcp_list_tools.{step}" for step in ("in_progress", "completed", "failed")),
    *(f"response.mcp_call.{step}" for step in ("in_progress", "completed", "failed")),
    *(f"response.mcp_call_arguments.{step}" for step in ("delta", "done")),
}
# of the old dialect, where they are sent
BETA_ONLY = {"conversation.created", "conversation.item.created"}
# what beta's types do not know: a tool choice that names a function, which its API did know, and
# MCP tools, which nobody asks for there
BETA_HOLES = (
    "session.tool_choice: Input should be a valid string",
    "session.tools.0.type: Input should be 'function'",
)


# --- without a network ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_event_is_of_the_sdks_types(name):
    """Type, values, and no key that the SDK does not know."""
    assert [wrong for event in played(name).events() for wrong in wrong_in(event)] == []


@pytest.mark.parametrize("name", [*SCENARIOS, *OLD_SCENARIOS])
def test_each_play_keeps_the_orders(name):
    """Orders and ids are those of the reference."""
    assert played(name).problems() == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_other_orders_on_request_are_legal_and_have_the_same_events(name, monkeypatch):
    """`Faults.other_order` and `duplicate_rate_limits` change places, and nothing else."""
    usual = Counter(played(name).types())
    for seed in range(3):
        faults = Faults(seed=seed, other_order=True, duplicate_rate_limits=bool(seed))
        monkeypatch.setattr(
            SimulatedCall, "disturbance", lambda _, faults=faults: Disturbed(faults)
        )
        call = SCENARIOS[name]()
        assert call.problems() == []
        del usual["rate_limits.updated"]
        assert Counter(t for t in call.types() if t != "rate_limits.updated") == usual


@pytest.mark.parametrize("name", BETA_PLAYS)
def test_each_event_is_of_the_sdks_beta_types(name):
    """The same plays in the old names."""
    wrong = [wrong for event in in_beta(name) for wrong in wrong_in(event, "beta")]
    assert [w for w in wrong if not w.endswith(BETA_HOLES)] == []


# --- real calls ----------------------------------------------------------------------------------


def voice(turn):
    """Answer by what was written; speech gets a second of sound."""
    if turn.results:
        return Reply("That is all.", clip=Clip.tone(500, 0.3))
    if turn.text == "Call them.":
        calls = [ToolCall("get_weather", {"a": 1}), ToolCall("get_time")]
        return [Reply("Wait.", clip=Clip.tone(500, 0.2)), *calls]
    if turn.text == "Tell a story.":
        return Reply(" ".join(["word"] * 80), clip=Clip.tone(500, 24.0))
    return Reply("I am fine.", clip=Clip.tone(500, 0.5))


class Talk:
    """A caller and the log of both sides."""

    def __init__(self, caller):
        self.caller = caller
        self._sent = []

    def send(self, type, **fields):
        event = {"event_id": f"mine_{len(self._sent)}", **fields}
        self._sent.append((len(self.caller.events), {"type": type, **event}))
        self.caller.send(type, **event)

    def write(self, text):
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        self.send("conversation.item.create", item=item)

    def settings(self, **session):
        self.send("session.update", session={"type": "realtime", **session})

    async def until(self, *types):
        for type in types:
            event = await self.caller.until(type)
        return event

    def log(self, dialect=None):
        """Return both sides' events in GA names; what was sent stands before what came later."""
        log, sent = [], list(self._sent)
        for index, event in enumerate(self.caller.events):
            while sent and sent[0][0] <= index:
                log.append((CLIENT, sent.pop(0)[1]))
            log.append((SERVER, dialect.event_from_wire(event) if dialect else event))
        return log + [(CLIENT, event) for _, event in sent]


async def spoken_and_written(talk):
    """Speech with transcription, a written turn, tools, push-to-talk, out of band, errors."""
    caller = talk.caller
    talk.settings(audio={"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}})
    caller.play(prompt_clip("greeting"))
    await talk.until("conversation.item.input_audio_transcription.completed")
    await talk.until("output_audio_buffer.stopped")
    talk.settings(tools=TOOLS)
    talk.write("Call them.")
    talk.send("response.create")
    done = await talk.until("response.done")
    calls = [i for i in done["response"]["output"] if i["type"] == "function_call"]
    assert [call["name"] for call in calls] == ["get_weather", "get_time"]
    for call in calls:
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "{}"}
        talk.send("conversation.item.create", item=output)
    talk.send("response.create")
    await talk.until("response.done", "output_audio_buffer.stopped")
    talk.settings(audio={"input": PUSH_TO_TALK}, output_modalities=["text"])
    talk.send("input_audio_buffer.clear")
    await talk.until("input_audio_buffer.cleared")
    await asyncio.wrap_future(caller.play(Clip.tone(300, 0.3)).ended)
    talk.send("input_audio_buffer.commit")
    talk.send("response.create", response={"conversation": "none", "metadata": {"a": "b"}})
    await talk.until("response.done")
    talk.send("response.cancel")
    talk.send("response.stop")
    await talk.until("error", "error")


async def interrupted(talk):
    """Speech into a long reply, and a client that interrupts another one."""
    for interrupt in ("speech", "client"):
        talk.write("Tell a story.")
        talk.send("response.create")
        await talk.until("output_audio_buffer.started")
        if interrupt == "speech":
            talk.caller.play(prompt_clip("greeting"))
        else:
            talk.send("response.cancel")
            talk.send("output_audio_buffer.clear")
        await talk.until("output_audio_buffer.cleared", "conversation.item.truncated")
        if interrupt == "speech":
            await talk.until("response.done", "output_audio_buffer.stopped")


async def in_the_old_names(talk):
    """A written turn that is spoken, and a written answer."""
    talk.write("Hello?")
    talk.send("response.create")
    await talk.until("response.done", "output_audio_buffer.stopped")
    talk.send("response.create", response={"modalities": ["text"]})
    await talk.until("response.text.done", "response.done")


@pytest.fixture(scope="module")
def real_calls():
    """The logs of three real calls, two at once and one in the old dialect."""

    async def place(url, play, dialect=None, **options):
        async with calling(url, **options) as caller:
            talk = Talk(caller)
            await play(talk)
            await asyncio.sleep(0.1)  # what comes after the last event
            return talk.log(dialect), caller.events

    async def main():
        signaling = make_signaling(Setup(voice=voice))
        async with TestServer(signaling.app(), host="127.0.0.1") as server:
            url = f"http://127.0.0.1:{server.port}/v1"
            old = {"path": f"realtime?model={BETA_MODEL}", "dialect": BETA}
            return await asyncio.gather(
                place(url, spoken_and_written),
                place(url, interrupted),
                place(url, in_the_old_names, **old),
            )

    return asyncio.run(main())


@pytest.mark.parametrize("number", [0, 1], ids=["spoken and written", "interrupted"])
def test_real_calls_are_of_the_sdks_types_and_keep_the_orders(real_calls, number):
    """The same judges over WebRTC."""
    log, events = real_calls[number]
    assert [wrong for event in events for wrong in wrong_in(event)] == []
    assert broken_orders(log) == []


def test_a_real_beta_call_is_of_the_sdks_beta_types_and_keeps_the_orders(real_calls):
    """The same judges in the old names."""
    log, events = real_calls[2]
    assert [wrong for event in events for wrong in wrong_in(event, "beta")] == []
    assert broken_orders(log, items_done=False) == []


# --- what was seen -------------------------------------------------------------------------------


def test_all_types_that_occur_on_webrtc_were_seen(real_calls, capsys):
    """In GA all but what is absent; in beta all of its own names."""
    ga = Counter(e["type"] for name in SCENARIOS for e in played(name).events())
    ga += Counter(e["type"] for _, events in real_calls[:2] for e in events)
    beta = Counter(e["type"] for name in BETA_PLAYS for e in in_beta(name))
    beta += Counter(e["type"] for e in real_calls[2][1])
    with capsys.disabled():
        checked = ga.total() + beta.total()
        print(f" {checked} events checked, {len(ga)} GA and {len(beta)} beta types covered", end="")
    assert set(SERVER_TYPES["ga"]) - set(ga) - BETA_ONLY == ABSENT
    assert set(SERVER_TYPES["beta"]) - set(beta) == {
        "response.audio.delta",
        "transcription_session.updated",
    }
