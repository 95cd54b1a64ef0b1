from __future__ import annotations

import pytest

from stack.http.authorities import Authorities, Names, host_of

NAMES = Names(["shop.test", "*.shop.test", "Other.Example."], ["127.0.0.1", "::1"])


@pytest.mark.parametrize(
    ("authority", "belongs"),
    [
        (b"shop.test", True),
        (b"shop.test:8443", True),
        (b"SHOP.test.", True),
        (b"www.shop.test", True),
        (b"other.example:443", True),
        (b"127.0.0.1:8443", True),
        (b"[::1]:8443", True),
        (b"[0:0::1]", True),
        (b"visited.example", True),
        (b"", True),
        pytest.param(b"a.b.shop.test", False, id="rfc9525-6.3-one label"),
        pytest.param(b".shop.test", False, id="rfc9525-6.3-no empty label"),
        (b"notshop.test", False),
        (b"other.test", False),
        (b"127.0.0.2", False),
        (b"[::2]", False),
        (b"example", False),
    ],
)
def test_rfc9110_15_5_20_what_belongs_on_a_connection(authority: bytes, belongs: bool) -> None:
    authorities = Authorities("visited.example", NAMES)
    assert (authority in authorities) is belongs
    assert (authority in authorities) is belongs  # also when asked again


@pytest.mark.parametrize(
    ("authority", "host"),
    [(b"A.b:1", "a.b"), (b"a.b.", "a.b"), (b"a.b.:1", "a.b"), (b"[::1]:1", "::1"), (b"[::1]", "::1"), (b"", "")],
)
def test_the_host_of_an_authority(authority: bytes, host: str) -> None:
    assert host_of(authority) == host
