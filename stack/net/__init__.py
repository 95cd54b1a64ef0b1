"""The only sockets: listeners, server loop, client and pools, TLS, UDP. `Net` is what a hop is handed of them."""

from __future__ import annotations

from stack.net.net import Net

__all__ = ["Net"]
