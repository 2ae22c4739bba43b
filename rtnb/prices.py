"""Dated prices of models, and what a usage object costs by them; it must not know a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["cost_of"]


def cost_of(usage: Mapping[str, Any], model: str | None) -> float | None:
    """Return what a usage object costs, in USD; None where the model has no price here."""
    return None
