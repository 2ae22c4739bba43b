"""The form that says where to call, with which key and settings; it must not place the call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import ipywidgets as widgets

from rtnb._masking import Secret
from rtnb.errors import ConfigurationError, MissingKeyError
from rtnb.panel.controls import KeyField
from rtnb.signaling import DEFAULT_MODEL, Endpoint, is_loopback

__all__ = ["Form", "Wanted"]

_PEER: Final = "peer"
_OPENAI: Final = "openai"
_OTHER: Final = "other"
_GIVEN: Final = "given"
_MODELS: Final = (DEFAULT_MODEL, "gpt-realtime-2.1-mini", "gpt-realtime-2", "gpt-realtime-1.5")
_VOICES: Final = tuple("marin cedar alloy ash ballad coral echo sage shimmer verse".split())
_HINTS: Final = {
    _OPENAI: "empty: OPENAI_API_KEY of the environment, or Colab's secrets",
    _OTHER: "the key of this server; none is sent to this machine's own",
}
_WIDE: Final = {"description_width": "90px"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was filled in: whether a peer is to be started, and arguments of `connect`."""

    peer: bool
    options: dict[str, Any] = field(repr=False)


class Form:
    """Endpoint, key, model, voice and instructions.

    Parameters
    ----------
    given
        An endpoint that the user handed to the panel; it is chosen then.
    tell
        Takes a sentence about what cannot be used.
    """

    def __init__(self, given: Any = None, tell: Callable[[str], None] = lambda sentence: None):
        self._given = given
        choices = [("peer on this machine (no key)", _PEER), ("OpenAI", _OPENAI)]
        choices.append(("another server", _OTHER))
        if given is not None:
            choices.insert(0, ("the endpoint given", _GIVEN))
        self.endpoint = widgets.Dropdown(options=choices, description="call", style=_WIDE)
        self.url = widgets.Text(
            description="base URL", placeholder="https://example.org/v1", style=_WIDE
        )
        self.key = KeyField(tell)
        self.model = _combobox("model", _MODELS, "the server's default")
        self.voice = _combobox("voice", _VOICES, "the server's default")
        self.transcription = widgets.Checkbox(
            value=True, description="transcribe what I say", indent=False
        )
        self.instructions = widgets.Textarea(
            description="instructions",
            placeholder="how the model is to behave",
            rows=2,
            style=_WIDE,
        )
        self.endpoint.observe(self._on_endpoint, "value")
        self.widget = self._laid_out()
        self._on_endpoint(None)

    def _laid_out(self) -> widgets.Widget:
        for one in (self.endpoint, self.url, self.model, self.voice, self.instructions):
            one.layout.width, one.layout.margin = "auto", "2px"
        columns = widgets.GridBox(
            [self.endpoint, self.model, self.url, self.voice, self.key, self.transcription],
            layout=widgets.Layout(grid_template_columns="minmax(0,1fr) minmax(0,1fr)"),
        )
        return widgets.VBox([columns, self.instructions])

    def _on_endpoint(self, _: object) -> None:
        chosen = self.endpoint.value
        self.url.layout.visibility = "visible" if chosen == _OTHER else "hidden"
        takes_key = chosen in (_OPENAI, _OTHER) or (chosen == _GIVEN and self._given_takes_key)
        self.key.layout.visibility = "visible" if takes_key else "hidden"
        self.key.hint = _HINTS.get(chosen, "")
        self.key.take()  # a key typed for one server is not for another

    @property
    def _given_takes_key(self) -> bool:
        """Whether the endpoint given has no key of its own, and may need one."""
        if isinstance(self._given, Endpoint):
            return self._given.key is None
        return isinstance(self._given, str) and not is_loopback(self._given)

    def enable(self, on: bool) -> None:
        """Let the form be filled in, or not."""
        for one in (self.endpoint, self.url, self.model, self.voice, self.instructions):
            one.disabled = not on
        self.transcription.disabled = self.key.disabled = not on

    def choose_peer(self) -> None:
        """Choose the peer, which needs no key."""
        self.endpoint.value = _PEER

    def wanted(self) -> Wanted:
        """Return what was filled in; the key is taken out of the form.

        Raises
        ------
        ConfigurationError
            Something is missing or cannot be used.
        """
        key = self.key.take()
        options: dict[str, Any] = {"transcription": True if self.transcription.value else None}
        for name in ("model", "voice", "instructions"):
            options[name] = getattr(self, name).value.strip() or None
        chosen = self.endpoint.value
        if chosen in (_OPENAI, _GIVEN):
            options["endpoint"] = self._given if chosen == _GIVEN else None
            options["api_key"] = None if key is None else key.reveal()
        if chosen == _OTHER:
            options["endpoint"] = _other(self.url.value.strip(), key)
        if chosen == _GIVEN and isinstance(self._given, str):
            options["endpoint"], options["api_key"] = _other(self._given, key), None
        return Wanted(chosen == _PEER, options)

    @staticmethod
    def advice(error: Exception) -> str:
        """Return what an error says, and what to do about it in this form."""
        if isinstance(error, MissingKeyError):
            where = "set OPENAI_API_KEY in the environment or in Colab's secrets"
            return (
                f"There is no API key. Type one, or {where}; or choose the peer on this machine, "
                "which needs none."
            )
        return str(error)


def _combobox(name: str, options: tuple[str, ...], placeholder: str) -> widgets.Combobox:
    return widgets.Combobox(
        description=name, options=options, placeholder=placeholder, style=_WIDE, ensure_option=False
    )


def _other(url: str, key: Secret | None) -> Endpoint:
    """Return another server's endpoint; the environment's key is not for it."""
    if not url:
        raise ConfigurationError("Type the server's base URL, such as https://example.org/v1.")
    if is_loopback(url):
        return Endpoint.for_peer(url, None if key is None else key.reveal())
    if key is None:
        Endpoint(url)  # a wrong address is told before a missing key
        raise ConfigurationError("This server needs a key; type it, or call the peer instead.")
    return Endpoint.openai(key.reveal(), base_url=url)
