"""The console in a cell: widgets that drive a `Session`; it must not know media or HTTP."""

from __future__ import annotations

__all__: list[str] = []
