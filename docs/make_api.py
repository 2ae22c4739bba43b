"""Writes docs/api.md: every public name with the first line of its docstring.

Run it as ``python docs/make_api.py``; a test fails when the file is not what it would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import rtnb
from rtnb.batch import Batch
from rtnb.latencies import Latencies
from rtnb.measure import Latency
from rtnb.peer import voices
from rtnb.peer.faults import Faults, Network
from rtnb.peer.peerlog import PeerCall, PeerEvent, PeerLog
from rtnb.quality import CallQuality

HEAD = """# Public names

Made by `python docs/make_api.py`; `help(rtnb.NAME)` shows one whole, with shapes, units and errors.

| name | what it is |
|---|---|
"""
CLASSES = ("Session", "Turn", "Turns", "EventLog", "Clip", "Peer", "Endpoint")
VALUES = {
    "peer.Faults": Faults,
    "peer.Network": Network,
    "peer.peerlog.PeerLog": PeerLog,
    "peer.peerlog.PeerCall": PeerCall,
    "peer.peerlog.PeerEvent": PeerEvent,
}
MODULES = {
    "errors": "The exceptions, one tree; see [errors.md](errors.md).",
    "measure": "Numbers from arrays: where speech begins and ends, when a reply is audible.",
    "peer": "What a `Peer` is given: `Faults`, `Network`, and `voices`; see [peer.md](peer.md).",
    "plots": "`waveform`, `spectrogram`, `level`, `events`, `timeline`, `latency` and `network`, drawn "
    "on matplotlib axes.",
    "prices": "What a model's tokens cost, by date: `PRICES`, `price_of`, `cost_of`, `add`; see "
    "[prices.md](prices.md).",
    "testing": 'pytest fixtures, by `pytest_plugins = ["rtnb.testing"]`: `realtime_peer`, '
    "`realtime_peer_factory`.",
    "voiceactivity": "Who spoke when, from samples alone: `voice_activity`; see "
    "[measuring.md](measuring.md).",
}


def text() -> str:
    """Return the whole file."""
    rows = [
        f"| `rtnb.{name}` | {_summary(getattr(rtnb, name))} |"
        for name in rtnb.__all__
        if name[0] != "_"
    ]
    rows += [f"| `rtnb.{name}` | {said} |" for name, said in MODULES.items()]
    return (
        HEAD
        + "\n".join(rows)
        + "\n"
        + "".join(_members(name, getattr(rtnb, name)) for name in CLASSES)
        + _members("batch.Batch", Batch)
        + _members("measure.Latency", Latency)
        + _members("latencies.Latencies", Latencies)
        + _members("quality.CallQuality", CallQuality)
        + _peer()
    )


def _peer() -> str:
    """Return what stands on `rtnb.peer`: its values, whole, and the names of its voices."""
    rows = [
        f"| `{name}` | {_summary(getattr(voices, name))} |"
        for name in voices.__all__
        if inspect.isclass(getattr(voices, name))
    ]
    table = "\n## `rtnb.peer.voices`\n\n" + _summary(voices)
    table += "\n\n| name | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"
    return table + "".join(_values(name, cls) for name, cls in VALUES.items())


def _values(name: str, cls: type) -> str:
    """Return a section on a class whose attributes are all that there is of it."""
    return f"\n## `rtnb.{name}`\n\n{_summary(cls)}\n" + _attributes(cls)


def _attributes(cls: type) -> str:
    """Return the attributes that the docstring of a class names, as one line."""
    section = (inspect.getdoc(cls) or "").partition("\nAttributes\n----------\n")[2]
    lines = section.partition("\n\n")[0].splitlines()
    named = [line.partition(" : ") for line in lines if line and line[0] != " "]
    if not named:
        return ""
    return "\nAttributes: " + "; ".join(f"`{name}` ({kind})" for name, _, kind in named) + ".\n"


def _summary(value: object) -> str:
    lines = (inspect.getdoc(value) or "").splitlines()
    return lines[0].replace("|", "\\|") if lines else ""


def _members(name: str, cls: type) -> str:
    rows = []
    for member in sorted(dir(cls)):
        value = inspect.getattr_static(cls, member)
        if hasattr(list, member):  # a list of turns does what every list does
            continue
        shown = callable(value) or isinstance(value, property | classmethod)
        if member.startswith("_") or not shown:
            continue
        summary = _summary(getattr(cls, member) if isinstance(value, classmethod) else value)
        rows.append(f"| `.{member}` | {summary} |")
    head = f"\n## `rtnb.{name}`\n\n{_summary(cls)}\n" + _attributes(cls)
    return head + "\n| member | what it is |\n|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(text(), encoding="utf-8")
