"""`web.dns`: records of a test."""

from __future__ import annotations

import asyncio

import dns.message
import dns.query
import dns.rcode
import pytest

from stack.testing import SyncWebStack, WebStack
from tests.stack.testing.apps import Probe


async def asked(web: WebStack, name: str, type: str) -> list[str]:
    """What the stack's resolver says."""
    host, port = web.dns_address
    query = dns.message.make_query(name, type)
    response = await asyncio.to_thread(dns.query.udp, query, host, port=port, timeout=5)
    return sorted(rdata.to_text() for rrset in response.answer for rdata in rrset)


async def test_a_record_is_seen_at_once_and_after_its_ttl() -> None:
    async with WebStack(Probe, name="shop.test", replicas=1) as web:
        await web.dns.set("api", "A", "192.0.2.1", ttl=60)
        assert await asked(web, "api.shop.test", "A") == ["192.0.2.1"]
        await web.dns.set("api.shop.test", "A", "192.0.2.2", ttl=60)
        assert await asked(web, "api.shop.test", "A") == ["192.0.2.2"]
        await web.dns.set("api", "A", "192.0.2.3", add=True, flush=False)
        assert await asked(web, "api.shop.test", "A") == ["192.0.2.2"], "the resolver keeps it for its TTL"
        await web.clock.advance(61)
        assert await asked(web, "api.shop.test", "A") == ["192.0.2.2", "192.0.2.3"]
        await web.dns.unset("api", "A", "192.0.2.2")
        assert await web.dns.get("api", "A") == ["192.0.2.3"]
        await web.dns.reset()
        assert await asked(web, "api.shop.test", "A") == []


async def test_traffic_goes_where_dns_says() -> None:
    async with WebStack(Probe, replicas=1, edges=["fra", "nrt"]) as web:
        for name in ("edge-fra", "edge-nrt"):
            (address,) = await web.dns.get(name, "A")
            await web.dns.set("@", "A", address)
            await web.dns.unset("@", "HTTPS")
            assert (await web.client().get("/")).edge == name
            await web.dns.reset()


async def test_what_cannot_be_is_a_value_error() -> None:
    async with WebStack(Probe, replicas=1) as web:
        with pytest.raises(ValueError, match="is no data of A"):
            await web.dns.set("api", "A", "1.2.3")
        with pytest.raises(ValueError, match="has no records"):
            await web.dns.unset("nope")
        with pytest.raises(ValueError, match="data is missing, as in set"):
            await web.dns.set("api", "A")


def test_without_awaiting() -> None:
    with SyncWebStack(Probe, name="shop.test", replicas=1) as web:
        web.dns.set("api", "TXT", "v=1 two", ttl=5)
        web.dns.set("mail", "MX", "10 api.shop.test", "20 api")
        assert web.dns.get("api", "TXT") == ['"v=1 two"']
        assert web.dns.get("mail", "MX") == ["10 api.shop.test.", "20 api.shop.test."]
        web.dns.unset("api")
        web.dns.reset()
        assert web.dns.get("api", "TXT") == []
