"""What stays of a panel's call in a saved notebook, where widgets need a kernel; it knows no widget."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from rtnb._notebook import kernel_publish
from rtnb.session import Session

__all__ = ["Record"]

_VIEW: Final = "application/vnd.jupyter.widget-view+json"


class Record:
    """A second output of the panel's cell: the call as HTML, folded away, once it is over.

    JupyterLab shows no widget of a saved notebook that has no kernel.
    """

    def __init__(self) -> None:
        self._publish: Callable[..., Any] | None = None
        self._id = uuid.uuid4().hex
        self._kept: object = None

    def display(self, model_id: str, plain: str) -> None:
        """Show a widget in the running cell, and make room for the record beneath it."""
        self._publish = kernel_publish()
        if self._publish is None:
            return
        view = {"version_major": 2, "version_minor": 0, "model_id": model_id}
        self._publish({"text/plain": plain, _VIEW: view}, {})
        self._kept = None
        self._show("", "", update=False)

    def keep(self, session: Session) -> None:
        """Show a call that is over, once; from any thread, since the display is named."""
        if self._publish is None or self._kept is session:
            return
        self._kept = session
        body = f"{session._repr_html_()}{session.events._repr_html_()}"
        summary = "<summary>Record of the call, for a notebook without a kernel</summary>"
        plain = f"{session!r}\n{session.turns!r}\n{session.events!r}"
        self._show(f"<details>{summary}{body}</details>", plain, update=True)

    def _show(self, html: str, plain: str, *, update: bool) -> None:
        assert self._publish is not None
        data = {"text/plain": plain, "text/html": html}
        self._publish(data, {}, transient={"display_id": self._id}, update=update)
