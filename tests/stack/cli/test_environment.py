"""What `hopstack exec` tells a command, and the options of a stack as flags."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from stack.cli.environment import environment
from stack.cli.options import argv, given
from stack.cli.site import site
from stack.cli.table import invitation
from stack.config import flags
from stack.hop import registry
from stack.net import ca
from stack.path import HOPS
from stack.plan.layout import Site


@pytest.fixture
def status(tmp_path: Path) -> dict[str, object]:
    edges = {"edge-fra": "127.0.1.1", "edge-nrt": "127.0.1.2"}
    return {
        "name": "my.test",
        "ca": str(ca.ensure(tmp_path)),
        "hops": [
            {"name": "dns-root", "kind": "dns_server", "listen": {"dns": "127.0.53.1:5053"}},
            {
                "name": "resolver",
                "kind": "dns_server",
                "listen": {"dns": "127.0.0.1:5053", "https": "127.0.0.1:8053"},
            },
            *(
                {"name": name, "kind": "cdn_edge", "listen": {"https": f"{host}:8443", "http": f"{host}:8080"}}
                for name, host in edges.items()
            ),
        ],
    }


def test_a_command_is_told(tmp_path: Path, status: dict[str, object]) -> None:
    told = environment(status, tmp_path, {"PYTHONPATH": "mine", "OTHER": "kept"})
    assert {name: value for name, value in told.items() if name.startswith("HOPSTACK_")} == {
        "HOPSTACK_HOME": str(tmp_path),
        "HOPSTACK_SITE": "my.test",
        "HOPSTACK_URL": "https://my.test:8443",
        "HOPSTACK_EDGE": "https://127.0.1.1:8443",
        "HOPSTACK_RESOLVE": "my.test:8443:127.0.1.1",
        "HOPSTACK_CA": str(tmp_path / "ca.pem"),
        "HOPSTACK_DNS": "127.0.0.1:5053",
        "HOPSTACK_DOH": "https://localhost:8053/dns-query",
        "HOPSTACK_HOSTS": "my.test=127.0.1.1 www.my.test=127.0.1.1 edge-fra.my.test=127.0.1.1 "
        "edge-nrt.my.test=127.0.1.2",
    }
    assert told["OTHER"] == "kept"
    assert told["PYTHONPATH"].endswith(f"{os.pathsep}mine")
    assert environment(status, tmp_path, told) == told, "in a stack of its own the same"
    assert told["NODE_EXTRA_CA_CERTS"] == str(tmp_path / "ca.pem")
    assert {told[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")} == {
        str(tmp_path / "ca-bundle.pem")
    }


def test_what_it_is_told_is_no_option(tmp_path: Path, status: dict[str, object]) -> None:
    """A hop or a stack that the command starts is not configured by it."""
    options = {option.variable for kind in HOPS for option in flags.options(registry.config(kind))}
    options |= {option.variable for option in flags.options(Site)}
    assert len(options) > 50
    assert not options & set(environment(status, tmp_path, {}))


def test_other_authorities_are_trusted_still(tmp_path: Path, status: dict[str, object]) -> None:
    """The bundle stands in place of what was trusted, so it has that too: once, however often it is made."""
    other = ca.ensure(tmp_path / "other")
    for environ in ({"SSL_CERT_FILE": str(other)}, {"SSL_CERT_FILE": str(tmp_path / "ca-bundle.pem")}):
        bundle = environment(status, tmp_path, environ)["SSL_CERT_FILE"]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(bundle)
        assert len(context.get_ca_certs()) >= 2 - (environ["SSL_CERT_FILE"] == bundle)
        text = Path(bundle).read_text()
        assert text.count((tmp_path / "ca.pem").read_text()) == 1
        assert (other.read_text().strip() in text) is (environ["SSL_CERT_FILE"] == str(other))


def test_python_looks_names_up(tmp_path: Path, status: dict[str, object]) -> None:
    """In an interpreter that has a sitecustomize of its own."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('mine')")
    program = (
        "import socket\n"
        "for host in ('my.test', b'EDGE-NRT.my.test.', '127.0.0.9', 'localhost'):\n"
        "    print(socket.getaddrinfo(host, 80, socket.AF_INET)[0][4][0])\n"
        "try: socket.getaddrinfo('other.test', 80)\n"
        "except OSError: print('unknown')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(status, tmp_path, {"PYTHONPATH": str(own)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["mine", "127.0.1.1", "127.0.1.2", "127.0.0.9", "127.0.0.1", "unknown"], done.stderr


@pytest.mark.needs("node")
def test_node_looks_names_up(tmp_path: Path, status: dict[str, object]) -> None:
    program = (
        "const dns = require('dns'), util = require('util'); const told = (one) => console.log(one.address || one);"
        "(async () => { told(await util.promisify(dns.lookup)('my.test')); told(await dns.promises.lookup('EDGE-NRT.my.test.'));"
        "dns.lookup('127.0.0.9', (error, address) => { told(address);"
        "dns.lookup('other.test', (error) => told(error ? 'unknown' : 'known')) }) })()"
    )
    done = subprocess.run(
        ["node", "-e", program],
        env=environment(status, tmp_path, {"PATH": os.environ["PATH"], "NODE_OPTIONS": "--no-deprecation"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["127.0.1.1", "127.0.1.2", "127.0.0.9", "unknown"], done.stderr


def test_where_the_site_is(status: dict[str, object]) -> None:
    found = site(status, "edge-nrt")
    assert found is not None
    assert (found.url, found.edge_url) == ("https://my.test:8443", "https://127.0.1.2:8443")
    status["hops"] = [{"name": "edge-a", "kind": "cdn_edge", "listen": {"https": "[::1]:443"}}]
    found = site(status)
    assert found is not None
    assert (found.url, found.edge_url, found.resolve) == ("https://my.test", "https://[::1]", "my.test:443:[::1]")
    assert "--doh-url" not in invitation(status)
    status["hops"] = []
    assert site(status) is None
    assert "No edge listens" in invitation(status)


def test_the_options_of_a_stack_go_to_a_detached_one() -> None:
    values = {
        "config": "a.toml",
        "no_config": False,
        "app": "a:b",
        "app_dir": None,
        "origin": (),
        "static": ("/a=b", "c"),
        "replicas": 2,
        "health": None,
        "name": None,
        "edges": "fra, nrt,",
        "port_base": None,
        "database_url": "postgresql://me:secret@host/db",
    }
    assert given(values) == {
        "app": "a:b", "static": ["/a=b", "c"], "replicas": 2, "edges": ["fra", "nrt"],
        "database_url": "postgresql://me:secret@host/db",
    }  # fmt: skip
    assert argv(values) == [
        *("--config=a.toml", "--app=a:b", "--static=/a=b", "--static=c", "--replicas=2", "--edges=fra,nrt"),
    ], "no secret on a command line"
