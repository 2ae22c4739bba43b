"""The list of a panel's turns that are over, the newest on top; it must not know what is running."""

from __future__ import annotations

from typing import Any, Final

import ipywidgets as widgets

from rtnb import _html
from rtnb.panel import views
from rtnb.session import Session
from rtnb.turnview import turn_body

__all__ = ["TurnBoxes"]

_TURNS: Final = 20  # turns in the list


class TurnBoxes(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A box for each of the newest turns of a session."""

    children: Any

    def __init__(self) -> None:
        # a box that is put in front of others would make them anew
        super().__init__([], layout=widgets.Layout(flex_flow="column-reverse"))
        self._finished = 0  # turns that are in the list, or too old for it

    def begin(self, session: Session) -> None:
        """Forget what is listed, since another session is shown."""
        self._finished = max(len(session.turns) - _TURNS, 0)
        gone, self.children = self.children, ()
        for box in gone:
            box.close()

    def add(self, session: Session) -> None:
        """Add what is over to the list; only the newest keep their players."""
        while self._finished < len(session.turns):
            turn = session.turns[self._finished]
            if turn.status == "in_progress":
                return
            box = widgets.HTML(views.framed(turn_body(turn._view(compact=True))))
            self.children = (*self.children, box)
            if len(self.children) > _TURNS:
                before = session.turns[self._finished - _TURNS]
                line = _html.text(repr(before).strip("<>"))
                self.children[-_TURNS - 1].value = views.framed(f"<p>{line}</p>")
            self._finished += 1
