"""SDP as text: lines taken out or looked up (RFC 8866); it must not know a connection."""

from __future__ import annotations

__all__ = ["max_message_size", "without_mdns"]

_DEFAULT_MESSAGE_SIZE = 65_536  # bytes where the attribute is absent (RFC 8841 section 6.1)


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
