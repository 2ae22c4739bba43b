"""Rules for a turn to which the service made no response; they must not know a turn or a call."""

from __future__ import annotations

from typing import Final

from rtnb.causes import Finding, Rule
from rtnb.symptoms import Spoken, Symptoms

__all__ = ["PATIENCE", "UNANSWERED", "ends_in_speech"]

_SILENT: Final = -80.0  # dBFS peak; below it there is nothing but dither
_QUIET: Final = -42.0  # dBFS of the loudest 20 ms; below it no service is sure of speech
_SHORT: Final = 0.25  # seconds of sound; below it no service is sure of speech
_OVERDRIVEN: Final = 0.01  # of all samples
PATIENCE: Final = 2.0  # seconds after a prompt in which the want of an event says nothing


def ends_in_speech(seen: Symptoms) -> Finding | None:
    """Tell whether turn detection heard speech begin and not end, and why."""
    began = len(seen.received("input_audio_buffer.speech_started"))
    ended = len(seen.received("input_audio_buffer.speech_stopped"))
    committed = len(seen.received("input_audio_buffer.committed"))
    end = None if seen.prompt is None else seen.prompt.speech_end
    if began <= max(ended, committed) or seen.responses or seen.play_started is None:
        return None
    if seen.play_ended is None and seen.ending:
        return None  # the call's end came in the midst of the prompt
    followed = 0.0 if end is None else max(seen.until - end, 0.0)
    if not seen.over and followed < (seen.silence or 0.0) + PATIENCE:
        return None
    waits = "" if seen.silence is None else f", and it waits for {seen.silence:.2f} s of silence"
    heard = "Turn detection heard speech begin and not end (no `speech_stopped`)"
    if seen.ending:
        why = f"only {followed:.2f} s followed the last sound when the call was over{waits}"
        do = "Keep the call open until the reply has come: `session.ask` waits for it."
    elif seen.silence is not None and followed < seen.silence:
        why = f"{followed:.2f} s followed the last sound{waits}"
        do = "Lower `silence_duration_ms` in `turn_detection`."
    else:
        why = f"{followed:.2f} s followed the last sound that was sent, probably not silent enough"
        do = (
            "Add silence with `clip + rtnb.Clip.silence(1.0)` (`trailing_silence=` of a "
            "`rtnb.FileTrack`), take noise or music off the prompt's end, or commit by hand with "
            "`session.push_to_talk()`."
        )
    return Finding("no_trailing_silence", f"{heard}: {why}. {do}")


def _held(seen: Symptoms) -> Finding | None:
    if not seen.holding or seen.over:
        return None
    return Finding(
        "held_open",
        "Push-to-talk is held: the commit and the request for a response leave when the `with` "
        "block ends.",
    )


def _waits(seen: Symptoms) -> bool:
    """Return whether nothing has come of a spoken prompt, and it is time that it had."""
    if seen.prompt is None or seen.responses or seen.play_started is None or seen.holding:
        return False
    if seen.play_ended is None or seen.error is not None or seen.status == "cancelled":
        return False
    return seen.over or seen.now - seen.play_ended > PATIENCE + (seen.silence or 0.0)


def _by_hand(seen: Symptoms) -> Finding | None:
    if not _waits(seen) or seen.detection is not None:
        return None
    asked = seen.sent("response.create")
    if seen.sent("input_audio_buffer.commit") or seen.received("input_audio_buffer.committed"):
        if asked:
            return None
        return Finding(
            "no_request",
            "Turn detection is off and the prompt was committed, but no `response.create` was sent. "
            'Send one with `session.send_event({"type": "response.create"})`.',
        )
    return Finding(
        "no_commit",
        "Turn detection is off, and nothing was committed. Turn it on "
        '(`session.update({"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})`), or '
        "say it with `session.push_to_talk()`, which commits and asks for a response.",
    )


def _no_create(seen: Symptoms) -> Finding | None:
    if not _waits(seen) or (seen.detection or {}).get("create_response") is not False:
        return None
    if seen.sent("response.create") or not seen.received("input_audio_buffer.committed"):
        return None
    return Finding(
        "create_response_off",
        "The prompt was heard and committed, but `create_response` is false in `turn_detection` and "
        "no `response.create` was sent. Leave that setting out, or send "
        '`session.send_event({"type": "response.create"})`.',
    )


