"""SDP as text: masked to look at, cleaned of mDNS, asked for its largest message."""

from __future__ import annotations

import pytest

from rtnb.sdp import SdpView, max_message_size, without_mdns

ANSWER = "\r\n".join(
    [
        "v=0",
        "o=- 7 1 IN IP4 0.0.0.0",
        "a=ice-pwd:sessionsecret",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96",
        "a=ice-ufrag:abcd/u7",
        "a=ice-pwd:topsecretpassword",
        "a=candidate:1 1 udp 2130706431 192.0.2.10 3478 typ host ufrag abcd",
        "a=candidate:2 1 udp 2130706431 6f0b.local 5000 typ host",
        "a=candidate:3 1 udp 1677729535 192.0.2.1 5000 typ srflx raddr x.local rport 9",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "a=max-message-size:1073741823",
        "",
    ]
)


def test_local_candidates_are_dropped_and_nothing_else() -> None:
    """Only the .local host candidate goes; a .local related address stays."""
    kept = without_mdns(ANSWER).splitlines()
    assert [line for line in ANSWER.splitlines() if line not in kept] == [
        "a=candidate:2 1 udp 2130706431 6f0b.local 5000 typ host"
    ]
    assert without_mdns(ANSWER).endswith("\r\n")


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        ("a=max-message-size:1073741823", 1073741823),
        ("a=max-message-size:262144 ", 262144),
        ("a=max-message-size:0", 1 << 30),
        ("a=max-message-size:many", 65_536),
        ("a=sctp-port:5000", 65_536),
        ("", 65_536),
    ],
)
def test_the_largest_message(lines: str, size: int) -> None:
    """RFC 8841: absent is 64 KiB, 0 is any size."""
    assert max_message_size(f"v=0\r\n{lines}\r\n") == size


def test_a_view_masks_every_ice_password() -> None:
    """In text, repr and HTML, at session and at media level."""
    view = SdpView(ANSWER, "answer")
    shown = f"{view}{view!r}{view._repr_html_()}{view.text}{view.sections}"
    assert "topsecretpassword" not in shown
    assert "sessionsecret" not in shown
    assert "a=ice-pwd:•••" in view.text


def test_a_view_of_a_hostile_sdp_is_harmless() -> None:
    """Neither str nor repr nor HTML has a control character; the text is as it came."""
    view = SdpView("v=0\r\nm=\x1b[2J\u202e 9 x\r\n", "answer")
    assert repr(view) == "<SDP answer: session, \ufffd[2J\ufffd; 2 lines>"
    assert str(view) == "v=0\r\nm=\ufffd[2J\ufffd 9 x\r\n"
    assert "\x1b" not in view._repr_html_()
    assert "\x1b" in view.text


def test_a_view_is_by_m_section() -> None:
    """The session part, then every media section with its lines."""
    view = SdpView(ANSWER, "answer")
    assert [(title, len(lines)) for title, lines in view.sections] == [
        ("session", 3),
        ("audio", 6),
        ("application", 2),
    ]
    assert repr(view) == "<SDP answer: session, audio, application; 11 lines>"
    assert "<summary>audio (6 lines)</summary>" in view._repr_html_()
