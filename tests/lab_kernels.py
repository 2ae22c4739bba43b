"""Colab's ipykernel with widgets that today's JupyterLab can show; it knows no widget of rtnb."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from colab_env import colab_python

__all__ = ["colab_kernel"]

# their versions are those of the front end, which shows no others
FRONT = ("anywidget", "comm", "ipywidgets")


def colab_kernel(folder: Path) -> str:
    """Return a script in `folder` that is an interpreter with Colab's ipykernel.

    What shows widgets is this environment's, as the JupyterLab that is tested is; all else is Colab's.
    """
    packages = folder / "widgets"
    packages.mkdir(parents=True)
    for name in FRONT:
        for path in _parts(name):
            (packages / path.name).symlink_to(path)
    script = folder / "python"
    before = f'PYTHONPATH="{packages}{os.pathsep}$PYTHONPATH"'
    script.write_text(f'#!/bin/sh\n{before} exec "{colab_python()}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return str(script)


def _parts(name: str) -> list[Path]:
    """Return a package's folder, and that of its metadata."""
    found = importlib.metadata.distribution(name)
    tops = {file.parts[0] for file in found.files or () if len(file.parts) > 1} - {".."}
    paths = (Path(str(found.locate_file(top))) for top in tops)
    return [path for path in paths if path.name == name or path.suffix == ".dist-info"]
