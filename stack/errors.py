"""What can go wrong on a hop: whose fault it is, whether another attempt may help, what to tell the client.

Raised low, answered in one place (`stack.http.problem`). `proxy_status` is an error type of RFC 9209 §2.3.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Side(enum.Enum):
    """Whose fault it is. A client's fault never counts against a backend."""

    DOWNSTREAM = "client"
    UPSTREAM = "upstream"
    OURS = "ours"


class Retry(enum.Enum):
    """Whether sending the request again is allowed, given a method that allows it (RFC 9110 §9.2.2)."""

    NO = "no"
    SAFE = "safe"  # nothing of the request was acted upon
    IF_REUSED = "if-reused"  # only when the connection was not new: it may have died before the request came


class HopError(Exception):
    """Base of every error a hop can meet.

    `detail` is shown to the client and so never names an internal address; `private` goes to the log only.
    """

    side: Side = Side.OURS
    retry: Retry = Retry.NO
    status: int = 500
    proxy_status: str = "proxy_internal_error"
    title: str = "The hop met an error"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """What the status calls for: Allow with 405, Accept with 415."""
    injected: str = ""
    """The name of the fault that was ordered, if this error is none of its own accord."""

    def __init__(self, detail: str = "", *, status: int | None = None, private: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.private = private
        if status is not None:
            self.status = status


class ClientError(HopError):
    """The client's message is at fault."""

    side, status, proxy_status, title = Side.DOWNSTREAM, 400, "http_request_error", "The request is not well-formed"


class BadRequest(ClientError):
    pass


class HeadTooLarge(ClientError):
    status, title = 431, "The request's head is too large"


class TargetTooLong(ClientError):
    status, title = 414, "The request's target is too long"


class MethodRefused(ClientError):
    status, proxy_status, title = 405, "http_request_denied", "The method is not served here"
    fields = ((b"allow", b"GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"),)


class ContentTooLarge(ClientError):
    status, title = 413, "The request's content is too large"


class Misdirected(ClientError):
    status, title = 421, "The request does not belong on this connection"


class RequestTimeout(ClientError):
    status, title = 408, "The request did not arrive in time"


class ClientGone(ClientError):
    """The client went away: nobody is left to answer (nginx's 499, in the log only)."""

    status, title = 499, "The client closed the connection"


class LoopDetected(ClientError):
    status, proxy_status, title = 508, "proxy_loop_detected", "The request has passed this hop before"


class UpstreamError(HopError):
    """The next hop is at fault."""

    side, status, proxy_status, title = Side.UPSTREAM, 502, "proxy_internal_response", "The next hop failed"


class ConnectRefused(UpstreamError):
    retry, proxy_status, title = Retry.SAFE, "connection_refused", "The next hop refused the connection"


class ConnectTimeout(UpstreamError):
    retry, status, proxy_status, title = Retry.SAFE, 504, "connection_timeout", "The next hop did not accept in time"


class DnsFailed(UpstreamError):
    retry, proxy_status, title = Retry.SAFE, "dns_error", "The next hop's name could not be resolved"


class TlsFailed(UpstreamError):
    retry, proxy_status, title = Retry.SAFE, "tls_protocol_error", "TLS with the next hop failed"


class CertificateRefused(UpstreamError):
    retry, proxy_status, title = Retry.SAFE, "tls_certificate_error", "The next hop's certificate was refused"


class ClosedEarly(UpstreamError):
    """The connection died before a byte of the response came."""

    retry, proxy_status, title = Retry.IF_REUSED, "connection_terminated", "The next hop closed the connection"


class Unsent(ClosedEarly):
    """The connection died before anything of the request was sent, or read of its content."""

    retry = Retry.SAFE


class Refused(UpstreamError):
    """The next hop said that it did not process the request (h2 REFUSED_STREAM or GOAWAY, RFC 9113 §8.7)."""

    retry, proxy_status, title = Retry.SAFE, "connection_terminated", "The next hop did not take the request"


class UpgradeFailed(UpstreamError):
    """A tunnel was asked for, and is neither opened nor refused."""

    proxy_status, title = "http_upgrade_failed", "The next hop did not switch protocols"

    @classmethod
    def answered(cls, status: int) -> UpgradeFailed:
        """With 2xx, which is no refusal over HTTP/2: the client would take the content for the tunnel (RFC 8441 §5)."""
        return cls(f"It answered {status} to a request for a tunnel, as if it were any other request.")


class ResponseIncomplete(UpstreamError):
    proxy_status, title = "http_response_incomplete", "The next hop's response ended early"


class ResponseMalformed(UpstreamError):
    proxy_status, title = "http_protocol_error", "The next hop's response is not well-formed"


class ResponseTimeout(UpstreamError):
    status, proxy_status, title = 504, "http_response_timeout", "The next hop did not answer in time"


class NoBackend(UpstreamError):
    status, proxy_status, title = 503, "destination_unavailable", "No backend is available"


class PoolExhausted(UpstreamError):
    status, proxy_status, title = 503, "connection_limit_reached", "All connections to the next hop are busy"


class CutOff(HopError):
    """The answer ends here, as an injected fault wants it: by a reset, or `orderly`, by a close.

    Over HTTP/2 it is the stream that is reset: the fault of one request is none of its neighbours'.
    """

    proxy_status, title = "", "The answer was cut off"
    orderly: bool = False
    termination: str = "injected"


class Elsewhere(CutOff):
    """A hop that stops takes nothing that lasts: it closes without an answer, or refuses the stream.

    Whoever sent the request on a connection that was kept sends it again on a new one (RFC 9112 §9.3.1, RFC 9113 §8.7).
    """

    title, orderly, termination = "The hop is stopping", True, "drained"


class NotFound(ClientError):
    status, proxy_status, title = 404, "http_request_denied", "Nothing is here"


class ConfigError(Exception):
    """Configuration or start-up at fault: one line that names the place and the remedy. Exit status 2."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration: where it stands, what is wrong, and the remedy.

    `file` is empty and `line` 0 for what a flag or the environment said; `key` then is `--replicas` or `HOPSTACK_APP`.
    """

    key: str
    text: str
    file: str = ""
    line: int = 0
    column: int = 0
    warning: bool = False
    """It works, and will surprise."""

    @property
    def place(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.file, *numbers]) if self.file else ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.text) if part)


class ConfigErrors(ConfigError):
    """All that is wrong with a configuration, in the order of the file: a line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
