"""What a live session and a saved run show of their recording alike; it must not know which it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtnb.audio import Clip
from rtnb.conversation import Conversation
from rtnb.dialects import Json, model_of, voice_of
from rtnb.latencies import Latencies
from rtnb.prices import Cost
from rtnb.quality import CallQuality
from rtnb.runaudio import RunAudio
from rtnb.turnlist import Turns
from rtnb.turnview import cost_line
from rtnb.verdicts import DEFAULT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Recorded"]


class Recorded:
    """Both sides of a call as clips and as a plot.

    Attributes
    ----------
    audio : RunAudio
        The recording on disk.
    turns : Turns
        In order.
    """

    audio: RunAudio
    turns: Turns

    _conversation: Conversation
    _config: Json

    @property
    def model(self) -> str | None:
        """The model, as the server says, or as asked for."""
        return model_of(self._conversation.session, self._config)

    @property
    def voice(self) -> str | None:
        """The voice, as the server says, or as asked for."""
        return voice_of(self._conversation.session, self._config)

    @property
    def sent(self) -> Clip:
        """Everything we sent (so far), 48,000 Hz, from 0 of the call's clock."""
        return self.audio.clip("sent")

    @property
    def heard(self) -> Clip:
        """Everything we heard (so far), 48,000 Hz, from 0 of the call's clock."""
        return self.audio.clip("heard")

    @property
    def quality(self) -> CallQuality:
        """Pacing of what was sent and network quality of what was heard, of the whole call so far."""
        return self.audio.quality()

    @property
    def cost(self) -> Cost | None:
        """What its turns cost in USD by `rtnb.prices`, a float with its parts; see `Turns.cost`."""
        return self.turns.cost

    def _figures(self) -> list[tuple[str, object]]:
        """Return cost and quality, as they are shown."""
        reasons = (turn._unpriced() for turn in self.turns)
        cost = cost_line(self.cost, next(filter(None, reasons), ""))
        return [("cost", cost), ("quality", self.quality.line)]

    def latency(
        self,
        *,
        deadline: float = DEFAULT.deadline,
        level: float = DEFAULT.level,
        yield_window: float = DEFAULT.yield_window,
        pause: float = DEFAULT.pause,
        lag: float = DEFAULT.lag,
    ) -> Latencies:
        """Return the latencies of its turns and what these add up to; see `Turns.latency`."""
        return self.turns.latency(
            deadline=deadline, level=level, yield_window=yield_window, pause=pause, lag=lag
        )

    def plot(self, *, ax: Axes | None = None, **kwargs: Any) -> Axes:
        """Draw what was sent and heard, spans and events on one time axis; see `plots.timeline`."""
        from rtnb import plots

        return plots.timeline(self, ax=ax, **kwargs)
