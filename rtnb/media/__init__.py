"""The media wing: tracks, codec, capture, one call, and the process that holds calls.

It imports floors 0 to 2 only, and knows neither keys nor HTTP nor turns.
"""

from __future__ import annotations

__all__: list[str] = []
