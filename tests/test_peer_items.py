"""The items of a conversation with the peer: what a client may make, see, cut and take away."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from peer_client import prompt_pcm
from simulated_call import SimulatedCall, sound

from rtnb.peer import fingerprint
from rtnb.peer.items import Item, Items
from rtnb.peer.reply import Rendered
from rtnb.peer.wireaudio import decoded, encoded

PCM, PCMU, PCMA = ({"type": f"audio/{name}"} for name in ("pcm", "pcmu", "pcma"))
LONG = Rendered(" ".join(["word"] * 40), sound(20.0))
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def message(*content, role="user", **fields):
    return {"type": "message", "role": role, "content": list(content), **fields}


def text(words):
    return {"type": "input_text", "text": words}


@pytest.fixture
def call():
    return SimulatedCall(lambda turn: LONG, recognise=fingerprint.recognise)


def created(call, item, **fields):
    """Create an item and return it as it was added, or the error."""
    error = call.send("conversation.item.create", item=item, **fields)
    return error or call.last("conversation.item.done")["item"]


def answering(call, seconds):
    """Have the call answer for so long, and return the id of the answer's item."""
    call.text()
    call.send("response.create")
    call.wait(seconds)
    return call.last("response.output_item.added")["item"]["id"]


# --- making --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        message(text("Be kind."), role="system"),
        message({"type": "output_text", "text": "Hi."}, role="assistant"),
        message(
            {"type": "input_image", "image_url": PICTURE, "detail": "low"}, text("What is it?")
        ),
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_0", "output": ""},
    ],
    ids=["system", "assistant", "image", "call", "output"],
)
def test_an_item_is_shown_as_it_was_made(call, item):
    """With an id, the object's name and a status besides."""
    created(call, {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call_0"})
    shown = created(call, {"id": "mine", **item})
    head = {"id": "mine", "object": "realtime.item", "status": "completed"}
    assert shown == head | item


def test_a_function_call_gets_an_id_of_its_own(call):
    """Where the client leaves it out, as it may."""
    shown = created(call, {"type": "function_call", "name": "f", "arguments": "{}"})
    assert shown["call_id"].startswith("call_")


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        (None, "item", "missing_required_parameter"),
        ([], "item", "invalid_type"),
        ({"type": "mcp_call"}, "item.type", "invalid_value"),
        ({"type": "mcp_approval_response"}, "item.type", "invalid_value"),
        ({"type": "item_reference", "id": "x"}, "item.type", "invalid_value"),
        (message(text("x"), id="x" * 513), "item.id", "string_above_max_length"),
        (message(text("x"), role="tool"), "item.role", "invalid_value"),
        (message(), "item.content", "invalid_value"),
        ({"type": "message", "role": "user"}, "item.content", "missing_required_parameter"),
        (message("x"), "item.content[0]", "invalid_type"),
        (message(text("x"), {"type": "output_text"}), "item.content[1].type", "invalid_value"),
        (message(text(None)), "item.content[0].text", "missing_required_parameter"),
        (message(text(5)), "item.content[0].text", "invalid_type"),
        (
            message({"type": "input_audio"}),
            "item.content[0].audio",
            "missing_required_parameter",
        ),
        (
            message({"type": "input_audio", "audio": "AAAA", "transcript": "x"}),
            "item.content[0].audio",
            "invalid_value",
        ),
        (
            message({"type": "input_image", "image_url": "https://example.com/a.png"}),
            "item.content[0].image_url",
            "invalid_value",
        ),
        (
            message({"type": "input_image", "image_url": "data:image/gif;base64,AAAA"}),
            "item.content[0].image_url",
            "invalid_value",
        ),
        (
            message({"type": "input_image", "image_url": PICTURE, "detail": "huge"}),
            "item.content[0].detail",
            "invalid_value",
        ),
        ({"type": "function_call", "name": "f"}, "item.arguments", "missing_required_parameter"),
        (
            {"type": "function_call_output", "call_id": 5, "output": ""},
            "item.call_id",
            "invalid_type",
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": {}},
            "item.output",
            "invalid_type",
        ),
    ],
)
def test_what_is_no_item_is_refused(call, item, param, code):
    """The error names what is wrong, and nothing is added."""
    error = created(call, item)
    assert (error["param"], error["code"]) == (param, code)
    assert "conversation.item.added" not in call.types()


