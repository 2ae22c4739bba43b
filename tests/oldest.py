"""The oldest media libraries that rtnb supports, as requirements; it knows pyproject.toml only."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

__all__ = ["OLDEST", "oldest"]

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
OLDEST = ("aiortc", "av")  # whose private parts are touched, and who decodes


def oldest() -> list[str]:
    """Return ``NAME==VERSION`` for the lower bounds that pyproject.toml states.

    Raises
    ------
    LookupError
        It states none for one of them.
    """
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    found = []
    for name in OLDEST:
        bounds = [re.match(rf"{name}>=([\d.]+)", one) for one in project["dependencies"]]
        versions = [bound.group(1) for bound in bounds if bound]
        if len(versions) != 1:
            raise LookupError(f"pyproject.toml has no lower bound for {name}")
        found.append(f"{name}=={versions[0]}")
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join(oldest()) + "\n")
