"""What rtnb asks of IPython and Colab, in one place; it must not import either unless it is there."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["cell_run", "colab_secret"]


def cell_run() -> tuple[str, str] | None:
    """Return (cell id, id of this run of it) of the cell that runs now; None outside notebooks.

    Front ends put the cell's id into the metadata of the execute request (JupyterLab, Notebook 7
    and VS Code as ``cellId``).
    """
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    parent: Any = getattr(shell, "parent_header", None)
    if not isinstance(parent, dict):
        return None
    metadata = parent.get("metadata") or {}
    cell = metadata.get("cellId") or metadata.get("cell_id")
    run = (parent.get("header") or {}).get("msg_id")
    return (str(cell), str(run)) if cell and run else None


def colab_secret(name: str) -> str | None:
    """Return one of Colab's secrets; None outside Colab, or where it may not be read."""
    if "google.colab" not in sys.modules:
        return None
    try:
        from google.colab import userdata

        return userdata.get(name) or None
    except Exception:  # SecretNotFoundError, NotebookAccessError, TimeoutException: same outcome
        return None
