"""What a live session and a saved run show of their recording alike; it must not know which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtnb.audio import Clip
from rtnb.runaudio import RunAudio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Recorded"]


class Recorded:
    """Both sides of a call as clips and as a plot.

    Attributes
    ----------
    audio : RunAudio
        The recording on disk.
    """

    audio: RunAudio

    @property
    def sent(self) -> Clip:
        """Everything we sent (so far), 48,000 Hz, from 0 of the call's clock."""
        return self.audio.clip("sent")

    @property
    def heard(self) -> Clip:
        """Everything we heard (so far), 48,000 Hz, from 0 of the call's clock."""
        return self.audio.clip("heard")

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw both waveforms and the event lanes on one time axis; see `rtnb.plots.timeline`."""
        from rtnb import plots

        return plots.timeline(self, ax=ax, **kwargs)
