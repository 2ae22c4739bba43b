"""Drawing on matplotlib axes, in parts; `rtnb.plots` is the way in, and nothing here measures."""

from __future__ import annotations

__all__: list[str] = []
