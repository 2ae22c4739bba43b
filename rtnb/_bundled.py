"""Where the bundled prompts lie, in a wheel and in a checkout; it must not know what reads them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["folder"]


def folder() -> Path:
    """Return the folder of the sample WAVs and samples.json."""
    installed = Path(__file__).with_name("_samples")
    return installed if installed.is_dir() else Path(__file__).parents[1] / "samples"
