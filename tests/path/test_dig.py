"""`hopstack dig` at the servers of a running stack, through every door."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("dig") / "home") as running:
        yield running


def dig(stack: Stack, *argv: str, status: int = 0) -> str:
    done = stack.hopstack("dig", *argv)
    assert done.returncode == status, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("door", ["--udp", "--tcp", "--tls", "--https"])
def test_the_resolver_answers_through_every_door(stack: Stack, door: str) -> None:
    assert dig(stack, "www.shop.test", door, "--short") == "127.0.1.1 127.0.1.2"
    assert dig(stack, "www.shop.test", door).startswith("NOERROR from resolver (127.0.0.1:")


def test_each_server_answers_its_part(stack: Stack) -> None:
    assert "a referral: ask the servers of test.: ns.nic.test. at 127.0.53.2" in dig(stack, "shop.test", "--at", "root")
    assert "a referral: ask the servers of shop.test.:" in dig(stack, "shop.test", "--at", "dns-tld")
    assert "meaning 2 records, from the zone itself" in dig(stack, "shop.test", "--at", "dns-shop")
    assert "REFUSED" in dig(stack, "example.com", "--at", "dns-shop", status=4)
    assert "NODATA: shop.test. exists and has no MX records" in dig(stack, "shop.test", "MX", status=1)
    assert "nope.shop.test. does not exist" in dig(stack, "nope.shop.test", status=1)


def test_what_a_fault_does_is_said(stack: Stack) -> None:
    assert stack.hopstack("fault", "add", "dns-shop", "truncate", "--name", "short").returncode == 0
    try:
        assert "truncated: what came is not to be used" in dig(stack, "shop.test", "--at", "shop", "--udp", status=4)
        told = dig(stack, "shop.test", "--at", "shop")
        assert "over TCP after a truncated response over UDP" in told
        assert "2 records" in told
    finally:
        assert stack.hopstack("fault", "clear").returncode == 0
    assert stack.hopstack("fault", "add", "dns-shop", "drop").returncode == 0
    try:
        told = dig(stack, "shop.test", "--at", "shop", "--timeout", "0.2", status=6)
        assert "no reply from dns-shop (127.0.53.3:" in told
        assert "within 0.2 s, asked 3 times" in told
    finally:
        assert stack.hopstack("fault", "clear").returncode == 0


def test_a_certificate_that_is_not_believed(stack: Stack) -> None:
    """By its address alone, with another state directory: nothing says that this authority is to be trusted."""
    place = f"127.0.0.1:{stack.base + 55}"
    elsewhere = Stack(stack.home.parent / "elsewhere", stack.base)
    for door, port in (("--tls", 55), ("--https", 54)):
        done = elsewhere.hopstack("dig", "shop.test", "--at", f"127.0.0.1:{stack.base + port}", door)
        assert done.returncode == 5, done.stdout
        said = " ".join(done.stdout.split())
        assert "its certificate is not believed: " in said
        assert "--cacert FILE says whom to trust" in said
    done = elsewhere.hopstack("dig", "www.shop.test", "--at", place, "--tls", "--cacert", str(stack.ca), "--short")
    assert done.stdout.split() == ["127.0.1.1", "127.0.1.2"]


def test_json_of_a_server(stack: Stack) -> None:
    done = stack.hopstack("dig", "www.shop.test", "--at", "dns-root", "--json")
    [one] = json.loads(done.stdout)["queries"]
    assert one["server"] == {"name": "dns-root", "address": "127.0.53.1", "port": stack.base + 53}
    assert one["outcome"] == "referral"
    assert one["response"]["additional"][0]["data"] == "127.0.53.2"
