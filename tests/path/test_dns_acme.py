"""A wildcard certificate by dns-01: the acme package, pebble, UPDATE with TSIG, and our resolver between them."""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import josepy
import pytest
import requests
import trustme
from acme import challenges, client, crypto_util, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stack.clock import eventually
from tests.support.name_servers import SECRET, NameServers, free_port

SOA = "$TTL 60\n@ IN SOA ns.test. host.test. 1 3600 600 86400 30\n@ IN NS ns.test.\n"
ZONES = {
    ".": f"{SOA}test. IN NS ns.test.\nns.test. IN A 127.0.0.1\n",
    "test": f"{SOA}shop IN NS ns.test.\nns IN A 127.0.0.1\n",
    "shop.test": f'{SOA}@ IN A 192.0.2.1\n@ IN CAA 0 issue "pebble.letsencrypt.org"\n',
}

pytestmark = pytest.mark.needs("pebble")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[NameServers]:
    made = NameServers(tmp_path)
    yield made
    made.stop()


def dns_servers(servers: NameServers) -> tuple[int, int]:
    """Ports of an authority for root, TLD and zone, and of a resolver that walks there."""
    arguments = []
    for name, text in ZONES.items():
        file = servers.directory / f"{name.strip('.') or 'root'}.zone"
        file.write_text(text)
        arguments += ["--zone", f"{name}={file}"]
    authority, resolver = free_port(), free_port()
    grant = "xfr name=_acme-challenge.* type=TXT"
    servers.ours("authority", authority, *arguments, "--update", grant)
    servers.ours("resolver", resolver, "--resolver", "--root", f"127.0.0.1:{authority}", "--port", str(authority))

    def resolves() -> bool:
        try:
            asked = dns.message.make_query("shop.test", "A")
            return bool(dns.query.udp(asked, "127.0.0.1", port=resolver, timeout=1).answer)
        except (dns.exception.DNSException, OSError):
            return False

    asyncio.run(eventually(resolves, within=40, every=0.05))
    return authority, resolver


def pebble(servers: NameServers, resolver: int) -> tuple[str, Path]:
    """URL of the directory, and whom to trust for it."""
    home = servers.directory
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(home / "pebble.key")
    own.cert_chain_pems[0].write_to_path(home / "pebble.crt")
    authority.cert_pem.write_to_path(home / "pebble-ca.pem")
    port, management = free_port(), free_port()
    (home / "pebble.json").write_text(
        f"""{{"pebble": {{"listenAddress": "127.0.0.1:{port}", "managementListenAddress": "127.0.0.1:{management}",
        "certificate": "{home}/pebble.crt", "privateKey": "{home}/pebble.key", "httpPort": {free_port()},
        "tlsPort": {free_port()}, "ocspResponderURL": "", "externalAccountBindingRequired": false}}}}"""
    )
    with (home / "pebble.err").open("ab") as errors:
        servers.running["pebble"] = subprocess.Popen(
            ["pebble", "-config", str(home / "pebble.json"), "-dnsserver", f"127.0.0.1:{resolver}", "-strict"],
            stdout=errors, stderr=errors, cwd=home,
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
        )  # fmt: skip

    def listens() -> bool:
        try:
            return requests.get(f"https://127.0.0.1:{port}/dir", verify=home / "pebble-ca.pem", timeout=2).ok
        except requests.RequestException:
            return False

    asyncio.run(eventually(listens, within=40, every=0.05))
    return f"https://127.0.0.1:{port}/dir", home / "pebble-ca.pem"


def update(port: int, change: dns.update.UpdateMessage) -> None:
    change.use_tsig(dns.tsigkeyring.from_text({"xfr": SECRET}), keyname="xfr", algorithm="hmac-sha256")
    response = dns.query.udp(change, "127.0.0.1", port=port, timeout=10)
    assert response.rcode() == dns.rcode.NOERROR


def test_a_wildcard_certificate_is_issued(servers: NameServers) -> None:
    authority, resolver = dns_servers(servers)
    url, trusted = pebble(servers, resolver)
    account = josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))
    network = client.ClientNetwork(account, verify_ssl=str(trusted))  # type: ignore[arg-type]
    acme = client.ClientV2(client.ClientV2.get_directory(url, network), network)
    acme.new_account(messages.NewRegistration.from_data(email="hostmaster@shop.test", terms_of_service_agreed=True))
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    order = acme.new_order(crypto_util.make_csr(key, ["shop.test", "*.shop.test"]))

    # both names are proved at one name, by two strings beside each other
    answers = []
    for authorization in order.authorizations:
        found = next(one for one in authorization.body.challenges if isinstance(one.chall, challenges.DNS01))
        proof, value = found.response_and_validation(account)
        name = found.chall.validation_domain_name(authorization.body.identifier.value)
        assert name == "_acme-challenge.shop.test"
        change = dns.update.UpdateMessage("shop.test")
        change.add(f"{name}.", 60, "TXT", f'"{value}"')
        update(authority, change)
        answers.append((found, proof))
    for found, proof in answers:
        acme.answer_challenge(found, proof)
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=40)
    try:
        order = acme.poll_and_finalize(order, deadline)
    except Exception:
        sys.stderr.write(servers.said("pebble"))
        raise

    issued, *_ = x509.load_pem_x509_certificates(order.fullchain_pem.encode())
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"shop.test", "*.shop.test"}
    public = serialization.load_pem_private_key(key, None).public_key()
    assert issued.public_key() == public
    assert "Pebble" in issued.issuer.rfc4514_string()

    gone = dns.update.UpdateMessage("shop.test")
    gone.delete("_acme-challenge")
    update(authority, gone)
    left = dns.query.udp(dns.message.make_query("_acme-challenge.shop.test", "TXT"), "127.0.0.1", port=authority)
    assert left.rcode() == dns.rcode.NXDOMAIN
