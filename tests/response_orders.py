"""The rules of one call's responses and their sounds; they know events, not the peer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Known", "ResponseRules", "added_up"]

Json = dict[str, Any]

REASONS: Final = {
    "cancelled": ("turn_detected", "client_cancelled"),
    "incomplete": ("max_output_tokens", "content_filter"),
}
SOUND: Final = "output_audio_buffer"


@dataclass
class Known:
    """What all rules share of a call.

    Attributes
    ----------
    broken
        A sentence for each broken rule.
    items
        All items that were ever in the conversation, by id.
    truncated
        What truncated items were truncated to, in milliseconds, by id.
    cut, deleted, spoken
        Ids of items that were truncated without a client's asking, and that were deleted, and of
        all speech that started.
    asked
        Client events by type.
    """

    broken: list[str] = field(default_factory=list)
    items: dict[str, Json] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    spoken: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)

    def must(self, good: Any, sentence: str) -> bool:
        """Note a rule that is broken."""
        if not good:
            self.broken.append(sentence)
        return bool(good)


@dataclass
class _Part:
    kind: str
    text: str = ""
    closed: set[str] = field(default_factory=set)


@dataclass
class _Output:
    """An output item of a response."""

    item: Json
    parts: list[_Part] = field(default_factory=list)
    arguments: str = ""
    closed: bool = False  # its arguments
    done: Json | None = None


@dataclass
class _Response:
    json: Json
    outputs: list[_Output] = field(default_factory=list)
    done: bool = False
    sound: list[str] = field(default_factory=list)


class ResponseRules:
    """What is known of a call's responses so far.

    Parameters
    ----------
    known
        What is known beside.
    """

    def __init__(self, known: Known):
        self._known = known
        self.must = known.must
        self._all: dict[str, _Response] = {}

    def take(self, event: Json) -> None:
        """Take an event of a response or its sound."""
        kind = event["type"]
        if kind == "response.created":
            self.created(event)
            return
        name = event["response"].get("id") if kind == "response.done" else event["response_id"]
        response = self._all.get(name)
        if not self.must(response is not None, f"{kind} of a response that was not created"):
            return
        assert response is not None
        late = response.done and not kind.startswith(SOUND)
        if self.must(not late, f"{kind} after response.done"):
            RESPONSE_HANDLERS[kind](self, event, response)

    def end(self) -> None:
        """Check that all that was begun is over."""
        for response in self._all.values():
            name = response.json["id"]
            self.must(response.done, f"{name} was never done")
            ended = response.sound[:1] != ["started"] or len(response.sound) == 2
            self.must(ended, f"the sound of {name} neither stopped nor was cleared")
            self._cut(response)

    def _cut(self, response: _Response) -> None:
        """Check that a sound that was cleared cut its item, and that no other item was cut."""
        name, cleared = response.json["id"], response.sound[1:] == ["cleared"]
        ids = {output.item["id"] for output in response.outputs}
        cut = ids & self._known.cut
        silent = not response.sound  # it was dropped before its first packet
        self.must(not cut or cleared or silent, f"{name} was cut, and its sound was not cleared")
        if cleared and response.json.get("conversation_id"):
            known = ids & (self._known.cut | self._known.deleted)
            self.must(known, f"the sound of {name} was cleared, and no item truncated")

    def output(self, item_id: str) -> _Output | None:
        """Return the output item of that id."""
        outputs = (o for r in self._all.values() for o in r.outputs)
        return next((o for o in outputs if o.item["id"] == item_id), None)

    def speaks(self, item_id: str) -> bool:
        """Whether an item is an assistant's message with sound."""
        output = self.output(item_id)
        return output is not None and any(p.kind == "audio" for p in output.parts)

    def under_way(self) -> bool:
        """Whether a response in the conversation may still add items."""
        return any(not r.done and r.json.get("conversation_id") for r in self._all.values())

    # --- responses --------------------------------------------------------------------------------

    def created(self, event: Json) -> None:
        """A new response; one at a time in the conversation."""
        response = event["response"]
        name = response.get("id")
        self.must(name not in self._all, f"{name} was created twice")
        self.must(
            response.get("status") == "in_progress", f"{name} was created and not in_progress"
        )
        self.must(not response.get("output"), f"{name} was created with output")
        self.must(response.get("usage") is None, f"{name} was created with usage")
        self.must(response.get("status_details") is None, f"{name} was created with details")
        inside = [r for r in self._all.values() if r.json.get("conversation_id")]
        active = [r.json["id"] for r in inside if not r.done]
        alone = not response.get("conversation_id") or not active
        self.must(alone, f"{name} was created while {', '.join(active)} was active")
        self._all[name] = _Response(response)

    def output_added(self, event: Json, response: _Response) -> None:
        """The next output item."""
        item, index = event["item"], event["output_index"]
        self.must(index == len(response.outputs), f"output_index {index} is not the next one")
        self.must(item.get("status") == "in_progress", "an output item was added, not in_progress")
        self.must(self.output(item["id"]) is None, f"{item['id']} is output twice")
        response.outputs.append(_Output(item))

    def _open(self, event: Json, response: _Response) -> _Output | None:
        """Return the output item that an event is about, if it may still change."""
        kind, index = event["type"], event["output_index"]
        if not self.must(index < len(response.outputs), f"{kind} before its output item was added"):
            return None
        output = response.outputs[index]
        self.must(output.done is None, f"{kind} after its output item was done")
        item_id = event["item"]["id"] if "item" in event else event["item_id"]
        same = item_id == output.item["id"]
        self.must(same, f"{kind} names {item_id}, and the output item is {output.item['id']}")
        return output

    def _part(self, event: Json, response: _Response) -> _Part | None:
        output, kind = self._open(event, response), event["type"]
        if output is None:
            return None
        index = event["content_index"]
        if not self.must(index < len(output.parts), f"{kind} before its content part was added"):
            return None
        return output.parts[index]

    def part_added(self, event: Json, response: _Response) -> None:
        """The next content part of a message."""
        output, index = self._open(event, response), event["content_index"]
        if output is None:
            return
        self.must(output.item.get("type") == "message", "a content part of what is no message")
        self.must(index == len(output.parts), f"content_index {index} is not the next one")
        output.parts.append(_Part(event["part"].get("type")))

    def part_delta(self, event: Json, response: _Response) -> None:
        """A piece of text or transcript."""
        part = self._of_kind(event, response)
        if part is not None:
            self.must(not part.closed, f"{event['type']} after its done")
            part.text += event["delta"]

    def part_text(self, event: Json, response: _Response) -> None:
        """The whole text or transcript: what its deltas join to."""
        part = self._of_kind(event, response)
        if part is not None:
            key = "text" if part.kind == "text" else "transcript"
            joined = event[key] == part.text
            self.must(joined, f"{event['type']} says {event[key]!r}, its deltas {part.text!r}")
            self.must(key not in part.closed, f"{event['type']} came twice")
            part.closed.add(key)

    def audio_done(self, event: Json, response: _Response) -> None:
        """response.output_audio.done."""
        part = self._of_kind(event, response)
        if part is not None:
            self.must("audio" not in part.closed, "response.output_audio.done came twice")
            part.closed.add("audio")

    def audio_delta(self, event: Json, response: _Response) -> None:
        """response.output_audio.delta: on WebRTC the sound is RTP."""
        self.must(False, "response.output_audio.delta was sent")

    def _of_kind(self, event: Json, response: _Response) -> _Part | None:
        part = self._part(event, response)
        kind = "text" if "output_text" in event["type"] else "audio"
        if part is not None:
            self.must(part.kind == kind, f"{event['type']} of a part of type {part.kind}")
            self.must("part" not in part.closed, f"{event['type']} after its content part was done")
        return part

    def part_done(self, event: Json, response: _Response) -> None:
        """The part as it ended, after the events that end what it holds."""
        part = self._part(event, response)
        if part is None:
            return
        self.must("part" not in part.closed, "response.content_part.done came twice")
        wanted = {"text"} if part.kind == "text" else {"transcript", "audio"}
        missing = wanted - part.closed
        self.must(not missing, f"response.content_part.done before {', '.join(sorted(missing))}")
        given = event["part"]
        self.must(given.get("type") == part.kind, f"a part of type {part.kind} ended as another")
        text = given.get("text" if part.kind == "text" else "transcript")
        self.must(text == part.text, f"a content part ends with {text!r}, its deltas {part.text!r}")
        part.closed.add("part")

    def call_delta(self, event: Json, response: _Response) -> None:
        """A piece of a call's arguments."""
        output = self._call(event, response)
        if output is not None:
            self.must(not output.closed, f"{event['type']} after its done")
            output.arguments += event["delta"]

    def call_done(self, event: Json, response: _Response) -> None:
        """The whole arguments: what their deltas join to."""
        output = self._call(event, response)
        if output is not None:
            same = event["arguments"] == output.arguments
            self.must(same, f"arguments {event['arguments']!r}, their deltas {output.arguments!r}")
            name = event.get("name", output.item.get("name"))
            self.must(name == output.item.get("name"), f"a call ends under another name, {name}")
            self.must(not output.closed, f"{event['type']} came twice")
            output.closed = True

    def _call(self, event: Json, response: _Response) -> _Output | None:
        output = self._open(event, response)
        if output is None:
            return None
        is_call = output.item.get("type") == "function_call"
        self.must(is_call, f"{event['type']} of what is no function call")
        same = event["call_id"] == output.item.get("call_id")
        self.must(same, f"{event['type']} names another call_id")
        return output

    def output_done(self, event: Json, response: _Response) -> None:
        """The item as it ended, after its parts or arguments ended."""
        output, item = self._open(event, response), event["item"]
        if output is None:
            return
        status, kind = item.get("status"), item.get("type")
        self.must(status in ("completed", "incomplete"), f"an output item is done and {status}")
        self.must(kind == output.item.get("type"), "an output item changed its type")
        open_ = [p for p in output.parts if "part" not in p.closed]
        self.must(not open_, "an output item was done before its content parts")
        if kind == "function_call":
            self.must(output.closed, "a function call was done before its arguments")
            same = (item.get("arguments"), item.get("call_id"), item.get("name"))
            was = (output.arguments, output.item.get("call_id"), output.item.get("name"))
            self.must(same == was, "a function call ended with other values than its events had")
        elif item["id"] not in self._known.truncated:
            texts = [p.get("text", p.get("transcript")) for p in item.get("content") or []]
            self.must(texts == [p.text for p in output.parts], "a message ended with other words")
        output.done = item

    def response_done(self, event: Json, response: _Response) -> None:
        """The response as it ended: its items, its status, its usage."""
        given, name = event["response"], response.json["id"]
        response.done = True
        self._status(given)
        undone = [o.item["id"] for o in response.outputs if o.done is None]
        self.must(not undone, f"{name} was done before {', '.join(undone)}")
        ids = [o.item["id"] for o in response.outputs]
        listed = [item.get("id") for item in given.get("output") or []]
        self.must(listed == ids, f"{name} lists the items {listed}, and made {ids}")
        for output, item in zip(response.outputs, given.get("output") or [], strict=False):
            same = item == output.done or item.get("id") in self._known.truncated
            self.must(same, f"{name} shows {item.get('id')} otherwise than its output_item.done")
        for key in ("conversation_id", "metadata", "output_modalities"):
            self.must(given.get(key) == response.json.get(key), f"{name} changed its {key}")
        inside = bool(response.json.get("conversation_id"))
        for item_id in ids:
            there = item_id in self._known.items
            self.must(there == inside, f"{item_id} is {'not ' * inside}in the conversation")
        if self.must(isinstance(given.get("usage"), dict), f"{name} has no usage"):
            wrong = added_up(given["usage"])
            self.must(not wrong, f"the usage of {name}: {', '.join(wrong)} does not add up")

    def _status(self, response: Json) -> None:
        name, status = response["id"], response.get("status")
        details = response.get("status_details")
        legal = status in ("completed", "cancelled", "incomplete", "failed")
        self.must(legal, f"{name} is done and {status}")
        if status == "completed":
            self.must(
                details in (None, {"type": "completed"}), f"{name} is completed, with details"
            )
            return
        details = details if isinstance(details, dict) else {}
        self.must(details.get("type") == status, f"{name} is {status}, its details say otherwise")
        if status == "failed":
            error = details.get("error") or {}
            self.must({"type", "code"} <= set(error), f"{name} failed without an error")
        elif legal:
            reason = details.get("reason")
            self.must(reason in REASONS[status], f"{name} is {status} because of {reason}")
            self._cause(name, reason)

    def _cause(self, name: str, reason: Any) -> None:
        if reason == "turn_detected":
            self.must(self._known.spoken, f"{name} was cancelled by speech, and nobody spoke")
        if reason == "client_cancelled":
            asked = self._known.asked["response.cancel"] + self._known.asked[f"{SOUND}.clear"]
            self.must(asked, f"{name} was cancelled by a client that did not ask for it")

    # --- the output audio buffer ------------------------------------------------------------------

    def sound(self, event: Json, response: _Response) -> None:
        """Started once, after an audio part was added; then stopped, after done, or cleared."""
        step, name = event["type"].rpartition(".")[2], response.json["id"]
        if step == "started":
            self.must(not response.sound, f"the sound of {name} started again")
            spoken = any(p.kind == "audio" for o in response.outputs for p in o.parts)
            self.must(spoken, f"the sound of {name} started before its content part was added")
        else:
            playing = response.sound == ["started"]
            self.must(playing, f"the sound of {name} was {step} when it was not playing")
            early = step == "stopped" and not response.done
            self.must(not early, f"the sound of {name} stopped before response.done")
        response.sound.append(step)


