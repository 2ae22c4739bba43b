"""A virtual environment with the widgets of Colab; it knows versions, not what they are for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

__all__ = ["build", "colab_python"]

VARIABLE = "RTNB_COLAB_PYTHON"
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
CONSTRAINTS = Path(__file__).with_name("colab-constraints.txt")
FRONT = ("ipykernel", "ipywidgets", "ipython", "jupyter-client<8", "anywidget", "pandas")
WITHIN = 600.0  # seconds for the whole installation


def wanted() -> list[str]:
    """Return what is installed: Colab's widget stack, and what rtnb needs at run time."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return [*FRONT, *project["dependencies"]]


def build(folder: Path) -> Path:
    """Build the environment in `folder`, if it is not there, and return its interpreter.

    It is of this interpreter's version. Every package that Colab ships has Colab's version.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as scratch:
        new = Path(scratch) / "venv"
        install(new, new / python.relative_to(folder))
        try:
            new.rename(folder)  # so it is never there in part; only its scripts know the old name
        except OSError:
            if not python.exists():  # else another run was quicker
                raise
    return python


def install(folder: Path, python: Path) -> None:
    """Make an environment and install what is wanted into it."""
    run("make the environment", sys.executable, "-m", "venv", str(folder))
    quiet = ("-q", "--disable-pip-version-check", "--no-input")
    pip = (str(python), "-m", "pip", "install", *quiet, "-c", str(CONSTRAINTS))
    run("install Colab's versions", *pip, *wanted())


def run(what: str, *command: str) -> None:
    """Run a command that must end well in time."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=WITHIN)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = error.stderr or b""
        lines = (said if isinstance(said, str) else said.decode()).strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        reason = errors[0] if errors else f"not done within {WITHIN:g} s"
        raise RuntimeError(
            f"could not {what}: {reason}; or set {VARIABLE} to the interpreter of a built one"
        ) from error


def colab_python() -> str:
    """Return an interpreter with Colab's versions: a given one, or one built once for all runs."""
    if given := os.environ.get(VARIABLE):
        if not Path(given).is_file():
            raise RuntimeError(f"{VARIABLE} is {given!r}, which is no file")
        return given
    pins = [*wanted(), CONSTRAINTS.read_text(encoding="utf-8"), sys.version, sys.prefix]
    key = hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]
    return str(build(Path(tempfile.gettempdir()) / f"rtnb-colab-{key}"))


def main(arguments: list[str]) -> int:
    """Build the environment in the folder that is named, and print its interpreter."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.colab_env FOLDER\n")
        return 2
    sys.stdout.write(f"{build(Path(arguments[0]))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
