"""What the tests of a panel's parts share: keys, waiting, saved state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

KEY = "sk-test-only-0123456789abcdef"
ODD_KEY = "only-this-server-knows-0123456789"  # no pattern catches it
ELSEWHERE = "https://example.org/v1"


def until(fact: Callable[[], Any], within: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.005)


def state_of(*widgets: Any) -> str:
    """Return everything of the state of widgets, as a saved notebook would hold it."""
    return "\n".join(str(widget.get_state()) for widget in widgets)
