"""`Microphone`: a widget that hears the user's voice in the page; it must not know turns.

What the page says comes through a `VoicePage`; what the kernel wants of it goes out in the traits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from rtnb import _html
from rtnb._masking import mask
from rtnb.audio import Clip
from rtnb.errors import ConfigurationError, RtnbError
from rtnb.livesound import VoiceCall, VoiceSink
from rtnb.registry import RERUN, enroll, leave
from rtnb.voicehold import Hold, Kept, Piece
from rtnb.voicepage import LEASE, VoicePage
from rtnb.voicetake import LONGEST_TAKE, Take, Takes
from rtnb.voiceupload import Chunk, Said

__all__ = ["Microphone"]

_STATIC: Final = Path(__file__).parent / "_static"
_BUSY: Final = 0.6  # seconds
_ANSWER: Final = 2.0  # seconds within which a page that is heard sends more of a take
_REST: Final = 0.5  # seconds for what is still on its way when a take is ended
_MADE_AGAIN: Final = "This microphone is closed; make another one with rtnb.Microphone()."
_OFF: Final = "No microphone is heard: show it in a cell, press its Start button, run this again."
_MUTED: Final = "The microphone is muted: unmute it, then run this again."
_NOT_HEARD: Final = (
    "The kernel does not hear the page while this cell runs. The take is recorded in the page all "
    "the same: let this cell end, and get the take with mic.record() in the next one."
)
_NO_TAKE: Final = (
    "Nothing was recorded yet: press the microphone's Record button, speak, press it again, then "
    "run this; or give a duration, as in mic.record(5)."
)
_NOTHING: Final = (
    "Nothing of this take has come from the page yet: run this again when no other cell runs, or "
    "record another one, not muted."
)


class Microphone(anywidget.AnyWidget):
    """A microphone in a cell: its page hears you, and a call, or `record`, gets what you say.

    Nothing is heard before its Start button is pressed, and nothing leaves the page unless a call
    is fed or a take is recorded. Running the cell again closes the one that it made before.

    Parameters
    ----------
    echo_cancellation, noise_suppression, auto_gain
        What the browser does to the sound.
    push_to_talk
        Whether a call hears you only while the button, or the space bar on it, is held.
    muted
        Whether it begins muted.

    Raises
    ------
    ConfigurationError
        One of them is neither True nor False.
    """

    _esm = (_STATIC / "microphone.js").read_text(encoding="utf-8")
    _css = _html.style_text() + (_STATIC / "microphone.css").read_text(encoding="utf-8")
    processing = traitlets.Dict().tag(sync=True)
    upload = traitlets.Unicode("").tag(sync=True)
    controls = traitlets.Dict().tag(sync=True)
    attached = traitlets.Bool(False).tag(sync=True)
    order = traitlets.Dict().tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)
    over = traitlets.Bool(True).tag(sync=True)  # until it is there

    def __init__(
        self,
        *,
        echo_cancellation: bool = True,
        noise_suppression: bool = True,
        auto_gain: bool = True,
        push_to_talk: bool = False,
        muted: bool = False,
    ):
        processing = {
            "echo_cancellation": _checked("echo_cancellation", echo_cancellation),
            "noise_suppression": _checked("noise_suppression", noise_suppression),
            "auto_gain": _checked("auto_gain", auto_gain),
        }
        self._muted = _checked("muted", muted)
        self._push_to_talk = _checked("push_to_talk", push_to_talk)
        self._lock = threading.Lock()  # of the sink; nothing is called while it is held
        self._feeding = threading.Lock()  # keeps what is fed in order
        self._sink: VoiceSink | None = None
        self._hold: Hold | None = None
        self._kept: Kept | None = None
        self._last_hold: Hold | None = None
        self._number = 0
        self._takes = Takes()
        self._page = VoicePage(self._take_chunk, self._take_word, self._controls)
        super().__init__(
            processing=processing,
            controls=self._controls(),
            upload=f"IPY_MODEL_{self._page.model_id}",
            over=False,
        )
        self.on_msg(self._page.hear)  # from a page that finds no other way
        enroll(self, listed=False)

    # --- a call -----------------------------------------------------------------------------------

    def attach(self, sink: VoiceSink) -> None:
        """Feed this call from now on, and no other.

        Raises
        ------
        ConfigurationError
            This microphone is closed.
        """
        if self.over:
            raise ConfigurationError(_MADE_AGAIN)
        with self._lock:
            before, self._sink = self._sink, sink
        if before is not None and before is not sink:
            self._leave(before)
        self.set_trait("trouble", "")
        self.set_trait("attached", True)

    def detach(self, sink: VoiceSink) -> None:
        """Feed this call no longer; does nothing if it is not the one that is fed."""
        with self._lock:
            if self._sink is not sink:
                return
            self._sink = None
        self._leave(sink)
        self.set_trait("attached", False)

    def _leave(self, sink: VoiceSink) -> None:
        self._release()
        sink.pause()
        if isinstance(sink, VoiceCall) and sink.microphone is self:
            sink.take_microphone(None)  # it must not say that it still hears us

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Take nothing: a page changes no trait, it says what it wants."""

    # --- looking and setting ----------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether the page has the microphone, as far as the kernel has heard."""
        return self._page.live

    @property
    def muted(self) -> bool:
        """Whether nothing is sent; can be set."""
        return self._muted

    @muted.setter
    def muted(self, value: bool) -> None:
        self._mute(_checked("muted", value))
        self._publish_controls()

    @property
    def push_to_talk(self) -> bool:
        """Whether a call hears you only while the button is held; can be set."""
        return self._push_to_talk

    @push_to_talk.setter
    def push_to_talk(self, value: bool) -> None:
        self._push_to_talk = _checked("push_to_talk", value)
        self._publish_controls()

    def _publish_controls(self) -> None:
        # what the page has changed is not in the trait, so the same values may be news to it
        change = self.controls.get("change", 0) + 1
        self.set_trait("controls", {**self._controls(), "change": change})

    def _controls(self) -> dict[str, Any]:
        return {"push_to_talk": self._push_to_talk, "muted": self._muted}

    def stats(self) -> dict[str, Any]:
        """Return what has come until now, and how late.

        Returns
        -------
        dict
            ``chunks`` of 20 ms that came, those ``lost`` on the way or dropped in the page,
            ``bytes``; ``base64``, whether they come as text; ``delay``, seconds from capture to
            kernel, as ``median`` of the last minute and ``worst``; ``clock``, ``"same"``, or
            ``"relative"`` where the page's clock differs, so that delays count from the smallest;
            ``busy``, whether they come late now; ``live``, ``muted``, ``attached``. Where a call is
            fed, ``call`` holds its own figures: what became of the chunks from there on.
        """
        with self._page.lock:
            seen = self._page.arrivals
            found: dict[str, Any] = {
                "chunks": seen.chunks,
                "lost": seen.lost,
                "bytes": seen.bytes,
                "base64": seen.as_text,
                "delay": {"median": seen.median, "worst": seen.worst},
                "clock": "relative" if seen.relative else "same" if seen.chunks else None,
                "busy": (seen.last or 0.0) > _BUSY,
            }
        sink = self._sink
        found |= {"live": self.live, "muted": self._muted, "attached": sink is not None}
        figures = sink.figures if isinstance(sink, VoiceCall) else None
        return found if figures is None else {**found, "call": figures()}

    def __repr__(self) -> str:
        if self.over:
            return "<Microphone closed>"
        state = "off" if not self.live else "muted" if self._muted else "live"
        fed = "feeding a call" if self._sink is not None else "not connected"
        return f"<Microphone {state}, {fed}: {self._page.arrivals.chunks} chunks>"

    # --- a take -----------------------------------------------------------------------------------

    def record(self, duration: float | None = None) -> Clip:
        """Return what was said as a clip at 48 kHz, to be used as a prompt.

        Parameters
        ----------
        duration
            Seconds to record now, up to 600. None gives the take that was recorded last with the
            Record button; one that runs is ended.

        Raises
        ------
        ConfigurationError
            There is no take, the microphone is off or muted, or the kernel cannot hear the page
            while a cell runs (ipykernel 6): the take is then recorded in the page all the same, and
            ``record()`` in the next cell returns it.
        """
        if duration is None:
            return self._recorded()
        if isinstance(duration, bool) or not isinstance(duration, int | float):
            raise ConfigurationError(f"duration is {duration!r}; it must be a number of seconds.")
        if not 0.02 <= duration <= LONGEST_TAKE:
            raise ConfigurationError(
                f"duration is {duration:g}; it must be 0.02 to {LONGEST_TAKE:g} seconds."
            )
        if self.over:
            raise ConfigurationError(_MADE_AGAIN)
        if not self.live or self._muted:
            raise ConfigurationError(_MUTED if self.live else _OFF)
        take = self._takes.begin()
        self.order = {"take": take.name, "seconds": float(duration)}
        try:
            self._await(take, float(duration))
        except KeyboardInterrupt:
            self.order = {"end": take.name}
            raise
        return self._takes.clip(take, float(duration))

    def _await(self, take: Take, duration: float) -> None:
        if not self._takes.wait(take, duration, _ANSWER):
            raise ConfigurationError(_NOT_HEARD)
        if take.short(duration):
            raise ConfigurationError(
                f"The recording was ended in the page after {take.duration:.1f} of {duration:g} s; "
                "mic.record() gives what there is."
            )

    def _recorded(self) -> Clip:
        take = self._takes.last
        if take is None:
            raise ConfigurationError(_NO_TAKE)
        if not take.over and not self.over:
            self.order = {"end": take.name}
            self._takes.wait(take, LONGEST_TAKE, _REST)
        if not take.duration:
            raise ConfigurationError(_NOTHING)
        return self._takes.clip(take)

    # --- what the page says -----------------------------------------------------------------------

    def _take_word(self, said: Said) -> None:
        match said.kind:
            case "press":
                self._press()
            case "muted":
                self._mute(said.value)
            case "mode" if said.value != self._push_to_talk:
                self._push_to_talk = said.value
                self._pause()
            case "pause" | "release" | "stop" | "gone":
                if not self._release():  # which pauses when all has been fed
                    self._pause()
            case "taking" | "took" if said.take:
                self._takes.mark(said.take, over=said.kind == "took")

    def _take_chunk(self, chunk: Chunk, missing: int, captured: float | None) -> None:
        self._takes.add(chunk, missing)
        sink = self._sink
        if sink is None or not sink.open or self._muted or not chunk.for_call:
            return
        with self._feeding:
            self._number += missing + 1
            piece: Piece = {"number": self._number - 1, "sample_rate": chunk.sample_rate}
            piece |= {"samples": chunk.samples, "captured": captured}
            waits = self._kept or self._hold
            (self._feed if waits is None else waits.feed)(piece)

    def _feed(self, piece: Piece) -> None:
        sink = self._sink
        if sink is not None and sink.open:
            sink.feed(piece.pop("samples"), **piece)

    def _pause(self) -> None:
        sink = self._sink
        if sink is not None:
            sink.pause()

    def _mute(self, value: bool) -> None:
        before, self._muted = self._muted, value
        if value and not before:
            self._pause()

    # --- push to talk -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def kept(self) -> Iterator[Callable[[], None]]:
        """Keep what is said in the block until the turn is open: then call what is yielded.

        It is for a button elsewhere; the microphone's own one does the same.
        """
        with self._feeding:
            kept = self._kept = Kept(self._feed)
        try:
            yield kept.open
        finally:
            with self._feeding:
                kept.shut()
                if self._kept is kept:
                    self._kept = None

    def _press(self) -> None:
        self._release()  # of a press whose end was never heard
        hold = self._sink.push_to_talk if isinstance(self._sink, VoiceCall) else None
        if hold is None:
            return  # a sink that knows no turns is just fed
        self.set_trait("trouble", "")
        self._hold = self._last_hold = Hold(
            hold,
            self._feed,
            self._pause,
            failed=self._failed,
            lost=lambda: self._page.silent > LEASE,
            before=self._last_hold,
        )

    def _release(self) -> bool:
        """Let go of the button, and return whether it was held."""
        hold, self._hold = self._hold, None
        if hold is None:
            return False
        hold.release()
        return not hold.over

    def _failed(self, error: Exception) -> None:
        said = str(error) if isinstance(error, RtnbError) else f"{type(error).__name__}: {error}"
        self.set_trait("trouble", f"Push-to-talk failed: {mask(said)}")

    # --- life -------------------------------------------------------------------------------------

    def close(self, reason: str = "the microphone was closed") -> None:
        """Let the page give the microphone back, and leave the call. Idempotent.

        Parameters
        ----------
        reason
            Why. What it shows stays, until its cell is run again.
        """
        if not self.over:
            with self._lock:
                sink, self._sink = self._sink, None
            with contextlib.suppress(Exception):  # the kernel may be going down
                if sink is not None:
                    self._leave(sink)
                self.set_trait("attached", False)
            with contextlib.suppress(Exception):
                self.set_trait("over", True)
            self._page.close()
        if reason == RERUN:
            leave(self)
            self.layout.close()
            super().close()


def _checked(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is {value!r}; it must be True or False.")
    return value
