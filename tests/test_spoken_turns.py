"""Lists of events in, turns out: those that a voice begins, and those that stay a prompt's."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from talks import (
    BETA_NAMES,
    Json,
    buffer,
    created,
    done,
    feed,
    hear,
    leave,
    overs,
    said,
    speak,
    spoken_answer,
    spoken_input,
    transcription,
    types,
)

from rtnb.conversation import Conversation, TurnBegun
from rtnb.dialects import BETA
from rtnb.effects import Effect
from rtnb.events import Event
from rtnb.progress import of_turn
from rtnb.turnover import NO_REPLY
from rtnb.turnview import TurnView


@pytest.fixture
def talk() -> Conversation:
    """A conversation with a microphone attached."""
    return Conversation(listening=lambda: True)


def began(item: str = "u1") -> Json:
    """Return speech_started."""
    return {"type": "input_audio_buffer.speech_started", "item_id": item}


def stopped(item: str = "u1") -> Json:
    """Return speech_stopped."""
    return {"type": "input_audio_buffer.speech_stopped", "item_id": item}


def committed(item: str = "u1") -> Json:
    """Return committed."""
    return {"type": "input_audio_buffer.committed", "item_id": item}


def added(item: str = "u1") -> Json:
    """Return conversation.item.added of what was said."""
    about = {"id": item, "role": "user", "content": [{"type": "input_audio"}]}
    return {"type": "conversation.item.added", "item": about}


def begun(effects: list[Effect]) -> list[int]:
    """Return the numbers of the turns that a voice has begun."""
    return [effect.turn.number for effect in effects if isinstance(effect, TurnBegun)]


def told(talk: Conversation, item: str = "u1", at: float = 3.0, length: float = 1.0) -> None:
    """Let the service hear a voice, commit it, and begin a response after it."""
    feed(talk, [began(item)], at)
    feed(talk, [stopped(item), committed(item), added(item)], at + length)


# --- a voice begins a turn ------------------------------------------------------------------------


def test_a_voice_begins_a_turn(talk: Conversation) -> None:
    """It is of its own kind, and begins before the service could tell."""
    effects = feed(talk, [began()], 3.0)
    assert begun(effects) == [1]
    (turn,) = talk.turns
    assert (turn.kind, turn.name, turn.status) == ("microphone", "microphone", "in_progress")
    assert (turn.started, turn.plays, turn.voice_open) == (2.0, {"microphone": (2.0, None)}, True)


def test_a_spoken_turn_is_answered_like_any_other(talk: Conversation) -> None:
    """Its span ends with speech_stopped; words, reply and outcome are its own."""
    told(talk)
    feed(talk, [transcription("completed", transcript="Where is it?")], 4.1)
    feed(talk, [*spoken_answer(), buffer("stopped")], 4.2)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    (turn,) = talk.turns
    assert turn.plays == {"microphone": (2.0, 4.0)}
    assert turn.transcripts == {"u1": "Where is it?"}
    assert turn.responses[0].transcript == "Paris."


def test_a_spoken_turn_in_beta_names_is_the_same() -> None:
    """The dialect's names are known."""
    talk = Conversation(BETA, listening=lambda: True)
    events = [*spoken_input(), *spoken_answer(), buffer("stopped")]
    feed(talk, [{**e, "type": BETA_NAMES.get(e["type"], e["type"])} for e in events], 3.0, BETA)
    assert overs(talk.heard(9.0, [])) == [(1, "completed")]
    assert talk.turns[0].kind == "microphone"


def test_without_a_microphone_no_turn_begins() -> None:
    """Speech without a prompt is nobody's, as ever."""
    talk = Conversation()
    assert begun(feed(talk, [*spoken_input(), *spoken_answer()], 3.0)) == []
    assert talk.turns == []


def test_a_turn_does_not_begin_before_the_call(talk: Conversation) -> None:
    """Whoever speaks at once has spoken since 0."""
    feed(talk, [began()], 0.4)
    assert talk.turns[0].plays["microphone"] == (0.0, None)


def test_a_long_speech_is_waited_for(talk: Conversation) -> None:
    """Nothing comes while somebody speaks, for as long as they do."""
    feed(talk, [began()], 3.0)
    assert overs(talk.heard(3.0 + 3 * NO_REPLY, [])) == []
    feed(talk, [stopped(), committed()], 40.0)
    assert overs(talk.heard(40.1 + NO_REPLY, [])) == [(1, "no_reply")]


