"""rtnb: a lab for realtime voice in Jupyter and Colab.

Every public name is here and is loaded when it is first used (PEP 562): ``import rtnb`` itself
imports nothing heavy.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from rtnb.audio import Clip as Clip
    from rtnb.batch import replay as replay
    from rtnb.connecting import connect as connect
    from rtnb.errors import *  # noqa: F403
    from rtnb.events import Event as Event
    from rtnb.events import EventLog as EventLog
    from rtnb.explaining import Explanation as Explanation
    from rtnb.explaining import explain as explain
    from rtnb.inspector import EventInspector as EventInspector
    from rtnb.media.aiortc_hooks import loopback_only as loopback_only
    from rtnb.media.recorder import Recorder as Recorder
    from rtnb.media.tracks import FileTrack as FileTrack
    from rtnb.media.tracks import PromptTrack as PromptTrack
    from rtnb.media.tracks import SilentTrack as SilentTrack
    from rtnb.microphone import Microphone as Microphone
    from rtnb.panel.console import Panel as Panel
    from rtnb.peer.handle import Peer as Peer
    from rtnb.prompts import sample as sample
    from rtnb.prompts import sample_text as sample_text
    from rtnb.prompts import samples as samples
    from rtnb.registry import live as sessions  # noqa: F401
    from rtnb.runs import Run as Run
    from rtnb.runs import open_run as open_run
    from rtnb.runs import recent_runs as recent_runs
    from rtnb.serve import TokenServer as TokenServer
    from rtnb.session import Session as Session
    from rtnb.signaling import Endpoint as Endpoint
    from rtnb.signaling import EphemeralKey as EphemeralKey
    from rtnb.speaker import Speaker as Speaker
    from rtnb.tools import Tool as Tool
    from rtnb.turnlist import Turns as Turns
    from rtnb.turns import Turn as Turn

# public name -> (module, name there)
_PUBLIC: typing.Final = {
    "Clip": ("rtnb.audio", "Clip"),
    "Endpoint": ("rtnb.signaling", "Endpoint"),
    "EphemeralKey": ("rtnb.signaling", "EphemeralKey"),
    "Event": ("rtnb.events", "Event"),
    "EventInspector": ("rtnb.inspector", "EventInspector"),
    "EventLog": ("rtnb.events", "EventLog"),
    "Explanation": ("rtnb.explaining", "Explanation"),
    "FileTrack": ("rtnb.media.tracks", "FileTrack"),
    "Microphone": ("rtnb.microphone", "Microphone"),
    "Panel": ("rtnb.panel.console", "Panel"),
    "Peer": ("rtnb.peer.handle", "Peer"),
    "PromptTrack": ("rtnb.media.tracks", "PromptTrack"),
    "Recorder": ("rtnb.media.recorder", "Recorder"),
    "Run": ("rtnb.runs", "Run"),
    "Session": ("rtnb.session", "Session"),
    "SilentTrack": ("rtnb.media.tracks", "SilentTrack"),
    "Speaker": ("rtnb.speaker", "Speaker"),
    "TokenServer": ("rtnb.serve", "TokenServer"),
    "Tool": ("rtnb.tools", "Tool"),
    "Turn": ("rtnb.turns", "Turn"),
    "Turns": ("rtnb.turnlist", "Turns"),
    "connect": ("rtnb.connecting", "connect"),
    "explain": ("rtnb.explaining", "explain"),
    "loopback_only": ("rtnb.media.aiortc_hooks", "loopback_only"),
    "open_run": ("rtnb.runs", "open_run"),
    "recent_runs": ("rtnb.runs", "recent_runs"),
    "replay": ("rtnb.batch", "replay"),
    "sample": ("rtnb.prompts", "sample"),
    "sample_text": ("rtnb.prompts", "sample_text"),
    "samples": ("rtnb.prompts", "samples"),
    "sessions": ("rtnb.registry", "live"),
} | {
    name: ("rtnb.errors", name)
    for name in (
        *("AnswerError", "AudioError", "AuthenticationError", "CallClosedError", "CallError"),
        *("ChannelTimeoutError", "ConfigurationError", "DialectError", "ExpiredKeyError"),
        *("MediaProcessError", "MissingKeyError", "ModelError", "OfferRefusedError", "QuotaError"),
        *("RtnbError", "RunError", "ServiceError", "SignalingError", "ToolError", "TurnTimeout"),
        *("TurnTimeoutError", "UdpBlockedError", "UnreachableError"),
    )
}
_MODULES: typing.Final = frozenset(
    {"errors", "measure", "peer", "plots", "prices", "voiceactivity"}
)

__version__ = "0.1.0"
__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> typing.Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"rtnb.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rtnb' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