def added_up(usage: Json) -> list[str]:
    """Return what does not add up in a usage object."""
    wrong = []
    if usage["total_tokens"] != usage["input_tokens"] + usage["output_tokens"]:
        wrong.append("the total")
    for side in ("input", "output"):
        details = usage.get(f"{side}_token_details")
        if details is None:
            continue
        kinds = _kinds(details)
        if sum(kinds) != usage[f"{side}_tokens"]:
            wrong.append(f"the {side} details")
        cached = details.get("cached_tokens_details")
        if cached is not None:
            parts = _kinds(cached)
            if sum(parts) != details["cached_tokens"]:
                wrong.append("what is cached")
            if any(c > n for c, n in zip(parts, kinds, strict=True)):
                wrong.append("what is cached, more than there is,")
    return wrong


def _kinds(details: Json) -> list[int]:
    return [details.get(f"{kind}_tokens") or 0 for kind in ("text", "audio", "image")]


RESPONSE_HANDLERS: Final[dict[str, Callable[..., None]]] = {
    f"{SOUND}.started": ResponseRules.sound,
    f"{SOUND}.stopped": ResponseRules.sound,
    f"{SOUND}.cleared": ResponseRules.sound,
    "response.output_item.added": ResponseRules.output_added,
    "response.output_item.done": ResponseRules.output_done,
    "response.content_part.added": ResponseRules.part_added,
    "response.content_part.done": ResponseRules.part_done,
    "response.output_text.delta": ResponseRules.part_delta,
    "response.output_text.done": ResponseRules.part_text,
    "response.output_audio_transcript.delta": ResponseRules.part_delta,
    "response.output_audio_transcript.done": ResponseRules.part_text,
    "response.output_audio.delta": ResponseRules.audio_delta,
    "response.output_audio.done": ResponseRules.audio_done,
    "response.function_call_arguments.delta": ResponseRules.call_delta,
    "response.function_call_arguments.done": ResponseRules.call_done,
    "response.done": ResponseRules.response_done,
}
