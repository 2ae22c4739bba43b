"""The session object: its defaults, and changes to it; it must not know calls.

Kept and shown, but without effect on what the peer itself does: instructions (a voice may follow
them), noise_reduction, truncation, tracing, prompt, reasoning, MCP tools, and what guides a
transcription.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from rtnb.dialects import Json, merged, object_at
from rtnb.peer import sessionchecks
from rtnb.peer.checks import Fields, Problem, check_object, is_a, missing
from rtnb.peer.sessionchecks import WHISPER, check_transcription

__all__ = [
    "BETA_TEMPERATURE",
    "Problem",
    "changed",
    "default_session",
    "known_model",
    "response_settings",
]

_DEFAULT_MODEL: Final = "gpt-realtime-2.1"
BETA_TEMPERATURE: Final = 0.8  # a session that has one is of the old dialect
_MODELS: Final = ("gpt-realtime", "gpt-4o-realtime", "gpt-4o-mini-realtime")
_NO_SPEECH: Final = ("gpt-realtime-whisper", "gpt-realtime-translate")  # no models to talk to
_PCM: Final = {"type": "audio/pcm", "rate": 24000}
_SWITCHES: Final[Json] = {"create_response": True, "interrupt_response": True}
_SERVER_VAD: Final[Json] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}
_SEMANTIC_VAD: Final[Json] = {"type": "semantic_vad", "eagerness": "auto"}
_TURN_DETECTION: Final[dict[str, dict[str, Json]]] = {
    "realtime": {
        "server_vad": {**_SERVER_VAD, "idle_timeout_ms": None, **_SWITCHES},
        "semantic_vad": {**_SEMANTIC_VAD, **_SWITCHES},
    },
    "transcription": {"server_vad": _SERVER_VAD, "semantic_vad": _SEMANTIC_VAD},
}
_READ_ONLY: Final = ("id", "object", "expires_at")  # what the server says may be sent back
_RESPONSE_ONLY: Final = ("conversation", "input", "metadata")


def known_model(model: object) -> bool:
    """Whether this peer takes a call for that model."""
    is_name = isinstance(model, str) and model.startswith(_MODELS)
    return is_name and not str(model).startswith(_NO_SPEECH)


def default_session(session_id: str) -> Json:
    """Return the session as it is before anybody changed it."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": _DEFAULT_MODEL,
        "output_modalities": ["audio"],
        "instructions": "This peer does not follow instructions; it answers by rote.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": 0,
        "audio": {
            "input": _default_input("realtime"),
            "output": {"format": dict(_PCM), "voice": "marin", "speed": 1.0},
        },
        "include": None,
    }


def _default_input(kind: str) -> Json:
    return {
        "format": dict(_PCM),
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": dict(_TURN_DETECTION[kind]["server_vad"]),
    }


def _only_transcribing(session: Json) -> Json:
    """Return the default of a session that answers nothing, instead of one that would."""
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session["id"],
        "expires_at": session["expires_at"],
        "audio": {"input": _default_input("transcription")},
        "include": None,
    }


def changed(
    session: Json,
    change: object,
    *,
    spoken: bool = False,
    started: bool = True,
    responding: bool = False,
) -> Json:
    """Return the session with a change laid over it.

    Parameters
    ----------
    session
        As it is now.
    change
        The ``session`` of a session.update, a mint or a call.
    spoken
        Audio has been sent, so that the voice is fixed.
    started
        The session runs, so that its type, model and tracing are fixed.
    responding
        A response is in progress, so that the speed is fixed for the moment.

    Raises
    ------
    Problem
        Something in the change is not permitted; then nothing is changed.
    """
    is_a(dict)(change, "session")
    assert isinstance(change, dict)
    if "type" not in change:
        raise missing("session.type")
    if not started and change["type"] == "transcription" and session["type"] == "realtime":
        session = _only_transcribing(session)
    if change["type"] != session["type"]:
        given = str(change["type"])[:100]
        message = f"Passing a {given} session to a {session['type']} session is not allowed."
        raise Problem(message, "session.type")
    change = {k: v for k, v in change.items() if k not in _READ_ONLY}
    change = _with_kind_of_turn_detection(session, change)
    check_object(change, _fields(session), "session")
    out = _laid_over(session, change)
    if started:
        _check_fixed(session, out, spoken=spoken, responding=responding)
    _check_whole(out, change, "session")
    return out


def response_settings(session: Json, change: object, *, spoken: bool = False) -> Json:
    """Return the session as one response sees it, with what response.create asks for instead.

    Parameters
    ----------
    session
        As it is now.
    change
        The ``response`` of a response.create, or None.
    spoken
        Audio has been sent, so that the voice is fixed.

    Raises
    ------
    Problem
        Something in it is not permitted.
    """
    if session["type"] != "realtime":
        raise Problem("A transcription session creates no responses.", "type")
    change = {} if change is None else change
    is_a(dict)(change, "response")
    assert isinstance(change, dict)
    beta = sessionchecks.BETA if "temperature" in session else {}
    check_object(change, {**sessionchecks.RESPONSE, **beta}, "response")
    inner = {k: v for k, v in change.items() if k not in _RESPONSE_ONLY}
    out = _laid_over(session, inner)
    if spoken:
        _check_voice(session, out, "response")
    _check_tool_choice(out, inner, "response")
    return out | {k: change.get(k) for k in _RESPONSE_ONLY}


