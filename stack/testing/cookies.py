"""A client's cookies (RFC 6265), by the clock of the stack."""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from stack.clock import Clock

FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Cookie:
    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    http_only: bool
    same_site: str
    expires: float
    """Unix time of the stack's clock; infinity for a session cookie."""


class CookieJar:
    """`jar["session"]` is a value. Cookies of other hosts, paths and schemes are kept apart as browsers do."""

    def __init__(self, clock: Clock, machine: Clock) -> None:
        self._clock, self._machine = clock, machine
        self._kept: dict[tuple[str, str, str], Cookie] = {}

    def __getitem__(self, name: str) -> str:
        for cookie in self:
            if cookie.name == name:
                return cookie.value
        raise KeyError(f"no cookie is called {name!r}; there is {', '.join(cookie.name for cookie in self) or 'none'}")

    def __contains__(self, name: object) -> bool:
        return any(cookie.name == name for cookie in self)

    def __iter__(self) -> Iterator[Cookie]:
        now = self._clock.time()
        return iter([cookie for cookie in self._kept.values() if cookie.expires > now])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self._kept.clear()

    def store(self, line: str, *, host: str, path: str) -> None:
        """One Set-Cookie line of a response from `host` (RFC 6265 §5.2, §5.3)."""
        pair, *rest = line.split(";")
        name, mark, value = pair.partition("=")
        if not mark or not name.strip():
            return
        said = {key.strip().lower(): text.strip() for key, _, text in (part.partition("=") for part in rest)}
        domain = said.get("domain", "").lstrip(".").lower()
        if domain and not _matches(host, domain):
            return
        at = said.get("path", "")
        if not at.startswith("/"):
            at = path.rpartition("/")[0] or "/"
        cookie = Cookie(
            name.strip(), value.strip(), domain or host, not domain, at, "secure" in said, "httponly" in said,
            said.get("samesite", ""), self._expires(said),
        )  # fmt: skip
        key = (cookie.domain, cookie.path, cookie.name)
        if cookie.expires <= self._clock.time():
            self._kept.pop(key, None)
        else:
            self._kept[key] = cookie

    def header(self, *, host: str, path: str, secure: bool) -> str:
        """The Cookie field for a request, longer paths first (§5.4); empty for none."""
        fitting = [
            cookie
            for cookie in self
            if (cookie.domain == host if cookie.host_only else _matches(host, cookie.domain))
            and (path == cookie.path or path.startswith(cookie.path.rstrip("/") + "/"))
            and (secure or not cookie.secure)
        ]
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in sorted(fitting, key=lambda one: -len(one.path)))

    def _expires(self, said: dict[str, str]) -> float:
        """Max-Age wins over Expires. A date is as far away as it is for the app, which has the machine's clock."""
        if (seconds := said.get("max-age", "")).lstrip("-").isdigit():
            return self._clock.time() + int(seconds)
        try:
            date = email.utils.parsedate_to_datetime(said["expires"].replace("-", " "))
        except (KeyError, ValueError):
            return FOREVER
        return self._clock.time() + date.timestamp() - self._machine.time()


def _matches(host: str, domain: str) -> bool:
    """§5.1.3: the domain itself or what is below it, and never a part of an address."""
    if host == domain:
        return True
    try:
        ip_address(host)
        return False
    except ValueError:
        return host.endswith(f".{domain}")
