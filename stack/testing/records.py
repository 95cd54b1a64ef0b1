"""DNS records of a test: set at the stack's own servers, as `hopstack dns set` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from stack.errors import HopError

if TYPE_CHECKING:
    from stack.testing.client import Client
    from stack.testing.members import Member, Members


class Records:
    """`await web.dns.set("api", "A", "192.0.2.1")`. A name without a dot is one of the site, `@` is the site itself."""

    def __init__(self, members: Members, site: str, clients: Sequence[Client]) -> None:
        self._members = members
        self._site = site
        self._clients = clients

    async def set(
        self, name: str, type: str, *data: str, ttl: int | None = None, add: bool = False, flush: bool = True
    ) -> None:
        """The whole RRset, or with `add` more of it. ValueError for what cannot be.

        With `flush` the stack's resolver and clients know it at once; without it they keep what they have for its TTL.
        """
        if not data:
            raise ValueError(f"data is missing, as in set({name!r}, {type!r}, '192.0.2.1')")
        whole, zone, members = await self._place(name)
        table: dict[str, Any] = {"zone": zone, "name": whole, "type": type, "data": data}
        if ttl is not None:
            table["ttl"] = ttl
        await self._each(members, b"POST" if add else b"PUT", "/-/records", table)
        await self._flush(whole, flush)

    async def unset(self, name: str, type: str = "", *data: str, flush: bool = True) -> None:
        """Take away all of a name, an RRset, or records of it. ValueError when there is none."""
        whole, zone, members = await self._place(name)
        query = [("zone", zone), ("name", whole), *([("type", type)] if type else []), *(("data", one) for one in data)]
        await self._each(members, b"DELETE", f"/-/records?{urlencode(query)}")
        await self._flush(whole, flush)

    async def reset(self, *, flush: bool = True) -> None:
        """As at the start of the stack again."""
        await self._each([member for member, _ in await self._authorities()], b"DELETE", "/-/changes")
        await self._flush("", flush)

    async def get(self, name: str, type: str) -> list[str]:
        """The data that is served, as a zone file has it; what the resolver remembers is not looked at."""
        whole, zone, members = await self._place(name)
        query = urlencode({"zone": zone, "name": whole, "type": type})
        answer, *_ = await self._each(members, b"GET", f"/-/records?{query}")
        return [data for row in answer["records"] for data in row["data"]]

    async def _place(self, name: str) -> tuple[str, str, list[Member]]:
        """The name in full, the nearest zone, and who serves it."""
        site = self._site
        whole = site if name == "@" else name if "." in name else f"{name}.{site}"
        key = f"{whole.rstrip('.').lower()}."
        found = await self._authorities()
        zones = {zone for _, zones in found for zone in zones if zone == "." or f".{key}".endswith(f".{zone}")}
        if not zones:
            raise ValueError(f"no server that runs has a zone for {whole}")
        nearest = max(zones, key=lambda zone: 0 if zone == "." else len(zone))
        return whole, nearest, [member for member, zones in found if nearest in zones]

    async def _authorities(self) -> list[tuple[Member, list[str]]]:
        found = []
        for member in self._members.of("dns_server"):
            if member.running and member.has(b"GET", "/-/records"):
                (answer,) = await self._each([member], b"GET", "/-/zones")
                found.append((member, [row["zone"].lower() for row in answer["zones"] if row["kind"] == "primary"]))
        return found

    async def _flush(self, name: str, flush: bool) -> None:
        if not flush:
            return
        for member in self._members.of("dns_server"):
            if member.running and not member.has(b"GET", "/-/records"):
                await self._each([member], b"POST", f"/-/flush?{urlencode({'name': name})}" if name else "/-/flush")
        for client in self._clients:
            client.forget_names()

    async def _each(
        self, members: Sequence[Member], method: bytes, path: str, content: dict[str, Any] | None = None
    ) -> list[Any]:
        answers = []
        for member in members:
            try:
                response = await member.ask(method, path, b"" if content is None else json.dumps(content).encode())
            except HopError as error:
                raise ValueError(error.detail) from None
            assert isinstance(response.body, bytes)
            answers.append(json.loads(response.body))
        return answers


class SyncRecords:
    """The same for tests that do not await: `web.dns.set("api", "A", "192.0.2.1")`."""

    def __init__(self, records: Records, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._records, self._wait = records, wait

    def set(
        self, name: str, type: str, *data: str, ttl: int | None = None, add: bool = False, flush: bool = True
    ) -> None:
        self._wait(self._records.set(name, type, *data, ttl=ttl, add=add, flush=flush))

    def unset(self, name: str, type: str = "", *data: str, flush: bool = True) -> None:
        self._wait(self._records.unset(name, type, *data, flush=flush))

    def reset(self, *, flush: bool = True) -> None:
        self._wait(self._records.reset(flush=flush))

    def get(self, name: str, type: str) -> list[str]:
        found: list[str] = self._wait(self._records.get(name, type))
        return found
