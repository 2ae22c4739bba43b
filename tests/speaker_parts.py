"""A tone in real time for a speaker to play, as a cell of a notebook; it knows no call."""

from __future__ import annotations

__all__ = ["TONE"]

TONE = '''
import threading, time
import numpy as np
import rtnb
from rtnb import messages as m

class Tone:
    """Hands out a tone of 400 Hz in stretches of 20 ms, in real time, from a thread."""

    def __init__(self):
        self.listeners, self.started = [], time.monotonic()

    def subscribe(self, listener):
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def now(self):
        return time.monotonic() - self.started

    def hand(self, message):
        for one in list(self.listeners):
            one(message)

    def play(self, seconds):
        threading.Thread(target=self._play, args=[seconds], daemon=True).start()

    def _play(self, seconds):
        begun = self.now()
        for number in range(round(seconds * 50)):
            time.sleep(max(begun + number / 50 - self.now(), 0))
            self.hand(self.stretch(round(begun * 48_000) + 960 * number))

    def stretch(self, position=0):
        place = np.arange(position, position + 960)
        samples = (8_000 * np.sin(2 * np.pi * 400 / 48_000 * place)).astype(np.int16)
        return m.AudioHeard("tone", position, samples.tobytes(), self.now())

tone = Tone()
'''
