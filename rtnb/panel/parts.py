"""Small things to do with widgets, which any panel needs; they know nothing of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ipywidgets as widgets

__all__ = ["button", "dispose", "tree"]


def tree(root: widgets.Widget) -> Iterator[widgets.Widget]:
    """Yield a widget and all that it shows."""
    yield root
    for child in getattr(root, "children", ()):
        yield from tree(child)


def dispose(root: widgets.Widget) -> None:
    """Close a widget and all that it shows, so that kernel and notebook forget them."""
    for one in list(tree(root)):
        for part in (getattr(one, "style", None), getattr(one, "layout", None)):
            if isinstance(part, widgets.Widget):
                part.close()
        widgets.Widget.close(one)


def button(name: str, tooltip: str, style: str, on_click: Any) -> widgets.Button:
    """Return a button that is as wide as its name and calls `on_click` with itself."""
    layout = widgets.Layout(width="auto", min_width="84px")
    made = widgets.Button(description=name, tooltip=tooltip, button_style=style, layout=layout)
    made.on_click(on_click)
    return made
