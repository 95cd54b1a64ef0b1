"""A DNS server of the file that fetches its zones from another one."""

from __future__ import annotations

import pytest

from stack.errors import ConfigErrors
from tests.stack.plan.test_make import plan


def test_a_secondary_fetches_what_its_primary_has() -> None:
    made = plan(
        """
        [dns.root]
        [dns.tld]
        [dns.shop]
        [dns.spare]
        primary = "shop"
        [dns.spare2]
        primary = "dns-tld"
        zones = ["test"]
        [dns.resolver]
        """
    )
    primary, spare = made.hop("dns-shop").config, made.hop("dns-spare").config
    assert (spare.zone, spare.secondary) == ((), ("shop.test=127.0.53.3:5053",))
    assert (primary.notify, primary.secondary, primary.raise_serial) == (("shop.test=127.0.53.4:5053",), (), True)
    assert not made.hop("dns-spare").files
    assert "ns2.shop.test. IN A 127.0.53.4" in made.hop("dns-tld").files["zones/tld.zone"]
    assert made.hop("dns-spare2").config.secondary == ("test.=127.0.53.2:5053",)
    assert made.hop("dns-tld").config.notify == ("test.=127.0.53.5:5053",)
    assert made.hop("dns-root").config.raise_serial is False
    assert primary.transfer.allow == ("127.0.0.0/8", "::1/128")


def test_a_secondary_elsewhere_may_have_the_zone() -> None:
    made = plan(
        """
        [dns.shop]
        listen = "dns://0.0.0.0:53"
        host = "172.30.0.4"
        [dns.spare]
        listen = "dns://0.0.0.0:53"
        host = "172.30.0.5"
        primary = "shop"
        """
    )
    primary, spare = made.hop("dns-shop").config, made.hop("dns-spare").config
    assert [text.partition("=")[2] for text in spare.secondary] == ["172.30.0.4:53"] * 3
    assert primary.transfer.allow == ("127.0.0.0/8", "::1/128", "172.30.0.5")


@pytest.mark.parametrize(
    ("primary", "said"),
    [
        ("shpo", "no authoritative DNS server is called 'shpo'; did you mean shop?"),
        ("spare", "'spare' is no primary: it is this server"),
        ("other", "'other' is no primary: other is a secondary too; name its primary"),
        ("resolver", "no authoritative DNS server is called 'resolver'"),
    ],
)
def test_who_is_no_primary(primary: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        plan(f'[dns.shop]\n[dns.spare]\nprimary = "{primary}"\n[dns.other]\nprimary = "shop"\n[dns.resolver]\n')
    assert said in str(caught.value)


def test_the_authority_of_primaries_is_beside_the_file() -> None:
    made = plan('[dns.root]\n[dns.resolver]\n[dns.shop]\ntransfer.ca = "own-ca.pem"\n')
    assert made.hop("dns-shop").config.transfer.ca == "/srv/own-ca.pem"
