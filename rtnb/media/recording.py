"""Both sides of one call on their way to its run folder; it must not know WebRTC or messages.

Blocks that left and packets that arrived go in; stretches of audio.wav and rows of packets.csv come
out a third of a second later, written by a thread so that a slow disk does not stall the media. It
is one thread for all calls of a process: each call's own would have to be woken ten times a second.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rtnb.media import concealing
from rtnb.media.aiortc_hooks import RtpArrival
from rtnb.media.capture import Placed, Receiving, StreamClock, Timeline
from rtnb.media.listening import Heard
from rtnb.media.opus import FRAME, SAMPLE_RATE
from rtnb.runfiles import RunWriter

__all__ = ["HORIZON", "Recording", "Written", "levels"]

logger = logging.getLogger(__name__)

HORIZON: Final = 0.3  # seconds a stretch stays open for packets that are late or out of order
SENT: Final = 0
HEARD: Final = 1
_FLOOR: Final = -120.0  # dBFS shown for digital silence

S16 = npt.NDArray[np.int16]
Written = Callable[[float, float, tuple[float, ...], tuple[float, ...]], None]


@functools.cache
def _disk() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="rtnb-runs")


def levels(samples: S16) -> tuple[float, ...]:
    """Return the RMS of each whole 20 ms window in dBFS, at least -120."""
    count = len(samples) // FRAME
    windows = samples[: count * FRAME].reshape(count, FRAME).astype(np.float64) / 32768
    power = np.maximum(np.mean(windows**2, axis=1), 10 ** (_FLOOR / 10))
    return tuple(float(v) for v in np.round(10 * np.log10(power), 1))


class Recording:
    """The recording of one call.

    Parameters
    ----------
    writer
        The run's files.
    started
        0 of the call's clock, in monotonic seconds.
    on_written
        Told (start, end, levels sent, levels heard) after a stretch went to disk, from the thread
        that wrote it.

    Attributes
    ----------
    failure : str or None
        What went wrong when writing, if anything did.
    listener : callable or None
        Takes (position, samples, arrived) of all that is decoded, as `listening.Listening` does.
    """

    def __init__(self, writer: RunWriter, *, started: float, on_written: Written):
        self._writer = writer
        self._started = started
        self._on_written = on_written
        self._timeline = Timeline()
        self._receiving = Receiving(started)
        self._sent_clock = StreamClock()
        self._unplaced: deque[tuple[int, S16, tuple[Any, ...]]] = deque()
        self._rows: list[tuple[Any, ...]] = []
        self._disk = _disk()
        self.departures = 0
        self.failure: str | None = None
        self.listener: Heard | None = None

    # --- what we sent -----------------------------------------------------------------------------

    def sent(
        self, pts: int, pcm: S16, time: float, sequence: int | None, stamp: int | None
    ) -> None:
        """Take a block that left at `time` (monotonic seconds); `pts` counts samples of its track."""
        self.departures += 1
        self._sent_clock.observe(pts, time)
        row = ("sent", sequence, stamp, round(time - self._started, 6), None)
        self._unplaced.append((pts, pcm, row))
        self._place_sent()

    def _place_sent(self) -> None:
        if self._sent_clock.offset is None:
            return
        base = self._sent_clock.position(self._started)
        while self._unplaced:
            pts, pcm, row = self._unplaced.popleft()
            self._lay(SENT, base + pts, pcm)
            self._rows.append((*row, base + pts))

    # --- what we heard ----------------------------------------------------------------------------

    def arrived(self, packet: RtpArrival) -> None:
        """Take a packet from the network."""
        self._take(self._receiving.push(packet))

    def frame(self, samples: S16, position: int) -> None:
        """Take decoded samples, where packets cannot be seen (the fallback path)."""
        self._lay(HEARD, position, samples)
        if self.listener is not None:
            self.listener(position, samples, time.monotonic() - self._started)

    def _lay(self, channel: int, position: int, samples: S16) -> None:
        late = self._timeline.place(channel, position, samples)
        if len(late):  # it goes into what is on disk already
            self._submit(self._patch, channel, max(position, 0), late[max(-position, 0) :])

    def _patch(self, channel: int, position: int, samples: S16) -> None:
        self._writer.patch(position, channel, samples)
        if channel == HEARD:
            start, end = position / SAMPLE_RATE, (position + len(samples)) / SAMPLE_RATE
            self._on_written(start, end, (), levels(samples))

    def _take(self, placed: list[Placed]) -> None:
        for one in placed:
            if one.samples is not None:
                self._lay(HEARD, one.position, one.samples)
                if self.listener is not None:
                    known = one.arrived  # a loss has no arrival
                    at = time.monotonic() - self._started if known is None else known
                    self.listener(one.position, one.samples, at)
            self._rows.append(one.row)

    # --- to disk ----------------------------------------------------------------------------------

    def write(self, now: float) -> None:
        """Write what is settled at `now`, in monotonic seconds."""
        self._take(self._receiving.settle(now))
        self._sent_clock.settle(now)
        self._place_sent()
        settled = min(now - HORIZON, self._receiving.settled_before, self._sent_settled())
        self._write_until(int((settled - self._started) * SAMPLE_RATE) // FRAME * FRAME)

    def event(self, time: float, direction: str, text: str) -> None:
        """Append one event to the run."""
        self._submit(self._writer.event, time, direction, text)

    def record(self, text: str) -> None:
        """Append one record to turns.jsonl."""
        self._submit(self._writer.record, text)

    def flush(self) -> None:
        """Return when everything handed over so far is on disk."""
        self._disk.submit(lambda: None).result()

    def take_last(self) -> None:
        """Place what was still waited for: no further packet is going to come."""
        self._take(self._receiving.flush())

    def finish(self, now: float) -> None:
        """Write everything up to `now`, close the files, and return when they are closed."""
        self.take_last()
        self._sent_clock.freeze()
        self._place_sent()
        end = max(int((now - self._started) * SAMPLE_RATE), self._timeline.end)
        self._write_until(-(-end // FRAME) * FRAME)
        self._submit(self._writer.close)
        self.flush()

    def _submit(self, work: Callable[..., None], *arguments: Any) -> None:
        self._disk.submit(work, *arguments).add_done_callback(self._note_failure)

    def _note_failure(self, done: Future[None]) -> None:
        error = done.exception()
        if error is not None and self.failure is None:
            self.failure = f"The run could not be written in full: {error}"
            logger.error("%s", self.failure)

    def _sent_settled(self) -> float:
        if self._sent_clock.offset is None and self._sent_clock.first is not None:
            return self._sent_clock.first - 0.1
        return float("inf")

    def _write_until(self, position: int) -> None:
        if position <= self._timeline.written and not self._rows:
            return
        start = self._timeline.written
        block = self._timeline.take(max(position, start))
        rows, self._rows = self._rows, []
        self._submit(self._to_disk, start, block, rows)

    def _to_disk(self, start: int, block: S16, rows: list[tuple[Any, ...]]) -> None:
        self._writer.packets(rows)
        if not len(block):
            return
        end = start + len(block)
        try:
            self._writer.audio(block)
        finally:  # the call goes on, and its limits with it, on a full disk too
            self._on_written(
                *(start / SAMPLE_RATE, end / SAMPLE_RATE),
                *(levels(block[:, SENT]), levels(block[:, HEARD])),
            )

    def figures(self) -> dict[str, Any]:
        """Return the network's counters so far, by the names of `rtnb.quality.CallQuality`."""
        heard = self._receiving
        order = heard.reorder
        expected = order.received - order.duplicates - order.late + order.lost
        return {
            "packets_sent": self.departures,
            "packets_received": order.received,
            "packets_lost": order.lost,
            "packets_late": order.late,
            "packets_duplicate": order.duplicates,
            "packets_reordered": order.reordered,
            "packets_damaged": heard.damaged,
            "packets_foreign": heard.foreign,
            "loss": order.lost / expected if expected else 0.0,
            "bursts": list(order.bursts),
            "longest_burst": max(order.bursts, default=0),
            "jitter": heard.jitter,
            "drift": heard.drift,
            "concealment": concealing.method(),
            "concealed": dict(heard.concealed),
            "segments": heard.segments,
            "streams": heard.streams,
            "late_samples": self._timeline.late_samples,
        }
