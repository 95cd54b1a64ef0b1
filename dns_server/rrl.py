"""Response rate limiting: no network is sent the same answer more often than anybody needs it.

Who asks over UDP in another's name has the answers sent to that other (amplification). A real client asks for the same
thing seldom: it has a cache. What is limited is therefore what is sent to one network, of one kind; now and then a
response is truncated instead of dropped, so a real client that shares the network comes back over TCP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from ipaddress import IPv4Address, ip_address
from typing import Final

from dns_server.config import RrlOptions
from dns_server.rules import types
from dns_server.rules.rrset import Answer
from stack.errors import ConfigError
from stack.http.trust import Trust

log = logging.getLogger("hopstack.dns")

_TOLD_EVERY: Final = 10.0
"""Seconds between two lines in the log that somebody is limited."""


class Verdict(Enum):
    SENT = "sent"
    TRUNCATED = "truncated"
    DROPPED = "dropped"


class _Account:
    """What one network may still be sent of one kind."""

    __slots__ = ("balance", "limited", "seen")

    def __init__(self, balance: float, seen: float) -> None:
        self.balance = balance
        self.seen = seen
        self.limited = 0


class Limiter:
    """Each network and kind of answer has an account: it earns `rate` a second, never holds more than that, and each
    response costs one. Who is overdrawn is limited, and owes at most what it earns in `window` seconds: so long a
    flood must have been over before it is answered as before."""

    def __init__(self, options: RrlOptions, now: Callable[[], float]) -> None:
        """Raises ConfigError for an exemption that is no network."""
        self._rate = float(options.rate)
        self._debt = -self._rate * options.window
        self._slip = options.slip
        self._most = max(options.entries, 1)
        self._prefixes = {4: 32 - options.ipv4_prefix, 6: 128 - options.ipv6_prefix}
        self._exempt = exempt(options.exempt)
        self._now = now
        self._accounts: dict[tuple[str, bytes], _Account] = {}
        """Those used longest ago come first."""
        self._networks: dict[str, str] = {}
        self._tell_after = float("-inf")
        self.limited = 0
        self.truncated = 0

    def judge(self, client: str, key: bytes, answer: Answer) -> Verdict:
        """Of a response over UDP to a client without a right cookie; `key` is the name asked."""
        network = self._networks.get(client)
        if network is None:
            network = self._network(client)
        if not network:
            return Verdict.SENT
        now = self._now()
        place = (network, kind(key, answer))
        account = self._accounts.pop(place, None)
        if account is None:
            if len(self._accounts) >= self._most:
                del self._accounts[next(iter(self._accounts))]
            account = _Account(self._rate, now)
        self._accounts[place] = account
        balance = min(self._rate, account.balance + (now - account.seen) * self._rate) - 1
        account.seen = now
        account.balance = max(balance, self._debt)
        if balance >= 0:
            account.limited = 0
            return Verdict.SENT
        self.limited += 1
        account.limited += 1
        if now >= self._tell_after:
            self._tell_after = now + _TOLD_EVERY
            log.warning("rate limit: %s is sent the same too often; its responses are dropped or truncated", network)
        if self._slip and account.limited % self._slip == 0:
            self.truncated += 1
            return Verdict.TRUNCATED
        return Verdict.DROPPED

    def _network(self, client: str) -> str:
        """As it stands in the log; empty for one that is exempt."""
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:
            return ""  # no address of a network
        # a client of IPv4 on a socket of IPv6
        mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
        address = mapped or address
        network = ""
        if not self._exempt(str(address)):
            host = self._prefixes[address.version]
            network = f"{type(address)(int(address) >> host << host)}/{address.max_prefixlen - host}"
        if len(self._networks) >= self._most:
            self._networks.clear()
        self._networks[client] = network
        return network

    def statistics(self) -> dict[str, int]:
        return {"limited": self.limited, "truncated": self.truncated, "accounts": len(self._accounts)}


def kind(key: bytes, answer: Answer) -> bytes:
    """What counts as the same answer. Names without end can be made up, so what does not depend on the name counts as
    one: an absence for its zone, a referral for its cut, what a wildcard or a DNAME gives, and every error."""
    if answer.rcode not in (types.NOERROR, types.NXDOMAIN):
        return b"error"
    if answer.answer:
        return b"data" + answer.answer[0][1].owner.lower()
    if answer.authority:
        return (b"referral" if answer.word == "referral" else b"absence") + answer.authority[0][0].lower()
    return b"data" + key


def exempt(networks: Sequence[str]) -> Callable[[str], bool]:
    """Whether an address is never limited. Raises ConfigError."""
    try:
        return Trust(networks).believes
    except ConfigError as error:
        raise ConfigError(str(error).replace("--trusted", "--rrl-exempt", 1)) from None