def test_an_item_is_there_once(call):
    """A second one of the same id is refused; so is a place after one that is not there."""
    created(call, message(text("x"), id="mine"))
    assert created(call, message(text("y"), id="mine"))["param"] == "item.id"
    for after in ("other", 5):
        wrong = created(call, message(text("z")), previous_item_id=after)
        assert wrong["param"] == "previous_item_id"


# --- audio ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "noise"), [(PCM, 2), (PCMU, 500), (PCMA, 500)])
def test_audio_is_taken_and_given_in_the_sessions_format(form, noise):
    """PCM exactly, G.711 as exactly as it can."""
    samples = (np.sin(np.arange(9_600) / 30) * 9_000).astype(np.int16)
    wire = encoded(samples, form)
    assert len(base64.b64decode(wire)) == (9_600 if form is PCM else 1_600)
    back = decoded(wire, form, "audio").astype(int)
    assert len(back) == 9_600 and np.abs(back - samples)[600:-600].max() < noise


def test_audio_in_an_item_is_what_the_user_said(call):
    """It is recognised like speech, given to the voice, and shown when it is retrieved."""
    said = prompt_pcm("greeting", before=0.2, after=0.2)
    audio = encoded(said, PCM)
    part = {"type": "input_audio", "audio": audio, "transcript": "as I say"}
    shown = created(call, message(part, id="mine"))
    assert shown["content"] == [{"type": "input_audio", "transcript": "as I say"}]
    call.send("response.create")
    assert call.turns[0].sample == "greeting" and len(call.turns[0].audio.samples) == len(said)
    call.send("conversation.item.retrieve", item_id="mine")
    (part,) = call.last("conversation.item.retrieved")["item"]["content"]
    given, back = (np.frombuffer(base64.b64decode(a), "<i2") for a in (audio, part["audio"]))
    assert len(given) == len(back) and np.abs(given.astype(int) - back).mean() < 20


def test_each_part_of_an_item_keeps_its_audio(call):
    """Two parts of audio are retrieved as two."""
    parts = [encoded(np.full(n, 900, np.int16), PCM) for n in (4_800, 9_600)]
    content = [{"type": "input_audio", "audio": part} for part in parts]
    created(call, message(content[0], text("and"), content[1], id="mine"))
    call.send("conversation.item.retrieve", item_id="mine")
    shown = call.last("conversation.item.retrieved")["item"]["content"]
    assert [len(p["audio"]) for p in shown if "audio" in p] == [len(p) for p in parts]


def test_what_the_assistant_said_can_be_retrieved(call):
    """With its sound: as much as was generated, 24 kHz PCM."""
    item_id = answering(call, 2.5)
    call.send("response.cancel")
    call.send("conversation.item.retrieve", item_id=item_id)
    (part,) = call.last("conversation.item.retrieved")["item"]["content"]
    assert part["type"] == "output_audio" and part["transcript"].startswith("word")
    duration = len(base64.b64decode(part["audio"])) / 2 / 24_000
    assert 9 < duration < 11  # it is generated four times as fast as it is heard


def test_what_is_played_back_is_not_kept():
    """A reply that holds audio of the user's is retrieved without it."""
    call = SimulatedCall(lambda turn: Rendered("I heard you.", sound(1.0), echo=True))
    item_id = answering(call, 3.0)
    call.send("conversation.item.retrieve", item_id=item_id)
    (part,) = call.last("conversation.item.retrieved")["item"]["content"]
    assert "audio" not in part


def test_the_audio_of_old_items_is_let_go():
    """When there is too much of it; how long it was stays known."""
    items = Items(kept=300_000)
    for number in range(4):
        json = {"id": str(number), "type": "message", "role": "assistant", "content": []}
        items.add(Item(json, spoken_ms=1000, sound=sound(1.0)))
    assert [len(item.sound) for item in items] == [0, 96_000, 96_000, 96_000]
    assert {item.tokens().audio for item in items} == {20}


