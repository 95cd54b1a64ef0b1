"""The certificates of one hop while it runs: loaded, looked at for changes, renewed, told about.

A change on disk is taken up within LOOK seconds, and at once on SIGHUP and `POST /-/certificates`: connections keep
what they have, new handshakes get the new. What cannot be loaded changes nothing, and is said until it can.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from stack.clock import Clock
from stack.config.base import HttpOptions
from stack.errors import BadRequest, ConfigError
from stack.hop.answers import as_json
from stack.hop.hop import AdminHandler, Bound
from stack.http.message import Request, Response
from stack.net import ca
from stack.net.certificates import Certificate, pairs, read
from stack.net.termination import ClientAuth, Policy, Termination, select
from stack.net.tickets import TicketSecret
from stack.net.tls import ClientContext
from stack.telemetry.metrics import Metrics

log = logging.getLogger("hopstack.tls")

LOOK: Final = 5.0
"""Seconds between two looks at the files."""
RENEW: Final = 3600.0
"""Seconds between two looks at whether a certificate of the local CA is due: two thirds of its life are over."""
_SUFFIX: Final = ("client_ca", "client_cert")
_DOT: Final = ("dot",)
"""What DNS over TLS is called in ALPN (RFC 7858 has none, RFC 9103 §7.1 wants it)."""

_Signature = tuple[tuple[str, int, int, int], ...]


class Certificates:
    """Of the TLS listeners of a hop, and of its connections to next hops."""

    def __init__(
        self,
        config: HttpOptions,
        *,
        name: str,
        clock: Clock,
        state_dir: Path,
        metrics: Metrics,
        contexts: Callable[[], Sequence[ClientContext]] = tuple,
        alpn: tuple[str, ...] = ("h2", "http/1.1"),
    ) -> None:
        """`contexts`: those of the connections to next hops, whose authorities are looked at too."""
        self._config, self._name, self._clock, self._state_dir = config, name, clock, state_dir
        self._contexts, self._alpn = contexts, alpn
        self._pairs: list[tuple[str, str]] = []
        self.hosts: list[str] = []
        """Addresses that the local CA's certificate is for, if they are loopback; by default those of the listeners."""
        self._loaded: list[Certificate] = []
        self._listeners: list[Termination] = []
        # the workers of a hop are NAME/0, NAME/1 ...
        self._tickets = TicketSecret(state_dir / "tickets" / f"{name.partition('/')[0]}.key")
        self._secret = b""
        self._tried: _Signature = ()
        self._renew_at = 0.0
        self._error = ""
        self._reloads = 0
        results = metrics.counter(
            "hopstack_tls_handshakes_total", "TLS handshakes of clients, by how they ended.", ("hop", "result")
        )
        self._count: Callable[[str], object] = lambda result: results.inc(name, result)
        metrics.gauge(
            "hopstack_certificate_expires_seconds",
            "When a certificate ends, in Unix time.",
            ("hop", "cert"),
            lambda: [((name, one.cert), one.ends) for one in self._loaded],
        )

    # Before the first connection.

    def listeners(self, bounds: Sequence[Bound]) -> list[Termination]:
        """For TLS listeners, in their order. ConfigError names the file or option that is wrong."""
        if not bounds:
            return []
        self.hosts = self.hosts or [bound.address[0] for bound in bounds]
        self._pairs = pairs(self._config.cert, self._config.key)
        self._issue()
        loaded, self._secret = self._read(), self._tickets.current(self._clock.time())
        for bound in bounds:
            policy = self._policy(bound)
            self._listeners.append(
                Termination(
                    policy,
                    select(policy, loaded, self._secret),
                    count=self._count,
                    misdirected=self._config.misdirected == "refuse",
                )
            )
        self._loaded, self._tried = loaded, self._signature()
        return self._listeners[-len(bounds) :]

    def _policy(self, bound: Bound) -> Policy:
        config = self._config
        own = listener_options(bound.query)
        authority = own.get("client_ca", "" if own.get("client_cert") == "none" else config.client_ca)
        required = own.get("client_cert", config.client_cert) == "required"
        if own.get("client_cert", "none") != "none" and not authority:
            raise ConfigError(
                f"--listen ...?client_cert={own['client_cert']}: by which authority? add client_ca=FILE, or --client-ca"
            )
        return Policy(
            profile=config.tls_profile,
            alpn=_DOT if bound.scheme == "tls" else self._alpn,
            client=ClientAuth(authority, required) if authority else None,
            unknown=config.sni_unknown,
        )

    def _read(self) -> list[Certificate]:
        return [read(cert, key) for cert, key in self._pairs]

    def _issue(self) -> None:
        """By the local CA, unless they are configured; the same as before while it lasts."""
        if self._config.cert:
            return
        loopback = dict.fromkeys(
            ["127.0.0.1", "::1", *(host for host in self.hosts if ipaddress.ip_address(host).is_loopback)]
        )
        cert, key = ca.issue(
            self._state_dir,
            self._name.replace("/", "-"),
            [*self._config.server_names, "localhost"],
            [*loopback],
            now=self._clock.time(),
        )
        self._pairs = [(str(cert), str(key))]
        self._renew_at = self._clock.now() + RENEW

    # While it runs.

    async def run(self) -> None:
        while True:
            await self._clock.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Once: whatever is due. A fault is logged when it is first met, and stands in `describe`."""
        if self._listeners and not self._config.cert and self._clock.now() >= self._renew_at:
            self._renew_at = self._clock.now() + RENEW
            try:
                self._issue()
            except (ConfigError, OSError) as error:
                self._failed(f"the certificate cannot be renewed: {error}")
        self._rekey()
        if self._signature() != self._tried:
            try:
                self.reload()
            except ConfigError as error:
                self._failed(str(error))

    def reload(self) -> None:
        """Load all files anew: all of them or none. ConfigError, and everything is as before."""
        if not self._listeners and not self._contexts():
            log.info("nothing to reload")
            return
        self._tried = self._signature()
        try:
            loaded = self._read()
            made = [select(listener.policy, loaded, self._secret or None) for listener in self._listeners]
            for context in self._contexts():
                context.refresh()
        except ConfigError as error:
            self._error = str(error)
            raise
        for listener, selection in zip(self._listeners, made, strict=True):
            listener.selection = selection
        self._loaded, self._error = loaded, ""
        self._reloads += 1
        log.info("certificates reloaded: %s", "; ".join(map(_shown, loaded)) or "those of next hops")

    def _failed(self, reason: str) -> None:
        self._error = reason
        log.error("certificates: %s; those in use stay", reason)

    def _rekey(self) -> None:
        if not self._listeners:
            return
        secret = self._tickets.current(self._clock.time())
        if secret != self._secret:
            self._secret = secret
            for listener in self._listeners:
                listener.rekey(secret)

    def _signature(self) -> _Signature:
        """What the files look like; one that is not there has nothing but its name."""
        paths = {path for pair in self._pairs for path in pair} if self._listeners else set()
        paths |= {listener.policy.client.ca for listener in self._listeners if listener.policy.client is not None}
        for context in self._contexts():
            paths.update(context.files)
        return tuple(_look(path) for path in sorted(paths))

    # What is told.

    @property
    def used(self) -> bool:
        return bool(self._listeners)

    def describe(self) -> dict[str, Any]:
        return {
            "certificates": [one.describe() for one in self._loaded],
            "reloads": self._reloads,
            "error": self._error,
        }

    def pages(self) -> Mapping[tuple[bytes, bytes], AdminHandler]:
        return {
            (b"GET", b"/-/certificates"): lambda _: as_json(self.describe()),
            (b"POST", b"/-/certificates"): self._reload_page,
        }

    def _reload_page(self, _: Request) -> Response:
        try:
            self.reload()
        except ConfigError as error:
            raise BadRequest(f"{error}; the certificates in use stay", status=422) from None
        return as_json(self.describe())


def listener_options(query: str) -> dict[str, str]:
    """What stands behind `?` of an https listener. ConfigError."""
    try:
        found = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        found = {query: ""}
    for key, value in found.items():
        if key not in _SUFFIX:
            raise ConfigError(f"--listen ...?{query}: wanted client_ca=FILE, client_cert=required|optional|none")
        if key == "client_cert" and value not in ("required", "optional", "none"):
            raise ConfigError(f"--listen ...?client_cert={value}: wanted required, optional or none")
        if not value:
            raise ConfigError(f"--listen ...?{key}=: it has no value")
    return found


def _look(path: str) -> tuple[str, int, int, int]:
    try:
        known = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, known.st_mtime_ns, known.st_ino, known.st_size


def _shown(certificate: Certificate) -> str:
    return f"{certificate.cert} for {', '.join([*certificate.names.listed, *certificate.names.addresses][:4])}"
