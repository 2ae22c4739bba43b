"""`Heard`: one piece of audio that the user said; it must not know events or answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtnb.audio import CALL_SAMPLE_RATE, Clip
from rtnb.peer import repertoire

__all__ = ["Heard"]


@dataclass(frozen=True, eq=False)
class Heard:
    """One piece of audio that the user said.

    Attributes
    ----------
    samples : numpy.ndarray
        s16 mono 48,000 Hz, shape (n,).
    prompt : str or None
        Name of the bundled prompt that it is.
    """

    samples: npt.NDArray[np.int16]
    prompt: str | None

    @property
    def text(self) -> str | None:
        """The words, where they are known."""
        known = (p.text for p in repertoire.prompts() if p.name == self.prompt)
        return next(known, None)

    @property
    def clip(self) -> Clip:
        """The audio as a voice is given it."""
        return Clip(self.samples.astype(np.float32) / 32768.0, CALL_SAMPLE_RATE)
