"""What the page of a token server gets: files, headers, settings; it must not know HTTP servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rtnb.dialects import Json
from rtnb.signaling import DEFAULT_MODEL, Endpoint

__all__ = ["HEADERS", "Target", "page_files", "page_headers", "settings"]

_PAGE: Final = Path(__file__).parent / "_static" / "page"
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_VOICES: Final = tuple("marin cedar alloy ash ballad coral echo sage shimmer verse".split())
_MODELS: Final = (DEFAULT_MODEL, "gpt-realtime-2.1-mini", "gpt-realtime-2", "gpt-realtime-1.5")

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OF_THE_PAGE: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
}


@dataclass(frozen=True)
class Target:
    """What keys are minted for.

    Attributes
    ----------
    kind : str
        ``"peer"``, ``"openai"`` or ``"other"``.
    endpoint : Endpoint
        Where, and how.
    model, voice : str or None
        Where a request names none.
    """

    kind: str
    endpoint: Endpoint
    model: str | None = None
    voice: str | None = None

    @property
    def path(self) -> str:
        """The path of its base URL."""
        return urlsplit(self.endpoint.base_url).path

    @property
    def origin(self) -> str:
        """The origin of its base URL."""
        parts = urlsplit(self.endpoint.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def unusable(self) -> str | None:
        """Why the page cannot call it; None where it can."""
        shape = self.endpoint.shape
        if shape.mint_path is None:
            return "This server mints no keys, and takes offers in a form of its own."
        if shape.dialect_name != "ga" or shape.framing is not None:
            return "This server speaks another dialect of the Realtime API than the page."
        return None


def settings(target: Target) -> Json:
    """Return what ``GET /config`` tells the page: where to call, and what to offer."""
    endpoint = target.endpoint
    own_names = endpoint.shape.name in ("openai", "beta")
    model = target.model or endpoint.default_model
    models = dict.fromkeys([model] if model else [])
    if own_names:
        models |= dict.fromkeys(_MODELS if endpoint.dialect_name == "ga" else ())
    return {
        "target": target.kind,
        "base_url": target.path if target.kind == "peer" else endpoint.base_url,
        "mints": endpoint.shape.mint_path is not None,
        "models": list(models),
        "voices": list(_VOICES),
        "voice": target.voice,
        "model": model,
        "dialect": endpoint.dialect_name,
        "unusable": target.unusable,
    }


def page_headers(target: Target) -> dict[str, str]:
    """Return the headers of the page's files."""
    return HEADERS | _OF_THE_PAGE | {"Content-Security-Policy": _policy(target)}


def _policy(target: Target) -> str:
    """Return the Content-Security-Policy of the page."""
    calls = "" if target.kind == "peer" else f" {target.origin}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{calls}; media-src blob: mediastream:; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


def page_files() -> dict[str, tuple[str, bytes]]:
    """Return what the page consists of, by path: type and content."""
    files = {
        f"/{path.name}": (_TYPES[path.suffix], path.read_bytes())
        for path in sorted(_PAGE.glob("*"))
        if path.suffix in _TYPES
    }
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    files["/favicon.ico"] = ("image/x-icon", b"")
    return files