def test_more_speech_before_an_answer_is_of_the_same_turn(talk: Conversation) -> None:
    """Several items, one turn, one span."""
    told(talk)
    effects = feed(talk, [began("u2")], 4.5)
    assert begun(effects) == []
    assert talk.turns[0].voice_open
    feed(talk, [stopped("u2"), committed("u2")], 5.5)
    for item, words in (("u1", "Where"), ("u2", "is it?")):
        feed(talk, [transcription("completed", item, transcript=words)], 5.6)
    assert talk.turns[0].plays == {"microphone": (2.0, 5.5)}
    assert list(talk.turns[0].transcripts.values()) == ["Where", "is it?"]


def test_a_late_commit_does_not_end_the_next_utterance(talk: Conversation) -> None:
    """The commit of the first item comes when the second one has begun."""
    feed(talk, [began()], 3.0)
    feed(talk, [stopped(), began("u2"), committed(), added()], 4.0)
    assert talk.turns[0].voice_open
    assert talk.turns[0].speaking


def test_the_next_speech_begins_after_the_last_one(talk: Conversation) -> None:
    """Two turns in a row share no sound, and no commit."""
    told(talk)
    feed(talk, [*spoken_answer(), buffer("stopped")], 4.1)
    talk.heard(4.6, [])
    feed(talk, [began("u2")], 4.7)
    first, second = talk.turns
    assert (first.status, second.number) == ("completed", 2)
    assert second.started == pytest.approx(4.02, abs=1e-5)
    assert second.started > 4.02  # the commit's tidings came then


# --- barge-in ------------------------------------------------------------------------------------


def test_speech_during_a_reply_begins_a_turn(talk: Conversation) -> None:
    """The turn before it ends cancelled, as its sound was cleared; the answer is the new one's."""
    told(talk)
    feed(talk, [created(), buffer("started")], 4.2)
    effects = feed(talk, [began("u2"), buffer("cleared"), done(status="cancelled")], 6.0)
    assert begun(effects) == [2]
    assert overs(talk.heard(6.5, [])) == [(1, "cancelled")]
    feed(talk, [stopped("u2"), committed("u2")], 7.0)
    feed(talk, [*spoken_answer("r2", "a2"), buffer("stopped", "r2")], 7.2)
    assert overs(talk.heard(9.0, [])) == [(2, "completed")]
    assert [r.id for r in talk.turns[1].responses] == ["r2"]


def test_speech_over_the_reply_to_a_prompt_begins_a_turn(talk: Conversation) -> None:
    """A clip that was played and answered is interrupted by voice."""
    speak(talk)
    feed(talk, [*spoken_input(), created(), buffer("started")], 2.3)
    assert begun(feed(talk, [began("u2"), buffer("cleared")], 2.8)) == [2]


def test_interrupting_ends_a_turn_in_mid_speech(talk: Conversation) -> None:
    """It is cancelled, and its span is over."""
    feed(talk, [began()], 3.0)
    events = leave(talk, talk.drop_unanswered(3.5), 3.5)
    assert types(events) == ["input_audio_buffer.clear"]
    (turn,) = talk.turns
    assert (turn.status, turn.plays) == ("cancelled", {"microphone": (2.0, 3.5)})
    assert begun(feed(talk, [began("u2")], 3.6)) == [2]


CHANGED = {"audio": {"input": {"turn_detection": None}}}


@pytest.mark.parametrize(
    "tidings",
    [
        {"type": "input_audio_buffer.cleared"},
        {"type": "session.updated", "session": CHANGED},
    ],
)
def test_speech_that_the_service_forgets_ends(talk: Conversation, tidings: Json) -> None:
    """No end of it is told; the turn is over after a while, as nothing has come of it."""
    described = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
    feed(talk, [{"type": "session.created", "session": described}], 0.1)
    feed(talk, [began()], 3.0)
    feed(talk, [{"type": "session.updated", "session": described}], 3.5)
    assert talk.turns[0].voice_open
    feed(talk, [tidings], 4.0)
    assert talk.turns[0].plays == {"microphone": (2.0, 4.0)}
    assert talk.turns[0].half_said
    assert overs(talk.heard(4.1 + NO_REPLY, [])) == [(1, "no_reply")]


def test_speech_goes_on_after_it_was_forgotten(talk: Conversation) -> None:
    """The service begins to hear it anew."""
    feed(talk, [began()], 3.0)
    feed(talk, [{"type": "input_audio_buffer.cleared"}, began("u2")], 4.0)
    feed(talk, [stopped("u2"), committed("u2")], 5.0)
    assert [turn.plays for turn in talk.turns] == [{"microphone": (2.0, 5.0)}]


