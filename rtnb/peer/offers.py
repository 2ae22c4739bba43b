"""What of an SDP offer is used on this machine, text in and text out; it must not know a call."""

from __future__ import annotations

import ipaddress
import itertools
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Offer", "usable_offer", "what_is_wrong"]

_OPUS: Final = re.compile(r"a=rtpmap:(\d+) opus/48000", re.IGNORECASE)
_KNOWN: Final = re.compile(r"a=rtpmap:(\d+) (?:opus/48000|PCM[UA]/8000|G722/8000)", re.IGNORECASE)
_STATIC: Final = {"0", "8", "9"}  # PCMU, PCMA, G722 need no rtpmap (RFC 3551 section 6)
_OF_A_TYPE: Final = re.compile(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ")


@dataclass(frozen=True)
class Offer:
    """An offer as the peer uses it.

    Attributes
    ----------
    sdp : str
        Without foreign candidates, and with no other audio codec where Opus is offered.
    opus : bool
        Whether all audio is Opus.
    """

    sdp: str
    opus: bool


def what_is_wrong(text: str) -> str | None:
    """Return what is wrong with an offer, as an answer to its sender; None if it can be used.

    The service's words for an offer that is no SDP, or has no audio section, tell no more.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    audio = [x.split(" ")[3:] for x in lines if x.startswith("m=audio")]
    if not text.startswith("v=0") or not audio:
        return "Invalid SDP offer. Please try again with a WHIP-compliant offer."
    known = _STATIC | {found[1] for x in lines if (found := _KNOWN.match(x))}
    if not all(known.intersection(types) for types in audio):
        return (
            "Invalid SDP offer. Its audio section has no codec that this server knows: "
            "offer Opus (opus/48000/2), or PCMU, PCMA or G722."
        )
    return None


def usable_offer(text: str) -> Offer | None:
    """Return what is used of an offer, or None when it is no SDP or has no audio section.

    Only loopback candidates are kept: no packet leaves this machine, and no name is looked up. A
    caller that offers others only (browsers: ``.local`` names) is found by its first packet, for
    which aioice waits only while candidates may still come.

    Opus is made the only codec because an answerer's preferences come too late in aiortc: the codec
    that the offer lists first would be sent.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    kept = [x for x in lines if not x.startswith("a=candidate:") or _is_loopback(x)]
    kept = [x for x in kept if x != "a=end-of-candidates"]
    starts = [i for i, x in enumerate(kept) if x.startswith("m=")] + [len(kept)]
    if not text.startswith("v=0") or not any(x.startswith("m=audio") for x in kept):
        return None
    out, opus = kept[: starts[0]], True
    for begin, end in itertools.pairwise(starts):
        section = kept[begin:end]
        if section[0].startswith("m=audio"):
            section, found = _only_opus(section)
            opus = opus and found
        out += section
    return Offer("\r\n".join(out), opus)


def _only_opus(section: list[str]) -> tuple[list[str], bool]:
    """Take the other payload types out of an audio section, if there is Opus in it."""
    head = section[0].split(" ")  # m=audio PORT PROTOCOL TYPE...
    named = {found[1] for x in section if (found := _OPUS.match(x))}
    types = [t for t in head[3:] if t in named]
    if not types:
        return section, False
    kept = [x for x in section[1:] if not (f := _OF_A_TYPE.match(x)) or f[1] in types]
    return [" ".join([*head[:3], *types]), *kept], True


def _is_loopback(candidate: str) -> bool:
    """Look at the connection address, the fifth field (RFC 8839 section 5.1)."""
    fields = candidate.split()
    try:
        return len(fields) > 4 and ipaddress.ip_address(fields[4]).is_loopback
    except ValueError:
        return False
