"""How one listener terminates TLS: its certificates by name, whom it lets in, and what became of its handshakes.

Every listener has contexts of its own. To switch a connection to another context in the SNI callback leaves
`verify_mode` and the versions of the first one in force, so nothing but the certificate may differ between the contexts
of a listener; and a ticket that one listener sealed is opened by no other that asks more of its clients.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from stack.errors import ConfigError
from stack.http.authorities import Names
from stack.net import openssl
from stack.net.certificates import Certificate
from stack.net.quiet import Quiet
from stack.net.tls import Profile, bare_context, load_pair

NO_NAMES: Final = Names(())


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """Client certificates: asked for, verified against the authorities in `ca` (PEM), and perhaps `required`."""

    ca: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """What a listener wants of a handshake, whichever name it is for."""

    profile: Profile = "intermediate"
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    client: ClientAuth | None = None
    unknown: Literal["default", "reject"] = "default"
    """For a name that no certificate has: the first certificate, or the alert unrecognized_name."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The context for a connection, and the names that its certificate is for."""

    context: ssl.SSLContext
    names: Names


class Selection:
    """Contexts by name; made whole before it is used, so that a fault leaves the one before in force."""

    __slots__ = ("_exact", "_first", "_reject", "_wild", "chosen")

    def __init__(self, chosen: Sequence[Chosen], *, reject: bool = False) -> None:
        """The first of those that share a name has it. `reject`: who names none of them is refused."""
        self._reject = reject
        self.chosen = tuple(chosen)
        self._first = chosen[0]
        self._exact: dict[str, Chosen] = {}
        self._wild: dict[str, Chosen] = {}
        for one in chosen:
            for name in one.names.listed:
                (self._wild if name.startswith("*.") else self._exact).setdefault(name.removeprefix("*."), one)

    def choose(self, name: str) -> Chosen | None:
        """For a server name in lower case, or none. None: the client is to be refused."""
        if not name:
            return self._first
        found = self._exact.get(name) or self._wild.get(name.partition(".")[2])
        return found or (None if self._reject else self._first)


def select(policy: Policy, certificates: Sequence[Certificate], secret: bytes | None = None) -> Selection:
    """`secret` seals session tickets. ConfigError when a file cannot be used."""
    if not certificates:
        raise ConfigError("a TLS listener needs a certificate")
    keys = None if secret is None else ticket_keys(secret, policy)
    groups: dict[tuple[str, ...], list[Certificate]] = {}
    for certificate in certificates:
        kinds = groups.setdefault((*certificate.names.listed, "", *certificate.names.addresses), [])
        # of one kind of key OpenSSL keeps the last, and the first one given shall win
        if all(certificate.kind != other.kind for other in kinds):
            kinds.append(certificate)
    return Selection([_chosen(policy, kinds, keys) for kinds in groups.values()], reject=policy.unknown == "reject")


def _chosen(policy: Policy, kinds: Sequence[Certificate], keys: bytes | None) -> Chosen:
    context = bare_context(alpn=policy.alpn, profile=policy.profile)
    for certificate in kinds:
        load_pair(context, certificate.cert, certificate.key)
    if policy.client is not None:
        _ask(context, policy.client)
    if keys is not None:
        openssl.set_ticket_keys(context, keys)
    return Chosen(context, kinds[0].names)


class Termination:
    """One listener's. `selection` is replaced as a whole when certificates change; connections keep what they have."""

    def __init__(
        self,
        policy: Policy,
        selection: Selection,
        *,
        count: Callable[[str], object] = lambda result: None,
        misdirected: bool = True,
    ) -> None:
        """`count` hears how each handshake ended. `misdirected`: refuse requests for hosts the certificate has not."""
        self.policy = policy
        self.selection = selection
        self.count = count
        self.misdirected = misdirected
        self._quiet: defaultdict[str, Quiet] = defaultdict(Quiet)
        """By the words of `stack.net.tls_failure`."""

    def told(self, word: str, now: float) -> int:
        """How many handshakes that failed so the line about this one stands for; 0: none is due."""
        return self._quiet[word].due(now)

    def rekey(self, secret: bytes) -> None:
        """Another secret for session tickets: those sealed with the one before are worth a whole handshake."""
        keys = ticket_keys(secret, self.policy)
        for one in self.selection.chosen:
            openssl.set_ticket_keys(one.context, keys)

    @property
    def context(self) -> ssl.SSLContext:
        """For servers that take a context: it follows names and changes of certificates by the SNI callback."""
        front = bare_context(alpn=self.policy.alpn, profile=self.policy.profile)
        if self.policy.client is not None:
            _ask(front, self.policy.client)

        def switch(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            chosen = self.selection.choose((name or "").lower().rstrip("."))
            if chosen is None:
                return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
            connection.context = chosen.context
            return None

        front.set_servername_callback(switch)  # type: ignore[arg-type]
        return front


def of_context(context: ssl.SSLContext) -> Termination:
    """Around a ready context, for any name and any host."""
    return Termination(Policy(), Selection([Chosen(context, NO_NAMES)]), misdirected=False)


def ticket_keys(secret: bytes, policy: Policy) -> bytes:
    """Of one policy: who was let in without a certificate, or by another authority, resumes where that is enough."""
    client = policy.client
    wanted = b"anybody" if client is None else b"%d " % client.required + _authorities(client.ca)
    return hashlib.shake_256(b"hopstack session tickets " + secret + wanted).digest(openssl.TICKET_KEYS)


def _authorities(path: str) -> bytes:
    try:
        return hashlib.sha256(Path(path).read_bytes()).digest()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; it should hold the authority of the clients' certificates") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _ask(context: ssl.SSLContext, client: ClientAuth) -> None:
    _authorities(client.ca)
    try:
        context.load_verify_locations(client.ca)
    except ssl.SSLError as error:
        raise ConfigError(f"{client.ca} holds no certificate authority: {error.reason or error}") from None
    context.verify_mode = ssl.CERT_REQUIRED if client.required else ssl.CERT_OPTIONAL
