"""The conformance table of docs/peer.md has no hole and claims nothing that was not seen."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import typing
from collections import defaultdict
from functools import cache
from pathlib import Path

import openai.types.realtime as ga
import pytest
from event_orders import CLIENT
from peer_client import calling, prompt_clip
from peer_scenarios import BETA_PLAYS, OLD_SCENARIOS, SCENARIOS, TOOLS, in_beta, played
from sdk_types import CLIENT_TYPES, SERVER_TYPES

import rtnb.peer as peer_package
from rtnb.peer.handle import Peer
from rtnb.peer.server import Setup, make_signaling
from rtnb.peer.voices import Script

DOCS = Path(__file__).parents[1] / "docs" / "peer.md"
STATES = ("supported", "approximated", "absent")

# what the API's reference and guides name beside the types of the SDK
ERROR_CODES = (
    *("session_expired", "invalid_value", "invalid_event", "beta_api_shape_disabled"),
    *("conversation_already_has_active_response", "response_cancel_not_active"),
    *("input_audio_buffer_commit_empty", "cannot_update_voice"),
)
SESSION = (
    *("type", "id", "object", "expires_at", "model", "instructions", "output_modalities"),
    *("audio.input.format", "audio.input.transcription", "audio.input.noise_reduction"),
    *("audio.input.turn_detection", "audio.output.format", "audio.output.voice"),
    *("audio.output.speed", "tools", "tool_choice", "parallel_tool_calls", "reasoning"),
    *("max_output_tokens", "truncation", "tracing", "prompt", "include"),
)
ITEMS = (
    *("message", "system", "user", "assistant", "function_call", "function_call_output"),
    *("mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response"),
    *("input_text", "input_audio", "input_image", "output_text", "output_audio"),
    "item_reference",
)
HTTP = (
    *("invalid_api_key", "invalid_offer", "invalid_model", "insufficient_quota"),
    *("rate_limit_exceeded", "beta_api_shape_disabled"),
)


@cache
def tables():
    """Return the conformance tables: heading to a list of (names, state, how)."""
    found = defaultdict(list)
    heading = ""
    conformance = DOCS.read_text(encoding="utf-8").partition("## Conformance")[2]
    for line in conformance.splitlines():
        if line.startswith("### "):
            heading = line[4:]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[1] not in ("state", "---"):
            names, state, how = cells
            found[heading].append((re.findall(r"`([^`]+)`", names) or [names], state, how))
    return found


def states(heading):
    """Return name to state for one section's tables."""
    return {name: state for names, state, _ in tables()[heading] for name in names}


@cache
def accepted():
    """Return the types of all client events that were answered with no error in some play."""
    found = set()
    for name in (*SCENARIOS, *OLD_SCENARIOS):
        log = played(name).log
        refused = {e["error"]["event_id"] for _, e in log if e["type"] == "error"}
        sent = [e for direction, e in log if direction == CLIENT]
        found |= {e["type"] for e in sent if e["event_id"] not in refused}
    return found


@cache
def sent():
    """Return the types of all server events that were sent in some play, in either dialect."""
    names = {e["type"] for name in SCENARIOS for e in played(name).events()}
    return names | {e["type"] for name in BETA_PLAYS for e in in_beta(name)}


# --- no hole -------------------------------------------------------------------------------------


def test_every_row_has_a_state_and_what_is_not_supported_says_why():
    """Three states; approximated says how, and absent why."""
    rows = [row for table in tables().values() for row in table]
    assert len(rows) > 120
    assert {state for _, state, _ in rows} == set(STATES)
    assert [names for names, state, how in rows if state != "supported" and not how] == []


@pytest.mark.parametrize("dialect", ["ga", "beta"])
def test_every_event_has_a_row(dialect):
    """All of the SDK's unions, in both dialects; and no row is about an event that nobody knows."""
    assert set(CLIENT_TYPES[dialect]) - set(states("Client events")) == set()
    assert set(SERVER_TYPES[dialect]) - set(states("Server events")) == set()


def test_no_event_row_is_invented():
    """Each row of an event is about one of the SDK's types."""
    known = {t for types in (CLIENT_TYPES, SERVER_TYPES) for d in types.values() for t in d}
    events = {n for h in ("Client events", "Server events") for n in states(h) if "." in n}
    assert events - known == set()


