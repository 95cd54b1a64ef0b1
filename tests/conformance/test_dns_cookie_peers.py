"""RFC 9018: servers of different makers that share a secret believe each other's cookies."""

from __future__ import annotations

from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.support.dns_network import edns
from tests.support.dns_probes import Address, message, over_udp, probed

SECRET = "e5e973e5a6b2a43f48e7dc849e37bfcf"
OTHER = "445536bcd2513298075a5d379663c962"
CLIENT = b"\x24\x64\xc4\xab\xcf\x10\xc9\x57"


def ask(address: Address, cookie: bytes) -> tuple[str, bytes]:
    """The rcode, and the cookie that came back."""
    sent = message(opt=edns(options=b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie))
    wire = over_udp(address, sent)
    assert wire is not None
    read = dns.message.from_wire(wire)
    [option] = [option.to_wire() for option in read.options if option.otype == 10]
    assert option is not None
    return dns.rcode.to_text(read.rcode()), option


def ours(secret: str, directory: Path) -> str:
    file = directory / f"secret-{secret}"
    file.write_text(f"{secret}\n")
    return f"--cookies require --cookie-secret {file}"


@pytest.mark.needs("named")
def test_bind_believes_our_cookies_and_we_believe_its(tmp_path: Path) -> None:
    theirs = f'cookie-algorithm siphash24; cookie-secret "{SECRET}"; require-server-cookie yes;'
    with probed("named", tmp_path, theirs) as bind, probed("hopstack", tmp_path, ours(SECRET, tmp_path)) as own:
        for maker, judge in ((own, bind), (bind, own)):
            rcode, cookie = ask(maker, CLIENT)
            assert rcode == "BADCOOKIE"
            assert len(cookie) == 24
            assert ask(judge, cookie) == ("NOERROR", cookie)
            assert ask(judge, cookie[:-1] + bytes((cookie[-1] ^ 1,)))[0] == "BADCOOKIE"


@pytest.mark.needs("nsd")
def test_nsd_gives_the_cookie_that_we_give(tmp_path: Path) -> None:
    """NSD refuses nobody, and renews what it does not believe."""
    theirs = f"  answer-cookie: yes\n  cookie-secret: {SECRET}"
    with probed("nsd", tmp_path, theirs) as nsd, probed("hopstack", tmp_path, ours(SECRET, tmp_path)) as own:
        _, cookie = ask(own, CLIENT)
        assert ask(nsd, cookie) == ("NOERROR", cookie)
        _, cookie = ask(nsd, CLIENT)
        assert ask(own, cookie) == ("NOERROR", cookie)


def test_another_secret_is_not_believed(tmp_path: Path) -> None:
    with (
        probed("hopstack", tmp_path / "a", ours(SECRET, tmp_path)) as own,
        probed("hopstack", tmp_path / "b", ours(OTHER, tmp_path)) as other,
    ):
        _, cookie = ask(own, CLIENT)
        assert ask(own, cookie)[0] == "NOERROR"
        assert ask(other, cookie)[0] == "BADCOOKIE"
