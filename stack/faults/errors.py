"""What a hop answers with where a fault says the status. All other errors are those of the real thing."""

from __future__ import annotations

from stack.errors import UpstreamError


class Aborted(UpstreamError):
    """RFC 9209 §2.3.29: this hop made the response itself and did not ask the next one."""

    status, proxy_status, title = 503, "proxy_internal_response", "A fault was injected"
