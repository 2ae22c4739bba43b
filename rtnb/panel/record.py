"""What stays of a panel's call in a saved notebook, where widgets need a kernel; it knows no widget."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from rtnb._notebook import kernel_publish
from rtnb.session import Session

__all__ = ["Record"]

_CALLS: Final = 3  # calls that are kept
_TURNS: Final = 50  # turns of each, in the text
_EVENTS: Final = 500  # events of each
_VIEW: Final = "application/vnd.jupyter.widget-view+json"


class Record:
    """A second output of the panel's cell: its last calls as HTML, folded away, once they are over.

    JupyterLab shows no widget of a saved notebook that has no kernel.
    """

    def __init__(self) -> None:
        self._publish: Callable[..., Any] | None = None
        self._id = uuid.uuid4().hex
        self._kept: list[Session] = []
        self._parts: deque[tuple[str, str]] = deque(maxlen=_CALLS)

    def display(self, model_id: str, plain: str) -> None:
        """Show a widget in the running cell, and make room for the record beneath it.

        Raises
        ------
        NotImplementedError
            No kernel runs; IPython shows the text then.
        """
        self._publish = kernel_publish()
        if self._publish is None:
            raise NotImplementedError
        view = {"version_major": 2, "version_minor": 0, "model_id": model_id}
        self._publish({"text/plain": plain, _VIEW: view}, {})
        self._show(update=False)

    def keep(self, session: Session) -> None:
        """Show a call that is over, once; from any thread, since the display is named."""
        if any(one is session for one in self._kept):
            return
        self._kept = [*self._kept[-_CALLS:], session]
        turns = session.turns[-_TURNS:]
        events = session.events[-_EVENTS:]
        body = f"{session._repr_html_()}{events._repr_html_()}"
        summary = "<summary>Record of the call, for a notebook without a kernel</summary>"
        html = f"<details>{summary}{body}</details>"
        self._parts.append((html, f"{session!r}\n{turns!r}\n{events!r}"))
        if self._publish is not None:
            self._show(update=True)

    def _show(self, *, update: bool) -> None:
        assert self._publish is not None
        html, plain = ("".join(part[i] for part in self._parts) for i in range(2))
        data = {"text/plain": plain, "text/html": html}
        self._publish(data, {}, transient={"display_id": self._id}, update=update)