# --- cutting and taking away ---------------------------------------------------------------------


def test_an_answer_is_truncated_to_what_was_heard_of_it(call):
    """The transcript goes, and what a later response goes by is the rest."""
    item_id = answering(call, 30.0)
    cut = {"item_id": item_id, "content_index": 0, "audio_end_ms": 1500}
    assert call.send("conversation.item.truncate", **cut) is None
    call.send("conversation.item.retrieve", item_id=item_id)
    (part,) = call.last("conversation.item.retrieved")["item"]["content"]
    assert "transcript" not in part and len(base64.b64decode(part["audio"])) == 1.5 * 48_000
    before = call.last("response.done")["response"]["usage"]["input_token_details"]
    call.send("response.create")
    call.drain()
    after = call.last("response.done")["response"]["usage"]["input_token_details"]
    assert after["audio_tokens"] - before["audio_tokens"] == 30
    assert call.problems() == []


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"audio_end_ms": 20_001}, "audio_end_ms", "invalid_value"),
        ({"audio_end_ms": -1}, "audio_end_ms", "invalid_value"),
        ({"audio_end_ms": 1.5}, "audio_end_ms", "invalid_value"),
        ({"audio_end_ms": True}, "audio_end_ms", "invalid_value"),
        ({"audio_end_ms": None}, "audio_end_ms", "missing_required_parameter"),
        ({"content_index": 1}, "content_index", "invalid_value"),
        ({"content_index": None}, "content_index", "missing_required_parameter"),
        ({"item_id": None}, "item_id", "missing_required_parameter"),
        ({"item_id": []}, "item_id", "invalid_type"),
        ({"item_id": "x"}, "item_id", "invalid_value"),
    ],
)
def test_a_truncation_that_makes_no_sense_is_refused(call, change, param, code):
    """The error names the parameter."""
    cut = {"item_id": answering(call, 30.0), "content_index": 0, "audio_end_ms": 100}
    error = call.send("conversation.item.truncate", **(cut | change))
    assert (error["param"], error["code"]) == (param, code)


def test_only_an_assistants_sound_is_truncated(call):
    """Neither a user's message nor one of text."""
    created(call, message(text("x"), id="mine"))
    call.settings(output_modalities=["text"])
    for item_id in ("mine", answering(call, 30.0)):
        cut = {"item_id": item_id, "content_index": 0, "audio_end_ms": 0}
        assert call.send("conversation.item.truncate", **cut)["param"] == "item_id"


def test_what_is_not_generated_yet_cannot_be_kept(call):
    """Its length is what was generated of it; truncated in the midst, it has no words at its end."""
    item_id = answering(call, 2.0)
    cut = {"item_id": item_id, "content_index": 0}
    assert (
        "shorter" in call.send("conversation.item.truncate", **cut, audio_end_ms=12_000)["message"]
    )
    assert call.send("conversation.item.truncate", **cut, audio_end_ms=500) is None
    call.drain()
    done = call.last("conversation.item.done")["item"]
    assert done["content"] == [{"type": "output_audio"}]
    assert call.last("conversation.item.truncated")["audio_end_ms"] == 500
    assert call.problems() == []


@pytest.mark.parametrize("seconds", [0.0, 1.0, 8.0])
@pytest.mark.parametrize("then", ["nothing", "speech", "cancel", "clear"])
def test_an_answer_can_be_deleted_at_any_time(seconds, then):
    """While it is generated and while it is heard; whatever comes then is as usual."""
    call = SimulatedCall(lambda turn: LONG)
    item_id = answering(call, seconds)
    assert call.send("conversation.item.delete", item_id=item_id) is None
    if then == "speech":
        call.hear(prompt_pcm("greeting", after=0.9))
    elif then == "cancel":
        call.send("response.cancel")
    elif then == "clear":
        call.send("output_audio_buffer.clear")
    call.drain()
    assert call.last("response.done") and call.problems() == []
    assert "conversation.item.truncated" not in call.types()
    assert call.send("conversation.item.retrieve", item_id=item_id)["param"] == "item_id"
