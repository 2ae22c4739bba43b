"""Drawing clips, events, turns and runs on matplotlib axes; it must not measure or change anything.

Every function takes ``ax=None`` and keyword-only options, returns the Axes it drew on, never calls
``show()``, and draws a bounded number of points however long the audio is.
"""

from __future__ import annotations

from rtnb.plotting.canvas import COLORS
from rtnb.plotting.lanes import events
from rtnb.plotting.network import network
from rtnb.plotting.sound import level, waveform
from rtnb.plotting.spectrogram import spectrogram
from rtnb.plotting.timeline import timeline
from rtnb.plotting.waterfall import latency

__all__ = ["COLORS", "events", "latency", "level", "network", "spectrogram", "timeline", "waveform"]
