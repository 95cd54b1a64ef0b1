"""Server cookies (RFC 7873) as all makers of servers make them (RFC 9018), so that servers can share a secret."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from struct import Struct
from typing import Final, Protocol

from dns_server.config import Config
from dns_server.rules.siphash import siphash24
from stack.errors import ConfigError
from stack.net.tickets import TicketSecret

PAST: Final = 3600
"""Seconds for which a cookie holds (RFC 9018 §4.3)."""
FUTURE: Final = 300
"""Seconds by which the clock of another server may be ahead (§4.3)."""
RENEWED: Final = 1800
"""Seconds after which a client is given a new one while the old still holds (§4.3)."""
BRIEF: Final = 60
"""Seconds for which another judgement is kept."""
REMEMBERED: Final = 20_000
"""Cookies that need not be computed again. A client sends the same for half an hour."""

_HEAD: Final = Struct(">B3sI")
_DAY: Final = 86_400
_MASTER_LIFETIME: Final = 30 * _DAY


class Secrets(Protocol):
    def at(self, time: int) -> Sequence[bytes]:
        """The secrets for a cookie made at Unix time `time`, 16 octets each: new cookies are made with the first, those
        made with any are accepted."""
        ...


class Given:
    """Secrets that somebody chose, and put into every server that answers at this address."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets

    def at(self, time: int) -> Sequence[bytes]:
        return self._secrets


class Derived:
    """A new secret each day out of a master secret: nothing has to be told to other workers, nothing handed over."""

    def __init__(self, master: Callable[[float], bytes]) -> None:
        """`master` gives the master secret at a Unix time."""
        self._master = master
        self._day = -1
        self._of_day: tuple[bytes, ...] = ()

    def at(self, time: int) -> Sequence[bytes]:
        day = time // _DAY
        if day != self._day:
            digest = hmac.digest(self._master(time), b"DNS cookie %d" % day, hashlib.sha256)
            self._day, self._of_day = day, (digest[:16],)
        return self._of_day


def secrets(config: Config, state_dir: Path) -> Secrets:
    """Those of the file, or what all servers with this state directory share. Raises ConfigError."""
    if config.cookie_secret:
        return read_secrets(Path(config.cookie_secret))
    return Derived(TicketSecret(state_dir / "dns-cookies.key", _MASTER_LIFETIME).current)


def read_secrets(path: Path) -> Given:
    """A secret a line, 32 hexadecimal digits; `#` begins a comment. Raises ConfigError."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not plain text"
        raise ConfigError(f"--cookie-secret {path}: {reason}") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) != 16:
            raise ConfigError(
                f"--cookie-secret {path}:{number}: wanted 32 hexadecimal digits, as `openssl rand -hex 16` writes them"
            )
        found.append(secret)
    if not found:
        raise ConfigError(f"--cookie-secret {path}: no secret in it; `openssl rand -hex 16` makes one")
    return Given(found)


class Cookies:
    """Judges cookies and makes new ones."""

    def __init__(self, secrets: Secrets, *, time: Callable[[], float]) -> None:
        """`time` is Unix time: that of all servers with the same secret."""
        self.secrets = secrets
        self._time = time
        self._known: dict[tuple[str, bytes], tuple[float, bytes, bool]] = {}
        """Until when what was found holds, the cookie to answer with, and whether it was a right one."""

    def judge(self, cookie: bytes, client: str) -> tuple[bytes, bool] | None:
        """The cookie to answer with, and whether the client had a right one; None for one that is none (§5.2.2)."""
        size = len(cookie)
        if size != 8 and not 16 <= size <= 40:
            return None
        now = self._time()
        key = (client, cookie)
        known = self._known.get(key)
        if known is not None and known[0] - RENEWED <= now < known[0]:
            return known[1], known[2]
        address = _packed(client)
        moment = int(now)
        age = self._age(cookie, address, moment)
        right = age is not None
        hold = float(BRIEF)
        if age is not None and 0 <= age < RENEWED:
            answer = cookie
            hold = RENEWED - age
        else:
            answer = self._make(cookie[:8], address, moment)
            if age is not None:
                hold = min(hold, PAST - age)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = (now + hold, answer, right)
        return answer, right

    def forget(self) -> None:
        """The secrets have changed."""
        self._known.clear()

    def _age(self, cookie: bytes, address: bytes, now: int) -> int | None:
        """Seconds since it was made; None when not by one who knows the secret, for another client, or long ago."""
        if len(cookie) != 24:
            return None
        version, _, made = _HEAD.unpack_from(cookie, 8)
        # 32 bits of the time, compared by serial arithmetic: they run over in 2106 (RFC 9018 §4.3)
        age = (now - made + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if version != 1 or not -FUTURE <= age <= PAST:
            return None
        text = cookie[:16] + address
        if any(hmac.compare_digest(siphash24(key, text), cookie[16:]) for key in self.secrets.at(now - age)):
            return int(age)
        return None

    def _make(self, client_cookie: bytes, address: bytes, now: int) -> bytes:
        head = client_cookie + _HEAD.pack(1, b"\0\0\0", now & 0xFFFFFFFF)
        return head + siphash24(self.secrets.at(now)[0], head + address)


def _packed(client: str) -> bytes:
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client.encode()  # not from a network
    # a client of IPv4 on a socket of IPv6 is the same client elsewhere
    return ((address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address).packed
