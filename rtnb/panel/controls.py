"""Two controls that ipywidgets lacks, a key field and a button to hold; they know no session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from rtnb._masking import Secret

__all__ = ["HoldButton", "KeyField"]

_STATIC: Final = Path(__file__).parents[1] / "_static"
_LONGEST_KEY: Final = 4096  # characters


class KeyField(anywidget.AnyWidget):
    """A password field whose value is no trait, so no notebook can be saved with it.

    What was typed comes in a message when the field is left, and waits as a `Secret` until `take`.

    Parameters
    ----------
    tell
        Takes a sentence about a key that cannot be one.
    **kwargs
        Values of its traits.
    """

    _esm = (_STATIC / "keyfield.js").read_text(encoding="utf-8")
    held = traitlets.Bool(False).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    hint = traitlets.Unicode("").tag(sync=True)

    def __init__(self, tell: Callable[[str], None] = lambda sentence: None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._secret: Secret | None = None
        self._tell = tell
        self.on_msg(self._on_message)

    def _on_message(self, _: object, content: Any, buffers: object) -> None:
        if not isinstance(content, dict) or content.get("kind") != "key":
            return
        value = content.get("value")
        if not isinstance(value, str):
            return
        if len(value) > _LONGEST_KEY:
            self._tell(f"This is no key: it has more than {_LONGEST_KEY} characters.")
            value = ""
        self._secret = Secret(value.strip()) if value.strip() else None
        self.held = self._secret is not None

    def take(self) -> Secret | None:
        """Return what was typed, and forget it."""
        secret, self._secret = self._secret, None
        self.held = False
        return secret

    def __repr__(self) -> str:
        return f"<KeyField {'holds a key' if self.held else 'empty'}>"


class HoldButton(anywidget.AnyWidget):
    """A button that says when it is pressed and when it is let go, and that its page is there.

    Parameters
    ----------
    on_press, on_release, on_here
        Called without arguments, on the thread on which the kernel serves the page.
    **kwargs
        Values of its traits.
    """

    _esm = (_STATIC / "hold.js").read_text(encoding="utf-8")
    label = traitlets.Unicode("").tag(sync=True)
    hint = traitlets.Unicode("").tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        on_press: Callable[[], None],
        on_release: Callable[[], None],
        on_here: Callable[[], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._calls = {"press": on_press, "release": on_release, "here": on_here}
        self.on_msg(self._on_message)

    def _on_message(self, _: object, content: Any, buffers: object) -> None:
        kind = content.get("kind") if isinstance(content, dict) else None
        if isinstance(kind, str) and kind in self._calls:
            self._calls[kind]()

    def __repr__(self) -> str:
        return f"<HoldButton {self.label!r}>"
