"""`rtnb.testing`: the fixtures, used by a test suite of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import rtnb

ROOT: Final = Path(rtnb.__file__).parents[1]

CONFTEST: Final = 'pytest_plugins = ["rtnb.testing"]\n'
SUITE: Final = '''
import asyncio, json, pathlib

import requests
from aiortc import RTCPeerConnection, RTCSessionDescription

import rtnb

PIDS = pathlib.Path("pids")


def remember(peer):
    with PIDS.open("a") as stream:
        stream.write(f"{peer.pid}\\n")
    return peer


async def greeted(peer):
    """Call with plain aiortc, and return the first event."""
    pc = RTCPeerConnection()
    first = asyncio.get_running_loop().create_future()
    pc.addTransceiver("audio")
    channel = pc.createDataChannel("oai-events")
    channel.on("message", lambda text: first.done() or first.set_result(json.loads(text)))
    await pc.setLocalDescription(await pc.createOffer())
    head = {"Authorization": "Bearer any", "Content-Type": "application/sdp"}
    url = f"{peer.url}/realtime/calls"
    answer = requests.post(url, pc.localDescription.sdp, headers=head, timeout=10).text
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    event = await asyncio.wait_for(first, 10)
    await pc.close()
    return event


def test_a_call(realtime_peer):
    with rtnb.loopback_only():
        event = asyncio.run(greeted(remember(realtime_peer)))
    assert event["type"] == "session.created"


def test_the_same_peer(realtime_peer):
    assert str(realtime_peer.pid) in PIDS.read_text()


def test_peers_of_ones_own(realtime_peer_factory):
    peer = remember(realtime_peer_factory(key="sk-of-the-test"))
    assert (peer.key, peer.closed) == ("sk-of-the-test", False)


def test_that_fails(realtime_peer_factory):
    assert remember(realtime_peer_factory()) is None
'''


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a suite that was run, and what pytest said."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_client.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return folder, done.stdout + done.stderr


def test_a_suite_uses_the_fixtures(suite: tuple[Path, str]) -> None:
    """Plain aiortc calls a shared peer; others are made to order."""
    said = suite[1].splitlines()[-1]
    assert "3 passed" in said and "1 failed" in said, suite[1]


def test_nothing_is_left_running(suite: tuple[Path, str]) -> None:
    """Not even of the test that failed."""
    pids = {int(line) for line in (suite[0] / "pids").read_text().split()}
    assert len(pids) == 3
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_without_pytest_it_says_what_is_missing() -> None:
    """pytest is not among what rtnb itself needs."""
    code = "import sys; sys.modules['pytest'] = None\ntry:\n    import rtnb.testing\n"
    code += "except ImportError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert (
        done.stdout
        == "rtnb.testing needs pytest, which is not installed; run pip install pytest.\n"
    )
