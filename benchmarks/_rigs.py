"""Lets benchmarks import the rigs of the tests, as pytest finds them; to be imported before these."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