def _fields(session: Json) -> Fields:
    if session["type"] == "transcription":
        return sessionchecks.TRANSCRIPTION
    beta = sessionchecks.BETA if "temperature" in session else {}
    return {**sessionchecks.REALTIME, **beta}


# --- laying over ---------------------------------------------------------------------------------


def _laid_over(session: Json, change: Json) -> Json:
    """Return the session changed, where new values of some keys are no changes of the old ones."""
    out = merged(session, change)
    for key in ("tool_choice", "truncation", "tracing", "prompt"):
        if key in change:
            out[key] = deepcopy(change[key])
    asked, now = object_at(change, "audio", "output"), object_at(session, "audio", "input")
    for key in ("voice", "format"):
        if key in asked:
            out["audio"]["output"][key] = deepcopy(asked[key])
    asked = object_at(change, "audio", "input")
    whole = {"turn_detection": _turn_detection, "transcription": _transcription}
    for key, wanted in asked.items():
        if key == "format" or wanted is None:
            out["audio"]["input"][key] = deepcopy(wanted)
        elif key == "noise_reduction":
            out["audio"]["input"][key] = {"strength": 1.0, **(now[key] or {}), **wanted}
        else:
            out["audio"]["input"][key] = whole[key](session, deepcopy(wanted))
    for side in out["audio"].values():
        if side["format"]["type"] == "audio/pcm":
            side["format"].setdefault("rate", _PCM["rate"])
    return out


def _with_kind_of_turn_detection(session: Json, change: Json) -> Json:
    """Name the current kind where a change of the turn detection does not say which it is."""
    found: Any = change
    for key in ("audio", "input", "turn_detection"):
        found = found.get(key) if isinstance(found, dict) else None
    current = session["audio"]["input"]["turn_detection"]
    if not isinstance(found, dict) or "type" in found or current is None:
        return change
    out = deepcopy(change)
    out["audio"]["input"]["turn_detection"]["type"] = current["type"]
    return out


def _turn_detection(session: Json, wanted: Json) -> Json:
    """Fill a turn detection of a new kind with the defaults of that kind."""
    current = session["audio"]["input"]["turn_detection"] or {}
    kind = wanted.get("type", "server_vad")
    same = current.get("type") == kind
    base: Json = current if same else _TURN_DETECTION[session["type"]][kind]
    return base | wanted | {"type": kind}


def _transcription(session: Json, wanted: Json) -> Json:
    """Keep what was set for the same model; another one begins anew."""
    current: Json = session["audio"]["input"]["transcription"] or {}
    same = wanted.get("model", current.get("model")) == current.get("model")
    return current | wanted if same else wanted


# --- what depends on something else --------------------------------------------------------------


def _check_fixed(session: Json, out: Json, *, spoken: bool, responding: bool) -> None:
    """Check that nothing changes that is fixed by now."""
    if session["type"] != "realtime":
        return
    if out["model"] != session["model"]:
        raise Problem("The model of a running session cannot be changed.", "session.model")
    if session["tracing"] is not None and out["tracing"] != session["tracing"]:
        raise Problem("Tracing cannot be changed once it is enabled.", "session.tracing")
    if spoken:
        _check_voice(session, out, "session")
    speeds = [s["audio"]["output"]["speed"] for s in (session, out)]
    if responding and speeds[0] != speeds[1]:
        message = "The speed cannot be changed while a response is in progress."
        raise Problem(message, "session.audio.output.speed")


def _check_voice(session: Json, out: Json, where: str) -> None:
    if out["audio"]["output"]["voice"] != session["audio"]["output"]["voice"]:
        raise Problem(
            "Cannot update a conversation's voice if assistant audio is present.",
            f"{where}.audio.output.voice",
            "cannot_update_voice",
        )


def _check_whole(out: Json, change: Json, where: str) -> None:
    """Check what can only be told from the whole session."""
    given, path = out["audio"]["input"], f"{where}.audio.input"
    asked = object_at(change, "audio", "input")
    setting = given["transcription"]
    if setting is not None and "transcription" in asked:
        clone = "model" in out and not known_model(out["model"])
        check_transcription(setting, f"{path}.transcription", any_model=clone)
    if given["noise_reduction"] is not None and "type" not in given["noise_reduction"]:
        raise missing(f"{path}.noise_reduction.type")
    if out["type"] == "realtime":
        _check_tool_choice(out, change, where)
    elif str((setting or {}).get("model")).startswith(WHISPER) and given["turn_detection"]:
        message = f"{WHISPER} detects no turns: turn_detection must be null."
        raise Problem(message, f"{path}.turn_detection")


def _check_tool_choice(out: Json, change: Json, where: str) -> None:
    """Check that the tool that must be called is there, if either was just given."""
    choice = out["tool_choice"]
    if not isinstance(choice, dict) or not {"tools", "tool_choice"} & set(change):
        return
    key = "name" if choice["type"] == "function" else "server_label"
    if not any(t["type"] == choice["type"] and t[key] == choice[key] for t in out["tools"]):
        message = f"Tool choice {choice[key]!r} not found in 'tools'."
        raise Problem(message, f"{where}.tool_choice")
