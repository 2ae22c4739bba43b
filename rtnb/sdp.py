"""SDP as text (RFC 8866): looked at, masked, lines taken out; it must not know a connection."""

from __future__ import annotations

from typing import Final

from rtnb import _html
from rtnb._masking import mask
from rtnb._plain import visible

__all__ = ["SdpView", "max_message_size", "without_mdns"]

_DEFAULT_MESSAGE_SIZE: Final = 65_536  # bytes where the attribute is absent (RFC 8841 section 6.1)


def without_mdns(sdp: str) -> str:
    """Return `sdp` without ``.local`` candidates: resolving them would multicast on the network."""
    kept = [
        line
        for line in sdp.splitlines()
        if not (line.startswith("a=candidate:") and ".local" in line.split(" typ ")[0])
    ]
    return "\r\n".join(kept) + "\r\n"


def max_message_size(sdp: str) -> int:
    """Return the largest data channel message in bytes that the writer of `sdp` takes."""
    for line in sdp.splitlines():
        if line.startswith("a=max-message-size:"):
            value = line.partition(":")[2].strip()
            if value.isdigit():
                return int(value) or 1 << 30  # 0 means any size
    return _DEFAULT_MESSAGE_SIZE


class SdpView:
    """An offer or answer to look at, by m-section, ICE passwords masked.

    Parameters
    ----------
    sdp
        The SDP.
    kind
        ``"offer"`` or ``"answer"``.
    """

    def __init__(self, sdp: str, kind: str):
        self.kind = kind
        self.text = mask(sdp)

    @property
    def sections(self) -> list[tuple[str, list[str]]]:
        """The session part and every media section: (title, lines)."""
        out: list[tuple[str, list[str]]] = [("session", [])]
        for line in self.text.splitlines():
            if line.startswith("m="):
                out.append((line[2:].split(" ")[0], []))
            out[-1][1].append(line)
        return out

    def __repr__(self) -> str:
        titles = ", ".join(title for title, _ in self.sections)
        return f"<SDP {self.kind}: {visible(titles)}; {len(self.text.splitlines())} lines>"

    def __str__(self) -> str:
        return visible(self.text)

    def body(self) -> str:
        """Return the sections as HTML, each folded away."""
        parts = "".join(
            f"<details><summary>{_html.text(title)} ({len(lines)} lines)</summary>"
            + _html.code("\n".join(lines))
            + "</details>"
            for title, lines in self.sections
        )
        return _html.head(f"SDP {self.kind}") + parts

    def _repr_html_(self) -> str:
        return _html.boxed(self.body(), self)