def test_every_field_of_a_session_has_a_row():
    """Those of the SDK's models, and those of the reference."""
    rows = states("Session")
    assert set(SESSION) - set(rows) == set()
    of_sdk = set(ga.RealtimeSessionCreateRequest.model_fields) - {"audio"}
    of_sdk |= {f"audio.input.{name}" for name in ga.RealtimeAudioConfigInput.model_fields}
    of_sdk |= {f"audio.output.{name}" for name in ga.RealtimeAudioConfigOutput.model_fields}
    assert of_sdk - set(rows) == set()
    kinds = {"null", "server_vad", "semantic_vad", "function", "mcp"}
    assert kinds - set(rows) == set()


def test_every_item_and_part_has_a_row():
    """Types, roles and parts of items."""
    types = {
        typing.get_args(model.model_fields["type"].annotation)[0]
        for model in typing.get_args(typing.get_args(ga.ConversationItem)[0])
    }
    assert (types | set(ITEMS)) - set(states("Items")) == set()


def test_every_field_of_a_response_has_a_row():
    """Of what is asked for, and of what it is."""
    fields = {*ga.RealtimeResponse.model_fields, *ga.RealtimeResponseCreateParams.model_fields}
    assert fields - set(states("Responses")) == set()


def test_every_error_of_the_reference_has_a_row():
    """Codes of events, and of HTTP."""
    assert set(ERROR_CODES) - set(states("Server events")) == set()
    text = " ".join(" ".join(names) for names, _, _ in tables()["HTTP"])
    assert [code for code in HTTP if code not in text] == []


def test_every_route_has_a_row():
    """All that the peer serves in its own shape."""
    app = make_signaling(Setup()).app()
    routes = {r.canonical for r in app.router.resources() if "{verb" not in r.canonical}
    text = " ".join(name for names, _, _ in tables()["HTTP"] for name in names)
    # the last one is where a second offer is refused
    assert {r for r in routes if r not in text} <= {"/v1/realtime/calls/{call_id}"}


# --- no claim ------------------------------------------------------------------------------------


def test_what_is_supported_was_sent_and_accepted_in_a_play():
    """Neither a server event nor a client event is claimed that no play shows."""
    claimed = {n for n, state in states("Server events").items() if state != "absent" and "." in n}
    assert claimed - sent() == set()
    claimed = {n for n, state in states("Client events").items() if state != "absent" and "." in n}
    assert claimed - accepted() == set()


def test_what_is_absent_was_never_sent_nor_accepted():
    """An event that is absent did not come about by mistake."""
    absent = {n for n, state in states("Server events").items() if state == "absent"}
    assert absent & sent() == set()
    absent = {n for n, state in states("Client events").items() if state == "absent"}
    assert absent & accepted() == set()


def test_every_error_code_of_the_plays_has_a_row():
    """The peer sends no code that the docs do not name."""
    plays = [played(name) for name in SCENARIOS]
    codes = {e["error"]["code"] for play in plays for e in play.events("error")}
    assert codes - set(states("Server events")) == set()


def test_every_error_code_in_the_peers_source_has_a_row():
    """Also those that no play provokes."""
    codes = set()
    for path in Path(peer_package.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Problem":
                given = [*call.args[2:3], *(k.value for k in call.keywords if k.arg == "code")]
                codes |= {ast.literal_eval(one) for one in given}
    assert len(codes) > 10
    assert codes - set(states("Server events")) == set()


# --- the script ----------------------------------------------------------------------------------


def script():
    """Return the YAML of the docs."""
    return re.search(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]


def test_the_ten_lines_make_it_call_a_tool_and_speak_the_result(tmp_path):
    """A spoken question, a call, the tool's output, and an answer that is heard."""
    assert len(script().splitlines()) == 10
    path = tmp_path / "rules.yaml"
    path.write_text(script(), encoding="utf-8")

    async def main(url):
        async with calling(url, session={"tools": TOOLS}) as caller:
            caller.play(prompt_clip("weather_in_paris"))
            call = await caller.until("response.function_call_arguments.done")
            await caller.until("response.done")
            item = {"type": "function_call_output", "call_id": call["call_id"]}
            output = json.dumps({"temperature": 21})
            caller.send("conversation.item.create", item={**item, "output": output})
            caller.send("response.create")
            await caller.until("response.done")
            await caller.until("output_audio_buffer.stopped")
            kind = "response.output_audio_transcript.done"
            return call, [e["transcript"] for e in caller.events if e["type"] == kind]

    with Peer(voice=Script.read(path)) as peer:
        call, said = asyncio.run(main(peer.url))
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
    assert said == ["Let me look.", "It is 21 degrees in Paris."]