def test_the_end_of_the_call_ends_a_turn_in_mid_speech(talk: Conversation) -> None:
    """It fails with the call's reason."""
    feed(talk, [began()], 3.0)
    assert overs(talk.closed(5.0, "The call is over.")) == [(1, "failed")]
    assert talk.turns[0].plays == {"microphone": (2.0, 5.0)}


# --- whose speech is it? --------------------------------------------------------------------------


def test_speech_while_a_prompt_plays_is_the_prompts(talk: Conversation) -> None:
    """Also its second utterance, after a pause that was committed."""
    turn, _ = talk.begin_turn(0.0, "audio")
    talk.play_queued(turn, "play-1")
    talk.play_started("play-1", 0.0)
    assert begun(feed(talk, spoken_input(), 1.0)) == []
    assert begun(feed(talk, spoken_input("u2"), 3.0)) == []


@pytest.mark.parametrize(("at", "turns"), [(2.2, []), (2.9, []), (3.1, [2])])
def test_speech_just_after_a_prompt_is_the_prompts(
    talk: Conversation, at: float, turns: list[int]
) -> None:
    """What the service tells a second after its end is a voice's."""
    speak(talk, 0.0, 2.0)
    assert begun(feed(talk, [began()], at)) == turns


def test_speech_after_a_prompts_commit_is_a_voices(talk: Conversation) -> None:
    """However soon: the prompt is an item already."""
    speak(talk, 0.0, 2.0)
    feed(talk, spoken_input(), 2.1)
    assert begun(feed(talk, [began("u2")], 2.3)) == [2]


def test_a_commit_within_a_prompt_leaves_its_last_word_to_it(talk: Conversation) -> None:
    """A pause was committed; the word after it is told just after the clip's end."""
    turn, _ = talk.begin_turn(0.0, "audio")
    talk.play_queued(turn, "play-1")
    talk.play_started("play-1", 0.0)
    feed(talk, spoken_input(), 1.0)
    talk.play_ended("play-1", 2.0)
    assert begun(feed(talk, [began("u2")], 2.1)) == []


@pytest.mark.parametrize("queued", [2.5, 3.1])
def test_a_prompt_that_is_played_over_a_voice_has_its_utterance(
    talk: Conversation, queued: float
) -> None:
    """The service has taken both for one item; the answer is the prompt's, wherever it was queued."""
    for at in sorted([queued, 3.0]):
        if at == queued:
            prompt, _ = talk.begin_turn(at, "audio")
            talk.play_queued(prompt, "play-1")
        else:
            assert len(begun(feed(talk, [began()], at))) == 1
    talk.play_started("play-1", 3.2)
    talk.play_ended("play-1", 5.2)
    told = [stopped(), committed(), added(), *spoken_answer(), buffer("stopped")]
    effects = feed(talk, told, 5.8) + talk.heard(9.0, [])
    (voice,) = (turn for turn in talk.turns if turn is not prompt)
    assert (prompt.status, [r.id for r in prompt.responses]) == ("completed", ["r1"])
    assert (voice.plays, voice.responses) == ({"microphone": (2.0, 3.2)}, [])
    assert overs(effects) == [(voice.number, "cancelled"), (prompt.number, "completed")]


def test_a_voice_that_was_over_when_a_prompt_began_has_its_own_answer(talk: Conversation) -> None:
    """Its end is told while the prompt plays, and soon."""
    feed(talk, [began()], 3.0)
    prompt, _ = talk.begin_turn(3.1, "audio")
    talk.play_queued(prompt, "play-1")
    talk.play_started("play-1", 3.2)
    feed(talk, [stopped(), committed(), created()], 3.7)
    feed(talk, [began("u2"), buffer("cleared"), done(status="cancelled")], 4.5)
    assert [[r.id for r in turn.responses] for turn in talk.turns] == [["r1"], []]
    assert prompt.speaking


def test_speech_while_push_to_talk_is_held_is_its(talk: Conversation) -> None:
    """Tidings of before turn detection was off begin nothing."""
    turn, _ = talk.begin_turn(1.0, "push_to_talk")
    turn.plays["microphone"] = (1.0, None)
    assert begun(feed(talk, [began()], 1.1)) == []


