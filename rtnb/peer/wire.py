"""JSON as it comes from a client and goes to one; it must not know what an event means."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from rtnb.dialects import Json

__all__ = ["parsed", "written"]

_DEEPEST: Final = 100  # levels; nothing in the API needs a tenth of it


def parsed(text: str | bytes) -> Json | None:
    """Return the object that a text is, or None: no JSON, no object, nested too deeply, or NaN."""
    try:
        value = json.loads(text, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _too_deep(value) else None


def written(event: Json) -> str:
    """Return an object as a text that can be sent as UTF-8, half surrogate pairs included."""
    text = json.dumps(event, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(event)
    return text


def _refused(constant: str) -> Any:
    raise ValueError(constant)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [v for values in inner for v in values if isinstance(v, dict | list)]
        if not level:
            return False
    return True