def _sounds(seen: Symptoms) -> list[Finding]:
    """Tell what is wrong with the sound of a prompt that was not taken for speech."""
    sound = seen.prompt or Spoken()
    told = "turn detection heard no speech (no `speech_started`)"
    if sound.peak < _SILENT:
        do = "Check the file, or the microphone: `clip.plot()` shows it."
        return [Finding("silent_prompt", f"The prompt is {_silence(sound)}, so {told}. {do}")]
    found = []
    if sound.loudest < _QUIET:
        do = "Record it louder, or raise it: `rtnb.Clip(clip.samples * 10, clip.sample_rate)`."
        text = f"The prompt's peak is {sound.peak:.0f} dBFS, its loudest 20 ms have "
        text += f"{sound.loudest:.0f} dBFS, and {told}: it is too quiet. {do}"
        found.append(Finding("too_quiet", text))
    if 0 < sound.speech < _SHORT:
        do = "Say at least half a second; for less, commit by hand with `session.push_to_talk()`."
        text = f"The prompt has {sound.speech:.2f} s of sound, and {told}: it is too short. {do}"
        found.append(Finding("too_short", text))
    if sound.clipped >= _OVERDRIVEN:
        do = "Record it with less gain; once clipped, it stays so."
        text = (
            f"{sound.clipped:.0%} of the prompt's samples are at full scale, and {told}: probably "
        )
        text += f"it is too distorted to be taken for speech. {do}"
        found.append(Finding("clipped", text))
    return found


def _silence(sound: Spoken) -> str:
    return f"{sound.duration:.2f} s of silence (peak {sound.peak:.0f} dBFS)"


def _unheard(seen: Symptoms) -> bool:
    heard = ("speech_started", "speech_stopped", "committed")
    asked = seen.sent("input_audio_buffer.commit")
    came = any(seen.received(f"input_audio_buffer.{one}") for one in heard)
    return _waits(seen) and seen.detection is not None and not came and not asked


def _sound_rule(at: int) -> Rule:
    def rule(seen: Symptoms) -> Finding | None:
        found = _sounds(seen) if _unheard(seen) else []
        return found[at] if len(found) > at else None

    return rule


def _not_heard(seen: Symptoms) -> Finding | None:
    if not _unheard(seen) or _sounds(seen):
        return None
    q, sound = seen.quality, seen.prompt or Spoken()
    why = f"The prompt is audible ({sound}), and turn detection heard no speech; {seen.packets}."
    if q.packets_sent and not q.packets_received:
        do = "Probably UDP is blocked since the call began: try another network."
    else:
        do = (
            "Probably it is not taken for speech (a tone, music, noise), `threshold` in "
            "`turn_detection` is too high, or its packets were lost on the way; "
            "`session.push_to_talk()` commits it by hand."
        )
    return Finding("not_heard", f"{why} {do}")


def _no_response(seen: Symptoms) -> Finding | None:
    asked = seen.sent("response.create")
    committed = seen.received("input_audio_buffer.committed")
    if not seen.told:  # the server does not pass that event on
        committed = seen.received("input_audio_buffer.speech_stopped")
    if seen.responses or seen.error or seen.status in ("cancelled", "in_progress"):
        return None
    if not asked and (not committed or seen.detection is None):
        return None
    if not asked and (seen.detection or {}).get("create_response") is False:
        return None
    how = "asked for with `response.create`" if asked else "due, as the prompt was heard"
    since = asked[-1].time if asked else committed[-1].time
    return Finding(
        "no_response",
        f"A response was {how}, and the service began none within {seen.until - since:.1f} s and "
        "gave no reason. Probably the service is overloaded; try again.",
    )


UNANSWERED: Final[tuple[Rule, ...]] = (
    *(_held, _by_hand, _no_create),
    *(_sound_rule(0), _sound_rule(1), _sound_rule(2), _not_heard, _no_response),
)
"""The most decisive first."""
