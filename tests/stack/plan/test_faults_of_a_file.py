"""A file with mistakes -> the lines that its user sees: all at once, in the order of the file."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from stack.errors import ConfigErrors
from stack.hop import registry
from stack.plan.document import Document
from stack.plan.make import make_plan

CASES = [
    pytest.param(
        """
        name = "shop.test"
        replcas = 2
        [edges.fra]
        cache.sise = "64M"
        [edges.nrt]
        cache.size = "64 apples"
        [balancers.a]
        pool = "web"
        [proxies.1]
        upstream = "ap-1"
        """,
        """
        stack.toml:2: replcas: there is no such key; did you mean replicas?
        stack.toml:4: edges.fra.cache.sise: there is no such option; did you mean size?
        stack.toml:6: edges.nrt.cache.size = "64 apples": wanted a size in bytes from 0, as 512, 64K or 256M
        stack.toml:8: balancers.a.pool: no pool is called 'web'; write it as [pools.web]
        stack.toml:10: proxies.1.upstream: no hop is called 'ap-1'; did you mean app-1?
        """,
        id="five mistakes",
    ),
    pytest.param(
        """
        [cache]
        slice = 1
        disk = "cache"
        disk_size = "1M"
        targets = ["none", "CDN-Cache-Control"]
        [cache.key]
        ignore_query = ["a=b"]
        only_query = ["id"]
        headers = ["X Y"]
        [edges.fra]
        cache.key.cookies = [""]
        """,
        """
        stack.toml:2: cache.slice: wanted at least 16K, since each slice may be a request to the origin, or 0 for none
        stack.toml:4: cache.disk_size: wanted at least 16M, of which the index takes its part
        stack.toml:5: cache.targets: `none` obeys none: give it alone, or leave it out
        stack.toml:7: cache.key.ignore_query: 'a=b' is no name of a query parameter; write it as in the URL, such as utm_*
        stack.toml:8: cache.key.only_query: with ignore_query beside it, which excludes it; give one of them
        stack.toml:9: cache.key.headers: 'X Y' is no name of a header that could be in the key
        stack.toml:11: edges.fra.cache.key.cookies: '' is no name of a cookie that could be in the key
        """,
        id="the cache",
    ),
    pytest.param(
        """
        [edgs.fra]
        [defaults]
        limts.body = 1
        listen = "http://127.0.0.1:1"
        [limits]
        header = 3
        [cache]
        max-object = "1M"
        [tls]
        ciphers = "x"
        """,
        """
        stack.toml:1: edgs: there is no such section; did you mean edges?
        stack.toml:3: defaults.limts: there is no such option; did you mean limits?
        stack.toml:4: defaults.listen: it belongs to one process: write it in its own entry
        stack.toml:6: limits.header: there is no such option; did you mean head?
        stack.toml:8: cache.max-object: there is no such option; did you mean max_object?
        stack.toml:10: tls.ciphers: there is no such option; `hopstack config schema` has them all
        """,
        id="unknown keys",
    ),
    pytest.param(
        """
        replicas = "three"
        port_base = 70000
        app = 3
        [timeouts]
        head = "10 years"
        idle = 0
        send = nan
        [proxies.1]
        compress = 1
        compression.br_level = 12
        compression.types = ["text/*", 3]
        [proxies.2]
        limits = 3
        [proxies]
        3 = "x"
        [edges.fra]
        cache.set_cookie = "yes"
        cache.heuristic = true
        listen = [
          "https://127.0.0.1:8443",
          "http//127.0.0.1",
        ]
        """,
        """
        stack.toml:1: replicas = "three": wanted a whole number from 1 up to 100
        stack.toml:2: port_base = 70000: wanted a whole number from 1 up to 60000
        stack.toml:3: app = 3: wanted text; text stands in quotes
        stack.toml:5: timeouts.head = "10 years": wanted a duration in seconds above 0, as 500ms, 2s or 1m
        stack.toml:6: timeouts.idle = 0: wanted a duration in seconds above 0, as 500ms, 2s or 1m
        stack.toml:7: timeouts.send = nan: wanted a duration in seconds above 0, as 500ms, 2s or 1m
        stack.toml:9: proxies.1.compress = 1: wanted yes or no
        stack.toml:10: proxies.1.compression.br_level = 12: wanted a whole number from 0 up to 11
        stack.toml:11: proxies.1.compression.types[1] = 3: wanted text; text stands in quotes
        stack.toml:13: proxies.2.limits = 3: a table is wanted, as limits = { head = ... }
        stack.toml:15: proxies.3 = "x": a table is wanted, as [proxies.3]
        stack.toml:17: edges.fra.cache.set_cookie = "yes": wanted one of explicit, store, pass, strip
        stack.toml:18: edges.fra.cache.heuristic = true: wanted a number from 0 up to 1
        stack.toml:21: edges.fra.listen[1] = "http//127.0.0.1": the port is missing; wanted SCHEME://HOST:PORT, SCHEME+fd://N or HOST:PORT
        """,
        id="wrong types and ranges",
    ),
    pytest.param(
        """
        [edges.fra]
        origin = "lb-b"
        [edges.nrt]
        origin = "dns-root"
        [edges."a b"]
        [balancers.a]
        pool = "hosts"
        [pools.hosts]
        members = ["proxy-1", "proxy-9", "proxy-1"]
        weight = { proxy-7 = 2 }
        [pools.old]
        members = ["prox-2"]
        [zones."shop.test"]
        server = "shp"
        [dns.root]
        [dns.tld]
        zones = ["tset"]
        [dns.shop]
        """,
        """
        stack.toml:2: edges.fra.origin: no hop is called 'lb-b'; did you mean lb-a?
        stack.toml:4: edges.nrt.origin: it stands before that hop; there is lb-a, proxy-1, proxy-2, proxy-3, app-1, app-2
        stack.toml:5: edges."a b": 'a b' cannot be part of a process's name: up to 40 letters, digits, - and _, as fra
        stack.toml:9: pools.hosts.members[1]: no hop is called 'proxy-9'; did you mean proxy-3?
        stack.toml:9: pools.hosts.members[2]: proxy-1 stands here twice
        stack.toml:10: pools.hosts.weight: no backend is called 'proxy-7'; did you mean proxy-1?
        stack.toml:12: pools.old.members[0]: no hop is called 'prox-2'; did you mean proxy-2?
        stack.toml:14: zones."shop.test".server: no authoritative DNS server is called 'shp'; did you mean shop?
        stack.toml:17: dns.tld.zones[0]: no zone is called 'tset'; did you mean test?
        """,
        id="names that nothing has",
    ),
    pytest.param(
        """
        [apps.1]
        timeouts.idle = "30s"
        [apps.2]
        trusted = ["10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1"]
        listen = "http://127.0.0.1:8121"
        [proxies.1]
        cert = "cert.pem"
        upstream_key = "key.pem"
        [proxies.2]
        static = "/files=nowhere"
        upstream_timeouts.idle = "80s"
        [balancers.a]
        check = "http:health"
        admin = "http://0.0.0.0:8200"
        weight = ["proxy-1=0", "proxy-2=0"]
        """,
        """
        stack.toml:2: apps.1.timeouts.idle: app-1 closes an idle connection after 30s, but proxy-1 keeps one for 30s (by default): a request would meet the close; make app-1's timeouts.idle the longer one
        stack.toml:4: apps.2.trusted = ["10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1"]: 0.0.0.0/0 is everyone, and any client could then say who it is (Forwarded, X-Forwarded-For); give the addresses of the proxies before this hop
        stack.toml:5: apps.2.listen = "http://127.0.0.1:8121": app-1 listens on 127.0.0.1:8121 already; give another port or address
        stack.toml:7: proxies.1.cert: a certificate and its key go together; give key too
        stack.toml:7: proxies.1.cert = "/srv/cert.pem": there is no such file
        stack.toml:8: proxies.1.upstream_key: a certificate and its key go together; give upstream_cert too
        stack.toml:8: proxies.1.upstream_key = "/srv/key.pem": there is no such file
        stack.toml:10: proxies.2.static = "/files=nowhere": there is no such directory; a prefix begins and ends with a slash, as /files/=DIR
        stack.toml:11: proxies.2.upstream_timeouts.idle: app-2 closes an idle connection after 75s (by default), but proxy-2 keeps one for 80s: a request would meet the close; make app-2's timeouts.idle the longer one
        stack.toml:13: balancers.a.check = "http:health": wanted none, tcp or http:/PATH, such as http:/health
        stack.toml:14: balancers.a.admin = "http://0.0.0.0:8200": the admin endpoint is for loopback only, as http://127.0.0.1:0
        stack.toml:15: balancers.a.weight: every backend has weight 0, so none would get a request
        """,
        id="unsafe combinations",
    ),
    pytest.param(
        """
        [dns.shop]
        tsig_key = ["acme.key"]
        update = ["acme type=TXTT"]
        """,
        """
        stack.toml:2: dns.shop.tsig_key[0] = "/srv/acme.key": there is no such file
        stack.toml:3: dns.shop.update = ["acme type=TXTT"]: 'TXTT' is no type of record: did you mean TXT?
        """,
        id="keys and grants of UPDATE",
    ),
    pytest.param(
        """
        [faults.http]
        on = "dns-shop"
        status = 503
        [faults.dns]
        on = "edge-*>lb-a"
        drop = true
        [faults.rcode]
        on = "resolver>dns-tld"
        rcode = "SERVFIAL"
        [faults.stream]
        on = "resolver>dns-tld"
        down = "1K"
        [faults.who]
        on = "resolver>dns-tdl"
        drop = true
        [faults.network]
        on = "client>resolver"
        delay = "1s"
        source = ["192.0.2.0/24", "nowhere"]
        """,
        """
        stack.toml:2: faults.http.on = "dns-shop": status (here: rcode) is of HTTP alone, and this speaks DNS
        stack.toml:5: faults.dns.on = "edge-*>lb-a": drop (here: blackhole) is of DNS alone, and this speaks HTTP
        stack.toml:9: faults.rcode.rcode = "SERVFIAL": wanted one of NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, NOTAUTH; did you mean SERVFAIL?
        stack.toml:11: faults.stream.on = "resolver>dns-tld": down is for what a DNS server serves: put it on that server, as dns-shop
        stack.toml:14: faults.who.on = "resolver>dns-tdl": no hop is called 'dns-tdl'; did you mean dns-tld?
        stack.toml:19: faults.network.source = ["192.0.2.0/24", "nowhere"]: wanted addresses or networks, as 192.0.2.7 or 192.0.2.0/24
        """,
        id="faults on DNS",
    ),
    pytest.param(
        """
        [faults.slow]
        on = "lb-a>proxy-9"
        latency = "200ms"
        [faults.odd]
        on = "lb-a>proxy-1"
        latensy = "200ms"
        [faults.idle]
        on = "lb-a>proxy-1"
        [faults.db]
        on = "app-1>db"
        refused = true
        [routes.api]
        prefix = "/api/"
        pool = "hosts"
        [faults.many]
        on = "lb>proxy-1"
        latency = "soon"
        shar = 0.2
        status = 999
        [faults.nowhere]
        latency = "soon"
        """,
        """
        stack.toml:2: faults.slow.on = "lb-a>proxy-9": no hop is called 'proxy-9'; did you mean proxy-3?
        stack.toml:6: faults.odd.latensy: a fault has no such key; did you mean latency?
        stack.toml:7: faults.idle: it does nothing; give a kind: latency, bandwidth, down, up, refused, reset, blackhole, slow_close, truncate, corrupt, status, drop, rcode, wrong_address, lame, as lb-a>proxy-2 latency=200ms share=0.2
        stack.toml:10: faults.db.on = "app-1>db": faults are on links and hops that speak HTTP or DNS; the database is not covered, so put it on the hop that asks it, as proxy-1>app-1
        stack.toml:12: routes.api: static is needed, as static = "public"
        stack.toml:14: routes.api.pool: there is no such option; a route has prefix and static, the choice of a pool by host or path is not there yet
        stack.toml:16: faults.many.on = "lb>proxy-1": no hop is called 'lb'; did you mean lb-a?
        stack.toml:17: faults.many.latency = "soon": wanted a duration up to a week, as 500ms, 2s or 1m
        stack.toml:18: faults.many.shar: a fault has no such key; did you mean share?
        stack.toml:19: faults.many.status = 999: wanted a whole number from 400 up to 599
        stack.toml:20: faults.nowhere: on: a fault is on a link or a hop, as on = "lb-a>proxy-2"
        stack.toml:21: faults.nowhere.latency = "soon": wanted a duration up to a week, as 500ms, 2s or 1m
        """,
        id="faults and routes",
    ),
    pytest.param(
        """
        [[edges]]
        name = "fra"
        [[proxies]]
        name = "1"
        """,
        """
        stack.toml:1: edges = [{...}]: a table is wanted, as [edges.fra], or a list of names
        stack.toml:3: proxies = [{...}]: a table is wanted, as [proxies.1]
        """,
        id="arrays of tables",
    ),
    pytest.param(
        "\n".join(f"[edges.e{number}]" for number in range(300)),
        """
        stack.toml:1: edges: 300 entries; there may be 100
        """,
        id="more than there may be",
    ),
    pytest.param(
        """
        app = "main:app"
        origin = "http://127.0.0.1:3000"
        name = "localhost"
        """,
        """
        stack.toml:2: origin: an app stands behind already (app); give one of them
        stack.toml:3: name: 'localhost' is a top-level domain, and the site needs a name below one, such as shop.test
        """,
        id="what stands behind",
    ),
    pytest.param(
        """
        replicas = 3
        origin = "http://127.0.0.1:3000"
        [apps.web]
        [apps.api]
        [zones."shop.test"]
        records = [
          "a 60 IN A 127.0.0.1",
          "b 60 IN AA 127.0.0.1",
        ]
        [routes.one]
        static = "/"
        [routes.two]
        static = "/"
        """,
        """
        stack.toml:1: replicas: [apps] has 2 entries of its own; leave replicas out, or name them 1, 2, 3
        stack.toml:2: origin: apps stand behind already ([apps]); give one of them
        stack.toml:11: routes.one.static = ["/static/=/", "/static/=/"]: '/static/=/': there is another directory for /static/; write PREFIX=DIR, as /assets/=built
        """,
        id="what excludes each other",
    ),
    pytest.param(
        """
        name = "bücher.test"
        [zones."a b.test"]
        """,
        """
        stack.toml:1: name: 'bücher.test' is no name of a zone: write it as xn--bcher-kva.test
        stack.toml:2: zones."a b.test": 'a b.test' is no name of a zone: wanted ASCII letters, digits, hyphens and dots, as shop.test
        """,
        id="a name of other letters",
    ),
    pytest.param(
        """
        [zones."shop.test"]
        records = [
          "a 60 IN A 127.0.0.1",
          "b 60 IN AA 127.0.0.1",
        ]
        """,
        """
        stack.toml:4: zones."shop.test".records[1] = "b 60 IN AA 127.0.0.1": unknown rdatatype 'AA'
        """,
        id="a record that is none",
    ),
    pytest.param(
        """
        [balancers.a]
        backend = ["lb-b"]
        [balancers.b]
        backend = ["lb-a"]
        """,
        """
        stack.toml:2: balancers.a.backend: requests would go round: lb-a sends to a hop that sends to it
        stack.toml:4: balancers.b.backend: requests would go round: lb-b sends to a hop that sends to it
        """,
        id="a loop",
    ),
    pytest.param(
        """
        [edges.fra]
        host = "edge-fra"
        listen = "https://0.0.0.0:8443"
        [proxies.1]
        listen = "https://127.0.0.1:0"
        """,
        """
        stack.toml:2: edges.fra.host = "edge-fra": DNS answers with an address, not a name; give one, as host = "172.30.0.11"
        stack.toml:5: proxies.1.listen: lb-a cannot be told of port 0 (any free one): give a port
        """,
        id="addresses that nobody can be told",
    ),
]  # fmt: skip


def lines(text: str, **more: Any) -> list[str]:
    """What is wrong with this file, as it is printed."""
    document = Document.of_text(textwrap.dedent(text).lstrip("\n"), directory=Path("/srv"))
    with pytest.raises(ConfigErrors) as raised:
        make_plan(document, kinds=registry, state_dir=Path("/srv/.hopstack"), **{"environ": {}, **more})
    return str(raised.value).splitlines()


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_every_fault_at_once(text: str, wanted: str) -> None:
    assert lines(text) == textwrap.dedent(wanted).strip().splitlines()


def test_what_flags_and_environment_said_comes_last() -> None:
    found = lines(
        "replcas = 1\n",
        environ={"HOPSTACK_LIMITS_BODY": "huge", "HOPSTACK_REPLICAS": "0"},
        given={"port_base": 99_999, "edges": ["fra", "fra", "a b"]},
    )
    assert found == [
        "stack.toml:1: replcas: there is no such key; did you mean replicas?",
        'HOPSTACK_REPLICAS = "0": wanted a whole number from 1 up to 100',
        "--port-base = 99999: wanted a whole number from 1 up to 60000",
        "--edges: fra stands here twice",
        "--edges: 'a b' cannot be part of a process's name: up to 40 letters, digits, - and _, as fra",
        "HOPSTACK_LIMITS_BODY 'huge': wanted a size in bytes from 0, as 512, 64K or 256M",
    ]


def test_a_built_document_has_no_lines() -> None:
    with pytest.raises(ConfigErrors) as raised:
        make_plan(
            Document.of({"edges": {"fra": {"cache": {"sise": 1}}}}), kinds=registry, state_dir=Path("/s"), environ={}
        )
    assert str(raised.value) == "edges.fra.cache.sise: there is no such option; did you mean size?"
