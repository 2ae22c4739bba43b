"""No key, ephemeral key or ICE password in any output, repr, log, traceback or file."""

from __future__ import annotations

import gc
import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rtnb
from rtnb._masking import MASK, Secret, mask

KEY = "sk-test-Zq7Xw2Vb9Nm4Kj6Hg8Fd"
WRONG = "sk-wrong-Aa1Bb2Cc3Dd4Ee5Ff6"


@pytest.fixture(scope="module")
def locked_peer() -> Iterator[rtnb.Peer]:
    """A peer that wants a key."""
    with rtnb.Peer(key=KEY) as peer:
        yield peer


@pytest.fixture(scope="module")
def shown(locked_peer: rtnb.Peer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything that a whole call shows and leaves behind."""
    folder = tmp_path_factory.mktemp("secrets")
    with rtnb.connect(locked_peer, record_to=folder / "run") as session:
        turn = session.ask("What is the capital of France?")
        session.save(folder / "copy")
        objects = [locked_peer, session, turn, session.endpoint, session.events, session.offer]
        objects += [session.answer, rtnb.open_run(folder / "copy"), session.endpoint.mint()]
        objects += list(session.events)
        texts = [repr(o) for o in objects] + [str(o) for o in objects]
        texts += [o._repr_html_() for o in objects if hasattr(o, "_repr_html_")]
        password = re.search(r"a=ice-pwd:(\S+)", session._offered).group(1)
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {"texts": texts, "files": files, "password": password}


def test_nothing_shown_holds_a_key(shown: dict[str, Any]) -> None:
    """No repr, str or HTML holds the key or anything like an ephemeral one."""
    for text in shown["texts"]:
        assert KEY not in text
        assert "ek_" not in text
        assert shown["password"] not in text


def test_no_run_file_holds_a_key(shown: dict[str, Any]) -> None:
    """Neither the live run nor its copy holds the key, an ephemeral key or an ICE password."""
    assert len(shown["files"]) > 10
    for path in shown["files"]:
        content = path.read_bytes()
        assert KEY.encode() not in content
        assert shown["password"].encode() not in content
        if path.suffix != ".wav":
            assert b"ek_" not in content


def test_no_log_holds_a_key(locked_peer: rtnb.Peer, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, a whole connect logs no key."""
    with caplog.at_level(logging.DEBUG), rtnb.connect(locked_peer):
        pass
    assert KEY not in caplog.text
    assert "ek_" not in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        lambda peer: rtnb.connect(peer.url, api_key=WRONG),
        lambda peer: rtnb.connect(peer, ephemeral_key="ek_wrong0123456789abcdef"),
        lambda peer: rtnb.Endpoint.for_peer(peer.url, WRONG).mint(),
        lambda peer: rtnb.Endpoint.openai(WRONG, base_url="http://example.com/v1"),
        lambda peer: rtnb.Endpoint.openai(WRONG, base_url="http://127.0.0.1:1/v1").mint(),
        lambda peer: rtnb.connect(peer, voice="", api_key=WRONG),
    ],
)
def test_no_error_holds_a_key(locked_peer: rtnb.Peer, call: Any) -> None:
    """Sentence, repr and traceback of each failure are free of keys."""
    with pytest.raises(rtnb.RtnbError) as caught:
        call(locked_peer)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    without_source = "\n".join(x for x in shown.splitlines() if "lambda" not in x)
    assert WRONG not in without_source
    assert "ek_" not in without_source


def test_output_holds_no_key(locked_peer: rtnb.Peer, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed at all, by no process of ours, and so no key."""
    with rtnb.connect(locked_peer) as session:
        session.ask("What is the capital of France?")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_the_media_process_has_no_key(locked_peer: rtnb.Peer, monkeypatch: Any) -> None:
    """The environment of the media process holds no API key."""
    from rtnb.engine import ProcessEngine

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine = ProcessEngine()
    try:
        engine.wait_ready()
        assert KEY.encode() not in Path(f"/proc/{engine.pid}/environ").read_bytes()
    finally:
        engine.close()


def test_a_secret_in_an_event_is_masked_before_it_is_kept() -> None:
    """An MCP authorization or an echoed key does not get into the log."""
    tools = '[{"authorization":"abc123"}]'
    text = f'{{"type":"session.updated","session":{{"tools":{tools},"k":"ek_1234567"}}}}'
    event = rtnb.Event(text, time=0.0, direction="received")
    assert "abc123" not in event.text
    assert "ek_" not in event.text
    assert event.data["session"]["tools"][0]["authorization"] == MASK


def test_a_known_secret_is_masked_wherever_a_server_echoes_it() -> None:
    """A key without any known form is masked once it was given to rtnb."""
    secret = Secret("a1b2c3d4e5f6-azure")
    assert mask("you sent a1b2c3d4e5f6-azure, sorry") == f"you sent {MASK}, sorry"
    assert "azure" not in f"{secret} {secret!r}"


def test_the_environment_key_is_not_sent_to_a_loopback_url(
    peer: rtnb.Peer, monkeypatch: Any
) -> None:
    """A server on this machine that was named by URL does not get OPENAI_API_KEY."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with rtnb.connect(peer.url) as session:
        assert session.endpoint.key.reveal() != KEY
    gc.collect()
