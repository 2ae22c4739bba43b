"""The exceptions of rtnb, one tree; this module must not know how any of them comes about.

::

    RtnbError
    ├── AudioError (ValueError)             a clip or an audio file that cannot be used
    ├── ConfigurationError (ValueError)     an argument or a session setting that cannot be used
    │   └── MissingKeyError                 no API key where one is needed
    ├── SignalingError (ConnectionError)    the HTTP exchange before the call failed
    │   ├── AuthenticationError (PermissionError)   the key was refused
    │   │   └── ExpiredKeyError             the ephemeral key was refused, and had expired
    │   ├── OfferRefusedError (ValueError)  the server did not accept our SDP offer
    │   ├── ModelError (LookupError)        the server does not know or allow the model
    │   ├── QuotaError                      no credit left, or too many requests
    │   ├── DialectError                    the server speaks another dialect of the API
    │   ├── AnswerError (ValueError)        the server's answer is not an SDP
    │   └── UnreachableError                no server answered at that address
    ├── CallError (ConnectionError)         the call itself failed
    │   ├── UdpBlockedError (TimeoutError)  no packet came through
    │   ├── ChannelTimeoutError (TimeoutError)      the data channel never opened
    │   ├── CallClosedError                 the call is over
    │   └── MediaProcessError               the media process could not start, or died
    ├── ServiceError (RuntimeError)         the service answered an event of ours with an error
    ├── TurnTimeoutError (TimeoutError)     a wait ran out; the turn goes on
    ├── ToolError (RuntimeError)            a tool cannot be offered to the model
    └── RunError (OSError)                  a run folder cannot be written or read
"""

from __future__ import annotations

from rtnb import _html
from rtnb._plain import visible

__all__ = [
    "AnswerError",
    "AudioError",
    "AuthenticationError",
    "CallClosedError",
    "CallError",
    "ChannelTimeoutError",
    "ConfigurationError",
    "DialectError",
    "ExpiredKeyError",
    "MediaProcessError",
    "MissingKeyError",
    "ModelError",
    "OfferRefusedError",
    "QuotaError",
    "RtnbError",
    "RunError",
    "ServiceError",
    "SignalingError",
    "ToolError",
    "TurnTimeout",
    "TurnTimeoutError",
    "UdpBlockedError",
    "UnreachableError",
]


class RtnbError(Exception):
    """The root of every exception that rtnb raises on purpose."""

    def __str__(self) -> str:
        return visible(super().__str__())  # it may quote a server

    def _repr_html_(self) -> str:
        sentence = f'<p class="rtnb-why">{_html.text(self)}</p>'
        return _html.boxed(_html.head(type(self).__name__) + sentence, repr(self))


class AudioError(RtnbError, ValueError):
    """A clip or an audio file cannot be used; the sentence names the file and what to do."""


class ConfigurationError(RtnbError, ValueError):
    """An argument or a session setting cannot be used."""


class MissingKeyError(ConfigurationError):
    """No API key was given or found, and the endpoint needs one."""


class SignalingError(RtnbError, ConnectionError):
    """The HTTP exchange before the call failed.

    Parameters
    ----------
    message
        One sentence: what was wrong and what to do. Never holds a key.
    status
        HTTP status, or None when there was no HTTP answer.
    code
        The service's own error code, or None.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None):
        super().__init__(message)
        self.status = status
        self.code = code


class AuthenticationError(SignalingError, PermissionError):
    """The server refused the key (HTTP 401 or 403)."""


class ExpiredKeyError(AuthenticationError):
    """The server refused an ephemeral key whose time is known to be over."""


class OfferRefusedError(SignalingError, ValueError):
    """The server did not accept our SDP offer."""


class ModelError(SignalingError, LookupError):
    """The server does not know the model, or does not allow it to this key."""


class QuotaError(SignalingError):
    """No credit is left, or there were too many requests (HTTP 429)."""


class DialectError(SignalingError):
    """The server speaks another dialect of the realtime API than the endpoint was set up for."""


class AnswerError(SignalingError, ValueError):
    """The server's answer is not an SDP."""


class UnreachableError(SignalingError):
    """No server answered at that address."""


class CallError(RtnbError, ConnectionError):
    """The call failed after the signalling had succeeded."""


class UdpBlockedError(CallError, TimeoutError):
    """No UDP packet came through to the other side (no valid ICE pair within our own timer)."""


class ChannelTimeoutError(CallError, TimeoutError):
    """The packets came through, but the data channel never opened."""


class CallClosedError(CallError):
    """The call is over; the sentence says why."""


class MediaProcessError(CallError):
    """The media process could not start, or it died."""


class ServiceError(RtnbError, RuntimeError):
    """The service answered an event of ours with an ``error`` event.

    Parameters
    ----------
    message
        The sentence shown.
    code
        The service's own error code, or None.
    event_id
        The id of the client event that caused it, or None.
    """

    def __init__(self, message: str, *, code: str | None = None, event_id: str | None = None):
        super().__init__(message)
        self.code = code
        self.event_id = event_id


class TurnTimeoutError(RtnbError, TimeoutError):
    """A wait on a turn ran out. The turn itself goes on."""


TurnTimeout = TurnTimeoutError  # the name of the public contract


class ToolError(RtnbError, RuntimeError):
    """A function cannot be offered to the model as a tool."""


class RunError(RtnbError, OSError):
    """A run folder cannot be written or read."""
