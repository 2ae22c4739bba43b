"""What the service's SDP answers say and aiortc's do not, text in and text out; it knows no call."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["completed_answer"]

_OPUS: Final = re.compile(r"^a=rtpmap:(\d+) opus/48000/2\r?$", re.MULTILINE | re.IGNORECASE)
_LARGEST: Final = re.compile(r"^a=max-message-size:\d+", re.MULTILINE)
_MESSAGE: Final = 1_073_741_823  # bytes, as the service answers (RFC 8841 section 6)


def completed_answer(sdp: str) -> str:
    """Return an answer in which Opus has in-band FEC, and messages may be as large as the service's.

    The first makes a caller's encoder send FEC (RFC 7587 section 6.1); the second is what keeps a
    client from splitting or refusing what it would send to the service.

    Parameters
    ----------
    sdp
        aiortc's answer.
    """
    found = _OPUS.search(sdp)
    if found and f"a=fmtp:{found[1]} " not in sdp:
        line = found[0].rstrip("\r")
        sdp = sdp.replace(line, f"{line}\r\na=fmtp:{found[1]} minptime=10;useinbandfec=1", 1)
    return _LARGEST.sub(f"a=max-message-size:{_MESSAGE}", sdp)
