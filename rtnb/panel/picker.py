"""Choosing a prompt, sample, file or upload, and hearing it first; it must not send anything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import ipywidgets as widgets

from rtnb.audio import Clip
from rtnb.clipview import clip_body
from rtnb.errors import AudioError, RtnbError
from rtnb.eventtext import plain
from rtnb.panel.views import framed
from rtnb.prompts import as_prompt, named, sample, sample_text, samples

__all__ = ["Picker"]

_NONE: Final = ""
_ADDED: Final = "added:"
_LONGEST_NAME: Final = 80  # characters
_WIDE: Final = {"description_width": "90px"}
_LARGEST: Final = 20_000_000  # bytes of an upload
_COLUMNS: Final = 320


class Picker:
    """A drop-down of samples and added files, a path, an upload, and a preview.

    Parameters
    ----------
    tell
        Takes a sentence about what could not be read.
    changed
        Called when another prompt was chosen.
    hand_over
        Takes what is to be done in another thread: reading and encoding may take seconds.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        changed: Callable[[], None],
        hand_over: Callable[[Callable[[], None]], object] = lambda work: work(),
    ):
        self._tell = tell
        self._hand_over = hand_over
        self._changed = changed
        self._added: dict[str, Clip] = {}
        self._clip: Clip | None = None
        self._filling = False
        self.choice = widgets.Dropdown(options=self._options(), description="prompt", style=_WIDE)
        self.path = widgets.Text(
            description="or a file", placeholder="prompts/question.wav", style=_WIDE
        )
        self.add = widgets.Button(description="Add", tooltip="read this file")
        self.upload = widgets.FileUpload(
            accept="audio/*", multiple=False, description="Upload", tooltip="from this computer"
        )
        self.preview = widgets.HTML()
        self.choice.observe(lambda _: self._on_choice(), "value")
        self.add.on_click(lambda _: self._add_path())
        self.path.on_msg(self._on_text_message)
        self.upload.observe(self._on_upload, "value")
        self.widget = self._laid_out()
        self.choice.value = samples()[0].stem

    def _laid_out(self) -> widgets.Widget:
        self.choice.layout.width, self.choice.layout.margin = "auto", "2px"
        path = self.path.layout
        path.flex, path.margin, path.min_width = "1 1 auto", "2px", "160px"
        self.add.layout.width, self.upload.layout.width = "60px", "110px"
        line = widgets.HBox([self.path, self.add, self.upload])
        return widgets.VBox([self.choice, line, self.preview])

    def _options(self) -> list[tuple[str, str]]:
        bundled = [(f"{p.stem}: {sample_text(p.stem) or ''}", p.stem) for p in samples()]
        added = [(f"{name} (added)", f"{_ADDED}{name}") for name in self._added]
        return [("no prompt", _NONE), *added, *bundled]

    @property
    def clip(self) -> Clip | None:
        """The prompt that is chosen."""
        return self._clip

    # --- adding -----------------------------------------------------------------------------------

    def _on_text_message(self, _: object, content: Any, buffers: object) -> None:
        if isinstance(content, dict) and content.get("event") == "submit":  # Enter
            self._add_path()

    def _add_path(self) -> None:
        name = self.path.value.strip()
        if not name:
            self._tell("Type the path of an audio file first, or upload one.")
            return
        self._hand_over(lambda: self._read_path(name))

    def _read_path(self, name: str) -> None:
        try:
            stem, clip = as_prompt(Path(name))
        except RtnbError as error:
            self._tell(str(error))
            return
        assert isinstance(clip, Clip)
        self.path.value = ""
        self._take(stem or name, clip)

    def _on_upload(self, change: Any) -> None:
        """Take an upload out of the widget, whose state is saved with the notebook."""
        found = _uploaded(change["new"])
        if found is None:
            return
        self._empty_upload()
        self._hand_over(lambda: self._read_upload(*found))

    def _read_upload(self, name: str, content: bytes) -> None:
        try:
            clip = _decoded(name, content)
        except RtnbError as error:
            self._tell(str(error))
            return
        self._take(Path(name).stem, clip)

    def _empty_upload(self) -> None:
        if isinstance(self.upload.value, tuple):
            self.upload.value = ()
            return
        self.upload.metadata, self.upload.data = [], []  # ipywidgets 7
        self.upload.set_trait("_counter", 0)

    def _take(self, name: str, clip: Clip) -> None:
        name = plain(name.encode("utf-8", "replace").decode(), _LONGEST_NAME)
        self._added[name] = named(clip, name)
        self._filling = True  # new options choose the first of them for a moment
        try:
            self.choice.options = self._options()
            self.choice.value = f"{_ADDED}{name}"
        finally:
            self._filling = False
        self._on_choice()

    # --- showing ----------------------------------------------------------------------------------

    def _chosen(self) -> Clip | None:
        chosen = self.choice.value
        if not chosen:
            return None
        if chosen.startswith(_ADDED):
            return self._added[chosen.removeprefix(_ADDED)]
        return sample(chosen)

    def _on_choice(self) -> None:
        if self._filling:
            return
        clip = self._clip = self._chosen()
        self._changed()
        self._hand_over(lambda: self._show(clip))

    def _show(self, clip: Clip | None) -> None:
        body = "" if clip is None else clip_body(clip._view(compact=True, columns=_COLUMNS))
        if clip is self._clip:  # another one may have been chosen meanwhile
            self.preview.value = framed(body)


def _uploaded(value: Any) -> tuple[str, bytes] | None:
    """Return (name, content) of what ipywidgets 7 or 8 says was uploaded."""
    if isinstance(value, dict):
        for name, one in value.items():
            return str(name), bytes(one["content"])
        return None
    return (str(value[0]["name"]), bytes(value[0]["content"])) if value else None


def _decoded(name: str, content: bytes) -> Clip:
    """Return an uploaded file as a clip; its own name does not get near the file system."""
    if len(content) > _LARGEST:
        raise AudioError(
            f"The file {name!r} has {len(content) / 1e6:.1f} MB; at most {_LARGEST / 1e6:.0f} can "
            "be uploaded. Type its path instead, or cut it."
        )
    suffix = "".join(c for c in Path(name).suffix if c.isalnum())[:8]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload.{suffix}"
        path.write_bytes(content)
        try:
            _, clip = as_prompt(path)
        except AudioError as error:  # it names the file that we wrote
            raise AudioError(str(error).replace(repr(str(path)), repr(name))) from None
    assert isinstance(clip, Clip)
    return clip
