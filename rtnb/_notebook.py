"""What rtnb asks of IPython and Colab, in one place; it must not import either unless it is there."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["acting_for", "cell_run", "colab_secret", "kernel_publish"]

_acting: Final[contextvars.ContextVar[tuple[str, str] | None]] = contextvars.ContextVar(
    "rtnb_cell", default=None
)


@contextlib.contextmanager
def acting_for(cell: tuple[str, str] | None) -> Iterator[None]:
    """Let `cell_run` name this cell in the block: that of a widget, whose clicks come in no cell."""
    token = _acting.set(cell)
    try:
        yield
    finally:
        _acting.reset(token)


def cell_run() -> tuple[str, str] | None:
    """Return (cell id, id of this run of it) of the cell that runs now; None outside notebooks.

    Front ends put the cell's id into the metadata of the execute request (JupyterLab, Notebook 7
    and VS Code as ``cellId``). Where one does not, a cell is known by its code.
    """
    if (acting := _acting.get()) is not None:
        return acting
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    parent: Any = getattr(shell, "parent_header", None)
    if not isinstance(parent, dict):
        return None
    metadata = parent.get("metadata") or {}
    cell = metadata.get("cellId") or metadata.get("cell_id")
    if not cell and (code := (parent.get("content") or {}).get("code")):
        cell = hashlib.sha256(str(code).encode("utf-8", "replace")).hexdigest()
    run = (parent.get("header") or {}).get("msg_id")
    return (str(cell), str(run)) if cell and run else None


def kernel_publish() -> Callable[..., Any] | None:
    """Return how a kernel's shell publishes a display; None outside kernels."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if find is None else find()
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    display = getattr(shell, "display_pub", None)
    publish: Callable[..., Any] | None = getattr(display, "publish", None)
    return publish


def colab_secret(name: str) -> str | None:
    """Return one of Colab's secrets; None outside Colab, or where it may not be read."""
    if "google.colab" not in sys.modules:
        return None
    try:
        from google.colab import userdata

        return userdata.get(name) or None
    except Exception:  # SecretNotFoundError, NotebookAccessError, TimeoutException: same outcome
        return None
