"""Taps in a page: what its microphone gives and what it plays, sample by sample; it knows no widget."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from rtnb.audio import resample

__all__ = ["RATE", "TAPS", "Tapped", "tapped"]

RATE: Final = 48_000
_AROUND: Final = 12  # blocks of 43 ms

Floats = npt.NDArray[np.floating]

TAPS: Final = r"""
(() => {
  const RATE = 48000;
  const SOURCE = `
    registerProcessor("tap", class extends AudioWorkletProcessor {
      constructor() { super(); this.held = []; }
      process([input]) {
        const one = input[0] ? input[0].slice() : new Float32Array(128);
        this.held.push(one);
        if (this.held.length < 16) return true;
        const all = new Int16Array(16 * 128);
        this.held.forEach((part, n) => part.forEach((x, i) => {
          all[128 * n + i] = Math.max(-1, Math.min(1, x)) * 32767;
        }));
        this.held = [];
        // the time is that of the block's end, which has just been rendered
        this.port.postMessage([currentFrame + 128, sampleRate, Date.now() / 1000, all.buffer],
                              [all.buffer]);
        return true;
      }
    });`;
  const url = () => URL.createObjectURL(new Blob([SOURCE], { type: "text/javascript" }));
  const taps = (window.taps = { in: [], out: [] });
  const tap = async (context, name) => {
    await context.audioWorklet.addModule(url());
    const node = new AudioWorkletNode(context, "tap", {
      numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit",
    });
    const blocks = [];
    taps[name].push(blocks);
    node.port.onmessage = ({ data }) => blocks.push(data);
    return node;
  };
  const connect = AudioNode.prototype.connect;

  if (navigator.mediaDevices) {
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (...what) => {
      const stream = await ask(...what);
      const context = new AudioContext({ sampleRate: RATE, latencyHint: 0 });
      const node = await tap(context, "in");
      connect.call(context.createMediaStreamSource(stream), node);
      connect.call(node, context.destination); // silent: a tap puts nothing out
      return stream;
    };
  }
  const tees = new WeakMap();
  AudioNode.prototype.connect = function (to, ...how) {
    if (to instanceof AudioDestinationNode) {
      const context = this.context;
      if (!tees.has(context)) tees.set(context, tap(context, "out"));
      tees.get(context).then((node) => {
        connect.call(this, node);
        connect.call(node, to);
      });
    }
    return connect.call(this, to, ...how);
  };
  window.tapped = (name) =>
    taps[name].filter((blocks) => blocks.length).map((blocks) => {
      const bytes = new Uint8Array(blocks.length * 16 * 128 * 2);
      blocks.forEach(([, , , one], n) => bytes.set(new Uint8Array(one), n * 16 * 128 * 2));
      let text = "";
      for (let at = 0; at < bytes.length; at += 32768)
        text += String.fromCharCode(...bytes.subarray(at, at + 32768));
      return { rate: blocks[0][1], ends: blocks.map((b) => [b[0], b[2]]), samples: btoa(text) };
    });
})();
"""
"Run this in a page before its own scripts."


@dataclass(frozen=True)
class Tapped:
    """What one tap has seen.

    Attributes
    ----------
    samples
        float32 in [-1, 1], mono, 48,000 Hz.
    positions, times
        Of the ends of blocks: seconds of sound from the first sample on, and when that was captured
        or played, in seconds since 1970 or on a clock that `shifted` chose. They run apart where the
        page's sound stalls.
    """

    samples: Floats
    positions: Floats
    times: Floats

    def when(self, position: float) -> float:
        """Return the time of a sample, by its position in seconds."""
        offsets = self.times - self.positions
        return position + float(np.interp(position, self.positions, offsets))

    def part(self, begin: float, end: float) -> Floats:
        """Return the samples between two times."""
        one, two = np.interp((begin, end), self.times, self.positions)
        return self.samples[round(one * RATE) : round(two * RATE)]

    def shifted(self, by: float) -> Tapped:
        """Return the same on a clock that is `by` seconds ahead."""
        return Tapped(self.samples, self.positions, self.times + by)


def tapped(page: Any, which: Literal["in", "out"]) -> Tapped:
    """Return what the longest tap of a page has seen until now.

    Raises
    ------
    RuntimeError
        There was no sound of this kind.
    """
    all_of_them = page.evaluate("which => window.tapped(which)", which)
    if not all_of_them:
        raise RuntimeError(f"The page has no sound {which} that could be tapped.")
    one = max(all_of_them, key=lambda tap: len(tap["ends"]))
    samples = np.frombuffer(base64.b64decode(one["samples"]), "<i2")
    rate, ends = one["rate"], np.array(one["ends"])
    positions = (ends[:, 0] - ends[0, 0]) / rate + len(samples) / len(ends) / rate
    # a block is seen when its turn comes, somewhat late at times: the second around it tells
    around = np.pad(ends[:, 1] - positions, _AROUND, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * _AROUND + 1)
    whole = resample((samples / 32768).astype(np.float32), rate, RATE)
    return Tapped(whole, positions, positions + np.median(windows, axis=1))
