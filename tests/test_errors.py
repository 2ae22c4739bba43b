"""One tree of exceptions: each also the builtin that a caller expects, none losing its facts."""

from __future__ import annotations

import re

import pytest

import rtnb
from rtnb import errors

KINDS = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_an_rtnb_error(kind: type[Exception]) -> None:
    """So that one except clause takes them all; each says in its docstring when."""
    assert issubclass(kind, rtnb.RtnbError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (rtnb.AudioError, ValueError),
        (rtnb.ConfigurationError, ValueError),
        (rtnb.MissingKeyError, ValueError),
        (rtnb.SignalingError, ConnectionError),
        (rtnb.AuthenticationError, PermissionError),
        (rtnb.ExpiredKeyError, PermissionError),
        (rtnb.OfferRefusedError, ValueError),
        (rtnb.ModelError, LookupError),
        (rtnb.QuotaError, ConnectionError),
        (rtnb.DialectError, ConnectionError),
        (rtnb.AnswerError, ValueError),
        (rtnb.UnreachableError, ConnectionError),
        (rtnb.CallError, ConnectionError),
        (rtnb.UdpBlockedError, TimeoutError),
        (rtnb.ChannelTimeoutError, TimeoutError),
        (rtnb.CallClosedError, ConnectionError),
        (rtnb.MediaProcessError, ConnectionError),
        (rtnb.ServiceError, RuntimeError),
        (rtnb.TurnTimeout, TimeoutError),
        (rtnb.ToolError, RuntimeError),
        (rtnb.RunError, OSError),
    ],
)
def test_an_error_is_also_a_builtin(kind: type[Exception], builtin: type[Exception]) -> None:
    """What people write without knowing rtnb catches it."""
    assert issubclass(kind, builtin)


def test_the_tree_drawn_on_top_is_the_tree() -> None:
    """Every class stands in the module's docstring, with its builtin, below its parent."""
    assert errors.__doc__ is not None
    drawn = re.findall(r"^([ │├└─]*)(\w+Error)(?: \((\w+)\))?", errors.__doc__, re.MULTILINE)
    path: dict[int, str] = {}
    for indent, name, builtin in drawn:
        depth = len(indent) // 4
        path[depth] = name
        parents = [base.__name__ for base in getattr(errors, name).__bases__]
        expected = [path[depth - 1] if depth > 1 else "RtnbError"] if name != "RtnbError" else []
        assert parents == [*expected, *filter(None, [builtin])] or name == "RtnbError"
    assert {name for _, name, _ in drawn} == set(errors.__all__) - {"TurnTimeout"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_sentence_is_what_is_shown(kind: type[Exception]) -> None:
    """Also where a builtin among the bases has a constructor of its own."""
    assert str(kind("A sentence; do this.")) == "A sentence; do this."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_sentence_of_a_server_is_harmless(kind: type[Exception]) -> None:
    """A terminal gets no control character, and every text can be printed."""
    error = kind("No.\x1b[2J\u202e\ud800\rYes.")
    assert str(error) == "No.\ufffd[2J\ufffd\ufffd\ufffdYes."
    assert not set("\x1b\u202e\ud800\r") & set(repr(error))


def test_an_http_error_keeps_status_and_code() -> None:
    """For programs; the sentence is for people."""
    error = rtnb.QuotaError("No credit.", status=429, code="insufficient_quota")
    assert (error.status, error.code, str(error)) == (429, "insufficient_quota", "No credit.")
    assert (rtnb.SignalingError("x").status, rtnb.SignalingError("x").code) == (None, None)


def test_a_service_error_keeps_code_and_event_id() -> None:
    """Both None where the service gave none."""
    error = rtnb.ServiceError("No.", code="invalid_value", event_id="e1")
    assert (error.code, error.event_id) == ("invalid_value", "e1")


def test_both_names_of_the_timeout_are_one_class() -> None:
    """TurnTimeout is the name of the contract."""
    assert rtnb.TurnTimeout is rtnb.TurnTimeoutError
