"""The peer wing: a realtime server on this machine, in a process of its own.

It imports floors 0 to 2 and, of the media wing, the hooks, the codec and the tracks. Importing it
costs nothing: `voices` is loaded when it is first used.
"""

from __future__ import annotations

import typing

from rtnb.peer.faults import Faults, Network

if typing.TYPE_CHECKING:
    from rtnb.peer import voices as voices

__all__ = ["Faults", "Network"]


def __getattr__(name: str) -> typing.Any:
    import importlib

    if name == "voices":
        return importlib.import_module("rtnb.peer.voices")
    raise AttributeError(f"module 'rtnb.peer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "voices"})
