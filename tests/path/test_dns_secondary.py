"""A stack with a second name server that fetches the zone: it follows the file, and answers when the first does not."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import dns.exception
import dns.message
import dns.query

from stack.clock import eventually
from tests.support.project import Project, ended

TEXT = """
app = "application:app"
[dns.root]
[dns.tld]
[dns.shop]
[dns.spare]
primary = "shop"
[dns.resolver]
[zones."project.test"]
records = [{records}]
"""


def listens(project: Project, name: str) -> tuple[str, int]:
    host, _, port = project.hop(name)["listen"]["dns"].rpartition(":")
    return host, int(port)


def ask(place: tuple[str, int], name: str) -> list[str]:
    host, port = place
    try:
        response = dns.query.udp(dns.message.make_query(name, "A"), host, port=port, timeout=6)
    except (dns.exception.Timeout, OSError):
        return []
    return [rdata.to_text() for rrset in response.answer for rdata in rrset]


def test_the_second_server_follows_and_stands_in(tmp_path: Path) -> None:
    with ended(Project(tmp_path)) as project:
        project.config(TEXT.format(records='"one 60 IN A 192.0.2.1"'))
        project.up()
        spare, resolver = listens(project, "dns-spare"), listens(project, "resolver")
        asyncio.run(eventually(lambda: ask(spare, "one.project.test") == ["192.0.2.1"], within=20))
        project.config(TEXT.format(records='"one 60 IN A 192.0.2.1", "two 60 IN A 192.0.2.2"'))
        done = project.hopstack("reload")
        assert done.returncode == 0, done.stdout + done.stderr
        asyncio.run(eventually(lambda: ask(spare, "two.project.test") == ["192.0.2.2"], within=20))
        primary = project.hop("dns-shop")["pid"]
        os.kill(primary, signal.SIGSTOP)  # one that is dead would be started again
        try:
            assert ask(resolver, "two.project.test") == ["192.0.2.2"]
            assert ask(resolver, "one.project.test") == ["192.0.2.1"]
        finally:
            os.kill(primary, signal.SIGCONT)
