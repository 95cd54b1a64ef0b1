"""The hosts behind the load balancer, as a test orders them about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from stack.testing.clock import Begun
from stack.testing.members import Member, Members

Begin = Callable[[Callable[[], Awaitable[Any]], str], Begun]
"""Start something that the next call of the stack waits for."""


class Backend:
    """One host: an app and its proxy. `app-1` and `proxy-1` differ in which of them `kill` and `start` are about.

    What is ordered begins at once; the next call of the stack waits for its end, and so does `await`.
    """

    def __init__(self, member: Member, proxy: Member, members: Members, begin: Begin) -> None:
        self.name = member.name
        self.proxy = proxy.name
        self._member, self._members, self._begin = member, members, begin

    def drain(self) -> Begun:
        """The load balancers send it nothing new; what is in flight ends."""
        return self._begin(lambda: self._order("drain"), f"{self.name}.drain")

    def ready(self) -> Begun:
        """The end of draining; the next check decides, and is made at once."""
        return self._begin(lambda: self._order("ready"), f"{self.name}.ready")

    def kill(self) -> Begun:
        """As SIGKILL: connections are reset, new ones refused. Nobody is told."""
        return self._begin(self._member.kill, f"{self.name}.kill")

    def start(self) -> Begun:
        """After `kill`: a new process on the same address, with an empty memory."""
        return self._begin(self._member.start, f"{self.name}.start")

    @property
    def running(self) -> bool:
        return self._member.running

    @property
    def state(self) -> str:
        """As the first load balancer sees it: unknown, up, down or draining."""
        return str(self.seen["state"])

    @property
    def seen(self) -> dict[str, Any]:
        """All that the first load balancer knows of it: state, reason, attempts, in_flight, last_check ..."""
        for balancer in self._members.of("loadbalancer"):
            if balancer.hop is not None:
                for state in balancer.hop.stats()["backends"]:
                    if state["name"] == self.proxy:
                        return dict(state)
        raise LookupError(f"no load balancer that runs has {self.proxy}")

    async def _order(self, what: str) -> None:
        for balancer in self._members.of("loadbalancer"):
            if balancer.running:
                await balancer.ask(b"POST", f"/-/backends/{self.proxy}/{what}")

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.state}{'' if self.running else ', killed'}>"


class Backends(Mapping[str, Backend]):
    """By the name of the app or of its proxy."""

    def __init__(self, members: Members, begin: Begin) -> None:
        self._found: dict[str, Backend] = {}
        proxies = members.of("proxy")
        behind = {str(getattr(proxy.config, "upstream", "")).partition("=")[0]: proxy for proxy in proxies}
        for member in members.of("appserver"):
            if (proxy := behind.get(member.name)) is not None:
                self._found[member.name] = Backend(member, proxy, members, begin)
        for proxy in proxies:
            self._found[proxy.name] = Backend(proxy, proxy, members, begin)

    def __getitem__(self, name: str) -> Backend:
        if name not in self._found:
            raise KeyError(f"no backend is called {name!r}; there is {', '.join(self._found)}")
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def samples(member: Member) -> dict[str, float]:
    """The metrics of a hop by their sample line's left side: `hopstack_requests_total{hop="app-1",...}`."""
    return member.metrics.samples()