def test_a_commit_by_hand_ends_what_push_to_talk_held(talk: Conversation) -> None:
    """What was said until the commit left is of the turn; the item is known by its commit."""
    turn, _ = talk.begin_turn(1.0, "push_to_talk")
    turn.plays["microphone"] = (1.0, None)
    for event in talk.commit_events(turn):
        feed_sent(talk, event, 3.0)
    assert turn.plays == {"microphone": (1.0, 3.0)}
    assert begun(feed(talk, [committed(), added()], 5.0)) == []
    assert turn.committed == 5.01


def feed_sent(talk: Conversation, event: Json, at: float) -> None:
    """Let an event of ours leave."""
    talk.sent(Event(json.dumps(event), time=at, direction="sent"))


def test_a_written_turn_does_not_take_a_voices_speech(talk: Conversation) -> None:
    """Speech over a reply to a text is a turn of its own."""
    turn, effects = talk.begin_turn(0.0, "text", text="Hi")
    leave(talk, effects, 0.0)
    feed(talk, [created(), buffer("started")], 1.0)
    assert begun(feed(talk, [began()], 2.0)) == [2]
    assert turn.plays == {}


# --- servers that tell less -----------------------------------------------------------------------


@pytest.mark.parametrize("told_by", [stopped, committed, added])
def test_a_turn_begins_where_speech_started_is_filtered(talk: Conversation, told_by: Any) -> None:
    """The first tidings of an utterance begin its turn, which looks back for the speech."""
    effects = feed(talk, [told_by()], 9.0)
    assert begun(effects) == [1]
    assert talk.turns[0].plays == {"microphone": (0.0, 9.0)}
    assert begun(feed(talk, [stopped(), committed(), added()], 9.1)) == []


def test_azures_filtered_events_make_spoken_turns() -> None:
    """Started, stopped, item and words come; commit and responses do not."""
    talk = Conversation(filtered=True, listening=lambda: True)
    feed(talk, [began()], 3.0)
    feed(talk, [stopped(), added(), buffer("started")], 4.0)
    feed(talk, [said("output_audio_transcript.done", "Paris."), buffer("stopped")], 5.0)
    feed(talk, [began("u2")], 5.2)
    assert overs(hear(talk, 5.2, 9.0)) == [(1, "completed")]
    assert [turn.kind for turn in talk.turns] == ["microphone", "microphone"]
    assert talk.turns[0].responses[0].transcript == "Paris."


def test_a_late_commit_of_a_prompt_is_the_prompts(talk: Conversation) -> None:
    """Where nothing else was told, e.g. by a patient turn detection."""
    turn = speak(talk, 0.0, 2.0)
    assert begun(feed(talk, [committed()], 6.0)) == []
    assert turn.committed == 6.0


def test_events_without_an_item_are_understood(talk: Conversation) -> None:
    """Two utterances without ids are two turns."""
    kinds = ("speech_started", "speech_stopped", "committed")
    events = [{"type": f"input_audio_buffer.{kind}"} for kind in kinds]
    feed(talk, [*events, *spoken_answer(), buffer("stopped")], 3.0)
    talk.heard(6.0, [])
    feed(talk, events[:1], 7.0)
    assert [turn.voice_open for turn in talk.turns] == [False, True]
    feed(talk, events[1:], 8.0)
    assert not talk.turns[1].voice_open


# --- how it looks ---------------------------------------------------------------------------------


def test_a_spoken_turn_is_told_while_it_goes_on(talk: Conversation) -> None:
    """The live line says that it listens, at the level of what is sent."""
    feed(talk, [began()], 3.0)
    seen = of_turn(talk.turns[0], 3.5, {"sent": -20.0, "heard": -60.0})
    assert (seen.what, seen.phase, seen.level) == ("microphone", "listening", -20.0)


def test_push_to_talk_is_told_while_it_is_held(talk: Conversation) -> None:
    """Also before anything is said."""
    turn, _ = talk.begin_turn(1.0, "push_to_talk")
    assert of_turn(turn, 1.5, {}).phase == "listening"


def test_a_spoken_turn_is_called_by_its_words() -> None:
    """Once they are known; a list of turns that are all called microphone tells nothing."""
    shown = dataclasses.asdict(
        TurnView(1, "completed", None, None, "microphone", None, False, "", None, 1.0)
    )
    assert TurnView(**shown).title == "microphone"
    assert TurnView(**shown | {"said": "Where is it?"}).title == "microphone: Where is it?"
    assert TurnView(**shown | {"said": "Hi", "name": "hi.wav"}).title == "hi.wav"
