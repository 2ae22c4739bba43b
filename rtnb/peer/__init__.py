"""The peer wing: a realtime server on this machine, in a process of its own.

It imports floors 0 to 2 and, of the media wing, the hooks, the codec and the tracks.
"""

from __future__ import annotations

__all__: list[str] = []
